//! The adaptor's compiled code in the app's place: a plain CGI keeps it and uses it; a file that is not right is replaced.
//! What boot.py trusts is in tests/adaptor/test_boot.py.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use memchr::memmem;

use super::util::{Dir, cgi};

fn app(dir: &Dir) -> PathBuf {
    dir.app_file("app", "wsgi = testapp:application\nmode = cgi\n")
}

fn get(app: &std::path::Path) {
    let answer = cgi::start_front(app, "/hello").end().response().ok();
    assert!(answer.starts_with("hello"), "{answer}");
}

fn kept(dir: &Dir) -> Vec<PathBuf> {
    let names = dir.in_place().into_iter();
    let names = names.filter(|name| name.starts_with("adaptor-"));
    names.map(|name| dir.place().join(name)).collect()
}

#[test]
fn by_a_plain_cgi() {
    let dir = Dir::new();
    let app = app(&dir);
    get(&app);
    let files = kept(&dir);
    assert_eq!(files.len(), 1, "{files:?}");
    let found = fs::metadata(&files[0]).expect("it was listed");
    assert_eq!(found.permissions().mode() & 0o7777, 0o600);
    get(&app);
    let again = fs::metadata(&files[0]).expect("it stays");
    assert_eq!(again.ino(), found.ino(), "used, not written again");
    let whole = fs::read(&files[0]).expect("root or the owner may");
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&files[0], &damaged).expect("root or the owner may");
    get(&app);
    let mended = fs::read(&files[0]).expect("root or the owner may");
    assert_eq!(mended.len(), whole.len());
    assert_ne!(mended, damaged);
}

/// `request` leaves nothing in a place.
#[test]
fn not_by_a_look() {
    let dir = Dir::new();
    let app = app(&dir);
    get(&app);
    fs::remove_file(&kept(&dir)[0]).expect("root or the owner may");
    let before = dir.in_place();
    let looked = dir.polycgi(&["request", "--via", "cgi"]);
    assert!(!looked.stdout.is_empty(), "{}", looked.stderr);
    assert_eq!(dir.in_place(), before);
}

#[test]
fn in_no_place_that_can_t_be_written_to() {
    let dir = Dir::new();
    let app = app(&dir);
    get(&app);
    fs::remove_file(&kept(&dir)[0]).expect("root or the owner may");
    let mode = |mode| fs::set_permissions(dir.place(), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o500);
    let served = cgi::start_front(&app, "/hello").end();
    assert!(memmem::find(&served.stdout, b"\r\n\r\nhello").is_some());
    assert!(kept(&dir).is_empty());
    mode(0o700);
    get(&app);
    assert_eq!(kept(&dir).len(), 1);
}

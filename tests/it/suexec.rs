//! Apache with suEXEC: two users, each with an app file of their own. Each has a daemon of their own uid, and neither
//! reaches what is the other's.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::util::daemon::json;
use super::util::suexec::{Owner, Suexec};
use super::util::{Conversation, Dir, installed, under_both};

under_both!(two_users);

/// Says its uid; with a query, what an attempt to open that path gives.
const APP: &str = "
import os, socket

def reach(path):
    try:
        if path.endswith('/sock'):
            socket.socket(socket.AF_UNIX).connect(path)
        else:
            open(path).read()
    except OSError as error:
        return type(error).__name__
    return 'reached'

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if environ['QUERY_STRING']:
        return [reach(environ['QUERY_STRING']).encode()]
    shown = [os.getuid(), os.geteuid(), os.getgid(), os.getgroups(), 'HOME' in os.environ, environ['wsgi.run_once']]
    return [repr(shown).encode()]
";

fn two_users(mpm: crate::util::Mpm) {
    let dir = Dir::new();
    let Some(suexec) = Suexec::start(&dir, mpm) else {
        return;
    };
    let [one, other] = &suexec.owners;
    for owner in [one, other] {
        owner.file("private/app.py", APP, 0o600);
        for mode in ["cgi", "daemon"] {
            app_file(owner, mode);
            let uid = owner.uid;
            let once = if mode == "cgi" { "True" } else { "False" };
            let expected = format!("[{uid}, {uid}, {uid}, [{uid}], False, {once}]");
            assert_eq!(get(owner, "").trim(), expected, "{mode}");
        }
    }
    let daemons = [one, other].map(daemon);
    assert_ne!(daemons[0], daemons[1]);
    for (owner, daemon) in [one, other].into_iter().zip(daemons) {
        let process = fs::metadata(format!("/proc/{daemon}")).expect("the daemon is there");
        assert_eq!(
            (process.uid(), process.gid()),
            (owner.uid.as_raw(), owner.uid.as_raw())
        );
        let places = fs::metadata(owner.runtime_dir()).expect("its places are there");
        assert_eq!(
            (places.uid(), places.mode() & 0o7777),
            (owner.uid.as_raw(), 0o700)
        );
        assert!(get(owner, "").ends_with("False]"));
        assert_eq!(
            self::daemon(owner),
            daemon,
            "the next request is served by the same"
        );
    }
    for (owner, stranger) in [(one, other), (other, one)] {
        reaches_nothing(stranger, owner);
    }
    for (owner, daemon) in [one, other].into_iter().zip(daemons) {
        assert_eq!(self::daemon(owner), daemon);
        owner
            .polycgi(&["stop"], &owner.path("cgi-bin/app"))
            .success();
    }
}

fn app_file(owner: &Owner, mode: &str) {
    let text = format!(
        "#!{} -\nwsgi = app:application\ndirectory = {}\nmode = {mode}\n",
        installed("polycgi").display(),
        owner.path("private").display()
    );
    owner.file("cgi-bin/app", &text, 0o700);
}

#[track_caller]
fn get(owner: &Owner, query: &str) -> String {
    let target = format!("/cgi-bin/app{query}");
    Conversation::new(owner.address, "GET", &target, &[], None)
        .reply()
        .ok()
}

/// The pid of the daemon that the owner sees, who names the app by its whole path; suEXEC runs it by its base name.
#[track_caller]
fn daemon(owner: &Owner) -> i32 {
    let app = owner.path("cgi-bin/app");
    let status = json(&owner.polycgi(&["status", "--json"], &app).success());
    let pid = status.iter().find_map(|line| line.strip_prefix("pid = "));
    pid.and_then(|pid| pid.parse().ok())
        .unwrap_or_else(|| panic!("no daemon: {status:?}"))
}

/// The stranger reaches nothing, by an app of their own or by commands.
#[track_caller]
fn reaches_nothing(stranger: &Owner, owner: &Owner) {
    let place = fs::read_dir(owner.runtime_dir())
        .expect("root can read it")
        .flatten()
        .next();
    let place = place.expect("the app has a place").path();
    let app = owner.path("cgi-bin/app");
    let own = [
        app.clone(),
        owner.path("private/app.py"),
        place.join("sock"),
        place.join("state"),
        place.join("log"),
    ];
    for path in &own {
        assert!(path.exists(), "{}", path.display());
        let query = |path: &Path| format!("?{}", path.display());
        assert_eq!(
            get(stranger, &query(path)),
            "PermissionError",
            "{}",
            path.display()
        );
        assert_eq!(get(owner, &query(path)), "reached", "{}", path.display());
    }
    for words in [&["status", "--json"][..], &["stop"], &["reload"]] {
        let output = stranger.polycgi(words, &app);
        assert!(!output.status.success(), "{words:?}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!said.contains("\"pid\""), "{words:?}: {said}");
    }
}

//! Applications as people have them, through Apache: programs of other projects, and small ones in the languages
//! of the field. Each check is made with both kinds of Apache, and with the app run in each way.

mod browser;
mod django;
mod flask;
pub(crate) mod fossil;
pub(crate) mod git;
mod gitweb;
mod idle;
mod plain;
mod uwsgi;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::util::program::Program;
use super::util::served::noise;
use super::util::{Dir, Mpm, Site, Watch, Way, as_user, digest, run};

/// Makes a test of each check in each of the places.
macro_rules! everywhere {
    ($($check:ident)*) => {
        everywhere!(place event_cgi, Event, Cgi, $($check)*);
        everywhere!(place event_daemon, Event, Daemon, $($check)*);
        everywhere!(place prefork_cgi, Prefork, Cgi, $($check)*);
        everywhere!(place prefork_daemon, Prefork, Daemon, $($check)*);
    };
    (place $place:ident, $mpm:ident, $way:ident, $($check:ident)*) => {
        mod $place {
            $(#[test]
            fn $check() {
                super::$check($crate::util::Mpm::$mpm, $crate::util::Way::$way);
            })*
        }
    };
}
use everywhere;

/// A web server with an app file of these lines, and the one that says which way the app is run.
#[track_caller]
fn site(mpm: Mpm, way: Way, config: impl FnOnce(&Dir) -> String) -> Site {
    let site = Site::bare(mpm, 16);
    let mode = match way {
        Way::Cgi => "cgi",
        Way::Daemon => "daemon",
        Way::Reference => unreachable!("an app file is there for polycgi"),
    };
    let config = config(&site.dir);
    site.dir
        .app_file("app", &format!("{config}\nmode = {mode}"));
    site
}

/// A file of tests/apps beside the test's applications; one that begins with `#!` can be run.
fn put(dir: &Dir, name: &str) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/apps")
        .join(name);
    let text = fs::read_to_string(&from).expect("a test application can be read");
    let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
    dir.file(&format!("apps/{name}"), &text, mode)
}

/// The daemon has served, or there is none.
#[track_caller]
fn served_by(site: &Site, way: Way) {
    match way {
        Way::Cgi => assert!(site.dir.all_daemons().is_empty()),
        Way::Daemon => {
            let none = "requests = 0";
            site.dir.daemon();
            assert!(!site.dir.status().iter().any(|line| line == none));
        }
        Way::Reference => {}
    }
}

/// Sends a body whose length the client does not tell, by curl; the response's body.
#[track_caller]
fn post_chunked(site: &Site, target: &str, body: &[u8]) -> Vec<u8> {
    let mut curl = as_user("/usr/bin/curl");
    curl.args(["--silent", "--show-error", "--fail", "--http1.1"]);
    curl.args(["--header", "Transfer-Encoding: chunked"]);
    curl.args([
        "--header",
        "Content-Type: text/x-test",
        "--header",
        "Expect:",
    ]);
    curl.args(["--data-binary", "@-"]).arg(site.url(target));
    let output = run(&mut curl, body);
    assert!(output.status.success(), "{}", output.stderr);
    output.stdout
}

/// The app has all of a body, with a length and without one.
#[track_caller]
fn reads_bodies(site: &Site) {
    for size in [0, 3, 1_000_000] {
        let body = noise(size);
        let expected = format!("{} {size}\n", digest(&body));
        assert_eq!(
            site.send("POST", "/digest", &[], Some(&body)).ok(),
            expected
        );
        let got = post_chunked(site, "/digest", &body);
        assert_eq!(String::from_utf8_lossy(&got), expected);
    }
}

/// Starts an app's server that polycgi only connects to, and waits until it has printed that text. It is to end before
/// the test's directory is looked at.
#[track_caller]
fn start_server(dir: &Dir, name: &'static str, command: &mut Command, ready: &str) -> Program {
    let root = dir.folder("server", 0o755);
    let watch = Watch::on(&root);
    let mut server = Program::start(name, command, &root);
    let said = root.join(format!("{name}.said"));
    server.until_up(watch, || {
        fs::read_to_string(&said).is_ok_and(|said| said.contains(ready))
    });
    server
}

/// The first piece of `/stream` is here while the app still waits: no time is measured.
#[track_caller]
fn second_piece_waits(site: &Site) {
    site.streams("/stream");
}

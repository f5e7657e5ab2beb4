//! Moments at which a request, a process or the whole loop could get lost. It knows no web server: its clients are
//! fronts and plain SCGI clients.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::util::process::{children, kill_at_once, send, stop};
use super::util::scgi::{ScgiClient, header};
use super::util::{Deadline, Dir, Running, as_user, cgi, daemon, pause};

const CONFIG: &str = "wsgi = testapp:application\nmode = daemon\n";

/// An app in its daemon, which has served.
#[track_caller]
fn served(config: &str) -> (Dir, i32) {
    let dir = Dir::new();
    let app = dir.app_file("app", &format!("{CONFIG}{config}"));
    hello(&app);
    let daemon = dir.daemon();
    (dir, daemon)
}

#[track_caller]
fn hello(app: &Path) {
    cgi::start_front(app, "/hello").end().response().ok();
}

/// An app of these lines, and the status of its first answer. Standard error is not looked at.
#[track_caller]
fn status_of(dir: &Dir, lines: &str, config: &str) -> u16 {
    dir.file("apps/own.py", lines, 0o644);
    let app = dir.app_file(
        "app",
        &format!("wsgi = own:application\nmode = daemon\n{config}"),
    );
    let output = cgi::start_front(&app, "/").end();
    cgi::reply(&output.stdout).status()
}

#[test]
fn a_request_for_workers_that_have_just_died_is_served_by_another() {
    let (dir, daemon) = served("");
    // The daemon learns at once of the request and of the death of all its workers.
    stop(daemon);
    let mut client = ScgiClient::connect(&dir.socket());
    client.send(&header("GET", "/hello", &[], 0));
    for child in children(daemon) {
        kill_at_once(child);
    }
    send(daemon, Signal::SIGCONT);
    assert!(client.reply().ok().starts_with("hello from "));
    assert_eq!(dir.daemon(), daemon);
}

#[test]
fn what_an_app_leaves_writing_does_not_keep_the_loop() {
    const FLOOD: &str = "
import subprocess
def application(environ, start_response):
    if environ['PATH_INFO'] == '/flood':
        subprocess.Popen(['yes'], stdout=2)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'cgi' if environ['wsgi.run_once'] else b'daemon']
";
    let dir = Dir::new();
    dir.file("apps/flood.py", FLOOD, 0o644);
    let app = dir.app_file("app", "wsgi = flood:application\nmode = daemon\n");
    // What is written while a request runs goes to that request's log.
    let output = cgi::start_front(&app, "/flood").end();
    assert_eq!(cgi::reply(&output.stdout).ok(), "daemon");
    let deadline = Deadline::soon();
    while !dir.daemon_log().contains("app: y") {
        assert!(!deadline.left().is_zero(), "nothing is written");
    }
    let output = cgi::start_front(&app, "/").end();
    assert_eq!(cgi::reply(&output.stdout).ok(), "daemon");
}

#[test]
fn an_import_that_never_ends_ends_with_its_daemon() {
    const HANGS: &str = "import signal\nwhile True: signal.pause()\n";
    for preload in ["on", "off"] {
        let dir = Dir::new();
        let config =
            format!("preload = {preload}\nstart-timeout = SECOND\ngraceful-timeout = SECOND\n");
        dir.file("apps/own.py", HANGS, 0o644);
        let app = dir.app_file(
            "app",
            &format!("wsgi = own:application\nmode = daemon\n{config}"),
        );
        let mut front = cgi::front(&app, "GET", "/", &[]);
        let front = Running::start(&mut front, b"");
        // The zygote ends after `start-timeout`: its pid is noted while it is there.
        let deadline = Deadline::soon();
        let began = loop {
            if let [serving] = dir.all_daemons()[..] {
                let zygotes = children(serving);
                if !zygotes.is_empty() {
                    break [zygotes, vec![serving]].concat();
                }
            }
            assert!(!deadline.left().is_zero(), "no daemon");
        };
        assert_eq!(cgi::reply(&front.end().stdout).status(), 504);
        let deadline = Deadline::soon();
        for pid in began {
            assert!(deadline.ended(pid), "{pid} did not end");
        }
    }
}

#[test]
fn a_connection_from_before_a_failure_is_answered_after_it() {
    const FAILS: &str = "
import os
folder = os.path.dirname(__file__)
with open(folder + '/gate.entered', 'wb', 0) as file:
    file.write(b'%d\\n' % os.getpid())
with open(folder + '/gate.go', 'rb', 0) as file:
    file.read(1)
raise ValueError('not today')
";
    let dir = Dir::new();
    dir.file("apps/own.py", FAILS, 0o644);
    let app = dir.app_file("app", "wsgi = own:application\nmode = daemon\n");
    let mut gate = dir.gate("gate");
    let front = cgi::start_front(&app, "/");
    gate.entered();
    let mut late = ScgiClient::connect(&dir.socket());
    gate.open(1);
    assert_eq!(cgi::reply(&front.end().stdout).status(), 500);
    let reply = late.send(&header("GET", "/", &[], 0)).reply();
    assert_eq!(reply.status(), 500);
}

#[test]
fn a_host_without_a_process_to_spare_does_not_make_the_app_broken() {
    const POOR: &str = "
import resource
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'by a plain CGI']
";
    let dir = Dir::new();
    assert_eq!(status_of(&dir, POOR, "start-timeout = SECOND\n"), 200);
    assert!(dir.daemon_log().contains("cannot fork a worker"));
}

#[test]
fn a_daemon_leaves_even_if_its_lock_is_held() {
    const HOLDER: &str = "
import fcntl, os, signal, sys
lock = open(sys.argv[1], 'r+')
fcntl.lockf(lock, fcntl.LOCK_EX, 1, 0)
with open(sys.argv[2], 'wb', 0) as file:
    file.write(b'%d\\n' % os.getpid())
signal.pause()
";
    let (dir, daemon) = served("graceful-timeout = SECOND\n");
    let mut gate = dir.gate("held");
    let mut holder = as_user("/usr/bin/python3");
    holder.args(["-c", HOLDER]);
    holder.args([dir.place().join("lock"), dir.join("apps/held.entered")]);
    let holder = Running::start(&mut holder, b"");
    let pid = gate.entered();
    daemon::with_its_children(daemon, || send(daemon, Signal::SIGTERM));
    kill_at_once(pid);
    holder.end();
    // The socket's name, which it could not remove, does not keep the next daemon from starting.
    hello(&dir.join("cgi-bin/app"));
    assert_ne!(dir.daemon(), daemon);
}

#[test]
fn a_front_that_inherits_an_ignored_sigchld_starts_the_daemon() {
    let dir = Dir::new();
    let app = dir.app_file("app", CONFIG);
    let mut front = as_user("/usr/bin/env");
    front
        .args(["--ignore-signal=CHLD"])
        .arg(&app)
        .envs(cgi::meta("GET", "/hello", &[]));
    Running::start(&mut front, b"").end().response().ok();
    dir.daemon();
}

/// The client has connected before the daemon leaves, so it is served, however late it sends its request.
#[test]
fn a_plain_client_that_has_connected_is_served_by_a_daemon_that_leaves() {
    let (dir, daemon) = served("");
    let mut client = ScgiClient::connect(&dir.socket());
    let header = header("GET", "/hello", &[], 0);
    let (first, rest) = header.split_at(20);
    client.send(first);
    dir.polycgi(&["stop", "--no-wait"]).success();
    assert!(!dir.socket().exists());
    // Time enough for workers to go, if they did.
    pause(Duration::from_millis(300));
    client.send(rest);
    assert!(client.reply().ok().starts_with("hello from "));
    assert!(Deadline::soon().ended(daemon));
}

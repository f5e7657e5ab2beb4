//! Time limits of a request that is served without a daemon: by the adaptor, by a CGI program, and by a front
//! that asks a server itself. Clients get what the daemon would answer, as far as a process can limit itself.

use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::Signal;

use super::util::patient::PatientRead;
use super::util::{Deadline, Dir, Mpm, Piped, Site, cgi, under_both};

under_both!(apache_answers_for_a_program_that_was_ended);

fn wsgi(mode: &str, config: &str) -> (Dir, std::path::PathBuf) {
    let dir = Dir::new();
    let lines = format!("wsgi = faultapp:application\nmode = {mode}\n{config}");
    let app = dir.app_file("app", &lines);
    if mode == "daemon" {
        // In the daemon the start of a worker is no part of a request's time.
        cgi::start_front(&app, "/hello").end().response().ok();
    }
    (dir, app)
}

fn front(app: &std::path::Path, target: &str) -> Piped {
    Piped::start(&mut cgi::front(app, "GET", target, &[]))
}

/// A status; or, if the response was cut, what came before the cut.
fn outcome(response: &str) -> String {
    let head = response.lines().next().unwrap_or_default();
    let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    format!("{head} {}", body.lines().next().unwrap_or_default())
}

const MODES: [&str; 2] = ["cgi", "daemon"];

#[test]
fn a_stuck_request_ends_alike_in_both_ways() {
    for (how, expected) in [
        ("sleep", "Status: 504 "),
        ("masked", "Status: 504 "),
        ("finally", "Status: 504 "),
        ("deaf", "Status: 504 "),
        ("late", "Status: 200 OK first"),
    ] {
        let outcomes = MODES.map(|mode| {
            let (dir, app) = wsgi(mode, "request-timeout = 1s\n");
            let (response, words) = front(&app, &format!("/stuck?how={how}")).answer();
            let line = ": app: GET /cgi-bin/app/stuck: request-timeout: the app did not ";
            assert!(words.contains(line), "{mode} {how}: {words}");
            // A process that blocks signals can't be asked for its stack.
            let is_shown = words.contains("faultapp.py\", line ");
            assert_eq!(
                is_shown,
                (mode, how) != ("daemon", "deaf"),
                "{mode} {how}: {words}"
            );
            // The log of a daemon has them as faulthandler writes them.
            assert!(mode == "daemon" || !words.contains("<string>"), "{words}");
            if how == "sleep" {
                assert_eq!(dir.lines("marks"), ["finally"], "{mode}");
            }
            outcome(&response)
        });
        assert!(outcomes[0].starts_with(expected), "{how}: {outcomes:?}");
        assert_eq!(outcomes[0], outcomes[1], "{how}");
    }
}

#[test]
fn a_browser_has_a_page() {
    let (_dir, app) = wsgi("cgi", "request-timeout = 1s\n");
    let accept = [("Accept", "text/html")];
    let mut command = cgi::front(&app, "GET", "/stuck?how=sleep", &accept);
    let (response, _) = Piped::start(&mut command).answer();
    let reply = cgi::reply(response.as_bytes());
    assert_eq!(reply.status(), 504);
    assert!(
        reply.text().to_lowercase().starts_with("<!doctype html>"),
        "{}",
        reply.text()
    );
    assert_eq!(reply.field("Cache-Control"), Some("no-store"));
}

/// While C code holds the interpreter's lock, the adaptor can't run: the kernel ends the process, with its stack logged.
#[test]
fn what_never_comes_back_from_c_is_ended() {
    let (_dir, app) = wsgi("cgi", "request-timeout = 1s\n");
    let (response, words, status) = front(&app, "/stuck?how=c").end();
    assert_eq!(response, b"");
    assert!(words.contains("faultapp.py\", line "), "{words}");
    assert_eq!(status.signal(), Some(Signal::SIGALRM as i32));
}

#[test]
fn an_import_is_limited_too() {
    let dir = Dir::new();
    dir.file("apps/own.py", "import time\ntime.sleep(600)\n", 0o644);
    let app = dir.app_file(
        "app",
        "wsgi = own:application\nmode = cgi\nrequest-timeout = 1s\n",
    );
    let (response, words) = front(&app, "/").answer();
    assert!(response.starts_with("Status: 504 "), "{response}");
    assert!(words.contains("own.py\", line 2"), "{words}");
}

#[test]
fn what_moves_is_not_stuck() {
    for mode in MODES {
        let (_dir, app) = wsgi(mode, "request-timeout = 1s\n");
        let (response, words) = front(&app, "/drip?count=8&ms=250").answer();
        assert!(
            response.ends_with("\r\n\r\n0\n1\n2\n3\n4\n5\n6\n7\n"),
            "{mode}: {response}{words}"
        );
        assert_eq!(words, "", "{mode}");
    }
}

#[test]
fn request_limit_counts_whatever_moves() {
    for mode in MODES {
        let (_dir, app) = wsgi(mode, "request-limit = 1s\n");
        let (response, words) = front(&app, "/drip?count=1000&ms=100").answer();
        let lines = response.split_once("\r\n\r\n").expect("a head").1;
        let numbers: Vec<&str> = lines.lines().collect();
        let expected: Vec<String> = (0..numbers.len()).map(|n| n.to_string()).collect();
        assert_eq!(numbers, expected, "{mode}: nothing is added");
        assert!((1..100).contains(&numbers.len()), "{mode}: {response}");
        assert!(words.contains("faultapp.py\", line "), "{mode}: {words}");
        let (response, words) = front(&app, "/stuck?how=sleep").answer();
        assert!(response.starts_with("Status: 504 "), "{mode}: {response}");
        assert!(words.contains("request-limit"), "{mode}: {words}");
    }
}

#[test]
fn a_body_that_does_not_come_is_a_408() {
    for mode in MODES {
        let (_dir, app) = wsgi(mode, "request-timeout = 1s\n");
        let mut command = cgi::front(&app, "POST", "/digest", &[]);
        let mut posting = Piped::start(command.env("CONTENT_LENGTH", "9"));
        let response = posting.stdout.response_head();
        assert!(response.starts_with("Status: 408 "), "{mode}: {response}");
        // The daemon waits for the rest of it for a while.
        posting.stdin.take();
        assert!(posting.ended().success(), "{mode}");
    }
}

#[test]
fn a_client_that_takes_nothing_keeps_no_process() {
    let (_dir, app) = wsgi("cgi", "request-timeout = 1s\n");
    let mut unread = front(&app, "/big?size=50000000");
    unread.ended();
}

/// Nothing of polycgi runs beside a plain CGI program: SIGALRM ends it at the limit.
#[test]
fn a_program_is_ended_at_request_limit() {
    let dir = Dir::new();
    dir.file("apps/slow.sh", "#!/bin/sh\nexec sleep 600\n", 0o755);
    let app = dir.app_file("app", "cgi = ./slow.sh\nmode = cgi\nrequest-limit = 1s\n");
    let (response, _, status) = front(&app, "/").end();
    assert_eq!(response, b"");
    assert_eq!(status.signal(), Some(Signal::SIGALRM as i32));
}

/// There is no 504: no process of polycgi is left to write it.
fn apache_answers_for_a_program_that_was_ended(mpm: Mpm) {
    let mut site = Site::bare(mpm, 16);
    let dir = &site.dir;
    dir.file("apps/slow.sh", "#!/bin/sh\nexec sleep 600\n", 0o755);
    dir.app_file("app", "cgi = ./slow.sh\nmode = cgi\nrequest-limit = 1s\n");
    assert_eq!(site.get("/").status(), 500);
    let log = site.log();
    assert!(log.contains("End of script output before headers"), "{log}");
}

/// A server of `connect` that accepts and never answers; the front asks it, without a daemon.
#[test]
fn a_front_that_asks_a_server_keeps_its_time() {
    for (limit, key) in [
        ("request-timeout", "request-timeout"),
        ("request-limit", "request-limit"),
    ] {
        let dir = Dir::new();
        let path = dir.join("apps/theirs");
        let listener = UnixListener::bind(&path).expect("a socket can be bound");
        super::util::run(
            std::process::Command::new("/bin/chmod")
                .arg("666")
                .arg(&path),
            b"",
        )
        .success();
        let config = format!("connect = {}\n{limit} = 1s\n", path.display());
        let app = dir.app_file("app", &config);
        dir.polycgi(&["stop", "--hold"]);
        let (response, words) = front(&app, "/").answer();
        assert!(response.starts_with("Status: 504 "), "{response}{words}");
        assert!(words.contains(key), "{words}");
        assert!(dir.all_daemons().is_empty());
        // A client that sends no body gets a 408.
        if key == "request-timeout" {
            let mut command = cgi::front(&app, "POST", "/", &[]);
            let mut posting = Piped::start(command.env("CONTENT_LENGTH", "9"));
            let deadline = Deadline::soon();
            assert!(deadline.readable(&posting.stdout), "no answer");
            posting.stdin.take();
            let (response, _) = posting.answer();
            assert!(response.starts_with("Status: 408 "), "{response}");
        }
        drop(listener);
    }
}

/// The app fills the web server's log, and ends while oversee() has not written its line there.
const STALLS: &str = "
import os, sys, time

def application(environ, start_response):
    os.set_blocking(2, False)
    try:
        while True:
            os.write(2, b'x' * 4096)
    except BlockingIOError:
        os.set_blocking(2, True)
    def is_over(frame):
        while frame:
            if frame.f_code.co_name == 'oversee' and 'is_ours' in frame.f_locals:
                return True
            frame = frame.f_back
    while not any(map(is_over, sys._current_frames().values())):
        time.sleep(0.01)
    if environ['QUERY_STRING'] == 'raise':
        raise ValueError('too late')
    start_response('200 OK', [])
    return [b'too late']
";

#[test]
fn a_log_that_stalls_holds_up_no_page() {
    let dir = Dir::new();
    dir.file("apps/own.py", STALLS, 0o644);
    let lines = "wsgi = own:application\nmode = cgi\nrequest-timeout = 1s\n";
    let app = dir.app_file("app", lines);
    for how in ["return", "raise"] {
        let mut front = front(&app, &format!("/x?{how}"));
        let begin = b"Status: 504 ";
        let page = front.stdout.exactly(begin.len());
        assert_eq!(page, begin, "{how}: {}", String::from_utf8_lossy(&page));
        let words = front.stderr.to_the_end();
        let words = String::from_utf8_lossy(&words);
        assert!(words.contains("request-timeout: the app"), "{how}: {words}");
        let rest = front.stdout.to_the_end();
        let rest = String::from_utf8_lossy(&rest);
        assert!(
            !rest.contains("Status: ") && !rest.contains("too late"),
            "{how}: {rest}"
        );
        assert!(front.ended().success());
    }
}

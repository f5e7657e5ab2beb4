//! The smallest and the largest value of every key that is a quantity: an app is served with what the parser accepts.

use polycgi::config::EXTREMES;

use super::util::{Dir, Output, Reply, Running, cgi};

/// Requests one after the other: each must be answered.
const IN_TURN: usize = 20;
/// Requests at once: each is answered, or told to come back.
const AT_ONCE: usize = 8;

const HELLO: &str =
    "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\nhello from the shell\\n'\n";

/// An app file with this line, in the mode in which the key counts.
fn config(key: &str, line: &str) -> String {
    let app = match key {
        // Up to 1024 processes of an interpreter would start; a CGI program starts with its request.
        "min-procs" | "min-idle" => "cgi = ./hello.sh",
        // On a busy host an interpreter may take longer than the smallest limit.
        "start-timeout" | "request-timeout" | "request-limit" => "cgi = ./hello.sh",
        _ => "wsgi = testapp:application",
    };
    let mode = match key {
        "cgi-max" | "daemon-when-busy" | "daemon-when-load" | "daemon-when-rate" => "auto",
        _ => "daemon",
    };
    format!("{app}\nmode = {mode}\n{line}\n")
}

/// Above a load of 0 there is only the page, where no daemon answers. Whether any process has waited for memory in the
/// last 10 s, no test can know.
fn means_the_page(key: &str, value: &str) -> bool {
    matches!(key, "overload-when-load" | "overload-when-pressure") && value == "0"
}

fn assert_hello(reply: &Reply, line: &str) {
    let text = reply.text();
    assert_eq!(reply.status(), 200, "{line}: {text}");
    assert!(text.starts_with("hello from "), "{line}: {text}");
}

/// The response of a front. Its daemon may leave at that moment, or be slow on a busy host: then the front says so, and
/// the app runs as a plain CGI.
#[track_caller]
fn answer(front: Running) -> Reply {
    let Output {
        status,
        stdout,
        stderr,
    } = front.end();
    let is_expected =
        |line: &str| line.ends_with(" has taken no request; the app runs as a plain CGI");
    let is_right = status.success() && stderr.lines().all(is_expected);
    assert!(is_right, "{status}: {stderr}");
    cgi::reply(&stdout)
}

fn is_served(line: &str, config: &str) {
    let dir = Dir::new();
    dir.file("apps/hello.sh", HELLO, 0o755);
    let app = dir.app_file("app", config);
    for _ in 0..IN_TURN {
        let reply = answer(cgi::start_front(&app, "/hello"));
        assert_hello(&reply, line);
    }
    let fronts = (0..AT_ONCE).map(|_| cgi::start_front(&app, "/hello"));
    for front in fronts.collect::<Vec<_>>() {
        let reply = answer(front);
        if reply.status() == 503 {
            assert!(reply.field("Retry-After").is_some(), "{line}");
        } else {
            assert_hello(&reply, line);
        }
    }
}

#[track_caller]
fn every(value: impl Fn(&'static str, &'static str) -> &'static str) {
    for (key, least, most) in EXTREMES {
        let value = value(least, most);
        if !means_the_page(key, value) {
            let line = format!("{key} = {value}");
            is_served(&line, &config(key, &line));
        }
    }
}

#[test]
fn the_smallest_of_every_key_is_served() {
    every(|least, _| least);
}

#[test]
fn the_largest_of_every_key_is_served() {
    every(|_, most| most);
}

#[test]
fn keys_that_meet_at_their_ends() {
    for lines in [
        "queue-size = 0\nqueue-timeout = 0ms\nmax-procs = 1\nmin-idle = 0",
        "queue-size = 0\nmax-procs = 1\nmax-requests = 1\nmin-idle = 0",
        "idle-timeout = 100ms\nmin-lifetime = 0ms\nworker-idle-timeout = 0ms\nmin-idle = 0",
        "cgi-max = 0\nmode = auto\nqueue-size = 0",
    ] {
        let mode = if lines.contains("mode") {
            ""
        } else {
            "mode = daemon\n"
        };
        is_served(
            lines,
            &format!("wsgi = testapp:application\n{mode}{lines}\n"),
        );
    }
}

/// With `queue-size = 0` a request for which there is no worker gets its 503 at once.
#[test]
fn without_a_queue_no_request_waits_for_others() {
    let dir = Dir::new();
    let config = "wsgi = testapp:application\nmode = daemon\nqueue-size = 0\nmax-procs = 2\n";
    let app = dir.app_file("app", config);
    let mut gate = dir.gate("gate");
    let held = [(); 2].map(|()| cgi::start_front(&app, "/hold?gate=gate"));
    for _ in &held {
        gate.entered();
    }
    let reply = cgi::start_front(&app, "/hello").end().response();
    assert_eq!(reply.status(), 503, "{}", reply.text());
    // One that has waited for `queue-timeout` is refused as `queue-slow`.
    dir.until_status_has("counts.queue-full = 1");
    gate.open(2);
    for front in held {
        front.end().response().ok();
    }
    assert_hello(&cgi::start_front(&app, "/hello").end().response(), "after");
}

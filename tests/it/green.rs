//! Applications under gevent and eventlet, from PyPI: these replace much of the standard library when they are imported,
//! and the adaptor must go on without it.

use super::util::served::noise;
use super::util::{Dir, cgi, prefix, run};

const WAYS: [&str; 3] = [
    "mode = cgi",
    "mode = daemon",
    "mode = daemon\npreload = off",
];

fn app_file(dir: &Dir, package: &str, config: &str) {
    let config = format!(
        "wsgi = greenapp:application\npython = {}\nenv.GREEN = {package}\n{config}",
        prefix().join("green").display()
    );
    dir.app_file("app", &config);
}

#[track_caller]
fn serves(package: &str) {
    for way in WAYS {
        let dir = Dir::new();
        app_file(&dir, package, way);
        let app = dir.join("cgi-bin/app");
        // More than one worker, and more than one request for each.
        for _ in 0..3 {
            for (target, expected) in [
                ("/threads", "done done done"),
                ("/sockets", "SENT"),
                ("/program", "said"),
            ] {
                let reply = cgi::start_front(&app, target).end().response();
                assert_eq!(reply.ok(), expected, "{package}, {way}");
            }
        }
        let body = noise(300_000);
        let mut front = cgi::front(&app, "POST", "/echo", &[]);
        let front = front.env("CONTENT_LENGTH", body.len().to_string());
        let reply = cgi::reply(&run(front, &body).stdout);
        assert_eq!(reply.status(), 200, "{package}, {way}");
        assert!(reply.body == body, "{package}, {way}");
    }
}

#[track_caller]
fn stops_in_time(package: &str) {
    for way in &WAYS[1..] {
        let dir = Dir::new();
        app_file(&dir, package, &format!("{way}\nrequest-timeout = 1s"));
        let app = dir.join("cgi-bin/app");
        let reply = cgi::reply(&cgi::start_front(&app, "/stuck").end().stdout);
        assert_eq!(reply.status(), 504, "{package}, {way}");
        let reply = cgi::start_front(&app, "/threads").end().response();
        assert_eq!(reply.ok(), "done done done", "{package}, {way}");
    }
}

#[test]
fn gevent() {
    serves("gevent");
}

#[test]
fn gevent_and_a_request_that_is_stuck() {
    stops_in_time("gevent");
}

#[test]
fn eventlet() {
    serves("eventlet");
}

#[test]
fn eventlet_and_a_request_that_is_stuck() {
    stops_in_time("eventlet");
}

//! A request between its front and the daemon: when the front stays, when it may leave, when it takes the request back,
//! and that a request is never run twice.

use std::fs;
use std::io::Read;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::util::process::{is_alive, kill_at_once, send, stop};
use super::util::scgi;
use super::util::{
    Deadline, Dir, Gate, LONG_QUEUE, Mpm, Piped, Site, as_user, cgi, daemon, digest, under_both,
};

const CONFIG: &str = "wsgi = testapp:application\nmode = daemon\n";
/// How long the daemon waits for a front to end, before it ends the response.
const PARTING_TIME: Duration = Duration::from_secs(1);

under_both!(
    a_front_stays_where_it_must
    handoff_stay
    handoff_exit
    handoff_relay
    a_stopped_daemon_loses_the_request
);

fn a_front_stays_where_it_must(mpm: Mpm) {
    forwarded(mpm, "auto", mpm == Mpm::Event);
}

fn handoff_stay(mpm: Mpm) {
    forwarded(mpm, "stay", true);
}

fn handoff_exit(mpm: Mpm) {
    forwarded(mpm, "exit", false);
}

fn handoff_relay(mpm: Mpm) {
    forwarded(mpm, "relay", true);
}

/// Whether the front lives while the application runs. The answers are the same in any case.
fn forwarded(mpm: Mpm, handoff: &str, stays: bool) {
    let site = Site::configured(mpm, 16, &format!("{CONFIG}handoff = {handoff}\n"));
    site.get("/hello").ok();
    let mut gate = site.dir.gate("gate");
    let held = site.open("GET", "/hold?gate=gate", &[], None);
    let worker = gate.entered();
    let fronts = site.dir.fronts();
    if stays {
        assert_eq!(fronts.len(), 1, "{fronts:?}");
        assert!(site.get("/hello").ok() != format!("hello from {worker}\n"));
        assert!(is_alive(fronts[0]));
    } else {
        // It may be about to exit; it has to before its request is done.
        for front in &fronts {
            assert!(Deadline::soon().ended(*front));
        }
    }
    gate.open(1);
    assert_eq!(held.reply().ok(), format!("{worker}\n"));
    for front in fronts {
        assert!(Deadline::soon().ended(front), "the request is done");
    }

    let body: Vec<u8> = (0..5_000_000_u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let reply = site.send("POST", "/digest", &[], Some(&body));
    assert_eq!(reply.ok(), format!("{} 5000000\n", digest(&body)));
    let reply = site.get("/big?size=50000000");
    assert_eq!((reply.status(), reply.body.len()), (200, 50_000_000));
    let numbers = reply.body.chunks(65536).map(|block| &block[..16]);
    for (number, shown) in numbers.enumerate() {
        assert_eq!(shown, format!("{number:015}\n").as_bytes());
    }
    let head = site.send("HEAD", "/status/200", &[], None);
    assert_eq!((head.status(), head.body.len()), (200, 0));
    assert_eq!(site.get("/status/404").text(), "status 404\n");
}

/// A daemon that has not acknowledged the request: the front takes it back after 2 s, and the daemon must see that. The
/// descriptors on their way can't be taken back: the response has no end before they are closed.
fn a_stopped_daemon_loses_the_request(mpm: Mpm) {
    let mut site = Site::configured(mpm, 16, CONFIG);
    site.get("/hello").ok();
    let serving = site.dir.daemon();
    stop(serving);
    let began = std::time::Instant::now();
    let mut response = site.open("GET", "/mark?name=taken-back", &[], None);
    assert_eq!(response.head().status, 200);
    assert_eq!(response.piece().as_deref(), Some(&b"taken-back cgi\n"[..]));
    assert!(began.elapsed().as_secs() >= 2, "it was given time");
    send(serving, Signal::SIGCONT);
    assert_eq!(response.piece(), None);
    assert_eq!(site.get("/mark?name=after").ok(), "after daemon\n");
    assert_eq!(site.dir.daemon(), serving);
    // A daemon that ends has finished every request that it took.
    daemon::with_its_children(serving, || send(serving, Signal::SIGTERM));
    assert_eq!(site.dir.lines("marks"), ["taken-back cgi", "after daemon"]);
    let log = site.log();
    let said = format!("the daemon is stopped (pid {serving}), and did not answer in time");
    assert_eq!(log.matches(&said).count(), 1, "{log}");
}

/// The front's death means that its client is gone.
#[test]
fn a_killed_front_s_request_is_dropped() {
    let dir = Dir::new();
    let app = dir.app_file("app", &format!("{CONFIG}{LONG_QUEUE}max-procs = 1\n"));
    let mut gate = dir.gate("gate");
    let held = cgi::start_front(&app, "/hold?gate=gate");
    let worker = gate.entered();
    let queued = cgi::start_front(&app, "/mark?name=dropped");
    dir.until_status_has("queue = 1");
    kill_at_once(queued.pid());
    drop(queued);
    dir.until_status_has("queue = 0");
    gate.open(1);
    assert_eq!(held.end().response().ok(), format!("{worker}\n"));
    let after = cgi::start_front(&app, "/mark?name=after").end();
    assert_eq!(after.response().ok(), "after daemon\n");
    let serving = dir.daemon();
    daemon::with_its_children(serving, || send(serving, Signal::SIGTERM));
    assert_eq!(dir.lines("marks"), ["after daemon"]);
}

/// A thousand requests that wait need no process. The daemon alone has them, so one that is stopped serves them first;
/// a client that goes while it waits is still dropped.
#[test]
fn a_front_that_must_leave_leaves_the_queue() {
    let dir = Dir::new();
    let app = dir.app_file(
        "app",
        &format!("{CONFIG}{LONG_QUEUE}max-procs = 1\nhandoff = exit\n"),
    );
    let mut gate = dir.gate("gate");
    let front = |target: &str| Piped::start(&mut cgi::front(&app, "GET", target, &[]));
    let (mut held, mut queued) = (front("/hold?gate=gate"), Vec::new());
    let worker = gate.entered();
    for name in ["gone", "first", "second"] {
        queued.push(front(&format!("/mark?name={name}")));
    }
    dir.until_status_has("queue = 3");
    for front in queued.iter_mut().chain([&mut held]) {
        assert!(front.ended().success());
    }
    dir.until_status_has("queue = 3");
    queued.remove(0);
    dir.until_status_has("queue = 2");
    let serving = dir.daemon();
    send(serving, Signal::SIGTERM);
    // The daemon has given up its socket's name.
    dir.until_status_has("state = \"down\"");
    gate.open(1);
    let body = |front: Piped| cgi::reply(front.answer().0.as_bytes()).ok();
    assert_eq!(body(held), format!("{worker}\n"));
    let bodies: Vec<_> = queued.into_iter().map(body).collect();
    assert_eq!(bodies, ["first daemon\n", "second daemon\n"]);
    assert!(Deadline::soon().ended(serving));
    let mut marks = dir.lines("marks");
    marks.sort();
    assert_eq!(marks, ["first daemon", "second daemon"]);
}

/// A slow front: it hands over the request in a file, waits until it is told that all is done, closes its descriptors,
/// and ends when its own input does.
const SLOW_FRONT: &str = "
import os, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
with open(sys.argv[2], 'rb') as file:
    socket.send_fds(connection, [file.read()], [0, 1, 2])
words = connection.recv(3, socket.MSG_WAITALL)
connection.close()
os.close(1)
os.write(2, words)
os.close(2)
os.read(0, 1)
";

/// Such a front with only its input still open, and the output, which has the daemon's answer; and a time before that.
fn handed_over(dir: &Dir, gate: &mut Gate) -> (Child, ChildStdout, Instant) {
    let meta = cgi::meta("GET", "/hold?gate=gate", &[]);
    let meta = meta
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let first = [("CONTENT_LENGTH", ""), ("SCGI", "1"), ("POLYCGI", "1")];
    let header = dir.join("header");
    fs::write(&header, scgi::netstring(first.into_iter().chain(meta))).unwrap();
    let mut front = as_user("/usr/bin/python3")
        .args(["-c", SLOW_FRONT])
        .args([&dir.socket(), &header])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    gate.entered();
    let before = Instant::now();
    gate.open(1);
    let mut told = [0; 3];
    let mut words = front.stderr.take().unwrap();
    words.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"QTD");
    let response = front.stdout.take().unwrap();
    (front, response, before)
}

/// Apache pauses if it finds its CGI alive at the response's end.
fn ends_when_its_front_has_ended(handoff: &str) {
    let dir = Dir::new();
    let app = dir.app_file("app", &format!("{CONFIG}handoff = {handoff}\n"));
    cgi::start_front(&app, "/hello").end().response().ok();
    let mut gate = dir.gate("gate");
    let mut said = vec![0; 65536];
    let is_seen = |_: &u32| {
        let (mut front, mut response, before) = handed_over(&dir, &mut gate);
        let length = response.read(&mut said).unwrap();
        cgi::reply(&said[..length]).ok();
        // By then the daemon has handled every event so far.
        dir.until_status_has("queue = 0");
        let has_ended = Deadline::now().readable(&response);
        // The daemon does not wait for longer than that.
        let is_in_time = before.elapsed() < PARTING_TIME;
        assert!(!(has_ended && is_in_time), "it has ended");
        drop(front.stdin.take());
        assert_eq!(response.read(&mut said).unwrap(), 0);
        assert!(front.wait().unwrap().success());
        is_in_time
    };
    // A machine may be too busy for a look in time.
    let seen = (0..30).find(is_seen);
    seen.expect("no look in time");
}

#[test]
fn a_response_ends_when_its_front_has_ended() {
    ends_when_its_front_has_ended("stay");
}

#[test]
fn a_response_ends_when_its_front_has_ended_that_was_let_go_early() {
    ends_when_its_front_has_ended("exit");
}

#[test]
fn a_front_that_does_not_go_does_not_hold_the_response() {
    let dir = Dir::new();
    let app = dir.app_file("app", &format!("{CONFIG}handoff = stay\n"));
    cgi::start_front(&app, "/hello").end().response().ok();
    let (mut front, mut response, _) = handed_over(&dir, &mut dir.gate("gate"));
    let mut said = Vec::new();
    response.read_to_end(&mut said).unwrap();
    cgi::reply(&said).ok();
    assert_eq!(front.try_wait().unwrap(), None, "it is there still");
    drop(front.stdin.take());
    assert!(front.wait().unwrap().success());
}

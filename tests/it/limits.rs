//! The keys that limit a request, a worker or their number: what happens when the limit is reached, and that nothing
//! happens before.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::util::daemon::workers_that_are;
use super::util::patient::{PatientRead, PatientWrite, do_not_block};
use super::util::process::{is_alive, kill_at_once, send};
use super::util::scgi::{ScgiClient, header};
use super::util::served::{app_file, noise, pid_in};
use super::util::{Deadline, Dir, Mpm, Piped, Served, Site, as_user, cgi, daemon, run, under_both};

under_both!(request_timeout);

/// Behind Apache: the client's page, and the stack in the error log.
fn request_timeout(mpm: Mpm) {
    let mut site = Site::bare(mpm, 16);
    app_file(&site.dir, "max-procs = 2\nrequest-timeout = SECOND\n");
    let mut gate = site.dir.gate("gate");
    let mut helpers = site.dir.gate("helper");
    let stuck = site.open("GET", "/stuck?how=sleep&gate=gate&helper=helper", &[], None);
    let (worker, helper) = (gate.entered(), helpers.entered());
    assert!(is_alive(helper));
    let serving = site.dir.daemon();
    let reply = stuck.reply();
    assert_eq!(reply.status(), 504, "{}", reply.text());
    assert!(
        reply.text().starts_with("504 Gateway Time"),
        "{}",
        reply.text()
    );
    assert_eq!(reply.field("Cache-Control"), Some("no-store"));
    for pid in [worker, helper] {
        assert!(Deadline::soon().ended(pid), "{pid} is still there");
    }
    assert_eq!(site.dir.lines("marks"), ["finally"], "it was told before");
    site.get("/hello").ok();
    assert_eq!(site.dir.daemon(), serving);
    let log = site.log();
    // Python writes a line in pieces, and a web server may log each by itself.
    assert!(log.contains("sleep_for_ever"), "no stack: {log}");
    assert!(log.contains("faultapp.py"), "no stack: {log}");
    let said = log.matches("request-timeout").count();
    assert_eq!(said, 1, "{log}");
    site.dir.until_logged("request-timeout");
}

/// A worker that does not end when it is told to is killed after 5 s. Until then its place is taken; the others serve.
#[test]
fn a_worker_that_cannot_be_told_is_killed() {
    let ways = ["masked", "deaf", "finally", "c", "late"];
    let served = Served::start("max-procs = 6\nrequest-timeout = SECOND\n");
    let mut gate = served.dir.gate("gate");
    let mut helpers = served.dir.gate("helper");
    let began = Instant::now();
    let stuck = ways.map(|how| {
        let helper = if how == "masked" {
            "&helper=helper"
        } else {
            ""
        };
        let front = served.front(&format!("/stuck?how={how}&gate=gate{helper}"));
        (how, front, gate.entered())
    });
    let helper = helpers.entered();
    served.dir.until_status("stuck ones are seen", |status| {
        workers_that_are(status, "stuck") == 4
    });
    served.hello();
    for (how, front, worker) in stuck {
        let (response, words) = front.answer();
        if how == "late" {
            assert!(response.ends_with("\r\n\r\nfirst\n"), "added: {response}");
        } else {
            assert!(response.starts_with("Status: 504 "), "{how}: {response}");
            assert!(began.elapsed() >= Duration::from_secs(5), "no time: {how}");
        }
        // A process that blocks signals can't be asked for its stack.
        let is_shown = words.contains("faultapp.py");
        assert_eq!(is_shown, how != "deaf", "the stack of {how}: {words}");
        assert!(Deadline::soon().ended(worker), "{how}");
    }
    assert!(Deadline::soon().ended(helper), "killed with its group");
    served.is_well();
}

/// A request that moves is not stuck: each takes 1.6 s, with a limit of 1 s between two blocks.
#[test]
fn progress_keeps_a_request_alive() {
    let served = Served::start("max-procs = 3\nrequest-timeout = SECOND\n");
    let began = Instant::now();
    let dripping = served.front("/drip?count=9&ms=200");
    // All of the body is in the pipe, and the application reads it slowly.
    let body = noise(7 * 65536);
    let mut sipping = served.posting("/sip?ms=200", body.len());
    sipping.stdin().give(&body);
    // The client sends the body slowly, to the daemon's loop.
    let mut plain = served.plain_posting("/digest", 9);
    for byte in 0..9 {
        plain.send(&[byte]);
        // No wait, but the client's pace: no response comes meanwhile.
        let is_answered = Deadline::after(Duration::from_millis(200)).readable(plain.stream());
        assert_eq!(is_answered, byte == 8, "{byte}");
        if is_answered {
            break;
        }
    }
    assert!(plain.reply().ok().ends_with(" 9\n"));
    let (response, words) = dripping.answer();
    assert!(
        response.ends_with("\r\n\r\n0\n1\n2\n3\n4\n5\n6\n7\n8\n"),
        "{response}{words}"
    );
    let (response, words) = sipping.answer();
    assert!(
        response.ends_with(&format!("\r\n\r\n{}\n", body.len())),
        "{response}{words}"
    );
    assert!(
        began.elapsed() > Duration::from_millis(1500),
        "nothing was shown"
    );
    served.is_well();
}

/// By wall-clock time, whether the request moves or not: a page, or a cut if the response has begun.
#[test]
fn request_limit() {
    let served = Served::start("max-procs = 3\nrequest-limit = SECOND\n");
    let dripping = served.front("/drip?count=100&ms=100");
    let body = noise(100 * 65536);
    let mut sipping = served.posting("/sip?ms=100", body.len());
    sipping.stdin().offer(&body[..65536]);
    let stuck = served.front("/stuck?how=sleep");
    let (response, _) = dripping.answer();
    let (_, lines) = response.split_once("\r\n\r\n").expect("a head");
    let numbers: Vec<&str> = lines.lines().collect();
    let expected: Vec<String> = (0..numbers.len()).map(|n| n.to_string()).collect();
    assert_eq!(numbers, expected, "nothing is added");
    assert!((1..60).contains(&numbers.len()), "{response}");
    let (response, words) = stuck.answer();
    assert!(response.starts_with("Status: 504 "), "{response}");
    assert!(words.contains("sleep_for_ever"), "{words}");
    drop(sipping);
    served.is_well();
}

#[test]
fn a_header_that_does_not_come() {
    let served = Served::start("");
    let whole = header("GET", "/mark?name=x", &[], 0);
    let mut silent = ScgiClient::connect(&served.dir.socket());
    let mut half = ScgiClient::connect(&served.dir.socket());
    half.send(&whole[..whole.len() / 2]);
    for client in [&mut silent, &mut half] {
        let said = client.stream().to_the_end();
        assert!(
            said.is_empty() || said.starts_with(b"Status: 4"),
            "{:?}",
            String::from_utf8_lossy(&said)
        );
    }
    assert_eq!(served.dir.lines("marks"), [""; 0]);
    served.is_well();
}

/// A request that waits behind a stuck worker gets an answer in time.
#[test]
fn queue_timeout_behind_a_stuck_worker() {
    let served =
        Served::start("max-procs = 1\nrequest-timeout = 2 SECOND\nqueue-timeout = SECOND\n");
    let mut gate = served.dir.gate("gate");
    let stuck = served.front("/stuck?how=masked&gate=gate");
    let worker = gate.entered();
    let waits = served.front("/hello");
    served.dir.until_status_has("queue = 1");
    let (response, _) = waits.answer();
    assert!(response.starts_with("Status: 503 "), "{response}");
    assert!(response.contains("Retry-After: "), "{response}");
    assert!(is_alive(worker), "it has the only place");
    let (response, _) = stuck.answer();
    assert!(response.starts_with("Status: 504 "), "{response}");
    served.is_well();
}

/// The app never becomes ready: clients get the page, and the daemon leaves.
#[test]
fn start_timeout() {
    let dir = Dir::new();
    dir.file("apps/never.py", "import time\ntime.sleep(3600)\n", 0o644);
    let app = dir.app_file(
        "app",
        "wsgi = never:application\nmode = daemon\nstart-timeout = 1s\n",
    );
    let front = Piped::start(&mut cgi::front(&app, "GET", "/", &[]));
    let (response, _) = front.answer();
    assert!(response.starts_with("Status: 504 "), "{response}");
    let deadline = Deadline::soon();
    for process in dir.processes() {
        assert!(deadline.ended(process.pid), "{process:?} is still there");
    }
}

#[test]
fn graceful_timeout() {
    let served = Served::start("max-procs = 3\ngraceful-timeout = SECOND\n");
    let mut gate = served.dir.gate("gate");
    let held = served.front("/hold?gate=gate");
    gate.entered();
    let stuck = served.front("/stuck?how=masked&gate=gate");
    let worker = gate.entered();
    let mut open = served.dir.gate("open");
    let quick = served.front("/hold?gate=open");
    open.entered();
    served.dir.until_status("all three run", |status| {
        workers_that_are(status, "busy") == 3
    });
    let began = Instant::now();
    daemon::with_its_children(served.daemon, || {
        send(served.daemon, Signal::SIGTERM);
        open.open(1);
    });
    assert!(began.elapsed() >= Duration::from_millis(900), "no grace");
    assert!(!is_alive(worker));
    let (response, _) = quick.answer();
    assert!(response.starts_with("Status: 200 "), "{response}");
    for front in [held, stuck] {
        let (response, _) = front.answer();
        assert!(response.starts_with("Status: 50"), "{response}");
    }
}

/// A body that is still to come when the daemon has to leave: its client gets a 503.
#[test]
fn a_body_beyond_the_graceful_timeout() {
    const SIZE: usize = 400_000;
    let served = Served::start("graceful-timeout = SECOND\n");
    let mut front = served.posting("/digest", SIZE);
    let mut plain = served.plain_posting("/digest", SIZE);
    let half = [b'x'; SIZE / 2];
    front.stdin().give(&half);
    plain.send(&half);
    // The daemon has read a part of each body, so no other process can serve them.
    served.until_spooled("two of them", |files| files.len() == 2);
    daemon::with_its_children(served.daemon, || {
        send(served.daemon, Signal::SIGTERM);
        assert_eq!(plain.reply().status(), 503);
        // Each client ends its body here; it could still have sent the rest.
        drop(plain);
        front.stdin = None;
        let (response, _) = front.answer();
        assert!(response.starts_with("Status: 503 "), "{response}");
    });
}

/// A request that gets the place of another in a full queue: its body is read first, and by no worker.
#[test]
fn a_known_client_s_body_is_read_before_it_has_a_place() {
    const SIZE: usize = 400_000;
    let served =
        Served::start("max-procs = 1\nqueue-size = 1\nqueue-timeout = 1h\nqueue-target = 1h\n");
    let mut gate = served.dir.gate("gate");
    let held = served.front("/hold?gate=gate");
    gate.entered();
    let other = served.front("/hello");
    served.dir.until_status_has("queue = 1");
    let mut known = cgi::front(&served.app, "POST", "/digest", &[]);
    known.env("CONTENT_LENGTH", SIZE.to_string());
    let mut known = Piped::start(known.env("REMOTE_USER", "ann"));
    known.stdin().give(&[b'x'; SIZE / 2]);
    served.until_spooled("half of it", |files| files.len() == 1);
    assert!(is_alive(other.pid()), "its place was taken too soon");
    known.stdin().give(&[b'x'; SIZE / 2]);
    known.stdin = None;
    let (response, _) = other.answer();
    assert!(response.starts_with("Status: 503 "), "{response}");
    gate.open(1);
    for front in [held, known] {
        let (response, _) = front.answer();
        assert!(response.starts_with("Status: 200 "), "{response}");
    }
}

/// Without the daemon no process would end a stuck worker: it ends by its own alarm.
#[test]
fn dead_man_s_switch() {
    let served = Served::start("max-procs = 2\nrequest-timeout = SECOND\n");
    let mut gate = served.dir.gate("gate");
    let stuck = ["sleep", "c"].map(|how| {
        let front = served.front(&format!("/stuck?how={how}&gate=gate"));
        (front, gate.entered())
    });
    kill_at_once(served.daemon);
    for (front, worker) in stuck {
        let deadline = Deadline::within(Duration::from_secs(45));
        assert!(deadline.ended(worker), "it stays for ever");
        let (response, _, _) = front.end();
        assert!(
            response.is_empty(),
            "{}",
            String::from_utf8_lossy(&response)
        );
    }
    // The next request is served.
    served.hello();
}

#[test]
fn max_rss() {
    let served = Served::start("max-procs = 1\nmin-idle = 0\nmax-rss = 64M\n");
    let first = served.hello();
    let grown = pid_in(&served.get("/grow?size=1000000").ok());
    assert_eq!([grown, served.hello()], [first; 2], "it is small");
    assert_eq!(pid_in(&served.get("/grow?size=100000000").ok()), first);
    assert!(Deadline::soon().ended(first));
    assert_ne!(served.hello(), first);
    served.is_well();
}

#[test]
fn min_procs() {
    let served = Served::start("min-procs = 3\nmax-procs = 4\nworker-idle-timeout = 1s\n");
    let three = |status: &[String]| workers_that_are(status, "idle") == 3;
    served.dir.until_status("three are there", three);
    let before = daemon::workers(&served.dir.status());
    kill_at_once(before[0].0);
    served
        .dir
        .until_status("three again, and another", |status| {
            let workers = daemon::workers(status);
            three(status) && workers.iter().all(|(pid, _)| *pid != before[0].0)
        });
    // A fourth worker is one too many, and leaves after a second.
    let mut gate = served.dir.gate("gate");
    let held = [(); 4].map(|()| served.front("/hold?gate=gate"));
    let workers = [(); 4].map(|()| gate.entered());
    gate.open(4);
    for front in held {
        front.answer();
    }
    served.dir.until_status("three of four", |status| {
        three(status) && !workers.iter().all(|pid| is_alive(*pid))
    });
    // The three that are kept stay: none leaves only to be replaced.
    let stay = daemon::workers(&served.dir.status());
    let while_they_would_go = Deadline::after(Duration::from_millis(2500));
    while !while_they_would_go.left().is_zero() {
        assert_eq!(daemon::workers(&served.dir.status()), stay);
    }
    served.is_well();
}

#[test]
fn min_idle() {
    let served = Served::start("min-idle = 2\nmax-procs = 4\n");
    let idle = |status: &[String]| workers_that_are(status, "idle");
    served
        .dir
        .until_status("two are spare", |status| idle(status) >= 2);
    let mut gate = served.dir.gate("gate");
    let held = [(); 3].map(|()| {
        let front = served.front("/hold?gate=gate");
        gate.entered();
        front
    });
    // `max-procs` limits the spare ones.
    served
        .dir
        .until_status("the last one is spare", |status| idle(status) == 1);
    gate.open(3);
    for front in held {
        front.answer();
    }
    served
        .dir
        .until_status("they stay", |status| idle(status) == 4);
    served.is_well();
}

#[test]
fn worker_idle_timeout() {
    let served = Served::start("min-idle = 0\nmax-procs = 3\nworker-idle-timeout = 1s\n");
    let mut gate = served.dir.gate("gate");
    let held = [(); 3].map(|()| served.front("/hold?gate=gate"));
    let workers = [(); 3].map(|()| gate.entered());
    gate.open(3);
    for front in held {
        front.answer();
    }
    for worker in workers {
        assert!(Deadline::soon().ended(worker), "it is spare");
    }
    served.dir.until_status_has("workers = []");
    served.is_well();
}

#[test]
fn max_requests_with_many_workers() {
    let served = Served::start("max-requests = 5\nmin-idle = 0\nmax-procs = 2\n");
    let first = served.hello();
    // `max-requests` is jittered by a tenth: at most six.
    let last = (0..6).map(|_| served.hello()).find(|pid| *pid != first);
    assert!(last.is_some(), "no worker was replaced");
    assert!(Deadline::soon().ended(first));
    served.is_well();
}

/// An app in a daemon each of whose processes may use a second of processor time, as under Apache's RLimitCPU.
#[track_caller]
fn with_a_second(config: &str) -> (Dir, std::path::PathBuf) {
    let dir = Dir::new();
    let app = app_file(&dir, config);
    let mut limited = as_user("/usr/bin/prlimit");
    limited
        .arg("--cpu=1:1")
        .arg(&app)
        .envs(cgi::meta("GET", "/hello", &[]));
    run(&mut limited, b"").response().ok();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", dir.daemon()));
    let limits = limits.expect("/proc/PID/limits can be read");
    let is_limited = |line: &str| {
        line.starts_with("Max cpu time") && line.split_whitespace().nth(3) == Some("1")
    };
    assert!(limits.lines().any(is_limited), "{limits}");
    (dir, app)
}

#[test]
fn a_cpu_limit_makes_workers_retire() {
    let (dir, app) = with_a_second("max-procs = 1\nmin-idle = 0\n");
    // So little for each request that neither one more nor the kernel's counting by ticks matters.
    let (mut workers, deadline) = (Vec::new(), Deadline::soon());
    while workers.len() < 4 {
        assert!(!deadline.left().is_zero(), "who served: {workers:?}");
        workers.push(pid_in(
            &cgi::start_front(&app, "/burn?ms=50").end().response().ok(),
        ));
        workers.dedup();
    }
    let log = dir.daemon_log();
    assert!(!log.contains("worker died"), "{log}");
}

/// Many small writes to stderr are work for the loop: before the limit it hands over to a new daemon, and no request
/// fails.
#[test]
fn a_cpu_limit_makes_the_daemon_hand_over() {
    let (dir, app) = with_a_second("max-procs = 2\n");
    let first = dir.daemon();
    let deadline = Deadline::soon();
    while dir.starts() < 2 {
        assert!(!deadline.left().is_zero(), "{}", dir.daemon_log());
        let flooded = cgi::start_front(&app, "/flood?size=1600000").end();
        let reply = cgi::reply(&flooded.stdout);
        let words = flooded.stderr.lines().filter(|line| !line.starts_with('0'));
        let words: Vec<_> = words.collect();
        assert_eq!(reply.status(), 200, "{words:?}\n{}", dir.daemon_log());
    }
    assert!(Deadline::soon().ended(first));
    let log = dir.daemon_log();
    // A daemon that is killed would not log that it leaves.
    let left = log
        .lines()
        .filter(|line| line.contains("processor time"))
        .count();
    assert_eq!(left, 1, "{log}");
}

/// An upload that goes straight to the worker, and then stalls: the application waits for it, until `request-timeout`.
#[test]
fn a_straight_body_that_stalls_is_a_504() {
    const SIZE: usize = 64 << 20;
    let served = Served::start("max-procs = 1\nrequest-timeout = SECOND\n");
    let body = noise(8 << 20);
    let mut plain = served.plain_posting("/digest", SIZE);
    do_not_block(plain.stream());
    plain.stream().give(&body);
    let head = plain.stream().response_head();
    // 408 if this machine was too slow for the upload to go straight.
    assert!(
        head.starts_with("Status: 504 ") || head.starts_with("Status: 408 "),
        "{head}"
    );
    plain.stream().to_the_end();
    served.is_well();
}

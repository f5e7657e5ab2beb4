//! The limits of a CGI program under the daemon: how many, how long, and what becomes of one whose client, or whose
//! daemon, goes away.

use std::io::pipe;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::util::daemon::{workers, workers_that_are};
use super::util::patient::PatientRead;
use super::util::process::{is_alive, kill_at_once, send};
use super::util::served::{cgi_app_file, pid_in};
use super::util::{Deadline, Mpm, Served, Site, Watch, cgi, under_both};

under_both!(request_timeout starts_by_load);

/// The program is ended with all processes that it has started.
fn request_timeout(mpm: Mpm) {
    let mut site = Site::bare(mpm, 16);
    cgi_app_file(&site.dir, "max-procs = 2\nrequest-timeout = SECOND\n");
    let mut gate = site.dir.gate("gate");
    let mut helpers = site.dir.gate("helper");
    let stuck = site.open("GET", "/stuck?gate=gate&helper=helper", &[], None);
    let (child, helper) = (gate.entered(), helpers.entered());
    let serving = site.dir.daemon();
    let status = site.dir.status();
    assert!(
        workers(&status).contains(&(child, "busy".to_owned())),
        "{status:?}"
    );
    let reply = stuck.reply();
    assert_eq!(reply.status(), 504, "{}", reply.text());
    for pid in [child, helper] {
        assert!(Deadline::soon().ended(pid), "{pid} is still there");
    }
    site.get("/hello").ok();
    assert_eq!(site.dir.daemon(), serving);
    let log = site.log();
    let said = "request-timeout: the app did not answer in time";
    assert_eq!(log.matches(said).count(), 1, "{log}");
    assert_eq!(site.dir.lines("marks"), [""; 0], "the helper went on");
}

/// Without `mode = daemon`: requests at the same time start the daemon.
fn starts_by_load(mpm: Mpm) {
    let site = Site::bare(mpm, 16);
    let command = "cgi = /usr/bin/python3 -S cgiapp.py";
    site.dir.app_file(
        "app",
        &format!("{command}\ndaemon-when-rate = 1000/s\ndaemon-when-load = 1000\n"),
    );
    let mut gate = site.dir.gate("gate");
    let held: Vec<_> = (0..2)
        .map(|_| {
            let held = site.open("GET", "/hold?gate=gate", &[], None);
            gate.entered();
            held
        })
        .collect();
    assert_eq!(site.dir.all_daemons(), [0; 0]);
    site.get("/hello").ok();
    site.dir.daemon();
    gate.open(2);
    for held in held {
        held.reply().ok();
    }
}

/// The program ignores SIGTERM: its client has a page at once, and its place is taken until it is killed.
#[test]
fn a_program_that_does_not_hear_is_killed() {
    let served = Served::cgi("max-procs = 2\nrequest-timeout = SECOND\n");
    let mut gate = served.dir.gate("gate");
    let began = Instant::now();
    let deaf = served.front("/stuck?deaf=1&gate=gate");
    let child = gate.entered();
    let (response, _) = deaf.answer();
    assert!(response.starts_with("Status: 504 "), "{response}");
    assert!(is_alive(child), "its client was kept waiting until its end");
    let status = served.dir.status();
    assert!(
        workers(&status).contains(&(child, "stuck".to_owned())),
        "{status:?}"
    );
    served.hello();
    assert!(Deadline::soon().ended(child));
    assert!(began.elapsed() >= Duration::from_secs(5), "no time");
    served.dir.until_status("its place is free", |status| {
        workers_that_are(status, "stuck") == 0
    });
    served.is_well();
}

/// Nothing is added to a response that has begun; a response that moves is not stuck.
#[test]
fn time_limits_after_the_first_byte() {
    let served = Served::cgi("max-procs = 3\nrequest-timeout = SECOND\nrequest-limit = 4 SECOND\n");
    let late = served.front("/stuck?late=1");
    let mut plain = served.plain("/stuck?late=1");
    let dripping = served.front("/drip?count=9&ms=200");
    let (response, words) = late.answer();
    assert!(response.ends_with("\r\n\r\nfirst\n"), "{response}{words}");
    assert_eq!(plain.reply().ok(), "first\n");
    let (response, words) = dripping.answer();
    assert!(
        response.ends_with("\r\n\r\n0\n1\n2\n3\n4\n5\n6\n7\n8\n"),
        "{response}{words}"
    );
    let (response, _) = served.front("/drip?count=1000&ms=100").answer();
    let (_, lines) = response.split_once("\r\n\r\n").expect("a head");
    let most = 15 * served.dir.second.as_millis() / 250;
    assert!(
        (1..=most).contains(&(lines.lines().count() as u128)),
        "{response}"
    );
    served.is_well();
}

#[test]
fn so_many_at_once_and_so_many_wait() {
    let served = Served::cgi("max-procs = 2\nqueue-size = 1\n");
    let mut gate = served.dir.gate("gate");
    let held = [(); 2].map(|()| served.front("/hold?gate=gate"));
    let mut children = [gate.entered(), gate.entered()];
    children.sort_unstable();
    let status = served.dir.status();
    let mut shown: Vec<i32> = workers(&status).iter().map(|worker| worker.0).collect();
    shown.sort_unstable();
    assert_eq!(shown, children, "{status:?}");
    let waits = served.front("/hello");
    served.dir.until_status_has("queue = 1");
    let (response, _) = served.front("/hello").answer();
    assert!(
        response.starts_with("Status: 503 ") && response.contains("Retry-After: "),
        "{response}"
    );
    gate.open(2);
    for held in held {
        assert!(held.answer().0.starts_with("Status: 200 "));
    }
    let (response, _) = waits.answer();
    assert!(
        !children.contains(&pid_in(&response)),
        "each has a process of its own"
    );
    let status = served.dir.status();
    assert!(status.contains(&"overloads = 1".to_owned()), "{status:?}");
    served.is_well();
}

#[test]
fn a_gone_client_s_program_hears_of_it_when_it_writes() {
    let served = Served::cgi("max-procs = 1\n");
    let mut gate = served.dir.gate("gate");
    for way in 0..3 {
        let child = match way {
            // The front is gone; the pipe still has a reader.
            0 => {
                let front = served.front("/endless?gate=gate");
                let child = gate.entered();
                kill_at_once(front.pid());
                assert!(Deadline::soon().ended(child));
                child
            }
            // The web server closes the response; the front lives.
            1 => {
                let (read, write) = pipe().expect("a pipe can be made");
                let mut front = cgi::front(&served.app, "GET", "/endless?gate=gate", &[])
                    .stdin(Stdio::null())
                    .stdout(write)
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("a front can be run");
                let child = gate.entered();
                drop(read);
                assert!(Deadline::soon().ended(front.id().cast_signed()));
                front.wait().expect("a child can be waited for");
                child
            }
            _ => {
                let mut plain = served.plain("/endless?gate=gate");
                let child = gate.entered();
                plain.stream().response_head();
                child
            }
        };
        assert!(Deadline::soon().ended(child), "{way}");
        assert_eq!(served.dir.lines("marks").len(), way + 1, "{way}");
        served.hello();
    }
    served.until_spooled("all is given back", <[u64]>::is_empty);
    served.is_well();
}

/// The program neither writes nor reads: only its time limit ends it, and until then it has its place.
#[test]
fn a_gone_client_s_program_that_never_writes_has_its_time_limit() {
    let served = Served::cgi("max-procs = 1\nrequest-timeout = SECOND\n");
    let mut gate = served.dir.gate("gate");
    let front = served.front("/stuck?gate=gate");
    let child = gate.entered();
    kill_at_once(front.pid());
    assert!(Deadline::soon().ended(child));
    served.is_well();
}

/// The daemon waits for the programs that run; then no process is left.
#[test]
fn a_daemon_that_is_stopped_finishes_what_runs() {
    let served = Served::cgi("max-procs = 2\n");
    let mut gate = served.dir.gate("gate");
    let held = served.front("/hold?gate=gate");
    let child = gate.entered();
    send(served.daemon, Signal::SIGTERM);
    served.dir.until_status_has("state = \"down\"");
    assert!(is_alive(child) && is_alive(served.daemon));
    // The next one starts another.
    pid_in(&served.get("/hello").ok());
    assert_eq!(served.dir.all_daemons().len(), 2);
    gate.open(1);
    assert!(held.answer().0.starts_with("Status: 200 "));
    assert!(Deadline::soon().ended(served.daemon));
}

/// After `graceful-timeout` a client gets a page, or a cut if its response has begun.
#[test]
fn a_daemon_that_is_stopped_does_not_wait_for_ever() {
    let served = Served::cgi("max-procs = 3\ngraceful-timeout = SECOND\n");
    let mut gate = served.dir.gate("gate");
    let mute = served.front("/stuck?deaf=1&gate=gate");
    let late = served.front("/stuck?deaf=1&late=1&gate=gate");
    let children = [gate.entered(), gate.entered()];
    send(served.daemon, Signal::SIGTERM);
    assert!(mute.answer().0.starts_with("Status: 502 "));
    assert!(late.answer().0.ends_with("\r\n\r\nfirst\n"));
    for pid in children.into_iter().chain([served.daemon]) {
        assert!(Deadline::soon().ended(pid), "{pid}");
    }
}

/// The program's output has no reader any more, and it ends.
#[test]
fn a_killed_daemon_leaves_no_process() {
    let served = Served::cgi("max-procs = 2\n");
    let mut gate = served.dir.gate("gate");
    let front = served.front("/endless?gate=gate");
    let child = gate.entered();
    kill_at_once(served.daemon);
    assert!(Deadline::soon().ended(child));
    drop(front);
    let mut watch = Watch::on(&served.dir.join("apps"));
    assert!(watch.until(Deadline::soon(), || served.dir.lines("marks")
        == ["no reader"]));
    pid_in(&served.get("/hello").ok());
}

/// A new command, other limits: the daemon goes on. Another kind of app: it leaves.
#[test]
fn reload() {
    let served = Served::cgi("max-procs = 1\n");
    let command = "cgi = /usr/bin/python3 -S cgiapp.py other";
    let own = format!("{command}\nmode = daemon\nmax-procs = 2\n");
    served.dir.app_file("app", &own);
    served.dir.polycgi(&["reload"]).success();
    let mut gate = served.dir.gate("gate");
    let held = [(); 2].map(|()| served.front("/hold?gate=gate"));
    let children = [gate.entered(), gate.entered()];
    for child in children {
        let words = std::fs::read(format!("/proc/{child}/cmdline")).expect("it is there");
        assert!(String::from_utf8_lossy(&words).contains("other"));
    }
    gate.open(2);
    for held in held {
        held.answer();
    }
    let status = served.dir.status();
    assert!(status.contains(&"generation = 2".to_owned()), "{status:?}");
    assert_eq!(served.dir.daemon(), served.daemon);
    served
        .dir
        .app_file("app", "wsgi = faultapp:application\nmode = daemon\n");
    served.dir.polycgi(&["reload"]);
    assert!(Deadline::soon().ended(served.daemon));
    pid_in(&served.get("/hello").ok());
}

//! Processes that end or can't be started: workers, the zygote, the daemon, the interpreter.

use std::fs;
use std::os::unix::fs::symlink;

use nix::sys::signal::Signal;

use super::{assert_held, hold, until_logged};
use crate::util::patient::{PatientRead, PatientWrite};
use crate::util::process::{is_alive, kill_at_once, limit_processes, send, stop};
use crate::util::served::{noise, pid_in};
use crate::util::{Deadline, Dir, LONG_QUEUE, Served, Watch, daemon};

#[test]
fn ends_of_a_worker() {
    let served = Served::start("max-procs = 1\n");
    let mut gate = served.dir.gate("gate");
    for (how, status, has_ended) in [
        ("exit", "500", true),
        ("_exit", "502", true),
        ("segv", "502", true),
        ("abort", "502", true),
        ("kill", "502", true),
        ("memory", "500", false),
    ] {
        let front = served.front(&format!("/end?how={how}&gate=gate"));
        let worker = gate.entered();
        gate.open(1);
        let (response, words, exit) = front.end();
        let response = String::from_utf8_lossy(&response).into_owned();
        assert!(
            response.starts_with(&format!("Status: {status} ")),
            "{how}: {response}"
        );
        assert!(exit.success(), "{how}: {exit}");
        assert_eq!(
            words.contains("Traceback"),
            status == "500",
            "{how}: {words}"
        );
        if status == "502" {
            assert_eq!(words.lines().count(), 1, "{how}: {words}");
        }
        if has_ended {
            assert!(Deadline::soon().ended(worker), "{how}");
        }
        assert_eq!(served.hello() != worker, has_ended, "{how}");

        // If the response has begun, nothing is added to it.
        let front = served.front(&format!("/end?how={how}&gate=gate&late=yes"));
        let worker = gate.entered();
        gate.open(1);
        let (response, _, _) = front.end();
        let response = String::from_utf8_lossy(&response).into_owned();
        assert!(response.ends_with("\r\n\r\nfirst\n"), "{how}: {response}");
        if has_ended {
            assert!(Deadline::soon().ended(worker), "{how}");
        }
    }
    served.is_well();
}

/// While the zygote can't fork, the workers that are there go on; new ones come as soon as it can.
#[test]
fn a_fork_that_fails() {
    let served =
        Served::start("max-procs = 3\nmin-idle = 0\nqueue-timeout = 25s\nqueue-target = 25s\n");
    let mut gate = served.dir.gate("gate");
    let first = hold(&served, &mut gate);
    let zygote = served.dir.zygote();
    let before = limit_processes(zygote, "1");
    let front = served.front("/hold?gate=gate");
    let mut watch = Watch::on(&served.dir.place());
    let said = || served.dir.daemon_log().contains("cannot fork a worker");
    assert!(
        watch.until(Deadline::soon(), said),
        "{}",
        served.dir.daemon_log()
    );
    assert!(!gate.was_entered(), "a worker was forked");
    served.dir.until_status_has("queue = 1");
    assert_eq!(served.dir.zygote(), zygote, "it is no fault of the app's");
    limit_processes(zygote, &before);
    let second = (front, gate.entered());
    assert_ne!(first.1, second.1);
    gate.open(2);
    assert_held(first);
    assert_held(second);
    served.is_well();
}

/// The interpreter is removed while the app runs, as by an upgrade of the system.
#[test]
fn an_interpreter_that_is_gone() {
    let dir = Dir::new();
    let python = dir.join("python");
    symlink("/usr/bin/python3", &python).expect("a symlink can be made");
    let config = format!("max-procs = 2\npython = {}\n", python.display());
    let served = Served::in_dir(dir, &config);
    let mut gate = served.dir.gate("gate");
    let held = hold(&served, &mut gate);
    fs::remove_file(&python).expect("a symlink can be removed");
    let zygote = served.dir.zygote();
    kill_at_once(zygote);
    until_logged(&served, "No such file or directory");
    // The worker that is left serves.
    gate.open(1);
    let worker = held.1;
    assert_held(held);
    assert!(is_alive(worker));
    assert_eq!(served.dir.daemon(), served.daemon);
    // When the interpreter is back, no operator has to act.
    symlink("/usr/bin/python3", &python).expect("a symlink can be made");
    kill_at_once(worker);
    let deadline = Deadline::soon();
    let next = loop {
        let reply = served.plain("/hello").reply();
        if reply.status() == 200 {
            break pid_in(&reply.ok());
        }
        assert!(!deadline.left().is_zero(), "{}", served.dir.daemon_log());
    };
    assert_ne!(next, worker);
    let log = served.dir.daemon_log();
    let said = log.matches("No such file or directory").count();
    assert!(said <= 3, "said {said} times: {log}");
}

/// Without a worker, the next request needs a new zygote.
#[test]
fn a_killed_zygote_without_workers() {
    let served = Served::start("min-idle = 0\nworker-idle-timeout = 1s\n");
    served.dir.until_status_has("workers = []");
    let zygote = served.dir.zygote();
    kill_at_once(zygote);
    served.is_well();
    assert_ne!(served.dir.zygote(), zygote);
}

/// The daemon hears of the request and of the death in one turn: nothing is wrong that would be worth a line.
#[test]
fn a_zygote_killed_while_a_request_comes() {
    let served = Served::start("min-idle = 0\nworker-idle-timeout = 1s\n");
    served.dir.until_status_has("workers = []");
    let zygote = served.dir.zygote();
    stop(served.daemon);
    let mut client = served.plain("/hello");
    kill_at_once(zygote);
    send(served.daemon, Signal::SIGCONT);
    assert!(client.reply().ok().starts_with("hello from "));
    let log = served.dir.daemon_log();
    assert!(!log.contains("cannot ask for a worker"), "{log}");
    assert_ne!(served.dir.zygote(), zygote);
}

/// The daemon has not read the request yet, which is served in another way at once.
#[test]
fn a_daemon_killed_before_it_has_said_a_word() {
    let served = Served::start("");
    stop(served.daemon);
    let mut front = served.front("/mark?name=one");
    let has_connected = || {
        let fds = fs::read_dir(format!("/proc/{}/fd", front.pid()))
            .into_iter()
            .flatten();
        let links = fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
        links
            .filter(|to| to.to_string_lossy().starts_with("socket:"))
            .count()
            > 0
    };
    let deadline = Deadline::soon();
    while !has_connected() {
        assert!(!deadline.left().is_zero(), "the front does not connect");
        std::thread::yield_now();
    }
    daemon::with_its_children(served.daemon, || kill_at_once(served.daemon));
    front.stdout.response_head();
    assert!(front.stdout.to_the_end().starts_with(b"one "));
    assert!(front.ended().success());
    assert_eq!(served.dir.lines("marks").len(), 1);
}

/// The daemon has acknowledged the request, and has touched neither body nor response.
#[test]
fn a_daemon_killed_while_a_request_waits() {
    let served = Served::start(&format!("{LONG_QUEUE}max-procs = 1\n"));
    let mut gate = served.dir.gate("gate");
    let held = hold(&served, &mut gate);
    let waits = served.front("/mark?name=waits");
    served.dir.until_status_has("queue = 1");
    kill_at_once(served.daemon);
    let (response, words, status) = waits.end();
    assert!(response.ends_with(b"\r\n\r\nwaits daemon\n"), "{words}");
    assert!(status.success(), "{status}: {words}");
    assert_ne!(served.dir.daemon(), served.daemon);
    assert_eq!(served.dir.lines("marks"), ["waits daemon"], "once");
    gate.open(1);
    assert_held(held);
}

/// The daemon has read a part of the body, which can't be read again: there is no answer, not a wrong one either.
#[test]
fn a_daemon_killed_while_it_reads_a_body() {
    const SIZE: usize = 400_000;
    let served = Served::start("");
    let mut front = served.posting("/digest", SIZE);
    front.stdin().give(&noise(SIZE / 2));
    served.until_spooled("a spool", |files| files.iter().sum::<u64>() > 0);
    daemon::with_its_children(served.daemon, || kill_at_once(served.daemon));
    let (response, words, _) = front.end();
    assert!(
        response.is_empty(),
        "{}",
        String::from_utf8_lossy(&response)
    );
    assert!(words.lines().count() <= 1, "{words}");
    served.hello();
    assert_ne!(served.dir.daemon(), served.daemon);
}

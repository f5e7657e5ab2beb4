//! Things that fail under a daemon that serves: its workers, its zygote, itself, and what it lives on. Each fault is
//! shown to have happened; what counts is who got which answer, and that the next request is right.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::sys::signal::Signal;

use super::util::patient::{PatientRead, PatientWrite, do_not_block};
use super::util::process::{children, descriptors, is_alive, kill_at_once, send, stop};
use super::util::scgi::{ScgiClient, header};
use super::util::served::{app_file, assert_same, blocks, noise, pid_in};
use super::util::{
    Deadline, Dir, Gate, Piped, Served, SmallDisk, Watch, as_user, cgi, daemon, digest, run,
};

/// A request that a worker holds, and the worker.
#[track_caller]
fn hold(served: &Served, gate: &mut Gate) -> (Piped, i32) {
    let front = served.front("/hold?gate=gate");
    (front, gate.entered())
}

#[track_caller]
fn assert_held(held: (Piped, i32)) {
    let (response, words, status) = held.0.end();
    assert!(status.success() && words.is_empty(), "{status}: {words}");
    let expected = format!("\r\n\r\n{}\n", held.1);
    assert!(response.ends_with(expected.as_bytes()));
}

/// Gives a soft limit to the number of processes beside a process that runs; the one it had.
#[track_caller]
fn limit_processes(pid: i32, soft: &str) -> String {
    let pid = pid.to_string();
    let prlimit = |words: &[&str]| {
        // By its own user: root in a container may not.
        let mut prlimit = as_user("/usr/bin/prlimit");
        run(prlimit.args(["--pid", &pid]).args(words), b"").success()
    };
    let before = prlimit(&["--nproc", "--output=SOFT", "--noheadings"]);
    prlimit(&[&format!("--nproc={soft}:")]);
    before.trim().to_owned()
}

/// Asks until the daemon has logged it.
#[track_caller]
fn until_logged(served: &Served, text: &str) {
    let deadline = Deadline::soon();
    while !served.dir.daemon_log().contains(text) {
        let log = || served.dir.daemon_log();
        assert!(!deadline.left().is_zero(), "not logged: {text}; {}", log());
        served.plain("/status/200").reply();
    }
}

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

        // And where the response has begun, nothing is added.
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

/// The zygote may not fork: those who work go on, and the others come when it may.
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
    assert!(!gate.was_entered(), "somebody was forked");
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
    // Who is left serves.
    gate.open(1);
    let worker = held.1;
    assert_held(held);
    assert!(is_alive(worker));
    assert_eq!(served.dir.daemon(), served.daemon);
    // And when it is back there is no need for anybody to do anything.
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

/// With nobody else there: the next request needs a new one.
#[test]
fn a_killed_zygote_without_workers() {
    let served = Served::start("min-idle = 0\nworker-idle-timeout = 1s\n");
    served.dir.until_status_has("workers = []");
    let zygote = served.dir.zygote();
    kill_at_once(zygote);
    served.is_well();
    assert_ne!(served.dir.zygote(), zygote);
}

/// It has not heard of the request yet, which goes another way at once.
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

/// It has said that the request waits, and has touched nothing.
#[test]
fn a_daemon_killed_while_a_request_waits() {
    let served = Served::start("max-procs = 1\n");
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

/// It has read some of the body, which nobody can read again: no answer, and none is made up.
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

#[test]
fn a_log_that_cannot_be_written() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full");
    let full = full.and_then(|mut file| std::io::Write::write(&mut file, b"x"));
    assert_eq!(
        full.map_err(|error| error.kind()),
        Err(ErrorKind::StorageFull)
    );
    let served = Served::start("log-file = /dev/full\nlog-level = debug\nmax-procs = 1\n");
    let worker = served.hello();
    kill_at_once(worker);
    assert_ne!(served.hello(), worker);
    assert_eq!(served.get("/status/404").status(), 404);
    let mut gate = served.dir.gate("gate");
    assert_eq!(served.get("/later?gate=gate").ok(), "later\n");
    gate.entered();
    gate.open(1);
    // The thread may speak while this one is served; then it is this one's error log that has its words.
    let output = cgi::start_front(&served.app, "/hello").end();
    assert_eq!(cgi::reply(&output.stdout).status(), 200);
    assert_eq!(served.dir.daemon(), served.daemon);
    daemon::with_its_children(served.daemon, || send(served.daemon, Signal::SIGTERM));
}

/// The disk of the runtime directory is full, and later it is not.
#[test]
fn a_full_disk_below_a_daemon() {
    let dir = Dir::new();
    let Some(disk) = SmallDisk::on(&dir.join("run"), "64k") else {
        return;
    };
    let served = Served::in_dir(dir, "max-procs = 2\nlog-level = debug\n");
    let disk = disk; // It goes before the directory does.
    disk.fill();
    for _ in 0..20 {
        served.hello();
    }
    let worker = served.hello();
    kill_at_once(worker);
    assert_ne!(served.hello(), worker);
    served.dir.until_status_has("state = \"up\"");
    assert_eq!(served.dir.daemon(), served.daemon);
    // A stop, and the next start, need no room.
    daemon::with_its_children(served.daemon, || {
        served.dir.polycgi(&["stop"]).success();
    });
    let output = cgi::start_front(&served.app, "/hello").end();
    assert_eq!(
        cgi::reply(&output.stdout).status(),
        200,
        "{}",
        output.stderr
    );
    disk.clear();
    served.hello();
}

/// It was full from the beginning: there is no place for anything, and the app runs.
#[test]
fn a_full_disk_at_the_start() {
    let dir = Dir::new();
    let Some(disk) = SmallDisk::on(&dir.join("run"), "16k") else {
        return;
    };
    disk.fill();
    let app = app_file(&dir, "");
    let hello = || {
        let output = cgi::start_front(&app, "/hello").end();
        let status = cgi::reply(&output.stdout).status();
        assert_eq!(status, 200, "{}", output.stderr);
        output.stderr
    };
    for _ in 0..3 {
        let said = hello();
        assert!(said.lines().count() <= 2, "{said}");
    }
    disk.clear();
    hello();
}

/// The spool's disk is full: both ways it is back-pressure, and all is right.
#[test]
fn a_full_disk_below_the_spool() {
    const SIZE: usize = 3_000_000;
    const DISK: usize = 256 << 10;
    let dir = Dir::new();
    let spool = dir.folder("spool", 0o700);
    let Some(disk) = SmallDisk::on(&spool, "256k") else {
        return;
    };
    let served = Served::in_dir(dir, "max-procs = 3\n");
    let _disk = disk; // It goes before the directory does.
    let mut front = served.front(&format!("/counted?size={SIZE}"));
    let mut plain = served.plain(&format!("/counted?size={SIZE}"));
    served.until_spooled("a full spool", |files| {
        files.iter().sum::<u64>() > (DISK - 100_000) as u64
    });
    assert_eq!(served.dir.lines("marks"), [""; 0], "somebody took it all");
    // A body that has nowhere to wait is the worker's to read.
    let mut gate = served.dir.gate("gate");
    let body = noise(SIZE);
    let mut slow = served.plain_posting("/gated-digest?gate=gate", SIZE);
    do_not_block(slow.stream());
    let mut sent = 0;
    let deadline = Deadline::soon();
    while !gate.was_entered() {
        sent += slow.stream().offer(&body[sent..]);
        assert!(
            !deadline.left().is_zero(),
            "{sent} bytes sent, and nobody has it"
        );
        std::thread::yield_now();
    }
    assert!(sent < SIZE, "it was all there before");
    gate.open(1);
    slow.stream().give(&body[sent..]);
    slow.stream().response_head();
    let expected = format!("{} {SIZE}\n", digest(&body));
    assert_eq!(slow.stream().to_the_end(), expected.as_bytes());

    let whole = blocks(SIZE);
    front.stdout.response_head();
    assert_same(&front.stdout.to_the_end(), &whole);
    assert!(front.ended().success());
    plain.stream().response_head();
    assert_same(&plain.stream().to_the_end(), &whole);
    served.is_well();
}

/// No descriptors: it takes in as many as it can, and the others wait outside.
#[test]
fn more_clients_than_descriptors() {
    const MOST: usize = 64;
    const CLIENTS: usize = 100;
    let dir = Dir::new();
    let app = app_file(
        &dir,
        "max-procs = 2\nqueue-size = 200\nqueue-timeout = 25s\nqueue-target = 25s\n",
    );
    let mut limited = as_user("/usr/bin/prlimit");
    limited.arg(format!("--nofile={MOST}:{MOST}")).arg(&app);
    limited.envs(cgi::meta("GET", "/hello", &[]));
    run(&mut limited, b"").response().ok();
    let serving = dir.daemon();
    let mut gate = dir.gate("gate");
    let mut watch = Watch::on(&dir.place());
    let message = header("GET", "/hold?gate=gate", &[], 0);
    let connect = |_| {
        let mut client = ScgiClient::connect(&dir.socket());
        client.send(&message);
        client
    };
    let clients: Vec<ScgiClient> = (0..CLIENTS).map(connect).collect();
    gate.entered();
    let said = || dir.daemon_log().contains("descriptors run out");
    assert!(watch.until(Deadline::soon(), said), "{}", dir.daemon_log());
    let used = descriptors(serving);
    assert!(used <= MOST, "{used}");
    gate.open(CLIENTS);
    for mut client in clients {
        assert_eq!(client.reply().status(), 200);
    }
    // They come in again.
    assert!(
        ScgiClient::connect(&dir.socket())
            .send(&header("GET", "/hello", &[], 0))
            .reply()
            .ok()
            .starts_with("hello")
    );
    dir.until_status_has("queue = 0");
    assert_eq!(dir.daemon(), serving);
    let log = dir.daemon_log();
    assert!(!log.contains("error:"), "{log}");
    let words = log.matches("descriptors run out").count();
    assert_eq!(words, 1, "not with each who goes and comes: {log}");
}

/// What the web server can't find it does not run; but a daemon that serves needs no file for that.
#[test]
fn a_deleted_app_file() {
    let config = "max-procs = 2\nmax-requests = 1000000\n";
    let served = Served::start(config);
    let worker = pid_in(&served.plain("/hello").reply().ok());
    fs::remove_file(&served.app).expect("the app file can be removed");
    until_logged(&served, "No such file or directory");
    for _ in 0..20 {
        assert_eq!(served.plain("/status/200").reply().ok(), "status 200\n");
    }
    assert_eq!(served.dir.daemon(), served.daemon);
    let log = served.dir.daemon_log();
    assert!(is_alive(worker), "the code is the same: {log}");
    assert_eq!(log.matches("error:").count(), 1, "{log}");
    app_file(&served.dir, config);
    served.is_well();
}

/// The names of what lies in the runtime directory; each is a place.
fn places(dir: &Dir) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir.join("run")).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

/// Somebody cleans up below a daemon that serves: the next request is served, what runs is finished, and the one who
/// lost its name goes.
#[test]
fn a_runtime_directory_that_vanishes() {
    type Vanish = fn(&Dir);
    // Out of the daemon's reach first: it may write its state or its log into a folder that is being emptied.
    fn remove(dir: &Dir, folder: &Path) {
        let gone = dir.join("gone");
        fs::rename(folder, &gone).expect("a folder can be renamed");
        fs::remove_dir_all(gone).expect("a folder can be removed");
    }
    let ways: [(&str, Vanish); 3] = [
        ("the place is deleted", |dir| {
            remove(dir, &dir.place());
        }),
        ("all of it is deleted", |dir| {
            remove(dir, &dir.join("run"));
        }),
        ("the place is replaced", |dir| {
            let name = dir.place().file_name().expect("a name").to_owned();
            fs::rename(dir.place(), dir.join("old")).expect("a place can be renamed");
            dir.folder(&format!("run/{}", name.display()), 0o700);
        }),
    ];
    for (what, vanish) in ways {
        let served = Served::start("max-procs = 2\nidle-timeout = 10s\n");
        let mut gate = served.dir.gate("gate");
        let held = hold(&served, &mut gate);
        vanish(&served.dir);
        let output = cgi::start_front(&served.app, "/hello").end();
        let reply = cgi::reply(&output.stdout);
        assert_eq!(reply.status(), 200, "{what}: {}", output.stderr);
        assert!(pid_in(&reply.text()) != held.1, "{what}");
        assert!(is_alive(served.daemon), "{what}: it finishes");
        gate.open(1);
        assert_held(held);
        assert!(Deadline::soon().ended(served.daemon), "{what}: it stays");
        // The new one is not hurt by the old one's leaving.
        let newer = served.dir.all_daemons();
        cgi::start_front(&served.app, "/hello").end();
        assert_eq!(served.dir.all_daemons(), newer, "{what}");
        if what != "all of it is deleted" {
            assert_eq!(newer.len(), 1, "{what}: {newer:?}");
            assert_eq!(places(&served.dir).len(), 1, "{what}");
            assert!(!children(newer[0]).is_empty(), "{what}");
        }
        if !served.dir.join("run").exists() {
            served.dir.folder("run", 0o700);
        }
    }
}

//! What a daemon needs, taken away or used up: its log, disks, descriptors, its app file, its runtime directory.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use nix::sys::signal::Signal;

use super::{assert_held, hold, until_logged};
use crate::util::patient::{PatientRead, PatientWrite, do_not_block};
use crate::util::process::{children, descriptors, is_alive, kill_at_once, send};
use crate::util::scgi::{ScgiClient, header};
use crate::util::served::{app_file, assert_same, blocks, noise, pid_in};
use crate::util::{Deadline, Dir, Served, SmallDisk, Watch, as_user, cgi, daemon, digest, run};

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
    // The thread may write while this request is served; its words are then in this request's error log.
    let output = cgi::start_front(&served.app, "/hello").end();
    assert_eq!(cgi::reply(&output.stdout).status(), 200);
    assert_eq!(served.dir.daemon(), served.daemon);
    daemon::with_its_children(served.daemon, || send(served.daemon, Signal::SIGTERM));
}

/// The disk of the runtime directory is full for a while.
#[test]
fn a_full_disk_below_a_daemon() {
    let dir = Dir::new();
    let Some(disk) = SmallDisk::on(&dir.join("run"), "64k") else {
        return;
    };
    let served = Served::in_dir(dir, "max-procs = 2\nlog-level = debug\n");
    let disk = disk; // Dropped before the directory.
    disk.fill();
    for _ in 0..20 {
        served.hello();
    }
    let worker = served.hello();
    kill_at_once(worker);
    assert_ne!(served.hello(), worker);
    served.dir.until_status_has("state = \"up\"");
    assert_eq!(served.dir.daemon(), served.daemon);
    // Neither a stop nor the next start needs room.
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

/// The disk is full from the beginning: the app has no place, and runs.
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

/// The spool's disk is full: bodies and responses wait for their reader, and are right.
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
    let _disk = disk; // Dropped before the directory.
    let mut front = served.front(&format!("/counted?size={SIZE}"));
    let mut plain = served.plain(&format!("/counted?size={SIZE}"));
    served.until_spooled("a full spool", |files| {
        files.iter().sum::<u64>() > (DISK - 100_000) as u64
    });
    assert_eq!(served.dir.lines("marks"), [""; 0], "all of it was taken");
    // A body that finds no room in the spool is read by the worker.
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
            "{sent} bytes sent, and no worker has the request"
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

/// Without a free descriptor the daemon accepts no client; the others wait in the backlog. Those that wait for more than
/// a second are refused.
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
    let statuses = clients
        .into_iter()
        .map(|mut client| client.reply().status());
    let statuses: Vec<u16> = statuses.collect();
    assert_eq!(statuses[0], 200);
    let are_answered = statuses.iter().all(|status| matches!(status, 200 | 503));
    assert!(are_answered, "{statuses:?}");
    // Clients are accepted again.
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
    assert_eq!(words, 1, "not for each client: {log}");
}

/// A web server runs no file that is gone, but plain SCGI clients of the daemon are served on.
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
    // The web server's log is told once.
    let (_, words, _) = served.front("/hello").end();
    assert!(
        words.contains("the old configuration goes on: cannot read "),
        "{words}"
    );
    served.is_well();
}

/// The places in the runtime directory.
fn places(dir: &Dir) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir.join("run")).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

/// The runtime directory of a daemon that serves is deleted: the next request is served, the request that runs is
/// finished, and the daemon whose socket has lost its name leaves.
#[test]
fn a_runtime_directory_that_vanishes() {
    type Vanish = fn(&Dir);
    // Renamed first: the daemon may write its state or its log into a folder that is being emptied.
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
        // The old daemon's end takes nothing from the new one.
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

//! `status`, `start` and `stop` by the command line: what they show and do while requests run.

use std::fs;

use nix::sys::signal::Signal;
use nix::unistd::Uid;

use super::util::patient::PatientRead;
use super::util::process::{is_alive, send};
use super::util::{
    Conversation, Deadline, Mpm, Piped, Running, Served, Site, Watch, as_user, cgi, command,
    daemon, installed, not_tested, run, under_both,
};

const CONFIG: &str = "wsgi = testapp:application\nmode = daemon\nmax-procs = 2\n";

under_both!(status_while_requests_are_held stop_and_start stop_hold stop_waits);

#[track_caller]
fn assert_has(status: &[String], lines: &[String]) {
    for line in lines {
        assert!(status.contains(line), "no {line} in {status:#?}");
    }
}

fn status_while_requests_are_held(mpm: Mpm) {
    let site = Site::configured(mpm, 16, CONFIG);
    let dir = &site.dir;
    let app = format!("app = \"{}\"", dir.join("cgi-bin/app").display());
    let line = |key: &str, value: &str| format!("{key} = {value}");
    let down = [
        app.clone(),
        line("state", "\"down\""),
        line("pid", "null"),
        line("workers", "[]"),
    ];
    assert_has(&dir.status(), &down);

    let mut gate = dir.gate("gate");
    let open = || site.open("GET", "/hold?gate=gate", &[], None);
    let mut held: Vec<Conversation> = vec![open(), open()];
    let workers = [gate.entered(), gate.entered()];
    held.push(open());
    dir.until_status_has("queue = 1");
    let status = dir.status();
    let up = [
        app,
        line("state", "\"up\""),
        line("pid", &dir.daemon().to_string()),
        line("requests", "3"),
        line("overloads", "0"),
        line("last_failure", "null"),
    ];
    assert_has(&status, &up);
    let values = |key: &str| -> Vec<&str> {
        let (start, end) = ("workers.", format!(".{key}"));
        let pairs = status.iter().filter_map(|line| line.split_once(" = "));
        let of_workers = pairs.filter(|(name, _)| name.starts_with(start) && name.ends_with(&end));
        of_workers.map(|(_, value)| value).collect()
    };
    let mut pids: Vec<i32> = values("pid")
        .iter()
        .map(|pid| pid.parse().expect("a pid"))
        .collect();
    let mut entered = workers.to_vec();
    pids.sort_unstable();
    entered.sort_unstable();
    assert_eq!(pids, entered);
    assert_eq!(values("state"), ["\"busy\"", "\"busy\""]);
    assert_eq!(values("requests"), ["0", "0"]);
    // The same in the form for people.
    let text = dir.polycgi(&["status"]).success();
    assert!(
        text.contains("up") && text.contains(&workers[0].to_string()),
        "{text}"
    );

    gate.open(3);
    for reply in held.into_iter().map(Conversation::reply) {
        reply.ok();
    }
    dir.until_status_has("queue = 0");
    daemon::with_its_children(dir.daemon(), || {
        dir.polycgi(&["stop"]).success();
    });
    assert_has(&dir.status(), &down);
}

fn stop_and_start(mpm: Mpm) {
    let site = Site::configured(mpm, 16, CONFIG);
    let dir = &site.dir;
    let mut gate = dir.gate("gate");
    let held = site.open("GET", "/hold?gate=gate", &[], None);
    let worker = gate.entered();
    let first = dir.daemon();
    dir.polycgi(&["stop", "--no-wait"]).success();
    // The next request starts another, while the first finishes.
    assert_eq!(site.get("/mark?name=next").ok(), "next daemon\n");
    assert!(is_alive(first) && is_alive(worker));
    daemon::with_its_children(first, || {
        gate.open(1);
        assert_eq!(held.reply().ok(), format!("{worker}\n"));
    });
    let second = dir.daemon();
    assert_ne!(second, first);
    daemon::with_its_children(second, || {
        dir.polycgi(&["stop"]).success();
    });
    // Started by hand, twice: the second command finds the first one's daemon.
    dir.polycgi(&["start"]).success();
    let third = dir.daemon();
    dir.polycgi(&["start"]).success();
    assert_eq!(dir.daemon(), third);
    dir.until_status_has("state = \"up\"");
    assert_eq!(site.get("/mark?name=third").ok(), "third daemon\n");
    assert_eq!(dir.daemon(), third);
}

fn stop_hold(mpm: Mpm) {
    let site = Site::configured(mpm, 16, CONFIG);
    let dir = &site.dir;
    assert_eq!(site.get("/mark?name=before").ok(), "before daemon\n");
    daemon::with_its_children(dir.daemon(), || {
        dir.polycgi(&["stop", "--hold"]).success();
    });
    dir.until_status_has("state = \"held\"");
    for _ in 0..3 {
        assert_eq!(site.get("/mark?name=held").ok(), "held cgi\n");
    }
    assert!(dir.all_daemons().is_empty());
    // The same for a front that is started by hand.
    let app = dir.join("cgi-bin/app");
    let direct: Running = cgi::start_front(&app, "/mark?name=direct");
    assert_eq!(direct.end().response().ok(), "direct cgi\n");
    // A plain CGI that runs beside the daemon is counted too.
    let mut gate = dir.gate("gate");
    let held = site.open("GET", "/hold?gate=gate", &[], None);
    let script = gate.entered();
    dir.until_status_has("cgis = 1");
    dir.polycgi(&["start"]).success();
    assert_eq!(site.get("/mark?name=after").ok(), "after daemon\n");
    dir.until_status_has("state = \"up\"");
    dir.until_status_has("cgis = 1");
    gate.open(1);
    assert_eq!(held.reply().ok(), format!("{script}\n"));
}

/// `stop` of the app of this site, as a process of its own.
fn stopping(site: &Site) -> Running {
    let mut stop = as_user(installed("polycgi"));
    stop.arg("stop").arg(site.dir.join("cgi-bin/app"));
    Running::start(&mut stop, b"")
}

/// Waits until the daemon has given up its socket's name.
#[track_caller]
fn until_leaving(site: &Site) {
    let place = site.dir.place();
    let mut watch = Watch::on(&place);
    let is_leaving = || !place.join("sock").exists();
    assert!(
        watch.until(Deadline::soon(), is_leaving),
        "it does not leave"
    );
}

/// Waits until the command has the daemon's answer: it holds the daemon's process, and no connection any more.
#[track_caller]
fn until_answered(stop: &Running) {
    let deadline = Deadline::soon();
    loop {
        let held = fs::read_dir(format!("/proc/{}/fd", stop.pid())).expect("stop runs");
        let held = held
            .flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok());
        let held: Vec<String> = held.map(|link| link.display().to_string()).collect();
        let holds = |what| held.iter().any(|link| link.contains(what));
        if holds("pidfd") && !holds("socket:") {
            return;
        }
        assert!(!deadline.left().is_zero(), "no answer: {held:?}");
    }
}

fn stop_waits(mpm: Mpm) {
    let site = Site::configured(mpm, 16, CONFIG);
    let mut gate = site.dir.gate("gate");
    let held = site.open("GET", "/hold?gate=gate", &[], None);
    let worker = gate.entered();
    let serving = site.dir.daemon();
    let stop = stopping(&site);
    until_leaving(&site);
    assert!(is_alive(stop.pid()) && is_alive(serving));
    gate.open(1);
    assert_eq!(held.reply().ok(), format!("{worker}\n"));
    let output = stop.end();
    assert!(!is_alive(serving), "it had to wait");
    assert_eq!(output.stderr, "");
    output.success();
}

/// A daemon that is stopped by SIGSTOP once it has answered.
#[test]
fn stop_does_not_wait_for_ever() {
    let config = format!("{CONFIG}graceful-timeout = 1s\n");
    let mut site = Site::configured(Mpm::Prefork, 16, &config);
    let mut gate = site.dir.gate("gate");
    let held = site.open("GET", "/hold?gate=gate", &[], None);
    gate.entered();
    let serving = site.dir.daemon();
    let stop = stopping(&site);
    until_leaving(&site);
    until_answered(&stop);
    send(serving, Signal::SIGSTOP);
    let output = stop.end();
    assert!(is_alive(serving));
    send(serving, Signal::SIGCONT);
    // graceful-timeout is over: the daemon ends the request, whose gate stays shut.
    held.reply();
    site.logged("the app's worker ended without an answer: SIGKILL");
    assert_eq!(output.status.code(), Some(69), "{}", output.stderr);
    let said =
        format!("the daemon, pid {serving}, has not ended within 16 s: it waits for 1 request");
    assert!(output.stderr.contains(&said), "{}", output.stderr);
}

#[test]
fn stop_says_on_a_terminal_what_it_waits_for() {
    let site = Site::configured(Mpm::Prefork, 16, CONFIG);
    let mut gate = site.dir.gate("gate");
    let held = site.open("GET", "/hold?gate=gate", &[], None);
    gate.entered();
    let app = site.dir.join("cgi-bin/app");
    let command = format!("{} stop {}", installed("polycgi").display(), app.display());
    let mut terminal = as_user("/usr/bin/script");
    terminal.args(["-qec", &command, "/dev/null"]);
    let mut stop = Piped::start(&mut terminal);
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains("the daemon waits for 1 request, at most ") {
        assert!(stop.stdout.more(Deadline::soon(), &mut said), "{said:?}");
    }
    gate.open(1);
    held.reply();
    let (_, words) = stop.answer();
    assert_eq!(words, "");
}

/// Inside a container the pid of a daemon outside is not known: it is told to stop, and its end is not waited for.
#[test]
fn a_daemon_of_another_pid_namespace_is_told_to_stop() {
    if !Uid::effective().is_root() {
        return not_tested("a pid namespace, which takes root");
    }
    let served = Served::start("");
    let (uid, gid) = command::user();
    let mut stop = std::process::Command::new("unshare");
    stop.args(["--pid", "--fork", "--", "setpriv", "--clear-groups"]);
    stop.args([format!("--reuid={uid}"), format!("--regid={gid}")]);
    stop.arg(installed("polycgi")).arg("stop").arg(&served.app);
    let output = run(&mut stop, b"");
    if output.stderr.contains("unshare:") {
        return not_tested("a pid namespace, which this host does not give");
    }
    let said = "it is in a pid namespace that can't be seen from here";
    assert!(output.stderr.contains(said), "{}", output.stderr);
    assert_eq!(output.status.code(), Some(71));
    assert!(Deadline::soon().ended(served.daemon));
}

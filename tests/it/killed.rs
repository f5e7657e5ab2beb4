//! kill -9 of the daemon, of the zygote, of a busy worker: what clients get, and that the next request is right.

use super::util::process::{children, is_alive, kill_at_once, stop};
use super::util::{Conversation, Deadline, Dir, Gate, Mpm, Site, cgi, daemon, under_both};

const CONFIG: &str = "wsgi = testapp:application\nmode = daemon\nmax-procs = 4\n";

under_both!(
    a_killed_daemon_is_replaced
    a_worker_outlives_the_daemon_for_its_request
    a_killed_zygote_is_replaced
    a_killed_worker_is_a_502
    a_killed_worker_cuts_what_it_began
);

/// A site whose daemon has served a request, and that daemon.
fn served(mpm: Mpm) -> (Site, i32) {
    let site = Site::configured(mpm, 16, CONFIG);
    hello(&site);
    let daemon = site.dir.daemon();
    (site, daemon)
}

/// The process that answers.
#[track_caller]
fn hello(site: &Site) -> i32 {
    let hello = site.get("/hello").ok();
    let pid = hello
        .strip_prefix("hello from ")
        .and_then(|pid| pid.trim_end().parse().ok());
    pid.unwrap_or_else(|| panic!("not a hello: {hello:?}"))
}

/// A request that waits at a gate in a worker, and the worker's pid.
#[track_caller]
fn hold(site: &Site, gate: &mut Gate) -> (Conversation, i32) {
    let held = site.open("GET", "/hold?gate=gate", &[], None);
    let worker = gate.entered();
    assert!(
        children(site.dir.daemon()).contains(&worker),
        "not a worker"
    );
    (held, worker)
}

fn a_killed_daemon_is_replaced(mpm: Mpm) {
    let (site, old) = served(mpm);
    daemon::with_its_children(old, || kill_at_once(old));
    let worker = hello(&site);
    let new = site.dir.daemon();
    assert_ne!(new, old);
    assert!(children(new).contains(&worker), "served by the new one");
    assert_eq!(site.dir.starts(), 2, "{}", site.dir.daemon_log());
}

fn a_worker_outlives_the_daemon_for_its_request(mpm: Mpm) {
    let (site, old) = served(mpm);
    let mut gate = site.dir.gate("gate");
    let (held, worker) = hold(&site, &mut gate);
    kill_at_once(old);
    let other = hello(&site);
    assert_ne!(site.dir.daemon(), old);
    assert!(is_alive(worker) && other != worker);
    gate.open(1);
    assert_eq!(held.reply().ok(), format!("{worker}\n"));
    assert!(
        Deadline::soon().ended(worker),
        "it gets no request any more"
    );
    assert_ne!(hello(&site), worker);
}

fn a_killed_zygote_is_replaced(mpm: Mpm) {
    let (site, serving) = served(mpm);
    let mut gate = site.dir.gate("gate");
    let (first, one) = hold(&site, &mut gate);
    // The zygote is the daemon's child that `status` does not list as a worker.
    let status = site.dir.status();
    let is_worker = |pid: &i32| {
        let shown = format!(".pid = {pid}");
        status
            .iter()
            .any(|line| line.starts_with("workers.") && line.ends_with(&shown))
    };
    let (workers, others): (Vec<_>, Vec<_>) = children(serving).into_iter().partition(is_worker);
    assert!(workers.contains(&one));
    assert_eq!(others.len(), 1, "{others:?} of {status:?}");
    kill_at_once(others[0]);
    // More requests than workers: at least one worker is forked by a new zygote.
    let more: Vec<_> = workers.iter().map(|_| hold(&site, &mut gate)).collect();
    assert!(
        more.iter().any(|(_, worker)| !workers.contains(worker)),
        "no new worker: {more:?}",
        more = more.iter().map(|(_, worker)| worker).collect::<Vec<_>>()
    );
    assert!(is_alive(one), "workers go on");
    assert_eq!(site.dir.daemon(), serving);
    gate.open(1 + more.len());
    assert_eq!(first.reply().ok(), format!("{one}\n"));
    for (held, worker) in more {
        assert_eq!(held.reply().ok(), format!("{worker}\n"));
    }
    hello(&site);
}

/// A zygote that lives and does not react.
#[test]
fn a_zygote_that_hangs_is_replaced() {
    let dir = Dir::new();
    let patience = "queue-target = 30 SECOND\nqueue-timeout = 30 SECOND\n";
    let config = format!("{CONFIG}{patience}min-idle = 0\nstart-timeout = 3 SECOND\n");
    let app = dir.app_file("app", &config);
    let mut gate = dir.gate("gate");
    let first = cgi::start_front(&app, "/hold?gate=gate");
    let one = gate.entered();
    let serving = dir.daemon();
    dir.until_status_has("workers.0.state = \"busy\"");
    let mut others = children(serving);
    others.retain(|&pid| pid != one);
    assert_eq!(others.len(), 1, "{others:?}");
    stop(others[0]);
    let second = cgi::start_front(&app, "/hold?gate=gate");
    let other = gate.entered();
    assert!(children(serving).contains(&other), "a worker");
    assert!(
        Deadline::soon().ended(others[0]),
        "the zygote is still there"
    );
    gate.open(2);
    assert_eq!(first.end().response().ok(), format!("{one}\n"));
    assert_eq!(second.end().response().ok(), format!("{other}\n"));
}

fn a_killed_worker_is_a_502(mpm: Mpm) {
    let (mut site, serving) = served(mpm);
    let mut gate = site.dir.gate("gate");
    for (accept, media_type) in [
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
        ("application/json", "application/problem+json"),
        ("*/*", "text/plain"),
    ] {
        let held = site.open("GET", "/hold?gate=gate", &[("Accept", accept)], None);
        let worker = gate.entered();
        kill_at_once(worker);
        let reply = held.reply();
        assert_eq!(reply.status(), 502, "{}", reply.text());
        let shown = reply.field("Content-Type").unwrap_or_default();
        assert!(shown.starts_with(media_type), "{shown} for {accept}");
        assert_eq!(reply.field("Cache-Control"), Some("no-store"));
        assert!(!reply.body.is_empty());
        assert_ne!(hello(&site), worker);
    }
    assert_eq!(site.dir.daemon(), serving);
    let log = site.log();
    let said = log
        .matches("the app's worker ended without an answer")
        .count();
    assert_eq!(said, 3, "{log}");
}

fn a_killed_worker_cuts_what_it_began(mpm: Mpm) {
    let (mut site, serving) = served(mpm);
    let mut gate = site.dir.gate("gate");
    let mut held = site.open("GET", "/stream?gate=gate", &[], None);
    assert_eq!(held.head().status, 200);
    assert_eq!(held.piece().as_deref(), Some(&b"first\n"[..]));
    let worker = gate.entered();
    kill_at_once(worker);
    assert_eq!(held.piece(), None, "nothing is added");
    assert_ne!(hello(&site), worker);
    assert_eq!(site.dir.daemon(), serving);
    // The web server may log the cut response, or not.
    let log = site.log();
    assert!(!log.contains("Traceback"), "{log}");
}

//! A daemon that does not answer (SIGSTOP): one request waits for it, the others are served in another way at once.
//! When it is continued it serves again, or leaves if another has its place. No request runs twice.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::util::process::{is_alive, kill_at_once, send, stop};
use super::util::{Deadline, Dir, Piped, cgi, daemon};

/// How long a front waits for the daemon's first message.
const PATIENCE: Duration = Duration::from_secs(2);

struct Silenced {
    dir: Dir,
    app: std::path::PathBuf,
    daemon: i32,
}

impl Silenced {
    /// An app whose daemon has served, and is stopped.
    #[track_caller]
    fn new(config: &str) -> Self {
        let dir = Dir::new();
        let app = dir.app_file("app", config);
        let hello = cgi::start_front(&app, "/mark?name=first").end();
        hello.response().ok();
        let daemon = dir.daemon();
        stop(daemon);
        Self { dir, app, daemon }
    }

    fn ask(&self, name: impl std::fmt::Display) -> Piped {
        let target = format!("/mark?name={name}");
        Piped::start(&mut cgi::front(&self.app, "GET", &target, &[]))
    }

    /// Waits until the application has noted each of these once, and nothing else.
    #[track_caller]
    fn until_run(&self, names: &BTreeSet<String>) {
        let deadline = Deadline::soon();
        loop {
            let lines = self.dir.lines("marks");
            let run = lines.iter().filter_map(|line| line.split(' ').next());
            let run: BTreeSet<String> = run.map(str::to_owned).collect();
            assert_eq!(run.len(), lines.len(), "twice: {lines:?}");
            if run == *names {
                return;
            }
            assert!(
                run.is_subset(names) && !deadline.left().is_zero(),
                "{lines:?}"
            );
        }
    }

    /// Continues the daemon, and ends all daemons of the test.
    #[track_caller]
    fn end(&self) {
        if is_alive(self.daemon) {
            send(self.daemon, Signal::SIGCONT);
        }
        for serving in self.dir.all_daemons() {
            daemon::with_its_children(serving, || send(serving, Signal::SIGTERM));
        }
    }
}

fn names(prefix: &str, count: usize) -> BTreeSet<String> {
    let names = (0..count).map(|number| format!("{prefix}{number}"));
    names.chain(["first".to_owned()]).collect()
}

/// The answer of a front whose response a stopped daemon has held open.
#[track_caller]
fn body(front: Piped) -> String {
    let (response, words, status) = front.end();
    assert!(status.success(), "{status}: {words}");
    cgi::reply(&response).ok()
}

const WSGI: &str = "wsgi = testapp:application\nmode = daemon\n";

#[test]
fn one_request_waits_once() {
    let silenced = Silenced::new(WSGI);
    let began = Instant::now();
    let front = silenced.ask("x0");
    silenced.until_run(&names("x", 1));
    let took = began.elapsed();
    assert!((PATIENCE..2 * PATIENCE).contains(&took), "{took:?}");
    send(silenced.daemon, Signal::SIGCONT);
    assert_eq!(body(front), "x0 cgi\n");
    // Now no request waits: the daemon serves again.
    assert_eq!(body(silenced.ask("x1")), "x1 daemon\n");
    assert_eq!(silenced.dir.daemon(), silenced.daemon);
    silenced.until_run(&names("x", 2));
    assert!(!silenced.dir.in_place().contains(&"sock.silent".to_owned()));
    silenced.end();
    assert!(!silenced.dir.in_place().contains(&"sock.silent".to_owned()));
}

#[test]
fn those_who_come_later_do_not_wait() {
    const LATER: usize = 20;
    let silenced = Silenced::new(WSGI);
    let first = silenced.ask("x0");
    silenced.until_run(&names("x", 1));
    let began = Instant::now();
    for number in 1..=LATER {
        let answer = body(silenced.ask(format!("x{number}")));
        // After a while the silence is forgotten, and another daemon is started.
        assert!(answer.starts_with(&format!("x{number} ")), "{answer}");
    }
    let took = began.elapsed();
    assert!(
        took < PATIENCE * LATER as u32 / 2,
        "{LATER} in turn took {took:?}"
    );
    send(silenced.daemon, Signal::SIGCONT);
    assert_eq!(body(first), "x0 cgi\n");
    assert_eq!(body(silenced.ask("x21")), "x21 daemon\n");
    silenced.until_run(&names("x", LATER + 2));
    silenced.end();
}

/// More requests than slots: another daemon serves them beside the stopped one.
#[track_caller]
fn a_crowd_is_served(config: &str) {
    const CROWD: usize = 12;
    let silenced = Silenced::new(config);
    let fronts: Vec<_> = (0..CROWD)
        .map(|number| silenced.ask(format!("x{number}")))
        .collect();
    silenced.until_run(&names("x", CROWD));
    let next = body(silenced.ask("y"));
    assert_eq!(next, "y daemon\n", "the new one is found at once");
    send(silenced.daemon, Signal::SIGCONT);
    for (number, front) in fronts.into_iter().enumerate() {
        let answer = body(front);
        assert!(answer.starts_with(&format!("x{number} ")), "{answer}");
    }
    assert!(Deadline::soon().ended(silenced.daemon), "it has no name");
    assert_eq!(body(silenced.ask("z")), "z daemon\n");
    assert_ne!(silenced.dir.daemon(), silenced.daemon);
    let mut names = names("x", CROWD);
    names.extend(["y", "z"].map(str::to_owned));
    silenced.until_run(&names);
    silenced.end();
    silenced.until_run(&names);
}

#[test]
fn a_crowd_finds_another_daemon() {
    a_crowd_is_served(&format!("{WSGI}max-procs = 4\n"));
}

#[test]
fn a_crowd_without_slots_finds_another_daemon() {
    a_crowd_is_served(&format!("{WSGI}cgi-max = 0\n"));
}

/// Long times, since the time in which the daemon is stopped counts.
const QUEUE: &str = "max-procs = 1\nqueue-target = 60s\nqueue-timeout = 60s\n";

/// A request whose front was told that it is queued goes on waiting, and is run once.
#[test]
fn the_queue_of_one_that_is_stopped_is_served_once() {
    let dir = Dir::new();
    let app = dir.app_file("app", &format!("{WSGI}{QUEUE}"));
    let mut gate = dir.gate("gate");
    let held = cgi::start_front(&app, "/hold?gate=gate");
    gate.entered();
    let daemon = dir.daemon();
    let silenced = Silenced { dir, app, daemon };
    let queued: Vec<_> = (0..3)
        .map(|number| silenced.ask(format!("q{number}")))
        .collect();
    silenced.dir.until_status_has("queue = 3");
    stop(daemon);
    let late = silenced.ask("late");
    let mut names: BTreeSet<_> = ["late".to_owned()].into();
    silenced.until_run(&names);
    gate.open(1);
    send(daemon, Signal::SIGCONT);
    held.end().response().ok();
    for (number, front) in queued.into_iter().enumerate() {
        assert_eq!(body(front), format!("q{number} daemon\n"));
        names.insert(format!("q{number}"));
    }
    assert_eq!(body(late), "late cgi\n");
    assert_eq!(silenced.dir.daemon(), daemon);
    silenced.end();
    silenced.until_run(&names);
}

/// Commands find a stopped daemon whose socket was renamed: `stop` does not say that there is none.
#[test]
fn one_that_is_stopped_is_found_by_commands() {
    let silenced = Silenced::new(WSGI);
    let front = silenced.ask("x0");
    silenced.until_run(&names("x", 1));
    for command in ["stop", "status"] {
        let output = silenced.dir.polycgi(&[command]);
        assert_eq!(output.status.code(), Some(69), "{command}");
        let said = "the daemon does not answer within 10 s";
        assert!(output.stderr.contains(said), "{}", output.stderr);
    }
    send(silenced.daemon, Signal::SIGCONT);
    body(front);
    // The first `stop` has reached it.
    assert!(Deadline::soon().ended(silenced.daemon));
    silenced.end();
}

/// A stopped daemon that dies is replaced, and the name to which its socket was renamed is removed.
#[test]
fn one_that_is_stopped_and_killed_is_replaced() {
    let silenced = Silenced::new(WSGI);
    let front = silenced.ask("x0");
    silenced.until_run(&names("x", 1));
    kill_at_once(silenced.daemon);
    body(front);
    let deadline = Deadline::soon();
    for number in 1.. {
        if body(silenced.ask(format!("x{number}"))).ends_with(" daemon\n") {
            break;
        }
        assert!(!deadline.left().is_zero(), "no other daemon");
    }
    assert_ne!(silenced.dir.daemon(), silenced.daemon);
    assert!(!silenced.dir.in_place().contains(&"sock.silent".to_owned()));
    silenced.end();
}

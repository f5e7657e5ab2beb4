//! A daemon that goes away in each of its ways, again and again, while sixteen clients ask: every request is answered,
//! and run once. It knows fronts and plain SCGI clients, and not which daemon serves them.
//!
//! The timers are turned down so that requests come in the very moment of leaving. What the application notes of the
//! requests that it has run is held against what the clients were answered.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::util::process::send;
use super::util::scgi::{ScgiClient, header};
use super::util::{
    Chance, Deadline, Dir, Gate, Load, Reply, Running, Watch, cgi, daemon, installed, pause, run,
    strain,
};

const CLIENTS: usize = 16;
/// How often the daemon has to leave in each way.
const EXITS: usize = 24;

/// An app, its clients, and what they were answered.
struct Crowd {
    dir: Dir,
    app: PathBuf,
    chance: Chance,
}

impl Crowd {
    fn of(dir: Dir, app: PathBuf) -> Self {
        Self {
            dir,
            app,
            chance: Chance::new(),
        }
    }

    fn configured(config: &str) -> Self {
        let dir = Dir::new();
        let app = dir.app_file("app", &format!("wsgi = testapp:application\n{config}"));
        Self::of(dir, app)
    }

    /// One request of a name of its own, and its answer: `NAME cgi` or `NAME daemon`.
    #[track_caller]
    fn ask(&self, client: usize, number: usize) -> String {
        let name = format!("{client}-{number}");
        let target = format!("/mark?name={name}");
        let body = [b'x'; 100_000];
        // The application leaves the bodies unread.
        let reply = match client % 8 {
            0 => self.ask_by_scgi(&target, &[]),
            1 => self.ask_by_scgi(&target, &body),
            2 => {
                let mut front = cgi::front(&self.app, "POST", &target, &[]);
                front.env("CONTENT_LENGTH", body.len().to_string());
                Running::start(&mut front, &body).end().response()
            }
            _ => cgi::start_front(&self.app, &target).end().response(),
        };
        let answer = reply.ok();
        let right = ["cgi", "daemon"].map(|way| format!("{name} {way}\n"));
        assert!(right.contains(&answer), "{name}: {answer}");
        answer.trim_end().to_owned()
    }

    /// A plain SCGI client that has connected is served; one that can't connect asks by a front. A body comes slowly.
    #[track_caller]
    fn ask_by_scgi(&self, target: &str, body: &[u8]) -> Reply {
        let Ok(mut client) = ScgiClient::try_connect(&self.dir.socket()) else {
            return cgi::start_front(&self.app, target).end().response();
        };
        client.send(&header("POST", target, &[], body.len()));
        for part in body.chunks(body.len() / 2 + 1) {
            client.send(part);
            pause(Duration::from_millis(20));
        }
        client.reply()
    }

    /// A first request, so that there is a place and a log.
    #[track_caller]
    fn begin(&self) -> String {
        // The number of a client that asks by a front.
        self.ask(CLIENTS + 7, 0)
    }

    /// How often the daemon has said this.
    fn said(&self, text: &str) -> usize {
        self.dir.daemon_log().matches(text).count()
    }

    /// Sixteen clients that ask, each after a pause of its own below `most`, until `meanwhile` has returned.
    #[track_caller]
    fn under_load(&self, most: Duration, meanwhile: impl FnOnce(&Load)) -> Vec<String> {
        let ask = |client, number: usize| {
            let mut own = self.chance.of(client << 32 | number);
            pause(own.below(most));
            self.ask(client, number)
        };
        let mut answers = vec![self.begin()];
        answers.extend(Load::beside(CLIENTS, ask, meanwhile).concat());
        answers
    }

    /// Waits until the daemon has said this so often.
    #[track_caller]
    fn until_said(&self, load: &Load, text: &str, times: usize) {
        let mut watch = Watch::on(&self.dir.place());
        let said = watch.until(Deadline::soon(), || {
            load.assert_goes_on();
            self.said(text) >= times
        });
        assert!(said, "{}", self.dir.daemon_log());
    }

    /// Stops the daemon, and holds what was run against what was answered.
    #[track_caller]
    fn end(self, answers: &[String]) {
        for daemon in self.dir.all_daemons() {
            // It may be leaving.
            self.dir.polycgi(&["stop"]).success();
            assert!(Deadline::soon().ended(daemon));
        }
        assert_each_once(&self.dir.lines("marks"), answers);
        println!("{} requests", answers.len());
        for trouble in [": error: ", "killed", "cannot"] {
            let log = self.dir.daemon_log();
            let lines: Vec<_> = log.lines().filter(|line| line.contains(trouble)).collect();
            assert!(lines.is_empty(), "{lines:#?}");
        }
    }
}

#[track_caller]
fn assert_each_once(run: &[String], answers: &[String]) {
    let (mut run, mut answers) = (run.to_vec(), answers.to_vec());
    run.sort();
    answers.sort();
    let twice: Vec<_> = run.windows(2).filter(|two| two[0] == two[1]).collect();
    assert!(twice.is_empty(), "run twice: {twice:?}");
    assert_eq!(run, answers);
}

#[test]
#[should_panic(expected = "run twice")]
fn a_request_that_is_run_twice_is_seen() {
    let [a, b] = ["a", "b"].map(|name| format!("{name} daemon"));
    assert_each_once(&[b.clone(), a.clone()], &[a.clone(), b.clone()]);
    assert_each_once(&[a.clone(), b.clone(), a.clone()], &[a, b]);
}

/// Sixteen clients that pause each for itself are never silent together. Here they are: all pause for the same time
/// below twice the timer, then they come within a moment.
#[test]
fn idle() {
    const TIMER: Duration = Duration::from_millis(150);
    let crowd = Crowd::configured("mode = daemon\nidle-timeout = 150ms\nmin-lifetime = 1ms\n");
    let mut answers = vec![crowd.begin()];
    let mut silences = crowd.chance.clone();
    let deadline = Deadline::within(Duration::from_secs(60));
    for round in 0.. {
        if crowd.said("leave: idle") >= EXITS {
            break;
        }
        assert!(!deadline.left().is_zero(), "{}", crowd.dir.daemon_log());
        pause(silences.below(2 * TIMER));
        let ask = |client| {
            let mut own = crowd.chance.of(client << 32 | round);
            pause(own.below(TIMER / 10));
            crowd.ask(client, round)
        };
        thread::scope(|scope| {
            let ask = &ask;
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| scope.spawn(move || ask(client)))
                .collect();
            let asked = clients.into_iter().map(|client| client.join());
            answers.extend(asked.map(|answer| answer.expect("a client has failed, see above")));
        });
    }
    crowd.end(&answers);
}

/// With this rate no app is ever busy: the daemon leaves as soon as no request runs for a moment, and the next ones
/// run as CGIs or start another daemon.
#[test]
fn quiet() {
    const TIMER: Duration = Duration::from_millis(200);
    let crowd = Crowd::configured(
        "mode = auto\ndaemon-when-rate = 1000/s\ndaemon-when-busy = 1\n\
         quiet-timeout = 200ms\nmin-lifetime = 1ms\n",
    );
    // Two requests at the same time make the app busy.
    let answers = crowd.under_load(2 * TIMER, |load| {
        for times in 1..=EXITS {
            crowd.until_said(load, "leave: quiet", times);
        }
    });
    assert!(answers.iter().any(|answer| answer.ends_with(" cgi")));
    crowd.end(&answers);
}

/// Shown to fail, as `quiet` was, with a daemon that closes the last connections of its listener unserved.
#[test]
fn stop() {
    let crowd = Crowd::configured("mode = daemon\n");
    let answers = crowd.under_load(Duration::from_millis(200), |load| {
        for times in 1..=EXITS {
            crowd.until_said(load, "info: start: ", times);
            // A request is forwarded at most twice: the second daemon must stay.
            crowd.dir.until_status_has("state = \"up\"");
            crowd.dir.until_status_has("queue = 0");
            crowd.dir.polycgi(&["stop", "--no-wait"]).success();
            crowd.until_said(load, "leave: stop", times);
        }
    });
    assert!(answers.iter().all(|answer| answer.ends_with(" daemon")));
    crowd.end(&answers);
}

#[test]
fn reload() {
    let crowd = Crowd::configured("mode = daemon\n");
    let answers = crowd.under_load(Duration::from_millis(200), |load| {
        for times in 1..=EXITS {
            load.assert_goes_on();
            crowd.dir.polycgi(&["reload"]).success();
            assert!(crowd.said("reload: generation=") >= times);
        }
    });
    assert!(answers.iter().all(|answer| answer.ends_with(" daemon")));
    assert_eq!(crowd.dir.starts(), 1);
    crowd.end(&answers);
}

fn upgradable(config: &str) -> (Dir, PathBuf) {
    with_own_polycgi(&format!(
        "wsgi = testapp:application\nmode = daemon\n{config}"
    ))
}

/// An app with a copy of polycgi of its own, which can be replaced.
pub(crate) fn with_own_polycgi(config: &str) -> (Dir, PathBuf) {
    let dir = Dir::new();
    dir.folder("bin", 0o755);
    install(&dir, &installed("polycgi"));
    let app = dir.app_file("app", config);
    let text = fs::read_to_string(&app).expect("the app file can be read");
    let lines = text.split_once('\n').expect("it has lines").1;
    let text = format!("#!{} -\n{lines}", dir.join("bin/polycgi").display());
    dir.file("cgi-bin/app", &text, 0o755);
    (dir, app)
}

/// Writes a new file and renames it, as `make install` does.
pub(crate) fn install(dir: &Dir, program: &Path) {
    let new = dir.join("bin/polycgi.new");
    // By a process of its own: no child of another test has it open for writing (ETXTBSY).
    run(Command::new("cp").arg(program).arg(&new), b"").success();
    fs::set_permissions(&new, PermissionsExt::from_mode(0o755)).expect("a mode can be set");
    fs::rename(&new, dir.join("bin/polycgi")).expect("a file can be renamed");
}

/// Whether the process runs what is installed now.
fn runs_the_new_one(dir: &Dir, pid: i32) -> bool {
    let inode = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    let exe = inode(Path::new(&format!("/proc/{pid}/exe")));
    exe.is_some() && exe == inode(&dir.join("bin/polycgi"))
}

#[test]
fn upgrade() {
    let (dir, app) = upgradable("");
    let crowd = Crowd::of(dir, app);
    let answers = crowd.under_load(Duration::from_millis(200), |load| {
        let daemon = crowd.dir.daemon();
        for times in 1..=EXITS {
            install(&crowd.dir, &installed("polycgi"));
            crowd.until_said(load, "info: upgrade: ", times);
            crowd.until_said(load, "info: start: ", times + 1);
            assert!(runs_the_new_one(&crowd.dir, daemon), "another process");
        }
    });
    assert!(answers.iter().all(|answer| answer.ends_with(" daemon")));
    assert_eq!(crowd.dir.starts(), EXITS + 1, "{}", crowd.dir.daemon_log());
    crowd.end(&answers);
}

/// Nothing of a CGI program is in memory: an upgrade has no import to wait for.
#[test]
fn an_upgrade_below_a_cgi_program() {
    let (dir, app) = with_own_polycgi("cgi = /usr/bin/python3 -S cgiapp.py\nmode = daemon\n");
    let hello = || cgi::start_front(&app, "/hello").end().response().ok();
    hello();
    let serving = dir.daemon();
    install(&dir, &installed("polycgi"));
    let deadline = Deadline::soon();
    while !runs_the_new_one(&dir, serving) {
        assert!(!deadline.left().is_zero(), "{}", dir.daemon_log());
        assert!(hello().starts_with("hello from "));
    }
    hello();
    assert_eq!(dir.daemon(), serving);
    assert_eq!(dir.daemon_log().matches("info: upgrade: ").count(), 1);
}

/// The signal comes between the exec and the new program's handlers.
#[test]
fn a_signal_while_a_daemon_is_upgraded_is_not_lost() {
    let (dir, app) = upgradable("");
    cgi::start_front(&app, "/hello").end().response().ok();
    let serving = dir.daemon();
    let mut gate = Gate::new(&dir.join("apps"), "between");
    let next = format!(
        "#!/bin/sh\necho $$ > {gate}.entered\nread line < {gate}.go\nexec {next} \"$@\"\n",
        gate = dir.join("apps/between").display(),
        next = installed("scgi-daemon").display()
    );
    dir.file("bin/polycgi", &next, 0o755);
    // A reload makes the daemon look at its program.
    dir.polycgi(&["reload"]).success();
    assert_eq!(gate.entered(), serving);
    let deadline = Deadline::soon();
    send(serving, Signal::SIGTERM);
    gate.open(1);
    assert!(deadline.ended(serving), "{}", dir.daemon_log());
    let log = dir.daemon_log();
    assert!(log.contains("leave: SIGTERM"), "{log}");
    assert!(!dir.socket().exists());
}

/// A daemon whose new program can't be run goes on with the old one.
#[test]
fn an_upgrade_that_cannot_be() {
    let (dir, app) = upgradable("");
    cgi::start_front(&app, "/hello").end().response().ok();
    let serving = dir.daemon();
    // A front would be the broken program; a plain SCGI client is not.
    let hello = || {
        let mut client = ScgiClient::connect(&dir.socket());
        client.send(&header("GET", "/hello", &[], 0)).reply().ok()
    };
    dir.file("bin/polycgi", "no program\n", 0o755);
    let deadline = Deadline::soon();
    while !dir.daemon_log().contains("cannot upgrade: ") {
        assert!(hello().starts_with("hello from "));
        assert!(!deadline.left().is_zero(), "{}", dir.daemon_log());
    }
    // Long enough for several looks at the program.
    let deadline = Deadline::after(Duration::from_secs(2));
    while !deadline.left().is_zero() {
        assert!(hello().starts_with("hello from "));
    }
    let log = dir.daemon_log();
    assert_eq!(log.matches("cannot upgrade: ").count(), 1, "{log}");
    assert_eq!(dir.daemon(), serving);
    install(&dir, &installed("polycgi"));
    let deadline = Deadline::soon();
    while !runs_the_new_one(&dir, serving) {
        assert!(hello().starts_with("hello from "));
        assert!(!deadline.left().is_zero(), "{}", dir.daemon_log());
    }
    // The new one has not started the app before.
    assert!(hello().starts_with("hello from "));
    daemon::with_its_children(serving, || {
        dir.polycgi(&["stop"]).success();
    });
}

/// The code was edited, and is broken: a new daemon could not import it, so the old one stays.
#[test]
fn an_upgrade_over_a_broken_edit_waits() {
    // The daemon looks at its program every second.
    let (dir, app) = upgradable("idle-timeout = 10s\n");
    // One of the requests is told of the edit.
    let told = "the edit can't be loaded, the old code goes on serving: SyntaxError";
    let get = || {
        let mut output = cgi::start_front(&app, "/hello").end();
        if output.stderr.contains(told) {
            output.stderr.clear();
        }
        output.response()
    };
    get().ok();
    let serving = dir.daemon();
    let right = fs::read_to_string(dir.join("apps/testapp.py")).expect("an app can be read");
    dir.file("apps/testapp.py", "this is no Python\n", 0o644);
    install(&dir, &installed("polycgi"));
    pause(Duration::from_secs(4) * strain());
    get().ok();
    dir.until_logged("reload failed");
    let log = dir.daemon_log();
    assert!(!log.contains("upgrade: "), "{log}");

    dir.file("apps/testapp.py", &right, 0o644);
    let deadline = Deadline::soon();
    while !runs_the_new_one(&dir, serving) {
        get().ok();
        assert!(!deadline.left().is_zero(), "{}", dir.daemon_log());
    }
}

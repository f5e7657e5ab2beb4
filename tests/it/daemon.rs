//! A daemon's life: which process holds its socket, what is left when it has gone, what a second daemon does.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Stdio};

use nix::sys::signal::Signal;

use super::util::process::{self, holders_of_listener, is_alive, send, sockets_in};
use super::util::{
    Deadline, Dir, Mpm, Site, Watch, as_user, cgi, daemon, installed, run, under_both,
};

const CONFIG: &str = "wsgi = testapp:application\nmode = daemon\n";

under_both!(
    an_idle_daemon_leaves_nothing
    a_terminated_daemon_finishes
    the_daemon_alone_holds_its_socket
);

/// The locks on files in the folder and on itself, as /proc/locks has them.
fn locks_in(folder: &std::path::Path) -> Vec<String> {
    let inode = |path| fs::metadata(path).map(|metadata| metadata.ino()).ok();
    let entries = fs::read_dir(folder).expect("a test's folder can be read");
    let inodes: Vec<String> = entries
        .flatten()
        .map(|entry| entry.path())
        .chain([folder.to_owned()])
        .filter_map(inode)
        .map(|inode| format!(":{inode}"))
        .collect();
    let table = fs::read_to_string("/proc/locks").expect("/proc/locks can be read");
    let is_here = |line: &&str| {
        let file = line
            .split_whitespace()
            .find(|word| word.matches(':').count() == 2);
        file.is_some_and(|file| inodes.iter().any(|inode| file.ends_with(inode)))
    };
    table.lines().filter(is_here).map(str::to_owned).collect()
}

fn an_idle_daemon_leaves_nothing(mpm: Mpm) {
    let config = format!("{CONFIG}idle-timeout = 1s\nmin-lifetime = 1s\n");
    let site = Site::configured(mpm, 16, &config);
    let dir = &site.dir;
    site.get("/hello").ok();
    let (serving, place) = (dir.daemon(), dir.place());
    // The names that must go exist now.
    assert!(dir.in_place().contains(&"sock".to_owned()));
    assert!(!sockets_in(&place).is_empty());
    assert!(
        !locks_in(&place).is_empty(),
        "the daemon holds a lock on its place"
    );
    assert_eq!(dir.links().len(), 1, "{:?}", dir.links());

    daemon::with_its_children(serving, || ());
    let mut left = dir.in_place();
    left.retain(|name| !["lock", "log", "slots", "state"].contains(&name.as_str()));
    assert_eq!(left, [""; 0]);
    assert_eq!(locks_in(&place), [""; 0]);
    assert_eq!(dir.links().len(), 0, "{:?}", dir.links());
    let sockets = sockets_in(&place);
    assert!(sockets.is_empty(), "{sockets:?}");
    assert!(
        dir.processes_of_apps().is_empty(),
        "{:?}",
        dir.processes_of_apps()
    );
    assert_eq!(fs::read_dir(dir.join("tmp")).expect("a folder").count(), 0);

    site.get("/hello").ok();
    assert_ne!(dir.daemon(), serving);
}

fn a_terminated_daemon_finishes(mpm: Mpm) {
    let site = Site::configured(mpm, 16, CONFIG);
    let mut gate = site.dir.gate("gate");
    let held = site.open("GET", "/hold?gate=gate", &[], None);
    let worker = gate.entered();
    let (old, place) = (site.dir.daemon(), site.dir.place());
    let mut watch = Watch::on(&place);
    send(old, Signal::SIGTERM);
    assert!(watch.until(Deadline::soon(), || !place.join("sock").exists()));
    // The old daemon finishes its request; the next one has a new daemon.
    let hello = site.get("/hello").ok();
    assert_ne!(hello, format!("hello from {worker}\n"));
    assert!(is_alive(old) && is_alive(worker));
    assert_eq!(site.dir.all_daemons().len(), 2);
    daemon::with_its_children(old, || {
        gate.open(1);
        assert_eq!(held.reply().ok(), format!("{worker}\n"));
    });
    assert_ne!(site.dir.daemon(), old);
    site.get("/hello").ok();
}

/// If another process held a copy, clients of a dead daemon would connect and hang.
fn the_daemon_alone_holds_its_socket(mpm: Mpm) {
    let site = Site::configured(mpm, 16, CONFIG);
    let dir = &site.dir;
    let mut gate = dir.gate("gate");
    // The front that starts the daemon is kept here.
    let first = site.open("GET", "/hold?gate=gate", &[], None);
    let worker = gate.entered();
    let mut helpers = dir.gate("helpers");
    assert_eq!(site.get("/helper?gate=helpers").ok(), "started\n");
    let helper = helpers.entered();
    assert!(is_alive(helper), "the response did not wait for it");
    if mpm == Mpm::Event {
        assert!(!dir.fronts().is_empty(), "the first front stays");
    }
    let serving = dir.daemon();
    assert!(
        process::children(serving).len() >= 3,
        "a zygote and two workers"
    );
    assert!(process::children(serving).contains(&worker));
    assert_eq!(holders_of_listener(&dir.socket()), [serving]);
    helpers.open(1);
    assert!(Deadline::soon().ended(helper));
    gate.open(1);
    assert_eq!(first.reply().ok(), format!("{worker}\n"));
}

/// A daemon in the foreground, whose words go to a file.
struct Foreground(Child);

impl Foreground {
    #[track_caller]
    fn start(dir: &Dir) -> Self {
        let said = File::create(dir.join("said")).expect("a file can be made");
        let child = as_user(installed("scgi-daemon"))
            .arg(dir.join("cgi-bin/app"))
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("a descriptor can be copied"))
            .stderr(said)
            .spawn()
            .expect("scgi-daemon can be run");
        let foreground = Self(child);
        let started = Watch::on(dir.path()).until(Deadline::soon(), || {
            foreground.said(dir).contains("start: ")
        });
        assert!(started, "{}", foreground.said(dir));
        foreground
    }

    fn said(&self, dir: &Dir) -> String {
        fs::read_to_string(dir.join("said")).unwrap_or_default()
    }

    fn pid(&self) -> i32 {
        self.0.id().cast_signed()
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        // It still runs only if the test has failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_daemon_in_the_foreground() {
    let dir = Dir::new();
    let app = dir.app_file("app", CONFIG);
    let mut foreground = Foreground::start(&dir);
    let mut gate = dir.gate("gate");
    cgi::start_front(&app, "/hello").end().response().ok();
    assert_eq!(dir.daemon(), foreground.pid(), "served by no other");
    assert_eq!(holders_of_listener(&dir.socket()), [foreground.pid()]);

    let held = cgi::start_front(&app, "/hold?gate=gate");
    let worker = gate.entered();
    let mut watch = Watch::on(&dir.place());
    send(foreground.pid(), Signal::SIGTERM);
    assert!(watch.until(Deadline::soon(), || !dir.socket().exists()));
    assert!(is_alive(foreground.pid()), "it finishes");
    gate.open(1);
    assert_eq!(held.end().response().ok(), format!("{worker}\n"));
    assert!(Deadline::soon().ended(foreground.pid()));
    let status = foreground.0.wait().expect("a child can be waited for");
    assert_eq!(status.code(), Some(0), "{}", foreground.said(&dir));
    // The next request starts a daemon.
    cgi::start_front(&app, "/hello").end().response().ok();
    assert_ne!(dir.daemon(), foreground.pid());
}

/// sysexits.h: EX_CANTCREAT.
#[test]
fn a_second_daemon_refuses() {
    let dir = Dir::new();
    let app = dir.app_file("app", CONFIG);
    cgi::start_front(&app, "/hello").end().response().ok();
    let first = dir.daemon();
    let second = run(as_user(installed("scgi-daemon")).arg(&app), b"");
    assert_eq!(second.status.code(), Some(73), "{}", second.stderr);
    assert!(
        second
            .stderr
            .contains(&format!("runs already, pid {first}")),
        "{}",
        second.stderr
    );
    assert_eq!(second.stderr.lines().count(), 1, "{}", second.stderr);
    assert_eq!(dir.daemon(), first);
    cgi::start_front(&app, "/hello").end().response().ok();
    assert_eq!(holders_of_listener(&dir.socket()), [first]);
}

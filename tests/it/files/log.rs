//! The daemon's log is moved away: by the real logrotate, in each of its ways, and by hand.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::util::process::send;
use crate::util::{Deadline, Dir, Served, Watch, as_user, cgi, program, run};

/// A daemon that logs to `logs/app.log`.
fn served(config: &str) -> (Served, PathBuf) {
    let dir = Dir::new();
    dir.folder("logs", 0o755);
    let log = dir.join("logs/app.log");
    let config = format!("log-file = {}\nmax-procs = 1\n{config}", log.display());
    (Served::in_dir(dir, &config), log)
}

/// Runs logrotate as the tests' user with these lines for the log.
#[track_caller]
fn rotate(dir: &Dir, lines: &str) {
    program::is_installed("/usr/sbin/logrotate", "logrotate");
    let config = format!(
        "{}/app.log {{\nrotate 3\n{lines}\n}}\n",
        dir.join("logs").display()
    );
    let config = dir.file("logrotate.conf", &config, 0o644);
    let state = dir.join("tmp/logrotate.state");
    let mut command = as_user("/usr/sbin/logrotate");
    command
        .arg("--force")
        .arg("--state")
        .arg(&state)
        .arg(config);
    let output = run(&mut command, b"");
    assert!(output.stderr.is_empty(), "{}", output.stderr);
    output.success();
    fs::remove_file(state).expect("logrotate leaves its state");
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A line of the daemon's goes to the file that has the name now, and to no other.
#[track_caller]
fn goes_to(served: &Served, log: &Path, moved: Option<&Path>) {
    let before = moved.map(text);
    let mut watch = Watch::on(log.parent().expect("a file is in a folder"));
    let already = text(log).matches(" reload: ").count();
    served.dir.polycgi(&["reload"]).success();
    let came = watch.until(Deadline::soon(), || {
        text(log).matches(" reload: ").count() > already
    });
    assert!(came, "{:?} {}", before, text(log));
    assert_eq!(
        moved.map(text),
        before,
        "the file that was moved away grows"
    );
}

#[test]
fn each_way_of_logrotate() {
    let (served, log) = served("");
    let moved = served.dir.join("logs/app.log.1");
    goes_to(&served, &log, None);
    for way in [
        "create",
        "create 0640",
        "nocreate",
        "nocreate\nnocompress\ndelaycompress",
        "create\ndateext\ndateformat .%s",
    ] {
        let lines = text(&log).lines().count();
        assert!(lines > 0, "{way}");
        rotate(&served.dir, way);
        let rotated = match way.contains("dateext") {
            true => None,
            false => Some(moved.as_path()),
        };
        if rotated.is_some() {
            assert_eq!(text(&moved).lines().count(), lines, "{way}");
        }
        goes_to(&served, &log, rotated);
    }
    // Nothing is written before the file's beginning: there is no hole.
    rotate(&served.dir, "copytruncate");
    goes_to(&served, &log, Some(&moved));
    assert!(!text(&log).contains('\0'));
    served.is_well_beside_its_log();
}

/// Also when no line is written, by which the daemon would notice.
#[test]
fn a_reload_and_sighup_open_it_anew() {
    let (served, log) = served("log-level = error\n");
    let folder = served.dir.join("logs");
    assert!(log.exists());
    for wish in ["reload", "SIGHUP"] {
        let mut watch = Watch::on(&folder);
        let rotated = match wish {
            "reload" => {
                rotate(&served.dir, "nocreate");
                served.dir.polycgi(&["reload"]).success();
                log.exists()
            }
            _ => {
                let daemon = served.daemon;
                rotate(
                    &served.dir,
                    &format!("nocreate\npostrotate\nkill -HUP {daemon}\nendscript"),
                );
                watch.until(Deadline::soon(), || log.exists())
            }
        };
        assert!(rotated, "{wish}");
        assert_eq!(text(&log), "", "{wish}");
    }
    served.is_well_beside_its_log();
}

/// What a WSGI app says between requests, and what a server of the app prints.
#[test]
fn all_that_goes_to_the_log_goes_to_the_new_one() {
    let (served, log) = served("");
    let mut gate = served.dir.gate("gate");
    assert_eq!(served.get("/later?gate=gate").ok(), "later\n");
    gate.entered();
    rotate(&served.dir, "nocreate");
    let mut watch = Watch::on(&served.dir.join("logs"));
    gate.open(1);
    let has = |words: &str| text(&log).contains(words);
    assert!(
        watch.until(Deadline::soon(), || has("app: words of a thread\n")),
        "{}",
        text(&log)
    );
    let dir = Dir::new();
    dir.folder("logs", 0o755);
    let log = dir.join("logs/app.log");
    let app = dir.app_file(
        "app",
        &format!(
            "scgi = python3 scgiserver.py\nlog-file = {}\n",
            log.display()
        ),
    );
    let get = || cgi::start_front(&app, "/says").end().response().ok();
    get();
    rotate(&dir, "nocreate");
    let mut watch = Watch::on(&dir.join("logs"));
    get();
    let has = || {
        ["a line on output\n", "a line on errors\n"]
            .iter()
            .all(|line| text(&log).contains(line))
    };
    assert!(watch.until(Deadline::soon(), has), "{}", text(&log));
}

/// If the daemon can't make a new file, lines go on to the one that was moved, and one of them says so.
#[test]
fn a_folder_of_another_user_s() {
    let (served, log) = served("");
    let folder = served.dir.join("logs");
    let moved = folder.join("app.log.1");
    fs::rename(&log, &moved).expect("a file can be renamed");
    // As logrotate's root leaves it with a `create` that names another owner.
    fs::create_dir(&log).expect("a folder can be made");
    let mut watch = Watch::on(&folder);
    let reload = || served.dir.polycgi(&["reload"]).success();
    reload();
    let said =
        || text(&moved).contains("it is a directory and not a file; it goes on where it was\n");
    assert!(watch.until(Deadline::soon(), said), "{}", text(&moved));
    let failure = format!(
        "last_failure = \"cannot open the log {}: it is a directory and not a file\"",
        log.display()
    );
    served.dir.until_status_has(&failure);
    reload();
    assert_eq!(
        text(&moved).matches("it is a directory").count(),
        1,
        "said once"
    );
    fs::remove_dir(&log).expect("it is empty");
    goes_to(&served, &log, Some(&moved));
    served.dir.until_status_has("last_failure = null");
}

/// A daemon in the foreground logs to standard error, and to `log-file` where there is one.
#[test]
fn a_daemon_in_the_foreground() {
    let dir = Dir::new();
    dir.folder("logs", 0o755);
    let log = dir.join("logs/app.log");
    for (path, is_stderr) in [
        (log.display().to_string(), false),
        ("/dev/stderr".to_owned(), true),
    ] {
        let config = format!("wsgi = faultapp:application\nlog-file = {path}\n");
        let app = dir.app_file("app", &config);
        let mut command = as_user(crate::util::installed("scgi-daemon"));
        let daemon = crate::util::Piped::start(command.arg(&app));
        // Starting, or up already.
        let is_there = |line: &String| line == "state = \"starting\"" || line == "state = \"up\"";
        dir.until_status("a daemon", |status| status.iter().any(is_there));
        send(daemon.pid(), Signal::SIGTERM);
        let (_, words, status) = daemon.end();
        assert!(status.success(), "{status}: {words}");
        assert_eq!(words.contains("info: start: "), is_stderr, "{words}");
    }
    let said = text(&log);
    assert_eq!(said.matches("info: start: ").count(), 1, "{said}");
    assert_eq!(said.matches("info: exit: ").count(), 1, "{said}");
}

impl Served {
    /// As [`Served::is_well`], for a daemon whose log is elsewhere.
    #[track_caller]
    fn is_well_beside_its_log(&self) {
        self.hello();
        assert_eq!(self.dir.daemon(), self.daemon);
    }
}

//! What `status` shows to others than a person who asks once: a terminal that is watched, Prometheus, a browser.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::libc;
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::{Pid, Uid};

use super::util::{Deadline, Dir, Load, Mpm, Site, as_user, installed, process, run};

/// What begins and ends a frame, and a person's screen from before.
const BEGIN: &str = "\x1b[?2026h\x1b[H";
const END: &str = "\x1b[J\x1b[?2026l";
const RESTORED: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// `status --watch` on a terminal of its own.
struct Watched {
    child: Child,
    master: File,
    slave: OwnedFd,
    before: Termios,
    /// All that it has written.
    written: String,
}

impl Watched {
    fn start(dir: &Dir, columns: u16) -> Watched {
        Watched::start_as(as_user("/usr/bin/setsid"), dir, columns)
    }

    /// With the `setsid` of another user.
    fn start_as(mut command: Command, dir: &Dir, columns: u16) -> Watched {
        let size = winsize(columns);
        let pair = openpty(Some(&size), None).expect("there are terminals");
        let slave = || {
            Stdio::from(
                pair.slave
                    .try_clone()
                    .expect("a descriptor can be duplicated"),
            )
        };
        let before = tcgetattr(&pair.slave).expect("it is a terminal");
        // As its session's terminal: the kernel says SIGWINCH to no other.
        let app = dir.join("cgi-bin/app");
        command.arg("--ctty").arg(installed("polycgi"));
        command.args(["status", "--watch"]).arg(app);
        command.stdin(slave()).stdout(slave()).stderr(slave());
        Watched {
            child: command.spawn().expect("it can be started"),
            master: File::from(pair.master),
            slave: pair.slave,
            before,
            written: String::new(),
        }
    }

    fn resize(&self, columns: u16) {
        let size = winsize(columns);
        // SAFETY: TIOCSWINSZ reads the structure, which is valid for the call.
        let set = unsafe {
            let fd = std::os::fd::AsRawFd::as_raw_fd(&self.master);
            libc::ioctl(fd, libc::TIOCSWINSZ, &raw const size)
        };
        assert_eq!(set, 0);
    }

    #[track_caller]
    fn press(&mut self, key: &[u8]) {
        let pressed = self.master.write_all(key);
        pressed.expect("a key can be pressed");
    }

    /// Reads until it is so.
    #[track_caller]
    fn until(&mut self, what: &str, holds: impl Fn(&str) -> bool) {
        let deadline = Deadline::soon();
        let mut block = [0; 4096];
        while !holds(&self.written) {
            assert!(
                deadline.readable(&self.master),
                "not {what}: {:?}",
                self.written.lines().rev().take(20).collect::<Vec<_>>()
            );
            let count = self
                .master
                .read(&mut block)
                .expect("the terminal can be read");
            self.written
                .push_str(&String::from_utf8_lossy(&block[..count]));
        }
    }

    /// The lines of each whole frame, as they are seen.
    fn frames(written: &str) -> Vec<Vec<String>> {
        let frames = written
            .split(BEGIN)
            .skip(1)
            .filter_map(|frame| Some(frame.split_once(END)?.0));
        let lines = |frame: &str| {
            let frame = frame
                .replace("\x1b[1m", "")
                .replace("\x1b[m", "")
                .replace("\x1b[K", "");
            frame.split("\r\r\n").map(str::to_owned).collect()
        };
        frames.map(lines).collect()
    }

    /// Its end; the terminal must be as it was.
    #[track_caller]
    fn ended(mut self) -> ExitStatus {
        self.until("restored", |written| written.ends_with(RESTORED));
        let pid = self.child.id().cast_signed();
        assert!(Deadline::soon().ended(pid), "it goes on");
        let now = tcgetattr(&self.slave).expect("it is a terminal");
        assert_eq!(now, self.before);
        self.child.wait().expect("a child can be waited for")
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It has ended, unless the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn winsize(columns: u16) -> Winsize {
    Winsize {
        ws_row: 30,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

fn is_narrow(frame: &[String], columns: usize) -> bool {
    frame.iter().all(|line| line.chars().count() <= columns)
}

#[test]
fn a_terminal_shows_a_load_live() {
    let site = Site::configured(
        Mpm::Prefork,
        16,
        "wsgi = testapp:application\nmode = daemon\nmax-procs = 2",
    );
    assert_eq!(site.get("/status/200").status(), 200);
    let mut gate = site.dir.gate("gate");
    let ask = |client: usize, number: usize| match (client, number) {
        (0, 0) => site.get("/hold?gate=gate").status(),
        _ => site.get("/status/200").status(),
    };
    Load::beside(2, ask, |_| {
        gate.entered();
        let mut watched = Watched::start(&site.dir, 100);
        // The request that is held, and the pace of the others.
        watched.until("a busy worker and its request", |written| {
            let frames = Watched::frames(written);
            let shows =
                |frame: &Vec<String>, words: &str| frame.iter().any(|line| line.contains(words));
            frames
                .iter()
                .any(|frame| shows(frame, " busy for ") && shows(frame, "/app/hold"))
                && frames.iter().any(|frame| shows(frame, " requests/s"))
        });
        assert!(
            Watched::frames(&watched.written)
                .iter()
                .all(|frame| is_narrow(frame, 100))
        );
        // Another width shows at once, and from then on no line is longer.
        watched.written.clear();
        watched.resize(33);
        watched.until("narrow frames", |written| {
            let frames = Watched::frames(written);
            frames.iter().filter(|frame| is_narrow(frame, 33)).count() > 2
        });
        let frames = Watched::frames(&watched.written);
        let first = frames.iter().position(|frame| is_narrow(frame, 33));
        assert!(
            first <= Some(1),
            "of those before the signal came: {frames:?}"
        );
        assert!(
            frames
                .iter()
                .skip(first.unwrap_or(0))
                .all(|frame| is_narrow(frame, 33))
        );
        watched.press(b"q");
        assert!(watched.ended().success());
        gate.open(1);
    });
}

/// Neither at the end of a line nor within a path that is longer than one.
#[test]
fn a_narrow_terminal_shows_every_word() {
    let dir = Dir::new();
    let app = dir.app_file("app", "wsgi = testapp:application\nmode = cgi");
    let polycgi = |words: &[&str]| {
        let mut command = as_user(installed("polycgi"));
        run(command.args(words).arg(&app), b"").success()
    };
    polycgi(&["request"]);
    let text = polycgi(&["status"]);
    let letters = |text: &str| text.replace(char::is_whitespace, "");
    for columns in [30, 60] {
        let mut watched = Watched::start(&dir, columns);
        watched.until("a frame", |written| written.contains(END));
        let frame = &Watched::frames(&watched.written)[0];
        assert!(is_narrow(frame, columns.into()), "{frame:?}");
        assert!(text.lines().any(|line| line.len() > columns.into()));
        assert_eq!(letters(&frame[1..].concat()), letters(&text));
        let broken = frame.iter().filter(|line| line.contains("served by"));
        assert!(broken.count() == 1, "{frame:?}");
        watched.press(b"q");
        assert!(watched.ended().success());
    }
}

/// Ctrl-C is a key of the terminal's own, which makes it a signal.
#[test]
fn ctrl_c_and_signals_restore_the_terminal() {
    let dir = Dir::new();
    dir.app_file("app", "wsgi = testapp:application\nmode = cgi");
    for signal in [None, Some(Signal::SIGTERM), Some(Signal::SIGHUP)] {
        let mut watched = Watched::start(&dir, 80);
        watched.until("a frame", |written| written.contains(END));
        match signal {
            None => watched.press(b"\x03"),
            Some(signal) => {
                let pid = Pid::from_raw(watched.child.id().cast_signed());
                kill(pid, signal).expect("it can be signalled");
            }
        }
        let status = watched.ended();
        assert_eq!(status.signal(), signal.map(|signal| signal as i32));
        assert_eq!(status.success(), signal.is_none());
    }
}

/// Ctrl-Z, and the shell's `fg`: also where root looks as the app's user, by a process without a terminal.
#[test]
fn ctrl_z_stops_it_until_it_is_continued() {
    let dir = Dir::new();
    dir.app_file("app", "wsgi = testapp:application\nmode = cgi");
    let mut commands = vec![as_user("/usr/bin/setsid")];
    if Uid::effective().is_root() {
        commands.push(Command::new("/usr/bin/setsid"));
    }
    for command in commands {
        let mut watched = Watched::start_as(command, &dir, 80);
        watched.until("a frame", |written| written.contains(END));
        let pid = watched.child.id().cast_signed();
        for _ in 0..2 {
            let children = process::children(pid);
            watched.press(b"\x1a");
            watched.until("restored", |written| written.ends_with(RESTORED));
            for stopped in children.iter().copied().chain([pid]) {
                process::until_stopped(stopped);
            }
            assert_eq!(tcgetattr(&watched.slave), Ok(watched.before.clone()));
            watched.written.clear();
            process::send(pid, Signal::SIGCONT);
            watched.until("a frame", |written| written.contains(END));
        }
        watched.press(b"q");
        assert!(watched.ended().success());
    }
}

/// The frames are those of one terminal: a reader that looks for them finds a line that is too long.
#[test]
#[should_panic(expected = "a line is too long")]
fn a_long_line_in_a_frame_is_found() {
    let written = format!(
        "{BEGIN}\x1b[1mhead\x1b[m\x1b[K\r\r\n{}{END}",
        "x".repeat(34)
    );
    let frames = Watched::frames(&written);
    assert_eq!(frames.len(), 1);
    assert!(is_narrow(&frames[0], 33), "a line is too long");
}

#[test]
fn without_a_terminal_lines_have_a_time() {
    let dir = Dir::new();
    let app = dir.app_file("app", "wsgi = testapp:application\nmode = cgi");
    let mut command = as_user(installed("polycgi"));
    let command = command.args(["status", "--watch"]).arg(&app);
    let mut watch = command
        .stdout(Stdio::piped())
        .spawn()
        .expect("it can be started");
    let mut stdout = watch.stdout.take().expect("stdout is piped");
    let mut text = String::new();
    let mut block = [0; 4096];
    while text.lines().count() < 3 {
        assert!(Deadline::soon().readable(&stdout), "{text}");
        let count = stdout.read(&mut block).expect("it can be read");
        text.push_str(&String::from_utf8_lossy(&block[..count]));
    }
    let expected = format!("Z {}: down", app.display());
    for line in text.lines().take(2) {
        let (time, rest) = line.split_at(20);
        assert!(time.starts_with("20") && time.contains('T'), "{line}");
        assert!(rest.starts_with(expected.trim_start_matches('Z')), "{line}");
    }
    assert!(!text.contains('\x1b'));
    // It does not go on for nobody.
    drop(stdout);
    let ended = Deadline::soon().ended(watch.id().cast_signed());
    // It has ended, unless the test fails.
    let _ = watch.kill();
    let status = watch.wait().expect("a child can be waited for");
    assert!(ended, "it goes on");
    assert_eq!(status.code(), Some(141));
}

/// Debian's prometheus has promtool. The golden file shows all metrics, and a unit test holds the code to it.
#[test]
fn prometheus_reads_the_metrics() {
    let dir = Dir::new();
    dir.app_file(
        "app",
        "wsgi = testapp:application\nmode = daemon\nmax-procs = 3",
    );
    for _ in 0..3 {
        dir.polycgi(&["request", "--via", "scgi"]);
    }
    let text = dir.polycgi(&["status", "--prometheus"]).success();
    promtool(&text);
    let app = dir.join("cgi-bin/app");
    let app = format!("app=\"{}\",user=\"", app.display());
    let value = |name: &str, more: &str| {
        let lines = text
            .lines()
            .filter(|line| line.starts_with(&format!("{name}{{{app}")) && line.contains(more));
        let values: Vec<&str> = lines
            .filter_map(|line| Some(line.rsplit_once(' ')?.1))
            .collect();
        assert_eq!(values.len(), 1, "{name} {more}: {text}");
        values[0].to_owned()
    };
    let answered = "way=\"daemon\",outcome=\"answered\"";
    assert_eq!(value("polycgi_requests_total", answered), "3");
    assert_eq!(value("polycgi_request_service_seconds_count", ""), "3");
    assert_eq!(
        value("polycgi_request_service_seconds_bucket", "le=\"+Inf\""),
        "3"
    );
    assert_eq!(value("polycgi_workers_limit", ""), "3");
    assert_eq!(value("polycgi_daemon_state", "state=\"up\""), "1");
    // Of all apps of the user, this one too.
    let all = run(
        as_user(installed("polycgi")).args(["status", "--prometheus"]),
        b"",
    );
    let all = String::from_utf8_lossy(&all.stdout).into_owned();
    promtool(&all);
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/status.prom");
    promtool(&std::fs::read_to_string(golden).expect("the golden file can be read"));
}

#[test]
#[should_panic(expected = "promtool")]
fn promtool_finds_what_is_wrong() {
    promtool("# HELP polycgi_x y\n# TYPE polycgi_x counter\npolycgi_x 1\n");
}

#[track_caller]
fn promtool(text: &str) {
    let output = run(
        Command::new("promtool").args(["check", "metrics"]),
        text.as_bytes(),
    );
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &output.stderr;
    assert!(
        output.status.success() && said.is_empty(),
        "promtool: {said}"
    );
}

#[test]
fn a_page_stands_by_itself() {
    let dir = Dir::new();
    dir.app_file("app", "wsgi = testapp:application\nmode = daemon");
    dir.polycgi(&["request", "--via", "scgi"]);
    let page = dir.polycgi(&["status", "--html"]).success();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    for said in [
        "<svg ",
        "by the daemon: 1",
        "prefers-color-scheme:dark",
        ">up<",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
    for loaded in [
        "http:", "https:", "src=", "href=", "url(", "<script", "<link",
    ] {
        assert!(!page.contains(loaded), "{loaded}");
    }
}

#[test]
fn one_view_at_a_time() {
    for words in [
        &["--html"][..],
        &["--json", "--prometheus"],
        &["--watch", "--json"],
        &["--watch=0"],
        &["--watch=x"],
        &["--watch=3601"],
    ] {
        let output = run(as_user(installed("polycgi")).arg("status").args(words), b"");
        assert_eq!(
            output.status.code(),
            Some(64),
            "{words:?}: {}",
            output.stderr
        );
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    }
}

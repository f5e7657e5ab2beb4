//! The examples for the host: units of systemd by systemd's own programs, and logrotate's file by logrotate.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use nix::unistd::Uid;

use super::installed_text;
use crate::util::process::{children, send};
use crate::util::scgi::{ScgiClient, header};
use crate::util::served::pid_in;
use crate::util::{Deadline, Dir, Piped, Watch, as_user, installed, not_tested, program, run};

const ANALYZE: &str = "/usr/bin/systemd-analyze";
const ACTIVATE: &str = "/usr/bin/systemd-socket-activate";

/// The unit in this directory, with the app and the program of this test.
fn unit(dir: &Dir, name: &str) -> String {
    let text = installed_text(name)
        .replace(
            "/usr/local/bin/scgi-daemon",
            &installed("scgi-daemon").display().to_string(),
        )
        .replace(
            "/usr/lib/cgi-bin/",
            &format!("{}/cgi-bin/", dir.path().display()),
        )
        .replace(
            "/run/wiki.sock",
            &dir.join("wiki.sock").display().to_string(),
        );
    dir.file(name, &text, 0o644);
    text
}

/// The value of a key that stands once in a unit.
#[track_caller]
fn value<'a>(unit: &'a str, key: &str) -> &'a str {
    let mut values = unit
        .lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let value = values
        .next()
        .unwrap_or_else(|| panic!("no {key} in {unit}"));
    assert_eq!(values.next(), None, "{key}");
    value
}

#[test]
fn units() {
    let dir = Dir::new();
    let app = dir.app_file("wiki.cgi", "wsgi = faultapp:application\n");
    let [service, socket] = ["wiki.service", "wiki.socket"].map(|name| unit(&dir, name));
    if !Path::new(ANALYZE).exists() || !Path::new(ACTIVATE).exists() {
        not_tested("the units of systemd, which is not installed");
        return;
    }
    let mut verify = Command::new(ANALYZE);
    verify.args(["verify", "--man=no"]);
    let output = run(
        verify
            .arg(dir.join("wiki.service"))
            .arg(dir.join("wiki.socket")),
        b"",
    );
    let about_ours = output.stderr.lines().filter(|line| line.contains("wiki"));
    assert_eq!(about_ours.collect::<Vec<_>>(), Vec::<&str>::new());
    output.success();

    // As systemd would start it from the lines of the two units.
    let listen = value(&socket, "ListenStream").to_owned();
    assert_eq!(value(&service, "User"), value(&socket, "SocketUser"));
    let start: Vec<&str> = value(&service, "ExecStart").split(' ').collect();
    assert_eq!(start[1..], [app.display().to_string()]);
    let mut command = as_user(ACTIVATE);
    let mut daemon = Piped::start(command.args(["-l", &listen]).args(&start));
    let served = || {
        // The socket's file exists before the socket listens.
        let deadline = Deadline::soon();
        let mut client = loop {
            match ScgiClient::try_connect(Path::new(&listen)) {
                Ok(client) => break client,
                Err(error) => assert!(!deadline.left().is_zero(), "{error}"),
            }
            std::thread::yield_now();
        };
        client.send(&header("GET", "/hello", &[], 0));
        pid_in(&client.reply().ok())
    };
    let worker = served();
    assert!(children(daemon.pid()).contains(&worker), "another daemon's");
    let reload = value(&service, "ExecReload").replace("$MAINPID", &daemon.pid().to_string());
    run(Command::new("/bin/sh").args(["-c", &reload]), b"").success();
    served();
    send(daemon.pid(), Signal::SIGTERM);
    assert!(daemon.ended().success());
    fs::remove_file(&listen).expect("the socket was systemd's to remove");
}

/// As root's cron job runs it, for a folder and a log of the app's user.
#[test]
fn logrotate() {
    if !Uid::effective().is_root() {
        not_tested("logrotate as root runs it");
        return;
    }
    program::is_installed("/usr/sbin/logrotate", "logrotate");
    let dir = Dir::new();
    dir.folder("logs", 0o755);
    let log = dir.join("logs/wiki.log");
    let text = installed_text("wiki.logrotate")
        .replace("/var/log/wiki/", &format!("{}/logs/", dir.path().display()));
    assert!(text.contains(&log.display().to_string()), "{text}");
    // Root's own, as logrotate demands.
    let config = dir.join("wiki.logrotate");
    fs::write(&config, text).expect("root can write");
    let app = dir.app_file(
        "app",
        &format!(
            "wsgi = faultapp:application\nlog-file = {}\n",
            log.display()
        ),
    );
    let polycgi =
        |word: &str| run(as_user(installed("polycgi")).arg(word).arg(&app), b"").success();
    polycgi("start");
    let text = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    for number in 1..=3 {
        let before = text(&log);
        assert!(!before.is_empty());
        let mut command = Command::new("/usr/sbin/logrotate");
        command
            .args(["--force", "--state"])
            .arg(dir.join("logrotate.state"));
        let output = run(command.arg(&config), b"");
        assert!(output.stderr.is_empty(), "{}", output.stderr);
        output.success();
        assert_eq!(text(&dir.join("logs/wiki.log.1")), before, "{number}");
        let mut watch = Watch::on(&dir.join("logs"));
        polycgi("reload");
        let came = || text(&log).contains(" reload: ");
        assert!(
            watch.until(Deadline::soon(), came),
            "{number}: {}",
            text(&log)
        );
        assert_eq!(text(&dir.join("logs/wiki.log.1")), before, "{number}");
        let mode = fs::metadata(&log).expect("it is there").mode() & 0o7777;
        assert_eq!(mode, 0o640, "as the example says");
    }
    let compressed = dir.join("logs/wiki.log.3.gz");
    assert!(compressed.exists(), "{compressed:?}");
    polycgi("stop");
}

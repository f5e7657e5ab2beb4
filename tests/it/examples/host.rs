//! The example for the host: logrotate's file, by logrotate.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::Uid;

use super::installed_text;
use crate::util::{Deadline, Dir, Watch, as_user, installed, not_tested, program, run};

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

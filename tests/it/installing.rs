//! `make install` and `make uninstall`: what they put where, and the folder for places in /run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::unistd::Uid;

use super::util::{Dir, PATH, not_tested, run};

const SOURCES: &str = env!("CARGO_MANIFEST_DIR");

/// `make` with these words, in the sources.
#[track_caller]
fn make(words: &[&str]) {
    let mut make = Command::new("make");
    make.args(["-s", "-C", SOURCES]).args(words);
    run(&mut make, b"").success();
}

#[test]
fn a_packager_gets_a_file_for_tmpfiles_d() {
    let dir = Dir::new();
    let root = dir.join("root");
    let into = format!("DESTDIR={}", root.display());
    for (prefix, is_read) in [
        ("/usr", true),
        ("/usr/local/", true),
        ("/opt/polycgi", false),
    ] {
        let prefix_is = format!("PREFIX={prefix}");
        make(&["install", &prefix_is, &into]);
        let below = root.join(prefix.trim_start_matches('/'));
        assert!(below.join("bin/polycgi").exists());
        let file = below.join("lib/tmpfiles.d/polycgi.conf");
        assert_eq!(file.exists(), is_read, "{prefix}");
        if is_read {
            let text = fs::read_to_string(&file).expect("it can be read");
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            let lines: Vec<&str> = lines.collect();
            assert_eq!(lines, ["d /run/polycgi 1777 root root -"]);
            let mode = fs::metadata(&file).expect("it is there").permissions();
            assert_eq!(mode.mode() & 0o777, 0o644);
        }
        assert!(!root.join("run").exists());
        make(&["uninstall", &prefix_is, &into]);
        assert!(!file.exists(), "{prefix}");
    }
}

/// What the sources have beside the README, an installation has elsewhere, or not at all.
#[test]
fn the_readme_leads_to_what_is_installed() {
    let dir = Dir::new();
    let root = dir.join("root");
    make(&["install", &format!("PREFIX={}", root.display()), "DESTDIR="]);
    let docs = root.join("share/doc/polycgi");
    let text = fs::read_to_string(docs.join("README.md")).expect("it is installed");
    for word in text.split_whitespace() {
        if let Some((_, link)) = word.split_once("](") {
            let link = link.split(')').next().expect("a first part");
            let is_elsewhere = link.contains("://");
            assert!(is_elsewhere || docs.join(link).exists(), "{word}");
        }
    }
    let left = text
        .replace("packaging/CONTRIBUTING.md of the sources", "")
        .matches("packaging/")
        .count();
    assert_eq!(left, 0, "{text}");
    let source = fs::read_to_string(format!("{SOURCES}/README.md")).expect("it is there");
    assert!(
        source.contains("](packaging/"),
        "it has what is to be mended"
    );
}

/// In a mount namespace whose /run and /usr/local are the test's own.
#[test]
fn root_has_the_folder_at_once() {
    if !Uid::effective().is_root() {
        not_tested("`make install` into the host, which takes root");
        return;
    }
    const SCRIPT: &str = "set -e
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /usr/local
umask 077
make -s -C \"$1\" install
stat -c '%a %U' /run/polycgi
make -s -C \"$1\" install
make -s -C \"$1\" uninstall
ls /usr/local/lib/tmpfiles.d
make -s -C \"$1\" install PREFIX=/usr/local/other
ls /usr/local/other";
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--", "/bin/sh", "-c", SCRIPT, "sh", SOURCES]);
    // Without a PREFIX or DESTDIR of the tests' own.
    unshare.env_clear().env("PATH", PATH);
    if let Some(target) = std::env::var_os("CARGO_TARGET_DIR") {
        unshare.env("CARGO_TARGET_DIR", target);
    }
    let said = run(&mut unshare, b"").success();
    assert_eq!(said, "1777 root\nbin\nshare\n");
}

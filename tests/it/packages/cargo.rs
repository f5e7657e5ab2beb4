//! What cargo installs by itself: a program that works, without the fast path, and says so. `make install` does not take
//! it for the other.

use std::fs;
use std::sync::LazyLock;
use std::time::Duration;

use super::super::util::command::wait;
use super::super::util::{Deadline, Output, as_user, cgi};
use super::*;

/// What `cargo install` has installed, from the folder where these tests were built, and without a network: what it needs
/// is there.
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("installed");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["install", "--debug", "--offline", "--locked", "--quiet"]);
    cargo.args(["--force", "--no-track", "--path", SOURCES, "--root"]);
    // It compiles what was compiled for tests only.
    let deadline = Deadline::within(Duration::from_secs(120));
    let mut installing = cargo.arg(&root).spawn().expect("it runs");
    let ended = wait(&mut installing, deadline).expect("it ends in time");
    assert!(ended.success());
    root.join("bin/polycgi")
});
const LACK: &str = "without the fast path, which only `make build` links";

/// An app file whose program is the one that cargo has installed.
fn app_file(dir: &Dir, config: &str) -> PathBuf {
    let program = dir.join("polycgi");
    run(
        Command::new("install")
            .args(["-m", "755"])
            .args([&*PROGRAM, &program]),
        b"",
    )
    .success();
    let text = fs::read_to_string(dir.app_file("app", config)).expect("it is there");
    let (_, rest) = text.split_once('\n').expect("a first line");
    dir.file(
        "cgi-bin/app",
        &format!("#!{} -\n{rest}", program.display()),
        0o755,
    )
}

#[test]
fn it_serves_both_ways() {
    for mode in ["cgi", "daemon"] {
        let dir = Dir::new();
        let app = app_file(&dir, &format!("wsgi = testapp:application\nmode = {mode}"));
        for _ in 0..2 {
            let output = run(&mut cgi::front(&app, "GET", "/status/200", &[]), b"");
            assert_eq!(
                cgi::reply(&output.stdout).ok(),
                "status 200\n",
                "{mode}: {}",
                output.stderr
            );
        }
        let mut stop = as_user(dir.join("polycgi"));
        run(stop.arg("stop").arg(&app), b"").success();
    }
}

#[test]
fn it_says_what_it_lacks() {
    let version = |program: &Path| run(Command::new(program).arg("--version"), b"").success();
    let own = format!("polycgi {}\n", env!("CARGO_PKG_VERSION"));
    let ours = version(&PROGRAM);
    if cfg!(target_arch = "x86_64") {
        assert!(ours.starts_with(&format!("{own}{LACK}")), "{ours}");
        assert_eq!(version(&installed("polycgi")), own);
    } else {
        assert_eq!(
            ours,
            format!("{own}without the fast path, which is for x86-64 and glibc only\n")
        );
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn check_says_what_it_lacks() {
    let dir = Dir::new();
    let check = |mode: &str| -> Output {
        let app = app_file(&dir, &format!("wsgi = testapp:application\nmode = {mode}"));
        let program = dir.join("polycgi");
        run(as_user(program).args(["check", "--json"]).arg(app), b"")
    };
    let said = check("auto").success();
    let line = said
        .lines()
        .find(|line| line.contains("\"kind\":\"fast-path\""));
    let line = line.unwrap_or_else(|| panic!("{said}"));
    assert!(
        line.contains("\"severity\":\"warning\"") && line.contains(LACK),
        "{line}"
    );
    // Without a daemon nothing is lost.
    assert!(!check("cgi").success().contains("fast-path"));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn make_install_does_not_take_it_unnoticed() {
    let dir = Dir::new();
    let install = |more: &[&str]| {
        let mut make = Command::new("make");
        make.args(["-s", "-C", SOURCES, "install", "PREFIX=/usr"]);
        make.arg(format!("BINARY={}", PROGRAM.display()));
        make.arg(format!("DESTDIR={}", dir.join("root").display()));
        run(make.args(more), b"")
    };
    let refused = install(&[]);
    assert!(!refused.status.success());
    for words in [
        "without the fast path",
        "`make build` links it anew",
        "SLOW=1",
    ] {
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
    assert!(!dir.join("root").exists());
    install(&["SLOW=1"]).success();
    assert!(dir.join("root/usr/bin/polycgi").exists());
}

//! An application of another project: Mercurial's hgweb, with real clients, through Apache. It knows what a
//! person at the keyboard sees, and nothing of the wire protocol.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::util::{Dir, Hosted, Mpm, Site, Way, as_user, client, prefix, run};

/// The virtual environment that tests/install-deps.sh made and `make test` put beside the installed program.
fn packages() -> PathBuf {
    let environment = prefix().join("hg/lib");
    let found = fs::read_dir(&environment)
        .ok()
        .and_then(|mut entries| entries.next()?.ok());
    let found = found.unwrap_or_else(|| {
        panic!(
            "no Mercurial in {}: run tests/install-deps.sh, then `make test`",
            environment.display()
        )
    });
    found.path().join("site-packages")
}

/// An hg command as the tests' user, with no configuration but what it is given.
pub(crate) fn hg(dir: &Dir, at: &Path) -> Command {
    let mut command = client(dir, at, prefix().join("hg/bin/python3"));
    command.arg(prefix().join("hg/bin/hg"));
    command
        .env("HGRCPATH", "")
        .env("HGPLAIN", "1")
        .env("HGUSER", "tests");
    command
}

#[track_caller]
fn commit(dir: &Dir, at: &Path, name: &str, text: &[u8]) {
    run(as_user("/usr/bin/tee").arg(at.join(name)), text).success();
    // A fixed date, so that the same commits have the same ids in every run.
    let words = [
        "commit",
        "--addremove",
        "--date",
        "2024-02-29 12:00 +0000",
        "--message",
    ];
    run(hg(dir, at).args(words).arg(format!("add {name}")), b"").success();
}

/// A session: clone, look, push, look again. All that it showed, to be compared.
fn session(mpm: Mpm, way: Way) -> Vec<String> {
    let site = Site::bare(mpm, 16);
    let environment = repository(&site.dir);
    let environment: Vec<_> = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    site.serve(way, "hgapp", "application", &environment);
    let shown = talk(&site);
    assert!(
        site.get("/").ok().contains("/cgi-bin/app/first/"),
        "the list of repositories"
    );
    shown
}

/// A repository of two files, and the environment of an app `hgapp` that serves it as `first`.
#[track_caller]
pub(crate) fn repository(dir: &Dir) -> [(&'static str, String); 3] {
    for folder in ["home", "repos", "repos/first", "work"] {
        dir.folder(folder, 0o755);
    }
    let origin = dir.join("repos/first");
    run(hg(dir, &origin).arg("init"), b"").success();
    commit(dir, &origin, "readme", b"hello\n");
    commit(dir, &origin, "noise", &noise());
    let config = format!(
        "[paths]\n/ = {}/*\n[web]\nallow-push = *\npush_ssl = false\nallow-archive = zip\n",
        dir.join("repos").display()
    );
    let config = dir.file("hgweb.config", &config, 0o644);
    let packages = packages();
    let text = |path: &Path| path.to_str().expect("a test's paths are ASCII").to_owned();
    [
        ("HGWEB_CONFIG", text(&config)),
        ("PYTHONPATH", text(&packages)),
        ("HGRCPATH", "/dev/null".to_owned()),
    ]
}

/// Does not compress: the clone is larger than every pipe and socket on its way.
fn noise() -> Vec<u8> {
    let bytes = (0..2_000_000_u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8);
    bytes.collect()
}

/// Clones that repository and looks at it, pushes, and looks again; what it saw.
#[track_caller]
pub(crate) fn talk(site: &Hosted) -> Vec<String> {
    let (dir, origin) = (&site.dir, site.dir.join("repos/first"));
    let work = dir.join("work");
    run(
        hg(dir, &work).args(["clone", &site.url("/first"), "clone"]),
        b"",
    )
    .success();
    let clone = work.join("clone");
    assert_eq!(
        fs::read(clone.join("noise")).expect("the clone has the file"),
        noise()
    );

    let pages = ["raw-file/tip/readme", "json-log", "file/tip"];
    let mut shown: Vec<String> = pages
        .iter()
        .map(|page| site.get(&format!("/first/{page}")).ok())
        .collect();
    assert_eq!(shown[0], "hello\n");
    assert_eq!(site.get("/first/raw-file/tip/nothing").status(), 404);

    commit(dir, &clone, "pushed", b"by hg push\n");
    run(hg(dir, &clone).arg("push"), b"").success();
    assert_eq!(site.get("/first/raw-file/tip/pushed").ok(), "by hg push\n");
    let log = ["log", "--template", "{node} {desc}\n"];
    shown.push(run(hg(dir, &origin).args(log), b"").success());
    shown
}

/// What the session shows without polycgi: made once, by the first test that asks.
fn reference() -> &'static [String] {
    static SHOWN: OnceLock<Vec<String>> = OnceLock::new();
    SHOWN.get_or_init(|| session(Mpm::Event, Way::Reference))
}

#[test]
fn event_cgi() {
    assert_eq!(session(Mpm::Event, Way::Cgi), reference());
}

#[test]
fn event_daemon() {
    assert_eq!(session(Mpm::Event, Way::Daemon), reference());
}

/// Fails if Mercurial or this test is wrong.
#[test]
fn event_reference() {
    assert!(
        reference()
            .last()
            .is_some_and(|log| log.contains("add pushed"))
    );
}

#[test]
fn prefork_cgi() {
    assert_eq!(session(Mpm::Prefork, Way::Cgi), reference());
}

#[test]
fn prefork_daemon() {
    assert_eq!(session(Mpm::Prefork, Way::Daemon), reference());
}

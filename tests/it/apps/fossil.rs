//! Fossil with real clients: a clone, a commit that is synchronised, another client that sees it. Fossil is a CGI, and
//! an SCGI server. It knows what a person at the keyboard sees.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::util::program::{Program, free_address};
use super::super::util::served::noise;
use super::super::util::{Dir, Hosted, Mpm, Way, as_user, client, run, under_both};
use super::{everywhere, served_by, site, start_server};

everywhere!(as_a_cgi);
under_both!(as_a_server);

/// A fossil command as the tests' user, with no configuration but what it is given.
fn fossil(dir: &Dir, at: &Path) -> Command {
    let mut command = client(dir, at, "/usr/bin/fossil");
    command.env("USER", "alice");
    command
}

#[track_caller]
fn do_fossil(dir: &Dir, at: &Path, words: &[&str]) -> String {
    run(fossil(dir, at).args(words), b"").success()
}

/// A repository of one user with one large file; its path.
#[track_caller]
pub(crate) fn repository(dir: &Dir) -> PathBuf {
    for folder in ["home", "repos", "work"] {
        dir.folder(folder, 0o755);
    }
    let repos = dir.join("repos");
    let work = dir.folder("repos/first", 0o755);
    do_fossil(
        dir,
        &repos,
        &["new", "--admin-user", "alice", "project.fossil"],
    );
    let user = [
        "user",
        "password",
        "alice",
        "secret",
        "-R",
        "project.fossil",
    ];
    do_fossil(dir, &repos, &user);
    // Work that Fossil does in the background, which this test does not wait for.
    let setting = [
        "settings",
        "backoffice-disable",
        "1",
        "-R",
        "project.fossil",
    ];
    do_fossil(dir, &repos, &setting);
    do_fossil(dir, &work, &["open", "../project.fossil"]);
    commit(dir, &work, "noise", &noise(2_000_000));
    do_fossil(dir, &work, &["close"]);
    dir.join("repos/project.fossil")
}

#[track_caller]
fn commit(dir: &Dir, at: &Path, name: &str, bytes: &[u8]) {
    run(as_user("/usr/bin/tee").arg(at.join(name)), bytes);
    do_fossil(dir, at, &["add", name]);
    let message = format!("add {name}");
    do_fossil(dir, at, &["commit", "--no-warnings", "-m", &message]);
}

/// A clone, opened in a folder of its own.
#[track_caller]
fn clone(dir: &Dir, url: &str, name: &str) -> PathBuf {
    let work = dir.folder(&format!("work/{name}"), 0o755);
    let words = ["clone", "--save-http-password", url, "clone.fossil"];
    do_fossil(dir, &work, &words);
    do_fossil(dir, &work, &["open", "--force", "clone.fossil"]);
    work
}

/// Two clients: what one commits, the other gets, and the server has.
#[track_caller]
pub(crate) fn session(site: &Hosted, repository: &Path) {
    let dir = &site.dir;
    let url = site.url("").replace("http://", "http://alice:secret@");
    let first = clone(dir, &url, "first");
    let cloned = fs::read(first.join("noise")).expect("the clone has the file");
    assert!(cloned == noise(2_000_000), "{} bytes", cloned.len());
    let second = clone(dir, &url, "second");

    commit(dir, &first, "readme", b"by fossil commit\n");
    let repository = repository.to_str().expect("a test's paths are ASCII");
    let cat = ["cat", "readme", "-r", "trunk", "-R", repository];
    assert_eq!(do_fossil(dir, &first, &cat), "by fossil commit\n");
    do_fossil(dir, &second, &["update"]);
    assert_eq!(
        fs::read(second.join("readme")).unwrap(),
        b"by fossil commit\n"
    );
    // A body that goes both ways: a large file in, and what the server says to it.
    commit(dir, &second, "more", &noise(1_000_000));
    do_fossil(dir, &first, &["update"]);
    assert_eq!(fs::read(first.join("more")).unwrap().len(), 1_000_000);
}

#[track_caller]
fn pages(site: &Hosted) {
    let page = site.get("/timeline").ok();
    assert!(page.contains("add readme"), "{page}");
    assert!(
        page.contains("href=\"/cgi-bin/app/timeline.rss\""),
        "{page}"
    );
    let to_the_start = site.get("/raw/nothing");
    assert_eq!(to_the_start.status(), 302);
    let index = site.url("/index");
    assert_eq!(to_the_start.field("Location"), Some(index.as_str()));
    assert_eq!(site.get("/nothing").status(), 404);
}

/// The lines of an app file for a repository as a CGI.
pub(crate) fn cgi(dir: &Dir, repository: &Path) -> String {
    let script = format!("#!/usr/bin/fossil\nrepository: {}\n", repository.display());
    let script = dir.file("project.cgi", &script, 0o755);
    let home = dir.join("home");
    format!(
        "cgi = fossil cgi {}\nenv.HOME = {}\n",
        script.display(),
        home.display()
    )
}

/// A repository's own SCGI server.
#[track_caller]
pub(crate) fn server(dir: &Dir, repository: &Path, address: SocketAddr) -> Program {
    let mut command = fossil(dir, &dir.join("repos"));
    command.args(["server", "--scgi", "--port", &address.to_string()]);
    command.arg(repository);
    let ready = "Listening for SCGI requests";
    start_server(dir, "fossil", &mut command, ready)
}

fn as_a_cgi(mpm: Mpm, way: Way) {
    let mut path = PathBuf::new();
    let site = site(mpm, way, |dir| {
        path = repository(dir);
        cgi(dir, &path)
    });
    session(&site, &path);
    pages(&site);
    served_by(&site, way);
}

/// `fossil server --scgi` listens on TCP only, and takes no socket that is passed to it: an app of `connect`.
fn as_a_server(mpm: Mpm) {
    let mut path = PathBuf::new();
    let address = free_address();
    let mut site = site(mpm, Way::Daemon, |dir| {
        path = repository(dir);
        format!("connect = {address}")
    });
    let mut server = server(&site.dir, &path, address);
    session(&site, &path);
    pages(&site);
    served_by(&site, Way::Daemon);
    server.stop();
    assert_eq!(site.get("/timeline").status(), 503);
    site.logged(&format!("cannot connect to {address}: "));
}

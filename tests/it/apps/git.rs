//! git-http-backend with real clients: clone, push, a push too large to have a length, a request that is packed by
//! gzip. It knows what a person at the keyboard sees; of the wire only that the request was what the test is about.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::util::{Dir, Mpm, Site, Way, as_user, client, run};
use super::{everywhere, served_by, site};

/// Far above every buffer on its way; the bytes do not compress.
const LARGE: usize = 50_000_000;

everywhere!(clone_and_push large_push_and_clone request_in_gzip);

/// A git command as the tests' user, with no configuration but what it is given.
pub(crate) fn git(dir: &Dir, at: &Path) -> Command {
    let mut command = client(dir, at, "git");
    command.env("GIT_CONFIG_NOSYSTEM", "1");
    // It does not ask for a password.
    command.env("GIT_TERMINAL_PROMPT", "0");
    // The same commits have the same ids in every run.
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "tests");
        command.env(format!("GIT_{who}_EMAIL"), "tests@test.example");
        command.env(format!("GIT_{who}_DATE"), "2024-02-29T12:00:00Z");
    }
    command
}

#[track_caller]
pub(crate) fn do_git(dir: &Dir, at: &Path, words: &[&str]) -> String {
    run(git(dir, at).args(words), b"").success()
}

/// A git command, and what its client sent and got on the way: the fields of all requests.
#[track_caller]
fn traced(dir: &Dir, at: &Path, words: &[&str]) -> String {
    let mut command = git(dir, at);
    command
        .env("GIT_TRACE_CURL", "1")
        .env("GIT_TRACE_CURL_NO_DATA", "1");
    let output = run(command.args(words), b"");
    assert!(output.status.success(), "{words:?}\n{}", output.stderr);
    output.stderr
}

/// A server of one repository that takes pushes; its own address, and a clone of it with one commit.
#[track_caller]
fn serve(mpm: Mpm, way: Way) -> (Site, String, PathBuf) {
    let site = site(mpm, way, app);
    let url = site.url("/project.git");
    let first = first(&site.dir, &url);
    (site, url, first)
}

/// The lines of an app file for one repository that takes pushes, `project.git`.
#[track_caller]
pub(crate) fn app(dir: &Dir) -> String {
    for folder in ["home", "repos", "work"] {
        dir.folder(folder, 0o755);
    }
    let repos = dir.join("repos");
    do_git(
        dir,
        &repos,
        &[
            "init",
            "--quiet",
            "--bare",
            "--initial-branch=main",
            "project.git",
        ],
    );
    let origin = repos.join("project.git");
    for setting in ["http.receivepack=true", "core.compression=0"] {
        let (name, value) = setting.split_once('=').expect("a name and a value");
        do_git(dir, &origin, &["config", name, value]);
    }
    format!(
        "cgi = git http-backend\nenv.GIT_PROJECT_ROOT = {}\nenv.GIT_HTTP_EXPORT_ALL = 1\nenv.HOME = {}\n\
             env.GIT_CONFIG_NOSYSTEM = 1\n",
        repos.display(),
        dir.join("home").display()
    )
}

/// A first clone of it, with one commit that was pushed.
#[track_caller]
pub(crate) fn first(dir: &Dir, url: &str) -> PathBuf {
    let work = dir.join("work");
    do_git(
        dir,
        &work,
        &["init", "--quiet", "--initial-branch=main", "first"],
    );
    let first = work.join("first");
    commit(dir, &first, "readme", b"hello\n");
    do_git(dir, &first, &["remote", "add", "origin", url]);
    do_git(dir, &first, &["push", "--quiet", "origin", "main"]);
    first
}

/// Puts a file into the folder's repository.
#[track_caller]
pub(crate) fn commit(dir: &Dir, at: &Path, name: &str, bytes: &[u8]) {
    run(as_user("/usr/bin/tee").arg(at.join(name)), bytes).success();
    do_git(dir, at, &["add", name]);
    do_git(
        dir,
        at,
        &["commit", "--quiet", "--message", &format!("add {name}")],
    );
}

fn clone_and_push(mpm: Mpm, way: Way) {
    let (site, url, first) = serve(mpm, way);
    let (dir, work) = (&site.dir, site.dir.join("work"));
    do_git(dir, &work, &["clone", "--quiet", &url, "second"]);
    let second = work.join("second");
    assert_eq!(fs::read(second.join("readme")).unwrap(), b"hello\n");

    commit(dir, &second, "pushed", b"by git push\n");
    do_git(dir, &second, &["push", "--quiet", "origin", "main"]);
    do_git(
        dir,
        &first,
        &["pull", "--quiet", "--ff-only", "origin", "main"],
    );
    assert_eq!(fs::read(first.join("pushed")).unwrap(), b"by git push\n");
    // What the server holds is what the client has.
    let head = do_git(dir, &second, &["rev-parse", "HEAD"]);
    let origin = dir.join("repos/project.git");
    assert_eq!(do_git(dir, &origin, &["rev-parse", "main"]), head);
    do_git(dir, &origin, &["fsck", "--strict"]);

    // A push that is refused says why, and changes nothing.
    do_git(dir, &origin, &["config", "http.receivepack", "false"]);
    commit(dir, &second, "refused", b"not for you\n");
    let output = run(git(dir, &second).args(["push", "origin", "main"]), b"");
    assert!(!output.status.success());
    assert!(output.stderr.contains("403"), "{}", output.stderr);
    assert_eq!(do_git(dir, &origin, &["rev-parse", "main"]), head);
    assert_eq!(site.get("/nothing.git/info/refs").status(), 404);
    served_by(&site, way);
    let mut site = site;
    // git itself writes these two.
    let log = site.log();
    let expected = ["not enabled", "Not a git repository", "nothing.git"];
    let is_expected = |line: &str| expected.iter().any(|words| line.contains(words));
    assert!(log.lines().all(is_expected), "{log}");
}

/// git sends a pack that is larger than http.postBuffer in chunks: a body without a length.
fn large_push_and_clone(mpm: Mpm, way: Way) {
    let (site, url, first) = serve(mpm, way);
    let (dir, work) = (&site.dir, site.dir.join("work"));
    let mut large = Vec::new();
    let random = File::open("/dev/urandom").expect("/dev/urandom can be opened");
    random.take(LARGE as u64).read_to_end(&mut large).unwrap();
    for setting in ["core.compression", "core.looseCompression"] {
        do_git(dir, &first, &["config", setting, "0"]);
    }
    commit(dir, &first, "large", &large);
    let push = ["-c", "http.postBuffer=65536", "push", "origin", "main"];
    let trace = traced(dir, &first, &push);
    assert!(trace.contains("Transfer-Encoding: chunked"), "{trace}");

    do_git(dir, &work, &["clone", "--quiet", &url, "second"]);
    let cloned = fs::read(work.join("second/large")).expect("the clone has the file");
    assert!(cloned == large, "{} bytes", cloned.len());
    served_by(&site, way);
}

/// git packs a list of what it wants, once it is longer than a kilobyte, by gzip; git-http-backend unpacks it.
fn request_in_gzip(mpm: Mpm, way: Way) {
    const BRANCHES: usize = 100;
    let (site, url, _) = serve(mpm, way);
    let (dir, work) = (&site.dir, site.dir.join("work"));
    let branches: String = (0..BRANCHES)
        .map(|number| {
            format!(
                "commit refs/heads/branch-{number}\ncommitter tests <tests@test.example> 1709208000 +0000\n\
                 data <<END\nbranch {number}\nEND\nfrom refs/heads/main^0\n\n"
            )
        })
        .collect();
    let mut import = git(dir, &dir.join("repos/project.git"));
    run(import.args(["fast-import", "--quiet"]), branches.as_bytes()).success();

    let trace = traced(dir, &work, &["clone", "--quiet", &url, "second"]);
    assert!(trace.contains("Content-Encoding: gzip"), "{trace}");
    let list = [
        "for-each-ref",
        "--format=%(refname)",
        "refs/remotes/origin/branch-*",
    ];
    let fetched = do_git(dir, &work.join("second"), &list);
    assert_eq!(fetched.lines().count(), BRANCHES);
    served_by(&site, way);
}

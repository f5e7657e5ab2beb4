//! Limits of processes (setrlimit(2)) that a host has set low: as long as the interpreter itself can run, so can the
//! app.

use std::os::unix::process::CommandExt;
use std::path::Path;

use nix::sys::resource::{Resource, setrlimit};

use super::super::util::{Dir, as_user, cgi, run};
use super::tiny;

/// The way in which the app is run under this limit.
#[track_caller]
fn answers(app: &Path, resource: Resource, limit: u64) -> String {
    let mut front = cgi::front(app, "GET", "/", &[]);
    // SAFETY: setrlimit(2) is a system call, and no more.
    unsafe {
        front.pre_exec(move || Ok(setrlimit(resource, limit, limit)?));
    }
    let output = run(&mut front, b"");
    let response = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && response.starts_with("Status: 200 "),
        "{resource:?} {limit}: {}: {response:?}: {}",
        output.status,
        output.stderr
    );
    let (_, way) = response.split_once("\r\n\r\n").expect("a head");
    way.to_owned()
}

/// Below 8 the interpreter itself does not start.
#[test]
fn few_descriptors() {
    let mut ways = Vec::new();
    for limit in (8..=24).chain([32, 64]) {
        let dir = Dir::new();
        let app = tiny(&dir, "mode = daemon\n");
        let both = [(); 3].map(|()| answers(&app, Resource::RLIMIT_NOFILE, limit));
        ways.push(both[0].clone());
        let dir = Dir::new();
        let app = tiny(&dir, "mode = cgi\n");
        assert_eq!(answers(&app, Resource::RLIMIT_NOFILE, limit), "a plain CGI");
    }
    assert_eq!(ways[0], "a plain CGI");
    assert_eq!(ways[ways.len() - 1], "the daemon");
}

#[test]
fn no_file_may_grow() {
    for limit in [0, 1, 4096, 20_000] {
        for mode in ["daemon", "cgi"] {
            let dir = Dir::new();
            let app = tiny(&dir, &format!("mode = {mode}\n"));
            for _ in 0..3 {
                answers(&app, Resource::RLIMIT_FSIZE, limit);
            }
        }
    }
}

/// Root's processes are not counted; as root the tests run programs as another user.
#[test]
fn no_more_processes() {
    let dir = Dir::new();
    let app = tiny(&dir, "mode = daemon\n");
    let mut is_first = true;
    for _ in 0..3 {
        // By prlimit(1), which runs as that user: a process that changes its user at the limit may not exec.
        let mut front = as_user("/usr/bin/prlimit");
        front
            .arg("--nproc=1:1")
            .arg(&app)
            .envs(cgi::meta("GET", "/", &[]));
        let output = run(&mut front, b"");
        let response = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = output.stderr;
        assert!(
            response.ends_with("\r\n\r\na plain CGI"),
            "{response}{said}"
        );
        if is_first {
            assert!(
                said.contains("cannot start the daemon") && said.contains("fork"),
                "{said}"
            );
        }
        is_first = false;
    }
}

#[test]
fn little_memory() {
    for (resource, least) in [
        (Resource::RLIMIT_AS, 40 << 20),
        (Resource::RLIMIT_DATA, 16 << 20),
        (Resource::RLIMIT_STACK, 1 << 20),
    ] {
        for limit in [least, 2 * least, 8 * least] {
            let dir = Dir::new();
            let app = tiny(&dir, "mode = daemon\n");
            for _ in 0..2 {
                answers(&app, resource, limit);
            }
        }
    }
}

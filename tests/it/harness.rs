//! The harness itself, shown to fail: what a test leaves behind is found, and fails the test.
//!
//! What every test is to be held to at its end is looked at in `Dir::clear` (util/dir.rs) or, for an error log, where
//! `Hosted` is dropped. Each such look has a test here that leaves the thing behind, and names the sentence by
//! `should_panic(expected)`: without it the look could find nothing for ever.

use std::time::Duration;

use super::util::{Dir, Mpm, Site, Way, as_user, run};

#[test]
#[should_panic(expected = "the test left behind:\nprocess")]
fn a_process_that_stays_fails_the_test() {
    let mut site = Site::start(Mpm::Prefork, Way::Reference);
    site.dir.patience = Duration::from_secs(1);
    // It has its own session and a clean environment: only its working directory shows that it is this test's.
    let stray = "setsid --fork sleep 600 </dev/null >/dev/null 2>&1";
    run(
        as_user("/bin/sh")
            .args(["-c", stray])
            .current_dir(site.dir.path()),
        b"",
    )
    .success();
}

#[test]
#[should_panic(expected = "temporary file")]
fn a_temporary_file_that_stays_fails_the_test() {
    let dir = Dir::new();
    dir.file("tmp/stray", "", 0o644);
}

#[test]
#[should_panic(expected = "the test left behind:\nsocket")]
fn a_listening_socket_that_stays_fails_the_test() {
    let dir = Dir::new();
    let path = dir.join("run/stray");
    // The test's own process holds it, and is not looked at.
    let _listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    drop(dir);
}

#[test]
#[should_panic(expected = "in the error log")]
fn a_line_in_the_error_log_fails_the_test() {
    let site = Site::start(Mpm::Prefork, Way::Reference);
    assert_eq!(site.get("/complain").status(), 200);
}

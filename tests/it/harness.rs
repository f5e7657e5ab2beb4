//! The harness itself, shown to fail: whatever a test leaves behind is found.

use std::time::Duration;

use super::util::{Dir, Mpm, Site, Way, as_user, run};

#[test]
#[should_panic(expected = "the test left behind:\nprocess")]
fn a_process_that_stays_fails_the_test() {
    let mut site = Site::start(Mpm::Prefork, Way::Reference);
    site.dir.patience = Duration::from_secs(1);
    // Its own session, its environment clean: the working directory still tells whose it is.
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
    // Held by the test itself, which is not looked at as a process.
    let _listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    drop(dir);
}

#[test]
#[should_panic(expected = "in the error log")]
fn a_line_in_the_error_log_fails_the_test() {
    let site = Site::start(Mpm::Prefork, Way::Reference);
    assert_eq!(site.get("/complain").status(), 200);
}

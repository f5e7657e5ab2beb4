//! The demo's page in a browser, and what the demo leaves behind: nothing. What the page has to show is known to
//! tests/demo, whose tests are Python's; this file runs them.

use std::process::Command;
use std::time::Duration;

use super::util::{Deadline, PATH, Running};

const SOURCES: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_page_shows_each_way_and_nobody_else_makes_load() {
    let mut tests = Command::new("/usr/bin/python3");
    tests.args(["-B", "-m", "unittest", "discover", "-s", "tests/demo"]);
    tests
        .current_dir(SOURCES)
        .env_clear()
        .env("PATH", PATH)
        .env("LANG", "C.UTF-8");
    // The demo installs what was built.
    if let Some(target) = std::env::var_os("CARGO_TARGET_DIR") {
        tests.env("CARGO_TARGET_DIR", target);
    }
    let deadline = Deadline::within(Duration::from_secs(180));
    let output = Running::start(&mut tests, b"").until(deadline).end();
    // unittest reports on stderr.
    assert!(output.status.success(), "{}", output.stderr);
    assert!(
        output.stderr.contains("Ran 6 tests"),
        "tests are missing: {}",
        output.stderr
    );
}

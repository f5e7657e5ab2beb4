//! Tests that are Python's, in a folder of `tests`, run as one of ours.

use std::process::Command;
use std::time::Duration;

use super::{Deadline, PATH, Running};

/// Runs those in `tests/FOLDER` with these variables in a clean environment: so many must be there, and succeed.
#[track_caller]
pub(crate) fn python_tests(folder: &str, count: usize, variables: &[(&str, String)]) {
    let mut tests = Command::new("/usr/bin/python3");
    tests.args(["-B", "-m", "unittest", "discover", "-s"]);
    tests
        .arg(format!("tests/{folder}"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .env("PATH", PATH)
        .env("LANG", "C.UTF-8")
        .envs(variables.iter().cloned());
    let deadline = Deadline::within(Duration::from_secs(180));
    let output = Running::start(&mut tests, b"").until(deadline).end();
    // unittest reports on stderr.
    assert!(output.status.success(), "{}", output.stderr);
    assert!(
        output.stderr.contains(&format!("Ran {count} tests")),
        "tests are missing: {}",
        output.stderr
    );
}

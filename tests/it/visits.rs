//! Pages of ours in a browser. What they have to be is known to tests/page, whose tests are Python's; this file serves
//! them, and runs those.

use std::process::Command;
use std::time::Duration;

use super::util::{Deadline, Mpm, PATH, Running, Site, installed};

const SOURCES: &str = env!("CARGO_MANIFEST_DIR");
const APP: &str = "wsgi = testapp:application\n";
/// As many as wait in the browser: when the gate opens, there is room for all at once.
const WORKERS: usize = 3;

#[test]
fn a_browser_is_told_and_comes_back() {
    let busy = format!("{APP}mode = daemon\nmax-procs = {WORKERS}\nqueue-size = 0\n");
    let site = Site::configured(Mpm::Event, 16, &busy);
    let pause = format!("#!{} -\n{APP}", installed("overload-page").display());
    site.dir.file("cgi-bin/pause", &pause, 0o755);
    let own = "<!DOCTYPE html><title>x</title><p>{name} is busy: {retry_after}";
    site.dir.file("apps/own.html", own, 0o644);
    let lines = format!("{APP}mode = cgi\ncgi-max = 0\noverload-page = own.html\n");
    let own = site.dir.app_file("own", &lines);
    let mut gate = site.dir.gate("gate");
    let mut hold = || {
        let held = site.open("GET", "/hold?gate=gate", &[], None);
        gate.entered();
        held
    };
    let held: Vec<_> = (0..WORKERS).map(|_| hold()).collect();

    let mut tests = Command::new("/usr/bin/python3");
    tests.args(["-B", "-m", "unittest", "discover", "-s", "tests/page"]);
    let url = |name: &str| format!("http://{}/cgi-bin/{name}/hello", site.server.address());
    tests
        .current_dir(SOURCES)
        .env_clear()
        .env("PATH", PATH)
        .env("LANG", "C.UTF-8")
        .envs([("BUSY", "app"), ("OWN", "own"), ("PAUSE", "pause")].map(|(k, v)| (k, url(v))))
        .env("GATE", site.dir.join("apps/gate.go"))
        .env("OWN_FILE", own);
    let deadline = Deadline::within(Duration::from_secs(180));
    let output = Running::start(&mut tests, b"").until(deadline).end();
    // unittest reports on stderr.
    assert!(output.status.success(), "{}", output.stderr);
    assert!(
        output.stderr.contains("Ran 6 tests"),
        "tests are missing: {}",
        output.stderr
    );
    for held in held {
        held.reply().ok();
    }
}

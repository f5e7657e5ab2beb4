//! Pages of ours in a browser. What they have to be is known to tests/page, whose tests are Python's; this file serves
//! them, and runs those.

use std::path::Path;

use super::util::{Mpm, Site, installed, python_tests};

const APP: &str = "wsgi = testapp:application\n";
/// As many as wait in the browser: when the gate opens, there is room for all at once.
const WORKERS: usize = 3;

#[test]
fn a_browser_is_told_and_comes_back() {
    let busy = format!("{APP}mode = daemon\nmax-procs = {WORKERS}\nqueue-size = 0\n");
    let site = Site::configured(Mpm::Event, 16, &busy);
    let pause = format!("#!{} -\n{APP}", installed("overload-page").display());
    site.dir.file("cgi-bin/pause", &pause, 0o755);
    let own = "<!DOCTYPE html><link rel=icon href='data:,'><title>x</title><p>{name} is busy: {retry_after}";
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

    let url = |name: &str| format!("http://{}/cgi-bin/{name}/hello", site.server.address());
    let path = |path: &Path| path.display().to_string();
    let variables = [
        ("BUSY", url("app")),
        ("OWN", url("own")),
        ("PAUSE", url("pause")),
        ("GATE", path(&site.dir.join("apps/gate.go"))),
        ("OWN_FILE", path(&own)),
    ];
    python_tests("page", 6, &variables);
    for held in held {
        held.reply().ok();
    }
}

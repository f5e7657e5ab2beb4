//! An app that can't be imported: what the client and the operator get, and when it is tried again. Attempts are
//! counted by the lines that the module itself writes.

use std::time::{Duration, Instant};

use super::util::{Conversation, Deadline, Mpm, Site, Watch, under_both};

const CONFIG: &str = "wsgi = fragile:application\nmode = daemon\n";
const NOTE: &str = "
import os
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'imports'), 'a') as imports:
    imports.write('%d\\n' % os.getpid())
";
const BROKEN: &str = "raise RuntimeError('this module is broken on purpose')\n";
const WHOLE: &str = "from testapp import application\n";

under_both!(
    one_attempt_then_a_pause
    one_attempt_for_many
    the_first_worker_fails_for_all
    an_exit_is_named
);

fn broken(mpm: Mpm) -> Site {
    broken_with(mpm, CONFIG)
}

fn broken_with(mpm: Mpm, config: &str) -> Site {
    let site = Site::configured(mpm, 16, config);
    site.dir
        .file("apps/fragile.py", &format!("{NOTE}{BROKEN}"), 0o644);
    site
}

fn imports(site: &Site) -> usize {
    site.dir.lines("imports").len()
}

#[track_caller]
fn assert_page(site: &Site) {
    site.is_a_500_without(&["on purpose"]);
}

/// No attempt is made without a request; when this returns, the pause is over.
#[track_caller]
fn assert_pause(site: &Site) {
    let before = imports(site);
    let deadline = Deadline::after(pause_after(before));
    let tried = Watch::on(&site.dir.join("apps")).until(deadline, || imports(site) > before);
    assert!(!tried, "an attempt without a request");
}

/// The pause after that many attempts: 1 s after the first.
fn pause_after(attempts: usize) -> Duration {
    Duration::from_secs(1 << (attempts - 1))
}

fn one_attempt_then_a_pause(mpm: Mpm) {
    let mut site = broken(mpm);

    let first = Instant::now();
    assert_eq!(site.get("/hello").status(), 500);
    assert_eq!(imports(&site), 1);
    site.logged("RuntimeError: this module is broken on purpose");
    assert_page(&site);
    // A second attempt is right if the machine was so slow that the pause is over.
    assert!(imports(&site) == 1 || first.elapsed() >= pause_after(1));
    assert_pause(&site);

    let tried = imports(&site);
    let again = Instant::now();
    assert_page(&site);
    assert!(imports(&site) > tried, "the pause is over");
    site.dir
        .file("apps/fragile.py", &format!("{NOTE}{WHOLE}"), 0o644);
    let is_right = imports(&site) == tried + 1 && site.get("/hello").status() == 500;
    assert!(is_right || again.elapsed() >= pause_after(tried + 1));

    assert_pause(&site);
    let attempts = imports(&site);
    assert!(site.get("/hello").ok().starts_with("hello from "));
    assert_eq!(site.get("/status/200").ok(), "status 200\n");
    assert_eq!(imports(&site), attempts + 1, "imported once, forked since");
    assert_eq!(site.dir.starts(), attempts + 1, "{}", site.dir.daemon_log());
    let log = site.log();
    let tracebacks = log.matches("Traceback (most recent call last)").count();
    assert_eq!(tracebacks, attempts, "{log}");
}

/// All requests wait for the same start, which is logged once.
fn one_attempt_for_many(mpm: Mpm) {
    many(broken(mpm));
}

/// The same without preload, where each worker imports for itself.
fn the_first_worker_fails_for_all(mpm: Mpm) {
    many(broken_with(mpm, &format!("{CONFIG}preload = off\n")));
}

#[track_caller]
fn many(mut site: Site) {
    // The import waits until all requests are there.
    let mut gate = site.dir.gate("gate");
    let waits = "import testapp\ntestapp.pass_gate('gate')\n";
    site.dir
        .file("apps/fragile.py", &format!("{NOTE}{waits}{BROKEN}"), 0o644);
    let open = || site.open("GET", "/hello", &[], None);
    let mut all: Vec<Conversation> = vec![open()];
    gate.entered();
    all.extend((1..8).map(|_| open()));
    site.dir.until_status_has("queue = 8");
    gate.open(1);
    for held in all {
        assert_eq!(held.reply().status(), 500);
    }
    assert_eq!(imports(&site), 1);
    let log = site.log();
    let said = |text| log.matches(text).count();
    assert_eq!(said("Traceback (most recent call last)"), 1, "{log}");
    // In the line that names the request, and at the traceback's end.
    let line = "cannot start the app: RuntimeError: this module is broken on purpose";
    assert_eq!(said(line), 1, "{log}");
    assert_eq!(said("RuntimeError: this module is broken"), 2, "{log}");
}

/// An import that ends the process, without a traceback.
fn an_exit_is_named(mpm: Mpm) {
    let mut site = broken(mpm);
    let exits = format!("{NOTE}os.write(2, b'a last word\\n')\nos._exit(3)\n");
    site.dir.file("apps/fragile.py", &exits, 0o644);
    assert_page(&site);
    assert_eq!(imports(&site), 1);
    let log = site.log();
    assert_eq!(log.matches("a last word").count(), 1, "{log}");
}

//! A front that finds no slot waits for one for a moment, and only so many fronts do.

use std::sync::mpsc;

use nix::libc;

use super::util::refused::{Host, Role};
use super::util::{Deadline, Dir, Reply, cgi, run};

const CONFIG: &str = "wsgi = testapp:application\nmode = cgi\ncgi-max = 1\n";

/// GET by a front. As soon as it has found no slot, and is about to watch the process that has it, it is held up until
/// `meanwhile` is done; that says so, since else no front would have waited.
#[track_caller]
fn waits(dir: &Dir, target: &str, meanwhile: impl FnOnce() + Send + 'static) -> Reply {
    let (done, is_done) = mpsc::channel();
    let mut meanwhile = Some(meanwhile);
    let host = Host::new(&[libc::SYS_pidfd_open], move |call| {
        if call.role() == Role::Front
            && let Some(meanwhile) = meanwhile.take()
        {
            meanwhile();
            // The test waits for it.
            let _ = done.send(());
        }
        None
    });
    let mut front = cgi::front(&dir.join("cgi-bin/app"), "GET", target, &[]);
    let output = run(host.around(&mut front), b"");
    assert!(is_done.try_recv().is_ok(), "the front has not waited");
    output.response()
}

#[test]
fn a_slot_that_becomes_free_is_taken() {
    let dir = Dir::new();
    let app = dir.app_file("app", CONFIG);
    let mut gate = dir.gate("gate");
    let held = cgi::start_front(&app, "/hold?gate=gate");
    let script = gate.entered();
    let reply = waits(&dir, "/hello", move || {
        gate.open(1);
        assert!(Deadline::soon().ended(script));
    });
    assert!(reply.ok().starts_with("hello from "));
    held.end().response().ok();
    dir.until_status_has("counts.cgi = 2");
    dir.until_status_has("counts.no-slot = 0");
}

#[test]
fn no_more_wait_than_there_are_slots() {
    let dir = Dir::new();
    let app = dir.app_file("app", CONFIG);
    let [mut gate, mut other] = ["gate", "other"].map(|name| dir.gate(name));
    let held = cgi::start_front(&app, "/hold?gate=gate");
    let script = gate.entered();
    let front = {
        let app = app.clone();
        move || cgi::start_front(&app, "/hello").end().response().status()
    };
    let turned_away = front.clone();
    let dir = std::sync::Arc::new(dir);
    let waiting = std::thread::spawn({
        let dir = std::sync::Arc::clone(&dir);
        move || {
            waits(&dir, "/hold?gate=other", move || {
                assert_eq!(turned_away(), 503);
                gate.open(1);
                assert!(Deadline::soon().ended(script));
            })
        }
    });
    let script = other.entered();
    held.end().response().ok();
    // The one that waited has a slot now, and its place to wait is free.
    let reply = waits(&dir, "/hello", move || {
        other.open(1);
        assert!(Deadline::soon().ended(script));
    });
    assert!(reply.ok().starts_with("hello from "));
    waiting.join().expect("its front is served").ok();
    dir.until_status_has("counts.no-slot = 1");
}

//! A front that finds no slot waits for one for a moment, and only so many fronts do.

use std::fs;
use std::sync::mpsc;

use nix::libc;

use super::tickets::signed;
use super::util::refused::{Host, Role};
use super::util::{Deadline, Dir, Reply, cgi, run};

const CONFIG: &str = "wsgi = testapp:application\nmode = cgi\ncgi-max = 1\n";

/// GET by a front, as [`waits_with`] has it.
#[track_caller]
fn waits(dir: &Dir, target: &str, meanwhile: impl FnOnce() + Send + 'static) -> Reply {
    waits_with(dir, target, &[], move |_| meanwhile())
}

/// GET by a front with these fields. As soon as it has found no slot, and is about to watch the process that has it, it is held up until
/// `meanwhile`, which is told its pid, is done; that says so, since else no front would have waited.
#[track_caller]
fn waits_with(
    dir: &Dir,
    target: &str,
    fields: &[(&str, &str)],
    meanwhile: impl FnOnce(i32) + Send + 'static,
) -> Reply {
    let (done, is_done) = mpsc::channel();
    let mut meanwhile = Some(meanwhile);
    let host = Host::new(&[libc::SYS_pidfd_open], move |call| {
        if call.role() == Role::Front
            && let Some(meanwhile) = meanwhile.take()
        {
            meanwhile(call.pid);
            // The test waits for it.
            let _ = done.send(());
        }
        None
    });
    let mut front = cgi::front(&dir.join("cgi-bin/app"), "GET", target, fields);
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

/// The bytes of files that this process has locked.
fn locked(pid: i32) -> Vec<u64> {
    let locks = fs::read_to_string("/proc/locks").expect("the kernel shows locks");
    let words = locks.lines().map(|line| line.split_whitespace());
    let its = words.filter_map(|mut words| (words.nth(4)? == pid.to_string()).then_some(words));
    its.filter_map(|mut words| words.nth(1)?.parse().ok())
        .collect()
}

/// There is a line of their own for visitors who were told to come back, and have: one who comes too early waits as
/// anonymous ones do.
#[test]
fn who_comes_back_in_time_waits_before_others() {
    let dir = Dir::new();
    let app = dir.app_file("app", CONFIG);
    let mut gate = dir.gate("gate");
    let browser = [("Accept", "text/html")];
    let mut held = cgi::start_front(&app, "/hold?gate=gate");
    let mut script = gate.entered();
    let refused = run(&mut cgi::front(&app, "GET", "/hello", &browser), b"");
    assert_eq!(refused.response().status(), 503, "there are keys now");
    let (others, first) = (1 << 33, 1 << 34);
    for (cookie, place) in [
        (signed(&dir, 300, 15), first),
        (signed(&dir, 300, 900), others),
        ("polycgi-ticket=forged".to_owned(), others),
    ] {
        let (tell, told) = mpsc::channel();
        let reply = waits_with(&dir, "/hello", &[("Cookie", &cookie)], move |pid| {
            gate.open(1);
            assert!(Deadline::soon().ended(script));
            let _ = tell.send((locked(pid), gate));
        });
        assert!(reply.ok().starts_with("hello from "), "{cookie}");
        let (bytes, back) = told.recv().expect("it was told");
        assert!(bytes.contains(&place), "{cookie}: {bytes:?}");
        held.end().response().ok();
        gate = back;
        held = cgi::start_front(&app, "/hold?gate=gate");
        script = gate.entered();
    }
    gate.open(1);
    held.end().response().ok();
}

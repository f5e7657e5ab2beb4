//! A front that finds no slot waits for one for a moment, and only so many fronts do.

use std::fs;
use std::sync::{Arc, mpsc};
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::tickets::{signed, signed_as, ticket};
use super::util::refused::{Host, Role};
use super::util::{Deadline, Dir, Reply, cgi, run};

const CONFIG: &str = "wsgi = testapp:application\nmode = cgi\ncgi-max = 1\n";

/// GET by a front, as [`waits_with`] has it.
#[track_caller]
fn waits(dir: &Dir, target: &str, meanwhile: impl FnOnce() + Send + 'static) -> Reply {
    waits_with(dir, target, &[], move |_| meanwhile())
}

/// GET by a front with these fields. As soon as it has found no slot, and is about to watch the process that has it, it
/// is held up until `meanwhile`, which is told its pid, is done; that says so, since else no front would have waited.
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
    let dir = Arc::new(dir);
    let waiting = thread::spawn({
        let dir = Arc::clone(&dir);
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

/// The first places of the two lines.
const OTHERS: u64 = 1 << 33;
const FIRST: u64 = 1 << 34;

/// Locks these bytes of the app's file, until the descriptor is closed.
fn take(dir: &Dir, bytes: std::ops::Range<u64>) -> fs::File {
    let path = dir.place().join("slots");
    let file = fs::File::options().write(true).open(path);
    let file = file.expect("the tests may write to it");
    if !bytes.is_empty() {
        let lock = libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: bytes.start as libc::off_t,
            l_len: (bytes.end - bytes.start) as libc::off_t,
            l_pid: 0,
        };
        fcntl(&file, FcntlArg::F_SETLK(&lock)).expect("nobody has them");
    }
    file
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
/// anonymous ones do, and so do those for whom there is no room in that line, and the fifth request of one ticket.
#[test]
fn who_comes_back_in_time_waits_in_another_line() {
    let dir = Dir::new();
    let app = dir.app_file("app", CONFIG);
    let mut gate = dir.gate("gate");
    let browser = [("Accept", "text/html")];
    let mut held = cgi::start_front(&app, "/hold?gate=gate");
    let mut script = gate.entered();
    let refused = run(&mut cgi::front(&app, "GET", "/hello", &browser), b"");
    assert_eq!(refused.response().status(), 503, "there are keys now");
    let ticket_7 = (1 << 35) + 7 * 4;
    for (cookie, place, taken) in [
        (signed(&dir, 300, 15), FIRST, 0..0),
        (signed(&dir, 300, 900), OTHERS, 0..0),
        ("polycgi-ticket=forged".to_owned(), OTHERS, 0..0),
        (signed(&dir, 300, 15), OTHERS, FIRST..FIRST + 1),
        (signed(&dir, 300, 15), OTHERS, ticket_7..ticket_7 + 4),
        (signed(&dir, 300, 15), FIRST, ticket_7..ticket_7 + 3),
        (signed_as(&dir, 8, 300, 15), FIRST, ticket_7..ticket_7 + 4),
    ] {
        let taken = take(&dir, taken);
        let (tell, told) = mpsc::channel();
        let reply = waits_with(&dir, "/hello", &[("Cookie", &cookie)], move |pid| {
            drop(taken);
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

/// An anonymous one that comes when a slot has just become free leaves it to one that has waited for it.
#[test]
fn who_comes_back_in_time_goes_before_others() {
    let dir = Arc::new(Dir::new());
    let app = dir.app_file("app", CONFIG);
    let [mut gate, mut other] = ["gate", "other"].map(|name| dir.gate(name));
    let held = cgi::start_front(&app, "/hold?gate=gate");
    let script = gate.entered();
    let browser = [("Accept", "text/html")];
    let refused = run(&mut cgi::front(&app, "GET", "/hello", &browser), b"");
    assert_eq!(refused.response().status(), 503, "there are keys now");
    let cookie = signed(&dir, 300, 15);
    let (tell, is_free) = mpsc::channel();
    let (go, goes_on) = mpsc::channel();
    let first = thread::spawn({
        let dir = Arc::clone(&dir);
        move || {
            let fields = [("Cookie", cookie.as_str())];
            waits_with(&dir, "/hold?gate=other", &fields, move |_| {
                gate.open(1);
                assert!(Deadline::soon().ended(script));
                let _ = tell.send(());
                let _ = goes_on.recv();
            })
        }
    });
    is_free
        .recv()
        .expect("the first waits, and the slot is free");
    let reply = waits_with(&dir, "/hello", &[], move |pid| {
        let bytes = locked(pid);
        assert!(bytes.contains(&OTHERS), "{bytes:?}");
        let _ = go.send(());
        let script = other.entered();
        other.open(1);
        assert!(Deadline::soon().ended(script));
    });
    assert!(reply.ok().starts_with("hello from "));
    first.join().expect("its front is served").ok();
    held.end().response().ok();
}

/// A host that has no descriptor for the file of keys leaves everybody's tickets valid.
#[test]
fn keys_that_cannot_be_opened_stay() {
    let dir = Dir::new();
    let app = dir.app_file("app", CONFIG);
    let mut gate = dir.gate("gate");
    let held = cgi::start_front(&app, "/hold?gate=gate");
    gate.entered();
    let ask = || cgi::front(&app, "GET", "/hello", &[("Accept", "text/html")]);
    ticket(&run(&mut ask(), b"").response(), "/", "");
    let keys = || fs::read(dir.place().join("keys")).expect("there are keys");
    let before = keys();
    for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::EIO] {
        let (tell, told) = mpsc::channel();
        let host = Host::new(&[libc::SYS_openat], move |call| {
            let is_keys = call.role() == Role::Front && call.text(1).ends_with(b"/keys");
            is_keys.then(|| {
                let _ = tell.send(());
                errno
            })
        });
        let reply = run(host.around(&mut ask()), b"").response();
        assert_eq!(reply.status(), 503, "{errno}");
        assert!(told.try_recv().is_ok(), "the file was not opened");
        assert_eq!(keys(), before, "{errno}");
    }
    gate.open(1);
    held.end().response().ok();
}

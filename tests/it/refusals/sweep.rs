//! Every system call of every process that serves, refused once: the calls of a good run are listed, and then each of
//! them fails in a run of its own, with one errno after the other. Of a call that is made often, some times are taken.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;

use super::super::util::Dir;
use super::super::util::refused::{Host, Role};
use super::{Told, tiny};

/// How many times of one call of one kind of process are tried.
const MOST: usize = 4;
const ERRNOS: [Errno; 7] = [
    Errno::ENOSYS,
    Errno::EPERM,
    Errno::EMFILE,
    Errno::ENOMEM,
    Errno::EAGAIN,
    Errno::ENOSPC,
    Errno::EACCES,
];

/// Calls that can't fail, or whose refusal here would be unreal: after a close(2) that fails the descriptor is closed
/// all the same, but a refused one leaves it open.
const NEVER_REFUSED: [i64; 13] = [
    libc::SYS_close,
    libc::SYS_exit_group,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_rseq,
    libc::SYS_rt_sigreturn,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_umask,
];

/// Calls without which the front can't serve in any way: the C library's start needs them, or the app file can't be
/// read. And what the client may get then.
const NO_OTHER_WAY: [(Role, i64, Instead); 10] = [
    (Role::Front, libc::SYS_arch_prctl, Instead::Anything),
    (Role::Front, libc::SYS_brk, Instead::Anything),
    (Role::Front, libc::SYS_mprotect, Instead::Anything),
    (Role::Front, libc::SYS_execve, Instead::Page),
    (Role::Front, libc::SYS_chdir, Instead::Page),
    (Role::Front, libc::SYS_newfstatat, Instead::Page),
    (Role::Front, libc::SYS_openat, Instead::Page),
    (Role::Front, libc::SYS_read, Instead::Page),
    (Role::Front, libc::SYS_statx, Instead::Page),
    // The daemon can't remove its socket's name.
    (Role::Daemon, libc::SYS_unlink, Instead::Name),
];

/// What there may be instead of the app's own answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Instead {
    Anything,
    /// The answer is the app's, but a dead socket stays.
    Name,
    /// Our page, with the reason in the error log.
    Page,
}

/// One call that fails: which time of which kind of process.
#[derive(Clone, Copy, Debug)]
struct Fault {
    role: Role,
    number: i64,
    nth: usize,
    errno: Errno,
}

/// The calls of two requests, of which the second finds a daemon.
fn calls(config: &str) -> BTreeMap<(Role, i64), usize> {
    let counts: Arc<Mutex<BTreeMap<(Role, i64), usize>>> = Arc::default();
    let noted = Arc::clone(&counts);
    let host = Host::new(&[], move |call| {
        let mut counts = noted.lock().expect("no thread has panicked with it");
        *counts.entry((call.role(), call.number)).or_default() += 1;
        None
    });
    let dir = Dir::new();
    let app = tiny(&dir, config);
    for _ in 0..2 {
        let told = Told::by(&host, &app);
        assert!(told.way().is_some(), "{}", told.output.stderr);
    }
    drop(dir);
    let counts = counts.lock().expect("no thread has panicked with it");
    counts.clone()
}

fn faults(calls: &BTreeMap<(Role, i64), usize>, roles: &[Role]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (&(role, number), &count) in calls {
        if !roles.contains(&role) || NEVER_REFUSED.contains(&number) {
            continue;
        }
        let times = count.min(MOST);
        for time in 0..times {
            // The first, the last, and some between.
            let nth = 1 + time * (count - 1) / (times - 1).max(1);
            let errno = ERRNOS[(faults.len() * 3 + nth) % ERRNOS.len()];
            faults.push(Fault {
                role,
                number,
                nth,
                errno,
            });
        }
    }
    faults
}

/// What is wrong with the two answers under this fault; none: it has not occurred.
fn wrong_under(fault: Fault, config: &str) -> Option<Vec<String>> {
    let hit = Arc::new(AtomicBool::new(false));
    let occurs = Arc::clone(&hit);
    let mut count = 0;
    let host = Host::new(&[fault.number], move |call| {
        if call.role() != fault.role {
            return None;
        }
        count += 1;
        let is_it = count == fault.nth;
        occurs.fetch_or(is_it, Ordering::SeqCst);
        is_it.then_some(fault.errno)
    });
    let instead = NO_OTHER_WAY
        .into_iter()
        .find(|&(role, number, _)| (role, number) == (fault.role, fault.number))
        .map(|(_, _, instead)| instead);
    let mut wrong = Vec::new();
    // What is left behind shows at the end of the directory.
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let dir = Dir::new();
        let app = tiny(&dir, config);
        for _ in 0..2 {
            wrong.extend(wrong_with(&host, &app, instead));
        }
        if instead == Some(Instead::Name) {
            // The next start would remove it too.
            let sockets = std::fs::read_dir(dir.join("run")).expect("it can be read");
            let name = sockets
                .flatten()
                .map(|place| place.path().join("sock"))
                .next();
            return Some((dir, name));
        }
        drop(dir);
        None
    }));
    match ended {
        Ok(Some((mut dir, name))) => {
            dir.patience = Duration::from_secs(30);
            if let Some(daemon) = dir.daemons().first() {
                super::super::util::process::send(daemon.pid, nix::sys::signal::Signal::SIGTERM);
                super::super::util::Deadline::soon().ended(daemon.pid);
            }
            // It may have been removed after all.
            let _ = name.map(std::fs::remove_file);
        }
        Ok(None) => {}
        Err(panic) => wrong.push(format!("{:?}", panic.downcast_ref::<String>())),
    }
    hit.load(Ordering::SeqCst).then_some(wrong)
}

fn wrong_with(host: &Host, app: &Path, instead: Option<Instead>) -> Option<String> {
    let told = Told::by(host, app);
    let said = &told.output.stderr;
    if told.took > Duration::from_secs(20) {
        return Some(format!("it took {:?}", told.took));
    }
    let response = String::from_utf8_lossy(&told.output.stdout).into_owned();
    let is_status = ["Status: 500 ", "Status: 503 "]
        .iter()
        .any(|status| response.starts_with(status));
    let is_page = is_status && said.contains("cannot ");
    match (told.way(), instead) {
        (Some(_), _) | (None, Some(Instead::Anything)) => None,
        (None, Some(Instead::Page)) if is_page => None,
        _ => Some(format!("{}: {response:?}: {said:?}", told.output.status)),
    }
}

#[track_caller]
fn sweep(config: &str, roles: &[Role]) {
    let faults = faults(&calls(config), roles);
    let count = faults.len();
    let waiting = Mutex::new(faults.into_iter());
    let (found, missed) = (Mutex::new(Vec::new()), Mutex::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = waiting
                        .lock()
                        .expect("no thread has panicked with it")
                        .next();
                    let Some(fault) = next else {
                        return;
                    };
                    match wrong_under(fault, config) {
                        Some(wrong) => {
                            let wrong = wrong.into_iter().map(|what| format!("{fault:?}: {what}"));
                            found.lock().expect("as above").extend(wrong);
                        }
                        None => *missed.lock().expect("as above") += 1,
                    }
                }
            });
        }
    });
    let found: Vec<String> = found.into_inner().expect("as above");
    assert!(found.is_empty(), "{}", found.join("\n"));
    // The last time of a call that is not made in every run may not come.
    let missed: usize = missed.into_inner().expect("as above");
    assert!(missed * 10 <= count, "{missed} of {count} did not occur");
}

#[test]
fn of_a_front() {
    sweep("mode = daemon\n", &[Role::Front, Role::Starter]);
}

#[test]
fn of_a_daemon() {
    sweep("mode = daemon\n", &[Role::Daemon, Role::Launcher]);
}

#[test]
fn of_zygote_and_worker() {
    sweep("mode = daemon\n", &[Role::Worker, Role::Zygote]);
}

/// A plain CGI from the beginning; if the interpreter's own calls fail, there is no other way.
#[test]
fn of_a_front_that_becomes_the_app() {
    sweep("mode = cgi\n", &[Role::Front]);
}

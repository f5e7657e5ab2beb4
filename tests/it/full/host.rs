//! What the host gives the daemon no more of: processes, by the limit of a user and by that of a group; descriptors;
//! memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::libc;

use super::super::util::pids_group::PidsGroup;
use super::super::util::process::limit_processes;
use super::super::util::refused::{Host, Role};
use super::super::util::served::{app_file, cgi_app_file};
use super::super::util::{Dir, Served, cgi, run};
use super::{Full, Rest, at_rest};

/// `no-process` and what the log says of it.
fn no_process(served: &Served) -> Full<'_> {
    Full {
        served,
        word: "no-process",
        helps: "RLIMIT_NPROC",
    }
}

/// Only requests that wait for a worker need one: `min-idle = 0`.
const ON_DEMAND: &str = "accept = loop\nmax-procs = 1\nmin-idle = 0\nworker-idle-timeout = 1s\n";

#[test]
fn processes_of_the_user_for_a_program() {
    let (served, rest) = at_rest(Served::cgi("max-procs = 2\n"));
    let before = limit_processes(served.daemon, "1");
    no_process(&served).refuses();
    limit_processes(served.daemon, &before);
    rest.returns(&served);
}

/// As TasksMax of a service's.
#[test]
fn processes_of_the_group_for_a_program() {
    let (served, rest) = at_rest(Served::cgi("max-procs = 2\n"));
    let Some(group) = PidsGroup::of(served.daemon) else {
        return;
    };
    no_process(&served).refuses();
    drop(group);
    rest.returns(&served);
}

#[test]
fn processes_of_the_user_for_a_worker() {
    let served = Served::start(ON_DEMAND);
    served.dir.until_status_has("workers = []");
    let zygote = served.dir.zygote();
    let before = limit_processes(zygote, "1");
    no_process(&served).refuses();
    limit_processes(zygote, &before);
    is_served_again(&served);
}

/// At once: until the daemon tries again to fork a worker, which it does after a pause, fronts run the app themselves.
#[track_caller]
fn is_served_again(served: &Served) {
    let front = cgi::start_front(&served.app, "/hello").end();
    assert_eq!(cgi::reply(&front.stdout).status(), 200);
    assert_eq!(served.dir.daemon(), served.daemon);
}

/// A host that refuses these calls to processes of that role while it is told to.
#[track_caller]
fn refusing(
    role: Role,
    calls: &[i64],
    errno: Errno,
    app_file: fn(&Dir, &str) -> std::path::PathBuf,
    config: &str,
) -> (Served, Arc<AtomicBool>) {
    let is_short = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_short);
    let host = Host::new(calls, move |call| {
        (told.load(Ordering::SeqCst) && call.role() == role).then_some(errno)
    });
    let dir = Dir::new();
    let app = app_file(&dir, config);
    let mut front = cgi::front(&app, "GET", "/hello", &[]);
    run(host.around(&mut front), b"").response().ok();
    let daemon = dir.daemon();
    (Served { dir, app, daemon }, is_short)
}

const FORKS: [i64; 4] = [
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_fork,
    libc::SYS_vfork,
];

#[test]
fn memory_for_a_program() {
    let (served, is_short) = refusing(
        Role::Daemon,
        &FORKS,
        Errno::ENOMEM,
        cgi_app_file,
        "max-procs = 2\n",
    );
    let (served, rest) = at_rest(served);
    is_short.store(true, Ordering::SeqCst);
    let full = Full {
        served: &served,
        word: "no-memory",
        helps: "'max-procs'",
    };
    full.refuses();
    is_short.store(false, Ordering::SeqCst);
    rest.returns(&served);
}

#[test]
fn memory_for_a_worker() {
    let (served, is_short) = refusing(Role::Zygote, &FORKS, Errno::ENOMEM, app_file, ON_DEMAND);
    served.dir.until_status_has("workers = []");
    is_short.store(true, Ordering::SeqCst);
    let full = Full {
        served: &served,
        word: "no-memory",
        helps: "'max-procs'",
    };
    full.refuses();
    let failure = "Cannot allocate memory";
    let status = served.dir.status().join("\n");
    assert!(status.contains(failure), "the fault: {status}");
    is_short.store(false, Ordering::SeqCst);
    is_served_again(&served);
}

/// The daemon's own limit is far; the host's is reached.
#[test]
fn descriptors_for_a_program() {
    let (served, is_short) = refusing(
        Role::Daemon,
        &[libc::SYS_pipe2],
        Errno::ENFILE,
        cgi_app_file,
        "max-procs = 2\n",
    );
    let (served, rest): (Served, Rest) = at_rest(served);
    is_short.store(true, Ordering::SeqCst);
    let full = Full {
        served: &served,
        word: "no-descriptor",
        helps: "RLIMIT_NOFILE",
    };
    full.refuses();
    is_short.store(false, Ordering::SeqCst);
    rest.returns(&served);
}

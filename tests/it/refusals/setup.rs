//! The daemon's own set-up: what fails there is in the web server's error log, in the daemon's, and in `status`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::libc;

use super::super::util::Dir;
use super::super::util::refused::{Host, Role};
use super::{Told, tiny, words};

/// Each step that the host can refuse, and the call by which the line names it.
const STEPS: [(i64, &str); 11] = [
    (libc::SYS_dup2, "dup2"),
    (libc::SYS_epoll_create1, "epoll_create1"),
    (libc::SYS_epoll_ctl, "epoll_ctl"),
    (libc::SYS_epoll_wait, "epoll_wait"),
    (libc::SYS_fcntl, "fcntl"),
    (libc::SYS_listen, "listen"),
    (libc::SYS_mmap, "mmap"),
    (libc::SYS_pipe2, "pipe2"),
    (libc::SYS_prctl, "prctl"),
    (libc::SYS_rt_sigaction, "sigaction"),
    (libc::SYS_waitid, "waitid"),
];

#[test]
fn every_step() {
    for (step, (number, name)) in STEPS.into_iter().enumerate() {
        let errnos = [Errno::EPERM, Errno::ENOSYS, Errno::ENOMEM, Errno::EMFILE];
        let errno = errnos[step % errnos.len()];
        let hits = Arc::new(AtomicUsize::new(0));
        let hit = Arc::clone(&hits);
        // In the first start only, and not while the C library begins.
        let mut begun = None;
        let host = Host::new(&[number, libc::SYS_openat], move |call| {
            if call.role() != Role::Daemon {
                return None;
            }
            let is_begun = call.number == libc::SYS_openat && call.text(1).ends_with(b"/slots");
            if is_begun && begun.is_none() {
                begun = Some(call.pid);
            }
            let is_meant = call.number == number && begun == Some(call.pid);
            is_meant.then(|| {
                hit.fetch_add(1, Ordering::SeqCst);
                errno
            })
        });
        let dir = Dir::new();
        let app = tiny(&dir, "mode = daemon\n");
        let told = Told::by(&host, &app);
        told.went("a plain CGI");
        assert_ne!(hits.load(Ordering::SeqCst), 0, "{name} was not refused");
        let why = words(errno);
        let said = &told.output.stderr;
        assert!(
            said.lines().count() == 1 && said.contains(name) && said.contains(&why),
            "{name}: {said:?}"
        );
        let log = dir.daemon_log();
        assert!(log.contains(name) && log.contains(&why), "{name}: {log:?}");
        let status = dir.status();
        let is_kept = |line: &String| line.starts_with("last_failure") && line.contains(&why);
        assert!(status.iter().any(is_kept), "{name}: {status:?}");
    }
}

/// Before there is a place, only the web server's log can be written to.
#[test]
fn before_there_is_a_place() {
    let host = Host::new(&[libc::SYS_mkdir], |call| {
        (call.role() == Role::Daemon).then_some(Errno::ENOSPC)
    });
    let dir = Dir::new();
    let app = tiny(&dir, "mode = daemon\n");
    let told = Told::by(&host, &app);
    told.went("a plain CGI");
    let said = &told.output.stderr;
    assert!(said.contains(&words(Errno::ENOSPC)), "{said:?}");
}

/// A daemon that is killed before it can log anything.
#[test]
fn without_a_word() {
    let host = Host::new(&[libc::SYS_prctl], |call| {
        if call.role() == Role::Daemon {
            // SAFETY: it takes numbers; this process is one that the test has started, and asks at this moment.
            unsafe { libc::kill(call.pid, libc::SIGKILL) };
        }
        None
    });
    let dir = Dir::new();
    let app = tiny(&dir, "mode = daemon\n");
    let told = Told::by(&host, &app);
    told.went("a plain CGI");
    let said = &told.output.stderr;
    assert!(
        said.lines().count() == 1 && said.contains("has taken no request"),
        "{said:?}"
    );
    // Requests in the pause log nothing more.
    let told = Told::by(&host, &app);
    told.went("a plain CGI");
}

/// Once set up, it holds nothing of its starter's.
#[test]
fn the_starter_s_standard_error_is_given_up() {
    let dir = Dir::new();
    let app = tiny(&dir, "mode = daemon\n");
    let host = Host::new(&[libc::SYS_prctl], |_| None);
    Told::by(&host, &app).went("the daemon");
    let link = format!("/proc/{}/fd/2", dir.daemon());
    let link = std::fs::read_link(link).expect("root, or its own user, may look");
    assert_eq!(link.to_str(), Some("/dev/null"));
}

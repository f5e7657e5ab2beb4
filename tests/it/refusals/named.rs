//! Refusals that real hosts are known for: old kernels, filters of containers, a chroot without devices, memory.

use std::time::Instant;

use nix::errno::Errno;
use nix::libc;

use super::super::util::refused::{Host, Role};
use super::super::util::{Deadline, Dir, cgi, run};
use super::{Told, WSGI, tiny};

const DAEMON: &str = "mode = daemon\n";
const PLAIN: &str = "mode = cgi\n";

/// Although that fails, the app runs in the way that its file says, and nothing is logged.
#[track_caller]
fn changes_nothing(host: &Host) {
    for (mode, way) in [(DAEMON, "the daemon"), (PLAIN, "a plain CGI")] {
        let dir = Dir::new();
        let app = tiny(&dir, mode);
        for _ in 0..2 {
            let deadline = Deadline::soon();
            let mut told = Told::by(host, &app);
            // On a busy machine it may be the daemon that is too slow for a front.
            while told.output.stderr.contains("the daemon is slow") && !deadline.left().is_zero() {
                told = Told::by(host, &app);
            }
            told.went(way);
            assert_eq!(told.output.stderr, "");
        }
    }
}

/// A host on which open(2) of this path fails.
fn without_file(path: &'static [u8], errno: Errno) -> Host {
    Host::new(&[libc::SYS_openat, libc::SYS_open], move |call| {
        let nth = usize::from(call.number == libc::SYS_openat);
        (call.role() != Role::Other && call.text(nth) == path).then_some(errno)
    })
}

/// A filter that does not know memfd_create, or forbids it.
#[test]
fn memfd_create() {
    for errno in [Errno::ENOSYS, Errno::EPERM] {
        changes_nothing(&Host::without(&[libc::SYS_memfd_create], errno));
    }
}

/// Nor can files be made elsewhere: the request comes through a pipe.
#[test]
fn memfd_create_and_every_folder() {
    const FOLDERS: [&[u8]; 3] = [b"/dev/shm", b"/tmp", b"/var/tmp"];
    let calls = [libc::SYS_memfd_create, libc::SYS_openat];
    let host = Host::new(&calls, |call| {
        let is_refused = call.number == libc::SYS_memfd_create
            || FOLDERS.contains(&&call.text(1)[..])
            || call.text(1).windows(9).any(|part| part == b"/.polycgi");
        (call.role() != Role::Other && is_refused).then_some(Errno::EROFS)
    });
    let dir = Dir::new();
    let app = tiny(&dir, PLAIN);
    Told::by(&host, &app).went("a plain CGI");
    let app = tiny(&dir, DAEMON);
    let told = Told::by(&host, &app);
    told.went("a plain CGI");
    let said = &told.output.stderr;
    assert!(
        said.contains("memfd_create") && said.lines().count() == 1,
        "{said}"
    );
}

/// Linux 5.10, which has no CLOSE_RANGE_CLOEXEC; 5.8, which has no close_range; and what comes before those.
#[test]
fn close_range() {
    for errno in [Errno::EINVAL, Errno::ENOSYS, Errno::EPERM] {
        changes_nothing(&Host::without(&[libc::SYS_close_range], errno));
    }
    let calls = [libc::SYS_close_range, libc::SYS_openat];
    changes_nothing(&Host::new(&calls, |call| {
        let is_refused = call.number == libc::SYS_close_range || call.text(1) == b"/proc/self/fd";
        let is_ours = matches!(call.role(), Role::Starter | Role::Launcher);
        (is_ours && is_refused).then_some(Errno::ENOENT)
    }));
}

/// Calls that are younger than our oldest kernel, or that a filter may not know.
#[test]
fn young_calls() {
    let calls = [
        libc::SYS_clone3,
        libc::SYS_epoll_pwait2,
        libc::SYS_faccessat2,
        libc::SYS_openat2,
        libc::SYS_pidfd_getfd,
        libc::SYS_rseq,
        libc::SYS_statx,
    ];
    changes_nothing(&Host::without(&calls, Errno::ENOSYS));
}

#[test]
fn no_dev_null() {
    for errno in [Errno::ENOENT, Errno::EACCES] {
        changes_nothing(&without_file(b"/dev/null", errno));
    }
}

/// With the first three descriptors closed by the web server as well.
#[test]
fn no_dev_null_for_what_is_closed() {
    use std::os::unix::process::CommandExt;
    let host = without_file(b"/dev/null", Errno::ENOENT);
    let dir = Dir::new();
    let app = tiny(&dir, PLAIN);
    let mut front = cgi::front(&app, "GET", "/", &[]);
    // SAFETY: close(2) takes any number.
    unsafe {
        front.pre_exec(|| {
            libc::close(0);
            libc::close(2);
            Ok(())
        });
    }
    let output = run(host.around(&mut front), b"");
    let response = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(response.ends_with("\r\n\r\na plain CGI"), "{response}");
}

/// Calls that a generation needs to start: it is the host's fault, so plain CGIs serve, and the log says so.
#[test]
fn what_a_generation_needs() {
    for (role, call, name) in [
        (Role::Daemon, libc::SYS_socketpair, "socketpair"),
        (Role::Daemon, libc::SYS_clone, "fork"),
        (Role::Zygote, libc::SYS_clone, "fork"),
        (Role::Launcher, libc::SYS_dup2, "dup2"),
        (Role::Worker, libc::SYS_mmap, "failed to start"),
    ] {
        for errno in [Errno::EPERM, Errno::ENOMEM, Errno::EAGAIN, Errno::ENOSYS] {
            let host = Host::new(&[call], move |call| (call.role() == role).then_some(errno));
            let dir = Dir::new();
            let app = tiny(&dir, DAEMON);
            let mut said = String::new();
            for _ in 0..6 {
                let told = Told::by(&host, &app);
                told.went("a plain CGI");
                assert!(
                    told.took < Deadline::soon().left() / 3,
                    "{name}: {:?}",
                    told.took
                );
                said += &told.output.stderr;
            }
            let log = dir.daemon_log();
            assert!(said.lines().count() <= 40, "{name}: {said}");
            let is_named = said.contains(name) || log.contains(name);
            let is_python = role == Role::Worker && log.contains("Traceback");
            assert!(is_named || is_python, "{name} {errno}: {said}{log}");
        }
    }
}

/// The kernel kills the import for want of memory; later there is enough.
#[test]
fn a_killed_import() {
    const KILLED: &str = "
import os, signal
with open('/proc/self/cmdline', 'rb') as file:
    is_pool = b' cgi\\0' not in file.read()
here = os.path.dirname(os.path.abspath(__file__))
if is_pool and os.path.exists(here + '/short'):
    os.kill(os.getpid(), signal.SIGKILL)
";
    for preload in ["on", "off"] {
        let dir = Dir::new();
        dir.file("apps/tiny.py", &format!("{KILLED}{}", super::APP), 0o644);
        dir.file("apps/short", "", 0o644);
        let app = dir.app_file("app", &format!("{WSGI}{DAEMON}preload = {preload}\n"));
        let host = Host::new(&[libc::SYS_clone], |_| None);
        let mut said = String::new();
        let began = Instant::now();
        for _ in 0..12 {
            let told = Told::by(&host, &app);
            told.went("a plain CGI");
            said += &told.output.stderr;
        }
        // The next start comes after 1 s, 2 s, 4 s ...; so in 7 s there are four at most.
        let most = 1 + (1 + began.elapsed().as_secs()).ilog2() as usize;
        let starts = said.matches("SIGKILL").count();
        assert!((1..=most).contains(&starts), "{starts} of {most}: {said}");
        dir.until_status("the reason is kept", |status| {
            status
                .iter()
                .any(|line| line.starts_with("last_failure") && line.contains("SIGKILL"))
        });
        std::fs::remove_file(dir.join("apps/short")).expect("a file can be removed");
        let deadline = Deadline::soon();
        while Told::by(&host, &app).way() != Some("the daemon") {
            assert!(!deadline.left().is_zero(), "{}", dir.daemon_log());
        }
    }
}

/// What the app itself raises makes it a broken app: one attempt, and then a page.
#[test]
fn what_the_app_does_is_not_the_host_s() {
    for ends in [
        "raise RuntimeError('on purpose')",
        "raise ConnectionRefusedError(111, 'on purpose')",
        "open('/no/such/file')",
        "import no_such_module",
        "import os; os._exit(3)",
        "raise SystemExit(1)",
    ] {
        let dir = Dir::new();
        dir.file("apps/tiny.py", ends, 0o644);
        let app = dir.app_file("app", &format!("{WSGI}{DAEMON}"));
        let host = Host::new(&[libc::SYS_clone], |_| None);
        let told = Told::by(&host, &app);
        let response = String::from_utf8_lossy(&told.output.stdout).into_owned();
        assert!(
            response.contains("The program behind this page could not be started"),
            "{ends}: {response}"
        );
    }
}

/// ... but what it raises because the host has refused it something does not.
#[test]
fn what_the_host_does_to_the_app() {
    for raises in [
        "raise MemoryError",
        "raise OSError(24, 'Too many open files')",
        "raise RuntimeError from OSError(12, 'Cannot allocate memory')",
        "raise ImportError('x.so: failed to map segment: Cannot allocate memory')",
    ] {
        let dir = Dir::new();
        let in_pool = "with open('/proc/self/cmdline', 'rb') as file: is_pool = b' cgi\\0' not in file.read()";
        let text = format!("{in_pool}\nif is_pool: {raises}\n{}", super::APP);
        dir.file("apps/tiny.py", &text, 0o644);
        let app = dir.app_file("app", &format!("{WSGI}{DAEMON}"));
        let host = Host::new(&[libc::SYS_clone], |_| None);
        let told = Told::by(&host, &app);
        told.went("a plain CGI");
        assert!(told.output.stderr.contains("cannot start"), "{raises}");
    }
}

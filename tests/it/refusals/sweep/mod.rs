//! Every system call of every process that serves, refused once: the calls of a good run are listed, and then each of
//! them fails in a run of its own, with one errno after the other. Of a call that is made often, some times are taken:
//! four for a wsgi app; for the other kinds the last one, since the calls before it are the same for all kinds.
//!
//! A run has two requests. Each gets the app's own answer in time, or what `instead` allows. No process, file or
//! socket's name is left. A line names the call, or `silent` says why no line has to.

mod calls;
mod instead;
mod silent;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;

use super::super::util::process::send;
use super::super::util::refused::{Call, Host, Role};
use super::super::util::{Deadline, Dir, MOST_STRAIN, Output, strain};
use super::apps::{App, Kind};
use super::{Told, words};
use instead::Instead;

/// Calls that can't fail, or whose refusal here would be unreal: after a close(2) that fails the descriptor is closed
/// all the same, but a refused one leaves it open. brk(2) returns the break, and never an errno.
const NEVER_REFUSED: [i64; 14] = [
    libc::SYS_brk,
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

/// One call that fails: which time of which kind of process.
#[derive(Clone, Copy)]
struct Fault {
    role: Role,
    number: i64,
    nth: usize,
    errno: Errno,
}

impl Fault {
    /// The line names the call and the errno. Python's own lines have the errno's number, below the place in the
    /// program.
    fn is_named(self, line: &str) -> bool {
        line.contains(&words(self.errno)) && calls::is_named(line, self.number)
            || line.contains(&format!("[Errno {}]", self.errno as i32))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            role, nth, errno, ..
        } = self;
        let name = calls::name(self.number);
        write!(f, "{role:?}, {name}, time {nth}, {errno:?}")
    }
}

/// One sweep.
#[derive(Clone, Copy)]
struct Sweep {
    kind: Kind,
    config: &'static str,
    /// The processes whose calls are refused.
    roles: &'static [Role],
    /// How many times of one call of one kind of process are tried.
    most: usize,
}

/// Which process makes a call. The calls of an interpreter before our adaptor's first are left out for a plain CGI: if
/// they fail, there is no other way.
#[derive(Default)]
struct Roles {
    begun: BTreeSet<i32>,
}

impl Roles {
    /// A call that shows where the adaptor's own code begins: it looks at the file that holds its request.
    const MARKS: [i64; 2] = [libc::SYS_fstat, libc::SYS_newfstatat];

    fn of(&mut self, call: &Call) -> Role {
        let role = call.role();
        if role != Role::Adaptor || self.begun.contains(&call.pid) {
            return role;
        }
        if Self::MARKS.contains(&call.number) && call.is_of_request() {
            self.begun.insert(call.pid);
            return role;
        }
        Role::Other
    }
}

impl Sweep {
    /// The calls of two requests, of which the second finds a daemon, if there is to be one.
    fn calls(self) -> BTreeMap<(Role, i64), usize> {
        let counts: Arc<Mutex<BTreeMap<(Role, i64), usize>>> = Arc::default();
        let noted = Arc::clone(&counts);
        let mut roles = Roles::default();
        let host = Host::new(&[], move |call| {
            let mut counts = noted.lock().expect("no thread has panicked with it");
            *counts.entry((roles.of(call), call.number)).or_default() += 1;
            None
        });
        let dir = Dir::new();
        let app = App::new(&dir, self.kind, self.config);
        for _ in 0..2 {
            let told = Told::by(&host, &app.file);
            assert!(told.way().is_some(), "{}", told.output.stderr);
        }
        drop(app);
        drop(dir);
        let counts = counts.lock().expect("no thread has panicked with it");
        counts.clone()
    }

    fn faults(self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for ((role, number), count) in self.calls() {
            if !self.roles.contains(&role) || NEVER_REFUSED.contains(&number) {
                continue;
            }
            let times = count.min(self.most);
            for time in 0..times {
                // The last, the first, and some between.
                let nth = count - time * (count - 1) / (times - 1).max(1);
                let errnos = calls::errnos(number);
                let errno = errnos[(faults.len() * 3 + nth) % errnos.len()];
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

    /// How the app is served where nothing is refused.
    fn usual(self) -> &'static str {
        match self.kind {
            Kind::Cgi | Kind::Wsgi if self.config == PLAIN => "a plain CGI",
            Kind::Cgi | Kind::Wsgi => "the daemon",
            Kind::CgiAndScgi | Kind::Connect | Kind::ConnectWithoutPlace | Kind::Scgi => {
                "the server"
            }
        }
    }

    /// No line names the call, though one should.
    fn unsaid(self, fault: Fault, ways: &[Option<&str>], said: &str) -> Option<String> {
        if said.lines().any(|line| fault.is_named(line)) {
            return None;
        }
        let is_told = |line: &str| silent::is_told(fault.role, fault.number, line);
        if said.lines().any(is_told) {
            return None;
        }
        let is_usual = ways.iter().all(|way| *way == Some(self.usual()));
        if is_usual && silent::is_right(fault.role, fault.number) {
            return None;
        }
        Some(format!("no line names it, and it went {ways:?}: {said:?}"))
    }

    /// What is wrong with the two answers under this fault; none: it has not occurred.
    fn wrong_under(self, fault: Fault) -> Option<Vec<String>> {
        let hit = Arc::new(AtomicBool::new(false));
        let occurs = Arc::clone(&hit);
        let mut count = 0;
        let mut roles = Roles::default();
        let [mark, other] = Roles::MARKS;
        let host = Host::new(&[fault.number, mark, other], move |call| {
            let role = roles.of(call);
            if role != fault.role || call.number != fault.number {
                return None;
            }
            count += 1;
            let is_it = count == fault.nth;
            occurs.fetch_or(is_it, Ordering::SeqCst);
            is_it.then_some(fault.errno)
        });
        let instead = instead::instead(self.kind, fault);
        let mut wrong = Vec::new();
        // What is left behind shows at the end of the directory.
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let mut dir = Dir::new();
            let app = App::new(&dir, self.kind, self.config);
            let mut said = String::new();
            let mut ways = Vec::new();
            for _ in 0..2 {
                let told = Told::by(&host, &app.file);
                wrong.extend(wrong_with(&told, instead));
                said += &told.output.stderr;
                ways.push(told.way());
            }
            dir.patience = Duration::from_secs(30);
            for daemon in dir.daemons() {
                // The next start would remove its socket too.
                send(daemon.pid, Signal::SIGTERM);
                Deadline::soon().ended(daemon.pid);
            }
            let places = std::fs::read_dir(dir.join("run")).expect("it can be read");
            for place in places.flatten() {
                let place = place.path();
                said += &std::fs::read_to_string(place.join("log")).unwrap_or_default();
                if instead == Some(Instead::Name) {
                    // It may have been removed after all.
                    let _ = std::fs::remove_file(place.join("sock"));
                }
            }
            if instead != Some(Instead::Anything) {
                wrong.extend(self.unsaid(fault, &ways, &said));
            }
        }));
        if let Err(panic) = ended {
            wrong.push(format!("{:?}", panic.downcast_ref::<String>()));
        }
        hit.load(Ordering::SeqCst).then_some(wrong)
    }
}

/// An answer that takes longer, on a machine that does nothing else, came by no event.
const HANGS: Duration = Duration::from_secs(20);

fn wrong_with(told: &Told, instead: Option<Instead>) -> Option<String> {
    let said = &told.output.stderr;
    if told.took > HANGS * strain() {
        return Some(format!("it took {:?}", told.took));
    }
    let response = String::from_utf8_lossy(&told.output.stdout).into_owned();
    let is_status = ["Status: 500 ", "Status: 502 ", "Status: 503 "]
        .iter()
        .any(|status| response.starts_with(status));
    match (told.way(), instead) {
        (Some(_), _) | (None, Some(Instead::Anything)) => None,
        (None, Some(Instead::Page)) if is_status => None,
        _ => Some(format!("{}: {response:?}: {said:?}", told.output.status)),
    }
}

#[track_caller]
fn sweep(sweep: Sweep) {
    let faults = sweep.faults();
    for role in sweep.roles {
        let is_swept = faults.iter().any(|fault| fault.role == *role);
        assert!(is_swept, "{role:?} makes no calls");
    }
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
                    // The last time of a call may not come in each run: then the first is refused.
                    let first = || (fault.nth > 1).then_some(Fault { nth: 1, ..fault });
                    let wrong = sweep.wrong_under(fault);
                    match wrong.or_else(|| sweep.wrong_under(first()?)) {
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
    // Nor is each call made in every run.
    let missed: usize = missed.into_inner().expect("as above");
    assert!(missed * 10 <= count, "{missed} of {count} did not occur");
}

const DAEMON: &str = "mode = daemon\n";
const PLAIN: &str = "mode = cgi\n";

const fn of(kind: Kind, config: &'static str, roles: &'static [Role], most: usize) -> Sweep {
    Sweep {
        kind,
        config,
        roles,
        most,
    }
}

/// The sweep's own checks fail where they must.
#[test]
fn what_is_wrong_is_seen() {
    use std::os::unix::process::ExitStatusExt;
    let told = |response: &str, seconds| Told {
        output: Output {
            status: std::process::ExitStatus::from_raw(0),
            stdout: response.as_bytes().to_vec(),
            stderr: String::new(),
        },
        took: Duration::from_secs(seconds),
    };
    let own = "Status: 200 OK\r\n\r\nthe daemon";
    let page = "Status: 503 Service Unavailable\r\n\r\n";
    let wrong = |response, seconds, instead| wrong_with(&told(response, seconds), instead);
    assert_eq!(wrong(own, 1, None), None);
    assert_eq!(wrong(page, 1, Some(Instead::Page)), None);
    for (response, seconds, instead) in [
        ("", 1, None),
        ("", 1, Some(Instead::Page)),
        (own, HANGS.as_secs() * u64::from(MOST_STRAIN) + 1, None),
        (page, 1, None),
        (page, 1, Some(Instead::Name)),
        ("Status: 404 Not Found\r\n\r\n", 1, Some(Instead::Page)),
        ("Status: 200 OK\r\n\r\nthe dae", 1, None),
    ] {
        assert!(wrong(response, seconds, instead).is_some(), "{response:?}");
    }
    let sweep = of(Kind::Wsgi, DAEMON, &[Role::Daemon], 1);
    let unsaid = |number, way, said: &str| {
        let fault = Fault {
            role: Role::Daemon,
            number,
            nth: 1,
            errno: Errno::EMFILE,
        };
        sweep.unsaid(fault, &[Some("the daemon"), way], said)
    };
    let (usual, other) = (Some("the daemon"), Some("a plain CGI"));
    let line = "cannot start the daemon: dup2: Too many open files";
    assert_eq!(unsaid(libc::SYS_dup2, other, line), None);
    assert_eq!(unsaid(libc::SYS_ioctl, usual, ""), None);
    for (number, way, said) in [
        (libc::SYS_dup2, usual, ""),
        (libc::SYS_dup2, usual, "dup2: Cannot allocate memory"),
        (libc::SYS_dup2, usual, "epoll_create1: Too many open files"),
        (libc::SYS_ioctl, other, ""),
        (libc::SYS_ioctl, None, ""),
    ] {
        assert!(unsaid(number, way, said).is_some(), "{number}: {said}");
    }
}

#[test]
fn of_a_front() {
    sweep(of(Kind::Wsgi, DAEMON, &[Role::Front, Role::Starter], 4));
}

#[test]
fn of_a_daemon() {
    sweep(of(Kind::Wsgi, DAEMON, &[Role::Daemon, Role::Launcher], 4));
}

#[test]
fn of_zygote_and_worker() {
    sweep(of(Kind::Wsgi, DAEMON, &[Role::Worker, Role::Zygote], 4));
}

#[test]
fn of_a_front_that_becomes_the_app() {
    sweep(of(Kind::Wsgi, PLAIN, &[Role::Front], 4));
}

#[test]
fn of_the_adaptor() {
    sweep(of(Kind::Wsgi, PLAIN, &[Role::Adaptor], 2));
}

#[test]
fn of_a_daemon_of_programs() {
    sweep(of(Kind::Cgi, DAEMON, &[Role::Daemon, Role::Launcher], 1));
}

#[test]
fn of_a_front_that_becomes_a_program() {
    sweep(of(Kind::Cgi, PLAIN, &[Role::Front], 1));
}

#[test]
fn of_a_daemon_with_a_server() {
    sweep(of(Kind::Scgi, "", &[Role::Daemon, Role::Launcher], 1));
}

#[test]
fn of_a_daemon_with_both() {
    sweep(of(
        Kind::CgiAndScgi,
        DAEMON,
        &[Role::Daemon, Role::Launcher],
        1,
    ));
}

#[test]
fn of_a_daemon_before_somebody_else_s_server() {
    sweep(of(Kind::Connect, "", &[Role::Daemon], 1));
}

#[test]
fn of_a_front_before_somebody_else_s_server() {
    sweep(of(Kind::ConnectWithoutPlace, "", &[Role::Front], 1));
}

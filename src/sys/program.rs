//! Starting programs: what they are given, and what they must not inherit.

mod gate;
mod given;

use std::ffi::CString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::wait::WaitStatus;
use nix::unistd::{ForkResult, Pid, fork, setpgid, setsid};

pub use self::gate::Prepared;
use self::gate::{ChildReport, child_report};
pub use self::given::mark_from;
use self::given::{arrange, duplicate_above, first_free};
use super::files;
use super::process::{c_string, pid};
use super::signal::{self, Signal};

/// A program with all that it is given. `fds` become 0, 1, 2 and so on; every other descriptor is closed.
#[derive(Debug)]
pub struct Program<'a> {
    /// A path; see [`find`](super::process::find).
    pub path: &'a Path,
    /// The first is argv\[0\].
    pub argv: &'a [CString],
    /// `NAME=value`.
    pub environ: &'a [CString],
    /// The working directory; `None`: ours.
    pub directory: Option<&'a Path>,
}

/// Why a program was not started.
#[derive(Debug)]
pub struct NotStarted {
    /// The system call that failed.
    pub call: &'static str,
    /// Its error.
    pub error: io::Error,
}

impl NotStarted {
    fn by(call: &'static str) -> impl Fn(Errno) -> NotStarted {
        move |errno| NotStarted {
            call,
            error: errno.into(),
        }
    }
}

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.error)
    }
}

impl From<NotStarted> for io::Error {
    fn from(not: NotStarted) -> io::Error {
        not.error
    }
}

/// The calls that a child makes before the exec, in the order of their numbers in its report.
const CALLS: [&str; 6] = ["chdir", "dup2", "execve", "fcntl", "fork", "setsid"];

/// How a program that we start is related to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kinship {
    Child,
    /// Our child, and the leader of a group of its own.
    Leader,
    /// No child of ours, in a session of its own.
    Detached,
    /// Our child, and the leader of a session of its own.
    Server,
}

impl Program<'_> {
    /// Becomes the program; returns only if that fails. Signals get their default actions and are unblocked (Rust
    /// ignores SIGPIPE, and an exec'd program would inherit that).
    pub fn exec(&self) -> NotStarted {
        self.exec_after(signal::reset_all)
    }

    /// Becomes another version of ourselves, with all signals blocked until that version can handle them. They are
    /// blocked as well if this returns.
    pub fn exec_held(&self) -> NotStarted {
        self.exec_after(signal::hold_all)
    }

    fn exec_after(&self, set_signals: fn()) -> NotStarted {
        if let Some(directory) = self.directory
            && let Err(errno) = nix::unistd::chdir(directory)
        {
            return NotStarted::by("chdir")(errno);
        }
        let refused = NotStarted::by("execve");
        let Ok(path) = CString::new(self.path.as_os_str().as_bytes()) else {
            return refused(Errno::EINVAL);
        };
        set_signals();
        let Err(errno) = nix::unistd::execve(&path, self.argv, self.environ);
        signal::ignore_failed_writes();
        refused(errno)
    }

    /// Starts the program as our child with these descriptors, in our session; its pid.
    pub fn spawn(
        &self,
        fds: &[BorrowedFd<'_>],
        nofile: Option<(u64, u64)>,
    ) -> Result<i32, NotStarted> {
        self.start(fds, nofile, Kinship::Child)
    }

    /// The same, as the leader of a process group of its own, for one request. When memory is short, the kernel kills
    /// it before others. It waits for [`Prepared::go`] before it becomes the program: until then nothing of the app
    /// runs.
    pub fn prepare_leader(
        &self,
        fds: &[BorrowedFd<'_>],
        nofile: Option<(u64, u64)>,
    ) -> Result<Prepared, NotStarted> {
        let (held, gate) = files::pipe().map_err(|error| NotStarted {
            call: "pipe2",
            error,
        })?;
        let held =
            duplicate_above(held.as_fd(), first_free(fds)).map_err(NotStarted::by("fcntl"))?;
        let (child, mut report) =
            self.fork_child(fds, nofile, Kinship::Leader, Some((&held, &gate)))?;
        drop(held);
        match child_report(&mut report) {
            ChildReport::Failed(not) => {
                let _ = nix::sys::wait::waitpid(child, None);
                Err(not)
            }
            ChildReport::AtGate => Ok(Prepared::new(child, report, gate)),
            // It could not say that it waits, or was killed: memory is short, most often.
            ChildReport::Running => {
                drop(gate);
                let _ = nix::sys::wait::waitpid(child, None);
                Err(NotStarted::by("fork")(Errno::ENOMEM))
            }
        }
    }

    /// The same, as the leader of a session, and with its own pid in LISTEN_PID, by which sd_listen_fds(3) sees that
    /// the descriptors are meant for this process.
    pub fn spawn_server(
        &self,
        fds: &[BorrowedFd<'_>],
        nofile: Option<(u64, u64)>,
    ) -> Result<i32, NotStarted> {
        self.start(fds, nofile, Kinship::Server)
    }

    /// Starts the program in a session of its own, not as a child of ours, with these descriptors. Returns when the
    /// exec has succeeded.
    pub fn spawn_detached(&self, fds: &[BorrowedFd<'_>]) -> Result<(), NotStarted> {
        let child = self.start(fds, None, Kinship::Detached)?;
        match nix::sys::wait::waitpid(Pid::from_raw(child), None) {
            // An error: some web servers start us with SIGCHLD ignored, so that the kernel has reaped the child.
            // `start` has seen a failure of the exec.
            Ok(WaitStatus::Exited(_, 0)) | Err(_) => Ok(()),
            Ok(_) => Err(NotStarted::by("fork")(Errno::ENOMEM)),
        }
    }

    /// The child reports a failure by its errno in a pipe, which a successful exec closes.
    fn start(
        &self,
        fds: &[BorrowedFd<'_>],
        nofile: Option<(u64, u64)>,
        kinship: Kinship,
    ) -> Result<i32, NotStarted> {
        let (child, mut report) = self.fork_child(fds, nofile, kinship, None)?;
        match child_report(&mut report) {
            ChildReport::Failed(not) => {
                // Its exit status says no more than the report.
                let _ = nix::sys::wait::waitpid(child, None);
                Err(not)
            }
            ChildReport::AtGate | ChildReport::Running => Ok(child.as_raw()),
        }
    }

    /// `gate`: the end that the child reads before the exec, and the one that is ours.
    fn fork_child(
        &self,
        fds: &[BorrowedFd<'_>],
        nofile: Option<(u64, u64)>,
        kinship: Kinship,
        gate: Option<(&OwnedFd, &OwnedFd)>,
    ) -> Result<(Pid, std::fs::File), NotStarted> {
        let (report, low) = files::pipe().map_err(|error| NotStarted {
            call: "pipe2",
            error,
        })?;
        let tell =
            duplicate_above(low.as_fd(), first_free(fds)).map_err(NotStarted::by("fcntl"))?;
        drop(low);
        // SAFETY: this program has one thread, so the child may do all that the parent may.
        match unsafe { fork() }.map_err(NotStarted::by("fork"))? {
            ForkResult::Parent { child } => Ok((child, std::fs::File::from(report))),
            ForkResult::Child => {
                if let Some((_, ours)) = gate {
                    // A copy of ours would keep the gate shut for ever. First, before its number can be another's.
                    // SAFETY: this child never uses it, and ends without dropping it.
                    unsafe { libc::close(ours.as_raw_fd()) };
                }
                let wait = || {
                    if gate.is_some_and(|(held, _)| !gate::wait(held, &tell)) {
                        exit_now(0);
                    }
                };
                let NotStarted { call, error } = self.become_child(fds, nofile, kinship, wait);
                let [a, b, c, d] = error.raw_os_error().unwrap_or(libc::EINVAL).to_ne_bytes();
                let call = CALLS.iter().position(|known| *known == call).unwrap_or(0);
                // This fails only if the parent is gone, which alone would read it.
                let _ = nix::unistd::write(&tell, &[call as u8, a, b, c, d]);
                exit_now(1)
            }
        }
    }

    fn become_child(
        &self,
        fds: &[BorrowedFd<'_>],
        nofile: Option<(u64, u64)>,
        kinship: Kinship,
        wait: impl FnOnce(),
    ) -> NotStarted {
        match kinship {
            Kinship::Child => {}
            Kinship::Leader => {
                // A new process can lead a group; if this fails all the same, the program can still serve.
                let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
                let _ = std::fs::write("/proc/self/oom_score_adj", "500");
            }
            Kinship::Detached => {
                // In a session of its own, so that signals to the web server's process group do not reach it; and not
                // as its leader, so that it never gets a terminal.
                let forked = match setsid() {
                    // SAFETY: as in `start`.
                    Ok(_) => unsafe { fork() }.map_err(NotStarted::by("fork")),
                    Err(errno) => return NotStarted::by("setsid")(errno),
                };
                match forked {
                    Ok(ForkResult::Parent { .. }) => exit_now(0),
                    Ok(ForkResult::Child) => {}
                    Err(not) => return not,
                }
            }
            Kinship::Server => {
                if let Err(errno) = setsid() {
                    return NotStarted::by("setsid")(errno);
                }
                // Nothing else would end it if the daemon were killed.
                let _ = prctl::set_pdeathsig(Signal::SIGTERM);
                let _ = std::fs::write("/proc/self/oom_score_adj", "500");
            }
        }
        if let Err(not) = arrange(fds) {
            return not;
        }
        if let Some((soft, hard)) = nofile {
            // If it can't be lowered, it stays as it is.
            let _ = setrlimit(Resource::RLIMIT_NOFILE, soft, hard);
        }
        if kinship == Kinship::Server {
            // Only now is its pid known. This child has one thread, so it may allocate.
            let mut environ = self.environ.to_vec();
            environ.push(c_string(format!("LISTEN_PID={}", pid()).as_bytes()));
            let environ = &environ;
            return Program { environ, ..*self }.exec();
        }
        if let Some(directory) = self.directory
            && let Err(errno) = nix::unistd::chdir(directory)
        {
            return NotStarted::by("chdir")(errno);
        }
        wait();
        Program {
            directory: None,
            ..*self
        }
        .exec()
    }
}

/// Forks a child that runs `run`, with these as its standard input and output, and then ends; its pid.
pub fn fork_with(
    stdin: BorrowedFd<'_>,
    stdout: BorrowedFd<'_>,
    run: impl FnOnce(),
) -> io::Result<i32> {
    // SAFETY: this program has one thread, so the child may do all that the parent may.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child.as_raw()),
        ForkResult::Child => {
            // SAFETY: plain dup2 of open descriptors; they keep meaning what they are named for.
            let placed = unsafe {
                libc::dup2(stdin.as_raw_fd(), 0) >= 0 && libc::dup2(stdout.as_raw_fd(), 1) >= 0
            };
            if placed {
                run();
            }
            exit_now(1)
        }
    }
}

/// Forks a child that may be left behind, as one that waits for a file system that does not answer: it has this
/// standard output, and holds nothing else of ours that another process reads to its end.
pub fn fork_aside(stdout: BorrowedFd<'_>, run: impl FnOnce()) -> io::Result<i32> {
    let null = files::null()?;
    fork_with(null.as_fd(), stdout, || {
        if super::process::become_stderr(null.as_fd()).is_ok() {
            run();
        }
    })
}

/// Forks a child that leads a session of its own: without a terminal, so it can't type into ours. `None`: in the child.
pub fn fork_session() -> io::Result<Option<i32>> {
    // SAFETY: this program has one thread, so the child may do all that the parent may.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Some(child.as_raw())),
        ForkResult::Child => {
            setsid()?;
            Ok(None)
        }
    }
}

/// Has this process end when its parent does, however that ends. A change of the user undoes it (prctl(2)).
pub fn end_with_parent(parent: i32) {
    let _ = prctl::set_pdeathsig(Signal::SIGTERM);
    // It may have ended before.
    if nix::unistd::getppid().as_raw() != parent {
        exit_now(1);
    }
}

/// Ends this process at once, without the exit handlers that belong to the one it was forked from.
fn exit_now(status: i32) -> ! {
    // SAFETY: never returns, and runs nothing.
    unsafe { libc::_exit(status) }
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::io::Read;

    use super::super::process::{End, is_group_gone, wait};
    use super::*;

    fn run(script: &str, fds: &[BorrowedFd<'_>]) -> End {
        let argv = [c"sh", c"-c"].map(CStr::to_owned);
        let argv = [&argv[..], &[c_string(script.as_bytes())]].concat();
        let program = Program {
            path: Path::new("/bin/sh"),
            argv: &argv,
            environ: &[c"A=b".to_owned()],
            directory: Some(Path::new("/")),
        };
        let pid = program.spawn(fds, None).unwrap();
        match nix::sys::wait::waitpid(Pid::from_raw(pid), None).unwrap() {
            WaitStatus::Exited(_, status) => End::Exited(status),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_child_has_what_it_was_given_and_nothing_else() {
        let null = files::null().unwrap();
        let (out, into) = files::pipe().unwrap();
        let list = "echo $A $PWD; ls /proc/self/fd | tr '\\n' ' ' >&1";
        assert_eq!(
            run(list, &[null.as_fd(), into.as_fd(), null.as_fd()]),
            End::Exited(0)
        );
        drop(into);
        let mut text = String::new();
        std::fs::File::from(out).read_to_string(&mut text).unwrap();
        // 3 is the directory that ls itself reads.
        assert_eq!(text, "b /\n0 1 2 3 ");
    }

    #[test]
    fn a_server_is_told_its_own_pid_and_leads_its_session() {
        let null = files::null().unwrap();
        let (out, into) = files::pipe().unwrap();
        // Without a pipe: the shell would have it open for a moment.
        let script = "echo $LISTEN_PID $$ $(cut -d' ' -f6 /proc/$$/stat) $A; ls /proc/$$/fd; :";
        let argv = [c"sh", c"-c"].map(CStr::to_owned);
        let argv = [&argv[..], &[c_string(script.as_bytes())]].concat();
        let program = Program {
            path: Path::new("/bin/sh"),
            argv: &argv,
            environ: &[c"A=b".to_owned(), c"PATH=/usr/bin:/bin".to_owned()],
            directory: None,
        };
        let (null, into_fd) = (null.as_fd(), into.as_fd());
        let pid = program
            .spawn_server(&[null, into_fd, null, null], None)
            .unwrap();
        drop(into);
        let mut text = String::new();
        std::fs::File::from(out).read_to_string(&mut text).unwrap();
        assert_eq!(wait(pid), Some(End::Exited(0)));
        assert_eq!(text, format!("{pid} {pid} {pid} b\n0\n1\n2\n3\n"));
        assert!(is_group_gone(pid));
    }

    #[test]
    fn a_program_that_is_missing_is_an_errno() {
        let program = Program {
            path: Path::new("/no/such/program"),
            argv: &[c"x".to_owned()],
            environ: &[],
            directory: None,
        };
        let null = files::null().unwrap();
        let error = program.spawn(&[null.as_fd()], None).unwrap_err();
        assert_eq!(error.error.kind(), io::ErrorKind::NotFound);
        let error = program.spawn_detached(&[null.as_fd()]).unwrap_err();
        assert_eq!(error.call, "execve");
        assert_eq!(error.error.kind(), io::ErrorKind::NotFound);
        let nowhere = Some(Path::new("/no/such/folder"));
        let program = Program {
            directory: nowhere,
            ..program
        };
        assert_eq!(
            program.spawn(&[null.as_fd()], None).unwrap_err().call,
            "chdir"
        );
    }
}

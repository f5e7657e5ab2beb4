//! Starting, ending and burying processes.

use std::ffi::{CStr, CString, OsStr};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{kill, killpg};
use nix::sys::wait::WaitStatus;
use nix::unistd::{AccessFlags, ForkResult, Pid, access, fork, geteuid, getpid, setpgid, setsid};

use super::files;
use super::signal::{self, Signal};

/// The effective uid: what the kernel checks, and what SO_PEERCRED shows.
pub fn uid() -> u32 {
    geteuid().as_raw()
}

/// This process.
pub fn pid() -> i32 {
    getpid().as_raw()
}

/// A program with all that it is given. `fds` become 0, 1, 2 and so on; every other descriptor is closed.
#[derive(Debug)]
pub struct Program<'a> {
    /// A path; see [`find`].
    pub path: &'a Path,
    /// The first is argv\[0\].
    pub argv: &'a [CString],
    /// `NAME=value`.
    pub environ: &'a [CString],
    /// The working directory; `None`: ours.
    pub directory: Option<&'a Path>,
}

/// What a program that is started is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kinship {
    Child,
    /// Our child, and the leader of a group of its own.
    Leader,
    Nobody,
    /// Our child, and the leader of a session of its own.
    Server,
}

impl Program<'_> {
    /// Becomes the program; comes back only to say why not. Signals get their default actions and are unblocked
    /// (Rust ignores SIGPIPE, and an exec'd program would inherit that).
    pub fn exec(&self) -> io::Error {
        self.exec_after(signal::reset_all)
    }

    /// Becomes another version of ourselves, which unblocks signals when it can take them: until then they wait. So it
    /// is, too, for us, if this comes back.
    pub fn exec_held(&self) -> io::Error {
        self.exec_after(signal::hold_all)
    }

    fn exec_after(&self, set_signals: fn()) -> io::Error {
        if let Some(directory) = self.directory
            && let Err(errno) = nix::unistd::chdir(directory)
        {
            return errno.into();
        }
        let path = match CString::new(self.path.as_os_str().as_bytes()) {
            Ok(path) => path,
            Err(error) => return error.into(),
        };
        set_signals();
        let Err(errno) = nix::unistd::execve(&path, self.argv, self.environ);
        signal::ignore_pipe();
        errno.into()
    }

    /// Starts the program as our child with these descriptors, in our session; its pid.
    pub fn spawn(&self, fds: &[BorrowedFd<'_>], nofile: Option<(u64, u64)>) -> io::Result<i32> {
        self.start(fds, nofile, Kinship::Child)
    }

    /// The same, as the leader of a process group of its own, and the one that the kernel takes first when memory is
    /// short: it serves one request.
    pub fn spawn_leader(
        &self,
        fds: &[BorrowedFd<'_>],
        nofile: Option<(u64, u64)>,
    ) -> io::Result<i32> {
        self.start(fds, nofile, Kinship::Leader)
    }

    /// The same as the leader of a session, and with its own pid in LISTEN_PID, by which sd_listen_fds(3) tells whether
    /// descriptors are meant for this very process.
    pub fn spawn_server(
        &self,
        fds: &[BorrowedFd<'_>],
        nofile: Option<(u64, u64)>,
    ) -> io::Result<i32> {
        self.start(fds, nofile, Kinship::Server)
    }

    /// Starts the program as nobody's child, in a session of its own, with these descriptors. Comes back when
    /// the exec has succeeded.
    pub fn spawn_detached(&self, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let child = self.start(fds, None, Kinship::Nobody)?;
        match nix::sys::wait::waitpid(Pid::from_raw(child), None) {
            // Some web servers leave us with SIGCHLD ignored: the kernel has reaped it. What fails, `start` knows.
            Ok(WaitStatus::Exited(_, 0)) | Err(Errno::ECHILD) => Ok(()),
            Ok(_) => Err(io::ErrorKind::OutOfMemory.into()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The child reports a failure by its errno in a pipe, which a successful exec closes.
    fn start(
        &self,
        fds: &[BorrowedFd<'_>],
        nofile: Option<(u64, u64)>,
        kinship: Kinship,
    ) -> io::Result<i32> {
        let (report, low) = files::pipe()?;
        let tell = duplicate_above(low.as_fd(), first_free(fds))?;
        drop(low);
        // SAFETY: this program has one thread, so the child may do all that the parent may.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => {
                drop(tell);
                let mut errno = [0; 4];
                match std::fs::File::from(report).read_exact(&mut errno) {
                    Ok(()) => {
                        // Its exit says no more than the errno did.
                        let _ = nix::sys::wait::waitpid(child, None);
                        Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))
                    }
                    Err(_) => Ok(child.as_raw()),
                }
            }
            ForkResult::Child => {
                let error = self.become_child(fds, nofile, kinship);
                let errno = error.raw_os_error().unwrap_or(libc::EINVAL).to_ne_bytes();
                // The parent is gone if nobody reads this, and then nobody wants to know.
                let _ = nix::unistd::write(&tell, &errno);
                exit_now(1)
            }
        }
    }

    fn become_child(
        &self,
        fds: &[BorrowedFd<'_>],
        nofile: Option<(u64, u64)>,
        kinship: Kinship,
    ) -> io::Error {
        match kinship {
            Kinship::Child => {}
            Kinship::Leader => {
                // A new process of ours can lead a group, and one that can't is as good as one that does.
                let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
                let _ = std::fs::write("/proc/self/oom_score_adj", "500");
            }
            Kinship::Nobody => {
                // A session of its own, so that signals to the web server's group miss it, and not its leader, so
                // that it never gets a terminal.
                // SAFETY: as in `start`.
                match setsid().and_then(|_| unsafe { fork() }) {
                    Ok(ForkResult::Parent { .. }) => exit_now(0),
                    Ok(ForkResult::Child) => {}
                    Err(errno) => return errno.into(),
                }
            }
            Kinship::Server => {
                if let Err(errno) = setsid() {
                    return errno.into();
                }
                // Of a daemon that is killed nothing else would tell it.
                let _ = prctl::set_pdeathsig(Signal::SIGTERM);
                let _ = std::fs::write("/proc/self/oom_score_adj", "500");
            }
        }
        if let Err(error) = arrange(fds) {
            return error;
        }
        if let Some((soft, hard)) = nofile {
            // What can't be lowered again stays as it is.
            let _ = setrlimit(Resource::RLIMIT_NOFILE, soft, hard);
        }
        if kinship == Kinship::Server {
            // Only from here on is its pid known; the one thread of this child may allocate.
            let mut environ = self.environ.to_vec();
            environ.push(c_string(format!("LISTEN_PID={}", pid()).as_bytes()));
            let environ = &environ;
            return Program { environ, ..*self }.exec();
        }
        self.exec()
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

/// Waits for a child to end.
pub fn wait(child: i32) -> Option<End> {
    match nix::sys::wait::waitpid(Pid::from_raw(child), None) {
        Ok(WaitStatus::Exited(_, status)) => Some(End::Exited(status)),
        Ok(WaitStatus::Signaled(_, signal, _)) => Some(End::Killed(signal as i32)),
        _ => None,
    }
}

/// The lowest descriptor that no place is arranged for.
fn first_free(fds: &[BorrowedFd<'_>]) -> RawFd {
    fds.len().max(3) as RawFd
}

fn duplicate_above(fd: BorrowedFd<'_>, least: RawFd) -> io::Result<OwnedFd> {
    let raw = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(least))?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Puts `fds` at 0, 1, 2 ...; all others close at the exec.
fn arrange(fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    // First above every place that is to be filled, or one would be overwritten before it is moved.
    let above = first_free(fds);
    let high: Vec<OwnedFd> = fds
        .iter()
        .map(|&fd| duplicate_above(fd, above))
        .collect::<Result<_, _>>()?;
    for (place, fd) in high.iter().enumerate() {
        // SAFETY: plain dup2 of open descriptors onto places that nothing in this child still uses.
        Errno::result(unsafe { libc::dup2(fd.as_raw_fd(), place as RawFd) })?;
    }
    // SAFETY: marks descriptors, closes none now; after the exec nobody knows them.
    let marked = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            above,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    Errno::result(marked).map(drop)?;
    for place in fds.len()..above as usize {
        // SAFETY: a place that was not given is to be closed; nothing in this child uses it.
        unsafe { libc::close(place as RawFd) };
    }
    Ok(())
}

/// Ends this process at once, without the exit handlers that belong to the one it was forked from.
fn exit_now(status: i32) -> ! {
    // SAFETY: never returns, and runs nothing.
    unsafe { libc::_exit(status) }
}

/// A descriptor that our starter left open for us; from now on it is closed by its owner and at an exec.
pub fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl takes any number; only an open descriptor passes.
    let known = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    Errno::result(known)?;
    // SAFETY: it is open, was made for us, and nothing in this process knows it yet.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The program that this process becomes will have the descriptor too.
pub fn keep_over_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(())
}

/// It will not, after all.
pub fn close_at_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(())
}

/// Where a program lies: itself if it has a slash, else the first of its name on `search` that can be executed.
pub fn find(program: &OsStr, search: &[u8]) -> io::Result<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return Ok(PathBuf::from(program));
    }
    search
        .split(|&byte| byte == b':')
        .map(|folder| Path::new(OsStr::from_bytes(folder)).join(program))
        .find(|path| access(path, AccessFlags::X_OK).is_ok() && path.is_file())
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
}

/// Whether this process may execute the file; if not, why.
pub fn can_execute(path: &Path) -> io::Result<()> {
    Ok(access(path, AccessFlags::X_OK)?)
}

/// A child that has ended and is not yet buried: its pid can't be reused before [`bury`].
pub fn dead_child() -> Option<i32> {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: all zeros are a siginfo_t, which waitid(2) fills in or leaves so. Not nix's waitid: to it a child that a
    // real-time signal has killed is an error.
    let pid = unsafe {
        let mut found: libc::siginfo_t = std::mem::zeroed();
        let result = libc::waitid(libc::P_ALL, 0, &raw mut found, flags);
        if result == 0 { found.si_pid() } else { 0 }
    };
    (pid > 0).then_some(pid)
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Exited(status) => write!(f, "exit status {status}"),
            End::Killed(signal) => match Signal::try_from(*signal) {
                Ok(signal) => write!(f, "{signal}"),
                Err(_) => write!(f, "signal {signal}"),
            },
        }
    }
}

/// Takes the dead child away, and says how it ended.
pub fn bury(pid: i32) -> Option<End> {
    let mut status = 0;
    // SAFETY: waitpid(2) writes one int. Not nix's, as in `dead_child`.
    let buried = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } == pid;
    if buried && libc::WIFEXITED(status) {
        Some(End::Exited(libc::WEXITSTATUS(status)))
    } else if buried && libc::WIFSIGNALED(status) {
        Some(End::Killed(libc::WTERMSIG(status)))
    } else {
        None
    }
}

/// Orphans below us become our children.
pub fn become_subreaper() -> io::Result<()> {
    Ok(prctl::set_child_subreaper(true)?)
}

/// Sends a signal to a child of ours that is not yet buried.
pub fn signal(pid: i32, signal: Signal) {
    // A child that is dead already needs no signal.
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Sends a signal to the process group that a child of ours leads or led; before it is buried.
pub fn signal_group(leader: i32, signal: Signal) {
    // An empty group needs no signal.
    let _ = killpg(Pid::from_raw(leader), signal);
}

/// Whether nobody of that group is left, dead and unburied ones included.
pub fn is_group_gone(leader: i32) -> bool {
    killpg(Pid::from_raw(leader), None) == Err(Errno::ESRCH)
}

/// Asks a child of ours that is not yet buried to write its stack to its standard error. One that has not set itself
/// up for that ends.
pub fn ask_where(pid: i32) {
    // SAFETY: kill(2) takes any number. A child that is dead already is nowhere.
    unsafe { libc::kill(pid, libc::SIGRTMAX()) };
}

/// What the kernel calls our own program.
pub fn own_program() -> &'static Path {
    Path::new("/proc/self/exe")
}

/// Where our own program lay when it was started, and whether there is another, or none, at that place by now.
pub fn own_path() -> io::Result<(PathBuf, bool)> {
    let path = std::fs::read_link(own_program())?;
    let bytes = path.as_os_str().as_bytes();
    // proc(5)
    Ok(match bytes.strip_suffix(b" (deleted)") {
        Some(before) => (PathBuf::from(OsStr::from_bytes(before)), true),
        None => (path, false),
    })
}

/// For argv and environ: bytes up to a NUL, which neither can hold.
pub fn c_string(bytes: &[u8]) -> CString {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    CString::new(&bytes[..end]).unwrap_or_else(|_| CStr::to_owned(c""))
}

#[cfg(test)]
mod tests {
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
    fn a_real_time_signal_is_an_end_as_well() {
        let null = files::null().unwrap();
        let argv = [c"sh", c"-c", c"kill -64 $$"].map(CStr::to_owned);
        let program = Program {
            path: Path::new("/bin/sh"),
            argv: &argv,
            environ: &[],
            directory: None,
        };
        let pid = program.spawn(&[null.as_fd()], None).unwrap();
        // Waits without looking, so that it is there to be found.
        // SAFETY: nothing is written.
        unsafe {
            let flags = libc::WEXITED | libc::WNOWAIT;
            libc::waitid(libc::P_PID, pid as u32, std::ptr::null_mut(), flags);
        }
        assert!(dead_child().is_some());
        assert_eq!(bury(pid), Some(End::Killed(64)));
        assert_eq!(bury(pid), None);
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
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let error = program.spawn_detached(&[null.as_fd()]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(find(OsStr::new("sh"), b"/nowhere:/bin").is_ok());
        assert!(find(OsStr::new("no-such-program"), b"/bin").is_err());
    }
}

//! Processes: this one, how children end and are buried, where programs lie. How they are started is in `program`.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::{kill, killpg};
use nix::sys::wait::WaitStatus;
use nix::unistd::{AccessFlags, Pid, access, geteuid, getpid};

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

/// Whether somebody has stopped the process, by a signal or as its debugger does (proc_pid_stat(5)).
pub fn is_stopped(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Its name, in parentheses, may have some in it.
    let state = status
        .rsplit_once(") ")
        .map(|(_, rest)| rest.bytes().next());
    matches!(state, Some(Some(b'T' | b't')))
}

/// What Rust's runtime does before its `main`, for all that a mode of ours may rely on: descriptors 0 to 2 are open,
/// and a reader that is gone, or a file that may not grow, is an error of the write and not a signal.
pub fn prepare() {
    open_standard();
    signal::ignore_failed_writes();
}

/// Opens /dev/null on any of 0 to 2 that is closed. What is opened next would take its number, and be taken for what it
/// is not.
pub(super) fn open_standard() {
    for fd in 0..=2 {
        // SAFETY: fcntl takes any number. What else it may refuse than a closed descriptor says nothing of that.
        let is_open = || unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1;
        if is_open() || Errno::last() != Errno::EBADF {
            continue;
        }
        // Each gets this number, since those below are open.
        // SAFETY: the path is NUL-terminated.
        if unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) } == fd {
            continue;
        }
        // There is no /dev/null: a pipe without another end. pipe2(2) would do, but for its second descriptor, which
        // is another one to be filled.
        if let Ok(null) = files::null().and_then(|null| keep_over_exec(null.as_fd()).map(|()| null))
            && null.as_raw_fd() == fd
        {
            std::mem::forget(null);
            continue;
        }
        // What the web server has left open, the response first. An app may miss what was closed, and does not find
        // what is opened next in its place.
        // SAFETY: dup2 takes any numbers.
        if !(1..=2).any(|open| unsafe { libc::dup2(open, fd) } == fd) {
            std::process::abort();
        }
    }
}

/// Standard input, output and error.
pub fn standard() -> [BorrowedFd<'static>; 3] {
    // SAFETY: nobody here closes them.
    [0, 1, 2].map(|fd| unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Standard error goes where standard input comes from: for a daemon, whose is /dev/null, and whose starter was to hear
/// no more than why it could not start.
pub fn silence() -> io::Result<()> {
    Ok(nix::unistd::dup2_stderr(standard()[0])?)
}

/// Ends this process at once. Nothing is to be given back that the kernel does not take by itself.
pub fn leave(status: u8) -> ! {
    // SAFETY: it runs no code of ours, and does not come back.
    unsafe { libc::_exit(status.into()) }
}

/// Waits for a child to end.
pub fn wait(child: i32) -> Option<End> {
    match nix::sys::wait::waitpid(Pid::from_raw(child), None) {
        Ok(WaitStatus::Exited(_, status)) => Some(End::Exited(status)),
        Ok(WaitStatus::Signaled(_, signal, _)) => Some(End::Killed(signal as i32)),
        _ => None,
    }
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
    // What was refused once may be granted the next time.
    (0..TRIES).find_map(|_| look_for_dead().ok()).flatten()
}

/// So often a call is made that has no reason to fail.
const TRIES: u32 = 3;

/// The same, once.
pub fn look_for_dead() -> io::Result<Option<i32>> {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: all zeros are a siginfo_t, which waitid(2) fills in or leaves so. Not nix's waitid: to it a child that a
    // real-time signal has killed is an error.
    let pid = unsafe {
        let mut found: libc::siginfo_t = std::mem::zeroed();
        match Errno::result(libc::waitid(libc::P_ALL, 0, &raw mut found, flags)) {
            Ok(_) => found.si_pid(),
            // There is no child at all.
            Err(Errno::ECHILD) => 0,
            Err(errno) => return Err(errno.into()),
        }
    };
    Ok((pid > 0).then_some(pid))
}

/// A descriptor of a process, ready to read once it has ended (pidfd_open(2)), whether its parent knows yet or not.
/// `ESRCH`: there is none of this pid.
pub fn open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: it takes numbers only.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: it was made for us, and nothing else knows it. A descriptor is an int.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
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
    // SAFETY: waitpid(2) writes one int. Not nix's, as in `look_for_dead`.
    let mut bury = || unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } == pid;
    let buried = (0..TRIES).any(|_| bury());
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
/// up for that ends. The signal is for its main thread: taken by another thread, it could come after the main thread
/// has answered the SIGTERM that follows, when what it was stuck in is no longer on its stack.
pub fn ask_where(pid: i32) {
    // SAFETY: tgkill(2) takes any numbers. A child that is dead already is nowhere.
    unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, libc::SIGRTMAX()) };
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
    use super::super::program::Program;
    use super::*;

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
    fn a_program_is_found_by_its_name() {
        assert!(find(OsStr::new("sh"), b"/nowhere:/bin").is_ok());
        assert!(find(OsStr::new("no-such-program"), b"/bin").is_err());
    }
}

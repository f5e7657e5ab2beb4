//! Processes: this one, how children end and are reaped, where programs are found. How they are started is in
//! `program`.

use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::{kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus};
use nix::unistd::{AccessFlags, Pid, SysconfVar, access, geteuid, getpid, sysconf};

use super::files;
use super::poll::{Interest, wait_one};
use super::signal::{self, Signal};

/// The effective uid: what the kernel checks, and what SO_PEERCRED shows.
pub fn uid() -> u32 {
    geteuid().as_raw()
}

/// This process.
pub fn pid() -> i32 {
    getpid().as_raw()
}

/// Whether the process was stopped, by a signal or by a debugger (proc_pid_stat(5)).
pub fn is_stopped(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name is in parentheses, and may have parentheses in it.
    let state = status
        .rsplit_once(") ")
        .map(|(_, rest)| rest.bytes().next());
    matches!(state, Some(Some(b'T' | b't')))
}

/// Bytes of memory that the process has in use, what it shares with others included (proc_pid_statm(5)).
pub fn memory(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    let size = sysconf(SysconfVar::PAGE_SIZE).ok()??;
    pages.checked_mul(u64::try_from(size).ok()?)
}

/// Does what Rust's runtime would do before `main` and our modes rely on: descriptors 0 to 2 are open, and a write to a
/// reader that is gone, or to a file that may not grow, is an error and not a signal.
pub fn prepare() {
    open_standard();
    signal::ignore_failed_writes();
}

/// Opens /dev/null on any of 0 to 2 that is closed. Otherwise the next file that is opened would get its number, and be
/// taken for standard input, output or error.
pub(super) fn open_standard() {
    for fd in 0..=2 {
        // SAFETY: fcntl takes any number. Only EBADF says that the descriptor is closed.
        let is_open = || unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1;
        if is_open() || Errno::last() != Errno::EBADF {
            continue;
        }
        // It gets this number, since all lower ones are open.
        // SAFETY: the path is NUL-terminated.
        if unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) } == fd {
            continue;
        }
        // There is no /dev/null: a pipe whose other end is closed. Its two descriptors may take two of the numbers, so
        // only the one that is kept counts.
        if let Ok(null) = files::null().and_then(|null| keep_over_exec(null.as_fd()).map(|()| null))
            && null.as_raw_fd() == fd
        {
            std::mem::forget(null);
            continue;
        }
        // A copy of one that the web server has left open, the response first: better than what is opened next.
        // SAFETY: dup2 takes any numbers.
        if !(1..=2).any(|open| unsafe { libc::dup2(open, fd) } == fd) {
            std::process::abort();
        }
    }
}

/// Standard input, output and error.
pub fn standard() -> [BorrowedFd<'static>; 3] {
    // SAFETY: this program does not close them.
    [0, 1, 2].map(|fd| unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Makes standard error what standard input is: for a daemon, whose standard input is /dev/null, and whose starter only
/// reads why it could not start.
pub fn silence() -> io::Result<()> {
    Ok(nix::unistd::dup2_stderr(standard()[0])?)
}

/// Makes this descriptor standard error.
pub fn become_stderr(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(nix::unistd::dup2_stderr(fd)?)
}

/// Ends this process at once. There is nothing to clean up that the kernel does not.
pub fn leave(status: u8) -> ! {
    // SAFETY: it runs no code of ours, and does not return.
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

/// What a process that has ended has used, with its children that it has reaped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in its own code.
    pub user: Duration,
    /// Processor time in the kernel.
    pub system: Duration,
    /// Page faults, with and without a read from a disk.
    pub faults: u64,
}

impl Usage {
    /// Both together.
    pub fn and(self, other: Usage) -> Usage {
        Usage {
            user: self.user + other.user,
            system: self.system + other.system,
            faults: self.faults + other.faults,
        }
    }

    /// What was used since `before`.
    pub fn less(self, before: Usage) -> Usage {
        Usage {
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
            faults: self.faults.saturating_sub(before.faults),
        }
    }

    /// The share of each of so many.
    pub fn by(self, count: u32) -> Usage {
        let count = count.max(1);
        Usage {
            user: self.user / count,
            system: self.system / count,
            faults: self.faults / u64::from(count),
        }
    }
}

/// What a process that lives has used until now, with its children that it has reaped; those in steps of a tick, 10 ms.
pub fn used_until_now(pid: i32) -> Option<Usage> {
    let read = |name| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
    let stat = read("stat")?;
    // proc_pid_stat(5): the name, in parentheses, may hold anything; then the state, field 3.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = |number| Some(Duration::from_millis(field(number)? * 1000 / TICKS));
    let (user, system) = (ticks(14)?, ticks(15)?);
    // The sum is known more exactly, in nanoseconds; its parts are to each other as their ticks are.
    let exact = read("schedstat").and_then(|text| text.split(' ').next()?.parse().ok());
    let exact = exact.map_or(user + system, Duration::from_nanos);
    let in_kernel = system.as_secs_f64() / (user + system).as_secs_f64();
    let system = exact.mul_f64(if in_kernel.is_finite() {
        in_kernel
    } else {
        0.0
    });
    let faults: Option<u64> = [10, 11, 12, 13].into_iter().map(field).sum();
    Some(Usage {
        user: exact.saturating_sub(system) + ticks(16)?,
        system: system + ticks(17)?,
        faults: faults?,
    })
}

/// In a second: USER_HZ, which Linux shows on every processor that we run on.
const TICKS: u64 = 100;

/// Waits for a child to end; what it has used, too.
pub fn wait_used(child: i32) -> Option<(End, Usage)> {
    let mut status = 0;
    // SAFETY: all zeros are an rusage.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    let ended = loop {
        // SAFETY: wait4(2) writes one int and one rusage.
        match unsafe { libc::wait4(child, &raw mut status, 0, &raw mut used) } {
            -1 if Errno::last() == Errno::EINTR => {}
            ended => break ended == child,
        }
    };
    let time = |time: libc::timeval| {
        let seconds = Duration::from_secs(time.tv_sec.try_into().unwrap_or(0));
        seconds + Duration::from_micros(time.tv_usec.try_into().unwrap_or(0))
    };
    let faults = used.ru_minflt.saturating_add(used.ru_majflt);
    let used = Usage {
        user: time(used.ru_utime),
        system: time(used.ru_stime),
        faults: faults.try_into().unwrap_or(0),
    };
    ended
        .then(|| end_of(status))
        .flatten()
        .map(|end| (end, used))
}

fn end_of(status: i32) -> Option<End> {
    if libc::WIFEXITED(status) {
        Some(End::Exited(libc::WEXITSTATUS(status)))
    } else if libc::WIFSIGNALED(status) {
        Some(End::Killed(libc::WTERMSIG(status)))
    } else {
        None
    }
}

/// Takes ownership of a descriptor that our starter has left open for us. It is close-on-exec from now on.
pub fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl takes any number; only an open descriptor passes.
    let known = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    Errno::result(known)?;
    // SAFETY: it is open, was made for us, and nothing else in this process knows it yet.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The program that this process becomes keeps the descriptor.
pub fn keep_over_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(())
}

/// Undoes [`keep_over_exec`].
pub fn close_at_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(())
}

/// The path of a program: the name itself if it has a slash, else the first in `search` that can be executed.
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

/// A child that has ended and is not yet reaped: its pid can't be reused before [`bury`].
pub fn dead_child() -> Option<i32> {
    // The host may refuse a call once and grant it the next time.
    (0..TRIES).find_map(|_| look_for_dead().ok()).flatten()
}

/// How often a call is tried that has no reason to fail.
const TRIES: u32 = 3;

/// The same, once.
pub fn look_for_dead() -> io::Result<Option<i32>> {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: all zeros are a siginfo_t, which waitid(2) fills in or leaves so. Not nix's waitid, for which a child
    // that was killed by a real-time signal is an error.
    let pid = unsafe {
        let mut found: libc::siginfo_t = std::mem::zeroed();
        match Errno::result(libc::waitid(libc::P_ALL, 0, &raw mut found, flags)) {
            Ok(_) => found.si_pid(),
            // There are no children.
            Err(Errno::ECHILD) => 0,
            Err(errno) => return Err(errno.into()),
        }
    };
    Ok((pid > 0).then_some(pid))
}

/// Whether a child has stopped since this was last asked.
pub fn has_stopped(child: i32) -> bool {
    let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG;
    let found = nix::sys::wait::waitid(Id::Pid(Pid::from_raw(child)), flags);
    matches!(found, Ok(WaitStatus::Stopped(..)))
}

/// The children of this process, as far as the kernel shows them (proc_pid_children(5)).
pub fn children() -> Vec<i32> {
    let text = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    text.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// A descriptor of a process, ready to read once the process has ended (pidfd_open(2)), reaped or not.
/// `ESRCH`: there is none of this pid.
pub fn open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: it takes numbers only.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: it was just made for us, and nothing else knows it. A descriptor is an int.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// A copy of a descriptor that another process has, of this number there (pidfd_getfd(2)). `EPERM`: the host does not let
/// us; `ENOSYS`: the kernel is older than 5.6.
pub fn descriptor_of(process: BorrowedFd<'_>, number: i32) -> io::Result<OwnedFd> {
    // SAFETY: it takes numbers only.
    let got = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) };
    let fd = Errno::result(got)?;
    // SAFETY: as in `open`.
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

/// Reaps a child that has ended; how it ended.
pub fn bury(pid: i32) -> Option<End> {
    let mut status = 0;
    // SAFETY: waitpid(2) writes one int. Not nix's, as in `look_for_dead`.
    let mut bury = || unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } == pid;
    let buried = (0..TRIES).any(|_| bury());
    buried.then(|| end_of(status)).flatten()
}

/// How long a process that was killed may take to end, unless a file system holds it.
const END_TIME: Duration = Duration::from_secs(1);

/// Kills a child, and reaps it. One that waits for a file system that does not answer is left behind: the kernel ends it
/// when it does.
pub fn end(child: i32) {
    signal(child, Signal::SIGKILL);
    if let Ok(ended) = open(child) {
        // A failed wait is a short one.
        let _ = wait_one(ended.as_fd(), Interest::Read, END_TIME);
    }
    bury(child);
}

/// From now on orphaned descendants become our children.
pub fn become_subreaper() -> io::Result<()> {
    Ok(prctl::set_child_subreaper(true)?)
}

/// Sends a signal to a child of ours that is not yet reaped.
pub fn signal(pid: i32, signal: Signal) {
    // A child that has ended needs no signal.
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Sends a signal to the process group of a child that leads it, or has led it and is not yet reaped.
pub fn signal_group(leader: i32, signal: Signal) {
    // An empty group needs no signal.
    let _ = killpg(Pid::from_raw(leader), signal);
}

/// Whether no process of that group is left, not even one that is not yet reaped.
pub fn is_group_gone(leader: i32) -> bool {
    killpg(Pid::from_raw(leader), None) == Err(Errno::ESRCH)
}

/// Asks a child of ours that is not yet reaped to write its stack to its standard error. A child that has no handler
/// for that ends. The signal is for its main thread: another thread might handle it only after the main thread has
/// handled the SIGTERM that follows, when the call that it was stuck in is no longer on its stack.
pub fn ask_where(pid: i32) {
    // SAFETY: tgkill(2) takes any numbers. A child that has ended has no stack.
    unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, libc::SIGRTMAX()) };
}

/// The path by which this process can run its own program.
pub fn own_program() -> &'static Path {
    Path::new("/proc/self/exe")
}

/// The path that our own program had when it was started, and whether another file, or none, has that path by now.
pub fn own_path() -> io::Result<(PathBuf, bool)> {
    let path = std::fs::read_link(own_program())?;
    let bytes = path.as_os_str().as_bytes();
    // proc(5)
    Ok(match bytes.strip_suffix(b" (deleted)") {
        Some(before) => (PathBuf::from(OsStr::from_bytes(before)), true),
        None => (path, false),
    })
}

/// For argv and environ: the bytes up to a NUL, which neither can hold.
pub fn c_string(bytes: &[u8]) -> CString {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    CString::new(&bytes[..end]).unwrap_or_else(|_| CStr::to_owned(c""))
}

#[cfg(test)]
mod tests {
    use super::super::program::Program;
    use super::*;

    #[test]
    fn what_a_process_uses_is_counted() {
        let before = used_until_now(pid()).unwrap();
        let begun = std::time::Instant::now();
        let mut sum = 0_u64;
        while begun.elapsed() < Duration::from_millis(30) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let used = used_until_now(pid()).unwrap().less(before);
        assert!(used.user + used.system > Duration::ZERO, "{used:?}");
        assert!(used.by(3).user <= used.user);
        assert_eq!(used.and(used).less(used), used);
        assert_eq!(used_until_now(0), None);
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
        // Waits for its end without reaping it.
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

//! Which processes belong to a test, read from /proc: those that name its directory. It ends none of them.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use memchr::memmem;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Deadline, as_user, run};

/// A process that names the directory in its command line or environment, or has it or a file in it open.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// None for a process that has ended or is another user's.
    pub(crate) exe: Option<PathBuf>,
    pub(crate) command_line: String,
}

impl Process {
    /// All that belong to the directory, but for the test itself.
    pub(crate) fn all_of(dir: &Path) -> Vec<Process> {
        let own = std::process::id().cast_signed();
        let entries = fs::read_dir("/proc").expect("/proc can be read");
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| *pid != own)
            .filter_map(|pid| Process::of(pid, dir))
            .collect()
    }

    fn of(pid: i32, dir: &Path) -> Option<Process> {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        // A process may end while it is looked at; what can't be read any more does not name the directory.
        let read = |name| fs::read(proc.join(name)).unwrap_or_default();
        let command_line = read("cmdline");
        let named = |bytes: &[u8]| memmem::find(bytes, dir.as_os_str().as_bytes()).is_some();
        let inside = |link: &Path| fs::read_link(link).is_ok_and(|target| target.starts_with(dir));
        let holds = || {
            let fds = fs::read_dir(proc.join("fd")).ok()?;
            Some(fds.flatten().any(|fd| inside(&fd.path())))
        };
        let belongs = named(&command_line)
            || named(&read("environ"))
            || inside(&proc.join("cwd"))
            || holds().unwrap_or_default();
        belongs.then(|| Process {
            pid,
            exe: fs::read_link(proc.join("exe")).ok(),
            command_line: String::from_utf8_lossy(&command_line)
                .replace('\0', " ")
                .trim_end()
                .to_owned(),
        })
    }
}

/// Sends SIGKILL to a process of this test, and waits until it is dead.
#[track_caller]
pub(crate) fn kill_at_once(pid: i32) {
    send(pid, Signal::SIGKILL);
    assert!(Deadline::soon().ended(pid), "{pid} survived SIGKILL");
}

/// Sends a signal to a process of this test, which must be there.
#[track_caller]
pub(crate) fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal)
        .unwrap_or_else(|errno| panic!("cannot send {signal} to {pid}: {errno}"));
}

pub(crate) fn is_alive(pid: i32) -> bool {
    !Deadline::now().ended(pid)
}

/// Stops a process, and waits until it has stopped. Only its parent would be notified, so this looks again and again.
#[track_caller]
pub(crate) fn stop(pid: i32) {
    send(pid, Signal::SIGSTOP);
    until_stopped(pid);
}

/// Waits until a process has stopped.
#[track_caller]
pub(crate) fn until_stopped(pid: i32) {
    let deadline = Deadline::soon();
    while stat(pid).is_none_or(|stat| stat[0] != "T") {
        assert!(!deadline.left().is_zero(), "{pid} does not stop");
        std::thread::yield_now();
    }
}

/// Sets the soft limit of processes (RLIMIT_NPROC) of a running process; the one it had before.
#[track_caller]
pub(crate) fn limit_processes(pid: i32, soft: &str) -> String {
    let pid = pid.to_string();
    let prlimit = |words: &[&str]| {
        // As the process's own user: root in a container may not set it.
        let mut prlimit = as_user("/usr/bin/prlimit");
        run(prlimit.args(["--pid", &pid]).args(words), b"").success()
    };
    let before = prlimit(&["--nproc", "--output=SOFT", "--noheadings"]);
    prlimit(&[&format!("--nproc={soft}:")]);
    before.trim().to_owned()
}

/// The processes whose parent this is.
pub(crate) fn children(parent: i32) -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("/proc can be read");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| stat(*pid).is_some_and(|stat| stat[1] == parent.to_string()))
        .collect()
}

/// The words of /proc/PID/stat that come after the name, which may hold spaces: state, parent, group ...
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let words = text.rsplit_once(')')?.1.split_whitespace();
    Some(words.map(str::to_owned).collect())
}

/// How many descriptors a process has.
pub(crate) fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// The sizes of the files in a folder that a process has open, unlinked ones too; each file once.
pub(crate) fn files_of(pid: i32, folder: &Path) -> Vec<u64> {
    let fds = fs::read_dir(format!("/proc/{pid}/fd"));
    let fds = fds.into_iter().flatten().flatten().map(|fd| fd.path());
    let here = fds.filter(|fd| fs::read_link(fd).is_ok_and(|to| to.starts_with(folder)));
    // Through the link of /proc, which leads to the file itself.
    let mut files: Vec<(u64, u64)> = here
        .filter_map(|fd| fs::metadata(fd).ok())
        .filter(|metadata| metadata.is_file())
        .map(|metadata| (metadata.ino(), metadata.len()))
        .collect();
    files.sort_unstable();
    files.dedup_by_key(|(inode, _)| *inode);
    files.into_iter().map(|(_, size)| size).collect()
}

/// The most memory, in bytes, that a process has ever had in use.
#[track_caller]
pub(crate) fn peak_memory(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kilobytes.map_or_else(|| panic!("{pid} is not there"), |kb: u64| kb << 10)
}

/// The sockets that listen at this path, by their inodes.
fn listeners(path: &Path) -> Vec<String> {
    const SO_ACCEPTCON: u32 = 0x10000;
    let table = fs::read_to_string("/proc/net/unix").expect("/proc/net/unix can be read");
    let inode = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let flags = u32::from_str_radix(words.get(3)?, 16).ok()?;
        let listens = flags & SO_ACCEPTCON != 0 && Path::new(words.get(7)?) == path;
        listens.then(|| words[6].to_owned())
    };
    table.lines().filter_map(inode).collect()
}

/// True if a socket listens at this path. To connect to it would be a request.
pub(crate) fn listens(path: &Path) -> bool {
    !listeners(path).is_empty()
}

/// The processes that have the socket that listens at this path.
pub(crate) fn holders_of_listener(path: &Path) -> Vec<i32> {
    let inodes = listeners(path);
    assert_eq!(inodes.len(), 1, "listening at {}", path.display());
    let link = PathBuf::from(format!("socket:[{}]", inodes[0]));
    let holds = |pid: &i32| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten();
        fds.flatten()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == link))
    };
    let entries = fs::read_dir("/proc").expect("/proc can be read");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(holds)
        .collect()
}

/// The addresses of open Unix sockets in the directory.
pub(crate) fn sockets_in(dir: &Path) -> Vec<OsString> {
    let table = fs::read("/proc/net/unix").expect("/proc/net/unix can be read");
    let paths = table.split(|byte| *byte == b'\n').filter_map(|line| {
        let start = memchr::memchr(b'/', line)?;
        Some(OsStr::from_bytes(&line[start..]))
    });
    paths
        .filter(|path| Path::new(path).starts_with(dir))
        .map(OsStr::to_owned)
        .collect()
}

//! Strangers, clients that are not the app's user: many connections at once, from another uid or by TCP, and what they
//! cost the daemon.

use std::fs;
use std::io::{self, IoSlice, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use nix::unistd::{Uid, geteuid};

use super::Deadline;
use super::process::descriptors;

/// The uid and gid of Debian's user `nobody`, who owns nothing.
pub(crate) const NOBODY: u32 = 65_534;

/// Connections to a socket's path, from a user. The peer's credentials are those of the thread that connects.
#[track_caller]
pub(crate) fn connect_many(path: &Path, uid: u32, count: usize) -> Vec<UnixStream> {
    with_many_descriptors();
    let path = path.to_owned();
    let connected = thread::spawn(move || {
        if uid != geteuid().as_raw() {
            let keep = libc::uid_t::MAX;
            // SAFETY: setresuid takes three integers and touches no memory of ours. By the system call itself, it is
            // this one thread that changes.
            let result = unsafe { libc::syscall(libc::SYS_setresuid, keep, uid, keep) };
            assert_eq!(result, 0, "cannot become {uid}");
        }
        let connect = |_| UnixStream::connect(&path);
        (0..count).map(connect).collect::<io::Result<Vec<_>>>()
    });
    let connected = connected.join().expect("a thread can be waited for");
    connected.unwrap_or_else(|error| panic!("cannot connect {count} times: {error}"))
}

/// Connections by TCP, which are read, written and closed like any other.
#[track_caller]
pub(crate) fn connect_many_tcp(to: SocketAddr, count: usize) -> Vec<UnixStream> {
    with_many_descriptors();
    let connect = |_| TcpStream::connect(to).map(|tcp| UnixStream::from(OwnedFd::from(tcp)));
    let connected = (0..count).map(connect).collect::<io::Result<Vec<_>>>();
    connected.unwrap_or_else(|error| panic!("cannot connect {count} times: {error}"))
}

/// This process may have as many descriptors as its hard limit says.
fn with_many_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit can be read");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("a soft limit can be raised");
}

/// Sends the same over each. Some may be closed by now, which is the daemon's right.
pub(crate) fn send_all(strangers: &[UnixStream], bytes: &[u8]) {
    for mut stranger in strangers {
        let _ = stranger.write_all(bytes);
    }
}

/// Sends bytes with that many descriptors beside them. `false`: the system refuses to pass them there (Linux 6.16), or
/// the connection is closed.
#[track_caller]
pub(crate) fn send_with_descriptors(stranger: &UnixStream, bytes: &[u8], count: usize) -> bool {
    pass(stranger, bytes, &vec![stranger.as_raw_fd(); count])
}

/// The same with these descriptors.
#[track_caller]
pub(crate) fn pass(stranger: &UnixStream, bytes: &[u8], raw: &[RawFd]) -> bool {
    let rights = [ControlMessage::ScmRights(raw)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    let parts = [IoSlice::new(bytes)];
    match sendmsg::<UnixAddr>(stranger.as_raw_fd(), &parts, &rights, flags, None) {
        Ok(_) => true,
        Err(Errno::EPERM | Errno::EPIPE | Errno::ECONNRESET) => false,
        Err(errno) => panic!("cannot send: {errno}"),
    }
}

/// Waits until the daemon has read all that was sent.
#[track_caller]
pub(crate) fn until_read(stranger: &UnixStream) {
    let deadline = Deadline::soon();
    loop {
        let mut unread: libc::c_int = 0;
        // SAFETY: SIOCOUTQ (unix(7), TIOCOUTQ by its number) writes one int.
        let known = unsafe { libc::ioctl(stranger.as_raw_fd(), libc::TIOCOUTQ, &raw mut unread) };
        if known != 0 || unread == 0 {
            return;
        }
        assert!(!deadline.left().is_zero(), "{unread} bytes are not read");
        thread::yield_now();
    }
}

/// Descriptors that a daemon closes soon after it is up, and that may have been counted: the starter's connection, say.
const SHORT_LIVED: usize = 8;

/// Waits until the daemon has accepted about `more` connections, those of `strangers`.
#[track_caller]
pub(crate) fn until_accepted(daemon: i32, before: usize, more: usize, strangers: &[UnixStream]) {
    let deadline = Deadline::soon();
    while descriptors(daemon) < before + more - SHORT_LIVED {
        assert!(
            !deadline.left().is_zero(),
            "{} of {more} are accepted",
            descriptors(daemon).saturating_sub(before)
        );
        // An accept gives no event, so this looks again; without a pause it would slow the daemon down.
        Deadline::after(Duration::from_millis(10)).readable(&strangers[strangers.len() - 1]);
    }
}

/// Memory that this process has written to and that is its alone, in bytes. Clean pages are the program's file: they
/// become private when the last other process that runs it ends.
#[track_caller]
pub(crate) fn private_memory(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Private_Dirty:"));
    let dirty = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    match dirty {
        Some(dirty) => dirty << 10,
        None => panic!("{pid} is not there, or /proc/PID/smaps_rollup is not"),
    }
}

/// The uid of a test's servers and apps.
pub(crate) fn tests_uid() -> u32 {
    super::command::user().0.as_raw()
}

/// Whether the tests can act as other users.
pub(crate) fn can_be_others() -> bool {
    let can = Uid::effective().is_root();
    if !can {
        super::not_tested("only root connects as another user");
    }
    can
}

/// The loopback address by which guests come.
pub(crate) const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

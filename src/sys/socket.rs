//! Unix and TCP stream sockets, and pairs of packet sockets.

use std::io;
use std::mem::size_of;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, accept4, bind,
    connect, getsockopt, listen, recv, send, setsockopt, shutdown, socket, socketpair, sockopt,
};
use nix::sys::time::TimeVal;

/// The longest path that a Unix socket address holds.
pub const LONGEST_PATH: usize = size_of::<libc::sockaddr_un>() - size_of::<libc::sa_family_t>() - 1;

/// Who is at the other end of a Unix socket, as of its connect or listen (SO_PEERCRED).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Peer {
    pub pid: i32,
    pub uid: u32,
}

/// Connects without waiting, and gives back a blocking socket. `EAGAIN`: the backlog is full.
pub fn connect_now(path: &Path) -> io::Result<OwnedFd> {
    let fd = stream(SockFlag::SOCK_NONBLOCK)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(fd)
}

/// Connects to `host:port`, waiting as long as the system does.
pub fn connect_tcp(host: &str, port: u16) -> io::Result<OwnedFd> {
    Ok(TcpStream::connect((host, port))?.into())
}

/// Binds and listens; the umask makes the mode.
pub fn listen_at(path: &Path, backlog: i32) -> io::Result<OwnedFd> {
    let fd = stream(SockFlag::empty())?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&fd, Backlog::new(backlog).unwrap_or(Backlog::MAXCONN))?;
    Ok(fd)
}

/// Makes a listener that another process has made ours: who connects from now on is told our pid. unix(7) has the
/// credentials of the process that called listen() last.
pub fn take_over(listener: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    let backlog = Backlog::new(backlog).unwrap_or(Backlog::MAXCONN);
    Ok(listen(&listener, backlog)?)
}

/// Takes a connection, if one waits. The listener must not block; what is taken does: workers get it.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    let raw = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC)?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// A pair of connected sockets that keep the bounds of messages.
pub fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    Ok(socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        flags,
    )?)
}

/// Calls on this descriptor no longer wait. For a listener only: a passed descriptor's flags belong to others.
pub fn set_nonblocking(listener: BorrowedFd<'_>) -> io::Result<()> {
    fcntl(listener, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Who is at the other end; `None` for a socket of another family.
pub fn peer(fd: BorrowedFd<'_>) -> Option<Peer> {
    let found = getsockopt(&fd, sockopt::PeerCredentials).ok()?;
    // The kernel answers pid 0 and uid -1 for what is not a Unix socket.
    (found.uid() != u32::MAX).then(|| Peer {
        pid: found.pid(),
        uid: found.uid(),
    })
}

/// Reads that wait longer than this end with `EAGAIN`.
pub fn set_receive_timeout(fd: BorrowedFd<'_>, patience: Duration) -> io::Result<()> {
    let timeout = TimeVal::new(
        patience.as_secs() as libc::time_t,
        libc::suseconds_t::from(patience.subsec_micros()),
    );
    Ok(setsockopt(&fd, sockopt::ReceiveTimeout, &timeout)?)
}

/// Reads until the buffer is full, the end, or the receive time-out; how many bytes came.
pub fn receive_all(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(recv(fd.as_raw_fd(), buffer, MsgFlags::MSG_WAITALL)?)
}

/// Reads what is there.
pub fn receive_now(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(recv(fd.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?)
}

/// Writes what there is room for; a peer that is gone is `EPIPE`, without a signal.
pub fn send_now(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    Ok(send(fd.as_raw_fd(), bytes, flags)?)
}

/// Says that we read no more: the peer's writes fail from now on, and an acceptor finds no new connection.
pub fn shut_reading(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(shutdown(fd.as_raw_fd(), Shutdown::Read)?)
}

/// Says that we write no more.
pub fn shut_writing(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(shutdown(fd.as_raw_fd(), Shutdown::Write)?)
}

/// Whether `error` is this errno.
pub fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

fn stream(flags: SockFlag) -> io::Result<OwnedFd> {
    let flags = flags | SockFlag::SOCK_CLOEXEC;
    Ok(socket(AddressFamily::Unix, SockType::Stream, flags, None)?)
}

/// A connection of our own uid; anybody else's is a squat.
pub fn is_own_uid(fd: &impl AsFd) -> bool {
    peer(fd.as_fd()).is_some_and(|peer| peer.uid == super::process::uid())
}

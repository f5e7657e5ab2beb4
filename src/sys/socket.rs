//! Unix and TCP stream sockets, and pairs of packet sockets. Knows calls and errnos; not what is sent.

use std::io;
use std::mem::size_of;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, Shutdown, SockFlag, SockType, SockaddrStorage, UnixAddr,
    accept4, bind, connect, getpeername, getsockopt, listen, recv, send, setsockopt, shutdown,
    socket, socketpair, sockopt,
};
use nix::sys::time::TimeVal;

use super::process;

/// The longest path that a Unix socket address holds.
pub const LONGEST_PATH: usize = size_of::<libc::sockaddr_un>() - size_of::<libc::sa_family_t>() - 1;

/// The process at the other end of a Unix socket, as of its connect or listen (SO_PEERCRED).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct PeerProcess {
    pub pid: i32,
    pub uid: u32,
}

/// Connects without waiting; the socket then blocks. `EAGAIN`: the backlog is full.
pub fn connect_now(path: &Path) -> io::Result<OwnedFd> {
    let socket = unconnected()?;
    connect_this(socket.as_fd(), path)?;
    Ok(socket)
}

/// A socket that is to be connected by [`connect_this`].
pub fn unconnected() -> io::Result<OwnedFd> {
    let mut fd = stream(SockFlag::SOCK_NONBLOCK)?;
    // A new descriptor gets the lowest free number, so one of the standard ones was closed.
    if fd.as_raw_fd() <= libc::STDERR_FILENO {
        drop(fd);
        process::open_standard();
        fd = stream(SockFlag::SOCK_NONBLOCK)?;
    }
    Ok(fd)
}

/// Connects without waiting; the socket then blocks. `EAGAIN`: the backlog is full. If this fails, the socket may be
/// tried again, also at another path.
pub fn connect_this(socket: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    set_blocking(socket)
}

/// Connects as [`connect_now`] does, and waits for room in the backlog for at most `patience`. `EAGAIN`: there was none.
pub fn connect_within(path: &Path, patience: Duration) -> io::Result<OwnedFd> {
    let socket = unconnected()?;
    set_blocking(socket.as_fd())?;
    // A time of 0 would be no limit.
    let limit = timeval(patience.max(Duration::from_millis(1)));
    setsockopt(&socket, sockopt::SendTimeout, &limit)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    setsockopt(&socket, sockopt::SendTimeout, &timeval(Duration::ZERO))?;
    Ok(socket)
}

/// Connects to a path, with a socket that never waits. The connection exists at once, in the listener's backlog.
/// `EAGAIN`: the backlog is full.
pub fn begin_at_path(path: &Path) -> io::Result<OwnedFd> {
    let fd = stream(SockFlag::SOCK_NONBLOCK)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(fd)
}

/// The same to an address of TCP. The connection may not exist yet: when the socket can be written to, [`take_error`]
/// tells.
pub fn begin_at(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(family, SockType::Stream, flags, None)?;
    // A header and a body are sent one after the other: the second must not wait for the acknowledgement of the first.
    setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
    match connect(fd.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(fd),
        Err(errno) => Err(errno.into()),
    }
}

/// The error that has kept a connection from being made, or has broken it.
pub fn take_error(fd: BorrowedFd<'_>) -> io::Result<()> {
    match getsockopt(&fd, sockopt::SocketError)? {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// How many of the sent bytes the other end has not read yet. For Unix sockets.
pub fn unread_by_peer(fd: BorrowedFd<'_>) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: SIOCOUTQ (unix(7), TIOCOUTQ by its number) writes one int.
    let known = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    Errno::result(known)?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// Reads what has come without removing it.
pub fn peek(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
    Ok(recv(fd.as_raw_fd(), buffer, flags)?)
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

/// Makes a listener ours that another process has made: clients that connect from now on see our pid. The credentials
/// are those of the process that called listen() last (unix(7)).
pub fn take_over(listener: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    let backlog = Backlog::new(backlog).unwrap_or(Backlog::MAXCONN);
    Ok(listen(&listener, backlog)?)
}

/// Accepts a connection, if one waits. The listener must not block. The connection does: workers get it.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    let raw = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC)?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// A pair of connected sockets that keep messages apart.
pub fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    Ok(socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        flags,
    )?)
}

/// Calls on this descriptor no longer wait. Only for our own: the flags of a passed descriptor belong to others too.
pub fn set_nonblocking(ours: BorrowedFd<'_>) -> io::Result<()> {
    fcntl(ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Calls on this socket wait again: its flags belong to all processes that have it, and one may have changed them.
pub fn set_blocking(listener: BorrowedFd<'_>) -> io::Result<()> {
    fcntl(listener, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(())
}

/// The process at the other end; `None` for a socket of another family.
pub fn peer(fd: BorrowedFd<'_>) -> Option<PeerProcess> {
    let found = getsockopt(&fd, sockopt::PeerCredentials).ok()?;
    // The kernel answers pid 0 and uid -1 for what is not a Unix socket.
    (found.uid() != u32::MAX).then(|| PeerProcess {
        pid: found.pid(),
        uid: found.uid(),
    })
}

/// The address that the listener at the other end of a Unix socket was bound to, whichever path led to it.
pub fn bound_to(fd: BorrowedFd<'_>) -> Option<UnixAddr> {
    getpeername(fd.as_raw_fd()).ok()
}

/// Reads that wait longer than this end with `EAGAIN`.
pub fn set_receive_timeout(fd: BorrowedFd<'_>, patience: Duration) -> io::Result<()> {
    Ok(setsockopt(
        &fd,
        sockopt::ReceiveTimeout,
        &timeval(patience),
    )?)
}

fn timeval(time: Duration) -> TimeVal {
    TimeVal::new(
        time.as_secs() as libc::time_t,
        libc::suseconds_t::from(time.subsec_micros()),
    )
}

/// Reads until the buffer is full, the end, or the receive time-out; how many bytes came.
pub fn receive_all(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(recv(fd.as_raw_fd(), buffer, MsgFlags::MSG_WAITALL)?)
}

/// Reads what is there.
pub fn receive_now(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(recv(fd.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?)
}

/// Writes what there is room for. A peer that is gone is `EPIPE`, without a signal.
pub fn send_now(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    Ok(send(fd.as_raw_fd(), bytes, flags)?)
}

/// Ends reading: the peer's writes fail from now on. Of a listener: no new connection can be made.
pub fn shut_reading(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(shutdown(fd.as_raw_fd(), Shutdown::Read)?)
}

/// Ends writing: the peer reads an end.
pub fn shut_writing(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(shutdown(fd.as_raw_fd(), Shutdown::Write)?)
}

/// Whether `error` is this errno.
pub fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

/// The host has no process, descriptor or memory to spare now.
pub fn is_shortage(error: &io::Error) -> bool {
    [Errno::EAGAIN, Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM]
        .iter()
        .any(|&errno| is(error, errno))
}

fn stream(flags: SockFlag) -> io::Result<OwnedFd> {
    let flags = flags | SockFlag::SOCK_CLOEXEC;
    Ok(socket(AddressFamily::Unix, SockType::Stream, flags, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_is_not_accepted_can_be_told_from_one_that_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = listen_at(&path, 5).unwrap();
        let one = begin_at_path(&path).unwrap();
        let other = begin_at_path(&path).unwrap();
        for connection in [&one, &other] {
            send_now(connection.as_fd(), b"hello").unwrap();
        }
        let taken = accept(listener.as_fd()).unwrap();
        assert!(unread_by_peer(one.as_fd()).unwrap() > 0);
        let mut buffer = [0; 8];
        assert_eq!(peek(taken.as_fd(), &mut buffer).unwrap(), 5);
        assert_eq!(receive_now(taken.as_fd(), &mut buffer).unwrap(), 5);
        assert_eq!(unread_by_peer(one.as_fd()).unwrap(), 0);
        assert!(unread_by_peer(other.as_fd()).unwrap() > 0);
    }

    #[test]
    fn a_connection_by_tcp_does_not_wait() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connection = begin_at(address).unwrap();
        let (_taken, _) = listener.accept().unwrap();
        assert!(take_error(connection.as_fd()).is_ok());
        // No process listens there, and no other test gets that port.
        let closed = SocketAddr::from(([127, 0, 0, 1], 1));
        let refused = begin_at(closed).and_then(|fd| {
            let ready = super::super::poll::Interest::Write;
            super::super::poll::wait_one(fd.as_fd(), ready, Duration::from_secs(5))?;
            take_error(fd.as_fd())
        });
        assert!(is(&refused.unwrap_err(), Errno::ECONNREFUSED));
    }

    #[test]
    fn a_full_backlog_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sock");
        let listener = listen_at(&path, 0).unwrap();
        let mut waiting = Vec::new();
        while let Ok(connection) = connect_now(&path) {
            waiting.push(connection);
        }
        let short = connect_within(&path, Duration::ZERO);
        assert!(is(&short.unwrap_err(), Errno::EAGAIN));
        let other = path.clone();
        let connects = std::thread::spawn(move || connect_within(&other, Duration::from_secs(60)));
        accept(listener.as_fd()).unwrap();
        let connection = connects.join().unwrap().unwrap();
        let limit = getsockopt(&connection, sockopt::SendTimeout).unwrap();
        assert_eq!((limit.tv_sec(), limit.tv_usec()), (0, 0));
    }
}

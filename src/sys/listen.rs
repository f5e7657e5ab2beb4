//! Listening sockets that a configuration names: makes them, and asks where one is bound and who has connected. Knows
//! addresses, not what is sent.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrLike, SockaddrStorage, bind, getpeername,
    getsockname, getsockopt, listen, setsockopt, socket, sockopt,
};

/// Where a socket is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Name {
    Path(PathBuf),
    Tcp(SocketAddr),
}

/// Binds and listens. An IPv6 address means IPv6 alone, whatever the system's default is. A port can be taken although
/// its last connections are still being closed.
pub fn at(address: SocketAddr, backlog: i32) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&fd, Backlog::new(backlog).unwrap_or(Backlog::MAXCONN))?;
    Ok(fd)
}

/// Whether this is a stream socket that connections can be accepted from.
pub fn is_listening(fd: BorrowedFd<'_>) -> bool {
    let is_stream = getsockopt(&fd, sockopt::SockType).is_ok_and(|kind| kind == SockType::Stream);
    is_stream && getsockopt(&fd, sockopt::AcceptConn).unwrap_or(false)
}

/// Where it is bound; `None` for an abstract name, or another family.
pub fn name(fd: BorrowedFd<'_>) -> Option<Name> {
    let address: SockaddrStorage = getsockname(fd.as_raw_fd()).ok()?;
    match address.as_unix_addr() {
        Some(unix) => unix.path().map(|path| Name::Path(path.to_path_buf())),
        None => tcp(&address).map(Name::Tcp),
    }
}

/// Whether it is a Unix socket.
pub fn is_unix(fd: BorrowedFd<'_>) -> bool {
    let address = getsockname::<SockaddrStorage>(fd.as_raw_fd());
    address.is_ok_and(|address| address.family() == Some(AddressFamily::Unix))
}

/// The other end of a TCP connection. `None`: it is gone, or it is no TCP.
pub fn peer_address(fd: BorrowedFd<'_>) -> Option<IpAddr> {
    let address: SockaddrStorage = getpeername(fd.as_raw_fd()).ok()?;
    Some(tcp(&address)?.ip().to_canonical())
}

/// Has all that is written to a TCP connection sent at once: the end of a short answer must not wait.
pub fn send_at_once(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(setsockopt(&fd, sockopt::TcpNoDelay, &true)?)
}

/// Gives a socket's file to a group; a symlink is not followed.
pub fn give_to_group(path: &Path, group: u32) -> io::Result<()> {
    std::os::unix::fs::lchown(path, None, Some(group))
}

/// Whether an error says that this host does not have that kind of address.
pub fn is_foreign(error: &io::Error) -> bool {
    super::is(error, Errno::EADDRNOTAVAIL) || super::is(error, Errno::EAFNOSUPPORT)
}

fn tcp(address: &SockaddrStorage) -> Option<SocketAddr> {
    match address.family()? {
        AddressFamily::Inet => Some(SocketAddr::V4((*address.as_sockaddr_in()?).into())),
        AddressFamily::Inet6 => Some(SocketAddr::V6((*address.as_sockaddr_in6()?).into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::socket as sockets;

    #[test]
    fn a_tcp_listener_knows_its_name_and_its_guests() {
        let listener = at(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap();
        assert!(is_listening(listener.as_fd()));
        let Some(Name::Tcp(address)) = name(listener.as_fd()) else {
            panic!("no name");
        };
        let far = TcpStream::connect(address).unwrap();
        assert!(!is_listening(far.as_fd()));
        let near = sockets::accept(listener.as_fd()).unwrap();
        assert_eq!(peer_address(near.as_fd()), Some([127, 0, 0, 1].into()));
        send_at_once(near.as_fd()).unwrap();
        assert!(TcpStream::from(near).nodelay().unwrap());
    }

    #[test]
    fn a_path_is_a_name_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let listener = sockets::listen_at(&path, 1).unwrap();
        assert!(is_listening(listener.as_fd()));
        assert_eq!(name(listener.as_fd()), Some(Name::Path(path.clone())));
        assert_eq!(peer_address(listener.as_fd()), None);
        let file = tempfile::tempfile().unwrap();
        assert!(!is_listening(file.as_fd()) && name(file.as_fd()).is_none());
        let group = nix::unistd::getegid().as_raw();
        give_to_group(&path, group).unwrap();
    }
}

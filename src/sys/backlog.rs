//! How many connections wait in a listener's backlog.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};
use nix::sys::stat::fstat;

/// Asks the kernel: by sock_diag(7) for a Unix socket, by tcp(7) for others.
#[derive(Debug, Default)]
pub struct Backlogs {
    netlink: Option<OwnedFd>,
}

// Of <linux/netlink.h>, <linux/sock_diag.h> and <linux/unix_diag.h>.
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const UDIAG_SHOW_RQLEN: u32 = 0x10;
const UNIX_DIAG_RQLEN: u16 = 4;
const HEADER: usize = 16;
const MESSAGE: usize = 16;

impl Backlogs {
    /// How many connections wait there to be accepted.
    pub fn waiting(&mut self, listener: BorrowedFd<'_>, is_unix: bool) -> io::Result<u32> {
        match is_unix {
            true => self.waiting_unix(listener),
            false => waiting_tcp(listener),
        }
    }

    fn waiting_unix(&mut self, listener: BorrowedFd<'_>) -> io::Result<u32> {
        let inode = fstat(listener)?.st_ino as u32;
        let netlink = match &self.netlink {
            Some(netlink) => netlink,
            None => self.netlink.insert(socket(
                AddressFamily::Netlink,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
                SockProtocol::NetlinkSockDiag,
            )?),
        };
        send(netlink.as_raw_fd(), &request(inode), MsgFlags::empty())?;
        let mut answer = [0; 512];
        let len = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        answered(&answer[..len]).ok_or(io::ErrorKind::InvalidData.into())
    }
}

/// A `struct nlmsghdr` and a `struct unix_diag_req`.
fn request(inode: u32) -> Vec<u8> {
    let len = (HEADER + 24) as u32;
    let mut bytes = Vec::with_capacity(len as usize);
    bytes.extend(len.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    bytes.extend([0; 8]); // sequence, port
    bytes.extend([libc::AF_UNIX as u8, 0, 0, 0]);
    for number in [u32::MAX, inode, UDIAG_SHOW_RQLEN, u32::MAX, u32::MAX] {
        bytes.extend(number.to_ne_bytes());
    }
    bytes
}

/// The length of the queue, out of a `struct nlmsghdr`, a `struct unix_diag_msg` and attributes.
fn answered(bytes: &[u8]) -> Option<u32> {
    let short = |at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    if short(4)? == NLMSG_ERROR {
        return None;
    }
    let mut at = HEADER + MESSAGE;
    loop {
        let (len, kind) = (usize::from(short(at)?), short(at + 2)?);
        if kind == UNIX_DIAG_RQLEN {
            let number = bytes.get(at + 4..at + 8)?.try_into().ok()?;
            return Some(u32::from_ne_bytes(number));
        }
        at += len.max(4).next_multiple_of(4);
    }
}

/// `tcpi_unacked` of a `struct tcp_info`: of a listener it is the length of its queue.
fn waiting_tcp(listener: BorrowedFd<'_>) -> io::Result<u32> {
    const UNACKED: usize = 24;
    let mut info = [0u8; 104];
    let mut len = size_of::<[u8; 104]>() as libc::socklen_t;
    // SAFETY: `info` is ours to write to, as long as is said, and lives until the call returns.
    let got = unsafe {
        libc::getsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    Errno::result(got)?;
    let number = info[UNACKED..UNACKED + 4].try_into();
    number
        .map(u32::from_ne_bytes)
        .map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn connections_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let unix = UnixListener::bind(&path).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let mut backlogs = Backlogs::default();
        let mut kept = (Vec::new(), Vec::new());
        for count in 0..4 {
            assert_eq!(backlogs.waiting(unix.as_fd(), true).unwrap(), count);
            assert_eq!(backlogs.waiting(tcp.as_fd(), false).unwrap(), count);
            kept.0.push(UnixStream::connect(&path).unwrap());
            kept.1.push(TcpStream::connect(address).unwrap());
        }
        unix.accept().unwrap();
        tcp.accept().unwrap();
        assert_eq!(backlogs.waiting(unix.as_fd(), true).unwrap(), 3);
        assert_eq!(backlogs.waiting(tcp.as_fd(), false).unwrap(), 3);
    }
}

//! Bytes with descriptors beside them (SCM_RIGHTS, unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use smallvec::SmallVec;

/// More descriptors than anybody of ours sends; what comes above it is cut, and said to be.
const MOST: usize = 4;

/// Sends `bytes` and `fds` in one message without waiting; how many bytes went (the descriptors go with the
/// first). `EAGAIN`: no room now. `EPIPE`: nobody there. `ETOOMANYREFS`: too many descriptors in flight.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let raw: SmallVec<[RawFd; MOST]> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    let slices = [IoSlice::new(bytes)];
    retried(|| sendmsg::<UnixAddr>(socket.as_raw_fd(), &slices, control, flags, None))
}

/// What one message held.
#[derive(Debug)]
pub struct Received {
    /// Bytes put into the buffer; 0 is the end.
    pub len: usize,
    /// Descriptors, all of them close-on-exec.
    pub fds: SmallVec<[OwnedFd; MOST]>,
    /// Descriptors (or, of a packet, bytes) were left out: our limits or the host's.
    pub cut: bool,
}

/// Receives one message without waiting.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = nix::cmsg_space!([RawFd; MOST]);
    let mut slices = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = loop {
        match recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags) {
            Err(Errno::EINTR) => {}
            other => break other.map_err(io::Error::from)?,
        }
    };
    let mut fds = SmallVec::new();
    // An error here says that the control data were cut; what there is of them is still to be closed.
    for part in message.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::ScmRights(raw) = part {
            // SAFETY: the kernel just made these descriptors for us, and nobody else knows them.
            fds.extend(
                raw.into_iter()
                    .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
            );
        }
    }
    let cut = message
        .flags
        .intersects(MsgFlags::MSG_CTRUNC | MsgFlags::MSG_TRUNC);
    let len = message.bytes;
    Ok(Received { len, fds, cut })
}

fn retried<T>(mut call: impl FnMut() -> nix::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return other.map_err(io::Error::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_descriptor_arrives_and_is_close_on_exec() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(send(ours.as_fd(), b"hello", &[null.as_fd()]).unwrap(), 5);
        let mut buffer = [0; 16];
        let received = receive(theirs.as_fd(), &mut buffer).unwrap();
        assert_eq!(
            (received.len, received.fds.len(), received.cut),
            (5, 1, false)
        );
        let flags = nix::fcntl::fcntl(&received.fds[0], nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & nix::libc::FD_CLOEXEC, nix::libc::FD_CLOEXEC);
        let empty = receive(theirs.as_fd(), &mut buffer).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn more_descriptors_than_expected_are_cut_and_said_to_be() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        send(ours.as_fd(), b"x", &[null.as_fd(); 8]).unwrap();
        let received = receive(theirs.as_fd(), &mut [0; 16]).unwrap();
        assert!(received.cut);
        assert!(received.fds.len() <= MOST);
    }
}

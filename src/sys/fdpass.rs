//! Bytes with descriptors beside them (SCM_RIGHTS, unix(7)).

use std::io::{self, IoSliceMut};
use std::mem::{size_of_val, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};
use smallvec::SmallVec;

/// More descriptors than anybody of ours sends; what comes above it is cut, and said to be.
const MOST: usize = 4;
const MOST_BYTES: u32 = (MOST * size_of::<RawFd>()) as u32;
// SAFETY: it only computes.
const ROOM: usize = unsafe { libc::CMSG_SPACE(MOST_BYTES) } as usize;

/// Room for the descriptors of one message. Not nix's: that allocates, and this is done for every request.
#[repr(C)]
union Control {
    bytes: [u8; ROOM],
    _aligned: libc::cmsghdr,
}

/// Sends `bytes` and `fds` in one message without waiting; how many bytes went (the descriptors go with the
/// first). `EAGAIN`: no room now. `EPIPE`: nobody there. `ETOOMANYREFS`: too many descriptors in flight. Allocates
/// nothing, as nix's sendmsg would.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    /// One message of control data, as cmsg(3) lays it out.
    #[repr(C)]
    struct Rights {
        header: libc::cmsghdr,
        fds: [RawFd; 2 * MOST],
    }
    let mut raw = [-1; 2 * MOST];
    let Some(places) = raw.get_mut(..fds.len()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    for (place, fd) in places.iter_mut().zip(fds) {
        *place = fd.as_raw_fd();
    }
    let size = size_of_val(places) as libc::c_uint;
    // SAFETY: both only calculate.
    let (length, space) = unsafe { (libc::CMSG_LEN(size), libc::CMSG_SPACE(size)) };
    // SAFETY: all zeros are a cmsghdr, which on some systems has padding that can't be named.
    let mut header: libc::cmsghdr = unsafe { zeroed() };
    header.cmsg_len = length as _;
    header.cmsg_level = libc::SOL_SOCKET;
    header.cmsg_type = libc::SCM_RIGHTS;
    let mut rights = Rights { header, fds: raw };
    let mut slice = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: all zeros are a msghdr without any part.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    if !fds.is_empty() {
        message.msg_control = (&raw mut rights).cast();
        message.msg_controllen = space as _;
    }
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    loop {
        // SAFETY: what the message points to lives until after the call, has room for what it says, and is only read.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
        match Errno::result(sent) {
            Ok(sent) => return Ok(sent.cast_unsigned()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
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
    let mut control = Control { bytes: [0; ROOM] };
    let (mut part, mut message) = empty_message(buffer.as_mut_ptr(), buffer.len());
    message.msg_iov = &raw mut part;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = ROOM as _;
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    // SAFETY: the buffer and the control data are ours to write to, as long as is said, and live until it returns.
    let len = retried(|| unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) })?;
    let mut fds = SmallVec::new();
    // SAFETY: the kernel has filled in the control data; CMSG_FIRSTHDR and CMSG_NXTHDR keep within them.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !header.is_null() {
        // SAFETY: a header that is there, with as many bytes behind it as it says. Of those that were cut the kernel
        // gives the whole ones. The descriptors were just made for us, and nobody else knows them.
        unsafe {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                for nth in 0..bytes / size_of::<RawFd>() {
                    fds.push(OwnedFd::from_raw_fd(data.add(nth).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    let cut = message.msg_flags & (libc::MSG_CTRUNC | libc::MSG_TRUNC) != 0;
    Ok(Received { len, fds, cut })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

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
        let raw = [null.as_raw_fd(); 8];
        let rights = [ControlMessage::ScmRights(&raw)];
        let flags = MsgFlags::empty();
        let bytes = [io::IoSlice::new(b"x")];
        sendmsg::<UnixAddr>(ours.as_raw_fd(), &bytes, &rights, flags, None).unwrap();
        let received = receive(theirs.as_fd(), &mut [0; 16]).unwrap();
        assert!(received.cut);
        assert!(received.fds.len() <= MOST);
    }
}

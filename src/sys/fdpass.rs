//! Bytes with descriptors beside them (SCM_RIGHTS, unix(7)).

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use smallvec::SmallVec;

/// The most descriptors in one message. We never send so many; if more come, they are cut, and [`Received::cut`] says
/// so.
const MOST: usize = 4;
const MOST_BYTES: u32 = (MOST * size_of::<RawFd>()) as u32;
// SAFETY: it only computes.
const ROOM: usize = unsafe { libc::CMSG_SPACE(MOST_BYTES) } as usize;

/// Room for the descriptors of one message. Not nix's, which allocates: this is done for every request.
#[repr(C)]
union ControlData {
    bytes: [u8; ROOM],
    _aligned: libc::cmsghdr,
}

/// Sends `bytes` and `fds` in one message without waiting; how many bytes went (the descriptors go with the first).
/// `EAGAIN`: no room now. `EPIPE`: the other end is gone. `ETOOMANYREFS`: too many descriptors in flight.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut control = ControlData { bytes: [0; ROOM] };
    let (mut part, mut message) = empty_message(bytes.as_ptr().cast_mut(), bytes.len());
    message.msg_iov = &raw mut part;
    if !fds.is_empty() {
        let bytes = size_of_val(fds) as u32;
        if bytes > MOST_BYTES {
            return Err(Errno::E2BIG.into());
        }
        message.msg_control = (&raw mut control).cast();
        // SAFETY: CMSG_SPACE and CMSG_LEN only compute. The control data have room for MOST descriptors, and there
        // are no more, as just checked: so there is a first header, and behind it room for all of them.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(bytes) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(bytes) as _;
            let data = libc::CMSG_DATA(header).cast::<RawFd>();
            for (nth, fd) in fds.iter().enumerate() {
                data.add(nth).write_unaligned(fd.as_raw_fd());
            }
        }
    }
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: everything that `message` points to lives until the call returns, and is only read.
    retried(|| unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) })
}

/// What one message held.
#[derive(Debug)]
pub struct Received {
    /// Bytes put into the buffer; 0 is the end.
    pub len: usize,
    /// Descriptors, all of them close-on-exec.
    pub fds: SmallVec<[OwnedFd; MOST]>,
    /// Descriptors (or, of a packet, bytes) were left out, by our limits or the host's.
    pub cut: bool,
}

/// Receives one message without waiting.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = ControlData { bytes: [0; ROOM] };
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
        // SAFETY: a header that is there, with as many bytes behind it as it says. If descriptors were cut, those that
        // are left are whole. They were just made for us, and nothing else knows them.
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

/// Has the kernel refuse descriptors to all that connect to this listener from now on (SO_PASSRIGHTS, of Linux 6.16).
///
/// A descriptor that is not received is closed on our behalf. If it is a TCP socket that lingers (socket(7),
/// SO_LINGER), that takes as long as its owner likes. An older kernel has no such option.
pub fn refuse(listener: BorrowedFd<'_>) -> io::Result<()> {
    const SO_PASSRIGHTS: libc::c_int = 83;
    let off: libc::c_int = 0;
    // SAFETY: `off` lives until the call returns, is as large as is said, and is only read.
    let set = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw const off).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    Errno::result(set)?;
    Ok(())
}

/// A message without control data, and its only part, which it does not point to yet.
fn empty_message(base: *mut u8, len: usize) -> (libc::iovec, libc::msghdr) {
    let part = libc::iovec {
        iov_base: base.cast(),
        iov_len: len,
    };
    // SAFETY: numbers and pointers, and all of them may be zero.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iovlen = 1;
    (part, message)
}

fn retried(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match Errno::result(call()) {
            Err(Errno::EINTR) => {}
            other => return Ok(other.map(isize::cast_unsigned)?),
        }
    }
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
    fn descriptors_are_refused_where_the_kernel_can() {
        use std::os::unix::net::UnixListener;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let listener = UnixListener::bind(&path).unwrap();
        if let Err(error) = refuse(listener.as_fd()) {
            let is_unknown = error.raw_os_error() == Some(Errno::ENOPROTOOPT as i32);
            assert!(is_unknown, "{error}");
            return;
        }
        let client = UnixStream::connect(&path).unwrap();
        let error = send(client.as_fd(), b"x", &[client.as_fd()]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::EPERM as i32));
        assert_eq!(send(client.as_fd(), b"x", &[]).unwrap(), 1);
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

//! Descriptors: what kind one is, how much can be read from it, copies, pipes and /dev/null. Knows nothing of paths.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::libc;
use nix::sys::stat::{FileStat, SFlag, fstat};

use super::identity::Identity;

/// What a descriptor is, as far as writing to it without waiting is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A pipe.
    Fifo,
    /// A file or a device: always ready.
    Other,
    /// A socket.
    Socket,
}

/// Asks the kernel.
pub fn kind(fd: BorrowedFd<'_>) -> Kind {
    fstat(fd).map_or(Kind::Other, |stat| kind_of(&stat))
}

/// What a descriptor is, and which; in one call.
pub fn described(fd: BorrowedFd<'_>) -> io::Result<(Kind, Identity)> {
    let stat = fstat(fd)?;
    let identity = Identity {
        device: stat.st_dev,
        inode: stat.st_ino,
    };
    Ok((kind_of(&stat), identity))
}

fn kind_of(stat: &FileStat) -> Kind {
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFIFO => Kind::Fifo,
        SFlag::S_IFSOCK => Kind::Socket,
        _ => Kind::Other,
    }
}

/// How many bytes wait in a pipe or a socket.
pub fn waiting(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut count: libc::c_int = 0;
    // SAFETY: the call writes one int, to where it is told.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) })?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// How many bytes can be read from a descriptor before its end: of a file the rest, of a device none. `None`: not
/// known, since it is a pipe or a socket.
pub fn rest(fd: BorrowedFd<'_>) -> Option<u64> {
    let stat = fstat(fd).ok()?;
    if kind_of(&stat) != Kind::Other {
        return None;
    }
    let at = nix::unistd::lseek(fd, 0, nix::unistd::Whence::SeekCur).unwrap_or(0);
    Some(u64::try_from(stat.st_size.saturating_sub(at)).unwrap_or(0))
}

/// A copy of a descriptor, close-on-exec.
pub fn duplicate(fd: impl AsFd) -> io::Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned()
}

/// Makes this the standard input, also after an exec.
pub fn become_input(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(nix::unistd::dup2_stdin(fd)?)
}

/// /dev/null, for reading and writing. If there is none, a pipe whose other end is closed: a read finds the end, and a
/// write fails.
pub fn null() -> io::Result<OwnedFd> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null");
    null.map(OwnedFd::from)
        .or_else(|error| pipe().map(|(out, _)| out).map_err(|_| error))
}

/// A pipe: what is written to the second comes out of the first.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC)?)
}

/// The reading end of a pipe that holds these bytes, and then ends. An exec'd program keeps it.
pub fn pipe_holding(bytes: &[u8]) -> io::Result<OwnedFd> {
    let (out, into) = pipe()?;
    if let Ok(len) = libc::c_int::try_from(bytes.len()) {
        // If it can't be made larger, it may be large enough.
        let _ = fcntl(&into, FcntlArg::F_SETPIPE_SZ(len));
    }
    // A write that waits would wait for ever: there is no reader yet.
    fcntl(&into, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    if nix::unistd::write(&into, bytes)? < bytes.len() {
        return Err(io::ErrorKind::StorageFull.into());
    }
    fcntl(&out, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn what_is_left_of_a_file_is_known() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        assert_eq!(rest(file.as_fd()), Some(0));
        std::io::Seek::rewind(&mut file).unwrap();
        assert_eq!(rest(file.as_fd()), Some(10));
        file.read_exact(&mut [0; 3]).unwrap();
        assert_eq!(rest(file.as_fd()), Some(7));
        file.set_len(2).unwrap();
        assert_eq!(rest(file.as_fd()), Some(0));
        assert_eq!(rest(null().unwrap().as_fd()), Some(0));
        let (out, _into) = pipe().unwrap();
        assert_eq!(rest(out.as_fd()), None);
    }

    #[test]
    fn a_pipe_holds_what_it_was_given_or_is_none() {
        let bytes = vec![b'x'; 200_000];
        let mut read = Vec::new();
        let mut pipe = File::from(pipe_holding(&bytes).unwrap());
        pipe.read_to_end(&mut read).unwrap();
        assert!(read == bytes);
        // More than an unprivileged user gets, and root's limit is not far above.
        assert!(pipe_holding(&vec![0; 1 << 31]).is_err());
    }
}

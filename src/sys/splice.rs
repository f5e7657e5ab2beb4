//! Writing and discarding without waiting, on descriptors whose flags belong to others: O_NONBLOCK on a passed
//! descriptor would be the web server's too.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SpliceFFlags, fcntl, splice};
use nix::sys::socket::{MsgFlags, recv};
use std::os::fd::AsRawFd;

use super::files::{self, Kind};
use super::{poll, socket};

/// What the loop needs to write to pipes without waiting.
#[derive(Debug)]
pub struct Scratch {
    out: File,
    into: File,
    /// The most that goes through the pipe at once, in bytes.
    room: usize,
    null: OwnedFd,
}

/// The most that is read at once only to be thrown away.
const BLOCK: usize = 65_536;

impl Scratch {
    /// A pipe of our own, and /dev/null.
    pub fn new() -> io::Result<Scratch> {
        let (out, into) = files::pipe()?;
        Scratch::of(out, into)
    }

    /// A user who has many pipes gets small ones (pipe(7), pipe-user-pages-soft), and a write of more than a pipe
    /// holds would wait for ever: we are its only reader.
    fn of(out: OwnedFd, into: OwnedFd) -> io::Result<Scratch> {
        let room = fcntl(&into, FcntlArg::F_GETPIPE_SZ)?;
        Ok(Scratch {
            out: File::from(out),
            into: File::from(into),
            room: usize::try_from(room).unwrap_or(0).max(1),
            null: files::null()?,
        })
    }

    /// Writes what there is room for; `EAGAIN` if there is none now, `EPIPE` if nobody reads.
    pub fn write_now(&mut self, fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        match files::kind(fd) {
            Kind::Fifo => self.write_to_fifo(fd, &bytes[..bytes.len().min(self.room)]),
            Kind::Other => Ok(nix::unistd::write(fd, bytes)?),
            Kind::Socket => socket::send_now(fd, bytes),
        }
    }

    /// Writes as much as the descriptor takes now; how much that was.
    pub fn write_what_fits(&mut self, fd: BorrowedFd<'_>, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.write_now(fd, &bytes[written..]) {
                Ok(count) if count > 0 => written += count,
                _ => break,
            }
        }
        written
    }

    /// Through a pipe of our own and splice(2): a plain write would block where the pipe is full.
    fn write_to_fifo(&mut self, fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        self.into.write_all(bytes)?;
        let mut moved = 0;
        let result = loop {
            let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
            match splice(&self.out, None, fd, None, bytes.len() - moved, flags) {
                Ok(count) => moved += count,
                Err(Errno::EINTR) => {}
                Err(errno) => break Err(errno),
            }
            if moved == bytes.len() {
                break Ok(());
            }
        };
        // What did not go is taken back, so that the scratch pipe is empty for the next.
        let mut rest = vec![0; bytes.len() - moved];
        self.out.read_exact(&mut rest)?;
        match result {
            Err(errno) if moved == 0 => Err(errno.into()),
            _ => Ok(moved),
        }
    }

    /// Reads and discards at most `most` bytes without waiting; 0 is the end, `EAGAIN` that more may come.
    pub fn discard_now(&mut self, fd: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        match files::kind(fd) {
            Kind::Fifo => {
                let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
                Ok(splice(fd, None, &self.null, None, most, flags)?)
            }
            Kind::Other => {
                let mut buffer = vec![0; most.min(BLOCK)];
                Ok(nix::unistd::read(fd, &mut buffer)?)
            }
            Kind::Socket => {
                let mut buffer = vec![0; most.min(BLOCK)];
                Ok(recv(fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)?)
            }
        }
    }
}

/// Reads once, waiting if nothing is there; 0 is the end.
pub fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match nix::unistd::read(fd, buffer) {
            Err(Errno::EINTR) => {}
            other => return other.map_err(io::Error::from),
        }
    }
}

/// Writes everything, waiting as long as it takes.
pub fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match nix::unistd::write(fd, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                // Somebody set O_NONBLOCK on what we were given.
                poll::wait_any(&[(fd.as_fd(), poll::Interest::Write)], None)?;
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_pipe_is_eagain_and_loses_nothing() {
        let mut scratch = Scratch::new().unwrap();
        let (out, into) = files::pipe().unwrap();
        let block: Vec<u8> = (0..50_000u32).map(|n| n as u8).collect();
        let mut sent = 0;
        let error = loop {
            match scratch.write_now(into.as_fd(), &block) {
                Ok(count) => sent += count,
                Err(error) => break error,
            }
        };
        assert!(socket::is(&error, Errno::EAGAIN));
        drop(into);
        let mut read = Vec::new();
        File::from(out).read_to_end(&mut read).unwrap();
        assert_eq!(read.len(), sent);
        assert_eq!(
            scratch
                .write_now(files::null().unwrap().as_fd(), b"x")
                .unwrap(),
            1
        );
    }

    #[test]
    fn a_small_pipe_of_our_own_takes_no_more_than_it_holds() {
        let (out, into) = files::pipe().unwrap();
        fcntl(&into, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        let mut scratch = Scratch::of(out, into).unwrap();
        let (out, into) = files::pipe().unwrap();
        assert_eq!(scratch.write_now(into.as_fd(), &[1; 20_000]).unwrap(), 4096);
        assert_eq!(scratch.write_what_fits(into.as_fd(), &[2; 20_000]), 20_000);
        let rest = scratch.write_what_fits(into.as_fd(), &[3; 99_000]);
        drop(into);
        let mut read = Vec::new();
        File::from(out).read_to_end(&mut read).unwrap();
        assert_eq!(read.len(), 24_096 + rest);
    }

    #[test]
    fn nobody_reading_is_epipe() {
        let mut scratch = Scratch::new().unwrap();
        let (out, into) = files::pipe().unwrap();
        drop(out);
        let error = scratch.write_now(into.as_fd(), b"x").unwrap_err();
        assert!(socket::is(&error, Errno::EPIPE));
        let (out, into) = files::pipe().unwrap();
        assert_eq!(scratch.write_now(into.as_fd(), b"whole").unwrap(), 5);
        drop(into);
        assert_eq!(scratch.discard_now(out.as_fd(), 99).unwrap(), 5);
        assert_eq!(scratch.discard_now(out.as_fd(), 99).unwrap(), 0);
    }
}

//! Reading, writing and discarding without waiting, on descriptors whose flags belong to others: O_NONBLOCK on a passed
//! descriptor would hold for the web server too. Knows kinds of descriptors; not what the bytes mean.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SpliceFFlags, fcntl, splice};
use nix::sys::socket::{MsgFlags, recv};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use super::files::{self, Kind};
use super::{poll, socket};

/// What is needed to use pipes without waiting: a pipe of our own, and /dev/null.
#[derive(Debug)]
pub struct Scratch {
    out: File,
    into: File,
    /// The most that goes through the pipe at once, in bytes.
    room: usize,
    null: OwnedFd,
}

/// The most bytes that are read at once, to be copied or discarded.
const BLOCK: usize = 65_536;

impl Scratch {
    /// A pipe of our own, and /dev/null.
    pub fn new() -> io::Result<Scratch> {
        let (out, into) = files::pipe()?;
        Scratch::of(out, into)
    }

    /// A user with many pipes gets small ones (pipe(7), pipe-user-pages-soft). A write of more than the pipe holds
    /// would wait for ever, since we are its only reader.
    fn of(out: OwnedFd, into: OwnedFd) -> io::Result<Scratch> {
        // PIPE_BUF, the least that a pipe holds.
        let room = fcntl(&into, FcntlArg::F_GETPIPE_SZ).unwrap_or(4096);
        Ok(Scratch {
            out: File::from(out),
            into: File::from(into),
            room: usize::try_from(room).unwrap_or(0).max(1),
            null: files::null()?,
        })
    }

    /// /dev/null.
    pub fn null(&self) -> BorrowedFd<'_> {
        self.null.as_fd()
    }

    /// Writes what there is room for; `EAGAIN` if there is none now, `EPIPE` if the reader is gone.
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
        // What was not moved is read back, so that our pipe is empty for the next call.
        let mut rest = vec![0; bytes.len() - moved];
        self.out.read_exact(&mut rest)?;
        match result {
            Err(errno) if moved == 0 => Err(errno.into()),
            _ => Ok(moved),
        }
    }

    /// Reads what is there into `buffer`; 0 is the end, `EAGAIN` that more may come.
    pub fn read_now(&mut self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        match files::kind(fd) {
            Kind::Fifo => {
                // Through our own pipe, which is empty again afterwards: a plain read of an empty pipe would wait.
                let most = buffer.len().min(self.room);
                let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
                let count = splice(fd, None, &self.into, None, most, flags)?;
                self.out.read_exact(&mut buffer[..count])?;
                Ok(count)
            }
            Kind::Other => Ok(nix::unistd::read(fd, buffer)?),
            Kind::Socket => socket::receive_now(fd, buffer),
        }
    }

    /// Writes at most `most` bytes of `file`, from its own position on, as far as there is room now, and moves the
    /// position behind them; 0 is the file's end, `EAGAIN` that there is no room.
    pub fn send_file(
        &mut self,
        fd: BorrowedFd<'_>,
        mut file: &File,
        most: usize,
    ) -> io::Result<usize> {
        if files::kind(fd) == Kind::Fifo {
            let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
            match splice(file, None, fd, None, most, flags) {
                // The file system has no splice: copied below.
                Err(Errno::EINVAL) => {}
                other => return Ok(other?),
            }
        }
        let at = file.stream_position()?;
        let mut block = vec![0; most.min(BLOCK)];
        let count = file.read_at(&mut block, at)?;
        let sent = self.write_now(fd, &block[..count])?;
        // Only now: the worker, which sees the position, may truncate the file once all is sent.
        file.seek(SeekFrom::Start(at + sent as u64))?;
        Ok(sent)
    }

    /// Reads and discards at most `most` bytes without waiting; 0 is the end, `EAGAIN` that more may come.
    pub fn discard_now(&mut self, fd: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        match files::kind(fd) {
            Kind::Fifo => {
                let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
                match splice(fd, None, &self.null, None, most, flags) {
                    // There is no /dev/null: see `files::null`.
                    Err(Errno::EBADF) => self.read_now(fd, &mut vec![0; most.min(BLOCK)]),
                    other => Ok(other?),
                }
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

/// Moves at most `most` bytes without copying them and without waiting, from a pipe to a pipe; 0 is the end of `from`,
/// `EAGAIN` that it holds nothing now, or that `to` has no room.
pub fn pass(from: BorrowedFd<'_>, to: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
    loop {
        match splice(from, None, to, None, most, flags) {
            Err(Errno::EINTR) => {}
            other => return other.map_err(io::Error::from),
        }
    }
}

/// Writes once to a descriptor of our own that does not wait; `EAGAIN`: there is no room now; `EPIPE`: the reader is
/// gone.
pub fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match nix::unistd::write(fd, bytes) {
            Err(Errno::EINTR) => {}
            other => return other.map_err(io::Error::from),
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
                // The descriptor was passed to us with O_NONBLOCK.
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
        let mut sent = 4096;
        while let Ok(count) = scratch.write_now(into.as_fd(), &[2; 20_000]) {
            assert!(count <= 4096);
            sent += count;
        }
        drop(into);
        let mut read = Vec::new();
        File::from(out).read_to_end(&mut read).unwrap();
        assert_eq!(read.len(), sent);
    }

    #[test]
    fn a_file_goes_out_as_far_as_there_is_room() {
        let mut scratch = Scratch::new().unwrap();
        let block: Vec<u8> = (0..300_000u32).map(|n| (n / 7) as u8).collect();
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let (out, into) = files::pipe().unwrap();
        for (mut reader, writer) in [
            (File::from(out), into),
            (File::from(OwnedFd::from(far)), near.into()),
        ] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&block).unwrap();
            file.rewind().unwrap();
            let mut read = Vec::new();
            loop {
                let before = (&file).stream_position().unwrap();
                match scratch.send_file(writer.as_fd(), &file, 1 << 20) {
                    Ok(0) => break,
                    Ok(count) => {
                        assert_eq!((&file).stream_position().unwrap(), before + count as u64);
                    }
                    Err(error) => {
                        assert!(socket::is(&error, Errno::EAGAIN));
                        let mut some = vec![0; 50_000];
                        let count = reader.read(&mut some).unwrap();
                        read.extend_from_slice(&some[..count]);
                    }
                }
            }
            drop(writer);
            reader.read_to_end(&mut read).unwrap();
            assert!(read == block);
        }
    }

    #[test]
    fn what_is_there_is_read_and_nothing_waited_for() {
        let mut scratch = Scratch::new().unwrap();
        let (out, into) = files::pipe().unwrap();
        let mut buffer = [0; 9];
        let error = scratch.read_now(out.as_fd(), &mut buffer).unwrap_err();
        assert!(socket::is(&error, Errno::EAGAIN));
        File::from(into).write_all(b"twelve bytes").unwrap();
        assert_eq!(files::waiting(out.as_fd()).unwrap(), 12);
        assert_eq!(scratch.read_now(out.as_fd(), &mut buffer).unwrap(), 9);
        assert_eq!(&buffer, b"twelve by");
        assert_eq!(scratch.read_now(out.as_fd(), &mut buffer).unwrap(), 3);
        assert_eq!(scratch.read_now(out.as_fd(), &mut buffer).unwrap(), 0);
    }

    #[test]
    fn a_reader_that_is_gone_is_epipe() {
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

//! Reading, writing and discarding without waiting, on descriptors whose flags belong to others: O_NONBLOCK on a passed
//! descriptor would hold for the web server too. Knows kinds of descriptors; not what the bytes mean.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
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
    /// The most that goes through the pipe at once, in bytes; 0 where there may be something in it for good.
    room: usize,
    null: OwnedFd,
}

/// The most bytes that are read at once, to be copied or discarded.
const BLOCK: usize = 65_536;
/// PIPE_BUF: a pipe that is ready has room for so many bytes.
const LEAST_ROOM: usize = 4096;
/// How often a refused read of our own pipe is tried again.
const TRIES: u32 = 3;

/// The host refuses the call, for this kind of file or at all: the bytes are copied instead.
fn is_refusal(errno: Errno) -> bool {
    !matches!(errno, Errno::EAGAIN | Errno::EINTR | Errno::EPIPE)
}

impl Scratch {
    /// A pipe of our own, and /dev/null.
    pub fn new() -> io::Result<Scratch> {
        let (out, into) = files::pipe()?;
        Scratch::of(out, into)
    }

    /// A user with many pipes gets small ones (pipe(7), pipe-user-pages-soft). A write of more than the pipe holds
    /// would wait for ever, since we are its only reader.
    fn of(out: OwnedFd, into: OwnedFd) -> io::Result<Scratch> {
        let room = fcntl(&into, FcntlArg::F_GETPIPE_SZ).unwrap_or(LEAST_ROOM as i32);
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
            Kind::Fifo => self.write_to_fifo(fd, bytes),
            Kind::Other => Ok(nix::unistd::write(fd, bytes)?),
            Kind::Socket => socket::send_now(fd, bytes),
        }
    }

    /// Through a pipe of our own and splice(2): a plain write would block where the pipe is full.
    fn write_to_fifo(&mut self, fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 {
            return write_if_ready(fd, bytes);
        }
        // All of it or nothing: the pipe is empty, and holds so much.
        let Ok(put) = nix::unistd::write(&self.into, &bytes[..bytes.len().min(self.room)]) else {
            return write_if_ready(fd, bytes);
        };
        let mut moved = 0;
        let result = loop {
            let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
            match splice(&self.out, None, fd, None, put - moved, flags) {
                Ok(count) => moved += count,
                Err(Errno::EINTR) => {}
                Err(errno) => break Err(errno),
            }
            if moved == put {
                break Ok(());
            }
        };
        // What was not moved is read back, so that our pipe is empty for the next call.
        self.take_out(&mut vec![0; put - moved]);
        match result {
            Err(errno) if moved == 0 && is_refusal(errno) => write_if_ready(fd, bytes),
            Err(errno) if moved == 0 => Err(errno.into()),
            _ => Ok(moved),
        }
    }

    /// Reads all that our own pipe holds, `bytes.len()` bytes. `false`: the host refuses that, and the pipe is not used
    /// again, since what is left in it would go to another client.
    fn take_out(&mut self, bytes: &mut [u8]) -> bool {
        let mut taken = 0;
        let mut tries = TRIES;
        while taken < bytes.len() && tries > 0 {
            match nix::unistd::read(&self.out, &mut bytes[taken..]) {
                Ok(count) => taken += count,
                Err(_) => tries -= 1,
            }
        }
        let is_empty = taken == bytes.len();
        if !is_empty {
            self.room = 0;
        }
        is_empty
    }

    /// Reads what is there into `buffer`; 0 is the end, `EAGAIN` that more may come.
    pub fn read_now(&mut self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        match files::kind(fd) {
            Kind::Fifo if self.room == 0 => read_if_ready(fd, buffer),
            Kind::Fifo => {
                // Through our own pipe, which is empty again afterwards: a plain read of an empty pipe would wait.
                let most = buffer.len().min(self.room);
                let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
                match splice(fd, None, &self.into, None, most, flags) {
                    Ok(count) if self.take_out(&mut buffer[..count]) => Ok(count),
                    // It is lost.
                    Ok(_) => Err(Errno::EIO.into()),
                    Err(errno) if is_refusal(errno) => read_if_ready(fd, buffer),
                    Err(errno) => Err(errno.into()),
                }
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
                // The file system has no splice, or the host refuses it: copied below.
                Err(errno) if is_refusal(errno) => {}
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
                    // As where there is no /dev/null: see `files::null`.
                    Err(errno) if is_refusal(errno) => {
                        self.read_now(fd, &mut vec![0; most.min(BLOCK)])
                    }
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

/// Writes what a pipe that is ready has room for, and does not wait for one that is not: `EAGAIN`.
#[cold]
fn write_if_ready(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    if !poll::is_ready(fd, poll::Interest::Write) {
        return Err(Errno::EAGAIN.into());
    }
    write(fd, &bytes[..bytes.len().min(LEAST_ROOM)])
}

/// Reads what a pipe that is ready holds, and does not wait for one that is not: `EAGAIN`.
#[cold]
fn read_if_ready(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    if !poll::is_ready(fd, poll::Interest::Read) {
        return Err(Errno::EAGAIN.into());
    }
    read(fd, buffer)
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
    use std::io::{Read, Write};

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
    fn what_splice_is_refused_for_is_copied() {
        let mut scratch = Scratch::new().unwrap();
        scratch.room = 0;
        let (out, into) = files::pipe().unwrap();
        assert_eq!(scratch.write_now(into.as_fd(), &[1; 9000]).unwrap(), 4096);
        let mut sent = 4096;
        let full = loop {
            match scratch.write_now(into.as_fd(), &[2; 9000]) {
                Ok(count) => sent += count,
                Err(error) => break error,
            }
        };
        assert!(socket::is(&full, Errno::EAGAIN));
        let mut block = [0; 65_536];
        let mut read = 0;
        let empty = loop {
            match scratch.read_now(out.as_fd(), &mut block) {
                Ok(count) => read += count,
                Err(error) => break error,
            }
        };
        assert!(read == sent && socket::is(&empty, Errno::EAGAIN));
        drop(out);
        let gone = scratch.write_now(into.as_fd(), b"x").unwrap_err();
        assert!(socket::is(&gone, Errno::EPIPE), "{gone}");
    }

    #[test]
    fn a_pipe_that_cannot_be_emptied_is_not_used_again() {
        let mut scratch = Scratch::new().unwrap();
        scratch.into.write_all(b"another's").unwrap();
        let mut bytes = [0; 9];
        assert!(scratch.take_out(&mut bytes) && &bytes == b"another's");
        // Its reading end is refused.
        let (out, into) = files::pipe().unwrap();
        let old = std::mem::replace(&mut scratch.out, File::from(into));
        assert!(!scratch.take_out(&mut bytes));
        let (_end, to) = files::pipe().unwrap();
        assert_eq!(scratch.write_now(to.as_fd(), b"mine").unwrap(), 4);
        drop((old, out));
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

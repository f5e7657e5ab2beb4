//! Moving bytes from one descriptor to another without copying them, by splice(2). One of the two is a pipe. Nothing is
//! waited for, whatever flags the descriptors have: those of a passed one belong to others too. Not what the bytes mean.
//!
//! # Theory of operation
//! A page that a program has written into its pipe goes to the web server's pipe or Unix socket as it is, and the other
//! way round: what user space would do is read it and write it again. SPLICE_F_NONBLOCK holds for pipes, and not for
//! sockets (splice(2)). So a socket is read only if something has come, and written to only if its send buffer has room
//! for all that is moved at once.

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SpliceFFlags, fcntl, splice};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};

use super::files::{self, Kind};
use super::poll::{self, Interest};
use super::{socket, splice as copying};

/// The most that goes into a socket at once, in bytes ...
const TO_SOCKET: usize = 65_536;
/// ... and the room in its send buffer that this needs: the kernel counts its own structures too.
const ROOM: usize = 98_304;
/// With such a buffer, a socket that has no room by that count can't be written to by poll(2) either, which on Linux wants
/// three quarters of a Unix socket's buffer to be free.
const LEAST_BUFFER: usize = ROOM / 3 * 4;
/// The most that is copied where the host refuses to splice: PIPE_BUF, for which a pipe that is ready has room.
const BY_HAND: usize = 4096;
/// A body that has come so far, in bytes, gets more room between its two ends: they then wake each other less often.
const LARGE: u64 = 1 << 20;
/// The size of its pipes, in bytes. New pipes of a user are small once all of that user's hold 64 MiB (pipe(7)).
const LARGE_PIPE: i32 = 262_144;
/// What is asked for as the send buffer of its socket, in bytes; the kernel doubles it (socket(7)).
const LARGE_BUFFER: usize = 212_992;

/// How bytes get from one descriptor to another.
#[derive(Debug)]
pub struct Passage {
    ends: Ends,
    /// Bytes that have passed.
    passed: u64,
}

/// What the two descriptors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Pipes,
    SocketToPipe,
    /// To a Unix socket, whose send buffer has so many bytes.
    PipeToSocket(usize),
}

impl Ends {
    /// `None`: they can't be spliced.
    fn of(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Option<Ends> {
        match (files::kind(from), files::kind(to)) {
            (Kind::Fifo, Kind::Fifo) => Some(Ends::Pipes),
            (Kind::Socket, Kind::Fifo) => Some(Ends::SocketToPipe),
            (Kind::Fifo, Kind::Socket) if socket::peer(to).is_some() => {
                let buffer = getsockopt(&to, sockopt::SndBuf).unwrap_or(0);
                (buffer >= LEAST_BUFFER).then_some(Ends::PipeToSocket(buffer))
            }
            _ => None,
        }
    }
}

impl Passage {
    /// `None`: the bytes have to be copied.
    pub fn between(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Option<Passage> {
        let ends = Ends::of(from, to)?;
        Some(Passage { ends, passed: 0 })
    }

    /// It leads to a socket.
    pub fn is_to_socket(&self) -> bool {
        matches!(self.ends, Ends::PipeToSocket(_))
    }

    /// Moves at most `most` bytes; 0 is the end of `from`, `EAGAIN` that it holds nothing now, or that `to` has no room,
    /// `EPIPE` that `to` has no reader.
    pub fn pass(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        most: usize,
    ) -> io::Result<usize> {
        let most = match self.ends {
            Ends::Pipes => most,
            Ends::SocketToPipe if poll::is_ready(from, Interest::Read) => most,
            Ends::PipeToSocket(buffer) if has_room(to, buffer) => most.min(TO_SOCKET),
            Ends::SocketToPipe | Ends::PipeToSocket(_) => return Err(Errno::EAGAIN.into()),
        };
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
        let passed = loop {
            match splice(from, None, to, None, most, flags) {
                Err(Errno::EINTR) => {}
                Err(errno) if is_refusal(errno) => break pass_by_hand(from, to, most),
                other => break other.map_err(io::Error::from),
            }
        };
        match passed {
            Ok(count) => {
                let before = self.passed;
                self.passed += count as u64;
                if before < LARGE && self.passed >= LARGE {
                    self.widen(from, to);
                }
                Ok(count)
            }
            // The web server has left without reading all of it: it can't be the pipe that was reset.
            Err(error) if self.is_to_socket() && socket::is(&error, Errno::ECONNRESET) => {
                Err(Errno::EPIPE.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Makes pipes and send buffer larger, if they are not. A host that refuses that leaves them as they are.
    fn widen(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
        match self.ends {
            Ends::Pipes => [from, to].into_iter().for_each(enlarge),
            Ends::SocketToPipe => enlarge(to),
            Ends::PipeToSocket(buffer) => {
                enlarge(from);
                if buffer < 2 * LARGE_BUFFER {
                    let _ = setsockopt(&to, sockopt::SndBuf, &LARGE_BUFFER);
                }
            }
        }
        if let Some(ends) = Ends::of(from, to) {
            self.ends = ends;
        }
    }
}

/// The pipe holds [`LARGE_PIPE`] bytes at least, if the host lets it.
fn enlarge(pipe: BorrowedFd<'_>) {
    let has = fcntl(pipe, FcntlArg::F_GETPIPE_SZ).unwrap_or(LARGE_PIPE);
    if has < LARGE_PIPE {
        let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(LARGE_PIPE));
    }
}

/// A send buffer of so many bytes has room for [`TO_SOCKET`] more.
fn has_room(socket: BorrowedFd<'_>, buffer: usize) -> bool {
    let unread = socket::unread_by_peer(socket).unwrap_or(usize::MAX);
    unread.saturating_add(ROOM) <= buffer
}

/// The host refuses the call, for this kind of file or at all: the bytes are copied instead.
fn is_refusal(errno: Errno) -> bool {
    use Errno::{EAGAIN, ECONNRESET, EPIPE};
    ![EAGAIN, ECONNRESET, EPIPE].contains(&errno)
}

/// The same by copying. Nothing is read that `to` has no room for.
#[cold]
fn pass_by_hand(from: BorrowedFd<'_>, to: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
    let is_ready = poll::is_ready(from, Interest::Read) && poll::is_ready(to, Interest::Write);
    if !is_ready {
        return Err(Errno::EAGAIN.into());
    }
    let mut block = [0; BY_HAND];
    let count = copying::read(from, &mut block[..most.min(BY_HAND)])?;
    copying::write_all(to, &block[..count])?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Far longer than any of this takes.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|n| (n / 7) as u8).collect()
    }

    #[test]
    fn which_pairs_are_spliced() {
        let (out, into) = files::pipe().unwrap();
        let (socket, _other) = UnixStream::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        let between = |from: &dyn AsFd, to: &dyn AsFd| Ends::of(from.as_fd(), to.as_fd());
        assert_eq!(between(&out, &into), Some(Ends::Pipes));
        assert_eq!(between(&socket, &into), Some(Ends::SocketToPipe));
        let to_socket = between(&out, &socket);
        assert!(matches!(to_socket, Some(Ends::PipeToSocket(buffer)) if buffer >= LEAST_BUFFER));
        assert_eq!(between(&socket, &socket), None);
        assert_eq!(between(&file, &into), None);
        setsockopt(&socket, sockopt::SndBuf, &4096).unwrap();
        assert_eq!(between(&out, &socket), None);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(between(&out, &tcp), None);
    }

    #[test]
    fn a_socket_that_waits_is_never_waited_for() {
        // Were it, this thread would stay for ever.
        let (done, is_done) = mpsc::channel();
        std::thread::spawn(move || {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let (out, into) = files::pipe().unwrap();
            socket::set_nonblocking(out.as_fd()).unwrap();
            let mut passage = Passage::between(out.as_fd(), ours.as_fd()).unwrap();
            let all = pattern(1_000_000);
            let (mut written, mut passed, mut full) = (0, 0, 0);
            let mut read = Vec::new();
            let mut into = File::from(into);
            while passed < all.len() {
                let holds = files::waiting(out.as_fd()).unwrap_or(0);
                if holds == 0 && written < all.len() {
                    let count = (all.len() - written).min(65_536);
                    into.write_all(&all[written..written + count]).unwrap();
                    written += count;
                }
                match passage.pass(out.as_fd(), ours.as_fd(), 1 << 20) {
                    Ok(count) => passed += count,
                    Err(error) => {
                        assert!(socket::is(&error, Errno::EAGAIN), "{error}");
                        // By poll(2) too, so that it is waited for.
                        assert!(!poll::is_ready(ours.as_fd(), Interest::Write));
                        full += 1;
                        let mut block = vec![0; 50_000];
                        let count = theirs.read(&mut block).unwrap();
                        read.extend_from_slice(&block[..count]);
                    }
                }
            }
            drop(ours);
            theirs.read_to_end(&mut read).unwrap();
            done.send((full, read == all)).unwrap();
        });
        let (full, is_same) = is_done.recv_timeout(PATIENCE).unwrap();
        assert!(full > 0 && is_same);
    }

    #[test]
    fn a_socket_is_read_as_far_as_the_pipe_has_room() {
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        let (out, into) = files::pipe().unwrap();
        let mut out = File::from(out);
        let mut passage = Passage::between(ours.as_fd(), into.as_fd()).unwrap();
        let nothing = passage.pass(ours.as_fd(), into.as_fd(), 99).unwrap_err();
        assert!(socket::is(&nothing, Errno::EAGAIN));
        let all = pattern(50_000);
        // Each write takes a place in the pipe of its own, of which there are 16.
        for some in all.chunks(2500) {
            theirs.write_all(some).unwrap();
        }
        drop(theirs);
        let (mut passed, mut full) = (0, 0);
        let mut read = Vec::new();
        loop {
            match passage.pass(ours.as_fd(), into.as_fd(), 1 << 20) {
                Ok(0) => break,
                Ok(count) => passed += count,
                Err(error) => {
                    assert!(socket::is(&error, Errno::EAGAIN), "{error}");
                    full += 1;
                    let mut block = vec![0; 9000];
                    let count = out.read(&mut block).unwrap();
                    read.extend_from_slice(&block[..count]);
                }
            }
        }
        drop(into);
        out.read_to_end(&mut read).unwrap();
        assert!(full > 0 && passed == all.len() && read == all);
    }

    #[test]
    fn a_reader_that_is_gone_is_epipe() {
        for has_unread in [false, true] {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (out, into) = files::pipe().unwrap();
            File::from(into).write_all(b"whole").unwrap();
            let mut passage = Passage::between(out.as_fd(), ours.as_fd()).unwrap();
            if has_unread {
                assert_eq!(passage.pass(out.as_fd(), ours.as_fd(), 2).unwrap(), 2);
            }
            drop(theirs);
            let gone = passage.pass(out.as_fd(), ours.as_fd(), 9).unwrap_err();
            assert!(socket::is(&gone, Errno::EPIPE), "{gone}");
        }
        let (out, into) = files::pipe().unwrap();
        drop(out);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"x").unwrap();
        let mut passage = Passage::between(ours.as_fd(), into.as_fd()).unwrap();
        let gone = passage.pass(ours.as_fd(), into.as_fd(), 9).unwrap_err();
        assert!(socket::is(&gone, Errno::EPIPE));
    }

    #[test]
    fn what_splice_is_refused_for_is_copied() {
        let (out, into) = files::pipe().unwrap();
        let (end, to) = files::pipe().unwrap();
        let mut into = File::from(into);
        into.write_all(&pattern(9000)).unwrap();
        let mut passed = 0;
        while passed < 9000 {
            passed += pass_by_hand(out.as_fd(), to.as_fd(), 9000 - passed).unwrap();
        }
        let nothing = pass_by_hand(out.as_fd(), to.as_fd(), 9).unwrap_err();
        assert!(socket::is(&nothing, Errno::EAGAIN));
        drop(into);
        assert_eq!(pass_by_hand(out.as_fd(), to.as_fd(), 9).unwrap(), 0);
        let mut read = Vec::new();
        drop(to);
        File::from(end).read_to_end(&mut read).unwrap();
        assert!(read == pattern(9000));
    }

    #[test]
    fn a_large_body_gets_more_room() {
        let (socket, other) = UnixStream::pair().unwrap();
        let (out, into) = files::pipe().unwrap();
        let mut into = File::from(into);
        let mut passage = Passage::between(out.as_fd(), socket.as_fd()).unwrap();
        let Ends::PipeToSocket(small) = passage.ends else {
            panic!("{passage:?}");
        };
        let block = [1; 65_536];
        while passage.passed < LARGE {
            let pipe = fcntl(&out, FcntlArg::F_GETPIPE_SZ).unwrap();
            assert!(pipe < LARGE_PIPE && passage.ends == Ends::PipeToSocket(small));
            into.write_all(&block).unwrap();
            passage.pass(out.as_fd(), socket.as_fd(), 1 << 20).unwrap();
            (&other).read_exact(&mut [0; 65_536]).unwrap();
        }
        assert_eq!(fcntl(&out, FcntlArg::F_GETPIPE_SZ).unwrap(), LARGE_PIPE);
        let buffer = getsockopt(&socket, sockopt::SndBuf).unwrap();
        assert!(buffer > small && passage.ends == Ends::PipeToSocket(buffer));
    }
}

//! Message-bodies that are read before a worker gets the request, so that a slow upload costs no worker. Knows bytes
//! and where they are kept, not what they mean.
//!
//! # Theory of operation
//! A body that is all there goes to the worker as it lies in its pipe or socket. One that is not is announced to the
//! pool and read here: the first 64 kB stay in memory, what is more goes into a file without a name in `spool-dir`. Room
//! is reserved before the bytes are read: what was read could not be put back. The request arrives when
//! - all of the body is there, or
//! - it comes so fast (1 MiB within 100 ms) that a worker would lose less time than we would copying, or
//! - there is no more room: then the worker reads the rest, and the client has to wait for it.
//!
//! In each case the worker gets what was read as a third descriptor, and the rest is where it was.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use super::Daemon;
use super::client::{Phase, TURN};
use super::watch::End;
use crate::page::Failure;
use crate::policy::pool::Event;
use crate::policy::queue::Ticket;
use crate::sys::files::{self, Kind};
use crate::sys::poll::Interest;
use crate::sys::splice::Scratch;
use crate::sys::{Errno, clock, is};

/// Bytes that are kept in memory.
const IN_MEMORY: usize = 65_536;
/// A body is fast if so many bytes of it ...
const FAST_BYTES: u64 = 1 << 20;
/// ... come within this time of the first.
const FAST_TIME: Duration = Duration::from_millis(100);
/// Room is reserved in pieces of so many bytes.
const PIECE: u64 = 1 << 20;

/// A message-body as it comes in.
#[derive(Debug)]
pub(super) struct Body {
    length: u64,
    len: u64,
    store: Ahead,
    first_at: Option<Duration>,
}

/// The beginning of a message-body, as far as it was read for the worker.
#[derive(Debug, Default)]
pub(super) enum Ahead {
    #[default]
    Nothing,
    Memory(Vec<u8>),
    Spool {
        file: File,
        len: u64,
        reserved: u64,
    },
}

/// What came of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// All of it, or as much as is to be read here.
    Enough,
    /// The end, too early.
    Short,
    /// More is to come; whether some came.
    Waits { moved: bool },
}

/// Where there is room for bodies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room<'a> {
    pub(super) directory: &'a Path,
    /// Bytes that `spool-limit` leaves.
    pub(super) left: u64,
}

impl Ahead {
    /// Bytes of the body that it holds.
    pub(super) fn len(&self) -> u64 {
        match self {
            Ahead::Nothing => 0,
            Ahead::Memory(bytes) => bytes.len() as u64,
            Ahead::Spool { len, .. } => *len,
        }
    }

    /// The worker has it: what is in memory is needed no more. How many bytes are forgotten with it.
    pub(super) fn give_up_memory(&mut self) -> u64 {
        match self {
            Ahead::Memory(bytes) => {
                let len = bytes.len() as u64;
                *self = Ahead::Nothing;
                len
            }
            Ahead::Nothing | Ahead::Spool { .. } => 0,
        }
    }

    /// Bytes of the spool that it takes.
    pub(super) fn spooled(&self) -> u64 {
        match self {
            Ahead::Spool { reserved, .. } => *reserved,
            Ahead::Nothing | Ahead::Memory(_) => 0,
        }
    }

    /// A file that holds it, for a worker.
    pub(super) fn to_file(&self) -> io::Result<Option<File>> {
        match self {
            Ahead::Nothing => Ok(None),
            Ahead::Memory(bytes) => {
                let file = files::in_memory(c"polycgi-body", false)?;
                file.write_all_at(bytes, 0)?;
                Ok(Some(file))
            }
            Ahead::Spool { file, .. } => file.try_clone().map(Some),
        }
    }

    /// Makes room for `more` bytes of a body of `length`; `false`: there is none.
    fn has_room(&mut self, more: u64, length: u64, room: Room<'_>) -> bool {
        let (len, reserved) = (self.len(), self.spooled());
        if matches!(self, Ahead::Nothing | Ahead::Memory(_)) && len + more <= IN_MEMORY as u64 {
            return true;
        }
        if len + more <= reserved {
            return true;
        }
        let least = len + more - reserved;
        let piece = PIECE.min(length - reserved).min(room.left).max(least);
        if piece > room.left {
            return false;
        }
        match self {
            Ahead::Spool { file, reserved, .. } => {
                let done = files::reserve_beyond(file, *reserved, piece).is_ok();
                *reserved += if done { piece } else { 0 };
                done
            }
            Ahead::Nothing | Ahead::Memory(_) => {
                // What can't be done here is told to nobody: the worker takes the body as it comes.
                let spool = files::unnamed(room.directory).and_then(|file| {
                    files::reserve_beyond(&file, 0, piece)?;
                    if let Ahead::Memory(bytes) = &*self {
                        file.write_all_at(bytes, 0)?;
                    }
                    Ok(file)
                });
                let Ok(file) = spool else { return false };
                *self = Ahead::Spool {
                    file,
                    len,
                    reserved: piece,
                };
                true
            }
        }
    }

    fn push(&mut self, block: &[u8]) -> io::Result<()> {
        match self {
            Ahead::Nothing => *self = Ahead::Memory(block.to_vec()),
            Ahead::Memory(bytes) => bytes.extend_from_slice(block),
            Ahead::Spool { file, len, .. } => {
                file.write_all_at(block, *len)?;
                *len += block.len() as u64;
            }
        }
        Ok(())
    }
}

impl Body {
    pub(super) fn new(length: u64) -> Body {
        Body {
            length,
            len: 0,
            store: Ahead::Nothing,
            first_at: None,
        }
    }

    /// Bytes that have come.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn spooled(&self) -> u64 {
        self.store.spooled()
    }

    pub(super) fn into_ahead(self) -> Ahead {
        self.store
    }

    /// Reads what is there, within limits.
    pub(super) fn read(
        &mut self,
        input: BorrowedFd<'_>,
        scratch: &mut Scratch,
        room: Room<'_>,
        now: Duration,
    ) -> io::Result<Came> {
        let mut block = vec![0; IN_MEMORY];
        let before = self.len;
        let reserved = self.spooled();
        for _ in 0..TURN {
            let missing = self.length - self.len;
            // In memory as long as it is full to the last byte; then whole blocks.
            let rest = IN_MEMORY as u64 - self.len.min(IN_MEMORY as u64);
            let most = missing.min(if rest > 0 { rest } else { IN_MEMORY as u64 });
            let room = Room {
                left: room.left.saturating_sub(self.spooled() - reserved),
                ..room
            };
            if most == 0 || !self.store.has_room(most, self.length, room) {
                return Ok(Came::Enough);
            }
            let most = usize::try_from(most).unwrap_or(IN_MEMORY);
            let count = match scratch.read_now(input, &mut block[..most]) {
                Ok(0) => return Ok(Came::Short),
                Ok(count) => count,
                Err(error) if is(&error, Errno::EAGAIN) => break,
                Err(error) => return Err(error),
            };
            self.store.push(&block[..count])?;
            self.len += count as u64;
            let first_at = *self.first_at.get_or_insert(now);
            let is_fast = self.len >= FAST_BYTES && now.saturating_sub(first_at) <= FAST_TIME;
            if self.len == self.length || is_fast {
                return Ok(Came::Enough);
            }
        }
        Ok(Came::Waits {
            moved: self.len > before,
        })
    }
}

impl Daemon {
    /// Whether a worker could read all of the body now. Behind a file nobody waits.
    pub(super) fn has_whole_body(input: BorrowedFd<'_>, length: u64) -> bool {
        length == 0
            || files::kind(input) == Kind::Other
            || files::waiting(input).is_ok_and(|there| there >= length)
    }

    /// A request whose body is not all there begins to be read.
    pub(super) fn announce(&mut self, ticket: Ticket) {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        let length = client.request.as_ref().map_or(0, |request| request.length);
        client.phase = Phase::Receiving {
            body: Body::new(length),
        };
        client.watch(&self.poll, ticket, End::Input, Interest::Read);
        let due = clock::now() + self.config.timeouts.request;
        self.limited.insert(ticket, due);
        self.events.push_back(Event::Announced(ticket));
        // If nothing is there yet, its front is told at the end of this turn that we have it.
        self.arrived.push(ticket);
    }

    /// The body of an announced request has come further.
    pub(super) fn receive(&mut self, ticket: Ticket) {
        let now = clock::now();
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        // What is read can't be put back, so from here on it is ours.
        if !client.say_taken() {
            ::log::debug!("taken back: ticket={ticket}");
            self.hang_up(ticket);
            return;
        }
        let before = client.spooled();
        let mut phase = std::mem::replace(&mut client.phase, Phase::Waiting);
        let Phase::Receiving { body } = &mut phase else {
            client.phase = phase;
            return;
        };
        let room = Room {
            directory: &self.config.spool.dir,
            left: self.config.spool.limit.saturating_sub(self.spooled),
        };
        let came = match client.input() {
            Some(input) => body.read(input, &mut self.scratch, room, now),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        client.phase = phase;
        self.account(ticket, before);
        match came {
            Ok(Came::Enough) => self.arrive_with_body(ticket),
            Ok(Came::Short) => self.refuse_body(ticket, "the message-body ended early"),
            Ok(Came::Waits { moved }) => {
                if moved {
                    let due = now + self.config.timeouts.request;
                    self.limited.insert(ticket, due);
                }
            }
            Err(error) => self.refuse_body(ticket, &format!("cannot read the body: {error}")),
        }
    }

    fn arrive_with_body(&mut self, ticket: Ticket) {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        let phase = std::mem::replace(&mut client.phase, Phase::Waiting);
        if let (Phase::Receiving { body }, Some(request)) = (phase, &mut client.request) {
            request.ahead = body.into_ahead();
        }
        client.watch(&self.poll, ticket, End::Input, None);
        self.limited.remove(&ticket);
        self.arrive(ticket);
    }

    fn refuse_body(&mut self, ticket: Ticket, sentence: &str) {
        ::log::info!("refused: ticket={ticket} {sentence}");
        self.tell_web_server(ticket, sentence);
        self.answer(ticket, Failure::BadRequest, "");
    }

    /// Keeps the books of the spool, after something that this client did. `before`: what it held.
    pub(super) fn account(&mut self, ticket: Ticket, before: (u64, usize)) {
        let client = self.clients.get(&ticket);
        let after = client.map_or((0, 0), |client| client.spooled());
        self.spool_files = (self.spool_files + after.1).saturating_sub(before.1);
        if after.0 != before.0 {
            self.spooled = (self.spooled + after.0).saturating_sub(before.0);
            let limit = self.config.spool.limit;
            self.workers.board().tell_spool(self.spooled, limit);
        }
    }
}

/// What a worker is sent with a request.
pub(super) fn descriptors<'a>(
    input: BorrowedFd<'a>,
    output: BorrowedFd<'a>,
    ahead: Option<&'a File>,
) -> smallvec::SmallVec<[BorrowedFd<'a>; 3]> {
    let mut fds = smallvec::smallvec![input, output];
    fds.extend(ahead.map(AsFd::as_fd));
    fds
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    const LATE: Duration = Duration::from_secs(9);

    struct Upload {
        scratch: Scratch,
        directory: tempfile::TempDir,
        out: std::os::fd::OwnedFd,
        into: File,
    }

    impl Upload {
        fn new() -> Upload {
            let (out, into) = files::pipe().unwrap();
            Upload {
                scratch: Scratch::new().unwrap(),
                directory: tempfile::tempdir().unwrap(),
                out,
                into: File::from(into),
            }
        }

        fn read(&mut self, body: &mut Body, left: u64, now: Duration) -> io::Result<Came> {
            let directory = self.directory.path();
            let room = Room { directory, left };
            body.read(self.out.as_fd(), &mut self.scratch, room, now)
        }
    }

    fn content(body: Body) -> Vec<u8> {
        let Some(file) = body.into_ahead().to_file().unwrap() else {
            return Vec::new();
        };
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn a_small_body_stays_in_memory() {
        let mut upload = Upload::new();
        let mut body = Body::new(10);
        let waits = |moved| Came::Waits { moved };
        assert_eq!(upload.read(&mut body, 0, LATE).unwrap(), waits(false));
        upload.into.write_all(b"12345").unwrap();
        assert_eq!(upload.read(&mut body, 0, LATE).unwrap(), waits(true));
        upload.into.write_all(b"67890 and more").unwrap();
        assert_eq!(upload.read(&mut body, 0, LATE).unwrap(), Came::Enough);
        assert_eq!((body.len(), body.spooled()), (10, 0));
        assert_eq!(content(body), b"1234567890");
        assert_eq!(files::waiting(upload.out.as_fd()).unwrap(), 9);
    }

    #[test]
    fn a_large_slow_one_goes_to_the_spool() {
        let mut upload = Upload::new();
        let all: Vec<u8> = (0..3_000_000u32).map(|n| (n / 5) as u8).collect();
        let mut body = Body::new(all.len() as u64);
        for (nth, block) in all.chunks(50_000).enumerate() {
            upload.into.write_all(block).unwrap();
            let now = LATE * nth as u32;
            let came = upload.read(&mut body, 1 << 30, now).unwrap();
            let is_last = (nth + 1) * 50_000 == all.len();
            assert_eq!(came == Came::Enough, is_last, "{nth} {came:?}");
        }
        assert!(body.spooled() >= all.len() as u64);
        assert!(content(body) == all);
        assert_eq!(
            std::fs::read_dir(upload.directory.path()).unwrap().count(),
            0
        );
    }

    #[test]
    fn a_fast_one_is_left_to_the_worker() {
        let mut upload = Upload::new();
        let mut body = Body::new(1 << 30);
        let block = [7; 65_536];
        for nth in 1..=16 {
            upload.into.write_all(&block).unwrap();
            let came = upload.read(&mut body, 1 << 30, LATE).unwrap();
            assert_eq!(came == Came::Enough, nth == 16, "{nth}");
        }
        assert_eq!(content(body).len(), 1 << 20);
    }

    #[test]
    fn no_room_is_no_error_and_loses_nothing() {
        for left in [0, 65_536, 100_000] {
            let mut upload = Upload::new();
            let mut body = Body::new(1 << 30);
            let mut sent = 0;
            while upload.read(&mut body, left, LATE * sent as u32).unwrap() != Came::Enough {
                upload.into.write_all(&[1; 60_000]).unwrap();
                sent += 60_000;
            }
            let there = files::waiting(upload.out.as_fd()).unwrap();
            assert!(body.spooled() <= left);
            assert_eq!(body.len() + there, sent as u64);
            assert_eq!(content(body).len() as u64 + there, sent as u64);
        }
        let mut upload = Upload::new();
        std::fs::remove_dir(upload.directory.path()).unwrap();
        let mut body = Body::new(100_000);
        upload.into.write_all(&[1; 65_536]).unwrap();
        assert_eq!(upload.read(&mut body, 1 << 30, LATE).unwrap(), Came::Enough);
        assert_eq!(content(body).len(), 65_536);
    }

    #[test]
    fn an_end_that_comes_early_is_told_from_a_pause() {
        let (near, far) = UnixStream::pair().unwrap();
        let mut scratch = Scratch::new().unwrap();
        let room = Room {
            directory: Path::new("/nonexistent"),
            left: 0,
        };
        let mut body = Body::new(9);
        (&far).write_all(b"half").unwrap();
        let mut read = |body: &mut Body| body.read(near.as_fd(), &mut scratch, room, LATE).unwrap();
        assert_eq!(read(&mut body), Came::Waits { moved: true });
        drop(far);
        assert_eq!(read(&mut body), Came::Short);
        assert_eq!((&near).read(&mut [0]).unwrap(), 0);
    }
}

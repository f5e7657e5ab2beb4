//! Message-bodies that are read before a worker gets the request, so that a slow upload costs no worker. Knows bytes
//! and where they are kept, not what they mean.
//!
//! # Theory of operation
//! A body that is all there goes to the worker as it lies in its pipe or socket. Any other is announced to the
//! pool and read here: the first 64 kB stay in memory, what is more goes into a file without a name in `spool-dir`. Room
//! is reserved before the bytes are read: what was read could not be put back. The request arrives when
//! - all of the body is there, or
//! - it comes so fast (1 MiB within 100 ms) that a worker would lose less time than we would copying, or
//! - there is no more room: then the worker reads the rest, and the client has to wait for it.
//!
//! In each case the worker gets what was read as a third descriptor, and the rest is where it was. What a plain client
//! sent in one piece with its header was read with it.
//!
//! nginx, as an SCGI client, sends nothing more of a body once it has the head of the response (measured, 1.22). An app
//! that writes its head first, as git-http-backend does, would wait for ever: such a body is not fast, however it comes.
//!
//! A body without a length (it came in chunks) is read to its end in any case, however fast it comes: the application
//! is told the length. If it is too large, or finds no more room, it is refused. A client that goes away in the middle
//! of a chunk also ends the body; but then its output has no reader either, and by that it is told from a whole body
//! (measured: Apache's mod_cgi closes the output before the input, mod_cgid both at once).

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::daemon::turn::TURN;
use crate::spool::{Ahead, IN_MEMORY, NoRoom, Room, SpoolLimits};
use crate::sys::splice::Scratch;
use crate::sys::{Errno, is};

/// A body is fast if so many bytes of it ...
const FAST_BYTES: u64 = 1 << 20;
/// ... come within this time of the first.
const FAST_TIME: Duration = Duration::from_millis(100);

/// A message-body as it comes in.
#[derive(Debug)]
pub(super) struct Body {
    reaches: Reaches,
    len: u64,
    store: Ahead,
    first_at: Option<Duration>,
}

/// Where it ends.
#[derive(Clone, Copy, Debug)]
enum Reaches {
    /// As `Bytes`, and all of it is read here while there is room.
    All(u64),
    Bytes(u64),
    ToEnd(SpoolLimits),
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

/// Why no more is read: the request gets a page.
#[derive(Debug)]
pub(super) enum Unread {
    Io(io::Error),
    NoRoom(NoRoom),
}

/// Where a body is read from, block by block.
struct Blocks<'a> {
    input: BorrowedFd<'a>,
    scratch: &'a mut Scratch,
    /// [`IN_MEMORY`] bytes.
    block: Vec<u8>,
}

impl Blocks<'_> {
    /// The next block, of at most this many bytes; empty at the end.
    fn read(&mut self, most: usize) -> io::Result<&[u8]> {
        let count = self.scratch.read_now(self.input, &mut self.block[..most])?;
        Ok(&self.block[..count])
    }
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Unread {
        Unread::Io(error)
    }
}

impl Body {
    /// `store`: what was read of it before.
    pub(super) fn new(length: u64, store: Ahead) -> Body {
        Body::of(Reaches::Bytes(length), store)
    }

    /// The same of a client that sends no more of it once the app has begun to answer.
    pub(super) fn all(length: u64, store: Ahead) -> Body {
        Body::of(Reaches::All(length), store)
    }

    /// A body of a length that only its end tells.
    pub(super) fn to_end(limits: SpoolLimits, store: Ahead) -> Body {
        Body::of(Reaches::ToEnd(limits), store)
    }

    fn of(reaches: Reaches, store: Ahead) -> Body {
        Body {
            reaches,
            len: store.len(),
            store,
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

    /// Bytes of it that are in memory.
    pub(super) fn kept(&self) -> usize {
        match &self.store {
            Ahead::Memory(bytes) => bytes.len(),
            Ahead::Nothing | Ahead::Spool { .. } => 0,
        }
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
    ) -> Result<Came, Unread> {
        let mut blocks = Blocks {
            input,
            scratch,
            block: vec![0; IN_MEMORY],
        };
        let before = self.len;
        let reserved = self.spooled();
        for _ in 0..TURN {
            let room = Room {
                left: room.left.saturating_sub(self.spooled() - reserved),
                ..room
            };
            let step = match self.reaches {
                Reaches::All(length) => self.read_block(length, &mut blocks, room),
                Reaches::Bytes(length) => self
                    .read_block(length, &mut blocks, room)
                    .map(|came| came.or_else(|| self.judge_speed(now))),
                Reaches::ToEnd(limits) => self.take_block(limits, &mut blocks, room),
            };
            match step {
                Ok(None) => {}
                Ok(Some(came)) => return Ok(came),
                Err(Unread::Io(error)) if is(&error, Errno::EAGAIN) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(Came::Waits {
            moved: self.len > before,
        })
    }

    /// A block of a body whose length is known. `None`: there may be another.
    fn read_block(
        &mut self,
        length: u64,
        blocks: &mut Blocks<'_>,
        room: Room<'_>,
    ) -> Result<Option<Came>, Unread> {
        let missing = length - self.len;
        // First the memory is filled to the last byte; then whole blocks follow.
        let rest = IN_MEMORY as u64 - self.len.min(IN_MEMORY as u64);
        let most = missing.min(if rest > 0 { rest } else { IN_MEMORY as u64 });
        // Without room the worker takes the body as it comes, which is worth no line.
        if most == 0 || self.store.make_room(most, length, room).is_err() {
            return Ok(Some(Came::Enough));
        }
        let most = usize::try_from(most).unwrap_or(IN_MEMORY);
        let block = blocks.read(most)?;
        if block.is_empty() {
            return Ok(Some(Came::Short));
        }
        self.store.push(block)?;
        self.len += block.len() as u64;
        Ok((self.len == length).then_some(Came::Enough))
    }

    /// Behind a block: `Enough` if the body comes fast. The first block begins the time.
    fn judge_speed(&mut self, now: Duration) -> Option<Came> {
        let first_at = *self.first_at.get_or_insert(now);
        let is_fast = self.len >= FAST_BYTES && now.saturating_sub(first_at) <= FAST_TIME;
        is_fast.then_some(Came::Enough)
    }

    /// A block of a body that goes to its end, and `Enough` there.
    fn take_block(
        &mut self,
        limits: SpoolLimits,
        blocks: &mut Blocks<'_>,
        room: Room<'_>,
    ) -> Result<Option<Came>, Unread> {
        let block = blocks.read(IN_MEMORY)?;
        if block.is_empty() {
            // What came with the header was not checked yet, if nothing came behind it.
            limits.check(self.len).map_err(Unread::NoRoom)?;
            self.store.end();
            return Ok(Some(Came::Enough));
        }
        let kept = self.store.take(block, limits, room);
        // It was read, whether or not it was kept.
        self.len += block.len() as u64;
        kept.map(|()| None).map_err(Unread::NoRoom)
    }
}

#[cfg(test)]
mod tests;

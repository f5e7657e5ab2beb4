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
//! In each case the worker gets what was read as a third descriptor, and the rest is where it was. What a plain client
//! sent in one piece with its header was read with it.
//!
//! A body without a length (it came in chunks) is read to its end in any case, however fast it comes: the application
//! is told the length. One that is too large, or finds no more room, is refused. Who closes everything in the middle of
//! a chunk also ends the body; but then nobody reads the response either, and that is how it is told from a whole one
//! (measured: Apache's mod_cgi closes the output before the input, mod_cgid both at once).

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use log::Level;
use smallvec::SmallVec;

use super::client::Phase;
use super::doubt;
use super::taken::Taken;
use crate::cgi::meta::Peer;
use crate::daemon::Daemon;
use crate::daemon::turn::TURN;
use crate::daemon::watch::End;
use crate::page::Failure;
use crate::policy::pool::Event;
use crate::policy::queue::Ticket;
use crate::policy::shares::Stage;
pub(crate) use crate::spool::Ahead;
use crate::spool::{self, IN_MEMORY, NoRoom, Room};
use crate::sys::files::{self, Kind};
use crate::sys::poll::{self, Interest};
use crate::sys::splice::Scratch;
use crate::sys::{Errno, clock, is};

/// A body is fast if so many bytes of it ...
const FAST_BYTES: u64 = 1 << 20;
/// ... come within this time of the first.
const FAST_TIME: Duration = Duration::from_millis(100);

/// What a stranger has to send of a body within each `request-timeout`, in bytes.
const PACE: u64 = 4096;

/// A message-body as it comes in.
#[derive(Debug)]
pub(crate) struct Body {
    extent: Extent,
    len: u64,
    store: Ahead,
    first_at: Option<Duration>,
}

/// How far it goes.
#[derive(Clone, Copy, Debug)]
enum Extent {
    Length(u64),
    ToEnd(spool::Limits),
}

/// What came of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// All of it, or as much as is to be read here.
    Enough,
    /// The end, too early.
    Short,
    /// More is to come; whether some came.
    Waits { moved: bool },
}

/// Why no more is read: the request gets a page.
#[derive(Debug)]
pub(crate) enum Unread {
    Io(io::Error),
    NoRoom(NoRoom),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Unread {
        Unread::Io(error)
    }
}

impl Body {
    /// `store`: what there is of it.
    pub(crate) fn new(length: u64, store: Ahead) -> Body {
        Body::of(Extent::Length(length), store)
    }

    /// A body of a length that only its end tells.
    pub(crate) fn to_end(limits: spool::Limits, store: Ahead) -> Body {
        Body::of(Extent::ToEnd(limits), store)
    }

    fn of(extent: Extent, store: Ahead) -> Body {
        Body {
            extent,
            len: store.len(),
            store,
            first_at: None,
        }
    }

    /// Bytes that have come.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn spooled(&self) -> u64 {
        self.store.spooled()
    }

    /// Bytes of it that are in memory.
    pub(crate) fn kept(&self) -> usize {
        match &self.store {
            Ahead::Memory(bytes) => bytes.len(),
            Ahead::Nothing | Ahead::Spool { .. } => 0,
        }
    }

    pub(crate) fn into_ahead(self) -> Ahead {
        self.store
    }

    /// Reads what is there, within limits.
    pub(crate) fn read(
        &mut self,
        input: BorrowedFd<'_>,
        scratch: &mut Scratch,
        room: Room<'_>,
        now: Duration,
    ) -> Result<Came, Unread> {
        let mut block = vec![0; IN_MEMORY];
        let before = self.len;
        let reserved = self.spooled();
        for _ in 0..TURN {
            let room = Room {
                left: room.left.saturating_sub(self.spooled() - reserved),
                ..room
            };
            let step = match self.extent {
                Extent::Length(length) => {
                    self.read_block(length, input, scratch, &mut block, room, now)
                }
                Extent::ToEnd(limits) => self.take_block(limits, input, scratch, &mut block, room),
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
        input: BorrowedFd<'_>,
        scratch: &mut Scratch,
        block: &mut [u8],
        room: Room<'_>,
        now: Duration,
    ) -> Result<Option<Came>, Unread> {
        let missing = length - self.len;
        // In memory as long as it is full to the last byte; then whole blocks.
        let rest = IN_MEMORY as u64 - self.len.min(IN_MEMORY as u64);
        let most = missing.min(if rest > 0 { rest } else { IN_MEMORY as u64 });
        // Where there is no room the worker takes the body as it comes, which needs no telling.
        if most == 0 || self.store.make_room(most, length, room).is_err() {
            return Ok(Some(Came::Enough));
        }
        let most = usize::try_from(most).unwrap_or(IN_MEMORY);
        let count = scratch.read_now(input, &mut block[..most])?;
        if count == 0 {
            return Ok(Some(Came::Short));
        }
        self.store.push(&block[..count])?;
        self.len += count as u64;
        let first_at = *self.first_at.get_or_insert(now);
        let is_fast = self.len >= FAST_BYTES && now.saturating_sub(first_at) <= FAST_TIME;
        Ok((self.len == length || is_fast).then_some(Came::Enough))
    }

    /// A block of a body that goes to its end, and `Enough` there.
    fn take_block(
        &mut self,
        limits: spool::Limits,
        input: BorrowedFd<'_>,
        scratch: &mut Scratch,
        block: &mut [u8],
        room: Room<'_>,
    ) -> Result<Option<Came>, Unread> {
        let count = scratch.read_now(input, block)?;
        if count == 0 {
            // What came with the header, and nothing behind it, was measured by nobody.
            limits.check(self.len).map_err(Unread::NoRoom)?;
            self.store.end();
            return Ok(Some(Came::Enough));
        }
        let kept = self.store.take(&block[..count], limits, room);
        // Read, whatever becomes of it.
        self.len += count as u64;
        kept.map(|()| None).map_err(Unread::NoRoom)
    }
}

impl Daemon {
    /// Whether a worker could read all of the body now. Behind a file nobody waits.
    pub(crate) fn has_whole_body(input: BorrowedFd<'_>, length: u64) -> bool {
        length == 0
            || files::kind(input) == Kind::Other
            || files::waiting(input).is_ok_and(|there| there >= length)
    }

    /// A request whose body is not all there begins to be read.
    pub(crate) fn announce(&mut self, ticket: Ticket) {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        self.shares.go_to(ticket, Stage::Slow);
        let Some(request) = client.request.as_deref_mut() else {
            return;
        };
        let kept = request.header.len();
        let due = clock::now() + doubt::patience(request, self.config.timeouts.request);
        let store = std::mem::take(&mut request.ahead);
        let body = if request.to_end {
            Body::to_end(spool::Limits::of(&self.config), store)
        } else {
            Body::new(request.length, store)
        };
        client.phase = Phase::Receiving { body };
        client.watch(&self.poll, ticket, End::Input, Interest::Read);
        self.limited.insert(ticket, due);
        // If nothing is there yet, its front is told at the end of this turn that we have it.
        self.events.push_back(Event::Announced(ticket));
        self.keep(ticket, kept);
    }

    /// The body of an announced request has come further.
    pub(crate) fn receive(&mut self, ticket: Ticket) {
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
            None => Err(Unread::Io(io::ErrorKind::NotConnected.into())),
        };
        let kept = match &phase {
            Phase::Receiving { body } => body.kept() + client.kept(),
            _ => 0,
        };
        client.phase = phase;
        self.account(ticket, before);
        match came {
            Ok(Came::Enough) if self.is_cut(ticket) => self.hang_up(ticket),
            Ok(Came::Enough) => self.arrive_with_body(ticket),
            Ok(Came::Short) if self.do_without_body(ticket, true) => self.arrive_with_body(ticket),
            Ok(Came::Short) => self.refuse_body(ticket, "the message-body ended early"),
            Ok(Came::Waits { moved }) => {
                self.keep(ticket, kept);
                let has_begun = moved && self.has_begun_to_send(ticket);
                if moved && self.keeps_pace(ticket) || has_begun {
                    let due = now + self.config.timeouts.request;
                    self.limited.insert(ticket, due);
                }
            }
            Err(Unread::Io(_)) if self.is_cut(ticket) => self.hang_up(ticket),
            Err(Unread::Io(error)) => {
                self.refuse_body(ticket, &format!("cannot read the body: {error}"));
            }
            Err(Unread::NoRoom(no)) => {
                self.note_refused(ticket, Level::Info, &no.to_string(), "", now);
                if no.is_news() {
                    self.tell_web_server(ticket, &no.to_string());
                }
                self.answer(ticket, no.failure(), "");
            }
        }
    }

    /// Whether a body that has come further has more time: a stranger's only with each block of it, since a byte now
    /// and then would keep its place for ever.
    fn keeps_pace(&mut self, ticket: Ticket) -> bool {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return false;
        };
        let Phase::Receiving { body } = &client.phase else {
            return true;
        };
        let is_stranger = client.peer == Peer::Foreign { trusted: false };
        if is_stranger && body.len() < client.paced + PACE {
            return false;
        }
        client.paced = body.len();
        true
    }

    /// Whether a body that goes to its end was ended by its client's, and not by its last chunk.
    fn is_cut(&self, ticket: Ticket) -> bool {
        self.clients.get(&ticket).is_some_and(|client| {
            client.request.as_ref().is_some_and(|r| r.to_end)
                && client
                    .output()
                    .is_some_and(|output| poll::is_ready(output, Interest::HangUp))
        })
    }

    pub(crate) fn arrive_with_body(&mut self, ticket: Ticket) {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        let phase = std::mem::replace(&mut client.phase, Phase::Waiting);
        if let (Phase::Receiving { body }, Some(request)) = (phase, &mut client.request) {
            if request.to_end {
                request.measure(body.len());
            }
            request.ahead = body.into_ahead();
        }
        client.watch(&self.poll, ticket, End::Input, None);
        self.limited.remove(ticket);
        self.arrive(ticket);
    }

    fn refuse_body(&mut self, ticket: Ticket, sentence: &str) {
        self.note_refused(ticket, Level::Info, sentence, "", clock::now());
        self.tell_web_server(ticket, sentence);
        self.answer(ticket, Failure::BadRequest, "");
    }

    /// Keeps the books of the spool, after something that this client did. `before`: what it held.
    pub(crate) fn account(&mut self, ticket: Ticket, before: (u64, usize)) {
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

/// What a worker is sent with a request: where there is no message-body, nothing to read it from.
pub(crate) fn descriptors<'a>(
    request: &Taken,
    input: BorrowedFd<'a>,
    output: BorrowedFd<'a>,
    ahead: Option<&'a File>,
) -> SmallVec<[BorrowedFd<'a>; 3]> {
    let mut fds = SmallVec::new();
    if request.length > 0 {
        fds.push(input);
    }
    fds.push(output);
    fds.extend(ahead.map(AsFd::as_fd));
    fds
}

#[cfg(test)]
mod tests;

//! One connection: its header as it comes in, then its request until the last of its descriptors is closed. Knows a
//! client's descriptors and what its front was told, and not what serves it.
//!
//! # Theory of operation
//! | phase | what happens | and then |
//! | --- | --- | --- |
//! | Header | the header is there; the body is not needed yet, or all there | Waiting |
//! | Header | the header is there, and some of the body is not, or that is unknown | Receiving |
//! | Header | it makes no sense, or is too large | Answering |
//! | Header | it did not come in time; the connection ends | - |
//! | Receiving | the body is there, comes fast, or finds no more room; or there is none, after all | Waiting |
//! | Receiving | the body ends early (400), stops coming (408), or only its end would tell its length and it is too large (413) or finds no room (503) | Answering |
//! | Receiving | the front is gone | - |
//! | Waiting | a worker is idle | Running |
//! | Waiting | the pool refuses it | Answering |
//! | Waiting | the client is gone | - |
//! | Running | the worker has spooled: we send beside it | Running |
//! | Running | the client is gone, or takes nothing: the worker is told, and goes on | Running |
//! | Running | the worker is done | Finishing |
//! | Running | the worker died: unwritten, it is a page; written, nothing is added | Answering, or the end |
//! | Finishing | the spool is sent, and the rest of the body read | the end |
//! | Finishing | the client is gone, takes nothing, sends nothing | the end |
//! | Answering | the page is written | Draining |
//! | Draining | the rest of the body is read, or there is too much of it | the end |
//! | the end | the web server's log has taken everything: the front may go | Parting |
//! | the end | its log has not: input and output are closed | Logging |
//! | Logging | its log has taken the rest, or a second is over: the front may go | - |
//! | Parting | the front has ended, or a second is over: all is closed | - |
//!
//! Our copies of the descriptors are closed only after the front's process has ended, so that a web server that sees the
//! response's end finds its CGI gone. Apache waits 10 ms (mod_cgid) or 48 ms (mod_cgi) where it finds it still there.
//! The front's pidfd is waited on, not its socket: the socket closes before the process exits.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::body::{Body, Came, Unread};
use super::errors::Errors;
use super::header::HeaderReader;
use super::outgoing::Outgoing;
use super::taken::Taken;
use crate::answer::DRAIN_BYTES;
use crate::daemon::guest::Caller;
use crate::daemon::turn::{Progress, TURN};
use crate::daemon::watch::{Endpoint, Stream, Watches};
use crate::policy::pool::WorkerId;
use crate::policy::queue::Number;
use crate::spool::Room;
use crate::sys::files::{self, Kind};
use crate::sys::poll::{self, Interest, Poll};
use crate::sys::splice::Scratch;
use crate::sys::{Errno, is};

/// A header must be whole this long after the connect.
pub(super) const HEADER_TIME: Duration = Duration::from_secs(10);

/// A connection and what it has come to.
#[derive(Debug)]
pub(crate) struct Client {
    /// To the front, or to a plain SCGI client; none once the front was told to leave.
    pub(super) connection: Option<OwnedFd>,
    pub(super) caller: Caller,
    /// The front's process, once it was told to leave: ready to read when it has ended.
    pub(super) front: Option<OwnedFd>,
    /// Bytes of its body that had come when it last got more time.
    pub(super) paced: u64,
    /// None while the header is not whole.
    pub(crate) request: Option<Box<Taken>>,
    pub(super) phase: Phase,
    /// What its web server's log has still to take.
    pub(super) to_log: Errors,
    /// What the app has said during the request, for a page.
    pub(super) said: Vec<u8>,
    /// The response has no reader any more.
    pub(super) is_gone: bool,
    /// A part of the response did not go out. A web server may go as soon as it has as much as Content-Length says.
    pub(super) is_cut: bool,
    /// It came by FastCGI: another room has the connection, and the other ends of its pipes.
    pub(super) is_framed: bool,
    /// Who may connect has changed since it came.
    pub(super) is_outdated: bool,
    /// Blocks of the response that went from us to the client.
    pub(super) moved: u64,
    pub(super) watches: Watches,
}

/// See the table.
#[derive(Debug)]
pub(super) enum Phase {
    /// Our page is on its way out; then the rest of the message-body is read and thrown away.
    Answering { page: Vec<u8>, written: usize },
    /// So many bytes of the message-body are read and thrown away.
    Draining { left: u64 },
    /// What served it has done its part. `unread`: bytes of the message-body that it left.
    Finishing {
        outgoing: Option<Outgoing>,
        unread: u64,
    },
    /// The header is not whole yet.
    Header { reader: HeaderReader },
    /// Only the web server's log has still to take something.
    Logging { log: OwnedFd },
    /// Everything is done, and the front, which was told to leave, is there still.
    Parting,
    /// The message-body comes in.
    Receiving { body: Body },
    /// A worker has it. `outgoing`: what was spooled of its response; `unread` and `raised`: as the worker says before
    /// it is done.
    Running {
        worker: WorkerId,
        outgoing: Option<Outgoing>,
        unread: u64,
        raised: Option<String>,
    },
    /// It waits for a worker.
    Waiting,
}

/// Where the message-body comes from. Borrows two fields only, so that the others can change meanwhile.
fn input_of<'a>(
    connection: &'a Option<OwnedFd>,
    request: &'a Option<Box<Taken>>,
) -> Option<BorrowedFd<'a>> {
    match request.as_ref()?.passed.as_ref() {
        Some(passed) => Some(passed.input.as_fd()),
        None => connection.as_ref().map(AsFd::as_fd),
    }
}

/// Where the response goes: likewise.
fn output_of<'a>(
    connection: &'a Option<OwnedFd>,
    request: &'a Option<Box<Taken>>,
) -> Option<BorrowedFd<'a>> {
    match request.as_ref()?.passed.as_ref() {
        Some(passed) => Some(passed.output.as_fd()),
        None => connection.as_ref().map(AsFd::as_fd),
    }
}

impl Client {
    pub(super) fn new(connection: OwnedFd, caller: Caller) -> Client {
        Client {
            connection: Some(connection),
            caller,
            front: None,
            paced: 0,
            request: None,
            phase: Phase::Header {
                reader: HeaderReader::default(),
            },
            to_log: Errors::default(),
            said: Vec::new(),
            is_gone: false,
            is_cut: false,
            is_framed: false,
            is_outdated: false,
            moved: 0,
            watches: Watches::default(),
        }
    }

    /// The pool has heard of its request, and no worker has it.
    pub(super) fn is_queued(&self) -> bool {
        matches!(self.phase, Phase::Receiving { .. } | Phase::Waiting)
    }

    /// It is an SCGI client without a front: its connection is its input and output.
    pub(crate) fn is_plain(&self) -> bool {
        self.request.as_ref().is_some_and(|r| r.passed.is_none())
    }

    /// The front, or the plain client, can be told something.
    pub(crate) fn has_connection(&self) -> bool {
        self.connection.is_some()
    }

    /// Where the message-body comes from.
    pub(crate) fn input(&self) -> Option<BorrowedFd<'_>> {
        input_of(&self.connection, &self.request)
    }

    /// Where the response goes.
    pub(crate) fn output(&self) -> Option<BorrowedFd<'_>> {
        output_of(&self.connection, &self.request)
    }

    /// The web server's error log, where there is a way to it.
    pub(super) fn errors(&self) -> Option<BorrowedFd<'_>> {
        match &self.phase {
            Phase::Logging { log } => Some(log.as_fd()),
            _ => Some(self.request.as_ref()?.passed.as_ref()?.errors.as_fd()),
        }
    }

    fn stream(&self, stream: Stream) -> Option<BorrowedFd<'_>> {
        match stream {
            Stream::Connection => match &self.phase {
                // A front that was released has closed it: its process is watched instead.
                Phase::Parting => self.front.as_ref().map(AsFd::as_fd),
                _ => self.connection.as_ref().map(AsFd::as_fd),
            },
            Stream::Errors => self.errors(),
            Stream::Input => self.input(),
            Stream::Output => self.output(),
        }
    }

    /// Has the loop wait for something on one of the descriptors, or for nothing more.
    pub(crate) fn watch(
        &mut self,
        poll: &Poll,
        number: Number,
        stream: Stream,
        interest: impl Into<Option<Interest>>,
    ) {
        let mut watches = std::mem::take(&mut self.watches);
        if let Some(fd) = self.stream(stream) {
            let endpoint = Endpoint {
                stream,
                fd,
                is_plain: self.is_plain(),
            };
            if let Err(error) = watches.set(poll, number, endpoint, interest.into()) {
                ::log::warn!("cannot watch a client: {error}");
            }
        }
        self.watches = watches;
    }

    /// From now on its end is watched for. Nothing else is read there, except a plain client's message-body.
    pub(super) fn watch_end(&mut self, poll: &Poll, number: Number) {
        if self.is_gone || matches!(self.phase, Phase::Logging { .. } | Phase::Parting) {
            // Its end would be reported in every turn; or the end of the front's process is watched for.
            return;
        }
        // A plain client may half-close behind its body and still wait for the response.
        let interest = if self.is_plain() {
            Interest::HangUp
        } else {
            Interest::Gone
        };
        self.watch(poll, number, Stream::Connection, interest);
    }

    /// The client is gone, as its output says now.
    pub(super) fn has_hung_up(&self) -> bool {
        self.output()
            .is_some_and(|output| poll::is_ready(output, Interest::HangUp))
    }

    /// Its connection is watched for something.
    pub(crate) fn is_watched(&self) -> bool {
        self.watches.knows(Stream::Connection)
    }

    /// Removes its descriptors from epoll: closing them would not, since other processes hold them as well. A front's
    /// connection is ours alone, and needs no more than to be closed.
    pub(crate) fn unwatch(&mut self, poll: &Poll) {
        for stream in Stream::ALL {
            let is_shared = stream != Stream::Connection || self.is_plain();
            if let (true, true, Some(fd)) =
                (is_shared, self.watches.knows(stream), self.stream(stream))
            {
                poll.remove(fd);
                self.watches.forget(stream);
            }
        }
    }

    /// Bytes of its header.
    pub(crate) fn kept(&self) -> usize {
        self.request.as_ref().map_or(0, |r| r.header.len())
    }

    /// Bytes and files of the spool that it holds.
    pub(crate) fn spooled(&self) -> (u64, usize) {
        let ahead = self.request.as_ref().map_or(0, |r| r.ahead.spooled());
        let other = match &self.phase {
            Phase::Finishing { outgoing, .. } | Phase::Running { outgoing, .. } => {
                outgoing.as_ref().map_or((0, 0), |o| (o.spooled(), 1))
            }
            Phase::Receiving { body } => (body.spooled(), usize::from(body.spooled() > 0)),
            _ => (0, 0),
        };
        (ahead + other.0, usize::from(ahead > 0) + other.1)
    }
}

/// What it sends and is sent.
impl Client {
    /// What a page needs of a header that can't be served.
    pub(super) fn give_up_header(&mut self) -> Option<Box<Taken>> {
        let connection = self.connection.as_ref()?;
        match &mut self.phase {
            Phase::Header { reader, .. } => reader.unserved(connection.as_fd()).map(Box::new),
            _ => None,
        }
    }

    /// Reads what is there of its message-body. `None`: it is not being received.
    pub(super) fn receive(
        &mut self,
        scratch: &mut Scratch,
        room: Room<'_>,
        now: Duration,
    ) -> Option<Result<Came, Unread>> {
        let Phase::Receiving { body } = &mut self.phase else {
            return None;
        };
        Some(match input_of(&self.connection, &self.request) {
            Some(input) => body.read(input, scratch, room, now),
            None => Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into()),
        })
    }

    pub(super) fn begin_draining(&mut self) {
        // A file never makes its reader wait, and epoll would never tell that there is more.
        let is_file = self
            .input()
            .is_none_or(|input| files::kind(input) == Kind::Other);
        let request = self.request.as_deref().filter(|_| !is_file);
        let left = request.map_or(0, |request| match request.may_exceed {
            true => u64::MAX,
            false => request.length() - request.ahead.len(),
        });
        self.phase = Phase::Draining {
            left: left.min(DRAIN_BYTES),
        };
    }

    /// A page of ours is the whole response.
    pub(super) fn begin_page(&mut self, page: Vec<u8>) {
        self.is_cut = false;
        self.phase = Phase::Answering { page, written: 0 };
    }

    pub(super) fn write_page(&mut self, scratch: &mut Scratch) -> Progress {
        let mut moved = 0;
        let (Phase::Answering { page, written }, Some(output)) =
            (&mut self.phase, output_of(&self.connection, &self.request))
        else {
            return Progress::Lost;
        };
        while *written < page.len() {
            match scratch.write_now(output, &page[*written..]) {
                Ok(count) => {
                    moved += count as u64;
                    *written += count;
                }
                Err(error) if is(&error, Errno::EAGAIN) => return Progress::Waits(moved),
                Err(_) => return Progress::Lost,
            }
        }
        Progress::Finished
    }

    /// Sends what was spooled of its response.
    pub(super) fn send(&mut self, scratch: &mut Scratch) -> Progress {
        let Some(output) = output_of(&self.connection, &self.request) else {
            return Progress::Lost;
        };
        match &mut self.phase {
            Phase::Finishing {
                outgoing: Some(outgoing),
                ..
            }
            | Phase::Running {
                outgoing: Some(outgoing),
                ..
            } => outgoing.send(output, scratch),
            _ => Progress::Finished,
        }
    }

    /// What was spooled of its response.
    pub(super) fn outgoing(&mut self) -> Option<&mut Option<Outgoing>> {
        match &mut self.phase {
            Phase::Finishing { outgoing, .. } | Phase::Running { outgoing, .. } => Some(outgoing),
            _ => None,
        }
    }

    /// Where its response goes, and what was spooled of it; none where it is not running.
    pub(crate) fn way_out(&mut self) -> Option<(BorrowedFd<'_>, &mut Option<Outgoing>)> {
        let output = output_of(&self.connection, &self.request)?;
        match &mut self.phase {
            Phase::Running { outgoing, .. } => Some((output, outgoing)),
            _ => None,
        }
    }

    /// Reads and throws away what is there of the message-body, in Draining and in Finishing.
    pub(super) fn drain(&mut self, scratch: &mut Scratch) -> Progress {
        let (Phase::Draining { left } | Phase::Finishing { unread: left, .. }, Some(input)) =
            (&mut self.phase, input_of(&self.connection, &self.request))
        else {
            return Progress::Lost;
        };
        let mut moved = 0;
        for _ in 0..TURN {
            if *left == 0 {
                return Progress::Finished;
            }
            if !poll::is_ready(input, Interest::Read) {
                return Progress::Waits(moved);
            }
            let most = usize::try_from(*left).unwrap_or(usize::MAX).min(1 << 20);
            let count = match scratch.discard_now(input, most) {
                Ok(0) => return Progress::Finished,
                Ok(count) => count as u64,
                Err(error) if is(&error, Errno::EAGAIN) => return Progress::Waits(moved),
                Err(_) => return Progress::Lost,
            };
            moved += count;
            *left -= count.min(*left);
        }
        Progress::Waits(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::super::taken::{Length, Passed};
    use super::*;
    use crate::cgi::meta::Peer;
    use crate::sys::splice;

    /// A client whose header said so many bytes of message-body, to be read from `input`.
    fn client(input: OwnedFd, length: u64) -> Client {
        let null = || files::null().unwrap();
        let caller = Caller {
            peer: Peer::Own,
            pid: 0,
            guest: None,
            is_at_place: true,
            is_turned_away: false,
        };
        let mut client = Client::new(null(), caller);
        let passed = Passed {
            input,
            output: null(),
            errors: null(),
        };
        client.request = Some(Box::new(Taken::unserved(
            Some(passed),
            Length::Bytes(length),
        )));
        client
    }

    #[test]
    fn a_message_body_in_a_file_is_not_drained() {
        const LENGTH: u64 = 8 << 20;
        let mut scratch = Scratch::new().unwrap();
        let file = tempfile::tempfile().unwrap();
        file.set_len(LENGTH).unwrap();
        let mut behind_file = client(file.into(), LENGTH);
        behind_file.begin_draining();
        assert_eq!(behind_file.drain(&mut scratch), Progress::Finished);
        let (out, _into) = files::pipe().unwrap();
        let mut behind_pipe = client(out, LENGTH);
        behind_pipe.begin_draining();
        assert_eq!(behind_pipe.drain(&mut scratch), Progress::Waits(0));
    }

    #[test]
    fn a_front_that_was_released_is_not_watched_for_anything_but_its_end() {
        let poll = Poll::new().unwrap();
        let (ended, process) = files::pipe().unwrap();
        let mut client = client(files::null().unwrap(), 0);
        client.connection = None;
        client.front = Some(ended);
        client.phase = Phase::Parting;
        client.watch(&poll, 7, Stream::Connection, Interest::Read);
        // As for each request that a worker had for a while.
        client.watch_end(&poll, 7);
        splice::write(process.as_fd(), b"x").unwrap();
        let mut ready = Vec::new();
        poll.wait(&mut ready, Some(Duration::ZERO)).unwrap();
        assert_eq!(ready.len(), 1);
    }
}

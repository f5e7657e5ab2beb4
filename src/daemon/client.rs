//! One connection: its header as it comes in, then its request until the last of its descriptors is closed. Knows a
//! client's descriptors and what was said to it; who serves it is the loop's.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use smallvec::SmallVec;

use super::header::HeaderReader;
use crate::answer::DRAIN_BYTES;
use crate::handoff;
use crate::page::Form;
use crate::policy::pool::WorkerId;
use crate::sys::poll::{self, Interest};
use crate::sys::splice::Scratch;
use crate::sys::{Errno, is, socket};

/// A header must be whole this long after the connect.
pub(super) const HEADER_TIME: Duration = Duration::from_secs(10);

/// A connection and what it has come to.
#[derive(Debug)]
pub(super) struct Client {
    /// To the front, or to a plain SCGI client; none once the front was told to leave.
    pub(super) connection: Option<OwnedFd>,
    pub(super) phase: Phase,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Our page is on its way out; then the rest of the message-body is read and thrown away.
    Answering {
        request: Box<Taken>,
        page: Vec<u8>,
        written: usize,
    },
    /// As said.
    Draining { request: Box<Taken>, left: u64 },
    /// The header is not whole yet.
    Header { reader: HeaderReader },
    /// A worker has it.
    Running {
        request: Box<Taken>,
        worker: WorkerId,
    },
    /// It waits for a worker.
    Waiting { request: Box<Taken> },
}

/// A request with everything that is needed to serve it.
#[derive(Debug)]
pub(super) struct Taken {
    /// The header as a worker gets it.
    pub(super) header: Vec<u8>,
    /// Where the message-body comes from, and the response goes; none: the connection.
    pub(super) passed: Option<Passed>,
    /// Bytes of the message-body.
    pub(super) length: u64,
    pub(super) form: Form,
    pub(super) head_only: bool,
    pub(super) refreshes: bool,
    pub(super) client_address: Vec<u8>,
    pub(super) leaves_early: bool,
    pub(super) said: Said,
}

/// The web server's own descriptors, from the front.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) input: OwnedFd,
    pub(super) output: OwnedFd,
    pub(super) errors: OwnedFd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Said {
    Nothing,
    Queued,
    Taken,
    Done,
}

impl Passed {
    pub(super) fn from_fds(fds: &mut SmallVec<[OwnedFd; 4]>) -> Option<Passed> {
        if fds.len() != 3 {
            return None;
        }
        let (errors, output, input) = (fds.pop()?, fds.pop()?, fds.pop()?);
        Some(Passed {
            input,
            output,
            errors,
        })
    }
}

impl Taken {
    /// A front (as against a plain SCGI client), to which nothing has been said that keeps it from going elsewhere.
    pub(super) fn can_go_elsewhere(&self) -> bool {
        self.said < Said::Taken
    }
}

impl Client {
    pub(super) fn new(connection: OwnedFd) -> Client {
        Client {
            connection: Some(connection),
            phase: Phase::Header {
                reader: HeaderReader::default(),
            },
        }
    }

    pub(super) fn request(&self) -> Option<&Taken> {
        match &self.phase {
            Phase::Header { .. } => None,
            Phase::Answering { request, .. }
            | Phase::Draining { request, .. }
            | Phase::Running { request, .. }
            | Phase::Waiting { request } => Some(request),
        }
    }

    fn request_mut(&mut self) -> Option<&mut Taken> {
        match &mut self.phase {
            Phase::Header { .. } => None,
            Phase::Answering { request, .. }
            | Phase::Draining { request, .. }
            | Phase::Running { request, .. }
            | Phase::Waiting { request } => Some(request),
        }
    }

    /// Its own connection is all there is to it: no front stands between.
    pub(super) fn is_plain(&self) -> bool {
        self.request()
            .is_some_and(|request| request.passed.is_none())
    }

    /// Where the message-body comes from.
    pub(super) fn input(&self) -> Option<BorrowedFd<'_>> {
        let passed = self.request()?.passed.as_ref();
        passed
            .map(|p| p.input.as_fd())
            .or(self.connection.as_ref().map(AsFd::as_fd))
    }

    /// Where the response goes.
    pub(super) fn output(&self) -> Option<BorrowedFd<'_>> {
        let passed = self.request()?.passed.as_ref();
        passed
            .map(|p| p.output.as_fd())
            .or(self.connection.as_ref().map(AsFd::as_fd))
    }

    /// The web server's error log, where there is a way to it.
    pub(super) fn errors(&self) -> Option<BorrowedFd<'_>> {
        self.request()?.passed.as_ref().map(|p| p.errors.as_fd())
    }

    /// Tells a front that its request is in the queue, unless it knows more already. `false`: it is gone.
    pub(super) fn say_queued(&mut self) -> bool {
        self.say(Said::Queued)
    }

    /// Tells a front that from now on we answer. `false`: it is gone, or took the request back; to us it never
    /// existed.
    pub(super) fn say_taken(&mut self) -> bool {
        let early = self.request().is_some_and(|request| request.leaves_early);
        if !self.say(if early { Said::Done } else { Said::Taken }) {
            return false;
        }
        let is_passed = self
            .request()
            .is_some_and(|request| request.passed.is_some());
        if early && is_passed {
            self.connection = None;
        }
        true
    }

    fn say(&mut self, to_say: Said) -> bool {
        let Some(said) = self.request().map(|request| request.said) else {
            return false;
        };
        let words: SmallVec<[u8; 3]> = [
            (Said::Queued, handoff::QUEUED),
            (Said::Taken, handoff::TAKEN),
            (Said::Done, handoff::DONE),
        ]
        .into_iter()
        .filter(|&(word, _)| word > said && word <= to_say)
        .flat_map(|(_, bytes)| bytes.iter().copied())
        .collect();
        if words.is_empty() {
            return true;
        }
        let Some(connection) = &self.connection else {
            return false;
        };
        // Three bytes always fit, or the socket is not what it was.
        if socket::send_now(connection.as_fd(), &words).is_err() {
            return false;
        }
        if let Some(request) = self.request_mut() {
            request.said = to_say;
        }
        true
    }

    /// The end: closes the passed descriptors, then lets the front go.
    pub(super) fn finish(mut self) {
        let said = self.request().map(|request| request.said);
        if let Some(request) = self.request_mut() {
            request.passed = None;
        }
        if let (Some(Said::Taken), Some(connection)) = (said, &self.connection) {
            // A front that is gone needs no word.
            let _ = socket::send_now(connection.as_fd(), handoff::DONE);
        }
    }
}

/// How far a page, or the rest of a body, has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Finished,
    Lost,
    Waits,
}

impl Client {
    /// What came of a header that can't be served, as far as a page needs it.
    pub(super) fn give_up_header(&mut self) -> Option<Box<Taken>> {
        match &mut self.phase {
            Phase::Header { reader, .. } => Some(Box::new(reader.unserved())),
            _ => None,
        }
    }

    pub(super) fn run_on(&mut self, worker: WorkerId) {
        self.advance(|request| Phase::Running { request, worker });
    }

    pub(super) fn begin_answer(&mut self, page: Vec<u8>) {
        let written = 0;
        self.advance(|request| Phase::Answering {
            request,
            page,
            written,
        });
    }

    pub(super) fn begin_draining(&mut self) {
        self.advance(|request| {
            let left = request.length.min(DRAIN_BYTES);
            Phase::Draining { request, left }
        });
    }

    /// From any phase that has a request to another.
    fn advance(&mut self, next: impl FnOnce(Box<Taken>) -> Phase) {
        let none = Phase::Header {
            reader: HeaderReader::default(),
        };
        self.phase = match std::mem::replace(&mut self.phase, none) {
            header @ Phase::Header { .. } => header,
            Phase::Answering { request, .. }
            | Phase::Draining { request, .. }
            | Phase::Running { request, .. }
            | Phase::Waiting { request } => next(request),
        };
    }

    pub(super) fn write_page(&mut self, scratch: &mut Scratch) -> Progress {
        loop {
            let (Phase::Answering { page, written, .. }, Some(output)) =
                (&self.phase, self.output())
            else {
                return Progress::Lost;
            };
            let rest = &page[*written..];
            if rest.is_empty() {
                return Progress::Finished;
            }
            let count = match scratch.write_now(output, rest) {
                Ok(count) => count,
                Err(error) if is(&error, Errno::EAGAIN) => return Progress::Waits,
                Err(_) => return Progress::Lost,
            };
            if let Phase::Answering { written, .. } = &mut self.phase {
                *written += count;
            }
        }
    }

    pub(super) fn drain(&mut self, scratch: &mut Scratch) -> Progress {
        loop {
            let (&Phase::Draining { left, .. }, Some(input)) = (&self.phase, self.input()) else {
                return Progress::Lost;
            };
            if left == 0 {
                return Progress::Finished;
            }
            if !poll::is_ready(input, Interest::Read) {
                return Progress::Waits;
            }
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(1 << 20);
            let count = match scratch.discard_now(input, most) {
                Ok(0) => return Progress::Finished,
                Ok(count) => count,
                Err(error) if is(&error, Errno::EAGAIN) => return Progress::Waits,
                Err(_) => return Progress::Lost,
            };
            if let Phase::Draining { left, .. } = &mut self.phase {
                *left -= (count as u64).min(*left);
            }
        }
    }
}

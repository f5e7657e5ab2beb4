//! One FastCGI connection while its request is served. Knows records and pipes; the request itself is a client as any
//! other.
//!
//! # Theory of operation
//! | what comes over the connection | goes |
//! | --- | --- |
//! | FCGI_STDIN | into the input's pipe; its end closes that |
//! | FCGI_ABORT_REQUEST, an error, the end of the connection | our ends of the pipes are closed: the client is gone |
//! | anything else | answered, or skipped |
//!
//! | what comes out of a pipe | becomes |
//! | --- | --- |
//! | output | FCGI_STDOUT |
//! | errors | FCGI_STDERR, before any output that is read after it |
//!
//! Each direction has one block in memory: from the connection nothing is read while the input's pipe has no room for
//! what was read before, and from the pipes nothing while the connection takes nothing.
//!
//! When the client is removed, or has its whole answer, all of that is in the pipes, whether or not another process still
//! has their other ends. What they hold then, and FCGI_END_REQUEST, is the rest. A response that was cut has no such end: what follows is
//! no record, and the connection is closed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::daemon::framed::{Begun, Framed, RequestEnd};
use crate::daemon::guest::Caller;
use crate::daemon::token::{Token, WireEnd};
use crate::daemon::turn::TURN;
use crate::fastcgi::record::{self, HEAD, RecordKind};
use crate::fastcgi::{Incoming, RecordHead, RequestReader, response};
use crate::policy::queue::Number;
use crate::sys::poll::{self, Interest, Poll};
use crate::sys::{Errno, is, socket, splice};

/// The most that is read at once, so that a record holds it.
const BLOCK: usize = 65_528;
/// Behind what the app has said: HAProxy 2.6.12 (Debian 12) crashes on a record of it that is alone in its buffer and has
/// none.
const STDERR_PADDING: u8 = 8;
/// What is no record: its version is 0.
const NO_RECORD: [u8; HEAD] = [0; HEAD];
/// A block of the response, and answers to what belongs to no request.
const MOST_OUT: usize = BLOCK + 16_384;
/// As an exit status: the response is whole.
const SUCCESS: u32 = 0;

/// See the tables.
#[derive(Debug)]
pub(super) struct Wire {
    /// None once it can't be used any more.
    connection: Option<OwnedFd>,
    pub(super) caller: Caller,
    reader: Box<RequestReader>,
    id: u16,
    pub(super) keeps: bool,
    /// Of the body, and not yet in its pipe.
    body: Vec<u8>,
    is_whole: bool,
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
    errors: Option<OwnedFd>,
    /// On its way to the web server, and how much of it has gone.
    out: Vec<u8>,
    at: usize,
    /// The web server wants no answer, or is gone.
    pub(super) is_gone: bool,
    /// The web server sends no more: it may still wait for the response.
    is_half_closed: bool,
    /// All of the response is in its pipe, or no more will be; whether a part of it is missing.
    pub(super) over: Option<bool>,
    has_ended: bool,
    /// The answer is sent, and the rest of the body is skipped before the connection is closed.
    lingers: bool,
    /// There is more to do at once: the other clients have their turn first.
    is_in_turn: bool,
    /// What epoll waits for, by end.
    known: [Option<Interest>; 4],
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The web server is gone, or wants no answer: the client is to know.
    Gone,
    /// The request is answered, and the rest of its body is still to be skipped: from now on, or as before.
    Lingers { begins: bool },
    /// The request is over: the connection is for another one, or to be closed.
    Over { keeps: bool },
    /// More is to come; whether anything has moved.
    Waits { moved: bool },
}

impl Wire {
    pub(super) fn new(framed: Framed) -> Wire {
        let Begun {
            reader,
            id,
            keeps,
            body,
            is_whole,
            is_aborted,
            is_broken,
            replies,
            input,
            output,
            errors,
        } = framed.begun;
        let mut wire = Wire {
            connection: Some(framed.connection),
            caller: framed.caller,
            reader,
            id,
            keeps: keeps && !framed.caller.is_turned_away,
            body,
            is_whole,
            input,
            output: Some(output),
            errors: Some(errors),
            out: replies,
            at: 0,
            is_gone: false,
            is_half_closed: false,
            over: None,
            has_ended: false,
            lingers: false,
            is_in_turn: false,
            known: [None; 4],
        };
        if is_broken {
            wire.break_off();
        } else if is_aborted {
            wire.give_up();
        }
        wire
    }

    /// The connection, and what is to read the next request.
    pub(super) fn into_idle(self) -> Option<(OwnedFd, Caller, Box<RequestReader>)> {
        Some((self.connection?, self.caller, self.reader))
    }

    fn is_broken(&self) -> bool {
        self.connection.is_none()
    }

    /// Descriptors are closed, of which another process has copies, only after epoll has forgotten them.
    pub(super) fn forget(&mut self, poll: &Poll) {
        for end in WireEnd::ALL {
            if let (Some(_), Some(fd)) = (self.known[end as usize].take(), self.fd(end)) {
                poll.remove(fd);
            }
        }
    }

    fn fd(&self, end: WireEnd) -> Option<BorrowedFd<'_>> {
        match end {
            WireEnd::Connection => self.connection.as_ref().map(AsFd::as_fd),
            WireEnd::Input => self.input.as_ref().map(AsFd::as_fd),
            WireEnd::Output => self.output.as_ref().map(AsFd::as_fd),
            WireEnd::Errors => self.errors.as_ref().map(AsFd::as_fd),
        }
    }

    /// Moves what can be moved now.
    pub(super) fn advance(&mut self, poll: &Poll, number: Number, block: &mut [u8]) -> Step {
        let was_gone = self.is_gone;
        let mut moved = false;
        self.is_in_turn = true;
        for _ in 0..TURN {
            let fed = self.feed() || self.hear(block);
            let sent = self.send();
            moved |= sent;
            if !fed && !sent && !self.collect() {
                self.is_in_turn = false;
                break;
            }
        }
        if let Some(is_cut) = self.over {
            if self.is_broken() {
                return Step::Over { keeps: false };
            }
            if self.has_ended && self.out.is_empty() {
                let keeps = self.keeps && !self.is_half_closed;
                if keeps || self.is_whole || is_cut || self.caller.is_turned_away {
                    return Step::Over { keeps };
                }
                let begins = !std::mem::replace(&mut self.lingers, true);
                if let (true, Some(connection)) = (begins, &self.connection) {
                    let _ = socket::shut_writing(connection.as_fd());
                }
                self.watch(poll, number);
                return Step::Lingers { begins };
            }
        }
        if self.is_gone && !was_gone && self.over.is_none() {
            self.watch(poll, number);
            return Step::Gone;
        }
        self.watch(poll, number);
        Step::Waits { moved }
    }

    /// The rest of the body goes into its pipe. `true`: some of it has.
    fn feed(&mut self) -> bool {
        let Some(input) = &self.input else {
            // The app reads no more of it.
            self.body.clear();
            return false;
        };
        let written = match self.body.is_empty() {
            true => Ok(0),
            false => splice::write(input.as_fd(), &self.body),
        };
        match written {
            Ok(count) => drop(self.body.drain(..count)),
            Err(error) if is(&error, Errno::EAGAIN) => return false,
            Err(_) => self.body.clear(),
        }
        let has_moved = matches!(written, Ok(count) if count > 0);
        if self.body.is_empty() && (self.is_whole || written.is_err()) {
            self.close(WireEnd::Input);
        }
        has_moved
    }

    /// Reads what has come over the connection. `true`: something has.
    fn hear(&mut self, block: &mut [u8]) -> bool {
        // Behind the answer comes the next request.
        let is_next = self.has_ended && !self.lingers;
        if self.is_broken() || is_next {
            return false;
        }
        if !self.body.is_empty() || self.is_half_closed {
            self.note_hang_up();
            return false;
        }
        let Some(connection) = &self.connection else {
            return false;
        };
        let count = match socket::receive_now(connection.as_fd(), block) {
            Ok(0) if self.is_whole && !self.lingers => {
                self.is_half_closed = true;
                return false;
            }
            Ok(0) => {
                self.break_off();
                return false;
            }
            Ok(count) => count,
            Err(error) if is(&error, Errno::EAGAIN) => return false,
            Err(_) => {
                self.break_off();
                return false;
            }
        };
        if self.lingers {
            return true;
        }
        let mut bytes = &block[..count];
        loop {
            match self.reader.next(&mut bytes) {
                Ok(Some(Incoming::Body(some))) => self.body.extend_from_slice(some),
                Ok(Some(Incoming::BodyEnd)) => self.is_whole = true,
                Ok(Some(Incoming::Reply(reply))) => {
                    self.out.extend_from_slice(&reply);
                    if self.out.len() > MOST_OUT {
                        // It asks and asks, and reads no answer.
                        self.break_off();
                        return true;
                    }
                }
                Ok(Some(Incoming::Abort)) => self.give_up(),
                // Only behind the end of this one.
                Ok(Some(Incoming::Header { .. })) | Err(_) => {
                    self.break_off();
                    return true;
                }
                Ok(None) => return true,
            }
        }
    }

    /// What waits for the web server goes out. `true`: some of it has.
    fn send(&mut self) -> bool {
        let Some(connection) = self.connection.as_ref().filter(|_| !self.out.is_empty()) else {
            return false;
        };
        match socket::send_now(connection.as_fd(), &self.out[self.at..]) {
            Ok(count) => {
                self.at += count;
                if self.at == self.out.len() {
                    self.out.clear();
                    self.at = 0;
                }
                true
            }
            Err(error) if is(&error, Errno::EAGAIN) => false,
            Err(_) => {
                self.break_off();
                false
            }
        }
    }

    /// Reads what the pipes hold. `true`: there is something to send.
    fn collect(&mut self) -> bool {
        if !self.out.is_empty() || self.has_ended || self.is_broken() {
            return false;
        }
        // What was said before a part of the response is sent before it.
        self.read(WireEnd::Errors, RecordKind::Stderr);
        if self.out.is_empty() {
            self.read(WireEnd::Output, RecordKind::Stdout);
        }
        if let (true, Some(is_cut)) = (self.out.is_empty(), self.over) {
            self.end(is_cut && !self.is_gone);
        }
        !self.out.is_empty()
    }

    fn read(&mut self, end: WireEnd, kind: RecordKind) {
        let mut out = std::mem::take(&mut self.out);
        if let Some(fd) = self.fd(end) {
            out.resize(HEAD + BLOCK, 0);
            let read = splice::read(fd, &mut out[HEAD..]);
            let count = read.as_ref().map_or(0, |count| *count);
            out.truncate(if count > 0 { HEAD + count } else { 0 });
            if count > 0 {
                let padding = match kind {
                    RecordKind::Stderr => STDERR_PADDING,
                    _ => 0,
                };
                let head = RecordHead {
                    kind,
                    id: self.id,
                    content: count as u16,
                    padding,
                };
                out[..HEAD].copy_from_slice(&head.write());
                out.resize(out.len() + usize::from(padding), 0);
            }
            if !matches!(&read, Ok(1..)) && !read.is_err_and(|error| is(&error, Errno::EAGAIN)) {
                self.close(end);
            }
        }
        self.out = out;
    }

    /// All that the pipes held has gone out. A response that was cut is followed by what is no record: to some web servers
    /// the end of the connection is the end of the response, but none goes on with a record of another version. One that
    /// the web server gave up has its end, as any.
    fn end(&mut self, is_cut: bool) {
        self.has_ended = true;
        self.body.clear();
        for end in [WireEnd::Input, WireEnd::Output, WireEnd::Errors] {
            self.close(end);
        }
        if is_cut {
            self.keeps = false;
            self.out.extend_from_slice(&NO_RECORD);
        } else {
            record::put(RecordKind::Stdout, self.id, b"", &mut self.out);
            response::end(self.id, SUCCESS, &mut self.out);
        }
        self.reader.finish();
    }

    /// What has become of the request. `true`: until now it was not over.
    pub(super) fn note_end(&mut self, end: RequestEnd) -> bool {
        let is_cut = match end {
            RequestEnd::Cut => true,
            RequestEnd::Last => {
                self.keeps = false;
                return false;
            }
            RequestEnd::Whole => false,
        };
        let before = self.over.replace(is_cut || self.over == Some(true));
        before.is_none()
    }

    fn note_hang_up(&mut self) {
        let connection = self.connection.as_ref();
        if connection.is_some_and(|fd| poll::is_ready(fd.as_fd(), Interest::HangUp)) {
            self.break_off();
        }
    }

    /// The web server wants no answer any more.
    fn give_up(&mut self) {
        self.is_gone = true;
        for end in [WireEnd::Input, WireEnd::Output, WireEnd::Errors] {
            self.close(end);
        }
    }

    /// The connection can't be used any more.
    fn break_off(&mut self) {
        self.close(WireEnd::Connection);
        self.out.clear();
        self.at = 0;
        self.give_up();
    }

    /// They are ours alone: epoll forgets them when they are closed.
    fn close(&mut self, end: WireEnd) {
        self.known[end as usize] = None;
        match end {
            WireEnd::Connection => self.connection = None,
            WireEnd::Input => self.input = None,
            WireEnd::Output => self.output = None,
            WireEnd::Errors => self.errors = None,
        }
    }

    /// Has the loop wait for what is needed next.
    fn watch(&mut self, poll: &Poll, number: Number) {
        let is_next = self.has_ended && !self.lingers;
        let reads = self.body.is_empty() && !self.is_broken() && !self.is_half_closed && !is_next;
        let writes = (!self.out.is_empty() || self.is_in_turn) && !self.is_broken();
        let of_connection = match (reads, writes) {
            (true, true) => Some(Interest::Both),
            (true, false) => Some(Interest::Read),
            (false, true) => Some(Interest::Write),
            (false, false) if self.is_broken() => None,
            (false, false) => Some(Interest::HangUp),
        };
        let collects = self.out.is_empty().then_some(Interest::Read);
        let feeds = (!self.body.is_empty()).then_some(Interest::Write);
        let wanted = [of_connection, feeds, collects, collects];
        for end in WireEnd::ALL {
            let (known, wanted) = (self.known[end as usize], wanted[end as usize]);
            let Some(fd) = self.fd(end).filter(|_| known != wanted) else {
                continue;
            };
            let token = Token::Wire(number, end).into();
            let done = match (known, wanted) {
                (None, Some(interest)) => poll.add(fd, token, interest),
                (Some(_), Some(interest)) => poll.change(fd, token, interest),
                (_, None) => {
                    poll.remove(fd);
                    Ok(())
                }
            };
            match done {
                Ok(()) => self.known[end as usize] = wanted,
                Err(error) => ::log::warn!("cannot watch a FastCGI connection: {error}"),
            }
        }
    }
}

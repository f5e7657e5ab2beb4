//! How a connection's header comes in, and what it asks for. Of the message-body it reads no more than what comes with
//! the header in one piece.
//!
//! Until its header is whole, a connection is given no more than it has sent: memory for the bytes that have come, and
//! no descriptor. A front passes its three with the first byte. There is room for descriptors in that one read, and
//! only where the peer is our own user: what comes at another time, or from another user, the kernel drops before it is
//! a descriptor of ours.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use smallvec::SmallVec;

use super::records::{self, HeaderProgress, OpenRequest};
use super::taken::Taken;
use crate::cgi::meta::Peer;
use crate::cgi::request::BadRequest;
use crate::config::{Config, Handoff, Mount, StatusPage};
use crate::control::Command;
use crate::daemon::framed::Begun;
use crate::daemon::guest::Caller;
use crate::daemon::turn::TURN;
use crate::fastcgi::{BadRecord, RequestReader};
use crate::scgi::{self, BadHeader, Decoded};
use crate::sys::{Errno, fdpass, is, socket};

/// The first read asks for so many bytes: most headers, and the small body of a form behind them. What is larger is read
/// to the end of the header and no farther: the rest need not go through us.
pub(super) const FIRST_READ: usize = 4096;
/// Room for the largest header that `header-limit` allows, with its length and comma: for all connections together.
pub(super) const MOST_READ: usize = (128 << 10) + b"131072:,".len();
/// What a front passes: input, output and errors.
const PASSED: usize = 3;

/// Collects a header and the descriptors that come with it.
#[derive(Debug, Default)]
pub(crate) struct HeaderReader {
    bytes: Vec<u8>,
    pub(super) fds: SmallVec<[OwnedFd; 4]>,
    pub(super) cut: bool,
    /// It comes by FastCGI.
    records: Option<Box<RequestReader>>,
    /// ... and has served a request before.
    was_kept_open: bool,
    /// ... and its header is whole.
    pub(super) opened: Option<OpenRequest>,
    /// ... and it has its pipes.
    pub(super) begun: Option<Box<Begun>>,
}

/// What a header asks for.
#[derive(Debug)]
pub(super) enum Message {
    Control(Command),
    Request(Box<Taken>),
}

/// Why a header can't be served; the client is to have a page all the same, where there is a way to it.
#[derive(Debug)]
pub(super) enum BadMessage {
    Header(BadHeader),
    /// The front is gone, before it could be told to copy.
    Lost,
    /// There are no descriptors for the pipes of a FastCGI request.
    NoPipes(io::Error),
    /// A front of another version: it goes on by itself when we close.
    Protocol,
    /// Nothing more can be read of what comes by FastCGI.
    Records(BadRecord),
    /// With the name that came twice, as the log prints it.
    Request(BadRequest, Option<String>),
    /// A command that can't be obeyed: from another user, at another address, or unknown.
    Command,
}

/// What a header is judged by: keys of the configuration, and whose connection it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    pub(super) header_limit: usize,
    /// Where the app lies, if the web server can't know.
    pub(super) mount: Option<&'a Mount>,
    /// Whose connection it is.
    pub(super) peer: Peer,
    /// It came to the socket in the app's place: only there are fronts and commands.
    pub(super) is_at_place: bool,
    /// A client with this cookie is known.
    pub(super) priority_cookie: Option<&'a str>,
    pub(super) handoff: Handoff,
    pub(super) status: &'a StatusPage,
}

impl<'a> Rules<'a> {
    pub(super) fn of(config: &'a Config, caller: &Caller) -> Rules<'a> {
        Rules {
            header_limit: config.limits.header,
            mount: config.mount.as_ref(),
            peer: caller.peer,
            is_at_place: caller.is_at_place,
            priority_cookie: config.queue.priority_cookie.as_deref(),
            handoff: config.handoff,
            status: &config.status,
        }
    }

    /// These first bytes of a connection are FastCGI's, which is understood at the addresses of `listen`.
    fn hears_records(&self, bytes: &[u8]) -> bool {
        !self.is_at_place && records::begin_records(bytes)
    }
}

impl HeaderReader {
    /// What a worker has read and received.
    pub(crate) fn holding(bytes: Vec<u8>, fds: SmallVec<[OwnedFd; 4]>, cut: bool) -> HeaderReader {
        let cut = cut || !fds.is_empty() && fds.len() != PASSED;
        let fds = if cut { SmallVec::new() } else { fds };
        HeaderReader {
            bytes,
            fds,
            cut,
            ..HeaderReader::default()
        }
    }

    /// A FastCGI connection whose request is answered, and that is for another one.
    pub(crate) fn kept_open(records: Box<RequestReader>) -> HeaderReader {
        HeaderReader {
            records: Some(records),
            was_kept_open: true,
            ..HeaderReader::default()
        }
    }

    /// It is such a connection, and nothing has come of a next request.
    pub(super) fn is_idle(&self) -> bool {
        self.was_kept_open && self.records.as_ref().is_some_and(|reader| reader.is_idle())
    }

    /// Bytes of a header that is not whole.
    pub(super) fn kept(&self) -> usize {
        let of_records = self.records.as_ref().map_or(0, |reader| reader.kept());
        self.bytes.len() + of_records
    }

    /// Reads what is there. `None`: more is to come. `block`: room for [`MOST_READ`] bytes.
    pub(super) fn read(
        &mut self,
        connection: BorrowedFd<'_>,
        rules: Rules<'_>,
        block: &mut [u8],
    ) -> io::Result<Option<Result<Message, BadMessage>>> {
        if self.records.is_some() {
            return self.read_records(&[], connection, rules, block);
        }
        if self.bytes.is_empty() {
            let Some(count) = self.receive_first(connection, rules, &mut block[..FIRST_READ])?
            else {
                return Ok(None);
            };
            if rules.hears_records(&block[..count]) {
                let first = block[..count].to_vec();
                return self.read_records(&first, connection, rules, block);
            }
            match scgi::decode(&block[..count], rules.header_limit) {
                Ok(Decoded::Header { header, consumed }) => {
                    let behind = &block[consumed..count];
                    return Ok(Some(self.asked(&header, behind, connection, rules)));
                }
                Ok(Decoded::Partial { .. }) => self.bytes.extend_from_slice(&block[..count]),
                Err(bad) => return Ok(Some(Err(BadMessage::Header(bad)))),
            }
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        if rules.hears_records(&bytes) {
            return self.read_records(&bytes, connection, rules, block);
        }
        let read = self.read_to_end(&mut bytes, connection, rules, block);
        self.bytes = bytes;
        read
    }

    /// The same of a FastCGI connection. `first`: what was read of it already. A turn reads so much and no more: what
    /// belongs to no request is skipped, and may have no end.
    fn read_records(
        &mut self,
        first: &[u8],
        connection: BorrowedFd<'_>,
        rules: Rules<'_>,
        block: &mut [u8],
    ) -> io::Result<Option<Result<Message, BadMessage>>> {
        let new = || Box::new(RequestReader::new(rules.header_limit));
        let mut reader = self.records.take().unwrap_or_else(new);
        let mut has_first = !first.is_empty();
        for _ in 0..TURN {
            let bytes = if std::mem::take(&mut has_first) {
                first
            } else {
                match receive(connection, block) {
                    Ok(Some(count)) => &block[..count],
                    Ok(None) => {
                        self.records = Some(reader);
                        return Ok(None);
                    }
                    Err(error) => return Err(error),
                }
            };
            match records::hear(reader, bytes, connection)? {
                Ok(HeaderProgress::Partial(same)) => reader = same,
                Ok(HeaderProgress::Header(opened, params)) => {
                    self.opened = Some(opened);
                    return Ok(Some(self.asked_by_records(&params, connection, rules)));
                }
                Ok(HeaderProgress::TooLarge(opened)) => {
                    self.opened = Some(opened);
                    return Ok(Some(Err(BadMessage::Header(BadHeader::TooLarge))));
                }
                Err(bad) => return Ok(Some(Err(BadMessage::Records(bad)))),
            }
        }
        self.records = Some(reader);
        Ok(None)
    }

    /// Reads the rest of a header, and nothing behind it.
    fn read_to_end(
        &mut self,
        bytes: &mut Vec<u8>,
        connection: BorrowedFd<'_>,
        rules: Rules<'_>,
        block: &mut [u8],
    ) -> io::Result<Option<Result<Message, BadMessage>>> {
        loop {
            let missing = match scgi::decode(bytes, rules.header_limit) {
                Ok(Decoded::Header { header, consumed }) => {
                    // Behind the header there is something only if a worker has read it.
                    let behind = &bytes[consumed..];
                    return Ok(Some(self.asked(&header, behind, connection, rules)));
                }
                Ok(Decoded::Partial { missing }) => missing,
                Err(bad) => return Ok(Some(Err(BadMessage::Header(bad)))),
            };
            // By way of the block: a length of a few digits has announced the rest, and has not sent it.
            let most = missing.min(block.len());
            let Some(count) = receive(connection, &mut block[..most])? else {
                return Ok(None);
            };
            bytes.extend_from_slice(&block[..count]);
        }
    }

    /// The first read: how many bytes came. `None`: none yet.
    fn receive_first(
        &mut self,
        connection: BorrowedFd<'_>,
        rules: Rules<'_>,
        buffer: &mut [u8],
    ) -> io::Result<Option<usize>> {
        if rules.peer != Peer::Own {
            return receive(connection, buffer);
        }
        match fdpass::receive(connection, buffer) {
            Ok(received) if received.len == 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(received) => {
                let count = received.fds.len();
                self.cut = received.cut || count != 0 && count != PASSED;
                if !self.cut {
                    self.fds = received.fds;
                }
                Ok(Some(received.len))
            }
            Err(error) if is(&error, Errno::EAGAIN) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// How many bytes came; descriptors beside them are dropped. `None`: none yet.
fn receive(connection: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match socket::receive_now(connection, buffer) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(count) => Ok(Some(count)),
        Err(error) if is(&error, Errno::EAGAIN) => Ok(None),
        Err(error) => Err(error),
    }
}

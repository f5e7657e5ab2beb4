//! How a connection's header comes in, and what it asks for. Reads not one byte of the message-body.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use smallvec::SmallVec;

use super::client::{Passed, Said, Taken};
use crate::cgi::meta::Peer;
use crate::cgi::request::{BadRequest, Request};
use crate::config::Handoff;
use crate::control::{self, Command};
use crate::handoff;
use crate::page::Form;
use crate::scgi::{self, BadHeader, Decoded};
use crate::sys::files::{self, Kind};
use crate::sys::{Errno, fdpass, is, process, socket};

/// Collects a header and the descriptors that come with it, and not one byte of the message-body.
#[derive(Debug, Default)]
pub(super) struct HeaderReader {
    bytes: Vec<u8>,
    fds: SmallVec<[OwnedFd; 4]>,
    cut: bool,
}

/// What a header asks for.
#[derive(Debug)]
pub(super) enum Asked {
    Control(Command),
    Request(Box<Taken>),
}

/// Why a header can't be served; the client is to have a page all the same, where there is a way to it.
#[derive(Debug)]
pub(super) enum Refused {
    Header(BadHeader),
    /// The front is gone, before it could be told to copy.
    Lost,
    /// A front of another version: it goes on by itself when we close.
    Protocol,
    Request(BadRequest),
    /// A command from somebody who may give none.
    Stranger,
}

/// The web server that a daemon's clients belong to, and what it may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) header_limit: usize,
    pub(super) handoff: Handoff,
}

impl HeaderReader {
    /// Reads what is there. `None`: more is to come.
    pub(super) fn read(
        &mut self,
        connection: BorrowedFd<'_>,
        rules: Rules,
    ) -> io::Result<Option<Result<Asked, Refused>>> {
        loop {
            let missing = match scgi::decode(&self.bytes, rules.header_limit) {
                Ok(Decoded::Header { .. }) => return Ok(Some(self.asked(connection, rules))),
                Ok(Decoded::Partial { missing }) => missing,
                Err(bad) => return Ok(Some(Err(Refused::Header(bad)))),
            };
            let had = self.bytes.len();
            self.bytes.resize(had + missing, 0);
            let received = fdpass::receive(connection, &mut self.bytes[had..]);
            let count = received.as_ref().map_or(0, |received| received.len);
            self.bytes.truncate(had + count);
            match received {
                Ok(received) if received.len == 0 => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(received) => {
                    self.cut |= received.cut;
                    self.fds.extend(received.fds);
                }
                Err(error) if is(&error, Errno::EAGAIN) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// What is known of a request whose header can't be served: where its page can go.
    pub(super) fn unserved(&mut self) -> Taken {
        let passed = Passed::from_fds(&mut self.fds);
        // What a plain client still sends, of whatever length, is not our affair; but it may read nothing before it
        // has sent it.
        let length = if passed.is_some() { 0 } else { u64::MAX };
        Taken {
            header: Vec::new(),
            length,
            form: Form::Text,
            head_only: false,
            refreshes: false,
            client_address: Vec::new(),
            leaves_early: false,
            said: if passed.is_some() {
                Said::Nothing
            } else {
                Said::Done
            },
            passed,
        }
    }

    fn asked(&mut self, connection: BorrowedFd<'_>, rules: Rules) -> Result<Asked, Refused> {
        let Ok(Decoded::Header { header, .. }) = scgi::decode(&self.bytes, rules.header_limit)
        else {
            return Err(Refused::Header(BadHeader::Length));
        };
        let uid = socket::peer(connection).map(|peer| peer.uid);
        let is_own = uid == Some(process::uid());
        if let Some(word) = header.value(control::VARIABLE.as_bytes()) {
            let command = Command::from_word(word).filter(|_| is_own || uid == Some(0));
            return command.map(Asked::Control).ok_or(Refused::Stranger);
        }
        let peer = if is_own {
            Peer::Own
        } else {
            Peer::Foreign { trusted: false }
        };
        let request = Request::from_meta(header.pairs(), peer).map_err(Refused::Request)?;
        let protocol = header
            .value(handoff::VARIABLE.as_bytes())
            .filter(|_| is_own);
        if protocol.is_some_and(|number| number != handoff::PROTOCOL.as_bytes()) {
            return Err(Refused::Protocol);
        }
        let is_handoff = protocol.is_some();
        let passed = if is_handoff && !self.cut && rules.handoff != Handoff::Relay {
            Passed::from_fds(&mut self.fds)
        } else {
            None
        };
        let must_relay = is_handoff && passed.is_none();
        if must_relay && socket::send_now(connection, handoff::RELAY).is_err() {
            return Err(Refused::Lost);
        }
        let message = if is_handoff {
            header.raw().to_vec()
        } else {
            let length = request.value("CONTENT_LENGTH").unwrap_or_default();
            let mut message = Vec::new();
            scgi::message(length, request.meta().iter().copied(), &mut message);
            message
        };
        Ok(Asked::Request(Box::new(Taken {
            header: message,
            length: request.content_length().unwrap_or(0),
            form: Form::from_accept(request.accept()),
            head_only: request.is_head(),
            refreshes: request.method() == b"GET",
            client_address: request.value("REMOTE_ADDR").unwrap_or_default().to_vec(),
            leaves_early: passed
                .as_ref()
                .is_some_and(|p| leaves_early(rules, &request, p)),
            // A plain SCGI client, and a front that relays, hear nothing but the response.
            said: if passed.is_some() {
                Said::Nothing
            } else {
                Said::Done
            },
            passed,
        })))
    }
}

/// Whether this web server lets its CGI go before the response is complete. Measured for Apache with a pipe as
/// stdout (mod_cgi): it ends at the pipe's end, and reaps a child that is already gone without waiting for it.
fn leaves_early(rules: Rules, request: &Request<'_>, passed: &Passed) -> bool {
    match rules.handoff {
        Handoff::Auto => {
            let software = request.value("SERVER_SOFTWARE").unwrap_or_default();
            let is_apache = software == b"Apache" || software.starts_with(b"Apache/");
            is_apache && files::kind(passed.output.as_fd()) == Kind::Fifo
        }
        Handoff::Exit => true,
        Handoff::Relay | Handoff::Stay => false,
    }
}

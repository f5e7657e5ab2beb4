//! How a connection's header comes in, and what it asks for. Reads not one byte of the message-body.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use smallvec::SmallVec;

use super::body::Ahead;
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

/// Behind the header for a worker: the output is the web server's error log as well.
const IS_LOG: u8 = b's';

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
pub(super) struct Rules<'a> {
    pub(super) header_limit: usize,
    /// Whoever has this cookie is known.
    pub(super) priority_cookie: Option<&'a str>,
    pub(super) handoff: Handoff,
}

impl HeaderReader {
    /// Reads what is there. `None`: more is to come.
    pub(super) fn read(
        &mut self,
        connection: BorrowedFd<'_>,
        rules: Rules<'_>,
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
        Taken::unserved(passed, length)
    }

    fn asked(&mut self, connection: BorrowedFd<'_>, rules: Rules<'_>) -> Result<Asked, Refused> {
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
        let output = passed.as_ref().map(Output::of);
        let mut message = if is_handoff {
            header.raw().to_vec()
        } else {
            let length = request.value("CONTENT_LENGTH").unwrap_or_default();
            let mut message = Vec::new();
            scgi::message(length, request.meta().iter().copied(), &mut message);
            message
        };
        if output.is_some_and(|output| output.is_log) {
            message.push(IS_LOG);
        }
        Ok(Asked::Request(Box::new(Taken {
            header: message,
            length: request.content_length().unwrap_or(0),
            ahead: Ahead::Nothing,
            form: Form::from_accept(request.accept()),
            head_only: request.is_head(),
            refreshes: request.method() == b"GET",
            client_address: request.value("REMOTE_ADDR").unwrap_or_default().to_vec(),
            leaves_early: output.is_some_and(|output| leaves_early(rules, &request, output)),
            is_known: is_known(rules, &request, is_own),
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

/// What is asked of a passed output, and costs a system call.
#[derive(Clone, Copy, Debug)]
struct Output {
    is_pipe: bool,
    /// The web server reads response and errors from one pipe: its flags are not ours to set.
    is_log: bool,
}

impl Output {
    fn of(passed: &Passed) -> Output {
        let described = files::described(passed.output.as_fd()).ok();
        let pipe = described.filter(|(kind, _)| *kind == Kind::Fifo);
        let is_log = |(_, output)| {
            files::described(passed.errors.as_fd()).is_ok_and(|(_, errors)| errors == output)
        };
        Output {
            is_pipe: pipe.is_some(),
            is_log: pipe.is_some_and(is_log),
        }
    }
}

/// Whether the site knows whose request this is: a user of our own web server, or whoever has the cookie.
fn is_known(rules: Rules<'_>, request: &Request<'_>, is_own: bool) -> bool {
    let user = request.value("REMOTE_USER").unwrap_or_default();
    (is_own && !user.is_empty())
        || rules
            .priority_cookie
            .is_some_and(|name| has_cookie(request.value("HTTP_COOKIE").unwrap_or_default(), name))
}

/// RFC 6265 4.2.1: `name=value` pairs with semicolons between. A name alone is a value without a name to browsers.
fn has_cookie(cookies: &[u8], name: &str) -> bool {
    cookies.split(|&byte| byte == b';').any(|pair| {
        let end = pair.iter().position(|&byte| byte == b'=');
        end.is_some_and(|end| pair[..end].trim_ascii() == name.as_bytes())
    })
}

/// Whether this web server lets its CGI go before the response is complete. Measured for Apache with a pipe as
/// stdout (mod_cgi): it ends at the pipe's end, and reaps a child that is already gone without waiting for it.
fn leaves_early(rules: Rules<'_>, request: &Request<'_>, output: Output) -> bool {
    match rules.handoff {
        Handoff::Auto => {
            let software = request.value("SERVER_SOFTWARE").unwrap_or_default();
            let is_apache = software == b"Apache" || software.starts_with(b"Apache/");
            is_apache && output.is_pipe
        }
        Handoff::Exit => true,
        Handoff::Relay | Handoff::Stay => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_has_a_name() {
        let has = |cookies: &str| has_cookie(cookies.as_bytes(), "session");
        for cookies in [
            "session=1",
            "a=b; session=",
            "a=b;session=x=y; c=d",
            " session =1",
        ] {
            assert!(has(cookies), "{cookies}");
        }
        for cookies in [
            "",
            "session",
            "mysession=1",
            "a=session=1",
            "Session=1",
            "a=b; sessions=1",
        ] {
            assert!(!has(cookies), "{cookies}");
        }
    }

    #[test]
    fn one_pipe_for_response_and_errors_is_noticed() {
        let (input, one) = files::pipe().unwrap();
        let (_other, output) = files::pipe().unwrap();
        let mut passed = Passed {
            errors: files::duplicate(&output).unwrap(),
            input,
            output,
        };
        let output = Output::of(&passed);
        assert!(output.is_pipe && output.is_log);
        passed.errors = one;
        assert!(!Output::of(&passed).is_log);
        passed.output = files::null().unwrap();
        passed.errors = files::null().unwrap();
        let output = Output::of(&passed);
        assert!(!output.is_pipe && !output.is_log);
    }
}

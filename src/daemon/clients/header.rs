//! How a connection's header comes in, and what it asks for. Of the message-body it reads no more than what comes with
//! the header in one piece.
//!
//! Until its header is whole, a connection is given no more than it has sent: memory for the bytes that have come, and
//! no descriptor. A front passes its three with the first byte. There is room for descriptors in that one read, and
//! only where the peer is our own user: what comes at another time, or from another user, the kernel drops before it is
//! a descriptor of ours.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use smallvec::SmallVec;

use super::taken::{Length, Passed, Taken};
use crate::app;
use crate::cgi::edge;
use crate::cgi::meta::{self, Peer};
use crate::cgi::request::{BadRequest, Request};
use crate::cgi::{cookie, repeated, unique};
use crate::config::{Config, Handoff, Mount, StatusPage};
use crate::control::{self, Command};
use crate::daemon::guest::Caller;
use crate::handoff;
use crate::report::visible;
use crate::scgi::{self, BadHeader, Decoded, Header};
use crate::spool::Ahead;
use crate::sys::files::{self, Kind};
use crate::sys::{Errno, fdpass, is, socket};

/// Behind the header for a worker: the output is the web server's error log as well.
const IS_LOG: u8 = b's';
/// The same: Apache asks for its ErrorDocument, which a stranger's meta-variables do not say.
const IS_ERROR_PAGE: u8 = b'e';

/// The first read asks for so many bytes: most headers, and the small body of a form behind them. What is larger is read
/// to the end of the header and no farther: the rest need not go through us.
pub(super) const FIRST_READ: usize = 4096;
/// Room for the largest header that `header-limit` allows, with its length and comma: for all connections together.
pub(super) const MOST_READ: usize = (128 << 10) + b"131072:,".len();
/// What a front passes: input, output and errors.
const PASSED: usize = 3;

/// The names and values of a header.
type Pairs<'a> = SmallVec<[(&'a [u8], &'a [u8]); 64]>;

/// The same, each name once.
type SettledPairs<'a> = Vec<(&'a [u8], Cow<'a, [u8]>)>;

/// Collects a header and the descriptors that come with it.
#[derive(Debug, Default)]
pub(crate) struct HeaderReader {
    bytes: Vec<u8>,
    fds: SmallVec<[OwnedFd; 4]>,
    cut: bool,
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
    /// A front of another version: it goes on by itself when we close.
    Protocol,
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
}

impl HeaderReader {
    /// What a worker has read and received.
    pub(crate) fn holding(bytes: Vec<u8>, fds: SmallVec<[OwnedFd; 4]>, cut: bool) -> HeaderReader {
        let cut = cut || !fds.is_empty() && fds.len() != PASSED;
        let fds = if cut { SmallVec::new() } else { fds };
        HeaderReader { bytes, fds, cut }
    }

    /// Bytes of a header that is not whole.
    pub(super) fn kept(&self) -> usize {
        self.bytes.len()
    }

    /// Reads what is there. `None`: more is to come. `block`: room for [`MOST_READ`] bytes.
    pub(super) fn read(
        &mut self,
        connection: BorrowedFd<'_>,
        rules: Rules<'_>,
        block: &mut [u8],
    ) -> io::Result<Option<Result<Message, BadMessage>>> {
        if self.bytes.is_empty() {
            let Some(count) = self.receive_first(connection, rules, &mut block[..FIRST_READ])?
            else {
                return Ok(None);
            };
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
        let read = self.read_to_end(&mut bytes, connection, rules, block);
        self.bytes = bytes;
        read
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

    /// The command that a message is, if it is one.
    fn control(
        &self,
        pairs: &[(&[u8], &[u8])],
        connection: BorrowedFd<'_>,
        rules: Rules<'_>,
    ) -> Result<Option<Command>, BadMessage> {
        let is_own = rules.peer == Peer::Own;
        let Some(word) = control::word(pairs) else {
            let names = || pairs.iter().map(|(name, _)| *name);
            let is_meant = || names().any(|name| name == control::VARIABLE.as_bytes());
            // At the app's place another user's message that names the command variable is no request.
            return match rules.is_at_place && !is_own && is_meant() {
                true => Err(BadMessage::Command),
                false => Ok(None),
            };
        };
        let is_root = || socket::peer(connection).is_some_and(|peer| peer.uid == 0);
        let is_bare = self.fds.is_empty() && !self.cut;
        let may = rules.is_at_place && is_bare && (is_own || is_root());
        let command = Command::from_word(word).filter(|_| may);
        command.map(Some).ok_or(BadMessage::Command)
    }

    /// What is known of a request whose header can't be served: where its page can go.
    pub(super) fn unserved(&mut self) -> Taken {
        let passed = Passed::from_fds(&mut self.fds);
        // A plain client may read no page before it has sent all of its message-body, whose length is not known.
        let length = match passed {
            Some(_) => Length::Bytes(0),
            None => Length::ToEnd,
        };
        Taken::unserved(passed, length)
    }

    /// What a whole header asks for. `behind`: what has come of a plain client's message-body.
    fn asked(
        &mut self,
        header: &Header<'_>,
        behind: &[u8],
        connection: BorrowedFd<'_>,
        rules: Rules<'_>,
    ) -> Result<Message, BadMessage> {
        // Split once, since they are looked at several times.
        let pairs: Pairs<'_> = header.pairs().collect();
        if let Some(command) = self.control(&pairs, connection, rules)? {
            return Ok(Message::Control(command));
        }
        let request = self.request(header, &pairs, behind, connection, rules)?;
        Ok(Message::Request(request))
    }

    fn request(
        &mut self,
        header: &Header<'_>,
        pairs: &Pairs<'_>,
        behind: &[u8],
        connection: BorrowedFd<'_>,
        rules: Rules<'_>,
    ) -> Result<Box<Taken>, BadMessage> {
        let is_front = rules.peer == Peer::Own && rules.is_at_place;
        let protocol = handoff::protocol(pairs).filter(|_| is_front);
        let is_handoff = protocol.is_some();
        let settled = (!is_handoff).then(|| settled(pairs));
        let (settled, overridden) = settled.unwrap_or_default();
        let (path, refusal);
        let request = if is_handoff {
            Request::from_meta(pairs.iter().copied(), rules.peer)
        } else {
            let pairs = settled.iter().map(|(name, value)| (*name, value.as_ref()));
            Request::from_scgi_client(pairs, rules.peer)
        };
        let request = request.map_err(|bad| refused(bad, header))?;
        if protocol.is_some_and(|number| number != handoff::PROTOCOL.as_bytes()) {
            return Err(BadMessage::Protocol);
        }
        let passed = self.passed(is_handoff, connection, rules)?;
        let output = passed.as_ref().map(Output::of);
        (path, refusal) = match app::mounted(rules.mount, &request) {
            Ok(None) if !is_handoff => (edge::divided(&request), None),
            Ok(path) => (path, None),
            Err(refusal) => (None, Some(refusal)),
        };
        let divided = path.as_ref().map(|path| request.at(path));
        let request = divided.as_ref().unwrap_or(&request);
        let stays = is_handoff && path.is_none() && is_whole(request, pairs);
        let raw = stays.then(|| header.raw());
        let length = Length::from(request.extent());
        // Its address is what it says that it is.
        let is_stranger = rules.peer == Peer::Foreign { trusted: false };
        let mut taken = Box::new(Taken {
            header: message(raw, request, output),
            doubt: match is_handoff {
                true => request.doubt_of_cgi(),
                false => request.doubt(),
            },
            ahead: match passed {
                Some(_) => Ahead::Nothing,
                None => ahead(behind, length),
            },
            leaves_early: output.is_some_and(|output| leaves_early(rules, request, output)),
            is_known: is_known(rules, request),
            is_own: rules.peer == Peer::Own,
            wants_status: !is_stranger && app::asks_status(rules.status, request, None),
            unbelieved: unbelieved(pairs, rules.peer),
            overridden: overridden.into_iter().map(visible).collect(),
            refusal,
            ..Taken::of(request, passed, length)
        });
        if is_stranger {
            taken.client_address.clear();
        }
        let input = taken.passed.as_ref().filter(|_| taken.goes_to_end());
        if let Some(length) = input.and_then(|passed| files::rest(passed.input.as_fd())) {
            taken.measure(length);
        }
        Ok(taken)
    }

    /// A front's descriptors. If they were not received, or `handoff` is `relay`, the front is told to copy.
    fn passed(
        &mut self,
        is_handoff: bool,
        connection: BorrowedFd<'_>,
        rules: Rules<'_>,
    ) -> Result<Option<Passed>, BadMessage> {
        if !is_handoff {
            return Ok(None);
        }
        if !self.cut
            && rules.handoff != Handoff::Relay
            && let Some(passed) = Passed::from_fds(&mut self.fds)
        {
            return Ok(Some(passed));
        }
        match socket::send_now(connection, handoff::RELAY) {
            Ok(_) => Ok(None),
            Err(_) => Err(BadMessage::Lost),
        }
    }
}

/// What an SCGI client says, each name once, without what is only a front's to say; and the names that had several
/// values.
fn settled<'a>(pairs: &Pairs<'a>) -> (SettledPairs<'a>, BTreeSet<&'a [u8]>) {
    let is_ours = |name: &[u8]| name == handoff::VARIABLE.as_bytes();
    let others = || pairs.iter().copied().filter(|(name, _)| !is_ours(name));
    let settled = Vec::from_iter(repeated::settled(others()));
    let overridden = match settled.len() < pairs.len() {
        true => repeated::overridden(others()),
        false => BTreeSet::new(),
    };
    (settled, overridden)
}

/// Adds the name that came twice, if that is what is wrong.
fn refused(bad: BadRequest, header: &Header<'_>) -> BadMessage {
    let settled = || repeated::settled(header.pairs());
    let is_twice = bad == BadRequest::Duplicate;
    let twice = is_twice.then(|| unique::in_conflict(settled())).flatten();
    BadMessage::Request(bad, twice.map(visible))
}

/// The request has all the pairs. An empty CONTENT_LENGTH is a front's word for none, and the only pair that a request
/// leaves out otherwise.
fn is_whole(request: &Request<'_>, pairs: &Pairs<'_>) -> bool {
    let is_empty = pairs.first().is_some_and(|(_, length)| length.is_empty());
    request.meta().len() + usize::from(is_empty) == pairs.len()
}

/// The header as a worker gets it: `raw` where it can stay as it came.
fn message(raw: Option<&[u8]>, request: &Request<'_>, output: Option<Output>) -> Vec<u8> {
    let mut message = match raw {
        Some(raw) => raw.to_vec(),
        None => {
            let length = request.value("CONTENT_LENGTH").unwrap_or_default();
            let mut message = Vec::new();
            scgi::message(length, request.meta().iter().copied(), &mut message);
            message
        }
    };
    if output.is_some_and(|output| output.is_log) {
        message.push(IS_LOG);
    }
    if request.is_error_page() {
        message.push(IS_ERROR_PAGE);
    }
    message
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

/// What has come of a message-body of this length. What a client sends beyond its length is not read.
fn ahead(behind: &[u8], length: Length) -> Ahead {
    let most = match length {
        Length::Bytes(length) => usize::try_from(length).unwrap_or(usize::MAX),
        Length::ToEnd => usize::MAX,
    };
    let behind = &behind[..behind.len().min(most)];
    if behind.is_empty() {
        Ahead::Nothing
    } else {
        Ahead::Memory(behind.to_vec())
    }
}

/// The first name by which a client that may not do so says who the user is.
fn unbelieved(pairs: &Pairs<'_>, peer: Peer) -> Option<Vec<u8>> {
    let is_said = |&&(name, value): &&(&[u8], &[u8])| meta::is_identity(name) && !value.is_empty();
    let dropped = pairs
        .iter()
        .find(|pair| is_said(pair) && !meta::admitted(pair.0, peer));
    dropped.map(|(name, _)| name.to_vec())
}

/// What has to be known of a passed output; each costs a system call.
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

/// Whether the site knows whose request this is: a user of a web server that may say so, or a client that has the cookie.
fn is_known(rules: Rules<'_>, request: &Request<'_>) -> bool {
    // The name was dropped where the client may not say it.
    let user = request.value("REMOTE_USER").unwrap_or_default();
    !user.is_empty()
        || rules.priority_cookie.is_some_and(|name| {
            let cookies = request.value("HTTP_COOKIE").unwrap_or_default();
            cookie::values(cookies, name).next().is_some()
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

//! What a header asks for: a command or a request, with all that has to be known of it. Knows meta-variables; how they
//! came is [`super::header`]'s.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};

use smallvec::SmallVec;

use super::header::{BadMessage, HeaderReader, Message, Rules};
use super::records;
use super::taken::{FrontWord, Length, Passed, Taken};
use crate::app;
use crate::cgi::edge;
use crate::cgi::meta::{self, Peer};
use crate::cgi::request::{BadRequest, Request};
use crate::cgi::{Doubt, Extent, cookie, repeated, unique};
use crate::config::Handoff;
use crate::control::{self, Command};
use crate::fastcgi::pairs::Pairs as Params;
use crate::handoff;
use crate::report::visible;
use crate::scgi::{self, Header};
use crate::spool::Ahead;
use crate::sys::files::{self, Kind};
use crate::sys::socket;

/// Behind the header for a worker: the output is the web server's error log as well.
const IS_LOG: u8 = b's';
/// The same: Apache asks for its ErrorDocument, which a stranger's meta-variables do not say.
const IS_ERROR_PAGE: u8 = b'e';

/// The names and values of a header.
type Pairs<'a> = SmallVec<[(&'a [u8], &'a [u8]); 64]>;

/// The same, each name once.
type SettledPairs<'a> = Vec<(&'a [u8], Cow<'a, [u8]>)>;

impl HeaderReader {
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

    /// What is known of a request whose header can't be served: where its page can go. `None`: nowhere.
    pub(super) fn unserved(&mut self, connection: BorrowedFd<'_>) -> Option<Taken> {
        if let Some(opened) = self.opened.take() {
            let piped = records::pipe(opened, None, connection).ok()?;
            self.begun = Some(Box::new(piped.begun));
            return Some(Taken {
                said: FrontWord::Done,
                ..Taken::unserved(Some(piped.passed), Length::Bytes(0))
            });
        }
        let passed = Passed::from_fds(&mut self.fds);
        // A plain client may read no page before it has sent all of its message-body, whose length is not known.
        let length = match passed {
            Some(_) => Length::Bytes(0),
            None => Length::ToEnd,
        };
        Some(Taken::unserved(passed, length))
    }

    /// What the whole header of a FastCGI request asks for.
    pub(super) fn asked_by_records(
        &mut self,
        params: &[u8],
        connection: BorrowedFd<'_>,
        rules: Rules<'_>,
    ) -> Result<Message, BadMessage> {
        let pairs: Result<Pairs<'_>, _> = Params(params).collect();
        let pairs = pairs.map_err(BadMessage::Records)?;
        let request = self.request(&pairs, None, connection, rules)?;
        Ok(Message::Request(request))
    }

    /// What a whole header asks for. `behind`: what has come of a plain client's message-body.
    pub(super) fn asked(
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
        let scgi = Some((header.raw(), behind));
        let request = self.request(&pairs, scgi, connection, rules)?;
        Ok(Message::Request(request))
    }

    /// `scgi`: the header as it came, and what is behind it; `None`: it came by FastCGI.
    fn request(
        &mut self,
        pairs: &Pairs<'_>,
        scgi: Option<(&[u8], &[u8])>,
        connection: BorrowedFd<'_>,
        rules: Rules<'_>,
    ) -> Result<Box<Taken>, BadMessage> {
        let is_front = rules.peer == Peer::Own && rules.is_at_place && scgi.is_some();
        let protocol = handoff::protocol(pairs).filter(|_| is_front);
        let is_handoff = protocol.is_some();
        let settled = (!is_handoff).then(|| settled(pairs, scgi.is_some()));
        let (settled, overridden) = settled.unwrap_or_default();
        let (path, refusal);
        let request = if is_handoff {
            Request::from_meta(pairs.iter().copied(), rules.peer)
        } else {
            let pairs = settled.iter().map(|(name, value)| (*name, value.as_ref()));
            match scgi {
                Some(_) => Request::from_scgi_client(pairs, rules.peer),
                None => Request::from_fastcgi_client(pairs, rules.peer),
            }
        };
        let request = request.map_err(|bad| refused(bad, pairs))?;
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
        let raw = scgi.map(|(raw, _)| raw).filter(|_| stays);
        let behind = scgi.map_or(&[][..], |(_, behind)| behind);
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
        if scgi.is_none() {
            // What comes of a body beside an error page is skipped.
            let extent = match request.is_error_page() {
                true => Extent::Length(0),
                false => request.extent(),
            };
            self.pipe(&mut taken, extent, connection)?;
            return Ok(taken);
        }
        let input = taken.passed.as_ref().filter(|_| taken.goes_to_end());
        if let Some(length) = input.and_then(|passed| files::rest(passed.input.as_fd())) {
            taken.measure(length);
        }
        Ok(taken)
    }

    /// Gives a FastCGI request its pipes, and what has come of its body.
    fn pipe(
        &mut self,
        taken: &mut Taken,
        extent: Extent,
        connection: BorrowedFd<'_>,
    ) -> Result<(), BadMessage> {
        let opened = self.opened.take().ok_or(BadMessage::Lost)?;
        let length = match extent {
            Extent::Length(length) => Some(length),
            Extent::None | Extent::ToEnd => None,
        };
        let piped = records::pipe(opened, length, connection).map_err(BadMessage::NoPipes)?;
        taken.passed = Some(piped.passed);
        taken.said = FrontWord::Done;
        taken.doubt = None;
        match (piped.body, length) {
            (Some(body), Some(_)) => taken.ahead = ahead(&body, taken.length),
            // It had no body, as its header says.
            (Some(body), None) if body.is_empty() && extent == Extent::None => {}
            (Some(body), None) => {
                taken.measure(body.len() as u64);
                taken.ahead = ahead(&body, taken.length);
            }
            // Only the end of the records tells.
            (None, None) => {
                taken.length = Length::ToEnd;
                taken.may_lack_body = extent == Extent::None;
            }
            // nginx gives a subrequest the length of the body that the first request had.
            (None, Some(_)) if piped.begun.is_whole && piped.is_empty => taken.measure(0),
            (None, Some(1..)) if piped.is_empty => taken.doubt = Some(Doubt::Cgi),
            (None, Some(_)) => {}
        }
        self.begun = Some(Box::new(piped.begun));
        Ok(())
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
fn settled<'a>(pairs: &Pairs<'a>, is_scgi: bool) -> (SettledPairs<'a>, BTreeSet<&'a [u8]>) {
    let is_ours = |name: &[u8]| name == handoff::VARIABLE.as_bytes();
    let others = || pairs.iter().copied().filter(|(name, _)| !is_ours(name));
    let settled = match is_scgi {
        true => Vec::from_iter(repeated::settled(others())),
        false => Vec::from_iter(repeated::settled_of_records(others())),
    };
    let overridden = match settled.len() < pairs.len() {
        true => repeated::overridden(others()),
        false => BTreeSet::new(),
    };
    (settled, overridden)
}

/// Adds the name that came twice, if that is what is wrong.
fn refused(bad: BadRequest, pairs: &Pairs<'_>) -> BadMessage {
    let settled = || repeated::settled(pairs.iter().copied());
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

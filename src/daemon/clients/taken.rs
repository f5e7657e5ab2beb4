//! A request with all that is needed to serve it: what was said of it, where its message-body comes from and its
//! response goes, and what its front was told. How a client's phases follow each other is not its concern.

use std::os::fd::OwnedFd;

use smallvec::SmallVec;

use super::account::Reckoning;
use crate::cgi::body::{self, Measured};
use crate::cgi::request::Request;
use crate::cgi::{Doubt, Extent, Reader};
use crate::page::{Failure, Visitor};
use crate::scgi::{self, Decoded};
use crate::spool::Ahead;

/// A request as it was taken from its client.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The header as a worker gets it: what its client may send, with the path divided as the app is to see it.
    pub(crate) header: Vec<u8>,
    /// Where the message-body comes from, and the response goes; none: the connection.
    pub(super) passed: Option<Passed>,
    /// How much of the message-body is still to be read.
    pub(super) length: Length,
    /// Why the message-body may never come.
    pub(super) doubt: Option<Doubt>,
    /// Its header says nothing of a message-body: if none comes, it has none.
    pub(super) may_lack_body: bool,
    /// More may come than its length says.
    pub(super) may_exceed: bool,
    /// The beginning of the message-body.
    pub(crate) ahead: Ahead,
    pub(super) visitor: Visitor,
    pub(super) client_address: Vec<u8>,
    pub(super) leaves_early: bool,
    /// What reads the response.
    pub(crate) reader: Reader,
    /// The site knows its user, so it is refused last.
    pub(super) is_known: bool,
    /// From a process of our own uid: what it says may be believed.
    pub(super) is_own: bool,
    /// It is for the page of `status-path`, and may see that.
    pub(super) wants_status: bool,
    /// A name that its client has sent and may not.
    pub(super) unbelieved: Option<Vec<u8>>,
    /// Names that its web server sent with several values, as the log prints them.
    pub(super) overridden: Vec<String>,
    /// The request is not for the app: what its client gets, and what the operator reads.
    pub(super) refusal: Option<(Failure, String)>,
    pub(super) said: FrontWord,
    pub(super) account: Reckoning,
}

/// How much of a message-body is still to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Bytes(u64),
    /// It goes to its end, which was not seen yet.
    ToEnd,
}

impl From<Extent> for Length {
    fn from(extent: Extent) -> Length {
        match extent {
            Extent::Length(length) => Length::Bytes(length),
            Extent::None => Length::Bytes(0),
            Extent::ToEnd => Length::ToEnd,
        }
    }
}

/// The web server's own descriptors, from the front.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) input: OwnedFd,
    pub(super) output: OwnedFd,
    pub(super) errors: OwnedFd,
}

/// What a front was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FrontWord {
    Nothing,
    Queued,
    Taken,
    Done,
}

impl FrontWord {
    /// A plain SCGI client, and a front that relays, are told nothing but the response.
    pub(super) fn first(passed: Option<&Passed>) -> FrontWord {
        match passed {
            Some(_) => FrontWord::Nothing,
            None => FrontWord::Done,
        }
    }
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
    /// A request of which nothing is known but where its page can go, and how much is still to be read.
    pub(super) fn unserved(passed: Option<Passed>, length: Length) -> Taken {
        Taken {
            header: Vec::new(),
            length,
            doubt: None,
            may_lack_body: false,
            may_exceed: false,
            ahead: Ahead::Nothing,
            visitor: Visitor::unknown(),
            client_address: Vec::new(),
            leaves_early: false,
            reader: Reader::Other,
            is_known: false,
            is_own: false,
            wants_status: false,
            unbelieved: None,
            overridden: Vec::new(),
            refusal: None,
            said: FrontWord::first(passed.as_ref()),
            account: Reckoning::default(),
            passed,
        }
    }

    /// What a request says of itself.
    pub(super) fn of(request: &Request<'_>, passed: Option<Passed>, length: Length) -> Taken {
        Taken {
            may_exceed: request.may_exceed_its_length(),
            visitor: Visitor::of(request),
            client_address: request.value("REMOTE_ADDR").unwrap_or_default().to_vec(),
            reader: Reader::of(request),
            ..Taken::unserved(passed, length)
        }
    }

    /// The message-body has turned out to have so many bytes.
    pub(super) fn measure(&mut self, length: u64) {
        self.header = measured(&self.header, length);
        self.length = Length::Bytes(length);
        self.doubt = None;
    }

    /// Bytes of the message-body that are still to be read; the largest number where only its end tells.
    pub(crate) fn length(&self) -> u64 {
        match self.length {
            Length::Bytes(length) => length,
            Length::ToEnd => u64::MAX,
        }
    }

    /// It is a browser's, which shows a page and comes back by itself.
    pub(crate) fn is_browser(&self) -> bool {
        self.visitor.is_browser()
    }

    /// Its response has no message-body.
    pub(crate) fn is_head(&self) -> bool {
        self.visitor.head_only
    }

    pub(super) fn goes_to_end(&self) -> bool {
        self.length == Length::ToEnd
    }

    /// So many bytes are still to be read.
    pub(crate) fn set_length(&mut self, length: u64) {
        self.length = Length::Bytes(length);
    }

    /// So many bytes less are to be read: another reader has them.
    pub(crate) fn shorten(&mut self, bytes: u64) {
        if let Length::Bytes(length) = &mut self.length {
            *length -= bytes;
        }
    }

    /// What was read ahead into memory is given up: its reader has it.
    pub(crate) fn give_up_memory(&mut self) {
        let bytes = self.ahead.give_up_memory();
        self.shorten(bytes);
    }

    /// It has a front that was not told yet that we answer, and so can still go elsewhere.
    pub(crate) fn can_go_elsewhere(&self) -> bool {
        self.said < FrontWord::Taken
    }
}

/// A worker's message with the length that its message-body turned out to have, in place of what the client said of it.
pub(super) fn measured(message: &[u8], length: u64) -> Vec<u8> {
    let Ok(Decoded::Header { header, consumed }) = scgi::decode(message, message.len()) else {
        return message.to_vec();
    };
    let length = Measured::new(length);
    let mut measured = Vec::with_capacity(message.len());
    let rest = header.pairs().filter_map(body::undone);
    scgi::message(length.digits(), rest, &mut measured);
    measured.extend_from_slice(&message[consumed..]);
    measured
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_measured_and_keeps_the_rest() {
        let pairs: [(&[u8], &[u8]); 4] = [
            (b"POLYCGI", b"1"),
            (b"HTTP_CONTENT_LENGTH", b"5"),
            (b"HTTP_TRANSFER_ENCODING", b"chunked"),
            (b"HTTP_X", b"y"),
        ];
        let mut message = Vec::new();
        scgi::message(b"", pairs.into_iter(), &mut message);
        message.push(b's');
        let expected = b"43:CONTENT_LENGTH\x007\0SCGI\x001\0POLYCGI\x001\0HTTP_X\0y\0,s";
        assert_eq!(
            measured(&message, 7).escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
    }
}

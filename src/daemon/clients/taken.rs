//! A request with all that is needed to serve it: what was said of it, where its message-body comes from and its
//! response goes, and what its front was told. How a client's phases follow each other is not its concern.

use std::os::fd::OwnedFd;

use smallvec::SmallVec;

use super::body::Ahead;
use crate::cgi::body::{self, Measured};
use crate::cgi::{Doubt, Reader};
use crate::page::{Failure, Form};
use crate::scgi::{self, Decoded};

/// A request with everything that is needed to serve it.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The header as a worker gets it: what its client may send, with the path divided as the app is to see it.
    pub(crate) header: Vec<u8>,
    /// Where the message-body comes from, and the response goes; none: the connection.
    pub(crate) passed: Option<Passed>,
    /// Bytes of the message-body.
    pub(crate) length: u64,
    /// It goes to its end, which was not seen yet; until then `length` is the largest number.
    pub(crate) to_end: bool,
    /// Nothing of the message-body may come.
    pub(crate) doubt: Option<Doubt>,
    /// More may come than that.
    pub(crate) may_exceed: bool,
    /// The beginning of the message-body.
    pub(crate) ahead: Ahead,
    pub(crate) form: Form,
    pub(crate) head_only: bool,
    pub(crate) refreshes: bool,
    pub(crate) client_address: Vec<u8>,
    pub(crate) leaves_early: bool,
    /// Of the response.
    pub(crate) reader: Reader,
    /// Of somebody whom the site knows: it is shed last.
    pub(crate) is_known: bool,
    /// From a process of our own uid: what it says may be believed.
    pub(crate) is_own: bool,
    /// A name that its client may not say, and has said.
    pub(crate) unbelieved: Option<Vec<u8>>,
    /// Names that its web server was told to give several values, for people.
    pub(crate) overridden: Vec<String>,
    /// It is none for the app: what its client gets, and what the operator reads.
    pub(crate) refusal: Option<(Failure, String)>,
    pub(crate) said: Said,
}

/// The web server's own descriptors, from the front.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) input: OwnedFd,
    pub(crate) output: OwnedFd,
    pub(crate) errors: OwnedFd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Said {
    Nothing,
    Queued,
    Taken,
    Done,
}

impl Passed {
    pub(crate) fn from_fds(fds: &mut SmallVec<[OwnedFd; 4]>) -> Option<Passed> {
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
    pub(crate) fn unserved(passed: Option<Passed>, length: u64) -> Taken {
        Taken {
            header: Vec::new(),
            length,
            to_end: false,
            doubt: None,
            may_exceed: false,
            ahead: Ahead::Nothing,
            form: Form::Text,
            head_only: false,
            refreshes: false,
            client_address: Vec::new(),
            leaves_early: false,
            reader: Reader::Other,
            is_known: false,
            is_own: false,
            unbelieved: None,
            overridden: Vec::new(),
            refusal: None,
            // A plain SCGI client, and a front that relays, hear nothing but the response.
            said: if passed.is_some() {
                Said::Nothing
            } else {
                Said::Done
            },
            passed,
        }
    }

    /// The message-body has turned out to have so many bytes.
    pub(crate) fn measure(&mut self, length: u64) {
        self.header = measured(&self.header, length);
        self.length = length;
        self.to_end = false;
        self.doubt = None;
    }

    /// A front (as against a plain SCGI client), to which nothing has been said that keeps it from going elsewhere.
    pub(crate) fn can_go_elsewhere(&self) -> bool {
        self.said < Said::Taken
    }
}

/// A worker's message, once it is known how long its message-body is. What its client said of that is gone.
pub(crate) fn measured(message: &[u8], length: u64) -> Vec<u8> {
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

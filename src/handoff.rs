//! The words between a front and the daemon, after the header and the descriptors. Knows bytes only.
//!
//! The daemon's bytes, together where they coincide:
//! - `Q` queued. Nothing is touched; if the daemon dies now, the front serves the request another way. It comes
//!   within [`PATIENCE`], or the front takes the request back.
//! - `T` taken, written as late as possible: just before a worker gets the request. From here on the daemon or its
//!   workers answer, whatever happens, and the front adds nothing.
//! - `D` done: nobody but the daemon has copies of the descriptors, and it closes its own when the front has ended;
//!   or it knows that this web server needs the front no more (leaving early).
//! - `RRR` relay: the descriptors were refused; the front copies over this connection. Three times, so that the
//!   one receive of three bytes, which is all that a front does in the usual case, ends with it.
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::bounded::Bytes;
use crate::scgi;

/// The meta-variable that makes a header a handoff, and ...
pub const VARIABLE: &str = "POLYCGI";
/// ... the number of this protocol.
pub const PROTOCOL: &str = "1";

/// The number in a header that a front has begun with [`opening`]: the third pair and no other, since a variable of
/// this name may stand in the environment of a web server.
pub fn protocol<'a>(pairs: &[(&[u8], &'a [u8])]) -> Option<&'a [u8]> {
    let (name, number) = pairs.get(2)?;
    (*name == VARIABLE.as_bytes()).then_some(number)
}

/// The most digits that a CONTENT_LENGTH needs.
pub const LONGEST_LENGTH: usize = 20;

/// The header up to where the other pairs begin: see [`opening`].
pub type Opening =
    Bytes<{ 2 * LONGEST_LENGTH + b":CONTENT_LENGTH\0\0SCGI\x001\0POLYCGI\x001\0".len() }>;

/// Begins the header of a handoff; behind it come the other pairs, `rest` bytes with their NULs, and [`END`].
/// `content_length` is in at most [`LONGEST_LENGTH`] digits, or empty: the request has none.
#[inline(always)]
pub fn opening(content_length: &[u8], rest: usize) -> Opening {
    let pair = VARIABLE.len() + PROTOCOL.len() + 2;
    let mut opening = Opening::new();
    scgi::open(content_length, pair + rest, &mut opening);
    for part in [VARIABLE, PROTOCOL] {
        opening.append(part.as_bytes());
        opening.push(0);
    }
    opening
}

/// Ends the header.
pub const END: &[u8] = b",";

/// `Q`, `T` and `D`: the most that the daemon says.
pub const ACK_LEN: usize = 3;
/// How long a front waits for `Q`.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// The daemon's words.
pub const QUEUED: &[u8] = b"Q";
/// See [`QUEUED`].
pub const TAKEN: &[u8] = b"T";
/// See [`QUEUED`].
pub const DONE: &[u8] = b"D";
/// See [`QUEUED`].
pub const RELAY: &[u8] = b"RRR";

/// What the bytes so far amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Ack {
    Done,
    Nothing,
    Queued,
    Relay,
    Taken,
}

impl Ack {
    /// By the last of them.
    #[inline(always)]
    pub fn read(bytes: &[u8]) -> Ack {
        match bytes.last() {
            Some(b'D') => Ack::Done,
            Some(b'Q') => Ack::Queued,
            Some(b'R') => Ack::Relay,
            Some(b'T') => Ack::Taken,
            _ => Ack::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_and_the_rest_are_a_header() {
        let rest = b"REQUEST_METHOD\0GET\0";
        for length in ["", "0", "18446744073709551615"] {
            let opening = opening(length.as_bytes(), rest.len());
            let message = [opening.as_slice(), rest, END].concat();
            let pairs = [("POLYCGI", "1"), ("REQUEST_METHOD", "GET")];
            let pairs = pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let mut expected = Vec::new();
            scgi::message(length.as_bytes(), pairs.into_iter(), &mut expected);
            assert_eq!(message, expected);
            let Ok(scgi::Decoded::Header { header, .. }) = scgi::decode(&message, 1000) else {
                panic!("no header");
            };
            let mut pairs: Vec<_> = header.pairs().collect();
            assert_eq!(protocol(&pairs), Some(&b"1"[..]));
            pairs.rotate_right(1);
            assert_eq!(protocol(&pairs), None);
        }
    }

    #[test]
    fn the_last_word_counts() {
        assert_eq!(Ack::read(b""), Ack::Nothing);
        assert_eq!(Ack::read(b"Q"), Ack::Queued);
        assert_eq!(Ack::read(b"QT"), Ack::Taken);
        assert_eq!(Ack::read(b"QTD"), Ack::Done);
        assert_eq!(Ack::read(RELAY), Ack::Relay);
        assert_eq!(RELAY.len(), ACK_LEN);
    }
}

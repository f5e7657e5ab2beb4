//! The protocol between a front and the daemon, after the header and the descriptors. It knows bytes only.
//!
//! The daemon's bytes, several in one write where they are due at once:
//! - `Q` queued. No byte of the request is read yet: if the daemon dies now, the front serves the request another way.
//!   It comes within [`PATIENCE`], or the front takes the request back.
//! - `T` taken. Written as late as possible, just before a worker gets the request. From then on the daemon or its
//!   workers answer, whatever happens, and the front writes nothing.
//! - `D` done. Only the daemon still has copies of the descriptors, and it closes them when the front has ended; or it
//!   knows that this web server needs the front no longer (leaving early).
//! - `RRR` relay. The descriptors were refused: the front copies over this connection. Three bytes, because a front
//!   usually makes one receive call, which waits for three.
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::bounded::Bytes;
use crate::scgi;

/// The meta-variable that makes a header a handoff, and ...
pub const VARIABLE: &str = "POLYCGI";
/// ... the number of this protocol.
pub const PROTOCOL: &str = "1";

/// The number in a header that a front has begun with [`opening`]. It is the third pair: elsewhere a variable of this
/// name may come from the web server's environment.
pub fn protocol<'a>(pairs: &[(&[u8], &'a [u8])]) -> Option<&'a [u8]> {
    let (name, number) = pairs.get(2)?;
    (*name == VARIABLE.as_bytes()).then_some(number)
}

/// The most digits that a CONTENT_LENGTH needs.
pub const LONGEST_LENGTH: usize = 20;

/// The part of a header before the other pairs: see [`opening`].
pub type Opening =
    Bytes<{ 2 * LONGEST_LENGTH + b":CONTENT_LENGTH\0\0SCGI\x001\0POLYCGI\x001\0".len() }>;

/// Begins the header of a handoff. The caller adds the other pairs, `rest` bytes with their NULs, and [`END`].
/// `content_length` has at most [`LONGEST_LENGTH`] digits; empty means that the request has none.
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

/// The most bytes that the daemon sends: `Q`, `T` and `D`.
pub const ACK_LEN: usize = 3;
/// How long a front waits for `Q`.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// The daemon's bytes.
pub const QUEUED: &[u8] = b"Q";
/// See [`QUEUED`].
pub const TAKEN: &[u8] = b"T";
/// See [`QUEUED`].
pub const DONE: &[u8] = b"D";
/// See [`QUEUED`].
pub const RELAY: &[u8] = b"RRR";

/// What the daemon's bytes so far mean.
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
    /// By the last byte.
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

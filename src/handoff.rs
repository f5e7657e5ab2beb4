//! The words between a front and the daemon, after the header and the descriptors. Knows bytes only.
//!
//! The daemon's bytes, together where they coincide:
//! - `Q` queued. Nothing is touched; if the daemon dies now, the front serves the request another way. It comes
//!   within [`PATIENCE`], or the front takes the request back.
//! - `T` taken, written as late as possible: just before a worker gets the request. From here on the daemon or its
//!   workers answer, whatever happens, and the front adds nothing.
//! - `D` done: every copy of the descriptors is closed, or the daemon knows that this web server needs none of
//!   ours any more (leaving early).
//! - `RRR` relay: the descriptors were refused; the front copies over this connection. Three times, so that the
//!   one receive of three bytes, which is all that a front does in the usual case, ends with it.
#![forbid(unsafe_code)]

use std::time::Duration;

/// The meta-variable that makes a header a handoff, and ...
pub const VARIABLE: &str = "POLYCGI";
/// ... the number of this protocol.
pub const PROTOCOL: &str = "1";

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
    fn the_last_word_counts() {
        assert_eq!(Ack::read(b""), Ack::Nothing);
        assert_eq!(Ack::read(b"Q"), Ack::Queued);
        assert_eq!(Ack::read(b"QT"), Ack::Taken);
        assert_eq!(Ack::read(b"QTD"), Ack::Done);
        assert_eq!(Ack::read(RELAY), Ack::Relay);
        assert_eq!(RELAY.len(), ACK_LEN);
    }
}

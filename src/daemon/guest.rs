//! Whose a connection is, as far as the system tells: our own user's, or a guest's, by a path or by TCP.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::cgi::meta::Peer;

/// Who has connected, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    /// Whether it may say who the user is.
    pub(super) peer: Peer,
    /// The pid of a client that is our own user's; else 0.
    pub(super) pid: i32,
    /// It is not our own user's: it shares its places with other guests.
    pub(super) guest: Option<Guest>,
    /// It came to the socket in the app's place.
    pub(super) is_at_place: bool,
    /// There is no descriptor for its request: it is refused.
    pub(super) is_turned_away: bool,
}

/// What a client may take to send its header, or to read its page, if there is no descriptor for its request: others
/// are to be told as well.
const TURNED_AWAY: Duration = Duration::from_secs(1);

/// Another user, or another host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Guest {
    /// By TCP.
    Address(IpAddr),
    /// By TCP, and gone before its address was asked.
    Unknown,
    /// By a path.
    User(u32),
}

impl Caller {
    /// How long to wait for it where others are waited for that long.
    pub(super) fn patience(&self, usual: Duration) -> Duration {
        match self.is_turned_away {
            true => usual.min(TURNED_AWAY),
            false => usual,
        }
    }
}

impl fmt::Display for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Guest::Address(address) => address.fmt(f),
            Guest::Unknown => f.write_str("an unknown address"),
            Guest::User(uid) => write!(f, "uid {uid}"),
        }
    }
}

impl Guest {
    /// What its share is counted by: an IPv6 host has all the addresses of its /64.
    pub(super) fn origin(self) -> Guest {
        match self {
            Guest::Address(IpAddr::V6(address)) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                Guest::Address(Ipv6Addr::from_bits(network).into())
            }
            other => other,
        }
    }
}

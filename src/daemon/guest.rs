//! Whose a connection is, as far as the system tells: our own user's, or a guest's, by a path or by TCP; and how workers and
//! the daemon pass one on.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use smallvec::SmallVec;

use crate::cgi::meta::Peer;
use crate::sys::{listen as tcp, process, socket};

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

/// A listener, as a worker is told of it that takes connections itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) number: u32,
    /// For src/app/doorway.py.
    pub(super) words: String,
    /// The socket in the app's place.
    pub(super) is_own: bool,
    /// It came by LISTEN_FDS, and outlives us.
    pub(super) is_given: bool,
    /// Its clients may say who the user is.
    pub(super) is_trusted: bool,
}

/// A connection that a worker has accepted, and what it has read.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) connection: OwnedFd,
    pub(super) caller: Caller,
    /// The beginning of what the client has sent.
    pub(super) header: Vec<u8>,
    /// The descriptors that came with it.
    pub(super) passed: SmallVec<[OwnedFd; 4]>,
    /// Some of them did not arrive.
    pub(super) was_cut: bool,
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

impl Offer {
    /// Whose connection it is. The worker has seen that it may connect.
    pub(super) fn caller(&self, connection: BorrowedFd<'_>) -> Caller {
        let peer = socket::peer(connection);
        let own = peer.filter(|peer| peer.uid == process::uid());
        let address = || tcp::peer_address(connection).map_or(Guest::Unknown, Guest::Address);
        Caller {
            peer: match own {
                Some(_) => Peer::Own,
                None => Peer::Foreign {
                    trusted: self.is_trusted,
                },
            },
            pid: own.map_or(0, |peer| peer.pid),
            guest: match (own, peer) {
                (Some(_), _) => None,
                (None, Some(peer)) => Some(Guest::User(peer.uid)),
                (None, None) => Some(address()),
            },
            is_at_place: self.is_own,
            is_turned_away: false,
        }
    }
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

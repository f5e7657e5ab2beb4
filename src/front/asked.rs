//! Which daemons were asked for a request: none of them is asked for ever. Knows pids, not what was answered.

use std::os::fd::{AsFd, OwnedFd};

use super::handoff::Forwarded;
use crate::sys::socket;

/// The daemons that were asked for this request.
#[derive(Default)]
pub(super) struct AskedDaemons {
    /// How many times the request was sent to one.
    pub(super) forwards: u32,
    /// The pid of the daemon that was asked last, unless it was asked twice.
    let_go_by: Option<i32>,
    /// The pid of the daemon that did not answer in time.
    pub(super) silent: Option<i32>,
}

impl AskedDaemons {
    /// A daemon that is killed closes its connections a moment before its listener. A front that connects to it again
    /// in that moment has not reached another daemon, so this does not count, and the front may still try the
    /// successor.
    pub(super) fn count(&mut self, peer: Option<i32>) {
        if peer.is_some() && peer == self.let_go_by {
            self.let_go_by = None;
        } else {
            self.let_go_by = peer;
            self.forwards += 1;
        }
    }

    /// This connection leads to the daemon that did not answer in time.
    pub(super) fn is_silent(&self, connection: &OwnedFd) -> bool {
        self.silent.is_some() && peer(connection) == self.silent
    }

    pub(super) fn note(&mut self, outcome: Forwarded, peer: Option<i32>) {
        if outcome == Forwarded::Silent {
            self.silent = peer.filter(|&pid| pid > 0);
        }
    }
}

/// The process at the other end.
pub(super) fn peer(connection: &OwnedFd) -> Option<i32> {
    socket::peer(connection.as_fd()).map(|peer| peer.pid)
}

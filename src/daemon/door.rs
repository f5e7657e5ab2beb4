//! Who may come in: accepts connections while there are descriptors for them, from whom each listener serves. Knows
//! counts and peers, not clients.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::Daemon;
use super::guests::Guest;
use super::listeners::Origin;
use crate::cgi::meta::Peer;
use crate::sys::{Errno, clock, is, listen, socket};

/// That descriptors run out is said no more often: each who goes makes room for one more.
const WORD_PAUSE: Duration = Duration::from_secs(60);
/// After an accept that failed; well below what a front waits for the daemon's first word.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

impl Daemon {
    pub(super) fn accept(&mut self, number: u32) {
        if let Some(listener) = self.listeners.get(number)
            && self.listeners.is_accepting
        {
            let is_own = listener.origin == Origin::Own;
            let connection = match socket::accept(listener.socket.as_fd()) {
                Ok(connection) => connection,
                // Epoll says whether anybody else waits; it costs no more than to be told here that nobody does.
                Err(error)
                    if [Errno::EAGAIN, Errno::ECONNABORTED, Errno::EINTR]
                        .iter()
                        .any(|&errno| is(&error, errno)) =>
                {
                    return;
                }
                Err(error) => {
                    // Whoever waits still waits: without a pause this would be tried again at once, and for ever.
                    ::log::error!("cannot accept: {error}");
                    self.accept_at = Some(clock::now() + ACCEPT_PAUSE);
                    self.watch_limit();
                    return;
                }
            };
            self.come_in(connection, is_own);
            self.watch_limit();
        }
    }

    /// Somebody has connected: to our own socket, or where `listen-allow` says who may.
    pub(super) fn come_in(&mut self, connection: OwnedFd, is_own: bool) {
        let guest = match socket::peer(connection.as_fd()) {
            Some(peer) if peer.uid == self.uid => {
                return self.take_in(connection, Peer::Own, peer.pid);
            }
            Some(peer) => Guest::User(peer.uid),
            None => {
                // Without this, answers are only slower.
                let _ = listen::send_at_once(connection.as_fd());
                listen::peer_address(connection.as_fd()).map_or(Guest::Nobody, Guest::Address)
            }
        };
        // The place's directory has let it in.
        let unnamed = is_own.then_some(false);
        match unnamed.or_else(|| self.listeners.guests.admit(guest)) {
            Some(trusted) => self.take_in(connection, Peer::Foreign { trusted }, 0),
            None if self.listeners.guests.turn_away(guest) => {
                ::log::warn!("closed: {guest} may not connect: see 'listen-allow'");
            }
            None => {}
        }
    }

    /// Stops accepting 16 descriptors below the limit, or when the host has no room; and begins again.
    pub(super) fn watch_limit(&mut self) {
        let used = fds_of(
            self.clients.len(),
            self.pool.workers().count(),
            self.spool_files + self.listeners.iter().count(),
        );
        // One client is always served, however low the limit.
        let has_descriptors = self.clients.is_empty() || used + 16 < self.most_fds;
        let has_room = has_descriptors && self.accept_at.is_none();
        if has_room == self.listeners.is_accepting {
            return;
        }
        let now = clock::now();
        if !has_descriptors && self.listeners.silent_until <= now {
            self.listeners.silent_until = now + WORD_PAUSE;
            ::log::warn!(
                "descriptors run out: clients={} limit={}",
                self.clients.len(),
                self.most_fds
            );
        }
        self.listeners.watch(&self.poll, has_room);
    }
}

/// How many descriptors a number of clients and workers amounts to, at the most: a connection and three that were
/// passed; a channel, a pipe, one more while it is made, and a file that it may begin to spool to; the files that are
/// spooled; and our own.
fn fds_of(clients: usize, workers: usize, files: usize) -> u64 {
    (32 + 4 * clients + 4 * workers + files) as u64
}

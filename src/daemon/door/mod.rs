//! Who may come in: accepts connections while there are descriptors for them, from whom each listener serves. Knows
//! counts and peers, not clients.
//!
//! Our own user's connections, and root's commands, are limited by the descriptors that there are. All others are
//! guests: they share a part of the descriptors, and what they do with it is bounded ([`crate::policy::shares`]).

pub(crate) mod guests;
pub(crate) mod listeners;

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use log::Level;

use self::guests::Guest;
use self::listeners::Origin;
use crate::cgi::meta::Peer;
use crate::config::Config;
use crate::daemon::Daemon;
use crate::daemon::clients::client::Phase;
use crate::policy::queue::Ticket;
use crate::policy::shares::Limits;
use crate::sys::{Errno, clock, is, listen, socket};

/// That descriptors run out is said no more often: each who goes makes room for one more.
const WORD_PAUSE: Duration = Duration::from_secs(60);
/// After an accept that failed; well below what a front waits for the daemon's first word.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Descriptors that are not clients': our own, and some to spare.
const OURS: usize = 32;
const SPARE: usize = 16;

/// How much there is for guests, of this many descriptors in all.
pub(crate) fn shares_of(config: &Config, most_fds: u64) -> Limits {
    let workers = config.pool.max_procs as usize;
    let listeners = config.listen.addresses.len() + 1;
    let others = OURS + SPARE + 4 * workers + listeners;
    let fds = usize::try_from(most_fds).unwrap_or(usize::MAX);
    Limits::new(fds.saturating_sub(others), config.queue.size as usize)
}

impl Daemon {
    pub(crate) fn accept(&mut self, number: u32) {
        let Some(listener) = self.listeners.get(number) else {
            return;
        };
        let is_own = listener.origin == Origin::Own;
        if !self.listeners.open.accepts(is_own) {
            return;
        }
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
                let now = clock::now();
                let sentence = format!("cannot accept: {error}");
                let nobody = Guest::Nobody;
                self.told.note(Level::Error, &sentence, "", nobody, now);
                self.accept_at = Some(now + ACCEPT_PAUSE);
                self.watch_limit();
                return;
            }
        };
        self.come_in(connection, is_own);
        self.watch_limit();
    }

    /// A connection is accepted: to our own socket, or where `listen-allow` says who may.
    pub(crate) fn come_in(&mut self, connection: OwnedFd, is_own: bool) {
        let guest = match socket::peer(connection.as_fd()) {
            Some(peer) if peer.uid == self.uid => {
                return self.take_in(connection, Peer::Own, peer.pid, None, is_own);
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
            Some(trusted) => {
                let peer = Peer::Foreign { trusted };
                // Root's commands are never kept waiting.
                let guest = (!is_own || guest != Guest::User(0)).then_some(guest);
                self.take_in(connection, peer, 0, guest, is_own);
            }
            None if self.listeners.guests.turn_away(guest) => {
                ::log::warn!("closed: {guest} may not connect: see 'listen-allow'");
            }
            None => {
                let reason = "closed: may not connect: see 'listen-allow'";
                self.told.count(reason, clock::now());
            }
        }
    }

    /// A guest has a place from now on; another may have to go for it.
    pub(crate) fn enter(&mut self, ticket: Ticket, guest: Guest, peer: Peer) {
        let is_stranger = peer == Peer::Foreign { trusted: false };
        if let Some(other) = self.shares.enter(ticket, guest.origin(), is_stranger) {
            self.give_way(other);
        }
    }

    /// So much is kept of what a guest has sent; others may have to go for it.
    pub(crate) fn keep(&mut self, ticket: Ticket, bytes: usize) {
        while let Some(other) = self.shares.keep(ticket, bytes) {
            self.give_way(other);
        }
    }

    /// A guest is closed for want of room.
    fn give_way(&mut self, ticket: Ticket) {
        let client = self.clients.get(&ticket);
        if let Some(guest) = client.and_then(|client| client.guest) {
            let reason = "closed: an idle or slow connection, for want of room";
            self.told.note(Level::Warn, reason, "", guest, clock::now());
        }
        match client.map(|client| &client.phase) {
            Some(Phase::Receiving { .. }) => self.hang_up(ticket),
            _ => self.drop_client(ticket),
        }
        // One that has not begun is no client yet.
        self.shares.leave(ticket);
    }

    /// Stops accepting 16 descriptors below the limit, or when the host has no room; and begins again. Guests wait
    /// already when all their places are taken.
    pub(crate) fn watch_limit(&mut self) {
        let guests = self.shares.count();
        let own = self.clients.len().saturating_sub(guests);
        let used = fds_of(
            own,
            self.pool.workers().count(),
            guests + self.spool_files + self.listeners.iter().count(),
        );
        let has_descriptors = used + (SPARE as u64) < self.most_fds;
        let has_time = self.accept_at.is_none();
        // One client of each kind is always served, however low the limit.
        let own_place = own == 0 || has_descriptors;
        let guest_place = guests == 0 || has_descriptors && !self.shares.is_full();
        let open = self::listeners::Open {
            own: has_time && own_place,
            guests: has_time && guest_place,
        };
        if open == self.listeners.open {
            return;
        }
        let now = clock::now();
        if !(own_place && guest_place) && self.listeners.silent_until <= now {
            self.listeners.silent_until = now + WORD_PAUSE;
            if own_place {
                ::log::warn!("no room for more guests: they wait outside: guests={guests}");
            } else {
                ::log::warn!(
                    "descriptors run out: clients={} limit={}",
                    self.clients.len(),
                    self.most_fds
                );
            }
        }
        if self.listeners.watch(&self.poll, open).is_err() {
            // Nobody may be accepted now: tried again, as after an accept that failed.
            let _ = self
                .listeners
                .watch(&self.poll, self::listeners::Open::default());
            self.accept_at = Some(now + ACCEPT_PAUSE);
        }
    }
}

/// How many descriptors a number of clients and workers amounts to, at the most: a connection and three that were
/// passed; a channel, a pipe, one more while it is made, and a file that it may begin to spool to; the files that are
/// spooled; and our own.
fn fds_of(clients: usize, workers: usize, files: usize) -> u64 {
    (OURS + 4 * clients + 4 * workers + files) as u64
}

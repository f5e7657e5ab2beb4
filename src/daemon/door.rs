//! Who may come in: accepts connections while there are descriptors for them. Knows counts, not clients.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use super::Daemon;
use super::token::Token;
use crate::sys::poll::Interest;
use crate::sys::{Errno, clock, is, socket};

/// After an accept that failed; well below what a front waits for the daemon's first word.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

impl Daemon {
    pub(super) fn accept(&mut self) {
        while let Some(listener) = self.listener.as_ref().filter(|_| self.is_accepting) {
            let connection = match socket::accept(listener.as_fd()) {
                Ok(connection) => connection,
                Err(error) if is(&error, Errno::EAGAIN) => return,
                Err(error) if is(&error, Errno::ECONNABORTED) || is(&error, Errno::EINTR) => {
                    continue;
                }
                Err(error) => {
                    // Whoever waits still waits: without a pause this would be tried again at once, and for ever.
                    ::log::error!("cannot accept: {error}");
                    self.accept_at = Some(clock::now() + ACCEPT_PAUSE);
                    self.watch_limit();
                    return;
                }
            };
            self.take_in(connection);
            self.watch_limit();
        }
    }

    /// Stops accepting 16 descriptors below the limit, or when the host has no room; and begins again.
    pub(super) fn watch_limit(&mut self) {
        let Some(listener) = &self.listener else {
            return;
        };
        let used = fds_of(
            self.clients.len(),
            self.pool.workers().count(),
            self.spool_files,
        );
        // One client is always served, however low the limit.
        let has_descriptors = self.clients.is_empty() || used + 16 < self.most_fds;
        let has_room = has_descriptors && self.accept_at.is_none();
        if has_room == self.is_accepting {
            return;
        }
        self.is_accepting = has_room;
        if has_room {
            if let Err(error) = self
                .poll
                .add(listener, Token::Listener.into(), Interest::Read)
            {
                ::log::error!(
                    "cannot listen again on descriptor {}: {error}",
                    listener.as_raw_fd()
                );
            }
        } else {
            if !has_descriptors {
                ::log::warn!(
                    "descriptors run out: clients={} limit={}",
                    self.clients.len(),
                    self.most_fds
                );
            }
            self.poll.remove(listener);
        }
    }
}

/// How many descriptors a number of clients and workers amounts to, at the most: a connection and three that were
/// passed; a channel, a pipe, one more while it is made, and a file that it may begin to spool to; the files that are
/// spooled; and our own.
fn fds_of(clients: usize, workers: usize, files: usize) -> u64 {
    (32 + 4 * clients + 4 * workers + files) as u64
}

//! Leaving without losing a request: the name is given up under the lock, connections in the backlog are let in, fronts
//! whose requests were not begun are sent away, the other requests are finished.

use std::io;
use std::time::Duration;

use super::leaving::LAST_ANSWERS;
use crate::daemon::clients::HeaderReader;
use crate::daemon::house::Daemon;
use crate::policy::pool::{Event, Reason};
use crate::policy::queue::Number;
use crate::start::NameLock;
use crate::sys::{clock, files};

/// The lock is held for a handful of system calls: look again then.
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Pause after the lock was refused, so that not each turn logs a line.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

impl Daemon {
    /// Begins to leave; a second time changes nothing.
    pub(crate) fn leave(&mut self, reason: Option<Reason>) {
        if self.leaving.wanted {
            return;
        }
        self.leaving.wanted = true;
        self.leaving.reason = reason;
        if reason.is_none() {
            // A daemon that is stopped while it starts may be started again at once.
            self.ground.slots.clear_attempts();
        }
        self.leaving.patience_ends = Some(clock::now() + self.ground.config.timeouts.graceful);
        self.give_up_name();
    }

    pub(crate) fn leave_further(&mut self, now: Duration) {
        let is_due = self.leaving.close_at.is_some_and(|at| at <= now);
        let has_clients = !self.clients.is_empty() || !self.wires.is_empty();
        if is_due && self.leaving.has_time() && has_clients {
            // A response may take long to send; each that does not move has a time limit of its own.
            self.leaving.close_at = Some(now + LAST_ANSWERS);
        }
        if self.leaving.retry_at.is_some_and(|at| at <= now) {
            self.give_up_name();
        }
        if self.leaving.patience_ends.is_some_and(|at| at <= now) {
            self.leaving.patience_ends = None;
            ::log::warn!("graceful-timeout is over: what still runs is ended");
            if !self.leaving.has_left {
                ::log::warn!("cannot lock {}: held", self.ground.place.lock().display());
                self.stop_listening(None);
            }
            self.carrier.end_all(&mut self.clients, &mut self.ground);
            self.clients.refuse_unfinished(&mut self.ground);
            // The end comes even if a process can't be killed.
            self.leaving.close_at.get_or_insert(now + LAST_ANSWERS);
        }
    }

    fn give_up_name(&mut self) {
        self.leaving.retry_at = None;
        match NameLock::take(&self.ground.place) {
            Ok(Some(lock)) => self.stop_listening(Some(lock)),
            Ok(None) => self.leaving.retry_at = Some(clock::now() + LOCK_PAUSE),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // The directory is gone, and with it everything that the lock guards.
                ::log::warn!(
                    "cannot lock {}: {error}",
                    self.ground.place.lock().display()
                );
                self.stop_listening(None);
            }
            // Refused by the host: as if it were held.
            Err(error) => {
                ::log::warn!(
                    "cannot lock {}: {error}",
                    self.ground.place.lock().display()
                );
                self.leaving.retry_at = Some(clock::now() + REFUSED_PAUSE);
            }
        }
    }

    /// From here on no client connects. Without the lock the name stays: the next front finds no listener behind it,
    /// and removes it.
    fn stop_listening(&mut self, lock: Option<NameLock>) {
        self.leaving.retry_at = None;
        let is_ours = self.has_name();
        if is_ours {
            // Written first: a person who finds us gone may want to know why.
            self.write_state();
        }
        // All listeners end while we hold the lock: a new daemon is to find the addresses free.
        let connected = self.door.end_all(&self.ground);
        let path = self.ground.place.socket();
        if is_ours && lock.is_some() {
            // The name is ours by its inode. If it stays, the next front finds it dead, and removes it.
            let _ = std::fs::remove_file(&path);
            self.ground.place.unlink_from_default(&self.ground.app);
        }
        let aside = self.ground.place.silent_socket();
        if lock.is_some() && files::identity(&aside).ok() == self.socket && self.socket.is_some() {
            // Set aside while we were stopped or slow.
            let _ = std::fs::remove_file(&aside);
        }
        drop(lock);
        self.leaving.has_left = true;
        // Workers accept no more from a listener that outlives us, either.
        let until = Duration::MAX;
        self.events.push_back(Event::CallIn { until });
        let (clients, ground) = (&mut self.clients, &mut self.ground);
        // First the queued requests go; those that are let in now go as soon as they are read.
        clients.send_away(self.leaving.reason, ground);
        clients.keep_open(false, ground);
        for (connection, is_own) in connected {
            self.door
                .come_in(connection, is_own, HeaderReader::default(), clients, ground);
        }
        // The pool hears of the last connections before it hears that they were the last.
        self.heed();
        self.tell_that_we_left();
    }

    /// Tells the pool that we have left, once the headers of all connections are whole, since it may end when it has
    /// nothing to do. That takes at most the time that a header may take.
    pub(crate) fn tell_that_we_left(&mut self) {
        let commands = &self.waiting_commands;
        let is_command = |number: &Number| commands.iter().any(|(command, _)| command == number);
        let mut unheard = self.clients.in_header();
        if self.leaving.has_left
            && !self.leaving.is_told
            && (self.leaving.patience_ends.is_none() || unheard.all(|number| is_command(&number)))
        {
            self.leaving.is_told = true;
            self.events.push_back(Event::Left);
        }
    }
}

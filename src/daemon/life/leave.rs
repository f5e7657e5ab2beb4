//! Going away without losing anybody: give up the name under the lock, take in those who had connected before, send
//! away whom nobody has touched, finish the others.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use crate::daemon::Daemon;
use crate::daemon::clients::client::{Client, Phase};
use crate::daemon::clients::taken::Taken;
use crate::policy::pool::{Event, Reason, Refusal};
use crate::policy::queue::Ticket;
use crate::report::Exit;
use crate::start::NameLock;
use crate::sys::{clock, files};

/// Whoever holds the lock holds it for a handful of system calls: look again then.
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// After the lock was refused: not a line in the log for each turn.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// How long answers of ours may still be on their way when all workers are gone.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// How far the going away has come.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    wanted: bool,
    /// When to try for the lock again.
    retry_at: Option<Duration>,
    has_left: bool,
    /// The pool knows that.
    is_told: bool,
    /// Whose requests are answered here, since it would be no better elsewhere.
    reason: Option<Reason>,
    /// When the workers are ended.
    patience_ends: Option<Duration>,
    /// The pool is empty; what is still open is closed then.
    close_at: Option<Duration>,
}

impl Leaving {
    pub(crate) fn has_begun(&self) -> bool {
        self.wanted
    }

    /// An untouched request of a front is better served by whoever comes after us.
    pub(crate) fn sends_away(&self, request: &Taken) -> bool {
        self.has_left
            && self
                .reason
                .is_none_or(|reason| !matches!(reason, Reason::Broken | Reason::StartTimedOut))
            && request.can_go_elsewhere()
    }

    /// The pool is empty. Responses that workers have left to us are still on their way.
    pub(crate) fn finish(&mut self, now: Duration) {
        self.close_at = self.patience_ends.max(Some(now + LAST_ANSWERS));
    }

    /// Nobody asked us to leave: nobody waits for our end.
    fn has_time(&self) -> bool {
        matches!(self.reason, Some(Reason::Idle | Reason::Quiet))
    }

    /// `is_empty`: no process of ours is left.
    pub(crate) fn is_over(&self, clients: &BTreeMap<Ticket, Client>, is_empty: bool) -> bool {
        let all_gone = clients.is_empty() && is_empty;
        self.close_at
            .is_some_and(|at| all_gone || at <= clock::now())
    }

    /// For a person who runs the daemon in the foreground.
    pub(crate) fn exit(&self) -> Exit {
        match self.reason {
            Some(Reason::Broken) => Exit::Config,
            Some(Reason::HostRefused) => Exit::OsError,
            Some(Reason::StartTimedOut) => Exit::TempFail,
            Some(Reason::Idle | Reason::Quiet) | None => Exit::Ok,
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        [self.retry_at, self.patience_ends, self.close_at]
            .into_iter()
            .flatten()
            .min()
    }
}

impl Daemon {
    /// Begins to leave; a second time changes nothing.
    pub(crate) fn leave(&mut self, reason: Option<Reason>) {
        if self.leaving.wanted {
            return;
        }
        self.leaving.wanted = true;
        self.leaving.reason = reason;
        if reason.is_none() {
            // Whoever stops a daemon that is still starting has nothing against the next start.
            self.slots.clear_attempts();
        }
        self.leaving.patience_ends = Some(clock::now() + self.config.timeouts.graceful);
        self.give_up_name();
    }

    pub(crate) fn leave_further(&mut self, now: Duration) {
        let is_due = self.leaving.close_at.is_some_and(|at| at <= now);
        if is_due && self.leaving.has_time() && !self.clients.is_empty() {
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
                ::log::warn!("cannot lock {}: held", self.place.lock().display());
                self.stop_listening(None);
            }
            self.workers.kill_all();
            self.end_runs();
            self.servers.kill_all();
            self.refuse_unfinished();
            // Even if one of them can't be killed.
            self.leaving.close_at.get_or_insert(now + LAST_ANSWERS);
        }
        self.tell_that_we_left();
    }

    /// Those whose bodies are still to come find nobody any more.
    fn refuse_unfinished(&mut self) {
        let receives = |client: &Client| matches!(client.phase, Phase::Receiving { .. });
        let receiving = self.clients.iter().filter(|(_, client)| receives(client));
        for ticket in receiving.map(|(&ticket, _)| ticket).collect::<Vec<_>>() {
            let retry_after = Duration::from_secs(1);
            self.refuse_waiting(ticket, Refusal::Overloaded { retry_after });
        }
    }

    fn give_up_name(&mut self) {
        self.leaving.retry_at = None;
        match NameLock::take(&self.place) {
            Ok(Some(lock)) => self.stop_listening(Some(lock)),
            Ok(None) => self.leaving.retry_at = Some(clock::now() + LOCK_PAUSE),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // The directory is gone, and with it everything that the lock guards.
                ::log::warn!("cannot lock {}: {error}", self.place.lock().display());
                self.stop_listening(None);
            }
            // Refused by the host: as if it were held.
            Err(error) => {
                ::log::warn!("cannot lock {}: {error}", self.place.lock().display());
                self.leaving.retry_at = Some(clock::now() + REFUSED_PAUSE);
            }
        }
    }

    /// From here on nobody new comes. Without the lock the name stays: the next front finds nobody behind it, and
    /// removes it.
    fn stop_listening(&mut self, lock: Option<NameLock>) {
        self.leaving.retry_at = None;
        let is_ours = self.has_name();
        if is_ours {
            // Written first: whoever finds us gone may want to know why.
            self.write_state();
        }
        // All of them while we hold the lock: a new daemon is to find the addresses free.
        let connected = self.end_listeners();
        let path = self.place.socket();
        if is_ours && lock.is_some() {
            // By its inode. One that stays is found dead by the next front, and removed.
            let _ = std::fs::remove_file(&path);
            self.place.unlink_from_default(&self.app);
        }
        let aside = self.place.silent_socket();
        if lock.is_some() && files::identity(&aside).ok() == self.socket && self.socket.is_some() {
            // Set aside while we were stopped or slow.
            let _ = std::fs::remove_file(&aside);
        }
        drop(lock);
        self.leaving.has_left = true;
        for (connection, is_own) in connected {
            self.come_in(connection, is_own);
        }
        self.send_away();
        self.tell_that_we_left();
    }

    /// The pool may end when it has nothing more to do, so it is not told before everybody is heard who had connected:
    /// that takes a header's time at the most.
    fn tell_that_we_left(&mut self) {
        let is_curious =
            |ticket: &Ticket| self.curious.iter().any(|(curious, _)| curious == ticket);
        let is_unheard = |(ticket, client): (&Ticket, &Client)| {
            matches!(client.phase, Phase::Header { .. }) && !is_curious(ticket)
        };
        if self.leaving.has_left
            && !self.leaving.is_told
            && (self.leaving.patience_ends.is_none() || !self.clients.iter().any(is_unheard))
        {
            self.leaving.is_told = true;
            self.events.push_back(Event::Left);
        }
    }

    /// Fronts whose requests nobody has touched go on by themselves.
    fn send_away(&mut self) {
        let goes = |client: &Client| {
            let waits = matches!(client.phase, Phase::Receiving { .. } | Phase::Waiting);
            let request = client.request.as_ref().filter(|_| waits);
            request.is_some_and(|request| self.leaving.sends_away(request))
        };
        let going: Vec<Ticket> = self
            .clients
            .iter()
            .filter(|(_, client)| goes(client))
            .map(|(&ticket, _)| ticket)
            .collect();
        for ticket in going {
            ::log::debug!("sent away: ticket={ticket}");
            self.hang_up(ticket);
        }
    }
}

//! What every room of the daemon stands on: the app and its configuration, the loop's descriptors, and the outcomes
//! that a room leaves for others. Decides nothing.

use std::collections::VecDeque;
use std::time::Duration;

use super::failures::Failures;
use super::ledger::Ledger;
use super::outcome::{Outcome, PoolFacts};
use crate::app_file::AppFile;
use crate::config::Config;
use crate::figures::Counted;
use crate::incidents::Mishap;
use crate::keyring::Keyring;
use crate::place::Place;
use crate::policy::pool::Event;
use crate::slots::Slots;
use crate::sys::memory::Board;
use crate::sys::poll::Poll;
use crate::sys::splice::Scratch;

/// Handed to each room for the time of a call.
pub(super) struct Ground {
    pub(super) app: AppFile,
    pub(super) config: Config,
    pub(super) place: Place,
    pub(super) slots: Slots,
    pub(super) keyring: Keyring,
    pub(super) poll: Poll,
    pub(super) scratch: Scratch,
    /// What workers and the daemon tell each other without a packet.
    pub(super) board: Board,
    /// The soft and the hard limit of descriptors at our start.
    pub(super) nofile: Option<(u64, u64)>,
    pub(super) failures: Failures,
    pub(super) ledger: Ledger,
    pub(super) pool: PoolFacts,
    pub(super) outcomes: VecDeque<Outcome>,
}

impl Ground {
    /// Notes how long before this request the last one came, and whether it finds the app loaded. The front that has
    /// started us has noted that of the first one.
    pub(super) fn note_pause(&self, now: Duration) {
        match self.pool.has_code {
            true => self.slots.note_warm(now),
            false if self.pool.generation > 0 && self.pool.queued == 0 => self.slots.note_cold(now),
            false => self.slots.note_starter(now),
        }
    }

    /// Leaves an outcome for the loop, which carries it on when the room's call is over.
    pub(super) fn tell(&mut self, outcome: Outcome) {
        self.outcomes.push_back(outcome);
    }

    /// Leaves an event for the pool.
    pub(super) fn tell_pool(&mut self, event: Event) {
        self.tell(Outcome::Pool(event));
    }

    /// Leaves an event for the pool, before those that it has not heard yet.
    pub(super) fn tell_pool_next(&mut self, event: Event) {
        self.tell(Outcome::PoolNext(event));
    }

    /// The host has refused a process. `what`: what it had none of, as far as it has said that.
    pub(super) fn fail_to_fork(&mut self, what: Option<Counted>, sentence: String) {
        let none = Default::default();
        self.ledger.note(Mishap::Host, none, &sentence);
        self.failures.fail_to_fork(what, sentence);
    }

    /// The most descriptors that this process may have.
    pub(super) fn most_fds(&self) -> u64 {
        self.nofile.map_or(1024, |(_, hard)| hard)
    }
}

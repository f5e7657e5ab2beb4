//! Log lines about requests that are written once, or once a minute with a count: written for each request, they would
//! fill the log. What other users send can't roll our log; what our own fronts send is always logged.

use std::collections::BTreeSet;
use std::time::Duration;

use log::Level;

use super::guest::Guest;
use crate::policy::tally::Tally;
use crate::report::visible;

/// Upper limit for the names that get a line, one each.
const MOST_NAMES: usize = 64;

/// What was logged, and is not logged again.
#[derive(Debug, Default)]
pub(super) struct Notices {
    overridden: BTreeSet<String>,
    refusal: bool,
    unbelieved: bool,
    /// What guests did that is worth a line.
    guests: Tally<Guest>,
}

impl Notices {
    /// When a count is due.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.guests.next_deadline()
    }

    /// Logs what a guest did if it is the first time, and else counts it.
    pub(super) fn note(
        &mut self,
        level: Level,
        reason: &str,
        detail: &str,
        guest: Guest,
        now: Duration,
    ) {
        if !self.guests.note(reason, guest.origin(), now) {
            return;
        }
        match guest {
            Guest::Unknown => ::log::log!(level, "{reason}{detail}"),
            guest => ::log::log!(level, "{reason}{detail} (from {guest})"),
        }
    }

    /// Counts one more, from a guest that the log names no longer.
    pub(super) fn count(&mut self, reason: &str, now: Duration) {
        self.guests.count(reason, now);
    }

    /// Logs the counts that are due.
    pub(super) fn say_counts(&mut self, now: Duration) {
        for (reason, count) in self.guests.due(now) {
            ::log::warn!("{reason}: {count} more in the last minute");
        }
    }

    /// Logs the counts that are left.
    pub(super) fn say_rest(&mut self) {
        for (reason, count) in self.guests.rest() {
            ::log::warn!("{reason}: {count} more");
        }
    }

    /// A client has said who the user is, and may not.
    pub(super) fn note_unbelieved(&mut self, name: &[u8]) {
        if !std::mem::replace(&mut self.unbelieved, true) {
            ::log::warn!(
                "{} is dropped: its client may say who the user is only if 'listen-allow' names it",
                visible(name)
            );
        }
    }

    /// A web server gives this name several values.
    pub(super) fn note_overridden(&mut self, name: String) {
        if self.overridden.len() < MOST_NAMES && !self.overridden.contains(&name) {
            ::log::warn!("{name} came twice with different values: the last one counts");
            self.overridden.insert(name);
        }
    }

    /// A request was refused by the configuration, and its web server can't be told: once is enough to find a mount
    /// that is wrong.
    pub(super) fn note_refusal(&mut self, sentence: &str) {
        let level = match std::mem::replace(&mut self.refusal, true) {
            false => Level::Info,
            true => Level::Debug,
        };
        ::log::log!(level, "refused: {sentence}");
    }
}

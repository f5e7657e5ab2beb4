//! What went wrong with requests, for `status` and for the log. It is written to the app's place, at most once a second;
//! the log has a line for the first of a kind, and a count each minute where more follow.

use std::mem;
use std::time::Duration;

use log::Level;

use crate::figures::Counted;
use crate::incidents::{self, Incident, Mishap};
use crate::logbook;
use crate::place::Place;
use crate::policy::tally::Tally;
use crate::report::{plain, visible};
use crate::sys::{clock, process};

/// How often the file may be written.
const PAUSE: Duration = Duration::from_secs(1);

/// What is not written yet.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    new: Vec<Incident>,
    due: Option<Duration>,
    /// From when on the file may be written again.
    rested: Duration,
    log: Tally<()>,
}

impl Ledger {
    /// Something went wrong with the request that is described by `line`: its method and path.
    pub(super) fn note(&mut self, kind: Mishap, line: (String, String), reason: &str) {
        let incident = Incident::new(kind, clock::wall().as_secs(), line, &plain(reason));
        let now = clock::now();
        if kind == Mishap::Exception {
            // Other kinds are logged where they are found.
            let Incident {
                method,
                path,
                reason,
                ..
            } = &incident;
            let detail = format!(": {}: {method} {path}", visible(reason.as_bytes()));
            self.say(Level::Error, "the app raised an exception", &detail, now);
        }
        incidents::add(&mut self.new, incident);
        self.due.get_or_insert(now.max(self.rested));
    }

    /// The host has refused something that a request needs: logged as a refusal is.
    pub(super) fn note_of_host(&mut self, sentence: &str) {
        self.note(Mishap::Host, Default::default(), sentence);
        self.say(Level::Error, sentence, "", clock::now());
    }

    /// A request was refused.
    pub(super) fn note_refusal(&mut self, what: Counted, now: Duration) {
        let reason = format!("refused with 503: {}", what.word());
        let remedy = what.remedy();
        let detail = remedy.map_or_else(String::new, |remedy| format!(": what helps: {remedy}"));
        self.say(Level::Warn, &reason, &detail, now);
    }

    fn say(&mut self, level: Level, reason: &str, detail: &str, now: Duration) {
        if self.log.note(reason, (), now) {
            ::log::log!(level, "{reason}{detail}");
        }
    }

    /// When something is to be written, or a count logged.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        [self.due, self.log.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due.
    pub(super) fn pass_time(&mut self, now: Duration, place: &Place) {
        for (reason, count) in self.log.due(now) {
            ::log::warn!("{reason}: {count} more in the last minute");
        }
        if self.due.is_some_and(|due| due <= now) {
            self.rested = now + PAUSE;
            if !self.write(place) {
                self.due = Some(self.rested);
            }
        }
    }

    /// Does all that is left to do. Waits for another process that is writing, at most `patience`.
    pub(super) fn close(&mut self, place: &Place, patience: Duration) {
        for (reason, count) in self.log.rest() {
            ::log::warn!("{reason}: {count} more");
        }
        self.due = None;
        let new = mem::take(&mut self.new);
        if !new.is_empty() {
            logbook::note(place, &new, patience);
        }
    }

    /// `false`: another process is writing.
    fn write(&mut self, place: &Place) -> bool {
        self.due = None;
        let is_done = self.new.is_empty() || logbook::try_note(place, &self.new);
        if is_done {
            self.new.clear();
        }
        is_done
    }

    /// All that is known.
    pub(super) fn all(&self, place: &Place) -> Vec<Incident> {
        let mut all = logbook::read(place, process::uid());
        for incident in &self.new {
            incidents::add(&mut all, incident.clone());
        }
        all
    }
}

//! How a log reports many events of one kind: the first of each origin at once, the others as a count, at intervals.
//! Knows reasons, origins and times, and writes no log.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long the others are counted before their number is reported.
pub const INTERVAL: Duration = Duration::from_secs(60);
/// Origins that are named for one reason.
const NAMED: usize = 8;
/// A reason that has not occurred for so long is new.
const FORGOTTEN: Duration = Duration::from_secs(3600);
/// Reasons that are kept apart. There are fewer, unless they contain what a client has sent.
const REASONS: usize = 64;

/// What has occurred, by reason.
#[derive(Debug)]
pub struct Tally<O> {
    reasons: BTreeMap<String, Met<O>>,
}

#[derive(Debug)]
struct Met<O> {
    named: BTreeSet<O>,
    unsaid: u64,
    /// When their number may be reported.
    due: Duration,
    last: Duration,
}

impl<O> Default for Tally<O> {
    fn default() -> Tally<O> {
        Tally {
            reasons: BTreeMap::new(),
        }
    }
}

impl<O: Copy + Ord> Tally<O> {
    /// An event with this reason and origin. `true`: it is to be reported now; `false`: it was counted.
    pub fn note(&mut self, reason: &str, origin: O, now: Duration) -> bool {
        let met = self.met(reason, now);
        if met.named.len() < NAMED && met.named.insert(origin) {
            return true;
        }
        met.count(now);
        false
    }

    /// The same, but it is only counted.
    pub fn count(&mut self, reason: &str, now: Duration) {
        self.met(reason, now).count(now);
    }

    /// Takes the numbers that are to be reported now, with their reasons.
    pub fn due(&mut self, now: Duration) -> Vec<(String, u64)> {
        let mut said = Vec::new();
        for (reason, met) in &mut self.reasons {
            if met.unsaid > 0 && met.due <= now {
                said.push((reason.clone(), std::mem::take(&mut met.unsaid)));
                met.due = now + INTERVAL;
            }
        }
        said
    }

    /// Takes all numbers that were not reported yet, at the end of the log.
    pub fn rest(&mut self) -> Vec<(String, u64)> {
        self.due(Duration::MAX - INTERVAL)
    }

    /// When a number is to be reported.
    pub fn next_deadline(&self) -> Option<Duration> {
        let unsaid = self.reasons.values().filter(|met| met.unsaid > 0);
        unsaid.map(|met| met.due).min()
    }

    fn met(&mut self, reason: &str, now: Duration) -> &mut Met<O> {
        let is_known = self.reasons.contains_key(reason);
        let reason = match is_known || self.reasons.len() < REASONS {
            true => reason,
            false => "other reasons",
        };
        let met = self
            .reasons
            .entry(reason.to_owned())
            .or_insert_with(|| Met {
                named: BTreeSet::new(),
                unsaid: 0,
                due: now,
                last: now,
            });
        if now.saturating_sub(met.last) >= FORGOTTEN {
            met.named.clear();
        }
        met.last = now;
        met
    }
}

impl<O> Met<O> {
    fn count(&mut self, now: Duration) {
        if self.unsaid == 0 {
            self.due = self.due.max(now + INTERVAL);
        }
        self.unsaid += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn the_first_is_said_and_the_others_are_counted() {
        let mut tally = Tally::default();
        assert!(tally.note("bad", 1, S(10)));
        assert_eq!(tally.next_deadline(), None);
        assert!(!tally.note("bad", 1, S(11)));
        assert!(!tally.note("bad", 1, S(12)));
        assert!(tally.note("bad", 2, S(12)), "another origin");
        assert!(tally.note("worse", 1, S(13)), "another reason");
        assert_eq!(tally.next_deadline(), Some(S(71)));
        assert_eq!(tally.due(S(70)), []);
        assert_eq!(tally.due(S(71)), [("bad".to_owned(), 2)]);
        assert_eq!((tally.due(S(500)), tally.next_deadline()), (vec![], None));
        tally.count("bad", S(80));
        assert_eq!(tally.next_deadline(), Some(S(140)));
        assert_eq!(tally.rest(), [("bad".to_owned(), 1)]);
    }

    #[test]
    fn a_flood_of_origins_and_reasons_is_a_few_lines() {
        let mut tally = Tally::default();
        let mut said = 0;
        for second in 0..3600 {
            for origin in 0..20 {
                said += usize::from(tally.note("bad", second * 20 + origin, S(second)));
            }
            said += tally.due(S(second)).len();
        }
        assert!(said < 80, "{said}");
        for number in 0..1000 {
            said += usize::from(tally.note(&format!("odd {number}"), 1, S(3600)));
        }
        assert!(said < 80 + REASONS + NAMED, "{said}");
        assert!(tally.reasons.len() <= REASONS + 1);
        assert_eq!(
            tally.rest().iter().map(|(_, count)| count).max(),
            Some(&936)
        );
    }

    #[test]
    fn what_was_quiet_for_an_hour_is_new() {
        let mut tally = Tally::default();
        assert!(tally.note("bad", 1, S(0)));
        assert!(!tally.note("bad", 1, S(3599)));
        assert!(tally.note("bad", 1, S(3599 + 3600)));
    }
}

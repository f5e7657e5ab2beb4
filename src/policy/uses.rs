//! How often each ticket was used of late, in a memory of fixed size. It knows numbers and times, keeps nothing of a
//! visitor's, and asks no clock.
//!
//! # Theory of operation
//! One use is forgotten in a fixed time, and then the next one: what is not yet forgotten says how fast a ticket is used
//! and for how long. It is kept as an instant: when all of it will be forgotten.
//!
//! A ticket has one counter in each of [`ROWS`] rows, which it shares with others; its own uses are at most what the
//! least of the four says. A use raises no counter farther than that least one needs. So
//! - no ticket is ever counted for less than it was used, whatever others do;
//! - one that is not used any more is counted for nothing once its uses are forgotten;
//! - if `u` uses by other tickets come in the time that one takes to be forgotten, a ticket that was not used is counted
//!   for one with a probability of at most `(u / 8192)^4`: there are 8,192 counters in a row, each is busy for that time
//!   by a use, and all four have to be. That is 1 in 10,000 for 800 uses, and 6 % for 4,000.
//!
//! Tickets' numbers are random and signed, so their bits choose the counters: no client can choose whom it meets there.

use std::time::Duration;

const ROWS: usize = 4;
/// Bits of a ticket's number that choose its counter in a row.
const BITS: usize = 13;
/// Time is counted in so many parts of that which a use takes to be forgotten.
const PARTS: u32 = 32;

/// All tickets' recent uses: 128 KiB, from the first use on.
#[derive(Debug)]
pub struct Uses {
    /// The time in which one use is forgotten.
    forgetting: Duration,
    /// Row after row: when a counter's uses will all be forgotten, in parts since `began`.
    forgotten: Vec<u32>,
    began: Duration,
}

impl Uses {
    /// None was used. `forgetting`: the time in which one use is forgotten.
    pub fn new(forgetting: Duration) -> Uses {
        Uses {
            forgetting,
            forgotten: Vec::new(),
            began: Duration::ZERO,
        }
    }

    /// How many uses of this ticket are not forgotten, rounded up.
    pub fn count(&self, id: u64, now: Duration) -> u32 {
        let (now, _) = self.parts(now);
        let least = self.least(id).unwrap_or_default();
        least.saturating_sub(now).div_ceil(PARTS)
    }

    /// The ticket is used.
    pub fn note(&mut self, id: u64, now: Duration) {
        if self.forgotten.is_empty() {
            self.forgotten = vec![0; ROWS << BITS];
            self.began = now;
        }
        let (_, now) = self.parts(now);
        let least = self.least(id).unwrap_or_default();
        let raised = least.max(now).saturating_add(PARTS);
        for place in places(id) {
            self.forgotten[place] = self.forgotten[place].max(raised);
        }
    }

    fn least(&self, id: u64) -> Option<u32> {
        let counters = places(id).filter_map(|place| self.forgotten.get(place));
        counters.min().copied()
    }

    /// The parts that have passed, and the same with the one that has begun. After 134 million times `forgetting`,
    /// which is eight years for 2 s, all is forgotten.
    fn parts(&self, now: Duration) -> (u32, u32) {
        let part = self.forgetting / PARTS;
        let passed = now.saturating_sub(self.began).as_nanos();
        let begun = passed.div_ceil(part.as_nanos());
        let whole = passed / part.as_nanos();
        let fits = |parts| u32::try_from(parts).unwrap_or(u32::MAX);
        (fits(whole), fits(begun))
    }
}

/// A ticket's counters, one in each row.
fn places(id: u64) -> impl Iterator<Item = usize> {
    let bits = move |row: usize| (id >> (BITS * row)) as usize & ((1 << BITS) - 1);
    (0..ROWS).map(move |row| (row << BITS) + bits(row))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const MS: fn(u64) -> Duration = Duration::from_millis;

    const FORGETTING: Duration = Duration::from_secs(2);

    /// A random number's bits, the same in every run.
    fn mixed(nth: u64) -> u64 {
        let mut bits = nth.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    #[test]
    fn a_use_is_forgotten_after_two_seconds_and_the_next_one_after_it() {
        let mut uses = Uses::new(FORGETTING);
        assert_eq!(uses.count(7, S(100)), 0);
        for _ in 0..3 {
            uses.note(7, S(100));
        }
        assert_eq!(uses.count(7, S(100)), 3);
        assert_eq!(uses.count(7, MS(101_900)), 3);
        assert_eq!(uses.count(7, S(102)), 2);
        assert_eq!(uses.count(7, S(104)), 1);
        assert_eq!(uses.count(7, S(106)), 0);
        assert_eq!(uses.count(mixed(7), S(100)), 0, "another's");
    }

    /// 4,000 in the time in which one is forgotten, each by another ticket.
    #[test]
    fn a_swarm_of_others_makes_few_false_hits() {
        let mut uses = Uses::new(FORGETTING);
        let mut hits = 0;
        let at = |nth| Duration::from_micros(500 * nth);
        for nth in 0..60_000 {
            uses.note(mixed(nth), at(nth));
            let count = uses.count(mixed(nth + 1_000_000), at(nth));
            assert!(count < 8, "{count}");
            hits += u32::from(count > 0);
        }
        assert!(hits < 60_000 * 6 / 100, "{hits}");
        let later = (0..60_000).filter(|&nth| uses.count(mixed(nth), S(50)) > 0);
        assert_eq!(later.count(), 0, "all is forgotten");
    }

    #[test]
    fn an_age_is_no_overflow() {
        let mut uses = Uses::new(FORGETTING);
        uses.note(7, S(1));
        uses.note(7, Duration::MAX);
        assert_eq!(uses.count(7, Duration::MAX), 0);
    }

    proptest! {
        /// Of each ticket as it is counted with a counter of its own: among so many that they share many.
        #[test]
        fn no_ticket_is_counted_for_less_than_it_was_used(
            steps in prop::collection::vec((0u64..3000, 0u64..400, 1u64..12), 1..200),
            later in 0u64..100_000,
        ) {
            let mut uses = Uses::new(FORGETTING);
            let mut exact: BTreeMap<u64, Duration> = BTreeMap::new();
            let mut now = S(5);
            for (wait, id, times) in steps {
                now += MS(wait);
                // Half of the rows are the same for all.
                let id = mixed(id) & 0xf_ffff_fc00_0000;
                for _ in 0..times {
                    uses.note(id, now);
                    let forgotten = exact.entry(id).or_default();
                    *forgotten = (*forgotten).max(now) + FORGETTING;
                }
                let left = (exact[&id] - now).as_secs_f64() / FORGETTING.as_secs_f64();
                prop_assert!(f64::from(uses.count(id, now)) >= left);
            }
            let now = now + MS(later);
            for (&id, forgotten) in &exact {
                let left = forgotten.saturating_sub(now).as_secs_f64() / FORGETTING.as_secs_f64();
                prop_assert!(f64::from(uses.count(id, now)) >= left);
            }
        }

        /// Alone it is counted exactly, but for what has begun.
        #[test]
        fn a_ticket_alone_is_counted_for_what_it_was_used(
            steps in prop::collection::vec(0u64..5000, 1..100),
            id: u64,
        ) {
            let mut uses = Uses::new(FORGETTING);
            let (mut now, mut forgotten) = (S(5), S(0));
            for wait in steps {
                now += MS(wait);
                uses.note(id, now);
                forgotten = forgotten.max(now) + FORGETTING;
                let left = (forgotten - now).as_secs_f64() / FORGETTING.as_secs_f64();
                // Each use may begin a part too late.
                prop_assert!(f64::from(uses.count(id, now)) < left + 1.0 + 100.0 / f64::from(PARTS));
            }
        }
    }
}

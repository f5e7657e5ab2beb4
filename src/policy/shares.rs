//! How much of the daemon its guests may hold: clients that connect at the addresses of `listen`, as against our own
//! fronts. Knows numbers, origins and counts; not what an origin is, nor whether it may connect.
//!
//! # Theory of operation
//! All guests together have a part of the daemon's descriptors and no more, so that there is always room for fronts.
//! The stages of a guest:
//!
//! | stage | it ends | for want of room it gives way |
//! | --- | --- | --- |
//! | Unheard: its header is not whole | when a header's time is over | yes |
//! | Served: it waits, or a worker has it | in the pool's time | no |
//! | Slow: its body comes in, or its response goes out, at its own pace | never, while something moves | beyond its origin's share |
//! | Answered: it has its answer, and may still send | when the time for that is over | yes |
//!
//! When there is no place left, the next guest gets that of one that gives way: the oldest of the origin that has most
//! of them, and strangers before guests that `listen-allow` names. So a web server that sends whole requests does not
//! lose a place to clients that only connect, and is refused none. When no guest gives way, guests are not accepted:
//! they wait in the backlog of their listener. Fronts have another.
//!
//! The bytes that are kept of incomplete headers and bodies, and of pages that the client has not taken, are counted as
//! well; when they are too many, the same guests give way.
//!
//! Only strangers have shares of slow places; a guest that `listen-allow` names keeps its place while it is slow.

use std::collections::{BTreeMap, BTreeSet};

use super::queue::Number;

/// The most guests, beside those that the queue may hold.
const MOST: usize = 4096;
/// Descriptors for each guest: its connection, and perhaps a file for its body and one for its response.
const FDS: usize = 3;
/// The largest share of slow places, of one stranger and of all.
const MOST_SLOW_EACH: usize = 512;
const MOST_SLOW: usize = 1024;
/// The most bytes of incomplete headers and bodies, and of pages that the client has not taken.
const MOST_BYTES: usize = 64 << 20;

/// How much guests may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareLimits {
    /// Guests at once.
    pub guests: usize,
    /// Places that strangers keep while they are slow.
    pub slow: usize,
    /// The same for one stranger.
    pub slow_each: usize,
    /// Bytes that are kept for them before a worker has their request, and after.
    pub bytes: usize,
}

/// What a guest does with its place: see the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has its answer.
    Answered,
    /// It waits for a worker, or has one.
    Served,
    /// Its body comes in, or its response goes out.
    Slow,
    /// Its header is not whole.
    Unheard,
}

/// The guests by their numbers, and what their origins hold.
#[derive(Debug)]
pub struct Shares<O> {
    limits: ShareLimits,
    guests: BTreeMap<Number, Holder<O>>,
    origins: BTreeMap<Key<O>, Held>,
    /// The origins by how many of theirs give way.
    by_count: BTreeSet<Precedence<O>>,
    /// The same by the bytes of those.
    by_bytes: BTreeSet<Precedence<O>>,
    /// Places that strangers keep while they are slow.
    slow: usize,
    /// How many bytes are kept for all guests.
    bytes: usize,
}

/// Whether it is a stranger, and its origin. A new `listen-allow` holds for guests that connect from then on; the
/// others stay what they were.
type Key<O> = (bool, O);

/// The same, with a count or a number of bytes in between. The highest gives way first.
type Precedence<O> = (bool, usize, O);

#[derive(Debug)]
struct Holder<O> {
    origin: O,
    is_stranger: bool,
    stage: Stage,
    /// It is Slow, and does not give way.
    has_share: bool,
    bytes: usize,
}

/// What guests of one origin hold.
#[derive(Debug, Default)]
struct Held {
    count: usize,
    slow: usize,
    /// Those that give way: the first is the oldest.
    yielding: BTreeSet<Number>,
    /// Those of them for which something is kept.
    with_bytes: BTreeSet<Number>,
    /// How many bytes are kept for these.
    bytes: usize,
}

impl ShareLimits {
    /// Of a daemon that may have `fds` descriptors for all its clients.
    pub fn new(fds: usize, queue_size: usize) -> ShareLimits {
        let guests = (fds / FDS).clamp(1, MOST + queue_size);
        ShareLimits {
            guests,
            slow: (guests * 3 / 4).min(MOST_SLOW),
            slow_each: guests.div_ceil(2).min(MOST_SLOW_EACH),
            bytes: MOST_BYTES,
        }
    }
}

impl<O: Copy> Holder<O> {
    fn key(&self) -> Key<O> {
        (self.is_stranger, self.origin)
    }

    fn gives_way(&self) -> bool {
        match self.stage {
            Stage::Answered | Stage::Unheard => true,
            Stage::Served => false,
            Stage::Slow => !self.has_share,
        }
    }
}

impl<O: Copy + Ord> Shares<O> {
    /// No guest yet.
    pub fn new(limits: ShareLimits) -> Shares<O> {
        Shares {
            limits,
            guests: BTreeMap::new(),
            origins: BTreeMap::new(),
            by_count: BTreeSet::new(),
            by_bytes: BTreeSet::new(),
            slow: 0,
            bytes: 0,
        }
    }

    /// Other limits hold from now on.
    pub fn obey(&mut self, limits: ShareLimits) {
        self.limits = limits;
    }

    /// How many guests there are.
    pub fn count(&self) -> usize {
        self.guests.len()
    }

    /// Guests that have sent no whole header, or have their answer.
    pub fn idle(&self) -> impl Iterator<Item = Number> {
        let is_idle = |guest: &Holder<O>| matches!(guest.stage, Stage::Answered | Stage::Unheard);
        let guests = self.guests.iter();
        guests
            .filter(move |(_, guest)| is_idle(guest))
            .map(|(&number, _)| number)
    }

    /// There is no place, and no guest gives way.
    pub fn is_full(&self) -> bool {
        self.guests.len() >= self.limits.guests && self.by_count.is_empty()
    }

    /// One more guest, Unheard, until it [leaves](Shares::leave). Returns the guest that must leave now for want of a
    /// place.
    pub fn enter(&mut self, number: Number, origin: O, is_stranger: bool) -> Option<Number> {
        let other = match self.guests.len() < self.limits.guests {
            true => None,
            false => self.next_to_go(&self.by_count, |held| &held.yielding),
        };
        let guest = Holder {
            origin,
            is_stranger,
            stage: Stage::Served,
            has_share: false,
            bytes: 0,
        };
        self.origins.entry(guest.key()).or_default().count += 1;
        self.guests.insert(number, guest);
        self.go_to(number, Stage::Unheard);
        other
    }

    /// A guest is in another stage from now on. Does nothing if the number is not a guest's.
    pub fn go_to(&mut self, number: Number, stage: Stage) {
        let (limits, slow) = (self.limits, self.slow);
        self.change(number, |guest, held| {
            held.slow -= usize::from(guest.has_share);
            let others = slow - usize::from(guest.has_share && guest.is_stranger);
            let has_room = held.slow < limits.slow_each && others < limits.slow;
            guest.has_share = stage == Stage::Slow && (has_room || !guest.is_stranger);
            held.slow += usize::from(guest.has_share);
            guest.stage = stage;
            if stage == Stage::Served {
                guest.bytes = 0;
            }
        });
    }

    /// So many bytes are kept for a guest. If they are too many in all, returns a guest that must leave; after that,
    /// call this again.
    pub fn keep(&mut self, number: Number, bytes: usize) -> Option<Number> {
        self.change(number, |guest, _| guest.bytes = bytes);
        match self.bytes > self.limits.bytes {
            true => self.next_to_go(&self.by_bytes, |held| &held.with_bytes),
            false => None,
        }
    }

    /// The guest is gone.
    pub fn leave(&mut self, number: Number) {
        self.go_to(number, Stage::Served);
        if let Some(guest) = self.guests.remove(&number)
            && let Some(held) = self.origins.get_mut(&guest.key())
        {
            held.count -= 1;
            if held.count == 0 {
                self.origins.remove(&guest.key());
            }
        }
    }

    /// The oldest guest of the origin that has most.
    fn next_to_go(
        &self,
        ranks: &BTreeSet<Precedence<O>>,
        which: impl Fn(&Held) -> &BTreeSet<Number>,
    ) -> Option<Number> {
        let &(is_stranger, _, origin) = ranks.last()?;
        let held = self.origins.get(&(is_stranger, origin))?;
        which(held).first().copied()
    }

    /// Changes a guest, and updates the sums of its origin and of all guests.
    fn change(&mut self, number: Number, change: impl FnOnce(&mut Holder<O>, &mut Held)) {
        let Some(guest) = self.guests.get_mut(&number) else {
            return;
        };
        let Some(held) = self.origins.get_mut(&guest.key()) else {
            return;
        };
        let before = (held.yielding.len(), held.bytes, held.slow, guest.bytes);
        if held.with_bytes.remove(&number) {
            held.bytes -= guest.bytes;
        }
        held.yielding.remove(&number);
        change(guest, held);
        if guest.gives_way() {
            held.yielding.insert(number);
            if guest.bytes > 0 {
                held.with_bytes.insert(number);
                held.bytes += guest.bytes;
            }
        }
        for (ranks, before, now) in [
            (&mut self.by_count, before.0, held.yielding.len()),
            (&mut self.by_bytes, before.1, held.bytes),
        ] {
            if before != now {
                ranks.remove(&(guest.is_stranger, before, guest.origin));
                if now > 0 {
                    ranks.insert((guest.is_stranger, now, guest.origin));
                }
            }
        }
        if guest.is_stranger {
            self.slow = self.slow + held.slow - before.2;
        }
        self.bytes = self.bytes + guest.bytes - before.3;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: ShareLimits = ShareLimits {
        guests: 8,
        slow: 6,
        slow_each: 4,
        bytes: 1000,
    };
    const NGINX: char = 'n';
    const STRANGER: char = 's';

    fn shares() -> Shares<char> {
        Shares::new(LIMITS)
    }

    /// These enter as strangers of this origin, and go to that stage.
    fn fill(shares: &mut Shares<char>, numbers: std::ops::Range<Number>, of: char, stage: Stage) {
        for number in numbers {
            assert_eq!(shares.enter(number, of, true), None);
            shares.go_to(number, stage);
        }
    }

    #[test]
    fn an_idle_one_gives_way_to_the_next() {
        let mut shares = shares();
        fill(&mut shares, 0..3, NGINX, Stage::Served);
        fill(&mut shares, 3..8, STRANGER, Stage::Unheard);
        for oldest in 3..8 {
            assert!(!shares.is_full());
            assert_eq!(shares.enter(oldest + 10, NGINX, true), Some(oldest));
            shares.leave(oldest);
            shares.go_to(oldest + 10, Stage::Served);
        }
        assert!(shares.is_full(), "all are served");
        shares.leave(0);
        assert!(!shares.is_full());
        assert_eq!(shares.enter(99, STRANGER, true), None);
        shares.go_to(1, Stage::Answered);
        shares.go_to(2, Stage::Slow);
        assert_eq!(shares.idle().collect::<Vec<_>>(), [1, 99]);
    }

    #[test]
    fn the_origin_that_has_most_loses_one_and_strangers_first() {
        let mut shares = shares();
        for number in 0..5 {
            shares.enter(number, NGINX, false);
        }
        fill(&mut shares, 5..6, 'a', Stage::Unheard);
        fill(&mut shares, 6..8, STRANGER, Stage::Answered);
        for (entering, leaving) in [(8, 6), (9, 7), (10, 5), (11, 0)] {
            let other = shares.enter(entering, NGINX, false);
            assert_eq!(other, Some(leaving), "{entering}");
            shares.leave(leaving);
        }
    }

    #[test]
    fn a_slow_stranger_keeps_its_place_within_its_share() {
        let mut shares = shares();
        fill(&mut shares, 0..5, STRANGER, Stage::Slow);
        fill(&mut shares, 5..8, 'a', Stage::Slow);
        // Beyond the share of the one, and of all.
        assert_eq!(shares.enter(8, NGINX, false), Some(4));
        shares.leave(4);
        assert_eq!(shares.enter(9, NGINX, false), Some(7));
        shares.leave(7);
        shares.go_to(8, Stage::Slow);
        shares.go_to(9, Stage::Slow);
        assert!(shares.is_full(), "two are named, six have shares");
        shares.go_to(0, Stage::Answered);
        assert_eq!(shares.enter(10, 'b', true), Some(0));
        shares.leave(0);
        shares.go_to(10, Stage::Slow);
        assert!(shares.is_full(), "there was a share again");
        shares.go_to(10, Stage::Slow);
        assert!(shares.is_full());
    }

    #[test]
    fn what_is_kept_has_a_limit() {
        let mut shares = shares();
        fill(&mut shares, 0..2, NGINX, Stage::Unheard);
        fill(&mut shares, 2..6, STRANGER, Stage::Unheard);
        shares.go_to(5, Stage::Slow);
        assert_eq!(shares.keep(5, 300), None);
        assert_eq!(shares.keep(0, 200), None);
        assert_eq!(shares.keep(3, 100), None);
        assert_eq!(shares.keep(4, 300), None);
        assert_eq!(shares.keep(2, 101), Some(2), "the oldest that has sent");
        shares.leave(2);
        assert_eq!(shares.keep(1, 200), Some(3));
        shares.leave(3);
        assert_eq!(shares.keep(1, 200), None);
        shares.go_to(4, Stage::Served);
        assert_eq!(shares.keep(1, 500), None);
        assert_eq!(shares.keep(1, 100), None);
        shares.go_to(4, Stage::Answered);
        assert_eq!(shares.keep(4, 600), Some(4), "a page that it does not take");
        shares.leave(4);
        assert_eq!(shares.keep(77, 5000), None, "no guest");
    }

    #[test]
    fn an_origin_that_is_named_meanwhile_leaves_nothing_behind() {
        let mut shares = shares();
        shares.enter(0, NGINX, true);
        shares.enter(1, NGINX, false);
        shares.leave(0);
        shares.leave(1);
        fill(&mut shares, 2..10, NGINX, Stage::Served);
        assert!(shares.is_full(), "all are served");
    }

    #[test]
    fn limits_leave_room_for_fronts() {
        for fds in [0, 1, 10, 100, 1000, 100_000, 1_000_000] {
            let limits = ShareLimits::new(fds, 100);
            assert!(limits.guests >= 1 && limits.slow_each >= 1);
            assert!(limits.guests * FDS <= fds.max(FDS));
            assert!(limits.guests <= MOST + 100);
        }
    }

    proptest! {
        #[test]
        fn sums_are_right(steps in prop::collection::vec((0u64..12, 0usize..8, 0usize..400), 0..200)) {
            let mut shares = shares();
            for (number, what, bytes) in steps {
                let origin = ['a', 'b', 'c'][number as usize % 3];
                let is_there = shares.guests.contains_key(&number);
                let other = match what {
                    // An origin may have both kinds for a while.
                    0 if !is_there => shares.enter(number, origin, bytes % 3 != 0),
                    1 => Some(number),
                    2 => shares.keep(number, bytes),
                    _ => {
                        let stage = [Stage::Answered, Stage::Slow, Stage::Served][what % 3];
                        shares.go_to(number, stage);
                        None
                    }
                };
                if let Some(other) = other {
                    shares.leave(other);
                }
                let guests = || shares.guests.values();
                prop_assert_eq!(shares.bytes, guests().map(|guest| guest.bytes).sum::<usize>());
                let slow = || guests().filter(|guest| guest.is_stranger && guest.has_share);
                prop_assert_eq!(shares.slow, slow().count());
                prop_assert!(shares.slow <= LIMITS.slow);
                prop_assert!(slow().filter(|guest| guest.origin == 'a').count() <= LIMITS.slow_each);
                let yielding = guests().filter(|guest| guest.gives_way()).count();
                prop_assert_eq!(shares.by_count.iter().map(|(_, count, _)| count).sum::<usize>(), yielding);
                let counted: usize = shares.origins.values().map(|held| held.count).sum();
                prop_assert_eq!(counted, shares.count());
            }
        }
    }
}

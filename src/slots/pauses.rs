//! What the file `slots` knows for `daemon-when-rate = auto` and `idle-timeout = auto`: the pauses between requests, and
//! what a load of the app and its daemon's memory cost. A file of a version that did not know of them has zeros there,
//! which is what a new one has. Decides nothing: that is [`rental`](crate::policy::rental)'s.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{ATTEMPTED_AT, ATTEMPTS, LEFT_AT, Slots, counts, millis};
use crate::policy::rental::{FIRST, LoadTime, Prices, Rental, Served};

// The numbers in the file, by index.
/// When the last request came.
const LAST: usize = counts::BEHIND;
/// How much longer a request takes as a plain CGI, in microseconds, as of the last time that it was reckoned.
const LONGER: usize = LAST + 1;
/// How long the daemon's starts took, in microseconds: an average in which the last counts a quarter.
const START: usize = LAST + 2;
/// The bytes of the daemon when it had nothing to do.
const MEMORY: usize = LAST + 3;
const RENTAL: usize = LAST + 4;

const _: () = assert!(RENTAL + Rental::NUMBERS <= counts::END_OF_ROOM);

/// What CGIs take is reckoned again after so many requests: their times lie in a page of their own.
const RECKONED: u64 = 16;

/// What is known of the pauses between requests, and the prices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct KnownPauses {
    pub rental: Rental,
    pub prices: Prices,
}

impl Slots {
    /// Notes a request that finds no daemon which could serve it at once.
    pub fn note_cold(&self, now: Duration) {
        self.note_pause(now, |before| self.cold(before));
    }

    /// Notes a request that a daemon serves.
    pub fn note_warm(&self, now: Duration) {
        self.note_pause(now, |_| Served::Warm);
    }

    /// Notes a request for which a daemon was started: its front has noted the pause before it.
    pub fn note_starter(&self, now: Duration) {
        if self.counts() {
            self.numbers.at(LAST).store(millis(now), Relaxed);
        }
    }

    /// What would be known if a request that finds no daemon were noted now.
    pub fn pauses_if_cold(&self, now: Duration) -> KnownPauses {
        match self.counts().then(|| self.numbers.at(LAST).load(Relaxed)) {
            None | Some(0) => self.pauses(),
            Some(before) => self.pauses_and(before, now, self.cold(before)),
        }
    }

    /// A request that came then was followed by one that finds no daemon.
    fn cold(&self, before: u64) -> Served {
        let left = self.numbers.at(LEFT_AT).load(Relaxed);
        Served::Cold {
            kept: Duration::from_millis(left.saturating_sub(before)),
        }
    }

    /// What is known with a pause from then until now.
    fn pauses_and(&self, before: u64, now: Duration, served: Served) -> KnownPauses {
        let mut known = self.pauses();
        let pause = Duration::from_millis(millis(now).saturating_sub(before));
        let break_even = known.prices.break_even();
        known.rental.note(pause, served, break_even);
        known
    }

    /// `served` is told when the request before this one came. Of two processes that note at the same moment, one may
    /// take back what the other noted: a pause is lost then, and nothing follows from a single one.
    fn note_pause(&self, now: Duration, served: impl Fn(u64) -> Served) {
        if !self.counts() {
            return;
        }
        let before = self.numbers.at(LAST).swap(millis(now), Relaxed);
        if before == 0 {
            return;
        }
        let known = self.pauses_and(before, now, served(before));
        for (nth, number) in known.rental.numbers().into_iter().enumerate() {
            self.numbers.at(RENTAL + nth).store(number, Relaxed);
        }
        let count = known.rental.count();
        if count == FIRST || count.is_multiple_of(RECKONED) {
            self.reckon();
        }
    }

    /// What is known so far.
    pub fn pauses(&self) -> KnownPauses {
        if !self.counts() {
            return KnownPauses::default();
        }
        let load = |index: usize| self.numbers.at(index).load(Relaxed);
        let time = |index: usize| Some(load(index)).filter(|&micros| micros > 0);
        let longer = time(LONGER).map(|micros| LoadTime::Cgi(Duration::from_micros(micros)));
        let start = time(START).map(|micros| LoadTime::Start(Duration::from_micros(micros)));
        let mut numbers = [0; Rental::NUMBERS];
        for (nth, number) in numbers.iter_mut().enumerate() {
            *number = load(RENTAL + nth);
        }
        KnownPauses {
            rental: Rental::from_numbers(&numbers),
            prices: Prices {
                load: longer.or(start),
                memory: Some(load(MEMORY)).filter(|&bytes| bytes > 0),
            },
        }
    }

    /// Half of the plain CGIs take longer than this, and half of the daemon's requests longer than that.
    fn reckon(&self) {
        let Some(cgi) = self.cgi_times_since(Duration::ZERO) else {
            return;
        };
        let served = self.served().map_or(0, |served| served.p50);
        let longer = cgi.p50.saturating_sub(served);
        self.numbers.at(LONGER).store(longer, Relaxed);
    }

    /// The start that was noted last has succeeded.
    pub fn note_started(&self, now: Duration) {
        if !self.counts() || self.numbers.at(ATTEMPTS).load(Relaxed) == 0 {
            return;
        }
        let began = self.numbers.at(ATTEMPTED_AT).load(Relaxed);
        let took = millis(now).saturating_sub(began).max(1) * 1000;
        let start = self.numbers.at(START);
        let average = match start.load(Relaxed) {
            0 => took,
            before => (before / 4 * 3).saturating_add(took / 4),
        };
        start.store(average, Relaxed);
        self.reckon();
    }

    /// The daemon has nothing to do, and so many bytes.
    pub fn note_memory(&self, bytes: u64) {
        if self.counts() {
            self.numbers.at(MEMORY).store(bytes, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::super::tests::{S, slots};
    use super::super::{COUNT, FIRST_COUNT};
    use super::*;
    use crate::figures::{Counted, Took};

    #[test]
    fn pauses_are_noted_by_fronts_and_the_daemon() {
        let (dir, slots) = slots();
        slots.note_cold(S(10));
        assert_eq!(slots.pauses(), KnownPauses::default(), "no pause yet");
        slots.note_cold(S(40));
        slots.note_starter(S(41));
        slots.note_warm(S(51));
        slots.note_left(S(171));
        let foreseen = slots.pauses_if_cold(S(1000));
        assert_ne!(slots.pauses(), foreseen);
        slots.note_cold(S(1000));
        assert_eq!(slots.pauses(), foreseen);
        let even = Prices::default().break_even();
        let mut expected = Rental::default();
        let kept = S(120);
        expected.note(S(30), Served::Cold { kept: S(0) }, even);
        expected.note(S(10), Served::Warm, even);
        expected.note(S(949), Served::Cold { kept }, even);
        assert_eq!(slots.pauses().rental, expected);
        let other = Slots::open(&dir.path().join("slots")).unwrap();
        assert_eq!(other.pauses(), slots.pauses());
    }

    #[test]
    fn a_load_is_what_cgis_take_longer_and_else_a_start() {
        let (_dir, slots) = slots();
        slots.note_started(S(1));
        assert_eq!(slots.pauses().prices.load, None, "none was tried");
        slots.note_attempt(S(10));
        slots.note_started(S(12));
        assert_eq!(slots.pauses().prices.load, Some(LoadTime::Start(S(2))));
        slots.note_attempt(S(20));
        slots.note_started(S(26));
        assert_eq!(slots.pauses().prices.load, Some(LoadTime::Start(S(3))));
        // A CGI takes half a second; the daemon's requests a tenth.
        let note = slots.time_note(S(30)).unwrap();
        let offset = note.split(':').nth(1).unwrap().parse().unwrap();
        let number: u64 = 30 << 32 | 5000;
        slots
            .file
            .write_all_at(&number.to_ne_bytes(), offset)
            .unwrap();
        let took = Took {
            waited: S(0),
            served: Duration::from_millis(100),
        };
        slots.count(Counted::Daemon, Some(took), S(30));
        slots.note_started(S(31));
        let Some(LoadTime::Cgi(longer)) = slots.pauses().prices.load else {
            panic!("{:?}", slots.pauses());
        };
        assert!((350..450).contains(&longer.as_millis()), "{longer:?}");
        slots.note_memory(1 << 24);
        assert_eq!(slots.pauses().prices.memory, Some(1 << 24));
    }

    #[test]
    fn an_older_file_has_no_pauses_and_a_nonsensical_one_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slots");
        let older = File::create(&path).unwrap();
        older.set_len(FIRST_COUNT as u64 * 8).unwrap();
        let slots = Slots::open(&path).unwrap();
        assert_eq!(slots.pauses(), KnownPauses::default());
        let junk = vec![0xff; (COUNT - FIRST_COUNT) * 8];
        older.write_all_at(&junk, FIRST_COUNT as u64 * 8).unwrap();
        slots.note_warm(S(5));
        slots.note_attempt(S(7));
        slots.note_started(S(9));
        let known = slots.pauses();
        let even = known.prices.break_even();
        assert!(known.rental.kept(even) <= even);
    }

    /// A page more would be a page fault more for each plain CGI.
    #[test]
    fn they_lie_in_the_page_where_a_front_counts() {
        let page = |index: usize| index * 8 / 4096;
        let pages = [FIRST_COUNT, LAST, RENTAL + Rental::NUMBERS - 1].map(page);
        assert_eq!(pages, [pages[0]; 3]);
    }
}

//! The part of the file `slots` that counts: totals, and a ring of minutes. A number is added to and never set, so that
//! the daemon and any number of fronts may count at the same time. When a place of the ring becomes another minute's,
//! what a second process counts in that moment can be lost; nothing else can.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{FIRST_COUNT, RING, RING_LEN, Slots, millis};
use crate::figures::{
    BINS, Counted, Counts, Figures, Histogram, MINUTES, Minute, Quantiles, RECENT, Recent, Took,
    bin,
};

// The numbers in the file, by index. There is room for more kinds than there are.
/// When the first request was counted.
const SINCE: usize = FIRST_COUNT;
const TOTALS: usize = SINCE + 1;
const MOST_KINDS: usize = 32;
const WAITED: HistogramPlace = HistogramPlace {
    sum: TOTALS + MOST_KINDS,
    bins: TOTALS + MOST_KINDS + 2,
};
const SERVED: HistogramPlace = HistogramPlace {
    sum: WAITED.sum + 1,
    bins: WAITED.bins + BINS,
};
/// A minute begins at a multiple of its length, so that none lies in two pages.
const RING_OF_MINUTES: usize = 1408;
const MINUTE_LEN: usize = 128;
pub(super) const END: usize = RING_OF_MINUTES + MINUTES * MINUTE_LEN;

// Within a minute. Counts have 32 bits each, two in a number: more cannot come in a minute.
/// The minute since the boot, plus one; 0: none.
const STAMP: usize = 0;
const BUSIEST: usize = 1;
const KINDS: usize = 2;
const MINUTE_WAITED: usize = KINDS + MOST_KINDS / 2;
const MINUTE_SERVED: usize = MINUTE_WAITED + BINS / 2;

const _: () = assert!(Counted::ALL.len() <= MOST_KINDS);
/// Behind the histograms there is room before the first minute, in their page.
pub(super) const BEHIND: usize = SERVED.bins + BINS;
pub(super) const END_OF_ROOM: usize = RING_OF_MINUTES;
const _: () = assert!(BEHIND <= RING_OF_MINUTES);
const _: () = assert!(RING_OF_MINUTES.is_multiple_of(MINUTE_LEN));
const _: () = assert!(MINUTE_SERVED + BINS / 2 <= MINUTE_LEN);

/// Where a histogram stands.
struct HistogramPlace {
    /// The sum of the times, in microseconds.
    sum: usize,
    bins: usize,
}

/// How long the pace looks back.
const PACE: Duration = Duration::from_secs(10);

impl Slots {
    /// Counts what became of a request. `took`: if the daemon has served it.
    pub fn count(&self, what: Counted, took: Option<Took>, now: Duration) {
        if !self.counts() {
            return;
        }
        let since = self.numbers.at(SINCE);
        if since.load(Relaxed) == 0 {
            // Of two that are the first, either is right.
            since.store(millis(now), Relaxed);
        }
        self.add(TOTALS + what.number(), 1);
        let minute = self.minute(now);
        if let Some(minute) = minute {
            self.add_half(minute + KINDS, what.number(), 1);
        }
        let Some(took) = took else {
            return;
        };
        for (time, total, part) in [
            (took.waited, WAITED, MINUTE_WAITED),
            (took.served, SERVED, MINUTE_SERVED),
        ] {
            let bin = bin(time);
            self.add(
                total.sum,
                u64::try_from(time.as_micros()).unwrap_or(u64::MAX),
            );
            self.add(total.bins + bin, 1);
            if let Some(minute) = minute {
                self.add_half(minute + part, bin, 1);
            }
        }
    }

    /// Counts requests that did not wait for a worker: how many were served how long, in bins, and how long in all.
    pub fn count_served(&self, what: Counted, bins: &[u64; BINS], took: Duration, now: Duration) {
        let count = bins.iter().sum();
        if !self.counts() || (count == 0 && took.is_zero()) {
            return;
        }
        let since = self.numbers.at(SINCE);
        if since.load(Relaxed) == 0 {
            since.store(millis(now), Relaxed);
        }
        self.add(TOTALS + what.number(), count);
        self.add(WAITED.bins, count);
        self.add(
            SERVED.sum,
            u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        );
        let minute = self.minute(now);
        if let Some(minute) = minute {
            self.add_half(minute + KINDS, what.number(), count);
            self.add_half(minute + MINUTE_WAITED, 0, count);
        }
        for (bin, &count) in bins.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.add(SERVED.bins + bin, count);
            if let Some(minute) = minute {
                self.add_half(minute + MINUTE_SERVED, bin, count);
            }
        }
    }

    /// It became something else. `now`: when it was counted.
    pub fn uncount(&self, what: Counted, now: Duration) {
        if !self.counts() {
            return;
        }
        let one_less = |index: usize, one: u64, mask: u64| {
            let less = |number: u64| (number & mask >= one).then(|| number - one);
            // There is none if the minute's place was emptied in between.
            let _ = self.numbers.at(index).fetch_update(Relaxed, Relaxed, less);
        };
        one_less(TOTALS + what.number(), 1, u64::MAX);
        if let Some(minute) = self.minute(now) {
            let shift = what.number() % 2 * 32;
            let index = minute + KINDS + what.number() / 2;
            one_less(index, 1 << shift, u64::from(u32::MAX) << shift);
        }
    }

    /// So many workers are busy at this moment.
    pub fn note_busy(&self, workers: u64, now: Duration) {
        if !self.counts() {
            return;
        }
        if let Some(minute) = self.minute(now) {
            self.numbers
                .at(minute + BUSIEST)
                .fetch_max(workers, Relaxed);
        }
    }

    /// There was room for it on the disk.
    pub(super) fn counts(&self) -> bool {
        self.numbers.len() >= END
    }

    fn add(&self, index: usize, count: u64) {
        self.numbers.at(index).fetch_add(count, Relaxed);
    }

    /// Adds to one of the counts that stand two in a number.
    fn add_half(&self, index: usize, nth: usize, count: u64) {
        self.add(index + nth / 2, count << (nth % 2 * 32));
    }

    /// Where the present minute is counted; its place is emptied of the one an hour ago. `None`: the place is already a
    /// later minute's, since this process was stopped.
    fn minute(&self, now: Duration) -> Option<usize> {
        let minute = now.as_secs() / 60 + 1;
        let at = place_of(minute);
        let stamp: &AtomicU64 = self.numbers.at(at + STAMP);
        let noted = stamp.load(Relaxed);
        if noted != minute {
            if noted > minute && noted - minute < 2 * MINUTES as u64 {
                return None;
            }
            let taken = stamp.compare_exchange(noted, minute, Relaxed, Relaxed);
            if taken.is_ok() {
                for index in at + BUSIEST..at + MINUTE_LEN {
                    self.numbers.at(index).store(0, Relaxed);
                }
            }
        }
        Some(at)
    }

    /// All that was counted. `now` and `wall` are the same moment by two clocks: since the boot, and since 1970.
    pub fn figures(&self, now: Duration, wall: Duration) -> Figures {
        if !self.counts() {
            return Figures::default();
        }
        let load = |index: usize| self.numbers.at(index).load(Relaxed);
        let since = match load(SINCE) {
            0 => None,
            since => {
                let age = now.saturating_sub(Duration::from_millis(since));
                Some(wall.saturating_sub(age).as_secs())
            }
        };
        let mut counts = Counts::default();
        for what in Counted::ALL {
            counts.add(what, load(TOTALS + what.number()));
        }
        let histogram = |place: HistogramPlace| {
            let mut times = Histogram::default();
            (0..BINS).for_each(|bin| times.add(bin, load(place.bins + bin)));
            times.sum = load(place.sum);
            times
        };
        let present = now.as_secs() / 60 + 1;
        let first = present.saturating_sub(MINUTES as u64 - 1).max(1);
        let minutes = (first..=present).filter_map(|minute| {
            let age = now.saturating_sub(Duration::from_secs((minute - 1) * 60));
            self.minute_of(minute, wall.saturating_sub(age))
        });
        Figures {
            since,
            counts,
            waited: histogram(WAITED),
            served: histogram(SERVED),
            pace: self.pace(now),
            recent: self.recent(present, now),
            minutes: minutes.collect(),
        }
    }

    /// How long requests were served by the daemon, of all that were.
    pub(super) fn served(&self) -> Option<Quantiles> {
        let mut times = Histogram::default();
        for bin in 0..BINS {
            times.add(bin, self.numbers.at(SERVED.bins + bin).load(Relaxed));
        }
        times.quantiles()
    }

    fn half(&self, index: usize, nth: usize) -> u64 {
        let both = self.numbers.at(index + nth / 2).load(Relaxed);
        both >> (nth % 2 * 32) & u64::from(u32::MAX)
    }

    /// The place of a minute, if the ring still has it.
    fn remembered(&self, minute: u64) -> Option<usize> {
        let at = place_of(minute);
        (self.numbers.at(at + STAMP).load(Relaxed) == minute).then_some(at)
    }

    fn add_minute(&self, at: usize, part: usize, times: &mut Histogram) {
        (0..BINS).for_each(|bin| times.add(bin, self.half(at + part, bin)));
    }

    /// `None`: nothing came of any request in that minute.
    fn minute_of(&self, minute: u64, began: Duration) -> Option<Minute> {
        let at = self.remembered(minute)?;
        let mut counts = Counts::default();
        for what in Counted::ALL {
            counts.add(what, self.half(at + KINDS, what.number()));
        }
        let busiest = self.numbers.at(at + BUSIEST).load(Relaxed);
        if counts.sum() == 0 && busiest == 0 {
            return None;
        }
        let times = |part| {
            let mut times = Histogram::default();
            self.add_minute(at, part, &mut times);
            times.quantiles()
        };
        Some(Minute {
            at: began.as_secs(),
            busiest,
            counts,
            waited: times(MINUTE_WAITED),
            served: times(MINUTE_SERVED),
        })
    }

    fn recent(&self, present: u64, now: Duration) -> Recent {
        let first = present.saturating_sub(RECENT - 1).max(1);
        let (mut waited, mut served) = (Histogram::default(), Histogram::default());
        let mut recent = Recent {
            seconds: (now.as_secs() + 1).saturating_sub((first - 1) * 60),
            ..Recent::default()
        };
        for at in (first..=present).filter_map(|minute| self.remembered(minute)) {
            let counts = Counted::ALL.map(|what| self.half(at + KINDS, what.number()));
            recent.requests += counts.iter().sum::<u64>();
            let busiest = self.numbers.at(at + BUSIEST).load(Relaxed);
            recent.busiest = recent.busiest.max(busiest);
            self.add_minute(at, MINUTE_WAITED, &mut waited);
            self.add_minute(at, MINUTE_SERVED, &mut served);
        }
        recent.waited = waited.quantiles();
        recent.served = served.quantiles();
        recent.cgi = self.cgi_times(now);
        recent
    }

    /// Requests of the last 10 s in thousandths of a request per second. If more came than the ring of arrivals holds,
    /// of the time that it covers.
    fn pace(&self, now: Duration) -> u64 {
        let now = millis(now);
        let ages = (0..RING_LEN).filter_map(|nth| {
            let at = self.numbers.at(RING + nth).load(Relaxed);
            let age = now.saturating_sub(at);
            (at != 0 && u128::from(age) < PACE.as_millis()).then_some(age)
        });
        let (count, oldest) =
            ages.fold((0, 0), |(count, oldest), age| (count + 1, age.max(oldest)));
        let covered = match count < RING_LEN as u64 {
            true => PACE.as_millis() as u64,
            false => oldest.max(1),
        };
        count * 1_000_000 / covered
    }
}

fn place_of(minute: u64) -> usize {
    RING_OF_MINUTES + (minute % MINUTES as u64) as usize * MINUTE_LEN
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::sys::process;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const WALL: Duration = Duration::from_secs(1_700_000_000);

    fn slots() -> (tempfile::TempDir, Slots) {
        let dir = tempfile::tempdir().unwrap();
        let slots = Slots::open(&dir.path().join("slots")).unwrap();
        (dir, slots)
    }

    fn took(waited: u64, served: u64) -> Option<Took> {
        Some(Took {
            waited: Duration::from_millis(waited),
            served: Duration::from_millis(served),
        })
    }

    #[test]
    fn what_is_counted_is_found() {
        let (_dir, slots) = slots();
        assert_eq!(slots.figures(S(100), WALL), {
            let recent = Recent {
                seconds: 101,
                ..Recent::default()
            };
            Figures {
                recent,
                ..Figures::default()
            }
        });
        for what in Counted::ALL {
            slots.count(what, None, S(100));
        }
        slots.count(Counted::Daemon, took(10, 200), S(130));
        slots.note_busy(3, S(130));
        slots.note_busy(2, S(131));
        for what in [Counted::Cgi, Counted::Daemon] {
            slots.count(what, None, S(131));
            slots.uncount(what, S(131));
        }
        // Its minute has been emptied.
        slots.uncount(Counted::Cgi, S(190));
        let figures = slots.figures(S(140), WALL);
        assert_eq!(figures.since, Some(WALL.as_secs() - 40));
        let counts = Counted::ALL.map(|what| figures.counts.of(what));
        let expected = Counted::ALL.map(|what| match what {
            Counted::Cgi => 0,
            Counted::Daemon => 2,
            _ => 1,
        });
        assert_eq!(counts, expected);
        assert_eq!((figures.waited.sum, figures.served.sum), (10_000, 200_000));
        assert_eq!((figures.waited.count(), figures.served.count()), (1, 1));
        let [before, present] = &figures.minutes[..] else {
            panic!("{figures:?}");
        };
        // Minutes are those since the boot: this one began at 120 s.
        assert_eq!(
            (before.at, present.at),
            (WALL.as_secs() - 80, WALL.as_secs() - 20)
        );
        assert_eq!((before.busiest, present.busiest), (0, 3));
        assert_eq!(
            present.counts.some().collect::<Vec<_>>(),
            [(Counted::Daemon, 1)]
        );
        assert_eq!((before.served, present.served.is_some()), (None, true));
        let recent = figures.recent;
        assert_eq!(
            (recent.seconds, recent.requests, recent.busiest),
            (141, Counted::ALL.len() as u64 + 1, 3)
        );
    }

    #[test]
    fn an_hour_is_remembered_and_five_minutes_are_recent() {
        let (_dir, slots) = slots();
        for minute in 0..100 {
            slots.count(Counted::Cgi, None, S(minute * 60));
        }
        let figures = slots.figures(S(99 * 60 + 30), WALL);
        assert_eq!(figures.minutes.len(), MINUTES);
        assert!(
            figures
                .minutes
                .iter()
                .all(|minute| minute.counts.sum() == 1)
        );
        assert_eq!((figures.recent.requests, figures.recent.seconds), (5, 271));
        assert_eq!(figures.counts.sum(), 100);
        // A process that was stopped for an hour counts in no other's minute.
        slots.count(Counted::Cgi, None, S(39 * 60));
        let minutes = slots.figures(S(99 * 60 + 30), WALL).minutes;
        assert!(minutes.iter().all(|minute| minute.counts.sum() == 1));
        // Much later nothing of it is left.
        assert_eq!(slots.figures(S(999 * 60), WALL).minutes, []);
    }

    #[test]
    fn the_pace_is_that_of_ten_seconds_or_of_what_is_remembered() {
        let (_dir, slots) = slots();
        assert_eq!(slots.figures(S(5), WALL).pace, 0);
        for second in 1..=30 {
            slots.arrive(S(second));
        }
        assert_eq!(slots.figures(S(30), WALL).pace, 1000);
        for nth in 0..5000 {
            slots.arrive(S(60) + Duration::from_millis(nth));
        }
        let pace = slots.figures(S(65), WALL).pace;
        assert!((990_000..=1_010_000).contains(&pace), "{pace}");
    }

    #[test]
    fn two_processes_count_in_one_file_and_an_older_file_grows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slots");
        let older = File::create(&path).unwrap();
        older.set_len(FIRST_COUNT as u64 * 8).unwrap();
        let look = Slots::look(&path, process::uid()).unwrap();
        assert_eq!(look.figures(S(9), WALL).since, None);
        let (one, other) = (Slots::open(&path).unwrap(), Slots::open(&path).unwrap());
        one.count(Counted::Cgi, None, S(9));
        other.count(Counted::Daemon, took(0, 1), S(9));
        let look = Slots::look(&path, process::uid()).unwrap();
        assert_eq!(look.figures(S(9), WALL).counts.sum(), 2);
    }

    #[test]
    fn a_file_full_of_nonsense_does_no_harm() {
        let (dir, slots) = slots();
        let path = dir.path().join("slots");
        let file = File::options().write(true).open(&path).unwrap();
        let junk = vec![0xff; (END - FIRST_COUNT) * 8];
        file.write_all_at(&junk, FIRST_COUNT as u64 * 8).unwrap();
        let figures = slots.figures(S(9000), WALL);
        assert_eq!(figures.minutes, []);
        let mut back = Figures::default();
        for (key, value) in figures.lines() {
            assert!(back.take_line(key, &value));
        }
        slots.count(Counted::Daemon, took(1, 1), S(9000));
        slots.note_busy(u64::MAX, S(9000));
        assert_eq!(slots.figures(S(9000), WALL).minutes.len(), 1);
    }
}

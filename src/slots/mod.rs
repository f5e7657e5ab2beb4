//! What the fronts and the daemon of one app tell one another through a file: how many CGIs run (locked bytes), when
//! requests came, how the last start went, what became of requests, how long plain CGIs took, whether a daemon pays.
//! Knows the file; decides nothing.

mod counts;
mod pauses;
mod queueing;
mod starts;
mod times;

pub use pauses::KnownPauses;
pub use queueing::{Awaited, HeldBytes, WaitingLine, WaitingPlace};
pub use starts::{Attempt, StartCause, Verdict};

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use crate::figures::MOST_REMEMBERED;
use crate::sys::memory::Numbers;
use crate::sys::{files, load, lock, process};

// The numbers in the file, by index.
const BOOT: usize = 0;
const ATTEMPTS: usize = 1;
const ATTEMPTED_AT: usize = 2;
const VERDICT: usize = 3;
const HELD_UNTIL: usize = 4;
const ARRIVALS: usize = 5;
const LEFT_AT: usize = 6;
/// Why the daemon was started: a rule, and behind it three facts.
const CAUSE: usize = 7;
/// How long the last start took that has succeeded.
const START_TOOK: usize = 11;
const SILENT_AT: usize = 14;
const STOPPED: usize = 15;
const RING: usize = 16;
const RING_LEN: usize = MOST_REMEMBERED;
/// At `BOOT`: written by a process that could not read which boot it is.
const UNKNOWN_BOOT: u64 = 1;
/// A version that did not count has no more than this.
const FIRST_COUNT: usize = RING + RING_LEN;
const COUNT: usize = times::END;

/// The locked bytes lie far behind the end of the file: fcntl(2) locks bytes that are not there as well.
const FIRST_SLOT: u64 = 1 << 32;

/// The most arrivals that a rate can look back on.
pub const LONGEST_MEMORY: u64 = RING_LEN as u64 - 1;

/// The file `slots`. Every number in it is read and written whole, and no process waits for another: the worst that a
/// race can do is that one request goes the other way.
#[derive(Debug)]
pub struct Slots {
    file: File,
    numbers: Numbers,
    is_new: bool,
}

impl Slots {
    /// Opens or makes the file. Its bytes are reserved on the disk, so that a full disk is an error here, and not a
    /// SIGBUS at the first access. If there is no room for the part that counts, nothing is counted.
    pub fn open(path: &Path) -> io::Result<Slots> {
        let file = files::open_own(path)?;
        let reserve = |count: usize| files::reserve(&file, count as u64 * 8).map(|()| count);
        let count = reserve(COUNT).or_else(|_| reserve(FIRST_COUNT))?;
        let numbers = Numbers::map(&file, count)?;
        Ok(Slots::of(file, numbers))
    }

    /// What the file says now, for a caller that only reads: nothing is made and nothing is changed. The file must be
    /// this uid's. An older version has made it smaller, and a newer one may make it larger.
    pub fn look(path: &Path, uid: u32) -> io::Result<Slots> {
        let (file, mut bytes) = files::read_own_start(path, uid, COUNT * 8)?;
        if bytes.len() < FIRST_COUNT * 8 {
            return Err(io::Error::other("it is too short"));
        }
        bytes.resize(COUNT * 8, 0);
        let numbers = Numbers::copied(&bytes)?;
        Ok(Slots::of(file, numbers))
    }

    fn of(file: File, numbers: Numbers) -> Slots {
        let mut slots = Slots {
            file,
            numbers,
            is_new: false,
        };
        slots.is_new = slots.forget_other_boots(load::boot_id());
        slots
    }

    /// Whether this process was the first to open the file since the boot.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Times are counted from the boot: those of another boot mean nothing. `true`: there were such, or none at all. A
    /// process that can't read which boot it is, as in a chroot, believes what is noted, and is believed.
    fn forget_other_boots(&self, boot: Option<u64>) -> bool {
        let noted = self.numbers.at(BOOT).load(SeqCst);
        let ours = match boot {
            Some(boot) => boot.max(UNKNOWN_BOOT + 1),
            None if noted == 0 => UNKNOWN_BOOT,
            None => return false,
        };
        let boot = self.numbers.at(BOOT);
        let is_taken = noted != ours && boot.compare_exchange(noted, ours, SeqCst, SeqCst).is_ok();
        if !is_taken || noted == UNKNOWN_BOOT {
            return false;
        }
        for index in ATTEMPTS..self.numbers.len() {
            self.numbers.at(index).store(0, SeqCst);
        }
        true
    }

    /// How many CGIs of the app run now, in `most` slots.
    pub fn running(&self, most: u32) -> io::Result<u32> {
        lock::holders(&self.file, FIRST_SLOT, most.into()).map(|held| held.len() as u32)
    }

    /// Takes a slot for the life of this process, exec included; `false` if there is none.
    pub fn take(&self, most: u32) -> io::Result<bool> {
        for slot in 0..most {
            if lock::try_lock(&self.file, FIRST_SLOT + u64::from(slot))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The program that this process becomes keeps the descriptor, and with it the slot.
    pub fn keep_over_exec(&self) -> io::Result<()> {
        process::keep_over_exec(self.file.as_fd())
    }

    /// Notes a request.
    pub fn arrive(&self, now: Duration) {
        let nth = self.numbers.at(ARRIVALS).fetch_add(1, SeqCst) + 1;
        self.stamp(nth).store(millis(now), SeqCst);
    }

    /// Notes so many requests.
    pub fn arrive_often(&self, count: u64, now: Duration) {
        let last = self.numbers.at(ARRIVALS).fetch_add(count, SeqCst) + count;
        for nth in last - count.min(RING_LEN as u64)..last {
            self.stamp(nth + 1).store(millis(now), SeqCst);
        }
    }

    /// Takes one back: the last, which stands for any other of the same moment.
    pub fn withdraw(&self) {
        let arrivals = self.numbers.at(ARRIVALS);
        let last = arrivals.load(SeqCst);
        if last == 0 {
            return;
        }
        let stamp = self.stamp(last);
        let at = stamp.load(SeqCst);
        // Either fails if another request comes at this moment: then there is one too many for a minute.
        if arrivals
            .compare_exchange(last, last - 1, SeqCst, SeqCst)
            .is_ok()
        {
            let _ = stamp.compare_exchange(at, 0, SeqCst, SeqCst);
        }
    }

    /// How long ago the last request came, as far as one has come.
    pub fn last_arrival(&self, now: Duration) -> Option<Duration> {
        let last = self.numbers.at(ARRIVALS).load(SeqCst);
        let at = self.stamp(last).load(SeqCst);
        (at != 0).then(|| Duration::from_millis(millis(now).saturating_sub(at)))
    }

    /// Whether more than `count` requests came within `unit`, this one included.
    pub fn is_faster_than(&self, count: u64, unit: Duration, now: Duration) -> bool {
        let last = self.numbers.at(ARRIVALS).load(SeqCst);
        let Some(nth) = last
            .checked_sub(count.min(LONGEST_MEMORY))
            .filter(|&nth| nth > 0)
        else {
            return false;
        };
        let at = self.stamp(nth).load(SeqCst);
        at != 0 && millis(now).saturating_sub(at) < millis(unit)
    }

    /// Requests in the last minute, as far as they are remembered.
    pub fn last_minute(&self, now: Duration) -> u64 {
        let now = millis(now);
        let is_young = |&nth: &usize| {
            let at = self.numbers.at(RING + nth).load(SeqCst);
            at != 0 && now.saturating_sub(at) < 60_000
        };
        (0..RING_LEN).filter(is_young).count() as u64
    }

    fn stamp(&self, nth: u64) -> &std::sync::atomic::AtomicU64 {
        self.numbers.at(RING + (nth % RING_LEN as u64) as usize)
    }
}

/// Never 0, which means 'not set'.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const S: fn(u64) -> Duration = Duration::from_secs;

    pub(super) fn slots() -> (tempfile::TempDir, Slots) {
        let dir = tempfile::tempdir().unwrap();
        let slots = Slots::open(&dir.path().join("slots")).unwrap();
        (dir, slots)
    }

    #[test]
    fn a_rate_is_exceeded_by_one_more_than_it_says() {
        let (_dir, slots) = slots();
        for second in 1..=6 {
            slots.arrive(S(second));
            assert!(!slots.is_faster_than(6, S(60), S(second)), "{second}");
        }
        slots.arrive(S(7));
        assert!(slots.is_faster_than(6, S(60), S(7)));
        assert!(slots.is_faster_than(1, S(60), S(7)));
        assert!(
            !slots.is_faster_than(6, S(60), S(61)),
            "the first is a minute old"
        );
        assert_eq!(
            [7, 61, 66, 67].map(|s| slots.last_minute(S(s))),
            [7, 6, 1, 0]
        );
    }

    #[test]
    fn a_request_can_be_taken_back() {
        let (_dir, slots) = slots();
        slots.withdraw();
        assert_eq!(
            (slots.last_minute(S(7)), slots.last_arrival(S(7))),
            (0, None)
        );
        slots.arrive(S(1));
        slots.arrive(S(2));
        slots.withdraw();
        assert!(!slots.is_faster_than(1, S(60), S(3)));
        assert_eq!(
            (slots.last_minute(S(3)), slots.last_arrival(S(3))),
            (1, Some(S(2)))
        );
        slots.arrive(S(3));
        assert!(slots.is_faster_than(1, S(60), S(3)));
        assert_eq!(slots.last_minute(S(3)), 2);
    }

    #[test]
    fn who_can_not_read_the_boot_wipes_nothing() {
        let (_dir, slots) = slots();
        let held = |boot| {
            let is_new = slots.forget_other_boots(boot);
            (is_new, slots.is_held(S(8)))
        };
        slots.hold(Some(S(9)));
        let real = load::boot_id();
        assert!(real.is_some(), "else nothing is shown");
        assert_eq!([None, real, None, real].map(held), [(false, true); 4]);
        slots.numbers.at(BOOT).store(UNKNOWN_BOOT, SeqCst);
        assert_eq!([None, real, None, real].map(held), [(false, true); 4]);
        assert_eq!(slots.numbers.at(BOOT).load(SeqCst), real.unwrap());
        assert_eq!(held(Some(7)), (true, false), "another boot");
        slots.numbers.at(BOOT).store(0, SeqCst);
        assert!(slots.forget_other_boots(None), "a new file");
    }

    #[test]
    fn a_look_changes_nothing() {
        let (dir, slots) = slots();
        let path = dir.path().join("slots");
        let uid = process::uid();
        slots.arrive(S(7));
        slots.hold(Some(S(9)));
        let look = Slots::look(&path, uid).unwrap();
        assert!(look.is_held(S(8)) && look.last_minute(S(8)) == 1);
        look.hold(None);
        look.arrive(S(8));
        assert!(slots.is_held(S(8)) && slots.last_minute(S(8)) == 1);
        assert!(Slots::look(&path, uid + 1).is_err(), "another's");
        assert!(Slots::look(&dir.path().join("none"), uid).is_err());
        assert!(!dir.path().join("none").exists());
        let (first, now) = (FIRST_COUNT as u64 * 8, COUNT as u64 * 8);
        for size in [0, first - 1, first, first + 1, now - 1, now + 1, 1 << 40] {
            let other = File::create(dir.path().join("other")).unwrap();
            other.set_len(size).unwrap();
            let look = Slots::look(&dir.path().join("other"), uid);
            assert_eq!(look.is_ok(), size >= first, "{size}");
        }
    }

    #[test]
    fn the_ring_goes_round() {
        let (_dir, slots) = slots();
        for second in 1..=3000 {
            slots.arrive(S(second));
        }
        assert!(slots.is_faster_than(9, S(10), S(3000)));
        assert!(!slots.is_faster_than(10, S(10), S(3000)));
    }

    #[test]
    fn another_boot_forgets() {
        let (dir, slots) = slots();
        slots.note_attempt(S(1));
        slots.arrive(S(1));
        slots.numbers.at(BOOT).store(12345, SeqCst);
        let reopened = Slots::open(&dir.path().join("slots")).unwrap();
        assert_eq!(reopened.attempt(S(2)), None);
        assert!(!reopened.is_faster_than(0, S(60), S(2)));
    }
}

//! What the fronts and the daemon of one app tell one another through a file: how many CGIs run (locked bytes), when
//! requests came, how the last start went, what became of requests. Knows the file; decides nothing.

mod counts;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use crate::policy::route::Rule;
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
const SILENT_AT: usize = 14;
const STOPPED: usize = 15;
const RING: usize = 16;
const RING_LEN: usize = 1024;
/// At `BOOT`: written by a process that could not read which boot it is.
const UNKNOWN_BOOT: u64 = 1;
/// A version that did not count has no more than this.
const FIRST_COUNT: usize = RING + RING_LEN;
const COUNT: usize = counts::END;

/// The number for [`Verdict::Refused`] at `VERDICT`.
const REFUSED: u64 = 2;

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

/// How the last start of the daemon went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Failed starts in a row, the last one included.
    pub attempts: u32,
    /// How long ago the last one began.
    pub since: Duration,
    /// How it ended.
    pub verdict: Verdict,
}

/// Why a daemon was started: the rule that asked for it, and the facts of that moment.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct StartCause {
    pub rule: Rule,
    /// CGIs that ran.
    pub running: u32,
    pub last_minute: u32,
    /// Per core.
    pub load: f64,
}

impl StartCause {
    /// A person has started it.
    pub const BY_HAND: StartCause = StartCause {
        rule: Rule::ByHand,
        running: 0,
        last_minute: 0,
        load: 0.0,
    };
}

/// Why a daemon could not be started, as far as it has noted that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The app can't be imported: it raised, or ended the interpreter.
    Broken,
    /// The host refused something, which was reported to the operator.
    Refused,
    /// Nothing was noted: it is starting, or was killed.
    Unsaid,
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

    /// Notes that a start begins, so that one that dies without noting anything counts too.
    pub fn note_attempt(&self, now: Duration) {
        self.numbers.at(ATTEMPTED_AT).store(millis(now), SeqCst);
        self.numbers.at(VERDICT).store(0, SeqCst);
        self.numbers.at(ATTEMPTS).fetch_add(1, SeqCst);
    }

    /// Notes that the start failed because of the app.
    pub fn note_broken(&self) {
        self.numbers.at(VERDICT).store(1, SeqCst);
    }

    /// Notes that the start failed because of the host, and that this was reported.
    pub fn note_refused(&self) {
        self.numbers.at(VERDICT).store(REFUSED, SeqCst);
    }

    /// The same in a file that could not be opened and mapped.
    pub fn note_refused_in(path: &Path) -> io::Result<()> {
        let file = files::open_own(path)?;
        file.write_all_at(&REFUSED.to_ne_bytes(), VERDICT as u64 * 8)
    }

    /// The app is ready: no failed start counts any more.
    pub fn clear_attempts(&self) {
        self.numbers.at(VERDICT).store(0, SeqCst);
        self.numbers.at(ATTEMPTS).store(0, SeqCst);
    }

    /// The failed starts, if the last one failed.
    pub fn attempt(&self, now: Duration) -> Option<Attempt> {
        let attempts = self.numbers.at(ATTEMPTS).load(SeqCst);
        let at = self.numbers.at(ATTEMPTED_AT).load(SeqCst);
        (attempts > 0).then(|| Attempt {
            attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            since: Duration::from_millis(millis(now).saturating_sub(at)),
            verdict: match self.numbers.at(VERDICT).load(SeqCst) {
                1 => Verdict::Broken,
                REFUSED => Verdict::Refused,
                _ => Verdict::Unsaid,
            },
        })
    }

    /// Notes why a daemon is started.
    pub fn note_cause(&self, cause: &StartCause) {
        let load = (cause.load * 1000.0) as u64;
        let numbers = [
            cause.rule.number(),
            cause.running.into(),
            cause.last_minute.into(),
            load,
        ];
        for (nth, number) in numbers.into_iter().enumerate() {
            self.numbers.at(CAUSE + nth).store(number, SeqCst);
        }
    }

    /// Why the last daemon was started.
    pub fn cause(&self) -> Option<StartCause> {
        let [rule, running, last_minute, load] =
            [0, 1, 2, 3].map(|nth| self.numbers.at(CAUSE + nth).load(SeqCst));
        Some(StartCause {
            rule: Rule::from_number(rule)?,
            running: u32::try_from(running).unwrap_or(u32::MAX),
            last_minute: u32::try_from(last_minute).unwrap_or(u32::MAX),
            load: load as f64 / 1000.0,
        })
    }

    /// Notes that a daemon leaves because it is not needed.
    pub fn note_left(&self, now: Duration) {
        self.numbers.at(LEFT_AT).store(millis(now), SeqCst);
    }

    /// A daemon left less than a minute ago because it was not needed.
    pub fn has_just_left(&self, now: Duration) -> bool {
        let at = self.numbers.at(LEFT_AT).load(SeqCst);
        at != 0 && millis(now).saturating_sub(at) < 60_000
    }

    /// Notes that a daemon has not answered in time and lost its name, and whether it is stopped.
    pub fn note_silent(&self, is_stopped: bool, now: Duration) {
        self.numbers.at(STOPPED).store(is_stopped.into(), SeqCst);
        self.numbers.at(SILENT_AT).store(millis(now), SeqCst);
    }

    /// Notes that it answers again, or that another daemon has its place.
    pub fn clear_silent(&self) {
        self.numbers.at(SILENT_AT).store(0, SeqCst);
    }

    /// Whether a daemon has not answered in the last 10 s, and if so, whether it was stopped.
    pub fn silence(&self, now: Duration) -> Option<bool> {
        let at = self.numbers.at(SILENT_AT).load(SeqCst);
        let is_young = at != 0 && millis(now).saturating_sub(at) < 10_000;
        is_young.then(|| self.numbers.at(STOPPED).load(SeqCst) != 0)
    }

    /// Keeps the daemon down until then; `None`: no longer.
    pub fn hold(&self, until: Option<Duration>) {
        self.numbers
            .at(HELD_UNTIL)
            .store(until.map_or(0, millis), SeqCst);
    }

    /// An operator keeps the daemon down.
    pub fn is_held(&self, now: Duration) -> bool {
        self.held_for(now).is_some()
    }

    /// For how long still.
    pub fn held_for(&self, now: Duration) -> Option<Duration> {
        let until = self.numbers.at(HELD_UNTIL).load(SeqCst);
        let left = until.checked_sub(millis(now)).filter(|&left| left > 0)?;
        Some(Duration::from_millis(left))
    }
}

/// Never 0, which means 'not set'.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn slots() -> (tempfile::TempDir, Slots) {
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
    fn the_cause_of_a_start_is_noted() {
        let (_dir, slots) = slots();
        assert_eq!(slots.cause(), None);
        let cause = StartCause {
            rule: Rule::Load,
            running: 3,
            last_minute: 7,
            load: 1.25,
        };
        slots.note_cause(&cause);
        assert_eq!(slots.cause(), Some(cause));
        slots.note_cause(&StartCause::BY_HAND);
        assert_eq!(slots.cause(), Some(StartCause::BY_HAND));
    }

    #[test]
    fn who_has_just_left_is_known_for_a_minute() {
        let (_dir, slots) = slots();
        assert!(!slots.has_just_left(S(5)), "none has");
        slots.note_left(S(5));
        assert!(slots.has_just_left(S(64)) && !slots.has_just_left(S(65)));
    }

    #[test]
    fn a_silence_is_remembered_for_a_while() {
        let (_dir, slots) = slots();
        assert_eq!(slots.silence(S(5)), None);
        slots.note_silent(true, S(5));
        assert_eq!(slots.silence(S(5)), Some(true));
        slots.note_silent(false, S(6));
        assert_eq!(
            (slots.silence(S(15)), slots.silence(S(16))),
            (Some(false), None)
        );
        slots.note_silent(false, S(20));
        slots.clear_silent();
        assert_eq!(slots.silence(S(20)), None);
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
    fn attempts_are_counted_until_one_succeeds() {
        let (dir, slots) = slots();
        assert_eq!(slots.attempt(S(5)), None);
        slots.note_attempt(S(5));
        slots.note_attempt(S(7));
        slots.note_broken();
        let attempt = slots.attempt(S(8)).unwrap();
        assert_eq!(
            (attempt.attempts, attempt.since, attempt.verdict),
            (2, S(1), Verdict::Broken)
        );
        slots.note_attempt(S(8));
        let verdict = || slots.attempt(S(8)).unwrap().verdict;
        assert_eq!(verdict(), Verdict::Unsaid);
        slots.note_refused();
        assert_eq!(verdict(), Verdict::Refused);
        slots.note_attempt(S(8));
        Slots::note_refused_in(&dir.path().join("slots")).unwrap();
        assert_eq!(verdict(), Verdict::Refused);
        slots.clear_attempts();
        assert_eq!(slots.attempt(S(9)), None);
    }

    #[test]
    fn a_hold_ends() {
        let (_dir, slots) = slots();
        slots.hold(Some(S(100)));
        assert!(slots.is_held(S(99)) && !slots.is_held(S(100)));
        assert_eq!(slots.held_for(S(95)), Some(S(5)));
        slots.hold(None);
        assert!(!slots.is_held(S(1)));
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

//! What the file `slots` says of the daemon: how its last start went and why it was started, when it left, whether it was
//! silent or is held down. Knows numbers and times; decides nothing.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::{
    ATTEMPTED_AT, ATTEMPTS, CAUSE, HELD_UNTIL, LEFT_AT, SILENT_AT, START_TOOK, STOPPED, Slots,
    VERDICT, millis,
};
use crate::policy::route::Rule;
use crate::sys::files;

/// The number for [`Verdict::Refused`] at `VERDICT`.
const REFUSED: u64 = 2;

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

    /// The app is ready: notes how long that took, and no failed start counts any more.
    pub fn note_ready(&self, now: Duration) {
        if let Some(attempt) = self.attempt(now) {
            self.numbers
                .at(START_TOOK)
                .store(millis(attempt.since), SeqCst);
        }
        self.clear_attempts();
    }

    /// How long the last start took that has succeeded.
    pub fn start_took(&self) -> Option<Duration> {
        let took = self.numbers.at(START_TOOK).load(SeqCst);
        (took != 0).then(|| Duration::from_millis(took))
    }

    /// No failed start counts any more.
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

#[cfg(test)]
mod tests {
    use super::super::tests::{S, slots};
    use super::*;

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
    fn a_start_s_time_is_noted_when_the_app_is_ready() {
        let (_dir, slots) = slots();
        slots.note_attempt(S(5));
        slots.clear_attempts();
        slots.note_ready(S(7));
        assert_eq!(slots.start_took(), None, "no start was noted");
        slots.note_attempt(S(10));
        slots.note_ready(S(13));
        assert_eq!(
            (slots.start_took(), slots.attempt(S(14))),
            (Some(S(3)), None)
        );
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
}

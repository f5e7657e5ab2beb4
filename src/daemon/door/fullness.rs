//! Whether connections for which there is no descriptor wait in the backlog, or are let in to be refused. Knows times,
//! and not what a place is.

use std::time::Duration;

/// How long they wait: less than a front waits for the daemon's first word. The same time with places free ends it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Since when there has been no place.
#[derive(Debug, Default)]
pub(super) struct Fullness {
    full_since: Option<Duration>,
    free_since: Option<Duration>,
}

impl Fullness {
    /// Takes in whether there is a place now. `true`: there is none, and connections are to be refused.
    pub(super) fn refuses(&mut self, has_place: bool, now: Duration) -> bool {
        if has_place {
            // One place that becomes free now and then is no end of it: those in the backlog would wait on.
            let free_since = *self.free_since.get_or_insert(now);
            if free_since + PATIENCE <= now {
                *self = Fullness::default();
            }
            return false;
        }
        self.free_since = None;
        let full_since = *self.full_since.get_or_insert(now);
        full_since + PATIENCE <= now
    }

    /// There has been no place lately: time is to be passed on to [`Fullness::refuses`].
    pub(super) fn has_begun(&self) -> bool {
        self.full_since.is_some()
    }

    /// When connections are to be refused, if no place is free until then.
    pub(super) fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let due = self.full_since.filter(|_| self.free_since.is_none())? + PATIENCE;
        (due > now).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_second_without_a_place_is_too_long() {
        let mut full = Fullness::default();
        assert!(!full.refuses(true, MS(0)) && !full.has_begun());
        assert!(!full.refuses(false, MS(5000)) && full.has_begun());
        assert_eq!(full.next_deadline(MS(5000)), Some(MS(6000)));
        assert!(!full.refuses(false, MS(5999)));
        assert!(full.refuses(false, MS(6000)));
        assert_eq!(full.next_deadline(MS(6000)), None);
    }

    #[test]
    fn a_place_now_and_then_does_not_end_it() {
        let mut full = Fullness::default();
        for now in (0..5000).step_by(500) {
            assert!(!full.refuses(true, MS(now)), "there is a place");
            assert_eq!(full.refuses(false, MS(now + 100)), now >= 1000, "{now}");
        }
        full.refuses(true, MS(6000));
        assert!(full.has_begun());
        assert_eq!(full.next_deadline(MS(6000)), None);
        full.refuses(true, MS(7000));
        assert!(!full.has_begun());
        assert!(!full.refuses(false, MS(7001)), "the next one waits again");
    }
}

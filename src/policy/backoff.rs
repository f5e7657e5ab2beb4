//! The pause after failed starts. Knows counts and durations, not the clock.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// The pause after the `attempts`-th failed start in a row: 1 s, doubling to 60 s, never final.
pub fn pause(attempts: u32) -> Duration {
    match attempts {
        0 => Duration::ZERO,
        n => FIRST.saturating_mul(1 << (n - 1).min(6)).min(LONGEST),
    }
}

/// What remains of the pause, `since` after the last attempt began. `None`: another attempt may be made.
pub fn remaining(attempts: u32, since: Duration) -> Option<Duration> {
    pause(attempts)
        .checked_sub(since)
        .filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_a_minute_and_stays_there() {
        let seconds: Vec<u64> = (0..10).map(|n| pause(n).as_secs()).collect();
        assert_eq!(seconds, [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pause(u32::MAX), LONGEST);
    }

    #[test]
    fn is_never_final() {
        assert_eq!(remaining(0, Duration::ZERO), None);
        assert_eq!(
            remaining(3, Duration::from_secs(1)),
            Some(Duration::from_secs(3))
        );
        assert_eq!(remaining(3, Duration::from_secs(4)), None);
        assert_eq!(remaining(u32::MAX, Duration::from_secs(60)), None);
    }
}

//! How long a start still takes, for clients that are told to come back then. Knows durations, not the clock.

use std::time::Duration;

/// The shortest pause, and the longest.
const SHORTEST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(60);
/// Clients that are told together must not come back together: up to this much is added.
const SPREAD_MS: u64 = 3000;

/// When a client is to come back: after what is left of the start, if it takes as long as the last one (`took`); where
/// that is not known, or this start takes longer, after 2 s. `running`: how long the start has taken so far. `draw`:
/// any number, another for each client.
pub fn pause(took: Option<Duration>, running: Duration, draw: u32) -> Duration {
    let left = took.and_then(|took| took.checked_sub(running));
    let left = left.unwrap_or_default().clamp(SHORTEST, LONGEST);
    left + Duration::from_millis(u64::from(spread(draw)) % SPREAD_MS)
}

/// Knuth's multiplicative hash: neighbours get numbers that lie far apart.
fn spread(draw: u32) -> u32 {
    draw.wrapping_mul(2_654_435_769) >> 8
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn is_what_is_left_of_the_last_start_s_time() {
        assert_eq!(pause(Some(S(40)), S(30), 0), S(10));
        assert_eq!(pause(Some(S(40)), S(39), 0), S(2));
        assert_eq!(pause(Some(S(40)), S(41), 0), S(2), "longer than the last");
        assert_eq!(pause(Some(S(9000)), S(30), 0), S(60));
        assert_eq!(pause(None, S(30), 0), S(2));
    }

    #[test]
    fn is_not_the_same_for_all() {
        let pauses: Vec<Duration> = (0..9000).map(|draw| pause(None, S(1), draw)).collect();
        assert!(pauses.iter().all(|pause| (S(2)..S(5)).contains(pause)));
        assert!(pauses.contains(&S(2)) && pauses.contains(&Duration::from_millis(4999)));
    }
}

//! How many requests came, and how long it took to answer them: what the pool knows of the past. Bounded in size.

use std::collections::VecDeque;
use std::time::Duration;

use super::words::Quiet;

/// Arrivals that are remembered; larger counts are taken for this one.
const MEMORY: usize = 1000;
/// How long a request is assumed to take before one was answered.
const A_GUESS: Duration = Duration::from_millis(100);
/// How much later than it was told a client may come back.
const LATENESS: Duration = Duration::from_secs(5);
/// The bounds of Retry-After.
const SHORTEST: Duration = Duration::from_secs(1);
pub(super) const LONGEST: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(super) struct Traffic {
    /// The last arrivals, the oldest first.
    arrivals: VecDeque<Duration>,
    /// The last arrival or answer, or the start.
    pub(super) last_request: Duration,
    /// Clients that were told to come back are waited for until then.
    pub(super) expected_until: Duration,
    /// When requests last came so fast that a daemon is worth having, or the start.
    pub(super) last_lively: Duration,
    /// A moving average of the time that a worker takes for a request.
    service: Option<Duration>,
}

impl Traffic {
    pub(super) fn new(now: Duration) -> Traffic {
        Traffic {
            arrivals: VecDeque::new(),
            last_request: now,
            expected_until: now,
            last_lively: now,
            service: None,
        }
    }

    pub(super) fn arrived(&mut self, quiet: Option<Quiet>, now: Duration) {
        self.last_request = now;
        if self.arrivals.len() == MEMORY {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(now);
        if quiet.is_none_or(|quiet| self.is_lively(quiet, now)) {
            self.last_lively = now;
        }
    }

    /// Whether as many as `quiet.count`, this one included, came within the last `quiet.unit`.
    fn is_lively(&self, quiet: Quiet, now: Duration) -> bool {
        let count = usize::try_from(quiet.count).map_or(MEMORY, |count| count.min(MEMORY));
        // The first of them is the one to look at.
        match self.arrivals.len().checked_sub(count) {
            Some(first) => self
                .arrivals
                .get(first)
                .is_none_or(|&at| now.saturating_sub(at) < quiet.unit),
            None => false,
        }
    }

    /// A client was told to come back after this long.
    pub(super) fn expect(&mut self, retry_after: Duration, now: Duration) {
        let until = now.saturating_add(retry_after).saturating_add(LATENESS);
        self.expected_until = self.expected_until.max(until);
    }

    /// A worker has answered.
    pub(super) fn answered(&mut self, since: Duration, now: Duration) {
        self.last_request = now;
        let took = now.saturating_sub(since);
        self.service = Some(match self.service {
            Some(average) => (average * 7 + took) / 8,
            None => took,
        });
    }

    /// Workers have answered so many requests that they took themselves.
    pub(super) fn served(&mut self, count: u32, took: Duration) {
        if count > 0 {
            let each = took / count;
            self.service = Some(match self.service.filter(|_| count < 8) {
                Some(average) => (average * 7 + each) / 8,
                None => each,
            });
        }
    }

    /// Whether the last so many requests came within this time.
    pub(super) fn came_within(&self, count: usize, time: Duration, now: Duration) -> bool {
        let first = self.arrivals.len().checked_sub(count);
        let first = first.and_then(|first| self.arrivals.get(first));
        first.is_some_and(|&at| now.saturating_sub(at) < time)
    }

    /// How long so many requests will wait for so many workers, as far as that is known.
    pub(super) fn wait(&self, waiting: usize, workers: u16) -> Duration {
        let each = self.service.unwrap_or(A_GUESS);
        let requests = u32::try_from(waiting).unwrap_or(u32::MAX);
        each.saturating_mul(requests) / u32::from(workers.max(1))
    }

    /// How long so many workers need for these requests and one more: 1 s to 2 min.
    pub(super) fn drain_time(&self, waiting: usize, workers: u16) -> Duration {
        let each = self.service.unwrap_or(A_GUESS);
        let requests = u32::try_from(waiting + 1).unwrap_or(u32::MAX);
        let all = each.saturating_mul(requests) / u32::from(workers.max(1));
        all.clamp(SHORTEST, LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const QUIET: Quiet = Quiet {
        count: 3,
        unit: Duration::from_secs(60),
        timeout: Duration::from_secs(900),
    };

    #[test]
    fn lively_is_the_last_of_so_many_within_the_unit() {
        let mut traffic = Traffic::new(S(0));
        for second in [10, 20, 70, 79, 80] {
            traffic.arrived(Some(QUIET), S(second));
        }
        assert_eq!(traffic.last_lively, S(80));
        let mut traffic = Traffic::new(S(0));
        for second in [10, 20, 70] {
            traffic.arrived(Some(QUIET), S(second));
        }
        assert_eq!(traffic.last_lively, S(0));
        traffic.arrived(None, S(500));
        assert_eq!(traffic.last_lively, S(500), "without `quiet` all are");
    }

    #[test]
    fn nothing_grows_without_bounds() {
        let mut traffic = Traffic::new(S(0));
        let quiet = Quiet {
            count: u64::MAX,
            ..QUIET
        };
        for _ in 0..3000 {
            traffic.arrived(Some(quiet), S(1));
        }
        assert_eq!(traffic.arrivals.len(), MEMORY);
        assert_eq!(traffic.last_lively, S(1), "what can't be counted is enough");
    }

    #[test]
    fn the_drain_time_follows_what_requests_take() {
        let mut traffic = Traffic::new(S(0));
        assert_eq!(traffic.drain_time(0, 4), S(1));
        for _ in 0..50 {
            traffic.answered(S(0), S(2));
        }
        assert_eq!(traffic.drain_time(9, 4), S(5));
        assert_eq!(traffic.drain_time(9, 0), S(20));
        assert_eq!(traffic.drain_time(100_000, 4), S(120));
    }
}

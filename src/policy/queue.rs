//! Who waits for a worker: bounded by number and by time. Knows tickets and times, not what they stand for.

use std::collections::VecDeque;
use std::time::Duration;

/// A request, by the number that the daemon gave it.
pub type Ticket = u64;

/// `queue-size` and `queue-timeout`.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests that may wait.
    pub size: usize,
    /// How long each may wait.
    pub timeout: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    ticket: Ticket,
    since: Duration,
}

/// The requests that wait, oldest first.
#[derive(Debug)]
pub struct Queue {
    limits: Limits,
    waiting: VecDeque<Waiting>,
    /// Until the first worker is ready nobody is to blame for waiting: the start has a time-out of its own.
    clock_runs_from: Option<Duration>,
}

impl Queue {
    /// An empty queue whose time-out does not run yet (see [`Queue::start_clock`]).
    pub fn new(limits: Limits) -> Queue {
        Queue {
            limits,
            waiting: VecDeque::new(),
            clock_runs_from: None,
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds a request; `false` if the queue is full, and nothing was added.
    pub fn push(&mut self, ticket: Ticket, now: Duration) -> bool {
        if self.waiting.len() >= self.limits.size {
            return false;
        }
        self.waiting.push_back(Waiting { ticket, since: now });
        true
    }

    /// Puts a request back that was taken out and could not be served; it has its place already.
    pub fn push_first(&mut self, ticket: Ticket, now: Duration) {
        self.waiting.push_front(Waiting { ticket, since: now });
    }

    /// Takes the request that goes next.
    pub fn pop(&mut self) -> Option<Ticket> {
        self.waiting.pop_front().map(|w| w.ticket)
    }

    /// Takes a request out wherever it stands; `false` if it does not wait here.
    pub fn remove(&mut self, ticket: Ticket) -> bool {
        let found = self.waiting.iter().position(|w| w.ticket == ticket);
        found.is_some_and(|at| self.waiting.remove(at).is_some())
    }

    /// The app can serve from `now` on: waiting counts.
    pub fn start_clock(&mut self, now: Duration) {
        self.clock_runs_from.get_or_insert(now);
    }

    /// Takes out one request that has waited too long.
    pub fn pop_expired(&mut self, now: Duration) -> Option<Ticket> {
        self.next_deadline()
            .filter(|&deadline| deadline <= now)
            .and_then(|_| self.pop())
    }

    /// When the oldest will have waited too long.
    pub fn next_deadline(&self) -> Option<Duration> {
        let from = self.clock_runs_from?;
        let oldest = self.waiting.front()?;
        Some(oldest.since.max(from).saturating_add(self.limits.timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn queue(size: usize) -> Queue {
        Queue::new(Limits {
            size,
            timeout: S(10),
        })
    }

    #[test]
    fn is_bounded_and_first_in_first_out() {
        let mut queue = queue(2);
        assert!(queue.push(1, S(0)) && queue.push(2, S(1)));
        assert!(!queue.push(3, S(2)));
        assert_eq!(
            (queue.pop(), queue.pop(), queue.pop()),
            (Some(1), Some(2), None)
        );
    }

    #[test]
    fn waiting_counts_only_from_the_first_ready_worker() {
        let mut queue = queue(9);
        queue.push(1, S(0));
        assert_eq!(queue.pop_expired(S(1000)), None);
        queue.start_clock(S(1000));
        assert_eq!(queue.next_deadline(), Some(S(1010)));
        assert_eq!(queue.pop_expired(S(1009)), None);
        queue.push(2, S(1005));
        assert_eq!(queue.pop_expired(S(1010)), Some(1));
        assert_eq!(queue.next_deadline(), Some(S(1015)));
    }

    #[test]
    fn one_that_hung_up_leaves() {
        let mut queue = queue(9);
        for ticket in 1..=3 {
            queue.push(ticket, S(0));
        }
        assert!(queue.remove(2) && !queue.remove(2));
        assert_eq!((queue.pop(), queue.pop()), (Some(1), Some(3)));
    }
}

//! The requests that wait for a worker: limited in number and time, and thinned out when too many come. Knows numbers
//! and times, not what they stand for.
//!
//! # Theory of operation
//! As a rule the oldest request goes first, and one that has waited for `timeout` is refused. That is fair as long as
//! the queue empties again and again. In a queue that never empties, every request waits, no client gains by it, and in
//! the end only requests are served whose clients have given up. So the queue measures how long its oldest request
//! waits, the *standing delay*:
//!
//! | the standing delay | the queue is | first goes | refused is |
//! | --- | --- | --- | --- |
//! | below `target`, or above it for less than `target` | calm | the oldest | one that has waited for `timeout` |
//! | above `target` for at least `target` on end | overloaded | the newest | ... or for twice `target`, unless known |
//! | below `target` again | calm | the oldest | |
//!
//! A queue no longer than `turn` is never overloaded: the wait then means slow requests and not a crowd, and a request
//! that was shed would have been next. No request is shed before it has waited for twice `target`. Known requests are
//! shed for the delay only when no others wait, and while the queue is overloaded they go before the others as long as
//! the pool says so. When the queue is full, a known request takes the place of the other one that would go last.
//!
//! Neither clock runs while requests wait for another reason than their number: `timeout` counts from the first ready
//! worker on ([`Queue::start_clock`]), the standing delay only while a worker serves ([`Queue::pass`]).
//!
//! If there is a worker for a request once it has started, the request waits for that start and not for other requests:
//! see [`Capacity`]. The queue takes such requests in however small it is, and does not refuse them for `timeout` as long
//! as the start may still succeed. But a browser that has waited for `start_page` while no worker served is told that the
//! app is starting: it comes back by itself, and its user sees more than a blank page.

use std::collections::VecDeque;
use std::time::Duration;

/// A request, by the number that the daemon gave it.
pub type Number = u64;

/// `queue-size`, `queue-target` and `queue-timeout`.
#[derive(Clone, Copy, Debug)]
pub struct QueueRules {
    /// Requests that may wait.
    pub size: usize,
    /// The standing delay above which the newest go first.
    pub target: Duration,
    /// How long each may wait.
    pub timeout: Duration,
    /// A queue of no more than this many is never overloaded: the workers take it in one turn.
    pub turn: usize,
    /// How long a browser waits while no worker serves; `None`: as long as any other client.
    pub start_page: Option<Duration>,
}

/// The workers that waiting requests can expect.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// So many workers have no request, or may still be started.
    pub free: usize,
    /// No request is being served: the waiting ones wait for a start.
    pub is_idle: bool,
    /// How long a request waits for a start; less than `timeout` counts as `timeout`.
    pub start_patience: Duration,
}

/// A request that has waited too long, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// For requests before it.
    Crowd(Number),
    /// For a worker that did not start.
    Start(Number),
    /// For a start that goes on, as a browser.
    StartPage(Number),
}

/// A waiting request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Which request.
    pub number: Number,
    /// It is shed after those that are not known.
    pub is_known: bool,
    /// It is a browser's, which shows a page and comes back by itself.
    pub is_browser: bool,
    /// When it came.
    pub since: Duration,
}

/// The requests that wait, oldest first.
#[derive(Debug)]
pub struct Queue {
    limits: QueueRules,
    waiting: VecDeque<Waiting>,
    /// `timeout` counts from here on. `None`: no worker has been ready; the start has a time-out of its own.
    clock_runs_from: Option<Duration>,
    /// Since when a worker serves.
    served_since: Option<Duration>,
    /// Since when none does.
    unserved_since: Option<Duration>,
    /// Since when more than `turn` requests wait.
    long_since: Option<Duration>,
    /// Since when the standing delay of a long queue is above `target`.
    above_since: Option<Duration>,
    is_overloaded: bool,
}

impl Capacity {
    /// How many of the oldest requests wait for a start.
    fn waits_for_start(self) -> usize {
        if self.is_idle { self.free } else { 0 }
    }
}

impl Queue {
    /// An empty queue whose time-out does not run yet (see [`Queue::start_clock`]).
    pub fn new(limits: QueueRules) -> Queue {
        Queue {
            limits,
            waiting: VecDeque::new(),
            clock_runs_from: None,
            served_since: None,
            unserved_since: None,
            long_since: None,
            above_since: None,
            is_overloaded: false,
        }
    }

    /// Other limits hold from now on; no waiting request is refused for the new size.
    pub fn obey(&mut self, limits: QueueRules) {
        self.limits = limits;
    }

    /// How many requests wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// No request waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Another request would be refused. `free`: how many workers have no request, or may still be started.
    pub fn is_full(&self, free: usize) -> bool {
        self.waiting.len() >= self.limits.size.max(free)
    }

    /// Takes a request in. If the queue is full this returns the request to refuse: this one, or one that waited.
    pub fn push(&mut self, request: Waiting, free: usize) -> Option<Number> {
        let mut refused = None;
        if self.is_full(free) {
            let place = request.is_known.then(|| self.farthest_other()).flatten();
            let Some(place) = place.and_then(|at| self.waiting.remove(at)) else {
                return Some(request.number);
            };
            refused = Some(place.number);
        }
        self.waiting.push_back(request);
        if self.is_long() {
            self.long_since.get_or_insert(request.since);
        }
        refused
    }

    /// The place of the request that is not known and would be served last.
    fn farthest_other(&self) -> Option<usize> {
        let is_other = |request: &Waiting| !request.is_known;
        if self.is_overloaded {
            self.waiting.iter().position(is_other)
        } else {
            self.waiting.iter().rposition(is_other)
        }
    }

    /// Puts a request back that was taken out and could not be served: at its old place.
    pub fn put_back(&mut self, request: Waiting) {
        let at = self.waiting.partition_point(|w| w.since < request.since);
        self.waiting.insert(at, request);
    }

    /// Takes the request that goes next. `known_first` counts while the queue is overloaded.
    pub fn pop(&mut self, known_first: bool) -> Option<Waiting> {
        if !self.is_overloaded {
            return self.waiting.pop_front();
        }
        let known = known_first
            .then(|| self.waiting.iter().rposition(|w| w.is_known))
            .flatten();
        match known {
            Some(at) => self.waiting.remove(at),
            None => self.waiting.pop_back(),
        }
    }

    /// Takes a request out wherever it stands; `false` if it does not wait here.
    pub fn remove(&mut self, number: Number) -> bool {
        let found = self.waiting.iter().position(|w| w.number == number);
        found.is_some_and(|at| self.waiting.remove(at).is_some())
    }

    /// The app can serve from `now` on: `timeout` counts.
    pub fn start_clock(&mut self, now: Duration) {
        self.clock_runs_from.get_or_insert(now);
    }

    /// The app can't serve until it is started again: `timeout` does not count.
    pub fn stop_clock(&mut self) {
        self.clock_runs_from = None;
    }

    /// Measures the standing delay; to be called when time has passed, and after requests were taken out. While no
    /// worker serves, the delay does not count.
    pub fn pass(&mut self, is_served: bool, now: Duration) {
        self.served_since = is_served.then(|| self.served_since.unwrap_or(now));
        self.unserved_since = (!is_served).then(|| self.unserved_since.unwrap_or(now));
        // No request leaves without a call, so between two calls the oldest is the same, and this instant is exact.
        self.long_since = self.is_long().then(|| self.long_since.unwrap_or(now));
        let crossed = self.waiting.front().and_then(|oldest| self.stands(oldest));
        self.above_since = crossed
            .filter(|&at| at <= now)
            .map(|at| self.above_since.unwrap_or(at));
        self.is_overloaded = self.above_since.is_some_and(|at| self.begins(at) <= now);
    }

    /// Takes out one request that has waited too long: for `timeout`, for an overloaded queue, or for a start.
    pub fn pop_expired(&mut self, room: Capacity, now: Duration) -> Option<Expired> {
        let is_over = |due: Option<Duration>| due.is_some_and(|due| due <= now);
        if let Some((at, first)) = self.first_browser()
            && is_over(self.told_at(first))
        {
            let browser = self.waiting.remove(at)?;
            return Some(Expired::StartPage(browser.number));
        }
        if let Some(oldest) = self.starting(room)
            && is_over(self.gives_up(oldest, room))
        {
            let oldest = self.waiting.pop_front()?;
            return Some(Expired::Start(oldest.number));
        }
        let at = match self.first_in_crowd(room) {
            Some((at, first)) if is_over(self.expires(first)) => at,
            _ => self
                .first_to_shed()
                .filter(|&at| is_over(self.sheds(&self.waiting[at])))?,
        };
        self.waiting
            .remove(at)
            .map(|request| Expired::Crowd(request.number))
    }

    /// When a request will have waited too long, or the queue becomes overloaded, if nothing happens before.
    pub fn next_deadline(&self, room: Capacity) -> Option<Duration> {
        let oldest = self.waiting.front()?;
        let delay = if self.is_overloaded {
            self.first_to_shed()
                .and_then(|at| self.sheds(&self.waiting[at]))
        } else {
            let stands = self.above_since.or_else(|| self.stands(oldest));
            stands.map(|at| self.begins(at))
        };
        let starting = self.starting(room);
        [
            self.first_browser()
                .and_then(|(_, first)| self.told_at(first)),
            starting.and_then(|oldest| self.gives_up(oldest, room)),
            self.first_in_crowd(room)
                .and_then(|(_, first)| self.expires(first)),
            delay,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The oldest request, if it waits for a start and not for other requests.
    fn starting(&self, room: Capacity) -> Option<&Waiting> {
        self.waiting.front().filter(|_| room.waits_for_start() > 0)
    }

    /// The oldest request of a browser, and its place; while a worker serves this does not matter.
    fn first_browser(&self) -> Option<(usize, &Waiting)> {
        let _ = self.unserved_since.and(self.limits.start_page)?;
        let mut waiting = self.waiting.iter().enumerate();
        waiting.find(|(_, request)| request.is_browser)
    }

    /// When this browser has waited for a start for so long that it is told so.
    fn told_at(&self, request: &Waiting) -> Option<Duration> {
        let from = request.since.max(self.unserved_since?);
        Some(from.saturating_add(self.limits.start_page?))
    }

    /// The oldest request that waits for other requests, and its place.
    fn first_in_crowd(&self, room: Capacity) -> Option<(usize, &Waiting)> {
        let at = room.waits_for_start();
        self.waiting.get(at).map(|first| (at, first))
    }

    /// When this request has waited for a start for too long.
    fn gives_up(&self, request: &Waiting, room: Capacity) -> Option<Duration> {
        let from = request.since.max(self.clock_runs_from?);
        Some(from.saturating_add(room.start_patience.max(self.limits.timeout)))
    }

    /// More requests wait than the workers take in one turn.
    fn is_long(&self) -> bool {
        self.waiting.len() > self.limits.turn
    }

    /// When the delay of this request, the oldest of a long queue, is above `target`.
    fn stands(&self, request: &Waiting) -> Option<Duration> {
        Some(self.crosses(request)?.max(self.long_since?))
    }

    /// When this request has waited for more than `target`.
    fn crosses(&self, request: &Waiting) -> Option<Duration> {
        let from = request.since.max(self.served_since?);
        Some(from.saturating_add(self.limits.target))
    }

    /// When a queue becomes overloaded whose delay has been above `target` since then.
    fn begins(&self, above_since: Duration) -> Duration {
        above_since.saturating_add(self.limits.target)
    }

    /// When this request has waited too long for an overloaded queue.
    fn sheds(&self, request: &Waiting) -> Option<Duration> {
        let crossed = self.crosses(request)?;
        Some(crossed.saturating_add(self.limits.target))
    }

    /// When this request has waited for `timeout`.
    fn expires(&self, request: &Waiting) -> Option<Duration> {
        let from = request.since.max(self.clock_runs_from?);
        Some(from.saturating_add(self.limits.timeout))
    }

    /// The place of the oldest request that is not known, or, if all are known, of the oldest; in an overloaded queue.
    fn first_to_shed(&self) -> Option<usize> {
        if !(self.is_overloaded && self.is_long()) {
            return None;
        }
        let other = self.waiting.iter().position(|request| !request.is_known);
        other.or(Some(0))
    }
}

#[cfg(test)]
mod tests;

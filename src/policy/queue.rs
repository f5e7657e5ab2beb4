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
//! | above `target` for at least `target` on end | overloaded | the newest | ... or for twice `target` |
//! | below `target` again | calm | the oldest | |
//!
//! A queue no longer than `turn` is never overloaded: the wait then means slow requests and not a crowd, and a request
//! that was shed would have been next. No request is shed before it has waited for twice `target`, unless it would get a
//! ticket.
//!
//! **[`Rank`]s.** Tickets go before anonymous requests always: the oldest first, where each use of late counts as if the
//! ticket were some seconds younger. Known requests go before both as long as the pool says so, if there are tickets or
//! the queue is overloaded. For the delay requests are shed in the order of their ranks: a ticket only when no anonymous
//! one waits, a known one only when no other does. When the queue is full, a request takes the place of one of a lower
//! rank, or of a ticket that goes after its own; of anonymous ones it is the one that would go last.
//!
//! **The waiting room.** An anonymous request that would get a ticket is better off with it: it comes back after a
//! second or two and goes before the crowd. So an overloaded queue keeps no more of them than the workers take in two
//! turns, and refuses the oldest of the others at once. As that makes the queue short, and at moments empty, it stays
//! overloaded for half of `target` after the last of these refusals.
//!
//! Neither clock runs while requests wait for another reason than their number: `timeout` counts from the first ready
//! worker on ([`Queue::start_clock`]), the standing delay only while a worker serves ([`Queue::pass`]).
//!
//! If there is a worker for a request once it has started, the request waits for that start and not for other requests:
//! see [`Capacity`]. The queue takes such requests in however small it is, and does not refuse them for `timeout` as long
//! as the start may still succeed. But a browser that has waited for `start_page` while no worker served is told that the
//! app is starting: it comes back by itself, and its user sees more than a blank page. Not while starts fail: it is told
//! why they do, when its time is over.

mod waiting;

use std::collections::VecDeque;
use std::time::Duration;

pub use waiting::{Rank, Waiting};

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
    /// `waiting-room`: a browser that is refused gets a ticket.
    pub has_room: bool,
}

/// The workers that waiting requests can expect.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// So many workers have no request, or may still be started.
    pub free: usize,
    /// No request is being served: the waiting ones wait for a start.
    pub is_idle: bool,
    /// How long a request waits for a start; less than `timeout` counts as `timeout`. Zero: the last start has failed.
    pub start_patience: Duration,
}

/// A request that has waited too long, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// For requests before it.
    Crowd(Waiting),
    /// For a worker that did not start.
    Start(Number),
    /// For a start that goes on, as a browser.
    StartPage(Number),
}

/// The requests that wait, oldest first.
#[derive(Debug)]
pub struct Queue {
    limits: QueueRules,
    waiting: VecDeque<Waiting>,
    /// How many of them have a ticket.
    tickets: usize,
    /// How many of them are known.
    known: usize,
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
    /// When an anonymous request was last refused as one too many.
    thinned_at: Option<Duration>,
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
            tickets: 0,
            known: 0,
            clock_runs_from: None,
            served_since: None,
            unserved_since: None,
            long_since: None,
            above_since: None,
            is_overloaded: false,
            thinned_at: None,
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

    /// Since when the first of them waits.
    pub fn oldest_since(&self) -> Option<Duration> {
        self.waiting.front().map(|oldest| oldest.since)
    }

    /// Another request would be refused. `free`: how many workers have no request, or may still be started.
    pub fn is_full(&self, free: usize) -> bool {
        self.waiting.len() >= self.limits.size.max(free)
    }

    /// Takes a request in. If the queue is full this returns the request to refuse: this one, or one that waited.
    pub fn push(&mut self, request: Waiting, free: usize) -> Option<Waiting> {
        let mut refused = None;
        if self.is_full(free) {
            let Some(place) = self.gives_way(&request).and_then(|at| self.take(at)) else {
                return Some(request);
            };
            refused = Some(place);
        }
        self.insert(self.waiting.len(), request);
        if self.is_long() {
            self.long_since.get_or_insert(request.since);
        }
        refused
    }

    /// The place of the request whose place this one takes in a full queue.
    fn gives_way(&self, request: &Waiting) -> Option<usize> {
        let last_ticket = |goes_before: &dyn Fn(&Waiting) -> bool| {
            let last = self.tickets().max_by_key(|(_, waiting)| waiting.turn());
            last.filter(|(_, last)| goes_before(last)).map(|(at, _)| at)
        };
        match request.rank {
            Rank::Anonymous => None,
            Rank::Ticket { .. } => self
                .farthest_anonymous()
                .or_else(|| last_ticket(&|last| request.turn() < last.turn())),
            Rank::Known => self.farthest_anonymous().or_else(|| last_ticket(&|_| true)),
        }
    }

    /// The place of the anonymous request that would be served last.
    fn farthest_anonymous(&self) -> Option<usize> {
        if self.is_overloaded {
            self.waiting.iter().position(Waiting::is_anonymous)
        } else {
            self.waiting.iter().rposition(Waiting::is_anonymous)
        }
    }

    /// The waiting tickets, and their places.
    fn tickets(&self) -> impl Iterator<Item = (usize, &Waiting)> {
        let all = self.waiting.iter().enumerate();
        // A queue without them is not searched.
        let all = all.take(if self.tickets > 0 { usize::MAX } else { 0 });
        all.filter(|(_, request)| request.has_ticket())
    }

    /// How many requests with the ticket of this number wait.
    pub fn count_ticket(&self, id: u64) -> usize {
        self.tickets().filter(|(_, r)| r.is_by(id)).count()
    }

    /// How many requests wait that are not anonymous.
    pub fn preferred(&self) -> usize {
        self.tickets + self.known
    }

    fn insert(&mut self, at: usize, request: Waiting) {
        self.tickets += usize::from(request.has_ticket());
        self.known += usize::from(request.is_known());
        self.waiting.insert(at, request);
    }

    fn take(&mut self, at: usize) -> Option<Waiting> {
        let request = self.waiting.remove(at)?;
        self.tickets -= usize::from(request.has_ticket());
        self.known -= usize::from(request.is_known());
        Some(request)
    }

    /// Puts a request back that was taken out and could not be served: at its old place.
    pub fn put_back(&mut self, request: Waiting) {
        let at = self.waiting.partition_point(|w| w.since < request.since);
        self.insert(at, request);
    }

    /// Takes the request that goes next. `known_first`: known ones go before tickets, and in an overloaded queue before
    /// all others.
    pub fn pop(&mut self, known_first: bool) -> Option<Waiting> {
        let at = self.next(known_first)?;
        self.take(at)
    }

    fn next(&self, known_first: bool) -> Option<usize> {
        let known = match known_first && self.known > 0 {
            true if self.is_overloaded => self.waiting.iter().rposition(Waiting::is_known),
            true if self.tickets > 0 => self.waiting.iter().position(Waiting::is_known),
            _ => None,
        };
        let ticket = || self.tickets().min_by_key(|(_, waiting)| waiting.turn());
        let last = self.waiting.len().checked_sub(1)?;
        let next = known.or_else(|| ticket().map(|(at, _)| at));
        Some(next.unwrap_or(if self.is_overloaded { last } else { 0 }))
    }

    /// Takes a request out wherever it stands; `false` if it does not wait here.
    pub fn remove(&mut self, number: Number) -> bool {
        let found = self.waiting.iter().position(|w| w.number == number);
        found.is_some_and(|at| self.take(at).is_some())
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
        let ends = |at: Duration| at.saturating_add(self.limits.target / 2);
        self.thinned_at = self.thinned_at.filter(|&at| is_served && now < ends(at));
        self.is_overloaded =
            self.above_since.is_some_and(|at| self.begins(at) <= now) || self.thinned_at.is_some();
    }

    /// The places of the anonymous requests whose clients would come back with a ticket, the oldest first.
    fn returning(&self) -> impl Iterator<Item = usize> {
        let all = self.waiting.iter().enumerate();
        all.filter(|(_, request)| request.is_anonymous() && self.gets_ticket(request))
            .map(|(at, _)| at)
    }

    /// If it is refused, its client comes back with a ticket.
    pub fn gets_ticket(&self, request: &Waiting) -> bool {
        self.limits.has_room && request.is_browser
    }

    /// Takes out one request that has waited too long: for `timeout`, for an overloaded queue, or for a start.
    pub fn pop_expired(&mut self, room: Capacity, now: Duration) -> Option<Expired> {
        let is_over = |due: Option<Duration>| due.is_some_and(|due| due <= now);
        if let Some((at, first)) = self.first_browser(room)
            && is_over(self.told_at(first))
        {
            let browser = self.take(at)?;
            return Some(Expired::StartPage(browser.number));
        }
        if let Some(oldest) = self.starting(room)
            && is_over(self.gives_up(oldest, room))
        {
            let oldest = self.take(0)?;
            return Some(Expired::Start(oldest.number));
        }
        let at = match self.first_in_crowd(room) {
            Some((at, first)) if is_over(self.expires(first)) => at,
            _ => match self.first_too_many() {
                Some(at) => {
                    self.thinned_at = Some(now);
                    at
                }
                None => self
                    .first_to_shed()
                    .filter(|&at| is_over(self.sheds(&self.waiting[at])))?,
            },
        };
        self.take(at).map(Expired::Crowd)
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
            self.first_browser(room)
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

    /// The oldest request of a browser, and its place; while a worker serves, or starts fail, this does not matter.
    fn first_browser(&self, room: Capacity) -> Option<(usize, &Waiting)> {
        let _ = self.unserved_since.and(self.limits.start_page)?;
        let mut waiting = self.waiting.iter().enumerate();
        waiting.find(|(_, request)| request.is_browser && !room.start_patience.is_zero())
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

    /// The place of the oldest request of the lowest rank; in an overloaded queue.
    fn first_to_shed(&self) -> Option<usize> {
        if !(self.is_overloaded && self.is_long()) {
            return None;
        }
        let anonymous = self.waiting.iter().position(Waiting::is_anonymous);
        let ticket = || self.tickets().next().map(|(at, _)| at);
        anonymous.or_else(ticket).or(Some(0))
    }

    /// The place of the oldest of those that would come back, if an overloaded queue has more of them than it keeps.
    fn first_too_many(&self) -> Option<usize> {
        if !self.is_overloaded {
            return None;
        }
        let mut returning = self.returning();
        let first = returning.next()?;
        let kept = self.limits.turn.saturating_mul(2).max(1);
        returning.nth(kept - 1).map(|_| first)
    }
}

#[cfg(test)]
mod tests;

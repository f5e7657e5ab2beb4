//! The workers and who waits for them. Knows numbers, times and states; spawns, kills and answers nobody.
//!
//! # Theory of operation
//! The daemon tells what happened ([`Event`]) and carries out what comes back ([`Action`]). Workers come from
//! a zygote, a process that holds the imported app, so before the first [`Action::Spawn`] there is an
//! [`Action::StartZygote`] and an [`Event::ZygoteReady`].
//!
//! | a worker is | and becomes | on |
//! | --- | --- | --- |
//! | - | starting | `Spawn` |
//! | starting | idle | `WorkerReady` |
//! | starting | - | `ForkFailed`, `WorkerGone`: no other spawn before a pause |
//! | idle | busy | `Dispatch`: the one that was idle last goes first, its caches are hot |
//! | idle | retiring | `Retire`: idle for too long, or we leave |
//! | busy | idle | `WorkerDone`, `NotTaken` |
//! | busy | retiring | `WorkerDone` of one that served its share, or wants to go; `Returned` |
//! | any | - | `WorkerGone` |
//!
//! Only a worker that is known idle is told to leave. A request is either waiting, with one worker, or
//! answered; a request whose worker is gone was answered by whoever saw the worker's byte, not by the pool.

use std::collections::BTreeMap;
use std::time::Duration;

use super::backoff;
use super::queue::{Queue, Ticket};

mod words;

pub use words::{Action, Event, Limits, Reason, Refusal, State, WorkerId};

/// One worker, for `status`.
#[derive(Clone, Copy, Debug)]
pub struct Worker {
    /// What it does.
    pub state: State,
    /// Requests that it has answered.
    pub requests: u32,
    share: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zygote {
    Absent { not_before: Duration },
    Ready,
    Starting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// `Leave` was asked for and not yet done.
    Parting(Reason),
    Left(Option<Reason>),
    Exited(Option<Reason>),
}

/// The state machine; see the module's page.
#[derive(Debug)]
pub struct Pool {
    limits: Limits,
    queue: Queue,
    workers: BTreeMap<WorkerId, Worker>,
    /// Idle workers, the hottest last.
    idle: Vec<WorkerId>,
    zygote: Zygote,
    phase: Phase,
    started: Duration,
    last_request: Duration,
    /// A worker has been ready: the start succeeded.
    proven: bool,
    /// Failed starts of zygote and workers in a row.
    failures: u32,
    spawn_not_before: Duration,
    spawned: u32,
}

impl Pool {
    /// An empty pool: it starts the zygote at the first event.
    pub fn new(limits: Limits, now: Duration) -> Pool {
        Pool {
            limits,
            queue: Queue::new(limits.queue),
            workers: BTreeMap::new(),
            idle: Vec::new(),
            zygote: Zygote::Absent {
                not_before: Duration::ZERO,
            },
            phase: Phase::Serving,
            started: now,
            last_request: now,
            proven: false,
            failures: 0,
            spawn_not_before: Duration::ZERO,
            spawned: 0,
        }
    }

    /// Takes an event in, and puts what is to be done at the end of `actions`, in order.
    pub fn handle(&mut self, event: Event, now: Duration, actions: &mut Vec<Action>) {
        match event {
            Event::Arrived(ticket) => self.arrived(ticket, now, actions),
            Event::ForkFailed(worker) => self.fork_failed(worker, now),
            Event::WorkerGone(worker) => self.gone(worker, now, actions),
            Event::HungUp(ticket) => {
                self.queue.remove(ticket);
            }
            Event::Left => {
                self.phase = match self.phase {
                    Phase::Parting(reason) => Phase::Left(Some(reason)),
                    Phase::Serving => Phase::Left(None),
                    left => left,
                }
            }
            Event::NotTaken(worker) if self.is_busy(worker) => self.idles(worker, now),
            Event::NotTaken(_) => {}
            Event::Returned(worker) => self.returned(worker, now),
            Event::Tick => {}
            Event::WorkerDone { worker, last } => self.done(worker, last, now, actions),
            Event::WorkerReady(worker) => self.ready(worker, now),
            Event::ZygoteGone => self.zygote_gone(now, actions),
            Event::ZygoteReady => self.zygote = Zygote::Ready,
        }
        self.balance(now, actions);
        self.expire(now, actions);
        self.part(now, actions);
    }

    /// When [`Event::Tick`] is due, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Duration> {
        let source = match self.zygote {
            Zygote::Absent { not_before } if self.wants_zygote() => Some(not_before),
            Zygote::Ready if self.missing() > 0 => Some(self.spawn_not_before),
            _ => None,
        };
        let spare = self.coldest_spare().map(|(_, due)| due);
        let queue = self.queue.next_deadline();
        [self.start_due(), source, spare, self.idle_exit_due(), queue]
            .into_iter()
            .flatten()
            .min()
    }

    /// How many wait for a worker.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The workers, by number.
    pub fn workers(&self) -> impl Iterator<Item = (WorkerId, Worker)> {
        self.workers.iter().map(|(&id, &worker)| (id, worker))
    }

    /// A worker has been ready since the start.
    pub fn is_proven(&self) -> bool {
        self.proven
    }

    fn arrived(&mut self, ticket: Ticket, now: Duration, actions: &mut Vec<Action>) {
        self.last_request = now;
        let reason = match self.phase {
            Phase::Exited(reason) | Phase::Left(reason) => reason,
            Phase::Parting(reason) => Some(reason),
            Phase::Serving => None,
        };
        if let Some(refusal) = reason.and_then(Reason::refusal) {
            actions.push(Action::Refuse { ticket, refusal });
        } else if let Phase::Exited(_) = self.phase {
            // Nobody is left to serve it, and nobody will come.
            let retry_after = self.drain_time();
            let refusal = Refusal::Overloaded { retry_after };
            actions.push(Action::Refuse { ticket, refusal });
        } else if !self.queue.push(ticket, now) {
            let retry_after = self.drain_time();
            let refusal = Refusal::Overloaded { retry_after };
            actions.push(Action::Refuse { ticket, refusal });
        }
    }

    fn ready(&mut self, id: WorkerId, now: Duration) {
        // Whoever says so twice is not idle twice.
        let is_starting = |worker: &Worker| worker.state == State::Starting;
        if self.workers.get(&id).is_some_and(is_starting) {
            self.proven = true;
            self.failures = 0;
            self.queue.start_clock(now);
            self.idles(id, now);
        }
    }

    fn is_busy(&self, id: WorkerId) -> bool {
        let is_busy = |worker: &Worker| matches!(worker.state, State::Busy { .. });
        self.workers.get(&id).is_some_and(is_busy)
    }

    fn idles(&mut self, id: WorkerId, now: Duration) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.state = State::Idle { since: now };
            self.idle.push(id);
        }
    }

    fn returned(&mut self, id: WorkerId, now: Duration) {
        if let Some(worker) = self.workers.get_mut(&id)
            && let State::Busy { ticket } = worker.state
        {
            worker.state = State::Retiring;
            self.queue.push_first(ticket, now);
        }
    }

    fn done(&mut self, id: WorkerId, last: bool, now: Duration, actions: &mut Vec<Action>) {
        // An application that found the channel may say anything at any time.
        if !self.is_busy(id) {
            return;
        }
        self.last_request = now;
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.requests += 1;
        if last {
            worker.state = State::Retiring;
        } else if worker.requests >= worker.share {
            worker.state = State::Retiring;
            actions.push(Action::Retire(id));
        } else {
            self.idles(id, now);
        }
    }

    fn gone(&mut self, id: WorkerId, now: Duration, actions: &mut Vec<Action>) {
        let Some(worker) = self.workers.remove(&id) else {
            return;
        };
        self.idle.retain(|&idle| idle != id);
        if worker.state == State::Starting {
            self.failed(actions);
            self.spawn_not_before = now + backoff::pause(self.failures);
        }
    }

    /// The host had no process left: that is not the app's fault, and may be over soon.
    fn fork_failed(&mut self, id: WorkerId, now: Duration) {
        if self.workers.remove(&id).is_some() {
            self.failures += 1;
            self.spawn_not_before = now + backoff::pause(self.failures);
        }
    }

    fn zygote_gone(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let was = std::mem::replace(&mut self.zygote, Zygote::Absent { not_before: now });
        // What it was asked to fork and did not is gone with it; what it did fork speaks for itself.
        if was == Zygote::Starting {
            self.failed(actions);
            let not_before = now + backoff::pause(self.failures);
            self.zygote = Zygote::Absent { not_before };
        }
    }

    /// A start failed. The app that never served is broken; one that did gets another chance after a pause.
    fn failed(&mut self, actions: &mut Vec<Action>) {
        self.failures += 1;
        if !self.proven && self.phase == Phase::Serving {
            self.give_up(Reason::Broken, actions);
        }
    }

    fn give_up(&mut self, reason: Reason, actions: &mut Vec<Action>) {
        self.phase = Phase::Parting(reason);
        if let Some(refusal) = reason.refusal() {
            while let Some(ticket) = self.queue.pop() {
                actions.push(Action::Refuse { ticket, refusal });
            }
        }
        actions.push(Action::Leave(reason));
    }

    fn expire(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.start_due().is_some_and(|due| due <= now) {
            self.give_up(Reason::StartTimedOut, actions);
        }
        while let Some(ticket) = self.queue.pop_expired(now) {
            let retry_after = self.drain_time();
            let refusal = Refusal::Overloaded { retry_after };
            actions.push(Action::Refuse { ticket, refusal });
        }
    }

    /// Brings together who waits and who is idle, then sees to it that there are as many workers as needed.
    fn balance(&mut self, now: Duration, actions: &mut Vec<Action>) {
        while let Some(&id) = self.idle.last() {
            let Some(ticket) = self.queue.pop() else {
                break;
            };
            self.idle.pop();
            if let Some(worker) = self.workers.get_mut(&id) {
                worker.state = State::Busy { ticket };
                actions.push(Action::Dispatch { ticket, worker: id });
            }
        }
        match self.zygote {
            Zygote::Absent { not_before } if now >= not_before && self.wants_zygote() => {
                self.zygote = Zygote::Starting;
                actions.push(Action::StartZygote);
            }
            Zygote::Ready if now >= self.spawn_not_before => {
                for _ in 0..self.missing() {
                    self.spawn(actions);
                }
            }
            _ => {}
        }
        while let Some((id, due)) = self.coldest_spare()
            && due <= now
        {
            self.retire_idle(id, actions);
        }
    }

    /// The zygote is held ready while we serve; having left, it is wanted only for those who still wait.
    fn wants_zygote(&self) -> bool {
        match self.phase {
            Phase::Serving | Phase::Parting(Reason::Idle) => true,
            Phase::Left(_) => self.missing() > 0,
            Phase::Parting(_) | Phase::Exited(_) => false,
        }
    }

    /// Workers to spawn now: one for each who waits, and the spare ones, within `max-procs`.
    fn missing(&self) -> usize {
        let limits = &self.limits;
        let leaving = self.phase != Phase::Serving;
        let starting = self.count(|state| state == State::Starting);
        let spare = if leaving {
            0
        } else {
            // A start that nobody has asked anything yet is proven by a worker as well.
            usize::from(limits.min_idle).max(usize::from(!self.proven))
        };
        let least = if leaving {
            0
        } else {
            usize::from(limits.min_procs)
        };
        let for_need = (self.queue.len() + spare).saturating_sub(starting + self.idle.len());
        let for_least = least.saturating_sub(self.workers.len());
        let room = usize::from(limits.max_procs).saturating_sub(self.workers.len());
        // Whether the app can be imported one worker finds out for all.
        let room = if self.proven {
            room
        } else {
            room.min(1_usize.saturating_sub(starting))
        };
        for_need.max(for_least).min(room)
    }

    fn spawn(&mut self, actions: &mut Vec<Action>) {
        let Some(id) = (0..self.limits.max_procs).find(|id| !self.workers.contains_key(id)) else {
            return;
        };
        self.spawned = self.spawned.wrapping_add(1);
        let share = jittered(self.limits.max_requests, self.spawned);
        let state = State::Starting;
        self.workers.insert(
            id,
            Worker {
                state,
                requests: 0,
                share,
            },
        );
        actions.push(Action::Spawn(id));
    }

    /// The idle worker that nobody will miss, and when its time is over.
    fn coldest_spare(&self) -> Option<(WorkerId, Duration)> {
        let limits = &self.limits;
        if self.idle.len() <= usize::from(limits.min_idle)
            || self.workers.len() <= usize::from(limits.min_procs)
        {
            return None;
        }
        let id = *self.idle.first()?;
        match self.workers.get(&id)?.state {
            State::Idle { since } => Some((id, since.saturating_add(limits.worker_idle_timeout))),
            _ => None,
        }
    }

    fn retire_idle(&mut self, id: WorkerId, actions: &mut Vec<Action>) {
        self.idle.retain(|&idle| idle != id);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.state = State::Retiring;
            actions.push(Action::Retire(id));
        }
    }

    /// Leaves when nobody has asked for long enough; having left, exits when the last request is answered.
    fn part(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.idle_exit_due().is_some_and(|due| due <= now) {
            self.give_up(Reason::Idle, actions);
        }
        if let Phase::Left(reason) = self.phase
            && self.queue.is_empty()
        {
            for id in std::mem::take(&mut self.idle) {
                self.retire_idle(id, actions);
            }
            if self.workers.is_empty() {
                self.phase = Phase::Exited(reason);
                actions.push(Action::Exit);
            }
        }
    }

    /// When `start-timeout` is over, unless a worker has been ready.
    fn start_due(&self) -> Option<Duration> {
        (!self.proven && self.phase == Phase::Serving)
            .then(|| self.started.saturating_add(self.limits.start_timeout))
    }

    fn idle_exit_due(&self) -> Option<Duration> {
        let busy = self.count(|state| matches!(state, State::Busy { .. }));
        if self.phase != Phase::Serving || busy > 0 || !self.queue.is_empty() {
            return None;
        }
        let idle = self.last_request.saturating_add(self.limits.idle_timeout);
        let lived = self.started.saturating_add(self.limits.min_lifetime);
        Some(idle.max(lived))
    }

    fn count(&self, is: impl Fn(State) -> bool) -> usize {
        self.workers.values().filter(|w| is(w.state)).count()
    }

    /// A guess at how long the queue takes to drain: a tenth of a second for each turn of all workers.
    fn drain_time(&self) -> Duration {
        let turns = self.queue.len() / usize::from(self.limits.max_procs.max(1)) + 1;
        Duration::from_millis(100 * turns as u64).max(Duration::from_secs(1))
    }
}

/// `max-requests` give or take a tenth, so that workers that were born together don't die together.
fn jittered(max_requests: u32, nth: u32) -> u32 {
    let tenth = max_requests / 10;
    // Knuth's multiplicative hash: spread, and the same in every run.
    let spread = nth.wrapping_mul(2_654_435_769) >> 8;
    (max_requests - tenth + spread % (2 * tenth + 1)).max(1)
}

#[cfg(test)]
mod tests;

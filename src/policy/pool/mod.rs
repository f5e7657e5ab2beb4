//! The workers and the requests that wait for them. Knows numbers, times and states; makes no process, sends no signal,
//! answers no request.
//!
//! # Theory of operation
//! The daemon tells what happened ([`Event`]) and carries out what comes back ([`Action`]). If nothing happens until
//! [`Pool::next_deadline`], it sends `Tick`. Workers are forked from a zygote, a process that has imported the app.
//! Each zygote is a *generation*: `current` serves, `next` is being prepared to take its place.
//!
//! **The next generation.** The switch is the moment at which its first worker is ready, so an app that can't be
//! imported is found before the switch, whether the zygote or the worker imports it. After the switch no older worker
//! gets a request.
//!
//! | next is | and becomes | on |
//! | --- | --- | --- |
//! | unwanted, failed | wanted | `Looked` changed, `Reload`; `ZygoteGone` of `current` (if not failed) |
//! | asleep | wanted | `Reload` |
//! | asleep | importing | a request, announced or waiting: at once |
//! | failed | importing | a waiting request, after a pause that doubles with each failure since the switch |
//! | wanted | importing | `StartZygote`, at once |
//! | importing | imported | `ZygoteReady` |
//! | imported | proving | `Spawn` of its first worker; without room the coldest idle one gets `Retire` first |
//! | proving | imported | `ForkFailed`: the host's fault; tried again after a pause. Meanwhile `SendAway` |
//! | proving | unwanted | `WorkerReady`: the switch; `RetireZygote` and `Retire` for what is older |
//! | importing, imported, proving | failed | `ZygoteGone`, `WorkerGone` of the first, `start-timeout` |
//! | unwanted | failed | `Broken`: `current` only seemed to be ready |
//! | any | asleep | a pool that stays has nothing to do: `Retire` and `RetireZygote` for all that it has |
//!
//! A change that is found while a generation is being prepared is remembered, and another generation follows. If a
//! generation fails while there is no `current`, the app can't be started: all requests are refused, and we leave. The
//! fault is the app's, or the host's if `HostRefused` came before. If there is a `current`, it goes on with the old
//! code.
//!
//! The worker of an app of another kind stands for no process, so it is ready before anything has been tried. If the
//! app can't be started after all, the daemon says `Broken`, with the same end.
//!
//! **Workers**, each of the generation that it was forked from:
//!
//! | a worker is | and becomes | on |
//! | --- | --- | --- |
//! | - | starting | `Spawn` |
//! | starting | idle | `WorkerReady`, of `current` |
//! | starting | retiring | `WorkerReady`, of another generation |
//! | starting | stuck | `start-timeout`: `Kill` |
//! | starting | - | `ForkFailed`, `WorkerGone`: no other spawn before a pause |
//! | idle | busy | `Dispatch`: to the worker that became idle last, since its caches are hot |
//! | idle | retiring | `Retire`: idle for too long, one too many, outdated, or we leave |
//! | idle | accepting | `WorkerDone`, while requests are many and none waits: `Accept` |
//! | accepting | idle | `Back`, as a rule after `Recall` |
//! | accepting | busy | `Adopted`: the request that it has taken itself is one as any other |
//! | accepting | retiring | `Back` of one that wants to go |
//! | busy | idle | `WorkerDone`, `NotTaken`, of `current` |
//! | busy | retiring | `WorkerDone` of one that served its share, is outdated, or wants to go; `Returned` |
//! | busy | stuck | `Progress` not moved for `request-timeout`, or `request-limit` is over: `Interrupt` |
//! | stuck | stuck | 5 s have passed: `Kill`, and again |
//! | stuck | retiring | `WorkerDone` |
//! | any | - | `WorkerGone` |
//!
//! Only a worker that is known idle is told to leave, and there are never more than `max-procs`.
//!
//! **Requests.** A request is announced (its body is still to come), waiting, with one worker, or answered. If a worker
//! ends during a request, the daemon answers that request, not the pool. Which request goes next, and which is refused,
//! is in [`queue`](super::queue).
//!
//! When a request comes and the last look is long enough ago, the zygote looks whether the code has changed (`Look`).
//! As long as no request is being served, requests are held back from idle workers until the answer is there (at most
//! 1 s), and, if the code has changed, until the switch (at most half of `queue-timeout`): so a developer who edits a
//! file and reloads the page sees the edit. A zygote that has looked for `start-timeout` hangs: it is treated as dead.
//!
//! **A pool that stays** never leaves by itself. Where another pool would leave, it lets all its processes go, has no
//! `current`, and says `Rest`. Asleep, it does not keep `min-procs` either; the request that wakes it waits as at a
//! start. If the app can't be started, the pool is failed and not asleep: all requests are refused until the pause is
//! over, then the next one begins another generation.
//!
//! **The end.** Serving, then parting (`Leave` was asked for), left (new requests can't find us), and exited when the
//! last request is answered. The files beside this one: `generations` has the first table, `crew` the second, `staff`
//! the number of workers, `memory` what the host's memory has to do with that, `admission` what becomes of a request that
//! comes, `direct` which workers take requests themselves, `parting` the end, `rest` the pool that stays, `traffic` what is known of the past.

use std::collections::BTreeSet;
use std::time::Duration;

use super::backoff;
use super::queue::{Capacity, Expired, Number, Queue, Rank};

mod admission;
mod crew;
mod direct;
mod generations;
mod memory;
mod parting;
mod rest;
mod staff;
mod traffic;
mod words;

pub use crew::Worker;
pub use words::{
    Action, Arrived, Event, Generation, OwnWork, PoolRules, Quiet, Reason, Refusal, WorkerId,
    WorkerState,
};

use admission::Visitors;
use crew::Crew;
use direct::Direct;
use generations::Generations;
use memory::Memory;
use parting::PoolPhase;
use traffic::Traffic;

/// The state machine; see the module's page.
#[derive(Debug)]
pub struct Pool {
    limits: PoolRules,
    /// Requests whose body is still to come.
    announced: BTreeSet<Number>,
    queue: Queue,
    crew: Crew,
    code: Generations,
    spawning: Pause,
    phase: PoolPhase,
    /// When the first start began, or the last one at which nothing served.
    started: Duration,
    /// How long the last such start took, as far as that is known.
    start_took: Option<Duration>,
    traffic: Traffic,
    visitors: Visitors,
    memory: Memory,
    direct: Direct,
}

/// Failed spawns in a row, and the pause after the last.
#[derive(Debug, Default)]
struct Pause {
    failures: u32,
    not_before: Duration,
    /// Why the last one failed.
    trouble: Option<Refusal>,
}

impl Pause {
    fn lengthen(&mut self, trouble: Refusal, now: Duration) {
        self.failures += 1;
        self.not_before = now + backoff::pause(self.failures);
        self.trouble = Some(trouble);
    }
}

/// The refusal of requests when the host has no process for a worker.
const NO_PROCESS: Refusal = Refusal::HostRefused {
    retry_after: Duration::from_secs(2),
};

impl Pool {
    /// An empty pool: it starts the zygote at the first event.
    pub fn new(limits: PoolRules, now: Duration) -> Pool {
        Pool {
            limits,
            announced: BTreeSet::new(),
            queue: Queue::new(limits.queue),
            crew: Crew::default(),
            code: Generations::default(),
            spawning: Pause::default(),
            phase: PoolPhase::Serving,
            started: now,
            start_took: None,
            traffic: Traffic::new(now),
            visitors: Visitors::new(),
            memory: Memory::default(),
            direct: Direct::default(),
        }
    }

    /// Takes an event in, and puts what is to be done at the end of `actions`, in order.
    pub fn handle(&mut self, event: Event, now: Duration, actions: &mut Vec<Action>) {
        self.code.relent(now);
        self.direct.looked = now;
        self.take_in(event, now, actions);
        self.renew(now, actions);
        for _ in 0..self.crew.keep_time(&self.limits, now, actions) {
            self.spawning.lengthen(Refusal::StartTimedOut, now);
        }
        self.dispatch(now, actions);
        self.let_accept(now, actions);
        self.shed(now, actions);
        self.staff(now, actions);
        self.send_away(now, actions);
        self.part(now, actions);
        self.keep_accepting(now, actions);
    }

    /// When [`Event::Tick`] is due, if no other event comes before.
    pub fn next_deadline(&self) -> Option<Duration> {
        let spawn = (self.missing() > 0).then_some(self.spawning.not_before);
        [
            self.next_generation_deadline(),
            self.crew.next_deadline(&self.limits),
            self.queue.next_deadline(self.room()),
            spawn,
            self.pressure_due(),
            self.renewal_due(),
            self.coldest_spare().map(|(_, due)| due),
            self.exit_due().map(|(due, _)| due),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// How long the app's last start took, as is known from before this pool.
    pub fn expect_start(&mut self, took: Duration) {
        self.start_took = Some(took);
    }

    /// How many requests wait for a worker.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// So many requests more would be served at once.
    pub fn at_once(&self) -> usize {
        match self.queue.is_empty() && !self.is_held() {
            true => self.crew.idle(),
            false => 0,
        }
    }

    /// The workers, by number.
    pub fn workers(&self) -> impl Iterator<Item = (WorkerId, Worker)> {
        self.crew.iter()
    }

    /// An anonymous request would be refused.
    pub fn is_full(&self) -> bool {
        self.queue.is_full(self.free()) || self.refusal().is_some()
    }

    /// Other limits hold from the next event on.
    pub fn obey(&mut self, limits: PoolRules) {
        self.limits = limits;
        self.queue.obey(limits.queue);
    }

    /// The generation that serves; 0 before the first.
    pub fn generation(&self) -> Generation {
        self.code.served
    }

    /// Another generation is being prepared.
    pub fn is_reloading(&self) -> bool {
        self.code.is_reloading()
    }

    /// A worker has been ready since the start, and nothing has shown since that the app can't be started.
    pub fn is_proven(&self) -> bool {
        self.code.is_proven
    }

    /// A generation serves, whatever becomes of the next one.
    pub fn has_code(&self) -> bool {
        self.code.current.is_some()
    }

    fn take_in(&mut self, event: Event, now: Duration, actions: &mut Vec<Action>) {
        match event {
            Event::Adopted {
                worker,
                number,
                since,
            } => self.adopted(worker, number, since, now),
            Event::Announced(number) => {
                self.announced.insert(number);
                self.traffic.arrived(self.limits.quiet, now);
            }
            Event::Arrived(request) => self.arrived(request, now, actions),
            Event::Back { worker, last } => self.back(worker, last, now, actions),
            Event::Broken => self.broken(now, actions),
            Event::CallIn { until } => self.call_in(until, now, actions),
            Event::ForkFailed(worker) => self.fork_failed(worker, now),
            Event::HostRefused(generation) => self.code.host_refused = Some(generation),
            Event::HungUp(number) => {
                self.announced.remove(&number);
                self.queue.remove(number);
            }
            Event::Left => self.phase = self.phase.left(),
            Event::Looked { changed } => self.looked(changed, now),
            Event::NotTaken(worker) if self.is_busy(worker) => self.release(worker, now, actions),
            Event::NotTaken(_) => {}
            Event::Progress { worker, moved } if self.is_busy(worker) => {
                self.crew
                    .progress(worker, moved, &self.limits, now, actions);
            }
            Event::Pressure { some, is_watched } => self.memory.answered(some, is_watched, now),
            Event::Progress { .. } => {}
            Event::Proven => self.code.doubted = 0,
            Event::Reload => self.reload(),
            Event::Returned(worker) => self.returned(worker, actions),
            Event::Seen(all) => all.into_iter().for_each(|seen| self.seen(seen, now)),
            Event::Stalled => self.memory.stalled(now),
            Event::Tick => {}
            Event::WorkerDone { worker, last } => self.done(worker, last, now, actions),
            Event::WorkerGone(worker) => self.gone(worker, now, actions),
            Event::WorkerReady(worker) => self.ready(worker, now, actions),
            Event::ZygoteGone(generation) => self.zygote_gone(generation, now, actions),
            Event::ZygoteReady(generation) => self.zygote_ready(generation, now),
        }
    }

    fn ready(&mut self, id: WorkerId, now: Duration, actions: &mut Vec<Action>) {
        // A worker that says so twice must not be idle twice.
        let starting = |worker: &&Worker| worker.state == WorkerState::Starting;
        let Some(&Worker { generation, .. }) = self.crew.get(id).filter(starting) else {
            return;
        };
        self.spawning = Pause::default();
        if self.switch_or_serve(id, generation, now, actions) {
            self.crew.make_idle(id, now);
        } else {
            self.crew.retire(id, actions);
        }
    }

    fn is_busy(&self, id: WorkerId) -> bool {
        let is_busy = |worker: &Worker| matches!(worker.state, WorkerState::Busy { .. });
        self.crew.get(id).is_some_and(is_busy)
    }

    /// The worker has nothing to do: it becomes idle, or retires if its time is over.
    fn release(&mut self, id: WorkerId, now: Duration, actions: &mut Vec<Action>) {
        let is_last_hope = self.is_last_hope(id);
        let serves = |worker: &Worker| {
            Some(worker.generation) == self.code.current
                && (worker.requests < worker.share || is_last_hope)
        };
        if self.crew.get(id).is_some_and(serves) {
            self.crew.make_idle(id, now);
        } else {
            self.crew.retire(id, actions);
        }
    }

    /// This worker alone serves, and others can't be started: with `preload` off each imports the files as they are
    /// now.
    fn is_last_hope(&self, id: WorkerId) -> bool {
        let is_starting = |worker: &Worker| worker.state == WorkerState::Starting;
        let others = self.crew.iter().filter(|&(other, worker)| {
            other != id && Some(worker.generation) == self.code.current && !is_starting(&worker)
        });
        self.spawning.failures > 0 && others.count() == 0
    }

    fn returned(&mut self, id: WorkerId, actions: &mut Vec<Action>) {
        if let Some(worker) = self.crew.get_mut(id)
            && let Some(request) = worker.request.take()
        {
            worker.state = WorkerState::Retiring;
            let number = request.number;
            match self.refusal() {
                Some(refusal) => actions.push(Action::Refuse { number, refusal }),
                None => self.queue.put_back(request),
            }
        }
    }

    fn done(&mut self, id: WorkerId, last: bool, now: Duration, actions: &mut Vec<Action>) {
        let Some(worker) = self.crew.get_mut(id) else {
            return;
        };
        match worker.state {
            WorkerState::Busy { since, .. } => {
                self.traffic.answered(since, now);
                self.visitors.note_answer(self.queue.is_empty());
                worker.requests += 1;
                if last {
                    worker.state = WorkerState::Retiring;
                    worker.request = None;
                } else {
                    self.release(id, now, actions);
                    self.note_idle_after_request(id);
                }
            }
            WorkerState::Stuck => {
                self.traffic.last_request = now;
                worker.requests += 1;
                self.crew.retire(id, actions);
            }
            // The application can write to the channel too, so any word may come at any time.
            // The daemon has not found the request that it speaks of.
            WorkerState::Accepting { .. } => self.back(id, last, now, actions),
            WorkerState::Idle { .. } | WorkerState::Retiring | WorkerState::Starting => {}
        }
    }

    fn gone(&mut self, id: WorkerId, now: Duration, actions: &mut Vec<Action>) {
        let Some(worker) = self.crew.remove(id) else {
            return;
        };
        if self.first_worker_gone(id, now, actions) {
            return;
        }
        if worker.state == WorkerState::Starting && Some(worker.generation) == self.code.current {
            let reason = self.blamed(worker.generation);
            self.spawning
                .lengthen(reason.refusal().unwrap_or(Refusal::Broken), now);
        }
    }

    fn fork_failed(&mut self, id: WorkerId, now: Duration) {
        if let Some(worker) = self.crew.remove(id) {
            // That of a zygote that is dead is no fault of the host's.
            if self.code.can_fork || Some(worker.generation) != self.code.current {
                self.spawning.lengthen(NO_PROCESS, now);
            }
            self.first_worker_unborn(id, now);
        }
    }

    /// Gives waiting requests to idle workers.
    fn dispatch(&mut self, now: Duration, actions: &mut Vec<Action>) {
        // After `max-procs` was lowered, some of the idle workers go.
        let too_many = self.staying().saturating_sub(self.limits.max_procs.into());
        let idle = self.crew.idle().saturating_sub(too_many);
        self.crew.retire_down_to(idle, actions);
        self.queue.pass(self.is_served(), now);
        while self.crew.idle() > 0 && !self.is_held() {
            let with_known =
                |worker: &Worker| worker.request.is_some_and(|r| r.rank == Rank::Known);
            let half = usize::from(self.limits.max_procs / 2).max(1);
            let known_first = self.crew.count(with_known) < half;
            let Some(request) = self.queue.pop(known_first) else {
                break;
            };
            self.visitors.note_served(request.rank, now);
            self.crew.dispatch(request, &self.limits, now, actions);
        }
    }

    fn shed(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.queue.pass(self.is_served(), now);
        while let Some(expired) = self.queue.pop_expired(self.room(), now) {
            match expired {
                Expired::Crowd(request) => self.refuse_as_overloaded(request, true, actions),
                Expired::Start(number) => {
                    let refusal = self.trouble().unwrap_or(Refusal::StartTimedOut);
                    actions.push(Action::Refuse { number, refusal });
                }
                Expired::StartPage(number) => {
                    let retry_after = self.start_left(number, now);
                    self.traffic.expect(retry_after, now);
                    let refusal = Refusal::Starting { retry_after };
                    actions.push(Action::Refuse { number, refusal });
                }
            }
            self.queue.pass(self.is_served(), now);
        }
    }
}

/// Knuth's multiplicative hash: spread, and the same in every run.
fn spread(nth: u32) -> u32 {
    nth.wrapping_mul(2_654_435_769) >> 8
}

#[cfg(test)]
mod tests;

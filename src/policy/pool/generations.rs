//! Which generation serves, and how another takes its place. Knows the numbers of generations, not what they contain.

use std::time::Duration;

use super::words::{Action, Generation, Reason, Refusal, WorkerId, WorkerState};
use super::{Pool, PoolPhase, Worker};
use crate::policy::backoff;

/// In a pool with nothing else to do, a request waits at most this long for the answer to a look.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);

/// So many looks in a row may find a change at once. More are not the work of a person who edits, but of an app that
/// writes its own files. From then on each pause between looks is twice as long as the one before: so an edit waits for
/// its look no longer than the app has gone on like that.
const RESTLESS: u32 = 10;
/// The longest pause between looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How far the next generation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// There are no processes: the next request begins a generation.
    Asleep,
    /// There is no reason for one.
    Unwanted,
    /// The last one failed: from then on a request begins another.
    Failed { not_before: Duration },
    /// One is to begin.
    Wanted,
    /// Its zygote was asked for.
    Importing {
        generation: Generation,
        due: Duration,
    },
    /// Its zygote is ready. Since then there was no room for its first worker, or no process.
    Imported {
        generation: Generation,
        due: Duration,
        since: Duration,
    },
    /// Its first worker is starting: the switch, if it succeeds.
    Proving {
        generation: Generation,
        due: Duration,
        worker: WorkerId,
    },
}

impl Next {
    fn generation(self) -> Option<Generation> {
        match self {
            Next::Asleep | Next::Failed { .. } | Next::Unwanted | Next::Wanted => None,
            Next::Imported { generation, .. }
            | Next::Importing { generation, .. }
            | Next::Proving { generation, .. } => Some(generation),
        }
    }
}

#[derive(Debug)]
pub(super) struct Generations {
    /// The one that serves; its first worker has been ready.
    pub(super) current: Option<Generation>,
    /// The zygote of `current` is alive.
    pub(super) can_fork: bool,
    /// The last `current`.
    pub(super) served: Generation,
    /// The app was started once, and no start has failed since; the pool may be asleep.
    pub(super) is_proven: bool,
    /// The answer to all requests that come before a pause is over.
    pub(super) refusal: Option<Refusal>,
    pub(super) next: Next,
    /// Why there is no zygote to fork from, if the last one that was tried has failed.
    pub(super) trouble: Option<Refusal>,
    /// The highest number that was given.
    newest: Generation,
    /// Another one follows the one that is being prepared: meanwhile code has changed, or a reload was asked for.
    pub(super) is_outdated: bool,
    /// Generations that failed since the last switch.
    pub(super) failures: u32,
    /// ... and before it, as long as it is not certain that `current` can answer ([`Event::Proven`](super::Event)).
    pub(super) doubted: u32,
    /// The generation that the host keeps from starting.
    pub(super) host_refused: Option<Generation>,
    /// `Look` was sent, and `Looked` has not come yet.
    pub(super) is_looking: bool,
    /// ... before it was time, and no request waits for it.
    pub(super) is_ahead: bool,
    /// When it must have come: a zygote that takes longer hangs.
    look_due: Duration,
    /// The time of the last look or switch.
    pub(super) last_look: Duration,
    /// Looks in a row that came soon after the one before and found a change.
    restless: u32,
    /// Until when requests are held back from idle workers for what a look may find, or has found.
    pub(super) hold: Option<Duration>,
}

impl Default for Generations {
    fn default() -> Generations {
        Generations {
            current: None,
            can_fork: false,
            served: 0,
            is_proven: false,
            refusal: None,
            next: Next::Wanted,
            trouble: None,
            newest: 0,
            is_outdated: false,
            failures: 0,
            doubted: 0,
            host_refused: None,
            is_looking: false,
            is_ahead: false,
            look_due: Duration::ZERO,
            last_look: Duration::ZERO,
            restless: 0,
            hold: None,
        }
    }
}

impl Generations {
    pub(super) fn is_reloading(&self) -> bool {
        let is_at_rest = matches!(
            self.next,
            Next::Asleep | Next::Failed { .. } | Next::Unwanted
        );
        let is_under_way = !is_at_rest;
        (self.current.is_some() && is_under_way) || self.is_outdated
    }

    /// The worker whose readiness is the switch.
    fn first_worker(&self) -> Option<WorkerId> {
        match self.next {
            Next::Proving { worker, .. } => Some(worker),
            _ => None,
        }
    }

    /// Another generation is to begin, now or after the one that is being prepared.
    fn want(&mut self) {
        match self.next {
            Next::Asleep | Next::Failed { .. } | Next::Unwanted | Next::Wanted => {
                self.next = Next::Wanted;
                self.refusal = None;
            }
            Next::Imported { .. } | Next::Importing { .. } | Next::Proving { .. } => {
                self.is_outdated = true;
            }
        }
    }

    /// The one that was being prepared serves or has failed. What follows is `otherwise`, unless another is wanted.
    fn follow_with(&mut self, otherwise: Next) {
        self.next = otherwise;
        if std::mem::take(&mut self.is_outdated) {
            self.next = Next::Wanted;
        } else if !self.is_looking {
            self.hold = None;
        }
    }
}

impl Pool {
    /// A request has come: asks, if it is time, whether the code has changed.
    pub(super) fn look(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let is_time = self.code.last_look.saturating_add(self.look_pause()) <= now;
        let is_settled = matches!(self.code.next, Next::Failed { .. } | Next::Unwanted);
        if is_time && self.code.is_looking && std::mem::take(&mut self.code.is_ahead) {
            self.code.hold = Some(now + LOOK_PATIENCE);
        }
        if let Some(current) = self.code.current
            && self.code.can_fork
            && is_settled
            && is_time
            && !self.code.is_looking
            && self.phase == PoolPhase::Serving
        {
            self.code.hold = Some(now + LOOK_PATIENCE);
            self.ask(current, now, actions);
        }
    }

    pub(super) fn ask(&mut self, current: Generation, now: Duration, actions: &mut Vec<Action>) {
        self.code.is_looking = true;
        self.code.look_due = now.saturating_add(self.limits.start_timeout);
        actions.push(Action::Look(current));
    }

    /// The time between a look or a switch and the next look.
    pub(super) fn look_pause(&self) -> Duration {
        let doublings = self.code.restless.saturating_sub(RESTLESS).min(16);
        let pause = self.limits.look_interval.saturating_mul(1 << doublings);
        pause.min(LONGEST_PAUSE.max(self.limits.look_interval))
    }

    pub(super) fn looked(&mut self, changed: bool, now: Duration) {
        if std::mem::take(&mut self.code.is_looking) {
            let since = now.saturating_sub(self.code.last_look);
            let is_restless = changed && since < self.look_pause().saturating_mul(2);
            self.code.restless = match (changed, is_restless) {
                (true, true) => self.code.restless.saturating_add(1),
                // A host may be slow for a moment.
                (true, false) => self.code.restless.saturating_sub(1),
                (false, _) => 0,
            };
            self.code.last_look = self.looked_at(now);
            self.code.is_ahead = false;
            self.code.hold = None;
        }
        let is_asleep = self.code.next == Next::Asleep;
        if changed && !is_asleep && self.phase == PoolPhase::Serving {
            self.code.want();
            // A developer who has edited and is the only client sees the edit. Under load the old code serves until the
            // switch.
            self.code.hold = (!self.crew.any_runs()).then(|| now + self.limits.queue.timeout / 2);
        }
    }

    pub(super) fn reload(&mut self) {
        if self.phase == PoolPhase::Serving {
            self.code.want();
        }
    }

    /// Idle workers get no request now.
    pub(super) fn is_held(&self) -> bool {
        self.code.hold.is_some() && self.phase == PoolPhase::Serving && !self.crew.any_runs()
    }

    pub(super) fn zygote_ready(&mut self, generation: Generation, now: Duration) {
        if let Next::Importing {
            generation: next,
            due,
        } = self.code.next
            && next == generation
        {
            self.code.next = Next::Imported {
                generation,
                due,
                since: now,
            };
        }
    }

    pub(super) fn zygote_gone(
        &mut self,
        generation: Generation,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        if self.code.next.generation() == Some(generation) {
            self.next_failed(self.blamed(generation), now, actions);
        } else if self.code.current == Some(generation) && self.code.can_fork {
            self.code.can_fork = false;
            // A look that it was asked for will not be answered.
            self.looked(false, now);
            if self.code.next == Next::Unwanted {
                self.code.next = Next::Wanted;
            }
        }
    }

    /// A worker is ready. If it is the first of `next`, this is the switch. `true`: it may serve.
    pub(super) fn switch_or_serve(
        &mut self,
        id: WorkerId,
        generation: Generation,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> bool {
        if self.code.first_worker() == Some(id) {
            self.switch(generation, now, actions);
        }
        self.code.current == Some(generation)
    }

    fn switch(&mut self, generation: Generation, now: Duration, actions: &mut Vec<Action>) {
        match self.code.current.replace(generation) {
            Some(old) if self.code.can_fork => actions.push(Action::RetireZygote(old)),
            Some(_) => {}
            None => self.start_took = Some(now.saturating_sub(self.started)),
        }
        self.crew.retire_down_to(0, actions);
        self.code.can_fork = true;
        self.code.trouble = None;
        self.code.served = generation;
        self.code.is_proven = true;
        self.code.doubted = std::mem::take(&mut self.code.failures);
        self.code.is_looking = false;
        self.code.last_look = now;
        self.code.follow_with(Next::Unwanted);
        self.queue.start_clock(now);
    }

    /// If this is the first worker of `next`, gone before it was ready, the generation has failed. `false`: it is not.
    pub(super) fn first_worker_gone(
        &mut self,
        id: WorkerId,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> bool {
        let was_first = self.code.first_worker() == Some(id);
        if was_first && let Some(generation) = self.code.next.generation() {
            self.retire_next(actions);
            self.next_failed(self.blamed(generation), now, actions);
        }
        was_first
    }

    /// Why a generation has ended before it served.
    pub(super) fn blamed(&self, generation: Generation) -> Reason {
        if self.code.host_refused == Some(generation) {
            Reason::HostRefused
        } else {
            Reason::Broken
        }
    }

    /// The host had no process for the first worker. That is not the app's fault, and may be over soon.
    pub(super) fn first_worker_unborn(&mut self, id: WorkerId, now: Duration) {
        if let Next::Proving {
            generation,
            due,
            worker,
        } = self.code.next
            && worker == id
        {
            self.code.next = Next::Imported {
                generation,
                due,
                since: now,
            };
        }
    }

    pub(super) fn retire_next(&mut self, actions: &mut Vec<Action>) {
        if let Some(generation) = self.code.next.generation() {
            actions.push(Action::RetireZygote(generation));
        }
    }

    fn next_failed(&mut self, reason: Reason, now: Duration, actions: &mut Vec<Action>) {
        self.code.failures += 1;
        let not_before = now + backoff::pause(self.code.failures);
        self.code.follow_with(Next::Failed { not_before });
        self.code.trouble = reason.refusal().filter(|_| !self.code.can_fork);
        // An app that never served is broken; one that did goes on with the old code.
        if self.code.current.is_none() {
            self.cannot_start(reason, actions);
        }
    }

    /// Lets all zygotes go: no worker will be forked any more.
    pub(super) fn let_zygotes_go(&mut self, actions: &mut Vec<Action>) {
        self.retire_next(actions);
        self.code.next = Next::Unwanted;
        if let Some(current) = self.code.current
            && std::mem::take(&mut self.code.can_fork)
        {
            actions.push(Action::RetireZygote(current));
        }
    }

    /// Begins the next generation, gives up one that takes too long, and makes room for its first worker.
    pub(super) fn renew(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.code.hold.is_some_and(|until| until <= now) {
            self.code.hold = None;
        }
        if self.hang_due().is_some_and(|due| due <= now)
            && let Some(current) = self.code.current
        {
            actions.push(Action::RetireZygote(current));
            self.zygote_gone(current, now, actions);
        }
        if self.start_due().is_some_and(|due| due <= now) {
            self.retire_next(actions);
            if let Some(worker) = self.code.first_worker() {
                self.crew.kill(worker, now, actions);
            }
            self.next_failed(Reason::StartTimedOut, now, actions);
        }
        if self.begin_due().is_some_and(|due| due <= now) {
            if self.code.current.is_none() {
                // A start like the first one, though clients already know our name.
                self.started = now;
            }
            self.code.refusal = None;
            self.code.newest += 1;
            let generation = self.code.newest;
            let due = now.saturating_add(self.limits.start_timeout);
            self.code.next = Next::Importing { generation, due };
            actions.push(Action::StartZygote(generation));
        }
        if self.first_worker_due().is_some_and(|due| due <= now) {
            self.start_first_worker(now, actions);
        }
    }

    fn start_first_worker(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let Next::Imported {
            generation,
            due,
            since,
        } = self.code.next
        else {
            return;
        };
        if !self.has_room() {
            self.crew
                .retire_down_to(self.crew.idle().saturating_sub(1), actions);
            return;
        }
        // While an older generation serves, the time that this one has waited for room does not count.
        let waited = now.saturating_sub(since);
        let due = if self.code.current.is_some() {
            due.saturating_add(waited)
        } else {
            due
        };
        let worker = self.crew.spawn(generation, &self.limits, now, actions);
        self.code.next = Next::Proving {
            generation,
            due,
            worker,
        };
    }

    /// When the next generation is to begin, if it is.
    fn begin_due(&self) -> Option<Duration> {
        match self.code.next {
            Next::Wanted if self.may_renew() => Some(Duration::ZERO),
            Next::Asleep if self.may_renew() && self.has_requests() => Some(Duration::ZERO),
            // A look comes first: if it finds a change, the next generation begins at once.
            Next::Failed { not_before } if self.may_renew() && !self.queue.is_empty() => {
                let looked = self.code.hold.filter(|_| self.code.is_looking);
                Some(looked.map_or(not_before, |until| until.max(not_before)))
            }
            _ => None,
        }
    }

    /// When the zygote of `current` has looked for so long that it must be hanging.
    fn hang_due(&self) -> Option<Duration> {
        (self.code.is_looking && self.code.can_fork).then_some(self.code.look_due)
    }

    /// When `start-timeout` is over for the next generation.
    fn start_due(&self) -> Option<Duration> {
        match self.code.next {
            Next::Importing { due, .. } | Next::Proving { due, .. } => Some(due),
            Next::Imported { due, .. } if self.code.current.is_none() => Some(due),
            _ => None,
        }
    }

    /// When the first worker of the next generation is to be started, or room to be made for it.
    fn first_worker_due(&self) -> Option<Duration> {
        let is_imported = matches!(self.code.next, Next::Imported { .. });
        let is_leaving =
            |worker: &Worker| matches!(worker.state, WorkerState::Retiring | WorkerState::Stuck);
        // Not the last idle worker while another is starting: the next generation may fail, and the old one may be
        // unable to start more.
        let is_starting = |worker: &Worker| worker.state == WorkerState::Starting;
        let is_spare = self.crew.idle() > 1 || self.crew.count(is_starting) == 0;
        let can_make = self.crew.idle() > 0 && is_spare && self.crew.count(is_leaving) == 0;
        let can = self.has_room() || can_make;
        (is_imported && can && self.may_renew()).then_some(self.spawning.not_before)
    }

    /// After we have left, another generation is only for waiting requests that can't be served otherwise.
    fn may_renew(&self) -> bool {
        match self.phase {
            PoolPhase::Serving => true,
            PoolPhase::Left(_) | PoolPhase::Parting(_) => {
                !self.queue.is_empty() && !self.code.can_fork
            }
            PoolPhase::Exited(_) => false,
        }
    }

    pub(super) fn next_generation_deadline(&self) -> Option<Duration> {
        [
            self.code.hold,
            self.hang_due(),
            self.start_due(),
            self.begin_due(),
            self.first_worker_due(),
            self.code.relents_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

//! How many workers there are, may be and should be: which to start, which to send away for want of work, and what
//! waiting requests can expect. Which request is next is not decided here.

use std::time::Duration;

use super::crew::Worker;
use super::memory::Keep;
use super::parting::PoolPhase;
use super::words::{Action, Refusal, WorkerId, WorkerState};
use super::{Capacity, Pool};
use crate::policy::queue::Number;
use crate::policy::start_time;

impl Pool {
    /// How many workers have no request, or may still be started.
    pub(super) fn free(&self) -> usize {
        let busy = self.crew.count(Worker::has_request);
        self.ceiling().saturating_sub(busy)
    }

    pub(super) fn room(&self) -> Capacity {
        let start_patience = match self.trouble() {
            Some(_) => Duration::ZERO,
            None => self.limits.start_timeout,
        };
        Capacity {
            free: self.free(),
            is_idle: !self.crew.any_runs(),
            start_patience,
        }
    }

    /// Why there is no worker, if the last start has failed.
    pub(super) fn trouble(&self) -> Option<Refusal> {
        self.spawning.trouble.or(self.code.trouble)
    }

    /// Whether waiting requests wait because others are being served.
    pub(super) fn is_served(&self) -> bool {
        let serves = |worker: &Worker| {
            Some(worker.generation) == self.code.current
                && !matches!(worker.state, WorkerState::Retiring | WorkerState::Starting)
        };
        !self.is_held() && self.crew.count(serves) > 0
    }

    /// When a browser is to come back that was told that the app is starting.
    pub(super) fn start_left(&self, number: Number, now: Duration) -> Duration {
        // Where code serves, only its workers are started, which was not measured.
        let took = self.start_took.filter(|_| self.code.current.is_none());
        let running = now.saturating_sub(self.started);
        start_time::pause(took, running, number as u32)
    }

    /// Starts the workers that are missing, and lets those go that are not needed any more.
    pub(super) fn staff(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let due = self.spawning.not_before;
        let current = self.code.current.filter(|_| due <= now);
        if let Some(current) = current
            && self.missing() > 0
            && !self.has_one()
        {
            self.crew.spawn(current, &self.limits, now, actions);
        }
        self.ask_for_pressure(now, actions);
        for current in current.iter().cycle().take(self.missing()) {
            self.crew.spawn(*current, &self.limits, now, actions);
        }
        while let Some((id, due)) = self.coldest_spare()
            && due <= now
        {
            self.crew.retire(id, actions);
        }
    }

    /// If no worker serves and the host gives no process for one, requests that can be served otherwise must not wait.
    pub(super) fn send_away(&self, now: Duration, actions: &mut Vec<Action>) {
        let is_refused = matches!(self.spawning.trouble, Some(Refusal::HostRefused { .. }));
        let is_alone = self.staying() == 0 && self.spawning.not_before > now;
        if is_refused && is_alone && !self.queue.is_empty() {
            actions.push(Action::SendAway);
        }
    }

    /// How many workers of `current` to spawn now.
    pub(super) fn missing(&self) -> usize {
        self.affordable(self.wanted())
    }

    /// One for each waiting request, and the spare ones, within `max-procs`.
    pub(super) fn wanted(&self) -> usize {
        if !self.code.can_fork || self.is_held() {
            return 0;
        }
        let (least, spare) = match self.phase {
            PoolPhase::Serving => (self.limits.min_procs.into(), self.keep().min_idle),
            _ => (0, 0),
        };
        let ours = |worker: &Worker| Some(worker.generation) == self.code.current;
        let starting = |worker: &Worker| ours(worker) && worker.state == WorkerState::Starting;
        let coming = self.crew.count(starting) + self.crew.idle() + self.free_to_accept();
        let for_need = (self.queue.len() + spare).saturating_sub(coming);
        let for_least = usize::saturating_sub(least, self.crew.count(ours));
        let room = usize::from(self.limits.max_procs).saturating_sub(self.crew.len());
        for_need.max(for_least).min(room)
    }

    pub(super) fn has_room(&self) -> bool {
        self.crew.len() < usize::from(self.limits.max_procs)
    }

    /// How many workers were not told to leave.
    pub(super) fn staying(&self) -> usize {
        self.crew
            .count(|worker| worker.state != WorkerState::Retiring)
    }

    /// The idle worker that is needed least, and when its time is over; `None`: all are needed.
    pub(super) fn coldest_spare(&self) -> Option<(WorkerId, Duration)> {
        self.coldest_of(self.keep())
    }

    pub(super) fn coldest_of(&self, keep: Keep) -> Option<(WorkerId, Duration)> {
        if self.crew.idle() <= keep.min_idle || self.serving() <= keep.min_procs {
            return None;
        }
        let (id, since) = self.crew.coldest()?;
        let is_needed = self.is_last_hope(id);
        (!is_needed).then(|| (id, since.saturating_add(keep.idle_timeout)))
    }
}

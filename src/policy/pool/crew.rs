//! The workers of all generations, which of them are idle, and when the time of one is over. Knows nothing of waiting
//! requests, or of why a worker is to leave.

use std::collections::BTreeMap;
use std::time::Duration;

use super::words::{Action, Generation, OwnWork, PoolRules, WorkerId, WorkerState};
use crate::policy::queue::Waiting;

/// How often a busy worker is asked for progress within `request-timeout`. So a request without progress is found at
/// the latest after that time and a quarter of it: before the 60 s after which web servers give up.
const LOOKS: u32 = 4;
/// A worker that was told to end and did not is killed after this long, and again.
pub(super) const KILL_PAUSE: Duration = Duration::from_secs(5);

/// One worker, for `status`.
#[derive(Clone, Copy, Debug)]
pub struct Worker {
    /// The import that it was forked from.
    pub generation: Generation,
    /// Requests that it has answered.
    pub requests: u32,
    /// What it does.
    pub state: WorkerState,
    /// Requests after which it is replaced.
    pub(super) share: u32,
    was_ready: bool,
    /// The request that it has, while it is busy.
    pub(super) request: Option<Waiting>,
    /// Starting: when it is killed. Busy: when it is asked for progress. Stuck: when it is killed, the next time.
    due: Duration,
    /// When its request was last known to have moved.
    moved_at: Duration,
    /// When it became idle, or served its last request by itself.
    last_served: Duration,
    /// It accepts, and was told then to do so no longer.
    recalled_at: Option<Duration>,
}

impl Worker {
    /// It has a request, in time or overdue.
    pub(super) fn has_request(&self) -> bool {
        match self.state {
            WorkerState::Busy { .. } => true,
            WorkerState::Accepting { busy_since } => busy_since.is_some(),
            // One that was killed because it did not start never had one.
            WorkerState::Stuck => self.was_ready,
            WorkerState::Idle { .. } | WorkerState::Retiring | WorkerState::Starting => false,
        }
    }

    /// When something must be done about it.
    fn deadline(&self, limits: &PoolRules) -> Option<Duration> {
        match self.state {
            WorkerState::Busy { since, .. } => {
                let limit = limits.request_limit.unwrap_or(Duration::MAX);
                Some(self.due.min(since.saturating_add(limit)))
            }
            WorkerState::Accepting { .. } | WorkerState::Idle { .. } | WorkerState::Retiring => {
                None
            }
            WorkerState::Starting | WorkerState::Stuck => Some(self.due),
        }
    }

    pub(super) fn is_recalled(&self) -> bool {
        self.recalled_at.is_some()
    }

    /// It accepts and has no request; or it has one that is not known yet, if it was recalled before `since`.
    pub(super) fn is_free_to_accept(&self, since: Duration) -> bool {
        let accepts = self.state == (WorkerState::Accepting { busy_since: None });
        accepts && self.recalled_at.is_none_or(|at| at >= since)
    }

    /// When it served its last request, or began to accept.
    pub(super) fn last_served(&self) -> Duration {
        self.last_served
    }

    /// What it has done while it accepts.
    pub(super) fn see(&mut self, seen: &OwnWork) {
        if self.state.accepts() {
            self.state = WorkerState::Accepting {
                busy_since: seen.busy_since,
            };
            self.last_served = self.last_served.max(seen.ended);
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Crew {
    by_id: BTreeMap<WorkerId, Worker>,
    /// Idle workers, the one that became idle last at the end. All are of the generation that serves.
    idle: Vec<WorkerId>,
    spawned: u32,
}

impl Crew {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn idle(&self) -> usize {
        self.idle.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (WorkerId, Worker)> {
        self.by_id.iter().map(|(&id, &worker)| (id, worker))
    }

    pub(super) fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn count(&self, is: impl Fn(&Worker) -> bool) -> usize {
        self.by_id.values().filter(|worker| is(worker)).count()
    }

    /// The workers that take requests themselves.
    pub(super) fn accepting(&self) -> impl Iterator<Item = (WorkerId, Worker)> + Clone {
        let all = self.by_id.iter().map(|(&id, &worker)| (id, worker));
        all.filter(|(_, worker)| worker.state.accepts())
    }

    /// An idle worker takes requests itself from now on: as many as are left of its share. `None`: it is not idle.
    pub(super) fn accept(&mut self, id: WorkerId, now: Duration) -> Option<u32> {
        let idle = self.idle.iter().position(|&idle| idle == id)?;
        self.idle.remove(idle);
        let worker = self.by_id.get_mut(&id)?;
        worker.state = WorkerState::Accepting { busy_since: None };
        worker.last_served = now;
        worker.recalled_at = None;
        Some(worker.share.saturating_sub(worker.requests).max(1))
    }

    pub(super) fn recall(&mut self, id: WorkerId, now: Duration, actions: &mut Vec<Action>) {
        if let Some(worker) = self.by_id.get_mut(&id)
            && worker.state.accepts()
            && worker.recalled_at.is_none()
        {
            worker.recalled_at = Some(now);
            actions.push(Action::Recall(id));
        }
    }

    /// A request that a worker has taken itself is one as any other from now on.
    pub(super) fn adopt(
        &mut self,
        id: WorkerId,
        request: Waiting,
        since: Duration,
        limits: &PoolRules,
        now: Duration,
    ) {
        if let Some(worker) = self.by_id.get_mut(&id).filter(|w| w.state.accepts()) {
            let number = request.number;
            worker.state = WorkerState::Busy { number, since };
            worker.request = Some(request);
            worker.moved_at = since;
            worker.due = next_look(limits, since).max(now);
        }
    }

    /// An idle worker has been idle since then.
    pub(super) fn age(&mut self, id: WorkerId, since: Duration) {
        let Some(at) = self.idle.iter().position(|&idle| idle == id) else {
            return;
        };
        self.idle.remove(at);
        let is_later = |other: &&WorkerId| match self.by_id.get(other).map(|other| other.state) {
            Some(WorkerState::Idle { since: other }) => other > since,
            _ => false,
        };
        let later = self.idle.iter().filter(is_later).count();
        self.idle.insert(self.idle.len() - later, id);
        if let Some(worker) = self.by_id.get_mut(&id) {
            worker.state = WorkerState::Idle { since };
        }
    }

    /// Whether any has a request.
    pub(super) fn any_runs(&self) -> bool {
        self.by_id.values().any(Worker::has_request)
    }

    /// Asks for a new worker, under the lowest free number.
    pub(super) fn spawn(
        &mut self,
        generation: Generation,
        limits: &PoolRules,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> WorkerId {
        let is_free = |id: &WorkerId| !self.by_id.contains_key(id);
        let id = (0..=WorkerId::MAX).find(is_free).unwrap_or(WorkerId::MAX);
        self.spawned = self.spawned.wrapping_add(1);
        let worker = Worker {
            generation,
            requests: 0,
            state: WorkerState::Starting,
            share: jittered(limits.max_requests, self.spawned),
            was_ready: false,
            request: None,
            due: now.saturating_add(limits.start_timeout),
            moved_at: now,
            last_served: now,
            recalled_at: None,
        };
        self.by_id.insert(id, worker);
        actions.push(Action::Spawn {
            worker: id,
            generation,
        });
        id
    }

    pub(super) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        self.idle.retain(|&idle| idle != id);
        self.by_id.remove(&id)
    }

    pub(super) fn make_idle(&mut self, id: WorkerId, now: Duration) {
        if let Some(worker) = self.by_id.get_mut(&id) {
            worker.state = WorkerState::Idle { since: now };
            worker.was_ready = true;
            worker.request = None;
            self.idle.push(id);
        }
    }

    /// Gives a request to the worker that became idle last: its caches are hot.
    pub(super) fn dispatch(
        &mut self,
        request: Waiting,
        limits: &PoolRules,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let Some(id) = self.idle.pop() else {
            return;
        };
        if let Some(worker) = self.by_id.get_mut(&id) {
            let number = request.number;
            worker.state = WorkerState::Busy { number, since: now };
            worker.request = Some(request);
            worker.moved_at = now;
            worker.due = next_look(limits, now);
            actions.push(Action::Dispatch { number, worker: id });
        }
    }

    /// The worker that has been idle for longest, and since when.
    pub(super) fn coldest(&self) -> Option<(WorkerId, Duration)> {
        let id = *self.idle.first()?;
        match self.by_id.get(&id)?.state {
            WorkerState::Idle { since } => Some((id, since)),
            _ => None,
        }
    }

    /// Tells a worker to leave that is known idle or has just answered.
    pub(super) fn retire(&mut self, id: WorkerId, actions: &mut Vec<Action>) {
        self.idle.retain(|&idle| idle != id);
        if let Some(worker) = self.by_id.get_mut(&id) {
            worker.state = WorkerState::Retiring;
            worker.request = None;
            actions.push(Action::Retire(id));
        }
    }

    /// Tells idle workers to leave, those that have been idle for longest first, until at most so many are idle.
    pub(super) fn retire_down_to(&mut self, idle: usize, actions: &mut Vec<Action>) {
        while self.idle.len() > idle
            && let Some((id, _)) = self.coldest()
        {
            self.retire(id, actions);
        }
    }

    /// Has a worker interrupted whose request has taken too long.
    pub(super) fn interrupt(&mut self, id: WorkerId, now: Duration, actions: &mut Vec<Action>) {
        self.mark_stuck(id, now);
        actions.push(Action::Interrupt(id));
    }

    pub(super) fn kill(&mut self, id: WorkerId, now: Duration, actions: &mut Vec<Action>) {
        self.mark_stuck(id, now);
        actions.push(Action::Kill(id));
    }

    fn mark_stuck(&mut self, id: WorkerId, now: Duration) {
        if let Some(worker) = self.by_id.get_mut(&id) {
            worker.state = WorkerState::Stuck;
            worker.request = None;
            worker.due = now + KILL_PAUSE;
        }
    }

    /// Takes in whether a busy worker has made progress, and has it interrupted if that is too long ago.
    pub(super) fn progress(
        &mut self,
        id: WorkerId,
        moved: bool,
        limits: &PoolRules,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let Some(worker) = self.by_id.get_mut(&id) else {
            return;
        };
        if moved {
            worker.moved_at = now;
        } else if worker.moved_at.saturating_add(limits.request_timeout) <= now {
            self.interrupt(id, now, actions);
        }
    }

    /// Does what is due for workers whose time is over; how many were killed before they were ready.
    pub(super) fn keep_time(
        &mut self,
        limits: &PoolRules,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> usize {
        let is_over = |worker: &Worker| {
            worker
                .deadline(limits)
                .is_some_and(|deadline| deadline <= now)
        };
        let overdue: Vec<_> = self.iter().filter(|(_, worker)| is_over(worker)).collect();
        let mut unready = 0;
        for (id, worker) in overdue {
            match worker.state {
                WorkerState::Busy { since, .. } => {
                    let limit = limits.request_limit.unwrap_or(Duration::MAX);
                    if since.saturating_add(limit) <= now {
                        self.interrupt(id, now, actions);
                    } else {
                        if let Some(worker) = self.by_id.get_mut(&id) {
                            worker.due = next_look(limits, now);
                        }
                        actions.push(Action::AskProgress(id));
                    }
                }
                WorkerState::Starting => {
                    unready += 1;
                    self.kill(id, now, actions);
                }
                WorkerState::Accepting { .. }
                | WorkerState::Idle { .. }
                | WorkerState::Retiring
                | WorkerState::Stuck => self.kill(id, now, actions),
            }
        }
        unready
    }

    pub(super) fn next_deadline(&self, limits: &PoolRules) -> Option<Duration> {
        self.by_id
            .values()
            .filter_map(|worker| worker.deadline(limits))
            .min()
    }
}

/// When a busy worker is asked for progress the next time.
fn next_look(limits: &PoolRules, now: Duration) -> Duration {
    now.saturating_add(limits.request_timeout / LOOKS)
}

/// `max-requests`, plus or minus a tenth, so that workers that start together don't end together.
fn jittered(max_requests: u32, nth: u32) -> u32 {
    let tenth = max_requests / 10;
    let span = tenth.saturating_mul(2).saturating_add(1);
    (max_requests - tenth)
        .saturating_add(super::spread(nth) % span)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_jittered_by_a_tenth() {
        let shares: Vec<u32> = (0..100).map(|nth| jittered(1000, nth)).collect();
        assert!(shares.iter().all(|share| (900..=1100).contains(share)));
        assert!(shares.iter().max() > shares.iter().min());
        assert_eq!(jittered(1, 5), 1);
        assert!(jittered(u32::MAX, 5) > u32::MAX / 2);
    }
}

//! Workers that take requests from the listeners themselves, while all is calm: which of them, and until when. They know
//! no queue and no order, so they are called back as soon as there is a reason for one.
//!
//! A worker may accept
//! - after it has served a request that the daemon has given it, so that as many do as are needed;
//! - while requests come one soon after the other ([`OFTEN`]): for a seldom one the daemon's own way costs less;
//! - while none waits here, no look has found a change, and the last look is younger than `look_interval`.
//!
//! The look is renewed before that is over. A worker that has served nothing since the look before is called back then.

use std::time::Duration;

use super::Pool;
use super::generations::Next;
use super::parting::PoolPhase;
use super::words::{Action, OwnWork, WorkerId, WorkerState};
use crate::policy::queue::{Number, Rank, Waiting};

/// So many requests within a look's interval are many.
const OFTEN: usize = 8;
/// The longest time for which workers may accept without being looked at.
const LONGEST: Duration = Duration::from_millis(500);
/// So long before that it is renewed: a look takes some time.
const MARGIN: Duration = Duration::from_millis(125);
/// If what waits will have been served this soon, workers that take it themselves serve it faster.
pub(super) const SHORT_WAIT: Duration = Duration::from_millis(25);

/// An idle worker that is recalled answers within this time, or it has just taken a request.
pub(super) const ANSWERS: Duration = Duration::from_millis(20);

/// What is known of the workers that accept.
#[derive(Debug, Default)]
pub(super) struct Direct {
    /// From when on workers may accept.
    not_before: Duration,
    /// When the time was last renewed.
    renewed: Duration,
    /// The worker that has just become idle after a request.
    idle: Option<WorkerId>,
    /// The time as of the last event.
    pub(super) looked: Duration,
    /// Requests that workers have taken themselves, and when the last one ended.
    served: u64,
    ended: Duration,
}

impl Pool {
    /// Until when workers may take requests themselves; `None`: none does.
    pub fn accept_until(&self) -> Option<Duration> {
        let accepts = self.crew.accepting().next().is_some();
        accepts.then(|| self.until())
    }

    /// Workers that accept: how many have a request, and how many have none.
    pub fn accepting(&self) -> (usize, usize) {
        let busy = self.crew.accepting().filter(|(_, w)| w.has_request());
        let (all, busy) = (self.crew.accepting().count(), busy.count());
        (busy, all - busy)
    }

    /// How many requests workers have taken themselves and served.
    pub fn served_direct(&self) -> u64 {
        self.direct.served
    }

    /// Another worker may be started for a request that would wait.
    pub fn can_grow(&self) -> bool {
        self.can_afford_one() && self.code.can_fork && self.spawning.failures == 0
    }

    /// There may be another worker, and there is memory for it.
    fn can_afford_one(&self) -> bool {
        self.has_room() && self.affordable(1) > 0
    }

    /// Requests wait here, and would be served sooner if new ones stayed in the backlog: then the workers could accept. Until
    /// when that can be hoped for.
    pub fn better_off_direct_until(&self, now: Duration) -> Option<Duration> {
        let until = self.queue.oldest_since()?.saturating_add(SHORT_WAIT);
        let is_so = until > now
            && self.crew.idle() == 0
            && !self.can_afford_one()
            && self.may_accept_when_empty(now)
            && self.traffic.wait(self.queue.len(), self.limits.max_procs) < SHORT_WAIT;
        is_so.then_some(until)
    }

    /// Workers that accept, have no request as far as we know, and will say so at once if they are recalled.
    pub(super) fn free_to_accept(&self) -> usize {
        let since = self.direct.looked.saturating_sub(ANSWERS);
        self.crew.count(|worker| worker.is_free_to_accept(since))
    }

    /// Until then no worker accepts.
    pub(super) fn call_in(&mut self, until: Duration, now: Duration, actions: &mut Vec<Action>) {
        self.recall_all(now, actions);
        self.direct.not_before = self.direct.not_before.max(until);
    }

    /// The worker that has served a request takes the next one itself, if that may be.
    pub(super) fn let_accept(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let Some(id) = self.direct.idle.take() else {
            return;
        };
        let may = self.queue.is_empty() && self.may_accept_when_empty(now);
        if may && let Some(requests) = self.crew.accept(id, now) {
            if self.crew.accepting().count() == 1 {
                self.direct.renewed = now;
            }
            actions.push(Action::Accept {
                worker: id,
                requests,
            });
        }
    }

    pub(super) fn note_idle_after_request(&mut self, id: WorkerId) {
        self.direct.idle = Some(id);
    }

    fn may_accept_when_empty(&self, now: Duration) -> bool {
        self.limits.accepts
            && self.is_serene()
            && self.direct.not_before <= now
            && self.looked_until() > now
            && self
                .traffic
                .came_within(OFTEN, self.limits.look_interval, now)
    }

    /// Nothing but requests is to be seen to.
    fn is_serene(&self) -> bool {
        self.phase == PoolPhase::Serving
            && self.code.can_fork
            && self.code.next == Next::Unwanted
            && self.code.hold.is_none()
            && self.staying() <= usize::from(self.limits.max_procs)
    }

    /// Until when the last look is young enough.
    fn looked_until(&self) -> Duration {
        self.code.last_look.saturating_add(self.look_pause())
    }

    /// A look ahead of time counts as if the last request had asked for it: what is edited some time after a request is
    /// seen by the next one.
    pub(super) fn looked_at(&self, now: Duration) -> Duration {
        match self.code.is_ahead {
            true => self.direct.ended.clamp(self.code.last_look, now),
            false => now,
        }
    }

    /// Asks before it is time, so that no request has to wait for the answer.
    fn look_ahead(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if let Some(current) = self.code.current
            && self.code.can_fork
            && !self.code.is_looking
        {
            self.code.is_ahead = true;
            self.ask(current, now, actions);
        }
    }

    fn until(&self) -> Duration {
        let renewed = self.direct.renewed.saturating_add(LONGEST);
        renewed.min(self.looked_until())
    }

    /// When workers that accept are looked at, and the code for them.
    pub(super) fn renewal_due(&self) -> Option<Duration> {
        let awaits = self
            .crew
            .accepting()
            .any(|(_, worker)| worker.is_recalled());
        let answer = awaits.then_some(self.direct.looked + ANSWERS);
        [answer, self.next_renewal()].into_iter().flatten().min()
    }

    fn next_renewal(&self) -> Option<Duration> {
        if !self.goes_on() {
            return None;
        }
        let regular = self.direct.renewed + (LONGEST - MARGIN);
        let look = self.looked_until().saturating_sub(MARGIN);
        Some(match self.code.is_looking {
            true => regular,
            false => regular.min(look.max(self.direct.renewed)),
        })
    }

    /// Workers accept that were not called back.
    fn goes_on(&self) -> bool {
        self.crew
            .accepting()
            .any(|(_, worker)| !worker.is_recalled())
    }

    /// Calls workers back that are not needed there, or must not go on; renews the time of the others.
    pub(super) fn keep_accepting(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let is_over = !self.limits.accepts || !self.is_serene();
        if is_over {
            self.recall_all(now, actions);
            return;
        }
        if !self.queue.is_empty() && self.crew.idle() == 0 {
            self.recall_for_waiting(now, actions);
        }
        if self.next_renewal().is_none_or(|due| now < due) {
            return;
        }
        let since = std::mem::replace(&mut self.direct.renewed, now);
        let is_useless = |(_, worker): &(WorkerId, super::Worker)| {
            !worker.has_request() && worker.last_served() <= since
        };
        let useless: Vec<_> = self.crew.accepting().filter(is_useless).collect();
        for (id, _) in useless {
            self.crew.recall(id, now, actions);
        }
        if self.goes_on() && self.looked_until() < now.saturating_add(LONGEST) {
            self.look_ahead(now, actions);
        }
    }

    /// Requests wait here, and no worker is known idle. One of those that accept is called that has nothing to do; if all
    /// are busy, all: the first of them that has served its request is the next to be had.
    fn recall_for_waiting(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let accepting = || self.crew.accepting();
        let since = self.direct.looked.saturating_sub(ANSWERS);
        let is_coming =
            |worker: &super::Worker| worker.is_recalled() && worker.is_free_to_accept(since);
        if accepting().any(|(_, worker)| is_coming(&worker)) {
            return;
        }
        let idle = accepting().find(|(_, worker)| !worker.is_recalled() && !worker.has_request());
        match idle {
            Some((id, _)) => self.crew.recall(id, now, actions),
            None => self.recall_all(now, actions),
        }
    }

    fn recall_all(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let all = self
            .crew
            .accepting()
            .filter(|(_, worker)| !worker.is_recalled());
        for id in all.map(|(id, _)| id).collect::<Vec<_>>() {
            self.crew.recall(id, now, actions);
        }
    }

    /// What a worker that accepts has done since the last time.
    pub(super) fn seen(&mut self, seen: OwnWork, now: Duration) {
        let Some(worker) = self.crew.get_mut(seen.worker) else {
            return;
        };
        worker.requests = worker.requests.saturating_add(seen.served);
        worker.see(&seen);
        for _ in 0..seen.served {
            self.traffic.arrived(self.limits.quiet, now);
        }
        self.traffic.served(seen.served, seen.took);
        self.direct.served += u64::from(seen.served);
        self.direct.ended = self.direct.ended.max(seen.ended);
    }

    /// The daemon has found a request that a worker has taken itself.
    pub(super) fn adopted(&mut self, id: WorkerId, number: Number, since: Duration, now: Duration) {
        self.traffic.arrived(self.limits.quiet, now);
        let request = Waiting {
            number,
            rank: Rank::Anonymous,
            is_browser: false,
            uses: 0,
            since,
        };
        self.crew.adopt(id, request, since, &self.limits, now);
    }

    /// The worker accepts no more, and is idle; or it wants to leave.
    pub(super) fn back(
        &mut self,
        id: WorkerId,
        last: bool,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let accepts = |worker: &super::Worker| worker.state.accepts();
        let Some(worker) = self.crew.get_mut(id).filter(|worker| accepts(worker)) else {
            return;
        };
        if last {
            worker.state = WorkerState::Retiring;
            return;
        }
        let since = worker.last_served();
        self.release(id, now, actions);
        self.crew.age(id, since);
    }
}

//! When the pool has nothing more to do, and how it ends. Knows the reasons, not names or sockets.

use std::time::Duration;

use super::Pool;
use super::words::{Action, Reason, Refusal};

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PoolPhase {
    Serving,
    /// `Leave` was asked for and not yet done.
    Parting(Reason),
    Left(Option<Reason>),
    Exited(Option<Reason>),
}

impl PoolPhase {
    /// The answer to all requests that come now, if they can't be served.
    pub(super) fn refusal(self) -> Option<Refusal> {
        match self {
            PoolPhase::Exited(reason) | PoolPhase::Left(reason) => reason.and_then(Reason::refusal),
            PoolPhase::Parting(reason) => reason.refusal(),
            PoolPhase::Serving => None,
        }
    }

    /// The phase after this one once the name is given up.
    pub(super) fn left(self) -> PoolPhase {
        match self {
            PoolPhase::Parting(reason) => PoolPhase::Left(Some(reason)),
            PoolPhase::Serving => PoolPhase::Left(None),
            left => left,
        }
    }

    /// This phase or the next, now for this reason.
    fn because(self, reason: Reason) -> PoolPhase {
        match self {
            PoolPhase::Exited(_) => PoolPhase::Exited(Some(reason)),
            PoolPhase::Left(_) => PoolPhase::Left(Some(reason)),
            PoolPhase::Parting(_) | PoolPhase::Serving => PoolPhase::Parting(reason),
        }
    }
}

impl Pool {
    /// The app can't be started: refuses all waiting requests, and leaves or rests.
    pub(super) fn cannot_start(&mut self, reason: Reason, actions: &mut Vec<Action>) {
        self.code.is_proven = false;
        if let Some(refusal) = reason.refusal() {
            while let Some(request) = self.queue.pop(false) {
                let number = request.number;
                actions.push(Action::Refuse { number, refusal });
            }
        }
        self.leave(reason, actions);
    }

    fn leave(&mut self, reason: Reason, actions: &mut Vec<Action>) {
        if self.limits.stays && self.phase == PoolPhase::Serving {
            self.rest(reason, actions);
            return;
        }
        if self.phase == PoolPhase::Serving {
            actions.push(Action::Leave(reason));
        }
        self.phase = self.phase.because(reason);
    }

    /// Leaves when few requests or none have come for long enough; after that exits when the last one is answered.
    pub(super) fn part(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if let Some((due, reason)) = self.exit_due()
            && due <= now
        {
            self.leave(reason, actions);
        }
        if let PoolPhase::Left(reason) = self.phase
            && !self.has_requests()
        {
            self.crew.retire_down_to(0, actions);
            if self.crew.len() == 0 {
                self.let_zygotes_go(actions);
                self.phase = PoolPhase::Exited(reason);
                actions.push(Action::Exit);
            }
        }
    }

    /// When to leave if no request comes, and why; `None` while requests are served.
    pub fn exit_due(&self) -> Option<(Duration, Reason)> {
        // Not in the middle of a start, which has a time limit of its own; and a pool that stays does not rest twice.
        let starts = !self.has_code() || self.limits.stays && self.is_reloading();
        if self.phase != PoolPhase::Serving || starts || self.crew.any_runs() || self.has_requests()
        {
            return None;
        }
        let limits = &self.limits;
        let lived = self.started.saturating_add(limits.min_lifetime);
        let lived = lived.max(self.traffic.expected_until);
        let idle = self
            .traffic
            .last_request
            .saturating_add(limits.idle_timeout);
        // With a count of 0 every moment is lively.
        let quiet = limits
            .quiet
            .filter(|quiet| quiet.count > 0)
            .map(|quiet| self.traffic.last_lively.saturating_add(quiet.timeout));
        match quiet.map(|quiet| quiet.max(lived)) {
            Some(quiet) if quiet < idle.max(lived) => Some((quiet, Reason::Quiet)),
            _ => Some((idle.max(lived), Reason::Idle)),
        }
    }

    /// A request waits, or its body is still to come.
    pub(super) fn has_requests(&self) -> bool {
        !self.queue.is_empty() || !self.announced.is_empty()
    }
}

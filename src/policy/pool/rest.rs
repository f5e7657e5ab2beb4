//! A pool that stays when there is nothing to do, or when the app can't be started: it has no processes then. Knows
//! what it answers meanwhile, and what starts it again.

use std::time::Duration;

use super::Pool;
use super::generations::{Generations, Next};
use super::words::{Action, Reason, Refusal};
use crate::policy::backoff;

impl Generations {
    /// When the pause after a failure is over, requests are no longer refused: the next one is worth another try.
    pub(super) fn relent(&mut self, now: Duration) {
        if self.relents_at().is_some_and(|at| at <= now) {
            self.refusal = None;
        }
    }

    pub(super) fn relents_at(&self) -> Option<Duration> {
        match self.next {
            Next::Failed { not_before } if self.refusal.is_some() => Some(not_before),
            _ => None,
        }
    }
}

impl Pool {
    /// There are no processes but the daemon. The next request, or an operator, makes the pool start the app.
    pub fn is_asleep(&self) -> bool {
        self.code.next == Next::Asleep
    }

    /// The last start has failed, and none has begun since.
    pub fn is_backing_off(&self) -> bool {
        !self.has_code() && matches!(self.code.next, Next::Failed { .. })
    }

    /// The answer to all requests that come now, if they can't be served.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.phase.refusal().or(self.code.refusal)
    }

    /// Lets all processes go. A generation that is being prepared goes on if the reason is that `current` can't serve.
    pub(super) fn rest(&mut self, reason: Reason, actions: &mut Vec<Action>) {
        self.crew.retire_down_to(0, actions);
        if let Some(current) = self.code.current.take()
            && std::mem::take(&mut self.code.can_fork)
        {
            actions.push(Action::RetireZygote(current));
        }
        match (reason.refusal(), self.code.next) {
            (Some(refusal), Next::Failed { .. }) => self.code.refusal = Some(refusal),
            (Some(_), _) => {}
            (None, _) => {
                self.retire_next(actions);
                self.code.next = Next::Asleep;
                self.code.is_outdated = false;
            }
        }
        self.code.is_looking = false;
        self.code.hold = None;
        self.queue.stop_clock();
        actions.push(Action::Rest(reason));
    }

    /// What seemed to be ready can't serve: no waiting request will be served by it.
    pub(super) fn broken(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let Some(current) = self.code.current else {
            // Nothing was taken for ready.
            return;
        };
        self.code.failures = self.code.failures.max(self.code.doubted) + 1;
        if matches!(self.code.next, Next::Failed { .. } | Next::Unwanted) {
            let not_before = now + backoff::pause(self.code.failures);
            self.code.next = Next::Failed { not_before };
        }
        self.cannot_start(self.blamed(current), actions);
    }
}

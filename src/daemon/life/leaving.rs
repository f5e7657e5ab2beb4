//! How far the daemon has come with leaving. What is done meanwhile stands in `leave`.

use std::time::Duration;

use crate::policy::pool::Reason;
use crate::report::Exit;

/// How long answers of ours may still be on their way when all workers are gone.
pub(super) const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// How far the daemon has come with leaving.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    pub(super) wanted: bool,
    /// When to try for the lock again.
    pub(super) retry_at: Option<Duration>,
    pub(super) has_left: bool,
    /// The pool knows that.
    pub(super) is_told: bool,
    /// Why we leave; none: because we were told to.
    pub(super) reason: Option<Reason>,
    /// When the workers are ended.
    pub(super) patience_ends: Option<Duration>,
    /// When what is still open is closed; set once the pool is empty.
    pub(super) close_at: Option<Duration>,
}

impl Leaving {
    pub(crate) fn has_begun(&self) -> bool {
        self.wanted
    }

    /// The pool is empty. Responses that workers have left to us are still on their way.
    pub(crate) fn finish(&mut self, now: Duration) {
        self.close_at = self.patience_ends.max(Some(now + LAST_ANSWERS));
    }

    /// We leave because there is little to do: no person waits for our end.
    pub(super) fn has_time(&self) -> bool {
        matches!(self.reason, Some(Reason::Idle | Reason::Quiet))
    }

    /// `are_gone`: neither a client nor a process of ours is left.
    pub(crate) fn is_over(&self, are_gone: bool, now: Duration) -> bool {
        self.close_at.is_some_and(|at| are_gone || at <= now)
    }

    /// The exit code, for a person who runs the daemon in the foreground.
    pub(crate) fn exit(&self) -> Exit {
        match self.reason {
            Some(Reason::Broken) => Exit::Config,
            Some(Reason::HostRefused) => Exit::OsError,
            Some(Reason::StartTimedOut) => Exit::TempFail,
            Some(Reason::Idle | Reason::Quiet) | None => Exit::Ok,
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        [self.retry_at, self.patience_ends, self.close_at]
            .into_iter()
            .flatten()
            .min()
    }
}

//! What the daemon looks at from time to time, whether or not anything happens: is its name still its own, is its
//! program still the same, how much processor time is left to it. Changes nothing by itself.

use std::time::Duration;

use super::Daemon;
use crate::sys::{clock, files, load};

/// What this process may use of its processor time before it goes, in tenths.
const TENTHS: u32 = 8;
/// The state is written this often, if it has changed.
const STATE_INTERVAL: Duration = Duration::from_secs(60);

/// When to look next.
#[derive(Debug)]
pub(super) struct Upkeep {
    due: Duration,
    state_due: Duration,
    processor_limit: Option<Duration>,
}

impl Upkeep {
    pub(super) fn new() -> Upkeep {
        let now = clock::now();
        Upkeep {
            due: now,
            state_due: now,
            processor_limit: load::processor_limit(),
        }
    }

    pub(super) fn next_deadline(&self) -> Duration {
        self.due
    }
}

impl Daemon {
    pub(super) fn keep_up(&mut self, now: Duration) {
        if now < self.upkeep.due {
            return;
        }
        self.upkeep.due = now + self.upkeep_interval();
        if now >= self.upkeep.state_due {
            self.upkeep.state_due = now + STATE_INTERVAL;
            self.write_state();
        }
        if self.leaving.has_begun() {
            return;
        }
        if self.socket.is_some() && !self.has_name() {
            // A cleaner of old files, or an operator. Nobody new will find us.
            ::log::warn!(
                "leave: {} is not ours any more",
                self.place.socket().display()
            );
            self.leave(None);
        } else if self.is_worn_out() {
            ::log::info!("leave: the processor time that this process may use is nearly over");
            self.leave(None);
        } else {
            self.look_at_binary();
            self.keep_listening();
        }
    }

    /// The name leads to our socket.
    pub(super) fn has_name(&self) -> bool {
        self.socket.is_some() && files::identity(&self.place.socket()).ok() == self.socket
    }

    fn is_worn_out(&self) -> bool {
        let limit = self.upkeep.processor_limit;
        limit.is_some_and(|limit| load::processor_time() > limit * TENTHS / 10)
    }

    fn upkeep_interval(&self) -> Duration {
        const LEAST: Duration = Duration::from_secs(1);
        if let Some(limit) = self.upkeep.processor_limit {
            // A busy loop uses as much of it as time passes, and what is left then must do for the hand-over.
            return LEAST.min(limit / 20);
        }
        let tenth = self.config.lifetime.idle_timeout / 10;
        tenth.clamp(LEAST, Duration::from_secs(30))
    }
}

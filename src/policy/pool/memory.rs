//! Whether the host is short of memory, by what it says of the pressure; when to ask it; and what that means for the
//! number of workers. Before the host swaps, workers go that traffic does not need, and none is added to one that serves.
//!
//! | memory is | and becomes | on |
//! | --- | --- | --- |
//! | enough | short | `Pressure` of [`HIGH`] or more; `Stalled` |
//! | short | enough | `Pressure` below [`LOW`], [`AVERAGED`] after the last `Stalled` |
//! | enough, short | unknown | `Pressure` that the kernel does not measure: never asked again |
//!
//! The kernel tells of a pressure by itself (`Stalled`) where it lets us ask for that. The pressure is asked for before a
//! worker is added; while memory is short, to see the end of that; and, if the kernel does not tell, while there are
//! workers that would go, the more seldom the longer no request has come. An idle daemon without such workers asks for
//! nothing.

use std::time::Duration;

use super::Pool;
use super::parting::PoolPhase;
use super::words::{Action, WorkerState};

/// From this share on memory is short: the percentage of the last 10 s in which some process waited for it. It is the
/// share at which systemd asks its services to use less.
const HIGH: f64 = 10.0;
/// Below this share it is no longer.
const LOW: f64 = 5.0;
/// What the share is an average over. A stall that the kernel told of shows in it later.
const AVERAGED: Duration = Duration::from_secs(10);
/// An answer that is older is asked for anew before a worker is added.
const FRESH: Duration = Duration::from_secs(1);
/// While memory is short, a worker that has been idle for this long is not needed: the one that became idle last is
/// always the next to get a request.
const SPARE: Duration = Duration::from_secs(2);

/// What is known of the host's memory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    supply: Supply,
    /// When the pressure was asked for last.
    asked_at: Option<Duration>,
    /// The answer is the next event.
    is_asking: bool,
    /// The kernel tells when processes have waited.
    is_watched: bool,
    stalled_at: Option<Duration>,
    /// When workers that would go are a reason to ask again.
    look_at: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Supply {
    #[default]
    Enough,
    Short,
    Unknown,
}

impl Memory {
    fn asked(&mut self, last_request: Duration, now: Duration) {
        self.is_asking = true;
        self.asked_at = Some(now);
        let pause = now.saturating_sub(last_request) / 8;
        self.look_at = now + pause.max(FRESH);
    }

    pub(super) fn answered(&mut self, some: Option<f64>, is_watched: bool, now: Duration) {
        self.is_asking = false;
        self.is_watched = is_watched;
        let has_stalled = self.stalled_at.is_some_and(|at| now < at + AVERAGED);
        self.supply = match some {
            None => Supply::Unknown,
            Some(some) if some >= HIGH || has_stalled => Supply::Short,
            Some(some) if some >= LOW => self.supply,
            Some(_) => Supply::Enough,
        };
    }

    pub(super) fn stalled(&mut self, now: Duration) {
        self.stalled_at = Some(now);
        self.supply = Supply::Short;
    }

    fn is_short(&self) -> bool {
        self.supply == Supply::Short
    }

    /// The next one may be added only if the answer allows it.
    fn forbids_more(&self) -> bool {
        self.is_asking || self.is_short()
    }
}

/// How many workers are kept though they are idle, and for how long the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    pub(super) min_idle: usize,
    pub(super) min_procs: usize,
    pub(super) idle_timeout: Duration,
}

impl Pool {
    /// The host is short of memory: workers are not added, and those that are not needed go.
    pub fn is_short_of_memory(&self) -> bool {
        self.limits.heeds_memory && self.memory.is_short()
    }

    /// The most workers that there may be now.
    pub(super) fn ceiling(&self) -> usize {
        let most = usize::from(self.limits.max_procs);
        match self.is_short_of_memory() {
            true => self.staying().clamp(1, most),
            false => most,
        }
    }

    /// So many of the workers that are wanted may be spawned now. The first one always may.
    pub(super) fn affordable(&self, wanted: usize) -> usize {
        if !(self.limits.heeds_memory && self.memory.forbids_more()) {
            wanted
        } else if self.has_one() {
            0
        } else {
            wanted.min(1)
        }
    }

    /// A worker of `current` serves, or will when it has started.
    pub(super) fn has_one(&self) -> bool {
        self.serving() > 0
    }

    /// How many these are.
    pub(super) fn serving(&self) -> usize {
        self.crew.count(|worker| {
            Some(worker.generation) == self.code.current
                && !matches!(worker.state, WorkerState::Retiring | WorkerState::Stuck)
        })
    }

    pub(super) fn keep(&self) -> Keep {
        if self.is_short_of_memory() {
            return self.keep_when_short();
        }
        Keep {
            min_idle: self.limits.min_idle.into(),
            min_procs: self.limits.min_procs.into(),
            idle_timeout: self.limits.worker_idle_timeout,
        }
    }

    fn keep_when_short(&self) -> Keep {
        Keep {
            min_idle: 0,
            min_procs: self.limits.min_procs.max(1).into(),
            idle_timeout: self.limits.worker_idle_timeout.min(SPARE),
        }
    }

    /// Asks for the pressure if that is due.
    pub(super) fn ask_for_pressure(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.pressure_due().is_some_and(|due| due <= now) {
            self.memory.asked(self.traffic.last_request, now);
            actions.push(Action::AskPressure);
        }
    }

    /// When the pressure has to be asked for.
    pub(super) fn pressure_due(&self) -> Option<Duration> {
        let memory = &self.memory;
        let is_over = matches!(self.phase, PoolPhase::Exited(_));
        let is_useless = !self.limits.heeds_memory || memory.supply == Supply::Unknown;
        if is_over || is_useless || memory.is_asking {
            return None;
        }
        let later = |pause| memory.asked_at.map_or(Duration::ZERO, |at| at + pause);
        let has_spare = || self.coldest_of(self.keep_when_short()).is_some();
        let is_urgent = !memory.is_short() || !self.queue.is_empty();
        if is_urgent && self.wanted() > 0 && self.has_one() {
            Some(later(FRESH).max(self.spawning.not_before))
        } else if memory.is_short() {
            Some(later(AVERAGED))
        } else if !memory.is_watched && has_spare() {
            Some(memory.look_at)
        } else {
            None
        }
    }
}

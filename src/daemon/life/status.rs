//! What the daemon says of itself: to `status`, and to the daemon after it.

use std::time::Duration;

use super::memory;
use crate::app_file::AppFile;
use crate::control::{
    Activity, Ceilings, DaemonState, Leave, MemoryStatus, RequestStatus, Routing, Status,
    WorkerStatus,
};
use crate::daemon::house::Daemon;
use crate::facts;
use crate::place::Place;
use crate::policy::pool::{Reason, WorkerState};
use crate::policy::route::Rule;
use crate::sys::{clock, files, process};

/// Why a daemon could not be set up, for `status`; what else lies in `state` stays.
pub(crate) fn leave_failure(app: &AppFile, place: &Place, sentence: &str) {
    let text = std::fs::read_to_string(place.state()).unwrap_or_default();
    let status = Status {
        app: app.path.display().to_string(),
        last_failure: Some(sentence.to_owned()),
        last_words: None,
        ..Status::from_lines(&text)
    };
    // The log has it as well.
    let _ = files::replace_own(&place.state(), status.to_lines().as_bytes());
}

/// The memory of so many workers is looked up, and so many requests are named: an answer stays small.
const MOST_DETAILS: usize = 64;

impl Daemon {
    pub(crate) fn status(&self) -> Status {
        let (now, wall) = (clock::now(), clock::wall());
        let ground = &self.ground;
        let config = &ground.config;
        Status {
            kind: Some(config.app.key().to_owned()),
            now: wall.as_secs(),
            pid: Some(process::pid()),
            started: Some(self.upkeep.started),
            routing: self.routing(),
            leave: self.end_to_come(now),
            ceilings: Some(Ceilings {
                workers: config.pool.max_procs.into(),
                queue: config.queue.size.into(),
                cgis: config.cgi_max.into(),
                spool: config.spool.limit,
            }),
            workers: self.worker_statuses(now),
            server: self.carrier.server(),
            queue: self.pool.queued() as u64,
            memory_of_host: memory::pressure().map(|pressure| MemoryStatus {
                pressure: (pressure * 100.0).round() as u64,
                is_short: self.pool.is_short_of_memory(),
            }),
            changed: self.reload.changed.clone(),
            figures: ground.slots.figures(now, wall),
            failures: ground.ledger.all(&ground.place),
            log: self
                .log
                .as_ref()
                .map(|log| log.path().display().to_string()),
            ..self.lasting_status()
        }
    }

    /// `None`: new requests do not find us.
    fn routing(&self) -> Option<Routing> {
        let ground = &self.ground;
        let (way, rule, reason) = match self.daemon_state() {
            DaemonState::Draining => return None,
            DaemonState::BackingOff => {
                let reason = ground.failures.last().cloned().unwrap_or_default();
                ("broken", Rule::BackingOff, reason)
            }
            _ => {
                let (rule, facts) = facts::noted(&ground.config, &ground.slots)?;
                ("daemon", rule, rule.reason(&facts))
            }
        };
        Some(Routing {
            way: way.to_owned(),
            rule: rule.word().to_owned(),
            reason,
        })
    }

    /// What is worth being kept when we are gone.
    fn lasting_status(&self) -> Status {
        let ground = &self.ground;
        Status {
            app: ground.app.path.display().to_string(),
            state: self.daemon_state(),
            requests: self.clients.requests(),
            overloads: self.clients.overloads(),
            rate: ground.slots.last_minute(clock::now()),
            spooled: self.clients.spooled(),
            generation: self.pool.generation().into(),
            cgis: ground
                .slots
                .running(ground.config.cgi_max)
                .unwrap_or(0)
                .into(),
            last_failure: (ground.failures.last().cloned())
                .or_else(|| self.door.trouble())
                .or_else(|| self.log.as_ref()?.trouble()),
            last_words: ground.failures.last_words().cloned(),
            ..Status::default()
        }
    }

    fn daemon_state(&self) -> DaemonState {
        if self.leaving.has_begun() {
            DaemonState::Draining
        } else if self.pool.is_backing_off() {
            DaemonState::BackingOff
        } else if self.pool.is_proven() {
            DaemonState::Up
        } else {
            DaemonState::Starting
        }
    }

    fn end_to_come(&self, now: Duration) -> Option<Leave> {
        let (at, reason) = self.pool.exit_due()?;
        let key = match reason {
            Reason::Idle => "idle-timeout",
            Reason::Quiet => "quiet-timeout",
            Reason::Broken | Reason::HostRefused | Reason::StartTimedOut => return None,
        };
        // As a person counts: what is not over yet.
        let left = at.saturating_sub(now) + Duration::from_millis(999);
        Some(Leave {
            within: left.as_secs(),
            key: key.to_owned(),
        })
    }

    fn worker_statuses(&self, now: Duration) -> Vec<WorkerStatus> {
        let workers = self.pool.workers().enumerate();
        let workers = workers.map(|(nth, (id, worker))| {
            let pid = self.carrier.pid(id);
            let has_details = nth < MOST_DETAILS;
            let request = self.clients.running_on(id).filter(|_| has_details);
            WorkerStatus {
                pid,
                state: match worker.state {
                    WorkerState::Busy { .. } => Activity::Busy,
                    WorkerState::Accepting { busy_since: None } => Activity::Accepting,
                    WorkerState::Accepting { .. } => Activity::Busy,
                    WorkerState::Idle { .. } => Activity::Idle,
                    WorkerState::Retiring => Activity::Retiring,
                    WorkerState::Starting => Activity::Starting,
                    WorkerState::Stuck => Activity::Stuck,
                },
                requests: worker.requests.into(),
                generation: self.carrier.generation(id).into(),
                memory: pid.filter(|_| has_details).and_then(process::memory),
                request: request.map(|(since, method, path)| {
                    let age = now.saturating_sub(since).as_millis();
                    RequestStatus {
                        age: u64::try_from(age).unwrap_or(u64::MAX),
                        method,
                        path,
                    }
                }),
            }
        });
        workers.collect()
    }

    /// Writes what outlives us to the state file, if it has changed. Nothing depends on it.
    pub(crate) fn write_state(&mut self) {
        let status = Status {
            state: DaemonState::default(),
            ..self.lasting_status()
        };
        let text = status.to_lines();
        if text == self.state.text {
            return;
        }
        let written = files::replace_own(&self.ground.place.state(), text.as_bytes());
        match written {
            Ok(()) => self.state.text = text,
            // A full disk stays full for a while.
            Err(_) if self.state.is_failing => {}
            Err(ref error) => {
                ::log::warn!(
                    "cannot write {}: {error}",
                    self.ground.place.state().display()
                );
            }
        }
        self.state.is_failing = written.is_err();
    }

    /// Writes the state at the end, unless another daemon has the name by now, and writes it from then on.
    pub(crate) fn write_last_state(&mut self) {
        if !self.ground.place.socket().exists() {
            self.write_state();
        }
    }
}

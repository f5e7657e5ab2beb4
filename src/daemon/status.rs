//! What the daemon says of itself: to `status`, and to whoever comes after it.

use super::Daemon;
use crate::control::{State, Status, Worker};
use crate::policy::pool;
use crate::sys::process;

impl Daemon {
    pub(super) fn status(&self) -> Status {
        let workers = self.pool.workers().map(|(id, worker)| Worker {
            pid: self.workers.pid(id).unwrap_or(0),
            state: match worker.state {
                pool::State::Busy { .. } => "busy",
                pool::State::Idle { .. } => "idle",
                pool::State::Retiring => "retiring",
                pool::State::Starting => "starting",
            }
            .to_owned(),
            requests: worker.requests.into(),
        });
        Status {
            app: self.app.path.display().to_string(),
            state: if self.leaving.has_begun() {
                State::Draining
            } else if self.pool.is_proven() {
                State::Up
            } else {
                State::Starting
            },
            pid: Some(process::pid()),
            workers: workers.collect(),
            queue: self.pool.queued() as u64,
            requests: self.requests,
            overloads: self.overloads,
            cgis: self.slots.running(self.config.cgi_max).unwrap_or(0).into(),
            last_failure: self.last_failure.clone(),
        }
    }

    /// What outlives us: written new, then renamed.
    pub(super) fn write_state(&self) {
        let status = Status {
            state: Default::default(),
            pid: None,
            workers: Vec::new(),
            ..self.status()
        };
        let new = self.place.dir.join("state.new");
        let written = std::fs::write(&new, status.to_lines())
            .and_then(|()| std::fs::rename(&new, self.place.state()));
        if let Err(error) = written {
            ::log::warn!("cannot write {}: {error}", self.place.state().display());
        }
    }
}

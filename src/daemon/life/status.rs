//! What the daemon says of itself: to `status`, and to the daemon after it.

use crate::app_file::AppFile;
use crate::control::{Activity, DaemonState, Status, WorkerStatus};
use crate::daemon::house::Daemon;
use crate::place::Place;
use crate::policy::pool::WorkerState;
use crate::sys::{clock, files, process};

/// Why a daemon could not be set up, for `status`; what else lies in `state` stays.
pub(crate) fn leave_failure(app: &AppFile, place: &Place, sentence: &str) {
    let text = std::fs::read_to_string(place.state()).unwrap_or_default();
    let status = Status {
        app: app.path.display().to_string(),
        last_failure: Some(sentence.to_owned()),
        ..Status::from_lines(&text)
    };
    // The log has it as well.
    let _ = files::replace_own(&place.state(), status.to_lines().as_bytes());
}

impl Daemon {
    pub(crate) fn status(&self) -> Status {
        let workers = self.pool.workers().map(|(id, worker)| WorkerStatus {
            pid: self.carrier.pid(id),
            state: match worker.state {
                WorkerState::Busy { .. } => Activity::Busy,
                WorkerState::Idle { .. } => Activity::Idle,
                WorkerState::Retiring => Activity::Retiring,
                WorkerState::Starting => Activity::Starting,
                WorkerState::Stuck => Activity::Stuck,
            },
            requests: worker.requests.into(),
            generation: self.carrier.generation(id).into(),
        });
        Status {
            user: None,
            app: self.ground.app.path.display().to_string(),
            state: if self.leaving.has_begun() {
                DaemonState::Draining
            } else if self.pool.is_backing_off() {
                DaemonState::BackingOff
            } else if self.pool.is_proven() {
                DaemonState::Up
            } else {
                DaemonState::Starting
            },
            pid: Some(process::pid()),
            workers: workers.collect(),
            server: self.carrier.server(),
            queue: self.pool.queued() as u64,
            requests: self.clients.requests(),
            overloads: self.clients.overloads(),
            rate: self.ground.slots.last_minute(clock::now()),
            spooled: self.clients.spooled(),
            generation: self.pool.generation().into(),
            cgis: self
                .ground
                .slots
                .running(self.ground.config.cgi_max)
                .unwrap_or(0)
                .into(),
            last_failure: (self.ground.failures.last().cloned())
                .or_else(|| self.door.trouble())
                .or_else(|| self.log.as_ref()?.trouble()),
        }
    }

    /// Writes what outlives us to the state file, if it has changed. Nothing depends on it.
    pub(crate) fn write_state(&mut self) {
        let status = Status {
            state: Default::default(),
            pid: None,
            workers: Vec::new(),
            server: None,
            ..self.status()
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

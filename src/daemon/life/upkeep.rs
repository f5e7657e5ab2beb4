//! What the daemon looks at from time to time, whether or not anything happens: is its name still its own, is its
//! program still the same, how much processor time is left to it.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use super::states::SWEEP_INTERVAL;
use crate::app;
use crate::config::OrAuto;
use crate::daemon::house::Daemon;
use crate::daemon::limits::limits;
use crate::start::NameLock;
use crate::sweep;
use crate::sys::program::Program;
use crate::sys::{clock, files, load, process};

/// What this process may use of its processor time before it goes, in tenths.
const TENTHS: u32 = 8;
/// The lock is held for a handful of system calls.
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// The state is written this often, if it has changed.
const STATE_INTERVAL: Duration = Duration::from_secs(60);

impl Daemon {
    pub(crate) fn keep_up(&mut self, now: Duration) {
        self.upkeep.due = now + self.upkeep_interval();
        if now >= self.upkeep.state_due {
            self.upkeep.state_due = now + STATE_INTERVAL;
            self.write_state();
            if self.is_proven() {
                self.note_memory();
            }
        }
        if self.leaving.has_begun() {
            return;
        }
        self.keep_as_it_pays();
        if now >= self.upkeep.sweep_due {
            self.upkeep.sweep_due = now + SWEEP_INTERVAL;
            self.start_sweep();
        }
        if !self.keep_name() {
            // `keep_name` has logged why.
        } else if self.is_worn_out() {
            ::log::info!("leave: the processor time that this process may use is nearly over");
            self.leave(None);
        } else {
            self.look_at_binary();
            self.door
                .keep_listening(&mut self.clients, &mut self.ground);
        }
    }

    /// A front has taken its request back before we answered: it may have set our name aside, too.
    pub(crate) fn note_late(&mut self) {
        if !self.leaving.has_begun() {
            self.keep_name();
        }
    }

    /// Sees to it that the name is ours: a front that had no answer in time has set our socket aside, until we answer
    /// again. `false`: we leave, or look again soon.
    fn keep_name(&mut self) -> bool {
        let Some(own) = self.socket else {
            return true;
        };
        if self.has_name() {
            return true;
        }
        match NameLock::take(&self.ground.place) {
            Ok(Some(lock)) if lock.take_back(&self.ground.place, own) => {
                self.ground.slots.clear_silent();
                ::log::warn!("a front had no answer in time: this process was stopped, or slow");
                return true;
            }
            Ok(None) => {
                self.upkeep.due = clock::now() + LOCK_PAUSE;
                return false;
            }
            Ok(Some(_)) | Err(_) => {}
        }
        // A cleaner of old files, an operator or another daemon has taken it: no front will find us from now on.
        ::log::warn!(
            "leave: {} was removed or replaced",
            self.ground.place.socket().display()
        );
        self.leave(None);
        false
    }

    /// Starts a process that removes the places of apps that are gone, if that is due.
    pub(crate) fn start_sweep(&self) {
        let Some(base) = self.ground.place.dir.parent() else {
            return;
        };
        if !sweep::is_due(base) {
            return;
        }
        let Ok(null) = files::null() else { return };
        let argv = [
            c"polycgi".to_owned(),
            c"scgi-daemon".to_owned(),
            c"--sweep".to_owned(),
            process::c_string(base.as_os_str().as_bytes()),
            process::c_string(self.ground.app.path.as_os_str().as_bytes()),
        ];
        let program = Program {
            path: process::own_program(),
            argv: &argv,
            environ: &app::environment::for_daemon(),
            directory: Some(Path::new("/")),
        };
        if let Err(not) = program.spawn_detached(&[null.as_fd(); 3]) {
            let base = base.display();
            ::log::warn!("cannot look for apps that are gone in {base}: {not}");
        }
    }

    /// The name leads to our socket, as far as can be seen.
    pub(crate) fn has_name(&self) -> bool {
        let found = files::identity(&self.ground.place.socket());
        let is_unseen = found.as_ref().is_err_and(|error| {
            !matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            )
        });
        self.socket.is_some() && (is_unseen || found.ok() == self.socket)
    }

    fn is_worn_out(&self) -> bool {
        let limit = self.upkeep.processor_limit;
        limit.is_some_and(|limit| load::processor_time() > limit * TENTHS / 10)
    }

    fn upkeep_interval(&self) -> Duration {
        const LEAST: Duration = Duration::from_secs(1);
        if let Some(limit) = self.upkeep.processor_limit {
            // A busy loop uses up a second of it in each second, and the rest has to last for the hand-over.
            return LEAST.min(limit / 20);
        }
        const MOST: Duration = Duration::from_secs(30);
        let idle = self.ground.config.lifetime.idle_timeout.given();
        idle.map_or(MOST, |time| (time / 10).clamp(LEAST, MOST))
    }

    /// Sees to it that we are kept for as long as that pays, by what is known now.
    fn keep_as_it_pays(&mut self) {
        if self.ground.config.lifetime.idle_timeout == OrAuto::Auto {
            let limits = limits(&self.ground.config, &self.ground.slots, self.stays);
            self.pool.obey(limits);
        }
    }

    /// Notes the memory of this process, and of the largest of its workers or the app's server: what workers have in
    /// common with the zygote counts once.
    pub(crate) fn note_memory(&self) {
        let workers = self
            .pool
            .workers()
            .filter_map(|(id, _)| self.carrier.pid(id));
        let server = self.carrier.server().and_then(|server| server.pid);
        let app = workers.chain(server).filter_map(process::memory).max();
        if let Some(own) = process::memory(process::pid()) {
            self.ground.slots.note_memory(own + app.unwrap_or(0));
        }
    }
}

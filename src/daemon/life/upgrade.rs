//! Becoming another version: when the program that we are was replaced, this process becomes the new one at a moment
//! when no request is served. The listeners stay open all the while; connections made meanwhile wait in a backlog.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use super::states::Wanted;
use crate::app::environment;
use crate::daemon::door::Origin;
use crate::daemon::house::Daemon;
use crate::daemon::words::NAME;
use crate::logbook;
use crate::policy::pool::{Event, WorkerState};
use crate::start;
use crate::sys::program::Program;
use crate::sys::{clock, files, load, process, signal};

/// The longest time in which no connection is accepted, so that a quiet moment comes.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a quiet moment is waited for before that ...
const FIRST: Duration = Duration::from_secs(1);
/// ... and after it, before the next pause.
const BETWEEN: Duration = Duration::from_secs(10);

impl Daemon {
    /// Looks whether the file of our program was replaced.
    pub(crate) fn look_at_binary(&mut self) {
        let upgrade = &mut self.upgrade;
        let found = files::identity(&upgrade.binary).ok();
        // A missing file may be about to be replaced.
        if upgrade.wanted.is_none() && found.is_some() && found != upgrade.known {
            let until = clock::now() + FIRST;
            upgrade.wanted = Some(Wanted {
                is_sure: false,
                is_pausing: false,
                until,
            });
            self.events.push_back(Event::CallIn { until });
        }
    }

    /// A look, or an import, has shown that what serves is what lies on the disk.
    pub(crate) fn note_up_to_date(&mut self) {
        if let Some(wanted) = &mut self.upgrade.wanted {
            wanted.is_sure = true;
        }
    }

    /// Becomes the new program if the moment is right, or makes one.
    pub(crate) fn upgrade_further(&mut self, now: Duration) {
        let Some(wanted) = self.upgrade.wanted else {
            return;
        };
        if self.leaving.has_begun() {
            self.upgrade.wanted = None;
        } else if self.is_quiet() || wanted.until <= now && self.dismiss_idle_guests() {
            self.become_new();
        } else if wanted.until <= now {
            let is_pausing = !wanted.is_pausing && self.can_start();
            let until = now + if is_pausing { PAUSE } else { BETWEEN };
            self.upgrade.wanted = Some(Wanted {
                is_pausing,
                until,
                ..wanted
            });
            self.events.push_back(Event::CallIn { until });
            // Requests over kept connections pass no door.
            self.clients.keep_open(!is_pausing, &self.ground);
            if is_pausing {
                self.door.pause(until);
                self.watch_limit();
            }
        }
    }

    /// A daemon that starts now serves as this one does. If the last import failed, or an edit was not looked at
    /// yet, the code that serves may lie nowhere but in our workers. Asleep, we have nothing that is not on the disk.
    fn can_start(&self) -> bool {
        if self.pool.is_asleep() {
            return true;
        }
        let is_sure = self.upgrade.wanted.is_some_and(|wanted| wanted.is_sure);
        let is_proven = self.pool.is_proven() && self.carrier.is_settled();
        is_sure && is_proven && !self.pool.is_reloading() && self.reload.is_settled()
    }

    /// No request is served, and none waits.
    fn is_quiet(&self) -> bool {
        let is_busy = |state: WorkerState| {
            state.accepts() || matches!(state, WorkerState::Busy { .. } | WorkerState::Stuck)
        };
        let is_unheard = self.clients.has_over_requests();
        let is_empty = self.clients.is_empty() && self.wires.is_empty() && !is_unheard;
        let is_empty = is_empty && self.events.is_empty();
        is_empty
            && !self.pool.workers().any(|(_, worker)| is_busy(worker.state))
            && self.can_start()
    }

    /// At the end of a pause guests that have sent no request, or have their answer, are removed: new ones could keep us
    /// from a quiet moment for ever. Whether it is quiet now.
    fn dismiss_idle_guests(&mut self) -> bool {
        if !self.upgrade.wanted.is_some_and(|wanted| wanted.is_pausing) {
            return false;
        }
        let idle = self.clients.idle_guests();
        let all = idle.len() == self.clients.len();
        if all {
            for number in idle {
                self.clients.remove_client(number, &self.ground);
            }
        }
        all && self.is_quiet()
    }

    /// Zygote and workers find the ends of their channels, leave, and are buried by the version that we are then.
    fn become_new(&mut self) {
        self.upgrade.wanted = None;
        // Whatever comes of it: the same program is not tried again.
        self.upgrade.known = files::identity(&self.upgrade.binary).ok();
        if let Err(wrong) = self.ground.app.load() {
            ::log::error!("cannot upgrade: {}", wrong.sentence());
            self.clients.keep_open(true, &self.ground);
            return;
        }
        let path = self.upgrade.binary.display();
        ::log::info!("upgrade: {path} was replaced");
        self.write_state();
        self.clients.notices().say_rest();
        let ground = &mut self.ground;
        ground.ledger.close(&ground.place, logbook::PATIENCE);
        self.carrier.prepare_upgrade(&self.signals);
        let error = self.exec();
        let path = self.upgrade.binary.display();
        ::log::error!("cannot upgrade: cannot run {path}: {error}");
        self.clients.keep_open(true, &self.ground);
        load::raise_limits();
        let mut listeners = self.door.listeners();
        let closes = listeners.try_for_each(|l| process::close_at_exec(l.socket.as_fd()));
        if let Err(error) = closes.and_then(|()| self.signals.handle()) {
            ::log::error!("cannot restore the daemon after a failed upgrade: {error}");
        }
        signal::unblock_all();
    }

    /// Becomes the new program. Returns only if that fails, and says why.
    fn exec(&self) -> io::Error {
        let mut argv = vec![process::c_string(NAME.as_bytes())];
        for listener in self.door.listeners() {
            let option = match &listener.origin {
                Origin::Given => start::GIVEN_OPTION,
                Origin::Listen { .. } => start::LISTEN_OPTION,
                Origin::Own => start::SOCKET_OPTION,
            };
            let number = listener.socket.as_raw_fd().to_string();
            argv.extend([option, &number].map(|word| process::c_string(word.as_bytes())));
            if let Err(error) = process::keep_over_exec(listener.socket.as_fd()) {
                return error;
            }
        }
        argv.extend_from_slice(&self.upgrade.words);
        if let Some(nofile) = self.ground.nofile {
            load::restore_descriptors(nofile);
        }
        Program {
            path: &self.upgrade.binary,
            argv: &argv,
            environ: &environment::for_daemon(),
            directory: None,
        }
        .exec_held()
        .into()
    }
}

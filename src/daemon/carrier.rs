//! Which kind of app this is: one that workers serve, or a foreign one. Each verb is matched here, once; a daemon leaves
//! when the kind changes.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;

use super::clients::Clients;
use super::foreign::Foreign;
use super::ground::Ground;
use super::guest::Offer;
use super::token::{RunId, Source};
use super::workers::Workers;
use crate::app::{self, CannotRun};
use crate::app_file::AppFile;
use crate::config::{App, Config};
use crate::control::ServerStatus;
use crate::policy::pool::{Event, Generation, WorkerId};
use crate::policy::queue::Number;
use crate::sys::poll::{Poll, Ready};
use crate::sys::process::{self, End};

/// What carries requests to the app.
pub(super) enum Carrier {
    Foreign(Foreign),
    Workers(Workers),
}

/// What the pool wants. A worker of the pool is a run of a foreign app.
impl Carrier {
    pub(super) fn new(config: &Config) -> std::io::Result<Carrier> {
        Ok(match &config.app {
            App::Wsgi(_) => Carrier::Workers(Workers::new()?),
            App::Commands { .. } | App::Connect(_) => Carrier::Foreign(Foreign::default()),
        })
    }

    /// Files of a generation whose state no zygote notes before they are read.
    pub(super) fn files_to_stamp(
        &self,
        watched: &[PathBuf],
        app: &AppFile,
        config: &Config,
    ) -> Vec<PathBuf> {
        match self {
            // The configuration was noted before it was read.
            Carrier::Foreign(_) => {
                let files = watched.iter().filter(|path| **path != app.config);
                files.cloned().collect()
            }
            Carrier::Workers(_) => app::env_file(app, config).into_iter().collect(),
        }
    }

    /// Begins a generation.
    pub(super) fn start(
        &mut self,
        generation: Generation,
        watched: &[PathBuf],
        clients: &mut Clients,
        ground: &mut Ground,
    ) -> Result<(), CannotRun> {
        match (self, &ground.config.app) {
            (Carrier::Foreign(foreign), _) => {
                foreign.prepare(clients, ground)?;
                ground.tell_pool(Event::ZygoteReady(generation));
                Ok(())
            }
            (Carrier::Workers(workers), App::Wsgi(target)) => {
                workers.start_zygote(generation, target, watched, ground)
            }
            // The daemon leaves before a configuration of another kind is in force.
            (Carrier::Workers(_), App::Commands { .. } | App::Connect(_)) => Ok(()),
        }
    }

    pub(super) fn spawn(&mut self, worker: WorkerId, generation: Generation, ground: &mut Ground) {
        match self {
            Carrier::Foreign(foreign) => {
                foreign.spawn(worker, generation);
                ground.tell_pool(Event::WorkerReady(worker));
            }
            Carrier::Workers(workers) => workers.spawn(worker, generation, ground),
        }
    }

    /// Before the front is told that its request is taken, a process is made for it. What the host refuses until then
    /// it refuses to a front that can still run the app itself.
    pub(super) fn prepares_first(&self, config: &Config) -> bool {
        match self {
            Carrier::Foreign(_) => matches!(config.app, App::Commands { scgi: None, .. }),
            Carrier::Workers(_) => false,
        }
    }

    /// Gives a request to the app. Its front has been told, unless the carrier prepares first.
    pub(super) fn dispatch(
        &mut self,
        number: Number,
        worker: WorkerId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        match self {
            Carrier::Foreign(foreign) => foreign.dispatch(number, worker, clients, ground),
            Carrier::Workers(workers) => workers.dispatch(number, worker, clients, ground),
        }
    }

    /// Whether a block of the request has moved since this was asked last.
    pub(super) fn take_progress(
        &mut self,
        worker: WorkerId,
        clients: &Clients,
        ground: &Ground,
    ) -> bool {
        match self {
            Carrier::Foreign(foreign) => foreign.take_progress(worker),
            Carrier::Workers(workers) => workers.take_progress(worker, clients, ground),
        }
    }

    /// A request has taken too long.
    pub(super) fn interrupt(
        &mut self,
        worker: WorkerId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        match self {
            Carrier::Foreign(foreign) => foreign.interrupt_run(worker, clients, ground),
            Carrier::Workers(workers) => workers.interrupt(worker, clients, ground),
        }
    }

    /// Tells an idle worker to take requests from the listeners itself.
    pub(super) fn accept(
        &mut self,
        worker: WorkerId,
        requests: u32,
        listeners: &[(Offer, BorrowedFd<'_>)],
        ground: &mut Ground,
    ) {
        if let Carrier::Workers(workers) = self {
            workers.accept(worker, requests, listeners, ground);
        }
    }

    /// Tells a worker to do so no longer.
    pub(super) fn recall(&self, worker: WorkerId) {
        if let Carrier::Workers(workers) = self {
            workers.recall(worker);
        }
    }

    /// Has the pool hear what such workers have done.
    pub(super) fn see(&mut self, clients: &mut Clients, ground: &mut Ground) {
        if let Carrier::Workers(workers) = self {
            workers.see(clients, ground);
        }
    }

    /// Ends a worker at once.
    pub(super) fn kill(&mut self, worker: WorkerId, ground: &mut Ground) {
        match self {
            Carrier::Foreign(foreign) => foreign.kill_child(worker),
            Carrier::Workers(workers) => workers.kill(worker, ground),
        }
    }

    /// Lets an idle worker go.
    pub(super) fn retire(&mut self, worker: WorkerId, now: Duration, ground: &mut Ground) {
        match self {
            Carrier::Foreign(_) => ground.tell_pool(Event::WorkerGone(worker)),
            Carrier::Workers(workers) => workers.retire(worker, now, ground),
        }
    }

    /// Nothing more begins in this generation. `is_newest`: no other takes its place.
    pub(super) fn retire_generation(
        &mut self,
        generation: Generation,
        is_newest: bool,
        now: Duration,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        match self {
            Carrier::Foreign(foreign) if is_newest => foreign.retire_servers(clients, ground),
            Carrier::Foreign(_) => {}
            Carrier::Workers(workers) => workers.retire_zygote(generation, now, ground),
        }
    }

    /// Nothing more begins at all.
    pub(super) fn retire_all(&mut self, now: Duration, clients: &mut Clients, ground: &mut Ground) {
        match self {
            Carrier::Foreign(foreign) => foreign.retire_servers(clients, ground),
            Carrier::Workers(workers) => workers.retire_zygotes(now, ground),
        }
    }

    /// Has a generation's files looked at. `false`: there is no zygote to do it.
    pub(super) fn look(&self, generation: Generation, ground: &mut Ground) -> bool {
        match self {
            Carrier::Foreign(_) => false,
            Carrier::Workers(workers) => {
                workers.look(generation, ground);
                true
            }
        }
    }
}

/// What the loop sees.
impl Carrier {
    /// The connection of a running request's client is ready.
    pub(super) fn on_connection(
        &mut self,
        number: Number,
        ready: Ready,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        match self {
            Carrier::Foreign(foreign) => foreign.on_connection(number, ready, clients, ground),
            Carrier::Workers(workers) => workers.on_connection(number, ready, clients, ground),
        }
    }

    /// The input that the front of a running request passed is ready.
    pub(super) fn on_input(
        &mut self,
        worker: WorkerId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        match self {
            Carrier::Foreign(foreign) => foreign.send_on(worker, clients, ground),
            // A worker reads its input itself.
            Carrier::Workers(_) => {}
        }
    }

    /// The output of a running request is ready.
    pub(super) fn on_output(
        &mut self,
        number: Number,
        worker: WorkerId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        match self {
            Carrier::Foreign(foreign) => foreign.pass_on(worker, clients, ground),
            Carrier::Workers(workers) => workers.send(number, clients, ground),
        }
    }

    /// A foreign app can take more of its request, or has closed its input.
    pub(super) fn on_app_input(
        &mut self,
        run_id: RunId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        if let Carrier::Foreign(foreign) = self {
            foreign.send_on(run_id, clients, ground);
        }
    }

    /// A foreign app has sent more of its response, or has ended it.
    pub(super) fn on_app_output(
        &mut self,
        run_id: RunId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        if let Carrier::Foreign(foreign) = self {
            foreign.pass_on(run_id, clients, ground);
        }
    }

    /// A zygote or a worker has said something over its channel.
    pub(super) fn on_channel(
        &mut self,
        source: Source,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        if let Carrier::Workers(workers) = self {
            workers.hear(source, clients, ground);
        }
    }

    /// A process of the app has written to its standard error.
    pub(super) fn on_stderr(&mut self, source: Source, clients: &mut Clients, ground: &mut Ground) {
        match self {
            Carrier::Foreign(foreign) => foreign.on_stderr(source, clients, ground),
            Carrier::Workers(workers) => workers.overhear(source, clients, ground),
        }
    }

    /// The client of a running request is gone, or does not move.
    pub(super) fn abort_client(
        &mut self,
        number: Number,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        match self {
            Carrier::Foreign(foreign) => foreign.abort_client(number, clients, ground),
            Carrier::Workers(workers) => workers.abort_client(number, clients, ground),
        }
    }

    /// Called before the dead are buried: a worker's pid has to be known by then.
    pub(super) fn hear_nameless(&mut self, clients: &mut Clients, ground: &mut Ground) {
        if let Carrier::Workers(workers) = self {
            workers.hear_nameless(clients, ground);
        }
    }

    /// Buries a dead process. `None`: it can't be buried now.
    pub(super) fn bury(
        &mut self,
        pid: i32,
        clients: &mut Clients,
        ground: &mut Ground,
    ) -> Option<End> {
        match self {
            Carrier::Foreign(foreign) => foreign.bury(pid, clients, ground).unwrap_or_else(|| {
                let end = process::bury(pid)?;
                ::log::debug!("orphan gone: pid={pid} end={end}");
                Some(end)
            }),
            Carrier::Workers(workers) => workers.bury(pid, clients, ground),
        }
    }

    /// Called at the end of each turn.
    pub(super) fn end_turn(&mut self, now: Duration, ground: &Ground) {
        if let Carrier::Workers(workers) = self {
            workers.release_zygotes(now, ground);
        }
    }

    pub(super) fn pass_time(&mut self, now: Duration, clients: &mut Clients, ground: &mut Ground) {
        match self {
            Carrier::Foreign(foreign) => foreign.pass_time(now, clients, ground),
            Carrier::Workers(workers) => workers.pass_time(now),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        match self {
            Carrier::Foreign(foreign) => foreign.next_deadline(),
            Carrier::Workers(workers) => workers.next_deadline(),
        }
    }
}

/// What is known of the processes.
impl Carrier {
    /// The pid of this worker, or of its run's program.
    pub(super) fn pid(&self, worker: WorkerId) -> Option<i32> {
        match self {
            Carrier::Foreign(foreign) => foreign.pid(worker),
            Carrier::Workers(workers) => workers.pid(worker),
        }
    }

    pub(super) fn generation(&self, worker: WorkerId) -> Generation {
        match self {
            Carrier::Foreign(foreign) => foreign.generation(worker),
            Carrier::Workers(workers) => workers.generation(worker),
        }
    }

    /// The app's own server.
    pub(super) fn server(&self) -> Option<ServerStatus> {
        match self {
            Carrier::Foreign(foreign) => foreign.server(),
            Carrier::Workers(_) => None,
        }
    }

    /// The app can be started; of some kinds only an answer shows that.
    pub(super) fn is_proven(&self, ground: &Ground) -> bool {
        match self {
            Carrier::Foreign(foreign) => foreign.is_proven(ground),
            Carrier::Workers(_) => true,
        }
    }

    /// As far as is known, what is started anew would do as well as what serves.
    pub(super) fn is_settled(&self) -> bool {
        match self {
            Carrier::Foreign(foreign) => foreign.is_server_settled(),
            Carrier::Workers(_) => true,
        }
    }

    /// Why the app could not be reached last, if it has not answered since.
    pub(super) fn reason_for_doubt(&self) -> Option<String> {
        match self {
            Carrier::Foreign(foreign) => foreign.reason_for_doubt(),
            Carrier::Workers(_) => None,
        }
    }
}

/// The end.
impl Carrier {
    /// No process is left that must be waited for.
    pub(super) fn are_gone(&self) -> bool {
        match self {
            Carrier::Foreign(foreign) => foreign.are_gone(),
            Carrier::Workers(workers) => workers.are_gone(),
        }
    }

    /// `graceful-timeout` is over.
    pub(super) fn end_all(&mut self, clients: &mut Clients, ground: &mut Ground) {
        match self {
            Carrier::Foreign(foreign) => foreign.end_all(clients, ground),
            Carrier::Workers(workers) => workers.kill_all(),
        }
    }

    /// Ends everything, and answers no client.
    pub(super) fn kill_all(&mut self, poll: &Poll) {
        match self {
            Carrier::Foreign(foreign) => foreign.kill_all(poll),
            Carrier::Workers(workers) => workers.kill_all(),
        }
    }

    /// The daemon is about to become another version of itself, with the same pid.
    pub(super) fn prepare_upgrade(&self, signals: &impl AsFd) {
        match self {
            Carrier::Foreign(foreign) => foreign.end_for_upgrade(signals),
            Carrier::Workers(workers) => workers.say_leave(),
        }
    }
}

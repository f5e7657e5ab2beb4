//! Apps that are not wsgi: carries out what the pool says of workers, of which there are none. To the pool a worker is
//! a run: one request that the app has; and a generation is a configuration that can be run.
//!
//! | the pool says | and it is |
//! | --- | --- |
//! | `StartZygote` | looked whether the app can be run; `ZygoteReady`, or said why not and `ZygoteGone` |
//! | `Spawn` | `WorkerReady`, at once |
//! | `Dispatch` | an exchange, by the kind of the app; at its end `WorkerDone` |
//! | `Retire` | `WorkerGone`, at once |
//! | `RetireZygote` | nothing, as a server goes when the next has answered; for the newest, all servers are retired |
//! | `Look` | a look at the few files that are watched; `Looked` |
//!
//! A run is an `exchange`, which `drive` carries on: with a program (`children`), or over a `link` with a server.
//! `servers` has the app's own servers, `supervise` starts and ends them, `backlog` takes back what they do not accept.

mod backlog;
mod children;
mod drive;
mod exchange;
mod failed;
mod feed;
mod interrupt;
mod link;
mod runs;
mod servers;
mod supervise;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::Duration;

use self::runs::Runs;
use self::servers::Servers;
use self::supervise::Supervision;
use super::clients::Clients;
use super::ground::Ground;
use super::token::{RunId, Source};
use crate::app::scgi::ServerAddress;
use crate::app::{self, CannotRun};
use crate::config::{Address, App};
use crate::control::ServerStatus;
use crate::incidents::Mishap;
use crate::policy::pool::Generation;
use crate::policy::queue::Number;
use crate::sys::poll::Poll;
use crate::sys::process::End;

/// What the daemon has of an app that is not run by our adaptor.
#[derive(Default)]
pub(super) struct Foreign {
    runs: Runs,
    /// The generation of each run.
    generations: BTreeMap<RunId, Generation>,
    servers: Servers,
    supervision: Supervision,
    /// Where `connect` leads, and the address for which that was looked up.
    peer: Option<ServerAddress>,
    peer_of: Option<Address>,
}

/// What the pool wants.
impl Foreign {
    /// Makes what a generation has beside its configuration.
    pub(super) fn prepare(
        &mut self,
        clients: &mut Clients,
        ground: &mut Ground,
    ) -> Result<(), CannotRun> {
        app::can_run(&ground.app, &ground.config)?;
        match ground.config.app.clone() {
            App::Commands {
                cgi,
                scgi: Some(command),
            } => match self.add_server(&command, clients, ground) {
                Err(cannot) if cgi.is_some() => {
                    self.note_missing_server(&cannot, ground);
                    Ok(())
                }
                added => added,
            },
            App::Connect(address) => self.find_peer(&address),
            App::Commands { scgi: None, .. } | App::Wsgi(_) => Ok(()),
        }
    }

    /// A server can't be made; programs serve in its place, or the one before it.
    fn note_missing_server(&mut self, cannot: &CannotRun, ground: &mut Ground) {
        let sentence = crate::report::plain(&cannot.to_string());
        if !self.keep_failure(Mishap::Server, &sentence, ground) {
            return;
        }
        if self.servers.serving.is_some() {
            ::log::error!("reload failed, the old server goes on: {sentence}");
        } else {
            ::log::error!("cannot start the server, the app runs as CGIs: {sentence}");
        }
    }

    /// A run may begin.
    pub(super) fn spawn(&mut self, run_id: RunId, generation: Generation) {
        self.generations.insert(run_id, generation);
    }

    /// Gives a request to the app. Its front has been told, but for a program's.
    pub(super) fn dispatch(
        &mut self,
        number: Number,
        run_id: RunId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        match &ground.config.app {
            App::Commands { scgi: Some(_), .. } => self.ask_server(number, run_id, clients, ground),
            App::Commands { scgi: None, .. } => self.run_cgi(number, run_id, None, clients, ground),
            App::Connect(_) => self.ask_peer(number, run_id, clients, ground),
            App::Wsgi(_) => {}
        }
    }

    /// Whether a block of the request has moved since this was asked last.
    pub(super) fn take_progress(&mut self, run_id: RunId) -> bool {
        let run = self.runs.get_mut(run_id);
        run.is_some_and(|run| run.take_progress())
    }
}

/// What happens, and time.
impl Foreign {
    /// What a process of the app has written to its standard error.
    pub(super) fn on_stderr(&mut self, source: Source, clients: &mut Clients, ground: &mut Ground) {
        match source {
            Source::Server(id) => self.overhear_server(id, clients, ground),
            Source::Worker(run_id) => self.overhear(run_id, clients, ground),
            Source::Zygote(_) => {}
        }
    }

    /// Buries a dead server or program. `None`: the process is neither; `Some(None)`: it can't be buried now.
    pub(super) fn bury(
        &mut self,
        pid: i32,
        clients: &mut Clients,
        ground: &mut Ground,
    ) -> Option<Option<End>> {
        if let Some(server) = self.servers.with_pid(pid) {
            return Some(self.server_died(server, pid, clients, ground));
        }
        let run_id = self.runs.with_pid(pid)?;
        Some(self.child_died(run_id, pid, clients, ground))
    }

    pub(super) fn pass_time(&mut self, now: Duration, clients: &mut Clients, ground: &mut Ground) {
        self.tell_of_starts(now, clients, ground);
        self.look_at_runs(now, clients, ground);
        self.keep_servers(now, clients, ground);
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let deadlines = [self.runs.next_deadline(), self.next_server_deadline()];
        deadlines.into_iter().flatten().min()
    }
}

/// For `status`.
impl Foreign {
    /// The pid of the program that has this run.
    pub(super) fn pid(&self, run_id: RunId) -> Option<i32> {
        self.runs.pid(run_id)
    }

    pub(super) fn generation(&self, run_id: RunId) -> Generation {
        self.generations.get(&run_id).copied().unwrap_or(0)
    }

    /// The server that gets the requests.
    pub(super) fn server(&self) -> Option<ServerStatus> {
        let server = self.servers.get(self.servers.newest_serving()?)?;
        Some(ServerStatus {
            pid: server.pid,
            state: server.life.condition(),
        })
    }
}

/// The end.
impl Foreign {
    /// No server is left that must be waited for.
    pub(super) fn are_gone(&self) -> bool {
        self.servers.are_gone()
    }

    /// `graceful-timeout` is over.
    pub(super) fn end_all(&mut self, clients: &mut Clients, ground: &mut Ground) {
        self.end_runs(clients, ground);
        self.servers.kill_all();
    }

    /// Ends everything, and answers no client.
    pub(super) fn kill_all(&mut self, poll: &Poll) {
        self.servers.kill_all();
        self.servers.clear(poll);
        self.kill_children();
    }

    /// Ends the servers before the daemon becomes another version of itself.
    pub(super) fn end_for_upgrade(&self, signals: &impl AsFd) {
        self.servers.end_all(signals);
    }
}

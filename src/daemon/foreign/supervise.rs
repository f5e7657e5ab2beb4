//! The app's own SCGI server, supervised: which one gets a request, what its end means for those it had, and how a new
//! one takes the place of the old. What a server does when is in [`policy::server`](crate::policy::server).
//!
//! # Theory of operation
//! A request's connection lies in the backlog of a socket that is ours, so a server that is down loses no request: it is
//! started, and finds the connection there. Three things can go wrong with that, and each has its way back:
//! - the server ends before its first byte. The connections that it had accepted may be served in part; the others were
//!   read by no server: we accept them ourselves, and their requests go to an older server, or are run as CGIs;
//! - the server binds the path by itself, as one that was told `{socket}` may. From then on no server accepts from our
//!   socket, and the requests in its backlog are sent again;
//! - it is told to end, or has not bound its path yet. Then a run keeps its request until a server is there.

use std::time::Duration;

use super::Foreign;
use super::link::{Reached, has_cgi};
use super::servers;
use crate::app::{self, CannotRun};
use crate::config::App;
use crate::daemon::clients::Clients;
use crate::daemon::ground::Ground;
use crate::daemon::token::{RunId, ServerId, Source};
use crate::incidents::Mishap;
use crate::policy::pool;
use crate::policy::server::{ServerAction, ServerEvent, TERM_TIME};
use crate::sys::clock;
use crate::sys::process::End;
use crate::sys::signal::Signal;

/// Interval of the look whether a server has bound its path, or takes the connections that wait.
const LOOK: Duration = Duration::from_millis(50);

/// What is known of the servers beside their lives.
#[derive(Debug, Default)]
pub(super) struct Supervision {
    /// When to look again.
    look_at: Option<Duration>,
    /// Runs that wait until a server takes connections.
    pub(super) waiting: Vec<RunId>,
    /// How the last process ended, or why there was none.
    end: Option<End>,
    pub(super) cannot: Option<CannotRun>,
    /// A server is being made: the caller says it if it can't be started.
    pub(super) is_adding: bool,
    /// The app has answered since we were started.
    is_proven: bool,
    /// Why the app could not be reached last, if it has not answered since.
    said: Option<String>,
}

impl Foreign {
    /// Makes a server that takes the place of the one that serves, and starts it.
    pub(super) fn add_server(
        &mut self,
        command: &[String],
        clients: &mut Clients,
        ground: &mut Ground,
    ) -> Result<(), CannotRun> {
        let backlog = app::backlog(&ground.config);
        let start_timeout = ground.config.timeouts.start;
        let nofile = ground.nofile;
        let dir = &ground.place.dir;
        let id = self
            .servers
            .add(dir, command, start_timeout, backlog, nofile)?;
        self.supervision.is_adding = true;
        self.tell_server(id, ServerEvent::Wanted, clients, ground);
        self.supervision.is_adding = false;
        let cannot = self.supervision.cannot.take();
        if cannot.is_some() && (self.servers.serving.is_some() || !has_cgi(ground)) {
            self.servers.forget(id, &ground.poll);
        } else if let Some(before) = self.servers.coming.replace(id) {
            // It was to take that place, too, and never did.
            self.retire_server(before, ground.config.timeouts.graceful, clients, ground);
        }
        // As long as programs serve in its place, it is tried again when its pause is over.
        cannot.map_or(Ok(()), Err)
    }

    pub(super) fn retire_server(
        &mut self,
        id: ServerId,
        patience: Duration,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        self.tell_server(id, ServerEvent::Retire(patience), clients, ground);
    }

    /// All servers end when their last requests are done.
    pub(crate) fn retire_servers(&mut self, clients: &mut Clients, ground: &mut Ground) {
        self.servers.serving = None;
        self.servers.coming = None;
        for id in self.servers.ids() {
            self.retire_server(id, TERM_TIME, clients, ground);
        }
    }

    pub(super) fn tell_server(
        &mut self,
        id: ServerId,
        event: ServerEvent,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let now = clock::now();
        let mut actions = Vec::new();
        if let Some(server) = self.servers.get_mut(id) {
            ::log::trace!("server {id}: {event:?}");
            server.life.handle(event, now, &mut actions);
        }
        for action in actions {
            ::log::trace!("server {id}: {action:?}");
            self.carry_out_for_server(id, action, clients, ground);
        }
    }

    fn carry_out_for_server(
        &mut self,
        id: ServerId,
        action: ServerAction,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let end = self.supervision.end.take();
        let shown = end.map_or(String::new(), |end| end.to_string());
        match action {
            ServerAction::Crashed => ::log::warn!("the server has ended: {shown}"),
            ServerAction::Failed(why) => self.server_failed(id, why, end, clients, ground),
            ServerAction::Gone => {
                ::log::debug!("server {id} is no more");
                self.put_back(id, clients, ground);
                self.servers.forget(id, &ground.poll);
            }
            ServerAction::Kill => self.signal_server(id, Signal::SIGKILL),
            ServerAction::Left => ::log::info!("the server has left; the next request starts it"),
            ServerAction::Look => {
                let event = if self.has_taken_any(id) {
                    ServerEvent::Accepts
                } else {
                    ServerEvent::Deaf
                };
                self.tell_server(id, event, clients, ground);
            }
            ServerAction::Start => self.start_server(id, clients, ground),
            ServerAction::Term => self.signal_server(id, Signal::SIGTERM),
        }
    }

    fn signal_server(&mut self, id: ServerId, signal: Signal) {
        if let Some(server) = self.servers.get(id) {
            ::log::debug!("server {id}: {signal}");
            server.signal(signal);
        }
    }

    fn start_server(&mut self, id: ServerId, clients: &mut Clients, ground: &mut Ground) {
        let backlog = app::backlog(&ground.config);
        let (app, config, poll) = (&ground.app, &ground.config, &ground.poll);
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        ground.failures.clear_words();
        match server.start(id, app, config, backlog, poll) {
            Ok(()) => {
                let pid = server.pid.unwrap_or(0);
                ::log::info!("server started: pid={pid}");
            }
            Err(cannot) => {
                self.supervision.cannot = Some(cannot);
                self.tell_server(id, ServerEvent::CannotStart, clients, ground);
            }
        }
    }

    /// A connection to the server that gets the requests now; it is started if it is down.
    pub(super) fn reach_server(&mut self, clients: &mut Clients, ground: &mut Ground) -> Reached {
        // A server that can't be started makes room for the one before it.
        for _ in 0..2 {
            let Some(id) = self.servers.newest_serving() else {
                return Reached::Resting;
            };
            self.tell_server(id, ServerEvent::Wanted, clients, ground);
            let Some(server) = self.servers.get_mut(id) else {
                continue;
            };
            let now = clock::now();
            if server.life.is_ending() || server.is_about_to_bind(now) {
                return Reached::NotYet;
            }
            if !server.life.takes(now) {
                continue;
            }
            return match server.connect(now) {
                Ok(Some(connection)) => Reached::At(id, connection),
                Ok(None) => {
                    if server.is_lost(ground.config.timeouts.start, now) {
                        ::log::warn!("the server takes no connections any more: it is ended");
                        self.tell_server(id, ServerEvent::Lost, clients, ground);
                    }
                    Reached::NotYet
                }
                Err(error) => Reached::Failed(error),
            };
        }
        Reached::Resting
    }

    /// All servers that could serve have failed to start a moment ago.
    pub(super) fn are_servers_resting(&self) -> bool {
        let newest = self.servers.newest_serving();
        let server = newest.and_then(|id| self.servers.get(id));
        server.is_none_or(|server| server.life.is_resting(clock::now()))
    }

    /// The server that gets the requests has answered.
    pub(super) fn has_proven_server(&self) -> bool {
        let newest = self.servers.newest_serving();
        let server = newest.and_then(|id| self.servers.get(id));
        server.is_some_and(|server| server.life.is_proven())
    }

    /// As far as is known, a server that is started anew would do as well as the one that serves.
    pub(crate) fn is_server_settled(&self) -> bool {
        let is_old = self.servers.coming.is_some() || self.supervision.said.is_some();
        self.servers.serving.is_none() || !is_old
    }

    pub(super) fn wait_for_server(&mut self, run_id: RunId) {
        if !self.supervision.waiting.contains(&run_id) {
            self.supervision.waiting.push(run_id);
        }
        let at = clock::now() + LOOK;
        self.supervision.look_at.get_or_insert(at);
    }

    /// A request was sent to a server. If that is still to bind its path, the request lies in our own backlog.
    pub(super) fn note_sent(&mut self, id: ServerId, clients: &mut Clients, ground: &mut Ground) {
        self.tell_server(id, ServerEvent::Sent, clients, ground);
        let is_to_bind = |server: &servers::Server| server.may_bind() && server.life.is_starting();
        if self.servers.get(id).is_some_and(is_to_bind) {
            let at = clock::now() + LOOK;
            self.supervision.look_at.get_or_insert(at);
        }
    }

    pub(super) fn try_waiting(&mut self, clients: &mut Clients, ground: &mut Ground) {
        for run_id in std::mem::take(&mut self.supervision.waiting) {
            self.try_server(run_id, clients, ground);
        }
    }

    /// The server has sent something.
    pub(super) fn note_server_answer(
        &mut self,
        id: ServerId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let was_starting = self
            .servers
            .get(id)
            .is_some_and(|server| server.life.is_starting());
        self.tell_server(id, ServerEvent::Answered, clients, ground);
        if !was_starting {
            return;
        }
        ground.failures.clear_words();
        self.note_proven(ground);
        if self.servers.coming == Some(id) {
            self.servers.coming = None;
            if let Some(old) = self.servers.serving.replace(id) {
                ::log::info!("the new server serves");
                self.retire_server(old, ground.config.timeouts.graceful, clients, ground);
            }
        }
    }

    /// The app has not answered yet, or not since it could not be reached.
    pub(super) fn is_in_doubt(&self) -> bool {
        !self.supervision.is_proven || self.supervision.said.is_some()
    }

    /// The app has answered: it can be started.
    pub(super) fn note_proven(&mut self, ground: &mut Ground) {
        self.supervision.is_proven = true;
        ground.tell_pool(pool::Event::Proven);
        if self.supervision.said.take().is_some() {
            ground.failures.set(None);
        }
    }

    /// Keeps the reason why the app can't be reached. `false`: it is that of the last failure, and was logged.
    pub(super) fn keep_failure(
        &mut self,
        kind: Mishap,
        sentence: &str,
        ground: &mut Ground,
    ) -> bool {
        let is_news = self.supervision.said.as_deref() != Some(sentence);
        if is_news || ground.failures.last().is_none() {
            self.supervision.said = Some(sentence.to_owned());
            ground.failures.fail(sentence.to_owned());
        }
        let none = Default::default();
        ground.ledger.note(kind, none, sentence);
        is_news
    }

    /// Why the app could not be reached last, if it has not answered since.
    pub(crate) fn reason_for_doubt(&self) -> Option<String> {
        self.supervision.said.clone()
    }

    /// The app can be started, as far as that is known of its kind.
    pub(crate) fn is_proven(&self, ground: &Ground) -> bool {
        let needs_server = matches!(ground.config.app, App::Commands { cgi: None, .. });
        !needs_server || self.supervision.is_proven
    }

    /// The process has ended: it is buried, and its life goes on with what that means.
    pub(super) fn server_died(
        &mut self,
        id: ServerId,
        pid: i32,
        clients: &mut Clients,
        ground: &mut Ground,
    ) -> Option<End> {
        self.overhear_server(id, clients, ground);
        clients.end_errors(Source::Server(id));
        let server = self.servers.get_mut(id)?;
        let end = server.bury(pid, &ground.poll)?;
        ::log::debug!("server {id} gone: pid={pid} end={end}");
        for run_id in self.runs_of(id) {
            if let Some(run) = self.runs.get_mut(run_id) {
                run.end = Some(end);
            }
        }
        self.supervision.end = Some(end);
        let well = end == End::Exited(0);
        self.tell_server(id, ServerEvent::Ended { well }, clients, ground);
        self.supervision.end = None;
        // Connections that it had accepted have ended. Others are still in the backlog.
        for run_id in self.runs_of(id) {
            self.pass_on(run_id, clients, ground);
        }
        let server = self.servers.get(id);
        if server.is_some_and(|server| server.has_backlog() && !server.life.is_retired()) {
            self.tell_server(id, ServerEvent::Wanted, clients, ground);
        }
        self.try_waiting(clients, ground);
        Some(end)
    }

    /// Time has passed for the servers.
    pub(super) fn keep_servers(
        &mut self,
        now: Duration,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        for id in self.servers.ids() {
            let life = self.servers.get(id).map(|server| &server.life);
            if life
                .and_then(|life| life.next_deadline())
                .is_some_and(|at| at <= now)
            {
                self.tell_server(id, ServerEvent::Tick, clients, ground);
            }
        }
        if self.supervision.look_at.is_none_or(|at| at > now) {
            return;
        }
        self.supervision.look_at = None;
        for id in self.servers.ids() {
            self.look_for_bound(id, now, clients, ground);
        }
        self.try_waiting(clients, ground);
    }

    pub(super) fn next_server_deadline(&self) -> Option<Duration> {
        let of_lives = self.servers.next_deadline();
        self.supervision.look_at.into_iter().chain(of_lives).min()
    }

    /// Whether the server has bound its path by itself.
    fn look_for_bound(
        &mut self,
        id: ServerId,
        now: Duration,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        if !server.may_bind() || !server.life.is_starting() {
            return;
        }
        if !server.has_bound() {
            // Meanwhile requests may wait in our own backlog.
            if server.is_about_to_bind(now) || server.has_backlog() {
                self.supervision.look_at = Some(now + LOOK);
            }
            return;
        }
        server.binds = true;
        self.tell_server(id, ServerEvent::Accepts, clients, ground);
        self.put_back(id, clients, ground);
    }

    /// What a server says: to the log, and while it starts it is kept too, since it may say why it can't.
    pub(super) fn overhear_server(
        &mut self,
        id: ServerId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        let bytes = server.overhear(&ground.poll);
        let starts = server.life.is_starting();
        if !bytes.is_empty() {
            if starts {
                ground.failures.keep_words(&bytes);
            }
            clients.pass_on_errors(Source::Server(id), None, &bytes, ground);
        }
    }
}

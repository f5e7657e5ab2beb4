//! The app's own SCGI server, supervised: which one gets a request, what its end means for those it had, and how a new
//! one takes the place of the old. What a server does when is in [`policy::server`](crate::policy::server).
//!
//! # Theory of operation
//! A request's connection lies in the backlog of a socket that is ours, so a server that is down loses nobody: it is
//! started, and finds the connection there. Three things can go wrong with that, and each has its way back:
//! - the server ends before its first byte. Whom it had accepted it may have served in part; the others nobody has
//!   read: we accept them ourselves, and they go to whoever can serve them (an older server, a CGI);
//! - the server binds the path by itself, as one that was told `{socket}` may. From then on our socket is nobody's, and
//!   those in its backlog are sent again;
//! - it is told to end, or has not bound its path yet. Then a place keeps its request until a server is there.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::exchange::Exchange;
use super::link::Reached;
use super::runs::Link;
use super::servers;
use crate::app::{self, CannotRun};
use crate::config::App;
use crate::daemon::Daemon;
use crate::daemon::token::{ServerId, Source};
use crate::page::Failure;
use crate::policy::pool::{self, Refusal, WorkerId};
use crate::policy::server::{Action, Event, TERM_TIME, Why};
use crate::report::{plain, visible};
use crate::sys::process::End;
use crate::sys::signal::Signal;
use crate::sys::{clock, socket};

/// How often it is looked whether a server has bound its path, or takes those who wait.
const LOOK: Duration = Duration::from_millis(50);

/// What is known of the servers beside their lives.
#[derive(Debug, Default)]
pub(crate) struct Supervision {
    /// When to look again.
    look_at: Option<Duration>,
    /// Places whose requests wait until a server takes connections.
    waiting: Vec<WorkerId>,
    /// How the last process ended, or why there was none.
    end: Option<End>,
    cannot: Option<CannotRun>,
    /// A server is being made: that it can't be started is said by whoever wants it.
    is_adding: bool,
    /// The app has answered since we were started.
    is_proven: bool,
    /// Why the app could not be had when it was wanted last, if it has not answered since.
    said: Option<String>,
}

impl Daemon {
    /// Makes a server that takes the place of the one that serves, and starts it.
    pub(crate) fn add_server(&mut self, command: &[String]) -> Result<(), CannotRun> {
        let backlog = app::backlog(&self.config);
        let start_timeout = self.config.timeouts.start;
        let nofile = self.workers.nofile();
        let place = &self.place.dir;
        let id = self
            .servers
            .add(place, command, start_timeout, backlog, nofile)?;
        self.supervision.is_adding = true;
        self.tell_server(id, Event::Wanted);
        self.supervision.is_adding = false;
        let cannot = self.supervision.cannot.take();
        if cannot.is_some() && (self.servers.serving.is_some() || !self.has_cgi()) {
            self.servers.forget(id, &self.poll);
        } else if let Some(before) = self.servers.coming.replace(id) {
            // It was to take that place too, and nobody knows whether it could have.
            self.retire_server(before, self.config.timeouts.graceful);
        }
        // As long as programs serve in its place, it is tried again when its pause is over.
        cannot.map_or(Ok(()), Err)
    }

    fn retire_server(&mut self, id: ServerId, patience: Duration) {
        self.tell_server(id, Event::Retire(patience));
    }

    /// All of them end when their last requests are done: we leave, or nobody needs them.
    pub(crate) fn retire_servers(&mut self) {
        self.servers.serving = None;
        self.servers.coming = None;
        for id in self.servers.ids() {
            self.retire_server(id, TERM_TIME);
        }
    }

    pub(crate) fn tell_server(&mut self, id: ServerId, event: Event) {
        let now = clock::now();
        let mut actions = Vec::new();
        if let Some(server) = self.servers.get_mut(id) {
            ::log::trace!("server {id}: {event:?}");
            server.life.handle(event, now, &mut actions);
        }
        for action in actions {
            ::log::trace!("server {id}: {action:?}");
            self.carry_out_for_server(id, action);
        }
    }

    fn carry_out_for_server(&mut self, id: ServerId, action: Action) {
        let end = self.supervision.end.take();
        let shown = end.map_or(String::new(), |end| end.to_string());
        match action {
            Action::Crashed => ::log::warn!("the server has ended: {shown}"),
            Action::Failed(why) => self.server_failed(id, why, end),
            Action::Gone => {
                ::log::debug!("server {id} is no more");
                self.put_back(id);
                self.servers.forget(id, &self.poll);
            }
            Action::Kill => self.signal_server(id, Signal::SIGKILL),
            Action::Left => ::log::info!("the server has left; the next request starts it"),
            Action::Look => {
                let event = if self.has_taken_any(id) {
                    Event::Accepts
                } else {
                    Event::Deaf
                };
                self.tell_server(id, event);
            }
            Action::Start => self.start_server(id),
            Action::Term => self.signal_server(id, Signal::SIGTERM),
        }
    }

    fn signal_server(&mut self, id: ServerId, signal: Signal) {
        if let Some(server) = self.servers.get(id) {
            ::log::debug!("server {id}: {signal}");
            server.signal(signal);
        }
    }

    fn start_server(&mut self, id: ServerId) {
        let backlog = app::backlog(&self.config);
        let (app, config, poll) = (&self.app, &self.config, &self.poll);
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        self.last_words.clear();
        match server.start(id, app, config, backlog, poll) {
            Ok(()) => {
                let pid = server.pid.unwrap_or(0);
                ::log::info!("server started: pid={pid}");
            }
            Err(cannot) => {
                self.supervision.cannot = Some(cannot);
                self.tell_server(id, Event::CannotStart);
            }
        }
    }

    /// A connection to the server that gets the requests now; it is started if it is down.
    pub(crate) fn reach_server(&mut self) -> Reached {
        // A server that can't be started makes room for the one before it.
        for _ in 0..2 {
            let Some(id) = self.servers.newest_serving() else {
                return Reached::Nobody;
            };
            self.tell_server(id, Event::Wanted);
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
                    if server.is_lost(self.config.timeouts.start, now) {
                        ::log::warn!("nobody can connect to the server any more: it is ended");
                        self.tell_server(id, Event::Lost);
                    }
                    Reached::NotYet
                }
                Err(error) => Reached::Failed(error),
            };
        }
        Reached::Nobody
    }

    /// All servers that could serve have failed to start a moment ago.
    pub(crate) fn are_servers_resting(&self) -> bool {
        let newest = self.servers.newest_serving();
        let server = newest.and_then(|id| self.servers.get(id));
        server.is_none_or(|server| server.life.is_resting(clock::now()))
    }

    /// A server that is started anew would do as well as the one that serves, for all that is known.
    pub(crate) fn is_server_settled(&self) -> bool {
        let is_old = self.servers.coming.is_some() || self.supervision.said.is_some();
        self.servers.serving.is_none() || !is_old
    }

    pub(crate) fn wait_for_server(&mut self, place: WorkerId) {
        if !self.supervision.waiting.contains(&place) {
            self.supervision.waiting.push(place);
        }
        let at = clock::now() + LOOK;
        self.supervision.look_at.get_or_insert(at);
    }

    /// One that may bind its path has a request in the backlog of our socket.
    pub(crate) fn note_sent(&mut self, id: ServerId) {
        self.tell_server(id, Event::Sent);
        let is_to_bind = |server: &servers::Server| server.may_bind() && server.life.is_starting();
        if self.servers.get(id).is_some_and(is_to_bind) {
            let at = clock::now() + LOOK;
            self.supervision.look_at.get_or_insert(at);
        }
    }

    fn try_those_who_wait(&mut self) {
        for place in std::mem::take(&mut self.supervision.waiting) {
            self.try_server(place);
        }
    }

    /// The server has sent something.
    pub(crate) fn server_answers(&mut self, id: ServerId) {
        let was_starting = self
            .servers
            .get(id)
            .is_some_and(|server| server.life.is_starting());
        self.tell_server(id, Event::Answered);
        if !was_starting {
            return;
        }
        self.last_words.clear();
        self.note_proven();
        if self.servers.coming == Some(id) {
            self.servers.coming = None;
            if let Some(old) = self.servers.serving.replace(id) {
                ::log::info!("the new server serves");
                self.retire_server(old, self.config.timeouts.graceful);
            }
        }
    }

    /// The app has not answered yet, or not since it could not be had.
    pub(crate) fn is_in_doubt(&self) -> bool {
        !self.supervision.is_proven || self.supervision.said.is_some()
    }

    /// The app has answered: it can be started.
    pub(crate) fn note_proven(&mut self) {
        self.supervision.is_proven = true;
        self.events.push_back(pool::Event::Proven);
        if self.supervision.said.take().is_some() {
            self.last_failure = None;
            self.write_state();
        }
    }

    /// The app can't be had now, for this reason. `false`: that was said.
    pub(crate) fn is_new_reason(&mut self, sentence: &str) -> bool {
        let is_news = self.supervision.said.as_deref() != Some(sentence);
        if is_news || self.last_failure.is_none() {
            self.supervision.said = Some(sentence.to_owned());
            self.fail(sentence.to_owned());
        }
        is_news
    }

    /// Why the app could not be had when it was wanted last, if it has not answered since.
    pub(crate) fn reason_for_doubt(&self) -> Option<String> {
        self.supervision.said.clone()
    }

    /// It is known that the app can be started, as far as that can be known of its kind.
    pub(crate) fn has_proved_itself(&self) -> bool {
        let needs_server = matches!(self.config.app, App::Commands { cgi: None, .. });
        self.pool.is_proven() && (!needs_server || self.supervision.is_proven)
    }

    /// Whether it takes connections: nobody waits for that, or it has read something of what it was sent.
    fn has_taken_any(&self, id: ServerId) -> bool {
        let server = self.servers.get(id);
        if server.is_some_and(|server| server.binds || !server.has_backlog()) {
            return true;
        }
        let mut runs = self.runs.iter();
        runs.any(|(_, run)| {
            let is_its = run.link.as_ref().and_then(Link::server);
            is_its.is_some_and(|(server, _)| server == id)
                && run.exchange.as_ref().is_some_and(Exchange::was_taken)
        })
    }

    /// The places that this server has, or that are in its backlog.
    fn places_of(&self, id: ServerId) -> Vec<WorkerId> {
        let is_its = |link: &Link| link.server().is_some_and(|(server, _)| server == id);
        let runs = self.runs.iter();
        let its = runs.filter(|(_, run)| run.link.as_ref().is_some_and(is_its));
        its.map(|(place, _)| place).collect()
    }

    /// The process has ended: it is buried, and its life goes on with what that means.
    pub(crate) fn server_died(&mut self, id: ServerId, pid: i32) -> Option<End> {
        self.overhear_server(id);
        self.end_errors(Source::Server(id));
        let server = self.servers.get_mut(id)?;
        let end = server.bury(pid, &self.poll)?;
        ::log::debug!("server {id} gone: pid={pid} end={end}");
        for place in self.places_of(id) {
            if let Some(run) = self.runs.get_mut(place) {
                run.end = Some(end);
            }
        }
        self.supervision.end = Some(end);
        let well = end == End::Exited(0);
        self.tell_server(id, Event::Ended { well });
        self.supervision.end = None;
        // Those whom it had accepted find their connections ended. Others are still in the backlog.
        for place in self.places_of(id) {
            self.pass_on(place);
        }
        let server = self.servers.get(id);
        if server.is_some_and(|server| server.has_backlog() && !server.life.is_retired()) {
            self.tell_server(id, Event::Wanted);
        }
        self.try_those_who_wait();
        Some(end)
    }

    /// It could not be started. Whoever it has not accepted goes elsewhere, if there is anybody.
    fn server_failed(&mut self, id: ServerId, why: Why, end: Option<End>) {
        if self.supervision.is_adding && why == Why::CannotStart {
            return;
        }
        let cannot = self.supervision.cannot.take();
        let reason = servers::reason(why, end, cannot.as_ref());
        let is_next = self.servers.coming == Some(id) && self.servers.serving.is_some();
        let sentence = plain(&reason);
        let is_news = self.is_new_reason(&sentence);
        let shown = visible(reason.as_bytes());
        if is_next {
            if is_news {
                ::log::error!("reload failed, the old server goes on: {shown}");
            }
            self.servers.coming = None;
            self.put_back(id);
            self.retire_server(id, TERM_TIME);
            self.try_those_who_wait();
            return;
        }
        if self.has_cgi() {
            if is_news {
                ::log::error!("cannot start the server, the app runs as CGIs: {shown}");
            }
            self.put_back(id);
            self.try_those_who_wait();
            return;
        }
        ::log::error!("cannot start the app: {shown}");
        self.is_untold = true;
        let waiting = std::mem::take(&mut self.supervision.waiting);
        for place in self.places_of(id).into_iter().chain(waiting) {
            if why == Why::TimedOut {
                let Some(ticket) = self.ticket_of(place) else {
                    continue;
                };
                self.fail_exchange(ticket, place, Failure::TimedOut, &sentence);
            } else {
                self.refuse_place(place, Refusal::Broken);
            }
        }
        // Whoever waits is refused for that, and we leave: then the fronts keep the pause.
        self.events.push_back(pool::Event::Broken);
    }

    /// Takes back those requests that no server has accepted.
    fn put_back(&mut self, id: ServerId) {
        for (place, unread) in self.unaccepted(id) {
            self.take_back(place, unread);
            if !self.supervision.waiting.contains(&place) {
                self.supervision.waiting.push(place);
            }
        }
    }

    /// Accepts whom nobody has accepted, and tells by a word that comes out at our own end whose they are; with what
    /// they were sent.
    fn unaccepted(&mut self, id: ServerId) -> Vec<(WorkerId, Vec<u8>)> {
        let Some(server) = self.servers.get(id) else {
            return Vec::new();
        };
        let mut connections = Vec::new();
        for (number, connection) in server.unaccepted().into_iter().enumerate() {
            let unread = read_all(&connection);
            // No server has had this connection: what comes out of it is ours.
            let word = (number as u64 + 1).to_ne_bytes();
            if socket::send_now(connection.as_fd(), &word).is_ok() {
                connections.push((word, unread, connection));
            }
        }
        let mut found = Vec::new();
        for place in self.places_of(id) {
            let run = self.runs.get(place);
            let Some(exchange) = run.and_then(|run| run.exchange.as_ref()) else {
                continue;
            };
            let mut word = [0; 8];
            let is_unheard = !exchange.has_heard();
            if is_unheard
                && socket::peek(exchange.from(), &mut word).is_ok_and(|count| count == 8)
                && let Some(at) = connections.iter().position(|(sent, ..)| *sent == word)
            {
                let (_, unread, _) = connections.swap_remove(at);
                found.push((place, unread));
            }
        }
        found
    }

    /// Time has passed for the servers.
    pub(crate) fn keep_servers(&mut self, now: Duration) {
        for id in self.servers.ids() {
            let life = self.servers.get(id).map(|server| &server.life);
            if life
                .and_then(|life| life.next_deadline())
                .is_some_and(|at| at <= now)
            {
                self.tell_server(id, Event::Tick);
            }
        }
        if self.supervision.look_at.is_none_or(|at| at > now) {
            return;
        }
        self.supervision.look_at = None;
        for id in self.servers.ids() {
            self.look_for_bound(id, now);
        }
        self.try_those_who_wait();
    }

    pub(crate) fn next_server_deadline(&self) -> Option<Duration> {
        let of_lives = self.servers.next_deadline();
        self.supervision.look_at.into_iter().chain(of_lives).min()
    }

    /// Whether the server has bound its path by itself.
    fn look_for_bound(&mut self, id: ServerId, now: Duration) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        if !server.may_bind() || !server.life.is_starting() {
            return;
        }
        if !server.has_bound() {
            // What matters is who waits in our own backlog meanwhile.
            if server.is_about_to_bind(now) || server.has_backlog() {
                self.supervision.look_at = Some(now + LOOK);
            }
            return;
        }
        server.binds = true;
        self.tell_server(id, Event::Accepts);
        self.put_back(id);
    }

    /// What a server says: to the log, and while it starts it is kept too, since it may say why it can't.
    pub(crate) fn overhear_server(&mut self, id: ServerId) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        let bytes = server.overhear(&self.poll);
        let starts = server.life.is_starting();
        if !bytes.is_empty() {
            if starts {
                self.keep_last_words(&bytes);
            }
            self.pass_on_errors(Source::Server(id), None, &bytes);
        }
    }
}

/// What was sent over a connection that nobody has read.
fn read_all(connection: &OwnedFd) -> Vec<u8> {
    let mut all = Vec::new();
    let mut block = [0; 16_384];
    while let Ok(count) = socket::receive_now(connection.as_fd(), &mut block)
        && count > 0
    {
        all.extend_from_slice(&block[..count]);
    }
    all
}

//! How a run's request gets to an SCGI server, the app's own or one that is run elsewhere: its connection is begun,
//! waited for, made again. What then goes over it is the exchange's, and what the server does is `supervise`'s.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::Foreign;
use super::exchange::Exchange;
use super::feed::{Feed, Rest};
use super::runs::{AppStream, Link, Run};
use crate::app::scgi::{self, ServerAddress};
use crate::app::{self, CannotRun};
use crate::config::{Address, App};
use crate::daemon::clients::Clients;
use crate::daemon::ground::Ground;
use crate::daemon::outcome::RETRY_AFTER;
use crate::daemon::token::{RunId, ServerId};
use crate::figures::Counted;
use crate::incidents::Mishap;
use crate::policy::pool::Refusal;
use crate::policy::queue::Number;
use crate::policy::server::ServerEvent;
use crate::policy::start_time;
use crate::report::plain;
use crate::scgi::Decoded;
use crate::spool::Ahead;
use crate::sys::poll::{self, Interest};
use crate::sys::{Errno, clock, files, is, socket};

/// A request that has waited longer than this for a server is given its whole time anew.
const INSTANT: Duration = Duration::from_millis(100);

/// How a request gets to one of our own servers.
#[derive(Debug)]
pub(super) enum Reached {
    At(ServerId, OwnedFd),
    /// The system refuses the connection.
    Failed(io::Error),
    /// It has failed to start, and is not tried again yet.
    Resting,
    NotYet,
}

impl Foreign {
    /// Gives a request to the app's own server.
    pub(super) fn ask_server(
        &mut self,
        number: Number,
        run_id: RunId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        if has_cgi(ground) && self.are_servers_resting() {
            self.run_cgi(number, run_id, None, clients, ground);
            return;
        }
        if self.hold(number, run_id, clients, ground) {
            self.limit_blank_wait(number, run_id, clients, ground);
            self.try_server(run_id, clients, ground);
        }
    }

    /// A browser that waits for the first answer of a server waits for `start-page-after`.
    fn limit_blank_wait(
        &mut self,
        number: Number,
        run_id: RunId,
        clients: &Clients,
        ground: &Ground,
    ) {
        let request = clients.get(number).and_then(|c| c.request.as_ref());
        let is_browser = request.is_some_and(|request| request.is_browser());
        if is_browser
            && !self.has_proven_server()
            && let Some(run) = self.runs.get_mut(run_id)
        {
            let patience = ground.config.timeouts.start_page;
            run.told_at = patience.map(|patience| run.since + patience);
        }
    }

    /// Tells browsers that have waited for long that the server is starting. Their requests are given up: a server
    /// that has read one of them can only notice that its client is gone.
    pub(super) fn tell_of_starts(
        &mut self,
        now: Duration,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        for run_id in self.runs.untold(now) {
            let run = self.runs.get(run_id);
            let exchange = run.and_then(|run| run.exchange.as_ref());
            if self.has_proven_server() || exchange.is_some_and(Exchange::has_heard) {
                continue;
            }
            let draw = clients.number_of(run_id).unwrap_or_default() as u32;
            let running = self.servers.newest_runs_for(now);
            let retry_after = start_time::pause(ground.slots.start_took(), running, draw);
            self.refuse_run(run_id, Refusal::Starting { retry_after }, clients, ground);
        }
    }

    /// Gives a request to a server that is not ours to start (`connect`).
    pub(super) fn ask_peer(
        &mut self,
        number: Number,
        run_id: RunId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        if !self.hold(number, run_id, clients, ground) {
            return;
        }
        match self.peer.clone() {
            Some(ServerAddress::Path(path)) => match socket::begin_at_path(&path) {
                Ok(connection) => {
                    _ = self.begin_over(run_id, connection, Link::to(None), clients, ground)
                }
                Err(error) => self.unreached(run_id, &error, clients, ground),
            },
            Some(ServerAddress::Tcp(addresses)) => {
                self.try_next(run_id, addresses, clients, ground)
            }
            None => self.unreached(run_id, &io::ErrorKind::NotFound.into(), clients, ground),
        }
    }

    /// From here on the run has the request, and waits for a server. `false`: it can't.
    fn hold(
        &mut self,
        number: Number,
        run_id: RunId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) -> bool {
        let Some(client) = clients.get_mut(number) else {
            return false;
        };
        let rest = match &mut client.request {
            Some(request) => {
                let file = match &request.ahead {
                    Ahead::Spool { file, len, .. } => match file.try_clone() {
                        Ok(file) => Some((file, 0..*len)),
                        Err(error) => {
                            clients.cannot_give(number, run_id, &error, ground);
                            return false;
                        }
                    },
                    Ahead::Memory(_) | Ahead::Nothing => None,
                };
                let (length, ahead) = (request.length(), request.ahead.len());
                let bytes = match &mut request.ahead {
                    Ahead::Memory(bytes) => std::mem::take(bytes),
                    Ahead::Nothing | Ahead::Spool { .. } => Vec::new(),
                };
                request.shorten(bytes.len() as u64);
                let left = length.saturating_sub(ahead);
                Rest { bytes, file, left }
            }
            None => Rest::default(),
        };
        clients.run(number, run_id, ground);
        self.runs.insert(run_id, Run::waiting(rest, clock::now()));
        true
    }

    /// Sends the request of a run that waits, if a server takes it now.
    pub(super) fn try_server(&mut self, run_id: RunId, clients: &mut Clients, ground: &mut Ground) {
        if self
            .runs
            .get(run_id)
            .is_none_or(|run| run.waiting.is_none())
        {
            return;
        }
        match self.reach_server(clients, ground) {
            Reached::At(server, connection) => {
                if self.begin_over(run_id, connection, Link::to(Some(server)), clients, ground) {
                    self.note_sent(server, clients, ground);
                }
            }
            Reached::NotYet => self.wait_for_server(run_id),
            Reached::Resting => self.fall_back(run_id, clients, ground),
            // EAGAIN: its backlog is full. Programs beside a server that is busy would make it busier.
            Reached::Failed(error) if has_cgi(ground) && !is(&error, Errno::EAGAIN) => {
                let sentence = plain(&format!("cannot connect to the app's server: {error}"));
                if self.keep_failure(Mishap::Server, &sentence, ground) {
                    ::log::error!("{sentence}; the app runs as a CGI");
                    if let Some(number) = clients.number_of(run_id) {
                        clients.tell_web_server(number, &sentence, ground);
                    }
                }
                self.fall_back(run_id, clients, ground);
            }
            Reached::Failed(error) => self.unreached(run_id, &error, clients, ground),
        }
    }

    /// No server can be started: the request is run as a CGI, or refused.
    fn fall_back(&mut self, run_id: RunId, clients: &mut Clients, ground: &mut Ground) {
        let Some(number) = clients.number_of(run_id) else {
            return;
        };
        let rest = self.runs.get_mut(run_id).and_then(|run| run.waiting.take());
        if has_cgi(ground) {
            self.runs.remove_if_over(run_id);
            self.run_cgi(number, run_id, rest, clients, ground);
        } else {
            self.refuse_run(run_id, Refusal::Broken, clients, ground);
        }
    }

    /// Answers the client of a run with a page.
    pub(super) fn refuse_run(
        &mut self,
        run_id: RunId,
        refusal: Refusal,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let Some(number) = clients.number_of(run_id) else {
            return;
        };
        self.end_exchange(run_id, clients, ground);
        clients.refuse(number, refusal, ground);
        self.release_run(run_id, clients, ground);
    }

    /// Begins the exchange over a connection; `false`: it can't.
    fn begin_over(
        &mut self,
        run_id: RunId,
        connection: OwnedFd,
        mut link: Link,
        clients: &mut Clients,
        ground: &mut Ground,
    ) -> bool {
        let Some(number) = clients.number_of(run_id) else {
            return false;
        };
        let other = match files::duplicate(&connection) {
            Ok(other) => other,
            Err(error) => {
                self.unreached(run_id, &error, clients, ground);
                return false;
            }
        };
        let request = clients.get(number).and_then(|c| c.request.as_ref());
        let (Some(request), Some(run)) = (request, self.runs.get_mut(run_id)) else {
            return false;
        };
        let Some(rest) = run.waiting.take() else {
            return false;
        };
        let (asked_since, told_at) = (run.since, run.told_at);
        let header = header_for_server(&request.header);
        link.header = header.len();
        let (since, server) = (link.since, link.server);
        let exchange = Exchange::new(Feed::of(other, header, rest), connection, request.reader);
        let mut run = Run::new(exchange, None, asked_since);
        run.link = Some(link);
        run.told_at = told_at;
        let is_loading = server.and_then(|id| self.servers.get(id));
        let is_loading = is_loading.is_some_and(|server| !server.life.is_proven());
        if is_loading || since.saturating_sub(asked_since) > INSTANT {
            run.begin_late();
        }
        self.begin(number, run_id, run, clients, ground);
        true
    }

    /// Begins a connection to the first of these that one can be begun to.
    fn try_next(
        &mut self,
        run_id: RunId,
        mut addresses: Vec<SocketAddr>,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let mut last = io::ErrorKind::NotFound.into();
        while !addresses.is_empty() {
            match socket::begin_at(addresses.remove(0)) {
                Ok(connection) => {
                    self.begin_over(
                        run_id,
                        connection,
                        Link::to_first(addresses),
                        clients,
                        ground,
                    );
                    return;
                }
                Err(error) => last = error,
            }
        }
        self.unreached(run_id, &last, clients, ground);
    }

    /// `true`: the connection of this run is not made yet, so nothing can be sent or read. If it fails, the next address
    /// is tried; without one the exchange ends.
    pub(super) fn advance_connection(
        &mut self,
        run_id: RunId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) -> bool {
        let Some(run) = self.runs.get_mut(run_id) else {
            return false;
        };
        let link = run.link.as_mut();
        let (Some(link), Some(exchange)) = (link, run.exchange.as_ref()) else {
            return false;
        };
        if link.connecting.is_none() {
            return false;
        }
        if !poll::is_ready(exchange.from(), Interest::Write) {
            run.watch(&ground.poll, run_id, AppStream::Output, None);
            run.watch(
                &ground.poll,
                run_id,
                AppStream::Input,
                Some(Interest::Write),
            );
            return true;
        }
        let failed = socket::take_error(exchange.from()).err();
        let others = link.connecting.take().unwrap_or_default();
        let Some(error) = failed else {
            run.watch(
                &ground.poll,
                run_id,
                AppStream::Output,
                Some(Interest::Read),
            );
            return false;
        };
        self.take_back(run_id, Vec::new(), clients, ground);
        if others.is_empty() {
            self.unreached(run_id, &error, clients, ground);
        } else {
            self.try_next(run_id, others, clients, ground);
        }
        true
    }

    /// No server has begun with the exchange: what was to be sent waits again. `unread`: what a server was sent and has
    /// not read.
    pub(super) fn take_back(
        &mut self,
        run_id: RunId,
        unread: Vec<u8>,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let Some(run) = self.runs.get_mut(run_id) else {
            return;
        };
        let header = run.link.as_ref().map_or(0, |link| link.header);
        let link = run.link.take();
        if let Some(mut exchange) = run.end_exchange(&ground.poll, run_id) {
            run.waiting = Some(exchange.feed.take_back(unread, header));
        }
        if let Some(link) = link {
            self.note_unlinked(&link, clients, ground);
        }
    }

    /// A connection is over.
    pub(super) fn note_unlinked(
        &mut self,
        link: &Link,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        if let Some(server) = link.server {
            self.tell_server(server, ServerEvent::Finished, clients, ground);
        }
    }

    /// No server can be reached now.
    fn unreached(
        &mut self,
        run_id: RunId,
        error: &io::Error,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let Some(number) = clients.number_of(run_id) else {
            return;
        };
        let object = match &ground.config.app {
            App::Connect(address) => address.to_string(),
            App::Commands { .. } | App::Wsgi(_) => "the app's server".to_owned(),
        };
        let sentence = plain(&format!("cannot connect to {object}: {error}"));
        let shortage = match is(error, Errno::EAGAIN) {
            true => Some(Counted::ServerFull),
            false => app::shortage(error),
        };
        let kind = match shortage {
            None | Some(Counted::ServerFull) => Mishap::Server,
            Some(_) => Mishap::Host,
        };
        let is_news = self.keep_failure(kind, &sentence, ground);
        if is_news {
            ::log::error!("{sentence}");
        }
        // In a crowd that something is full would be a line for each request.
        if is_news || shortage.is_none() {
            clients.tell_web_server(number, &sentence, ground);
        }
        self.end_exchange(run_id, clients, ground);
        match shortage {
            Some(what) => {
                clients.refuse_for_want(number, what, &sentence, RETRY_AFTER, ground);
            }
            None => clients.answer_away(number, RETRY_AFTER, &sentence, ground),
        }
        self.release_run(run_id, clients, ground);
    }

    /// `true`: the server may have ended, and its death is waited for, since it says more than the end of the connection.
    pub(super) fn await_death(&mut self, run_id: RunId) -> bool {
        const PATIENCE: Duration = Duration::from_secs(1);
        let now = clock::now();
        let Some(run) = self.runs.get_mut(run_id) else {
            return false;
        };
        let Some(link) = &mut run.link else {
            return false;
        };
        let Some(server) = link.server else {
            return false;
        };
        let until = *link.dying_until.get_or_insert(now + PATIENCE);
        let server = self.servers.get(server);
        let waits = now < until && server.is_some_and(|server| server.life.is_starting());
        run.due = waits.then_some(until);
        waits
    }

    /// A server has sent something.
    pub(super) fn note_answer(
        &mut self,
        run_id: RunId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let link = self.runs.get(run_id).and_then(|run| run.link.as_ref());
        match link.and_then(Link::server) {
            Some((server, _)) => self.note_server_answer(server, clients, ground),
            // A program that ran in a server's place does not show that the server can be started.
            None if !has_server(ground) && self.is_in_doubt() => self.note_proven(ground),
            None => {}
        }
    }

    /// Finds where `connect` leads.
    pub(super) fn find_peer(&mut self, address: &Address) -> Result<(), CannotRun> {
        if self.peer_of.as_ref() != Some(address) {
            self.peer = Some(scgi::resolve(address)?);
            self.peer_of = Some(address.clone());
        }
        Ok(())
    }
}

/// The app has a server of its own.
pub(super) fn has_server(ground: &Ground) -> bool {
    matches!(ground.config.app, App::Commands { scgi: Some(_), .. })
}

/// The app can be run as a CGI.
pub(super) fn has_cgi(ground: &Ground) -> bool {
    matches!(ground.config.app, App::Commands { cgi: Some(_), .. })
}

/// What a front or a web server has sent, as a server is to have it.
fn header_for_server(header: &[u8]) -> Vec<u8> {
    match crate::scgi::decode(header, header.len()) {
        Ok(Decoded::Header { header, .. }) => {
            let digits = header.value(b"CONTENT_LENGTH").map(std::str::from_utf8);
            let length = digits.and_then(|text| text.ok()?.parse().ok());
            app::scgi::header(header.pairs(), length)
        }
        // It was read from a header, so this does not happen.
        _ => header.to_vec(),
    }
}

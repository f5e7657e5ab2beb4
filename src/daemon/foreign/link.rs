//! How a place's request gets to an SCGI server, ours or somebody else's: the connection is begun, kept waiting for,
//! made again. What then goes over it is the exchange's, and what the server does is `supervise`'s.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::exchange::Exchange;
use super::feed::{Feed, Rest};
use super::runs::{AppEnd, Link, Run};
use crate::app::scgi::{self, Peer};
use crate::app::{self, CannotRun};
use crate::config::{Address, App};
use crate::daemon::Daemon;
use crate::daemon::clients::body::Ahead;
use crate::daemon::token::ServerId;
use crate::page::{Failure, whole_seconds};
use crate::policy::pool::{Refusal, WorkerId};
use crate::policy::queue::Ticket;
use crate::policy::server::Event;
use crate::report::plain;
use crate::scgi::Decoded;
use crate::sys::poll::{self, Interest};
use crate::sys::{clock, files, socket};

/// A request that has waited longer than this for a server has waited.
const INSTANT: Duration = Duration::from_millis(100);
/// What a client is told to wait, whose server can't be reached.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// How a request gets to one of our own servers.
#[derive(Debug)]
pub(crate) enum Reached {
    At(ServerId, OwnedFd),
    /// The system says no.
    Failed(io::Error),
    /// A failed start is too short ago.
    Nobody,
    NotYet,
}

impl Daemon {
    /// Gives a request to the app's own server.
    pub(crate) fn ask_server(&mut self, ticket: Ticket, place: WorkerId) {
        if self.has_cgi() && self.are_servers_resting() {
            self.run_cgi(ticket, place, None);
            return;
        }
        if self.hold(ticket, place) {
            self.try_server(place);
        }
    }

    /// Gives a request to a server that somebody else runs.
    pub(crate) fn ask_peer(&mut self, ticket: Ticket, place: WorkerId) {
        if !self.hold(ticket, place) {
            return;
        }
        match self.peer.clone() {
            Some(Peer::Path(path)) => match socket::begin_at_path(&path) {
                Ok(connection) => _ = self.link(place, connection, None, None),
                Err(error) => self.unreached(place, &error),
            },
            Some(Peer::Tcp(addresses)) => self.try_next(place, addresses),
            None => self.unreached(place, &io::ErrorKind::NotFound.into()),
        }
    }

    /// From here on the place has the request, whoever is going to get it. `false`: it can't.
    fn hold(&mut self, ticket: Ticket, place: WorkerId) -> bool {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return false;
        };
        let rest = match &mut client.request {
            Some(request) => {
                let file = match &request.ahead {
                    Ahead::Spool { file, len, .. } => match file.try_clone() {
                        Ok(file) => Some((file, 0..*len)),
                        Err(error) => {
                            self.cannot_give(ticket, place, &error);
                            return false;
                        }
                    },
                    Ahead::Memory(_) | Ahead::Nothing => None,
                };
                let (length, ahead) = (request.length, request.ahead.len());
                let bytes = match &mut request.ahead {
                    Ahead::Memory(bytes) => std::mem::take(bytes),
                    Ahead::Nothing | Ahead::Spool { .. } => Vec::new(),
                };
                request.length -= bytes.len() as u64;
                let left = length.saturating_sub(ahead);
                Rest { bytes, file, left }
            }
            None => Rest::default(),
        };
        client.phase = crate::daemon::clients::client::Phase::Running {
            worker: place,
            outgoing: None,
            unread: 0,
        };
        self.served_by.insert(place, ticket);
        self.runs.insert(place, Run::waiting(rest, clock::now()));
        true
    }

    /// Sends on what waits in a place, if a server takes it now.
    pub(crate) fn try_server(&mut self, place: WorkerId) {
        if self.runs.get(place).is_none_or(|run| run.waiting.is_none()) {
            return;
        }
        match self.reach_server() {
            Reached::At(server, connection) => {
                if self.link(place, connection, Some(server), None) {
                    self.note_sent(server);
                }
            }
            Reached::NotYet => self.wait_for_server(place),
            Reached::Nobody => self.fall_back(place),
            Reached::Failed(error) => self.unreached(place, &error),
        }
    }

    /// Nobody else: as a CGI, or not at all.
    fn fall_back(&mut self, place: WorkerId) {
        let Some(ticket) = self.ticket_of(place) else {
            return;
        };
        let rest = self.runs.get_mut(place).and_then(|run| run.waiting.take());
        if self.has_cgi() {
            self.runs.remove_if_over(place);
            self.run_cgi(ticket, place, rest);
        } else {
            self.refuse_place(place, Refusal::Broken);
        }
    }

    /// Its client gets a page instead.
    pub(crate) fn refuse_place(&mut self, place: WorkerId, refusal: Refusal) {
        let Some(ticket) = self.ticket_of(place) else {
            return;
        };
        self.drop_exchange(place);
        self.refuse_waiting(ticket, refusal);
        self.free(place);
    }

    /// Begins the exchange over a connection; `false`: it can't.
    fn link(
        &mut self,
        place: WorkerId,
        connection: OwnedFd,
        server: Option<ServerId>,
        connecting: Option<Vec<SocketAddr>>,
    ) -> bool {
        let Some(ticket) = self.ticket_of(place) else {
            return false;
        };
        let other = match files::duplicate(&connection) {
            Ok(other) => other,
            Err(error) => {
                self.unreached(place, &error);
                return false;
            }
        };
        let request = self.clients.get(&ticket).and_then(|c| c.request.as_ref());
        let (Some(request), Some(run)) = (request, self.runs.get_mut(place)) else {
            return false;
        };
        let Some(rest) = run.waiting.take() else {
            return false;
        };
        let (since, asked_since) = (clock::now(), run.since);
        let header = header_for_server(&request.header);
        let link = Link {
            server,
            since,
            header: header.len(),
            connecting,
            dying_until: None,
        };
        let exchange = Exchange::new(Feed::of(other, header, rest), connection, request.reader);
        let mut run = Run::new(exchange, None, asked_since);
        run.link = Some(link);
        let is_loading = server.and_then(|id| self.servers.get(id));
        let is_loading = is_loading.is_some_and(|server| !server.life.is_proven());
        if is_loading || since.saturating_sub(asked_since) > INSTANT {
            run.begins_late();
        }
        self.begin(ticket, place, run);
        true
    }

    /// Begins a connection to the first of these that one can be begun to.
    fn try_next(&mut self, place: WorkerId, mut addresses: Vec<SocketAddr>) {
        let mut last = io::ErrorKind::NotFound.into();
        while !addresses.is_empty() {
            match socket::begin_at(addresses.remove(0)) {
                Ok(connection) => {
                    self.link(place, connection, None, Some(addresses));
                    return;
                }
                Err(error) => last = error,
            }
        }
        self.unreached(place, &last);
    }

    /// The connection of this place is still on its way: nothing can be sent or read. One that can't be made is made
    /// again to the next address, or ends the exchange.
    pub(crate) fn is_connecting(&mut self, place: WorkerId) -> bool {
        let Some(run) = self.runs.get_mut(place) else {
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
            run.watch(&self.poll, place, AppEnd::Output, None);
            run.watch(&self.poll, place, AppEnd::Input, Some(Interest::Write));
            return true;
        }
        let failed = socket::take_error(exchange.from()).err();
        let others = link.connecting.take().unwrap_or_default();
        let Some(error) = failed else {
            run.watch(&self.poll, place, AppEnd::Output, Some(Interest::Read));
            return false;
        };
        self.take_back(place, Vec::new());
        if others.is_empty() {
            self.unreached(place, &error);
        } else {
            self.try_next(place, others);
        }
        true
    }

    /// The exchange never was: what was to be sent waits again. `unread`: what a server was sent and has not read.
    pub(crate) fn take_back(&mut self, place: WorkerId, unread: Vec<u8>) {
        let Some(run) = self.runs.get_mut(place) else {
            return;
        };
        let header = run.link.as_ref().map_or(0, |link| link.header);
        let link = run.link.take();
        if let Some(mut exchange) = run.end_exchange(&self.poll, place) {
            run.waiting = Some(exchange.feed.take_back(unread, header));
        }
        if let Some(link) = link {
            self.unlink(&link);
        }
    }

    /// A connection is over, however that came.
    pub(crate) fn unlink(&mut self, link: &Link) {
        if let Some(server) = link.server {
            self.tell_server(server, Event::Finished);
        }
    }

    /// Nobody can be asked now.
    fn unreached(&mut self, place: WorkerId, error: &io::Error) {
        let Some(ticket) = self.ticket_of(place) else {
            return;
        };
        let object = match &self.config.app {
            App::Connect(address) => address.to_string(),
            App::Commands { .. } | App::Wsgi(_) => "the app's server".to_owned(),
        };
        let sentence = plain(&format!("cannot connect to {object}: {error}"));
        if self.is_new_reason(&sentence) {
            ::log::error!("{sentence}");
        }
        self.tell_web_server(ticket, &sentence);
        self.drop_exchange(place);
        self.overloads += 1;
        let retry_after = whole_seconds(RETRY_AFTER);
        self.answer(ticket, Failure::Away { retry_after }, &sentence);
        self.free(place);
    }

    /// The server may have ended, and it is not known yet: that says more than the end of the connection.
    pub(crate) fn may_be_dying(&mut self, place: WorkerId) -> bool {
        const PATIENCE: Duration = Duration::from_secs(1);
        let now = clock::now();
        let Some(run) = self.runs.get_mut(place) else {
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

    /// A server has said something.
    pub(crate) fn app_answers(&mut self, place: WorkerId) {
        let link = self.runs.get(place).and_then(|run| run.link.as_ref());
        match link.and_then(Link::server) {
            Some((server, _)) => self.server_answers(server),
            // A program that ran in a server's place says nothing of that.
            None if !self.has_server() && self.is_in_doubt() => self.note_proven(),
            None => {}
        }
    }

    /// Finds where `connect` leads.
    pub(crate) fn find_peer(&mut self, address: &Address) -> Result<(), CannotRun> {
        if self.peer_of.as_ref() != Some(address) {
            self.peer = Some(scgi::resolve(address)?);
            self.peer_of = Some(address.clone());
        }
        Ok(())
    }

    fn has_server(&self) -> bool {
        matches!(self.config.app, App::Commands { scgi: Some(_), .. })
    }

    pub(crate) fn has_cgi(&self) -> bool {
        matches!(self.config.app, App::Commands { cgi: Some(_), .. })
    }
}

/// What a front or a web server has sent, as a server is to have it.
fn header_for_server(header: &[u8]) -> Vec<u8> {
    match crate::scgi::decode(header, header.len()) {
        Ok(Decoded::Header { header, .. }) => {
            let digits = header.value(b"CONTENT_LENGTH").map(std::str::from_utf8);
            let length = digits.and_then(|text| text.ok()?.parse().ok());
            app::scgi::header(header.pairs(), length)
        }
        // It was read from one, so this is none of ours.
        _ => header.to_vec(),
    }
}

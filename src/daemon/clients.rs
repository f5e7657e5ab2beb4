//! What clients do and what is done to them: accepted, read, queued, given to a worker, answered, let go.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use super::client::{Client, HEADER_TIME, Phase, Progress, Taken};
use super::header::{Asked, Refused, Rules};
use super::token::Token;
use super::{Daemon, NAME};
use crate::answer::DRAIN_TIME;
use crate::app;
use crate::cgi::request::BadRequest;
use crate::control::Command;
use crate::page::{Answer, Failure};
use crate::policy::pool::{Event, Refusal, WorkerId};
use crate::policy::queue::Ticket;
use crate::scgi::BadHeader;
use crate::sys::poll::{Interest, Ready};
use crate::sys::{Errno, clock, is, socket};

/// After an accept that failed; well below what a front waits for the daemon's first word.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

impl Daemon {
    pub(super) fn accept(&mut self) {
        while let Some(listener) = self.listener.as_ref().filter(|_| self.is_accepting) {
            let connection = match socket::accept(listener.as_fd()) {
                Ok(connection) => connection,
                Err(error) if is(&error, Errno::EAGAIN) => return,
                Err(error) if is(&error, Errno::ECONNABORTED) || is(&error, Errno::EINTR) => {
                    continue;
                }
                Err(error) => {
                    // Whoever waits still waits: without a pause this would be tried again at once, and for ever.
                    ::log::error!("cannot accept: {error}");
                    self.accept_at = Some(clock::now() + ACCEPT_PAUSE);
                    self.watch_limit();
                    return;
                }
            };
            self.take_in(connection);
            self.watch_limit();
        }
    }

    /// A new connection: most of the time its header is there already.
    pub(super) fn take_in(&mut self, connection: std::os::fd::OwnedFd) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        if let Err(error) = self.poll.add(
            &connection,
            Token::Connection(ticket).into(),
            Interest::Read,
        ) {
            ::log::error!("cannot watch a connection: {error}");
            return;
        }
        self.clients.insert(ticket, Client::new(connection));
        self.read_header(ticket);
    }

    pub(super) fn on_connection(&mut self, ticket: Ticket, ready: Ready) {
        let Some(client) = self.clients.get(&ticket) else {
            return;
        };
        match &client.phase {
            Phase::Header { .. } => self.read_header(ticket),
            // Whoever waits and hangs up is dropped.
            Phase::Waiting { .. } if ready.gone => {
                ::log::debug!("hung up: ticket={ticket}");
                self.events.push_back(Event::HungUp(ticket));
                self.drop_client(ticket);
            }
            _ => {}
        }
    }

    fn read_header(&mut self, ticket: Ticket) {
        let rules = Rules {
            header_limit: self.config.limits.header,
            handoff: self.config.handoff,
        };
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        let (Phase::Header { reader, .. }, Some(connection)) =
            (&mut client.phase, &client.connection)
        else {
            return;
        };
        match reader.read(connection.as_fd(), rules) {
            Ok(None) => {
                self.limited
                    .entry(ticket)
                    .or_insert_with(|| clock::now() + HEADER_TIME);
            }
            Ok(Some(Ok(Asked::Control(command)))) => self.obey(ticket, command),
            Ok(Some(Ok(Asked::Request(request)))) => self.queue(ticket, request),
            Ok(Some(Err(refused))) => self.refuse_header(ticket, refused),
            Err(error) => {
                ::log::debug!("connection lost in the header: ticket={ticket} error={error}");
                self.drop_client(ticket);
            }
        }
    }

    fn queue(&mut self, ticket: Ticket, request: Box<Taken>) {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        if self.leaving.sends_away(&request) {
            // Its front finds the name gone, and goes on by itself.
            self.drop_client(ticket);
            return;
        }
        self.limited.remove(&ticket);
        let is_plain = request.passed.is_none();
        let length = request.length;
        client.phase = Phase::Waiting { request };
        self.requests += 1;
        if let Some(connection) = &client.connection {
            // A plain client may half-close behind its body and still wait for the response.
            let interest = if is_plain {
                Interest::HangUp
            } else {
                Interest::Gone
            };
            if let Err(error) =
                self.poll
                    .change(connection, Token::Connection(ticket).into(), interest)
            {
                ::log::warn!("cannot watch a connection: {error}");
            }
        }
        if self.config.limits.body.is_some_and(|limit| length > limit) {
            self.answer(ticket, Failure::BodyTooLarge, "");
            return;
        }
        self.arrived.push(ticket);
        self.events.push_back(Event::Arrived(ticket));
    }

    fn refuse_header(&mut self, ticket: Ticket, refused: Refused) {
        let (failure, sentence) = match refused {
            Refused::Header(BadHeader::TooLarge) => (
                Failure::HeaderTooLarge,
                "the header is larger than header-limit".to_owned(),
            ),
            Refused::Header(bad) => (Failure::BadRequest, format!("not an SCGI header: {bad}")),
            Refused::Request(BadRequest::Duplicate) => (
                Failure::BadRequest,
                "two values for one meta-variable".to_owned(),
            ),
            Refused::Request(bad) => (Failure::BadRequest, format!("bad meta-variables: {bad}")),
            Refused::Lost | Refused::Protocol => {
                ::log::warn!("closed: ticket={ticket} reason={refused:?}");
                self.drop_client(ticket);
                return;
            }
            Refused::Stranger => (
                Failure::BadRequest,
                "a command from another user".to_owned(),
            ),
        };
        ::log::error!("refused: {sentence}");
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        if let Some(request) = client.give_up_header() {
            client.phase = Phase::Waiting { request };
            self.tell_web_server(ticket, &sentence);
            self.answer(ticket, failure, "");
        }
    }

    /// What concerns a request goes to its web server's log, where there is a way to it.
    pub(super) fn tell_web_server(&mut self, ticket: Ticket, sentence: &str) {
        let line = format!("polycgi: {NAME}: {sentence}\n");
        if let Some(errors) = self.clients.get(&ticket).and_then(Client::errors) {
            // A log that takes nothing now has missed it; the daemon's own has it.
            self.scratch.write_what_fits(errors, line.as_bytes());
        }
    }

    fn obey(&mut self, ticket: Ticket, command: Command) {
        match command {
            Command::Ready => {
                self.limited.remove(&ticket);
                let client = self.clients.get(&ticket);
                if let Some(connection) = client.and_then(|client| client.connection.as_ref()) {
                    // Nothing more is to be read, and a hang-up would be reported in every turn until the start ends.
                    self.poll.remove(connection);
                }
                self.curious.push(ticket);
                return;
            }
            Command::Status => {}
            Command::Stop => {
                ::log::info!("leave: stop");
                self.leave(None);
            }
        }
        self.tell_status(ticket);
    }

    fn tell_status(&mut self, ticket: Ticket) {
        let text = self.status().to_lines();
        let client = self.clients.get(&ticket);
        if let Some(connection) = client.and_then(|client| client.connection.as_ref()) {
            // Small enough for a fresh socket; a person who is gone reads nothing.
            let _ = socket::send_now(connection.as_fd(), text.as_bytes());
        }
        self.drop_client(ticket);
    }

    /// Whoever wanted to know how the start ends is told when it has.
    pub(super) fn tell_the_curious(&mut self) {
        if self.pool.is_proven() || self.leaving.has_begun() {
            for ticket in std::mem::take(&mut self.curious) {
                self.tell_status(ticket);
            }
        }
    }

    /// Who is still waiting at the end of the turn in which it came is told so.
    pub(super) fn tell_the_queued(&mut self) {
        for ticket in std::mem::take(&mut self.arrived) {
            let Some(client) = self.clients.get_mut(&ticket) else {
                continue;
            };
            if matches!(client.phase, Phase::Waiting { .. }) && !client.say_queued() {
                self.events.push_back(Event::HungUp(ticket));
                self.drop_client(ticket);
            }
        }
    }

    /// Gives a request to a worker. What comes of it is the pool's next event, before those that wait already: one of
    /// them may be this worker's death, and a request that a dead worker still has is lost.
    pub(super) fn dispatch(&mut self, ticket: Ticket, worker: WorkerId) {
        let Some(client) = self.clients.get_mut(&ticket) else {
            self.events.push_front(Event::NotTaken(worker));
            return;
        };
        if let Some(connection) = &client.connection {
            self.poll.remove(connection);
        }
        if !client.say_taken() {
            ::log::debug!("taken back: ticket={ticket}");
            self.events.push_front(Event::NotTaken(worker));
            self.drop_client(ticket);
            return;
        }
        let sent = match (client.request(), client.input(), client.output()) {
            (Some(request), Some(input), Some(output)) => {
                self.workers
                    .dispatch(worker, &request.header, &[input, output])
            }
            _ => Err(io::ErrorKind::NotConnected.into()),
        };
        match sent {
            Ok(()) => {
                client.run_on(worker);
                self.served_by.insert(worker, ticket);
            }
            Err(error) if is_end(&error) => {
                ::log::warn!("cannot give a request to worker {worker}: {error}");
                self.workers.kill(worker);
                self.events.push_front(Event::Returned(worker));
            }
            Err(error) => {
                // No other worker could be given it: too many descriptors are on their way, or no memory is left.
                ::log::error!("cannot give a request to any worker: {error}");
                self.events.push_front(Event::NotTaken(worker));
                let retry_after = Duration::from_secs(2);
                self.refuse_waiting(ticket, Refusal::Overloaded { retry_after });
            }
        }
    }

    /// The request that this worker has.
    pub(super) fn ticket_of(&self, worker: WorkerId) -> Option<Ticket> {
        self.served_by.get(&worker).copied()
    }

    /// The oldest request that waits: what concerns all of them is told to its web server only.
    pub(super) fn oldest_waiting(&self) -> Option<Ticket> {
        let waits = |client: &Client| matches!(client.phase, Phase::Waiting { .. });
        self.clients
            .iter()
            .find(|(_, client)| waits(client))
            .map(|(&ticket, _)| ticket)
    }

    pub(super) fn refuse_waiting(&mut self, ticket: Ticket, refusal: Refusal) {
        if matches!(refusal, Refusal::Overloaded { .. }) {
            self.overloads += 1;
        }
        let reason = match refusal {
            Refusal::Broken | Refusal::StartTimedOut => {
                self.tell_last_words(ticket);
                self.last_failure.clone().unwrap_or_default()
            }
            Refusal::Overloaded { .. } => String::new(),
        };
        self.answer(ticket, failure(refusal), &reason);
    }

    /// Answers with a page of ours; then reads what the client still sends.
    pub(super) fn answer(&mut self, ticket: Ticket, failure: Failure, reason: &str) {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        if let Some(connection) = &client.connection {
            self.poll.remove(connection);
        }
        if !client.say_taken() {
            self.drop_client(ticket);
            return;
        }
        let own_page = app::own_page(&self.app, &self.config);
        let Some(request) = client.request() else {
            return;
        };
        let is_shown =
            !reason.is_empty() && app::shows_errors(&self.config, &request.client_address);
        let page = Answer {
            failure,
            form: request.form,
            head_only: request.head_only,
            refreshes: request.refreshes,
            reason: is_shown.then_some(reason),
            html: own_page.as_deref(),
        }
        .to_cgi_response();
        if let Phase::Running { worker, .. } = client.phase {
            self.served_by.remove(&worker);
        }
        ::log::debug!("answered: ticket={ticket} status={}", failure.status());
        client.begin_answer(page);
        self.write_page(ticket);
    }

    pub(super) fn write_page(&mut self, ticket: Ticket) {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        match client.write_page(&mut self.scratch) {
            Progress::Finished => self.start_draining(ticket),
            Progress::Lost => self.finish(ticket),
            Progress::Waits => {
                if let Some(output) = client.output() {
                    // EEXIST: watched already. EPERM: always ready, and then it would not be here.
                    let _ = self
                        .poll
                        .add(output, Token::Output(ticket).into(), Interest::Write);
                }
            }
        }
    }

    fn start_draining(&mut self, ticket: Ticket) {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        if let Some(output) = client.output() {
            self.poll.remove(output);
        }
        client.begin_draining();
        if let (true, Some(connection)) = (client.is_plain(), &client.connection) {
            // It reads the page's end here, and not in a reset for what it still sends.
            let _ = socket::shut_writing(connection.as_fd());
        }
        self.limited.insert(ticket, clock::now() + DRAIN_TIME);
        self.drain(ticket);
    }

    pub(super) fn drain(&mut self, ticket: Ticket) {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        match client.drain(&mut self.scratch) {
            Progress::Finished | Progress::Lost => self.finish(ticket),
            Progress::Waits => {
                if let Some(input) = client.input() {
                    // As in write_page.
                    let _ = self
                        .poll
                        .add(input, Token::Input(ticket).into(), Interest::Read);
                }
            }
        }
    }

    pub(super) fn expire_clients(&mut self, now: Duration) {
        let late: Vec<Ticket> = self
            .limited
            .iter()
            .filter(|&(_, &at)| at <= now)
            .map(|(&ticket, _)| ticket)
            .collect();
        for ticket in late {
            ::log::debug!("time is over: ticket={ticket}");
            self.finish(ticket);
        }
    }

    /// The request is answered: our copies are closed, and the front may go.
    pub(super) fn finish(&mut self, ticket: Ticket) {
        if let Some(client) = self.forget(ticket) {
            client.finish();
        }
        self.watch_limit();
    }

    /// To the client this daemon never existed.
    pub(super) fn drop_client(&mut self, ticket: Ticket) {
        self.forget(ticket);
        self.watch_limit();
    }

    fn forget(&mut self, ticket: Ticket) -> Option<Client> {
        let client = self.clients.remove(&ticket)?;
        self.limited.remove(&ticket);
        if let Phase::Running { worker, .. } = client.phase {
            self.served_by.remove(&worker);
        }
        // Others hold these as well, and epoll would go on about them.
        let connection = client.connection.as_ref().map(AsFd::as_fd);
        for fd in [client.input(), client.output(), connection]
            .into_iter()
            .flatten()
        {
            self.poll.remove(fd);
        }
        Some(client)
    }
}

/// Whether a worker that a packet could not be sent to is gone, or takes no more.
fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected, WouldBlock};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionReset | NotConnected | WouldBlock
    )
}

/// For a refusal: what the client gets, and whether it counts as an overload.
fn failure(refusal: Refusal) -> crate::page::Failure {
    use crate::page::{Failure, whole_seconds};
    match refusal {
        Refusal::Broken => Failure::AppBroken,
        Refusal::Overloaded { retry_after } => Failure::Overloaded {
            retry_after: whole_seconds(retry_after),
        },
        Refusal::StartTimedOut => Failure::TimedOut,
    }
}

/// How many descriptors a number of clients and workers amounts to, at the most: a connection and three that were
/// passed; a channel, a pipe, and one more while it is made; and our own.
fn fds_of(clients: usize, workers: usize) -> u64 {
    (32 + 4 * clients + 3 * workers) as u64
}

impl Daemon {
    /// Stops accepting 16 descriptors below the limit, or when the host has no room; and begins again.
    pub(super) fn watch_limit(&mut self) {
        let Some(listener) = &self.listener else {
            return;
        };
        let used = fds_of(self.clients.len(), self.pool.workers().count());
        // One client is always served, however low the limit.
        let has_descriptors = self.clients.is_empty() || used + 16 < self.most_fds;
        let has_room = has_descriptors && self.accept_at.is_none();
        if has_room == self.is_accepting {
            return;
        }
        self.is_accepting = has_room;
        if has_room {
            if let Err(error) = self
                .poll
                .add(listener, Token::Listener.into(), Interest::Read)
            {
                ::log::error!(
                    "cannot listen again on descriptor {}: {error}",
                    listener.as_raw_fd()
                );
            }
        } else {
            if !has_descriptors {
                ::log::warn!(
                    "descriptors run out: clients={} limit={}",
                    self.clients.len(),
                    self.most_fds
                );
            }
            self.poll.remove(listener);
        }
    }
}

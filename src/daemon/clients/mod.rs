//! What clients do and what is done to them: accepted, read, queued, given to a worker, answered, let go.

pub(crate) mod body;
pub(crate) mod client;
pub(crate) mod doubt;
pub(crate) mod errors;
pub(crate) mod header;
pub(crate) mod outgoing;
pub(crate) mod taken;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use log::Level;

use self::client::{Client, HEADER_TIME, Phase};
use self::header::{Asked, Refused, Rules};
use self::taken::Taken;
use crate::daemon::Daemon;
use crate::daemon::NAME;
use crate::daemon::door::guests::Guest;
use crate::daemon::turn::Progress;
use crate::daemon::watch::End;

use crate::answer::DRAIN_TIME;
use crate::app;
use crate::cgi::meta::Peer;
use crate::config::{App, Handoff};
use crate::page::{Answer, Failure};
use crate::policy::pool::{Event, Refusal, WorkerId};
use crate::policy::queue::Ticket;
use crate::policy::shares::Stage;
use crate::scgi::BadHeader;
use crate::sys::poll::{Interest, Ready};
use crate::sys::{clock, socket};

/// What a front may take to go once it is told to.
const PARTING_TIME: Duration = Duration::from_secs(1);
/// A request that takes no longer is over before anybody asks whether its client is still there.
const SHORT: Duration = Duration::from_millis(20);

impl Daemon {
    /// A new connection: most of the time its header is there already.
    pub(crate) fn take_in(
        &mut self,
        connection: OwnedFd,
        peer: Peer,
        pid: i32,
        guest: Option<Guest>,
        is_at_place: bool,
    ) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        if let Some(guest) = guest {
            self.enter(ticket, guest, peer);
        }
        let client = Client::new(connection, peer, pid, guest, is_at_place);
        self.clients.insert(ticket, client);
        self.read_header(ticket);
    }

    pub(crate) fn on_connection(&mut self, ticket: Ticket, ready: Ready) {
        let Some(client) = self.clients.get(&ticket) else {
            return;
        };
        let (is_plain, gone) = (client.is_plain(), ready.gone);
        match &client.phase {
            Phase::Header { .. } => self.read_header(ticket),
            Phase::Receiving { .. } if is_plain => self.receive(ticket),
            // Whoever waits and hangs up is dropped.
            Phase::Receiving { .. } | Phase::Waiting if gone => self.hang_up(ticket),
            // The end of what a plain client sends is not its own.
            &Phase::Running { worker, .. } if is_plain && self.reads_body(worker) => {
                self.send_on(worker);
                self.send(ticket);
            }
            Phase::Parting => self.close(ticket),
            Phase::Running { .. } if gone => self.lose(ticket),
            Phase::Running { .. } if is_plain => self.send(ticket),
            Phase::Answering { .. } if is_plain => self.write_page(ticket),
            Phase::Draining { .. } if is_plain => self.drain(ticket),
            Phase::Finishing { .. } if is_plain => self.finish_off(ticket),
            Phase::Answering { .. } | Phase::Draining { .. } | Phase::Finishing { .. } if gone => {
                self.finish(ticket);
            }
            // A front has nothing more to send: as long as it sends nothing, and is there, it may be watched as it was
            // for its header.
            _ if ready.readable => self.watch_end(ticket),
            _ => {}
        }
    }

    fn watch_end(&mut self, ticket: Ticket) {
        if let Some(client) = self.clients.get_mut(&ticket) {
            client.watch_end(&self.poll, ticket);
        }
    }

    /// There is something in the input that a front passed.
    pub(crate) fn on_input(&mut self, ticket: Ticket) {
        match self.clients.get(&ticket).map(|client| &client.phase) {
            Some(Phase::Receiving { .. }) => self.receive(ticket),
            Some(Phase::Draining { .. }) => self.drain(ticket),
            Some(&Phase::Running { worker, .. }) => self.send_on(worker),
            _ => self.finish_off(ticket),
        }
    }

    /// There is room in the output that a front passed, or nobody reads it.
    pub(crate) fn on_output(&mut self, ticket: Ticket) {
        match self.clients.get(&ticket).map(|client| &client.phase) {
            Some(Phase::Answering { .. }) => self.write_page(ticket),
            // Its front has left, so this is where a client is seen to go.
            Some(Phase::Receiving { .. } | Phase::Waiting) => self.hang_up(ticket),
            _ => self.send(ticket),
        }
    }

    fn read_header(&mut self, ticket: Ticket) {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        let rules = Rules {
            header_limit: self.config.limits.header,
            mount: self.config.mount.as_ref(),
            peer: client.peer,
            is_at_place: client.is_at_place,
            priority_cookie: self.config.queue.priority_cookie.as_deref(),
            handoff: self.config.handoff,
        };
        let (Phase::Header { reader, .. }, Some(connection)) =
            (&mut client.phase, &client.connection)
        else {
            return;
        };
        match reader.read(connection.as_fd(), rules, &mut self.block) {
            Ok(None) => {
                let kept = reader.kept();
                client.watch(&self.poll, ticket, End::Connection, Interest::Read);
                self.limited.limit(ticket, clock::now() + HEADER_TIME);
                self.keep(ticket, kept);
            }
            Ok(Some(Ok(Asked::Control(command)))) => self.obey(ticket, command),
            Ok(Some(Ok(Asked::Request(request)))) => self.queue(ticket, request),
            Ok(Some(Err(refused))) => self.refuse_header(ticket, refused),
            Err(error) => {
                ::log::debug!("connection lost in the header: ticket={ticket} error={error}");
                self.note_late();
                self.drop_client(ticket);
            }
        }
    }

    fn queue(&mut self, ticket: Ticket, mut request: Box<Taken>) {
        if self.leaving.sends_away(&request) {
            // Its front finds the name gone, and goes on by itself.
            self.drop_client(ticket);
            return;
        }
        ::log::debug!("asked: ticket={ticket} own={}", request.is_own);
        if let Some(name) = request.unbelieved.take() {
            self.note_unbelieved(&name);
        }
        for name in std::mem::take(&mut request.overridden) {
            self.note_overridden(name);
        }
        let refusal = request.refusal.take();
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        self.limited.remove(ticket);
        self.shares.go_to(ticket, Stage::Served);
        let (length, to_end) = (request.length, request.to_end);
        let missing = length - request.ahead.len();
        client.request = Some(request);
        client.phase = Phase::Waiting;
        if client.is_plain() && client.is_watched() {
            // Its header came in pieces. It may have more to send, or nothing, which is not its end.
            client.watch_end(&self.poll, ticket);
        }
        self.arrived.push(ticket);
        self.requests += 1;
        // For the rate: with a daemon no front notes it.
        self.slots.arrive(clock::now());
        let is_whole = client
            .input()
            .is_none_or(|input| Daemon::has_whole_body(input, missing));
        let never_has_body = !is_whole && client.never_has_body();
        if let Some((failure, sentence)) = refusal {
            self.note_refusal(ticket, &sentence);
            self.reload_if_edited();
            self.answer(ticket, failure, &sentence);
        } else if to_end {
            self.announce(ticket);
        } else if never_has_body {
            self.do_without_body(ticket, false);
            self.arrive(ticket);
        } else if self.config.limits.body.is_some_and(|limit| length > limit) {
            self.answer(ticket, Failure::BodyTooLarge, "");
        } else if is_whole || self.pool.is_full() {
            // Nor is a body read for a request that will be refused.
            self.arrive(ticket);
        } else {
            self.announce(ticket);
        }
    }

    /// From now on the request waits for a worker.
    pub(crate) fn arrive(&mut self, ticket: Ticket) {
        self.shares.go_to(ticket, Stage::Served);
        let request = self.clients.get(&ticket).and_then(|c| c.request.as_ref());
        let is_known = request.is_some_and(|request| request.is_known);
        self.events.push_back(Event::Arrived { ticket, is_known });
    }

    fn refuse_header(&mut self, ticket: Ticket, refused: Refused) {
        let mut detail = String::new();
        let (failure, sentence) = match refused {
            Refused::Header(BadHeader::TooLarge) => (
                Failure::HeaderTooLarge,
                "the header is larger than header-limit".to_owned(),
            ),
            Refused::Header(bad) => (Failure::BadRequest, format!("not an SCGI header: {bad}")),
            Refused::Request(bad, twice) => {
                detail = twice.map_or(detail, |name| format!(": {name}"));
                (
                    Failure::BadRequest,
                    format!("cannot take the request: {bad}"),
                )
            }
            Refused::Lost | Refused::Protocol => {
                ::log::warn!("closed: ticket={ticket} reason={refused:?}");
                self.drop_client(ticket);
                return;
            }
            Refused::Command => (
                Failure::BadRequest,
                "a command that this client may not give".to_owned(),
            ),
        };
        self.note_refused(ticket, Level::Error, &sentence, &detail, clock::now());
        let sentence = format!("{sentence}{detail}");
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        if let Some(request) = client.give_up_header() {
            client.request = Some(request);
            client.phase = Phase::Waiting;
            client.watch(&self.poll, ticket, End::Connection, Interest::HangUp);
            self.tell_web_server(ticket, &sentence);
            self.answer(ticket, failure, "");
        }
    }

    /// What concerns a request goes to its web server's log; `false` where there is no way to it.
    pub(crate) fn tell_web_server(&mut self, ticket: Ticket, sentence: &str) -> bool {
        let line = format!("polycgi: {NAME}: {sentence}\n");
        self.write_errors(ticket, line.as_bytes())
    }

    /// Who is still waiting at the end of the turn in which it came is told so, and whoever hangs up is noticed. A front
    /// that may leave where that is safe stays until its request is taken, so that it can go elsewhere if we die; one
    /// that must leave leaves now. A request that a worker has already is most often over before it could be of use to
    /// anybody that its client is gone.
    pub(crate) fn tell_the_queued(&mut self) {
        let lets_go = self.config.handoff == Handoff::Exit;
        while let Some(ticket) = self.arrived.pop() {
            let Some(client) = self.clients.get_mut(&ticket) else {
                continue;
            };
            if matches!(client.phase, Phase::Running { .. }) && client.connection.is_some() {
                self.unwatched.push_back((clock::now() + SHORT, ticket));
                continue;
            }
            let waits = matches!(client.phase, Phase::Receiving { .. } | Phase::Waiting);
            if waits && !client.say_queued(lets_go) {
                // Before its descriptors are closed, which its web server may see.
                self.note_late();
                self.hang_up(ticket);
                continue;
            }
            client.watch_end(&self.poll, ticket);
            if waits && client.connection.is_none() {
                client.watch(&self.poll, ticket, End::Output, Interest::HangUp);
            }
        }
    }

    /// Requests that are not over so soon.
    pub(crate) fn watch_the_long(&mut self, now: Duration) {
        while let Some(&(due, ticket)) = self.unwatched.front()
            && due <= now
        {
            self.unwatched.pop_front();
            self.watch_end(ticket);
        }
    }

    /// Gives a request to a worker. What comes of it is the pool's next event, before those that wait already: one of
    /// them may be this worker's death, and a request that a dead worker still has is lost.
    pub(crate) fn dispatch(&mut self, ticket: Ticket, worker: WorkerId) {
        let Some(client) = self.clients.get_mut(&ticket) else {
            self.events.push_front(Event::NotTaken(worker));
            return;
        };
        if !client.say_taken() {
            ::log::debug!("taken back: ticket={ticket}");
            self.note_late();
            self.events.push_front(Event::NotTaken(worker));
            self.drop_client(ticket);
            return;
        }
        client.watch(&self.poll, ticket, End::Output, None);
        if !matches!(self.config.app, App::Wsgi(_)) {
            self.dispatch_foreign(ticket, worker);
            return;
        }
        let sent = match (&client.request, client.input(), client.output()) {
            (Some(request), Some(input), Some(output)) => {
                request.ahead.to_file().and_then(|ahead| {
                    let fds = body::descriptors(request, input, output, ahead.as_ref());
                    self.workers
                        .dispatch(worker, &request.header, &fds, clock::now())
                })
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        };
        match sent {
            Ok(()) => {
                if let Some(request) = &mut client.request {
                    request.length -= request.ahead.give_up_memory();
                }
                client.phase = Phase::Running {
                    worker,
                    outgoing: None,
                    unread: 0,
                };
                self.served_by.insert(worker, ticket);
            }
            Err(error) if is_end(&error) => {
                ::log::warn!("cannot give a request to worker {worker}: {error}");
                self.workers.kill(worker);
                self.events.push_front(Event::Returned(worker));
            }
            Err(error) => self.cannot_give(ticket, worker, &error),
        }
    }

    /// No other worker could be given it either: too many descriptors are on their way, or no memory is left.
    pub(crate) fn cannot_give(&mut self, ticket: Ticket, worker: WorkerId, error: &io::Error) {
        ::log::error!("cannot give a request to any worker: {error}");
        self.events.push_front(Event::NotTaken(worker));
        let retry_after = Duration::from_secs(2);
        self.refuse_waiting(ticket, Refusal::Overloaded { retry_after });
    }

    /// The request that this worker has.
    pub(crate) fn ticket_of(&self, worker: WorkerId) -> Option<Ticket> {
        self.served_by.get(&worker).copied()
    }

    /// The oldest request that waits: what concerns all of them is told to its web server only.
    pub(crate) fn oldest_waiting(&self) -> Option<Ticket> {
        let waits = |client: &Client| matches!(client.phase, Phase::Waiting);
        self.clients
            .iter()
            .find(|(_, client)| waits(client))
            .map(|(&ticket, _)| ticket)
    }

    pub(crate) fn refuse_waiting(&mut self, ticket: Ticket, refusal: Refusal) {
        if matches!(refusal, Refusal::Overloaded { .. }) {
            self.overloads += 1;
        }
        if matches!(refusal, Refusal::HostRefused { .. }) && self.can_go(ticket) {
            self.send_off(ticket);
            return;
        }
        let reason = match refusal {
            Refusal::Broken | Refusal::HostRefused { .. } | Refusal::StartTimedOut => {
                self.tell_last_words(ticket);
                self.last_failure.clone().unwrap_or_default()
            }
            Refusal::Overloaded { .. } => String::new(),
        };
        self.answer(ticket, failure(refusal), &reason);
    }

    /// A front that can run the app itself, and has a request that is untouched.
    fn can_go(&self, ticket: Ticket) -> bool {
        let request = self.clients.get(&ticket).and_then(|c| c.request.as_ref());
        self.config.app.runs_as_cgi() && request.is_some_and(|request| request.can_go_elsewhere())
    }

    /// No worker can be had: fronts that wait run the app themselves.
    pub(crate) fn let_go(&mut self) {
        let waits = |client: &Client| matches!(client.phase, Phase::Waiting);
        let waiting = self.clients.iter().filter(|(_, client)| waits(client));
        for ticket in waiting.map(|(&ticket, _)| ticket).collect::<Vec<_>>() {
            if self.can_go(ticket) {
                self.send_off(ticket);
            }
        }
    }

    /// Lets a front go on by itself; its web server is told why, if it is the first.
    fn send_off(&mut self, ticket: Ticket) {
        if !self.has_proved_itself() {
            self.slots.note_refused();
        }
        self.tell_last_words(ticket);
        self.hang_up(ticket);
    }

    /// Answers with a page of ours; then reads what the client still sends.
    pub(crate) fn answer(&mut self, ticket: Ticket, failure: Failure, reason: &str) {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        let before = client.spooled();
        if let (Phase::Receiving { body }, Some(request)) = (&client.phase, &mut client.request) {
            // It will not arrive.
            self.events.push_back(Event::HungUp(ticket));
            request.length -= body.len();
        }
        if let Phase::Running { worker, .. } = client.phase {
            self.served_by.remove(&worker);
        }
        if !client.say_taken() {
            self.drop_client(ticket);
            return;
        }
        let own_page = app::own_page(&self.app, &self.config);
        let Some(request) = &client.request else {
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
        ::log::debug!("answered: ticket={ticket} status={}", failure.status());
        self.shares.go_to(ticket, Stage::Answered);
        self.shares.keep(ticket, 0);
        client.phase = Phase::Answering { page, written: 0 };
        client.watch(&self.poll, ticket, End::Input, None);
        self.account(ticket, before);
        let due = clock::now() + self.config.timeouts.request;
        self.limited.insert(ticket, due);
        self.write_page(ticket);
    }

    pub(crate) fn write_page(&mut self, ticket: Ticket) {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        match client.write_page(&mut self.scratch) {
            Progress::Finished => self.start_draining(ticket),
            Progress::Lost => self.finish(ticket),
            Progress::Waits(_) => {
                client.watch(&self.poll, ticket, End::Output, Interest::Write);
                if let Phase::Answering { page, .. } = &client.phase {
                    let kept = page.len();
                    self.keep(ticket, kept);
                }
            }
        }
    }

    fn start_draining(&mut self, ticket: Ticket) {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        client.watch(&self.poll, ticket, End::Output, None);
        client.begin_draining();
        if let (true, Some(connection)) = (client.is_plain(), &client.connection) {
            // It reads the page's end here, and not in a reset for what it still sends.
            let _ = socket::shut_writing(connection.as_fd());
        }
        self.shares.keep(ticket, 0);
        self.limited.insert(ticket, clock::now() + DRAIN_TIME);
        self.drain(ticket);
    }

    pub(crate) fn drain(&mut self, ticket: Ticket) {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        match client.drain(&mut self.scratch) {
            Progress::Finished | Progress::Lost => self.finish(ticket),
            Progress::Waits(_) => client.watch(&self.poll, ticket, End::Input, Interest::Read),
        }
    }

    pub(crate) fn expire_clients(&mut self, now: Duration) {
        while let Some(ticket) = self.limited.pop(now) {
            ::log::debug!("time is over: ticket={ticket}");
            match self.clients.get(&ticket).map(|client| &client.phase) {
                Some(Phase::Receiving { .. }) => self.body_is_late(ticket),
                Some(Phase::Running { .. }) => self.lose(ticket),
                _ => self.close(ticket),
            }
        }
    }

    /// The request is answered: when its web server's log has taken what there is, it ends.
    pub(crate) fn finish(&mut self, ticket: Ticket) {
        if let Some(Phase::Running { worker, .. }) = self.clients.get(&ticket).map(|c| &c.phase) {
            self.served_by.remove(worker);
        }
        if !self.waits_for_log(ticket) {
            self.close(ticket);
        }
    }

    /// The end of a request: the front may go, and our copies are closed when it has.
    pub(crate) fn close(&mut self, ticket: Ticket) {
        if let Some(client) = self.clients.get_mut(&ticket) {
            let before = client.spooled();
            if client.part() {
                for end in [End::Errors, End::Input, End::Output] {
                    client.watch(&self.poll, ticket, end, None);
                }
                client.watch(&self.poll, ticket, End::Connection, Interest::Read);
                self.account(ticket, before);
                // One that was stopped does not hold the response.
                self.limited.insert(ticket, clock::now() + PARTING_TIME);
                return;
            }
        }
        if let Some(client) = self.forget(ticket) {
            Daemon::count_lost(ticket, &client.to_log);
            client.finish();
        }
        self.watch_limit();
    }

    /// The client of a request that the pool knows and no worker has is gone.
    pub(crate) fn hang_up(&mut self, ticket: Ticket) {
        ::log::debug!("hung up: ticket={ticket}");
        self.events.push_back(Event::HungUp(ticket));
        self.drop_client(ticket);
    }

    /// To the client this daemon never existed.
    pub(crate) fn drop_client(&mut self, ticket: Ticket) {
        self.forget(ticket);
        self.watch_limit();
    }

    fn forget(&mut self, ticket: Ticket) -> Option<Client> {
        let mut client = self.clients.remove(&ticket)?;
        self.shares.leave(ticket);
        self.limited.remove(ticket);
        if let Phase::Running { worker, .. } = client.phase {
            self.served_by.remove(&worker);
        }
        client.unwatch(&self.poll);
        self.account(ticket, client.spooled());
        // Nobody is to be woken for those who are gone.
        while let Some((_, oldest)) = self.unwatched.front()
            && !self.clients.contains_key(oldest)
        {
            self.unwatched.pop_front();
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
        Refusal::HostRefused { retry_after } => Failure::Overloaded {
            retry_after: crate::page::whole_seconds(retry_after),
        },
        Refusal::Overloaded { retry_after } => Failure::Overloaded {
            retry_after: whole_seconds(retry_after),
        },
        Refusal::StartTimedOut => Failure::TimedOut,
    }
}

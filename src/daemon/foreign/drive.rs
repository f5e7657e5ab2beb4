//! Drives the exchanges with an app that is not ours, from the first byte to the last, and says what becomes of their
//! clients. Knows nothing of how such an app is reached: that is `children`, and whatever else begins one.

use std::io;
use std::time::Duration;

use super::exchange::{Passing, Waits, Way};
use super::feed::Fed;
use super::runs::{AppEnd, Link, Run};
use crate::cgi::response::BadHead;
use crate::daemon::Daemon;
use crate::daemon::clients::client::Phase;
use crate::daemon::watch::End;
use crate::page::Failure;
use crate::policy::pool::{Event, WorkerId};
use crate::policy::queue::Ticket;
use crate::policy::server;
use crate::report::{plain, visible};
use crate::spool::Room;
use crate::sys::clock;
use crate::sys::poll::Interest;

/// A program whose response has ended is to end within this time, so that its last words, and how it ended, can be
/// told of its request. After that its request is over and the program goes on, in its place.
const LINGER: Duration = Duration::from_millis(100);

/// How an exchange goes.
impl Daemon {
    /// The app has the request: from here on everything comes by events. What was read ahead of the body, if the app
    /// is to have it from us, is the exchange's.
    pub(crate) fn begin(&mut self, ticket: Ticket, place: WorkerId, run: Run) {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        client.phase = Phase::Running {
            worker: place,
            outgoing: None,
            unread: 0,
        };
        self.served_by.insert(place, ticket);
        let mut run = run;
        run.watch(&self.poll, place, AppEnd::Output, Some(Interest::Read));
        self.runs.insert(place, run);
        self.send_on(place);
    }

    /// The app may take more of the request, or the client has sent more.
    pub(crate) fn send_on(&mut self, place: WorkerId) {
        if self.is_connecting(place) {
            return;
        }
        let ticket = self.ticket_of(place);
        let client = ticket.and_then(|ticket| self.clients.get_mut(&ticket));
        let (Some(ticket), Some(client), Some(run)) = (ticket, client, self.runs.get_mut(place))
        else {
            return;
        };
        let Some(exchange) = &mut run.exchange else {
            return;
        };
        let fed = exchange.send(client.input(), &mut self.scratch);
        let left = exchange.feed.left();
        if let Some(request) = &mut client.request
            && !run.has_input
        {
            request.length = left + request.ahead.len();
        }
        let for_app = (fed == Fed::ForApp).then_some(Interest::Write);
        run.watch(&self.poll, place, AppEnd::Input, for_app);
        let for_client = (fed == Fed::ForClient).then_some(Interest::Read);
        client.watch(&self.poll, ticket, End::Input, for_client);
    }

    /// The app in this place waits for the rest of the message-body.
    pub(crate) fn reads_body(&self, place: WorkerId) -> bool {
        self.runs.get(place).is_some_and(Run::reads_body)
    }

    /// The app may have said more, or the client may take more.
    pub(crate) fn pass_on(&mut self, place: WorkerId) {
        if self.is_connecting(place) {
            return;
        }
        let ticket = self.ticket_of(place);
        let is_wanted = self.pool.queued() > 0;
        let client = ticket.and_then(|ticket| self.clients.get_mut(&ticket));
        let (Some(ticket), Some(client), Some(run)) = (ticket, client, self.runs.get_mut(place))
        else {
            return;
        };
        let Some(exchange) = &mut run.exchange else {
            return;
        };
        run.due = None;
        let (had_heard, had_moved) = (exchange.has_heard(), exchange.moved());
        let before = client.spooled();
        let mut spool = client.take_outgoing();
        let passing = match client.output() {
            Some(output) => {
                let way = Way {
                    output,
                    spool: &mut spool,
                    room: Room {
                        directory: &self.config.spool.dir,
                        left: self.config.spool.limit.saturating_sub(self.spooled),
                    },
                    is_wanted,
                };
                exchange.pass_on(way, &mut self.scratch, clock::now())
            }
            None => Passing::Lost,
        };
        client.set_outgoing(spool);
        let hears = !had_heard && exchange.has_heard();
        let moves = had_heard && exchange.moved() > had_moved;
        self.account(ticket, before);
        if hears || moves {
            self.app_answers(place);
        }
        match passing {
            Passing::Waits(waits) => self.wait_on(ticket, place, waits),
            Passing::Ended => self.response_ended(ticket, place),
            Passing::Lost => self.lose(ticket),
            Passing::Bad(bad) => self.refuse_head(ticket, place, bad),
            Passing::Short(error) => self.response_missing(ticket, place, error),
            Passing::Cut(error) => {
                let why = plain(&error.to_string());
                let sentence = format!("the response is cut, its app's end broke: {why}");
                self.tell_web_server(ticket, &sentence);
                self.cut(ticket, place);
            }
        }
    }

    fn wait_on(&mut self, ticket: Ticket, place: WorkerId, waits: Waits) {
        if let Some(run) = self.runs.get_mut(place) {
            run.due = waits.until;
            let for_app = waits.for_app.then_some(Interest::Read);
            run.watch(&self.poll, place, AppEnd::Output, for_app);
        }
        if let Some(client) = self.clients.get_mut(&ticket) {
            let for_client = waits.for_client.then_some(Interest::Write);
            client.watch(&self.poll, ticket, End::Output, for_client);
        }
        if waits.for_client {
            self.prolong(ticket, waits.has_taken, self.config.timeouts.request);
        } else {
            self.limited.remove(ticket);
        }
    }

    /// All of the response is sent or spooled.
    fn response_ended(&mut self, ticket: Ticket, place: WorkerId) {
        let Some(run) = self.runs.get_mut(place) else {
            return;
        };
        run.watch(&self.poll, place, AppEnd::Output, None);
        let now = clock::now();
        let until = *run.lingers_until.get_or_insert(now + LINGER);
        if run.child.is_some() && now < until {
            // Its end comes a moment after that of its output.
            if let Some(client) = self.clients.get_mut(&ticket) {
                client.watch(&self.poll, ticket, End::Output, None);
            }
            return;
        }
        self.complete(place);
    }

    /// The output has ended without a head.
    fn response_missing(&mut self, ticket: Ticket, place: WorkerId, error: Option<io::Error>) {
        let Some(run) = self.runs.get_mut(place) else {
            return;
        };
        run.watch(&self.poll, place, AppEnd::Output, None);
        if run.child.is_some() || self.may_be_dying(place) {
            // How its program, or the server, ends is part of the answer.
            return;
        }
        let Some(run) = self.runs.get(place) else {
            return;
        };
        let said = run.exchange.as_ref().map_or(&[][..], |e| e.beginning());
        let why = match (&error, run.end) {
            (Some(error), _) => format!(": {}", plain(&error.to_string())),
            (None, Some(end)) => format!(": {end}"),
            (None, None) => String::new(),
        };
        let sentence = if said.is_empty() && run.link.is_some() {
            format!("the app's server closed the connection without an answer{why}")
        } else if said.is_empty() {
            format!("the app ended without an answer{why}")
        } else {
            let said = visible(said);
            format!("the app ended before the head of its response was whole{why}; it said: {said}")
        };
        self.fail_exchange(ticket, place, Failure::BadGateway, &sentence);
    }

    fn refuse_head(&mut self, ticket: Ticket, place: WorkerId, bad: BadHead) {
        let run = self.runs.get(place);
        let exchange = run.and_then(|run| run.exchange.as_ref());
        let said = exchange.map_or(&[][..], |exchange| exchange.beginning());
        let hint = if said.starts_with(b"HTTP/") {
            " (only an nph- script begins with HTTP's own status line)"
        } else {
            ""
        };
        let said = visible(said);
        let sentence =
            format!("the app's response has no valid head: {bad}{hint}; it began: {said}");
        self.fail_exchange(ticket, place, Failure::BadGateway, &sentence);
    }

    /// The client is answered by a page of ours, and the exchange is over. For one who has had nothing yet.
    pub(crate) fn fail_exchange(
        &mut self,
        ticket: Ticket,
        place: WorkerId,
        failure: Failure,
        sentence: &str,
    ) {
        ::log::error!("{sentence}");
        self.end_exchange(place);
        self.tell_web_server(ticket, sentence);
        self.answer(ticket, failure, sentence);
        self.free(place);
    }

    /// Nothing more is added to what the client has had of the response.
    pub(crate) fn cut(&mut self, ticket: Ticket, place: WorkerId) {
        ::log::error!("the response is cut: ticket={ticket} worker={place}");
        self.end_exchange(place);
        self.finish(ticket);
        self.free(place);
    }

    /// The response is complete: what is left of the request is done beside whatever its place does next.
    fn complete(&mut self, place: WorkerId) {
        let unread = self.end_exchange(place);
        self.on_unread(place, unread);
        self.worker_done(place);
        self.free(place);
    }

    /// Closes our ends. How many bytes of the message-body nobody has read.
    fn end_exchange(&mut self, place: WorkerId) -> u64 {
        let Some(run) = self.runs.get_mut(place) else {
            return 0;
        };
        let has_input = run.has_input;
        let link = run.link.take();
        let exchange = run.end_exchange(&self.poll, place);
        if let Some(link) = link {
            let server = link.server().map(|(server, _)| server);
            if let Some(server) = server.filter(|_| exchange.is_some_and(|e| e.was_taken())) {
                // A client that does not wait for its first answer says nothing against it.
                self.tell_server(server, server::Event::Accepts);
            }
            self.unlink(&link);
        }
        let ticket = self.ticket_of(place);
        let Some(client) = ticket.and_then(|ticket| self.clients.get_mut(&ticket)) else {
            return 0;
        };
        if let Some(ticket) = ticket {
            client.watch(&self.poll, ticket, End::Input, None);
            client.watch(&self.poll, ticket, End::Output, None);
        }
        let Some(request) = &mut client.request else {
            return 0;
        };
        let ahead = request.ahead.len();
        // All of the body was there when the program got it: what it left of that keeps nobody waiting.
        let unread = if has_input {
            0
        } else {
            request.length.saturating_sub(ahead)
        };
        request.length = unread + ahead;
        unread
    }

    /// Closes our ends, whatever there is of the body.
    pub(crate) fn drop_exchange(&mut self, place: WorkerId) {
        self.end_exchange(place);
    }

    /// The place is free, if nothing runs in it any more.
    pub(crate) fn free(&mut self, place: WorkerId) {
        if self.runs.remove_if_over(place) {
            // One whose client was gone before.
            self.worker_done(place);
            self.events.push_back(Event::WorkerDone {
                worker: place,
                last: false,
            });
        }
    }
}

/// What happens to one from elsewhere.
impl Daemon {
    /// The client of a running request is gone: a server sees its connection closed, and a program ends by itself at
    /// its next write, or when its time is over.
    pub(crate) fn abandon(&mut self, place: WorkerId) {
        self.end_exchange(place);
        self.free(place);
    }

    /// The request has taken too long. Its client is answered now; its program is told to end.
    pub(crate) fn interrupt_run(&mut self, place: WorkerId) {
        let key = self.exceeded_key(place);
        let run = self.runs.get(place);
        let server = run.and_then(|run| run.link.as_ref()?.server());
        let server = server.and_then(|(id, _)| self.servers.get(id)?.pid);
        match self.runs.pid(place).or(server) {
            Some(pid) => ::log::error!("{key}: the app is stuck in a request: pid={pid}"),
            None => ::log::error!("{key}: the app is stuck in a request"),
        }
        let mut link = None;
        if let Some(run) = self.runs.get_mut(place) {
            run.is_overdue = true;
            link = run.link.as_ref().and_then(Link::server);
        }
        self.end_child(place);
        self.give_up(place, key);
        if let Some((server, since)) = link {
            self.tell_server(server, server::Event::Overdue { since });
        }
    }

    /// Ends the exchange of a request that has taken longer than `key` allows.
    fn give_up(&mut self, place: WorkerId, key: &str) {
        let run = self.runs.get(place);
        let exchange = run.and_then(|run| run.exchange.as_ref());
        let has_begun = exchange.is_some_and(|exchange| exchange.has_begun());
        let waits = run.is_some_and(|run| run.waiting.is_some());
        match self.ticket_of(place) {
            Some(ticket) if has_begun => self.cut(ticket, place),
            Some(ticket) if waits || exchange.is_some() => {
                self.end_exchange(place);
                let sentence = format!("{key}: the app did not answer in time");
                self.tell_web_server(ticket, &sentence);
                self.answer(ticket, Failure::TimedOut, "");
                self.free(place);
            }
            _ => {}
        }
    }

    /// Those that are to be looked at now.
    pub(crate) fn look_at_runs(&mut self, now: Duration) {
        for place in self.runs.due(now) {
            let lingers = self.runs.get(place).and_then(|run| run.lingers_until);
            if lingers.is_some_and(|until| until <= now) {
                self.complete(place);
            } else {
                self.pass_on(place);
            }
        }
    }

    /// Ends every program, and says nothing to anybody.
    pub(crate) fn kill_children(&self) {
        for (place, _) in self.runs.iter() {
            self.kill_child(place);
        }
    }

    /// All of them end now: `graceful-timeout` is over.
    pub(crate) fn end_runs(&mut self) {
        let places: Vec<WorkerId> = self.runs.iter().map(|(place, _)| place).collect();
        for place in places {
            self.kill_child(place);
            if self.runs.pid(place).is_none() {
                self.give_up(place, "graceful-timeout");
            }
        }
    }
}

//! Drives the exchanges with a foreign app, from the first byte to the last, and says what becomes of their clients.
//! Knows nothing of how such an app is reached: that is in `children` and `link`.

use std::io;
use std::time::Duration;

use super::Foreign;
use super::exchange::{Passing, Waits, Way};
use super::feed::Fed;
use super::runs::{AppStream, Run};
use crate::cgi::response::BadHead;
use crate::daemon::clients::Clients;
use crate::daemon::ground::Ground;
use crate::daemon::token::RunId;
use crate::daemon::watch::Stream;
use crate::figures::Counted;
use crate::incidents::Mishap;
use crate::page::Failure;
use crate::policy::pool::Event;
use crate::policy::queue::Number;
use crate::policy::server::ServerEvent;
use crate::report::{plain, visible};
use crate::sys::clock;
use crate::sys::poll::Interest;
use crate::sys::process::End;

/// How long a program may take to end after its response, so that its last words, and how it ended, can be told of its
/// request. After that the request is over, and the program goes on in its run.
const LINGER: Duration = Duration::from_millis(100);

/// How an exchange goes.
impl Foreign {
    /// The app has the request: from here on everything comes by events. The exchange has what was read ahead of the
    /// body, if the app is to have that from us.
    pub(super) fn begin(
        &mut self,
        number: Number,
        run_id: RunId,
        mut run: Run,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        if !clients.run(number, run_id, ground) {
            return;
        }
        run.watch(
            &ground.poll,
            run_id,
            AppStream::Output,
            Some(Interest::Read),
        );
        self.runs.insert(run_id, run);
        self.send_on(run_id, clients, ground);
    }

    /// The app may take more of the request, or the client has sent more.
    pub(crate) fn send_on(&mut self, run_id: RunId, clients: &mut Clients, ground: &mut Ground) {
        if self.advance_connection(run_id, clients, ground) {
            return;
        }
        let number = clients.number_of(run_id);
        let client = number.and_then(|number| clients.get_mut(number));
        let (Some(number), Some(client), Some(run)) = (number, client, self.runs.get_mut(run_id))
        else {
            return;
        };
        let Some(exchange) = &mut run.exchange else {
            return;
        };
        let fed = exchange.send(client.input(), &mut ground.scratch);
        let left = exchange.feed.left();
        if let Some(request) = &mut client.request
            && !run.has_input
        {
            request.set_length(left + request.ahead.len());
        }
        let for_app = (fed == Fed::ForApp).then_some(Interest::Write);
        run.watch(&ground.poll, run_id, AppStream::Input, for_app);
        let for_client = (fed == Fed::ForClient).then_some(Interest::Read);
        client.watch(&ground.poll, number, Stream::Input, for_client);
    }

    /// The app of this run waits for the rest of the message-body.
    pub(super) fn reads_body(&self, run_id: RunId) -> bool {
        self.runs.get(run_id).is_some_and(Run::reads_body)
    }

    /// The app may have said more, or the client may take more.
    pub(crate) fn pass_on(&mut self, run_id: RunId, clients: &mut Clients, ground: &mut Ground) {
        if self.advance_connection(run_id, clients, ground) {
            return;
        }
        let number = clients.number_of(run_id);
        let room = clients.spool_room(&ground.config);
        let client = number.and_then(|number| clients.get_mut(number));
        let (Some(number), Some(client), Some(run)) = (number, client, self.runs.get_mut(run_id))
        else {
            return;
        };
        let Some(exchange) = &mut run.exchange else {
            return;
        };
        run.due = None;
        let (had_heard, had_moved) = (exchange.has_heard(), exchange.moved());
        let before = client.spooled();
        let passing = match client.way_out() {
            Some((output, spool)) => {
                let way = Way {
                    output,
                    spool,
                    room,
                    is_wanted: ground.pool.queued > 0,
                };
                exchange.pass_on(way, &mut ground.scratch, clock::now())
            }
            None => Passing::Lost,
        };
        let hears = !had_heard && exchange.has_heard();
        let moves = had_heard && exchange.moved() > had_moved;
        clients.account(number, before, ground);
        if hears || moves {
            self.note_answer(run_id, clients, ground);
        }
        match passing {
            Passing::Waits(waits) => self.wait_on(number, run_id, waits, clients, ground),
            Passing::Ended => self.response_ended(number, run_id, clients, ground),
            Passing::Lost => self.abort_client(number, clients, ground),
            Passing::Bad(bad) => self.refuse_head(run_id, bad, clients, ground),
            Passing::Short(error) => self.response_missing(run_id, error, clients, ground),
            Passing::Cut(error) => {
                let why = plain(&error.to_string());
                let sentence = format!("the response is cut: reading from the app failed: {why}");
                clients.tell_web_server(number, &sentence, ground);
                self.cut_response(run_id, clients, ground);
            }
        }
    }

    fn wait_on(
        &mut self,
        number: Number,
        run_id: RunId,
        waits: Waits,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        if let Some(run) = self.runs.get_mut(run_id) {
            run.due = waits.until;
            let for_app = waits.for_app.then_some(Interest::Read);
            run.watch(&ground.poll, run_id, AppStream::Output, for_app);
        }
        if let Some(client) = clients.get_mut(number) {
            let for_client = waits.for_client.then_some(Interest::Write);
            client.watch(&ground.poll, number, Stream::Output, for_client);
        }
        if waits.for_client {
            clients.prolong(number, waits.has_taken, ground.config.timeouts.request);
        } else {
            clients.unlimit(number);
        }
    }

    /// All of the response is sent or spooled.
    fn response_ended(
        &mut self,
        number: Number,
        run_id: RunId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let Some(run) = self.runs.get_mut(run_id) else {
            return;
        };
        run.watch(&ground.poll, run_id, AppStream::Output, None);
        let now = clock::now();
        let until = *run.lingers_until.get_or_insert(now + LINGER);
        if run.child.is_some() && now < until {
            // The program's end comes a moment after that of its output.
            if let Some(client) = clients.get_mut(number) {
                client.watch(&ground.poll, number, Stream::Output, None);
            }
            return;
        }
        self.complete_run(run_id, clients, ground);
    }

    /// The output has ended without a head.
    fn response_missing(
        &mut self,
        run_id: RunId,
        error: Option<io::Error>,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let Some(run) = self.runs.get_mut(run_id) else {
            return;
        };
        run.watch(&ground.poll, run_id, AppStream::Output, None);
        if run.child.is_some() || self.await_death(run_id) {
            // How its program, or the server, ends is part of the sentence.
            return;
        }
        let Some(run) = self.runs.get(run_id) else {
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
        self.fail_exchange(run_id, Failure::BadGateway, &sentence, clients, ground);
    }

    fn refuse_head(
        &mut self,
        run_id: RunId,
        bad: BadHead,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let run = self.runs.get(run_id);
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
        self.fail_exchange(run_id, Failure::BadGateway, &sentence, clients, ground);
    }

    /// The client, which has had nothing yet, is answered by a page of ours, and the exchange is over.
    pub(super) fn fail_exchange(
        &mut self,
        run_id: RunId,
        failure: Failure,
        sentence: &str,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        ::log::error!("{sentence}");
        let end = self.runs.get(run_id).and_then(|run| run.end);
        self.end_exchange(run_id, clients, ground);
        if let Some(number) = clients.number_of(run_id) {
            let kind = match (failure, end) {
                (Failure::TimedOut, _) => Mishap::TimeOut,
                (_, Some(End::Killed(_))) => Mishap::Killed,
                (_, Some(End::Exited(_))) => Mishap::Exited,
                (_, None) => Mishap::BadResponse,
            };
            clients.note_mishap(number, kind, sentence, ground);
            clients.fail(number, failure, sentence, ground);
        }
        self.release_run(run_id, clients, ground);
    }

    /// Nothing more is added to what the client has had of the response.
    pub(super) fn cut_response(
        &mut self,
        run_id: RunId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let number = clients.number_of(run_id);
        ::log::error!(
            "the response is cut: number={} worker={run_id}",
            number.unwrap_or(0)
        );
        self.end_exchange(run_id, clients, ground);
        if let Some(number) = number {
            clients.count(number, Counted::Cut, ground);
            clients.end_request(number, ground);
        }
        self.release_run(run_id, clients, ground);
    }

    /// The response is complete: what is left of the request is done while the run is free for another.
    pub(super) fn complete_run(
        &mut self,
        run_id: RunId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let unread = self.end_exchange(run_id, clients, ground);
        clients.leave_unread(run_id, unread);
        clients.take_over(run_id, ground);
        self.release_run(run_id, clients, ground);
    }

    /// Closes our ends. How many bytes of the message-body were not read.
    pub(super) fn end_exchange(
        &mut self,
        run_id: RunId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) -> u64 {
        let Some(run) = self.runs.get_mut(run_id) else {
            return 0;
        };
        let has_input = run.has_input;
        let link = run.link.take();
        let exchange = run.end_exchange(&ground.poll, run_id);
        if let Some(link) = link {
            let server = link.server().map(|(server, _)| server);
            if let Some(server) = server.filter(|_| exchange.is_some_and(|e| e.was_taken())) {
                // A client that left before the first answer is no sign against the server.
                self.tell_server(server, ServerEvent::Accepts, clients, ground);
            }
            self.note_unlinked(&link, clients, ground);
        }
        let number = clients.number_of(run_id);
        let Some(client) = number.and_then(|number| clients.get_mut(number)) else {
            return 0;
        };
        if let Some(number) = number {
            client.watch(&ground.poll, number, Stream::Input, None);
            client.watch(&ground.poll, number, Stream::Output, None);
        }
        let Some(request) = &mut client.request else {
            return 0;
        };
        let ahead = request.ahead.len();
        // All of the body was there when the program got it: no client waits for what it left of it.
        let unread = if has_input {
            0
        } else {
            request.length().saturating_sub(ahead)
        };
        request.set_length(unread + ahead);
        unread
    }

    /// The run is over, if neither exchange nor program is left of it.
    pub(super) fn release_run(
        &mut self,
        run_id: RunId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        if self.runs.remove_if_over(run_id) {
            // A run whose client was gone before.
            clients.take_over(run_id, ground);
            ground.tell_pool(Event::WorkerDone {
                worker: run_id,
                last: false,
            });
        }
    }
}

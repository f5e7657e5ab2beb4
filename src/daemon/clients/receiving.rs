//! Drives message-bodies: announced, read, complete, late, refused. How one is stored is `body`'s; which may never come
//! is `doubt`'s.

use std::time::Duration;

use log::Level;

use super::Clients;
use super::body::{Body, Came, Unread};
use super::client::Phase;
use super::doubt;
use crate::cgi::meta::Peer;
use crate::cgi::{Doubt, Reader};
use crate::daemon::ground::Ground;
use crate::daemon::watch::Stream;
use crate::figures::Counted;
use crate::page::Failure;
use crate::policy::pool::Event;
use crate::policy::queue::Number;
use crate::policy::shares::Stage;
use crate::spool::SpoolLimits;
use crate::sys::clock;
use crate::sys::poll::{self, Interest};

/// What a stranger has to send of a body within each `request-timeout`, in bytes.
const PACE: u64 = 4096;

impl Clients {
    /// A request whose body is not all there begins to be read.
    pub(super) fn announce(&mut self, number: Number, ground: &mut Ground) {
        let Some(client) = self.by_number.get_mut(&number) else {
            return;
        };
        self.shares.go_to(number, Stage::Slow);
        let is_web_server_s = client.is_plain() || client.is_framed;
        let Some(request) = client.request.as_deref_mut() else {
            return;
        };
        let kept = request.header.len();
        let due = clock::now() + doubt::patience(request, ground.config.timeouts.request);
        let store = std::mem::take(&mut request.ahead);
        let body = if request.goes_to_end() {
            Body::to_end(SpoolLimits::of(&ground.config), store)
        } else if is_web_server_s && request.reader == Reader::Nginx {
            Body::all(request.length(), store)
        } else {
            Body::new(request.length(), store)
        };
        client.phase = Phase::Receiving { body };
        client.watch(&ground.poll, number, Stream::Input, Interest::Read);
        self.limited.insert(number, due);
        // If nothing is there yet, its front is told at the end of this turn that we have it.
        ground.tell_pool(Event::Announced(number));
        self.keep(number, kept, ground);
    }

    /// The body of an announced request has come further.
    pub(super) fn receive(&mut self, number: Number, ground: &mut Ground) {
        let now = clock::now();
        let room = self.spool_room(&ground.config);
        let Some(client) = self.by_number.get_mut(&number) else {
            return;
        };
        // What is read can't be put back, so from here on the request is ours.
        if !client.say_taken() {
            ::log::debug!("taken back: number={number}");
            self.abort_queued(number, ground);
            return;
        }
        let before = client.spooled();
        let Some(came) = client.receive(&mut ground.scratch, room, now) else {
            return;
        };
        let kept = match &client.phase {
            Phase::Receiving { body } => body.kept() + client.kept(),
            _ => 0,
        };
        self.account(number, before, ground);
        match came {
            Ok(Came::Enough) if self.is_cut(number) => self.hang_up(number, ground),
            Ok(Came::Enough) => self.arrive_with_body(number, ground),
            Ok(Came::Short) if self.do_without_body(number, true) => {
                self.arrive_with_body(number, ground);
            }
            Ok(Came::Short) => self.refuse_body(number, "the message-body ended early", ground),
            Ok(Came::Waits { moved }) => {
                self.keep(number, kept, ground);
                let has_begun = moved && self.clear_doubt(number);
                if moved && self.keep_pace(number) || has_begun {
                    let due = now + ground.config.timeouts.request;
                    self.limited.insert(number, due);
                }
            }
            Err(Unread::Io(_)) if self.is_cut(number) => self.hang_up(number, ground),
            Err(Unread::Io(error)) => {
                self.refuse_body(number, &format!("cannot read the body: {error}"), ground);
            }
            Err(Unread::NoRoom(no)) => {
                self.note_refused(number, Level::Info, &no.to_string(), "");
                if no.is_news() {
                    self.tell_web_server(number, &no.to_string(), ground);
                }
                if no.failure().status().as_u16() == 503 {
                    self.note_refused_for(number, Counted::NoSpoolRoom);
                }
                self.answer(number, no.failure(), &no.to_string(), ground);
            }
        }
    }

    /// A body has come further. `true`: it gets more time. A stranger's gets it only with each block of [`PACE`] bytes,
    /// since with a byte now and then it would keep its place for ever.
    fn keep_pace(&mut self, number: Number) -> bool {
        let Some(client) = self.by_number.get_mut(&number) else {
            return false;
        };
        let Phase::Receiving { body } = &client.phase else {
            return true;
        };
        let is_stranger = client.caller.peer == Peer::Foreign { trusted: false };
        if is_stranger && body.len() < client.paced + PACE {
            return false;
        }
        client.paced = body.len();
        true
    }

    /// A body without a length has ended because its client is gone, and not with its last chunk.
    fn is_cut(&self, number: Number) -> bool {
        self.by_number.get(&number).is_some_and(|client| {
            client.request.as_ref().is_some_and(|r| r.goes_to_end())
                && client
                    .output()
                    .is_some_and(|output| poll::is_ready(output, Interest::HangUp))
        })
    }

    /// The request, with its body or what was read of it, waits for a worker.
    fn arrive_with_body(&mut self, number: Number, ground: &mut Ground) {
        let Some(client) = self.by_number.get_mut(&number) else {
            return;
        };
        let received = std::mem::replace(&mut client.phase, Phase::Waiting);
        if let (Phase::Receiving { body }, Some(request)) = (received, &mut client.request) {
            if request.may_lack_body && body.len() == 0 {
                request.set_length(0);
            } else if request.goes_to_end() {
                request.measure(body.len());
            }
            request.ahead = body.into_ahead();
        }
        client.watch(&ground.poll, number, Stream::Input, None);
        self.limited.remove(number);
        self.arrive(number, ground);
    }

    fn refuse_body(&mut self, number: Number, sentence: &str, ground: &mut Ground) {
        self.note_refused(number, Level::Info, sentence, "");
        self.tell_web_server(number, sentence, ground);
        self.answer(number, Failure::BadRequest, sentence, ground);
    }

    /// A request whose message-body does not come goes on without one; `false`: it has to wait for its body.
    /// `has_ended`: the end of its input was seen, and not only that nothing came.
    pub(super) fn do_without_body(&mut self, number: Number, has_ended: bool) -> bool {
        let Some(client) = self.by_number.get_mut(&number) else {
            return false;
        };
        let lacks_body = client.lacks_body();
        let Some(request) = client.request.as_mut().filter(|_| lacks_body) else {
            return false;
        };
        let (doubt, length) = (request.doubt, request.length());
        // On an SCGI client's connection the end of the input means that the client is gone.
        if has_ended != (doubt == Some(Doubt::Cgi)) {
            return false;
        }
        request.measure(0);
        // The body may come all the same. If it is not read, closing resets the connection, and the response is lost.
        request.may_exceed = true;
        ::log::debug!("no message-body: number={number} announced={length} doubt={doubt:?}");
        true
    }

    /// Bytes of a message-body have come, so it is in doubt no longer. `true`: it was until now.
    fn clear_doubt(&mut self, number: Number) -> bool {
        let client = self.by_number.get_mut(&number);
        let request = client.and_then(|client| client.request.as_mut());
        request.is_some_and(|request| request.doubt.take().is_some())
    }

    /// The time of a message-body is over.
    pub(super) fn time_out_body(&mut self, number: Number, ground: &mut Ground) {
        if self.do_without_body(number, false) {
            self.arrive_with_body(number, ground);
            return;
        }
        let client = self.by_number.get(&number);
        let request = client.and_then(|client| client.request.as_ref());
        if request.is_some_and(|r| r.doubt.is_some_and(|doubt| doubt != Doubt::Cgi)) {
            // Its first bytes came at this moment.
            let due: Duration = clock::now() + ground.config.timeouts.request;
            self.limited.insert(number, due);
            self.receive(number, ground);
            return;
        }
        let sentence = "the message-body did not come in time";
        self.note_refused(number, Level::Info, sentence, "");
        self.tell_web_server(number, sentence, ground);
        self.answer(number, Failure::RequestTimeout, sentence, ground);
    }
}

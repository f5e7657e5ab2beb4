//! Drives requests from their header to the queue: read, checked, refused or queued; and what their fronts are told when
//! they have to wait.

use std::os::fd::AsFd;

use log::Level;

use super::client::{HEADER_TIME, Phase};
use super::header::{BadMessage, Message, Rules};
use super::taken::Taken;
use super::tickets;
use super::{Clients, SHORT, has_whole_body};
use crate::config::Handoff;
use crate::daemon::framed::Framed;
use crate::daemon::ground::Ground;
use crate::daemon::outcome::{Outcome, RETRY_AFTER};
use crate::daemon::watch::Stream;
use crate::fastcgi::BadRecord;
use crate::figures::Counted;
use crate::page::Failure;
use crate::policy::pool::{Arrived, Event};
use crate::policy::queue::{Number, Rank};
use crate::policy::shares::Stage;
use crate::scgi::BadHeader;
use crate::spool::NoRoom;
use crate::sys::clock;
use crate::sys::poll::Interest;

impl Clients {
    pub(super) fn read_header(&mut self, number: Number, ground: &mut Ground) {
        let Some(client) = self.by_number.get_mut(&number) else {
            return;
        };
        let rules = Rules::of(&ground.config, &client.caller);
        let (Phase::Header { reader, .. }, Some(connection)) =
            (&mut client.phase, &client.connection)
        else {
            return;
        };
        match reader.read(connection.as_fd(), rules, &mut self.block) {
            Ok(None) => {
                let (kept, is_idle) = (reader.kept(), reader.is_idle());
                let is_unwanted = !self.keeps_open || client.is_outdated;
                client.watch(&ground.poll, number, Stream::Connection, Interest::Read);
                if is_idle && is_unwanted {
                    self.remove_client(number, ground);
                    return;
                }
                if is_idle {
                    // What came was the rest of the request before.
                    self.limited.remove(number);
                } else {
                    let due = clock::now() + client.caller.patience(HEADER_TIME);
                    self.limited.limit(number, due);
                }
                self.keep(number, kept, ground);
            }
            Ok(Some(Ok(Message::Control(command)))) => {
                ground.tell(Outcome::Command { number, command });
            }
            Ok(Some(Ok(Message::Request(request)))) => {
                self.frame(number, ground);
                self.queue(number, request, ground);
                if ground.failures.has_edit() {
                    self.tell_edit(Some(number), ground);
                }
            }
            Ok(Some(Err(refused))) => self.refuse_header(number, refused, ground),
            Err(error) => {
                ::log::debug!("connection lost in the header: number={number} error={error}");
                ground.tell(Outcome::FrontGone(number));
            }
        }
    }

    /// The connection of a FastCGI request goes to the room that moves its records.
    fn frame(&mut self, number: Number, ground: &mut Ground) {
        let Some(client) = self.by_number.get_mut(&number) else {
            return;
        };
        let Phase::Header { reader } = &mut client.phase else {
            return;
        };
        if let Some(mut begun) = reader.begun.take() {
            begun.keeps &= !client.is_outdated;
            client.watch(&ground.poll, number, Stream::Connection, None);
            if let Some(connection) = client.connection.take() {
                // It is no front's.
                client.caller.pid = 0;
                client.is_framed = true;
                self.wired.insert(number);
                let caller = client.caller;
                ground.tell(Outcome::Framed(Box::new(Framed {
                    number,
                    connection,
                    caller,
                    begun: *begun,
                })));
            }
        }
    }

    fn queue(&mut self, number: Number, mut request: Box<Taken>, ground: &mut Ground) {
        if self.sends_away && request.can_go_elsewhere() {
            // Its front finds the name gone, and runs the app itself.
            self.remove_client(number, ground);
            return;
        }
        ::log::debug!("asked: number={number} own={}", request.is_own);
        if let Some(name) = request.unbelieved.take() {
            self.notices.note_unbelieved(&name);
        }
        for name in std::mem::take(&mut request.overridden) {
            self.notices.note_overridden(name);
        }
        let refusal = request.refusal.take();
        let Some(client) = self.by_number.get_mut(&number) else {
            return;
        };
        self.limited.remove(number);
        self.shares.go_to(number, Stage::Served);
        let length = request.length();
        let goes_to_end = request.goes_to_end();
        let wants_status = request.wants_status && refusal.is_none();
        let missing = length - request.ahead.len();
        client.request = Some(request);
        client.phase = Phase::Waiting;
        if client.is_plain() && client.is_watched() {
            // Its header came in pieces, so it is watched for reading. A half-close is not its end.
            client.watch_end(&ground.poll, number);
        }
        if wants_status {
            // No request of the app's: it is not counted, and keeps no daemon from leaving.
            ground.tell(Outcome::StatusAsked(number));
            return;
        }
        self.arrived.push(number);
        self.requests += 1;
        // For the rate: a front counts only those that no daemon has taken.
        let now = clock::now();
        ground.slots.arrive(now);
        ground.note_pause(now);
        if let Some(request) = &mut client.request {
            request.account.came = Some(now);
        }
        let is_whole = client
            .input()
            .is_none_or(|input| has_whole_body(input, missing));
        let never_has_body = !is_whole && client.never_has_body();
        let limit = ground.config.limits.body;
        if client.caller.is_turned_away {
            let reason = "as many clients are here as the daemon has descriptors for";
            let why = Counted::NoDescriptor;
            self.refuse_for_want(number, why, reason, RETRY_AFTER, ground);
        } else if let Some((failure, sentence)) = refusal {
            self.note_refusal(number, &sentence, ground);
            ground.tell(Outcome::Misconfigured {
                number,
                failure,
                sentence,
            });
        } else if goes_to_end {
            self.announce(number, ground);
        } else if never_has_body {
            self.do_without_body(number, false);
            self.arrive(number, ground);
        } else if limit.is_some_and(|limit| length > limit) {
            let reason = NoRoom::Body.to_string();
            self.answer(number, Failure::BodyTooLarge, &reason, ground);
        } else if is_whole || ground.pool.is_full && self.is_anonymous(number, ground) {
            // No body is read for a request that will be refused; others may get the place of one that waits.
            self.arrive(number, ground);
        } else {
            self.announce(number, ground);
        }
    }

    /// From now on the request waits for a worker.
    pub(super) fn arrive(&mut self, number: Number, ground: &mut Ground) {
        self.shares.go_to(number, Stage::Served);
        let request = self.by_number.get(&number).and_then(|c| c.request.as_ref());
        let rank = request.map_or(Rank::Anonymous, |request| tickets::rank(request, ground));
        ground.pool.at_once = ground.pool.at_once.saturating_sub(1);
        ground.tell_pool(Event::Arrived(Arrived {
            number,
            rank,
            is_browser: request.is_some_and(|request| request.is_browser()),
        }));
    }

    fn is_anonymous(&self, number: Number, ground: &mut Ground) -> bool {
        let request = self.by_number.get(&number).and_then(|c| c.request.as_ref());
        request.is_none_or(|request| tickets::rank(request, ground) == Rank::Anonymous)
    }

    fn refuse_header(&mut self, number: Number, refused: BadMessage, ground: &mut Ground) {
        let mut detail = String::new();
        let (failure, sentence) = match refused {
            BadMessage::Header(BadHeader::TooLarge) => (
                Failure::HeaderTooLarge,
                "the header is larger than header-limit".to_owned(),
            ),
            BadMessage::Header(bad) => (Failure::BadRequest, format!("not an SCGI header: {bad}")),
            BadMessage::Request(bad, twice) => {
                detail = twice.map_or(detail, |name| format!(": {name}"));
                (
                    Failure::BadRequest,
                    format!("cannot take the request: {bad}"),
                )
            }
            BadMessage::Records(bad @ BadRecord::Pair) => (
                Failure::BadRequest,
                format!("cannot take the request: {bad}"),
            ),
            BadMessage::Lost
            | BadMessage::NoPipes(_)
            | BadMessage::Protocol
            | BadMessage::Records(_) => {
                let of_records = match refused {
                    BadMessage::NoPipes(error) => {
                        Some(format!("no descriptors for its pipes: {error}"))
                    }
                    BadMessage::Records(bad) => Some(bad.to_string()),
                    BadMessage::Lost => {
                        ::log::warn!("closed: the front is gone: number={number}");
                        None
                    }
                    _ => {
                        ::log::warn!("closed: the front is of another version: number={number}");
                        None
                    }
                };
                if let Some(sentence) = of_records {
                    self.note_refused(number, Level::Warn, &sentence, "");
                }
                self.remove_client(number, ground);
                return;
            }
            BadMessage::Command => (
                Failure::BadRequest,
                "a command that this client may not give".to_owned(),
            ),
        };
        self.note_refused(number, Level::Error, &sentence, &detail);
        let sentence = format!("{sentence}{detail}");
        let Some(client) = self.by_number.get_mut(&number) else {
            return;
        };
        if let Some(request) = client.give_up_header() {
            self.frame(number, ground);
            let Some(client) = self.by_number.get_mut(&number) else {
                return;
            };
            client.request = Some(request);
            client.phase = Phase::Waiting;
            client.watch(&ground.poll, number, Stream::Connection, Interest::HangUp);
            self.tell_web_server(number, &sentence, ground);
            self.answer(number, failure, &sentence, ground);
        } else {
            // There are no descriptors for a page.
            self.remove_client(number, ground);
        }
    }

    /// At the end of a turn: fronts whose requests are still queued are told so, and their clients' ends are watched
    /// for. With `handoff = exit` such a front leaves now; else it stays until its request is taken, so that it can go
    /// elsewhere if we die. A request that runs already is most often over before its client's end would matter.
    pub(crate) fn tell_the_queued(&mut self, ground: &mut Ground) {
        let lets_go = ground.config.handoff == Handoff::Exit;
        while let Some(number) = self.arrived.pop() {
            let Some(client) = self.by_number.get_mut(&number) else {
                continue;
            };
            if matches!(client.phase, Phase::Running { .. }) && client.connection.is_some() {
                self.unwatched.push_back((clock::now() + SHORT, number));
                continue;
            }
            let waits = client.is_queued();
            if waits && !client.say_queued(lets_go) {
                ground.tell(Outcome::FrontGone(number));
                continue;
            }
            client.watch_end(&ground.poll, number);
            if waits && client.connection.is_none() {
                client.watch(&ground.poll, number, Stream::Output, Interest::HangUp);
            }
        }
    }
}

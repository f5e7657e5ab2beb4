//! Drives what goes to a client: our own page, a spooled response, and the end of a message-body that is read and thrown
//! away beside it.

use std::os::fd::OwnedFd;
use std::time::Duration;

use super::Clients;
use super::client::Phase;
use super::outgoing::Outgoing;
use super::tickets;
use crate::answer::{DRAIN_BYTES, DRAIN_TIME};
use crate::app;
use crate::control::Status;
use crate::daemon::ground::Ground;
use crate::daemon::turn::Progress;
use crate::daemon::watch::Stream;
use crate::figures::Counted;
use crate::incidents::Mishap;
use crate::keyring;
use crate::page::{self, Answer, Failure};
use crate::policy::pool::{Event, Refusal, WorkerId};
use crate::policy::queue::Number;
use crate::policy::shares::Stage;
use crate::sys::clock;
use crate::sys::poll::Interest;
use crate::views;

/// What came of sending a response that a worker has spooled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// All that was spooled; `is_awaited`: its worker waits for that.
    All { is_awaited: bool },
    /// The client is gone.
    Lost,
    /// There is more to send, or nothing is to be sent.
    Waits,
}

impl Clients {
    /// Refuses a request with a page.
    pub(crate) fn refuse(&mut self, number: Number, refusal: Refusal, ground: &mut Ground) {
        if matches!(refusal, Refusal::Overloaded { .. }) {
            self.overloads += 1;
        }
        match refusal {
            Refusal::Overloaded { is_late: true, .. } => {
                self.note_refused_for(number, Counted::QueueSlow);
            }
            Refusal::Overloaded { is_late: false, .. } => {
                self.note_refused_for(number, Counted::QueueFull);
            }
            Refusal::HostRefused { .. } => {
                self.note_refused_for(number, ground.failures.shortage);
            }
            Refusal::Broken | Refusal::StartTimedOut | Refusal::Starting { .. } => {}
        }
        let reason = match refusal {
            Refusal::Broken => {
                self.tell_why(number, ground);
                ground.failures.report()
            }
            Refusal::HostRefused { .. } | Refusal::StartTimedOut => {
                self.tell_why(number, ground);
                ground.failures.last().cloned().unwrap_or_default()
            }
            Refusal::Overloaded { is_late: false, .. } => {
                let most = ground.config.queue.size;
                format!("{}: {most} of {most} wait", Counted::QueueFull.word())
            }
            Refusal::Overloaded { is_late: true, .. } => {
                format!("{}: the wait is too long", Counted::QueueSlow.word())
            }
            Refusal::Starting { .. } => {
                format!("{}: the app is not ready yet", Counted::Starting.word())
            }
        };
        self.answer(number, failure(refusal), &reason, ground);
    }

    /// Refuses for want of something that the host or the daemon does not have now.
    pub(crate) fn refuse_for_want(
        &mut self,
        number: Number,
        why: Counted,
        reason: &str,
        retry_after: Duration,
        ground: &mut Ground,
    ) {
        self.overloads += 1;
        self.note_refused_for(number, why);
        let retry_after = page::whole_seconds(retry_after);
        let reason = format!("{}: {reason}", why.word());
        self.answer(number, Failure::Overloaded { retry_after }, &reason, ground);
    }

    /// Answers for a server that can't be reached now.
    pub(crate) fn answer_away(
        &mut self,
        number: Number,
        retry_after: Duration,
        reason: &str,
        ground: &mut Ground,
    ) {
        self.overloads += 1;
        let retry_after = page::whole_seconds(retry_after);
        self.answer(number, Failure::Away { retry_after }, reason, ground);
    }

    /// Answers with a page of ours; then reads what the client still sends.
    pub(crate) fn answer(
        &mut self,
        number: Number,
        failure: Failure,
        reason: &str,
        ground: &mut Ground,
    ) {
        let Some(client) = self.by_number.get_mut(&number) else {
            return;
        };
        let before = client.spooled();
        if let (Phase::Receiving { body }, Some(request)) = (&client.phase, &mut client.request) {
            // The pool waits for it no longer.
            ground.tell_pool(Event::HungUp(number));
            request.shorten(body.len());
        }
        if let Phase::Running { worker, .. } = client.phase {
            self.running.remove(&worker);
        }
        if !client.say_taken() {
            self.remove_client(number, ground);
            return;
        }
        let refused_for = client.request.as_ref().and_then(|r| r.account.refused_for);
        self.count(number, refused_for.unwrap_or(Counted::of(failure)), ground);
        let Some(client) = self.by_number.get_mut(&number) else {
            return;
        };
        let own_page = app::own_page(&ground.app, &ground.config);
        let Some(request) = &client.request else {
            return;
        };
        let is_shown =
            !reason.is_empty() && app::shows_errors(&ground.config, &request.client_address);
        let invitation = tickets::invitation(request, failure, ground);
        let (failure, cookies) = keyring::told(failure, invitation.as_ref());
        let page = Answer {
            failure,
            visitor: request.visitor,
            reason: is_shown.then_some(reason),
            own_page: own_page.as_ref(),
            cookies,
        }
        .to_cgi_response();
        ::log::debug!("answered: number={number} status={}", failure.status());
        self.give(number, page, before, ground);
    }

    /// Answers with the page of `status-path`.
    pub(crate) fn answer_status(&mut self, number: Number, status: &Status, ground: &mut Ground) {
        let Some(client) = self.by_number.get_mut(&number) else {
            return;
        };
        let before = client.spooled();
        if !client.say_taken() {
            self.remove_client(number, ground);
            return;
        }
        let head_only = client.request.as_ref().is_some_and(|r| r.is_head());
        let page = views::response(status, head_only);
        self.give(number, page, before, ground);
    }

    /// Begins to write a page. `before`: what its client held of the spool.
    fn give(&mut self, number: Number, page: Vec<u8>, before: (u64, usize), ground: &mut Ground) {
        let Some(client) = self.by_number.get_mut(&number) else {
            return;
        };
        self.shares.go_to(number, Stage::Answered);
        self.shares.keep(number, 0);
        client.begin_page(page);
        client.watch(&ground.poll, number, Stream::Input, None);
        let due = clock::now() + client.caller.patience(ground.config.timeouts.request);
        self.account(number, before, ground);
        self.limited.insert(number, due);
        self.write_page(number, ground);
    }

    pub(super) fn write_page(&mut self, number: Number, ground: &mut Ground) {
        let Some(client) = self.by_number.get_mut(&number) else {
            return;
        };
        match client.write_page(&mut ground.scratch) {
            Progress::Finished => self.start_draining(number, ground),
            Progress::Lost => self.end_request(number, ground),
            Progress::Waits(_) => {
                client.watch(&ground.poll, number, Stream::Output, Interest::Write);
                if let Phase::Answering { page, .. } = &client.phase {
                    let kept = page.len();
                    self.keep(number, kept, ground);
                }
            }
        }
    }

    fn start_draining(&mut self, number: Number, ground: &mut Ground) {
        let Some(client) = self.by_number.get_mut(&number) else {
            return;
        };
        client.watch(&ground.poll, number, Stream::Output, None);
        client.begin_draining();
        let due = clock::now() + client.caller.patience(DRAIN_TIME);
        self.end_answer(number);
        self.shares.keep(number, 0);
        self.limited.insert(number, due);
        self.drain(number, ground);
    }

    pub(super) fn drain(&mut self, number: Number, ground: &mut Ground) {
        let Some(client) = self.by_number.get_mut(&number) else {
            return;
        };
        match client.drain(&mut ground.scratch) {
            Progress::Finished | Progress::Lost => self.end_request(number, ground),
            Progress::Waits(_) => {
                client.watch(&ground.poll, number, Stream::Input, Interest::Read);
            }
        }
    }
}

/// Responses that a worker has spooled.
impl Clients {
    /// The worker has put the next bytes of its response into this file, up to `tail`. `false`: they have no reader.
    pub(crate) fn set_outgoing(
        &mut self,
        number: Number,
        file: OwnedFd,
        tail: Option<u64>,
        ground: &Ground,
    ) -> bool {
        let client = self.by_number.get_mut(&number);
        let Some(client) = client.filter(|client| !client.is_gone) else {
            return false;
        };
        let before = client.spooled();
        if let Some(outgoing) = client.outgoing() {
            *outgoing = Some(Outgoing::new(file, tail));
        }
        self.account(number, before, ground);
        true
    }

    /// The worker has put more into its file.
    pub(crate) fn grow_outgoing(&mut self, number: Number, tail: Option<u64>, ground: &Ground) {
        if let Some(client) = self.by_number.get_mut(&number) {
            let before = client.spooled();
            if let Some(Some(outgoing)) = client.outgoing() {
                outgoing.grow(tail);
            }
            self.account(number, before, ground);
        }
    }

    /// The worker waits until its file is sent. `false`: there is none.
    pub(crate) fn await_outgoing(&mut self, number: Number) -> bool {
        let client = self.by_number.get_mut(&number);
        match client.and_then(|client| client.outgoing()) {
            Some(Some(outgoing)) => {
                outgoing.is_awaited = true;
                true
            }
            _ => false,
        }
    }

    /// Sends what a running request's worker has spooled.
    pub(crate) fn send_running(&mut self, number: Number, ground: &mut Ground) -> Sent {
        let Some(client) = self.by_number.get_mut(&number) else {
            return Sent::Waits;
        };
        if !matches!(client.phase, Phase::Running { .. }) {
            return Sent::Waits;
        }
        match client.send(&mut ground.scratch) {
            Progress::Finished => {
                client.moved += 1;
                client.watch(&ground.poll, number, Stream::Output, None);
                self.limited.remove(number);
                let outgoing = client.outgoing().and_then(Option::as_mut);
                let is_awaited = outgoing.is_some_and(|o| std::mem::take(&mut o.is_awaited));
                Sent::All { is_awaited }
            }
            Progress::Lost => Sent::Lost,
            Progress::Waits(moved) => {
                client.moved += u64::from(moved > 0);
                client.watch(&ground.poll, number, Stream::Output, Interest::Write);
                self.prolong(number, moved > 0, ground.config.timeouts.request);
                Sent::Waits
            }
        }
    }

    /// Blocks of the response to this worker's request that have gone out from here: progress that the worker itself
    /// does not see.
    pub(crate) fn moved_for(&self, worker: WorkerId) -> u64 {
        let number = self.number_of(worker);
        let client = number.and_then(|number| self.by_number.get(&number));
        client.map_or(0, |client| client.moved)
    }

    /// What serves the request leaves so many bytes of the message-body to us.
    pub(crate) fn leave_unread(&mut self, worker: WorkerId, bytes: u64) {
        let number = self.number_of(worker);
        let client = number.and_then(|number| self.by_number.get_mut(&number));
        if let Some(client) = client
            && let Phase::Running { unread, .. } = &mut client.phase
        {
            *unread = bytes;
        }
    }

    /// The app has raised an error in this worker's request: why.
    pub(crate) fn note_raised(&mut self, worker: WorkerId, reason: String, ground: &mut Ground) {
        let number = self.number_of(worker);
        let client = number.and_then(|number| self.by_number.get_mut(&number));
        if let Some(client) = client
            && let Phase::Running { raised, .. } = &mut client.phase
        {
            if let Some(request) = &mut client.request {
                request.account.has_raised = true;
                ground
                    .ledger
                    .note(Mishap::Exception, request.line(), &reason);
            }
            *raised = Some(reason);
        }
    }

    /// Why the app has not answered, if it has raised an error: then a page is due, and what is left of the
    /// message-body is known.
    pub(crate) fn take_raised(&mut self, number: Number) -> Option<String> {
        let client = self.by_number.get_mut(&number)?;
        let Phase::Running { unread, raised, .. } = &mut client.phase else {
            return None;
        };
        let (unread, reason) = (*unread, raised.take().filter(|_| !client.is_gone)?);
        if let Some(request) = &mut client.request {
            let ahead = request.ahead.len();
            request.set_length(unread + ahead);
        }
        Some(reason)
    }

    /// The worker is done with its request: what is left of it is done here.
    pub(crate) fn take_over(&mut self, worker: WorkerId, ground: &mut Ground) {
        let Some(number) = self.running.remove(&worker) else {
            return;
        };
        ::log::debug!("done: number={number} worker={worker}");
        self.count_served(number, ground);
        let Some(client) = self.by_number.get_mut(&number) else {
            return;
        };
        let may_exceed = client.request.as_ref().is_some_and(|r| r.may_exceed);
        if let Phase::Running {
            outgoing, unread, ..
        } = &mut client.phase
        {
            let behind = if may_exceed { DRAIN_BYTES } else { 0 };
            client.phase = Phase::Finishing {
                outgoing: outgoing.take(),
                unread: unread.saturating_add(behind),
            };
        }
        self.send_rest(number, ground);
    }

    /// Finishes a request whose worker is done: sends the spool and reads the rest of the body, both at once, since
    /// there are web servers that wait with the one for the other.
    pub(super) fn send_rest(&mut self, number: Number, ground: &mut Ground) {
        let Some(client) = self.by_number.get_mut(&number) else {
            return;
        };
        let Phase::Finishing { outgoing, unread } = &client.phase else {
            return;
        };
        let (has_outgoing, has_unread) = (outgoing.is_some(), *unread > 0);
        if client.is_gone || !(has_outgoing || has_unread) {
            self.end_request(number, ground);
            return;
        }
        let sent = client.send(&mut ground.scratch);
        let read = if has_unread {
            client.drain(&mut ground.scratch)
        } else {
            Progress::Finished
        };
        if sent == Progress::Lost {
            self.end_request(number, ground);
            return;
        }
        if sent == Progress::Finished && has_outgoing {
            self.drop_outgoing(number, ground);
        }
        let Some(client) = self.by_number.get_mut(&number) else {
            return;
        };
        let waits = |progress| matches!(progress, Progress::Waits(_));
        if !waits(read) {
            if let Phase::Finishing { unread, .. } = &mut client.phase {
                *unread = 0;
            }
            if !waits(sent) {
                self.end_request(number, ground);
                return;
            }
        }
        if sent == Progress::Finished {
            self.end_answer(number);
        }
        let has_moved = [sent, read]
            .iter()
            .any(|progress| matches!(progress, Progress::Waits(moved) if *moved > 0));
        let has_moved = has_moved || sent == Progress::Finished && has_outgoing;
        let (writes, reads) = (waits(sent), waits(read));
        self.wait_for_rest(number, writes, reads, has_moved, ground);
    }

    /// Waits until more of the response can be sent (`writes`), more of the body read (`reads`), or the time is over.
    fn wait_for_rest(
        &mut self,
        number: Number,
        writes: bool,
        reads: bool,
        has_moved: bool,
        ground: &Ground,
    ) {
        let Some(client) = self.by_number.get_mut(&number) else {
            return;
        };
        let (stage, patience) = match writes {
            true => (Stage::Slow, ground.config.timeouts.request),
            false => (Stage::Answered, DRAIN_TIME),
        };
        self.shares.go_to(number, stage);
        let writes = writes.then_some(Interest::Write);
        client.watch(&ground.poll, number, Stream::Output, writes);
        let reads = reads.then_some(Interest::Read);
        client.watch(&ground.poll, number, Stream::Input, reads);
        self.prolong(number, has_moved, patience);
    }

    /// Drops what was spooled of a response.
    pub(crate) fn drop_outgoing(&mut self, number: Number, ground: &Ground) {
        if let Some(client) = self.by_number.get_mut(&number) {
            let before = client.spooled();
            if let Some(outgoing) = client.outgoing() {
                *outgoing = None;
            }
            self.account(number, before, ground);
        }
    }

    /// Limits a client's time: from now on if it has moved, else from the first call on.
    pub(crate) fn prolong(&mut self, number: Number, has_moved: bool, patience: Duration) {
        let due = clock::now() + patience;
        if has_moved {
            self.limited.insert(number, due);
        } else {
            self.limited.limit(number, due);
        }
    }

    /// A client has all the time that it wants.
    pub(crate) fn unlimit(&mut self, number: Number) {
        self.limited.remove(number);
    }
}

/// What the client gets for a refusal.
fn failure(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Broken => Failure::AppBroken,
        Refusal::HostRefused { retry_after } | Refusal::Overloaded { retry_after, .. } => {
            Failure::Overloaded {
                retry_after: page::whole_seconds(retry_after),
            }
        }
        Refusal::StartTimedOut => Failure::TimedOut,
        Refusal::Starting { retry_after } => Failure::Starting {
            retry_after: page::whole_seconds(retry_after),
        },
    }
}

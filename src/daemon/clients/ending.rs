//! Drives the end of a request: its client is gone, or it is answered; its front is released, and the last of it is
//! closed.

use std::os::fd::AsFd;
use std::time::Duration;

use log::Level;

use super::Clients;
use super::client::{Client, Phase};
use crate::daemon::framed::RequestEnd;
use crate::daemon::ground::Ground;
use crate::daemon::outcome::RETRY_AFTER;
use crate::daemon::watch::Stream;
use crate::figures::Counted;
use crate::policy::pool::{Event, Reason};
use crate::policy::queue::Number;
use crate::policy::shares::Stage;
use crate::sys::poll::{self, Interest};
use crate::sys::{clock, socket};

/// What a front may take to go once it is told to.
const PARTING_TIME: Duration = Duration::from_secs(1);
/// What a web server's log may take to read the rest of what a request's app said.
const LOG_TIME: Duration = Duration::from_secs(1);

impl Clients {
    /// The request is answered: it ends when its web server's log has taken everything.
    pub(crate) fn end_request(&mut self, number: Number, ground: &mut Ground) {
        if let Some(Phase::Running { worker, .. }) = self.by_number.get(&number).map(|c| &c.phase) {
            self.running.remove(worker);
        }
        if !self.wait_for_log(number, ground) {
            self.release_front(number, ground);
        }
    }

    /// `true`: the web server's log has still to take something, and gets a second for it.
    fn wait_for_log(&mut self, number: Number, ground: &Ground) -> bool {
        let Some(client) = self.by_number.get_mut(&number) else {
            return false;
        };
        if client.to_log.is_empty() {
            return false;
        }
        for stream in [Stream::Connection, Stream::Input, Stream::Output] {
            client.watch(&ground.poll, number, stream, None);
        }
        let before = client.spooled();
        let request = client.request.as_mut();
        if let Some(passed) = request.and_then(|request| request.passed.take()) {
            // There are web servers that read the log when the response has ended.
            client.phase = Phase::Logging { log: passed.errors };
            self.account(number, before, ground);
            self.limited.insert(number, clock::now() + LOG_TIME);
        }
        true
    }

    /// Tells the front to leave; our copies of its descriptors are closed when it has. Without a front they are closed
    /// now.
    pub(super) fn release_front(&mut self, number: Number, ground: &mut Ground) {
        if let Some(client) = self.by_number.get_mut(&number) {
            let before = client.spooled();
            if client.release() {
                for stream in [Stream::Errors, Stream::Input, Stream::Output] {
                    client.watch(&ground.poll, number, stream, None);
                }
                client.watch(&ground.poll, number, Stream::Connection, Interest::Read);
                self.account(number, before, ground);
                // A front that was stopped is not to hold up the response.
                self.limited.insert(number, clock::now() + PARTING_TIME);
                return;
            }
        }
        if let Some(client) = self.remove_client(number, ground) {
            client.to_log.count_lost(number);
            client.close();
        }
    }

    /// The web server of a FastCGI request that no worker has wants no answer any more.
    pub(crate) fn lose(&mut self, number: Number, ground: &mut Ground) {
        match self.by_number.get(&number).map(|client| &client.phase) {
            Some(Phase::Receiving { .. } | Phase::Waiting) => self.hang_up(number, ground),
            Some(_) => self.end_request(number, ground),
            None => {}
        }
    }

    /// The client of a queued request is gone.
    pub(super) fn hang_up(&mut self, number: Number, ground: &mut Ground) {
        self.count_hung_up(number, ground);
        self.abort_queued(number, ground);
    }

    /// The client of a queued request is gone, or is to go on by itself.
    pub(crate) fn abort_queued(&mut self, number: Number, ground: &mut Ground) {
        ::log::debug!("hung up: number={number}");
        ground.tell_pool(Event::HungUp(number));
        self.remove_client(number, ground);
    }

    /// A client that no worker has is gone, whether or not the pool has heard of its request.
    pub(crate) fn abort_unserved(&mut self, number: Number, ground: &mut Ground) {
        match self.by_number.get(&number).is_some_and(Client::is_queued) {
            true => self.abort_queued(number, ground),
            false => _ = self.remove_client(number, ground),
        }
    }

    /// The client of a running request is gone, or is cut since it takes nothing. `true`: its worker waits until what
    /// it has spooled is sent.
    pub(crate) fn abort_running(&mut self, number: Number, ground: &Ground) -> bool {
        let Some(client) = self.by_number.get_mut(&number) else {
            return false;
        };
        ::log::debug!("gone: number={number}");
        client.is_gone = true;
        // Its end would be reported in every turn.
        client.watch(&ground.poll, number, Stream::Connection, None);
        client.watch(&ground.poll, number, Stream::Output, None);
        self.limited.remove(number);
        if !matches!(client.phase, Phase::Running { .. }) {
            return false;
        }
        let outgoing = client.outgoing().and_then(|outgoing| outgoing.as_ref());
        let is_awaited = outgoing.is_some_and(|outgoing| outgoing.is_awaited);
        client.is_cut |= outgoing.is_some();
        self.drop_outgoing(number, ground);
        is_awaited
    }

    /// A guest is closed for want of room: of descriptors or memory, as `why` says. If its request is known, it is
    /// refused first; what it still sends is not read.
    pub(super) fn close_for_room(&mut self, number: Number, why: Counted, ground: &mut Ground) {
        if self.wired.contains(&number) {
            self.over.push((number, RequestEnd::Last));
        }
        let client = self.by_number.get(&number);
        if let Some(guest) = client.and_then(|client| client.caller.guest) {
            let reason = "closed: an idle or slow connection, for want of room";
            self.notices
                .note(Level::Warn, reason, "", guest, clock::now());
        }
        if let Some(Phase::Receiving { .. }) = client.map(|client| &client.phase) {
            let reason = "its message-body comes too slowly, and others need the room";
            self.refuse_for_want(number, why, reason, RETRY_AFTER, ground);
        }
        self.remove_client(number, ground);
        // A guest that is just coming in is no client yet, and was not found.
        self.shares.leave(number);
        if self.wired.contains(&number) {
            self.over.push((number, RequestEnd::Cut));
        }
    }

    /// The client's answer is whole, and it may still send: where it ends is told by an end.
    pub(super) fn end_answer(&mut self, number: Number) {
        let Some(client) = self.by_number.get(&number) else {
            return;
        };
        if client.is_framed {
            // What is for its log is still to come.
            if client.to_log.is_empty() && !client.is_cut {
                self.over.push((number, RequestEnd::Whole));
            }
        } else if let (true, Some(connection)) = (client.is_plain(), &client.connection) {
            // So it reads the end, and not a reset because of what it still sends.
            let _ = socket::shut_writing(connection.as_fd());
        }
    }

    /// Removes a client. Dropping it closes its connection without a word: to the client this daemon never existed.
    pub(crate) fn remove_client(&mut self, number: Number, ground: &Ground) -> Option<Client> {
        let mut client = self.by_number.remove(&number)?;
        match self.wired.contains(&number) {
            // Its response goes out at the web server's own pace.
            true => {
                self.wired_alone += 1;
                self.shares.go_to(number, Stage::Slow);
            }
            false => self.shares.leave(number),
        }
        self.limited.remove(number);
        if client.caller.is_turned_away {
            self.turned_away[usize::from(!client.caller.is_at_place)] -= 1;
        }
        if let Phase::Running { worker, .. } = client.phase {
            self.running.remove(&worker);
        }
        client.unwatch(&ground.poll);
        if client.is_framed {
            let end = match client.is_cut || !client.has_whole_answer() {
                true => RequestEnd::Cut,
                false => RequestEnd::Whole,
            };
            self.over.push((number, end));
        }
        self.account(number, client.spooled(), ground);
        // The loop need not wake for clients that are gone.
        while let Some((_, oldest)) = self.unwatched.front()
            && !self.by_number.contains_key(oldest)
        {
            self.unwatched.pop_front();
        }
        Some(client)
    }
}

/// What has come to an end.
impl Client {
    /// It is a FastCGI connection that waits for another request.
    pub(super) fn is_kept_open(&self) -> bool {
        matches!(&self.phase, Phase::Header { reader } if reader.is_idle())
    }

    /// Something has come over its connection that was not read.
    pub(super) fn has_something_to_read(&self) -> bool {
        let connection = self.connection.as_ref();
        connection.is_some_and(|fd| poll::is_ready(fd.as_fd(), Interest::Read))
    }

    /// All of an answer has gone out; what remains is the rest of the message-body, or what is for a log.
    pub(super) fn has_whole_answer(&self) -> bool {
        match &self.phase {
            Phase::Answering { page, written } => *written >= page.len(),
            Phase::Finishing { outgoing, .. } => outgoing.is_none(),
            Phase::Draining { .. } | Phase::Logging { .. } | Phase::Parting => true,
            Phase::Header { .. }
            | Phase::Receiving { .. }
            | Phase::Running { .. }
            | Phase::Waiting => false,
        }
    }
}

/// When the daemon leaves.
impl Clients {
    /// Connections whose header is not whole.
    pub(crate) fn in_header(&self) -> impl Iterator<Item = Number> {
        let clients = self.by_number.iter();
        let unheard = clients.filter(|(_, client)| matches!(client.phase, Phase::Header { .. }));
        unheard.map(|(&number, _)| number)
    }

    /// FastCGI connections that wait for another request are closed, unless one has come.
    fn close_kept_open(&mut self, ground: &Ground) {
        let waits = |client: &Client| client.is_kept_open() && !client.has_something_to_read();
        let clients = self.by_number.iter();
        let waiting = clients.filter(|(_, client)| waits(client));
        for number in waiting.map(|(&number, _)| number).collect::<Vec<_>>() {
            self.remove_client(number, ground);
        }
    }

    /// Who may connect is another from now on: no FastCGI connection of before is kept for another request.
    pub(crate) fn outdate(&mut self, ground: &Ground) {
        for client in self.by_number.values_mut() {
            client.is_outdated = true;
        }
        self.close_kept_open(ground);
    }

    /// Whether FastCGI connections are kept for another request from now on.
    pub(crate) fn keep_open(&mut self, keeps_open: bool, ground: &Ground) {
        self.keeps_open = keeps_open;
        if !keeps_open {
            self.close_kept_open(ground);
        }
    }

    /// From now on a request that nothing was done for goes back to its front: queued ones now, others when they come.
    /// Not where the front would find the app no better: `reason`.
    pub(crate) fn send_away(&mut self, reason: Option<Reason>, ground: &mut Ground) {
        if matches!(reason, Some(Reason::Broken | Reason::StartTimedOut)) {
            return;
        }
        self.sends_away = true;
        let goes = |client: &Client| {
            let request = client.request.as_ref().filter(|_| client.is_queued());
            request.is_some_and(|request| request.can_go_elsewhere())
        };
        let going = self.by_number.iter().filter(|(_, client)| goes(client));
        for number in going.map(|(&number, _)| number).collect::<Vec<_>>() {
            ::log::debug!("sent away: number={number}");
            self.abort_queued(number, ground);
        }
    }

    /// Requests whose bodies are still to come are refused: what would serve them is gone.
    pub(crate) fn refuse_unfinished(&mut self, ground: &mut Ground) {
        let receives = |client: &Client| matches!(client.phase, Phase::Receiving { .. });
        let receiving = self.by_number.iter().filter(|(_, client)| receives(client));
        for number in receiving.map(|(&number, _)| number).collect::<Vec<_>>() {
            let why = Counted::Leaving;
            let reason = "the daemon ends, and the message-body was not there yet";
            self.refuse_for_want(number, why, reason, Duration::from_secs(1), ground);
        }
    }
}

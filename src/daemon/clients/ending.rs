//! Drives the end of a request: its client is gone, or it is answered; its front is released, and the last of it is
//! closed.

use std::time::Duration;

use log::Level;

use super::Clients;
use super::client::{Client, Phase};
use crate::daemon::ground::Ground;
use crate::daemon::watch::Stream;
use crate::figures::Counted;
use crate::policy::pool::{Event, Reason};
use crate::policy::queue::Ticket;
use crate::sys::clock;
use crate::sys::poll::Interest;

/// What a front may take to go once it is told to.
const PARTING_TIME: Duration = Duration::from_secs(1);
/// What a web server's log may take to read the rest of what a request's app said.
const LOG_TIME: Duration = Duration::from_secs(1);

impl Clients {
    /// The request is answered: it ends when its web server's log has taken everything.
    pub(crate) fn end_request(&mut self, ticket: Ticket, ground: &mut Ground) {
        if let Some(Phase::Running { worker, .. }) = self.by_ticket.get(&ticket).map(|c| &c.phase) {
            self.running.remove(worker);
        }
        if !self.wait_for_log(ticket, ground) {
            self.release_front(ticket, ground);
        }
    }

    /// `true`: the web server's log has still to take something, and gets a second for it.
    fn wait_for_log(&mut self, ticket: Ticket, ground: &Ground) -> bool {
        let Some(client) = self.by_ticket.get_mut(&ticket) else {
            return false;
        };
        if client.to_log.is_empty() {
            return false;
        }
        for stream in [Stream::Connection, Stream::Input, Stream::Output] {
            client.watch(&ground.poll, ticket, stream, None);
        }
        let before = client.spooled();
        let request = client.request.as_mut();
        if let Some(passed) = request.and_then(|request| request.passed.take()) {
            // There are web servers that read the log when the response has ended.
            client.phase = Phase::Logging { log: passed.errors };
            self.account(ticket, before, ground);
            self.limited.insert(ticket, clock::now() + LOG_TIME);
        }
        true
    }

    /// Tells the front to leave; our copies of its descriptors are closed when it has. Without a front they are closed
    /// now.
    pub(super) fn release_front(&mut self, ticket: Ticket, ground: &mut Ground) {
        if let Some(client) = self.by_ticket.get_mut(&ticket) {
            let before = client.spooled();
            if client.release() {
                for stream in [Stream::Errors, Stream::Input, Stream::Output] {
                    client.watch(&ground.poll, ticket, stream, None);
                }
                client.watch(&ground.poll, ticket, Stream::Connection, Interest::Read);
                self.account(ticket, before, ground);
                // A front that was stopped is not to hold up the response.
                self.limited.insert(ticket, clock::now() + PARTING_TIME);
                return;
            }
        }
        if let Some(client) = self.remove_client(ticket, ground) {
            client.to_log.count_lost(ticket);
            client.close();
        }
    }

    /// The client of a queued request is gone.
    pub(super) fn hang_up(&mut self, ticket: Ticket, ground: &mut Ground) {
        self.count_hung_up(ticket, ground);
        self.abort_queued(ticket, ground);
    }

    /// The client of a queued request is gone, or is to go on by itself.
    pub(crate) fn abort_queued(&mut self, ticket: Ticket, ground: &mut Ground) {
        ::log::debug!("hung up: ticket={ticket}");
        ground.tell_pool(Event::HungUp(ticket));
        self.remove_client(ticket, ground);
    }

    /// A client that no worker has is gone, whether or not the pool has heard of its request.
    pub(crate) fn abort_unserved(&mut self, ticket: Ticket, ground: &mut Ground) {
        match self.by_ticket.get(&ticket).is_some_and(Client::is_queued) {
            true => self.abort_queued(ticket, ground),
            false => _ = self.remove_client(ticket, ground),
        }
    }

    /// The client of a running request is gone, or is cut since it takes nothing. `true`: its worker waits until what
    /// it has spooled is sent.
    pub(crate) fn abort_running(&mut self, ticket: Ticket, ground: &Ground) -> bool {
        let Some(client) = self.by_ticket.get_mut(&ticket) else {
            return false;
        };
        ::log::debug!("gone: ticket={ticket}");
        client.is_gone = true;
        // Its end would be reported in every turn.
        client.watch(&ground.poll, ticket, Stream::Connection, None);
        client.watch(&ground.poll, ticket, Stream::Output, None);
        self.limited.remove(ticket);
        if !matches!(client.phase, Phase::Running { .. }) {
            return false;
        }
        let outgoing = client.outgoing().and_then(|outgoing| outgoing.as_ref());
        let is_awaited = outgoing.is_some_and(|outgoing| outgoing.is_awaited);
        self.drop_outgoing(ticket, ground);
        is_awaited
    }

    /// A guest is closed for want of room.
    pub(super) fn close_for_room(&mut self, ticket: Ticket, ground: &mut Ground) {
        let client = self.by_ticket.get(&ticket);
        if let Some(guest) = client.and_then(|client| client.caller.guest) {
            let reason = "closed: an idle or slow connection, for want of room";
            self.notices
                .note(Level::Warn, reason, "", guest, clock::now());
        }
        match client.map(|client| &client.phase) {
            Some(Phase::Receiving { .. }) => self.abort_queued(ticket, ground),
            _ => _ = self.remove_client(ticket, ground),
        }
        // A guest that is just coming in is no client yet, and was not found.
        self.shares.leave(ticket);
    }

    /// Removes a client. Dropping it closes its connection without a word: to the client this daemon never existed.
    pub(crate) fn remove_client(&mut self, ticket: Ticket, ground: &Ground) -> Option<Client> {
        let mut client = self.by_ticket.remove(&ticket)?;
        self.shares.leave(ticket);
        self.limited.remove(ticket);
        if let Phase::Running { worker, .. } = client.phase {
            self.running.remove(&worker);
        }
        client.unwatch(&ground.poll);
        self.account(ticket, client.spooled(), ground);
        // The loop need not wake for clients that are gone.
        while let Some((_, oldest)) = self.unwatched.front()
            && !self.by_ticket.contains_key(oldest)
        {
            self.unwatched.pop_front();
        }
        Some(client)
    }
}

/// When the daemon leaves.
impl Clients {
    /// Connections whose header is not whole.
    pub(crate) fn in_header(&self) -> impl Iterator<Item = Ticket> {
        let clients = self.by_ticket.iter();
        let unheard = clients.filter(|(_, client)| matches!(client.phase, Phase::Header { .. }));
        unheard.map(|(&ticket, _)| ticket)
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
        let going = self.by_ticket.iter().filter(|(_, client)| goes(client));
        for ticket in going.map(|(&ticket, _)| ticket).collect::<Vec<_>>() {
            ::log::debug!("sent away: ticket={ticket}");
            self.abort_queued(ticket, ground);
        }
    }

    /// Requests whose bodies are still to come are refused: what would serve them is gone.
    pub(crate) fn refuse_unfinished(&mut self, ground: &mut Ground) {
        let receives = |client: &Client| matches!(client.phase, Phase::Receiving { .. });
        let receiving = self.by_ticket.iter().filter(|(_, client)| receives(client));
        for ticket in receiving.map(|(&ticket, _)| ticket).collect::<Vec<_>>() {
            let why = Counted::Leaving;
            let reason = "the daemon ends, and the message-body was not there yet";
            self.refuse_for_want(ticket, why, reason, Duration::from_secs(1), ground);
        }
    }
}

//! Connections in the backlog of a server: whether it takes them, and how those come back that it has not taken.

use std::os::fd::{AsFd, OwnedFd};

use super::Foreign;
use super::exchange::Exchange;
use super::runs::Link;
use crate::daemon::clients::Clients;
use crate::daemon::ground::Ground;
use crate::daemon::token::{RunId, ServerId};
use crate::sys::socket;

impl Foreign {
    /// Whether it takes connections: its backlog is empty, or it has read something of what it was sent.
    pub(super) fn has_taken_any(&self, id: ServerId) -> bool {
        let server = self.servers.get(id);
        if server.is_some_and(|server| server.binds || !server.has_backlog()) {
            return true;
        }
        let mut runs = self.runs.iter();
        runs.any(|(_, run)| {
            let is_its = run.link.as_ref().and_then(Link::server);
            is_its.is_some_and(|(server, _)| server == id)
                && run.exchange.as_ref().is_some_and(Exchange::was_taken)
        })
    }

    /// The runs that this server has, or that are in its backlog.
    pub(super) fn runs_of(&self, id: ServerId) -> Vec<RunId> {
        let is_its = |link: &Link| link.server().is_some_and(|(server, _)| server == id);
        let runs = self.runs.iter();
        let its = runs.filter(|(_, run)| run.link.as_ref().is_some_and(is_its));
        its.map(|(run_id, _)| run_id).collect()
    }

    /// Takes back those requests that no server has accepted.
    pub(super) fn put_back(&mut self, id: ServerId, clients: &mut Clients, ground: &mut Ground) {
        for (run_id, unread) in self.unaccepted(id) {
            self.take_back(run_id, unread, clients, ground);
            if !self.supervision.waiting.contains(&run_id) {
                self.supervision.waiting.push(run_id);
            }
        }
    }

    /// Accepts the connections that the server has not accepted. A number that is sent over each is read at its other
    /// end, which is a run's: so the run is found. Returned with each: what had been sent over it.
    fn unaccepted(&mut self, id: ServerId) -> Vec<(RunId, Vec<u8>)> {
        let Some(server) = self.servers.get(id) else {
            return Vec::new();
        };
        let mut connections = Vec::new();
        for (number, connection) in server.unaccepted().into_iter().enumerate() {
            let unread = read_all(&connection);
            // No server has had this connection: what comes out of it is ours.
            let word = (number as u64 + 1).to_ne_bytes();
            if socket::send_now(connection.as_fd(), &word).is_ok() {
                connections.push((word, unread, connection));
            }
        }
        let mut found = Vec::new();
        for run_id in self.runs_of(id) {
            let run = self.runs.get(run_id);
            let Some(exchange) = run.and_then(|run| run.exchange.as_ref()) else {
                continue;
            };
            let mut word = [0; 8];
            let is_unheard = !exchange.has_heard();
            if is_unheard
                && socket::peek(exchange.from(), &mut word).is_ok_and(|count| count == 8)
                && let Some(at) = connections.iter().position(|(sent, ..)| *sent == word)
            {
                let (_, unread, _) = connections.swap_remove(at);
                found.push((run_id, unread));
            }
        }
        found
    }
}

/// What was sent over a connection and not read yet.
fn read_all(connection: &OwnedFd) -> Vec<u8> {
    let mut all = Vec::new();
    let mut block = [0; 16_384];
    while let Ok(count) = socket::receive_now(connection.as_fd(), &mut block)
        && count > 0
    {
        all.extend_from_slice(&block[..count]);
    }
    all
}

//! Responses of running requests: what a worker spools is sent to its client, and a client that goes is made known to
//! its worker.

use std::os::fd::OwnedFd;

use super::Workers;
use crate::daemon::clients::{Clients, Sent};
use crate::daemon::ground::Ground;
use crate::page::Failure;
use crate::policy::pool::WorkerId;
use crate::policy::queue::Number;
use crate::sys::memory::Told;
use crate::sys::poll::Ready;

/// What a worker is told when all that it has spooled was sent.
const EMPTY: &[u8] = b"empty";

impl Workers {
    /// The worker has put the next bytes of its response into this file. `None`: the descriptor was cut on its way.
    pub(super) fn on_spooled(
        &mut self,
        worker: WorkerId,
        file: Option<OwnedFd>,
        tail: Option<u64>,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let Some(number) = clients.number_of(worker) else {
            return;
        };
        let Some(file) = file else {
            ::log::error!("a response is cut: its spool could not be received: number={number}");
            self.abort_client(number, clients, ground);
            return;
        };
        if clients.set_outgoing(number, file, tail, ground) {
            self.send(number, clients, ground);
        }
    }

    /// The worker waits until its file is sent.
    pub(super) fn on_full(&mut self, worker: WorkerId, clients: &mut Clients, ground: &mut Ground) {
        match clients.number_of(worker) {
            Some(number) if clients.await_outgoing(number) => self.send(number, clients, ground),
            // The response has no reader any more, as the worker will find.
            _ => self.roster.tell(worker, EMPTY),
        }
    }

    /// There is room in the output of a running request whose response was spooled, or there may be.
    pub(crate) fn send(&self, number: Number, clients: &mut Clients, ground: &mut Ground) {
        let worker = clients.worker_of(number);
        match (clients.send_running(number, ground), worker) {
            (Sent::All { is_awaited: true }, Some(worker)) => self.roster.tell(worker, EMPTY),
            (Sent::Lost, _) => self.abort_client(number, clients, ground),
            _ => {}
        }
    }

    /// What the connection of a running request's client is ready for.
    pub(crate) fn on_connection(
        &self,
        number: Number,
        ready: Ready,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let is_plain = clients.get(number).is_some_and(|client| client.is_plain());
        if ready.gone {
            self.abort_client(number, clients, ground);
        } else if is_plain {
            self.send(number, clients, ground);
        } else if ready.readable {
            // A front has nothing to send while its request runs: from now on only its end is noticed.
            clients.watch_end(number, ground);
        }
    }

    /// The client of a running request is gone, or is cut since it takes nothing. The worker is told, and goes on:
    /// what it has begun it ends by itself.
    pub(crate) fn abort_client(&self, number: Number, clients: &mut Clients, ground: &mut Ground) {
        let worker = clients.worker_of(number);
        let is_awaited = clients.abort_running(number, ground);
        if let Some(worker) = worker {
            ground.board.tell(worker, Told::Gone);
            if is_awaited {
                self.roster.tell(worker, EMPTY);
            }
        }
    }

    /// The worker's request has taken too long, and the client has had nothing of the response.
    pub(super) fn has_run_out(&self, worker: WorkerId, ground: &Ground) -> bool {
        self.roster.is_overdue(worker) && !ground.board.has_written(worker)
    }

    /// Tells the web server of a response that was cut since it took too long.
    pub(super) fn tell_if_cut(
        &self,
        number: Number,
        worker: WorkerId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        if self.roster.is_overdue(worker) {
            let key = self.exceeded_key(worker, ground);
            let sentence = format!("{key}: the app did not finish its answer in time");
            clients.tell_web_server(number, &sentence, ground);
        }
    }

    /// The worker was told that its request has taken too long, and has ended it before its first byte.
    pub(super) fn time_out(
        &self,
        number: Number,
        worker: WorkerId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let key = self.exceeded_key(worker, ground);
        let sentence = format!("{key}: the app did not answer in time");
        clients.fail(number, Failure::TimedOut, &sentence, ground);
    }
}

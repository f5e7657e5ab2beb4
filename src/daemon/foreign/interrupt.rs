//! What happens to a run from elsewhere: its client goes, or its time is over.

use std::time::Duration;

use super::Foreign;
use super::runs::Link;
use crate::daemon::clients::Clients;
use crate::daemon::ground::Ground;
use crate::daemon::limits;
use crate::daemon::token::RunId;
use crate::page::Failure;
use crate::policy::queue::Number;
use crate::policy::server::ServerEvent;
use crate::sys::poll::Ready;

impl Foreign {
    /// What the connection of a running request's client is ready for.
    pub(crate) fn on_connection(
        &mut self,
        number: Number,
        ready: Ready,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let (Some(run_id), Some(client)) = (clients.worker_of(number), clients.get(number)) else {
            return;
        };
        if !client.has_connection() {
            // The front was told to leave. The child that waits at its gate held a copy of what we have closed.
            return;
        }
        let is_plain = client.is_plain();
        // A plain client may half-close: the end of its body is not its own.
        if is_plain && self.reads_body(run_id) {
            self.send_on(run_id, clients, ground);
            self.pass_on(run_id, clients, ground);
        } else if ready.gone {
            self.abort_client(number, clients, ground);
        } else if is_plain {
            self.pass_on(run_id, clients, ground);
        } else if ready.readable {
            clients.watch_end(number, ground);
        }
    }

    /// The key whose time is over: `request-timeout` or `request-limit`.
    fn exceeded_key(&self, run_id: RunId, ground: &Ground) -> &'static str {
        let since = self.runs.get(run_id).map(|run| run.since);
        limits::exceeded_key(since, &ground.config)
    }

    /// The client of a running request is gone: a server sees its connection closed, and a program ends by itself at
    /// its next write, or when its time is over.
    pub(crate) fn abort_client(
        &mut self,
        number: Number,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        if let Some(run_id) = clients.worker_of(number) {
            clients.abort_running(number, ground);
            let request = clients
                .get(number)
                .and_then(|client| client.request.as_ref());
            let is_head = request.is_some_and(|request| request.is_head());
            if !self.runs.was_all_taken(run_id, is_head) {
                clients.note_cut(number);
            }
            self.abort_run(run_id, clients, ground);
        }
    }

    fn abort_run(&mut self, run_id: RunId, clients: &mut Clients, ground: &mut Ground) {
        self.end_exchange(run_id, clients, ground);
        self.release_run(run_id, clients, ground);
    }

    /// The request has taken too long. Its client is answered now; its program is told to end.
    pub(crate) fn interrupt_run(
        &mut self,
        run_id: RunId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let key = self.exceeded_key(run_id, ground);
        let number = clients.number_of(run_id);
        if let Some(number) = number {
            clients.note_time_out(number, key, ground);
        }
        let line = number.map_or_else(String::new, |number| clients.logged_line(number));
        let run = self.runs.get(run_id);
        let server = run.and_then(|run| run.link.as_ref()?.server());
        let server = server.and_then(|(id, _)| self.servers.get(id)?.pid);
        match self.runs.pid(run_id).or(server) {
            Some(pid) => ::log::error!("{key}: the app is stuck in a request: pid={pid}{line}"),
            None => ::log::error!("{key}: the app is stuck in a request{line}"),
        }
        let mut link = None;
        if let Some(run) = self.runs.get_mut(run_id) {
            run.is_overdue = true;
            link = run.link.as_ref().and_then(Link::server);
        }
        self.end_child(run_id);
        self.give_up(run_id, key, clients, ground);
        if let Some((server, since)) = link {
            self.tell_server(server, ServerEvent::Overdue { since }, clients, ground);
        }
    }

    /// Ends the exchange of a request that has taken longer than `key` allows.
    fn give_up(&mut self, run_id: RunId, key: &str, clients: &mut Clients, ground: &mut Ground) {
        let run = self.runs.get(run_id);
        let exchange = run.and_then(|run| run.exchange.as_ref());
        let has_begun = exchange.is_some_and(|exchange| exchange.has_begun());
        let waits = run.is_some_and(|run| run.waiting.is_some());
        match clients.number_of(run_id) {
            Some(_) if has_begun => self.cut_response(run_id, clients, ground),
            Some(number) if waits || exchange.is_some() => {
                self.end_exchange(run_id, clients, ground);
                let sentence = format!("{key}: the app did not answer in time");
                clients.fail(number, Failure::TimedOut, &sentence, ground);
                self.release_run(run_id, clients, ground);
            }
            _ => {}
        }
    }

    /// Looks at the runs whose time has come.
    pub(super) fn look_at_runs(
        &mut self,
        now: Duration,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        for run_id in self.runs.due(now) {
            let lingers = self.runs.get(run_id).and_then(|run| run.lingers_until);
            if lingers.is_some_and(|until| until <= now) {
                self.complete_run(run_id, clients, ground);
            } else {
                self.pass_on(run_id, clients, ground);
            }
        }
    }

    /// Ends every program, and answers no client.
    pub(super) fn kill_children(&self) {
        for (run_id, _) in self.runs.iter() {
            self.kill_child(run_id);
        }
    }

    /// Ends every run: `graceful-timeout` is over.
    pub(super) fn end_runs(&mut self, clients: &mut Clients, ground: &mut Ground) {
        let all: Vec<RunId> = self.runs.iter().map(|(run_id, _)| run_id).collect();
        for run_id in all {
            self.kill_child(run_id);
            if self.runs.pid(run_id).is_none() {
                self.give_up(run_id, "graceful-timeout", clients, ground);
            }
        }
    }
}

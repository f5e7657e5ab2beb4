//! Responses that a client does not take as fast as the worker gives them: the worker writes the rest into a file
//! without a name and is free again; we send the file. Knows files and how far they were sent, not what is in them.
//!
//! # Theory of operation
//! | a worker says | and |
//! | --- | --- |
//! | `spooled N`, with a descriptor | so many bytes of the response are in this file; those before went out directly |
//! | `more N` | now there are so many in it |
//! | `full` | the spool has no more room: it waits for `empty`, which we say when all of the file is sent |
//! | `unread N` | so many bytes of the message-body are still to be read: we do it |
//! | `done` | that was all of it |
//!
//! How much was sent is the position of the file, which worker and loop share: when it is where the worker's bytes end,
//! the worker may cut the file off and write directly again. So we move it only behind what has gone out, and never
//! send beyond what was said: room that is reserved looks like zeros.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use super::client::{Client, Phase};
use crate::answer::{DRAIN_BYTES, DRAIN_TIME};
use crate::daemon::Daemon;
use crate::daemon::turn::{Progress, TURN};
use crate::daemon::watch::End;
use crate::policy::pool::WorkerId;
use crate::policy::queue::Ticket;
use crate::policy::shares::Stage;
use crate::sys::memory::Told;
use crate::sys::poll::Interest;
use crate::sys::splice::Scratch;
use crate::sys::{Errno, clock, is, socket};

/// What a worker says when all that it has spooled was sent.
const EMPTY: &[u8] = b"empty";

/// A response on its way out of a file.
#[derive(Debug)]
pub(crate) struct Outgoing {
    file: File,
    /// Where the worker's bytes end.
    tail: u64,
    /// The file's size when it was last looked at.
    size: u64,
    /// The worker waits until all is sent.
    is_awaited: bool,
}

impl Outgoing {
    pub(crate) fn new(file: OwnedFd, tail: Option<u64>) -> Outgoing {
        let mut outgoing = Outgoing {
            file: File::from(file),
            tail: 0,
            size: 0,
            is_awaited: false,
        };
        outgoing.grow(tail);
        outgoing
    }

    /// A file that is ours alone to fill.
    pub(crate) fn empty(file: File) -> Outgoing {
        Outgoing {
            file,
            tail: 0,
            size: 0,
            is_awaited: false,
        }
    }

    /// Puts more behind what is in it; how many bytes there was room for.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write_at(bytes, self.tail)?;
        self.tail += count as u64;
        self.size = self.size.max(self.tail);
        Ok(count)
    }

    /// There is more in the file: up to `tail`, or all of it.
    fn grow(&mut self, tail: Option<u64>) {
        // A file that can't be asked is empty to us, and the response is cut.
        self.size = self.file.metadata().map_or(0, |metadata| metadata.len());
        self.tail = tail.unwrap_or(self.size);
    }

    /// Bytes of the spool that it takes.
    pub(crate) fn spooled(&self) -> u64 {
        self.size
    }

    /// Sends what there is room for.
    ///
    /// As long as something is left of what was said, the position is moved by nobody else. As soon as nothing is, the
    /// worker may cut the file off and set it back, so it is not looked at again before the worker has said more.
    pub(crate) fn send(&mut self, output: BorrowedFd<'_>, scratch: &mut Scratch) -> Progress {
        let Ok(at) = (&self.file).stream_position() else {
            return Progress::Lost;
        };
        let mut left = self.tail.saturating_sub(at);
        let mut moved = 0;
        for _ in 0..TURN {
            if left == 0 {
                self.tail = 0;
                return Progress::Finished;
            }
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(1 << 20);
            match scratch.send_file(output, &self.file, most) {
                // It was cut off after its size was looked at. What comes into it now is said later.
                Ok(0) => left = 0,
                Ok(count) => {
                    moved += count as u64;
                    left = left.saturating_sub(count as u64);
                }
                Err(error) if is(&error, Errno::EAGAIN) => break,
                Err(_) => return Progress::Lost,
            }
        }
        Progress::Waits(moved)
    }
}

impl Client {
    /// What the worker has spooled, while it runs and afterwards.
    fn outgoing(&mut self) -> Option<&mut Outgoing> {
        match &mut self.phase {
            Phase::Finishing { outgoing, .. } | Phase::Running { outgoing, .. } => {
                outgoing.as_mut()
            }
            _ => None,
        }
    }

    /// What was spooled for it, taken out for a moment.
    pub(crate) fn take_outgoing(&mut self) -> Option<Outgoing> {
        match &mut self.phase {
            Phase::Finishing { outgoing, .. } | Phase::Running { outgoing, .. } => outgoing.take(),
            _ => None,
        }
    }

    pub(crate) fn set_outgoing(&mut self, new: Option<Outgoing>) {
        if let Phase::Finishing { outgoing, .. } | Phase::Running { outgoing, .. } = &mut self.phase
        {
            *outgoing = new;
        }
    }

    fn send(&mut self, scratch: &mut Scratch) -> Progress {
        let mut phase = std::mem::replace(&mut self.phase, Phase::Waiting);
        let progress = match (&mut phase, self.output()) {
            (
                Phase::Finishing {
                    outgoing: Some(outgoing),
                    ..
                }
                | Phase::Running {
                    outgoing: Some(outgoing),
                    ..
                },
                Some(output),
            ) => outgoing.send(output, scratch),
            (_, None) => Progress::Lost,
            _ => Progress::Finished,
        };
        self.phase = phase;
        progress
    }
}

/// What workers say of their responses.
impl Daemon {
    /// The worker has put the next bytes of its response into this file. `None`: the descriptor was cut on its way.
    pub(crate) fn on_spooled(
        &mut self,
        worker: WorkerId,
        file: Option<OwnedFd>,
        tail: Option<u64>,
    ) {
        let Some(ticket) = self.ticket_of(worker) else {
            return;
        };
        let Some(file) = file else {
            ::log::error!("a response is cut: its spool could not be received: ticket={ticket}");
            self.lose(ticket);
            return;
        };
        if let Some(client) = self.clients.get_mut(&ticket).filter(|c| !c.is_gone) {
            let before = client.spooled();
            client.set_outgoing(Some(Outgoing::new(file, tail)));
            self.account(ticket, before);
            self.send(ticket);
        }
    }

    /// The worker has put more into its file.
    pub(crate) fn on_more(&mut self, worker: WorkerId, tail: Option<u64>) {
        let Some(ticket) = self.ticket_of(worker) else {
            return;
        };
        if let Some(client) = self.clients.get_mut(&ticket) {
            let before = client.spooled();
            if let Some(outgoing) = client.outgoing() {
                outgoing.grow(tail);
            }
            self.account(ticket, before);
            self.send(ticket);
        }
    }

    /// The worker waits until its file is sent.
    pub(crate) fn on_full(&mut self, worker: WorkerId) {
        let ticket = self.ticket_of(worker);
        let client = ticket.and_then(|ticket| self.clients.get_mut(&ticket));
        match (ticket, client.and_then(Client::outgoing)) {
            (Some(ticket), Some(outgoing)) => {
                outgoing.is_awaited = true;
                self.send(ticket);
            }
            // Nobody takes anything any more, as it will find.
            _ => self.workers.tell(worker, EMPTY),
        }
    }

    /// The worker leaves so many bytes of the message-body to us.
    pub(crate) fn on_unread(&mut self, worker: WorkerId, bytes: u64) {
        let ticket = self.ticket_of(worker);
        let client = ticket.and_then(|ticket| self.clients.get_mut(&ticket));
        if let Some(Client {
            phase: Phase::Running { unread, .. },
            ..
        }) = client
        {
            *unread = bytes;
        }
    }

    /// The worker is done with its request: what is left of it is done here.
    pub(crate) fn worker_done(&mut self, worker: WorkerId) {
        let Some(ticket) = self.served_by.remove(&worker) else {
            return;
        };
        ::log::debug!("done: ticket={ticket} worker={worker}");
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        let phase = std::mem::replace(&mut client.phase, Phase::Waiting);
        let may_exceed = client.request.as_ref().is_some_and(|r| r.may_exceed);
        if let Phase::Running {
            outgoing, unread, ..
        } = phase
        {
            let behind = if may_exceed { DRAIN_BYTES } else { 0 };
            let unread = unread.saturating_add(behind);
            client.phase = Phase::Finishing { outgoing, unread };
        }
        self.finish_off(ticket);
    }

    /// Blocks of the response to this worker's request that have gone out from here: progress that the worker itself
    /// does not see.
    pub(crate) fn moved_for(&self, worker: WorkerId) -> u64 {
        let client = self.ticket_of(worker).and_then(|t| self.clients.get(&t));
        client.map_or(0, |client| client.moved)
    }
}

impl Daemon {
    /// There is room in the output of a response that was spooled, or there may be.
    pub(crate) fn send(&mut self, ticket: Ticket) {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        let worker = match client.phase {
            Phase::Running { worker, .. } if self.runs.has(worker) => return self.pass_on(worker),
            Phase::Running { worker, .. } => worker,
            Phase::Finishing { .. } => return self.finish_off(ticket),
            _ => return,
        };
        match client.send(&mut self.scratch) {
            Progress::Finished => {
                client.moved += 1;
                client.watch(&self.poll, ticket, End::Output, None);
                self.limited.remove(ticket);
                if let Some(outgoing) = client.outgoing()
                    && std::mem::take(&mut outgoing.is_awaited)
                {
                    self.workers.tell(worker, EMPTY);
                }
            }
            Progress::Lost => self.lose(ticket),
            Progress::Waits(moved) => {
                client.moved += u64::from(moved > 0);
                client.watch(&self.poll, ticket, End::Output, Interest::Write);
                self.prolong(ticket, moved > 0, self.config.timeouts.request);
            }
        }
    }

    /// The client of a running request is gone, or is cut since it takes nothing. The worker is told, and goes on:
    /// what it has begun it ends by itself.
    pub(crate) fn lose(&mut self, ticket: Ticket) {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        ::log::debug!("gone: ticket={ticket}");
        client.is_gone = true;
        // Its end would be reported in every turn.
        client.watch(&self.poll, ticket, End::Connection, None);
        client.watch(&self.poll, ticket, End::Output, None);
        self.limited.remove(ticket);
        let Phase::Running { worker, .. } = client.phase else {
            return;
        };
        let before = client.spooled();
        if self.runs.has(worker) {
            client.set_outgoing(None);
            self.account(ticket, before);
            self.abandon(worker);
            return;
        }
        self.workers.board().tell(worker, Told::Gone);
        if client
            .outgoing()
            .is_some_and(|outgoing| outgoing.is_awaited)
        {
            self.workers.tell(worker, EMPTY);
        }
        client.set_outgoing(None);
        self.account(ticket, before);
    }

    /// Does what is left to do when the worker has done its part: sends the spool and reads the rest of the body, one
    /// beside the other, since there are web servers that do nothing of the one before the other.
    pub(crate) fn finish_off(&mut self, ticket: Ticket) {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        let Phase::Finishing { outgoing, unread } = &client.phase else {
            return;
        };
        let (has_outgoing, has_unread) = (outgoing.is_some(), *unread > 0);
        if client.is_gone || !(has_outgoing || has_unread) {
            self.finish(ticket);
            return;
        }
        let sent = client.send(&mut self.scratch);
        let read = if has_unread {
            client.drain(&mut self.scratch)
        } else {
            Progress::Finished
        };
        if sent == Progress::Lost {
            self.finish(ticket);
            return;
        }
        if sent == Progress::Finished && has_outgoing {
            let before = client.spooled();
            client.set_outgoing(None);
            self.account(ticket, before);
        }
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        let waits = |progress| matches!(progress, Progress::Waits(_));
        if !waits(read) {
            if let Phase::Finishing { unread, .. } = &mut client.phase {
                *unread = 0;
            }
            if !waits(sent) {
                self.finish(ticket);
                return;
            }
        }
        if let (Progress::Finished, true, Some(connection)) =
            (sent, client.is_plain(), &client.connection)
        {
            // As behind a page of ours: the client reads the response's end here, and then sends no more.
            let _ = socket::shut_writing(connection.as_fd());
        }
        let stage = match waits(sent) {
            true => Stage::Slow,
            false => Stage::Answered,
        };
        self.shares.go_to(ticket, stage);
        let writes = waits(sent).then_some(Interest::Write);
        client.watch(&self.poll, ticket, End::Output, writes);
        let reads = waits(read).then_some(Interest::Read);
        client.watch(&self.poll, ticket, End::Input, reads);
        let has_moved = [sent, read]
            .iter()
            .any(|progress| matches!(progress, Progress::Waits(moved) if *moved > 0));
        let patience = if waits(sent) {
            self.config.timeouts.request
        } else {
            DRAIN_TIME
        };
        self.prolong(
            ticket,
            has_moved || sent == Progress::Finished && has_outgoing,
            patience,
        );
    }

    /// A client has so long from now on, if it has moved; else from when this was first asked.
    pub(crate) fn prolong(
        &mut self,
        ticket: Ticket,
        has_moved: bool,
        patience: std::time::Duration,
    ) {
        let due = clock::now() + patience;
        if has_moved {
            self.limited.insert(ticket, due);
        } else {
            self.limited.limit(ticket, due);
        }
    }
}

#[cfg(test)]
mod tests;

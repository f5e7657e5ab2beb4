//! Zygotes and workers: started, listened to, given requests, interrupted, buried. What they say of a request is done
//! here, to its client; what they say of their import goes to the loop as an outcome.

mod channel;
mod roster;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use smallvec::SmallVec;

use self::channel::Said;
use self::roster::{Roster, Who};
use super::clients::{Clients, Sent, Taken};
use super::ground::Ground;
use super::limits;
use super::outcome::Outcome;
use super::token::Source;
use crate::app::CannotRun;
use crate::config::Target;
use crate::page::Failure;
use crate::policy::pool::{Event, Generation, WorkerId};
use crate::policy::queue::Ticket;
use crate::report::{plain, visible};
use crate::sys::clock;
use crate::sys::memory::Told;
use crate::sys::poll::Ready;
use crate::sys::process::End;

/// What a worker is told when all that it has spooled was sent.
const EMPTY: &[u8] = b"empty";

/// The processes of a wsgi app.
pub(super) struct Workers {
    roster: Roster,
}

/// What the pool wants.
impl Workers {
    pub(super) fn new() -> io::Result<Workers> {
        Ok(Workers {
            roster: Roster::new()?,
        })
    }

    /// Starts the process that imports the application.
    pub(super) fn start_zygote(
        &mut self,
        generation: Generation,
        target: &Target,
        watched: &[PathBuf],
        ground: &Ground,
    ) -> Result<(), CannotRun> {
        self.roster
            .start_zygote(generation, target, watched, ground)
    }

    /// Asks a zygote for a worker.
    pub(super) fn spawn(&mut self, worker: WorkerId, generation: Generation, ground: &mut Ground) {
        if let Err(error) = self.roster.spawn(worker, generation, &ground.poll) {
            let sentence = plain(&format!("cannot ask for a worker: {error}"));
            ::log::warn!("{sentence}");
            ground.failures.fail_to_fork(sentence);
            ground.tell_pool(Event::ForkFailed(worker));
        }
    }

    /// Gives a request to an idle worker. What comes of it is the pool's next event, before those that wait already:
    /// one of them may be this worker's death, and a request that a dead worker still has is lost.
    pub(super) fn dispatch(
        &mut self,
        ticket: Ticket,
        worker: WorkerId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let Some(client) = clients.get_mut(ticket) else {
            return;
        };
        let sent = match (&client.request, client.input(), client.output()) {
            (Some(request), Some(input), Some(output)) => {
                request.ahead.to_file().and_then(|ahead| {
                    let fds = descriptors(request, input, output, ahead.as_ref());
                    let (header, board) = (&request.header, &ground.board);
                    self.roster
                        .dispatch(worker, header, &fds, board, clock::now())
                })
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        };
        match sent {
            Ok(()) => {
                if let Some(request) = &mut client.request {
                    request.give_up_memory();
                }
                clients.run(ticket, worker);
            }
            Err(error) if is_end(&error) => {
                ::log::warn!("cannot give a request to worker {worker}: {error}");
                self.roster.kill(worker);
                ground.tell_pool_next(Event::Returned(worker));
            }
            Err(error) => clients.cannot_give(ticket, worker, &error, ground),
        }
    }

    /// Ends a worker. One that has not said its pid is still in the hands of its zygote, which then forks nothing more:
    /// it hangs, and another is to take its place.
    pub(super) fn kill(&mut self, worker: WorkerId, ground: &mut Ground) {
        if !self.roster.was_never_born(worker) {
            self.roster.kill(worker);
            return;
        }
        let generation = self.roster.generation(worker);
        ::log::error!("the zygote hangs: it has not forked a worker within start-timeout");
        self.roster.kill_zygote(generation);
        self.roster.forget(worker, &ground.poll);
        ground.tell_pool(Event::ForkFailed(worker));
    }

    /// Asks a zygote whether what it imported is still what lies there.
    pub(super) fn look(&self, generation: Generation, ground: &mut Ground) {
        if let Err(error) = self.roster.look(generation) {
            // It is dead or stuck, which is found out elsewhere.
            ::log::debug!("cannot ask the zygote: {error}");
            ground.tell_pool(Event::Looked { changed: false });
        }
    }

    /// A request has taken too long.
    pub(super) fn interrupt(&mut self, worker: WorkerId, ground: &Ground) {
        let pid = self.roster.pid(worker).unwrap_or(0);
        let key = self.exceeded_key(worker, ground);
        ::log::error!("{key}: the app is stuck in a request: pid={pid}");
        self.roster.interrupt(worker, &ground.board);
    }

    fn exceeded_key(&self, worker: WorkerId, ground: &Ground) -> &'static str {
        limits::exceeded_key(self.roster.busy_since(worker), &ground.config)
    }

    /// Whether a block of the request has moved since this was asked last.
    pub(super) fn take_progress(
        &mut self,
        worker: WorkerId,
        clients: &Clients,
        ground: &Ground,
    ) -> bool {
        let ours = clients.moved_for(worker);
        self.roster.take_progress(worker, ours, &ground.board)
    }

    /// Lets an idle worker go.
    pub(super) fn retire(&mut self, worker: WorkerId, now: Duration, ground: &Ground) {
        self.roster.retire(worker, now, &ground.poll);
    }

    /// Lets a zygote go, once its workers are gone.
    pub(super) fn retire_zygote(&mut self, generation: Generation, now: Duration, ground: &Ground) {
        self.roster.retire_zygote(generation, now, &ground.poll);
    }

    /// Lets all zygotes go.
    pub(super) fn retire_zygotes(&mut self, now: Duration, ground: &Ground) {
        self.roster.retire_zygotes(now, &ground.poll);
    }
}

/// What they say over their channels.
impl Workers {
    pub(super) fn hear(&mut self, source: Source, clients: &mut Clients, ground: &mut Ground) {
        let heard = self.roster.hear(source, &ground.poll);
        for (said, file) in heard.said {
            match source {
                Source::Worker(worker) => self.on_worker(worker, said, file, clients, ground),
                Source::Zygote(generation) => self.on_zygote(generation, said, clients, ground),
                Source::Server(_) => {}
            }
        }
        if let (Source::Worker(worker), true) = (source, heard.ended)
            && self.roster.was_never_born(worker)
        {
            // That it could not be forked was said before, if that is why.
            let zygote = Source::Zygote(self.roster.generation(worker));
            self.hear(zygote, clients, ground);
            if self.roster.was_never_born(worker) {
                // The zygote died, or this one in its hands: no fault of the app, which is imported.
                ::log::warn!("a worker has ended before it was ready: worker={worker}");
                self.roster.forget(worker, &ground.poll);
                ground.tell_pool(Event::ForkFailed(worker));
            }
        }
    }

    fn on_zygote(
        &mut self,
        generation: Generation,
        said: Said,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        match said {
            Said::Changed(change) => ground.tell(Outcome::Changed(change)),
            Said::Failed(reason) => {
                self.start_failed(Source::Zygote(generation), reason, false, clients, ground);
            }
            Said::ForkFailed { worker, errno } => {
                let error = io::Error::from_raw_os_error(errno);
                let sentence = plain(&format!("cannot fork a worker: {error}"));
                ::log::warn!("{sentence}");
                ground.failures.fail_to_fork(sentence);
                self.roster.forget(worker, &ground.poll);
                ground.tell_pool(Event::ForkFailed(worker));
            }
            Said::Imported | Said::Importing => {}
            Said::Looked => ground.tell(Outcome::Looked(generation)),
            Said::Ready => ground.tell(Outcome::ZygoteReady(generation)),
            Said::Refused(reason) => {
                self.start_failed(Source::Zygote(generation), reason, true, clients, ground);
            }
            Said::Unsafe(reason) => {
                ::log::warn!(
                    "preload is off: the app cannot be forked after its import: {}",
                    visible(reason.as_bytes())
                );
            }
            said => ::log::warn!("unexpected words of zygote {generation}: {said:?}"),
        }
    }

    fn on_worker(
        &mut self,
        worker: WorkerId,
        said: Said,
        file: Option<OwnedFd>,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        match said {
            Said::Born | Said::Imported | Said::Importing => {}
            Said::Done { last } => {
                // What it wrote to its pipe until now belongs to this request.
                self.overhear(Source::Worker(worker), clients, ground);
                match clients.ticket_of(worker) {
                    Some(ticket) if self.has_run_out(worker, ground) => {
                        self.time_out(ticket, worker, clients, ground);
                    }
                    _ => clients.take_over(worker, ground),
                }
                self.roster.release(worker);
                ground.tell_pool(Event::WorkerDone { worker, last });
            }
            Said::Failed(reason) => {
                self.start_failed(Source::Worker(worker), reason, false, clients, ground);
            }
            Said::Full => self.on_full(worker, clients, ground),
            Said::More { tail } => {
                if let Some(ticket) = clients.ticket_of(worker) {
                    clients.grow_outgoing(ticket, tail, ground);
                    self.send(ticket, clients, ground);
                }
            }
            Said::Ready => self.on_ready(worker, clients, ground),
            Said::Refused(reason) => {
                self.start_failed(Source::Worker(worker), reason, true, clients, ground);
            }
            Said::Spooled { tail } => self.on_spooled(worker, file, tail, clients, ground),
            Said::Unread(bytes) => clients.leave_unread(worker, bytes),
            said => ::log::warn!("unexpected words of worker {worker}: {said:?}"),
        }
    }

    fn on_ready(&mut self, worker: WorkerId, clients: &mut Clients, ground: &mut Ground) {
        if let Some(pid) = self.roster.pid(worker) {
            // The kernel, short of memory, is to take a worker and not the web server.
            let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), "500");
            ::log::debug!("worker ready: worker={worker} pid={pid}");
        }
        if ground.pool.has_code || ground.failures.keeps_words {
            let source = Source::Worker(worker);
            self.overhear(source, clients, ground);
            let words = std::mem::take(&mut ground.failures.words);
            clients.log_words(source, &words, ground);
        }
        self.roster.note_ready(worker);
        ground.tell_pool(Event::WorkerReady(worker));
    }

    /// What the process has written may say why; then the loop is told.
    fn start_failed(
        &mut self,
        source: Source,
        reason: String,
        is_refusal: bool,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        self.overhear(source, clients, ground);
        ground.tell(Outcome::StartFailed {
            source,
            generation: self.generation_of(source, ground),
            reason,
            is_refusal,
        });
    }

    /// Which import this process is of.
    fn generation_of(&self, source: Source, ground: &Ground) -> Generation {
        match source {
            Source::Server(_) => ground.pool.generation,
            Source::Worker(worker) => self.roster.generation(worker),
            Source::Zygote(generation) => generation,
        }
    }

    /// Passes on what a process wrote to its pipe: during a request to that request's web server, else to the log.
    /// All that was there when this began, and then it is the others' turn: what the app left running may never stop
    /// writing.
    pub(super) fn overhear(&mut self, source: Source, clients: &mut Clients, ground: &mut Ground) {
        let bytes = self.roster.overhear(source, &ground.poll);
        if bytes.is_empty() {
            return;
        }
        if self.is_importing(source, ground) {
            ground.failures.keep_words(&bytes);
            if ground.pool.has_code || ground.failures.keeps_words {
                // Whether it is worth a line is known when the import has ended.
                return;
            }
        }
        let ticket = match source {
            Source::Worker(worker) => clients.ticket_of(worker),
            Source::Server(_) | Source::Zygote(_) => None,
        };
        clients.pass_on_errors(source, ticket, &bytes, ground);
    }

    /// What it writes may be why the app can't be imported. With preload off that shows in the workers.
    fn is_importing(&self, source: Source, ground: &Ground) -> bool {
        match source {
            Source::Server(_) => false,
            Source::Worker(worker) => self.roster.is_starting(worker),
            Source::Zygote(generation) => generation > ground.pool.generation,
        }
    }
}

/// Their responses.
impl Workers {
    /// The worker has put the next bytes of its response into this file. `None`: the descriptor was cut on its way.
    fn on_spooled(
        &mut self,
        worker: WorkerId,
        file: Option<OwnedFd>,
        tail: Option<u64>,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let Some(ticket) = clients.ticket_of(worker) else {
            return;
        };
        let Some(file) = file else {
            ::log::error!("a response is cut: its spool could not be received: ticket={ticket}");
            self.abort_client(ticket, clients, ground);
            return;
        };
        if clients.set_outgoing(ticket, file, tail, ground) {
            self.send(ticket, clients, ground);
        }
    }

    /// The worker waits until its file is sent.
    fn on_full(&mut self, worker: WorkerId, clients: &mut Clients, ground: &mut Ground) {
        match clients.ticket_of(worker) {
            Some(ticket) if clients.await_outgoing(ticket) => self.send(ticket, clients, ground),
            // The response has no reader any more, as the worker will find.
            _ => self.roster.tell(worker, EMPTY),
        }
    }

    /// There is room in the output of a running request whose response was spooled, or there may be.
    pub(super) fn send(&self, ticket: Ticket, clients: &mut Clients, ground: &mut Ground) {
        let worker = clients.worker_of(ticket);
        match (clients.send_running(ticket, ground), worker) {
            (Sent::All { is_awaited: true }, Some(worker)) => self.roster.tell(worker, EMPTY),
            (Sent::Lost, _) => self.abort_client(ticket, clients, ground),
            _ => {}
        }
    }

    /// What the connection of a running request's client is ready for.
    pub(super) fn on_connection(
        &self,
        ticket: Ticket,
        ready: Ready,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let is_plain = clients.get(ticket).is_some_and(|client| client.is_plain());
        if ready.gone {
            self.abort_client(ticket, clients, ground);
        } else if is_plain {
            self.send(ticket, clients, ground);
        } else if ready.readable {
            // A front has nothing to send while its request runs: from now on only its end is noticed.
            clients.watch_end(ticket, ground);
        }
    }

    /// The client of a running request is gone, or is cut since it takes nothing. The worker is told, and goes on:
    /// what it has begun it ends by itself.
    pub(super) fn abort_client(&self, ticket: Ticket, clients: &mut Clients, ground: &mut Ground) {
        let worker = clients.worker_of(ticket);
        let is_awaited = clients.note_gone(ticket, ground);
        if let Some(worker) = worker {
            ground.board.tell(worker, Told::Gone);
            if is_awaited {
                self.roster.tell(worker, EMPTY);
            }
        }
    }

    /// The worker's request has taken too long, and the client has had nothing of the response.
    fn has_run_out(&self, worker: WorkerId, ground: &Ground) -> bool {
        self.roster.is_overdue(worker) && !ground.board.has_written(worker)
    }

    /// The worker was told that its request has taken too long, and has ended it before its first byte.
    fn time_out(
        &self,
        ticket: Ticket,
        worker: WorkerId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let key = self.exceeded_key(worker, ground);
        let sentence = format!("{key}: the app did not answer in time");
        clients.tell_web_server(ticket, &sentence, ground);
        clients.answer(ticket, Failure::TimedOut, "", ground);
    }
}

/// Their deaths.
impl Workers {
    /// Workers that have not said their pid yet may have said it by now, before they died.
    pub(super) fn hear_nameless(&mut self, clients: &mut Clients, ground: &mut Ground) {
        for worker in self.roster.nameless() {
            self.hear(Source::Worker(worker), clients, ground);
        }
    }

    /// Buries the dead. `None`: it can't be buried now.
    pub(super) fn bury(
        &mut self,
        pid: i32,
        clients: &mut Clients,
        ground: &mut Ground,
    ) -> Option<End> {
        let who = self.roster.who(pid);
        let source = match who {
            Who::Orphan => None,
            Who::Worker(worker) => Some(Source::Worker(worker)),
            Who::Zygote(generation) => Some(Source::Zygote(generation)),
        };
        let is_importing = source.is_some_and(|source| {
            self.hear_last(source, clients, ground);
            self.roster.is_importing(source)
        });
        let end = self.roster.bury(pid, who, &ground.poll)?;
        match who {
            Who::Orphan => ::log::debug!("orphan gone: pid={pid} end={end}"),
            Who::Worker(worker) => {
                self.worker_died(worker, pid, end, is_importing, clients, ground)
            }
            Who::Zygote(generation) => {
                ::log::debug!("zygote gone: pid={pid} end={end}");
                let source = Source::Zygote(generation);
                ground.tell(Outcome::Ended {
                    source,
                    generation,
                    end,
                    is_importing,
                });
                ground.tell_pool(Event::ZygoteGone(generation));
            }
        }
        Some(end)
    }

    /// Its channel and its pipe may hold words from before its end.
    fn hear_last(&mut self, source: Source, clients: &mut Clients, ground: &mut Ground) {
        self.hear(source, clients, ground);
        self.overhear(source, clients, ground);
        clients.end_errors(source);
    }

    /// The worker is dead, its group killed: only now does its byte tell what its client can still have.
    fn worker_died(
        &mut self,
        worker: WorkerId,
        pid: i32,
        end: End,
        is_importing: bool,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        if let Some(ticket) = clients.ticket_of(worker) {
            let has_written = ground.board.has_written(worker);
            ::log::error!("worker died in a request: pid={pid} end={end} cut={has_written}");
            if has_written {
                clients.end_request(ticket, ground);
            } else if self.has_run_out(worker, ground) {
                self.time_out(ticket, worker, clients, ground);
            } else {
                let sentence = format!("the app's worker ended without an answer: {end}");
                clients.tell_web_server(ticket, &sentence, ground);
                clients.answer(ticket, Failure::BadGateway, "", ground);
            }
        } else {
            ::log::debug!("worker gone: worker={worker} pid={pid} end={end}");
            ground.tell(Outcome::Ended {
                source: Source::Worker(worker),
                generation: self.roster.generation(worker),
                end,
                is_importing,
            });
        }
        self.roster.release(worker);
        ground.tell_pool(Event::WorkerGone(worker));
    }
}

/// Time, and the end.
impl Workers {
    /// Retired zygotes whose last worker has gone are told to leave.
    pub(super) fn release_zygotes(&mut self, now: Duration, ground: &Ground) {
        self.roster.release_zygotes(now, &ground.poll);
    }

    pub(super) fn pass_time(&mut self, now: Duration) {
        self.roster.kill_overdue(now);
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.roster.next_deadline()
    }

    /// The pid of a worker that has said it.
    pub(super) fn pid(&self, worker: WorkerId) -> Option<i32> {
        self.roster.pid(worker)
    }

    /// Which zygote a worker is from.
    pub(super) fn generation(&self, worker: WorkerId) -> Generation {
        self.roster.generation(worker)
    }

    /// No process is left that must be waited for.
    pub(super) fn are_gone(&self) -> bool {
        self.roster.are_gone()
    }

    pub(super) fn kill_all(&self) {
        self.roster.kill_all();
    }

    /// Tells zygotes that the end of their channels is not our end: the next version of this program has our pid.
    pub(super) fn say_leave(&self) {
        self.roster.say_leave();
    }
}

/// What a worker is sent with a request: where there is no message-body, nothing to read it from.
fn descriptors<'a>(
    request: &Taken,
    input: BorrowedFd<'a>,
    output: BorrowedFd<'a>,
    ahead: Option<&'a File>,
) -> SmallVec<[BorrowedFd<'a>; 3]> {
    let mut fds = SmallVec::new();
    if request.length() > 0 {
        fds.push(input);
    }
    fds.push(output);
    fds.extend(ahead.map(AsFd::as_fd));
    fds
}

/// Whether a worker that a packet could not be sent to is gone, or takes no more.
fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected, WouldBlock};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionReset | NotConnected | WouldBlock
    )
}

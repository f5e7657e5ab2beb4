//! What zygotes and workers say over their channels, and what they write to their pipes.

use std::io;

use super::Workers;
use super::channel::{Passed, Said};
use crate::app;
use crate::daemon::clients::Clients;
use crate::daemon::ground::Ground;
use crate::daemon::outcome::Outcome;
use crate::daemon::token::Source;
use crate::figures::Counted;
use crate::page::Failure;
use crate::policy::pool::{Event, Generation, WorkerId};
use crate::report::{plain, visible};

impl Workers {
    pub(crate) fn hear(&mut self, source: Source, clients: &mut Clients, ground: &mut Ground) {
        let heard = self.roster.hear(source, &ground.poll);
        for (said, fds) in heard.said {
            match source {
                Source::Worker(worker) => self.on_worker(worker, said, fds, clients, ground),
                Source::Zygote(generation) => self.on_zygote(generation, said, clients, ground),
                Source::Server(_) => {}
            }
        }
        if let (Source::Worker(worker), true) = (source, heard.ended)
            && self.roster.was_never_born(worker)
        {
            // If it could not be forked, the zygote has said so before.
            let zygote = Source::Zygote(self.roster.generation(worker));
            self.hear(zygote, clients, ground);
            if self.roster.was_never_born(worker) {
                // The zygote died, or the worker before it was ready: no fault of the app, which is imported.
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
                ground.fail_to_fork(app::shortage(&error), sentence);
                self.roster.forget(worker, &ground.poll);
                ground.tell_pool(Event::ForkFailed(worker));
            }
            Said::Imported | Said::Importing => {}
            Said::Looked => ground.tell(Outcome::Looked(generation)),
            Said::Ready => {
                self.forget_listeners_of(generation);
                ground.tell(Outcome::ZygoteReady(generation));
            }
            Said::Refused(reason) => {
                self.start_failed(Source::Zygote(generation), reason, true, clients, ground);
            }
            Said::Unsafe(reason) => {
                self.forget_listeners_of(generation);
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
        fds: Passed,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        // What it says of a request that it has taken itself makes that ours.
        if said.is_of_request() {
            self.request_of(worker, clients, ground);
        }
        match said {
            Said::Accepting => ground.tell(Outcome::Accepting),
            Said::Adopt => self.roster.tell(worker, b"taken"),
            Said::Back { last, refused } => {
                if let Some(reason) = refused {
                    self.note_cannot_accept(&visible(reason.as_bytes()), ground);
                }
                self.end_direct(worker, clients, ground);
                ground.tell_pool(Event::Back { worker, last });
            }
            Said::Born | Said::Imported | Said::Importing => {}
            Said::Done { last } => {
                // What the worker wrote to its pipe until now belongs to this request.
                self.overhear(Source::Worker(worker), clients, ground);
                let number = clients.number_of(worker);
                if let Some(number) = number.filter(|_| !ground.board.has_written_all(worker)) {
                    clients.note_cut(number);
                }
                match number {
                    Some(number) if self.has_run_out(worker, ground) => {
                        self.time_out(number, worker, clients, ground);
                    }
                    Some(number) if !ground.board.has_written(worker) => {
                        match clients.take_raised(number) {
                            Some(reason) => {
                                clients.answer(number, Failure::AppFailed, &reason, ground);
                            }
                            None => clients.take_over(worker, ground),
                        }
                    }
                    Some(number) => {
                        if self.roster.is_overdue(worker) {
                            clients.count(number, Counted::Cut, ground);
                        }
                        self.tell_if_cut(number, worker, clients, ground);
                        clients.take_over(worker, ground);
                    }
                    None => self.end_direct(worker, clients, ground),
                }
                ground.board.clear_desk(worker);
                self.roster.release(worker);
                ground.tell_pool(Event::WorkerDone { worker, last });
            }
            Said::Failed(reason) => {
                self.start_failed(Source::Worker(worker), reason, false, clients, ground);
            }
            Said::Full => self.on_full(worker, clients, ground),
            Said::Handed(packet) => {
                if let Some(found) = self.handed(&packet, fds) {
                    ground.tell(Outcome::Handed(found));
                }
            }
            Said::More { tail } => {
                if let Some(number) = clients.number_of(worker) {
                    clients.grow_outgoing(number, tail, ground);
                    self.send(number, clients, ground);
                }
            }
            Said::Raised(reason) => clients.note_raised(worker, reason, ground),
            Said::Ready => self.on_ready(worker, clients, ground),
            Said::Refused(reason) => {
                self.start_failed(Source::Worker(worker), reason, true, clients, ground);
            }
            Said::Spooled { tail } => {
                let file = fds.into_iter().next();
                self.on_spooled(worker, file, tail, clients, ground);
            }
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
            let words = ground.failures.take_words();
            clients.log_words(source, &words, ground);
        }
        self.roster.end_start(worker);
        ground.tell_pool(Event::WorkerReady(worker));
    }

    /// Passes on what the process has written, which may say why; then the loop is told.
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

    /// The generation of a process.
    pub(super) fn generation_of(&self, source: Source, ground: &Ground) -> Generation {
        match source {
            Source::Server(_) => ground.pool.generation,
            Source::Worker(worker) => self.roster.generation(worker),
            Source::Zygote(generation) => generation,
        }
    }

    /// Passes on what a process wrote to its pipe: during a request to that request's web server, else to the log.
    /// Takes what is there now, and no more in this turn: a process that the app left running may never stop writing.
    pub(crate) fn overhear(&mut self, source: Source, clients: &mut Clients, ground: &mut Ground) {
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
        let number = match source {
            Source::Worker(worker) => self.request_of(worker, clients, ground),
            Source::Server(_) | Source::Zygote(_) => None,
        };
        clients.pass_on_errors(source, number, &bytes, ground);
    }

    /// What the process writes may say why the app can't be imported. With preload off the workers import it.
    fn is_importing(&self, source: Source, ground: &Ground) -> bool {
        match source {
            Source::Server(_) => false,
            Source::Worker(worker) => self.roster.is_starting(worker),
            Source::Zygote(generation) => generation > ground.pool.generation,
        }
    }
}

//! Deaths of zygotes and workers: what they said before, what their clients can still have, and the burial.

use super::Workers;
use super::roster::Who;
use crate::daemon::clients::Clients;
use crate::daemon::ground::Ground;
use crate::daemon::outcome::Outcome;
use crate::daemon::token::Source;
use crate::figures::Counted;
use crate::incidents::Mishap;
use crate::page::Failure;
use crate::policy::pool::{Event, WorkerId};
use crate::policy::queue::Number;
use crate::sys::process::End;

struct Death {
    pid: i32,
    end: End,
    /// The app's own code was running.
    is_importing: bool,
}

impl Workers {
    /// Hears workers whose pid is not known yet: they may have said it before they died.
    pub(crate) fn hear_nameless(&mut self, clients: &mut Clients, ground: &mut Ground) {
        for worker in self.roster.nameless() {
            self.hear(Source::Worker(worker), clients, ground);
        }
    }

    /// Buries a dead process. `None`: it can't be buried now.
    pub(crate) fn bury(
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
        let death = Death {
            pid,
            end,
            is_importing,
        };
        match who {
            Who::Orphan => ::log::debug!("orphan gone: pid={pid} end={end}"),
            Who::Worker(worker) => self.worker_died(worker, &death, clients, ground),
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

    /// Hears what a process has said and written before its end.
    fn hear_last(&mut self, source: Source, clients: &mut Clients, ground: &mut Ground) {
        self.hear(source, clients, ground);
        self.overhear(source, clients, ground);
        clients.end_errors(source);
    }

    /// A worker has died, and its group was killed: only now is its byte on the board final. By that byte its client is
    /// answered.
    fn worker_died(
        &mut self,
        worker: WorkerId,
        death: &Death,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        if let Some(number) = self.request_of(worker, clients, ground) {
            self.died_in_request(number, worker, death, clients, ground);
        } else if let Some(header) = self.lost(worker, ground) {
            let (pid, end) = (death.pid, death.end);
            let has_written = ground.board.has_written(worker);
            let line = clients.count_lost(header, end, has_written, ground);
            ::log::error!("worker died in a request: pid={pid} end={end} cut={has_written}{line}");
        } else {
            let (pid, end) = (death.pid, death.end);
            ::log::debug!("worker gone: worker={worker} pid={pid} end={end}");
            ground.tell(Outcome::Ended {
                source: Source::Worker(worker),
                generation: self.roster.generation(worker),
                end,
                is_importing: death.is_importing,
            });
        }
        self.end_direct(worker, clients, ground);
        self.forget_direct(worker);
        self.roster.release(worker);
        ground.tell_pool(Event::WorkerGone(worker));
    }

    /// What becomes of the request that the dead worker had.
    fn died_in_request(
        &mut self,
        number: Number,
        worker: WorkerId,
        death: &Death,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let (pid, end) = (death.pid, death.end);
        let has_written = ground.board.has_written(worker);
        let line = clients.logged_line(number);
        ::log::error!("worker died in a request: pid={pid} end={end} cut={has_written}{line}");
        let is_overdue = self.roster.is_overdue(worker);
        if !is_overdue {
            let kind = match end {
                End::Exited(_) => Mishap::Exited,
                End::Killed(_) => Mishap::Killed,
            };
            let reason = format!("the worker ended: {end}");
            clients.note_mishap(number, kind, &reason, ground);
        }
        if has_written {
            clients.count(number, Counted::Cut, ground);
            if is_overdue {
                self.tell_if_cut(number, worker, clients, ground);
            } else {
                let sentence = format!("the app's worker ended within its answer: {end}");
                clients.tell_web_server(number, &sentence, ground);
            }
            clients.end_request(number, ground);
        } else if is_overdue {
            self.time_out(number, worker, clients, ground);
        } else {
            let sentence = format!("the app's worker ended without an answer: {end}");
            clients.fail(number, Failure::BadGateway, &sentence, ground);
        }
    }
}

//! Zygotes and workers of a wsgi app: what the pool wants of them is done here. What they say is in `hearing`, what they
//! answer in `responses`, how they end in `deaths`. What concerns a request is done to its client; what concerns an
//! import is left to the loop as an outcome.

mod channel;
mod deaths;
mod direct;
mod hearing;
mod responses;
mod roster;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;

use smallvec::SmallVec;

use self::direct::Escrows;
use self::roster::Roster;
use super::clients::{Clients, Taken};
use super::ground::Ground;
use super::limits;
use crate::app::{self, CannotRun};
use crate::config::Target;
use crate::policy::pool::{Event, Generation, WorkerId};
use crate::policy::queue::Number;
use crate::report::plain;
use crate::sys::clock;

/// The processes of a wsgi app.
pub(super) struct Workers {
    roster: Roster,
    escrows: Escrows,
}

/// What the pool wants.
impl Workers {
    pub(super) fn new() -> io::Result<Workers> {
        Ok(Workers {
            roster: Roster::new()?,
            escrows: Escrows::default(),
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
        self.forget_direct(worker);
        if let Err(error) = self.roster.spawn(worker, generation, &ground.poll) {
            if is_gone(&error) {
                // It is buried in this turn or the next one, which tells why.
                ground.tell_pool(Event::ZygoteGone(generation));
            } else {
                let sentence = plain(&format!("cannot ask for a worker: {error}"));
                ::log::warn!("{sentence}");
                ground.fail_to_fork(app::shortage(&error), sentence);
            }
            ground.tell_pool(Event::ForkFailed(worker));
        }
    }

    /// Gives a request to an idle worker. What comes of it is the pool's next event, before those that wait already:
    /// one of them may be this worker's death, and a request that a dead worker still has is lost.
    pub(super) fn dispatch(
        &mut self,
        number: Number,
        worker: WorkerId,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        let Some(client) = clients.get_mut(number) else {
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
                clients.run(number, worker, ground);
            }
            Err(error) if is_end(&error) => {
                ::log::warn!("cannot give a request to worker {worker}: {error}");
                self.roster.kill(worker);
                ground.tell_pool_next(Event::Returned(worker));
            }
            Err(error) => clients.cannot_give(number, worker, &error, ground),
        }
    }

    /// Kills a worker. If it has not said its pid, its zygote has not forked it: the zygote hangs, and is killed, so
    /// that another takes its place.
    pub(super) fn kill(&mut self, worker: WorkerId, ground: &mut Ground) {
        if !self.roster.was_never_born(worker) {
            self.roster.kill(worker);
            self.roster.end_start(worker);
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
            // The zygote is dead or stuck, which is found out elsewhere.
            ::log::debug!("cannot ask the zygote: {error}");
            ground.tell_pool(Event::Looked { changed: false });
        }
    }

    /// A request has taken too long.
    pub(super) fn interrupt(&mut self, worker: WorkerId, clients: &Clients, ground: &mut Ground) {
        let pid = self.roster.pid(worker).unwrap_or(0);
        let key = self.exceeded_key(worker, ground);
        let number = clients.number_of(worker);
        let line = number.map_or_else(String::new, |number| clients.logged_line(number));
        ::log::error!("{key}: the app is stuck in a request: pid={pid}{line}");
        if let Some(number) = number {
            clients.note_time_out(number, key, ground);
        }
        self.roster.interrupt(worker, &ground.board);
    }

    /// The key whose time is over: `request-timeout` or `request-limit`.
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

/// The error means that the worker is gone, or takes no more packets.
fn is_end(error: &io::Error) -> bool {
    is_gone(error) || error.kind() == io::ErrorKind::WouldBlock
}

/// The error means that the process at the other end is gone.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

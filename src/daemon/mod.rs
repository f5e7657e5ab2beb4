//! scgi-daemon: one thread, one loop. Takes requests from fronts and from SCGI and FastCGI clients, keeps the workers,
//! and leaves when it is not needed any more.
//!
//! # Theory of operation
//! A turn of the loop: the pool is told what happened and says what to do (`settle`), then the loop waits for the
//! next thing to happen, or for the next deadline. Nothing else in a turn waits.
//!
//! The rooms, from the ground up:
//! - `ground` and the files beside it: what every room stands on. An [`Outcome`](outcome::Outcome) is what a room has to
//!   tell a room that it may not call; the loop carries it there.
//! - `clients`: connections and their requests, from the header to the end of the front.
//! - `wires`: FastCGI connections, beside the requests that came over them.
//! - `door`: listeners, and which connections are let in. `workers`: zygotes and workers of a wsgi app. `foreign`: apps
//!   of any other kind. They call `clients`, and never one another.
//! - `carrier`: which of the two serves here. `life`: the daemon itself, its generations, configuration, name and end.
//! - this file: the loop. `setup` makes all of it.
//!
//! How a front's request, a plain client's, a foreign app's, a body, an edit and a stop go through them, function by
//! function: walks.md, beside this file.

mod carrier;
mod clients;
mod door;
mod failures;
mod foreign;
mod framed;
mod ground;
mod guest;
mod house;
mod ledger;
mod life;
mod limited;
mod limits;
mod log;
mod notices;
mod outcome;
mod setup;
mod token;
mod turn;
mod watch;
mod wires;
mod words;
mod workers;

use std::io;
use std::time::Duration;

use crate::acting;
use crate::app_file::Named;
use crate::args;
use crate::incidents::Mishap;
use crate::policy::pool::{Action, Event, WorkerId};
use crate::policy::queue::Number;
use crate::report::{Exit, say};
use crate::sweep;
use crate::sys::poll::Ready;
use crate::sys::signal::Signal;
use crate::sys::{clock, mark, process};
use clients::{HeaderReader, Start};
use house::Daemon;
use outcome::{Outcome, PoolFacts};
use token::Token;
use words::{NAME, Words};

/// How long it waits at its end for another process that writes what went wrong. No client waits then.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// Attempts after a failed epoll_wait: the loop can't go on without it.
const WAITS: u32 = 8;

/// `scgi-daemon [--socket-fd N] APP`.
pub fn main(words: &[String]) -> Exit {
    let words: Words = match args::parse(&[NAME], words) {
        Ok(words) => words,
        Err(exit) => return exit,
    };
    if let Some(base) = &words.sweep {
        return match sweep::sweep(base.as_ref()) {
            Ok(()) => Exit::Ok,
            Err(_) => Exit::NoPermission,
        };
    }
    if words.socket_fd.is_none() {
        let named = Named::new(words.app.as_ref());
        let kept = door::end_of_given();
        if let Err((exit, sentence)) = acting::begin_daemon(&named, words.user.as_deref(), kept) {
            say(NAME, sentence);
            return exit;
        }
    }
    match Daemon::start(&words) {
        Ok(mut daemon) => daemon.run(),
        Err(exit) => exit,
    }
}

/// The command line as argh knows it.
#[cfg(test)]
pub(crate) fn command_info() -> argh::CommandInfoWithArgs {
    use argh::ArgsInfo;
    Words::get_args_info()
}

/// What has a deadline, in the order in which it is served.
#[derive(Clone, Copy, Debug)]
enum Timer {
    Clients,
    Wires,
    Carrier,
    Leaving,
    Door,
    Upkeep,
    Upgrade,
    Pool,
}

impl Timer {
    const ALL: [Timer; 8] = [
        Timer::Clients,
        Timer::Wires,
        Timer::Carrier,
        Timer::Leaving,
        Timer::Door,
        Timer::Upkeep,
        Timer::Upgrade,
        Timer::Pool,
    ];
}

impl Daemon {
    fn run(&mut self) -> Exit {
        let (path, pid) = (self.ground.app.path.display(), process::pid());
        ::log::info!("start: app={path} pid={pid}");
        // Children of the version before us that have died are ours to bury.
        self.bury_the_dead();
        let mut ready = Vec::new();
        loop {
            self.settle();
            // Here every known event is handled, so a quiet moment can be seen.
            self.upgrade_further(clock::now());
            // After everything that can free a descriptor, and before the wait.
            self.watch_limit();
            let are_gone =
                self.clients.is_empty() && self.wires.is_empty() && self.carrier.are_gone();
            if self.leaving.is_over(are_gone, clock::now()) {
                break;
            }
            let next = Timer::ALL.iter().filter_map(|&timer| self.deadline(timer));
            let patience = match self.events.is_empty() {
                true => next.min().map(|at| at.saturating_sub(clock::now())),
                // What came while the queued were told.
                false => Some(Duration::ZERO),
            };
            if let Err(error) = self.wait(&mut ready, patience) {
                ::log::error!("cannot wait for events: epoll_wait: {error}");
                self.carrier.kill_all(&self.ground.poll);
                mark::kill_left(None);
                return Exit::OsError;
            }
            if self.pool.accept_until().is_some() {
                // What came of requests that workers have taken is known before anything else.
                self.settle();
            }
            for &event in &ready {
                self.on(event);
                self.heed();
            }
            self.pass_time(clock::now());
        }
        self.carrier.kill_all(&self.ground.poll);
        mark::kill_left(None);
        self.write_last_state();
        self.start_sweep();
        self.clients.notices().say_rest();
        let ground = &mut self.ground;
        ground.ledger.close(&ground.place, LAST_PATIENCE);
        let (requests, overloads) = (self.clients.requests(), self.clients.overloads());
        ::log::info!("exit: requests={requests} overloads={overloads}");
        self.leaving.exit()
    }

    /// Waits for events. If the host refuses that, it may grant it a moment later.
    fn wait(&self, ready: &mut Vec<Ready>, patience: Option<Duration>) -> io::Result<()> {
        let poll = &self.ground.poll;
        let refused = match poll.wait(ready, patience) {
            Err(error) => error,
            waited => return waited,
        };
        ::log::warn!("cannot wait for events: epoll_wait: {refused}");
        for _ in 0..WAITS {
            if poll.wait(ready, Some(Duration::ZERO)).is_ok() {
                return Ok(());
            }
        }
        Err(refused)
    }

    fn on(&mut self, ready: Ready) {
        let (carrier, clients) = (&mut self.carrier, &mut self.clients);
        let ground = &mut self.ground;
        match Token::from(ready.token) {
            Token::AppInput(run_id) => carrier.on_app_input(run_id, clients, ground),
            Token::AppOutput(run_id) => carrier.on_app_output(run_id, clients, ground),
            Token::Channel(source) => carrier.on_channel(source, clients, ground),
            Token::Connection(number) => match clients.worker_of(number) {
                Some(_) => carrier.on_connection(number, ready, clients, ground),
                None => clients.on_connection(number, ready, ground),
            },
            Token::Errors(number) => clients.flush_errors(number, ground),
            Token::Input(number) => match clients.worker_of(number) {
                Some(worker) => carrier.on_input(worker, clients, ground),
                None => clients.on_input(number, ground),
            },
            Token::Listener(number) => self.door.on_listener(number, clients, ground),
            Token::Output(number) => match clients.worker_of(number) {
                Some(worker) => carrier.on_output(number, worker, clients, ground),
                None => clients.on_output(number, ground),
            },
            Token::Pressure => self.on_pressure(ready),
            Token::Signals => self.on_signals(),
            Token::Stderr(source) => carrier.on_stderr(source, clients, ground),
            Token::Wire(number, _) => self.wires.advance(number, clients, ground),
        }
    }

    fn on_signals(&mut self) {
        for signal in self.signals.take() {
            match signal {
                Signal::SIGCHLD => self.bury_the_dead(),
                // A wrong configuration was logged.
                Signal::SIGHUP => _ = self.reload("SIGHUP"),
                signal => {
                    ::log::info!("leave: {signal}");
                    self.leave(None);
                }
            }
        }
    }

    /// Buries all processes that have died since the last call.
    fn bury_the_dead(&mut self) {
        let (clients, ground) = (&mut self.clients, &mut self.ground);
        self.carrier.hear_nameless(clients, ground);
        self.heed();
        while let Some(pid) = process::dead_child() {
            let (clients, ground) = (&mut self.clients, &mut self.ground);
            let end = self.carrier.bury(pid, clients, ground);
            self.heed();
            if end.is_none() {
                return;
            }
        }
    }

    /// Carries the rooms' outcomes to where they belong.
    fn heed(&mut self) {
        while let Some(outcome) = self.ground.outcomes.pop_front() {
            let (clients, ground) = (&mut self.clients, &mut self.ground);
            match outcome {
                Outcome::Accepting => self.door.go_behind(&self.ground),
                Outcome::AcceptsNoMore => self.door.look_again(&self.ground),
                Outcome::Changed(change) => self.note_change(change),
                Outcome::Command { number, command } => self.obey(number, command),
                Outcome::Ended {
                    source,
                    generation,
                    end,
                    is_importing,
                } => self.import_ended(source, generation, end, is_importing),
                Outcome::Framed(framed) => self.wires.take(*framed, clients, ground),
                Outcome::FramedGone(number) => match clients.worker_of(number) {
                    Some(_) => self.carrier.abort_client(number, clients, ground),
                    None => clients.lose(number, ground),
                },
                Outcome::FrontGone(number) => {
                    // Before its descriptors are closed: its web server may see that.
                    self.note_late();
                    self.clients.abort_unserved(number, &mut self.ground);
                }
                Outcome::Handed(found) => {
                    let is_own = found.caller.is_at_place;
                    let reader = HeaderReader::holding(found.header, found.passed, found.was_cut);
                    self.door
                        .come_in(found.connection, is_own, reader, clients, ground);
                }
                Outcome::Looked(generation) => self.looked(generation),
                Outcome::Misconfigured {
                    number,
                    failure,
                    sentence,
                } => {
                    self.reload_if_edited();
                    self.clients
                        .answer(number, failure, &sentence, &mut self.ground);
                }
                Outcome::StatusAsked(number) => self.show_status(number),
                Outcome::Pool(event) => self.events.push_back(event),
                Outcome::PoolNext(event) => self.events.push_front(event),
                Outcome::RunningLate(number) => self.carrier.abort_client(number, clients, ground),
                Outcome::StartFailed {
                    source,
                    generation,
                    reason,
                    is_refusal,
                } => {
                    let kind = match is_refusal {
                        true => Mishap::Host,
                        false => Mishap::Import,
                    };
                    if is_refusal {
                        self.events.push_back(Event::HostRefused(generation));
                    }
                    self.start_failed(source, generation, kind, &reason);
                }
                Outcome::ZygoteReady(generation) => {
                    self.compare_with_zygote(generation);
                    self.events.push_back(Event::ZygoteReady(generation));
                }
            }
        }
        if self.ground.failures.take_unwritten() {
            self.write_state();
        }
    }

    /// Tells the pool what happened and does what it says, until nothing is left to do.
    fn settle(&mut self) {
        self.carrier.see(&mut self.clients, &mut self.ground);
        self.heed();
        self.see_wires();
        let mut actions = Vec::new();
        while let Some(event) = self.events.pop_front() {
            ::log::trace!("pool: {event:?}");
            self.pool.handle(event, clock::now(), &mut actions);
            for action in actions.drain(..) {
                ::log::trace!("pool: {action:?}");
                self.carry_out(action);
                self.heed();
            }
        }
        self.note_pool();
        if self.is_proven() && !self.is_cleared {
            self.is_cleared = true;
            self.ground.slots.note_started(clock::now());
            self.ground.slots.note_ready(clock::now());
        }
        self.note_switch();
        self.say_memory();
        self.ground.board.tell_waiting(self.pool.queued() as u64);
        if let Some(until) = self.pool.accept_until() {
            self.ground.board.tell_until(until);
        }
        self.clients.tell_the_queued(&mut self.ground);
        self.answer_commands();
        self.heed();
        self.see_wires();
    }

    /// FastCGI connections hear which requests are over; what follows from that is heeded, until nothing does.
    fn see_wires(&mut self) {
        while self.clients.has_over_requests() {
            self.wires.see(&mut self.clients, &mut self.ground);
            self.heed();
        }
    }

    /// Copies what the rooms may know of the pool.
    fn note_pool(&mut self) {
        self.ground.pool = PoolFacts {
            generation: self.pool.generation(),
            has_code: self.pool.has_code(),
            is_full: self.pool.is_full(),
            at_once: self.pool.at_once(),
            queued: self.pool.queued(),
            accepting: self.pool.accepting(),
            served_direct: self.pool.served_direct(),
            can_grow: self.pool.can_grow(),
            drains_until: self.pool.better_off_direct_until(clock::now()),
        };
    }

    /// The door opens and closes with the number of clients and workers.
    fn watch_limit(&mut self) {
        let workers = self.pool.workers().count();
        let wires = self.wires.len();
        self.door
            .watch_limit(workers, wires, &self.clients, &self.ground);
        self.door.look_behind(&mut self.clients, &mut self.ground);
        self.heed();
        self.see_wires();
    }

    fn carry_out(&mut self, action: Action) {
        let now = clock::now();
        let (carrier, clients) = (&mut self.carrier, &mut self.clients);
        let ground = &mut self.ground;
        match action {
            Action::Accept { worker, requests } => {
                let listeners = self.door.offers(ground);
                carrier.accept(worker, requests, &listeners, ground);
                self.door.go_behind(&self.ground);
            }
            Action::AskPressure => {
                let pressure = self.ask_pressure();
                self.events.push_front(pressure);
            }
            Action::AskProgress(worker) => {
                let moved = carrier.take_progress(worker, clients, ground);
                self.events.push_front(Event::Progress { worker, moved });
            }
            Action::Dispatch { number, worker } => self.dispatch(number, worker),
            Action::Exit => {
                carrier.retire_all(now, clients, ground);
                self.leaving.finish(now);
            }
            Action::Interrupt(worker) => carrier.interrupt(worker, clients, ground),
            Action::Kill(worker) => carrier.kill(worker, ground),
            Action::Leave(reason) => self.leave_because(reason),
            Action::Look(generation) => {
                if !carrier.look(generation, ground) {
                    self.look(generation);
                }
            }
            Action::Recall(worker) => carrier.recall(worker),
            Action::Refuse { number, refusal } => self.refuse(number, refusal),
            Action::Rest(reason) => self.rest_because(reason),
            Action::Retire(worker) => carrier.retire(worker, now, ground),
            Action::RetireZygote(generation) => self.retire_generation(generation),
            Action::SendAway => self.send_waiting_away(),
            Action::Spawn { worker, generation } => carrier.spawn(worker, generation, ground),
            Action::StartZygote(generation) => self.start_generation(generation),
        }
    }

    fn dispatch(&mut self, number: Number, worker: WorkerId) {
        let (clients, ground) = (&mut self.clients, &mut self.ground);
        let start = match self.carrier.prepares_first(&ground.config) {
            // It tells the front when what it has prepared can run.
            true if clients.get(number).is_some() => Start::Told,
            true => Start::Unknown,
            false => clients.start(number, ground),
        };
        match start {
            Start::Told => self.carrier.dispatch(number, worker, clients, ground),
            Start::TakenBack => {
                self.note_late();
                self.ground.tell_pool_next(Event::NotTaken(worker));
                self.clients.remove_client(number, &self.ground);
            }
            Start::Unknown => ground.tell_pool_next(Event::NotTaken(worker)),
        }
    }

    /// Serves the deadlines that have passed.
    fn pass_time(&mut self, now: Duration) {
        for timer in Timer::ALL {
            if matches!(timer, Timer::Pool) {
                self.carrier.end_turn(now, &self.ground);
                self.tell_that_we_left();
            }
            if self.deadline(timer).is_some_and(|at| at <= now) {
                self.ring(timer, now);
                self.heed();
            }
        }
    }

    fn deadline(&self, timer: Timer) -> Option<Duration> {
        match timer {
            Timer::Clients => {
                let ledger = self.ground.ledger.next_deadline();
                self.clients.next_deadline().into_iter().chain(ledger).min()
            }
            Timer::Wires => self.wires.next_deadline(),
            Timer::Carrier => self.carrier.next_deadline(),
            Timer::Leaving => self.leaving.next_deadline(),
            Timer::Door => self.door.next_deadline(),
            Timer::Upkeep => Some(self.upkeep.next_deadline()),
            Timer::Upgrade => self.upgrade.next_deadline(),
            Timer::Pool => self.pool.next_deadline(),
        }
    }

    fn ring(&mut self, timer: Timer, now: Duration) {
        let (clients, ground) = (&mut self.clients, &mut self.ground);
        match timer {
            Timer::Clients => clients.pass_time(now, ground),
            Timer::Wires => self.wires.pass_time(now, clients, ground),
            Timer::Carrier => self.carrier.pass_time(now, clients, ground),
            Timer::Leaving => self.leave_further(now),
            Timer::Door => self.door.pass_time(now),
            Timer::Upkeep => self.keep_up(now),
            // `run` looks at this one in each turn.
            Timer::Upgrade => {}
            Timer::Pool => self.events.push_back(Event::Tick),
        }
    }
}

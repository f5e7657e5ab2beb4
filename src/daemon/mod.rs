//! scgi-daemon: one thread, one loop. Takes requests from fronts and from plain SCGI clients, keeps the workers, and
//! leaves when nobody needs it.
//!
//! # Theory of operation
//! A turn of the loop: the pool is told what happened and says what to do (`settle`), then the loop waits for the
//! next thing to happen, or for the next deadline. Nothing in a turn waits for anybody.
//!
//! A request is a [`client::Client`], found by its ticket: its header comes in, it waits in the pool's queue, a worker
//! gets its descriptors, and when the worker says that it is done the front may go, and our copies are closed. If the
//! worker dies instead, its byte in the shared page tells whether the client can still have a page from us. What
//! clients do is in `clients`, `body`, `outgoing` and `errors`, how they come in in `listeners`, `door` and `guests`,
//! what zygotes and workers do in `processes`. A person's commands are in `commands`, other code and another
//! configuration in `reload`, another version of us in `upgrade`, going away in `leave`.
//!
//! An app that is not wsgi has no workers. What the pool says of them is carried out in `foreign`, and a request is a
//! `run`: an `exchange` that `exchanges` drives, with a program of `children`, or over a `link` with a server, which
//! `servers` has and `supervise` looks after.

mod clients;
mod door;
mod foreign;
mod life;
mod limited;
mod limits;
mod log;
mod setup;
mod token;
mod told;
mod turn;
mod watch;
mod workers;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use argh::FromArgs;

use crate::acting;
use crate::app::scgi::Peer;
use crate::app_file::{AppFile, Named};
use crate::args;
use crate::config::{Address, Config};
use crate::place::Place;
use crate::policy::pool::{Action, Event, Pool, Reason, WorkerId};
use crate::policy::queue::Ticket;
use crate::policy::shares::Shares;
use crate::report::{Exit, say};
use crate::slots::Slots;
use crate::sys::files::Identity;
use crate::sys::lock::Shared;
use crate::sys::poll::{Poll, Ready};
use crate::sys::signal::{Signal, SignalPipe};
use crate::sys::splice::Scratch;
use crate::sys::{clock, mark, process};
use clients::client::Client;
use clients::errors::Lines;
use door::guests::Guest;
use door::listeners::Listeners;
use foreign::runs::Runs;
use foreign::servers::Servers;
use foreign::supervise::Supervision;
use life::commands::Wish;
use life::leave::Leaving;
use life::reload::Reload;
use life::status::StateFile;
use life::upgrade::Upgrade;
use life::upkeep::Upkeep;
use limited::Limited;
use log::Log;
use token::Token;
use told::Told;
use workers::roster::Workers;

const NAME: &str = "scgi-daemon";
/// Without a wait for events there is nothing to go on with: so often it is tried again.
const WAITS: u32 = 8;

/// Serve an app's requests from a pool of workers until it is idle. Fronts start this by themselves; by hand it stays
/// in the foreground and says on standard error what it does.
#[derive(FromArgs)]
struct Words {
    /// the listening socket, as a descriptor: for the front that starts us
    #[argh(option, arg_name = "N")]
    socket_fd: Option<i32>,

    /// stay in the foreground with such a socket, too: for the daemon that becomes us
    #[argh(switch)]
    foreground: bool,

    /// one more, of `listen`: from the daemon that becomes us; may be repeated
    #[argh(option, arg_name = "N")]
    listen_fd: Vec<i32>,

    /// one more, that was given by LISTEN_FDS: likewise
    #[argh(option, arg_name = "N")]
    given_fd: Vec<i32>,

    /// for root: the user whom the web server runs the app as
    #[argh(option, arg_name = "name")]
    user: Option<String>,

    /// the app file, or the NAME of NAME.conf
    #[argh(positional)]
    app: String,
}

/// `scgi-daemon [--socket-fd N] APP`.
pub fn main(words: &[String]) -> Exit {
    let words: Words = match args::parse(&[NAME], words) {
        Ok(words) => words,
        Err(exit) => return exit,
    };
    if words.socket_fd.is_none() {
        let named = Named::new(words.app.as_ref());
        let kept = door::listeners::end_of_given();
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

struct Daemon {
    app: AppFile,
    config: Config,
    place: Place,
    slots: Slots,
    poll: Poll,
    signals: SignalPipe,
    /// Ours.
    uid: u32,
    scratch: Scratch,
    /// Room for what comes of a header, until it is known whose it is.
    block: Vec<u8>,
    listeners: Listeners,
    /// Nobody could start us again, or would: see the pool.
    stays: bool,
    /// When to accept again, after a time when the host had no room.
    accept_at: Option<Duration>,
    /// The socket as we found it: we unlink no other.
    socket: Option<Identity>,
    clients: BTreeMap<Ticket, Client>,
    /// Those who have come since the last turn, and may have to be told that they wait.
    arrived: Vec<Ticket>,
    /// Those whom a worker had at once: from when on it is to be noticed that they are gone. The first is the next.
    unwatched: VecDeque<(Duration, Ticket)>,
    /// Those who want to know how a start or a reload ends.
    curious: Vec<(Ticket, Wish)>,
    /// Those whose time is limited, and when it is over.
    limited: Limited,
    /// What an app that is not ours has to do.
    runs: Runs,
    /// The app's own servers.
    servers: Servers,
    supervision: Supervision,
    /// Where `connect` leads, and what it said when that was found.
    peer: Option<Peer>,
    peer_of: Option<Address>,
    /// Which request each busy worker has.
    served_by: BTreeMap<WorkerId, Ticket>,
    /// Bytes of bodies and responses in the spool, and in how many files.
    spooled: u64,
    spool_files: usize,
    /// What the app has begun to say outside of requests.
    app_lines: Lines,
    next_ticket: Ticket,
    /// The most descriptors that this process may have.
    most_fds: u64,
    /// What the guests among the clients hold.
    shares: Shares<Guest>,
    pool: Pool,
    events: VecDeque<Event>,
    workers: Workers,
    leaving: Leaving,
    reload: Reload,
    upgrade: Upgrade,
    upkeep: Upkeep,
    /// What the next generation says before it serves: the traceback, if it fails.
    last_words: Vec<u8>,
    /// `None`: standard error.
    log: Option<Log>,
    told: Told,
    /// No web server has been told yet why the app can't be started.
    is_untold: bool,
    is_cleared: bool,
    requests: u64,
    overloads: u64,
    last_failure: Option<String>,
    state: StateFile,
    /// Held as long as we live: cleaners of old files leave a locked directory alone.
    _directory: Option<Shared>,
}

impl Daemon {
    fn run(&mut self) -> Exit {
        ::log::info!(
            "start: app={} pid={}",
            self.app.path.display(),
            process::pid()
        );
        // Those of a version before us have nobody else.
        self.bury_the_dead();
        let mut ready = Vec::new();
        loop {
            self.settle();
            // Only here all that is known to have happened is done with: a quiet moment shows.
            self.upgrade_further(clock::now());
            let is_empty = self.workers.are_gone() && self.servers.are_gone();
            if self.leaving.is_over(&self.clients, is_empty) {
                break;
            }
            let due = self.pool.next_deadline();
            let patience = self
                .next_deadline(due)
                .map(|at| at.saturating_sub(clock::now()));
            if let Err(error) = self.wait(&mut ready, patience) {
                ::log::error!("cannot wait for events: epoll_wait: {error}");
                self.workers.kill_all();
                self.servers.kill_all();
                self.kill_children();
                mark::kill_left(None);
                return Exit::OsError;
            }
            for &event in &ready {
                self.on(event);
            }
            self.pass_time(due);
        }
        self.workers.kill_all();
        self.servers.kill_all();
        self.servers.clear(&self.poll);
        self.kill_children();
        mark::kill_left(None);
        self.write_last_state();
        self.told.say_rest();
        ::log::info!(
            "exit: requests={} overloads={}",
            self.requests,
            self.overloads
        );
        self.leaving.exit()
    }

    /// What was refused once may be granted the next time: then nothing was ready.
    fn wait(&self, ready: &mut Vec<Ready>, patience: Option<Duration>) -> io::Result<()> {
        let refused = match self.poll.wait(ready, patience) {
            Err(error) => error,
            waited => return waited,
        };
        ::log::warn!("cannot wait for events: epoll_wait: {refused}");
        for _ in 0..WAITS {
            if self.poll.wait(ready, Some(Duration::ZERO)).is_ok() {
                return Ok(());
            }
        }
        Err(refused)
    }

    fn on(&mut self, ready: Ready) {
        match Token::from(ready.token) {
            Token::AppInput(place) => self.send_on(place),
            Token::AppOutput(place) => self.pass_on(place),
            Token::Channel(source) => self.hear(source),
            Token::Connection(ticket) => self.on_connection(ticket, ready),
            Token::Errors(ticket) => self.flush_errors(ticket),
            Token::Input(ticket) => self.on_input(ticket),
            Token::Listener(number) => self.accept(number),
            Token::Output(ticket) => self.on_output(ticket),
            Token::Signals => self.on_signals(),
            Token::Stderr(source) => self.overhear(source),
        }
    }

    fn on_signals(&mut self) {
        for signal in self.signals.take() {
            match signal {
                Signal::SIGCHLD => self.bury_the_dead(),
                // What is wrong then was said.
                Signal::SIGHUP => _ = self.reload("SIGHUP"),
                signal => {
                    ::log::info!("leave: {signal}");
                    self.leave(None);
                }
            }
        }
    }

    /// Lets the pool take in what happened, and does what it says, until there is nothing left to do.
    fn settle(&mut self) {
        let mut actions = Vec::new();
        while let Some(event) = self.events.pop_front() {
            ::log::trace!("pool: {event:?}");
            self.pool.handle(event, clock::now(), &mut actions);
            for action in actions.drain(..) {
                ::log::trace!("pool: {action:?}");
                self.carry_out(action);
            }
        }
        if self.has_proved_itself() && !self.is_cleared {
            self.is_cleared = true;
            self.slots.clear_attempts();
        }
        self.note_switch();
        let waiting = self.pool.queued() as u64;
        self.workers.board().tell_waiting(waiting);
        self.tell_the_queued();
        self.tell_the_curious();
    }

    fn carry_out(&mut self, action: Action) {
        let now = clock::now();
        match action {
            Action::AskProgress(worker) => {
                let moved = match self.runs.get_mut(worker) {
                    Some(run) => run.has_moved(),
                    None => self.workers.has_moved(worker, self.moved_for(worker)),
                };
                self.events.push_front(Event::Progress { worker, moved });
            }
            Action::Dispatch { ticket, worker } => self.dispatch(ticket, worker),
            Action::Exit => {
                self.workers.retire_zygotes(now, &self.poll);
                self.retire_servers();
                self.leaving.finish(now);
            }
            Action::Interrupt(worker) => self.interrupt(worker),
            Action::Kill(worker) => self.kill(worker),
            Action::Leave(reason) => self.leave_because(reason),
            Action::LetGo => self.let_go(),
            Action::Look(generation) => self.look(generation),
            Action::Refuse { ticket, refusal } => self.refuse_waiting(ticket, refusal),
            Action::Retire(worker) if self.is_foreign() => {
                self.events.push_back(Event::WorkerGone(worker));
            }
            Action::Rest(reason) => self.rest_because(reason),
            Action::Retire(worker) => self.workers.retire(worker, now, &self.poll),
            Action::RetireZygote(generation) => {
                self.note_retired(generation);
                self.workers.retire_zygote(generation, now, &self.poll);
                if generation == self.reload.newest() {
                    // No other takes its place.
                    self.retire_servers();
                }
            }
            Action::Spawn { worker, generation } => self.spawn(worker, generation),
            Action::StartZygote(generation) => self.start_zygote(generation),
        }
    }

    fn leave_because(&mut self, reason: Reason) {
        match reason {
            Reason::Broken => self.slots.note_broken(),
            Reason::HostRefused => self.slots.note_refused(),
            Reason::Idle | Reason::Quiet => {
                let why = if reason == Reason::Idle {
                    "idle"
                } else {
                    "quiet"
                };
                ::log::info!("leave: {why}");
                self.slots.note_left(clock::now());
            }
            Reason::StartTimedOut => self.start_timed_out(),
        }
        self.leave(Some(reason));
    }

    /// What [`Daemon::leave_because`] is for a daemon that stays.
    fn rest_because(&mut self, reason: Reason) {
        match reason {
            Reason::Broken | Reason::HostRefused => {}
            Reason::Idle | Reason::Quiet => {
                ::log::info!("asleep: the next request starts the app again");
                self.reload.note_asleep();
            }
            Reason::StartTimedOut => self.start_timed_out(),
        }
        self.write_state();
    }

    fn start_timed_out(&mut self) {
        let sentence = "the app was not ready within start-timeout";
        ::log::error!("{sentence}");
        self.fail(sentence.to_owned());
        self.note_failed(self.reload.newest());
    }

    /// due: when the pool's next deadline was, before anything happened.
    fn pass_time(&mut self, due: Option<Duration>) {
        let now = clock::now();
        self.expire_clients(now);
        self.watch_the_long(now);
        self.look_at_runs(now);
        self.keep_servers(now);
        self.workers.release_zygotes(now, &self.poll);
        self.workers.kill_overdue(now);
        self.leave_further(now);
        if self.accept_at.is_some_and(|at| at <= now) {
            self.accept_at = None;
        }
        self.watch_limit();
        self.told.say_counts(now);
        self.keep_up(now);
        if due.is_some_and(|due| due <= now) {
            self.events.push_back(Event::Tick);
        }
    }

    /// due: the pool's.
    fn next_deadline(&self, due: Option<Duration>) -> Option<Duration> {
        [
            due,
            self.workers.next_deadline(),
            self.runs.next_deadline(),
            self.next_server_deadline(),
            self.leaving.next_deadline(),
            self.upgrade.next_deadline(),
            Some(self.upkeep.next_deadline()),
            self.accept_at,
            self.told.next_deadline(),
            self.limited.next_deadline(),
            self.unwatched.front().map(|&(due, _)| due),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

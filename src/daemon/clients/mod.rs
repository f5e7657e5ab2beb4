//! Connections and their requests: accepted, read, queued, given to whatever serves them, answered, released. Knows
//! nothing of processes; what becomes of a running request is told by its carrier.
//!
//! The state is here. A request is driven by `arriving` (its header), `receiving` (its body), `sending` and `ending`; what
//! goes to a log is in `telling`.

mod account;
mod arriving;
mod asked;
mod body;
mod client;
mod counting;
mod doubt;
mod ending;
mod errors;
mod found;
mod front;
mod header;
mod outgoing;
mod receiving;
mod records;
mod sending;
mod taken;
mod telling;
mod tickets;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

pub(super) use self::client::Client;
use self::client::Phase;
use self::errors::Lines;
pub(super) use self::header::HeaderReader;
use self::header::MOST_READ;
pub(super) use self::outgoing::Outgoing;
pub(super) use self::sending::Sent;
pub(super) use self::taken::Taken;
pub(super) use self::telling::REASON;
use super::framed::RequestEnd;
use super::ground::Ground;
use super::guest::{Caller, Guest};
use super::limited::Limited;
use super::notices::Notices;
use super::outcome::{Outcome, RETRY_AFTER};
use super::watch::Stream;
use crate::app;
use crate::cgi::meta::Peer;
use crate::config::Config;
use crate::figures::Counted;
use crate::policy::pool::{Event, WorkerId};
use crate::policy::queue::Number;
use crate::policy::shares::{ShareLimits, Shares};
use crate::report::plain;
use crate::spool::Room;
use crate::sys::clock;
use crate::sys::files::{self, Kind};
use crate::sys::poll::Ready;

/// A client's end is watched for only if its request takes longer than this.
const SHORT: Duration = Duration::from_millis(20);

/// All connections, by their numbers.
pub(super) struct Clients {
    by_number: BTreeMap<Number, Client>,
    next_number: Number,
    /// The buffer into which headers are read, for all connections.
    block: Vec<u8>,
    /// Requests accepted in this turn: those still queued at its end are sent `Q`.
    arrived: Vec<Number>,
    /// Requests that ran at once, and from when on their clients' ends are watched for; earliest first.
    unwatched: VecDeque<(Duration, Number)>,
    /// Clients whose time is limited.
    limited: Limited,
    /// Which request each busy worker has.
    running: BTreeMap<WorkerId, Number>,
    /// Bytes of bodies and responses in the spool, and in how many files.
    spooled: u64,
    spool_files: usize,
    /// Lines that the app began outside of requests.
    app_lines: Lines,
    /// What guests among the clients hold.
    shares: Shares<Guest>,
    notices: Notices,
    /// We have left: a request that was not begun is better served by its own front.
    sends_away: bool,
    /// How many are there only to be refused: at our own socket, and at others.
    turned_away: [usize; 2],
    requests: u64,
    overloads: u64,
    /// FastCGI connections are kept for another request.
    keeps_open: bool,
    /// What FastCGI connections have to know of their requests.
    over: Vec<(Number, RequestEnd)>,
    /// Those whose connection is not done with them, and how many of these are clients no longer.
    wired: BTreeSet<Number>,
    wired_alone: usize,
}

/// What the start of serving a request met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Its front was told, where there is one.
    Told,
    /// Its front has taken it back.
    TakenBack,
    /// There is no such request any more.
    Unknown,
}

impl Clients {
    pub(super) fn new(limits: ShareLimits) -> Clients {
        Clients {
            by_number: BTreeMap::new(),
            next_number: 1,
            block: vec![0; MOST_READ],
            arrived: Vec::new(),
            unwatched: VecDeque::new(),
            limited: Limited::default(),
            running: BTreeMap::new(),
            spooled: 0,
            spool_files: 0,
            app_lines: Lines::default(),
            shares: Shares::new(limits),
            notices: Notices::default(),
            sends_away: false,
            turned_away: [0; 2],
            requests: 0,
            overloads: 0,
            keeps_open: true,
            over: Vec::new(),
            wired: BTreeSet::new(),
            wired_alone: 0,
        }
    }

    /// Connections.
    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// Connections of guests.
    pub(super) fn guests(&self) -> usize {
        self.shares.count().saturating_sub(self.wired_alone)
    }

    /// Connections that were let in only to be refused, for want of descriptors: to our own socket, and to others.
    pub(super) fn turned_away(&self) -> [usize; 2] {
        self.turned_away
    }

    /// There is no place for one more guest.
    pub(super) fn has_all_guests(&self) -> bool {
        self.shares.is_full()
    }

    /// Sets what guests may hold from now on.
    pub(super) fn limit_guests(&mut self, limits: ShareLimits) {
        self.shares.obey(limits);
    }

    /// Guests whose connections can be closed at no loss.
    pub(super) fn idle_guests(&self) -> Vec<Number> {
        self.shares.idle().collect()
    }

    pub(super) fn notices(&mut self) -> &mut Notices {
        &mut self.notices
    }

    /// A FastCGI request is over, and its connection has not heard of it.
    pub(super) fn has_over_requests(&self) -> bool {
        !self.over.is_empty()
    }

    /// A FastCGI request's connection is done with it: until then it has held a guest's place.
    pub(super) fn unwire(&mut self, number: Number) {
        if self.wired.remove(&number) && !self.by_number.contains_key(&number) {
            self.wired_alone -= 1;
            self.shares.leave(number);
        }
    }

    /// A FastCGI connection is for another request, once its last one is over.
    pub(super) fn keeps_open(&self) -> bool {
        self.keeps_open
    }

    /// What FastCGI connections have to know since the last call.
    pub(super) fn take_over_requests(&mut self) -> Vec<(Number, RequestEnd)> {
        std::mem::take(&mut self.over)
    }

    /// Requests so far.
    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    /// Requests that were refused for want of room or time.
    pub(super) fn overloads(&self) -> u64 {
        self.overloads
    }

    /// Bytes in the spool.
    pub(super) fn spooled(&self) -> u64 {
        self.spooled
    }

    /// Files in the spool.
    pub(super) fn spool_files(&self) -> usize {
        self.spool_files
    }

    pub(super) fn get(&self, number: Number) -> Option<&Client> {
        self.by_number.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: Number) -> Option<&mut Client> {
        self.by_number.get_mut(&number)
    }

    /// Requests that workers have.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// The request that this worker has.
    pub(super) fn number_of(&self, worker: WorkerId) -> Option<Number> {
        self.running.get(&worker).copied()
    }

    /// The worker that has this request.
    pub(super) fn worker_of(&self, number: Number) -> Option<WorkerId> {
        match self.by_number.get(&number)?.phase {
            Phase::Running { worker, .. } => Some(worker),
            _ => None,
        }
    }

    /// Requests that wait for a worker, oldest first.
    pub(super) fn waiting(&self) -> impl Iterator<Item = Number> {
        let waits = |client: &Client| matches!(client.phase, Phase::Waiting);
        let waiting = self.by_number.iter().filter(move |(_, c)| waits(c));
        waiting.map(|(&number, _)| number)
    }

    /// When the next client, or a count of notices, is due.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let unwatched = self.unwatched.front().map(|&(due, _)| due);
        [
            self.limited.next_deadline(),
            unwatched,
            self.notices.next_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Takes a connection in and reads its header, which is there already most of the time.
    /// `reader`: with what was read of it already.
    pub(super) fn take_in(
        &mut self,
        connection: OwnedFd,
        caller: Caller,
        reader: HeaderReader,
        ground: &mut Ground,
    ) {
        let number = self.enter(&caller, ground);
        let mut client = Client::new(connection, caller);
        client.phase = Phase::Header { reader };
        self.by_number.insert(number, client);
        self.read_header(number, ground);
    }

    /// The number of a new client.
    fn enter(&mut self, caller: &Caller, ground: &mut Ground) -> Number {
        let number = self.next_number;
        self.next_number += 1;
        if caller.is_turned_away {
            self.turned_away[usize::from(!caller.is_at_place)] += 1;
        } else if let Some(guest) = caller.guest {
            let is_stranger = caller.peer == Peer::Foreign { trusted: false };
            if let Some(other) = self.shares.enter(number, guest.origin(), is_stranger) {
                self.close_for_room(other, Counted::NoDescriptor, ground);
            }
        }
        number
    }

    /// A connection is ready. That of a running request is its carrier's.
    pub(super) fn on_connection(&mut self, number: Number, ready: Ready, ground: &mut Ground) {
        let Some(client) = self.by_number.get(&number) else {
            return;
        };
        let (is_plain, gone) = (client.is_plain(), ready.gone);
        match &client.phase {
            Phase::Header { .. } => self.read_header(number, ground),
            Phase::Receiving { .. } if is_plain => self.receive(number, ground),
            // A client that hangs up while it waits is removed.
            Phase::Receiving { .. } | Phase::Waiting if gone => self.hang_up(number, ground),
            Phase::Parting => self.release_front(number, ground),
            Phase::Answering { .. } if is_plain => self.write_page(number, ground),
            Phase::Draining { .. } if is_plain => self.drain(number, ground),
            Phase::Finishing { .. } if is_plain => self.send_rest(number, ground),
            Phase::Answering { .. } | Phase::Draining { .. } | Phase::Finishing { .. } if gone => {
                self.end_request(number, ground);
            }
            // A front sends nothing after its header, so it may be watched for reading as before. If it does send
            // something, only its end is watched for.
            _ if ready.readable => self.watch_end(number, ground),
            _ => {}
        }
    }

    /// From now on the client's end is watched for.
    pub(super) fn watch_end(&mut self, number: Number, ground: &Ground) {
        if let Some(client) = self.by_number.get_mut(&number) {
            client.watch_end(&ground.poll, number);
        }
    }

    /// The input that a front passed can be read.
    pub(super) fn on_input(&mut self, number: Number, ground: &mut Ground) {
        match self.by_number.get(&number).map(|client| &client.phase) {
            Some(Phase::Receiving { .. }) => self.receive(number, ground),
            Some(Phase::Draining { .. }) => self.drain(number, ground),
            _ => self.send_rest(number, ground),
        }
    }

    /// There is room in the output that a front passed, or its reader is gone.
    pub(super) fn on_output(&mut self, number: Number, ground: &mut Ground) {
        match self.by_number.get(&number).map(|client| &client.phase) {
            Some(Phase::Answering { .. }) => self.write_page(number, ground),
            // Its front has left, so only the output shows that the client is gone.
            Some(Phase::Receiving { .. } | Phase::Waiting) => self.hang_up(number, ground),
            _ => self.send_rest(number, ground),
        }
    }

    /// A request is about to be served: its front is told that from now on we answer.
    pub(super) fn start(&mut self, number: Number, ground: &Ground) -> Start {
        let Some(client) = self.by_number.get_mut(&number) else {
            return Start::Unknown;
        };
        if !client.say_taken() {
            ::log::debug!("taken back: number={number}");
            return Start::TakenBack;
        }
        client.watch(&ground.poll, number, Stream::Output, None);
        Start::Told
    }

    /// A worker has the request. `false`: there is none.
    pub(super) fn run(&mut self, number: Number, worker: WorkerId, ground: &Ground) -> bool {
        let Some(client) = self.by_number.get_mut(&number) else {
            return false;
        };
        let now = clock::now();
        if let Some(request) = &mut client.request {
            request.account.began = Some(now);
        }
        client.phase = Phase::Running {
            worker,
            outgoing: None,
            unread: 0,
            raised: None,
        };
        self.running.insert(worker, number);
        ground.slots.note_busy(self.running.len() as u64, now);
        true
    }

    /// Serves the deadlines that have passed.
    pub(super) fn pass_time(&mut self, now: Duration, ground: &mut Ground) {
        while let Some(number) = self.limited.pop(now) {
            ::log::debug!("time is over: number={number}");
            match self.by_number.get(&number).map(|client| &client.phase) {
                Some(Phase::Receiving { .. }) => self.time_out_body(number, ground),
                Some(Phase::Running { .. }) => ground.tell(Outcome::RunningLate(number)),
                _ => self.release_front(number, ground),
            }
        }
        while let Some(&(due, number)) = self.unwatched.front()
            && due <= now
        {
            self.unwatched.pop_front();
            self.watch_end(number, ground);
        }
        self.notices.say_counts(now);
        ground.ledger.pass_time(now, &ground.place);
    }

    /// A client waits for the answer to a command: its time is not limited, and nothing more is read of its connection.
    pub(super) fn hold(&mut self, number: Number, ground: &Ground) {
        self.limited.remove(number);
        if let Some(client) = self.by_number.get_mut(&number) {
            // A hang-up would be reported in every turn.
            client.watch(&ground.poll, number, Stream::Connection, None);
        }
    }

    /// The connection itself: for the answer to a command.
    pub(super) fn connection(&self, number: Number) -> Option<BorrowedFd<'_>> {
        let connection = self.by_number.get(&number)?.connection.as_ref();
        connection.map(AsFd::as_fd)
    }

    /// The request has a front that can run the app itself, and is untouched.
    pub(super) fn can_go(&self, number: Number, config: &Config) -> bool {
        let client = self.by_number.get(&number);
        let request = client.and_then(|client| client.request.as_ref());
        config.app.runs_as_cgi() && request.is_some_and(|request| request.can_go_elsewhere())
    }

    /// Counts what a client holds of the spool, when that may have changed. `before`: what it held.
    pub(super) fn account(&mut self, number: Number, before: (u64, usize), ground: &Ground) {
        let client = self.by_number.get(&number);
        let after = client.map_or((0, 0), |client| client.spooled());
        self.spool_files = (self.spool_files + after.1).saturating_sub(before.1);
        if after.0 != before.0 {
            self.spooled = (self.spooled + after.0).saturating_sub(before.0);
            self.tell_spool(ground);
        }
    }

    /// Tells workers what is left of the spool.
    pub(super) fn tell_spool(&self, ground: &Ground) {
        let limit = ground.config.spool.limit;
        ground.board.tell_spool(self.spooled, limit);
    }

    /// What is left of the spool, and where it is.
    pub(super) fn spool_room<'a>(&self, config: &'a Config) -> Room<'a> {
        Room {
            directory: &config.spool.dir,
            left: config.spool.limit.saturating_sub(self.spooled),
        }
    }

    /// Counts the memory that a guest holds; other guests may be closed for it.
    fn keep(&mut self, number: Number, bytes: usize, ground: &mut Ground) {
        while let Some(other) = self.shares.keep(number, bytes) {
            self.close_for_room(other, Counted::NoMemory, ground);
        }
    }
}

/// Whether a worker could read all of the body now. A file never makes its reader wait.
pub(super) fn has_whole_body(input: BorrowedFd<'_>, length: u64) -> bool {
    length == 0
        || files::kind(input) == Kind::Other
        || files::waiting(input).is_ok_and(|there| there >= length)
}

impl Clients {
    /// No worker can be given this request: too many descriptors are on their way, or no memory is left.
    pub(super) fn cannot_give(
        &mut self,
        number: Number,
        worker: WorkerId,
        error: &io::Error,
        ground: &mut Ground,
    ) {
        let sentence = plain(&format!("cannot give a request to any worker: {error}"));
        ground.tell_pool_next(Event::NotTaken(worker));
        let what = app::shortage(error).unwrap_or(Counted::NoProcess);
        ground.ledger.note_of_host(&sentence);
        self.refuse_for_want(number, what, &sentence, RETRY_AFTER, ground);
    }
}

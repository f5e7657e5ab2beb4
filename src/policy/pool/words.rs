//! The words between the pool and the daemon: what happened, and what is to be done.

use std::time::Duration;

use crate::policy::queue::{Number, QueueRules, Rank};

/// After the host has refused something: when the next start may be tried.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// A worker, by its place on the board.
pub type WorkerId = u16;

/// An import of the app: each zygote has a number of its own, greater than those before it.
pub type Generation = u32;

/// The keys that the pool obeys, by their names in the app file.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct PoolRules {
    /// Workers may take requests from the listeners themselves.
    pub accepts: bool,
    /// Each worker takes memory of this host: see `memory`.
    pub heeds_memory: bool,
    pub idle_timeout: Duration,
    /// The code is looked at when a request comes this long after the last look.
    pub look_interval: Duration,
    pub max_procs: u16,
    /// Before the jitter of a tenth.
    pub max_requests: u32,
    pub min_idle: u16,
    pub min_lifetime: Duration,
    pub min_procs: u16,
    pub queue: QueueRules,
    /// `quiet-timeout`; none where the daemon must stay (`mode = daemon`, `listen`).
    pub quiet: Option<Quiet>,
    pub request_limit: Option<Duration>,
    pub request_timeout: Duration,
    pub start_timeout: Duration,
    /// Instead of leaving, the pool only lets its processes go: no front would start the daemon again (`listen`).
    pub stays: bool,
    pub worker_idle_timeout: Duration,
}

/// When requests come so seldom that plain CGIs are enough.
#[derive(Clone, Copy, Debug)]
pub struct Quiet {
    /// Fewer requests than this ...
    pub count: u64,
    /// ... within this time ...
    pub unit: Duration,
    /// ... for this long.
    pub timeout: Duration,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The worker has taken this request itself, and the daemon has found out about it: it is as if it had been
    /// dispatched then.
    #[allow(missing_docs)]
    Adopted {
        worker: WorkerId,
        number: Number,
        since: Duration,
    },
    /// A request has come whose message-body is still to be read; `Arrived` or `HungUp` follows.
    Announced(Number),
    /// A request is complete enough to be served.
    Arrived(Arrived),
    /// The worker takes no more requests itself, and is idle; or it wants to leave (`last`).
    #[allow(missing_docs)]
    Back { worker: WorkerId, last: bool },
    /// What serves was taken for ready, and turns out to be unable to start: it has answered no request. The requests
    /// that its workers have are answered by the daemon; each of these workers still ends with its own event.
    Broken,
    /// Until then workers are to take no requests themselves.
    #[allow(missing_docs)]
    CallIn { until: Duration },
    /// The zygote could not fork this worker, or died before it did.
    ForkFailed(WorkerId),
    /// The host, and not the app, keeps this generation from starting; its end is the next event.
    HostRefused(Generation),
    /// The client of a waiting request is gone, or was sent elsewhere.
    HungUp(Number),
    /// The name is given up: new requests can't find us.
    Left,
    /// What [`Action::Look`] has found.
    #[allow(missing_docs)]
    Looked { changed: bool },
    /// The request that the worker was given is no longer there to be taken; the worker touched nothing.
    NotTaken(WorkerId),
    /// What [`Action::AskPressure`] has found: the percentage of the last 10 s in which some process waited for memory, if
    /// the kernel measures it. `is_watched`: it will say `Stalled` by itself.
    #[allow(missing_docs)]
    Pressure { some: Option<f64>, is_watched: bool },
    /// What [`Action::AskProgress`] has found: whether a block was read or written since the last time, or since the
    /// dispatch.
    #[allow(missing_docs)]
    Progress { worker: WorkerId, moved: bool },
    /// What was only taken for ready has answered: earlier [`Event::Broken`]s no longer count.
    Proven,
    /// An operator wants a new generation.
    Reload,
    /// The worker could not be given its request: the request waits again, as the first in line.
    Returned(WorkerId),
    /// What workers that accept have done.
    Seen(Vec<OwnWork>),
    /// Some process has just waited for memory, for a tenth of 2 s.
    Stalled,
    /// Time has passed.
    Tick,
    /// The worker has answered, and is idle; or it wants to leave (`last`).
    #[allow(missing_docs)]
    WorkerDone { worker: WorkerId, last: bool },
    /// The worker's process is no more.
    WorkerGone(WorkerId),
    /// The worker can take a request.
    WorkerReady(WorkerId),
    /// The zygote is no more; before `ZygoteReady` this means that it could not be started.
    ZygoteGone(Generation),
    /// The app is imported.
    ZygoteReady(Generation),
}

/// A request that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Which request.
    pub number: Number,
    /// What is known of its client. It need not be asked where the request can be served at once.
    pub rank: Rank,
    /// It is a browser's: it may be told that the app is starting, and with the waiting room a refusal gives it a
    /// ticket.
    pub is_browser: bool,
}

/// What the daemon is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Action {
    /// The worker is to take so many requests from the listeners itself; [`Event::Back`] follows, or
    /// [`Event::Adopted`].
    Accept { worker: WorkerId, requests: u32 },
    /// [`Event::Pressure`] is the next event.
    AskPressure,
    /// [`Event::Progress`] is the next event.
    AskProgress(WorkerId),
    /// Give the request to the worker. If that fails, [`Event::NotTaken`] or [`Event::Returned`] is the next event,
    /// before any other that is known already.
    Dispatch { number: Number, worker: WorkerId },
    /// Everything is served and gone.
    Exit,
    /// The worker's request has taken too long: say where it is stuck, and tell it to end.
    Interrupt(WorkerId),
    /// End the worker at once.
    Kill(WorkerId),
    /// Give up the name, for this reason; then [`Event::Left`].
    Leave(Reason),
    /// Ask the zygote whether the code that it imported has changed; [`Event::Looked`] follows.
    Look(Generation),
    /// The worker is to take no more requests itself; [`Event::Back`] follows.
    Recall(WorkerId),
    /// Answer for the app.
    Refuse { number: Number, refusal: Refusal },
    /// For the log only: a pool that stays has let all its processes go, for this reason. It starts again at the next
    /// request, or, if the app can't be started, at the first request after a pause.
    Rest(Reason),
    /// Tell an idle worker to leave.
    Retire(WorkerId),
    /// Let the zygote go: no worker will be forked from it any more.
    RetireZygote(Generation),
    /// The host gives no process for the waiting requests: those that can be served otherwise must be sent away.
    SendAway,
    /// Fork a worker from the zygote.
    Spawn {
        worker: WorkerId,
        generation: Generation,
    },
    /// Start the process that imports the app.
    StartZygote(Generation),
}

/// Why a request gets our page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Refusal {
    /// The app cannot be started.
    Broken,
    /// The host refuses what a start of the app needs here; the request may still be served as a CGI.
    HostRefused {
        /// When the start is tried again.
        retry_after: Duration,
    },
    /// The queue is full, or the wait in it is too long (`is_late`).
    Overloaded {
        retry_after: Duration,
        is_late: bool,
    },
    /// The app was not ready within `start-timeout`.
    StartTimedOut,
    /// The app is being started, and a browser has waited for that for `start-page-after`.
    Starting { retry_after: Duration },
}

/// Why the daemon leaves, or rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The app cannot be started.
    Broken,
    /// The host refuses something; nothing may be wrong with the app.
    HostRefused,
    /// No request came for `idle-timeout`.
    Idle,
    /// Few requests came for `quiet-timeout`.
    Quiet,
    /// The app was not ready within `start-timeout`.
    StartTimedOut,
}

/// What a worker does, for `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum WorkerState {
    /// It takes requests from the listeners itself; since when it has one.
    Accepting {
        busy_since: Option<Duration>,
    },
    Busy {
        number: Number,
        since: Duration,
    },
    Idle {
        since: Duration,
    },
    Retiring,
    Starting,
    /// Its request has taken too long; it was told to end.
    Stuck,
}

/// What a worker that accepts has done since this was said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnWork {
    /// Which worker.
    pub worker: WorkerId,
    /// So many requests were served ...
    pub served: u32,
    /// ... in this time ...
    pub took: Duration,
    /// ... the last one until then.
    pub ended: Duration,
    /// Since when it has a request.
    pub busy_since: Option<Duration>,
}

impl WorkerState {
    /// It takes requests from the listeners itself.
    pub fn accepts(self) -> bool {
        matches!(self, WorkerState::Accepting { .. })
    }
}

impl Reason {
    /// The answer to requests that find no worker for this reason.
    pub(super) fn refusal(self) -> Option<Refusal> {
        match self {
            Reason::Broken => Some(Refusal::Broken),
            Reason::HostRefused => Some(Refusal::HostRefused {
                retry_after: RETRY_AFTER,
            }),
            Reason::Idle | Reason::Quiet => None,
            Reason::StartTimedOut => Some(Refusal::StartTimedOut),
        }
    }
}

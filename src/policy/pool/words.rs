//! The words between the pool and the daemon: what happened, and what is to be done.

use std::time::Duration;

use crate::policy::queue::{self, Ticket};

/// A worker, by its place in the shared page.
pub type WorkerId = u16;

/// The keys that the pool obeys, by their names in the app file.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Limits {
    pub idle_timeout: Duration,
    pub max_procs: u16,
    /// Before the jitter of a tenth.
    pub max_requests: u32,
    pub min_idle: u16,
    pub min_lifetime: Duration,
    pub min_procs: u16,
    pub queue: queue::Limits,
    pub start_timeout: Duration,
    pub worker_idle_timeout: Duration,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request is complete enough to be served.
    Arrived(Ticket),
    /// The zygote could not fork this worker, or died before it had.
    ForkFailed(WorkerId),
    /// The client of a waiting request is gone, or was sent elsewhere.
    HungUp(Ticket),
    /// The name is given up: nobody new can find us.
    Left,
    /// The request that the worker was given is no longer there to be taken; the worker touched nothing.
    NotTaken(WorkerId),
    /// The worker could not be given its request: the request waits again, as the first in line.
    Returned(WorkerId),
    /// Time has passed.
    Tick,
    /// The worker has answered, and is idle; or wants to go (`last`).
    #[allow(missing_docs)]
    WorkerDone { worker: WorkerId, last: bool },
    /// The worker's process is no more.
    WorkerGone(WorkerId),
    /// The worker can take a request.
    WorkerReady(WorkerId),
    /// The zygote is no more; before `ZygoteReady` this means that it could not be started.
    ZygoteGone,
    /// The app is imported.
    ZygoteReady,
}

/// What the daemon is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Action {
    /// Give the request to the worker. If that fails, [`Event::NotTaken`] or [`Event::Returned`] is the next event,
    /// before any other that is known already.
    Dispatch { ticket: Ticket, worker: WorkerId },
    /// Everything is served and gone.
    Exit,
    /// Give up the name, for this reason; then [`Event::Left`].
    Leave(Reason),
    /// Answer for the app.
    Refuse { ticket: Ticket, refusal: Refusal },
    /// Tell an idle worker to leave.
    Retire(WorkerId),
    /// Fork a worker from the zygote.
    Spawn(WorkerId),
    /// Start the process that imports the app.
    StartZygote,
}

/// Why a request gets our page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Refusal {
    /// The app cannot be started.
    Broken,
    /// The queue is full, or it waited too long.
    Overloaded { retry_after: Duration },
    /// The app was not ready within `start-timeout`.
    StartTimedOut,
}

/// Why the daemon leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The app cannot be started.
    Broken,
    /// Nobody asked for `idle-timeout`.
    Idle,
    /// The app was not ready within `start-timeout`.
    StartTimedOut,
}

/// What a worker does, for `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum State {
    Busy { ticket: Ticket },
    Idle { since: Duration },
    Retiring,
    Starting,
}

impl Reason {
    /// What requests that find no worker for this reason are told.
    pub(super) fn refusal(self) -> Option<Refusal> {
        match self {
            Reason::Broken => Some(Refusal::Broken),
            Reason::Idle => None,
            Reason::StartTimedOut => Some(Refusal::StartTimedOut),
        }
    }
}

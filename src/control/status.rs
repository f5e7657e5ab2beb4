//! What is known of an app and its daemon.

use super::words::{Activity, DaemonState};
use crate::figures::{Figures, MOST_REMEMBERED};
use crate::incidents::Incident;
use crate::policy::server::Condition;

/// One worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct WorkerStatus {
    /// `None`: no process at this moment.
    pub pid: Option<i32>,
    pub state: Activity,
    pub requests: u64,
    /// The import of the app from which it was forked, by its number.
    pub generation: u64,
    /// Bytes of its memory in use, what it shares with others included.
    pub memory: Option<u64>,
    /// The request that it has.
    pub request: Option<RequestStatus>,
}

/// A request that is being served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestStatus {
    /// For how long, in milliseconds.
    pub age: u64,
    /// Its method.
    pub method: String,
    /// Its path, without the query string; cut if it is long.
    pub path: String,
}

/// The app's own SCGI server, if the daemon runs one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ServerStatus {
    /// `None` while it is down.
    pub pid: Option<i32>,
    pub state: Condition,
}

/// Which way requests go now, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// `daemon`, `cgi`, `start` (the next request starts a daemon), `refused`, or `broken`.
    pub way: String,
    /// The rule that decides, or by which the daemon was started.
    pub rule: String,
    /// The facts by which it holds, or held.
    pub reason: String,
}

/// When and why a daemon leaves if no more requests come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leave {
    /// In seconds.
    pub within: u64,
    /// The key.
    pub key: String,
}

/// The limits that belong to the figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Ceilings {
    /// `max-procs`
    pub workers: u64,
    /// `queue-size`
    pub queue: u64,
    /// `cgi-max`
    pub cgis: u64,
    /// `spool-limit`, in bytes.
    pub spool: u64,
}

/// What the host says of its memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStatus {
    /// The share of the last 10 s in which some process waited for memory, in hundredths of a percent.
    pub pressure: u64,
    /// The daemon adds no worker for that.
    pub is_short: bool,
}

/// What made the code that serves be loaded, if it was not the daemon's start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodeChange {
    /// When it was ready, in seconds since 1970.
    pub at: u64,
    /// The module or file that had changed, or who asked for it.
    pub what: String,
}

/// What `status` shows of one app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Status {
    /// The owner of the place in which the daemon was found. Not sent by the daemon.
    pub user: Option<String>,
    pub app: String,
    /// The key that says what runs it: `wsgi`, `cgi`, `scgi`, `connect`.
    pub kind: Option<String>,
    /// When this was so, in seconds since 1970; 0 if that is not known.
    pub now: u64,
    pub state: DaemonState,
    pub pid: Option<i32>,
    /// When the daemon was started, in seconds since 1970.
    pub started: Option<u64>,
    pub routing: Option<Routing>,
    pub leave: Option<Leave>,
    pub ceilings: Option<Ceilings>,
    pub workers: Vec<WorkerStatus>,
    /// If the app has `scgi`.
    pub server: Option<ServerStatus>,
    /// Requests that wait for a worker.
    pub queue: u64,
    /// Requests taken since the daemon started.
    pub requests: u64,
    /// Requests answered with 503 since then.
    pub overloads: u64,
    /// Requests in the last minute; [`MOST_REMEMBERED`] means that many or more.
    pub rate: u64,
    /// Bytes of bodies and responses that wait in files.
    pub spooled: u64,
    /// The number of the app's import that serves, counted from the daemon's start.
    pub generation: u64,
    pub changed: Option<CodeChange>,
    /// CGIs of the app that run at this moment, without the daemon.
    pub cgis: u64,
    /// `None`: there is no daemon, or its kernel does not say.
    pub memory_of_host: Option<MemoryStatus>,
    /// Why the app can't be started.
    pub last_failure: Option<String>,
    /// What the app wrote when it could not be started, such as a traceback: the end of it.
    pub last_words: Option<String>,
    /// What became of requests.
    pub figures: Figures,
    /// What went wrong, the newest last.
    pub failures: Vec<Incident>,
    /// The daemon's log.
    pub log: Option<String>,
}

impl Status {
    /// Workers that have a request.
    pub fn busy(&self) -> usize {
        let is_busy =
            |worker: &&WorkerStatus| matches!(worker.state, Activity::Busy | Activity::Stuck);
        self.workers.iter().filter(is_busy).count()
    }

    /// How many requests came in the last minute, in words.
    pub fn last_minute(&self) -> String {
        const MOST: u64 = MOST_REMEMBERED as u64;
        match self.rate {
            MOST.. => format!("{MOST} or more"),
            rate => rate.to_string(),
        }
    }

    /// Bytes of memory of all workers; what they share counts for each. `None`: of none is it known.
    pub fn memory(&self) -> Option<u64> {
        let known = self.workers.iter().filter_map(|worker| worker.memory);
        known.reduce(u64::saturating_add)
    }

    /// For a list of many apps: without what needs much room.
    pub fn brief(self) -> Status {
        let mut brief = self;
        brief.figures.minutes.clear();
        brief
    }
}

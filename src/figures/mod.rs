//! What is counted of requests: what became of each, how long it waited and was served, and how many were served at
//! once. Knows words and numbers; not where they are kept, and no clock.
#![forbid(unsafe_code)]

mod counted;
mod histogram;
mod lines;

pub use counted::Counted;
pub use histogram::{BINS, Histogram, Quantiles, bin};

use std::time::Duration;

/// How many requests are remembered, each with the time when it came.
pub const MOST_REMEMBERED: usize = 1024;
/// How many minutes are remembered, the present one included.
pub const MINUTES: usize = 60;
/// How many of them [`Figures::recent`] sums up.
pub const RECENT: u64 = 5;

/// How many requests became of each kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts([u64; Counted::ALL.len()]);

impl Default for Counts {
    fn default() -> Counts {
        Counts([0; Counted::ALL.len()])
    }
}

impl Counts {
    /// How many became of this kind.
    pub fn of(&self, what: Counted) -> u64 {
        self.0[what.number()]
    }

    /// So many more.
    pub fn add(&mut self, what: Counted, count: u64) {
        let number = &mut self.0[what.number()];
        *number = number.saturating_add(count);
    }

    /// All of them.
    pub fn sum(&self) -> u64 {
        self.0
            .iter()
            .fold(0, |sum, &count| sum.saturating_add(count))
    }

    /// Those that there are, in the order of [`Counted::ALL`].
    pub fn some(&self) -> impl Iterator<Item = (Counted, u64)> + '_ {
        let all = Counted::ALL.into_iter().map(|what| (what, self.of(what)));
        all.filter(|&(_, count)| count > 0)
    }
}

/// How long a request of the daemon waited for a worker, and how long it was served from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Took {
    pub waited: Duration,
    pub served: Duration,
}

/// One minute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Minute {
    /// When it began, in seconds since 1970.
    pub at: u64,
    /// The most workers that were busy at once.
    pub busiest: u64,
    /// What became of the requests that ended in it.
    pub counts: Counts,
    /// How long those of the daemon waited for a worker.
    pub waited: Option<Quantiles>,
    /// How long they were served.
    pub served: Option<Quantiles>,
}

/// The last minutes together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    /// How many seconds these are.
    pub seconds: u64,
    /// Requests that ended in them.
    pub requests: u64,
    /// The most workers that were busy at once.
    pub busiest: u64,
    /// See [`Minute`].
    pub waited: Option<Quantiles>,
    /// Likewise.
    pub served: Option<Quantiles>,
    /// How long those took that WSGI applications served as plain CGIs, of the last 128.
    pub cgi: Option<Quantiles>,
}

/// All that is counted of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Since when `counts`, `waited` and `served` are counted, in seconds since 1970. `None`: nothing was counted yet.
    pub since: Option<u64>,
    /// What became of all requests.
    pub counts: Counts,
    /// How long all of the daemon's waited for a worker.
    pub waited: Histogram,
    /// How long they were served.
    pub served: Histogram,
    /// Requests of the last 10 s, in thousandths of a request per second.
    pub pace: u64,
    /// The last five minutes.
    pub recent: Recent,
    /// The last hour, the oldest first; minutes without a request are left out.
    pub minutes: Vec<Minute>,
}

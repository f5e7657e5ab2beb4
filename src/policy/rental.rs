//! Whether a daemon pays, and how long one that has nothing to do is kept: `daemon-when-rate = auto` and
//! `idle-timeout = auto`. Knows pauses between requests and two prices; asks no clock, starts nothing.
//!
//! # The model
//! A request that finds no daemon waits until the app is loaded, as a plain CGI or by the daemon's start: both load it,
//! and this wait is *a load*. A daemon spares it, and costs its memory as long as it is kept. So each pause between two
//! requests is a rental problem (a skier's): keep the daemon, and pay for the time, or have none, and pay a load at the
//! next request. A load costs as much as the memory for a time `T`, the *break-even* ([`Prices::break_even`]); in this
//! unit a pause `g` costs
//!
//! | the daemon is kept for `k` | the pause is over before | it is not |
//! | --- | --- | --- |
//! | `k` = 0: a plain CGI | - | `T` |
//! | `k` > 0 | `g` | `k + T` |
//!
//! In hindsight the best is `min(g, T)` for each pause, since no pause depends on what was done in another.
//!
//! # The decision
//! `k` is what would have been best for the pauses so far, of 0, [`LEAST_KEPT`] to `T`: a bot that comes each hour gets
//! plain CGIs, a visitor who reads a page a minute gets a daemon for his first request, once such visits are known.
//! While fewer than [`FIRST`] pauses are known it is 0, and for a daemon that was started for another reason `T`.
//!
//! # Never worse than twice
//! The past may mislead. So the `credit` is counted: it begins at [`FIRST_CREDIT`] loads, and each pause adds
//! `2 min(g, T)` less its cost. `k` may only be so far from `T` as the credit allows: `|T - k| <= credit`.
//!
//! *The credit is never below 0.* For `k = T` a pause adds `2g - g >= 0` or `2T - (T + T) = 0`. For `k < T` it adds
//! `2g - g >= 0` if `g <= k`; else at least `2k - (k + T) = -(T - k)`, since `g > k`, which the credit covers. (`k > T`
//! is never chosen.) The sum over all pauses is the claim: **the cost of any sequence of requests is at most twice that
//! of the best choice in hindsight, and [`FIRST_CREDIT`] loads**. The credit is also never above [`MOST_CREDIT`], so the
//! same holds for each stretch of time, with that number of loads. No rule without chance can promise less than twice,
//! and none with chance less than 1.58 times: a request that comes at random, once in `T` on the average, costs a load
//! whatever is chosen, and 0.63 loads in hindsight.
//!
//! Costs that this leaves out: the app's daemon starts and ends a process or two more than a CGI; a start that takes
//! much longer than a load as a CGI is taken for a load.

use std::time::Duration;

/// A gibibyte of memory that is kept for an hour costs as much as a person's wait of this length.
pub const GIBIBYTE_HOUR: Duration = Duration::from_secs(60);
/// The break-even where no load was measured: that of 300 ms and 60 MiB is about this.
const USUAL_BREAK_EVEN: Duration = Duration::from_secs(300);
/// The memory of a daemon where none was measured.
const USUAL_MEMORY: u64 = 60 << 20;
/// The bounds of the break-even. A daemon that is let go sooner comes and goes; one of which nothing was heard for half
/// an hour is not worth a guess.
const LEAST_BREAK_EVEN: Duration = Duration::from_secs(240);
const MOST_BREAK_EVEN: Duration = Duration::from_secs(1800);
/// The least time for which a daemon is kept.
pub const LEAST_KEPT: Duration = Duration::from_secs(120);
/// So many pauses must be known before one of them tells anything: the seventh request may start a daemon.
pub const FIRST: u64 = 6;
/// Credits are in billionths of a load.
const LOAD: i64 = 1_000_000_000;
/// In loads. The first requests of an app are plain CGIs, each of which may be one load too many.
pub const FIRST_CREDIT: i64 = FIRST as i64;
/// In loads.
pub const MOST_CREDIT: i64 = 12;
/// When so many pauses are known, each counts half from then on: what is old is forgotten.
const MOST_PAUSES: u64 = 1024;

/// The upper ends of the bins of pauses, in seconds. Longer ones have a bin of their own.
const ENDS: [u64; 19] = [
    1, 2, 4, 8, 15, 30, 60, 90, 120, 180, 240, 300, 420, 600, 900, 1200, 1800, 2700, 3600,
];
const BINS: usize = ENDS.len() + 1;
/// The longest pause that is told from longer ones, in milliseconds.
const LONGEST: u64 = 24 * 3600 * 1000;

/// What was measured of an app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// What a load takes. `None`: none was measured.
    pub load: Option<LoadTime>,
    /// The bytes of a daemon that has nothing to do. `None`: none was measured.
    pub memory: Option<u64>,
}

/// What a load takes, and by what that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadTime {
    /// So much longer a request takes as a plain CGI than in the daemon.
    Cgi(Duration),
    /// The daemon's start takes this long: of this kind of app no CGIs are timed.
    Start(Duration),
}

/// How a request was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// It waited for a load.
    Cold {
        /// For so long a daemon was kept before, which is gone.
        kept: Duration,
    },
    /// By a daemon that was there.
    Warm,
}

/// The pauses so far, and the credit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rental {
    bins: [PauseBin; BINS],
    /// The credit that is used up, in billionths of a load; below 0: earned.
    used: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct PauseBin {
    count: u64,
    /// Of the pauses, in milliseconds.
    sum: u64,
}

impl Prices {
    /// For how long a daemon can be kept for the price of a load.
    pub fn break_even(&self) -> Duration {
        let Some(load) = self.load else {
            return USUAL_BREAK_EVEN;
        };
        let memory = self.memory.unwrap_or(USUAL_MEMORY).max(1);
        let share = (1u64 << 30) as f64 / memory as f64;
        let hours = load.time().as_secs_f64() * share / GIBIBYTE_HOUR.as_secs_f64();
        let most = MOST_BREAK_EVEN.as_secs_f64();
        let seconds = (hours * 3600.0).clamp(LEAST_BREAK_EVEN.as_secs_f64(), most);
        Duration::from_millis((seconds * 1000.0) as u64)
    }
}

impl LoadTime {
    /// How long it takes.
    pub fn time(self) -> Duration {
        match self {
            LoadTime::Cgi(time) | LoadTime::Start(time) => time,
        }
    }
}

impl Rental {
    /// How many numbers it consists of.
    pub const NUMBERS: usize = 2 * BINS + 1;

    /// The numbers, to be kept in a file. All are 0 before the first request.
    pub fn numbers(&self) -> [u64; Rental::NUMBERS] {
        let mut numbers = [0; Rental::NUMBERS];
        numbers[0] = self.used.cast_unsigned();
        for (pair, bin) in numbers[1..].chunks_exact_mut(2).zip(&self.bins) {
            pair.copy_from_slice(&[bin.count, bin.sum]);
        }
        numbers
    }

    /// The same back; what no pause can have left is made to fit.
    pub fn from_numbers(numbers: &[u64; Rental::NUMBERS]) -> Rental {
        let mut rental = Rental::default();
        let least = (FIRST_CREDIT - MOST_CREDIT) * LOAD;
        let used = numbers[0].cast_signed();
        rental.used = used.clamp(least, FIRST_CREDIT * LOAD);
        for (nth, pair) in numbers[1..].chunks_exact(2).enumerate() {
            let count = pair[0].min(MOST_PAUSES);
            let shortest = nth.checked_sub(1).map_or(0, |below| ENDS[below] * 1000);
            let longest = ENDS.get(nth).map_or(LONGEST, |end| end * 1000);
            let sum = pair[1].clamp(count * shortest, count * longest);
            rental.bins[nth] = PauseBin { count, sum };
        }
        rental
    }

    /// Takes a pause in that is over, by the way in which the request after it was served.
    pub fn note(&mut self, pause: Duration, served: Served, break_even: Duration) {
        let (pause, even) = (millis(pause), millis(break_even).max(1));
        let cost = match served {
            Served::Warm => pause,
            Served::Cold { kept } => millis(kept).min(pause) + even,
        };
        // A pause of a month in a daemon that may not leave is no reason to lend forever.
        let parts = |time: u64| (time.min(4 * even) * LOAD.unsigned_abs() / even).cast_signed();
        let used = self.used + parts(cost) - 2 * parts(pause.min(even));
        self.used = used.clamp((FIRST_CREDIT - MOST_CREDIT) * LOAD, FIRST_CREDIT * LOAD);
        let bin = ENDS.iter().take_while(|&&end| end * 1000 < pause).count();
        self.bins[bin].count += 1;
        self.bins[bin].sum += pause;
        if self.count() >= MOST_PAUSES {
            for bin in &mut self.bins {
                // The sum goes by the count, so that an odd one leaves no pause of another bin's length.
                let half = bin.count / 2;
                bin.sum = bin.sum.checked_div(bin.count).unwrap_or(0) * half;
                bin.count = half;
            }
        }
    }

    /// How many pauses are known.
    pub fn count(&self) -> u64 {
        self.bins.iter().map(|bin| bin.count).sum()
    }

    /// How many of them are shorter than this, as far as the bins tell.
    pub fn shorter_than(&self, time: Duration) -> u64 {
        let is_shorter = |bin: &&PauseBin| bin.sum < bin.count * millis(time);
        let shorter = self.bins.iter().filter(is_shorter);
        shorter.map(|bin| bin.count).sum()
    }

    /// Whether a request that finds no daemon should start one. `kept`: `idle-timeout`, if it is a number; then only
    /// the past decides, since the credit can't be kept by a daemon that leaves at another time.
    pub fn pays(&self, kept: Option<Duration>, break_even: Duration) -> bool {
        let even = millis(break_even);
        let (best, is_due) = match kept {
            Some(kept) => (self.cost(millis(kept), even), false),
            None => (self.best(even).1, self.lent(even) > 0),
        };
        is_due || self.count() >= FIRST && best < self.count() * even
    }

    /// How long a daemon is kept when no request comes.
    pub fn kept(&self, break_even: Duration) -> Duration {
        let even = millis(break_even);
        let kept = match self.count() >= FIRST {
            true => self.best(even).0.max(self.lent(even)),
            false => even,
        };
        Duration::from_millis(kept.clamp(millis(LEAST_KEPT), even.max(millis(LEAST_KEPT))))
    }

    /// The least time, in milliseconds, for which the credit allows a daemon to be kept.
    fn lent(&self, even: u64) -> u64 {
        let credit = (FIRST_CREDIT * LOAD - self.used).max(0).cast_unsigned();
        even.saturating_sub(credit * even / LOAD.unsigned_abs())
    }

    /// What would have been the best time to keep a daemon, and the cost of that; 0 is none.
    fn best(&self, even: u64) -> (u64, u64) {
        let count = self.count();
        let mut best = (0, count * even);
        // The pauses that a daemon outlives which is kept until the end of the bin.
        let (mut outlived, mut sum) = (0, 0);
        for (bin, end) in self.bins.iter().zip(ENDS.map(|end| end * 1000)) {
            let is_last = end >= even;
            // Within the bin that it divides they are taken for equal.
            if !is_last || bin.sum <= bin.count * even {
                outlived += bin.count;
                sum += bin.sum;
            }
            let kept = end.min(even);
            let cost = sum + (count - outlived) * (kept + even);
            if kept >= millis(LEAST_KEPT) && cost < best.1 {
                best = (kept, cost);
            }
            if is_last {
                break;
            }
        }
        best
    }

    /// What all pauses would have cost with a daemon that is kept for so long.
    fn cost(&self, kept: u64, even: u64) -> u64 {
        let costs = self
            .bins
            .iter()
            .map(|bin| match bin.sum <= bin.count * kept {
                true => bin.sum,
                false => bin.count * (kept + even),
            });
        costs.sum()
    }
}

/// Cut where a pause is no longer told from longer ones.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).map_or(LONGEST, |millis| millis.min(LONGEST))
}

#[cfg(test)]
mod tests;

//! How long the runs of one way took, and what they used.

use std::time::Duration;

/// What a run has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Processor time in its own code.
    pub user: Duration,
    /// Processor time in the kernel.
    pub system: Duration,
    /// Page faults.
    pub faults: u64,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From the start of the program, or of the connection, to the response's end.
    pub wall: Duration,
    /// `None`: it is not known.
    pub cost: Option<Cost>,
    /// Of the response, with its head.
    pub bytes: u64,
}

/// A part of a plain CGI's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// Of the fastest run.
    pub time: Duration,
}

/// The runs of one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The first one apart: it finds caches cold, and may start the daemon.
    pub first: Duration,
    /// Of the others; `None`: there are none.
    pub others: Option<Spread>,
    /// The median of each.
    pub cost: Option<Cost>,
    /// The median.
    pub bytes: u64,
}

/// How times are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The shortest.
    pub minimum: Duration,
    /// Half are not longer.
    pub median: Duration,
    /// 95 of 100 are not longer.
    pub p95: Duration,
}

impl Times {
    /// At least one run.
    pub fn of(runs: &[Timing]) -> Times {
        let others: Vec<Duration> = runs.iter().skip(1).map(|run| run.wall).collect();
        let costs: Option<Vec<Cost>> = runs.iter().map(|run| run.cost).collect();
        let cost = costs.map(|costs| Cost {
            user: median(costs.iter().map(|cost| cost.user)),
            system: median(costs.iter().map(|cost| cost.system)),
            faults: median(costs.iter().map(|cost| cost.faults)),
        });
        Times {
            first: runs.first().map_or(Duration::ZERO, |run| run.wall),
            others: (!others.is_empty()).then(|| Spread::of(others)),
            cost,
            bytes: median(runs.iter().map(|run| run.bytes)),
        }
    }

    /// Of all.
    pub fn minimum(&self) -> Duration {
        let others = self.others.map_or(self.first, |others| others.minimum);
        others.min(self.first)
    }
}

impl Spread {
    fn of(mut times: Vec<Duration>) -> Spread {
        times.sort_unstable();
        Spread {
            minimum: ranked(&times, 0),
            median: ranked(&times, 50),
            p95: ranked(&times, 95),
        }
    }
}

/// The smaller of the two in the middle, if there are two. Zero if there are none.
fn median<T: Copy + Default + Ord>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    ranked(&values, 50)
}

/// The least value that so many of a hundred do not exceed (the nearest rank).
fn ranked<T: Copy + Default>(sorted: &[T], percent: usize) -> T {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(millis: u64) -> Timing {
        Timing {
            wall: Duration::from_millis(millis),
            cost: None,
            bytes: millis,
        }
    }

    #[test]
    fn the_first_stands_apart() {
        let runs: Vec<Timing> = [900].into_iter().chain(1..=100).map(run).collect();
        let times = Times::of(&runs);
        let millis = Duration::from_millis;
        assert_eq!(times.first, millis(900));
        let others = Spread {
            minimum: millis(1),
            median: millis(50),
            p95: millis(95),
        };
        assert_eq!(times.others, Some(others));
        assert_eq!(times.cost, None);
        let times = Times::of(&[run(7)]);
        assert_eq!((times.others, times.minimum()), (None, millis(7)));
        assert_eq!(median([1, 5, 9].into_iter()), 5);
        assert_eq!(median(std::iter::empty::<u64>()), 0);
    }
}

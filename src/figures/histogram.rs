//! Times in bins whose width grows with the time: four to an octave, so that a quantile is within a tenth or so of what
//! was measured.

use std::time::Duration;

/// How many bins there are: the first is for all times below 64 µs, the last for all from 13 minutes on.
pub const BINS: usize = 96;
/// log2 of the upper end of the first bin, in microseconds.
const FIRST: u32 = 6;

/// The bin of a time.
pub fn bin(time: Duration) -> usize {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    match micros.checked_ilog2() {
        Some(octave) if octave >= FIRST => {
            let quarter = (micros >> (octave - 2)) & 3;
            let at = 1 + (octave - FIRST) as usize * 4 + quarter as usize;
            at.min(BINS - 1)
        }
        _ => 0,
    }
}

/// The least time of a bin, in microseconds; of the one behind the last, its upper end.
fn least(bin: usize) -> u64 {
    match bin.checked_sub(1) {
        None => 0,
        Some(above) => (4 + above as u64 % 4) << (above as u32 / 4 + FIRST - 2),
    }
}

/// How many times fell into each bin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    bins: [u64; BINS],
    /// The sum of all times, in microseconds.
    pub sum: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            bins: [0; BINS],
            sum: 0,
        }
    }
}

/// What half, 95 of 100 and 99 of 100 requests did not exceed; in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Quantiles {
    pub p50: u64,
    pub p95: u64,
    pub p99: u64,
}

impl Histogram {
    /// So many more in this bin; a bin that there is not is left out.
    pub fn add(&mut self, bin: usize, count: u64) {
        if let Some(number) = self.bins.get_mut(bin) {
            *number = number.saturating_add(count);
        }
    }

    /// How many times there are.
    pub fn count(&self) -> u64 {
        let add = |sum: u64, &count: &u64| sum.saturating_add(count);
        self.bins.iter().fold(0, add)
    }

    /// The bins that hold anything, and how many times each holds.
    pub fn some(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let all = self.bins.iter().copied().enumerate();
        all.filter(|&(_, count)| count > 0)
    }

    /// How many times are below this one, as far as the bins tell: that of a bin's lower end is exact.
    pub fn below(&self, time: Duration) -> u64 {
        let add = |sum: u64, &count: &u64| sum.saturating_add(count);
        self.bins[..bin(time)].iter().fold(0, add)
    }

    /// `None`: there are no times.
    pub fn quantiles(&self) -> Option<Quantiles> {
        let all = self.count();
        (all > 0).then(|| Quantiles {
            p50: self.quantile(all, 50),
            p95: self.quantile(all, 95),
            p99: self.quantile(all, 99),
        })
    }

    /// What so many of a hundred times do not exceed: within its bin, in proportion.
    fn quantile(&self, all: u64, hundredths: u64) -> u64 {
        let rank = (u128::from(all) * u128::from(hundredths)).div_ceil(100);
        let mut before = 0;
        for (bin, count) in self.some() {
            let behind = before + u128::from(count);
            if behind >= rank {
                let (from, to) = (least(bin), least(bin + 1));
                let part = u128::from(to - from) * (rank - before) / u128::from(count);
                return from + u64::try_from(part).unwrap_or(to - from);
            }
            before = behind;
        }
        least(BINS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROS: fn(u64) -> Duration = Duration::from_micros;

    #[test]
    fn every_time_has_its_bin() {
        assert_eq!([0, 63].map(|micros| bin(MICROS(micros))), [0, 0]);
        for at in 1..BINS {
            let (from, to) = (least(at), least(at + 1));
            assert!(from < to && to * 4 <= from * 5, "{at}: {from} {to}");
            assert_eq!(bin(MICROS(from)), at);
            if at < BINS - 1 {
                assert_eq!(bin(MICROS(to - 1)), at);
            }
        }
        assert_eq!(bin(Duration::MAX), BINS - 1);
    }

    #[test]
    fn quantiles_are_near_what_was_measured() {
        let mut times = Histogram::default();
        assert_eq!(times.quantiles(), None);
        for millis in 1..=1000 {
            times.add(bin(Duration::from_millis(millis)), 1);
        }
        let found = times.quantiles().unwrap();
        for (found, exact) in [
            (found.p50, 500_000),
            (found.p95, 950_000),
            (found.p99, 990_000),
        ] {
            assert!(found.abs_diff(exact) * 8 < exact, "{found} for {exact}");
        }
        assert_eq!(times.below(MICROS(least(40))), least(40) / 1000);
        let mut one = Histogram::default();
        one.add(BINS, 1);
        assert_eq!(one.count(), 0);
        one.add(3, 1);
        assert_eq!(one.quantiles().unwrap().p50, least(4));
    }

    #[test]
    fn nonsense_is_counted_as_well() {
        let mut times = Histogram::default();
        for bin in 0..BINS {
            times.add(bin, u64::MAX);
        }
        assert_eq!(times.count(), u64::MAX);
        assert!(times.quantiles().is_some());
    }
}

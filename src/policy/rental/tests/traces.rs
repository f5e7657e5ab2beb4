//! Traces, and what they may cost: at most 1.6 times the best choice in hindsight, the first requests included.

use std::f64::consts::TAU;

use super::*;

const DAY: f64 = 86_400.0;
const WEEK: f64 = 7.0 * DAY;

/// Numbers by chance, the same in every run (xorshift64*).
struct Chance(u64);

impl Chance {
    /// Above 0, and at most 1.
    fn part(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        (number + 1) as f64 / (1u64 << 53) as f64
    }

    fn between(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.part()
    }

    /// A pause of a Poisson process.
    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.part().ln()
    }
}

/// Pauses, in seconds, until so much time is over; `pause` is told how much is.
fn until(end: f64, mut pause: impl FnMut(f64) -> f64) -> Vec<f64> {
    let mut pauses = Vec::new();
    let mut at = 0.0;
    while at < end && pauses.len() < 10_000 {
        let next = pause(at);
        at += next;
        pauses.push(next);
    }
    pauses
}

fn cost_and_best(pauses: &[f64], even: Duration) -> (u64, u64) {
    let pauses = pauses.iter().copied().map(Duration::from_secs_f64);
    let pauses: Vec<Duration> = pauses.collect();
    (paid(&pauses, even), least(&pauses, even, even))
}

fn ratio(pauses: &[f64], even: Duration) -> f64 {
    let (cost, best) = cost_and_best(pauses, even);
    cost as f64 / best as f64
}

/// The break-evens of a light app, and of two heavy ones.
const EVENS: [Duration; 3] = [LEAST_BREAK_EVEN, Duration::from_secs(900), MOST_BREAK_EVEN];

fn cheap(what: &str, pauses: &[f64], even: Duration, most: f64) {
    let ratio = ratio(pauses, even);
    assert!(ratio <= most, "{what}, break-even {even:?}: {ratio:.3}");
}

#[test]
fn a_steady_stream() {
    let mut chance = Chance(1);
    for even in EVENS {
        for mean in [20.0, 150.0, 299.0, 400.0, 1000.0, 5000.0] {
            let regular = until(WEEK, |_| mean * chance.between(0.9, 1.1));
            cheap(&format!("each {mean} s"), &regular, even, 1.5);
        }
    }
}

/// The worst is a mean of the break-even itself: 1.58 is what no rule can beat there, as the module's page says.
#[test]
fn a_stream_by_chance() {
    let mut chance = Chance(2);
    for even in EVENS {
        for part in [0.1, 0.5, 2.0, 10.0] {
            let mean = even.as_secs_f64() * part;
            let random = until(3000.0 * mean, |_| chance.exponential(mean));
            cheap(&format!("{mean} s by chance"), &random, even, 1.5);
        }
        let mean = even.as_secs_f64();
        let random = until(3000.0 * mean, |_| chance.exponential(mean));
        cheap("as many as the break-even", &random, even, 1.6);
    }
}

#[test]
fn a_daily_cycle() {
    let mut chance = Chance(3);
    for even in EVENS {
        for busiest in [30.0, 120.0, 600.0] {
            let cycle = until(WEEK, |at| {
                let light = (1.0 - (TAU * at / DAY).cos()) / 2.0;
                let rate = light * light / busiest + 1.0 / 7200.0;
                chance.exponential(1.0 / rate)
            });
            cheap(&format!("{busiest} s at noon"), &cycle, even, 1.6);
        }
    }
}

#[test]
fn bursts() {
    let mut chance = Chance(4);
    for even in EVENS {
        for rest in [900.0, 1800.0, 20_000.0] {
            let mut pauses = Vec::new();
            for _ in 0..150 {
                pauses.extend((0..20).map(|_| chance.between(0.02, 0.4)));
                pauses.push(chance.exponential(rest));
            }
            cheap(&format!("a burst each {rest} s"), &pauses, even, 1.6);
        }
    }
}

/// Each day of a month, and nothing else.
#[test]
fn one_visitor_who_reads_for_ten_minutes() {
    let mut chance = Chance(5);
    let mut pauses = Vec::new();
    for _ in 0..30 {
        let visit: Vec<f64> = until(600.0, |_| chance.between(10.0, 60.0));
        let left = DAY - visit.iter().sum::<f64>();
        pauses.extend(visit);
        pauses.push(left);
    }
    for even in EVENS {
        cheap("a visitor", &pauses, even, 1.25);
    }
}

#[test]
fn a_bot_each_hour() {
    let pauses = vec![3600.0; 24 * 30];
    for even in EVENS {
        cheap("a bot", &pauses, even, 1.01);
    }
}

/// A site that changes: what is known of it misleads.
#[test]
fn a_site_that_changes() {
    for even in EVENS {
        let mut pauses = vec![10.0; 2000];
        pauses.extend([3000.0; 200]);
        pauses.extend([30.0; 1000]);
        pauses.extend([even.as_secs_f64() * 1.05; 300]);
        cheap("a site that changes", &pauses, even, 1.6);
    }
}

/// An app as in the Azure Functions trace of 2019 (Shahrad and others, Serverless in the Wild, USENIX ATC 2020, section
/// 3): 45 % of apps get a request an hour or less on the average, 81 % one a minute or less; the range is of eight orders
/// of magnitude, of which the fastest, where nothing is to be decided, are left out. How regular they are differs as widely: timers, chance, and much more uneven than chance (a coefficient
/// of variation of the pauses of 0, 1, and above); a third of each here.
fn as_in_the_wild(chance: &mut Chance) -> Vec<f64> {
    let place = chance.part();
    let per_hour = if place < 0.45 {
        10f64.powf(chance.between(-1.3, 0.0))
    } else if place < 0.81 {
        60f64.powf(chance.between(0.0, 1.0))
    } else {
        60.0 * 10f64.powf(chance.between(0.0, 1.0))
    };
    let mean = 3600.0 / per_hour;
    match (chance.part() * 3.0) as u32 {
        0 => until(2.0 * WEEK, |_| mean),
        1 => until(2.0 * WEEK, |_| chance.exponential(mean)),
        // Nine of ten pauses are a tenth of the mean, the others make up for it: a coefficient of 4.
        _ => until(2.0 * WEEK, |_| match chance.part() < 0.9 {
            true => chance.exponential(mean / 10.0),
            false => chance.exponential(9.1 * mean),
        }),
    }
}

#[test]
fn apps_as_in_the_wild() {
    let mut chance = Chance(6);
    for even in EVENS {
        let (mut all, mut all_best) = (0, 0);
        let mut dear = 0;
        for _ in 0..60 {
            let pauses = as_in_the_wild(&mut chance);
            let (cost, best) = cost_and_best(&pauses, even);
            all += cost;
            all_best += best;
            dear += u32::from(cost * 10 > best * 16);
            let credit = FIRST_CREDIT.unsigned_abs() * millis(even);
            assert!(cost <= 2 * best + credit + 10);
        }
        let ratio = all as f64 / all_best as f64;
        assert!(ratio <= 1.25, "{even:?}: {ratio:.3}");
        // Of these the first requests are a large part.
        assert!(dear <= 3, "{even:?}: {dear} of 60 above 1.6");
    }
}

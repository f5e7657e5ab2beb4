//! Front and pool together under one clock: the site never swings between its two ways.

use proptest::prelude::*;

use super::*;
use crate::policy::route::{CgiCount, Facts, Mode, RateLimit, Reach, Route, StartRecord, route};

/// `daemon-when-rate = 6/m` and what follows from it.
const COUNT: usize = 6;
const UNIT: Duration = Duration::from_secs(60);
const QUIET: Quiet = Quiet {
    count: 3,
    unit: UNIT,
    timeout: Duration::from_secs(900),
};
const A_MINUTE: Duration = Duration::from_secs(60);

/// A site with one app: requests of 50 ms, and the CGIs or workers that serve them.
#[derive(Default)]
struct Site {
    now: Duration,
    pool: Option<Pool>,
    arrivals: Vec<Duration>,
    next_number: Number,
    /// Since when there is no daemon, after there was one.
    left_at: Option<Duration>,
    starts: u32,
    leaves: u32,
    /// Starts less than a minute after the daemon had left.
    swings: u32,
}

impl Site {
    /// Lets everything happen that is due until the next request comes, and then serves it.
    fn request(&mut self, at: Duration) {
        while let Some(due) = self.pool.as_ref().and_then(Pool::next_deadline)
            && due <= at
        {
            self.now = due;
            self.tell(Event::Tick);
        }
        self.now = at;
        self.arrivals.push(at);
        match route(&self.facts()) {
            Route::RunCgi => {}
            Route::StartAndForward => {
                self.starts += 1;
                let since = self.left_at.map_or(Duration::MAX, |left| at - left);
                self.swings += u32::from(since < A_MINUTE);
                self.pool = Some(ready_at(at));
                self.serve();
            }
            Route::Forward => self.serve(),
            other => panic!("{other:?}"),
        }
    }

    fn facts(&self) -> Facts {
        // As `CgiCount::is_faster_than`, over what fronts have noted and the daemon has left there.
        let before = self.arrivals.len().checked_sub(COUNT + 1);
        let is_fast = before.is_some_and(|nth| self.now - self.arrivals[nth] < UNIT);
        Facts {
            reach: if self.pool.is_some() {
                Reach::Answers
            } else {
                Reach::Absent
            },
            start: StartRecord::Clear,
            mode: Mode::Auto,
            has_cgi: true,
            slots: CgiCount::Taken {
                running: 0,
                most: 5,
            },
            busy_limit: 2,
            rate_exceeded: is_fast,
            rate_limit: RateLimit::Number(6, Duration::from_secs(60)),
            last_minute: 1,
            load: 0.0,
            load_limit: 1.0,
            has_just_left: self.left_at.is_some_and(|left| self.now - left < A_MINUTE),
            overload_limit: None,
            pressure: 0.0,
            pressure_limit: None,
        }
    }

    fn serve(&mut self) {
        self.next_number += 1;
        self.tell(arrived(self.next_number));
    }

    fn tell(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop()
            && let Some(pool) = &mut self.pool
        {
            for action in told(pool, event, self.now) {
                match action {
                    Action::Dispatch { worker, .. } => events.push(done(worker)),
                    Action::Leave(_) => {
                        self.leaves += 1;
                        self.left_at = Some(self.now);
                        self.pool = None;
                        return;
                    }
                    Action::Retire(worker) => events.push(Event::WorkerGone(worker)),
                    Action::Spawn { worker, .. } => events.push(Event::WorkerReady(worker)),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

fn ready_at(now: Duration) -> Pool {
    let limits = PoolRules {
        quiet: Some(QUIET),
        ..limits()
    };
    let mut pool = Pool::new(limits, now);
    for event in [Event::Tick, Event::ZygoteReady(1), Event::WorkerReady(0)] {
        told(&mut pool, event, now);
    }
    pool
}

/// Requests that come every `interval` on the average, each interval between so many times it, for six hours.
fn six_hours(interval: Duration, from: f64, to: f64, seed: u64) -> Site {
    let mut site = Site::default();
    let mut dice = Dice(seed);
    let mut at = S(1);
    while at < S(6 * 3600) {
        site.request(at);
        let times = from + (to - from) * dice.fraction();
        at += interval.mul_f64(times);
    }
    site
}

#[test]
fn a_constant_rate_starts_a_daemon_or_does_not_and_that_is_that() {
    for second in (1..30).chain((30..400).step_by(10)) {
        let site = six_hours(S(second), 1.0, 1.0, 1);
        let is_fast = second < 10;
        assert_eq!(site.starts, u32::from(is_fast), "every {second} s");
        assert_eq!(site.leaves, 0, "every {second} s");
    }
}

#[test]
fn a_rate_in_between_keeps_what_there_is() {
    let mut site = Site::default();
    for nth in 1..=7 {
        site.request(S(nth));
    }
    assert_eq!(site.starts, 1);
    // Slower than what starts one, faster than what ends one: three in 59 s.
    let mut at = S(7);
    for _ in 0..2000 {
        at += MS(29_500);
        site.request(at);
    }
    assert_eq!(site.leaves, 0);
    // Two a minute.
    for _ in 0..100 {
        at += MS(30_500);
        site.request(at);
    }
    assert_eq!((site.starts, site.leaves), (1, 1));
}

/// When requests come at random, now and then a few of them follow the end of a quiet time at once. Then it matters
/// that the front remembers that a daemon has just left.
#[test]
fn not_even_chance_makes_it_swing() {
    let mut site = Site::default();
    let mut dice = Dice(7);
    let mut at = S(1);
    while at < S(100 * 86_400) {
        let waits = -(1.0 - dice.fraction()).ln();
        at += S(40).mul_f64(waits);
        site.request(at);
        site.left_at.take_if(|left| at - *left > A_MINUTE);
        if site.pool.is_none() && site.left_at.is_none() {
            site.pool = Some(ready_at(at));
        }
    }
    assert!(site.leaves > 200, "{}", site.leaves);
    assert_eq!(site.swings, 0);
}

proptest! {
    #[test]
    fn a_rate_that_varies_by_half_never_swings(
        interval in 3000u64..120_000,
        seed in any::<u64>(),
    ) {
        let site = six_hours(MS(interval), 0.5, 1.5, seed);
        prop_assert_eq!(site.swings, 0);
    }

    #[test]
    fn a_rate_that_changes_from_hour_to_hour_never_swings(
        intervals in prop::collection::vec(3000u64..120_000, 1..12),
        seed in any::<u64>(),
    ) {
        let mut site = Site::default();
        let mut dice = Dice(seed);
        let mut at = S(1);
        for (hour, &interval) in (1..).zip(&intervals) {
            while at < S(3600 * hour) {
                site.request(at);
                at += MS(interval).mul_f64(0.5 + dice.fraction());
            }
        }
        prop_assert_eq!(site.swings, 0);
        // Once in each hour at most, by the change itself.
        prop_assert!(site.leaves as usize <= intervals.len());
    }
}

//! The pool under an invented clock: its rules one by one, then random streams of events, then pool and front together.

use super::*;
use crate::policy::queue::{Number, QueueRules};

mod admission;
mod alone;
mod broken;
mod crowd;
mod direct;
mod generations;
mod host;
mod hysteresis;
mod leaving;
mod looking;
mod memory;
mod resting;
mod serving;
mod starting;
mod time_limits;
mod world;

const S: fn(u64) -> Duration = Duration::from_secs;
const MS: fn(u64) -> Duration = Duration::from_millis;

/// No looks, no quiet exit, memory enough: a test of these sets its own limits.
fn limits() -> PoolRules {
    PoolRules {
        accepts: false,
        heeds_memory: false,
        idle_timeout: S(300),
        look_interval: Duration::MAX,
        max_procs: 3,
        max_requests: 1000,
        min_idle: 1,
        min_lifetime: S(120),
        min_procs: 0,
        queue: QueueRules {
            size: 4,
            target: S(10),
            timeout: S(10),
            turn: 0,
            start_page: None,
            has_room: true,
        },
        quiet: None,
        request_limit: None,
        request_timeout: S(45),
        start_timeout: S(45),
        stays: false,
        worker_idle_timeout: S(60),
    }
}

fn told(pool: &mut Pool, event: Event, now: Duration) -> Vec<Action> {
    let mut actions = Vec::new();
    pool.handle(event, now, &mut actions);
    actions
}

/// A pool whose worker 0, of generation 1, is ready, at time 0.
fn ready(limits: PoolRules) -> Pool {
    let mut pool = Pool::new(limits, S(0));
    let started = told(&mut pool, Event::Tick, S(0));
    assert_eq!(started, [Action::StartZygote(1)]);
    let spawned = told(&mut pool, Event::ZygoteReady(1), S(0));
    assert_eq!(spawned, [spawn(0, 1)]);
    assert_eq!(told(&mut pool, Event::WorkerReady(0), S(0)), []);
    pool
}

fn arrived(number: Number) -> Event {
    Event::Arrived(Arrived {
        number,
        rank: Rank::Anonymous,
        is_browser: false,
    })
}

/// With a ticket of this number, that was issued then.
fn with_ticket(number: Number, id: u64, issued: Duration) -> Event {
    Event::Arrived(Arrived {
        number,
        rank: Rank::Ticket { id, issued },
        is_browser: true,
    })
}

/// Of a browser: with the waiting room it gets a ticket if it is refused.
fn browsing(number: Number) -> Event {
    Event::Arrived(Arrived {
        number,
        rank: Rank::Anonymous,
        is_browser: true,
    })
}

fn done(worker: WorkerId) -> Event {
    Event::WorkerDone {
        worker,
        last: false,
    }
}

fn dispatch(number: Number, worker: WorkerId) -> Action {
    Action::Dispatch { number, worker }
}

fn spawn(worker: WorkerId, generation: Generation) -> Action {
    Action::Spawn { worker, generation }
}

fn state(pool: &Pool, id: WorkerId) -> WorkerState {
    let worker = pool.workers().find(|&(worker, _)| worker == id);
    worker.expect("such a worker").1.state
}

/// The numbers that were refused, for any reason.
fn refused(actions: &[Action]) -> Vec<Number> {
    let number = |action: &Action| match *action {
        Action::Refuse { number, .. } => Some(number),
        _ => None,
    };
    actions.iter().filter_map(number).collect()
}

/// Numbers that look random, and are the same in every run.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        // Xorshift never leaves 0.
        self.0 = self.0.max(1);
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.roll().is_multiple_of(many)
    }

    /// Between 0 and 1.
    fn fraction(&mut self) -> f64 {
        (self.roll() % 1_000_000) as f64 / 1_000_000.0
    }
}

//! The pool under an invented clock: its rules one by one, then random streams of events.

use proptest::prelude::*;

use super::*;
use crate::policy::queue;

const S: fn(u64) -> Duration = Duration::from_secs;

fn limits() -> Limits {
    Limits {
        idle_timeout: S(300),
        max_procs: 3,
        max_requests: 1000,
        min_idle: 1,
        min_lifetime: S(120),
        min_procs: 0,
        queue: queue::Limits {
            size: 4,
            timeout: S(10),
        },
        start_timeout: S(45),
        worker_idle_timeout: S(60),
    }
}

fn told(pool: &mut Pool, event: Event, now: Duration) -> Vec<Action> {
    let mut actions = Vec::new();
    pool.handle(event, now, &mut actions);
    actions
}

/// A pool whose worker 0 is ready, at time 0.
fn ready(limits: Limits) -> Pool {
    let mut pool = Pool::new(limits, S(0));
    assert_eq!(told(&mut pool, Event::Tick, S(0)), [Action::StartZygote]);
    let spawned = told(&mut pool, Event::ZygoteReady, S(0));
    assert_eq!(spawned, [Action::Spawn(0)]);
    assert_eq!(told(&mut pool, Event::WorkerReady(0), S(0)), []);
    pool
}

#[test]
fn a_request_finds_the_idle_worker_and_a_spare_is_made() {
    let mut pool = ready(limits());
    let actions = told(&mut pool, Event::Arrived(7), S(1));
    assert_eq!(
        actions,
        [
            Action::Dispatch {
                ticket: 7,
                worker: 0
            },
            Action::Spawn(1)
        ]
    );
}

#[test]
fn the_hottest_worker_goes_first() {
    let mut pool = ready(limits());
    told(&mut pool, Event::Arrived(1), S(1));
    told(&mut pool, Event::WorkerReady(1), S(1));
    let done = Event::WorkerDone {
        worker: 0,
        last: false,
    };
    told(&mut pool, done, S(2));
    let actions = told(&mut pool, Event::Arrived(2), S(3));
    let to_0 = Action::Dispatch {
        ticket: 2,
        worker: 0,
    };
    assert_eq!(actions[0], to_0);
}

#[test]
fn the_queue_is_bounded_by_number_and_time() {
    let mut pool = Pool::new(limits(), S(0));
    for ticket in 1..=4 {
        told(&mut pool, Event::Arrived(ticket), S(0));
    }
    let refused = told(&mut pool, Event::Arrived(5), S(0));
    assert!(matches!(
        refused[..],
        [Action::Refuse {
            ticket: 5,
            refusal: Refusal::Overloaded { .. }
        }]
    ));
    told(&mut pool, Event::ZygoteReady, S(40));
    // The clock of the queue runs from here on, not from the arrival.
    let actions = told(&mut pool, Event::WorkerReady(0), S(40));
    assert!(actions.contains(&Action::Dispatch {
        ticket: 1,
        worker: 0
    }));
    assert_eq!(told(&mut pool, Event::Tick, S(49)), []);
    let refused = told(&mut pool, Event::Tick, S(50));
    assert_eq!(refused.len(), 3, "{refused:?}");
}

#[test]
fn an_app_that_never_served_is_broken_at_its_first_failure() {
    let mut pool = Pool::new(limits(), S(0));
    told(&mut pool, Event::Arrived(1), S(0));
    let actions = told(&mut pool, Event::ZygoteGone, S(1));
    assert_eq!(
        actions,
        [
            Action::Refuse {
                ticket: 1,
                refusal: Refusal::Broken
            },
            Action::Leave(Reason::Broken)
        ]
    );
    let late = told(&mut pool, Event::Arrived(2), S(1));
    assert!(matches!(late[..], [Action::Refuse { ticket: 2, .. }]));
    assert_eq!(told(&mut pool, Event::Left, S(1)), [Action::Exit]);
}

#[test]
fn whoever_comes_behind_the_exit_is_answered() {
    let mut pool = Pool::new(limits(), S(0));
    told(&mut pool, Event::Tick, S(0));
    told(&mut pool, Event::ZygoteGone, S(1));
    assert_eq!(told(&mut pool, Event::Left, S(1)), [Action::Exit]);
    let broken = Action::Refuse {
        ticket: 1,
        refusal: Refusal::Broken,
    };
    assert_eq!(told(&mut pool, Event::Arrived(1), S(1)), [broken]);

    let mut pool = ready(limits());
    told(&mut pool, Event::Left, S(1));
    let gone = told(&mut pool, Event::WorkerGone(0), S(1));
    assert_eq!(gone, [Action::Exit]);
    assert!(matches!(
        told(&mut pool, Event::Arrived(1), S(1))[..],
        [Action::Refuse { ticket: 1, .. }]
    ));
}

#[test]
fn a_start_without_a_request_is_proven_even_if_no_spare_worker_is_kept() {
    let mut pool = ready(Limits {
        min_idle: 0,
        ..limits()
    });
    assert!(pool.is_proven());
    assert_eq!(told(&mut pool, Event::Tick, S(46)), []);
    // It is not needed for anything else.
    let actions = told(&mut pool, Event::Tick, S(60));
    assert_eq!(actions, [Action::Retire(0)]);
    assert_eq!(told(&mut pool, Event::WorkerGone(0), S(61)), []);
}

#[test]
fn what_a_worker_says_out_of_turn_makes_it_idle_only_once() {
    let mut pool = ready(limits());
    let done = Event::WorkerDone {
        worker: 0,
        last: false,
    };
    assert_eq!(told(&mut pool, done, S(1)), []);
    assert_eq!(told(&mut pool, Event::WorkerReady(0), S(1)), []);
    let to_0 = Action::Dispatch {
        ticket: 1,
        worker: 0,
    };
    let actions = told(&mut pool, Event::Arrived(1), S(2));
    assert_eq!(actions, [to_0, Action::Spawn(1)]);
    assert_eq!(told(&mut pool, Event::Arrived(2), S(2)), [Action::Spawn(2)]);
    // A successor of the same number has not been given anything yet.
    told(&mut pool, Event::WorkerGone(0), S(3));
    assert_eq!(told(&mut pool, Event::NotTaken(0), S(3)), []);
}

#[test]
fn an_app_that_is_not_ready_in_time_is_a_timeout() {
    let mut pool = Pool::new(limits(), S(0));
    told(&mut pool, Event::Arrived(1), S(0));
    assert_eq!(pool.next_deadline(), Some(S(0)).max(pool.next_deadline()));
    let actions = told(&mut pool, Event::Tick, S(45));
    assert_eq!(actions[1], Action::Leave(Reason::StartTimedOut));
}

#[test]
fn a_zygote_that_dies_later_is_replaced_and_costs_nobody() {
    let mut pool = ready(limits());
    assert_eq!(
        told(&mut pool, Event::ZygoteGone, S(9)),
        [Action::StartZygote]
    );
    // Its successor fails: a pause, while the workers go on.
    assert_eq!(told(&mut pool, Event::ZygoteGone, S(10)), []);
    assert!(matches!(
        told(&mut pool, Event::Arrived(1), S(10))[..],
        [Action::Dispatch { .. }]
    ));
    assert_eq!(told(&mut pool, Event::Tick, S(11)), [Action::StartZygote]);
}

#[test]
fn a_worker_that_served_its_share_is_replaced() {
    let mut pool = ready(Limits {
        max_requests: 1,
        ..limits()
    });
    told(&mut pool, Event::Arrived(1), S(1));
    let done = Event::WorkerDone {
        worker: 0,
        last: false,
    };
    assert_eq!(told(&mut pool, done, S(2)), [Action::Retire(0)]);
}

#[test]
fn spare_workers_exit_after_a_while() {
    let mut pool = ready(limits());
    told(&mut pool, Event::Arrived(1), S(1));
    told(&mut pool, Event::WorkerReady(1), S(1));
    let done = Event::WorkerDone {
        worker: 0,
        last: false,
    };
    told(&mut pool, done, S(2));
    assert_eq!(told(&mut pool, Event::Tick, S(60)), []);
    assert_eq!(told(&mut pool, Event::Tick, S(61)), [Action::Retire(1)]);
    assert_eq!(told(&mut pool, Event::Tick, S(200)), [], "one stays spare");
}

#[test]
fn leaves_after_idle_timeout_and_not_before_min_lifetime() {
    let mut pool = ready(Limits {
        idle_timeout: S(1),
        ..limits()
    });
    assert_eq!(told(&mut pool, Event::Tick, S(119)), []);
    assert_eq!(pool.next_deadline(), Some(S(120)));
    let leave = Action::Leave(Reason::Idle);
    assert_eq!(told(&mut pool, Event::Tick, S(120)), [leave]);
    // One who still came in by the old name is served before the exit.
    let served = told(&mut pool, Event::Arrived(1), S(120));
    assert!(matches!(served[0], Action::Dispatch { .. }));
    told(&mut pool, Event::WorkerGone(1), S(120));
    told(&mut pool, Event::Left, S(120));
    let done = Event::WorkerDone {
        worker: 0,
        last: false,
    };
    assert!(told(&mut pool, done, S(121)).contains(&Action::Retire(0)));
    assert!(told(&mut pool, Event::WorkerGone(0), S(121)).contains(&Action::Exit));
}

#[test]
fn the_share_is_jittered_by_a_tenth() {
    let shares: Vec<u32> = (0..100).map(|nth| jittered(1000, nth)).collect();
    assert!(shares.iter().all(|share| (900..=1100).contains(share)));
    assert!(shares.iter().max() > shares.iter().min());
    assert_eq!(jittered(1, 5), 1);
}

/// A world around the pool that does at random what a world can do, and keeps the books.
struct World {
    pool: Pool,
    limits: Limits,
    now: Duration,
    next_ticket: Ticket,
    waiting: Vec<Ticket>,
    with: BTreeMap<WorkerId, Option<Ticket>>,
    answered: Vec<Ticket>,
    starting: Vec<WorkerId>,
    retiring: Vec<WorkerId>,
    zygote: Option<bool>,
    leave_asked: bool,
    exited: bool,
}

impl World {
    fn new(limits: Limits) -> World {
        World {
            pool: Pool::new(limits, S(0)),
            limits,
            now: S(0),
            next_ticket: 1,
            waiting: Vec::new(),
            with: BTreeMap::new(),
            answered: Vec::new(),
            starting: Vec::new(),
            retiring: Vec::new(),
            zygote: None,
            leave_asked: false,
            exited: false,
        }
    }

    fn tell(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.pool.handle(event, self.now, &mut actions);
        let due = self.pool.next_deadline();
        assert!(
            due.is_none_or(|due| due > self.now),
            "a loop that never blocks: {:?}",
            self.pool
        );
        for action in actions {
            assert!(!self.exited, "{action:?} after Exit");
            match action {
                Action::Dispatch { ticket, worker } => {
                    let at = self.waiting.iter().position(|&t| t == ticket);
                    self.waiting
                        .swap_remove(at.expect("a request goes to one worker only"));
                    let with = self.with.get_mut(&worker).expect("a ready worker");
                    assert_eq!(with.replace(ticket), None, "two requests for one worker");
                }
                Action::Exit => {
                    assert!(
                        self.waiting.is_empty() && self.with.is_empty(),
                        "exit loses one"
                    );
                    self.exited = true;
                }
                Action::Leave(_) => {
                    assert!(!self.leave_asked);
                    self.leave_asked = true;
                }
                Action::Refuse { ticket, .. } => {
                    let at = self.waiting.iter().position(|&t| t == ticket);
                    self.waiting
                        .swap_remove(at.expect("only one who waits is refused"));
                    self.answered.push(ticket);
                }
                Action::Retire(worker) => {
                    assert_eq!(
                        self.with.get(&worker),
                        Some(&None),
                        "retired while not idle"
                    );
                    self.retiring.push(worker);
                }
                Action::Spawn(worker) => {
                    assert_eq!(self.zygote, Some(true), "nobody to fork from");
                    assert!(!self.with.contains_key(&worker));
                    self.starting.push(worker);
                }
                Action::StartZygote => {
                    assert_eq!(self.zygote, None);
                    self.zygote = Some(false);
                }
            }
            let processes = self.with.len() + self.starting.len();
            assert!(processes <= usize::from(self.limits.max_procs), "too many");
        }
    }

    /// One thing that can happen now, chosen by `what` and `which`.
    fn step(&mut self, what: u8, which: usize) {
        let any = |from: &[WorkerId]| (!from.is_empty()).then(|| from[which % from.len()]);
        let in_use: Vec<WorkerId> = self.with.keys().copied().collect();
        let busy: Vec<WorkerId> = self
            .with
            .iter()
            .filter(|(_, t)| t.is_some())
            .map(|(&w, _)| w)
            .collect();
        match what % 12 {
            0..=2 => {
                let ticket = self.next_ticket;
                self.next_ticket += 1;
                self.waiting.push(ticket);
                self.tell(Event::Arrived(ticket));
            }
            3 if self.zygote == Some(false) => {
                self.zygote = Some(true);
                self.tell(Event::ZygoteReady);
            }
            3 | 4 => {
                if let Some(worker) = any(&self.starting) {
                    self.starting.retain(|&w| w != worker);
                    self.with.insert(worker, None);
                    self.tell(Event::WorkerReady(worker));
                }
            }
            5 | 6 => {
                if let Some(worker) = any(&busy) {
                    let ticket = self.with.insert(worker, None).flatten();
                    self.answered.extend(ticket);
                    self.tell(Event::WorkerDone {
                        worker,
                        last: false,
                    });
                }
            }
            7 => {
                if let Some(worker) = any(&in_use) {
                    self.retiring.retain(|&w| w != worker);
                    let ticket = self.with.remove(&worker).flatten();
                    self.answered.extend(ticket);
                    self.tell(Event::WorkerGone(worker));
                } else if let Some(worker) = any(&self.starting) {
                    self.starting.retain(|&w| w != worker);
                    self.tell(Event::ForkFailed(worker));
                }
            }
            8 => {
                if !self.waiting.is_empty() {
                    let ticket = self.waiting.swap_remove(which % self.waiting.len());
                    self.answered.push(ticket);
                    self.tell(Event::HungUp(ticket));
                }
            }
            9 => {
                if let Some(worker) = any(&busy) {
                    let ticket = self.with.insert(worker, None).flatten();
                    if which.is_multiple_of(2) {
                        self.answered.extend(ticket);
                        self.tell(Event::NotTaken(worker));
                    } else {
                        self.waiting.extend(ticket);
                        self.retiring.push(worker);
                        self.tell(Event::Returned(worker));
                    }
                }
            }
            10 if self.zygote.is_some() && which.is_multiple_of(4) => {
                self.zygote = None;
                for worker in std::mem::take(&mut self.starting) {
                    self.tell(Event::WorkerGone(worker));
                }
                self.tell(Event::ZygoteGone);
            }
            _ => {
                self.now += Duration::from_millis(1 + which as u64 % 4000);
                self.tell(Event::Tick);
            }
        }
    }

    /// Everybody behaves from here on: the stop must end, with every request answered.
    fn settle(&mut self) {
        self.tell(Event::Left);
        for round in 0..1000 {
            if self.exited {
                break;
            }
            assert!(round < 999, "the stop does not end: {:?}", self.pool);
            for worker in std::mem::take(&mut self.retiring) {
                self.with.remove(&worker);
                self.tell(Event::WorkerGone(worker));
            }
            self.step(3, 0);
            self.step(5, 0);
            if let Some(due) = self.pool.next_deadline() {
                self.now = self.now.max(due);
            }
            self.tell(Event::Tick);
        }
        let mut answered = std::mem::take(&mut self.answered);
        answered.sort_unstable();
        let all: Vec<Ticket> = (1..self.next_ticket).collect();
        assert_eq!(answered, all, "each request is answered exactly once");
    }
}

proptest! {
    #[test]
    fn no_request_is_lost_or_answered_twice(
        max_procs in 1u16..5,
        min_idle in 0u16..3,
        max_requests in 1u32..6,
        size in 1usize..6,
        steps in prop::collection::vec((any::<u8>(), any::<usize>()), 0..200),
    ) {
        let queue = queue::Limits { size, timeout: S(10) };
        let mut world = World::new(Limits { max_procs, min_idle, max_requests, queue, ..limits() });
        for (what, which) in steps {
            world.step(what, which);
        }
        world.settle();
    }
}

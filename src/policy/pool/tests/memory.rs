//! A host that is short of memory: no worker is added to one that serves, and those that are not needed go.

use super::*;

const ASK: Action = Action::AskPressure;

fn limits() -> PoolRules {
    PoolRules {
        heeds_memory: true,
        ..super::limits()
    }
}

fn pressure(some: f64) -> Event {
    Event::Pressure {
        some: Some(some),
        is_watched: false,
    }
}

/// Three requests have come at time 0, and have three workers: the first was asked for when memory was enough.
fn three_busy(limits: PoolRules) -> Pool {
    let mut pool = ready(limits);
    assert_eq!(told(&mut pool, arrived(1), S(0)), [dispatch(1, 0), ASK]);
    assert_eq!(told(&mut pool, pressure(0.0), S(0)), [spawn(1, 1)]);
    told(&mut pool, Event::WorkerReady(1), S(0));
    assert_eq!(
        told(&mut pool, arrived(2), S(0)),
        [dispatch(2, 1), spawn(2, 1)],
        "the answer is fresh"
    );
    told(&mut pool, Event::WorkerReady(2), S(0));
    assert_eq!(told(&mut pool, arrived(3), S(0)), [dispatch(3, 2)]);
    pool
}

#[test]
fn the_first_worker_is_spawned_without_a_question() {
    let mut pool = Pool::new(limits(), S(0));
    for number in [1, 2, 3] {
        told(&mut pool, arrived(number), S(0));
    }
    let actions = told(&mut pool, Event::ZygoteReady(1), S(0));
    assert_eq!(actions, [spawn(0, 1)]);
    let actions = told(&mut pool, Event::WorkerReady(0), S(0));
    assert_eq!(actions, [dispatch(1, 0), ASK]);
    assert_eq!(
        told(&mut pool, pressure(9.9), S(0)),
        [spawn(1, 1), spawn(2, 1)]
    );
}

#[test]
fn none_is_added_while_memory_is_short() {
    let mut pool = ready(limits());
    assert_eq!(told(&mut pool, arrived(1), S(0)), [dispatch(1, 0), ASK]);
    assert_eq!(told(&mut pool, pressure(10.0), S(0)), []);
    assert!(pool.is_short_of_memory());
    assert_eq!(told(&mut pool, arrived(2), S(0)), [], "it waits");
    // As long as one is wanted, the question is asked each second.
    assert_eq!(pool.next_deadline(), Some(S(1)));
    assert_eq!(told(&mut pool, Event::Tick, S(1)), [ASK]);
    assert_eq!(told(&mut pool, pressure(5.0), S(1)), [], "not low enough");
    assert_eq!(told(&mut pool, Event::Tick, S(2)), [ASK]);
    assert_eq!(
        told(&mut pool, pressure(4.9), S(2)),
        [spawn(1, 1), spawn(2, 1)]
    );
}

#[test]
fn one_that_serves_is_always_there() {
    let mut pool = ready(limits());
    told(&mut pool, arrived(1), S(0));
    told(&mut pool, pressure(50.0), S(0));
    told(&mut pool, arrived(2), S(0));
    // It is killed, or has served its share.
    assert_eq!(
        told(&mut pool, Event::WorkerGone(0), S(0)),
        [spawn(0, 1)],
        "and no other"
    );
    // One that is stuck does not serve.
    told(&mut pool, Event::WorkerReady(0), S(0));
    let stuck = told(&mut pool, Event::Tick, S(46));
    assert!(stuck.contains(&Action::AskProgress(0)), "{stuck:?}");
    assert!(stuck.contains(&ASK), "{stuck:?}");
    assert_eq!(told(&mut pool, pressure(50.0), S(46)), []);
    assert_eq!(told(&mut pool, arrived(3), S(46)), [], "it waits");
    let stands = Event::Progress {
        worker: 0,
        moved: false,
    };
    let actions = told(&mut pool, stands, S(46));
    assert!(actions.contains(&Action::Interrupt(0)), "{actions:?}");
    assert!(actions.contains(&spawn(1, 1)), "{actions:?}");
}

#[test]
fn those_that_are_not_needed_go_the_coldest_first() {
    let mut pool = three_busy(limits());
    for (worker, second) in [(2, 1), (0, 2), (1, 3)] {
        // From now on one would go.
        assert_eq!(told(&mut pool, done(worker), S(second)), [ASK]);
        assert_eq!(told(&mut pool, pressure(0.0), S(second)), []);
    }
    assert_eq!(told(&mut pool, Event::Tick, S(4)), [ASK]);
    // The first has been idle for more than 2 s, the second for just that.
    assert_eq!(
        told(&mut pool, pressure(12.0), S(4)),
        [Action::Retire(2), Action::Retire(0)]
    );
    assert_eq!(told(&mut pool, Event::WorkerGone(2), S(5)), []);
    assert_eq!(told(&mut pool, Event::WorkerGone(0), S(5)), []);
    assert_eq!(told(&mut pool, Event::Tick, S(13)), [], "one is kept");
    // Until the end is seen, the question is asked once in the time of the average.
    assert_eq!(pool.next_deadline(), Some(S(14)));
    assert_eq!(told(&mut pool, Event::Tick, S(14)), [ASK]);
    assert_eq!(told(&mut pool, pressure(0.0), S(14)), []);
    assert!(!pool.is_short_of_memory());
}

#[test]
fn those_that_traffic_needs_stay() {
    let mut pool = three_busy(limits());
    told(&mut pool, Event::Stalled, S(0));
    let mut number = 4;
    for nth in 1..=20 {
        // Each is idle for a second, and then busy again.
        let now = S(nth);
        for worker in 0..3 {
            told(&mut pool, done(worker), now);
        }
        for _ in 0..3 {
            let actions = told(&mut pool, arrived(number), now + MS(999));
            assert!(matches!(actions[0], Action::Dispatch { .. }), "{actions:?}");
            number += 1;
        }
        told(&mut pool, pressure(20.0), now + MS(999));
    }
    assert_eq!(pool.workers().count(), 3);
}

#[test]
fn min_procs_are_kept_but_not_made() {
    let rules = PoolRules {
        min_procs: 2,
        min_idle: 3,
        ..limits()
    };
    let mut pool = Pool::new(rules, S(0));
    told(&mut pool, Event::Tick, S(0));
    assert_eq!(
        told(&mut pool, Event::ZygoteReady(1), S(0)),
        [spawn(0, 1)],
        "the one that proves the app"
    );
    assert_eq!(told(&mut pool, Event::WorkerReady(0), S(0)), [ASK]);
    assert_eq!(told(&mut pool, pressure(30.0), S(0)), []);
    assert_eq!(pool.next_deadline(), Some(S(10)), "no request waits");
    assert_eq!(told(&mut pool, Event::Tick, S(10)), [ASK]);
    assert_eq!(
        told(&mut pool, pressure(0.0), S(10)),
        [spawn(1, 1), spawn(2, 1)]
    );
    for worker in [1, 2] {
        told(&mut pool, Event::WorkerReady(worker), S(10));
    }
    told(&mut pool, Event::Stalled, S(19));
    assert_eq!(state(&pool, 0), WorkerState::Retiring);
    told(&mut pool, Event::WorkerGone(0), S(19));
    told(&mut pool, Event::Tick, S(28));
    let idle = |worker: &Worker| matches!(worker.state, WorkerState::Idle { .. });
    assert_eq!(pool.workers().filter(|(_, worker)| idle(worker)).count(), 2);
}

/// What the kernel tells is sooner than what it averages.
#[test]
fn a_stall_counts_for_as_long_as_the_average() {
    let mut pool = three_busy(limits());
    told(&mut pool, Event::Stalled, S(5));
    assert!(pool.is_short_of_memory());
    told(&mut pool, Event::Tick, S(10));
    told(&mut pool, pressure(1.0), S(10));
    assert!(pool.is_short_of_memory(), "it shows in the average later");
    told(&mut pool, Event::Stalled, S(12));
    told(&mut pool, pressure(1.0), S(20));
    assert!(pool.is_short_of_memory());
    told(&mut pool, pressure(1.0), S(22));
    assert!(!pool.is_short_of_memory());
}

#[test]
fn an_idle_pool_asks_for_nothing_in_vain() {
    // The kernel tells by itself: nothing is asked for workers that would go.
    let rules = PoolRules {
        min_idle: 3,
        ..limits()
    };
    let idle = |is_watched| {
        let mut pool = Pool::new(rules, S(0));
        told(&mut pool, Event::Tick, S(0));
        told(&mut pool, Event::ZygoteReady(1), S(0));
        let mut now = S(0);
        let mut asked = 0;
        let mut actions = told(&mut pool, Event::WorkerReady(0), now);
        while now < S(200) {
            if actions.contains(&ASK) {
                asked += 1;
                let some = Some(0.0);
                actions = told(&mut pool, Event::Pressure { some, is_watched }, now);
                for worker in [1, 2] {
                    told(&mut pool, Event::WorkerReady(worker), now);
                }
                continue;
            }
            now = pool.next_deadline().unwrap();
            actions = told(&mut pool, Event::Tick, now);
        }
        asked
    };
    assert_eq!(idle(true), 1);
    // Otherwise it is asked the more seldom, the longer it is idle.
    let asked = idle(false);
    assert!((10..40).contains(&asked), "{asked}");
    // One that keeps one worker only does not ask at all.
    let mut pool = ready(limits());
    assert_eq!(told(&mut pool, Event::Tick, S(200)), []);
    assert_eq!(pool.next_deadline(), Some(S(300)), "idle-timeout");
}

#[test]
fn a_kernel_that_does_not_measure_is_asked_once() {
    let mut pool = ready(limits());
    assert_eq!(told(&mut pool, arrived(1), S(0)), [dispatch(1, 0), ASK]);
    let unknown = Event::Pressure {
        some: None,
        is_watched: false,
    };
    assert_eq!(told(&mut pool, unknown, S(0)), [spawn(1, 1)]);
    told(&mut pool, Event::WorkerReady(1), S(0));
    assert_eq!(
        told(&mut pool, arrived(2), S(9)),
        [dispatch(2, 1), spawn(2, 1)]
    );
}

/// With no other worker to be had, the queue is what a small `max-procs` would make it, and `Retry-After` too.
#[test]
fn requests_wait_for_the_workers_that_there_are() {
    let rules = PoolRules {
        queue: QueueRules {
            size: 0,
            ..limits().queue
        },
        ..limits()
    };
    let mut pool = ready(rules);
    told(&mut pool, arrived(1), S(0));
    assert!(!pool.is_full(), "two more can be started");
    told(&mut pool, pressure(10.0), S(0));
    assert!(pool.is_full());
    assert_eq!(refused(&told(&mut pool, arrived(2), S(0))), [2]);
}

#[test]
fn an_app_without_processes_here_does_not_mind() {
    let mut pool = ready(super::limits());
    told(&mut pool, Event::Stalled, S(0));
    assert!(!pool.is_short_of_memory());
    assert_eq!(
        told(&mut pool, arrived(1), S(0)),
        [dispatch(1, 0), spawn(1, 1)]
    );
}

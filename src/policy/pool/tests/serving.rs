//! Which worker gets a request, and how many workers there are.

use super::*;

#[test]
fn a_request_finds_the_idle_worker_and_a_spare_is_made() {
    let mut pool = ready(limits());
    let actions = told(&mut pool, arrived(7), S(1));
    assert_eq!(actions, [dispatch(7, 0), spawn(1, 1)]);
}

#[test]
fn the_hottest_worker_goes_first() {
    let mut pool = ready(limits());
    told(&mut pool, arrived(1), S(1));
    told(&mut pool, Event::WorkerReady(1), S(1));
    told(&mut pool, done(0), S(2));
    let actions = told(&mut pool, arrived(2), S(3));
    assert_eq!(actions[0], dispatch(2, 0));
}

#[test]
fn what_a_worker_says_out_of_turn_makes_it_idle_only_once() {
    let mut pool = ready(limits());
    assert_eq!(told(&mut pool, done(0), S(1)), []);
    assert_eq!(told(&mut pool, Event::WorkerReady(0), S(1)), []);
    let actions = told(&mut pool, arrived(1), S(2));
    assert_eq!(actions, [dispatch(1, 0), spawn(1, 1)]);
    assert_eq!(told(&mut pool, arrived(2), S(2)), [spawn(2, 1)]);
    // A new worker of the same number has been given nothing yet.
    told(&mut pool, Event::WorkerGone(0), S(3));
    assert_eq!(told(&mut pool, Event::NotTaken(0), S(3)), []);
    assert_eq!(told(&mut pool, Event::Returned(0), S(3)), []);
}

#[test]
fn a_request_that_is_gone_leaves_its_worker_idle_and_one_that_comes_back_is_first() {
    let mut pool = ready(limits());
    told(&mut pool, arrived(1), S(1));
    assert_eq!(told(&mut pool, Event::NotTaken(0), S(1)), []);
    told(&mut pool, arrived(2), S(2));
    assert_eq!(told(&mut pool, arrived(3), S(2)), [spawn(2, 1)]);
    assert_eq!(told(&mut pool, Event::Returned(0), S(2)), []);
    assert_eq!(pool.queued(), 2);
    let actions = told(&mut pool, Event::WorkerReady(1), S(3));
    assert_eq!(actions, [dispatch(2, 1)]);
}

#[test]
fn a_worker_that_served_its_share_is_replaced() {
    let mut pool = ready(PoolRules {
        max_requests: 1,
        ..limits()
    });
    told(&mut pool, arrived(1), S(1));
    assert_eq!(told(&mut pool, done(0), S(2)), [Action::Retire(0)]);
    told(&mut pool, Event::WorkerReady(1), S(2));
    told(&mut pool, arrived(2), S(3));
    let last = Event::WorkerDone {
        worker: 1,
        last: true,
    };
    assert_eq!(told(&mut pool, last, S(4)), [], "it goes by itself");
    assert_eq!(state(&pool, 1), WorkerState::Retiring);
}

#[test]
fn spare_workers_exit_after_a_while() {
    let mut pool = ready(limits());
    told(&mut pool, arrived(1), S(1));
    told(&mut pool, Event::WorkerReady(1), S(1));
    told(&mut pool, done(0), S(2));
    assert_eq!(told(&mut pool, Event::Tick, S(60)), []);
    assert_eq!(told(&mut pool, Event::Tick, S(61)), [Action::Retire(1)]);
    assert_eq!(told(&mut pool, Event::Tick, S(200)), [], "one stays spare");
}

#[test]
fn a_spawn_that_failed_is_tried_again_after_a_pause() {
    let mut pool = ready(limits());
    told(&mut pool, arrived(1), S(1));
    assert_eq!(told(&mut pool, Event::ForkFailed(1), S(2)), []);
    assert_eq!(pool.next_deadline(), Some(S(3)));
    assert_eq!(told(&mut pool, Event::Tick, S(3)), [spawn(1, 1)]);
    told(&mut pool, Event::WorkerGone(1), S(4));
    assert_eq!(told(&mut pool, Event::Tick, S(5)), []);
    assert_eq!(told(&mut pool, Event::Tick, S(6)), [spawn(1, 1)]);
}

#[test]
fn other_limits_take_workers_away_or_add_them() {
    let mut pool = ready(limits());
    told(&mut pool, arrived(1), S(1));
    told(&mut pool, Event::WorkerReady(1), S(1));
    told(&mut pool, arrived(2), S(1));
    told(&mut pool, Event::WorkerReady(2), S(1));
    pool.obey(PoolRules {
        max_procs: 1,
        ..limits()
    });
    assert_eq!(told(&mut pool, Event::Tick, S(2)), [Action::Retire(2)]);
    told(&mut pool, arrived(3), S(2));
    assert_eq!(told(&mut pool, done(0), S(3)), [Action::Retire(0)]);
    assert_eq!(told(&mut pool, done(1), S(3)), [dispatch(3, 1)]);
    pool.obey(PoolRules {
        min_procs: 3,
        min_idle: 0,
        ..limits()
    });
    told(&mut pool, Event::WorkerGone(0), S(4));
    let actions = told(&mut pool, Event::WorkerGone(2), S(4));
    assert_eq!(actions, [spawn(2, 1)]);
    assert_eq!(pool.workers().count(), 3);
}

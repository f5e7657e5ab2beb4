//! Requests that take too long.

use super::*;

const ASK: Action = Action::AskProgress(0);
const INTERRUPT: Action = Action::Interrupt(0);

fn progress(moved: bool) -> Event {
    Event::Progress { worker: 0, moved }
}

/// No spare workers.
fn limits() -> PoolRules {
    PoolRules {
        min_idle: 0,
        ..super::limits()
    }
}

/// A pool whose worker 0 has request 1 since time 1.
fn busy(limits: PoolRules) -> Pool {
    let mut pool = ready(limits);
    told(&mut pool, arrived(1), S(1));
    pool
}

#[test]
fn one_that_moves_goes_on() {
    let mut pool = busy(limits());
    assert_eq!(told(&mut pool, Event::Tick, S(12)), []);
    assert_eq!(told(&mut pool, Event::Tick, S(13)), [ASK]);
    assert_eq!(told(&mut pool, progress(true), S(13)), []);
    assert_eq!(told(&mut pool, Event::Tick, S(57)), [ASK]);
    assert_eq!(told(&mut pool, progress(false), S(57)), []);
    assert_eq!(told(&mut pool, Event::Tick, S(70)), [ASK]);
    assert_eq!(told(&mut pool, progress(true), S(70)), []);
}

/// A block that moved early in the time does not count as one that moved at its end.
#[test]
fn one_that_stands_still_has_no_more_than_a_part_above_its_time() {
    let mut pool = busy(limits());
    let mut now = S(1);
    let interrupted = loop {
        now = pool.next_deadline().unwrap().max(now);
        let asked = told(&mut pool, Event::Tick, now);
        assert!(now < S(100));
        if asked == [ASK] && told(&mut pool, progress(now < S(13)), now) == [INTERRUPT] {
            break now;
        }
    };
    assert!(
        interrupted >= S(1 + 45) && interrupted <= S(1 + 57),
        "{interrupted:?}"
    );
}

#[test]
fn one_that_does_not_move_is_interrupted_and_killed() {
    let mut pool = busy(limits());
    told(&mut pool, Event::Tick, S(46));
    assert_eq!(told(&mut pool, progress(false), S(46)), [INTERRUPT]);
    assert_eq!(state(&pool, 0), WorkerState::Stuck);
    assert_eq!(told(&mut pool, Event::Tick, S(50)), []);
    assert_eq!(told(&mut pool, Event::Tick, S(51)), [Action::Kill(0)]);
    assert_eq!(told(&mut pool, Event::Tick, S(56)), [Action::Kill(0)]);
    told(&mut pool, Event::WorkerGone(0), S(57));
    assert!(pool.workers().all(|(id, _)| id != 0));
}

#[test]
fn one_that_ends_in_time_after_all_leaves() {
    let mut pool = busy(limits());
    told(&mut pool, Event::Tick, S(46));
    told(&mut pool, progress(false), S(46));
    assert_eq!(told(&mut pool, done(0), S(47)), [Action::Retire(0)]);
    assert_eq!(told(&mut pool, Event::Tick, S(100)), []);
}

#[test]
fn request_limit_ends_a_request_that_makes_progress() {
    let mut pool = busy(PoolRules {
        request_limit: Some(S(60)),
        ..limits()
    });
    told(&mut pool, Event::Tick, S(46));
    told(&mut pool, progress(true), S(46));
    assert_eq!(told(&mut pool, Event::Tick, S(61)), [INTERRUPT]);
}

#[test]
fn a_stuck_worker_counts_as_one() {
    let mut pool = busy(PoolRules {
        max_procs: 1,
        ..limits()
    });
    told(&mut pool, Event::Tick, S(46));
    told(&mut pool, progress(false), S(46));
    assert_eq!(told(&mut pool, arrived(2), S(46)), []);
    assert_eq!(told(&mut pool, Event::WorkerGone(0), S(48)), [spawn(0, 1)]);
}

#[test]
fn an_answer_about_another_request_changes_nothing() {
    let mut pool = ready(limits());
    assert_eq!(told(&mut pool, progress(false), S(1)), []);
    assert!(matches!(state(&pool, 0), WorkerState::Idle { .. }));
}

#[test]
fn a_worker_that_does_not_start_is_killed() {
    let mut pool = busy(super::limits());
    assert_eq!(state(&pool, 1), WorkerState::Starting);
    told(&mut pool, done(0), S(2));
    assert_eq!(told(&mut pool, Event::Tick, S(46)), [Action::Kill(1)]);
    assert_eq!(told(&mut pool, Event::WorkerReady(1), S(46)), []);
}

//! A pool that stays: what it does when another would leave.

use super::*;

const ASLEEP: Action = Action::Rest(Reason::Idle);

fn staying() -> PoolRules {
    PoolRules {
        idle_timeout: S(10),
        min_lifetime: S(20),
        max_procs: 2,
        stays: true,
        ..limits()
    }
}

fn broken(number: Number) -> Action {
    let refusal = Refusal::Broken;
    Action::Refuse { number, refusal }
}

/// A pool whose only worker was told to go at time 20, and went.
fn asleep(limits: PoolRules) -> Pool {
    let mut pool = ready(limits);
    assert_eq!(pool.next_deadline(), Some(S(20)));
    let actions = told(&mut pool, Event::Tick, S(20));
    let gone = [Action::Retire(0), Action::RetireZygote(1)];
    assert_eq!(actions, [gone[0], gone[1], ASLEEP]);
    assert_eq!(told(&mut pool, Event::WorkerGone(0), S(20)), []);
    assert_eq!(told(&mut pool, Event::ZygoteGone(1), S(20)), []);
    pool
}

#[test]
fn asleep_it_waits_for_nothing_and_seems_well() {
    let pool = asleep(PoolRules {
        min_procs: 1,
        ..staying()
    });
    assert_eq!(pool.next_deadline(), None);
    assert!(pool.is_asleep() && pool.is_proven() && !pool.is_full());
    assert!(!pool.has_code() && !pool.is_reloading() && !pool.is_backing_off());
    assert_eq!((pool.generation(), pool.workers().count()), (1, 0));
}

#[test]
fn a_request_wakes_it_and_waits_as_at_a_start() {
    let mut pool = asleep(staying());
    let start = Action::StartZygote(2);
    assert_eq!(told(&mut pool, arrived(1), S(100)), [start]);
    assert!(!pool.is_asleep());
    // Longer than queue-timeout.
    assert_eq!(told(&mut pool, Event::Tick, S(140)), []);
    told(&mut pool, Event::ZygoteReady(2), S(140));
    let actions = told(&mut pool, Event::WorkerReady(0), S(141));
    assert_eq!(actions[0], dispatch(1, 0));
    assert_eq!(pool.generation(), 2);
    told(&mut pool, Event::WorkerReady(1), S(141));
    told(&mut pool, done(0), S(142));
    // It lives for min-lifetime again, which began with the start.
    assert_eq!(pool.next_deadline(), Some(S(152)));
    let actions = told(&mut pool, Event::Tick, S(152));
    assert_eq!(actions.last(), Some(&ASLEEP));
}

#[test]
fn a_body_that_is_still_to_come_wakes_it_already() {
    let mut pool = asleep(staying());
    let start = Action::StartZygote(2);
    let actions = told(&mut pool, Event::Announced(1), S(100));
    assert_eq!(actions, [start]);
}

#[test]
fn those_of_before_are_sent_away_when_they_are_ready_or_done() {
    let mut pool = ready(staying());
    let actions = told(&mut pool, arrived(1), S(1));
    assert_eq!(actions, [dispatch(1, 0), spawn(1, 1)]);
    assert_eq!(
        told(&mut pool, Event::Tick, S(30)),
        [Action::AskProgress(0)]
    );
    told(&mut pool, done(0), S(30));
    let actions = told(&mut pool, Event::Tick, S(40));
    let gone = [Action::Retire(0), Action::RetireZygote(1)];
    assert_eq!(actions, [gone[0], gone[1], ASLEEP]);
    let actions = told(&mut pool, Event::WorkerReady(1), S(41));
    assert_eq!(actions, [Action::Retire(1)]);
    // The two still count: there is no room for the next one's first worker.
    told(&mut pool, arrived(2), S(41));
    assert_eq!(told(&mut pool, Event::ZygoteReady(2), S(42)), []);
    let actions = told(&mut pool, Event::WorkerGone(0), S(42));
    assert_eq!(actions, [spawn(0, 2)]);
}

#[test]
fn a_generation_that_is_under_way_is_waited_for() {
    let mut pool = ready(staying());
    told(&mut pool, Event::Reload, S(15));
    assert_eq!(told(&mut pool, Event::Tick, S(20)), []);
    assert_eq!(told(&mut pool, Event::ZygoteReady(2), S(21)), [spawn(1, 2)]);
    let actions = told(&mut pool, Event::WorkerReady(1), S(22));
    let zygotes = [Action::RetireZygote(1), Action::RetireZygote(2)];
    let workers = [Action::Retire(0), Action::Retire(1)];
    assert_eq!(
        actions,
        [zygotes[0], workers[0], workers[1], zygotes[1], ASLEEP]
    );
    let changed = Event::Looked { changed: true };
    assert_eq!(told(&mut pool, changed, S(22)), [], "too late to matter");
    assert!(pool.is_asleep());
}

#[test]
fn a_start_that_is_under_way_is_not_given_up() {
    let mut pool = Pool::new(
        PoolRules {
            min_lifetime: S(0),
            ..staying()
        },
        S(0),
    );
    told(&mut pool, Event::Tick, S(0));
    assert_eq!(told(&mut pool, Event::Tick, S(30)), []);
    let actions = told(&mut pool, Event::ZygoteReady(1), S(31));
    assert_eq!(actions, [spawn(0, 1)]);
}

#[test]
fn a_reload_wakes_it() {
    let mut pool = asleep(staying());
    let start = Action::StartZygote(2);
    assert_eq!(told(&mut pool, Event::Reload, S(50)), [start]);
}

#[test]
fn an_app_that_cannot_be_started_is_tried_again_after_a_growing_pause() {
    let mut pool = Pool::new(staying(), S(0));
    told(&mut pool, arrived(1), S(0));
    let actions = told(&mut pool, Event::ZygoteGone(1), S(1));
    assert_eq!(actions, [broken(1), Action::Rest(Reason::Broken)]);
    assert!(pool.is_full() && !pool.is_proven() && pool.is_backing_off());
    assert_eq!(told(&mut pool, arrived(2), MS(1999)), [broken(2)]);
    assert_eq!(pool.next_deadline(), Some(S(2)));
    assert_eq!(told(&mut pool, Event::Tick, S(2)), []);
    assert!(!pool.is_full() && pool.next_deadline().is_none());
    // The next start fails as well: two seconds.
    let start = Action::StartZygote;
    assert_eq!(told(&mut pool, arrived(3), S(5)), [start(2)]);
    assert_eq!(told(&mut pool, arrived(4), S(5)), []);
    let actions = told(&mut pool, Event::ZygoteGone(2), S(6));
    assert_eq!(refused(&actions), [3, 4]);
    assert_eq!(told(&mut pool, arrived(5), MS(7900)), [broken(5)]);
    // An operator's reload does not wait for the pause.
    assert_eq!(told(&mut pool, Event::Reload, MS(7900)), [start(3)]);
    assert_eq!(told(&mut pool, arrived(6), MS(7901)), []);
    told(&mut pool, Event::ZygoteReady(3), S(8));
    let actions = told(&mut pool, Event::WorkerReady(0), S(8));
    assert_eq!(actions[0], dispatch(6, 0));
    assert!(pool.is_proven() && !pool.is_backing_off());
}

#[test]
fn a_start_that_takes_too_long_is_such_a_failure() {
    let mut pool = asleep(staying());
    told(&mut pool, arrived(1), S(100));
    let actions = told(&mut pool, Event::Tick, S(145));
    let refusal = Refusal::StartTimedOut;
    let refuse = |number| Action::Refuse { number, refusal };
    let rest = Action::Rest(Reason::StartTimedOut);
    assert_eq!(actions, [Action::RetireZygote(2), refuse(1), rest]);
    assert_eq!(told(&mut pool, arrived(2), S(145)), [refuse(2)]);
}

#[test]
fn what_was_only_taken_for_ready_pauses_longer_each_time_until_it_is_proven() {
    let mut pool = ready(staying());
    let pause_after = |pool: &mut Pool, generation, now| {
        let actions = told(pool, Event::Broken, now);
        let retired = [Action::Retire(0), Action::RetireZygote(generation)];
        let rest = Action::Rest(Reason::Broken);
        assert_eq!(actions, [retired[0], retired[1], rest]);
        told(pool, Event::WorkerGone(0), now);
        let due = pool.next_deadline().expect("a pause");
        told(pool, arrived(99), due);
        told(pool, Event::ZygoteReady(generation + 1), due);
        told(pool, Event::WorkerReady(0), due);
        told(pool, Event::NotTaken(0), due);
        if pool.workers().count() == 2 {
            told(pool, Event::WorkerGone(1), due);
        }
        due - now
    };
    assert_eq!(pause_after(&mut pool, 1, S(1)), S(1));
    assert_eq!(pause_after(&mut pool, 2, S(10)), S(2));
    assert_eq!(pause_after(&mut pool, 3, S(20)), S(4));
    told(&mut pool, Event::Proven, S(30));
    assert_eq!(pause_after(&mut pool, 4, S(30)), S(1));
}

#[test]
fn broken_while_another_generation_is_under_way_it_waits_for_that() {
    let mut pool = ready(staying());
    told(&mut pool, Event::Reload, S(1));
    let actions = told(&mut pool, Event::Broken, S(2));
    let rest = Action::Rest(Reason::Broken);
    assert_eq!(actions, [Action::Retire(0), Action::RetireZygote(1), rest]);
    assert_eq!(told(&mut pool, arrived(1), S(2)), []);
    told(&mut pool, Event::WorkerGone(0), S(2));
    told(&mut pool, Event::ZygoteReady(2), S(3));
    let actions = told(&mut pool, Event::WorkerReady(0), S(3));
    assert_eq!(actions[0], dispatch(1, 0));
}

#[test]
fn stopped_while_asleep_it_serves_requests_that_had_come() {
    let mut pool = asleep(staying());
    assert_eq!(told(&mut pool, Event::Announced(1), S(30)).len(), 1);
    let mut pool = asleep(staying());
    assert_eq!(told(&mut pool, Event::Left, S(30)), [Action::Exit]);
    assert_eq!(refused(&told(&mut pool, arrived(1), S(30))), [1]);
    let mut pool = asleep(staying());
    told(&mut pool, arrived(1), S(30));
    told(&mut pool, Event::Left, S(30));
    told(&mut pool, Event::ZygoteReady(2), S(31));
    let actions = told(&mut pool, Event::WorkerReady(0), S(31));
    assert_eq!(actions, [dispatch(1, 0)]);
}

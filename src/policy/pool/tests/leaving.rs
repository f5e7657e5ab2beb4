//! When no requests come, or too few; and how the pool ends.

use super::*;

const QUIET: Quiet = Quiet {
    count: 3,
    unit: Duration::from_secs(60),
    timeout: Duration::from_secs(900),
};

#[test]
fn leaves_after_idle_timeout_and_not_before_min_lifetime() {
    let mut pool = ready(PoolRules {
        idle_timeout: S(1),
        ..limits()
    });
    assert_eq!(told(&mut pool, Event::Tick, S(119)), []);
    assert_eq!(pool.next_deadline(), Some(S(120)));
    let leave = Action::Leave(Reason::Idle);
    assert_eq!(told(&mut pool, Event::Tick, S(120)), [leave]);
    // A request that still came by the old name is served before the exit.
    assert_eq!(told(&mut pool, arrived(1), S(120)), [dispatch(1, 0)]);
    told(&mut pool, Event::Left, S(120));
    assert_eq!(told(&mut pool, done(0), S(121)), [Action::Retire(0)]);
    let actions = told(&mut pool, Event::WorkerGone(0), S(121));
    assert_eq!(actions, [Action::RetireZygote(1), Action::Exit]);
}

#[test]
fn a_body_that_is_still_to_come_keeps_us() {
    let mut pool = ready(PoolRules {
        idle_timeout: S(1),
        min_lifetime: S(0),
        ..limits()
    });
    told(&mut pool, Event::Announced(1), S(0));
    told(&mut pool, Event::Announced(2), S(0));
    assert_eq!(told(&mut pool, Event::Tick, S(10)), []);
    assert_eq!(
        told(&mut pool, Event::Left, S(11)),
        [],
        "nor is this the end"
    );
    assert_eq!(pool.queued(), 0);
    assert_eq!(told(&mut pool, arrived(1), S(12)), [dispatch(1, 0)]);
    assert_eq!(told(&mut pool, done(0), S(13)), []);
    let actions = told(&mut pool, Event::HungUp(2), S(14));
    assert_eq!(actions, [Action::Retire(0)]);
}

#[test]
fn quiet_counts_from_the_last_lively_arrival() {
    let mut pool = ready(PoolRules {
        quiet: Some(QUIET),
        worker_idle_timeout: Duration::MAX,
        ..limits()
    });
    let serve = |pool: &mut Pool, number, now| {
        told(pool, arrived(number), now);
        told(pool, done(0), now);
    };
    told(&mut pool, arrived(1), S(500));
    told(&mut pool, Event::WorkerReady(1), S(500));
    told(&mut pool, done(0), S(500));
    serve(&mut pool, 2, S(530));
    serve(&mut pool, 3, S(559));
    // Lively at 559; two a minute are not.
    for nth in 0..28 {
        serve(&mut pool, 4 + nth, S(590 + 30 * nth));
        assert!(pool.next_deadline() > Some(S(590 + 30 * nth)));
    }
    assert_eq!(pool.next_deadline(), Some(S(1459)));
    told(&mut pool, arrived(50), S(1450));
    assert_eq!(told(&mut pool, Event::Tick, S(1460)), [], "a request runs");
    let actions = told(&mut pool, done(0), S(1461));
    assert_eq!(actions, [Action::Leave(Reason::Quiet)]);
}

#[test]
fn no_quiet_ends_us_before_min_lifetime() {
    let mut pool = ready(PoolRules {
        quiet: Some(Quiet {
            timeout: S(10),
            ..QUIET
        }),
        ..limits()
    });
    assert_eq!(told(&mut pool, Event::Tick, S(119)), []);
    let leave = Action::Leave(Reason::Quiet);
    assert_eq!(told(&mut pool, Event::Tick, S(120)), [leave]);
}

#[test]
fn a_count_of_zero_is_never_quiet() {
    let mut pool = ready(PoolRules {
        quiet: Some(Quiet { count: 0, ..QUIET }),
        idle_timeout: S(5000),
        ..limits()
    });
    assert_eq!(told(&mut pool, Event::Tick, S(4999)), []);
}

#[test]
fn a_request_after_the_exit_is_answered() {
    let mut pool = ready(limits());
    assert_eq!(told(&mut pool, Event::Left, S(1)), [Action::Retire(0)]);
    let gone = told(&mut pool, Event::WorkerGone(0), S(1));
    assert_eq!(gone, [Action::RetireZygote(1), Action::Exit]);
    assert_eq!(refused(&told(&mut pool, arrived(1), S(1))), [1]);
}

#[test]
fn having_left_no_other_generation_begins_while_this_one_can_serve() {
    let mut pool = ready(limits());
    told(&mut pool, arrived(1), S(1));
    told(&mut pool, Event::Left, S(1));
    assert_eq!(told(&mut pool, Event::Reload, S(2)), []);
    assert_eq!(told(&mut pool, Event::ZygoteGone(1), S(2)), []);
    // The requests that still wait are served all the same.
    let actions = told(&mut pool, arrived(2), S(3));
    assert_eq!(actions, [Action::StartZygote(2)]);
    assert_eq!(told(&mut pool, Event::WorkerGone(1), S(3)), []);
    assert_eq!(told(&mut pool, done(0), S(4)), [dispatch(2, 0)]);
    assert_eq!(told(&mut pool, done(0), S(5)), [Action::Retire(0)]);
    let actions = told(&mut pool, Event::WorkerGone(0), S(5));
    assert_eq!(actions, [Action::RetireZygote(2), Action::Exit]);
}

#[test]
fn a_stop_while_the_app_is_being_started_ends_with_its_failure() {
    let mut pool = Pool::new(limits(), S(0));
    told(&mut pool, arrived(1), S(0));
    assert_eq!(told(&mut pool, Event::Left, S(1)), []);
    let actions = told(&mut pool, Event::ZygoteGone(1), S(2));
    assert_eq!(refused(&actions), [1]);
    assert_eq!(actions[1..], [Action::Exit]);
}

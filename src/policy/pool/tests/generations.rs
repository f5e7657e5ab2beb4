//! A new generation takes the place of the old one, or fails.

use super::*;

const RETIRE_OLD: Action = Action::RetireZygote(1);

/// A ready pool that imports generation 2 since time 1.
fn importing(limits: PoolRules) -> Pool {
    let mut pool = ready(limits);
    let started = told(&mut pool, Event::Reload, S(1));
    assert_eq!(started, [Action::StartZygote(2)]);
    assert!(pool.is_reloading());
    pool
}

#[test]
fn an_app_that_never_served_is_broken_at_its_first_failure() {
    let mut pool = Pool::new(limits(), S(0));
    told(&mut pool, arrived(1), S(0));
    let actions = told(&mut pool, Event::ZygoteGone(1), S(1));
    let broken = |number| Action::Refuse {
        number,
        refusal: Refusal::Broken,
    };
    assert_eq!(actions, [broken(1), Action::Leave(Reason::Broken)]);
    assert!(pool.is_full() && !pool.is_proven());
    assert_eq!(told(&mut pool, arrived(2), S(1)), [broken(2)]);
    assert_eq!(told(&mut pool, Event::Left, S(1)), [Action::Exit]);
    assert_eq!(told(&mut pool, arrived(3), S(1)), [broken(3)]);
}

#[test]
fn a_first_worker_that_dies_at_the_first_start_is_the_apps_end() {
    let mut pool = Pool::new(limits(), S(0));
    told(&mut pool, Event::Tick, S(0));
    told(&mut pool, Event::ZygoteReady(1), S(0));
    let actions = told(&mut pool, Event::WorkerGone(0), S(1));
    let leave = Action::Leave(Reason::Broken);
    assert_eq!(actions, [Action::RetireZygote(1), leave]);
}

#[test]
fn an_app_that_is_not_ready_in_time_is_a_timeout() {
    let mut pool = Pool::new(limits(), S(0));
    told(&mut pool, arrived(1), S(0));
    assert_eq!(pool.next_deadline(), Some(S(45)));
    let actions = told(&mut pool, Event::Tick, S(45));
    let refusal = Refusal::StartTimedOut;
    let refuse = Action::Refuse { number: 1, refusal };
    let leave = Action::Leave(Reason::StartTimedOut);
    assert_eq!(actions, [Action::RetireZygote(1), refuse, leave]);
}

#[test]
fn a_first_worker_that_is_not_ready_in_time_is_killed() {
    let mut pool = Pool::new(limits(), S(0));
    told(&mut pool, Event::Tick, S(0));
    told(&mut pool, Event::ZygoteReady(1), S(40));
    let actions = told(&mut pool, Event::Tick, S(45));
    let leave = Action::Leave(Reason::StartTimedOut);
    assert_eq!(actions, [Action::RetireZygote(1), Action::Kill(0), leave]);
    assert_eq!(told(&mut pool, Event::Left, S(45)), []);
    assert_eq!(told(&mut pool, Event::Tick, S(50)), [Action::Kill(0)]);
    assert_eq!(told(&mut pool, Event::WorkerGone(0), S(51)), [Action::Exit]);
}

#[test]
fn a_fork_that_failed_is_not_the_apps_fault() {
    let mut pool = Pool::new(limits(), S(0));
    told(&mut pool, Event::Tick, S(0));
    told(&mut pool, Event::ZygoteReady(1), S(0));
    assert_eq!(told(&mut pool, Event::ForkFailed(0), S(1)), []);
    assert_eq!(told(&mut pool, Event::Tick, S(2)), [spawn(0, 1)]);
    // While no generation serves, `start-timeout` holds all the same.
    told(&mut pool, Event::ForkFailed(0), S(44));
    let actions = told(&mut pool, Event::Tick, S(45));
    assert!(actions.contains(&Action::Leave(Reason::StartTimedOut)));
}

#[test]
fn a_start_without_a_request_is_proven_even_if_no_spare_worker_is_kept() {
    let mut pool = ready(PoolRules {
        min_idle: 0,
        ..limits()
    });
    assert!(pool.is_proven());
    assert_eq!(told(&mut pool, Event::Tick, S(46)), []);
    // The old zygote is not needed for anything else.
    let actions = told(&mut pool, Event::Tick, S(60));
    assert_eq!(actions, [Action::Retire(0)]);
    assert_eq!(told(&mut pool, Event::WorkerGone(0), S(61)), []);
}

#[test]
fn the_switch_is_the_first_ready_worker() {
    let mut pool = importing(limits());
    told(&mut pool, arrived(1), S(1));
    told(&mut pool, Event::WorkerReady(1), S(1));
    let actions = told(&mut pool, Event::ZygoteReady(2), S(2));
    assert_eq!(actions, [spawn(2, 2)]);
    assert_eq!(pool.generation(), 1);
    // 0 is busy, 1 is idle, both of the old generation.
    let actions = told(&mut pool, Event::WorkerReady(2), S(3));
    assert_eq!(actions, [RETIRE_OLD, Action::Retire(1)]);
    assert_eq!((pool.generation(), pool.is_reloading()), (2, false));
    assert_eq!(told(&mut pool, arrived(2), S(4)), [dispatch(2, 2)]);
    assert_eq!(told(&mut pool, done(0), S(4)), [Action::Retire(0)]);
    let generations: Vec<_> = pool.workers().map(|(_, w)| w.generation).collect();
    assert_eq!(generations, [1, 1, 2]);
    assert_eq!(told(&mut pool, Event::WorkerGone(0), S(5)), [spawn(0, 2)]);
}

#[test]
fn an_old_worker_that_is_ready_after_the_switch_is_sent_away() {
    let mut pool = importing(limits());
    assert_eq!(
        told(&mut pool, arrived(1), S(1)),
        [dispatch(1, 0), spawn(1, 1)]
    );
    told(&mut pool, Event::ZygoteReady(2), S(2));
    assert_eq!(told(&mut pool, Event::WorkerReady(2), S(3)), [RETIRE_OLD]);
    let actions = told(&mut pool, Event::WorkerReady(1), S(3));
    assert_eq!(actions, [Action::Retire(1)]);
    assert_eq!(
        told(&mut pool, Event::NotTaken(0), S(3)),
        [Action::Retire(0)]
    );
}

#[test]
fn without_room_the_coldest_idle_worker_makes_it() {
    let mut pool = importing(PoolRules {
        max_procs: 2,
        ..limits()
    });
    told(&mut pool, arrived(1), S(1));
    told(&mut pool, Event::WorkerReady(1), S(1));
    told(&mut pool, done(0), S(2));
    let actions = told(&mut pool, Event::ZygoteReady(2), S(3));
    assert_eq!(actions, [Action::Retire(1)]);
    assert_eq!(told(&mut pool, arrived(2), S(3)), [dispatch(2, 0)]);
    assert_eq!(told(&mut pool, Event::WorkerGone(1), S(4)), [spawn(1, 2)]);
}

#[test]
fn without_room_the_first_to_become_done_makes_it() {
    let mut pool = importing(PoolRules {
        max_procs: 1,
        ..limits()
    });
    told(&mut pool, arrived(1), S(1));
    told(&mut pool, arrived(2), S(1));
    assert_eq!(told(&mut pool, Event::ZygoteReady(2), S(2)), []);
    // Waiting for room is no failure, however long it takes.
    pool.obey(PoolRules {
        max_procs: 1,
        request_timeout: S(1000),
        queue: QueueRules {
            timeout: S(1000),
            target: S(1000),
            size: 4,
            turn: 0,
            start_page: None,
            has_room: true,
        },
        ..limits()
    });
    assert_eq!(
        told(&mut pool, Event::Tick, S(200)),
        [Action::AskProgress(0)]
    );
    assert_eq!(told(&mut pool, done(0), S(300)), [Action::Retire(0)]);
    assert_eq!(told(&mut pool, Event::WorkerGone(0), S(300)), [spawn(0, 2)]);
    let actions = told(&mut pool, Event::WorkerReady(0), S(320));
    assert_eq!(actions, [RETIRE_OLD, dispatch(2, 0)]);
}

#[test]
fn a_broken_edit_leaves_the_old_generation_serving() {
    let mut pool = importing(limits());
    assert_eq!(told(&mut pool, Event::ZygoteGone(2), S(2)), []);
    assert_eq!((pool.generation(), pool.is_reloading()), (1, false));
    // Tried again when a request comes, and not before the pause is over.
    let actions = told(&mut pool, arrived(1), MS(2500));
    assert_eq!(actions, [dispatch(1, 0), spawn(1, 1)]);
    told(&mut pool, Event::WorkerReady(1), MS(2500));
    assert_eq!(told(&mut pool, Event::Tick, S(9)), []);
    let actions = told(&mut pool, arrived(2), S(10));
    assert_eq!(actions[..2], [Action::StartZygote(3), dispatch(2, 1)]);
    // With preload off the first worker finds out.
    told(&mut pool, Event::WorkerGone(2), S(10));
    told(&mut pool, done(0), S(10));
    let actions = told(&mut pool, Event::ZygoteReady(3), S(11));
    assert_eq!(actions, [spawn(2, 3)]);
    let actions = told(&mut pool, Event::WorkerGone(2), S(12));
    assert_eq!(actions, [Action::RetireZygote(3)]);
    // The second pause is 2 s; another edit does not wait for it.
    let actions = told(&mut pool, Event::Reload, S(13));
    assert_eq!(actions, [Action::StartZygote(4)]);
}

#[test]
fn a_next_generation_that_takes_too_long_is_given_up() {
    let mut pool = importing(limits());
    told(&mut pool, Event::ZygoteReady(2), S(40));
    assert_eq!(pool.next_deadline(), Some(S(46)));
    let actions = told(&mut pool, Event::Tick, S(46));
    assert_eq!(actions, [Action::RetireZygote(2), Action::Kill(1)]);
    assert_eq!(pool.generation(), 1);
    assert_eq!(told(&mut pool, Event::WorkerReady(1), S(47)), []);
    assert_eq!(told(&mut pool, Event::ZygoteGone(2), S(47)), []);
}

#[test]
fn a_worker_of_a_failed_generation_never_serves() {
    let mut pool = importing(limits());
    told(&mut pool, Event::ZygoteReady(2), S(2));
    assert_eq!(told(&mut pool, Event::ZygoteGone(2), S(3)), []);
    let actions = told(&mut pool, Event::WorkerReady(1), S(4));
    assert_eq!(actions, [Action::Retire(1)]);
    assert_eq!(pool.generation(), 1);
}

#[test]
fn a_change_in_the_middle_of_an_import_is_remembered() {
    let mut pool = importing(limits());
    assert_eq!(told(&mut pool, Event::Reload, S(2)), []);
    told(&mut pool, Event::ZygoteReady(2), S(3));
    let actions = told(&mut pool, Event::WorkerReady(1), S(4));
    let start = Action::StartZygote(3);
    assert_eq!(actions, [RETIRE_OLD, Action::Retire(0), start]);
    assert!(pool.is_reloading());
    // After a failure it begins without a pause.
    told(&mut pool, Event::Reload, S(5));
    let actions = told(&mut pool, Event::ZygoteGone(3), S(5));
    assert_eq!(actions, [Action::StartZygote(4)]);
}

#[test]
fn a_zygote_that_dies_later_is_replaced_and_costs_no_request() {
    let mut pool = ready(limits());
    let actions = told(&mut pool, Event::ZygoteGone(1), S(9));
    assert_eq!(actions, [Action::StartZygote(2)]);
    // Its successor fails: a pause, while the workers go on.
    assert_eq!(told(&mut pool, Event::ZygoteGone(2), S(10)), []);
    assert_eq!(told(&mut pool, arrived(1), S(10)), [dispatch(1, 0)]);
    assert_eq!(told(&mut pool, arrived(2), S(10)), []);
    assert_eq!(pool.next_deadline(), Some(S(11)));
    let start = Action::StartZygote(3);
    assert_eq!(told(&mut pool, Event::Tick, S(11)), [start]);
    // When no worker is left, requests wait for the next generation.
    assert_eq!(told(&mut pool, Event::WorkerGone(0), S(12)), []);
    told(&mut pool, Event::ZygoteReady(3), S(13));
    let actions = told(&mut pool, Event::WorkerReady(0), S(14));
    assert_eq!(actions, [dispatch(2, 0), spawn(1, 3)]);
}

/// With preload off each worker imports: one that is let go can't be replaced once the code is broken.
#[test]
fn the_last_worker_is_not_let_go_while_another_starts() {
    let mut pool = ready(PoolRules {
        max_procs: 2,
        ..limits()
    });
    assert_eq!(told(&mut pool, arrived(1), S(1))[1], spawn(1, 1));
    told(&mut pool, done(0), S(1));
    told(&mut pool, Event::Reload, S(2));
    assert_eq!(told(&mut pool, Event::ZygoteReady(2), S(2)), []);
    // It can't be started, so its place is free again.
    let actions = told(&mut pool, Event::WorkerGone(1), S(3));
    assert_eq!(actions, []);
    assert_eq!(told(&mut pool, Event::Tick, S(4)), [spawn(1, 2)]);
    assert_eq!(
        told(&mut pool, Event::WorkerGone(1), S(5)),
        [Action::RetireZygote(2)]
    );
    let actions = told(&mut pool, arrived(2), S(6));
    assert!(actions.contains(&dispatch(2, 0)), "{actions:?}");
}

#[test]
fn a_worker_that_has_served_its_share_stays_while_no_other_can_be_had() {
    let mut pool = ready(PoolRules {
        max_procs: 2,
        max_requests: 1,
        ..limits()
    });
    assert_eq!(
        told(&mut pool, arrived(1), S(1)),
        [dispatch(1, 0), spawn(1, 1)]
    );
    told(&mut pool, Event::WorkerGone(1), S(1));
    assert_eq!(told(&mut pool, done(0), S(1)), []);
    assert!(matches!(state(&pool, 0), WorkerState::Idle { .. }));
    assert_eq!(
        told(&mut pool, arrived(2), S(2)),
        [dispatch(2, 0), spawn(1, 1)]
    );
    told(&mut pool, Event::WorkerReady(1), S(3));
    assert!(told(&mut pool, done(0), S(3)).contains(&Action::Retire(0)));
}

#[test]
fn a_worker_that_a_dead_zygote_was_asked_for_is_no_fault_of_the_host_s() {
    let mut pool = ready(PoolRules {
        min_idle: 0,
        ..limits()
    });
    told(&mut pool, Event::WorkerGone(0), S(1));
    let asked = told(&mut pool, arrived(1), S(5));
    assert!(asked.contains(&spawn(0, 1)), "{asked:?}");
    // The request was heard of before the death.
    let actions = told(&mut pool, Event::ZygoteGone(1), S(5));
    assert!(actions.contains(&Action::StartZygote(2)), "{actions:?}");
    let actions = told(&mut pool, Event::ForkFailed(0), S(5));
    assert!(!actions.contains(&Action::SendAway), "{actions:?}");
    let actions = told(&mut pool, Event::ZygoteReady(2), S(5) + MS(10));
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Spawn { generation: 2, .. })),
        "{actions:?}"
    );
}

//! The queue, as the pool uses it: full, too slow, swamped.

use super::*;

fn swamped() -> PoolRules {
    PoolRules {
        max_procs: 2,
        min_idle: 0,
        queue: QueueRules {
            size: 100,
            target: S(1),
            timeout: S(10),
            turn: 0,
            start_page: None,
        },
        ..limits()
    }
}

fn known(number: Number) -> Event {
    Event::Arrived {
        number,
        is_known: true,
        is_browser: false,
    }
}

#[test]
fn the_queue_is_bounded_by_number_and_time() {
    let mut pool = Pool::new(limits(), S(0));
    for number in 1..=4 {
        told(&mut pool, arrived(number), S(0));
    }
    assert!(pool.is_full());
    assert_eq!(refused(&told(&mut pool, arrived(5), S(0))), [5]);
    assert_eq!(refused(&told(&mut pool, known(6), S(0))), [4]);
    told(&mut pool, Event::ZygoteReady(1), S(40));
    // The clock of the queue runs from here on, not from the arrival.
    let actions = told(&mut pool, Event::WorkerReady(0), S(40));
    assert!(actions.contains(&dispatch(1, 0)));
    assert_eq!(told(&mut pool, Event::Tick, S(49)), []);
    let actions = told(&mut pool, Event::Tick, S(50));
    assert_eq!(refused(&actions), [2, 3, 6]);
}

#[test]
fn the_queue_waits_for_no_worker_that_is_still_to_come() {
    let mut pool = ready(swamped());
    told(&mut pool, Event::Tick, S(60));
    told(&mut pool, Event::WorkerGone(0), S(60));
    // With preload off the first worker imports, which may take long.
    assert_eq!(told(&mut pool, arrived(1), S(61)), [spawn(0, 1)]);
    assert_eq!(told(&mut pool, Event::Tick, S(65)), []);
    let actions = told(&mut pool, Event::WorkerReady(0), S(66));
    assert_eq!(actions, [dispatch(1, 0)]);
}

/// One worker's capacity is 10 requests/s; ten times as many come, every fifth of them known.
#[test]
fn ten_times_the_capacity_is_served_at_full_speed_and_the_known_first() {
    let mut pool = ready(PoolRules {
        max_procs: 1,
        ..swamped()
    });
    let mut served = [0, 0];
    let mut shed = [0, 0];
    let mut oldest_served = S(0);
    let is_known = |number: Number| number.is_multiple_of(50);
    let mut has = None;
    for number in 1..=6000 {
        let now = MS(10 * number);
        let mut actions = Vec::new();
        if number.is_multiple_of(10) && has.take().is_some() {
            pool.handle(done(0), now, &mut actions);
        }
        let event = if is_known(number) {
            known(number)
        } else {
            arrived(number)
        };
        pool.handle(event, now, &mut actions);
        for action in actions {
            match action {
                Action::Dispatch { number, .. } => {
                    has = Some(number);
                    served[usize::from(is_known(number))] += 1;
                    if now > S(10) {
                        oldest_served = oldest_served.max(now - MS(10 * number));
                    }
                }
                Action::Refuse { number, .. } => shed[usize::from(is_known(number))] += 1,
                _ => {}
            }
        }
    }
    assert!(served[0] + served[1] >= 590, "{served:?}");
    assert!(served[1] >= 115, "of 120 known: {served:?}, shed {shed:?}");
    assert!(oldest_served < S(1), "{oldest_served:?}");
    assert!(shed[0] > 5000, "{shed:?}");
}

#[test]
fn the_known_get_no_more_than_half() {
    let mut pool = ready(swamped());
    told(&mut pool, known(1), S(1));
    told(&mut pool, known(2), S(1));
    told(&mut pool, Event::WorkerReady(1), S(1));
    for number in 3..=4 {
        told(&mut pool, known(number), S(1));
    }
    told(&mut pool, arrived(5), MS(1500));
    told(&mut pool, Event::Tick, S(3));
    told(&mut pool, arrived(6), S(3));
    // One of two workers still has a known request: no preference for known ones, so the newest goes first.
    assert_eq!(told(&mut pool, done(0), S(3)), [dispatch(6, 0)]);
    let actions = told(&mut pool, done(1), S(3));
    assert_eq!(actions, [dispatch(4, 1)], "none has a known one");
}

#[test]
fn a_refusal_says_when_to_come_back() {
    let mut pool = ready(PoolRules {
        max_procs: 1,
        ..limits()
    });
    let retry = |actions: &[Action]| match actions {
        [
            Action::Refuse {
                refusal: Refusal::Overloaded { retry_after, .. },
                ..
            },
        ] => *retry_after,
        other => panic!("{other:?}"),
    };
    told(&mut pool, arrived(1), S(1));
    told(&mut pool, done(0), S(11));
    for number in 2..=6 {
        told(&mut pool, arrived(number), S(11));
    }
    let times: Vec<_> = (7..30)
        .map(|number| retry(&told(&mut pool, arrived(number), S(11))))
        .collect();
    // Each request takes 10 s, and five are before the next one.
    assert!(times.iter().all(|t| (S(50)..=S(75)).contains(t)));
    assert!(times.iter().max() > times.iter().min(), "jittered");
}

/// `queue-size = 0` and `queue-timeout = 0s` refuse only requests that no free worker may take.
#[test]
fn without_a_queue_each_worker_has_one() {
    let mut pool = ready(PoolRules {
        queue: QueueRules {
            size: 0,
            timeout: S(0),
            ..limits().queue
        },
        ..limits()
    });
    assert_eq!(told(&mut pool, arrived(1), S(1))[0], dispatch(1, 0));
    told(&mut pool, done(0), S(1));
    assert_eq!(told(&mut pool, arrived(2), S(1))[0], dispatch(2, 0));
    told(&mut pool, Event::WorkerReady(1), S(1));
    assert_eq!(told(&mut pool, arrived(3), S(1))[0], dispatch(3, 1));
    told(&mut pool, Event::WorkerReady(2), S(1));
    assert_eq!(told(&mut pool, arrived(4), S(1))[0], dispatch(4, 2));
    assert_eq!(refused(&told(&mut pool, arrived(5), S(1))), [5]);
}

#[test]
fn a_start_that_fails_is_no_crowd() {
    let mut pool = ready(swamped());
    told(&mut pool, Event::Tick, S(60));
    told(&mut pool, Event::WorkerGone(0), S(60));
    assert_eq!(told(&mut pool, arrived(1), S(61)), [spawn(0, 1)]);
    told(&mut pool, Event::WorkerGone(0), S(61));
    let actions = told(&mut pool, Event::Tick, S(71));
    let refusal = Refusal::Broken;
    assert!(actions.contains(&Action::Refuse { number: 1, refusal }));
}

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
            has_room: true,
        },
        ..limits()
    }
}

fn known(number: Number) -> Event {
    Event::Arrived(Arrived {
        number,
        rank: Rank::Known,
        is_browser: false,
    })
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

/// What the one refusal says.
fn retry(actions: &[Action]) -> Duration {
    match actions {
        [
            Action::Refuse {
                refusal: Refusal::Overloaded { retry_after, .. },
                ..
            },
        ] => *retry_after,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refusal_says_when_to_come_back() {
    let mut pool = ready(PoolRules {
        max_procs: 1,
        ..limits()
    });
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

/// A pool of one worker, which has had request 1 for a while: requests of 1 s. Four of others wait.
fn crowded() -> Pool {
    let mut pool = ready(PoolRules {
        max_procs: 1,
        ..limits()
    });
    told(&mut pool, arrived(1), S(1));
    told(&mut pool, done(0), S(2));
    for number in 1..=5 {
        told(&mut pool, browsing(number), S(2));
    }
    pool
}

#[test]
fn a_ticket_is_served_before_others_that_came_earlier() {
    let mut pool = crowded();
    assert_eq!(
        refused(&told(&mut pool, with_ticket(6, 1, S(0)), S(2))),
        [5]
    );
    assert_eq!(refused(&told(&mut pool, browsing(7), S(2))), [7]);
    assert_eq!(told(&mut pool, done(0), S(3)), [dispatch(6, 0)]);
    // It could not be given to the worker: it is the next one all the same.
    let actions = told(&mut pool, Event::Returned(0), S(3));
    assert_eq!(actions, []);
    told(&mut pool, Event::WorkerGone(0), S(3));
    let actions = told(&mut pool, Event::WorkerReady(0), S(3));
    assert_eq!(actions, [dispatch(6, 0)]);
}

#[test]
fn the_fifth_at_once_of_a_ticket_is_anonymous() {
    let mut pool = ready(PoolRules {
        max_procs: 1,
        queue: QueueRules {
            size: 9,
            ..limits().queue
        },
        ..limits()
    });
    told(&mut pool, arrived(1), S(1));
    told(&mut pool, arrived(2), S(1));
    for number in 3..=7 {
        told(&mut pool, with_ticket(number, 1, S(0)), S(1));
    }
    // Another's, though it is younger and came later.
    told(&mut pool, with_ticket(8, 2, S(1)), S(1));
    let mut order = Vec::new();
    for second in 2..9 {
        order.extend(told(&mut pool, done(0), S(second)));
    }
    let expected = [3, 8, 4, 5, 6, 2, 7].map(|number| dispatch(number, 0));
    assert_eq!(order, expected);
}

/// A ticket is good for sixteen at once, and then for one in two seconds.
#[test]
fn a_ticket_that_is_used_too_often_is_anonymous() {
    let mut pool = ready(PoolRules {
        max_procs: 1,
        ..limits()
    });
    let mut number = 1;
    told(&mut pool, arrived(number), S(1));
    // Whether the ticket goes before one that came earlier.
    let mut is_good = |pool: &mut Pool, id, now| {
        number += 2;
        told(pool, arrived(number), now);
        told(pool, with_ticket(number + 1, id, S(0)), now);
        let next = told(pool, done(0), now);
        told(pool, done(0), now);
        next == [dispatch(number + 1, 0)]
    };
    for nth in 1..=16 {
        assert!(is_good(&mut pool, 1, S(2)), "{nth}");
    }
    assert!(!is_good(&mut pool, 1, S(2)));
    assert!(is_good(&mut pool, 1 << 40, S(2)), "another's");
    assert!(!is_good(&mut pool, 1, MS(3900)));
    assert!(is_good(&mut pool, 1, S(5)));
    assert!(!is_good(&mut pool, 1, S(5)));
}

#[test]
fn who_can_come_back_with_a_ticket_waits_only_for_tickets() {
    let mut pool = crowded();
    // Those of others that wait do not count.
    let times: Vec<_> = (10..40)
        .map(|number| retry(&told(&mut pool, browsing(number), S(2))))
        .collect();
    assert!(times.iter().all(|t| (MS(750)..MS(1250)).contains(t)));
    assert!(times.iter().any(|&t| t <= S(1)) && times.iter().any(|&t| t > S(1)));
    assert!(retry(&told(&mut pool, arrived(40), S(2))) >= S(5));
    // Four tickets wait, and a visitor who was not let in comes back before one that is new.
    for id in 1..=4 {
        told(&mut pool, with_ticket(40 + id, id, S(0)), S(2));
    }
    let later = |pool: &mut Pool, number| retry(&told(pool, browsing(number), S(2)));
    assert!(later(&mut pool, 50) >= MS(3750));
    for id in 5..=8 {
        told(&mut pool, with_ticket(50 + id, id, S(1)), S(2));
    }
    let with_owed = later(&mut pool, 60);
    assert!((MS(6750)..MS(11_250)).contains(&with_owed), "{with_owed:?}");
    for id in 5..=400 {
        told(&mut pool, with_ticket(50 + id, id, S(1)), S(2));
    }
    assert!(later(&mut pool, 61) < S(19), "they may be fewer");
}

#[test]
fn an_empty_queue_owes_no_visitor_a_place() {
    let mut pool = crowded();
    for id in 1..=400 {
        told(&mut pool, with_ticket(50 + id, id, S(1)), S(2));
    }
    assert!(retry(&told(&mut pool, browsing(500), S(2))) > S(9));
    for second in 3..=8 {
        told(&mut pool, done(0), S(second));
    }
    assert!(pool.queue.is_empty());
    for number in 501..=505 {
        told(&mut pool, browsing(number), S(9));
    }
    assert!(retry(&told(&mut pool, browsing(506), S(9))) < MS(1250));
}

#[test]
fn a_ticket_has_no_place_to_wait_where_there_is_no_queue() {
    let mut pool = ready(PoolRules {
        max_procs: 1,
        queue: QueueRules {
            size: 0,
            ..limits().queue
        },
        ..limits()
    });
    told(&mut pool, arrived(1), S(1));
    assert_eq!(
        refused(&told(&mut pool, with_ticket(2, 1, S(0)), S(1))),
        [2]
    );
}

#[test]
fn tickets_go_first_when_a_start_has_succeeded() {
    let mut pool = Pool::new(limits(), S(0));
    for number in 1..=4 {
        told(&mut pool, browsing(number), S(0));
    }
    assert_eq!(
        refused(&told(&mut pool, with_ticket(5, 1, S(0)), S(9))),
        [4]
    );
    told(&mut pool, Event::ZygoteReady(1), S(40));
    let actions = told(&mut pool, Event::WorkerReady(0), S(40));
    assert!(actions.contains(&dispatch(5, 0)), "{actions:?}");
}

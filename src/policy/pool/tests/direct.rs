//! Workers that take requests themselves: when they may, and what ends it.

use super::*;
use crate::policy::pool::direct::{ANSWERS, SHORT_WAIT};

fn rules() -> PoolRules {
    PoolRules {
        accepts: true,
        look_interval: MS(500),
        max_procs: 2,
        min_idle: 0,
        ..limits()
    }
}

/// Worker 0 serves so many requests that the daemon gives it, one every 10 ms; what came of the last one, and when.
fn served(pool: &mut Pool, count: u64) -> (Vec<Action>, Duration) {
    let mut last = (Vec::new(), S(0));
    for nth in 1..=count {
        let now = MS(10 * nth);
        assert_eq!(told(pool, arrived(nth), now), [dispatch(nth, 0)]);
        last = (told(pool, done(0), now + MS(1)), now + MS(1));
    }
    last
}

/// A pool whose worker 0 has taken requests itself since this moment.
fn accepting() -> (Pool, Duration) {
    let mut pool = ready(rules());
    let (actions, now) = served(&mut pool, 8);
    let requests = match actions[..] {
        [
            Action::Accept {
                worker: 0,
                requests,
            },
        ] => requests,
        _ => panic!("{actions:?}"),
    };
    assert!((800..1200).contains(&requests), "what is left of its share");
    (pool, now)
}

fn seen(served: u32, ended: Duration, busy_since: Option<Duration>) -> Event {
    Event::Seen(vec![OwnWork {
        worker: 0,
        served,
        took: MS(1) * served,
        ended,
        busy_since,
    }])
}

fn back(worker: WorkerId) -> Event {
    Event::Back {
        worker,
        last: false,
    }
}

#[test]
fn who_serves_many_takes_them_itself() {
    let mut pool = ready(rules());
    assert_eq!(served(&mut pool, 7).0, [], "not yet often");
    let (pool, now) = accepting();
    assert_eq!(pool.accept_until(), Some(S(0) + MS(500)), "the last look");
    assert_eq!(pool.accepting(), (0, 1));
    assert!(now < MS(500));
    let mut pool = ready(PoolRules {
        accepts: false,
        ..rules()
    });
    assert_eq!(served(&mut pool, 9).0, []);
}

#[test]
fn a_seldom_request_is_given() {
    let mut pool = ready(rules());
    for nth in 1..40 {
        let now = S(nth);
        told(&mut pool, arrived(nth), now);
        told(&mut pool, Event::Looked { changed: false }, now);
        assert_eq!(told(&mut pool, done(0), now), [], "{nth}");
    }
}

#[test]
fn a_request_that_waits_here_calls_one_back_that_is_idle() {
    let (mut pool, now) = accepting();
    let actions = told(&mut pool, arrived(20), now + MS(1));
    assert_eq!(actions, [Action::Recall(0)], "and no other is started");
    assert_eq!(told(&mut pool, arrived(21), now + MS(1)), [spawn(1, 1)]);
    let actions = told(&mut pool, back(0), now + MS(2));
    assert_eq!(actions, [dispatch(20, 0)]);
    let actions = told(&mut pool, done(0), now + MS(3));
    assert_eq!(actions, [dispatch(21, 0)]);
    let actions = told(&mut pool, done(0), now + MS(4));
    let again = matches!(actions[..], [Action::Accept { worker: 0, .. }]);
    assert!(again, "{actions:?}");
}

#[test]
fn a_busy_one_is_called_back_and_another_started() {
    let (mut pool, now) = accepting();
    told(&mut pool, seen(5, now, Some(now)), now);
    assert_eq!(pool.accepting(), (1, 0));
    let actions = told(&mut pool, arrived(20), now + MS(1));
    assert_eq!(actions, [spawn(1, 1), Action::Recall(0)]);
    let actions = told(&mut pool, Event::WorkerReady(1), now + MS(2));
    assert_eq!(actions, [dispatch(20, 1)]);
}

#[test]
fn the_time_is_renewed_by_a_look_before_it_is_over() {
    let (mut pool, now) = accepting();
    let due = pool.next_deadline().expect("a renewal");
    assert!(due > now && due < MS(500), "{due:?}");
    let actions = told(&mut pool, seen(5, due, None), due);
    assert_eq!(actions, [Action::Look(1)]);
    assert_eq!(pool.accept_until(), Some(MS(500)), "not before the answer");
    let at = due + MS(3);
    assert_eq!(told(&mut pool, Event::Looked { changed: false }, at), []);
    assert_eq!(pool.accept_until(), Some(due + MS(500)));
    // Nothing came since.
    let due = pool.next_deadline().expect("a renewal");
    assert_eq!(told(&mut pool, Event::Tick, due), [Action::Recall(0)]);
    assert_eq!(told(&mut pool, back(0), due), []);
    assert_eq!(pool.accept_until(), None);
}

#[test]
fn a_look_without_an_answer_holds_the_next_request() {
    let (mut pool, now) = accepting();
    told(&mut pool, seen(5, now + MS(1), None), now + MS(1));
    let due = pool.next_deadline().expect("a renewal");
    assert_eq!(told(&mut pool, Event::Tick, due), [Action::Look(1)]);
    assert_eq!(told(&mut pool, back(0), MS(500)), []);
    assert_eq!(told(&mut pool, arrived(20), MS(501)), [], "held");
    let actions = told(&mut pool, Event::Looked { changed: false }, MS(510));
    assert_eq!(actions, [dispatch(20, 0)]);
}

#[test]
fn an_edit_calls_all_back() {
    let (mut pool, now) = accepting();
    told(&mut pool, seen(5, now + MS(1), None), now + MS(1));
    let due = pool.next_deadline().expect("a renewal");
    assert_eq!(told(&mut pool, Event::Tick, due), [Action::Look(1)]);
    let actions = told(&mut pool, Event::Looked { changed: true }, due + MS(1));
    assert_eq!(actions, [Action::StartZygote(2), Action::Recall(0)]);
    assert_eq!(told(&mut pool, back(0), due + MS(2)), []);
    assert_eq!(told(&mut pool, arrived(20), due + MS(3)), [], "held");
}

#[test]
fn an_adopted_request_has_the_limits_of_any_other() {
    let (mut pool, now) = accepting();
    told(&mut pool, seen(5, now, Some(now)), now);
    let adopted = Event::Adopted {
        worker: 0,
        number: 50,
        since: now,
    };
    assert_eq!(told(&mut pool, adopted, now + MS(30)), []);
    let state = state(&pool, 0);
    assert_eq!(
        state,
        WorkerState::Busy {
            number: 50,
            since: now
        }
    );
    let mut at = now;
    for _ in 0..3 {
        at += S(45) / 4;
        let asks = [Action::AskProgress(0)];
        assert_eq!(told(&mut pool, Event::Tick, at), asks, "{at:?}");
        let nothing = Event::Progress {
            worker: 0,
            moved: false,
        };
        assert_eq!(told(&mut pool, nothing, at), []);
    }
    let at = now + S(45) + MS(1);
    assert_eq!(told(&mut pool, Event::Tick, at), [Action::AskProgress(0)]);
    let nothing = Event::Progress {
        worker: 0,
        moved: false,
    };
    assert_eq!(told(&mut pool, nothing, at), [Action::Interrupt(0)]);
}

#[test]
fn its_share_is_counted() {
    let (mut pool, now) = accepting();
    told(&mut pool, seen(2000, now, None), now);
    assert_eq!(told(&mut pool, back(0), now), [Action::Retire(0)]);
}

#[test]
fn the_daemon_calls_all_back() {
    let (mut pool, now) = accepting();
    let until = now + S(2);
    let call = Event::CallIn { until };
    assert_eq!(told(&mut pool, call, now), [Action::Recall(0)]);
    told(&mut pool, back(0), now);
    for nth in 0..9 {
        let at = now + MS(nth);
        assert_eq!(
            told(&mut pool, arrived(90 + nth), at),
            [dispatch(90 + nth, 0)]
        );
        assert_eq!(told(&mut pool, done(0), at), []);
    }
}

#[test]
fn a_stop_waits_for_those_that_accept() {
    let (mut pool, now) = accepting();
    assert_eq!(told(&mut pool, Event::Left, now), [Action::Recall(0)]);
    let back = Event::Back {
        worker: 0,
        last: true,
    };
    assert_eq!(told(&mut pool, back, now), []);
    let actions = told(&mut pool, Event::WorkerGone(0), now);
    assert_eq!(actions, [Action::RetireZygote(1), Action::Exit]);
}

#[test]
fn one_that_dies_is_replaced() {
    let (mut pool, now) = accepting();
    assert_eq!(told(&mut pool, Event::WorkerGone(0), now), []);
    assert_eq!(told(&mut pool, arrived(20), now), [spawn(0, 1)]);
}

#[test]
fn what_waits_here_for_a_moment_keeps_new_ones_in_the_backlog() {
    let mut pool = ready(PoolRules {
        max_procs: 1,
        ..rules()
    });
    let (_, now) = served(&mut pool, 7);
    told(&mut pool, arrived(20), now);
    told(&mut pool, arrived(21), now);
    let until = now + SHORT_WAIT;
    assert_eq!(pool.better_off_direct_until(now), Some(until));
    // They wait for longer than was expected: the next ones are to know how many there are.
    assert_eq!(pool.better_off_direct_until(until), None);
    let actions = told(&mut pool, done(0), now + MS(1));
    assert_eq!(actions, [dispatch(21, 0)]);
    let actions = told(&mut pool, done(0), now + MS(2));
    assert!(
        matches!(actions[..], [Action::Accept { .. }]),
        "{actions:?}"
    );
    assert_eq!(pool.better_off_direct_until(now + MS(2)), None);
}

#[test]
fn a_recalled_worker_that_says_nothing_has_taken_a_request() {
    let (mut pool, now) = accepting();
    let actions = told(&mut pool, arrived(20), now);
    assert_eq!(actions, [Action::Recall(0)], "it will be back at once");
    let due = pool.next_deadline().expect("the answer is awaited");
    assert_eq!(due, now + ANSWERS);
    let actions = told(&mut pool, Event::Tick, due + MS(1));
    assert_eq!(
        actions,
        [spawn(1, 1)],
        "as for any other worker that is busy"
    );
    assert!(
        pool.next_deadline()
            .is_some_and(|next| next <= due + MS(1) + ANSWERS)
    );
}

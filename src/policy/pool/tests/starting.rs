//! What a browser gets that waits for a slow start.

use super::*;

fn slow_to_start() -> PoolRules {
    PoolRules {
        idle_timeout: S(1),
        min_lifetime: S(0),
        queue: QueueRules {
            start_page: Some(S(10)),
            ..limits().queue
        },
        ..limits()
    }
}

/// When the only browser that is told so is to come back.
#[track_caller]
fn told_to_come_back(actions: &[Action], number: Number) -> Duration {
    match *actions {
        [
            Action::Refuse {
                number: refused,
                refusal: Refusal::Starting { retry_after },
            },
        ] if refused == number => retry_after,
        _ => panic!("{actions:?}"),
    }
}

#[test]
fn a_browser_comes_back_to_the_same_start() {
    let mut pool = Pool::new(slow_to_start(), S(0));
    told(&mut pool, Event::Tick, S(0));
    assert_eq!(told(&mut pool, browsing(1), S(0)), []);
    assert_eq!(told(&mut pool, arrived(2), S(0)), []);
    told(&mut pool, Event::HungUp(2), S(9));
    assert_eq!(pool.next_deadline(), Some(S(10)));
    let retry_after = told_to_come_back(&told(&mut pool, Event::Tick, S(10)), 1);
    assert!((S(2)..S(5)).contains(&retry_after), "{retry_after:?}");
    // Without a client the start goes on, and nothing leaves before the client can be back.
    assert_eq!(pool.exit_due(), None);
    let ready_at = S(10) + Duration::from_millis(1);
    told(&mut pool, Event::ZygoteReady(1), ready_at);
    told(&mut pool, Event::WorkerReady(0), ready_at);
    let due = pool.exit_due().map(|(due, _)| due);
    assert!(due.is_some_and(|due| due > S(10) + retry_after), "{due:?}");
    let actions = told(&mut pool, browsing(3), S(10) + retry_after);
    assert!(actions.contains(&dispatch(3, 0)), "{actions:?}");
}

#[test]
fn what_an_earlier_start_took_says_when_to_come_back() {
    let mut pool = Pool::new(slow_to_start(), S(0));
    pool.expect_start(S(40));
    told(&mut pool, browsing(1), S(0));
    let retry_after = told_to_come_back(&told(&mut pool, Event::Tick, S(10)), 1);
    assert!((S(30)..S(33)).contains(&retry_after), "{retry_after:?}");
}

/// After an edit the only request waits for the new code.
#[test]
fn a_browser_is_told_that_other_code_is_starting() {
    let mut pool = ready(PoolRules {
        look_interval: S(1),
        queue: QueueRules {
            start_page: Some(S(2)),
            ..limits().queue
        },
        ..limits()
    });
    assert_eq!(told(&mut pool, browsing(1), S(5)), [Action::Look(1)]);
    let changed = Event::Looked { changed: true };
    assert_eq!(told(&mut pool, changed, S(5)), [Action::StartZygote(2)]);
    let retry_after = told_to_come_back(&told(&mut pool, Event::Tick, S(7)), 1);
    assert!((S(2)..S(5)).contains(&retry_after), "{retry_after:?}");
}

/// Each worker imports the app by itself: the only one that serves may end while it is needed.
#[test]
fn a_browser_is_told_that_all_workers_are_starting() {
    let mut pool = ready(slow_to_start());
    assert_eq!(told(&mut pool, browsing(1), S(0))[0], dispatch(1, 0));
    told(&mut pool, Event::WorkerGone(0), S(1));
    told(&mut pool, browsing(2), S(1));
    let retry_after = told_to_come_back(&told(&mut pool, Event::Tick, S(11)), 2);
    assert!((S(2)..S(5)).contains(&retry_after), "{retry_after:?}");
}

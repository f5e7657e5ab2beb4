//! After an edit the next request runs the new code: looks, and the requests that they hold back.

use super::*;

const UNCHANGED: Event = Event::Looked { changed: false };
const CHANGED: Event = Event::Looked { changed: true };
const LOOK: Action = Action::Look(1);

fn watchful() -> Pool {
    ready(PoolRules {
        look_interval: MS(500),
        ..limits()
    })
}

#[test]
fn a_request_after_a_pause_waits_for_a_look() {
    let mut pool = watchful();
    let soon = told(&mut pool, arrived(1), MS(499));
    assert_eq!(soon[0], dispatch(1, 0), "the switch was a moment ago");
    told(&mut pool, done(0), MS(499));
    assert_eq!(told(&mut pool, arrived(2), S(1)), [LOOK]);
    assert_eq!(told(&mut pool, arrived(3), S(1)), [], "one look at a time");
    let actions = told(&mut pool, UNCHANGED, MS(1100));
    assert_eq!(actions, [dispatch(2, 0), spawn(2, 1)]);
    told(&mut pool, done(0), MS(1100));
    told(&mut pool, done(0), MS(1200));
    let again = told(&mut pool, arrived(4), MS(1599));
    assert!(!again.contains(&LOOK), "counted from the answer");
}

#[test]
fn a_look_is_waited_for_no_longer_than_a_second() {
    let mut pool = watchful();
    assert_eq!(told(&mut pool, arrived(1), S(1)), [LOOK]);
    assert_eq!(pool.next_deadline(), Some(S(2)));
    let actions = told(&mut pool, Event::Tick, S(2));
    assert_eq!(actions, [dispatch(1, 0), spawn(1, 1)]);
}

#[test]
fn a_zygote_that_looks_for_ever_is_replaced() {
    let mut pool = watchful();
    let hangs = S(1) + limits().start_timeout;
    told(&mut pool, arrived(1), S(1));
    told(&mut pool, Event::Tick, S(2));
    told(&mut pool, Event::WorkerReady(1), S(2));
    told(&mut pool, done(0), S(3));
    let before = told(&mut pool, Event::Tick, hangs - MS(1));
    assert!(!before.contains(&Action::RetireZygote(1)), "{before:?}");
    assert_eq!(pool.next_deadline(), Some(hangs));
    let actions = told(&mut pool, Event::Tick, hangs);
    assert_eq!(actions, [Action::RetireZygote(1), Action::StartZygote(2)]);
    let dead = told(&mut pool, Event::ZygoteGone(1), hangs + S(5));
    assert_eq!(dead, [], "it is known");
}

#[test]
fn while_a_request_is_served_others_do_not_wait_for_a_look() {
    let mut pool = watchful();
    told(&mut pool, arrived(1), MS(100));
    told(&mut pool, Event::WorkerReady(1), MS(100));
    let actions = told(&mut pool, arrived(2), S(1));
    assert_eq!(actions, [LOOK, dispatch(2, 1), spawn(2, 1)]);
    assert_eq!(told(&mut pool, CHANGED, S(1)), [Action::StartZygote(2)]);
    told(&mut pool, done(0), S(2));
    assert_eq!(told(&mut pool, arrived(3), S(3)), [dispatch(3, 0)]);
}

#[test]
fn a_request_that_finds_a_change_waits_for_the_switch() {
    let mut pool = watchful();
    told(&mut pool, arrived(1), S(1));
    assert_eq!(told(&mut pool, CHANGED, S(1)), [Action::StartZygote(2)]);
    assert_eq!(told(&mut pool, Event::ZygoteReady(2), S(2)), [spawn(1, 2)]);
    let actions = told(&mut pool, Event::WorkerReady(1), S(3));
    let switch = [Action::RetireZygote(1), Action::Retire(0)];
    assert_eq!(actions[..2], switch);
    assert_eq!(actions[2..], [dispatch(1, 1), spawn(2, 2)]);
}

#[test]
fn a_change_that_cannot_be_imported_lets_the_old_code_answer() {
    let mut pool = watchful();
    told(&mut pool, arrived(1), S(1));
    told(&mut pool, CHANGED, S(1));
    let actions = told(&mut pool, Event::ZygoteGone(2), S(2));
    assert_eq!(actions, [dispatch(1, 0), spawn(1, 1)]);
    told(&mut pool, done(0), S(3));
    // The next request looks first, even when the pause after the failure is over, and waits for the mended code.
    assert_eq!(told(&mut pool, arrived(2), S(9)), [LOOK]);
    assert_eq!(told(&mut pool, CHANGED, S(9)), [Action::StartZygote(3)]);
}

#[test]
fn what_failed_is_tried_again_after_a_look_that_finds_nothing() {
    let mut pool = watchful();
    told(&mut pool, arrived(1), S(1));
    told(&mut pool, CHANGED, S(1));
    told(&mut pool, Event::ZygoteGone(2), S(2));
    told(&mut pool, done(0), S(3));
    told(&mut pool, arrived(2), S(9));
    let actions = told(&mut pool, UNCHANGED, S(9));
    assert_eq!(actions, [Action::StartZygote(3), dispatch(2, 0)]);
}

#[test]
fn a_slow_import_holds_for_half_of_queue_timeout() {
    let mut pool = watchful();
    told(&mut pool, arrived(1), S(1));
    told(&mut pool, CHANGED, MS(1500));
    assert_eq!(pool.next_deadline(), Some(MS(6500)));
    assert_eq!(told(&mut pool, arrived(2), S(6)), [], "no other look");
    let actions = told(&mut pool, Event::Tick, MS(6500));
    assert_eq!(actions, [dispatch(1, 0), spawn(1, 1), spawn(2, 1)]);
}

#[test]
fn being_held_back_is_no_overload() {
    let mut pool = ready(PoolRules {
        look_interval: MS(500),
        queue: QueueRules {
            target: MS(500),
            ..limits().queue
        },
        ..limits()
    });
    for number in 1..=3 {
        told(&mut pool, arrived(number), S(1));
    }
    told(&mut pool, CHANGED, S(1));
    told(&mut pool, Event::ZygoteReady(2), S(2));
    let actions = told(&mut pool, Event::WorkerReady(1), S(5));
    assert_eq!(refused(&actions), []);
    assert!(actions.contains(&dispatch(1, 1)));
    let actions = told(&mut pool, Event::Tick, S(6));
    assert_eq!(refused(&actions), [2, 3], "from then on it counts");
}

#[test]
fn a_reload_holds_no_request() {
    let mut pool = watchful();
    assert_eq!(
        told(&mut pool, Event::Reload, S(1)),
        [Action::StartZygote(2)]
    );
    let actions = told(&mut pool, arrived(1), S(1));
    assert_eq!(actions, [dispatch(1, 0), spawn(1, 1)]);
}

#[test]
fn a_look_at_a_zygote_that_died_is_over() {
    let mut pool = watchful();
    told(&mut pool, arrived(1), S(1));
    let actions = told(&mut pool, Event::ZygoteGone(1), S(1));
    assert_eq!(actions, [Action::StartZygote(2), dispatch(1, 0)]);
}

#[test]
fn a_change_found_by_a_look_from_before_a_reload_is_remembered() {
    let mut pool = watchful();
    assert_eq!(told(&mut pool, arrived(1), S(1)), [LOOK]);
    assert_eq!(
        told(&mut pool, Event::Reload, S(1)),
        [Action::StartZygote(2)]
    );
    assert_eq!(told(&mut pool, CHANGED, S(1)), []);
    told(&mut pool, Event::ZygoteReady(2), S(2));
    let actions = told(&mut pool, Event::WorkerReady(1), S(2));
    let start = Action::StartZygote(3);
    let switch = [Action::RetireZygote(1), Action::Retire(0), start];
    assert_eq!(actions, switch, "and waited for");
    told(&mut pool, Event::ZygoteReady(3), S(3));
    let actions = told(&mut pool, Event::WorkerReady(2), S(3));
    assert!(actions.contains(&dispatch(1, 2)));
}

#[test]
fn a_look_that_was_not_over_at_the_switch_is_forgotten() {
    let mut pool = watchful();
    assert_eq!(told(&mut pool, arrived(1), S(1)), [LOOK]);
    told(&mut pool, Event::Reload, S(1));
    told(&mut pool, Event::ZygoteReady(2), S(1));
    let actions = told(&mut pool, Event::WorkerReady(1), MS(1100));
    assert!(actions.contains(&dispatch(1, 1)));
    let actions = told(&mut pool, arrived(2), MS(1600));
    assert!(actions.contains(&Action::Look(2)));
}

/// Serves a busy app that edits its own files; how often it was loaded.
fn loads_of_a_restless_app(pool: &mut Pool, from: Duration, until: Duration) -> u32 {
    let before = pool.generation();
    let mut now = from;
    while now < until {
        now += MS(100);
        let mut events = vec![arrived(now.as_millis() as Number)];
        while let Some(event) = events.pop() {
            for action in told(pool, event, now) {
                events.extend(match action {
                    Action::Dispatch { worker, .. } => Some(done(worker)),
                    Action::Look(_) => Some(CHANGED),
                    Action::Retire(worker) => Some(Event::WorkerGone(worker)),
                    Action::Spawn { worker, .. } => Some(Event::WorkerReady(worker)),
                    Action::StartZygote(generation) => Some(Event::ZygoteReady(generation)),
                    _ => None,
                });
            }
        }
    }
    pool.generation() - before
}

#[test]
fn an_app_that_edits_itself_is_loaded_more_and_more_rarely() {
    let mut pool = watchful();
    assert_eq!(
        loads_of_a_restless_app(&mut pool, S(0), S(5)),
        10,
        "like an edit by hand"
    );
    assert_eq!(
        loads_of_a_restless_app(&mut pool, S(5), S(65)),
        6,
        "after 1, 2, 4, 8, 16 s"
    );
    assert!(loads_of_a_restless_app(&mut pool, S(65), S(3665)) <= 60);
    // A look that finds nothing ends it.
    let later = S(3800);
    assert!(told(&mut pool, arrived(1), later).contains(&Action::Look(pool.generation())));
    told(&mut pool, UNCHANGED, later);
    let soon = told(&mut pool, arrived(2), later + MS(500));
    assert!(soon.contains(&Action::Look(pool.generation())));
}

//! What was taken for ready turns out to be unable to start.

use super::*;

fn broken(number: Number) -> Action {
    let refusal = Refusal::Broken;
    Action::Refuse { number, refusal }
}

#[test]
fn all_waiting_requests_are_refused_and_we_leave() {
    let mut pool = ready(PoolRules {
        max_procs: 1,
        ..limits()
    });
    for number in 1..=3 {
        told(&mut pool, arrived(number), S(1));
    }
    told(&mut pool, Event::Announced(4), S(1));
    let leave = Action::Leave(Reason::Broken);
    let actions = told(&mut pool, Event::Broken, S(2));
    assert_eq!(actions, [broken(2), broken(3), leave]);
    assert!(pool.is_full() && !pool.is_proven());
    // Requests that come now, or come back, are not served either.
    assert_eq!(told(&mut pool, arrived(4), S(2)), [broken(4)]);
    let actions = told(&mut pool, Event::Returned(0), S(2));
    assert_eq!(actions, [broken(1)]);
    assert_eq!(told(&mut pool, Event::WorkerGone(0), S(3)), []);
    let actions = told(&mut pool, Event::Left, S(3));
    assert_eq!(actions, [Action::RetireZygote(1), Action::Exit]);
}

#[test]
fn a_request_that_runs_keeps_us_until_it_is_done() {
    let mut pool = ready(PoolRules {
        max_procs: 1,
        ..limits()
    });
    told(&mut pool, arrived(1), S(1));
    told(&mut pool, Event::Broken, S(2));
    assert_eq!(told(&mut pool, Event::Left, S(2)), []);
    assert_eq!(told(&mut pool, done(0), S(3)), [Action::Retire(0)]);
    let actions = told(&mut pool, Event::WorkerGone(0), S(3));
    assert_eq!(actions, [Action::RetireZygote(1), Action::Exit]);
}

#[test]
fn said_at_any_other_time_it_changes_nothing_that_matters() {
    let mut pool = Pool::new(limits(), S(0));
    told(&mut pool, arrived(1), S(0));
    let too_soon = told(&mut pool, Event::Broken, S(0));
    assert_eq!(too_soon, [], "no worker was taken for ready");
    let mut pool = ready(limits());
    let first = told(&mut pool, Event::Broken, S(1));
    assert_eq!(first, [Action::Leave(Reason::Broken)]);
    assert_eq!(told(&mut pool, Event::Broken, S(1)), []);
    told(&mut pool, Event::Left, S(1));
    assert_eq!(told(&mut pool, Event::Broken, S(1)), []);
    let actions = told(&mut pool, Event::WorkerGone(0), S(2));
    assert_eq!(actions, [Action::RetireZygote(1), Action::Exit]);
    assert_eq!(told(&mut pool, Event::Broken, S(2)), []);
    assert_eq!(told(&mut pool, arrived(1), S(3)), [broken(1)]);
}

//! What the host refuses is not the app's fault, and no request waits that can be served otherwise.

use super::*;

fn refused_by_host(number: Number) -> Action {
    let retry_after = S(2);
    let refusal = Refusal::HostRefused { retry_after };
    Action::Refuse { number, refusal }
}

#[test]
fn a_start_that_the_host_refuses_is_not_the_app_s_fault() {
    let mut pool = Pool::new(limits(), S(0));
    told(&mut pool, arrived(1), S(0));
    assert_eq!(told(&mut pool, Event::HostRefused(1), S(1)), []);
    let leave = Action::Leave(Reason::HostRefused);
    let actions = told(&mut pool, Event::ZygoteGone(1), S(1));
    assert_eq!(actions, [refused_by_host(1), leave]);
    assert_eq!(told(&mut pool, arrived(2), S(1)), [refused_by_host(2)]);
    assert_eq!(told(&mut pool, Event::Left, S(1)), [Action::Exit]);
}

#[test]
fn nor_is_that_of_the_first_worker() {
    let mut pool = Pool::new(limits(), S(0));
    told(&mut pool, arrived(1), S(0));
    assert_eq!(told(&mut pool, Event::ZygoteReady(1), S(1)), [spawn(0, 1)]);
    told(&mut pool, Event::HostRefused(1), S(1));
    let actions = told(&mut pool, Event::WorkerGone(0), S(1));
    let leave = Action::Leave(Reason::HostRefused);
    let retire = Action::RetireZygote(1);
    assert_eq!(actions, [retire, refused_by_host(1), leave]);
}

/// Other generations are not excused by it.
#[test]
fn the_next_generation_may_be_broken_again() {
    let mut pool = Pool::new(
        PoolRules {
            stays: true,
            ..limits()
        },
        S(0),
    );
    told(&mut pool, arrived(1), S(0));
    told(&mut pool, Event::HostRefused(1), S(0));
    let rest = Action::Rest(Reason::HostRefused);
    let actions = told(&mut pool, Event::ZygoteGone(1), S(0));
    assert_eq!(actions, [refused_by_host(1), rest]);
    assert_eq!(told(&mut pool, arrived(2), S(0)), [refused_by_host(2)]);
    assert_eq!(
        told(&mut pool, arrived(3), S(2)),
        [Action::StartZygote(2)],
        "the pause is over"
    );
    let broken = Action::Refuse {
        number: 3,
        refusal: Refusal::Broken,
    };
    let actions = told(&mut pool, Event::ZygoteGone(2), S(2));
    assert_eq!(actions, [broken, Action::Rest(Reason::Broken)]);
}

#[test]
fn when_the_host_has_no_process_only_requests_wait_that_must() {
    let mut pool = Pool::new(limits(), S(0));
    told(&mut pool, arrived(1), S(0));
    told(&mut pool, Event::ZygoteReady(1), S(0));
    let actions = told(&mut pool, Event::ForkFailed(0), S(0));
    assert_eq!(actions, [Action::SendAway]);
    // A request that can't go elsewhere waits; those that come meanwhile are sent away.
    assert_eq!(told(&mut pool, arrived(2), S(0)), [Action::SendAway]);
    told(&mut pool, Event::HungUp(2), S(0));
    assert_eq!(told(&mut pool, Event::Tick, S(1)), [spawn(0, 1)]);
    let ready = told(&mut pool, Event::WorkerReady(0), S(1));
    assert_eq!(ready, [dispatch(1, 0), spawn(1, 1)]);
    // If other workers serve, all requests wait for them.
    assert_eq!(told(&mut pool, Event::ForkFailed(1), S(1)), []);
    assert_eq!(told(&mut pool, arrived(3), S(1)), []);
}

//! A server's life under an invented clock, in order and by chance.

use proptest::prelude::*;

use super::*;

const START_TIMEOUT: Duration = Duration::from_secs(45);
const ENDED_WELL: ServerEvent = ServerEvent::Ended { well: true };
const CRASHED: ServerEvent = ServerEvent::Ended { well: false };

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A server under an invented clock.
struct Watched {
    server: ServerLife,
    now: Duration,
}

impl Watched {
    fn new() -> Watched {
        Watched {
            server: ServerLife::new(START_TIMEOUT),
            now: seconds(100),
        }
    }

    fn at(&mut self, second: u64, event: ServerEvent) -> Vec<ServerAction> {
        self.now = seconds(100 + second);
        self.on(event)
    }

    fn on(&mut self, event: ServerEvent) -> Vec<ServerAction> {
        let mut actions = Vec::new();
        self.server.handle(event, self.now, &mut actions);
        actions
    }

    /// Started by a request, which it has not answered.
    fn asked() -> Watched {
        let mut told = Watched::new();
        assert_eq!(told.on(ServerEvent::Wanted), [ServerAction::Start]);
        assert_eq!(told.on(ServerEvent::Sent), []);
        told
    }

    fn proven() -> Watched {
        let mut told = Watched::asked();
        assert_eq!(told.on(ServerEvent::Answered), []);
        assert_eq!(told.on(ServerEvent::Finished), []);
        assert!(told.server.is_proven());
        told
    }
}

#[test]
fn one_that_leaves_comes_back_with_the_next_request() {
    let mut told = Watched::proven();
    assert_eq!(told.at(60, ENDED_WELL), [ServerAction::Left]);
    assert!(told.server.takes(told.now));
    assert_eq!(told.on(ServerEvent::Wanted), [ServerAction::Start]);
    // No request was sent to it.
    assert_eq!(told.on(ENDED_WELL), [ServerAction::Left]);
    assert_eq!(told.on(ServerEvent::Wanted), [ServerAction::Start]);
    // A request waits for it.
    assert_eq!(told.on(ServerEvent::Wanted), []);
    assert_eq!(
        told.on(ENDED_WELL),
        [ServerAction::Failed(StartFailure::Ended)]
    );
}

#[test]
fn an_end_before_the_first_byte_is_a_failed_start() {
    let mut told = Watched::asked();
    assert_eq!(
        told.at(1, ENDED_WELL),
        [ServerAction::Failed(StartFailure::Ended)]
    );
    assert!(!told.server.takes(told.now));
    assert_eq!(told.on(ServerEvent::Wanted), []);
    // The pause is 1 s, and then 2.
    assert_eq!(told.at(2, ServerEvent::Wanted), [ServerAction::Start]);
    assert_eq!(
        told.on(CRASHED),
        [ServerAction::Failed(StartFailure::Ended)]
    );
    assert_eq!(told.at(3, ServerEvent::Wanted), []);
    assert_eq!(told.at(4, ServerEvent::Wanted), [ServerAction::Start]);
    assert_eq!(
        told.on(ServerEvent::CannotStart),
        [ServerAction::Failed(StartFailure::CannotStart)]
    );
    assert_eq!(told.at(7, ServerEvent::Wanted), []);
    assert_eq!(told.at(8, ServerEvent::Wanted), [ServerAction::Start]);
    told.on(ServerEvent::Answered);
    assert_eq!(told.on(CRASHED), [ServerAction::Crashed]);
    assert_eq!(
        told.on(ServerEvent::Wanted),
        [ServerAction::Start],
        "no pause"
    );
}

#[test]
fn one_that_takes_nothing_is_found_out_and_one_that_is_slow_is_not() {
    let mut told = Watched::asked();
    assert_eq!(told.server.next_deadline(), Some(told.now + START_TIMEOUT));
    assert_eq!(told.at(44, ServerEvent::Tick), []);
    assert_eq!(told.at(45, ServerEvent::Tick), [ServerAction::Look]);
    let mut slow = Watched {
        server: told.server.clone(),
        now: told.now,
    };
    assert_eq!(slow.on(ServerEvent::Accepts), []);
    assert_eq!(slow.at(200, ServerEvent::Tick), []);
    assert_eq!(slow.server.next_deadline(), None);

    assert_eq!(told.on(ServerEvent::Deaf), [ServerAction::Kill]);
    assert!(told.server.is_ending() && !told.server.takes(told.now));
    assert_eq!(
        told.at(46, CRASHED),
        [ServerAction::Failed(StartFailure::TimedOut)]
    );
}

#[test]
fn one_that_answers_no_other_request_is_stuck() {
    let mut told = Watched::proven();
    told.on(ServerEvent::Sent);
    let since = told.now;
    told.at(10, ServerEvent::Sent);
    let later = told.now;
    assert_eq!(told.at(20, ServerEvent::Answered), []);
    assert_eq!(told.at(45, ServerEvent::Overdue { since }), []);
    assert_eq!(told.at(55, ServerEvent::Overdue { since: later }), []);
    let since = told.now;
    told.on(ServerEvent::Sent);
    assert_eq!(
        told.at(100, ServerEvent::Overdue { since }),
        [ServerAction::Term]
    );
    assert_eq!(told.at(104, ServerEvent::Tick), []);
    assert_eq!(told.at(105, ServerEvent::Tick), [ServerAction::Kill]);
    assert_eq!(told.on(ServerEvent::Tick), []);
    assert_eq!(told.on(ServerEvent::Wanted), []);
    assert_eq!(told.at(106, CRASHED), [ServerAction::Crashed]);
    assert_eq!(told.on(ServerEvent::Wanted), [ServerAction::Start]);
}

#[test]
fn one_that_is_out_of_reach_makes_room_for_another() {
    let mut told = Watched::proven();
    assert_eq!(told.on(ServerEvent::Lost), [ServerAction::Term]);
    assert_eq!(told.on(ServerEvent::Lost), []);
    assert_eq!(told.on(ENDED_WELL), [ServerAction::Crashed]);
    assert_eq!(told.on(ServerEvent::Wanted), [ServerAction::Start]);
    told.on(ServerEvent::Accepts);
    assert_eq!(told.on(ServerEvent::Lost), [ServerAction::Kill]);
    assert_eq!(
        told.on(CRASHED),
        [ServerAction::Failed(StartFailure::TimedOut)]
    );
}

#[test]
fn a_retired_one_finishes_and_then_goes() {
    let mut told = Watched::proven();
    told.on(ServerEvent::Sent);
    assert_eq!(told.on(ServerEvent::Retire(seconds(30))), []);
    assert!(!told.server.takes(told.now));
    assert_eq!(told.at(10, ServerEvent::Finished), [ServerAction::Term]);
    assert_eq!(told.at(39, ServerEvent::Tick), []);
    assert_eq!(told.at(40, ServerEvent::Tick), [ServerAction::Kill]);
    assert_eq!(told.on(CRASHED), [ServerAction::Gone]);

    let mut down = Watched::new();
    assert_eq!(
        down.on(ServerEvent::Retire(seconds(5))),
        [ServerAction::Gone]
    );
    assert_eq!(down.on(ServerEvent::Wanted), []);
    let mut dies = Watched::proven();
    dies.on(ServerEvent::Sent);
    dies.on(ServerEvent::Retire(seconds(5)));
    assert_eq!(dies.on(ENDED_WELL), [ServerAction::Gone]);
}

/// What a daemon may tell, in any order; `n` is for those that need a number.
fn event(kind: u8, n: u64) -> ServerEvent {
    match kind {
        0 => ServerEvent::Accepts,
        1 => ServerEvent::Answered,
        2 => ServerEvent::Deaf,
        3 => ServerEvent::Ended {
            well: n.is_multiple_of(2),
        },
        4 => ServerEvent::Finished,
        5 => ServerEvent::Overdue { since: seconds(n) },
        6 => ServerEvent::Retire(seconds(n % 9)),
        7 => ServerEvent::Sent,
        8 => ServerEvent::Tick,
        9 => ServerEvent::Lost,
        _ => ServerEvent::Wanted,
    }
}

proptest! {
    /// There is one process at most, only a process is signalled, a server that has failed was not proven, and one that
    /// is told to end is killed if it does not.
    #[test]
    fn whatever_happens(steps in prop::collection::vec((0_u8..15, 0_u64..60, 0_u64..9), 1..200)) {
        let mut server = ServerLife::new(START_TIMEOUT);
        let mut now = seconds(1);
        let (mut lives, mut proven, mut gone) = (false, false, false);
        let mut ending: Option<Duration> = None;
        for (kind, n, pause) in steps {
            now += seconds(pause);
            // Kinds that need a process, and don't have one, would be the daemon's mistake.
            let event = match event(kind, n) {
                ServerEvent::Ended { .. } | ServerEvent::Answered | ServerEvent::Deaf if !lives => ServerEvent::Tick,
                event => event,
            };
            if matches!(event, ServerEvent::Ended { .. }) {
                lives = false;
            }
            let mut actions = Vec::new();
            server.handle(event, now, &mut actions);
            proven |= server.is_proven();
            for action in actions {
                prop_assert!(!gone, "{action:?} after its end");
                match action {
                    ServerAction::Start => {
                        prop_assert!(!lives);
                        (lives, proven, ending) = (true, false, None);
                    }
                    ServerAction::Term => {
                        prop_assert!(lives && ending.is_none());
                        ending = Some(now);
                    }
                    ServerAction::Kill | ServerAction::Look => prop_assert!(lives),
                    ServerAction::Failed(_) => prop_assert!(!lives && !proven),
                    ServerAction::Crashed | ServerAction::Left => prop_assert!(!lives),
                    ServerAction::Gone => {
                        prop_assert!(!lives);
                        gone = true;
                    }
                }
            }
            if server.is_ending() || server.is_starting() || server.is_proven() {
                prop_assert!(lives);
            }
            if let Some(due) = server.next_deadline().filter(|_| server.is_ending()) {
                prop_assert!(due > now && due <= now + TERM_TIME.max(seconds(9)));
            }
        }
    }
}

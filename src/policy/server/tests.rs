//! A server's life under an invented clock, in order and by chance.

use proptest::prelude::*;

use super::*;

const START_TIMEOUT: Duration = Duration::from_secs(45);
const ENDED_WELL: Event = Event::Ended { well: true };
const CRASHED: Event = Event::Ended { well: false };

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A server under an invented clock.
struct Watched {
    server: Server,
    now: Duration,
}

impl Watched {
    fn new() -> Watched {
        Watched {
            server: Server::new(START_TIMEOUT),
            now: seconds(100),
        }
    }

    fn at(&mut self, second: u64, event: Event) -> Vec<Action> {
        self.now = seconds(100 + second);
        self.on(event)
    }

    fn on(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.server.handle(event, self.now, &mut actions);
        actions
    }

    /// Started by a request, which it has not answered.
    fn asked() -> Watched {
        let mut told = Watched::new();
        assert_eq!(told.on(Event::Wanted), [Action::Start]);
        assert_eq!(told.on(Event::Sent), []);
        told
    }

    fn proven() -> Watched {
        let mut told = Watched::asked();
        assert_eq!(told.on(Event::Answered), []);
        assert_eq!(told.on(Event::Finished), []);
        assert!(told.server.is_proven());
        told
    }
}

#[test]
fn one_that_leaves_comes_back_with_the_next_request() {
    let mut told = Watched::proven();
    assert_eq!(told.at(60, ENDED_WELL), [Action::Left]);
    assert!(told.server.takes(told.now));
    assert_eq!(told.on(Event::Wanted), [Action::Start]);
    // No request was sent to it.
    assert_eq!(told.on(ENDED_WELL), [Action::Left]);
    assert_eq!(told.on(Event::Wanted), [Action::Start]);
    // A request waits for it.
    assert_eq!(told.on(Event::Wanted), []);
    assert_eq!(told.on(ENDED_WELL), [Action::Failed(Why::Ended)]);
}

#[test]
fn an_end_before_the_first_byte_is_a_failed_start() {
    let mut told = Watched::asked();
    assert_eq!(told.at(1, ENDED_WELL), [Action::Failed(Why::Ended)]);
    assert!(!told.server.takes(told.now));
    assert_eq!(told.on(Event::Wanted), []);
    // The pause is 1 s, and then 2.
    assert_eq!(told.at(2, Event::Wanted), [Action::Start]);
    assert_eq!(told.on(CRASHED), [Action::Failed(Why::Ended)]);
    assert_eq!(told.at(3, Event::Wanted), []);
    assert_eq!(told.at(4, Event::Wanted), [Action::Start]);
    assert_eq!(
        told.on(Event::CannotStart),
        [Action::Failed(Why::CannotStart)]
    );
    assert_eq!(told.at(7, Event::Wanted), []);
    assert_eq!(told.at(8, Event::Wanted), [Action::Start]);
    told.on(Event::Answered);
    assert_eq!(told.on(CRASHED), [Action::Crashed]);
    assert_eq!(told.on(Event::Wanted), [Action::Start], "no pause");
}

#[test]
fn one_that_takes_nothing_is_found_out_and_one_that_is_slow_is_not() {
    let mut told = Watched::asked();
    assert_eq!(told.server.next_deadline(), Some(told.now + START_TIMEOUT));
    assert_eq!(told.at(44, Event::Tick), []);
    assert_eq!(told.at(45, Event::Tick), [Action::Look]);
    let mut slow = Watched {
        server: told.server.clone(),
        now: told.now,
    };
    assert_eq!(slow.on(Event::Accepts), []);
    assert_eq!(slow.at(200, Event::Tick), []);
    assert_eq!(slow.server.next_deadline(), None);

    assert_eq!(told.on(Event::Deaf), [Action::Kill]);
    assert!(told.server.is_ending() && !told.server.takes(told.now));
    assert_eq!(told.at(46, CRASHED), [Action::Failed(Why::TimedOut)]);
}

#[test]
fn one_that_answers_no_other_request_is_stuck() {
    let mut told = Watched::proven();
    told.on(Event::Sent);
    let since = told.now;
    told.at(10, Event::Sent);
    let later = told.now;
    assert_eq!(told.at(20, Event::Answered), []);
    assert_eq!(told.at(45, Event::Overdue { since }), []);
    assert_eq!(told.at(55, Event::Overdue { since: later }), []);
    let since = told.now;
    told.on(Event::Sent);
    assert_eq!(told.at(100, Event::Overdue { since }), [Action::Term]);
    assert_eq!(told.at(104, Event::Tick), []);
    assert_eq!(told.at(105, Event::Tick), [Action::Kill]);
    assert_eq!(told.on(Event::Tick), []);
    assert_eq!(told.on(Event::Wanted), []);
    assert_eq!(told.at(106, CRASHED), [Action::Crashed]);
    assert_eq!(told.on(Event::Wanted), [Action::Start]);
}

#[test]
fn one_that_is_out_of_reach_makes_room_for_another() {
    let mut told = Watched::proven();
    assert_eq!(told.on(Event::Lost), [Action::Term]);
    assert_eq!(told.on(Event::Lost), []);
    assert_eq!(told.on(ENDED_WELL), [Action::Crashed]);
    assert_eq!(told.on(Event::Wanted), [Action::Start]);
    told.on(Event::Accepts);
    assert_eq!(told.on(Event::Lost), [Action::Kill]);
    assert_eq!(told.on(CRASHED), [Action::Failed(Why::TimedOut)]);
}

#[test]
fn a_retired_one_finishes_and_then_goes() {
    let mut told = Watched::proven();
    told.on(Event::Sent);
    assert_eq!(told.on(Event::Retire(seconds(30))), []);
    assert!(!told.server.takes(told.now));
    assert_eq!(told.at(10, Event::Finished), [Action::Term]);
    assert_eq!(told.at(39, Event::Tick), []);
    assert_eq!(told.at(40, Event::Tick), [Action::Kill]);
    assert_eq!(told.on(CRASHED), [Action::Gone]);

    let mut down = Watched::new();
    assert_eq!(down.on(Event::Retire(seconds(5))), [Action::Gone]);
    assert_eq!(down.on(Event::Wanted), []);
    let mut dies = Watched::proven();
    dies.on(Event::Sent);
    dies.on(Event::Retire(seconds(5)));
    assert_eq!(dies.on(ENDED_WELL), [Action::Gone]);
}

/// What a daemon may tell, in any order; `n` is for those that need a number.
fn event(kind: u8, n: u64) -> Event {
    match kind {
        0 => Event::Accepts,
        1 => Event::Answered,
        2 => Event::Deaf,
        3 => Event::Ended {
            well: n.is_multiple_of(2),
        },
        4 => Event::Finished,
        5 => Event::Overdue { since: seconds(n) },
        6 => Event::Retire(seconds(n % 9)),
        7 => Event::Sent,
        8 => Event::Tick,
        9 => Event::Lost,
        _ => Event::Wanted,
    }
}

proptest! {
    /// There is one process at most, only a process is signalled, a server that has failed was not proven, and one that
    /// is told to end is killed if it does not.
    #[test]
    fn whatever_happens(steps in prop::collection::vec((0_u8..15, 0_u64..60, 0_u64..9), 1..200)) {
        let mut server = Server::new(START_TIMEOUT);
        let mut now = seconds(1);
        let (mut lives, mut proven, mut gone) = (false, false, false);
        let mut ending: Option<Duration> = None;
        for (kind, n, pause) in steps {
            now += seconds(pause);
            // Kinds that need a process, and don't have one, would be the daemon's mistake.
            let event = match event(kind, n) {
                Event::Ended { .. } | Event::Answered | Event::Deaf if !lives => Event::Tick,
                event => event,
            };
            if matches!(event, Event::Ended { .. }) {
                lives = false;
            }
            let mut actions = Vec::new();
            server.handle(event, now, &mut actions);
            proven |= server.is_proven();
            for action in actions {
                prop_assert!(!gone, "{action:?} after its end");
                match action {
                    Action::Start => {
                        prop_assert!(!lives);
                        (lives, proven, ending) = (true, false, None);
                    }
                    Action::Term => {
                        prop_assert!(lives && ending.is_none());
                        ending = Some(now);
                    }
                    Action::Kill | Action::Look => prop_assert!(lives),
                    Action::Failed(_) => prop_assert!(!lives && !proven),
                    Action::Crashed | Action::Left => prop_assert!(!lives),
                    Action::Gone => {
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

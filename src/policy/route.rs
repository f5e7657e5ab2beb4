//! Which way a request goes, from facts alone. Knows no socket, no file and no clock: the front gathers the facts, this
//! decides, and the front carries out the decision.

use std::time::Duration;

pub use super::facts::{CgiCount, Facts, Mode, RateLimit, Reach, StartRecord};
pub use super::rule::Rule;

/// The way a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To the daemon, if there is room in its backlog within a moment; else 'try again later'.
    AwaitBacklog {
        /// After this long.
        retry_after: Duration,
    },
    /// As a plain CGI, if a slot becomes free within a moment; else 'try again later'.
    AwaitSlot {
        /// After this long.
        retry_after: Duration,
    },
    /// The app could not be imported a moment ago: answer so, without another attempt.
    Broken,
    /// To the daemon that answered.
    Forward,
    /// 'Try again later'.
    Overload {
        /// After this long.
        retry_after: Duration,
    },
    /// As a plain CGI, in a slot where slots are counted.
    RunCgi,
    /// Start the daemon under the lock, then forward.
    StartAndForward,
}

/// Retry-After for a client that found no slot: about what a few CGIs take.
pub const SLOT_PAUSE: Duration = Duration::from_secs(2);
/// Retry-After for one that found the host overloaded: the load is an average over a minute.
const LOAD_PAUSE: Duration = Duration::from_secs(15);
/// Retry-After for one that found the host short of memory: the pressure is an average over 10 s.
const PRESSURE_PAUSE: Duration = Duration::from_secs(10);

/// Decides. Each rule is a line of the table in DESIGN's section on cgi-front, and of the test below.
pub fn route(facts: &Facts) -> Route {
    decide(facts).0
}

/// The same, and the rule that decides.
pub fn decide(facts: &Facts) -> (Route, Rule) {
    let rule = rule(facts);
    let or_cgi = |retry_after| cgi_or_overload(facts, retry_after);
    let route = match rule {
        Rule::Answers => Route::Forward,
        Rule::HostOverloaded => Route::Overload {
            retry_after: LOAD_PAUSE,
        },
        Rule::HostPressed => Route::Overload {
            retry_after: PRESSURE_PAUSE,
        },
        Rule::BacklogFull => match or_cgi(SLOT_PAUSE) {
            Route::Overload { retry_after } => Route::AwaitBacklog { retry_after },
            route => route,
        },
        Rule::ModeCgi | Rule::Held => or_cgi(SLOT_PAUSE),
        Rule::Forbidden => or_cgi(LOAD_PAUSE),
        Rule::Broken => Route::Broken,
        Rule::BackingOff => match facts.start {
            StartRecord::BackingOff { left, .. } => or_cgi(left),
            _ => or_cgi(SLOT_PAUSE),
        },
        Rule::Silent => {
            let is_stopped = facts.start == StartRecord::Silent { is_stopped: true };
            match or_cgi(SLOT_PAUSE) {
                Route::RunCgi => Route::RunCgi,
                _ if is_stopped || !facts.has_cgi => Route::StartAndForward,
                route => route,
            }
        }
        Rule::JustLeft | Rule::Quiet => Route::RunCgi,
        Rule::ModeDaemon | Rule::NoCgi | Rule::Busy | Rule::Rate | Rule::Load | Rule::ByHand => {
            Route::StartAndForward
        }
    };
    (route, rule)
}

fn rule(facts: &Facts) -> Rule {
    if facts.reach == Reach::Answers {
        return Rule::Answers;
    }
    if facts.overload_limit.is_some_and(|limit| facts.load > limit) {
        return Rule::HostOverloaded;
    }
    let is_above = |limit| facts.pressure > limit;
    if facts.pressure_limit.is_some_and(is_above) {
        return Rule::HostPressed;
    }
    if facts.mode == Mode::Cgi {
        return Rule::ModeCgi;
    }
    match (facts.reach, facts.start) {
        (Reach::Full, _) => Rule::BacklogFull,
        (Reach::Forbidden, _) => Rule::Forbidden,
        (_, StartRecord::BackingOff { broken: true, .. }) => Rule::Broken,
        (_, StartRecord::BackingOff { broken: false, .. }) => Rule::BackingOff,
        (_, StartRecord::Held) => Rule::Held,
        (_, StartRecord::Silent { .. }) => Rule::Silent,
        (_, StartRecord::Clear) if facts.mode == Mode::Daemon => Rule::ModeDaemon,
        (_, StartRecord::Clear) if !facts.has_cgi => Rule::NoCgi,
        (_, StartRecord::Clear) => by_load(facts),
    }
}

fn cgi_or_overload(facts: &Facts, retry_after: Duration) -> Route {
    match facts.slots {
        _ if !facts.has_cgi => Route::Overload { retry_after },
        CgiCount::Taken { most: 0, .. } => Route::Overload { retry_after },
        CgiCount::Taken { running, most } if running >= most => Route::AwaitSlot { retry_after },
        CgiCount::Taken { .. } | CgiCount::Uncounted => Route::RunCgi,
    }
}

/// Quiet: few CGIs run, few requests come, and the host is not loaded (or this is the only request). Within a minute
/// after a daemon left for want of work only the CGIs count, so that daemons don't come and go; and whether one pays,
/// which is known as well when one has just left.
fn by_load(facts: &Facts) -> Rule {
    let busy = match facts.slots {
        CgiCount::Taken { running, most } => running >= facts.busy_limit.min(most),
        CgiCount::Uncounted => false,
    };
    let loaded = facts.load > facts.load_limit && facts.last_minute >= 2;
    let pays = facts.rate_exceeded && matches!(facts.rate_limit, RateLimit::Auto { .. });
    if busy {
        Rule::Busy
    } else if pays {
        Rule::Rate
    } else if facts.has_just_left {
        Rule::JustLeft
    } else if facts.rate_exceeded {
        Rule::Rate
    } else if loaded {
        Rule::Load
    } else {
        Rule::Quiet
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::rental::LoadTime;

    const QUIET: Facts = Facts {
        reach: Reach::Absent,
        start: StartRecord::Clear,
        mode: Mode::Auto,
        has_cgi: true,
        slots: CgiCount::Taken {
            running: 0,
            most: 5,
        },
        busy_limit: 2,
        rate_exceeded: false,
        rate_limit: RateLimit::Number(6, Duration::from_secs(60)),
        last_minute: 1,
        load: 0.1,
        load_limit: 1.0,
        has_just_left: false,
        overload_limit: None,
        pressure: 0.0,
        pressure_limit: None,
    };
    const AUTO: RateLimit = RateLimit::Auto {
        load: Some(LoadTime::Cgi(Duration::from_millis(310))),
        break_even: Duration::from_secs(307),
        pauses: 52,
        shorter: 40,
    };
    const FULL_SLOTS: CgiCount = CgiCount::Taken {
        running: 5,
        most: 5,
    };
    const LEFT: Duration = Duration::from_secs(7);

    const NO_SLOTS: CgiCount = CgiCount::Taken {
        running: 0,
        most: 0,
    };

    fn overload(retry_after: Duration) -> Route {
        Route::Overload { retry_after }
    }

    fn await_slot(retry_after: Duration) -> Route {
        Route::AwaitSlot { retry_after }
    }

    #[test]
    fn every_rule_has_its_row() {
        let running = |running| CgiCount::Taken { running, most: 5 };
        let silent = |is_stopped| StartRecord::Silent { is_stopped };
        let backing_off = |broken| StartRecord::BackingOff { broken, left: LEFT };
        #[rustfmt::skip]
        let table = [
            ("quiet", QUIET, Route::RunCgi),
            ("the daemon answers", Facts { reach: Reach::Answers, ..QUIET }, Route::Forward),
            ("... even under mode = cgi (it drains)", Facts { reach: Reach::Answers, mode: Mode::Cgi, ..QUIET }, Route::Forward),
            ("... even overloaded: the daemon decides", Facts { reach: Reach::Answers, load: 99.0, overload_limit: Some(8.0), ..QUIET }, Route::Forward),
            ("one CGI runs", Facts { slots: running(1), ..QUIET }, Route::RunCgi),
            ("daemon-when-busy CGIs run", Facts { slots: running(2), ..QUIET }, Route::StartAndForward),
            ("cgi-max below daemon-when-busy", Facts { slots: CgiCount::Taken { running: 1, most: 1 }, ..QUIET }, Route::StartAndForward),
            ("a user is browsing", Facts { rate_exceeded: true, ..QUIET }, Route::StartAndForward),
            ("a daemon pays", Facts { rate_exceeded: true, rate_limit: AUTO, ..QUIET }, Route::StartAndForward),
            ("a daemon pays, and one has just left", Facts { rate_exceeded: true, rate_limit: AUTO, has_just_left: true, ..QUIET }, Route::StartAndForward),
            ("a daemon does not pay, the host is loaded", Facts { rate_limit: AUTO, load: 1.1, last_minute: 2, ..QUIET }, Route::StartAndForward),
            ("a daemon does not pay, the host is loaded, one has just left", Facts { rate_limit: AUTO, load: 1.1, last_minute: 2, has_just_left: true, ..QUIET }, Route::RunCgi),
            ("the host is loaded, two requests", Facts { load: 1.1, last_minute: 2, ..QUIET }, Route::StartAndForward),
            ("the host is loaded, one request", Facts { load: 1.1, last_minute: 1, ..QUIET }, Route::RunCgi),
            ("load at the limit is not above it", Facts { load: 1.0, last_minute: 9, ..QUIET }, Route::RunCgi),
            ("a user is browsing, a daemon has just left", Facts { rate_exceeded: true, has_just_left: true, ..QUIET }, Route::RunCgi),
            ("the host is loaded, a daemon has just left", Facts { load: 1.1, last_minute: 2, has_just_left: true, ..QUIET }, Route::RunCgi),
            ("daemon-when-busy CGIs run, a daemon has just left", Facts { slots: running(2), has_just_left: true, ..QUIET }, Route::StartAndForward),
            ("mode = daemon, a daemon has just left", Facts { mode: Mode::Daemon, has_just_left: true, ..QUIET }, Route::StartAndForward),
            ("the host is overloaded", Facts { load: 8.1, overload_limit: Some(8.0), ..QUIET }, overload(LOAD_PAUSE)),
            ("the host is short of memory", Facts { pressure: 10.5, pressure_limit: Some(10.0), ..QUIET }, overload(PRESSURE_PAUSE)),
            ("memory pressure at the limit is not above it", Facts { pressure: 10.0, pressure_limit: Some(10.0), ..QUIET }, Route::RunCgi),
            ("memory pressure while a daemon answers", Facts { reach: Reach::Answers, pressure: 99.0, pressure_limit: Some(10.0), ..QUIET }, Route::Forward),
            ("mode = daemon, quiet", Facts { mode: Mode::Daemon, ..QUIET }, Route::StartAndForward),
            ("no CGI to run, quiet", Facts { has_cgi: false, ..QUIET }, Route::StartAndForward),
            ("mode = cgi, busy", Facts { mode: Mode::Cgi, slots: running(4), rate_exceeded: true, ..QUIET }, Route::RunCgi),
            ("mode = cgi, no slot", Facts { mode: Mode::Cgi, slots: FULL_SLOTS, ..QUIET }, await_slot(SLOT_PAUSE)),
            ("mode = cgi, cgi-max = 0", Facts { mode: Mode::Cgi, slots: NO_SLOTS, ..QUIET }, overload(SLOT_PAUSE)),
            ("backlog full, a slot free", Facts { reach: Reach::Full, slots: running(4), ..QUIET }, Route::RunCgi),
            ("backlog full, no slot", Facts { reach: Reach::Full, slots: FULL_SLOTS, ..QUIET }, await_slot(SLOT_PAUSE)),
            ("backlog full, no CGI to run", Facts { reach: Reach::Full, has_cgi: false, ..QUIET }, Route::AwaitBacklog { retry_after: SLOT_PAUSE }),
            ("backlog full, cgi-max = 0", Facts { reach: Reach::Full, slots: NO_SLOTS, ..QUIET }, Route::AwaitBacklog { retry_after: SLOT_PAUSE }),
            ("forbidden", Facts { reach: Reach::Forbidden, slots: running(4), rate_exceeded: true, ..QUIET }, Route::RunCgi),
            ("forbidden, mode = daemon", Facts { reach: Reach::Forbidden, mode: Mode::Daemon, ..QUIET }, Route::RunCgi),
            ("forbidden, no slot", Facts { reach: Reach::Forbidden, slots: FULL_SLOTS, ..QUIET }, await_slot(LOAD_PAUSE)),
            ("held, busy", Facts { start: StartRecord::Held, slots: running(4), rate_exceeded: true, ..QUIET }, Route::RunCgi),
            ("held, no slot", Facts { start: StartRecord::Held, slots: FULL_SLOTS, ..QUIET }, await_slot(SLOT_PAUSE)),
            ("back-off, a slot free", Facts { start: backing_off(false), mode: Mode::Daemon, ..QUIET }, Route::RunCgi),
            ("back-off, no slot", Facts { start: backing_off(false), slots: FULL_SLOTS, ..QUIET }, await_slot(LEFT)),
            ("back-off, the app cannot be imported", Facts { start: backing_off(true), ..QUIET }, Route::Broken),
            ("a stopped daemon, a slot free", Facts { start: silent(true), slots: running(4), rate_exceeded: true, ..QUIET }, Route::RunCgi),
            ("a stopped daemon, a slot free, mode = daemon", Facts { start: silent(true), mode: Mode::Daemon, ..QUIET }, Route::RunCgi),
            ("a stopped daemon, no slot: another beside it", Facts { start: silent(true), slots: FULL_SLOTS, ..QUIET }, Route::StartAndForward),
            ("a slow daemon, a slot free", Facts { start: silent(false), slots: running(4), ..QUIET }, Route::RunCgi),
            ("a slow daemon, no slot", Facts { start: silent(false), slots: FULL_SLOTS, ..QUIET }, await_slot(SLOT_PAUSE)),
            ("a slow daemon, no CGI to run", Facts { start: silent(false), has_cgi: false, ..QUIET }, Route::StartAndForward),
            ("no runtime directory", Facts { slots: CgiCount::Uncounted, ..QUIET }, Route::RunCgi),
            ("no runtime directory, mode = cgi", Facts { slots: CgiCount::Uncounted, mode: Mode::Cgi, ..QUIET }, Route::RunCgi),
        ];
        for (rule, facts, expected) in table {
            assert_eq!(route(&facts), expected, "{rule}");
        }
    }

    #[test]
    fn an_operator_reads_the_facts_that_decided() {
        let reason = |facts: Facts| decide(&facts).1.reason(&facts);
        assert_eq!(
            reason(QUIET),
            "0 of 5 CGIs (a daemon from 2), 1 request in the last minute (from 6/m), \
             load 0.10 per core (from 1, with 2 requests in the last minute)"
        );
        let auto = Facts {
            rate_limit: AUTO,
            ..QUIET
        };
        assert_eq!(
            reason(auto),
            "0 of 5 CGIs (a daemon from 2), requests cost 310 ms more as CGIs; a daemon pays from 12/h on, and 40 of \
             the last 52 came so fast, load 0.10 per core (from 1, with 2 requests in the last minute)"
        );
        let pays = Facts {
            rate_exceeded: true,
            ..auto
        };
        assert_eq!(
            reason(pays),
            "requests cost 310 ms more as CGIs; a daemon pays from 12/h on, and 40 of the last 52 came so fast \
             (daemon-when-rate auto)"
        );
        let new = RateLimit::Auto {
            load: None,
            break_even: Duration::from_secs(300),
            pauses: 2,
            shorter: 2,
        };
        let new = reason(Facts {
            rate_limit: new,
            ..QUIET
        });
        assert!(
            new.contains("too few requests are known to say whether a daemon pays"),
            "{new}"
        );
        let load = Facts {
            load: 1.25,
            last_minute: 4,
            ..QUIET
        };
        assert_eq!(
            reason(load),
            "load 1.25 per core (daemon-when-load 1), 4 requests in the last minute"
        );
        let busy = Facts {
            slots: FULL_SLOTS,
            ..QUIET
        };
        assert_eq!(reason(busy), "5 of 5 CGIs (daemon-when-busy 2)");
        let start = StartRecord::BackingOff {
            broken: false,
            left: LEFT,
        };
        let sentence = "the daemon's last start failed; the next is tried in 8 s";
        assert_eq!(reason(Facts { start, ..QUIET }), sentence);
        let pressed = Facts {
            pressure: 12.345,
            pressure_limit: Some(10.0),
            ..QUIET
        };
        let sentence = "memory pressure 12.35 % is above overload-when-pressure (10)";
        assert_eq!(reason(pressed), sentence);
    }
}

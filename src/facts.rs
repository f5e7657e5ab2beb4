//! The facts that decide which way a request of an app goes, as they are now: from its configuration, its file `slots`
//! and the host's load. Decides nothing.

use std::time::Duration;

use crate::config::{self, App, Config, Load, OrAuto, Percentage};
use crate::policy::backoff;
use crate::policy::route::{CgiCount, Facts, Mode, RateLimit, Reach, Rule, StartRecord};
use crate::slots::{HeldBytes, KnownPauses, Slots, StartCause, Verdict};
use crate::sys::load;
use crate::sys::pressure::PressureFiles;

/// What the file says of starts, and of a daemon that does not answer.
pub fn started(slots: &Slots, now: Duration) -> StartRecord {
    let failed = slots.attempt(now);
    let left = failed.and_then(|a| Some((a, backoff::remaining(a.attempts, a.since)?)));
    match left {
        _ if slots.is_held(now) => StartRecord::Held,
        Some((attempt, left)) => StartRecord::BackingOff {
            broken: attempt.verdict == Verdict::Broken,
            left,
        },
        None => match slots.silence(now) {
            Some(is_stopped) => StartRecord::Silent { is_stopped },
            None => StartRecord::Clear,
        },
    }
}

/// All facts. `held`: what other processes have of the slots; `None`: it is not known. `known`: with the pause before the
/// request that they are for. Without the file nothing is known of other requests, and there is no daemon to be reached.
pub fn gather(
    config: &Config,
    slots: Option<&Slots>,
    held: Option<HeldBytes>,
    known: KnownPauses,
    start: StartRecord,
    reach: Reach,
    now: Duration,
) -> Facts {
    let faster = |count, unit| slots.is_some_and(|slots| slots.is_faster_than(count, unit, now));
    Facts {
        reach: if slots.is_none() {
            Reach::Forbidden
        } else {
            reach
        },
        start,
        slots: held.map_or(CgiCount::Uncounted, |held| CgiCount::Taken {
            running: held.slots,
            most: config.cgi_max,
        }),
        rate_exceeded: match config.when.rate {
            OrAuto::Auto => {
                let kept = config.lifetime.idle_timeout.given();
                slots.is_some() && known.rental.pays(kept, known.prices.break_even())
            }
            OrAuto::Given(rate) => faster(rate.count().into(), rate.window()),
        },
        rate_limit: rate_limit(config, &known),
        last_minute: if faster(1, Duration::from_secs(60)) {
            2
        } else {
            1
        },
        load: load::average() / load::usable_cores(),
        has_just_left: slots.is_some_and(|slots| slots.has_just_left(now)),
        // Files are read only for those who have set the limit.
        pressure: match config.overload.when_pressure {
            Some(_) => PressureFiles::find().some().unwrap_or(0.0),
            None => 0.0,
        },
        ..limits(config)
    }
}

/// The same for an operator, who wants to know how many requests came in the last minute.
pub fn for_operator(
    config: &Config,
    slots: &Slots,
    start: StartRecord,
    reach: Reach,
    now: Duration,
) -> Facts {
    let held = slots.held(config.cgi_max).ok();
    Facts {
        last_minute: u32::try_from(slots.last_minute(now)).unwrap_or(u32::MAX),
        ..gather(config, Some(slots), held, slots.pauses(), start, reach, now)
    }
}

/// What the daemon's starter has noted: the rule that asked for a daemon, and the facts by which it held.
pub fn noted(config: &Config, slots: &Slots) -> Option<(Rule, Facts)> {
    let cause = slots.cause()?;
    let facts = Facts {
        slots: CgiCount::Taken {
            running: cause.running,
            most: config.cgi_max,
        },
        last_minute: cause.last_minute,
        load: cause.load,
        rate_limit: rate_limit(config, &slots.pauses()),
        ..limits(config)
    };
    Some((cause.rule, facts))
}

/// The rule that asks for a daemon, and the facts by which it holds, for [`noted`].
pub fn cause(rule: Rule, facts: &Facts, slots: &Slots, now: Duration) -> StartCause {
    StartCause {
        rule,
        running: match facts.slots {
            CgiCount::Taken { running, .. } => running,
            CgiCount::Uncounted => 0,
        },
        last_minute: u32::try_from(slots.last_minute(now)).unwrap_or(u32::MAX),
        load: facts.load,
    }
}

fn rate_limit(config: &Config, known: &KnownPauses) -> RateLimit {
    let break_even = known.prices.break_even();
    match config.when.rate {
        OrAuto::Auto => RateLimit::Auto {
            load: known.prices.load,
            break_even,
            pauses: known.rental.count(),
            shorter: known.rental.shorter_than(break_even),
        },
        OrAuto::Given(rate) => RateLimit::Number(rate.count().into(), rate.window()),
    }
}

/// The configuration's part of the facts.
fn limits(config: &Config) -> Facts {
    Facts {
        reach: Reach::Absent,
        start: StartRecord::Clear,
        mode: match config.mode {
            // Only the daemon knows how many requests the server may have at once.
            config::Mode::Auto if matches!(config.app, App::Connect(_)) => Mode::Daemon,
            config::Mode::Auto => Mode::Auto,
            config::Mode::Cgi => Mode::Cgi,
            config::Mode::Daemon => Mode::Daemon,
        },
        has_cgi: config.app.runs_without_daemon(),
        slots: CgiCount::Uncounted,
        busy_limit: config.when.busy,
        rate_exceeded: false,
        rate_limit: rate_limit(config, &KnownPauses::default()),
        last_minute: 0,
        load: 0.0,
        load_limit: config.when.load.per_core(),
        has_just_left: false,
        overload_limit: config.overload.when_load.map(Load::per_core),
        pressure: 0.0,
        pressure_limit: config.overload.when_pressure.map(Percentage::percent),
    }
}

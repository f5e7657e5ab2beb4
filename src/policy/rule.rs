//! The rule by which a request goes its way, and what an operator reads of it.

use std::time::Duration;

use super::facts::{CgiCount, Facts, RateLimit, StartRecord};
use super::rental::{FIRST, LoadTime};
use crate::printable::took;

/// Why a request goes the way that it goes: a line of the table in [`route`](super::route).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The daemon answers.
    Answers,
    /// `overload-when-load`.
    HostOverloaded,
    /// `mode = cgi`.
    ModeCgi,
    /// The daemon's backlog is full, or it can't be asked for want of descriptors.
    BacklogFull,
    /// The host forbids a connection to the daemon, or there is no place for one.
    Forbidden,
    /// The app could not be imported a moment ago.
    Broken,
    /// The last start failed a moment ago.
    BackingOff,
    /// An operator keeps the daemon down.
    Held,
    /// The daemon does not answer in time.
    Silent,
    /// `mode = daemon`, or a kind of app of which only a daemon knows the limits.
    ModeDaemon,
    /// The app can't run as a plain CGI.
    NoCgi,
    /// `daemon-when-busy`.
    Busy,
    /// `daemon-when-rate`.
    Rate,
    /// `daemon-when-load`.
    Load,
    /// A daemon has just left for want of work: only CGIs that run count.
    JustLeft,
    /// None of the rules that ask for a daemon holds.
    Quiet,
    /// An operator has started the daemon.
    ByHand,
    /// `overload-when-pressure`.
    HostPressed,
}

impl Rule {
    pub(crate) const ALL: [Rule; 18] = [
        Rule::Answers,
        Rule::HostOverloaded,
        Rule::ModeCgi,
        Rule::BacklogFull,
        Rule::Forbidden,
        Rule::Broken,
        Rule::BackingOff,
        Rule::Held,
        Rule::Silent,
        Rule::ModeDaemon,
        Rule::NoCgi,
        Rule::Busy,
        Rule::Rate,
        Rule::Load,
        Rule::JustLeft,
        Rule::Quiet,
        Rule::ByHand,
        Rule::HostPressed,
    ];

    /// For the file `slots`; never 0, which is none.
    pub fn number(self) -> u64 {
        self as u64 + 1
    }

    /// The rule with this number.
    pub fn from_number(number: u64) -> Option<Rule> {
        let number = usize::try_from(number).ok()?;
        Rule::ALL.get(number.checked_sub(1)?).copied()
    }

    /// Its word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Rule::Answers => "answers",
            Rule::HostOverloaded => "overload-when-load",
            Rule::ModeCgi => "mode-cgi",
            Rule::BacklogFull => "backlog-full",
            Rule::Forbidden => "forbidden",
            Rule::Broken => "app-broken",
            Rule::BackingOff => "backing-off",
            Rule::Held => "held",
            Rule::Silent => "silent",
            Rule::ModeDaemon => "mode-daemon",
            Rule::NoCgi => "no-cgi",
            Rule::Busy => "daemon-when-busy",
            Rule::Rate => "daemon-when-rate",
            Rule::Load => "daemon-when-load",
            Rule::JustLeft => "just-left",
            Rule::Quiet => "quiet",
            Rule::ByHand => "by-hand",
            Rule::HostPressed => "overload-when-pressure",
        }
    }

    /// The facts by which it held, for an operator: what follows 'because'.
    pub fn reason(self, facts: &Facts) -> String {
        let load = facts.load;
        match self {
            Rule::Answers => "it answers".to_owned(),
            Rule::HostOverloaded => {
                let limit = facts.overload_limit.unwrap_or_default();
                format!("load {load:.2} per core is above overload-when-load ({limit})")
            }
            Rule::ModeCgi => "mode = cgi".to_owned(),
            Rule::BacklogFull => "the daemon's backlog is full".to_owned(),
            Rule::Forbidden => "the daemon can't be reached".to_owned(),
            Rule::Broken | Rule::BackingOff => {
                let left = match facts.start {
                    StartRecord::BackingOff { left, .. } => left.as_secs() + 1,
                    _ => 0,
                };
                format!("the daemon's last start failed; the next is tried in {left} s")
            }
            Rule::Held => "held by 'stop --hold'; 'start' ends that".to_owned(),
            Rule::Silent => match facts.start {
                StartRecord::Silent { is_stopped: true } => "the daemon is stopped".to_owned(),
                _ => "the daemon is slow".to_owned(),
            },
            Rule::ModeDaemon => "only a daemon serves it (mode)".to_owned(),
            Rule::NoCgi => "the app can't run as a plain CGI".to_owned(),
            Rule::Busy => format!("{} (daemon-when-busy {})", cgis(facts), facts.busy_limit),
            Rule::Rate => match facts.rate_limit {
                RateLimit::Auto { .. } => format!("{} (daemon-when-rate auto)", pace(facts)),
                RateLimit::Number(count, window) => format!(
                    "{} in the last minute (daemon-when-rate {})",
                    requests(facts),
                    rate(count, window)
                ),
            },
            Rule::Load => format!(
                "load {load:.2} per core (daemon-when-load {}), {} in the last minute",
                facts.load_limit,
                requests(facts)
            ),
            Rule::JustLeft => format!(
                "a daemon left less than a minute ago, and {} (a daemon from {})",
                cgis(facts),
                facts.busy_limit
            ),
            Rule::Quiet => format!(
                "{} (a daemon from {}), {}, load {load:.2} per core (from {}, with 2 requests in the last minute)",
                cgis(facts),
                facts.busy_limit,
                pace(facts),
                facts.load_limit
            ),
            Rule::ByHand => "by hand".to_owned(),
            Rule::HostPressed => {
                let (pressure, limit) = (facts.pressure, facts.pressure_limit.unwrap_or_default());
                format!("memory pressure {pressure:.2} % is above overload-when-pressure ({limit})")
            }
        }
    }
}

fn cgis(facts: &Facts) -> String {
    match facts.slots {
        CgiCount::Taken { running, most } => format!("{running} of {most} CGIs"),
        CgiCount::Uncounted => "CGIs are not counted".to_owned(),
    }
}

fn requests(facts: &Facts) -> String {
    let plural = if facts.last_minute == 1 { "" } else { "s" };
    format!("{} request{plural}", facts.last_minute)
}

/// How fast requests come, and from when on a daemon is started.
fn pace(facts: &Facts) -> String {
    match facts.rate_limit {
        RateLimit::Number(count, window) => {
            let from = rate(count, window);
            format!("{} in the last minute (from {from})", requests(facts))
        }
        RateLimit::Auto { pauses, .. } if pauses < FIRST => {
            "too few requests are known to say whether a daemon pays".to_owned()
        }
        RateLimit::Auto {
            load,
            break_even,
            pauses,
            shorter,
        } => {
            let hourly = 3600.0 / break_even.as_secs_f64().max(1.0);
            let cost = match load {
                None => "what requests cost as CGIs is not measured".to_owned(),
                Some(LoadTime::Cgi(time)) => {
                    format!("requests cost {} more as CGIs", took(micros(time)))
                }
                Some(LoadTime::Start(time)) => {
                    format!("the daemon's start takes {}", took(micros(time)))
                }
            };
            format!(
                "{cost}; a daemon pays from {hourly:.0}/h on, and {shorter} of the last {pauses} came so fast"
            )
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// As the key has it: `6/m`.
fn rate(count: u32, window: Duration) -> String {
    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);
    let unit = match window {
        MINUTE => "m",
        HOUR => "h",
        _ => "s",
    };
    format!("{count}/{unit}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_and_words_tell_them_apart() {
        for (at, rule) in Rule::ALL.into_iter().enumerate() {
            assert_eq!(rule.number(), at as u64 + 1);
            assert_eq!(Rule::from_number(rule.number()), Some(rule));
        }
        let words: BTreeSet<&str> = Rule::ALL.into_iter().map(Rule::word).collect();
        assert_eq!(words.len(), Rule::ALL.len());
        for number in [0, 19, u64::MAX] {
            assert_eq!(Rule::from_number(number), None);
        }
    }
}

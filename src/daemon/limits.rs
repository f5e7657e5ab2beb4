//! What the configuration allows: the limits that the pool obeys, and which of them a request has exceeded.

use std::time::Duration;

use crate::config::{Accept, App, Config, Mode, OrAuto, Rate};
use crate::policy::pool::{PoolRules, Quiet, WorkerId};
use crate::policy::queue::QueueRules;
use crate::slots::Slots;
use crate::sys::clock;

/// A request that comes this long after the last look at the app's files causes the next.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// `quiet-timeout` goes by half of this where `daemon-when-rate` is no number.
const RATE_OF_QUIET: Rate = Rate::per_minute(6);

/// Whether the daemon has to stay: clients that connect to other sockets than its own can't start it again.
pub(super) fn stays(config: &Config, is_given_any: bool) -> bool {
    is_given_any || !config.listen.addresses.is_empty()
}

/// With `idle-timeout = auto` they change with what is known of the requests.
pub(super) fn limits(config: &Config, slots: &Slots, stays: bool) -> PoolRules {
    // `max-procs` is at most 1024, and the others are at most `max-procs`.
    let small = |count: u32| WorkerId::try_from(count).unwrap_or(WorkerId::MAX);
    PoolRules {
        accepts: config.accept == Accept::Workers && matches!(config.app, App::Wsgi(_)),
        // A server that takes all requests is there once, however many it has.
        heeds_memory: match &config.app {
            App::Wsgi(_) => true,
            App::Commands { scgi, .. } => scgi.is_none(),
            App::Connect(_) => false,
        },
        idle_timeout: match config.lifetime.idle_timeout {
            OrAuto::Auto => {
                let known = slots.pauses();
                known.rental.kept(known.prices.break_even())
            }
            OrAuto::Given(time) => time,
        },
        look_interval: LOOK_INTERVAL,
        max_procs: small(config.pool.max_procs),
        max_requests: config.pool.max_requests.unwrap_or(u32::MAX),
        min_idle: small(config.pool.min_idle),
        min_lifetime: config.lifetime.min_lifetime,
        min_procs: small(config.pool.min_procs),
        queue: QueueRules {
            size: config.queue.size as usize,
            target: config.queue.target,
            timeout: config.queue.timeout,
            turn: config.pool.max_procs as usize,
            has_room: config.queue.waiting_room,
            start_page: config.timeouts.start_page,
        },
        quiet: quiet(config).filter(|_| !stays),
        request_limit: config.timeouts.request_limit,
        request_timeout: config.timeouts.request,
        start_timeout: config.timeouts.start,
        stays,
        worker_idle_timeout: config.pool.worker_idle_timeout,
    }
}

/// A site below half of the rate that starts a daemon needs none, if it stays so for long.
fn quiet(config: &Config) -> Option<Quiet> {
    let rate = config.when.rate.given().unwrap_or(RATE_OF_QUIET);
    let timeout = config.lifetime.quiet_timeout?;
    // An app that can't run as CGIs always needs one.
    (config.mode == Mode::Auto && config.app.runs_as_cgi()).then(|| Quiet {
        count: u64::from(rate.count()).div_ceil(2),
        unit: rate.window(),
        timeout,
    })
}

/// The key that a request has exceeded which began at `since`.
pub(super) fn exceeded_key(since: Option<Duration>, config: &Config) -> &'static str {
    let limit = config.timeouts.request_limit;
    let is_over = |(since, limit)| clock::now() >= since + limit;
    if since.zip(limit).is_some_and(is_over) {
        "request-limit"
    } else {
        "request-timeout"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Host};

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn rules(lines: &str, slots: &Slots) -> PoolRules {
        let text = format!("wsgi = a:b\n{lines}");
        let settings = config::parse("f", text.as_bytes()).unwrap();
        let host = Host {
            cores: 2.0,
            nproc: None,
        };
        limits(
            &Config::from_settings(settings, host).unwrap(),
            slots,
            false,
        )
    }

    #[test]
    fn numbers_hold_and_auto_follows_what_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let slots = Slots::open(&dir.path().join("slots")).unwrap();
        let idle = |lines| rules(lines, &slots).idle_timeout;
        assert_eq!([idle(""), idle("idle-timeout = 7s\n")], [S(300), S(7)]);
        // Forty visits of some pages each, a day apart.
        for day in 1..40 {
            slots.note_cold(S(day * 86_400));
            for page in 1..9 {
                slots.note_warm(S(day * 86_400 + page * 40));
            }
            slots.note_left(S(day * 86_400 + 600));
        }
        assert_eq!([idle(""), idle("idle-timeout = 7s\n")], [S(120), S(7)]);
    }

    #[test]
    fn quiet_goes_by_a_rate_that_is_a_number() {
        let dir = tempfile::tempdir().unwrap();
        let slots = Slots::open(&dir.path().join("slots")).unwrap();
        let quiet = |lines: &str| {
            let quiet = rules(lines, &slots).quiet?;
            Some((quiet.count, quiet.unit, quiet.timeout))
        };
        assert_eq!(quiet(""), None);
        assert_eq!(quiet("idle-timeout = 5m\n"), None);
        let rate = "daemon-when-rate = 20/h\n";
        assert_eq!(quiet(rate), Some((10, S(3600), S(900))));
        let time = "quiet-timeout = 7m\n";
        assert_eq!(quiet(&format!("{rate}{time}")), Some((10, S(3600), S(420))));
        assert_eq!(quiet(time), Some((3, S(60), S(420))));
        assert_eq!(quiet(&format!("{time}mode = daemon\n")), None);
    }
}

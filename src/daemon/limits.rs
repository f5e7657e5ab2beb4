//! What the configuration allows: the limits that the pool obeys, and which of them a request has exceeded.

use std::time::Duration;

use crate::config::{Config, Mode, OrAuto, Rate};
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
            has_room: false,
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

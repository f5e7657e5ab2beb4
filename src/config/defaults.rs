//! What the keys mean together: every default, which key limits which, and which contradict each other. It does not
//! know how a value is written.

use std::time::Duration;

use super::addresses::{Allow, ShowErrors, StatusPage};
use super::bad_config::{BadConfig, Position};
use super::choices::{Accept, Handoff, LogLevel, Mode, Reload};
use super::names::Python;
use super::settings::{Settings, Typed};
use super::values::{Load, OrAuto};
use super::{
    App, Config, DaemonWhen, Host, Lifetime, Listen, Logging, Overload, PoolLimits, QueueLimits,
    SizeLimits, Spool, Timeouts,
};

impl Config {
    /// What `s` means on `host`.
    ///
    /// # Errors
    /// Keys contradict each other, or no key says what to run.
    pub fn from_settings(s: Settings, host: Host) -> Result<Config, BadConfig> {
        let (app, app_position) = app(&s)?;
        let mode = mode(&s, &app)?;
        let pool = pool_limits(&s, host)?;
        let cgi_max = or(&s.cgi_max, pool.max_procs);
        Ok(Config {
            app,
            python: or(&s.python, Python::InPath("python3".to_owned())),
            directory: value(&s.directory),
            env_file: value(&s.env_file),
            mount: value(&s.mount),
            mode,
            when: daemon_when(&s, cgi_max),
            lifetime: lifetime(&s),
            pool,
            cgi_max,
            queue: queue_limits(&s),
            timeouts: timeouts(&s),
            limits: SizeLimits {
                header: or(&s.header_limit, 64 << 10),
                body: or(&s.body_limit, None),
            },
            spool: Spool {
                dir: or(&s.spool_dir, "/var/tmp".into()),
                limit: or(&s.spool_limit, 1 << 30),
            },
            reload: or(&s.reload, Reload::Auto),
            watch: or(&s.watch, Vec::new()),
            show_errors: or(&s.show_errors, ShowErrors::Off),
            status: StatusPage {
                path: or(&s.status_path, None),
                allow: or(&s.status_allow, Vec::new()),
            },
            server_timing: or(&s.server_timing, false),
            overload: Overload {
                page: value(&s.overload_page),
                when_load: or(&s.overload_when_load, None),
                when_pressure: or(&s.overload_when_pressure, None),
            },
            runtime_dir: value(&s.runtime_dir),
            listen: listen(&s),
            accept: or(&s.accept, Accept::Workers),
            handoff: or(&s.handoff, Handoff::Auto),
            log: Logging {
                file: value(&s.log_file),
                level: or(&s.log_level, LogLevel::Info),
            },
            positions: s.positions(),
            app_position,
            env: s
                .env
                .into_iter()
                .map(|(name, typed)| (name, typed.value))
                .collect(),
        })
    }
}

fn daemon_when(s: &Settings, cgi_max: u32) -> DaemonWhen {
    DaemonWhen {
        busy: or(&s.daemon_when_busy, 2).min(cgi_max),
        rate: or(&s.daemon_when_rate, OrAuto::Auto),
        load: or(&s.daemon_when_load, Load::ONE),
    }
}

fn lifetime(s: &Settings) -> Lifetime {
    Lifetime {
        idle_timeout: or(&s.idle_timeout, OrAuto::Auto),
        min_lifetime: or(&s.min_lifetime, minutes(2)),
        quiet_timeout: quiet_timeout(s),
    }
}

/// Beside a rate that is measured, `idle-timeout` alone says when a daemon is not needed.
fn quiet_timeout(s: &Settings) -> Option<Duration> {
    let rate = value(&s.daemon_when_rate).and_then(OrAuto::given);
    match or(&s.quiet_timeout, OrAuto::Auto) {
        OrAuto::Auto => rate.map(|_| minutes(15)),
        OrAuto::Given(time) => Some(time),
    }
}

fn pool_limits(s: &Settings, host: Host) -> Result<PoolLimits, BadConfig> {
    let mut max_procs = or(&s.max_procs, default_max_procs(host));
    let mut at_most_max_procs = |key, typed: &Option<Typed<u32>>, default: u32| {
        let (typed, max_typed) = (typed.as_ref(), s.max_procs.as_ref());
        let low = fit(key, typed, max_typed, s.end.path(), &mut max_procs)?;
        Ok(low.unwrap_or(default.min(max_procs)))
    };
    let min_procs = at_most_max_procs("min-procs", &s.min_procs, 0)?;
    let min_idle = at_most_max_procs("min-idle", &s.min_idle, 1)?;
    Ok(PoolLimits {
        min_procs,
        max_procs,
        min_idle,
        max_requests: or(&s.max_requests, Some(10_000)),
        max_rss: or(&s.max_rss, None),
        worker_idle_timeout: or(&s.worker_idle_timeout, minutes(1)),
        preload: or(&s.preload, true),
    })
}

fn queue_limits(s: &Settings) -> QueueLimits {
    QueueLimits {
        size: or(&s.queue_size, 100),
        timeout: or(&s.queue_timeout, Duration::from_secs(10)),
        target: or(&s.queue_target, Duration::from_secs(1)),
        priority_cookie: or(&s.priority_cookie, None),
        waiting_room: or(&s.waiting_room, true),
    }
}

fn timeouts(s: &Settings) -> Timeouts {
    let start = or(&s.start_timeout, Duration::from_secs(45));
    Timeouts {
        start,
        start_page: or(&s.start_page_after, Some((start * 2 / 3).min(START_PAGE))),
        request: or(&s.request_timeout, Duration::from_secs(45)),
        request_limit: or(&s.request_limit, None),
        graceful: or(&s.graceful_timeout, Duration::from_secs(30)),
    }
}

fn listen(s: &Settings) -> Listen {
    Listen {
        addresses: or(&s.listen, Vec::new()),
        allow: or(&s.listen_allow, Allow::default()),
        socket_mode: or(&s.socket_mode, 0o600),
        socket_group: value(&s.socket_group),
    }
}

/// Web servers give up after 60 s, and what stands before them often after 30 s.
const START_PAGE: Duration = Duration::from_secs(30);

/// The one way to run the app, and its position.
fn app(s: &Settings) -> Result<(App, Position), BadConfig> {
    let commands = s
        .cgi
        .as_ref()
        .or(s.scgi.as_ref())
        .map(|typed| &typed.position);
    let ways = [
        ("wsgi", s.wsgi.as_ref().map(|typed| &typed.position)),
        (if s.cgi.is_some() { "cgi" } else { "scgi" }, commands),
        ("connect", s.connect.as_ref().map(|typed| &typed.position)),
    ];
    let mut typed: Vec<_> = ways
        .into_iter()
        .filter_map(|(key, position)| Some((key, position?)))
        .collect();
    typed.sort_by_key(|(_, position)| position.line());
    if let [(first, position), (second, wrong), ..] = typed[..] {
        let line = position.line();
        let message = format!(
            "'{second}' beside '{first}' on line {line}; an app has one of 'wsgi', 'cgi' and/or 'scgi', 'connect'"
        );
        return Err(BadConfig::new(wrong.clone(), message));
    }
    let app = match (&s.wsgi, &s.connect, commands) {
        (Some(wsgi), _, _) => App::Wsgi(wsgi.value.clone()),
        (None, Some(connect), _) => App::Connect(connect.value.clone()),
        (None, None, Some(_)) => App::Commands {
            cgi: value(&s.cgi),
            scgi: value(&s.scgi),
        },
        (None, None, None) => {
            let message = "nothing says what to run; add a line 'wsgi = module:callable', or 'cgi', 'scgi', 'connect'";
            return Err(BadConfig::new(s.end.clone(), message));
        }
    };
    Ok((
        app,
        typed
            .first()
            .map_or(&s.end, |(_, position)| position)
            .clone(),
    ))
}

/// `mode = cgi` needs a way to run the app as a CGI. For an app without one it is an error in the app's own file, and
/// ignored in the host's.
fn mode(s: &Settings, app: &App) -> Result<Mode, BadConfig> {
    match &s.mode {
        Some(mode) if mode.value == Mode::Cgi && !app.runs_as_cgi() => {
            if mode.position.path() != s.end.path() {
                return Ok(Mode::Auto);
            }
            let message = "'mode = cgi' needs 'wsgi' or 'cgi'; this app can only be forwarded to";
            Err(BadConfig::new(mode.position.clone(), message))
        }
        Some(mode) => Ok(mode.value),
        None => Ok(Mode::Auto),
    }
}

/// Two for each core, plus one; at most 16, and at most a quarter of the processes that the user may have.
pub(super) fn default_max_procs(host: Host) -> u32 {
    let by_cores = (2.0 * host.cores).floor() as u32; // `as` saturates, and takes NaN for 0.
    let by_nproc = host
        .nproc
        .and_then(|nproc| u32::try_from(nproc / 4).ok())
        .unwrap_or(u32::MAX);
    by_cores.saturating_add(1).min(16).min(by_nproc).max(1)
}

/// The value of `key`, which must not be above `max-procs`.
///
/// A `max-procs` that was computed is raised: a file that is right on one machine must be right on a smaller one. If
/// both were typed, in one file it is an error; in two, the app's own file counts and the host's value is changed to
/// fit.
fn fit(
    key: &str,
    low: Option<&Typed<u32>>,
    max_typed: Option<&Typed<u32>>,
    own: &str,
    max_procs: &mut u32,
) -> Result<Option<u32>, BadConfig> {
    let Some(low) = low else { return Ok(None) };
    if low.value <= *max_procs {
        return Ok(Some(low.value));
    }
    match max_typed {
        Some(max) if max.position.path() == low.position.path() => {
            let (value, line) = (low.value, max.position.line());
            let message = format!(
                "{key}: {value} is above max-procs, which is {} on line {line}",
                max.value
            );
            Err(BadConfig::new(low.position.clone(), message))
        }
        Some(max) if max.position.path() == own => Ok(Some(*max_procs)),
        Some(_) | None => {
            *max_procs = low.value;
            Ok(Some(low.value))
        }
    }
}

fn value<T: Clone>(typed: &Option<Typed<T>>) -> Option<T> {
    typed.as_ref().map(|typed| typed.value.clone())
}

fn or<T: Clone>(typed: &Option<Typed<T>>, default: T) -> T {
    value(typed).unwrap_or(default)
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

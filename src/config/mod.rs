//! The configuration: `Settings` is what was typed, `Config` is what it means with every default applied. This room
//! opens no file, does not look whether one exists, and does not ask how large the machine is.
//!
//! The syntax is that of `lines` and `words`. An app has up to two files: its own, and the host's defaults. A key in
//! the app's own file counts over the same key in the host's.
#![forbid(unsafe_code)]

mod addresses;
mod bad_config;
mod bad_value;
mod choices;
mod defaults;
mod doubts;
mod env_file;
mod extremes;
mod guess;
mod lines;
mod names;
mod settings;
mod values;
mod words;

use std::path::PathBuf;
use std::time::Duration;

pub use addresses::{Address, Allow, Network, ShowErrors, StatusPage, User};
pub use bad_config::{BadConfig, Position};
pub use choices::{Accept, Handoff, LogLevel, Mode, Reload};
pub use doubts::{ConfigDoubt, DoubtKind, doubts, env_file_doubts};
pub use env_file::env_file;
pub use extremes::EXTREMES;
pub use names::{Mount, Python, Target};
#[cfg(test)]
pub(crate) use settings::TYPES;
pub use settings::{Settings, Typed};
pub use values::{Load, OrAuto, Percentage, Rate};
pub use words::{as_text, as_word};

/// The largest configuration file or `env-file`, in bytes: a larger file is not read.
pub const LONGEST_FILE: usize = 1 << 20;

/// What runs the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum App {
    /// `cgi`, `scgi`: commands, each a program and its arguments. At least one of the two is set.
    Commands {
        /// Runs the app as a CGI.
        cgi: Option<Vec<String>>,
        /// Runs the app as an SCGI server.
        scgi: Option<Vec<String>>,
    },
    /// `connect`: an SCGI server that runs already, not by us.
    Connect(Address),
    /// `wsgi`: our adaptor runs it, as a CGI and in a daemon.
    Wsgi(Target),
}

impl App {
    /// The key that names what runs it; of a CGI that is also an SCGI server, `scgi`.
    pub fn key(&self) -> &'static str {
        match self {
            App::Commands { scgi: Some(_), .. } => "scgi",
            App::Commands { scgi: None, .. } => "cgi",
            App::Connect(_) => "connect",
            App::Wsgi(_) => "wsgi",
        }
    }

    /// Whether it can run as a plain CGI. If not, every request is forwarded.
    pub fn runs_as_cgi(&self) -> bool {
        match self {
            App::Commands { cgi, .. } => cgi.is_some(),
            App::Connect(_) => false,
            App::Wsgi(_) => true,
        }
    }

    /// Whether a front can serve a request without a daemon: as a CGI, or by asking the server of `connect` itself.
    pub fn runs_without_daemon(&self) -> bool {
        matches!(self, App::Connect(_)) || self.runs_as_cgi()
    }
}

/// `daemon-when-*`: any of these makes an app busy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DaemonWhen {
    /// This many CGIs of the app run. Never more than `cgi-max`, since no more can run.
    pub busy: u32,
    /// Requests come faster than this, or so that a daemon pays.
    pub rate: OrAuto<Rate>,
    /// The load is higher than this, and two requests came in the last minute.
    pub load: Load,
}

/// How long a daemon lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// It exits after this time without a request, or once it no longer pays to keep it.
    pub idle_timeout: OrAuto<Duration>,
    /// It lives at least this long.
    pub min_lifetime: Duration,
    /// It exits after this time with few requests. `None`: what came in that time does not count.
    pub quiet_timeout: Option<Duration>,
}

/// How many workers there are, and when one is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// The fewest workers; at most `max_procs`.
    pub min_procs: u32,
    /// The most workers: 1 to 1024.
    pub max_procs: u32,
    /// How many idle workers to keep; at most `max_procs`.
    pub min_idle: u32,
    /// A worker is replaced after this many requests, give or take a tenth; not 0.
    pub max_requests: Option<u32>,
    /// A worker with more resident bytes is replaced; not 0.
    pub max_rss: Option<u64>,
    /// A worker that is not needed exits after this time without a request.
    pub worker_idle_timeout: Duration,
    /// Import the app once, and fork the workers from that process.
    pub preload: bool,
}

/// How many requests wait, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// `queue-size`: the most requests that wait; 0 is no queue.
    pub size: u32,
    /// `queue-timeout`: the longest wait.
    pub timeout: Duration,
    /// `queue-target`: requests are shed while all wait longer than this.
    pub target: Duration,
    /// `priority-cookie`: requests with a cookie of this name are shed last.
    pub priority_cookie: Option<String>,
    /// `waiting-room`: browsers that are refused for load get a ticket.
    pub waiting_room: bool,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// `start-timeout`: for the app's start. At least 1 s.
    pub start: Duration,
    /// `start-page-after`: how long a browser waits for the app's start. At least 1 s.
    pub start_page: Option<Duration>,
    /// `request-timeout`: for a request without progress. At least 1 s.
    pub request: Duration,
    /// `request-limit`: for a request, from its beginning to its end. At least 1 s.
    pub request_limit: Option<Duration>,
    /// `graceful-timeout`: for the rest of a request, when its worker or the daemon is to exit.
    pub graceful: Duration,
}

/// How large a request may be, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeLimits {
    /// `header-limit`: 4 to 128 KiB.
    pub header: usize,
    /// `body-limit`: not 0.
    pub body: Option<u64>,
}

/// `spool-*`: the files in which bodies and responses wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// Their directory, absolute.
    pub dir: PathBuf,
    /// The most bytes in all of them together.
    pub limit: u64,
}

/// `overload-*`
#[derive(Clone, Debug, PartialEq)]
pub struct Overload {
    /// An HTML file in place of the built-in page. If relative, to `directory`.
    pub page: Option<PathBuf>,
    /// At a higher load every request gets the page.
    pub when_load: Option<Load>,
    /// The same at a higher memory pressure.
    pub when_pressure: Option<Percentage>,
}

/// `listen`, and which clients may connect there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Any number of addresses.
    pub addresses: Vec<Address>,
    /// `listen-allow`: the clients.
    pub allow: Allow,
    /// Permission bits of a socket's path, up to 0o777.
    pub socket_mode: u32,
    /// Name or number; not looked up.
    pub socket_group: Option<String>,
}

/// `log-*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// `None` is `log` in the runtime directory. If relative, to `directory`.
    pub file: Option<PathBuf>,
    /// The lowest level that is logged.
    pub level: LogLevel,
}

/// What the defaults depend on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Host {
    /// Cores that we may use, by affinity and cgroup quota.
    pub cores: f64,
    /// Soft RLIMIT_NPROC; `None` is no limit.
    pub nproc: Option<u64>,
}

/// The configuration of one app: what it means.
#[derive(Clone, Debug)]
pub struct Config {
    /// `wsgi`; `cgi`, `scgi`; `connect`.
    pub app: App,
    /// The interpreter.
    pub python: Python,
    /// `None` is the folder of the script or of the symlink. If relative, to that folder.
    pub directory: Option<PathBuf>,
    /// `env.NAME`: names and values, no name twice. They count over those of `env_file`.
    pub env: Vec<(String, String)>,
    /// If relative, to `directory`.
    pub env_file: Option<PathBuf>,
    /// `None`: the web server divides the path.
    pub mount: Option<Mount>,
    /// Never `Cgi` for an app that can't run as one.
    pub mode: Mode,
    /// When the daemon is started.
    pub when: DaemonWhen,
    /// When the daemon exits.
    pub lifetime: Lifetime,
    /// The daemon's workers.
    pub pool: PoolLimits,
    /// The most CGIs at once while there is no daemon: 0 to 1024.
    pub cgi_max: u32,
    /// Requests that wait for a worker.
    pub queue: QueueLimits,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Size limits.
    pub limits: SizeLimits,
    /// Where bodies and responses wait.
    pub spool: Spool,
    /// What makes the daemon load the app anew.
    pub reload: Reload,
    /// Patterns of more files whose edit makes it do so. If relative, to `directory`.
    pub watch: Vec<String>,
    /// Which clients see reasons.
    pub show_errors: ShowErrors,
    /// The page with the app's figures.
    pub status: StatusPage,
    /// Whether responses carry a Server-Timing field.
    pub server_timing: bool,
    /// The overload page, and the host's overload.
    pub overload: Overload,
    /// Absolute. `None`: the usual directories.
    pub runtime_dir: Option<PathBuf>,
    /// More addresses for the daemon.
    pub listen: Listen,
    /// What accepts connections for a WSGI application.
    pub accept: Accept,
    /// What a front does once the daemon has its descriptors.
    pub handoff: Handoff,
    /// The daemon's log.
    pub log: Logging,
    positions: Vec<(&'static str, Position)>,
    app_position: Position,
}

/// What `show-errors` says in a file that may be wrong elsewhere; off if that line is wrong, mistyped or there twice.
/// `None`: there is no such line.
pub fn shows_errors(text: &[u8]) -> Option<ShowErrors> {
    const KEY: &str = "show-errors";
    let path = "".into();
    let lines = lines::read(&path, text, lines::Secrets::Dotted).flatten();
    let meant = lines.filter_map(|line| match line.key() {
        KEY => Some(line.value()),
        key => (guess::meant(key, settings::KEYS) == Some(KEY)).then_some(""),
    });
    let values: Vec<&str> = meant.collect();
    let unread = text.split(|byte| matches!(byte, b'\r' | b'\n'));
    let begun = unread.filter(|line| line.trim_ascii_start().starts_with(KEY.as_bytes()));
    match (&values[..], begun.count()) {
        ([], 0) => None,
        ([value], 1) if !value.is_empty() => {
            Some(addresses::show_errors(value).unwrap_or(ShowErrors::Off))
        }
        _ => Some(ShowErrors::Off),
    }
}

/// A finding at the line of each `env.NAME` of which `message`, told the key, has something to say.
pub fn blame_variables(
    path: &str,
    text: &[u8],
    message: impl Fn(&str) -> Option<String>,
) -> Vec<BadConfig> {
    let path = path.into();
    let lines = lines::read(&path, text, lines::Secrets::Dotted).flatten();
    let variables = lines.filter(|line| line.key().starts_with("env."));
    let blamed = |line: lines::Line<'_>| {
        let message = message(line.key())?;
        Some(BadConfig::new(line.key_position(), message))
    };
    variables.filter_map(blamed).collect()
}

/// Reads one file. Errors name it by `path`. The `#!` line is a comment; text that is not UTF-8 is an error.
pub fn parse(path: &str, text: &[u8]) -> Result<Settings, BadConfig> {
    Settings::read(path, text)
}

impl Config {
    /// An error at the line of `key`, for what only the machine can tell, such as a missing program. If `key` was not
    /// typed, it is at the line that says what to run.
    pub fn blame(&self, key: &str, message: &str) -> BadConfig {
        let typed = self.positions.iter().find(|(known, _)| *known == key);
        BadConfig::new(
            typed
                .map_or(&self.app_position, |(_, position)| position)
                .clone(),
            message,
        )
    }
}

#[cfg(test)]
impl Config {
    /// What it means, apart from its lines: the same for two that mean the same.
    pub(crate) fn meaning(&self) -> String {
        let positions = Vec::new();
        format!(
            "{:?}",
            Config {
                positions,
                ..self.clone()
            }
        )
    }
}

#[cfg(test)]
mod tests;

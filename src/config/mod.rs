//! The configuration: `Settings` is what was typed, `Config` is what it means with every default
//! applied. This room refuses to open a file, to look whether one exists, or to ask the machine how
//! large it is.
//!
//! The syntax is that of `lines` and `words`. An app has up to two files: its own, and the defaults
//! of the host. What the host says yields wherever the app says something else.
#![forbid(unsafe_code)]

mod addresses;
mod bad_config;
mod bad_value;
mod choices;
mod defaults;
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

pub use addresses::{Address, Allow, Network, ShowErrors, User};
pub use bad_config::{BadConfig, Position};
pub use choices::{Handoff, LogLevel, Mode, Reload};
pub use env_file::env_file;
pub use extremes::EXTREMES;
pub use names::{Mount, Python, Target};
pub use settings::{Settings, Typed};
pub use values::{Load, Rate};

/// The most bytes of a configuration file or an `env-file` that need be read: what is longer is
/// none.
pub const LONGEST_FILE: usize = 1 << 20;

/// What runs the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum App {
    /// `cgi`, `scgi`: commands, each one program and its arguments. At least one of the two is
    /// there.
    Commands {
        /// Runs it as a CGI.
        cgi: Option<Vec<String>>,
        /// Runs it as an SCGI server.
        scgi: Option<Vec<String>>,
    },
    /// `connect`: somebody else runs it.
    Connect(Address),
    /// `wsgi`: our adaptor runs it, both ways.
    Wsgi(Target),
}

impl App {
    /// Whether there is a way to run it as a plain CGI; without one, every request is forwarded.
    pub fn runs_as_cgi(&self) -> bool {
        match self {
            App::Commands { cgi, .. } => cgi.is_some(),
            App::Connect(_) => false,
            App::Wsgi(_) => true,
        }
    }

    /// Whether a front can serve a request when there is no daemon: as a CGI, or by asking the server itself.
    pub fn runs_without_daemon(&self) -> bool {
        matches!(self, App::Connect(_)) || self.runs_as_cgi()
    }
}

/// `daemon-when-*`: what makes an app busy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DaemonWhen {
    /// This many CGIs of the app run already. Never more than `cgi-max`, or its last CGI would hide
    /// that it is busy.
    pub busy: u32,
    /// Requests come faster.
    pub rate: Rate,
    /// The load is higher, and there were two requests in the last minute.
    pub load: Load,
}

/// How long a daemon lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Without a request.
    pub idle_timeout: Duration,
    /// At least.
    pub min_lifetime: Duration,
    /// With few requests.
    pub quiet_timeout: Duration,
}

/// How many workers there are and when one is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Kept at least; no more than `max_procs`.
    pub min_procs: u32,
    /// At most: 1 to 1024.
    pub max_procs: u32,
    /// Kept spare; no more than `max_procs`.
    pub min_idle: u32,
    /// Requests of one worker, before the jitter; not 0.
    pub max_requests: Option<u32>,
    /// Resident bytes of one worker; not 0.
    pub max_rss: Option<u64>,
    /// After this a spare worker exits.
    pub worker_idle_timeout: Duration,
    /// Import once and fork.
    pub preload: bool,
}

/// How many requests wait, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// `queue-size`: at most; 0 is no queue.
    pub size: u32,
    /// `queue-timeout`
    pub timeout: Duration,
    /// `queue-target`: above this standing delay it sheds.
    pub target: Duration,
    /// Name of the cookie that makes a request be shed last.
    pub priority_cookie: Option<String>,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// `start-timeout`: not 0.
    pub start: Duration,
    /// `request-timeout`, without progress: not 0.
    pub request: Duration,
    /// `request-limit`, by the wall clock: not 0.
    pub request_limit: Option<Duration>,
    /// `graceful-timeout`
    pub graceful: Duration,
}

/// How large a request may be, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeLimits {
    /// `header-limit`: 1 byte to 128 KiB.
    pub header: usize,
    /// `body-limit`: not 0.
    pub body: Option<u64>,
}

/// `spool-*`: where bodies and responses wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// Absolute.
    pub dir: PathBuf,
    /// Bytes in all.
    pub limit: u64,
}

/// `overload-*`
#[derive(Clone, Debug, PartialEq)]
pub struct Overload {
    /// An HTML file in place of the built-in page. If relative, to `directory`.
    pub page: Option<PathBuf>,
    /// Above this there is nothing but the page.
    pub when_load: Option<Load>,
}

/// `listen`, and who may connect there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// None, or more than one.
    pub addresses: Vec<Address>,
    /// `listen-allow`
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
    /// The least that is logged.
    pub level: LogLevel,
}

/// What of the machine the defaults depend on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Host {
    /// Cores that we may use: affinity and cgroup quota counted.
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
    /// `env.NAME`: names and values, no name twice. They go over those of `env_file`.
    pub env: Vec<(String, String)>,
    /// If relative, to `directory`.
    pub env_file: Option<PathBuf>,
    /// `None`: from the server.
    pub mount: Option<Mount>,
    /// Never `Cgi` for an app that can't run as one.
    pub mode: Mode,
    /// When the daemon is started.
    pub when: DaemonWhen,
    /// When it leaves.
    pub lifetime: Lifetime,
    /// Its workers.
    pub pool: PoolLimits,
    /// CGIs at once while there is no daemon: up to 1024; 0 is none.
    pub cgi_max: u32,
    /// Requests that wait for a worker.
    pub queue: QueueLimits,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Size limits.
    pub limits: SizeLimits,
    /// Unlinked files.
    pub spool: Spool,
    /// What makes the daemon load the app anew.
    pub reload: Reload,
    /// Who sees reasons.
    pub show_errors: ShowErrors,
    /// Whether responses carry a Server-Timing field.
    pub server_timing: bool,
    /// The overload page, and the host's overload.
    pub overload: Overload,
    /// Absolute. `None`: the usual ones.
    pub runtime_dir: Option<PathBuf>,
    /// More addresses for the daemon.
    pub listen: Listen,
    /// What a front does once it was heard.
    pub handoff: Handoff,
    /// The daemon's log.
    pub log: Logging,
    positions: Vec<(&'static str, Position)>,
    app_position: Position,
}

/// Reads one file. `path` is what errors call it. The `#!` line is a comment; text that is not
/// UTF-8 is an error.
pub fn parse(path: &str, text: &[u8]) -> Result<Settings, BadConfig> {
    Settings::read(path, text)
}

impl Config {
    /// Lays `message` at the line of `key`: for what only the machine can tell, such as a program
    /// that is missing. Where `key` was not typed, at the line that says what to run.
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
mod tests;

//! What the way of a request depends on.

use std::time::Duration;

use super::rental::LoadTime;

/// How the app's daemon answered a connect that does not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// No process listens.
    Absent,
    /// It took the connection.
    Answers,
    /// A policy of the host (SELinux, AppArmor) or a mode forbids it.
    Forbidden,
    /// Its backlog is full: the overload signal.
    Full,
}

/// What the record of starts says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartRecord {
    /// The last start failed, and the pause after it is not over.
    BackingOff {
        /// The app itself could not be imported: a CGI would fail in the same way.
        broken: bool,
        /// What remains of the pause.
        left: Duration,
    },
    /// A daemon may be started.
    Clear,
    /// An operator keeps the daemon down.
    Held,
    /// A moment ago a daemon has not answered in time: its process is there, but it has lost its name until it answers.
    Silent {
        /// It was stopped (SIGSTOP, a debugger); else it may only be slow, and another one would make the host slower.
        is_stopped: bool,
    },
}

/// `mode` in the app file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By load.
    Auto,
    /// Never a daemon.
    Cgi,
    /// Always a daemon.
    Daemon,
}

/// The CGIs of the app that run at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgiCount {
    /// This many of at most so many are taken.
    Taken {
        /// Taken slots.
        running: u32,
        /// All slots (`cgi-max`).
        most: u32,
    },
    /// There is no file to count them in: the app runs without a limit.
    Uncounted,
}

/// `daemon-when-rate`, and what is known where it is `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimit {
    /// `auto`: what a load of the app costs decides.
    Auto {
        /// `None`: none was measured.
        load: Option<LoadTime>,
        /// For how long a daemon can be kept for that.
        break_even: Duration,
        /// Pauses between requests that are known.
        pauses: u64,
        /// Those of them that are shorter than the break-even.
        shorter: u64,
    },
    /// So many in this time.
    Number(u32, Duration),
}

/// All that the decision depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    /// The daemon's answer.
    pub reach: Reach,
    /// The record of starts.
    pub start: StartRecord,
    /// `mode`.
    pub mode: Mode,
    /// The app can run as a CGI at all.
    pub has_cgi: bool,
    /// CGIs that run.
    pub slots: CgiCount,
    /// `daemon-when-busy`: start the daemon at this many CGIs.
    pub busy_limit: u32,
    /// Requests come faster than `daemon-when-rate`, or so that a daemon pays.
    pub rate_exceeded: bool,
    /// `daemon-when-rate`.
    pub rate_limit: RateLimit,
    /// Requests in the last minute, this one included.
    pub last_minute: u32,
    /// 1-minute load average per usable core.
    pub load: f64,
    /// `daemon-when-load`.
    pub load_limit: f64,
    /// A daemon left less than a minute ago because it was not needed: it takes a crowd to start another.
    pub has_just_left: bool,
    /// `overload-when-load`.
    pub overload_limit: Option<f64>,
    /// How much of the last 10 s some process waited for memory, in percent; only known if there is a limit.
    pub pressure: f64,
    /// `overload-when-pressure`.
    pub pressure_limit: Option<f64>,
}

//! What the daemon remembers for the files of this room: upgrade, upkeep, state file, commands.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::policy::pool::Generation;
use crate::start;
use crate::sys::files::{self, Identity};
use crate::sys::pressure::{PressureFiles, PressureTrigger};
use crate::sys::{clock, load, process};

/// The program that we are, and whether it is still the one at its place.
#[derive(Debug)]
pub(crate) struct Upgrade {
    pub(super) binary: PathBuf,
    /// The file at `binary` that was seen, or tried, last.
    pub(super) known: Option<Identity>,
    /// How this process was told to run.
    pub(super) words: Vec<CString>,
    pub(super) wanted: Option<Wanted>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// The app's files have been seen since, and are what serves: a new daemon can import them.
    pub(super) is_sure: bool,
    pub(super) is_pausing: bool,
    pub(super) until: Duration,
}

impl Upgrade {
    /// `app` as it was named on the command line.
    pub(crate) fn new(app: &str, is_background: bool) -> Upgrade {
        let (binary, is_replaced) = process::own_path().unwrap_or_default();
        let known = files::identity(&binary).ok().filter(|_| !is_replaced);
        let in_foreground = (!is_background).then_some(start::FOREGROUND_SWITCH);
        let words = in_foreground.into_iter().chain([app]);
        Upgrade {
            known,
            binary,
            words: words
                .map(|word| process::c_string(word.as_bytes()))
                .collect(),
            wanted: None,
        }
    }

    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.wanted.map(|wanted| wanted.until)
    }
}

/// A daemon that leaves sweeps its runtime directory; one that stays does so this often.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// When the daemon looks after itself next.
#[derive(Debug)]
pub(crate) struct Upkeep {
    pub(super) due: Duration,
    pub(super) state_due: Duration,
    pub(super) sweep_due: Duration,
    pub(super) processor_limit: Option<Duration>,
    /// When we were started, in seconds since 1970.
    pub(super) started: u64,
}

impl Upkeep {
    pub(crate) fn new() -> Upkeep {
        let now = clock::now();
        Upkeep {
            due: now,
            state_due: now,
            sweep_due: now + SWEEP_INTERVAL,
            processor_limit: load::processor_limit(),
            started: clock::wall().as_secs(),
        }
    }

    pub(crate) fn next_deadline(&self) -> Duration {
        self.due
    }
}

/// How the daemon learns whether memory is short.
#[derive(Debug, Default)]
pub(crate) struct MemoryWatch {
    /// What the pool's first question has found; `None`: it has not asked.
    pub(super) found: Option<PressureFiles>,
    /// By these the kernel tells of a pressure.
    pub(super) triggers: Vec<PressureTrigger>,
    /// It tells of each that we can read.
    pub(super) is_watched: bool,
    /// What was logged last.
    pub(super) is_short: bool,
}

/// What lies in the file `state`, as far as we have written it.
#[derive(Debug, Default)]
pub(crate) struct StateFile {
    pub(super) text: String,
    pub(super) is_failing: bool,
}

/// What a person's command waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wish {
    /// A generation after this one serves, or has failed.
    Reload { after: Generation },
    /// The app is ready, or is known not to become so.
    Start,
}

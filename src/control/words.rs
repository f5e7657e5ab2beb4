//! States, and the words by which they are sent and printed.

use std::fmt;

use crate::policy::server::Condition;

/// The state of an app's daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DaemonState {
    BackingOff,
    #[default]
    Down,
    Draining,
    Held,
    Starting,
    Up,
}

pub(crate) const STATES: [(DaemonState, &str); 6] = [
    (DaemonState::BackingOff, "backing-off"),
    (DaemonState::Down, "down"),
    (DaemonState::Draining, "draining"),
    (DaemonState::Held, "held"),
    (DaemonState::Starting, "starting"),
    (DaemonState::Up, "up"),
];

impl DaemonState {
    /// Its word, as printed and sent.
    pub fn word(self) -> &'static str {
        word_of(&STATES, &self)
    }
}

/// What a worker does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Activity {
    /// It has no request, and takes the next one from the listeners itself.
    Accepting,
    Busy,
    Idle,
    Retiring,
    #[default]
    Starting,
    Stuck,
}

pub(crate) const ACTIVITIES: [(Activity, &str); 6] = [
    (Activity::Accepting, "accepting"),
    (Activity::Busy, "busy"),
    (Activity::Idle, "idle"),
    (Activity::Retiring, "retiring"),
    (Activity::Starting, "starting"),
    (Activity::Stuck, "stuck"),
];

pub(crate) const CONDITIONS: [(Condition, &str); 6] = [
    (Condition::BackingOff, "backing-off"),
    (Condition::Down, "down"),
    (Condition::Ending, "ending"),
    (Condition::Retiring, "retiring"),
    (Condition::Starting, "starting"),
    (Condition::Up, "up"),
];

/// The word of a value, as printed and sent.
pub(super) fn word_of<T: PartialEq>(words: &[(T, &'static str)], value: &T) -> &'static str {
    let known = words.iter().find(|(known, _)| known == value);
    known.map_or("", |(_, word)| word)
}

/// The value of a word that was sent.
pub(super) fn value_of<T: Copy>(words: &[(T, &'static str)], word: &str) -> Option<T> {
    let known = words.iter().find(|(_, known)| *known == word);
    known.map(|(value, _)| *value)
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word_of(&ACTIVITIES, self))
    }
}

/// The word of the condition of an app's own server.
pub(super) fn condition_word(condition: Condition) -> &'static str {
    word_of(&CONDITIONS, &condition)
}

//! The protocol of `status`, `stop` and `reload`: the command to a daemon, and its answer; and how a person or a program
//! is shown that. It knows text and no socket.
//!
//! `status` says what is known of an app, `words` what its states are called. `lines` is the answer on the wire, `json`
//! and `text` are what is printed.
#![forbid(unsafe_code)]

mod json;
mod lines;
#[cfg(test)]
mod samples;
mod status;
mod text;
mod words;

#[cfg(test)]
pub(crate) use samples::busy as busy_status;
pub use status::{
    Ceilings, CodeChange, Leave, MemoryStatus, RequestStatus, Routing, ServerStatus, Status,
    WorkerStatus,
};
#[cfg(test)]
pub(crate) use words::{ACTIVITIES, CONDITIONS, STATES};
pub use words::{Activity, DaemonState};

/// The meta-variable of a command to the daemon. Only the daemon's own user and root may send one, over the socket in
/// the app's place.
pub const VARIABLE: &str = "POLYCGI_CONTROL";

/// A command to the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Send the status once the app is ready, or its start has failed.
    Ready,
    /// Load configuration and app anew, and send the status once that is done or has failed; then with a
    /// `last_failure`.
    Reload,
    /// Send the status.
    Status,
    /// Finish the requests that are there, then exit.
    Stop,
}

const COMMANDS: [Command; 4] = [
    Command::Ready,
    Command::Reload,
    Command::Status,
    Command::Stop,
];

impl Command {
    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Command::Ready => "ready",
            Command::Reload => "reload",
            Command::Status => "status",
            Command::Stop => "stop",
        }
    }

    /// `None`: an unknown command.
    pub fn from_word(word: &[u8]) -> Option<Command> {
        COMMANDS
            .into_iter()
            .find(|command| command.word().as_bytes() == word)
    }
}

/// The command's word, if the message is a command: then it has no other variables. A message with more is a request,
/// even if it has this variable, such as from a front's environment.
pub fn word<'a>(pairs: &[(&[u8], &'a [u8])]) -> Option<&'a [u8]> {
    match pairs {
        [(b"CONTENT_LENGTH", b"0"), (b"SCGI", b"1"), (name, word)] => {
            (*name == VARIABLE.as_bytes()).then_some(word)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgi::meta::{Peer, admitted};

    #[test]
    fn commands_by_their_words() {
        for command in COMMANDS {
            assert_eq!(Command::from_word(command.word().as_bytes()), Some(command));
        }
        assert_eq!(Command::from_word(b"statusx"), None);
    }

    #[test]
    fn a_command_is_nothing_but_that() {
        let message = |pairs: &[(&str, &'static str)]| {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
                .collect();
            word(&pairs).map(<[u8]>::to_vec)
        };
        let (length, scgi) = (("CONTENT_LENGTH", "0"), ("SCGI", "1"));
        let stop = (VARIABLE, "stop");
        assert_eq!(
            message(&[length, scgi, stop]).as_deref(),
            Some(&b"stop"[..])
        );
        for pairs in [
            &[length, scgi, stop, ("REQUEST_METHOD", "GET")][..],
            &[length, scgi, ("POLYCGI", "1"), stop],
            &[length, scgi, stop, stop],
            &[length, stop, scgi],
            &[("CONTENT_LENGTH", ""), scgi, stop],
            &[("CONTENT_LENGTH", "4"), scgi, stop],
            &[length, scgi],
            &[],
        ] {
            assert_eq!(message(pairs), None, "{pairs:?}");
        }
        assert!(!admitted(VARIABLE.as_bytes(), Peer::Own));
    }
}

//! What is said of requests once: it is the same for each that it concerns, and a log would be full of it.

use std::collections::BTreeSet;

use super::Daemon;
use crate::policy::queue::Ticket;
use crate::report::visible;

/// Upper limit for the names that are told of, each once.
const MOST_NAMES: usize = 64;

/// What was said once, and is the same for each request that it concerns.
#[derive(Debug, Default)]
pub(super) struct Told {
    overridden: BTreeSet<String>,
    refusal: bool,
    unbelieved: bool,
}

impl Daemon {
    /// Somebody who may not has said who the user is.
    pub(super) fn note_unbelieved(&mut self, name: &[u8]) {
        if !std::mem::replace(&mut self.told.unbelieved, true) {
            ::log::warn!(
                "{} is dropped: its client may say who the user is only if 'listen-allow' names it",
                visible(name)
            );
        }
    }

    /// A web server gives this name several values.
    pub(super) fn note_overridden(&mut self, name: String) {
        let told = &mut self.told.overridden;
        if told.len() < MOST_NAMES && !told.contains(&name) {
            ::log::warn!("{name} came twice with different values: the last one counts");
            told.insert(name);
        }
    }

    /// A plain client's web server can't be told: once is enough to find a mount that is wrong.
    pub(super) fn note_refusal(&mut self, ticket: Ticket, sentence: &str) {
        if self.tell_web_server(ticket, sentence) {
            return;
        }
        let level = match std::mem::replace(&mut self.told.refusal, true) {
            false => ::log::Level::Info,
            true => ::log::Level::Debug,
        };
        ::log::log!(level, "refused: {sentence}");
    }
}

//! What a front waits for before it turns a request away: a slot, or room in the daemon's backlog. And for how long: a
//! visitor who was told to come back, and has, waits longer than others, and before them.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::Front;
use crate::config::Config;
use crate::keyring::Keyring;
use crate::slots::{Awaited, WaitingLine};
use crate::start::{self, Here};
use crate::sys::{Errno, clock};
use crate::ticket::Standing;

/// How long a request waits ...
const PATIENCE: Duration = Duration::from_millis(500);
/// ... and one with a ticket that is due.
const PATIENCE_WITH_TICKET: Duration = Duration::from_secs(2);
/// How many wait in each line for room in the backlog at the same time.
const MOST_AT_BACKLOG: u32 = 16;

impl Front {
    /// Takes a slot, and waits for one if there is none.
    pub(super) fn await_slot(&self, config: &Config, here: &Here) -> io::Result<Awaited> {
        if here.slots.take(config.cgi_max)? {
            return Ok(Awaited::Taken);
        }
        let (line, patience) = self.line(config, here);
        here.slots.await_slot(config.cgi_max, line, patience)
    }

    /// Connects to the daemon, and waits for room in its backlog. `EAGAIN`: there was none, or too many wait.
    pub(super) fn connect_patiently(
        &self,
        config: &Config,
        here: &Here,
    ) -> io::Result<Option<OwnedFd>> {
        let (line, patience) = self.line(config, here);
        match here.slots.waiting_place(line, MOST_AT_BACKLOG)? {
            Some(_place) => start::try_connect_within(&here.place, patience),
            None => Err(Errno::EAGAIN.into()),
        }
    }

    /// Among whom this request waits, and for how long.
    fn line(&self, config: &Config, here: &Here) -> (WaitingLine, Duration) {
        let cookies = self.request.value("HTTP_COOKIE").unwrap_or_default();
        let standing = || Keyring::default().standing(cookies, &here.place, clock::wall());
        if config.queue.waiting_room && matches!(standing(), Standing::Due(_)) {
            (WaitingLine::Due, PATIENCE_WITH_TICKET)
        } else {
            (WaitingLine::Anonymous, PATIENCE)
        }
    }
}

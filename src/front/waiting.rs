//! What a front waits for before it turns a request away: a slot, or room in the daemon's backlog. And for how long: a
//! visitor who was told to come back, and has, waits longer than others. For a slot such a visitor goes before them, too,
//! also before those that come just when it is free. Of those that wait for room in the backlog the kernel lets in any.

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
    /// Takes a slot, and waits for one if there is none, or if there were others who go first when the facts were found.
    pub(super) fn await_slot(&self, config: &Config, here: &Here) -> io::Result<Awaited> {
        let (slots, most) = (&here.slots, config.cgi_max);
        if !self.is_due_waiting && slots.take(most)? {
            return Ok(Awaited::Taken);
        }
        let (line, patience) = self.line(config, here);
        match (slots.await_slot(most, line, patience)?, line) {
            (Awaited::TooMany, WaitingLine::Due) => {
                slots.await_slot(most, WaitingLine::Anonymous, PATIENCE)
            }
            (awaited, _) => Ok(awaited),
        }
    }

    /// Connects to the daemon, and waits for room in its backlog. `EAGAIN`: there was none, or too many wait.
    pub(super) fn connect_patiently(
        &self,
        config: &Config,
        here: &Here,
    ) -> io::Result<Option<OwnedFd>> {
        let (mut line, mut patience) = self.line(config, here);
        let mut place = here.slots.waiting_place(line, MOST_AT_BACKLOG)?;
        if place.is_none() && line == WaitingLine::Due {
            (line, patience) = (WaitingLine::Anonymous, PATIENCE);
            place = here.slots.waiting_place(line, MOST_AT_BACKLOG)?;
        }
        match place {
            Some(_place) => start::try_connect_within(&here.place, patience),
            None => Err(Errno::EAGAIN.into()),
        }
    }

    /// Among whom this request waits, and for how long. Further requests of a ticket that several have are anonymous.
    fn line(&self, config: &Config, here: &Here) -> (WaitingLine, Duration) {
        let cookies = self.request.value("HTTP_COOKIE").unwrap_or_default();
        let standing = match config.queue.waiting_room {
            true => Keyring::default().standing(cookies, &here.place, clock::wall()),
            false => Standing::Anonymous,
        };
        match standing {
            Standing::Due(ticket) if here.slots.enter_ticket(ticket.id()).unwrap_or(false) => {
                (WaitingLine::Due, PATIENCE_WITH_TICKET)
            }
            _ => (WaitingLine::Anonymous, PATIENCE),
        }
    }
}

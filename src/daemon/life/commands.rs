//! What a person's command makes the daemon do, and when it answers. Who may give one was decided before.

use std::os::fd::AsFd;

use super::reload::Outcome;
use crate::control::{Command, Status};
use crate::daemon::Daemon;
use crate::daemon::watch::End;
use crate::policy::pool::{Event, Generation};
use crate::policy::queue::Ticket;
use crate::sys::socket;

/// What somebody waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wish {
    /// A generation after this one serves, or can't be had.
    Reload { after: Generation },
    /// The app is ready, or is known not to become so.
    Start,
}

impl Daemon {
    pub(crate) fn obey(&mut self, ticket: Ticket, command: Command) {
        match command {
            Command::Ready if self.pool.is_backing_off() => {
                // Whoever asks for it need not wait until a pause is over.
                self.events.push_back(Event::Reload);
                let after = self.reload.newest();
                self.wait_for(ticket, Wish::Reload { after });
            }
            Command::Ready => self.wait_for(ticket, Wish::Start),
            Command::Reload => {
                let after = self.reload.newest();
                match self.reload("reload") {
                    Ok(()) => self.wait_for(ticket, Wish::Reload { after }),
                    Err(_) => self.tell_status(ticket),
                }
            }
            Command::Status => self.tell_status(ticket),
            Command::Stop => {
                ::log::info!("leave: stop");
                self.leave(None);
                self.tell_status(ticket);
            }
        }
    }

    fn wait_for(&mut self, ticket: Ticket, wish: Wish) {
        self.limited.remove(ticket);
        if let Some(client) = self.clients.get_mut(&ticket) {
            // Nothing more is to be read, and a hang-up would be reported in every turn until the wish is fulfilled.
            client.watch(&self.poll, ticket, End::Connection, None);
        }
        self.curious.push((ticket, wish));
    }

    fn tell_status(&mut self, ticket: Ticket) {
        let status = self.status();
        self.tell(ticket, &status);
    }

    fn tell(&mut self, ticket: Ticket, status: &Status) {
        let text = status.to_lines();
        let client = self.clients.get(&ticket);
        if let Some(connection) = client.and_then(|client| client.connection.as_ref()) {
            // Small enough for a fresh socket; a person who is gone reads nothing.
            let _ = socket::send_now(connection.as_fd(), text.as_bytes());
        }
        self.drop_client(ticket);
    }

    /// Whoever wanted to know how a start or a reload ends is told when it has. What went wrong is in `last_failure`.
    pub(crate) fn tell_the_curious(&mut self) {
        for (ticket, wish) in std::mem::take(&mut self.curious) {
            let outcome = match wish {
                Wish::Reload { after } => self.reload.outcome_after(after),
                Wish::Start if self.pool.is_proven() => Outcome::Serving,
                Wish::Start if self.pool.is_backing_off() => Outcome::Failed,
                Wish::Start => Outcome::Open,
            };
            match outcome {
                Outcome::Failed => self.tell_status(ticket),
                Outcome::Open if !self.leaving.has_begun() => self.curious.push((ticket, wish)),
                Outcome::Open => self.tell_status(ticket),
                Outcome::Serving => {
                    // A later one may have failed by now. Whoever starts a daemon wants to know whether it listens.
                    let trouble = self.listeners.trouble();
                    let last_failure = trouble.filter(|_| matches!(wish, Wish::Start));
                    let status = self.status();
                    self.tell(
                        ticket,
                        &Status {
                            last_failure,
                            ..status
                        },
                    );
                }
            }
        }
    }
}

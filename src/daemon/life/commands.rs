//! What a person's command makes the daemon do, and when it answers. Who may give one was decided before.

use super::reloads::Fate;
use super::states::Wish;
use crate::control::{Command, Status};
use crate::daemon::house::Daemon;
use crate::policy::pool::Event;
use crate::policy::queue::Number;
use crate::sys::socket;

impl Daemon {
    pub(crate) fn obey(&mut self, number: Number, command: Command) {
        match command {
            Command::Ready if self.pool.is_backing_off() => {
                // A person who asks for it need not wait until a pause is over.
                self.events.push_back(Event::Reload);
                let after = self.reload.newest();
                self.wait_for(number, Wish::Reload { after });
            }
            Command::Ready => self.wait_for(number, Wish::Start),
            Command::Reload => {
                let after = self.reload.newest();
                match self.reload("reload") {
                    Ok(()) => self.wait_for(number, Wish::Reload { after }),
                    Err(_) => self.tell_status(number),
                }
            }
            Command::Status => self.tell_status(number),
            Command::Stop => {
                ::log::info!("leave: stop");
                self.leave(None);
                self.tell_status(number);
            }
        }
    }

    fn wait_for(&mut self, number: Number, wish: Wish) {
        self.clients.hold(number, &self.ground);
        self.waiting_commands.push((number, wish));
    }

    /// Answers a request with the page of `status-path`.
    pub(crate) fn show_status(&mut self, number: Number) {
        let status = self.status();
        self.clients
            .answer_status(number, &status, &mut self.ground);
    }

    fn tell_status(&mut self, number: Number) {
        let status = self.status();
        self.tell(number, &status);
    }

    fn tell(&mut self, number: Number, status: &Status) {
        let text = status.to_lines();
        if let Some(connection) = self.clients.connection(number) {
            // Small enough for a fresh socket; a person who is gone reads nothing.
            let _ = socket::send_now(connection, text.as_bytes());
        }
        self.clients.remove_client(number, &self.ground);
    }

    /// Commands that wait for the end of a start or a reload are answered when it has ended. What went wrong is in
    /// `last_failure`.
    pub(crate) fn answer_commands(&mut self) {
        for (number, wish) in std::mem::take(&mut self.waiting_commands) {
            let outcome = match wish {
                Wish::Reload { after } => self.reload.outcome_after(after),
                Wish::Start if self.pool.is_proven() => Fate::Serving,
                Wish::Start if self.pool.is_backing_off() => Fate::Failed,
                Wish::Start => Fate::Open,
            };
            match outcome {
                Fate::Failed => self.tell_status(number),
                Fate::Open if !self.leaving.has_begun() => {
                    self.waiting_commands.push((number, wish))
                }
                Fate::Open => self.tell_status(number),
                Fate::Serving => {
                    // A later generation may have failed, which is no answer to this command. A person who starts a
                    // daemon wants to know whether it listens.
                    let trouble = self.door.trouble();
                    let last_failure = trouble.filter(|_| matches!(wish, Wish::Start));
                    let status = self.status();
                    self.tell(
                        number,
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

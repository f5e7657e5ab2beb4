//! The life of one SCGI server that the daemon runs. Knows times, states and how many requests it has; makes no
//! process, sends no signal, answers no request.
//!
//! # Theory of operation
//! The listening socket is the daemon's, so a server is ready as soon as there is a backlog: it is never probed, and
//! its first request proves it. Until its first byte it is *starting*, and a start can fail. If it ends after that, the
//! next request starts it again.
//!
//! | the server is | and becomes | on |
//! | --- | --- | --- |
//! | down, resting (pause over) | starting | `Wanted`: `Start` |
//! | starting | resting | `CannotStart`: `Failed` |
//! | starting | proven | `Answered` |
//! | starting | down | `Ended` with status 0, before a request was sent to it: it `Left` |
//! | starting | resting | `Ended` otherwise: `Failed` |
//! | starting | starting | `start-timeout` over since `Sent` or another `Wanted`: `Look`; none after `Accepts` |
//! | starting | ending (failed) | `Deaf`: it has taken no connection by then: `Kill` |
//! | starting, proven | ending (stuck) | `Overdue`, and no request was answered since that one was sent: `Term` |
//! | proven | down | `Ended`: it `Left` (status 0) or `Crashed` |
//! | proven | ending (stuck) | `Lost`: no client can connect to it any more: `Term` |
//! | starting | ending (failed) | `Lost`: `Kill` |
//! | ending (stuck) | down | `Ended`: `Crashed` |
//! | ending (failed) | resting | `Ended`: `Failed` |
//! | ending | ending | its time to end is over: `Kill`, and again |
//! | down, resting | gone | `Retire` |
//! | starting, proven, ending | gone | `Retire`, and then `Ended`: when its last request is done it gets `Term` |
//!
//! The pause after a failed start is that of [`backoff`], which counts from the last answer on. A
//! server that is ending gets no request: requests wait for its end, which is near.

use std::time::Duration;

use super::backoff;

/// A server that was told to end and does not is killed after this long.
pub const TERM_TIME: Duration = Duration::from_secs(5);

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// It has taken a connection, or may have.
    Accepts,
    /// It has sent a byte of a response.
    Answered,
    /// The process could not be made.
    CannotStart,
    /// What [`ServerAction::Look`] has found: it has not taken one connection.
    Deaf,
    /// The process is no more. `well`: with status 0.
    #[allow(missing_docs)]
    Ended { well: bool },
    /// A request of its is over, in whatever way.
    Finished,
    /// For too long, connections to it have failed: its socket is gone, or it has none.
    Lost,
    /// A request that it was sent at `since` has run into its time limit.
    #[allow(missing_docs)]
    Overdue { since: Duration },
    /// No new request is to be sent to it. Once it is told to end, it may take this long.
    Retire(Duration),
    /// A request was sent to it.
    Sent,
    /// Time has passed.
    Tick,
    /// A request is there for it, or waits in its backlog.
    Wanted,
}

/// What the daemon is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerAction {
    /// It has ended, and not by itself, after it was proven. The next request starts it.
    Crashed,
    /// It could not be started. Requests that wait for it must be served otherwise, or refused.
    Failed(StartFailure),
    /// It will never be started again: forget it.
    Gone,
    /// End it and all it has started.
    Kill,
    /// It has ended by itself. The next request starts it.
    Left,
    /// See whether it has taken a connection: [`ServerEvent::Accepts`] or [`ServerEvent::Deaf`] is the next event.
    Look,
    /// Make the process; [`ServerEvent::CannotStart`] is the next event if that can't be.
    Start,
    /// Tell it to end.
    Term,
}

/// Why a start has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFailure {
    /// The process could not be made.
    CannotStart,
    /// It ended before its first byte.
    Ended,
    /// It took no connection within `start-timeout`.
    TimedOut,
}

/// One server; see the module's page.
#[derive(Clone, Debug)]
pub struct ServerLife {
    state: ServerState,
    start_timeout: Duration,
    /// Failed starts since the last answer.
    failures: u32,
    /// Requests that it was sent and that are not over.
    requests: u32,
    /// It is not to be started again; and how long its end may take.
    retired: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServerState {
    Down,
    Ending {
        failed: bool,
        kill_at: Duration,
    },
    Gone,
    Proven {
        answered: Duration,
    },
    Resting {
        until: Duration,
    },
    /// `asked`: when its first request was sent. `accepts`: it has shown that it takes connections.
    Starting {
        asked: Option<Duration>,
        accepts: bool,
    },
}

/// What `status` says of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Condition {
    BackingOff,
    #[default]
    Down,
    Ending,
    Retiring,
    Starting,
    Up,
}

impl ServerLife {
    /// One that was never started.
    pub fn new(start_timeout: Duration) -> ServerLife {
        ServerLife {
            state: ServerState::Down,
            start_timeout,
            failures: 0,
            requests: 0,
            retired: None,
        }
    }

    /// Takes an event in, and puts what is to be done at the end of `actions`, in order.
    pub fn handle(&mut self, event: ServerEvent, now: Duration, actions: &mut Vec<ServerAction>) {
        match event {
            ServerEvent::Accepts => {
                if let ServerState::Starting { accepts, .. } = &mut self.state {
                    *accepts = true;
                }
            }
            ServerEvent::Answered => self.answered(now),
            ServerEvent::CannotStart => {
                if matches!(self.state, ServerState::Starting { .. }) {
                    self.failed(StartFailure::CannotStart, now, actions);
                }
            }
            ServerEvent::Deaf => {
                if matches!(self.state, ServerState::Starting { accepts: false, .. }) {
                    self.ends(true, Duration::ZERO, now);
                }
            }
            ServerEvent::Ended { well } => self.ended(well, now, actions),
            ServerEvent::Finished => self.requests = self.requests.saturating_sub(1),
            ServerEvent::Lost => self.lost(now, actions),
            ServerEvent::Overdue { since } => self.overdue(since, now, actions),
            ServerEvent::Retire(patience) => self.retired = Some(patience),
            ServerEvent::Sent => {
                self.requests += 1;
                if let ServerState::Starting { asked, .. } = &mut self.state {
                    asked.get_or_insert(now);
                }
            }
            ServerEvent::Tick => {}
            ServerEvent::Wanted => {
                if self.can_start(now) {
                    self.state = ServerState::Starting {
                        asked: (self.requests > 0).then_some(now),
                        accepts: false,
                    };
                    actions.push(ServerAction::Start);
                } else if let ServerState::Starting { asked, .. } = &mut self.state {
                    asked.get_or_insert(now);
                }
            }
        }
        self.keep_time(now, actions);
    }

    /// When [`ServerEvent::Tick`] is due, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Duration> {
        match self.state {
            ServerState::Ending { kill_at, .. } => Some(kill_at),
            ServerState::Starting { .. } => self.look_due(),
            ServerState::Down
            | ServerState::Gone
            | ServerState::Proven { .. }
            | ServerState::Resting { .. } => None,
        }
    }

    /// A request can be sent to it now; if it is down, `Wanted` starts it.
    pub fn takes(&self, now: Duration) -> bool {
        let serves = matches!(
            self.state,
            ServerState::Proven { .. } | ServerState::Starting { .. }
        );
        self.retired.is_none() && (serves || self.can_start(now))
    }

    /// It will end within seconds.
    pub fn is_ending(&self) -> bool {
        matches!(self.state, ServerState::Ending { .. })
    }

    /// It has answered since it was started.
    pub fn is_proven(&self) -> bool {
        matches!(self.state, ServerState::Proven { .. })
    }

    /// It was started, and has not answered yet.
    pub fn is_starting(&self) -> bool {
        matches!(self.state, ServerState::Starting { .. })
    }

    /// The pause after a failed start keeps it down.
    pub fn is_resting(&self, now: Duration) -> bool {
        matches!(self.state, ServerState::Resting { until } if now < until)
    }

    /// Nothing new is sent to it.
    pub fn is_retired(&self) -> bool {
        self.retired.is_some()
    }

    /// For `status`.
    pub fn condition(&self) -> Condition {
        match self.state {
            ServerState::Down | ServerState::Gone => Condition::Down,
            ServerState::Ending { .. } => Condition::Ending,
            _ if self.retired.is_some() => Condition::Retiring,
            ServerState::Proven { .. } => Condition::Up,
            ServerState::Resting { .. } => Condition::BackingOff,
            ServerState::Starting { .. } => Condition::Starting,
        }
    }

    fn can_start(&self, now: Duration) -> bool {
        let is_down = match self.state {
            ServerState::Down => true,
            ServerState::Resting { until } => until <= now,
            _ => false,
        };
        is_down && self.retired.is_none()
    }

    fn answered(&mut self, now: Duration) {
        match &mut self.state {
            ServerState::Proven { answered } => *answered = now,
            ServerState::Starting { .. } => {
                self.failures = 0;
                self.state = ServerState::Proven { answered: now };
            }
            _ => {}
        }
    }

    fn ended(&mut self, well: bool, now: Duration, actions: &mut Vec<ServerAction>) {
        match self.state {
            _ if self.retired.is_some() => self.state = ServerState::Down,
            ServerState::Starting { asked: None, .. } if well => {
                self.leaves(ServerAction::Left, actions)
            }
            ServerState::Starting { .. } => self.failed(StartFailure::Ended, now, actions),
            ServerState::Proven { .. } if well => self.leaves(ServerAction::Left, actions),
            ServerState::Proven { .. } => self.leaves(ServerAction::Crashed, actions),
            ServerState::Ending { failed: true, .. } => {
                self.failed(StartFailure::TimedOut, now, actions)
            }
            ServerState::Ending { failed: false, .. } => {
                self.leaves(ServerAction::Crashed, actions)
            }
            ServerState::Down | ServerState::Gone | ServerState::Resting { .. } => {}
        }
    }

    fn leaves(&mut self, how: ServerAction, actions: &mut Vec<ServerAction>) {
        self.state = ServerState::Down;
        actions.push(how);
    }

    fn failed(&mut self, why: StartFailure, now: Duration, actions: &mut Vec<ServerAction>) {
        self.failures += 1;
        let until = now + backoff::pause(self.failures);
        self.state = ServerState::Resting { until };
        actions.push(ServerAction::Failed(why));
    }

    fn lost(&mut self, now: Duration, actions: &mut Vec<ServerAction>) {
        match self.state {
            ServerState::Proven { .. } => {
                self.ends(false, TERM_TIME, now);
                actions.push(ServerAction::Term);
            }
            ServerState::Starting { .. } => self.ends(true, Duration::ZERO, now),
            _ => {}
        }
    }

    fn overdue(&mut self, since: Duration, now: Duration, actions: &mut Vec<ServerAction>) {
        let is_stuck = match self.state {
            ServerState::Proven { answered } => answered <= since,
            ServerState::Starting { .. } => true,
            _ => false,
        };
        if is_stuck {
            self.ends(false, TERM_TIME, now);
            actions.push(ServerAction::Term);
        }
    }

    fn ends(&mut self, failed: bool, patience: Duration, now: Duration) {
        let kill_at = now + patience;
        self.state = ServerState::Ending { failed, kill_at };
    }

    /// When it has been silent for so long that the daemon must look.
    fn look_due(&self) -> Option<Duration> {
        match self.state {
            ServerState::Starting {
                asked: Some(asked),
                accepts: false,
            } => Some(asked + self.start_timeout),
            _ => None,
        }
    }

    fn keep_time(&mut self, now: Duration, actions: &mut Vec<ServerAction>) {
        if let Some(patience) = self.retired {
            match self.state {
                ServerState::Down | ServerState::Resting { .. } => {
                    self.state = ServerState::Gone;
                    actions.push(ServerAction::Gone);
                }
                ServerState::Proven { .. } | ServerState::Starting { .. } if self.requests == 0 => {
                    self.ends(false, patience, now);
                    actions.push(ServerAction::Term);
                }
                _ => {}
            }
        }
        match self.state {
            ServerState::Ending { failed, kill_at } if kill_at <= now => {
                let kill_at = now + TERM_TIME;
                self.state = ServerState::Ending { failed, kill_at };
                actions.push(ServerAction::Kill);
            }
            _ if self.look_due().is_some_and(|due| due <= now) => actions.push(ServerAction::Look),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;

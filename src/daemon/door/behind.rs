//! The door while workers accept by themselves: the daemon waits at the listeners behind them, and is woken when none of
//! them waits. It takes connections in where a worker can be had for them, and takes all when too many wait. Knows counts,
//! and not what workers do.
//!
//! # Theory of operation
//! All wait with EPOLLEXCLUSIVE at the listeners that are shared (at the others we wait as ever): for each connection the kernel wakes the first in line that waits at this moment. A
//! worker that has just begun to accept is behind us, so we go to the end of the line then. When we are woken,
//!
//! | there is | we |
//! | --- | --- |
//! | a worker that waits for us, or room for another worker | accept |
//! | a worker that accepts, and has nothing to do | leave it the connection; if none is served in a moment, we accept |
//! | neither | sleep for a moment: workers that are busy take connections as fast as they can |
//!
//! After that moment we look how many wait, and how many were served since we sleep. If these would wait for longer than
//! [`LONG_WAIT`], that is a crowd: workers are called back, and all connections are taken in, since there they have an
//! order, and those who can't be served are told so. Otherwise we sleep again. They are called back as well while there
//! is no place for another client: what they hand to us would need one.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::Door;
use super::listeners::{Listener, Origin};
use crate::config::{Config, Handoff};
use crate::daemon::clients::Clients;
use crate::daemon::ground::Ground;
use crate::daemon::guest::Offer;
use crate::policy::pool::Event;
use crate::sys::backlog::Backlogs;
use crate::sys::{self, clock};

/// What a worker that accepts may take until it has the connection.
const A_MOMENT: Duration = Duration::from_millis(1);
/// How long busy workers are left alone.
const NAP: Duration = Duration::from_millis(4);
/// How many are served is counted for so long; longer than [`LONG_WAIT`], after which one is a crowd.
const WINDOW: Duration = Duration::from_millis(64);
/// What waits for longer is a crowd.
const LONG_WAIT: Duration = Duration::from_millis(50);
/// After a crowd no worker accepts by itself for so long.
const CALM: Duration = Duration::from_millis(50);

/// How the daemon waits while workers accept.
#[derive(Debug, Default)]
pub(super) struct Behind {
    is_on: bool,
    is_woken: bool,
    nap: Option<Nap>,
    backlogs: Backlogs,
}

#[derive(Clone, Copy, Debug)]
struct Nap {
    until: Duration,
    /// What is there afterwards is accepted.
    takes: bool,
    /// The first of those that followed one another within [`WINDOW`]: when it began, and how many workers had served
    /// by themselves.
    since: Duration,
    served: u64,
}

impl Door {
    /// A worker accepts, or is about to: we go to the end of the line.
    pub(crate) fn go_behind(&mut self, ground: &Ground) {
        self.behind.is_on = true;
        if self.behind.nap.is_none() {
            self.listeners.line_up(&ground.poll, true);
        }
    }

    /// A worker accepts no more: what it was woken for and has not taken is still there.
    pub(crate) fn look_again(&mut self, ground: &Ground) {
        if self.behind.is_on {
            self.go_behind(ground);
        }
    }

    /// A connection has come.
    pub(crate) fn on_listener(&mut self, number: u32, clients: &mut Clients, ground: &mut Ground) {
        let is_shared = |(shared, _)| shared == number;
        if self.behind.is_on && self.listeners.shared().any(is_shared) {
            self.behind.is_woken = true;
        } else {
            self.accept(number, clients, ground);
        }
    }

    /// Does what is due, with what the pool knows now.
    pub(crate) fn look_behind(&mut self, clients: &mut Clients, ground: &mut Ground) {
        if !self.behind.is_on {
            return;
        }
        let now = clock::now();
        if ground.pool.accepting == (0, 0) {
            self.leave_line(ground);
            return;
        }
        if !self.has_places {
            self.call_in(now, ground);
            return;
        }
        let is_over = |nap: &mut Nap| nap.until <= now;
        if let Some(nap) = self.behind.nap.take_if(is_over) {
            let (_, idle) = ground.pool.accepting;
            let is_unseen = nap.takes && idle > 0 && ground.pool.served_direct == nap.served;
            if is_unseen || self.is_at_hand(ground) {
                self.accept_what_is_there(clients, ground);
            } else {
                self.measure(nap, now, ground);
            }
        }
        if std::mem::take(&mut self.behind.is_woken) && self.behind.nap.is_none() {
            if self.is_at_hand(ground) {
                self.accept_what_is_there(clients, ground);
            } else {
                let (_, idle) = ground.pool.accepting;
                let time = if idle > 0 { A_MOMENT } else { NAP };
                self.sleep(
                    Nap {
                        until: now + time,
                        takes: idle > 0,
                        since: now,
                        served: ground.pool.served_direct,
                    },
                    ground,
                );
            }
        }
    }

    /// A worker can be had for a connection; or none may wait for one.
    fn is_at_hand(&self, ground: &Ground) -> bool {
        ground.pool.at_once > 0 || ground.pool.can_grow || ground.config.queue.size == 0
    }

    fn accept_what_is_there(&mut self, clients: &mut Clients, ground: &mut Ground) {
        let shared: Vec<u32> = self.listeners.shared().map(|(number, _)| number).collect();
        for number in shared {
            self.accept(number, clients, ground);
        }
        self.listeners.line_up(&ground.poll, true);
    }

    fn sleep(&mut self, nap: Nap, ground: &Ground) {
        self.listeners.leave(&ground.poll);
        self.behind.nap = Some(nap);
    }

    fn measure(&mut self, nap: Nap, now: Duration, ground: &mut Ground) {
        let mut waiting = Some(0);
        for (_, listener) in self.listeners.shared() {
            let backlogs = &mut self.behind.backlogs;
            let here = backlogs.waiting(listener.socket.as_fd(), !listener.is_tcp());
            waiting = waiting.zip(here.ok()).map(|(sum, here)| sum + here);
        }
        let served = ground.pool.served_direct;
        let took = now.saturating_sub(nap.since);
        let (busy, _) = ground.pool.accepting;
        let wait = |waiting| wait(waiting, served.wrapping_sub(nap.served), took, busy);
        match waiting {
            Some(0) => self.listeners.line_up(&ground.poll, true),
            Some(waiting) if wait(waiting) < LONG_WAIT && waiting <= ground.config.queue.size => {
                let is_over = took >= WINDOW;
                self.sleep(
                    Nap {
                        until: now + NAP,
                        takes: false,
                        since: if is_over { now } else { nap.since },
                        served: if is_over { served } else { nap.served },
                    },
                    ground,
                );
            }
            _ => self.call_in(now, ground),
        }
    }

    /// Calls all workers back, and takes all connections in.
    fn call_in(&mut self, now: Duration, ground: &mut Ground) {
        let until = now + CALM;
        ground.tell_pool(Event::CallIn { until });
        self.leave_line(ground);
    }

    /// All connections are ours again.
    fn leave_line(&mut self, ground: &Ground) {
        self.behind.is_on = false;
        self.behind.is_woken = false;
        self.behind.nap = None;
        self.listeners.line_up(&ground.poll, false);
    }

    pub(super) fn nap_due(&self) -> Option<Duration> {
        self.behind.nap.map(|nap| nap.until)
    }

    /// The listeners that workers are to have as well, and what they are told of them.
    pub(crate) fn offers(&mut self, ground: &Ground) -> Vec<(Offer, BorrowedFd<'_>)> {
        let config = &ground.config;
        let uids = self.guests.uids();
        // A web server's log is to be told of an edit, by the next front.
        let has_news = ground.failures.has_edit();
        let words = |listener: &Listener| match listener.origin == Origin::Own && has_news {
            true => None,
            false => words(listener, config, uids.as_deref()),
        };
        if self.listeners.share(|listener| words(listener).is_some()) {
            // It may be one at which we do not wait during a nap.
            self.behind.nap = None;
        }
        let offers = self.listeners.shared().filter_map(|(number, listener)| {
            let is_own = listener.origin == Origin::Own;
            let is_of_users = !is_own && !listener.is_tcp();
            let offer = Offer {
                number,
                words: format!("{number} {}", words(listener)?),
                is_own,
                is_given: listener.origin == Origin::Given,
                is_trusted: is_of_users && uids.is_some(),
            };
            Some((offer, listener.socket.as_fd()))
        });
        offers.collect()
    }
}

/// What workers are told of a listener. `None`: it is the daemon's alone.
fn words(listener: &Listener, config: &Config, uids: Option<&[u32]>) -> Option<String> {
    if listener.origin == Origin::Own {
        return Some(format!("front {}", how(config.handoff)?));
    }
    if listener.is_tcp() {
        let is_local = config.listen.allow.networks.is_empty();
        return is_local.then(|| "tcp".to_owned());
    }
    if !sys::listen::is_unix(listener.socket.as_fd()) {
        // Nothing is known of its clients that could let them in.
        return None;
    }
    let uids = uids.into_iter().flatten().map(|uid| format!(" {uid}"));
    Some(format!("plain{}", uids.collect::<String>()))
}

/// `handoff`, in a word. `None`: the front copies, and the daemon serves it.
fn how(handoff: Handoff) -> Option<&'static str> {
    match handoff {
        Handoff::Auto => Some("auto"),
        Handoff::Exit => Some("exit"),
        Handoff::Stay => Some("stay"),
        Handoff::Relay => None,
    }
}

/// How long the last of those that wait will wait, if so many were served in this time by so many workers.
fn wait(waiting: u32, served: u64, took: Duration, workers: usize) -> Duration {
    let all = took.saturating_mul(waiting);
    match u32::try_from(served) {
        // Each takes at least so long.
        Ok(0) => all / u32::try_from(workers.max(1)).unwrap_or(u32::MAX),
        Ok(served) => all / served,
        Err(_) => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_a_crowd_by_how_fast_it_is_served() {
        let took = Duration::from_millis(4);
        assert_eq!(wait(100, 40, took, 2), Duration::from_millis(10));
        assert_eq!(wait(100, 4, took, 2), Duration::from_millis(100));
        assert_eq!(wait(20, 0, took, 1), Duration::from_millis(80));
        assert_eq!(wait(20, 0, took, 8), Duration::from_millis(10));
        assert_eq!(wait(u32::MAX, u64::MAX, took, 1), Duration::ZERO);
        assert_eq!(wait(0, 0, took, 0), Duration::ZERO);
    }
}

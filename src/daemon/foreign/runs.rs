//! Requests that an app that is not ours has: what a worker is to the pool is a place for one of them here. Knows
//! descriptors and times of each; what is done with them is in `exchanges`, and in `children` for programs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::exchange::Exchange;
use super::feed::Rest;
use crate::daemon::token::{ServerId, Token};
use crate::daemon::turn::read_pipe;
use crate::policy::pool::WorkerId;
use crate::sys::poll::{Interest, Poll};
use crate::sys::process::End;
use crate::sys::{Errno, is};

/// One request that the app has. It ends when there is neither exchange nor child, and nothing waits.
#[derive(Debug)]
pub(crate) struct Run {
    /// None once the response is complete, or the client is gone.
    pub(crate) exchange: Option<Exchange>,
    /// The program that was started for it.
    pub(crate) child: Option<Child>,
    /// How it ended.
    pub(crate) end: Option<End>,
    /// The connection to a server.
    pub(crate) link: Option<Link>,
    /// What is to be sent as soon as a server takes it.
    pub(crate) waiting: Option<Rest>,
    /// That program reads the client's own input.
    pub(crate) has_input: bool,
    pub(crate) since: Duration,
    /// It has taken too long, and was told to end.
    pub(crate) is_overdue: bool,
    /// When to look at the exchange again, whether or not anything happens.
    pub(crate) due: Option<Duration>,
    /// The response has ended; until then its program may end as well.
    pub(crate) lingers_until: Option<Duration>,
    /// Blocks that had moved when this was asked last.
    asked: u64,
    /// What epoll knows of the app's input and its output.
    known: [Option<Interest>; 2],
}

/// A program that serves one request.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: i32,
    pub(super) stderr: Option<OwnedFd>,
}

impl Child {
    /// What it has written to its standard error by now.
    pub(crate) fn overhear(&mut self, poll: &Poll) -> Vec<u8> {
        read_pipe(&mut self.stderr, poll)
    }
}

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Link {
    /// One of ours.
    pub(super) server: Option<ServerId>,
    pub(super) since: Duration,
    /// Bytes of the header, which is no part of the body.
    pub(crate) header: usize,
    /// It is still on its way, and these addresses are to be tried if it can't be made.
    pub(super) connecting: Option<Vec<SocketAddr>>,
    /// The server may be about to end; until then it is waited for.
    pub(crate) dying_until: Option<Duration>,
}

impl Link {
    /// Which of our own servers it leads to, and since when.
    pub(crate) fn server(&self) -> Option<(ServerId, Duration)> {
        self.server.map(|server| (server, self.since))
    }
}

/// The one end of an exchange or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppEnd {
    Input,
    Output,
}

impl Run {
    pub(crate) fn new(exchange: Exchange, child: Option<Child>, now: Duration) -> Run {
        Run {
            exchange: Some(exchange),
            child,
            ..Run::empty(now)
        }
    }

    /// One that no app has yet.
    pub(crate) fn waiting(rest: Rest, now: Duration) -> Run {
        Run {
            waiting: Some(rest),
            ..Run::empty(now)
        }
    }

    fn empty(now: Duration) -> Run {
        Run {
            exchange: None,
            child: None,
            end: None,
            link: None,
            waiting: None,
            has_input: false,
            since: now,
            is_overdue: false,
            due: None,
            lingers_until: None,
            asked: 0,
            known: [None; 2],
        }
    }

    /// Has the loop wait for the app, or for nothing more. What is not waited for is forgotten: its end would be
    /// reported in every turn.
    pub(crate) fn watch(
        &mut self,
        poll: &Poll,
        place: WorkerId,
        end: AppEnd,
        interest: Option<Interest>,
    ) {
        let exchange = self.exchange.as_ref();
        let fd = exchange.and_then(|exchange| match end {
            AppEnd::Input => exchange.feed.to(),
            AppEnd::Output => Some(exchange.from()),
        });
        let known = &mut self.known[end as usize];
        let Some(fd) = fd else {
            // Closed, and with it forgotten.
            *known = None;
            return;
        };
        let token = match end {
            AppEnd::Input => Token::AppInput(place),
            AppEnd::Output => Token::AppOutput(place),
        };
        let done = match (*known, interest) {
            (known, wanted) if known == wanted => Ok(()),
            (None, Some(interest)) => poll.add(fd, token.into(), interest),
            (Some(_), Some(interest)) => poll.change(fd, token.into(), interest),
            (_, None) => {
                poll.remove(fd);
                Ok(())
            }
        };
        *known = interest;
        if let Err(error) = done
            && !is(&error, Errno::EPERM)
        {
            ::log::warn!("cannot watch an app: {error}");
            *known = None;
        }
    }

    /// The exchange is over: its descriptors are closed with what this gives back.
    pub(crate) fn end_exchange(&mut self, poll: &Poll, place: WorkerId) -> Option<Exchange> {
        self.watch(poll, place, AppEnd::Input, None);
        self.watch(poll, place, AppEnd::Output, None);
        self.due = None;
        self.lingers_until = None;
        self.waiting = None;
        self.exchange.take()
    }

    /// The rest of the message-body is waited for.
    pub(crate) fn reads_body(&self) -> bool {
        let exchange = self.exchange.as_ref();
        let is_fed = self.known[AppEnd::Input as usize].is_some();
        !is_fed && exchange.is_some_and(|exchange| exchange.feed.left() > 0)
    }

    /// Whether a block has moved since this was asked last. What waits for a server has not begun: how long that takes
    /// is limited by itself.
    pub(crate) fn has_moved(&mut self) -> bool {
        if self.waiting.is_some() {
            return true;
        }
        let moved = self.exchange.as_ref().map_or(self.asked, Exchange::moved);
        std::mem::replace(&mut self.asked, moved) != moved
    }

    /// It has waited for a server, or its server begins with it: the time of the request is counted anew from when it is
    /// asked next.
    pub(crate) fn begins_late(&mut self) {
        self.asked = u64::MAX;
    }

    fn deadline(&self) -> Option<Duration> {
        [self.due, self.lingers_until].into_iter().flatten().min()
    }
}

/// All of them, by their places.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    by_place: BTreeMap<WorkerId, Run>,
}

impl Runs {
    pub(crate) fn insert(&mut self, place: WorkerId, run: Run) {
        self.by_place.insert(place, run);
    }

    pub(crate) fn has(&self, place: WorkerId) -> bool {
        self.by_place.contains_key(&place)
    }

    pub(crate) fn get(&self, place: WorkerId) -> Option<&Run> {
        self.by_place.get(&place)
    }

    pub(crate) fn get_mut(&mut self, place: WorkerId) -> Option<&mut Run> {
        self.by_place.get_mut(&place)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (WorkerId, &Run)> {
        self.by_place.iter().map(|(&place, run)| (place, run))
    }

    /// Forgets one that is over. `false`: it is not.
    pub(crate) fn remove_if_over(&mut self, place: WorkerId) -> bool {
        let is_over =
            |run: &Run| run.exchange.is_none() && run.child.is_none() && run.waiting.is_none();
        let ends = self.by_place.get(&place).is_some_and(is_over);
        if ends {
            self.by_place.remove(&place);
        }
        ends
    }

    /// The pid of the program that serves there.
    pub(crate) fn pid(&self, place: WorkerId) -> Option<i32> {
        let child = self.by_place.get(&place)?.child.as_ref()?;
        Some(child.pid)
    }

    /// Where this child serves.
    pub(crate) fn place_of(&self, pid: i32) -> Option<WorkerId> {
        let is_it = |run: &Run| run.child.as_ref().is_some_and(|child| child.pid == pid);
        self.iter()
            .find(|(_, run)| is_it(run))
            .map(|(place, _)| place)
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.by_place.values().filter_map(Run::deadline).min()
    }

    /// Those whose time has come.
    pub(crate) fn due(&self, now: Duration) -> Vec<WorkerId> {
        let is_due = |run: &Run| run.deadline().is_some_and(|at| at <= now);
        let due = self.iter().filter(|(_, run)| is_due(run));
        due.map(|(place, _)| place).collect()
    }
}

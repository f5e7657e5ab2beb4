//! Runs: the requests that a foreign app has, each a worker to the pool. Knows descriptors and times of each; what is
//! done with them is in `drive`, in `children` for programs and in `link` for servers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::exchange::Exchange;
use super::feed::Rest;
use crate::daemon::token::{RunId, ServerId, Token};
use crate::daemon::turn::read_pipe;
use crate::sys::poll::{Interest, Poll};
use crate::sys::process::End;
use crate::sys::{Errno, clock, is};

/// One request that the app has. It ends when there is neither exchange nor child, and nothing waits.
#[derive(Debug)]
pub(super) struct Run {
    /// None once the response is complete, or the client is gone.
    pub(super) exchange: Option<Exchange>,
    /// The program that was started for it.
    pub(super) child: Option<Child>,
    /// How that program, or its server, ended.
    pub(super) end: Option<End>,
    /// The connection to a server.
    pub(super) link: Option<Link>,
    /// What is to be sent as soon as a server takes it.
    pub(super) waiting: Option<Rest>,
    /// The program reads the client's own input.
    pub(super) has_input: bool,
    pub(super) since: Duration,
    /// It has taken too long, and was told to end.
    pub(super) is_overdue: bool,
    /// When to look at the exchange again, whether or not anything happens.
    pub(super) due: Option<Duration>,
    /// Its browser is told then that the app is starting, unless a server has answered it.
    pub(super) told_at: Option<Duration>,
    /// The response has ended; until then its program may end as well.
    pub(super) lingers_until: Option<Duration>,
    /// Blocks that had moved when this was asked last.
    asked: u64,
    /// What epoll knows of the app's input and its output.
    known: [Option<Interest>; 2],
}

/// A program that serves one request.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) pid: i32,
    pub(super) stderr: Option<OwnedFd>,
}

impl Child {
    /// What it has written to its standard error by now.
    pub(super) fn overhear(&mut self, poll: &Poll) -> Vec<u8> {
        read_pipe(&mut self.stderr, poll)
    }
}

/// A connection to a server.
#[derive(Debug)]
pub(super) struct Link {
    /// One of ours.
    pub(super) server: Option<ServerId>,
    pub(super) since: Duration,
    /// Bytes of the header, which is no part of the body.
    pub(super) header: usize,
    /// It is still being made; if that fails, these addresses are tried.
    pub(super) connecting: Option<Vec<SocketAddr>>,
    /// The server may be about to end; until then it is waited for.
    pub(super) dying_until: Option<Duration>,
}

impl Link {
    /// To a server of ours, or to one at a path.
    pub(super) fn to(server: Option<ServerId>) -> Link {
        Link {
            server,
            since: clock::now(),
            header: 0,
            connecting: None,
            dying_until: None,
        }
    }

    /// To the first of several addresses; `others` are tried after it.
    pub(super) fn to_first(others: Vec<SocketAddr>) -> Link {
        Link {
            connecting: Some(others),
            ..Link::to(None)
        }
    }

    /// Which of our own servers it leads to, and since when.
    pub(super) fn server(&self) -> Option<(ServerId, Duration)> {
        self.server.map(|server| (server, self.since))
    }
}

/// The two ends of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AppStream {
    Input,
    Output,
}

impl Run {
    pub(super) fn new(exchange: Exchange, child: Option<Child>, now: Duration) -> Run {
        Run {
            exchange: Some(exchange),
            child,
            ..Run::empty(now)
        }
    }

    /// A run whose request no server has yet.
    pub(super) fn waiting(rest: Rest, now: Duration) -> Run {
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
            told_at: None,
            lingers_until: None,
            asked: 0,
            known: [None; 2],
        }
    }

    /// Has the loop wait for the app, or for nothing more. What is not waited for is forgotten: its end would be
    /// reported in every turn.
    pub(super) fn watch(
        &mut self,
        poll: &Poll,
        run_id: RunId,
        end: AppStream,
        interest: Option<Interest>,
    ) {
        let exchange = self.exchange.as_ref();
        let fd = exchange.and_then(|exchange| match end {
            AppStream::Input => exchange.feed.to(),
            AppStream::Output => Some(exchange.from()),
        });
        let known = &mut self.known[end as usize];
        let Some(fd) = fd else {
            // Closed, and with it forgotten.
            *known = None;
            return;
        };
        let token = match end {
            AppStream::Input => Token::AppInput(run_id),
            AppStream::Output => Token::AppOutput(run_id),
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
    pub(super) fn end_exchange(&mut self, poll: &Poll, run_id: RunId) -> Option<Exchange> {
        self.watch(poll, run_id, AppStream::Input, None);
        self.watch(poll, run_id, AppStream::Output, None);
        self.due = None;
        self.lingers_until = None;
        self.waiting = None;
        self.exchange.take()
    }

    /// The rest of the message-body is waited for.
    pub(super) fn reads_body(&self) -> bool {
        let exchange = self.exchange.as_ref();
        let is_fed = self.known[AppStream::Input as usize].is_some();
        !is_fed && exchange.is_some_and(|exchange| exchange.feed.left() > 0)
    }

    /// Whether a block has moved since this was asked last. What waits for a server has not begun: how long that takes
    /// is limited by itself.
    pub(super) fn take_progress(&mut self) -> bool {
        if self.waiting.is_some() {
            return true;
        }
        let moved = self.exchange.as_ref().map_or(self.asked, Exchange::moved);
        std::mem::replace(&mut self.asked, moved) != moved
    }

    /// It has waited for a server, or its server begins with it: the time of the request is counted anew from when it is
    /// asked next.
    pub(super) fn begin_late(&mut self) {
        self.asked = u64::MAX;
    }

    fn deadline(&self) -> Option<Duration> {
        let times = [self.due, self.told_at, self.lingers_until];
        times.into_iter().flatten().min()
    }
}

/// All runs.
#[derive(Debug, Default)]
pub(super) struct Runs {
    by_id: BTreeMap<RunId, Run>,
}

impl Runs {
    pub(super) fn insert(&mut self, run_id: RunId, run: Run) {
        self.by_id.insert(run_id, run);
    }

    pub(super) fn get(&self, run_id: RunId) -> Option<&Run> {
        self.by_id.get(&run_id)
    }

    pub(super) fn get_mut(&mut self, run_id: RunId) -> Option<&mut Run> {
        self.by_id.get_mut(&run_id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (RunId, &Run)> {
        self.by_id.iter().map(|(&run_id, run)| (run_id, run))
    }

    /// The client of this run has had its whole response; `is_head`: to HEAD.
    pub(super) fn was_all_taken(&self, id: RunId, is_head: bool) -> bool {
        let exchange = self.get(id).and_then(|run| run.exchange.as_ref());
        exchange.is_some_and(|exchange| exchange.was_all_taken(is_head))
    }

    /// Removes a run if it is over. `false`: it is not.
    pub(super) fn remove_if_over(&mut self, run_id: RunId) -> bool {
        let is_over =
            |run: &Run| run.exchange.is_none() && run.child.is_none() && run.waiting.is_none();
        let ends = self.by_id.get(&run_id).is_some_and(is_over);
        if ends {
            self.by_id.remove(&run_id);
        }
        ends
    }

    /// The pid of this run's program.
    pub(super) fn pid(&self, run_id: RunId) -> Option<i32> {
        let child = self.by_id.get(&run_id)?.child.as_ref()?;
        Some(child.pid)
    }

    /// The run of this child.
    pub(super) fn with_pid(&self, pid: i32) -> Option<RunId> {
        let is_it = |run: &Run| run.child.as_ref().is_some_and(|child| child.pid == pid);
        self.iter()
            .find(|(_, run)| is_it(run))
            .map(|(run_id, _)| run_id)
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.by_id.values().filter_map(Run::deadline).min()
    }

    /// Runs whose browsers have waited for a server for `start-page-after`; each is named once.
    pub(super) fn untold(&mut self, now: Duration) -> Vec<RunId> {
        let mut untold = Vec::new();
        for (&run_id, run) in &mut self.by_id {
            if run.told_at.take_if(|at| *at <= now).is_some() {
                untold.push(run_id);
            }
        }
        untold
    }

    /// Runs whose time has come.
    pub(super) fn due(&self, now: Duration) -> Vec<RunId> {
        let is_due = |run: &Run| run.deadline().is_some_and(|at| at <= now);
        let due = self.iter().filter(|(_, run)| is_due(run));
        due.map(|(run_id, _)| run_id).collect()
    }
}

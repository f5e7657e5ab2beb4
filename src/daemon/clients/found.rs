//! Connections of which a worker has read the beginning: handed to us, or adopted while the worker serves them.

use std::os::fd::AsFd;
use std::time::Duration;

use super::Clients;
use super::client::{Client, Phase};
use super::header::{HeaderReader, Message};
use super::taken::{FrontWord, Length, Taken};
use crate::daemon::ground::Ground;
use crate::daemon::guest::Accepted;
use crate::figures::Counted;
use crate::incidents::Mishap;
use crate::policy::pool::WorkerId;
use crate::policy::queue::Number;
use crate::policy::shares::Stage;
use crate::sys::clock;
use crate::sys::memory::{Board, Desk};
use crate::sys::process::{self, End};

impl Clients {
    /// A request that the worker has begun by itself is one as any other from now on. `said`: the last word to its front.
    /// `None`: its header makes no sense to us.
    pub(crate) fn adopt(
        &mut self,
        found: Accepted,
        said: &str,
        worker: WorkerId,
        since: Duration,
        ground: &mut Ground,
    ) -> Option<Number> {
        let mut reader = HeaderReader::holding(found.header, found.passed, found.was_cut);
        let rules = super::header::Rules::of(&ground.config, &found.caller);
        let read = reader.read(found.connection.as_fd(), rules, &mut self.block);
        let Ok(Some(Ok(Message::Request(mut request)))) = read else {
            ::log::error!("a worker serves a request that the daemon would not: {read:?}");
            return None;
        };
        request.said = match (said, request.passed.is_some()) {
            (_, false) | ("D", true) => FrontWord::Done,
            _ => FrontWord::Taken,
        };
        request.account.came = Some(since);
        request.account.began = Some(since);
        let number = self.enter(&found.caller, ground);
        self.shares.go_to(number, Stage::Served);
        let pid = found.caller.pid;
        let mut client = Client::new(found.connection, found.caller);
        if request.passed.is_some() && request.said == FrontWord::Done {
            client.front = process::open(pid).ok();
            client.connection = None;
        }
        client.request = Some(request);
        client.phase = Phase::Running {
            worker,
            outgoing: None,
            unread: 0,
            raised: None,
        };
        self.by_number.insert(number, client);
        self.running.insert(worker, number);
        self.requests += 1;
        ground.slots.arrive(since);
        ground.note_pause(since);
        self.watch_end(number, ground);
        ::log::debug!("adopted: number={number} worker={worker}");
        Some(number)
    }

    /// A worker that has taken a request itself has died in it, and its client's connection with it; the end of a line
    /// in the log.
    pub(crate) fn count_lost(
        &mut self,
        header: Vec<u8>,
        end: End,
        has_written: bool,
        ground: &mut Ground,
    ) -> String {
        let mut request = Taken::unserved(None, Length::Bytes(0));
        request.header = header;
        let (method, path) = request.line();
        let kind = match end {
            End::Exited(_) => Mishap::Exited,
            End::Killed(_) => Mishap::Killed,
        };
        let what = match has_written {
            true => Counted::Cut,
            false => Counted::BadGateway,
        };
        self.requests += 1;
        ground.slots.arrive(clock::now());
        ground.slots.count(what, None, clock::now());
        let line = format!(": {method} {path}");
        let reason = format!("the worker ended: {end}");
        ground.ledger.note(kind, (method, path), &reason);
        line
    }

    /// Workers have served requests by themselves.
    pub(crate) fn count_direct(
        &mut self,
        desk: &Desk,
        before: &Desk,
        now: Duration,
        ground: &mut Ground,
    ) {
        let served = desk.served.wrapping_sub(before.served);
        self.requests += served;
        ground.slots.arrive_often(served, now);
        // By the bins, so that these and what is counted are always the same.
        let mut bins = [0; Board::BINS];
        for (bin, count) in bins.iter_mut().enumerate() {
            *count = u64::from(desk.bins[bin].wrapping_sub(before.bins[bin]));
        }
        let took = desk.took.saturating_sub(before.took);
        ground.slots.count_served(Counted::Daemon, &bins, took, now);
        if let Some(last) = (served > 0).then_some(desk.ended) {
            ground.note_pause(last);
        }
    }
}

//! What becomes of a request that comes: a place in the queue by its rank, or a refusal that says when to come back. The
//! order in the queue is not decided here.

use std::time::Duration;

use super::parting::PoolPhase;
use super::words::{Action, Arrived, Refusal};
use super::{Pool, spread, traffic};
use crate::policy::queue::{Rank, Waiting};
use crate::policy::uses::Uses;

/// So many requests of one ticket may wait or run.
const AT_ONCE: usize = 4;
/// A ticket is good for this many requests at once ...
const MOST_USES: u32 = 16;
/// ... and from then on for one in this time. More of them are anonymous.
const ONE_MORE_IN: Duration = Duration::from_secs(2);
/// A ticket's uses put it behind others that are younger. One use counts for this long.
const REMEMBERED: Duration = Duration::from_secs(30);
/// Visitors who were not let in lengthen Retry-After to no more than this: they may be fewer than they seem, since one
/// that does not heed it is counted again.
const LONGEST_FOR_OWED: Duration = Duration::from_secs(15);

/// What the pool remembers of clients: of none in particular.
#[derive(Debug)]
pub(super) struct Visitors {
    /// By which the uses of a ticket are limited.
    limited: Uses,
    /// By which the order is made.
    remembered: Uses,
    /// Requests with tickets not used of late that were refused since the queue was last empty, less the requests answered
    /// since: so many visitors are expected back, and their tickets are older than one that is given now.
    owed: usize,
}

impl Visitors {
    pub(super) fn new() -> Visitors {
        Visitors {
            limited: Uses::new(ONE_MORE_IN),
            remembered: Uses::new(REMEMBERED),
            owed: 0,
        }
    }

    /// A worker gets a request of this rank.
    pub(super) fn note_served(&mut self, rank: Rank, now: Duration) {
        if let Rank::Ticket { id, .. } = rank {
            self.limited.note(id, now);
            self.remembered.note(id, now);
        }
    }

    /// A worker has answered. `is_empty`: no request waits, so a client that comes back is served at once.
    pub(super) fn note_answer(&mut self, is_empty: bool) {
        self.owed = if is_empty {
            0
        } else {
            self.owed.saturating_sub(1)
        };
    }
}

impl Pool {
    pub(super) fn arrived(&mut self, request: Arrived, now: Duration, actions: &mut Vec<Action>) {
        let number = request.number;
        if !self.announced.remove(&number) {
            self.traffic.arrived(self.limits.quiet, now);
        }
        if let Some(refusal) = self.refusal() {
            actions.push(Action::Refuse { number, refusal });
            return;
        }
        let request = self.ranked(request, now);
        // After the exit there is no worker, and there will be none.
        let refused = match self.phase {
            PoolPhase::Exited(_) => Some(request),
            _ => self.queue.push(request, self.free()),
        };
        if let Some(refused) = refused {
            self.refuse_as_overloaded(refused, false, actions);
        }
        self.look(now, actions);
    }

    /// The request as it is to wait. One whose ticket is used too often is anonymous.
    fn ranked(&self, request: Arrived, now: Duration) -> Waiting {
        let Arrived {
            number,
            rank,
            is_browser,
        } = request;
        let uses = match rank {
            Rank::Ticket { id, .. } => self.uses(id, now),
            Rank::Anonymous | Rank::Known => Some(0),
        };
        Waiting {
            number,
            rank: uses.map_or(Rank::Anonymous, |_| rank),
            is_browser,
            uses: uses.unwrap_or_default(),
            since: now,
        }
    }

    /// How often the ticket was used of late, and waits already; `None`: too often.
    fn uses(&self, id: u64, now: Duration) -> Option<u32> {
        let waiting = self.queue.count_ticket(id);
        let runs = |request: Waiting| request.is_by(id);
        let running = self.crew.count(|worker| worker.request.is_some_and(runs));
        let visitors = &self.visitors;
        let is_free = waiting + running < AT_ONCE
            && visitors.limited.count(id, now) as usize + waiting < MOST_USES as usize;
        is_free.then(|| visitors.remembered.count(id, now) + waiting as u32)
    }

    /// `is_late`: the queue has no time for it, however large it is.
    pub(super) fn refuse_as_overloaded(
        &mut self,
        request: Waiting,
        is_late: bool,
        actions: &mut Vec<Action>,
    ) {
        let number = request.number;
        let refusal = Refusal::Overloaded {
            retry_after: self.retry_after(request),
            is_late,
        };
        let is_owed = matches!(request.rank, Rank::Ticket { .. }) && request.uses == 0;
        self.visitors.owed += usize::from(is_owed);
        actions.push(Action::Refuse { number, refusal });
    }

    /// When a refused client is to come back. With a ticket it then waits only for those who go before it. Clients that
    /// are refused together must not come back together.
    fn retry_after(&self, request: Waiting) -> Duration {
        let workers = self.limits.max_procs;
        let jitter = spread(request.number as u32) % 512;
        if self.queue.gets_ticket(&request) {
            let (before, owed) = (self.queue.preferred(), self.visitors.owed);
            let all = self.traffic.drain_time(before + owed, workers);
            let here = self.traffic.drain_time(before, workers);
            let drained = all.min(here.max(LONGEST_FOR_OWED));
            // A quarter less to a quarter more.
            return drained - drained / 4 + drained * jitter / 1024;
        }
        let drained = self.traffic.drain_time(self.queue.len(), workers);
        // Up to a half more.
        (drained + drained * jitter / 1024).min(traffic::LONGEST)
    }
}

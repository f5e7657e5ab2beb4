//! A request that waits: what is known of its client, and before which others it goes.

use std::time::Duration;

use super::Number;

/// Among tickets, each recent use counts as if the ticket were so much younger: about what a page is looked at. One that
/// is thrown away for a new one after each use gains nothing on one that is kept.
const USED: Duration = Duration::from_secs(3);
/// More uses than these, which a person makes of a few pages, count for more.
const FEW: u32 = 2;
/// What each of them counts for besides.
const OVERUSED: Duration = Duration::from_secs(10);

/// What is known of a request's client, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// Nothing.
    Anonymous,
    /// It has a ticket, whose Retry-After is over.
    Ticket {
        /// A random number, which no client can choose.
        id: u64,
        /// By the wall clock.
        issued: Duration,
    },
    /// The site knows its user.
    Known,
}

/// A waiting request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Which request.
    pub number: Number,
    /// When it is served, and when refused.
    pub rank: Rank,
    /// It is a browser's, which shows a page and comes back by itself.
    pub is_browser: bool,
    /// How often its ticket was used of late, and waits here already.
    pub uses: u32,
    /// When it came.
    pub since: Duration,
}

impl Waiting {
    /// It has the ticket of this number.
    pub fn is_by(&self, id: u64) -> bool {
        matches!(self.rank, Rank::Ticket { id: own, .. } if own == id)
    }

    pub(super) fn has_ticket(&self) -> bool {
        matches!(self.rank, Rank::Ticket { .. })
    }

    pub(super) fn is_known(&self) -> bool {
        self.rank == Rank::Known
    }

    pub(super) fn is_anonymous(&self) -> bool {
        self.rank == Rank::Anonymous
    }

    /// Among tickets, the least goes first: the time of its issue, and for each use of late some time after it.
    pub(super) fn turn(&self) -> (Duration, Duration) {
        let issued = match self.rank {
            Rank::Ticket { issued, .. } => issued,
            Rank::Anonymous | Rank::Known => Duration::MAX,
        };
        let times = USED * self.uses + OVERUSED * self.uses.saturating_sub(FEW);
        (issued.saturating_add(times), self.since)
    }
}

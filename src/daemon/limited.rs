//! Time limits of clients, and which is over next. Knows tickets and times, not what follows from them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::policy::queue::Ticket;

/// Every turn of the loop asks for the next limit, so that must not take longer with more clients.
#[derive(Debug, Default)]
pub(super) struct Limited {
    by_ticket: BTreeMap<Ticket, Duration>,
    by_time: BTreeSet<(Duration, Ticket)>,
}

impl Limited {
    /// Sets the limit of a client; it replaces the one before.
    pub(super) fn insert(&mut self, ticket: Ticket, due: Duration) {
        if let Some(before) = self.by_ticket.insert(ticket, due) {
            self.by_time.remove(&(before, ticket));
        }
        self.by_time.insert((due, ticket));
    }

    /// Sets the limit of a client that has none.
    pub(super) fn limit(&mut self, ticket: Ticket, due: Duration) {
        if !self.by_ticket.contains_key(&ticket) {
            self.insert(ticket, due);
        }
    }

    /// Takes the limit away.
    pub(super) fn remove(&mut self, ticket: Ticket) {
        if let Some(before) = self.by_ticket.remove(&ticket) {
            self.by_time.remove(&(before, ticket));
        }
    }

    /// Takes out a client whose time is over.
    pub(super) fn pop(&mut self, now: Duration) -> Option<Ticket> {
        let &(_, ticket) = self.by_time.first().filter(|&&(due, _)| due <= now)?;
        self.remove(ticket);
        Some(ticket)
    }

    /// When the next limit is over.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.by_time.first().map(|&(due, _)| due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn the_next_is_known_whatever_was_said_before() {
        let mut limited = Limited::default();
        assert_eq!((limited.next_deadline(), limited.pop(S(99))), (None, None));
        limited.insert(1, S(5));
        limited.insert(2, S(4));
        limited.limit(2, S(1));
        limited.insert(3, S(6));
        limited.insert(3, S(3));
        assert_eq!(limited.next_deadline(), Some(S(3)));
        assert_eq!(limited.pop(S(2)), None);
        limited.remove(1);
        let over = std::iter::from_fn(|| limited.pop(S(9)));
        assert_eq!(over.collect::<Vec<_>>(), [3, 2]);
        assert_eq!(limited.next_deadline(), None);
        assert!(limited.by_ticket.is_empty());
    }
}

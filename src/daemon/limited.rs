//! Time limits of clients, and which is over next. Knows numbers and times, not what follows from them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::policy::queue::Number;

/// Every turn of the loop asks for the next limit, so that must not take longer with more clients.
#[derive(Debug, Default)]
pub(super) struct Limited {
    by_number: BTreeMap<Number, Duration>,
    by_time: BTreeSet<(Duration, Number)>,
}

impl Limited {
    /// Sets the limit of a client; it replaces the one before.
    pub(super) fn insert(&mut self, number: Number, due: Duration) {
        if let Some(before) = self.by_number.insert(number, due) {
            self.by_time.remove(&(before, number));
        }
        self.by_time.insert((due, number));
    }

    /// Sets the limit of a client that has none.
    pub(super) fn limit(&mut self, number: Number, due: Duration) {
        if !self.by_number.contains_key(&number) {
            self.insert(number, due);
        }
    }

    /// Takes the limit away.
    pub(super) fn remove(&mut self, number: Number) {
        if let Some(before) = self.by_number.remove(&number) {
            self.by_time.remove(&(before, number));
        }
    }

    /// Takes out a client whose time is over.
    pub(super) fn pop(&mut self, now: Duration) -> Option<Number> {
        let &(_, number) = self.by_time.first().filter(|&&(due, _)| due <= now)?;
        self.remove(number);
        Some(number)
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
        assert!(limited.by_number.is_empty());
    }
}

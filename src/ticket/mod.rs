//! The tickets of the waiting room: a cookie that a 503 of ours gives to a browser, signed by its app's key, with the
//! time of its issue. Who comes back with one after its Retry-After is served before those who have none, and from
//! then on it is a pass for [`PASS`]. Nothing is kept for a visitor: all that is known of one is in the ticket.
//!
//! A ticket is written as a [`value`], which [`SigningKeys`] sign and know again; [`Scope`] says to which requests a
//! browser adds it. The keys' file and the clock are others' work, and so is what a visitor's [`Standing`] is worth.
#![forbid(unsafe_code)]

mod key;
mod keys;
mod scope;
mod value;

pub use key::{Key, SECRET};
pub use keys::{LENGTH as KEYS_LENGTH, SigningKeys, is_in};
pub use scope::Scope;

use std::time::Duration;

/// The cookie's name.
pub const NAME: &str = "polycgi-ticket";

/// How long a ticket is a pass, counted from the end of its Retry-After.
pub const PASS: Duration = Duration::from_secs(600);

/// Cookies of our name that are looked at in one request: nested apps, and apps at one path, give one each.
const MOST_LOOKED_AT: usize = 4;

/// A visitor's ticket: one that was signed, or is about to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    id: u64,
    /// Since 1970, in milliseconds.
    issued: u64,
    /// In seconds.
    retry_after: u16,
}

/// What a request's tickets say of its visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No ticket that counts: none, one that this app has not signed, one from the future, or an expired one.
    Anonymous,
    /// The ticket's Retry-After is not over. It stays valid, and until then it gives nothing.
    Early(Ticket),
    /// It has waited, and may go before anonymous ones.
    Due(Ticket),
}

impl Ticket {
    /// A ticket that is issued now. `id`: a random number. `retry_after`: what the same 503 says, in seconds.
    pub fn new(id: u64, now: Duration, retry_after: u32) -> Ticket {
        Ticket {
            id,
            issued: millis(now).min(value::LATEST),
            retry_after: u16::try_from(retry_after).unwrap_or(u16::MAX),
        }
    }

    /// Tells one ticket from others.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// When it was issued: time since 1970.
    pub fn issued(&self) -> Duration {
        Duration::from_millis(self.issued)
    }

    /// What is left of its Retry-After.
    pub fn left(&self, now: Duration) -> Duration {
        self.due().saturating_sub(now)
    }

    /// Since 1970.
    fn due(&self) -> Duration {
        self.issued() + self.retry_after()
    }

    fn retry_after(&self) -> Duration {
        Duration::from_secs(self.retry_after.into())
    }

    /// For which time a browser keeps it.
    fn lifetime(&self) -> Duration {
        self.retry_after() + PASS
    }

    fn standing(self, now: Duration) -> Standing {
        if now < self.issued() || now >= self.due() + PASS {
            Standing::Anonymous
        } else if now < self.due() {
            Standing::Early(self)
        } else {
            Standing::Due(self)
        }
    }
}

impl Standing {
    /// The better of two. Of tickets that are due it is the older one, of early ones that which is due first.
    fn or(self, other: Standing) -> Standing {
        use Standing::{Anonymous, Due, Early};
        match (self, other) {
            (Due(one), Due(other)) if other.issued < one.issued => Due(other),
            (Early(one), Early(other)) if other.due() < one.due() => Early(other),
            (Due(one), _) => Due(one),
            (_, Due(other)) => Due(other),
            (Anonymous, other) => other,
            (one, _) => one,
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_millis(1_800_000_000_250);

    #[test]
    fn a_ticket_is_early_then_due_then_nothing() {
        let ticket = Ticket::new(1, NOW, 5);
        let ms = Duration::from_millis;
        let standing = |age: Duration| ticket.standing(NOW + age);
        assert_eq!(ticket.standing(NOW - ms(1)), Standing::Anonymous, "future");
        assert_eq!(standing(ms(0)), Standing::Early(ticket));
        assert_eq!(standing(ms(4999)), Standing::Early(ticket));
        assert_eq!(standing(ms(5000)), Standing::Due(ticket));
        assert_eq!(standing(ms(604_999)), Standing::Due(ticket));
        assert_eq!(standing(ms(605_000)), Standing::Anonymous, "expired");
        assert_eq!(ticket.left(NOW + ms(1)), ms(4999));
        assert_eq!(ticket.left(NOW + ms(6000)), Duration::ZERO);
    }

    #[test]
    fn numbers_that_do_not_fit_are_the_largest() {
        let ticket = Ticket::new(u64::MAX, Duration::MAX, u32::MAX);
        assert_eq!(ticket.issued(), Duration::from_millis((1 << 48) - 1));
        assert_eq!(ticket.retry_after(), Duration::from_secs(65_535));
    }

    #[test]
    fn the_best_of_several_counts() {
        use Standing::{Anonymous, Due, Early};
        let [old, new] = [NOW, NOW + Duration::from_secs(1)].map(|at| Ticket::new(1, at, 5));
        // In the order of their worth.
        let standings = [Due(old), Due(new), Early(old), Early(new), Anonymous];
        for (worth, &one) in standings.iter().enumerate() {
            for &other in &standings[worth..] {
                assert_eq!(one.or(other), one);
                assert_eq!(other.or(one), one);
            }
        }
    }
}

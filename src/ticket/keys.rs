//! The keys that sign an app's tickets, and how they stand in a file. It knows neither where that is, nor who replaces
//! it.

use std::time::Duration;

use hmac_sha256::Hash;

use super::key::{self, Key};
use super::value::{self, Unproved};
use super::{MOST_LOOKED_AT, NAME, Standing, Ticket};
use crate::cgi::cookie;

/// For how long a key signs.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

const MAGIC: &[u8; 16] = b"polycgi keys 1\n\0";
const SUM: usize = 16;
/// Bytes of the file.
pub const LENGTH: usize = MAGIC.len() + 2 * key::LENGTH + SUM;

/// The key that signs, and the one before it, whose tickets still count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningKeys {
    current: Key,
    previous: Option<Key>,
}

impl SigningKeys {
    /// The first key of an app.
    pub fn new(current: Key) -> SigningKeys {
        SigningKeys {
            current,
            previous: None,
        }
    }

    /// Whether another key should sign: this one is a day old, or from a time that the clock is far away from.
    pub fn are_old(&self, now: Duration) -> bool {
        now.abs_diff(self.current.made()) >= LIFETIME
    }

    /// This key signs from now on; the one that did becomes the previous one.
    pub fn rotated(&self, current: Key) -> SigningKeys {
        SigningKeys {
            current,
            previous: Some(self.current),
        }
    }

    /// The ticket as a cookie's value.
    pub fn sign(&self, ticket: &Ticket) -> String {
        value::written(ticket, &self.current)
    }

    /// What the tickets in a Cookie field (RFC 6265 4.2) say of its visitor. `now`: time since 1970.
    pub fn standing(&self, cookies: &[u8], now: Duration) -> Standing {
        let tickets =
            tickets(cookies).filter_map(|unproved| unproved.proved(self.key_of(&unproved)?));
        let standings = tickets.map(|ticket| ticket.standing(now));
        standings.fold(Standing::Anonymous, Standing::or)
    }

    /// Whether a ticket in the Cookie field may have been signed by a key that is newer than these: its id is neither's.
    pub fn miss_one_of(&self, cookies: &[u8]) -> bool {
        tickets(cookies).any(|unproved| self.key_of(&unproved).is_none())
    }

    fn key_of(&self, unproved: &Unproved) -> Option<&Key> {
        let mut keys = std::iter::once(&self.current).chain(&self.previous);
        keys.find(|key| key.id() == unproved.key_id())
    }

    /// What the file holds.
    pub fn to_bytes(&self) -> [u8; LENGTH] {
        let previous = self.previous.map_or([0; key::LENGTH], Key::to_bytes);
        let mut bytes = [0; LENGTH];
        let (keys, sum) = bytes.split_at_mut(LENGTH - SUM);
        keys[..16].copy_from_slice(MAGIC);
        keys[16..16 + key::LENGTH].copy_from_slice(&self.current.to_bytes());
        keys[16 + key::LENGTH..].copy_from_slice(&previous);
        sum.copy_from_slice(&Hash::hash(keys)[..SUM]);
        bytes
    }

    /// `None`: the file does not hold exactly that.
    pub fn from_bytes(bytes: &[u8]) -> Option<SigningKeys> {
        let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
        let (keys, sum) = bytes.split_at(LENGTH - SUM);
        let keys = keys.strip_prefix(MAGIC)?;
        if Hash::hash(&bytes[..LENGTH - SUM])[..SUM] != *sum {
            return None;
        }
        let (current, previous) = keys.split_at(key::LENGTH);
        Some(SigningKeys {
            current: Key::from_bytes(current)?,
            previous: Key::from_bytes(previous),
        })
    }
}

/// Whether there may be a ticket in a Cookie field.
pub fn is_in(cookies: &[u8]) -> bool {
    tickets(cookies).next().is_some()
}

/// What looks like a ticket in a Cookie field.
fn tickets(cookies: &[u8]) -> impl Iterator<Item = Unproved> {
    let named = cookie::values(cookies, NAME).take(MOST_LOOKED_AT);
    named.filter_map(Unproved::read)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::key::SECRET;
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);
    const DAY: Duration = LIFETIME;

    fn key(byte: u8) -> Key {
        Key::new([byte; SECRET], NOW)
    }

    fn cookie(value: &str) -> String {
        format!("polycgi-ticket={value}")
    }

    /// A small change of some bytes.
    #[derive(Clone, Debug)]
    enum Edit {
        Flip(usize, u32),
        Set(usize, u8),
        Swap(usize, usize),
        Remove(usize),
        Insert(usize, u8),
    }

    impl Edit {
        fn of(&self, bytes: &[u8]) -> Vec<u8> {
            let mut bytes = bytes.to_vec();
            let len = bytes.len();
            match *self {
                Edit::Flip(at, bit) => bytes[at % len] ^= 1 << bit,
                Edit::Set(at, byte) => bytes[at % len] = byte,
                Edit::Swap(one, other) => bytes.swap(one % len, other % len),
                Edit::Remove(at) => drop(bytes.remove(at % len)),
                Edit::Insert(at, byte) => bytes.insert(at % (len + 1), byte),
            }
            bytes
        }
    }

    fn edit() -> impl Strategy<Value = Edit> {
        let at = || 0..10_000_usize;
        let any_byte = any::<u8>;
        prop_oneof![
            (at(), 0..8_u32).prop_map(|(at, bit)| Edit::Flip(at, bit)),
            (at(), any_byte()).prop_map(|(at, byte)| Edit::Set(at, byte)),
            (at(), at()).prop_map(|(one, other)| Edit::Swap(one, other)),
            at().prop_map(Edit::Remove),
            (at(), any_byte()).prop_map(|(at, byte)| Edit::Insert(at, byte)),
        ]
    }

    #[test]
    fn a_visitor_s_standing_follows_from_the_cookies() {
        let keys = SigningKeys::new(key(1)).rotated(key(2));
        let (old, newer) = (SigningKeys::new(key(1)), SigningKeys::new(key(3)));
        let later = |seconds| NOW + Duration::from_secs(seconds);
        let ticket = |id, at| Ticket::new(id, at, 5);
        let due = ticket(1, NOW);
        let (older, early) = (ticket(2, later(0)), ticket(3, later(8)));
        let signed = |ticket: &Ticket| cookie(&keys.sign(ticket));
        let now = later(10);
        let standing = |cookies: &str| keys.standing(cookies.as_bytes(), now);

        assert_eq!(standing(""), Standing::Anonymous);
        assert_eq!(standing("polycgi-ticket="), Standing::Anonymous);
        assert_eq!(standing("polycgi-ticket"), Standing::Anonymous);
        assert_eq!(standing(&signed(&due)), Standing::Due(due));
        assert_eq!(standing(&signed(&early)), Standing::Early(early));
        let future = ticket(4, later(11));
        assert_eq!(standing(&signed(&future)), Standing::Anonymous);
        let by_previous = cookie(&old.sign(&older));
        assert_eq!(standing(&by_previous), Standing::Due(older));
        let by_other = cookie(&newer.sign(&due));
        assert_eq!(standing(&by_other), Standing::Anonymous);
        let expired = keys.standing(signed(&due).as_bytes(), later(605));
        assert_eq!(expired, Standing::Anonymous);

        // Several: the best one of the first four.
        let many = [&by_other, &signed(&early), &by_previous, "polycgi-ticket=x"].join("; ");
        assert_eq!(standing(&many), Standing::Due(older));
        let fifth = [&many, &signed(&due)].map(|s| s.as_str()).join(";");
        assert_eq!(standing(&fifth), Standing::Due(older));
        let flood = "polycgi-ticket=1; ".repeat(4000) + &signed(&due);
        assert_eq!(standing(&flood), Standing::Anonymous);
        assert_eq!(
            standing(&format!("a=\"{}\"", signed(&due))),
            Standing::Anonymous
        );
    }

    #[test]
    fn a_key_that_is_not_known_is_noticed() {
        let keys = SigningKeys::new(key(1)).rotated(key(2));
        let misses = |cookies: &str| keys.miss_one_of(cookies.as_bytes());
        let ticket = Ticket::new(1, NOW, 5);
        let by = |byte| cookie(&SigningKeys::new(key(byte)).sign(&ticket));
        assert!(!misses(""));
        assert!(!misses("polycgi-ticket=x; a=b"));
        assert!(!misses(&by(1)) && !misses(&by(2)));
        assert!(misses(&by(3)));
        assert!(misses(&[by(2), by(3)].join("; ")));
    }

    #[test]
    fn keys_are_old_after_a_day_by_either_clock() {
        let keys = SigningKeys::new(key(1));
        let ms = Duration::from_millis(1);
        assert!(!keys.are_old(NOW));
        assert!(!keys.are_old(NOW + DAY - ms));
        assert!(keys.are_old(NOW + DAY));
        assert!(!keys.are_old(NOW - DAY + ms));
        assert!(keys.are_old(NOW - DAY));
        assert!(keys.are_old(Duration::ZERO));
    }

    #[test]
    fn a_file_of_keys_is_read_whole_or_not_at_all() {
        for keys in [
            SigningKeys::new(key(1)),
            SigningKeys::new(key(1)).rotated(key(2)),
        ] {
            let bytes = keys.to_bytes();
            assert_eq!(SigningKeys::from_bytes(&bytes), Some(keys));
            for at in 0..LENGTH {
                assert_eq!(SigningKeys::from_bytes(&bytes[..at]), None, "cut at {at}");
                let mut changed = bytes;
                changed[at] ^= 1;
                assert_eq!(SigningKeys::from_bytes(&changed), None, "changed at {at}");
            }
            assert_eq!(SigningKeys::from_bytes(&[&bytes[..], b"\0"].concat()), None);
        }
        assert_eq!(SigningKeys::from_bytes(&[0; LENGTH]), None);
        let zero = SigningKeys::new(Key::new([0; SECRET], NOW));
        assert_eq!(SigningKeys::from_bytes(&zero.to_bytes()), None);
    }

    proptest! {
        #[test]
        fn any_cookies_and_any_file_are_read(cookies: Vec<u8>, file: Vec<u8>, ms in 0u64..1 << 50) {
            let keys = SigningKeys::new(key(1));
            let now = Duration::from_millis(ms);
            prop_assert_eq!(keys.standing(&cookies, now), Standing::Anonymous);
            prop_assert_eq!(SigningKeys::from_bytes(&file), None);
        }

        #[test]
        fn what_is_nearly_a_ticket_is_none(id: u64, retry_after in 0u32..5, edit in edit(), age in 5u64..600) {
            let keys = SigningKeys::new(key(1)).rotated(key(2));
            let now = NOW + Duration::from_secs(age);
            let ticket = Ticket::new(id, NOW, retry_after);
            let value = keys.sign(&ticket);
            prop_assert_eq!(keys.standing(cookie(&value).as_bytes(), now), Standing::Due(ticket));
            let edited = edit.of(value.as_bytes());
            prop_assume!(edited != value.as_bytes());
            let cookies = [b"polycgi-ticket=", &edited[..]].concat();
            // What a browser does not send as part of a value ends it, or is taken off.
            let is_same = cookie::values(&cookies, NAME).any(|read| read == value.as_bytes());
            prop_assert!(is_same || keys.standing(&cookies, now) == Standing::Anonymous);
        }

        #[test]
        fn what_is_nearly_a_file_of_keys_is_none(secret: [u8; SECRET], edit in edit()) {
            let bytes = SigningKeys::new(Key::new(secret, NOW)).rotated(key(2)).to_bytes();
            let edited = edit.of(&bytes);
            prop_assert_eq!(SigningKeys::from_bytes(&edited).is_some(), edited == bytes);
        }

        #[test]
        fn a_ticket_is_found_among_other_cookies(before in "([a-z]{1,5}=[!-:<-~]{0,9}; ?){0,5}", after in "(; ?[a-z]{0,5}=[ -~]{0,9}){0,5}", age in 0u64..700_000) {
            let keys = SigningKeys::new(key(1));
            let ticket = Ticket::new(7, NOW, 5);
            let cookies = format!("{before}{}{after}", cookie(&keys.sign(&ticket)));
            let now = NOW + Duration::from_millis(age);
            prop_assert_eq!(keys.standing(cookies.as_bytes(), now), ticket.standing(now));
        }
    }
}

//! How a ticket is written: `1`, the version, and 48 characters of base64 for URLs (RFC 4648 5), which stand for 36
//! bytes: the key's id (4), the time of issue in milliseconds (6), Retry-After in seconds (2), the ticket's id (8), all
//! big-endian, and the first 16 bytes of an HMAC-SHA-256. 48 characters are 36 bytes exactly, so each ticket is written
//! in one way.

use hmac_sha256::HMAC;

use super::Ticket;
use super::key::Key;

/// The last time of issue that can be written.
pub(super) const LATEST: u64 = (1 << 48) - 1;

/// What a MAC is over: this, and the ticket's bytes before it. No other use of the key begins with the same words.
const DOMAIN: &[u8] = b"polycgi ticket 1\n";
const VERSION: u8 = b'1';
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Bytes that are signed.
const SIGNED: usize = 20;
const MAC: usize = 16;
const BYTES: usize = SIGNED + MAC;
/// Characters of a value.
const LENGTH: usize = 1 + BYTES / 3 * 4;

/// The ticket as a cookie's value, signed by this key.
pub(super) fn written(ticket: &Ticket, key: &Key) -> String {
    let signed = signed_bytes(ticket, key);
    let mut bytes = [0; BYTES];
    bytes[..SIGNED].copy_from_slice(&signed);
    bytes[SIGNED..].copy_from_slice(&mac(&signed, key));
    let digit = |number: u32| char::from(DIGITS[number as usize & 63]);
    let mut text = String::with_capacity(LENGTH);
    text.push(char::from(VERSION));
    for group in bytes.chunks_exact(3) {
        let number = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        text.extend([18, 12, 6, 0].map(|shift| digit(number >> shift)));
    }
    text
}

/// A value in the form of a ticket, by whatever key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unproved {
    bytes: [u8; BYTES],
}

impl Unproved {
    /// `None`: it is no ticket of this version.
    pub(super) fn read(value: &[u8]) -> Option<Unproved> {
        let digits = value.strip_prefix(&[VERSION])?;
        if digits.len() != LENGTH - 1 {
            return None;
        }
        let mut bytes = [0; BYTES];
        for (group, digits) in bytes.chunks_exact_mut(3).zip(digits.chunks_exact(4)) {
            let mut number = 0;
            for &byte in digits {
                number = number << 6 | sextet(byte)?;
            }
            group.copy_from_slice(&number.to_be_bytes()[1..]);
        }
        Some(Unproved { bytes })
    }

    /// The id of the key that it says has signed it.
    pub(super) fn key_id(&self) -> u32 {
        number(&self.bytes[..4]) as u32
    }

    /// The ticket, if this key has signed it.
    pub(super) fn proved(&self, key: &Key) -> Option<Ticket> {
        let (signed, mac_sent) = self.bytes.split_at(SIGNED);
        let differing = mac(signed, key)
            .iter()
            .zip(mac_sent)
            .fold(0, |differing, (one, other)| differing | (one ^ other));
        // All bytes are compared before the one decision: the time tells nothing of where the first wrong one is.
        (std::hint::black_box(differing) == 0 && self.key_id() == key.id()).then(|| Ticket {
            issued: number(&signed[4..10]),
            retry_after: number(&signed[10..12]) as u16,
            id: number(&signed[12..20]),
        })
    }
}

fn signed_bytes(ticket: &Ticket, key: &Key) -> [u8; SIGNED] {
    let mut bytes = [0; SIGNED];
    bytes[..4].copy_from_slice(&key.id().to_be_bytes());
    bytes[4..10].copy_from_slice(&ticket.issued.to_be_bytes()[2..]);
    bytes[10..12].copy_from_slice(&ticket.retry_after.to_be_bytes());
    bytes[12..].copy_from_slice(&ticket.id.to_be_bytes());
    bytes
}

fn mac(signed: &[u8], key: &Key) -> [u8; MAC] {
    let mut hmac = HMAC::new(key.secret());
    hmac.update(DOMAIN);
    hmac.update(signed);
    let mut mac = [0; MAC];
    mac.copy_from_slice(&hmac.finalize()[..MAC]);
    mac
}

/// At most eight bytes, big-endian.
fn number(bytes: &[u8]) -> u64 {
    let digits = bytes.iter();
    digits.fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn sextet(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::key::SECRET;
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn key(byte: u8) -> Key {
        Key::new([byte; SECRET], NOW)
    }

    fn read(value: &[u8], key: &Key) -> Option<Ticket> {
        Unproved::read(value)?.proved(key)
    }

    #[test]
    fn a_value_is_what_it_was() {
        // Made by Python's hmac and base64: a daemon of another version has to read it.
        let ticket = Ticket::new(0x0102_0304_0506_0708, NOW, 7);
        let expected = "1474nXgGjGFxQAAAHAQIDBAUGBwgGpibx1VoDlmSn0PM7rKyZ";
        assert_eq!(written(&ticket, &key(9)), expected);
        assert_eq!(expected.len(), LENGTH);
        assert_eq!(read(expected.as_bytes(), &key(9)), Some(ticket));
    }

    #[test]
    fn what_is_forged_is_no_ticket() {
        let value = written(&Ticket::new(1, NOW, 7), &key(1)).into_bytes();
        assert!(read(&value, &key(1)).is_some());
        assert_eq!(read(&value, &key(2)), None, "another app's key");
        // The same id, another secret.
        let same_id = Key::with_id(key(1).id(), [2; SECRET], NOW);
        assert_eq!(read(&value, &same_id), None);
        for end in 0..value.len() {
            assert_eq!(read(&value[..end], &key(1)), None, "cut at {end}");
        }
        for at in 0..value.len() {
            for byte in 0..=u8::MAX {
                let mut changed = value.clone();
                changed[at] = byte;
                let is_same = byte == value[at];
                assert_eq!(read(&changed, &key(1)).is_some(), is_same, "{byte} at {at}");
            }
        }
        for extra in [&b"A"[..], b"AAAA", b" ", b"=", b"\0"] {
            assert_eq!(read(&[&value, extra].concat(), &key(1)), None);
            assert_eq!(read(&[extra, &value].concat(), &key(1)), None);
        }
    }

    proptest! {
        #[test]
        fn each_ticket_comes_back(id: u64, issued in 0..=LATEST, retry_after: u16, secret: u8) {
            let ticket = Ticket { id, issued, retry_after };
            let value = written(&ticket, &key(secret));
            prop_assert_eq!(value.len(), LENGTH);
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            prop_assert!(value.bytes().all(is_plain));
            prop_assert_eq!(read(value.as_bytes(), &key(secret)), Some(ticket));
        }

        #[test]
        fn no_bytes_are_a_ticket_by_chance(value in "1[A-Za-z0-9_-]{48}", junk: Vec<u8>) {
            prop_assert_eq!(read(value.as_bytes(), &key(1)), None);
            prop_assert_eq!(read(&junk, &key(1)), None);
        }
    }
}

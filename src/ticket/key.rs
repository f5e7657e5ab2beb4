//! A key: a secret that signs tickets, and what tells it from others.

use std::fmt;
use std::time::Duration;

use hmac_sha256::Hash;

use super::millis;

/// Bytes of a key's secret.
pub const SECRET: usize = 32;

/// Bytes of a key in a file: its id, when it was made (milliseconds), its secret.
pub(super) const LENGTH: usize = 4 + 8 + SECRET;

/// A secret, with what is known of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key {
    id: u32,
    /// Since 1970, in milliseconds.
    made: u64,
    secret: [u8; SECRET],
}

impl Key {
    /// A key that is made now. `secret`: random bytes.
    pub fn new(secret: [u8; SECRET], now: Duration) -> Key {
        // What tells keys apart may be seen by everybody, and says nothing of the secret.
        let sum = Hash::hash(&[b"polycgi key id\n", &secret[..]].concat());
        Key {
            id: u32::from_be_bytes([sum[0], sum[1], sum[2], sum[3]]),
            made: millis(now),
            secret,
        }
    }

    #[cfg(test)]
    pub(super) fn with_id(id: u32, secret: [u8; SECRET], now: Duration) -> Key {
        Key {
            id,
            ..Key::new(secret, now)
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Since 1970.
    pub(super) fn made(&self) -> Duration {
        Duration::from_millis(self.made)
    }

    pub(super) fn secret(&self) -> &[u8; SECRET] {
        &self.secret
    }

    pub(super) fn to_bytes(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..4].copy_from_slice(&self.id.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.made.to_be_bytes());
        bytes[12..].copy_from_slice(&self.secret);
        bytes
    }

    /// `None`: nothing but zeros.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Key> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (made, secret) = rest.split_first_chunk()?;
        let key = Key {
            id: u32::from_be_bytes(*id),
            made: u64::from_be_bytes(*made),
            secret: secret.try_into().ok()?,
        };
        (key.secret != [0; SECRET]).then_some(key)
    }
}

impl fmt::Debug for Key {
    /// The secret is in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key {:08x}", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_printed() {
        let key = Key::new([0xab; SECRET], Duration::from_secs(1_800_000_000));
        let printed = format!("{key:?}");
        let secret = printed.contains("171") || printed.contains("abab");
        assert!(!secret, "{printed}");
    }
}

//! Bytes in a place of fixed size: what is put together where nothing may be allocated, and nothing may panic. The hot
//! path ([`crate::handoff`]) runs before the C library and can call nobody, so all of it is inlined, and copies by
//! loops.
#![forbid(unsafe_code)]

/// At most `N` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Bytes<N> {
    /// None yet.
    #[inline(always)]
    pub fn new() -> Bytes<N> {
        let bytes = [0; N];
        Bytes { bytes, len: 0 }
    }

    /// Adds a byte; beyond `N` it is left out, so `N` is to be the most that can come.
    #[inline(always)]
    pub fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    /// Adds these.
    #[inline(always)]
    pub fn append(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.push(byte);
        }
    }

    /// Adds a number in decimal digits.
    #[inline(always)]
    pub fn append_number(&mut self, number: u64) {
        let mut power = 1;
        while number / power >= 10 {
            power *= 10;
        }
        while power > 0 {
            self.push(b'0' + (number / power % 10) as u8);
            power /= 10;
        }
    }

    /// What there is.
    #[inline(always)]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl<const N: usize> Default for Bytes<N> {
    fn default() -> Bytes<N> {
        Bytes::new()
    }
}

/// Whether these are the bytes of `word`, without a call: `==` of slices is memcmp(3).
#[inline(always)]
pub fn is<const N: usize>(bytes: &[u8], word: &[u8; N]) -> bool {
    match bytes.first_chunk::<N>() {
        Some(first) if bytes.len() == N => first.iter().zip(word).all(|(one, other)| one == other),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut bytes = Bytes::<4>::new();
        bytes.append(b"abc");
        bytes.append(b"def");
        assert_eq!(bytes.as_slice(), b"abcd");
    }

    proptest! {
        #[test]
        fn numbers(number: u64) {
            for number in [number, number >> 40, 0, 9, 10, u64::MAX] {
                let mut bytes = Bytes::<20>::new();
                bytes.append_number(number);
                let expected = number.to_string();
                prop_assert_eq!(bytes.as_slice(), expected.as_bytes());
            }
        }

        #[test]
        fn is_what_equals(bytes in prop::collection::vec(any::<u8>(), 0..6)) {
            prop_assert_eq!(is(&bytes, b"SCGI"), bytes == b"SCGI");
            prop_assert_eq!(is(&bytes, b""), bytes.is_empty());
            if let Ok(same) = <&[u8; 3]>::try_from(&bytes[..]) {
                prop_assert!(is(&bytes, same));
            }
        }
    }
}

//! Bytes in a buffer of fixed size, for code that may not allocate and may not panic. The hot path (the binary's room
//! `express`) runs before the C library and can call no function of it, so all of this is inlined, and copies by loops.
#![forbid(unsafe_code)]

/// At most `N` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Bytes<N> {
    /// Empty.
    #[inline(always)]
    pub fn new() -> Bytes<N> {
        let bytes = [0; N];
        Bytes { bytes, len: 0 }
    }

    /// Adds a byte. If there are `N` already it is dropped: so make `N` the most that can come.
    #[inline(always)]
    pub fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    /// Adds these bytes.
    #[inline(always)]
    pub fn append(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.push(byte);
        }
    }

    /// Adds a number in decimal digits.
    #[inline(always)]
    pub fn append_number(&mut self, number: u64) {
        let mut digits = [0; LONGEST_NUMBER];
        let mut rest = number;
        let mut count = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            count += 1;
            if rest == 0 {
                break;
            }
        }
        self.append(digits.get(LONGEST_NUMBER - count..).unwrap_or_default());
    }

    /// Whether there are `N` bytes: then some may have been dropped.
    #[inline(always)]
    pub fn is_full(&self) -> bool {
        self.len == N
    }

    /// The bytes so far.
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

/// A short word as numbers. They are operands of the instructions that compare them; a word's bytes would be in another
/// page, and compared by memcmp(3).
#[derive(Clone, Copy, Debug)]
pub struct Word(u64, u64, u64);

impl Word {
    /// The most bytes of a word.
    const LONGEST: usize = 24;

    /// In a constant: a word that is longer than 24 bytes or has a NUL does not compile.
    pub const fn new(word: &str) -> Word {
        let bytes = word.as_bytes();
        let mut eights = [0; Word::LONGEST / 8];
        let mut at = 0;
        while at < bytes.len() {
            assert!(bytes[at] != 0);
            eights[at / 8] |= (bytes[at] as u64) << (at % 8 * 8);
            at += 1;
        }
        Word(eights[0], eights[1], eights[2])
    }

    /// The word that these bytes are; `None` if they are too many, or have a NUL.
    #[inline(always)]
    pub fn read(bytes: &[u8]) -> Option<Word> {
        let mut rest = bytes.iter();
        let mut is_text = true;
        let mut eight = || {
            let mut eight = 0;
            for (at, &byte) in rest.by_ref().take(8).enumerate() {
                eight |= u64::from(byte) << (at * 8);
                is_text &= byte != 0;
            }
            eight
        };
        let word = Word(eight(), eight(), eight());
        (is_text && bytes.len() <= Word::LONGEST).then_some(word)
    }

    /// Whether both are the same word.
    #[inline(always)]
    pub fn is(&self, other: &Word) -> bool {
        self.0 == other.0 && self.1 == other.1 && self.2 == other.2
    }

    /// Whether these bytes are this word.
    #[inline(always)]
    pub fn says(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.len() && Word::read(bytes).is_some_and(|word| word.is(self))
    }

    #[inline(always)]
    fn len(&self) -> usize {
        let bits = |eight: u64| (u64::BITS - eight.leading_zeros()) as usize;
        bits(self.0).div_ceil(8) + bits(self.1).div_ceil(8) + bits(self.2).div_ceil(8)
    }
}

/// The most digits of a number.
const LONGEST_NUMBER: usize = 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut bytes = Bytes::<4>::new();
        bytes.append(b"abc");
        assert!(!bytes.is_full());
        bytes.append(b"def");
        assert_eq!(bytes.as_slice(), b"abcd");
        assert!(bytes.is_full());
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
        fn a_word_is_its_bytes_and_no_others(bytes in "[CG][IO]?N?T?[E_]{0,20}") {
            const WORDS: [&str; 4] = ["", "CONTE", "CONTE_E_", "GIE____________________E"];
            for word in WORDS {
                prop_assert!(Word::new(word).says(word.as_bytes()));
                prop_assert_eq!(Word::new(word).says(bytes.as_bytes()), word == bytes);
            }
        }
    }
}

//! Names and values (section 3.4): each has its length before it, in one byte or in four.

use super::bad_record::BadRecord;

/// The most that one byte says; four bytes have the highest bit set.
const SHORT: usize = 0x7f;
const LONG: u32 = 0x8000_0000;

/// Appends a pair.
pub fn put(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    for bytes in [name, value] {
        match u8::try_from(bytes.len()) {
            Ok(length) if bytes.len() <= SHORT => out.push(length),
            _ => out.extend_from_slice(&(bytes.len() as u32 | LONG).to_be_bytes()),
        }
    }
    out.extend_from_slice(name);
    out.extend_from_slice(value);
}

/// The pairs of a whole stream.
#[derive(Clone, Debug)]
pub struct Pairs<'a>(pub &'a [u8]);

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), BadRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let pair = cut(self.0);
        // What follows a wrong length has no meaning.
        self.0 = pair.map_or(&[], |(_, _, rest)| rest);
        Some(
            pair.map(|(name, value, _)| (name, value))
                .ok_or(BadRecord::Pair),
        )
    }
}

fn cut(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name, bytes) = length(bytes)?;
    let (value, bytes) = length(bytes)?;
    let (name, bytes) = bytes.split_at_checked(name)?;
    let (value, bytes) = bytes.split_at_checked(value)?;
    Some((name, value, bytes))
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if usize::from(first) <= SHORT {
        return Some((usize::from(first), rest));
    }
    let (four, rest) = bytes.split_first_chunk()?;
    let length = u32::from_be_bytes(*four) & !LONG;
    Some((usize::try_from(length).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_of_one_byte_and_of_four() {
        let long = [b'v'; 128];
        let mut out = Vec::new();
        put(b"N", &long, &mut out);
        put(b"M", b"", &mut out);
        assert_eq!(out[..5], [1, 0x80, 0, 0, 128]);
        let pairs: Vec<_> = Pairs(&out).collect();
        assert_eq!(
            pairs,
            [Ok((&b"N"[..], &long[..])), Ok((&b"M"[..], &b""[..]))]
        );
    }

    #[test]
    fn a_length_that_lies() {
        for bytes in [
            &[1][..],
            &[1, 1, b'N'],
            &[0x80, 0, 0],
            &[0xff, 0xff, 0xff, 0xff, 0],
        ] {
            let pairs: Vec<_> = Pairs(bytes).collect();
            assert_eq!(pairs, [Err(BadRecord::Pair)], "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn they_come_back(pairs in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..200), prop::collection::vec(any::<u8>(), 0..200)), 0..9)) {
            let mut out = Vec::new();
            pairs.iter().for_each(|(name, value)| put(name, value, &mut out));
            let found: Result<Vec<_>, _> = Pairs(&out).collect();
            let found: Vec<_> = found.unwrap().into_iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
            prop_assert_eq!(found, pairs);
        }

        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Pairs(&bytes).count() <= bytes.len());
        }
    }
}

//! An SCGI header from meta-variables. It does not check which may be sent.

use crate::bounded::Bytes;

/// Appends the header of these pairs, in this order, to `out`. CONTENT_LENGTH must be the first, SCGI must be among
/// them, and no name or value may hold NUL. Those from an environment, a header or a `cgi::Request` hold none.
pub fn encode<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone, out: &mut Vec<u8>) {
    let size: usize = pairs
        .clone()
        .map(|(name, value)| name.len() + value.len() + 2)
        .sum();
    let length = size.to_string();
    out.reserve(length.len() + size + b":,".len());
    out.extend_from_slice(length.as_bytes());
    out.push(b':');
    for (name, value) in pairs {
        debug_assert!(memchr::memchr(0, name).is_none() && memchr::memchr(0, value).is_none());
        out.extend_from_slice(name);
        out.push(0);
        out.extend_from_slice(value);
        out.push(0);
    }
    out.push(b',');
}

/// Appends a whole header: CONTENT_LENGTH (empty: the request has none), SCGI, then the rest without these two.
pub fn message<'a>(
    content_length: &'a [u8],
    rest: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    out: &mut Vec<u8>,
) {
    let first: [(&[u8], &[u8]); 2] = [(b"CONTENT_LENGTH", content_length), (b"SCGI", b"1")];
    encode(
        first
            .into_iter()
            .chain(rest.filter(|pair| !matches!(pair.0, b"CONTENT_LENGTH" | b"SCGI"))),
        out,
    );
}

/// Begins a header in a buffer of fixed size: its length, CONTENT_LENGTH and SCGI. The caller adds the other pairs,
/// `rest` bytes with their NULs, and a comma.
#[inline(always)]
pub fn open<const N: usize>(content_length: &[u8], rest: usize, out: &mut Bytes<N>) {
    let first: [&[u8]; 4] = [b"CONTENT_LENGTH", content_length, b"SCGI", b"1"];
    let mut size = rest;
    for part in first {
        size += part.len() + 1;
    }
    out.append_number(size as u64);
    out.push(b':');
    for part in first {
        out.append(part);
        out.push(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scgi::{Decoded, decode};

    #[test]
    fn example_of_the_specification() {
        let pairs: [(&[u8], &[u8]); 4] = [
            (b"CONTENT_LENGTH", b"27"),
            (b"SCGI", b"1"),
            (b"REQUEST_METHOD", b"POST"),
            (b"REQUEST_URI", b"/deepthought"),
        ];
        let expected = b"70:CONTENT_LENGTH\x0027\0SCGI\x001\0REQUEST_METHOD\0POST\0\
            REQUEST_URI\0/deepthought\0,";
        let mut out = Vec::new();
        encode(pairs.into_iter(), &mut out);
        assert_eq!(out, expected);
        // `message` takes any order, and drops the two that it adds itself.
        out.clear();
        message(
            b"27",
            pairs[2..].iter().chain(&pairs[..2]).copied(),
            &mut out,
        );
        assert_eq!(out, expected);
    }

    #[test]
    fn appends() {
        let mut out = b"before".to_vec();
        message(b"", std::iter::empty(), &mut out);
        assert_eq!(out, b"before23:CONTENT_LENGTH\0\0SCGI\x001\0,");
    }

    proptest! {
        #[test]
        fn decode_of_encode_is_the_same(
            length in "[0-9]{0,20}",
            rest in prop::collection::vec(("[^\0]{1,20}", "[^\0]{0,50}"), 0..40),
        ) {
            let rest = rest.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let first: [(&[u8], &[u8]); 2] =
                [(b"CONTENT_LENGTH", length.as_bytes()), (b"SCGI", b"1")];
            let mut out = Vec::new();
            message(length.as_bytes(), rest.clone(), &mut out);
            match decode(&out, out.len()) {
                Ok(Decoded::Header { header, consumed }) => {
                    prop_assert_eq!(consumed, out.len());
                    prop_assert_eq!(header.raw(), &out[..]);
                    prop_assert!(header.pairs().eq(first.into_iter().chain(rest)));
                    let mut again = Vec::new();
                    encode(header.pairs(), &mut again);
                    prop_assert_eq!(again, out);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}

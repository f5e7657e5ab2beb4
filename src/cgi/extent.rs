//! Where a request's message-body ends, by its meta-variables. It never sees the body's bytes.

/// Where a message-body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// After this many bytes.
    Length(u64),
    /// There is no message-body.
    None,
    /// At the end of the input: the client sends it in chunks (RFC 9112 7.1), and the web server decodes them without
    /// waiting for the last one.
    ToEnd,
}

/// A meta-variable as it is once the message-body was measured: the client's lengths are dropped, and the last transfer
/// coding, `chunked`, is removed from the list. Codings before it stay.
pub fn undone<'a>((name, value): (&'a [u8], &'a [u8])) -> Option<(&'a [u8], &'a [u8])> {
    match name {
        b"CONTENT_LENGTH" | b"HTTP_CONTENT_LENGTH" => None,
        b"HTTP_TRANSFER_ENCODING" => {
            let (before, _) = last_coding(value)?;
            (!before.is_empty()).then_some((name, before))
        }
        _ => Some((name, value)),
    }
}

/// Whether a Transfer-Encoding says that the body is in chunks: its last coding is `chunked`, in any case.
pub(super) fn is_chunked(encoding: &[u8]) -> bool {
    last_coding(encoding).is_some_and(|(_, last)| last.eq_ignore_ascii_case(b"chunked"))
}

/// The last coding of a list (RFC 9110 5.6.1: members may be empty), and what is before it.
fn last_coding(list: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_between = |byte: &u8| matches!(byte, b',' | b' ' | b'\t');
    let trimmed = |list: &'_ [u8]| list.iter().rposition(|byte| !is_between(byte));
    let end = trimmed(list)? + 1;
    let comma = memchr::memrchr(b',', &list[..end]);
    let (before, last) = match comma {
        Some(comma) => (&list[..comma], &list[comma + 1..end]),
        None => (&list[..0], &list[..end]),
    };
    let before = &before[..trimmed(before).map_or(0, |at| at + 1)];
    Some((before, last.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::meta::Peer;
    use super::super::request::Request;
    use super::*;

    const STRANGER: Peer = Peer::Foreign { trusted: false };

    fn request<'a>(pairs: &[(&'a str, &'a str)], peer: Peer) -> Request<'a> {
        let pairs = pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        Request::from_meta(pairs, peer).unwrap()
    }

    #[test]
    fn how_far_a_body_goes() {
        use Extent::{Length, None, ToEnd};
        // CONTENT_LENGTH, HTTP_TRANSFER_ENCODING
        let cases = [
            ("", "", None),
            ("", "chunked", ToEnd),
            ("", "Chunked", ToEnd),
            ("", "gzip, CHUNKED", ToEnd),
            ("", "gzip ,\tchunked ,", ToEnd),
            ("", "chunked, gzip", None),
            ("", "identity", None),
            ("", "xchunked", None),
            ("", "chunked;q=1", None),
            ("", ",", None),
            ("0", "", Length(0)),
            ("5", "chunked", Length(5)),
            ("0", "chunked", Length(0)),
        ];
        for (length, encoding, extent) in cases {
            let pairs = [
                ("CONTENT_LENGTH", length),
                ("HTTP_TRANSFER_ENCODING", encoding),
            ];
            for peer in [Peer::Own, STRANGER] {
                let found = request(&pairs, peer).extent();
                assert_eq!(found, extent, "{length:?} {encoding:?}");
            }
        }
        assert_eq!(request(&[], Peer::Own).extent(), None);
    }

    proptest! {
        #[test]
        fn only_the_last_coding_is_undone(
            codings in prop::collection::vec("[a-z]{1,8}", 0..4),
            between in "[ \t]?,[ \t,]{0,3}",
            end in "[ \t,]{0,3}",
        ) {
            let before = codings.join(&between);
            let start = if codings.is_empty() { "" } else { &between };
            let value = format!("{before}{start}chunked{end}");
            prop_assert!(is_chunked(value.as_bytes()));
            let left = undone((b"HTTP_TRANSFER_ENCODING", value.as_bytes())).map(|pair| pair.1);
            let expected = (!codings.is_empty()).then_some(before.as_bytes());
            prop_assert_eq!(left, expected);
        }
    }
}

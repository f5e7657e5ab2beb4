//! The head of a CGI response (RFC 3875 6.2, 6.3), read strictly and borrowed; the message-body is
//! left alone.

use std::fmt;

use memchr::memchr;

use super::field::field;
use super::head::Fields;
pub use super::head::{Head, Kind};
pub use super::status::StatusCode;

/// What can be wrong with a response's head. Each is a 502.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHead {
    /// A control character in a value, a lone CR for one.
    Control,
    /// Content-Type, Location or Status more than once (6.3).
    Duplicate,
    /// A line that continues the one before, which CGI/1.1 has not (6.3).
    Folded,
    /// A Location without a value.
    Location,
    /// A field's name is empty or holds what a name can't.
    Name,
    /// None of Content-Type, Location and Status (6.3).
    NoCgiField,
    /// A line without a colon.
    NoColon,
    /// White space between name and colon (6.3).
    SpaceBeforeColon,
    /// A Status that is not three digits from 100 to 599, then at most a space and a reason.
    Status,
    /// The head does not end within the limit.
    TooLarge,
}

impl fmt::Display for BadHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadHead::Control => "a header field has a control character in its value",
            BadHead::Duplicate => "Content-Type, Location or Status came twice",
            BadHead::Folded => "a header field is continued on a second line",
            BadHead::Location => "Location has no value",
            BadHead::Name => "a header field's name is not one",
            BadHead::NoCgiField => "none of Content-Type, Location and Status was there",
            BadHead::NoColon => "a line before the empty line has no colon",
            BadHead::SpaceBeforeColon => "a header field has white space before its colon",
            BadHead::Status => "Status is not a status code",
            BadHead::TooLarge => "the head is larger than allowed, or does not end",
        })
    }
}

impl std::error::Error for BadHead {}

/// What the bytes so far hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack of whoever parses; a box would be allocated for each response"
)]
pub enum Parsed<'a> {
    /// The empty line has not come yet; nobody can say how much is missing.
    Partial,
    /// A whole head.
    Head {
        /// The head.
        head: Head<'a>,
        /// Its size in bytes, with the empty line: the message-body begins here.
        consumed: usize,
    },
}

/// Reads the head at the beginning of `buf`; it may have `limit` bytes at most. Lines end in LF or
/// CRLF.
///
/// # Errors
/// A bad line is an error as soon as it is complete; what concerns the head as a whole, at its end.
pub fn parse(buf: &[u8], limit: usize) -> Result<Parsed<'_>, BadHead> {
    let window = &buf[..buf.len().min(limit)];
    let mut fields = Fields::new();
    let mut rest = window;
    while let Some(newline) = memchr(b'\n', rest) {
        let line = &rest[..newline];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        rest = &rest[newline + 1..];
        if line.is_empty() {
            let head = Head::from_fields(fields)?;
            return Ok(Parsed::Head {
                head,
                consumed: window.len() - rest.len(),
            });
        }
        fields.push(field(line)?);
    }
    if buf.len() >= limit {
        Err(BadHead::TooLarge)
    } else {
        Ok(Parsed::Partial)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_prefix_is_partial_and_the_body_is_left() {
        let text = b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\nLocation: /a\n\n";
        let size = text.len() - b"Location: /a\n\n".len();
        for end in 0..size {
            assert_eq!(parse(&text[..end], 1000), Ok(Parsed::Partial), "{end}");
        }
        for end in size..=text.len() {
            let parsed = parse(&text[..end], 1000);
            assert!(matches!(parsed, Ok(Parsed::Head { consumed, .. }) if consumed == size));
        }
    }

    #[test]
    fn the_limit_is_the_size_of_the_head() {
        let text = b"Status: 200\n\nbody";
        let size = text.len() - b"body".len();
        assert!(matches!(parse(text, size), Ok(Parsed::Head { .. })));
        assert_eq!(parse(text, size - 1), Err(BadHead::TooLarge));
        assert_eq!(parse(&text[..size - 2], size - 1), Ok(Parsed::Partial));
        assert_eq!(parse(&[b'x'; 100], 100), Err(BadHead::TooLarge));
        assert_eq!(parse(b"", 0), Err(BadHead::TooLarge));
    }

    proptest! {
        #[test]
        fn any_bytes(buf in prop::collection::vec(any::<u8>(), 0..300), limit in 0usize..400) {
            if let Ok(Parsed::Head { consumed, .. }) = parse(&buf, limit) {
                prop_assert!(consumed <= limit && consumed <= buf.len());
            }
        }

        #[test]
        fn near_misses(buf in "(Status|Location|X)?[: ]{0,2}[0-9 /\r\n\t]{0,6}(\r?\n){0,2}") {
            if let Ok(Parsed::Head { head, .. }) = parse(buf.as_bytes(), 100) {
                prop_assert!((100..=599).contains(&head.status().as_u16()));
            }
        }
    }
}

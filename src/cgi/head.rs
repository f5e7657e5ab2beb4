//! The header fields of a whole head, and whether Apache would answer with them. It does not know where a head ends.
//!
//! Measured with Apache 2.4.71 (mod_cgi, mod_cgid and mod_proxy_scgi, which read a head by the same function), with
//! `HttpProtocolOptions Strict`, its default. A field may come twice: the last Content-Type, Status, Location,
//! Content-Range and ETag counts, and other fields are all sent. No field is required.

use std::borrow::Cow;

use memchr::memchr;

use super::bad_head::BadHead;
use super::field::{Field, check_name, check_value, field, is_space};

/// A whole head: its lines, with the empty line that ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    lines: &'a [u8],
}

impl<'a> Head<'a> {
    pub(super) fn new(lines: &'a [u8]) -> Head<'a> {
        Head { lines }
    }

    /// In bytes, with the line that ends it: the message-body begins there.
    pub fn size(&self) -> usize {
        self.lines.len()
    }

    /// The value of the last header field of this name, in any case.
    pub fn field(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        let named = |field: &Field<'_>| field.0.eq_ignore_ascii_case(name.as_bytes());
        let fields = self.fields().filter_map(Result::ok);
        fields.filter(named).last().map(|field| field.1)
    }

    /// A client redirect that leaves the status to the web server (RFC 3875 6.2.3).
    pub fn is_bare_redirect(&self) -> bool {
        let location = self.field("Location");
        let is_elsewhere = location.is_some_and(|uri| !matches!(uri.first(), None | Some(b'/')));
        is_elsewhere && self.field("Status").is_none()
    }

    /// Whether Apache would answer with it.
    ///
    /// # Errors
    /// Apache would answer with an error page of its own.
    pub fn check(&self) -> Result<(), BadHead> {
        let (mut status, mut location) = (None, None);
        // The last of each counts: Content-Type, Content-Range, ETag.
        let mut document = [Ok(()); 3];
        for field in self.fields() {
            let (name, value) = field?;
            match Meaning::of(&name) {
                Meaning::ContentRange => document[0] = check_value(&value),
                Meaning::ContentType => document[1] = check_value(without_spaces_behind(&value)),
                Meaning::Dropped => {}
                Meaning::ETag => document[2] = check_value(&value),
                Meaning::Location => location = Some(value),
                Meaning::Status => status = Some(value),
                Meaning::Other => {
                    check_name(&name)?;
                    check_value(&value)?;
                }
            }
        }
        let code = status.as_deref().map_or(Ok(200), code)?;
        match location {
            // A local redirect: Apache answers with another resource, and none of these fields is sent.
            Some(path) if code == 200 && path.starts_with(b"/") => Ok(()),
            // A client redirect: Apache sends a document of its own.
            Some(uri) if code == 200 => check_value(&uri),
            location => {
                location.map_or(Ok(()), |uri| check_value(&uri))?;
                document.into_iter().collect()
            }
        }
    }

    fn fields(self) -> impl Iterator<Item = Result<Field<'a>, BadHead>> {
        let mut rest = self.lines;
        std::iter::from_fn(move || {
            let newline = memchr(b'\n', rest)?;
            let line = &rest[..newline];
            rest = &rest[newline + 1..];
            (!rest.is_empty()).then(|| field(line))
        })
    }
}

/// What Apache does with a field.
enum Meaning {
    ContentRange,
    ContentType,
    /// Content-Length and Transfer-Encoding, which Apache sets itself; and Last-Modified, which it parses as a time.
    Dropped,
    ETag,
    Location,
    Other,
    Status,
}

impl Meaning {
    fn of(name: &[u8]) -> Meaning {
        let known = [
            ("Content-Length", Meaning::Dropped),
            ("Content-Range", Meaning::ContentRange),
            ("Content-Type", Meaning::ContentType),
            ("ETag", Meaning::ETag),
            ("Last-Modified", Meaning::Dropped),
            ("Location", Meaning::Location),
            ("Status", Meaning::Status),
            ("Transfer-Encoding", Meaning::Dropped),
        ];
        let mut known = known.into_iter();
        let found = known.find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        found.map_or(Meaning::Other, |(_, meaning)| meaning)
    }
}

fn without_spaces_behind(value: &[u8]) -> &[u8] {
    let end = value.iter().rposition(|&byte| !is_space(byte));
    &value[..end.map_or(value.len().min(1), |last| last + 1)]
}

/// The status code, read as C's atoi() reads it. Three digits and a space are sent as they are. Any other value must be
/// a number for which Apache has a reason phrase.
fn code(value: &[u8]) -> Result<i64, BadHead> {
    let (is_negative, digits) = match value {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let count = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let number = digits[..count].iter().fold(0_i64, |number, &byte| {
        number
            .saturating_mul(10)
            .saturating_add((byte - b'0').into())
    });
    let number = if is_negative { -number } else { number };
    // In C the long becomes an int.
    let number = i64::from(number as i32);
    let size = value.len() - digits.len() + count;
    let is_line = count > 0 && size == 3 && value.get(3).is_none_or(|&byte| is_space(byte));
    let has_words = matches!(number,
        100..=103 | 200..=208 | 226 | 300..=305 | 307 | 308 | 400..=417 | 421..=424 | 426 | 428 | 429 | 431 | 451
        | 500..=508 | 510 | 511);
    if is_line || has_words {
        Ok(number)
    } else {
        Err(BadHead::Status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgi::response::{Parsed, parse};

    fn head(text: &[u8]) -> Result<Head<'_>, BadHead> {
        match parse(text)? {
            Parsed::Head(head) => {
                assert_eq!(head.size(), text.len(), "{}", text.escape_ascii());
                Ok(head)
            }
            Parsed::Partial => panic!("partial: {}", text.escape_ascii()),
        }
    }

    /// Apache answers each with a 200, or with its Status.
    #[test]
    fn what_is_taken() {
        let cases: &[&[u8]] = &[
            b"\n",
            b"\r\n",
            b"\0 anything\n",
            b"Content-Type: text/html\n\n",
            b"content-type:text/html\r\n\r\n",
            b"Content-Type:\n\n",
            b"Content-Type: a/b\ncontent-type: a/b\n\n",
            b"Content-Type: a\x01b\nContent-Type: a/b\x0c\n\n",
            b"X-Powered-By: nothing\n\n",
            b"Set-Cookie: a=b\nSet-Cookie: a=b\n\n",
            b"Content-Length: \x01\nTransfer-Encoding: \x02\nLast-Modified: \x03\n\n",
            b"Status: 204\n\n",
            b"STATUS:200 \n\n",
            b"Status: 200 d'accord, \xc3\xa9t\xe9\n\n",
            b"Status: 200\nStatus: 200\n\n",
            b"Status: OK\nStatus: 200\n\n",
            b"Status: 200OK\n\n",
            b"Status: 451x\n\n",
            b"Status: 399\tx\n\n",
            b"Status: 200\tOK\n\n",
            b"Status: +200\n\n",
            b"Status: 200.5\n\n",
            b"Status: 099 x\n\n",
            b"Status: 600\n\n",
            b"Status: 999 x\n\n",
            b"Status: 4294967496\n\n",
            b"Status: 404 \x01\n\n",
            b"Status: 201 Created\nLocation: \nContent-Type: a/b\n\n",
            b"Location: /a\x01\nContent-Type: \x01\n\n",
            b"Location: http://a/\nContent-Type: \x01\n\n",
            b"Location: /a\nLocation: http://b/\n\n",
            b"Location:\n\n",
        ];
        for text in cases {
            let text: &[u8] = text;
            assert!(head(text).is_ok(), "{}", text.escape_ascii());
        }
    }

    /// Apache answers each with a 500.
    #[test]
    fn what_is_refused() {
        use BadHead::*;
        let cases: &[(&[u8], BadHead)] = &[
            (b"Content-Type : a/b\n\n", SpaceBeforeColon),
            (b"X-A: b\n c\n\n", Folded),
            (b"X-A: b\n c: d\n\n", Folded),
            (b"<html>\n\n", NoColon),
            (b"<html>: x\n\n", Name),
            (b"Content-Type: a\x01b\n\n", Control),
            (b"Content-Type: a/b\nContent-Type: \x01\n\n", Control),
            (b"Set-Cookie: a\x01b\nSet-Cookie: a=b\n\n", Control),
            (b"Location: http://a/\x01\n\n", Control),
            (b"Status: 201\nLocation: /\x01\n\n", Control),
            (b"Location: /a\nX-A: \x01\n\n", Control),
            (b"Status:\n\n", Status),
            (b"Status: 20\n\n", Status),
            (b"Status: 99\n\n", Status),
            (b"Status: 1000\n\n", Status),
            (b"Status: 600x\n\n", Status),
            (b"Status: 399x\n\n", Status),
            (b"Status: -200\n\n", Status),
            (b"Status: 200\nStatus: OK\n\n", Status),
            (b"Status: 0x200\n\n", Status),
            (b"Status: HTTP/1.1 200 OK\n\n", Status),
            (b"Status: 18446744073709551816\n\n", Status),
            (b"Status: abc\nLocation: /a\n\n", Status),
        ];
        for &(text, bad) in cases {
            assert_eq!(head(text), Err(bad), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_redirect_that_says_no_status() {
        for (text, is_bare) in [
            ("Location: http://a/\n\n", true),
            ("Content-Type: a/b\nLOCATION:https://a/#b\n\n", true),
            ("Location: relative\n\n", true),
            ("Location: /a\nLocation: http://a/\n\n", true),
            ("Location: http://a/\nLocation: /a\n\n", false),
            ("Location: /a?b=c\n\n", false),
            ("Location:\n\n", false),
            ("Location: http://a/\nStatus: 200\n\n", false),
            ("Location: http://a/\nStatus: 303 See Other\n\n", false),
            ("X-Location: http://a/\n\n", false),
        ] {
            let head = head(text.as_bytes()).unwrap();
            assert_eq!(head.is_bare_redirect(), is_bare, "{text:?}");
        }
    }

    #[test]
    fn fields_in_any_case() {
        let head = head(b"Content-Type: \ta/b \nX-A: 1\nx-a: 2\nX-Empty:\n\n").unwrap();
        assert_eq!(head.field("X-a").as_deref(), Some(&b"2"[..]));
        assert_eq!(head.field("X-Empty").as_deref(), Some(&b""[..]));
        assert_eq!(head.field("X-B"), None);
    }
}

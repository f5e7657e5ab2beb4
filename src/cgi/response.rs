//! The head of a CGI response (RFC 3875 6.2, 6.3): where it ends, and whether it is valid. It changes nothing and does
//! not look at the message-body.
//!
//! The web server decides which heads it accepts, so we check as little as possible: where the head ends, and, before
//! its first byte goes out, whether Apache would accept it. If not, we answer with a page of ours, since that can say
//! what is wrong. Other web servers refuse other heads; behind them only the end is looked for (see `reader`).

use memchr::memchr;

pub use super::bad_head::BadHead;
use super::field::{self, LINE_LIMIT};
pub use super::head::Head;
pub use super::status::StatusCode;

/// The largest head, in bytes.
pub const HEAD_LIMIT: usize = 65_536;

/// What the bytes so far hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// The line that ends it has not come yet. How much is missing is not known.
    Partial,
    /// A whole head.
    Head(Head<'a>),
}

/// Looks for the end of the head, and continues as more of the response comes.
#[derive(Clone, Copy, Debug)]
pub struct Scan {
    /// Bytes in the lines read so far.
    seen: usize,
    checks: bool,
}

impl Scan {
    /// `checks`: a head that Apache refuses is an error.
    pub fn new(checks: bool) -> Scan {
        Scan { seen: 0, checks }
    }

    /// Reads what has come since the last call; `buf` is the response from its beginning.
    ///
    /// # Errors
    /// A line that is no field, as soon as it is complete; what is wrong with the head as a whole, at its end.
    pub fn advance<'a>(&mut self, buf: &'a [u8]) -> Result<Parsed<'a>, BadHead> {
        let window = &buf[..buf.len().min(HEAD_LIMIT)];
        loop {
            let rest = window.get(self.seen..).unwrap_or_default();
            if let ([b'\r', other, ..], false) = (rest, self.checks)
                && *other != b'\n'
            {
                // fcgiwrap ends a head at a CR without LF.
                self.seen += 1;
                return Ok(Parsed::Head(Head::new(&window[..self.seen])));
            }
            let Some(newline) = memchr(b'\n', rest) else {
                return self.partial(rest, window.len());
            };
            let line = &rest[..newline];
            self.seen += newline + 1;
            if field::is_end(line) {
                let head = Head::new(&window[..self.seen]);
                if self.checks {
                    head.check()?;
                }
                return Ok(Parsed::Head(head));
            }
            if self.checks {
                field::field(line)?;
            }
        }
    }

    fn partial<'a>(self, line: &[u8], size: usize) -> Result<Parsed<'a>, BadHead> {
        // It may end in CR, and LF be yet to come.
        if self.checks && line.len() > LINE_LIMIT + 1 {
            field::field(line)?;
        }
        if size >= HEAD_LIMIT {
            return Err(BadHead::TooLarge);
        }
        Ok(Parsed::Partial)
    }
}

/// Reads the head at the beginning of `buf`, by Apache's rules.
///
/// # Errors
/// As [`Scan::advance`].
pub fn parse(buf: &[u8]) -> Result<Parsed<'_>, BadHead> {
    Scan::new(true).advance(buf)
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
            assert_eq!(parse(&text[..end]), Ok(Parsed::Partial), "{end}");
        }
        for end in size..=text.len() {
            let parsed = parse(&text[..end]);
            assert!(matches!(parsed, Ok(Parsed::Head(head)) if head.size() == size));
        }
    }

    #[test]
    fn the_limit_is_the_size_of_the_head() {
        let line = b"X-Y: 1234567890\n";
        let of = |size: usize| {
            let mut text = line.repeat(HEAD_LIMIT / line.len() + 1);
            text.truncate(size - 1);
            let last = text.len() - 1;
            text[last] = b'\n';
            text.push(b'\n');
            text
        };
        for checks in [true, false] {
            let size = |buf| match Scan::new(checks).advance(buf) {
                Ok(Parsed::Head(head)) => Ok(Some(head.size())),
                Ok(Parsed::Partial) => Ok(None),
                Err(bad) => Err(bad),
            };
            let largest = [&of(HEAD_LIMIT)[..], b"body"].concat();
            assert_eq!(size(&largest), Ok(Some(HEAD_LIMIT)));
            let larger = of(HEAD_LIMIT + 1);
            assert_eq!(size(&larger), Err(BadHead::TooLarge));
            assert_eq!(size(&larger[..HEAD_LIMIT - 1]), Ok(None));
        }
        assert_eq!(parse(&[b'x'; LINE_LIMIT]), Ok(Parsed::Partial));
        assert_eq!(parse(&[b'x'; LINE_LIMIT + 2]), Err(BadHead::LineTooLong));
        let unchecked = Scan::new(false).advance(&[b'x'; HEAD_LIMIT]);
        assert_eq!(unchecked, Err(BadHead::TooLarge));
    }

    #[test]
    fn what_is_not_checked_has_an_end_only() {
        let text = b"<html>\n : x\n\nX";
        let parsed = Scan::new(false).advance(text);
        assert!(matches!(parsed, Ok(Parsed::Head(head)) if head.size() == text.len() - 1));
        assert_eq!(parse(text), Err(BadHead::NoColon));
        let parsed = Scan::new(false).advance(b"A: b\r\n\rX");
        assert!(matches!(parsed, Ok(Parsed::Head(head)) if head.size() == 7));
    }

    proptest! {
        #[test]
        fn any_bytes(buf in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Parsed::Head(head)) = parse(&buf) {
                prop_assert!(head.size() <= buf.len());
            }
        }

        #[test]
        fn it_makes_no_difference_how_it_comes(
            buf in "((Status|Location|X)?[: ]{0,2}[0-9a /\r\0\t\x01]{0,6}\r?\n?){0,6}",
            checks in any::<bool>(),
        ) {
            let whole = Scan::new(checks).advance(buf.as_bytes());
            let mut scan = Scan::new(checks);
            let parts = (0..=buf.len()).map(|end| scan.advance(&buf.as_bytes()[..end]));
            let first = parts.into_iter().find(|parsed| *parsed != Ok(Parsed::Partial));
            prop_assert_eq!(first.unwrap_or(Ok(Parsed::Partial)), whole);
        }
    }
}

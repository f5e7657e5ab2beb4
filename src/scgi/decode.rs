//! An SCGI header from a client's bytes, borrowed and checked. It does not decide which meta-variables are admitted.

use std::iter::FusedIterator;

use memchr::memchr;

use super::bad_header::BadHeader;
use super::netstring::{Netstring, netstring};

/// What the bytes so far hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// At least this many bytes are missing; exactly this many once the length is known. A reader that reads no more
    /// than this never reads a byte of the message-body.
    Partial {
        /// One or more.
        missing: usize,
    },
    /// A whole header.
    Header {
        /// The header.
        header: Header<'a>,
        /// Its size in bytes, with length and comma: the message-body begins here.
        consumed: usize,
    },
}

/// A whole header. A name may come twice; `cgi::Request` decides whether that is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    raw: &'a [u8],
    content: &'a [u8],
}

impl<'a> Header<'a> {
    /// Names and values in the order they came: CONTENT_LENGTH is the first.
    pub fn pairs(&self) -> HeaderPairs<'a> {
        HeaderPairs { rest: self.content }
    }

    /// The first value of this name.
    pub fn value(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.pairs().find(|pair| pair.0 == name).map(|pair| pair.1)
    }

    /// The header's bytes as they came, with length and comma.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }
}

/// The names and values of a header.
#[derive(Clone, Debug)]
pub struct HeaderPairs<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for HeaderPairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = cut(self.rest)?;
        let (value, rest) = cut(rest)?;
        self.rest = rest;
        Some((name, value))
    }
}

impl FusedIterator for HeaderPairs<'_> {}

/// Reads the header at the beginning of `buf`; its content may have `limit` bytes at most.
///
/// # Errors
/// A wrong length, as soon as it is known; all else once the header is whole.
pub fn decode(buf: &[u8], limit: usize) -> Result<Decoded<'_>, BadHeader> {
    let (content, consumed) = match netstring(buf, limit)? {
        Netstring::Partial { missing } => return Ok(Decoded::Partial { missing }),
        Netstring::Whole { content, consumed } => (content, consumed),
    };
    let mut pairs = HeaderPairs { rest: content };
    match pairs.next() {
        Some((b"CONTENT_LENGTH", digits)) if digits.iter().all(u8::is_ascii_digit) => {}
        Some((b"", _)) => return Err(BadHeader::EmptyName),
        Some(_) => return Err(BadHeader::ContentLength),
        None if content.is_empty() => return Err(BadHeader::ContentLength),
        None => return Err(BadHeader::Nul),
    }
    let mut is_scgi = false;
    for (name, value) in pairs.by_ref() {
        match name {
            b"" => return Err(BadHeader::EmptyName),
            b"SCGI" if value != b"1" => return Err(BadHeader::Scgi),
            b"SCGI" => is_scgi = true,
            _ => {}
        }
    }
    if !pairs.rest.is_empty() {
        return Err(BadHeader::Nul);
    }
    if !is_scgi {
        return Err(BadHeader::Scgi);
    }
    Ok(Decoded::Header {
        header: Header {
            raw: &buf[..consumed],
            content,
        },
        consumed,
    })
}

/// Up to the next NUL, and what follows it.
fn cut(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let nul = memchr(0, bytes)?;
    Some((&bytes[..nul], &bytes[nul + 1..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The request of the SCGI specification's example, with its message-body.
    const EXAMPLE: &[u8] =
        b"70:CONTENT_LENGTH\x0027\0SCGI\x001\0REQUEST_METHOD\0POST\0REQUEST_URI\0/deepthought\0,\
        What is the answer to life?";

    fn header(buf: &[u8]) -> Header<'_> {
        match decode(buf, 65536) {
            Ok(Decoded::Header { header, .. }) => header,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn example_of_the_specification() {
        let header = header(EXAMPLE);
        let pairs: [(&[u8], &[u8]); 4] = [
            (b"CONTENT_LENGTH", b"27"),
            (b"SCGI", b"1"),
            (b"REQUEST_METHOD", b"POST"),
            (b"REQUEST_URI", b"/deepthought"),
        ];
        assert!(header.pairs().eq(pairs));
        assert_eq!(header.value(b"REQUEST_URI"), Some(&b"/deepthought"[..]));
        assert_eq!(header.value(b"REQUEST"), None);
        assert_eq!(
            &EXAMPLE[header.raw().len()..],
            b"What is the answer to life?"
        );
    }

    #[test]
    fn every_prefix_says_what_is_missing() {
        let size = EXAMPLE.len() - 27;
        for end in 0..size {
            match decode(&EXAMPLE[..end], 70) {
                Ok(Decoded::Partial { missing }) if end > 2 => assert_eq!(missing, size - end),
                Ok(Decoded::Partial { missing }) => {
                    assert!(0 < missing && missing <= size - end, "{end}")
                }
                other => panic!("{other:?} at {end}"),
            }
        }
        // Reading what is missing, and no more, ends exactly where the message-body begins.
        let mut end = 0;
        while let Ok(Decoded::Partial { missing }) = decode(&EXAMPLE[..end], 70) {
            end += missing;
        }
        assert_eq!(end, size);
    }

    #[test]
    fn what_is_taken_and_what_is_refused() {
        use BadHeader::*;
        let cases: &[(&str, Result<usize, BadHeader>)] = &[
            ("CONTENT_LENGTH\x0000\0SCGI\x001\0", Ok(2)),
            ("CONTENT_LENGTH\0\0SCGI\x001\0", Ok(2)),
            ("CONTENT_LENGTH\x0000\0A\0\0SCGI\x001\0A\0b\0", Ok(4)),
            ("", Err(ContentLength)),
            ("\0\0", Err(EmptyName)),
            ("SCGI\x001\0CONTENT_LENGTH\x000\0", Err(ContentLength)),
            ("content_length\x000\0SCGI\x001\0", Err(ContentLength)),
            ("CONTENT_LENGTH\0-1\0SCGI\x001\0", Err(ContentLength)),
            ("CONTENT_LENGTH\0+5\0SCGI\x001\0", Err(ContentLength)),
            ("CONTENT_LENGTH\x005 \0SCGI\x001\0", Err(ContentLength)),
            ("CONTENT_LENGTH\x000\0", Err(Scgi)),
            ("CONTENT_LENGTH\x000\0scgi\x001\0", Err(Scgi)),
            ("CONTENT_LENGTH\x000\0SCGI\x002\0", Err(Scgi)),
            ("CONTENT_LENGTH\x000\0SCGI\0\0", Err(Scgi)),
            ("CONTENT_LENGTH\x000\0SCGI\x001\0SCGI\x002\0", Err(Scgi)),
            ("CONTENT_LENGTH\x000\0SCGI\x001\0\0x\0", Err(EmptyName)),
            ("CONTENT_LENGTH\x000\0SCGI\x001\0A\0b", Err(Nul)),
            ("CONTENT_LENGTH\x000\0SCGI\x001\0A\0", Err(Nul)),
            ("CONTENT_LENGTH\x000\0SCGI\x001\0A", Err(Nul)),
            ("CONTENT_LENGTH\x000\0SCGI\x001\0\0", Err(Nul)),
            ("CONTENT_LENGTH\x000\0SCGI\x001", Err(Nul)),
            ("CONTENT_LENGTH", Err(Nul)),
            ("CONTENT_LENGTH\0", Err(Nul)),
        ];
        for &(content, expected) in cases {
            let text = format!("{}:{content},", content.len());
            let count = decode(text.as_bytes(), 100).map(|decoded| match decoded {
                Decoded::Header { header, .. } => header.pairs().count(),
                Decoded::Partial { .. } => panic!("partial: {content:?}"),
            });
            assert_eq!(count, expected, "{content:?}");
        }
    }

    #[test]
    fn the_limit_is_known_from_the_length() {
        assert_eq!(decode(b"65537", 65536), Err(BadHeader::TooLarge));
        assert!(matches!(
            decode(b"65536:", 65536),
            Ok(Decoded::Partial { missing: 65537 })
        ));
        assert_eq!(decode(EXAMPLE, 69), Err(BadHeader::TooLarge));
    }

    proptest! {
        #[test]
        fn any_bytes(buf in prop::collection::vec(any::<u8>(), 0..200), limit in 0usize..200) {
            if let Ok(Decoded::Header { header, consumed }) = decode(&buf, limit) {
                prop_assert_eq!(header.raw(), &buf[..consumed]);
            }
        }

        #[test]
        fn any_content(
            content in "(CONTENT_LENGTH\0[0-9]?\0)?(SCGI\0(1|2)\0|[A-C]?\0|[A-C]{1,3}\0x*\0){0,5}"
        ) {
            let buf = format!("{}:{content},", content.len());
            if let Ok(Decoded::Header { header, .. }) = decode(buf.as_bytes(), 1000) {
                prop_assert_eq!(header.value(b"SCGI"), Some(&b"1"[..]));
                let sizes = header.pairs().map(|(name, value)| name.len() + value.len() + 2);
                let size: usize = sizes.sum();
                prop_assert_eq!(size, content.len());
            }
        }
    }
}

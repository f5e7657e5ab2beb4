//! One netstring at the beginning of a buffer: length, colon, content, comma. It does not know what the content means.

use super::bad_header::BadHeader;

/// What the bytes so far hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Netstring<'a> {
    /// At least this many bytes are missing; exactly this many once the colon is there.
    Partial { missing: usize },
    /// The content, and the size of the whole netstring, with length, colon and comma.
    Whole { content: &'a [u8], consumed: usize },
}

/// Reads a netstring whose content has `limit` bytes at most.
pub(super) fn netstring(buf: &[u8], limit: usize) -> Result<Netstring<'_>, BadHeader> {
    let mut length = 0;
    let mut bytes = buf.iter().enumerate();
    let colon = loop {
        match bytes.next() {
            // More digits only make it longer: a reader that reads no more than this never reads into the message-body.
            None if buf.is_empty() => {
                return Ok(Netstring::Partial {
                    missing: b"0:,".len(),
                });
            }
            None => {
                return Ok(Netstring::Partial {
                    missing: b":,".len() + length,
                });
            }
            Some((at, b':')) if at > 0 => break at,
            // No leading zeros: each length can be written in one way.
            Some((at, digit @ b'0'..=b'9')) if at == 0 || length > 0 => {
                length = times_ten(length, *digit)
                    .filter(|&length| length <= limit)
                    .ok_or(BadHeader::TooLarge)?;
            }
            Some(_) => return Err(BadHeader::Length),
        }
    };
    let rest = &buf[colon + 1..];
    match rest.get(length) {
        Some(b',') => Ok(Netstring::Whole {
            content: &rest[..length],
            consumed: colon + 1 + length + 1,
        }),
        Some(_) => Err(BadHeader::Comma),
        None => Ok(Netstring::Partial {
            missing: length - rest.len() + 1,
        }),
    }
}

fn times_ten(number: usize, digit: u8) -> Option<usize> {
    number
        .checked_mul(10)?
        .checked_add(usize::from(digit - b'0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn table() {
        use BadHeader::*;
        let cases: &[(&str, Result<Netstring<'_>, BadHeader>)] = &[
            (
                "0:,",
                Ok(Netstring::Whole {
                    content: b"",
                    consumed: 3,
                }),
            ),
            (
                "12:hello world!,",
                Ok(Netstring::Whole {
                    content: b"hello world!",
                    consumed: 16,
                }),
            ),
            (
                "3:a,b,rest",
                Ok(Netstring::Whole {
                    content: b"a,b",
                    consumed: 6,
                }),
            ),
            ("", Ok(Netstring::Partial { missing: 3 })),
            ("0", Ok(Netstring::Partial { missing: 2 })),
            ("1", Ok(Netstring::Partial { missing: 3 })),
            ("12:", Ok(Netstring::Partial { missing: 13 })),
            ("12:hello world!", Ok(Netstring::Partial { missing: 1 })),
            ("99:", Ok(Netstring::Partial { missing: 100 })),
            ("100", Err(TooLarge)),
            ("100:", Err(TooLarge)),
            ("99999999999999999999999999", Err(TooLarge)),
            (":,", Err(Length)),
            ("00:,", Err(Length)),
            ("01:a,", Err(Length)),
            ("-1:a,", Err(Length)),
            ("+1:a,", Err(Length)),
            (" 1:a,", Err(Length)),
            ("1 :a,", Err(Length)),
            ("a", Err(Length)),
            ("GET / HTTP/1.1\r\n", Err(Length)),
            ("1:a;", Err(Comma)),
            ("1:ab,", Err(Comma)),
            ("0:a", Err(Comma)),
        ];
        for &(text, expected) in cases {
            assert_eq!(netstring(text.as_bytes(), 99), expected, "{text:?}");
        }
    }

    #[test]
    fn the_largest_limit_does_not_overflow() {
        let text = format!("{}:", usize::MAX - 2);
        let missing = usize::MAX - 1;
        assert_eq!(
            netstring(text.as_bytes(), usize::MAX - 2),
            Ok(Netstring::Partial { missing })
        );
        let text = format!("{}:", usize::MAX);
        assert_eq!(
            netstring(text.as_bytes(), usize::MAX - 2),
            Err(BadHeader::TooLarge)
        );
    }

    proptest! {
        #[test]
        fn prefixes_say_what_is_missing(content in prop::collection::vec(any::<u8>(), 0..1200)) {
            let mut buf = format!("{}:", content.len()).into_bytes();
            let colon = buf.len() - 1;
            buf.extend_from_slice(&content);
            buf.push(b',');
            for end in 0..buf.len() {
                let rest = buf.len() - end;
                match netstring(&buf[..end], content.len()) {
                    Ok(Netstring::Partial { missing }) if end > colon => {
                        prop_assert_eq!(missing, rest);
                    }
                    Ok(Netstring::Partial { missing }) => {
                        prop_assert!(0 < missing && missing <= rest);
                    }
                    other => prop_assert!(false, "{:?} at {}", other, end),
                }
            }
            let whole = Netstring::Whole { content: &content, consumed: buf.len() };
            prop_assert_eq!(netstring(&buf, content.len()), Ok(whole));
        }
    }
}

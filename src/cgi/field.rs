//! One line of a response's head, as Apache reads it: name and value. It knows no field's meaning.

use std::borrow::Cow;

use memchr::memchr;

use super::bad_head::BadHead;

/// Apache's buffer for a line, less what it needs itself, in bytes. Carriage returns are not counted.
pub(super) const LINE_LIMIT: usize = 8_189;

/// Name and value.
pub(super) type Field<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// Whether a line without its LF ends the head. All web servers take an empty line, with or without a CR. Apache drops
/// every CR, and everything from a NUL on.
pub(super) fn is_end(line: &[u8]) -> bool {
    matches!(line.iter().find(|&&byte| byte != b'\r'), None | Some(b'\0'))
}

/// Name and value of a line without its LF. The name is as it came; white space before the value is dropped.
///
/// # Errors
/// Apache would not take the line for a field.
pub(super) fn field(line: &[u8]) -> Result<Field<'_>, BadHead> {
    let text = text(line);
    if text.len() > LINE_LIMIT {
        return Err(BadHead::LineTooLong);
    }
    let Some(colon) = memchr(b':', &text) else {
        let is_folded = text.first().is_some_and(|&byte| is_blank(byte));
        return Err(if is_folded {
            BadHead::Folded
        } else {
            BadHead::NoColon
        });
    };
    Ok(match text {
        Cow::Borrowed(text) => (text[..colon].into(), value(&text[colon + 1..]).into()),
        Cow::Owned(mut name) => {
            let rest = name.split_off(colon);
            name.truncate(colon);
            (name.into(), value(&rest[1..]).to_vec().into())
        }
    })
}

/// The line as Apache sees it: without CRs, and cut at a NUL.
fn text(line: &[u8]) -> Cow<'_, [u8]> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = &line[..memchr(b'\0', line).unwrap_or(line.len())];
    match memchr(b'\r', line) {
        None => line.into(),
        Some(_) => {
            let kept = line.iter().copied().filter(|&byte| byte != b'\r');
            kept.collect::<Vec<u8>>().into()
        }
    }
}

fn value(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| !is_space(byte));
    &text[start.unwrap_or(text.len())..]
}

/// Whether the name can be sent to a client (RFC 9110 5.1).
pub(super) fn check_name(name: &[u8]) -> Result<(), BadHead> {
    if !name.is_empty() && name.iter().all(|&byte| is_token(byte)) {
        return Ok(());
    }
    Err(match name {
        [first, ..] if is_blank(*first) => BadHead::Folded,
        [.., last] if is_blank(*last) => BadHead::SpaceBeforeColon,
        _ => BadHead::Name,
    })
}

/// Whether the value can be sent to a client (RFC 9110 5.5).
pub(super) fn check_value(value: &[u8]) -> Result<(), BadHead> {
    let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    if value.iter().any(is_control) {
        return Err(BadHead::Control);
    }
    Ok(())
}

/// C's isspace().
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// RFC 9110 5.6.2
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(line: &[u8]) -> Result<(Vec<u8>, Vec<u8>), BadHead> {
        let (name, value) = field(line)?;
        check_name(&name)?;
        check_value(&value)?;
        Ok((name.into_owned(), value.into_owned()))
    }

    #[test]
    fn table() {
        use BadHead::*;
        type Expected = Result<(&'static str, &'static str), BadHead>;
        let cases: [(&[u8], Expected); 29] = [
            (b"Content-Type: a/b", Ok(("Content-Type", "a/b"))),
            (b"Content-Type:a/b\r", Ok(("Content-Type", "a/b"))),
            (b"X: \t a\tb \t", Ok(("X", "a\tb \t"))),
            (b"X:", Ok(("X", ""))),
            (b"X: http://a:80/", Ok(("X", "http://a:80/"))),
            (b"X: \xc3\xa9", Ok(("X", "\u{e9}"))),
            (b"x_y!: 1", Ok(("x_y!", "1"))),
            // What Apache does not see.
            (b"X: a\rY: b", Ok(("X", "aY: b"))),
            (b"\rX\r: a\r\r", Ok(("X", "a"))),
            (b"X: a\0b", Ok(("X", "a"))),
            (b"X: \x0b\x0ca", Ok(("X", "a"))),
            (b"X\0: a", Err(NoColon)),
            (b"X : a", Err(SpaceBeforeColon)),
            (b"X\t: a", Err(SpaceBeforeColon)),
            (b" charset=x", Err(Folded)),
            (b"\tcharset: x", Err(Folded)),
            (b" \r", Err(Folded)),
            (b": a", Err(Name)),
            (b"Content Type: a", Err(Name)),
            (b"<html>: a", Err(Name)),
            (b"X\x01: a", Err(Name)),
            (b"\xc3\xa9: a", Err(Name)),
            (b"Traceback (most recent call last):", Err(Name)),
            (b"X: a\x01b", Err(Control)),
            (b"X: a\x0c", Err(Control)),
            (b"X: a\x7fb", Err(Control)),
            (b"HTTP/1.1 200 OK", Err(NoColon)),
            (b"<html>", Err(NoColon)),
            (b"\x7fELF\x02", Err(NoColon)),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|(name, value)| (name.into(), value.into()));
            assert_eq!(checked(line), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_line_has_a_limit() {
        let line = |size: usize| [b"X: ", &b"a".repeat(size - 3)[..]].concat();
        assert!(field(&line(LINE_LIMIT)).is_ok());
        assert!(field(&[&line(LINE_LIMIT)[..], b"\r"].concat()).is_ok());
        assert_eq!(field(&line(LINE_LIMIT + 1)), Err(BadHead::LineTooLong));
    }

    #[test]
    fn what_ends_a_head() {
        for line in [&b""[..], b"\r", b"\r\r", b"\0", b"\r\0X: y", b"\0X"] {
            assert!(is_end(line), "{}", line.escape_ascii());
        }
        for line in [&b" "[..], b" \r", b"X\r", b"X\0"] {
            assert!(!is_end(line), "{}", line.escape_ascii());
        }
    }
}

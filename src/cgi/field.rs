//! One line of a response's head: a header field's name and value. What they mean is not asked.

use memchr::memchr;

use super::response::BadHead;

/// Name and value of a line without its end (RFC 3875 6.3, RFC 9110 5).
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), BadHead> {
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        return Err(BadHead::Folded);
    }
    let colon = memchr(b':', line).ok_or(BadHead::NoColon)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.ends_with(b" ") || name.ends_with(b"\t") {
        return Err(BadHead::SpaceBeforeColon);
    }
    if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) {
        return Err(BadHead::Name);
    }
    if value
        .iter()
        .any(|&byte| byte.is_ascii_control() && byte != b'\t')
    {
        return Err(BadHead::Control);
    }
    Ok((name, value.trim_ascii()))
}

/// RFC 9110 5.6.2
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        use BadHead::*;
        let cases = [
            ("Content-Type: a/b", Ok(("Content-Type", "a/b"))),
            ("Content-Type:a/b", Ok(("Content-Type", "a/b"))),
            ("X: \t a\tb \t", Ok(("X", "a\tb"))),
            ("X:", Ok(("X", ""))),
            ("X: http://a:80/", Ok(("X", "http://a:80/"))),
            ("X: \u{e9}", Ok(("X", "\u{e9}"))),
            ("x_y!: 1", Ok(("x_y!", "1"))),
            ("X : a", Err(SpaceBeforeColon)),
            ("X\t: a", Err(SpaceBeforeColon)),
            (" charset=x", Err(Folded)),
            ("\tcharset: x", Err(Folded)),
            (": a", Err(Name)),
            ("Content Type: a", Err(Name)),
            ("<html>: a", Err(Name)),
            ("X\0: a", Err(Name)),
            ("\u{e9}: a", Err(Name)),
            ("Traceback (most recent call last):", Err(Name)),
            ("X: a\rY: b", Err(Control)),
            ("X: a\0b", Err(Control)),
            ("X: a\x7fb", Err(Control)),
            ("HTTP/1.1 200 OK", Err(NoColon)),
            ("<html>", Err(NoColon)),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            assert_eq!(field(line.as_bytes()), expected, "{line:?}");
        }
    }
}

//! Text from outside, escaped for HTML, JSON and plain text. It never shortens it.

use std::fmt::{Display, Formatter, Result, Write};

/// Text and attribute values of HTML.
pub struct Html<'a>(pub &'a str);

/// A JSON string with its quotes (RFC 8259 7).
pub(super) struct Json<'a>(pub(super) &'a str);

/// Text for a terminal, which would obey control characters; only line ends and tabs are kept.
pub(super) struct Plain<'a>(pub(super) &'a str);

impl Display for Html<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.0.chars().try_for_each(|char| match char {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            char => f.write_char(visible(char)),
        })
    }
}

impl Display for Json<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_char('"')?;
        self.0.chars().try_for_each(|char| match char {
            '"' => f.write_str("\\\""),
            '\\' => f.write_str("\\\\"),
            '\n' => f.write_str("\\n"),
            '\r' => f.write_str("\\r"),
            '\t' => f.write_str("\\t"),
            char if char.is_control() => write!(f, "\\u{:04x}", u32::from(char)),
            char => f.write_char(char),
        })?;
        f.write_char('"')
    }
}

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.0
            .chars()
            .try_for_each(|char| f.write_char(visible(char)))
    }
}

fn visible(char: char) -> char {
    if char.is_control() && char != '\n' && char != '\t' {
        '?'
    } else {
        char
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        // given, HTML, JSON, plain
        let cases = [
            ("", "", r#""""#, ""),
            ("a é 😀", "a é 😀", r#""a é 😀""#, "a é 😀"),
            (
                "<a href='x'>&amp;\"",
                "&lt;a href=&#39;x&#39;&gt;&amp;amp;&quot;",
                r#""<a href='x'>&amp;\"""#,
                "<a href='x'>&amp;\"",
            ),
            ("a\\b\n\tc", "a\\b\n\tc", r#""a\\b\n\tc""#, "a\\b\n\tc"),
            (
                "\0\r\u{1b}\u{7f}\u{9b}",
                "?????",
                r#""\u0000\r\u001b\u007f\u009b""#,
                "?????",
            ),
        ];
        for (given, html, json, plain) in cases {
            assert_eq!(Html(given).to_string(), html, "{given:?}");
            assert_eq!(Json(given).to_string(), json, "{given:?}");
            assert_eq!(Plain(given).to_string(), plain, "{given:?}");
        }
    }
}

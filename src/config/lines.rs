//! Lines of `key = value`: comments, blanks, line ends, and positions on a line. It knows no key.
//!
//! A line is blank, or its first character is `#` (so the `#!` line of an app file is a comment), or it has a `=`.
//! Blanks around key and value are dropped. LF and CRLF end a line; a byte order mark may begin the file. A `#` within
//! a line is left to the value's own syntax.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::bad_config::{BadConfig, Position, starred};

/// Blanks: what a shell splits words at, within a line.
pub(super) const BLANKS: [char; 2] = [' ', '\t'];

/// What can be wrong with a line, whatever its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadLine {
    Control,
    NoEquals,
    NoKey,
    NotUtf8,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadLine::Control => "a control character; only the tab may stand here",
            BadLine::NoEquals => {
                "no '=' on this line; write 'key = value', and '#' before a comment"
            }
            BadLine::NoKey => "nothing before the '='; write 'key = value'",
            BadLine::NotUtf8 => "not UTF-8 from here on; save the file as UTF-8",
        })
    }
}

/// Which values may be secrets, and are not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secrets {
    /// Every value: the file is one of environment variables.
    All,
    /// Values of keys with a dot: `env.NAME`, and a mistyped `evn.NAME`.
    Dotted,
}

impl Secrets {
    /// The line with stars for a secret.
    fn shown(self, line: &str) -> String {
        let indent = line.len() - line.trim_start_matches(BLANKS).len();
        let key_end = line[indent..]
            .find(|c| c == '=' || BLANKS.contains(&c))
            .map(|end| indent + end);
        match self {
            Secrets::All => starred(line, line.find('=').map_or(0, |equals| equals + 1)),
            Secrets::Dotted => match key_end {
                Some(end) if line[indent..end].contains('.') => {
                    starred(line, line.find('=').map_or(end, |equals| equals + 1))
                }
                _ => line.to_owned(),
            },
        }
    }
}

/// One line that has a key and a value.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    path: Arc<str>,
    number: usize,
    text: &'a str,
    key: Range<usize>,
    value: Range<usize>,
    secrets: Secrets,
}

impl<'a> Line<'a> {
    /// Never empty, and without blanks around it.
    pub(super) fn key(&self) -> &'a str {
        &self.text[self.key.clone()]
    }

    /// May be empty. Without blanks around it, and without control characters but the tab.
    pub(super) fn value(&self) -> &'a str {
        &self.text[self.value.clone()]
    }

    /// The position of the key.
    pub(super) fn key_position(&self) -> Position {
        self.position(self.key.clone())
    }

    /// The position of the bytes `at` of the value.
    pub(super) fn value_position(&self, at: Range<usize>) -> Position {
        let start = self.value.start;
        self.position(start + at.start..start + at.end)
    }

    /// The position of a comment that the value keeps, from byte `from` of it. The comment is shown, and of an
    /// environment's secrets, or if no blank follows its `#`, only that: it may be part of a password.
    pub(super) fn comment_position(&self, from: usize) -> Position {
        let from = self.value.start + from;
        let is_comment = self.text[from + 1..].starts_with(BLANKS);
        let end = match self.secrets {
            Secrets::Dotted if is_comment => self.value.end,
            Secrets::All | Secrets::Dotted => from + 1,
        };
        let hidden = self.secrets.shown(self.text);
        let pairs = self.text.char_indices().zip(hidden.chars());
        let shown = pairs.map(|((at, c), star)| if (from..end).contains(&at) { c } else { star });
        let at = from..self.value.end;
        Position::new(&self.path, self.number, self.text, at, shown.collect())
    }

    fn position(&self, at: Range<usize>) -> Position {
        Position::new(
            &self.path,
            self.number,
            self.text,
            at,
            self.secrets.shown(self.text),
        )
    }

    fn read(
        path: &Arc<str>,
        number: usize,
        text: &'a [u8],
        secrets: Secrets,
    ) -> Result<Option<Line<'a>>, BadConfig> {
        // Comments may have any bytes: a Latin-1 name in one must not make the file wrong.
        match text.iter().find(|&&byte| byte != b' ' && byte != b'\t') {
            None | Some(b'#') => return Ok(None),
            Some(_) => {}
        }
        let wrong = |text: &str, at: Range<usize>, what: BadLine| {
            BadConfig::new(
                Position::new(path, number, text, at, secrets.shown(text)),
                what,
            )
        };
        let text = str::from_utf8(text).map_err(|error| {
            let valid = error.valid_up_to();
            wrong(
                &String::from_utf8_lossy(text),
                valid..valid + 1,
                BadLine::NotUtf8,
            )
        })?;
        if let Some((at, control)) = text
            .char_indices()
            .find(|&(_, c)| c.is_control() && c != '\t')
        {
            return Err(wrong(text, at..at + control.len_utf8(), BadLine::Control));
        }
        let Some(equals) = text.find('=') else {
            return Err(wrong(text, trimmed(text, 0..text.len()), BadLine::NoEquals));
        };
        let key = trimmed(text, 0..equals);
        if key.is_empty() {
            return Err(wrong(text, equals..equals + 1, BadLine::NoKey));
        }
        let value = trimmed(text, equals + 1..text.len());
        Ok(Some(Line {
            path: Arc::clone(path),
            number,
            text,
            key,
            value,
            secrets,
        }))
    }
}

/// The lines of `text` that have a key, and an error for each line that is wrong.
pub(super) fn read<'a>(
    path: &Arc<str>,
    text: &'a [u8],
    secrets: Secrets,
) -> impl Iterator<Item = Result<Line<'a>, BadConfig>> {
    numbered(text)
        .filter_map(move |(number, line)| Line::read(path, number, line, secrets).transpose())
}

/// The position at the end of the text, for what is missing.
pub(super) fn end(path: &Arc<str>, text: &[u8], secrets: Secrets) -> Position {
    let (number, line) = numbered(text).last().unwrap_or((1, b""));
    let line = String::from_utf8_lossy(line);
    Position::new(
        path,
        number,
        &line,
        line.len()..line.len(),
        secrets.shown(&line),
    )
}

fn numbered(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    // A newline at the end of the file begins no further line.
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let lines = text
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.enumerate().map(|(index, line)| (index + 1, line))
}

/// `range` of `text` without the blanks around it. All blanks give the empty range at its end.
fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let start = range.end - part.trim_start_matches(BLANKS).len();
    start..start + part.trim_matches(BLANKS).len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &[u8]) -> Result<Vec<(usize, String, String)>, String> {
        let lines: Result<Vec<_>, _> = read(&"f".into(), text, Secrets::Dotted).collect();
        match lines {
            Ok(lines) => Ok(lines
                .iter()
                .map(|l| (l.number, l.key().into(), l.value().into()))
                .collect()),
            Err(bad) => Err(bad.to_string()),
        }
    }

    fn pair(number: usize, key: &str, value: &str) -> (usize, String, String) {
        (number, key.into(), value.into())
    }

    #[test]
    fn lines_with_keys() {
        let text = b"#!/usr/local/bin/polycgi -\n\n  # a comment\nwsgi = a:b\n\tmode\t=\tcgi \nmount=/a=b\nlisten =\n";
        let expected = vec![
            pair(4, "wsgi", "a:b"),
            pair(5, "mode", "cgi"),
            pair(6, "mount", "/a=b"),
            pair(7, "listen", ""),
        ];
        assert_eq!(pairs(text), Ok(expected));
    }

    #[test]
    fn line_ends_and_marks() {
        let expected = Ok(vec![pair(2, "mode", "cgi")]);
        assert_eq!(pairs(b"#!/x -\r\nmode = cgi\r\n"), expected);
        assert_eq!(pairs(b"\xef\xbb\xbf#!/x\r\nmode = cgi"), expected);
        assert_eq!(pairs(b""), Ok(vec![]));
        assert_eq!(pairs(b"\xef\xbb\xbf"), Ok(vec![]));
        assert_eq!(pairs(b"# K\xf6ln\nmode = cgi"), expected);
    }

    #[test]
    fn wrong_lines() {
        let cases: &[(&[u8], &str)] = &[
            (
                b"a = b\nmode cgi",
                "f:2:1: no '=' on this line; write 'key = value', and '#' before a comment\nmode cgi\n^~~~~~~~",
            ),
            (
                b" = cgi",
                "f:1:2: nothing before the '='; write 'key = value'\n = cgi\n ^",
            ),
            (
                b"mode = c\0i",
                "f:1:9: a control character; only the tab may stand here\nmode = c?i\n        ^",
            ),
            (
                b"a = b\rc = d",
                "f:1:6: a control character; only the tab may stand here\na = b?c = d\n     ^",
            ),
            (
                "é = \u{85}".as_bytes(),
                "f:1:5: a control character; only the tab may stand here\né = ?\n    ^",
            ),
            (
                b"m = K\xf6ln",
                "f:1:6: not UTF-8 from here on; save the file as UTF-8\nm = K\u{fffd}ln\n     ^",
            ),
            (
                b"env.PASS = x\0y",
                "f:1:13: a control character; only the tab may stand here\nenv.PASS = ***\n            ^",
            ),
            (
                b" env.PASS xyz",
                "f:1:2: no '=' on this line; write 'key = value', and '#' before a comment\n env.PASS ***\n ^~~~~~~~~~~~",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(pairs(text), Err((*expected).to_owned()));
        }
    }

    #[test]
    fn the_end() {
        let end = |text: &[u8]| {
            let position = super::end(&"f".into(), text, Secrets::Dotted);
            (position.line(), position.column())
        };
        assert_eq!(end(b""), (1, 1));
        assert_eq!(end(b"#!/x\nmode = cgi\n"), (2, 11));
        assert_eq!(end(b"a\n\n"), (2, 1));
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(Secrets::All.shown("SECRET=tiger"), "SECRET=*****");
        assert_eq!(Secrets::All.shown("tiger"), "*****");
        assert_eq!(
            Secrets::Dotted.shown("evn.SECRET = tiger"),
            "evn.SECRET = *****"
        );
        assert_eq!(
            Secrets::Dotted.shown("wsgi = app.main:x"),
            "wsgi = app.main:x"
        );
    }
}

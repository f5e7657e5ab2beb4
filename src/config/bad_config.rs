//! Where in a file something is wrong, and how it is shown: `path:line:column: message`, the line, and a `^~~` under
//! it. It never shows the value of an environment variable, which may be a secret: it prints stars.

use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::printable;

/// The most columns of a line that are shown; a longer line is cut around the position.
const SHOWN: usize = 100;

/// Columns before the position that are shown of a longer line.
const LEAD: usize = 60;

/// What is wrong in a file, at one position.
///
/// `Display` gives three lines without a newline at the end: the sentence, the line of the file, the underline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadConfig {
    position: Position,
    message: String,
}

impl BadConfig {
    pub(super) fn new(position: Position, message: impl fmt::Display) -> BadConfig {
        BadConfig {
            position,
            message: visible(&message.to_string()),
        }
    }

    /// The first line alone, for logs: `path:line:column: message`.
    pub fn sentence(&self) -> String {
        let Position {
            path, line, column, ..
        } = &self.position;
        format!("{}:{line}:{column}: {}", visible(path), self.message)
    }

    /// Where it is wrong.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// What is wrong, without the position: one line of text.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, skip, width) = self.position.shown();
        let sentence = self.sentence();
        let tail = "~".repeat(width - 1);
        write!(f, "{sentence}\n{text}\n{:skip$}^{tail}", "")
    }
}

impl Error for BadConfig {}

/// A position in a file: what a setting remembers of where it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    path: Arc<str>,
    line: usize,
    column: usize,
    width: usize,
    text: String,
}

impl Position {
    /// The bytes `at` of the line `text`, which may end before them; `shown` is what may be shown of the line.
    pub(super) fn new(
        path: &Arc<str>,
        line: usize,
        text: &str,
        at: Range<usize>,
        shown: String,
    ) -> Position {
        let chars = |range: Range<usize>| text.get(range).map_or(0, |part| part.chars().count());
        let end = at.end.min(text.len());
        let start = at.start.min(end);
        let (column, width) = (chars(0..start) + 1, chars(start..end).max(1));
        Position {
            path: Arc::clone(path),
            line,
            column,
            width,
            text: shown,
        }
    }

    /// The file, as it was named to the parser.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The line, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column, counted from 1, in characters. If something is missing, one past the line's last character.
    pub fn column(&self) -> usize {
        self.column
    }

    /// The part of the line that is printed, the number of blanks before the underline, and its width.
    fn shown(&self) -> (String, usize, usize) {
        let chars = self.text.chars().count();
        let (cut, left) = if chars <= SHOWN {
            (0, chars)
        } else {
            ((self.column - 1).saturating_sub(LEAD), SHOWN)
        };
        let text: String = self.text.chars().skip(cut).take(left).collect();
        let skip = self.column - 1 - cut;
        (
            visible(&text).replace('\t', " "),
            skip,
            self.width.min(SHOWN.saturating_sub(skip)).max(1),
        )
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", visible(&self.path), self.line, self.column)
    }
}

/// `typed` in quotes for a message, cut at 100 characters.
pub(super) fn quoted(typed: &str) -> String {
    format!("'{}'", typed.chars().take(100).collect::<String>())
}

/// `line` with stars for what follows `from`, but for blanks: columns stay the same.
pub(super) fn starred(line: &str, from: usize) -> String {
    let (open, secret) = line.split_at(from);
    let stars = secret
        .chars()
        .map(|c| if c == ' ' || c == '\t' { c } else { '*' });
    open.chars().chain(stars).collect()
}

/// Makes a text safe for a terminal or a log.
fn visible(text: &str) -> String {
    printable::line(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(text: &str, at: Range<usize>) -> BadConfig {
        BadConfig::new(
            Position::new(&"/srv/wiki.cgi".into(), 3, text, at, text.to_owned()),
            "wrong",
        )
    }

    #[test]
    fn three_lines() {
        assert_eq!(
            bad("workers = 4", 0..7).to_string(),
            "/srv/wiki.cgi:3:1: wrong\nworkers = 4\n^~~~~~~"
        );
        assert_eq!(
            bad("mode =", 6..6).to_string(),
            "/srv/wiki.cgi:3:7: wrong\nmode =\n      ^"
        );
        assert_eq!(
            bad("ä\t= x", 4..5).to_string(),
            "/srv/wiki.cgi:3:4: wrong\nä = x\n   ^"
        );
        assert_eq!(bad("", 0..0).to_string(), "/srv/wiki.cgi:3:1: wrong\n\n^");
    }

    #[test]
    fn one_line() {
        assert_eq!(
            bad("workers = 4", 0..7).sentence(),
            "/srv/wiki.cgi:3:1: wrong"
        );
        let position = Position::new(&"a\nb".into(), 1, "x", 0..1, "\x1b[2J".to_owned());
        let bad = BadConfig::new(position, "no\nway");
        assert_eq!(bad.to_string(), "a?b:1:1: no?way\n?[2J\n^");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{}x{}", "a".repeat(200), "b".repeat(200));
        let shown = bad(&text, 200..201).to_string();
        let expected = format!(
            "/srv/wiki.cgi:3:201: wrong\n{}x{}\n{}^",
            "a".repeat(60),
            "b".repeat(39),
            " ".repeat(60)
        );
        assert_eq!(shown, expected);
        assert!(
            bad(&text, 0..401)
                .to_string()
                .ends_with(&format!("\n^{}", "~".repeat(99)))
        );
    }

    #[test]
    fn stars_keep_the_columns() {
        assert_eq!(starred("env.A = süß x", 7), "env.A = *** *");
    }
}

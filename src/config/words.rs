//! Values as a shell reads words: quotes, backslash, comments. It expands nothing: `$HOME`, `*`, `~` and `|` stay as
//! they are.
//!
//! A command or a list is split at blanks. 'single quotes' keep everything; "double quotes" keep
//! everything but a backslash before `"`, `\`, `$` or a backquote; elsewhere a backslash keeps the
//! next character. A `#` that begins a word begins a comment.
//!
//! A single text (a path, a name) is the rest of the line without a comment, so blanks in it need no quotes. If its
//! first character is a quote, it is one word as above. The value of an environment variable is the same, but a comment
//! may follow it only if it is quoted: `env.COLOUR = #fff` is `#fff`.

use std::fmt;
use std::ops::Range;

use super::lines::BLANKS;

/// What can be wrong with words, and the byte where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadWords {
    AfterQuote(usize),
    OpenBackslash(usize),
    OpenQuote(usize),
}

impl BadWords {
    /// The byte of the value where the fault begins.
    pub(super) fn at(self) -> usize {
        match self {
            BadWords::AfterQuote(at) | BadWords::OpenBackslash(at) | BadWords::OpenQuote(at) => at,
        }
    }
}

impl fmt::Display for BadWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadWords::AfterQuote(_) => {
                "text after the closing quote; put the quotes around the whole value"
            }
            BadWords::OpenBackslash(_) => {
                "nothing follows the backslash; a value can't go on in the next line"
            }
            BadWords::OpenQuote(_) => "this quote is never closed",
        })
    }
}

/// One word, unquoted, and the bytes of the value that it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShellWord {
    pub(super) text: String,
    pub(super) at: Range<usize>,
}

/// The words of a command or a list.
pub(super) fn split(value: &str) -> Result<Vec<ShellWord>, BadWords> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(word) = word(value, at)? {
        at = word.at.end;
        words.push(word);
    }
    Ok(words)
}

/// A single text, which may be quoted and may have a comment after it.
pub(super) fn text(value: &str) -> Result<String, BadWords> {
    quoted(value).unwrap_or_else(|| Ok(bare(value).to_owned()))
}

/// The value of an environment variable, which may be quoted.
pub(super) fn env_value(value: &str) -> Result<String, BadWords> {
    quoted(value).unwrap_or_else(|| Ok(value.to_owned()))
}

/// `value` without a comment, for values that need no quotes.
pub(super) fn bare(value: &str) -> &str {
    let comment = value
        .match_indices('#')
        .find(|&(at, _)| value[..at].ends_with(BLANKS) || at == 0);
    comment
        .map_or(value, |(at, _)| &value[..at])
        .trim_end_matches(BLANKS)
}

/// The one word that `value` is, if it begins with a quote.
fn quoted(value: &str) -> Option<Result<String, BadWords>> {
    if !value.starts_with(['\'', '"']) {
        return None;
    }
    Some(split(value).and_then(|words| {
        let mut words = words.into_iter();
        let first = words.next().map(|word| word.text).unwrap_or_default();
        words.next().map_or(Ok(first), |second| {
            Err(BadWords::AfterQuote(second.at.start))
        })
    }))
}

/// A word of a command or a list that reads as `text`, quoted if it has to be. `None`: no line can hold it.
pub fn as_word(text: &str) -> Option<String> {
    let needs_none = |c: char| c.is_alphanumeric() || "%+,-./:=@_{}".contains(c);
    match text {
        _ if text.contains(char::is_control) => None,
        "" => Some("''".to_owned()),
        _ if text.chars().all(needs_none) => Some(text.to_owned()),
        _ => Some(format!("'{}'", text.replace('\'', r"'\''"))),
    }
}

/// A single text that reads as `text`, quoted if it has to be. `None`: no line can hold it.
pub fn as_text(text: &str) -> Option<String> {
    let is_plain = bare(text) == text && !text.is_empty() && !text.starts_with(['\'', '"']);
    if is_plain && !text.starts_with(BLANKS) && !text.contains(char::is_control) {
        return Some(text.to_owned());
    }
    as_word(text)
}

/// The word that begins at or after `from`; `None` at the end or at a comment.
fn word(value: &str, from: usize) -> Result<Option<ShellWord>, BadWords> {
    let rest = value.get(from..).unwrap_or_default().char_indices();
    let mut chars = rest
        .map(|(at, c)| (from + at, c))
        .skip_while(|(_, c)| BLANKS.contains(c))
        .peekable();
    let start = match chars.peek() {
        None | Some((_, '#')) => return Ok(None),
        Some(&(at, _)) => at,
    };
    let mut text = String::new();
    while let Some((at, c)) = chars.next() {
        match c {
            ' ' | '\t' => {
                return Ok(Some(ShellWord {
                    text,
                    at: start..at,
                }));
            }
            '\\' => match chars.next() {
                Some((_, kept)) => text.push(kept),
                None => return Err(BadWords::OpenBackslash(at)),
            },
            '\'' => loop {
                match chars.next() {
                    Some((_, '\'')) => break,
                    Some((_, kept)) => text.push(kept),
                    None => return Err(BadWords::OpenQuote(at)),
                }
            },
            '"' => loop {
                match chars.next() {
                    Some((_, '"')) => break,
                    Some((_, '\\')) => match chars.next() {
                        Some((_, kept @ ('"' | '\\' | '$' | '`'))) => text.push(kept),
                        Some((_, other)) => text.extend(['\\', other]),
                        None => return Err(BadWords::OpenQuote(at)),
                    },
                    Some((_, kept)) => text.push(kept),
                    None => return Err(BadWords::OpenQuote(at)),
                }
            },
            kept => text.push(kept),
        }
    }
    Ok(Some(ShellWord {
        text,
        at: start..value.len(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("# all a comment", &[]),
            ("python3 app.py", &["python3", "app.py"]),
            ("a  \t b", &["a", "b"]),
            (
                "sh -c 'exec \"$0\" # no'",
                &["sh", "-c", "exec \"$0\" # no"],
            ),
            (r#"a\ b "c d"'e f'g"#, &["a b", "c de fg"]),
            (r#""a\"b\\c\d\$e\`f""#, &[r#"a"b\c\d$e`f"#]),
            (r"'a\b'", &[r"a\b"]),
            ("a '' \"\"", &["a", "", ""]),
            ("a#b # c", &["a#b"]),
            ("~/x $HOME * | >b", &["~/x", "$HOME", "*", "|", ">b"]),
            ("--listen {socket} 'äöü'", &["--listen", "{socket}", "äöü"]),
            (r"\#a \'", &["#a", "'"]),
        ];
        for (value, expected) in cases {
            let words: Vec<String> = split(value)
                .unwrap()
                .into_iter()
                .map(|word| word.text)
                .collect();
            assert_eq!(words, *expected, "{value}");
        }
        let at: Vec<_> = split("ab 'c d'  e")
            .unwrap()
            .into_iter()
            .map(|word| word.at)
            .collect();
        assert_eq!(at, [0..2, 3..8, 10..11]);
    }

    #[test]
    fn wrong_words() {
        assert_eq!(split("a 'b"), Err(BadWords::OpenQuote(2)));
        assert_eq!(split("a \"b\\"), Err(BadWords::OpenQuote(2)));
        assert_eq!(split("a \"b"), Err(BadWords::OpenQuote(2)));
        assert_eq!(split("a b\\"), Err(BadWords::OpenBackslash(3)));
        assert_eq!(text("'a' b"), Err(BadWords::AfterQuote(4)));
        assert_eq!(env_value("\"a\" b"), Err(BadWords::AfterQuote(4)));
    }

    #[test]
    fn single_texts() {
        let cases = [
            ("/srv/my app", "/srv/my app", "/srv/my app"),
            ("/srv/a # here", "/srv/a", "/srv/a # here"),
            ("'/srv/a # b' # here", "/srv/a # b", "/srv/a # b"),
            ("bob's", "bob's", "bob's"),
            (r"a\b", r"a\b", r"a\b"),
            (r#""a\"b""#, "a\"b", "a\"b"),
            ("#fff", "", "#fff"),
            ("''", "", ""),
            ("{\"a\": 1}", "{\"a\": 1}", "{\"a\": 1}"),
        ];
        for (value, as_text, as_env) in cases {
            assert_eq!(text(value).as_deref(), Ok(as_text), "{value}");
            assert_eq!(env_value(value).as_deref(), Ok(as_env), "{value}");
        }
    }

    #[test]
    fn what_is_quoted_reads_as_it_was() {
        for kept in [
            "/srv/wiki",
            "/srv/my app",
            "a # b",
            "#a",
            "it's",
            "'a",
            "\"a\" b",
            " a ",
            "",
            "a\\b",
            "$x `y`",
        ] {
            assert_eq!(text(&as_text(kept).unwrap()).as_deref(), Ok(kept), "{kept}");
            let words = split(&format!("x {} y", as_word(kept).unwrap())).unwrap();
            assert_eq!((words.len(), words[1].text.as_str()), (3, kept));
        }
        assert_eq!(as_text("/srv/my app").as_deref(), Some("/srv/my app"));
        assert_eq!(as_word("./a.cgi").as_deref(), Some("./a.cgi"));
        assert_eq!((as_text("a\nb"), as_word("a\rb")), (None, None));
    }

    #[test]
    fn comments_of_bare_values() {
        assert_eq!(bare("4 # four"), "4");
        assert_eq!(bare("a#b"), "a#b");
        assert_eq!(bare("# x"), "");
        assert_eq!(bare("a#b\t#c # d"), "a#b");
    }
}

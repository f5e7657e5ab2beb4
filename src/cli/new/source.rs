//! What a Python source binds at its top level, by its text alone: nothing is run, and nothing that is imported is
//! followed. Knows names and text; not what is an application.
#![forbid(unsafe_code)]

/// The most of a line that is kept.
const LONGEST_LINE: usize = 400;

/// A name, and the text that binds it: `Flask(__name__)`, `from wiki import app`, `def create_app(debug=False)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) by: String,
}

/// The logical lines that begin at the margin, in order: outside strings and brackets, without comments.
pub(super) fn top_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut depth = 0_usize;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '\'' | '"' => string_length(rest),
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '\n' if depth == 0 => {
                lines.push(std::mem::take(&mut line));
                continue;
            }
            _ => {}
        }
        if line.len() + token.len() <= LONGEST_LINE && !matches!(c, '#' | '\\' | '\n' | '\r') {
            line.push_str(token);
        }
    }
    lines.push(line);
    lines.retain(|line| !line.is_empty() && !line.starts_with([' ', '\t']));
    lines
}

/// The length of the string literal with which `text` begins; one that is not closed ends with its line, or, between
/// three quotes, with the text.
fn string_length(text: &str) -> usize {
    let quote = &text[..1];
    let triple = quote.repeat(3);
    let close = if text.starts_with(&triple) {
        triple.as_str()
    } else {
        quote
    };
    let mut at = close.len();
    while let Some(c) = text[at..].chars().next() {
        if text[at..].starts_with(close) {
            return at + close.len();
        }
        if c == '\n' && close.len() == 1 {
            return at;
        }
        at += c.len_utf8();
        if c == '\\' {
            at += text[at..].chars().next().map_or(0, char::len_utf8);
        }
    }
    text.len()
}

/// What the lines bind. A name that is bound twice has two bindings; the last one counts.
pub(super) fn bindings(lines: &[String]) -> Vec<Binding> {
    lines.iter().flat_map(|line| bound_by(line)).collect()
}

fn bound_by(line: &str) -> Vec<Binding> {
    let bound = |name: &str| Binding {
        name: name.to_owned(),
        by: line.trim_end().to_owned(),
    };
    let after_word = |word: &str| {
        let rest = line.strip_prefix(word)?;
        rest.starts_with([' ', '\t']).then(|| rest.trim_start())
    };
    let defined = after_word("async")
        .map(|rest| rest.strip_prefix("def ").unwrap_or_default())
        .or_else(|| after_word("def"))
        .or_else(|| after_word("class"));
    if let Some(rest) = defined {
        return identifier(rest).map(bound).into_iter().collect();
    }
    if let Some(rest) = after_word("from") {
        let names = rest.split_once(" import").map_or("", |(_, names)| names);
        return imported(names).map(bound).collect();
    }
    if let Some(names) = after_word("import") {
        return imported(names).map(bound).collect();
    }
    assigned(line)
}

/// The names of an import's list: `a`, `b as c`, with or without brackets.
fn imported(names: &str) -> impl Iterator<Item = &str> {
    let names = names.trim_matches(|c: char| c.is_whitespace() || "()".contains(c));
    names.split(',').filter_map(|name| {
        let name = name.rsplit_once(" as ").map_or(name, |(_, name)| name);
        identifier(name.trim())
    })
}

/// `a = b = value`, `a: T = value`.
fn assigned(line: &str) -> Vec<Binding> {
    let mut names = Vec::new();
    let mut rest = line;
    while let Some(name) = identifier(rest) {
        let after = rest[name.len()..].trim_start();
        let after = match after.strip_prefix(':') {
            Some(annotated) => annotated.find('=').map_or("", |at| &annotated[at..]),
            None => after,
        };
        match after.strip_prefix('=') {
            Some(value) if !value.starts_with('=') => {
                names.push(name);
                rest = value.trim_start();
            }
            _ => break,
        }
    }
    let bound = |name: &str| Binding {
        name: name.to_owned(),
        by: rest.trim_end().to_owned(),
    };
    names.into_iter().map(bound).collect()
}

/// The Python identifier with which the text begins.
pub(super) fn identifier(text: &str) -> Option<&str> {
    let is_letter = |c: char| c == '_' || c.is_alphanumeric();
    let end = text.find(|c| !is_letter(c)).unwrap_or(text.len());
    let name = &text[..end];
    let is_name = name.starts_with(|c: char| is_letter(c) && !c.is_ascii_digit());
    is_name.then_some(name)
}

/// The content of the first string literal of `text`, if it is a simple one.
pub(super) fn literal(text: &str) -> Option<&str> {
    let start = text.find(['\'', '"'])?;
    let inner = &text[start + 1..];
    let end = inner.find(text[start..].chars().next()?)?;
    Some(&inner[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bound(text: &str) -> Vec<(String, String)> {
        let bindings = bindings(&top_lines(text));
        let pairs = bindings.into_iter();
        pairs.map(|bound| (bound.name, bound.by)).collect()
    }

    #[test]
    fn names_at_the_margin() {
        for (text, name, by) in [
            ("application = x", "application", "x"),
            (
                "app: Flask = Flask(__name__)  # the app",
                "app",
                "Flask(__name__)",
            ),
            ("a = b = c()", "a", "c()"),
            (
                "app = Flask(\n    __name__,\n)\n",
                "app",
                "Flask(    __name__,)",
            ),
            (
                "from x import app as application\n",
                "application",
                "from x import app as application",
            ),
            (
                "from x import (\n  y,\n  z as app,\n)\r\n",
                "app",
                "from x import (  y,  z as app,)",
            ),
            ("import a.b as c", "c", "import a.b as c"),
            (
                "def create_app(debug=False):\n    return 1\n",
                "create_app",
                "def create_app(debug=False):",
            ),
            (
                "async def app(scope):\n  pass",
                "app",
                "async def app(scope):",
            ),
            (
                "class application:\n  pass",
                "application",
                "class application:",
            ),
            (
                "x = 'a\\'#' ; y\napp = \"\"\"\n\"\"\"",
                "app",
                "\"\"\"\n\"\"\"",
            ),
        ] {
            let found = bound(text);
            let expected = (name.to_owned(), by.to_owned());
            assert!(found.contains(&expected), "{text}: {found:?}");
        }
    }

    #[test]
    fn what_binds_nothing_at_the_margin() {
        for text in [
            "    application = x",
            "# application = x",
            "'''\napplication = x\n'''",
            "f(\napplication = x\n)",
            "if True:\n\tapplication = x",
            "application == x",
            "application.x = 3",
            "print('''a''', \"application = x\")",
            "",
        ] {
            assert_eq!(bound(text), [], "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in ".{0,60}|[ab='\"\\\\#\n()\u{e9}]{0,60}") {
            let lines = top_lines(&text);
            bindings(&lines);
            literal(&text);
        }
    }
}

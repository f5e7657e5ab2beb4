//! What stands in a file and is read as it stands, although a shell, or a parser of comments, would have made something
//! else of it. The file is right all the same; whether the doubt matters is the caller's to decide.

use std::fmt;
use std::ops::Range;

use super::bad_config::BadConfig;
use super::lines::{self, BLANKS, Line, Secrets};
use super::words;

/// One doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigDoubt {
    /// The position and the sentence.
    pub at: BadConfig,
    /// What it is about.
    pub kind: DoubtKind,
}

/// What a doubt is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoubtKind {
    /// An assignment stands before a command.
    Assignment,
    /// The value of an environment variable goes on after what looks like a comment.
    Comment,
    /// A path has a character that only a shell reads as more than itself.
    Path,
    /// Quotes make one word of a whole command.
    Quotes,
    /// A command has characters that only a shell reads as more than themselves.
    Shell,
}

impl DoubtKind {
    /// What to do about it.
    pub fn advice(self) -> &'static str {
        match self {
            DoubtKind::Assignment => "write env.NAME = VALUE on a line of its own",
            DoubtKind::Comment => {
                "put the comment on a line of its own; if it belongs to the value, quote the value"
            }
            DoubtKind::Quotes => "leave the quotes out: the line is split at blanks",
            DoubtKind::Path => {
                "write the path itself; if the character is part of a name, quote the path"
            }
            DoubtKind::Shell => {
                "put the command into a script of your own and name that, or let a shell run it: sh -c '...'; a \
                 character that the program is to get goes in quotes"
            }
        }
    }
}

/// The doubts about an app's configuration.
pub fn doubts(path: &str, text: &[u8]) -> Vec<ConfigDoubt> {
    let path = path.into();
    let lines = lines::read(&path, text, Secrets::Dotted).flatten();
    lines.filter_map(|line| of_line(&line)).collect()
}

/// The doubts about an `env-file`.
pub fn env_file_doubts(path: &str, text: &[u8]) -> Vec<ConfigDoubt> {
    let path = path.into();
    let lines = lines::read(&path, text, Secrets::All).flatten();
    lines.filter_map(|line| of_variable(&line)).collect()
}

fn of_line(line: &Line<'_>) -> Option<ConfigDoubt> {
    match line.key() {
        "cgi" | "scgi" => of_command(line),
        "directory" | "env-file" | "log-file" | "overload-page" | "python" | "runtime-dir"
        | "spool-dir" => of_path(line),
        key if key.starts_with("env.") => of_variable(line),
        _ => None,
    }
}

/// Unquoted, and with a comment behind it: after the first `#` that follows a blank.
fn of_variable(line: &Line<'_>) -> Option<ConfigDoubt> {
    let value = line.value();
    if value.starts_with(['\'', '"']) {
        return None;
    }
    let kept = words::bare(value).len();
    let hash = value[kept..].find('#').map(|at| kept + at)?;
    if hash == 0 {
        return None;
    }
    let message = format_args!("the value of {} keeps its end from '#' on", line.key());
    Some(ConfigDoubt {
        at: BadConfig::new(line.comment_position(hash), message),
        kind: DoubtKind::Comment,
    })
}

fn of_command(line: &Line<'_>) -> Option<ConfigDoubt> {
    let value = line.value();
    let words = words::split(value).ok()?;
    let first = words.first()?;
    if words.len() == 1 && first.text.contains(BLANKS) && value.starts_with(['\'', '"']) {
        let message = format_args!("the quotes make a single word, the program's name, of all");
        return Some(doubt(line, first.at.clone(), DoubtKind::Quotes, &message));
    }
    if is_assignment(&first.text) {
        let message = format_args!("this is taken for the program: it is no assignment here");
        return Some(doubt(
            line,
            first.at.clone(),
            DoubtKind::Assignment,
            &message,
        ));
    }
    let signs = words.iter().flat_map(|word| marks(value, word.at.clone()));
    shell_doubt(line, DoubtKind::Shell, signs.collect())
}

/// A path that is one text. A `~` at its start is an error of its own.
fn of_path(line: &Line<'_>) -> Option<ConfigDoubt> {
    let value = words::bare(line.value());
    if value.starts_with(['\'', '"']) {
        return None;
    }
    let at = value.find(['$', '*', '`'])?;
    let at = if value[at..].starts_with('$') {
        variable_at(value, at)?
    } else {
        at..at + 1
    };
    shell_doubt(line, DoubtKind::Path, vec![at])
}

/// Names all the signs, each once, at the first of them.
fn shell_doubt(line: &Line<'_>, kind: DoubtKind, signs: Vec<Range<usize>>) -> Option<ConfigDoubt> {
    let first = signs.first()?.clone();
    let mut named: Vec<String> = Vec::new();
    for at in signs {
        let sign = format!("'{}'", line.value().get(at).unwrap_or_default());
        if !named.contains(&sign) {
            named.push(sign);
        }
    }
    let last = named.pop()?;
    let message = match &named[..] {
        [] => format!("{last} stays as it is: no shell reads this line"),
        others => {
            let others = others.join(", ");
            format!("{others} and {last} stay as they are: no shell reads this line")
        }
    };
    Some(doubt(line, first, kind, &format_args!("{message}")))
}

fn doubt(
    line: &Line<'_>,
    at: Range<usize>,
    kind: DoubtKind,
    message: &fmt::Arguments<'_>,
) -> ConfigDoubt {
    ConfigDoubt {
        at: BadConfig::new(line.value_position(at), message),
        kind,
    }
}

fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// The unquoted signs in a word that a shell would not leave as they are. What only looks so within a word, such as `&`
/// in a URL, is none.
fn marks(value: &str, word: Range<usize>) -> Vec<Range<usize>> {
    let text = &value[word.clone()];
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut chars = text.char_indices();
    let mut quote = None;
    while let Some((at, c)) = chars.next() {
        let here = word.start + at;
        if found.last().is_some_and(|last| here < last.end) {
            continue;
        }
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (Some('\''), _) => {}
            (_, '\\') => {
                chars.next();
            }
            (_, '$') => found.extend(variable_at(value, here)),
            (_, '`') => found.push(here..here + 1),
            (Some(_), _) => {}
            (None, '*') => found.push(here..here + 1),
            (None, '~') if at == 0 && is_home(text) => found.push(here..here + 1),
            (None, '|' | '<' | '>' | ';' | '&') if at == 0 => {
                let end = text.find(|c: char| !"|<>;&12".contains(c));
                found.push(here..word.start + end.unwrap_or(text.len()));
            }
            (None, '>') if text.starts_with(['1', '2']) && at == 1 => {
                found.push(word.start..here + 1);
            }
            (None, '|' | ';' | '&') if at + 1 == text.len() => found.push(here..here + 1),
            _ => {}
        }
    }
    found
}

fn is_home(word: &str) -> bool {
    let name = word[1..].split('/').next().unwrap_or_default();
    name.chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// `$NAME`, `${NAME}` or `$(command)` at that byte; not `$` alone, and not `$1`.
fn variable_at(value: &str, at: usize) -> Option<Range<usize>> {
    let behind = value.get(at + 1..)?;
    let first = behind.chars().next()?;
    if matches!(first, '{' | '(') {
        return Some(at..at + 2);
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !is_name(first) || first.is_ascii_digit() {
        return None;
    }
    let length = behind.find(|c| !is_name(c)).unwrap_or(behind.len());
    Some(at..at + 1 + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> String {
        let text = format!("#!/x -\n{line}\n");
        let found = doubts("f", text.as_bytes());
        let shown = found.iter().map(|doubt| doubt.at.sentence());
        shown.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn what_a_shell_would_read() {
        for (line, column, sign) in [
            ("cgi = ./app | tee log", 13, "'|'"),
            ("cgi = ./app > log", 13, "'>'"),
            ("cgi = ./app >log", 13, "'>'"),
            ("cgi = ./app 2>&1", 13, "'2>'"),
            ("cgi = ./app; true", 12, "';'"),
            ("cgi = ./app && true", 13, "'&&'"),
            ("cgi = ./app *.txt", 13, "'*'"),
            ("cgi = ./app ~/x", 13, "'~'"),
            ("cgi = ./app $HOME/x", 13, "'$HOME'"),
            ("cgi = ./app \"${HOME}\"", 14, "'${'"),
            ("cgi = ./app `date`", 13, "'`'"),
            ("directory = $HOME/app", 13, "'$HOME'"),
            ("python = /opt/*/bin/python3", 15, "'*'"),
        ] {
            let said = said(line);
            let begins = format!("f:2:{column}: {sign} stays as it is");
            assert!(said.starts_with(&begins), "{line}: {said}");
        }
        let all = said("cgi = ./app | cat > ~/x 2>&1 | $A/*");
        let named = "f:2:13: '|', '>', '~', '2>', '$A' and '*' stay as they are: no shell";
        assert!(all.starts_with(named), "{all}");
        assert!(said("cgi = \"./app --x\"").contains("a single word"));
        assert!(said("cgi = LANG=C ./app").starts_with("f:2:7: this is taken"));
        assert!(said("env.X = 0   # note").starts_with("f:2:13: the value of env.X keeps"));
    }

    #[test]
    fn what_no_shell_would_read_either() {
        for line in [
            "cgi = sh -c './app | tee log *'",
            "cgi = ./app '*' \"|\" \\* \"a'|'\"",
            "cgi = ./app a|b http://x/?a=b&c=d 100% x~ ~+x $ $1 a>b",
            "cgi = './my app' x",
            "cgi = ./app # a | b",
            "env.X = \"0\" # note",
            "env.X = '0 # note'",
            "env.X = #fff",
            "env.X = a#b",
            "env.X = $HOME | *",
            "wsgi = a:b # *",
            "directory = /srv/a # *",
            "directory = '/srv/$x'",
        ] {
            assert_eq!(said(line), "");
        }
    }

    #[test]
    fn a_comment_is_shown_and_the_value_is_not() {
        for (line, shown) in [
            (
                "env.X = a   b # note",
                "env.X = *   * # note\n              ^~~~~~",
            ),
            ("env.X = a #x$y", "env.X = * #***\n          ^~~~"),
        ] {
            let text = doubts("f", line.as_bytes())[0].at.to_string();
            assert!(text.ends_with(&format!("\n{shown}")), "{text}");
        }
    }

    #[test]
    fn an_env_file_keeps_its_secrets() {
        let found = env_file_doubts("f", b"A=1\nB=tiger # note\n");
        assert_eq!(found.len(), 1);
        let shown = found[0].at.to_string();
        assert!(shown.starts_with("f:2:9: the value of B keeps"), "{shown}");
        assert!(
            !shown.contains("tiger") && !shown.contains("note"),
            "{shown}"
        );
    }
}

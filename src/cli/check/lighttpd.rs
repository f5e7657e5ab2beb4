//! lighttpd's configuration, as far as it says what becomes of a file: assignments with the conditions they stand in. It
//! knows the language; it does not know apps, and runs no `include_shell`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::pattern;
use crate::sys::named;

/// The most files, bytes in each and nested includes that are read.
const MOST_FILES: usize = 200;
const MOST_BYTES: usize = 256 << 10;
const DEEPEST: usize = 8;
const MAIN: &str = "etc/lighttpd/lighttpd.conf";

/// What stands behind `=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    List(Vec<(String, Setting)>),
    Text(String),
}

/// `KEY = VALUE`, or `+=`.
#[derive(Clone, Debug)]
pub(super) struct Assignment {
    key: String,
    adds: bool,
    value: Setting,
    conditions: Vec<When>,
    file: PathBuf,
    line: usize,
}

/// `$HTTP["url"] =~ "^/cgi-bin/"`
#[derive(Clone, Debug)]
struct When {
    field: String,
    operator: String,
    text: String,
}

/// One entry of a list, and where that stands.
pub(super) struct ListEntry<'a> {
    pub(super) key: &'a str,
    pub(super) value: &'a Setting,
    pub(super) by: &'a Assignment,
}

impl Assignment {
    /// Where it stands.
    pub(super) fn position(&self) -> String {
        format!("{}:{}", self.file.display(), self.line)
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// Whether it counts for that URL; a condition of another kind, such as of the host, may hold.
    fn may_count(&self, url: &str) -> bool {
        self.conditions.iter().all(|condition| {
            let When {
                field,
                operator,
                text,
            } = condition;
            if field != "url" {
                return true;
            }
            match operator.as_str() {
                "==" => url == text,
                "!=" => url != text,
                "=^" => url.starts_with(text.as_str()),
                "=$" => url.ends_with(text.as_str()),
                "!~" => pattern::is_found(text, url) != Some(true),
                _ => pattern::is_found(text, url) != Some(false),
            }
        })
    }
}

impl Setting {
    pub(super) fn text(&self) -> &str {
        match self {
            Setting::Text(text) => text,
            Setting::List(_) => "",
        }
    }

    pub(super) fn list(&self) -> &[(String, Setting)] {
        match self {
            Setting::List(list) => list,
            Setting::Text(_) => &[],
        }
    }
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Lighttpd {
    assignments: Vec<Assignment>,
}

impl Lighttpd {
    /// Reads the configuration of the host; `None`: there is none, or it can't be read.
    pub(super) fn read(root: &Path) -> Option<Lighttpd> {
        let mut reader = LighttpdReader {
            root: root.to_path_buf(),
            variables: BTreeMap::new(),
            files: 0,
            found: Vec::new(),
        };
        reader.file(&root.join(MAIN), &mut Vec::new(), 0);
        let assignments = reader.found;
        (!assignments.is_empty()).then_some(Lighttpd { assignments })
    }

    fn of<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Assignment> {
        self.assignments
            .iter()
            .filter(move |found| found.key == key)
    }

    /// Whether `server.modules` has that name.
    pub(super) fn has_module(&self, name: &str) -> bool {
        let mut lists = self
            .of("server.modules")
            .map(|modules| modules.value.list());
        lists.any(|list| list.iter().any(|(_, module)| module.text() == name))
    }

    /// The folder whose files are sent, and where that is said.
    pub(super) fn documents(&self) -> Option<(&Path, String)> {
        let mut roots = self.of("server.document-root");
        let root = roots.find(|root| root.value.text().starts_with('/'))?;
        Some((Path::new(root.value.text()), root.position()))
    }

    /// The path of a file's URL: by an alias, or below the documents.
    pub(super) fn url(&self, file: &Path) -> Option<String> {
        let file = file.to_str()?;
        let entries = self.of("alias.url").flat_map(|alias| alias.value.list());
        let mut aliased = entries.filter_map(|(url, target)| {
            let rest = file.strip_prefix(Some(target.text()).filter(|text| !text.is_empty())?)?;
            // An alias is a beginning of a text, not of a path.
            Some(format!("{url}{rest}"))
        });
        aliased.next().or_else(|| {
            let rest = Path::new(file).strip_prefix(self.documents()?.0).ok()?;
            Some(format!("/{}", rest.display()))
        })
    }

    /// The entries of a list for a URL: `=` in a section replaces what stands before, `+=` adds.
    pub(super) fn entries<'a>(&'a self, key: &'a str, url: &str) -> Vec<ListEntry<'a>> {
        let mut entries = Vec::new();
        for by in self.of(key).filter(|found| found.may_count(url)) {
            if !by.adds {
                entries.clear();
            }
            let list = by.value.list().iter();
            entries.extend(list.map(|(key, value)| ListEntry { key, value, by }));
        }
        entries
    }

    /// All entries of a list, of whatever sections.
    pub(super) fn all_entries<'a>(&'a self, key: &'a str) -> Vec<ListEntry<'a>> {
        let of_one = |by: &'a Assignment| {
            let list = by.value.list().iter();
            list.map(move |(key, value)| ListEntry { key, value, by })
        };
        self.of(key).flat_map(of_one).collect()
    }

    /// Whether a file of that name is never sent as it is.
    pub(super) fn excludes(&self, name: &str) -> bool {
        let mut lists = self.of("static-file.exclude-extensions");
        lists.any(|list| {
            let mut ends = list.value.list().iter().map(|(_, end)| end.text());
            ends.any(|end| !end.is_empty() && name.ends_with(end))
        })
    }
}

/// Reads file after file.
struct LighttpdReader {
    root: PathBuf,
    variables: BTreeMap<String, Setting>,
    files: usize,
    found: Vec<Assignment>,
}

/// A word of the language, and its line.
type Token = (String, usize);

impl LighttpdReader {
    fn file(&mut self, path: &Path, within: &mut Vec<When>, depth: usize) {
        self.files += 1;
        if self.files > MOST_FILES || depth > DEEPEST {
            return;
        }
        let Ok(bytes) = named::read(path, MOST_BYTES) else {
            return;
        };
        let mut tokens = tokens(&String::from_utf8_lossy(&bytes));
        tokens.reverse();
        let outer = within.len();
        while let Some((token, line)) = tokens.pop() {
            match token.as_str() {
                "include" => {
                    let pattern = self.value(&mut tokens);
                    for path in self.included(pattern.text(), path) {
                        self.file(&path, within, depth + 1);
                    }
                }
                "include_shell" => {
                    self.value(&mut tokens);
                }
                "}" if within.len() > outer => {
                    within.pop();
                }
                // Which of the others holds is not known; neither are their own conditions.
                "else" => {
                    let is_begin = |token: &Token| token.0 == "{";
                    if tokens.last().is_some_and(is_begin) {
                        tokens.pop();
                        within.push(When {
                            field: String::new(),
                            operator: String::new(),
                            text: String::new(),
                        });
                    }
                }
                _ if token.starts_with('$') => within.extend(condition(&token, &mut tokens)),
                _ => self.assignment(token, line, path, within, &mut tokens),
            }
        }
        within.truncate(outer);
    }

    fn assignment(
        &mut self,
        key: String,
        line: usize,
        file: &Path,
        within: &[When],
        tokens: &mut Vec<Token>,
    ) {
        let Some((operator, _)) = tokens.last() else {
            return;
        };
        let adds = match operator.as_str() {
            "=" | ":=" => false,
            "+=" => true,
            _ => return,
        };
        tokens.pop();
        let value = self.value(tokens);
        if key.starts_with("var.") {
            self.variables.insert(key, value);
            return;
        }
        self.found.push(Assignment {
            key,
            adds,
            value,
            conditions: within.to_vec(),
            file: file.to_path_buf(),
            line,
        });
    }

    /// A text, a number, a variable or a list; several that are joined by `+`.
    fn value(&self, tokens: &mut Vec<Token>) -> Setting {
        let mut whole: Option<Setting> = None;
        while let Some((token, _)) = tokens.pop() {
            let term = match token.strip_prefix('"') {
                Some(text) => Setting::Text(text.to_owned()),
                None if token == "(" => self.list(tokens),
                None => {
                    let variable = self.variables.get(&token).cloned();
                    variable.unwrap_or(Setting::Text(token))
                }
            };
            whole = Some(match (whole, term) {
                (Some(Setting::Text(one)), Setting::Text(more)) => Setting::Text(one + &more),
                (Some(Setting::List(one)), Setting::List(more)) => {
                    Setting::List([one, more].concat())
                }
                (_, term) => term,
            });
            if tokens.last().is_none_or(|(token, _)| token != "+") {
                break;
            }
            tokens.pop();
        }
        whole.unwrap_or(Setting::Text(String::new()))
    }

    /// Behind `(`.
    fn list(&self, tokens: &mut Vec<Token>) -> Setting {
        let mut list = Vec::new();
        while let Some((token, _)) = tokens.last() {
            match token.as_str() {
                ")" => {
                    tokens.pop();
                    break;
                }
                "," => {
                    tokens.pop();
                }
                _ => {
                    let first = self.value(tokens);
                    if tokens.last().is_some_and(|(token, _)| token == "=>") {
                        tokens.pop();
                        list.push((first.text().to_owned(), self.value(tokens)));
                    } else {
                        list.push((String::new(), first));
                    }
                }
            }
        }
        Setting::List(list)
    }

    /// The files of an `include`: a pattern stands for names in one folder.
    fn included(&self, pattern: &str, from: &Path) -> Vec<PathBuf> {
        let pattern = match pattern.strip_prefix('/') {
            Some(below) => self.root.join(below),
            None => from.parent().unwrap_or(&self.root).join(pattern),
        };
        let name = pattern
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let Some((before, after)) = name.split_once('*') else {
            return vec![pattern];
        };
        let folder = pattern.parent().unwrap_or(&pattern);
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let fits = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(before) && name.ends_with(after) && !name.starts_with('.')
        };
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(fits).collect();
        found.sort();
        found.truncate(MOST_FILES);
        found
    }
}

/// `$HTTP`, and then `["url"] =~ "..." {`.
fn condition(variable: &str, tokens: &mut Vec<Token>) -> Option<When> {
    let mut words = Vec::new();
    while let Some((token, _)) = tokens.pop() {
        if token == "{" {
            break;
        }
        words.push(token);
    }
    let text = |nth: usize| {
        words
            .get(nth)
            .map_or("", |word| word.trim_start_matches('"'))
    };
    Some(When {
        field: if variable == "$HTTP" {
            text(1).to_owned()
        } else {
            String::new()
        },
        operator: text(3).to_owned(),
        text: text(4).to_owned(),
    })
}

/// Texts keep the quote at their beginning, so that no other word looks like one.
fn tokens(text: &str) -> Vec<Token> {
    const SIGNS: [&str; 20] = [
        "=>", "==", "=~", "=^", "=$", "!=", "!~", "+=", ":=", "(", ")", "{", "}", "[", "]", ",",
        "=", "+", ";", "!",
    ];
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\n' => {
                line += 1;
                1
            }
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '"' => {
                let (text, length) = quoted(&rest[1..]);
                tokens.push((format!("\"{text}"), line));
                line += text.matches('\n').count();
                length + 1
            }
            c if c.is_whitespace() => c.len_utf8(),
            c => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                Some(sign) => {
                    tokens.push(((*sign).to_owned(), line));
                    sign.len()
                }
                None => {
                    let ends = |c: char| c.is_whitespace() || "()[]{},=+\"#!:".contains(c);
                    let length = rest.find(ends).unwrap_or(rest.len()).max(c.len_utf8());
                    tokens.push((rest[..length].to_owned(), line));
                    length
                }
            },
        };
        rest = &rest[length..];
    }
    tokens
}

/// A text up to its quote, and how long it is with that.
fn quoted(text: &str) -> (String, usize) {
    let mut plain = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (plain, at + 1),
            '\\' => match chars.next() {
                Some((_, c @ ('"' | '\\'))) => plain.push(c),
                Some((_, c)) => plain.extend(['\\', c]),
                None => break,
            },
            c => plain.push(c),
        }
    }
    (plain, text.len())
}

#[cfg(test)]
mod tests;

//! What `check` finds, and how it is shown: to a person, or as JSON. It knows sentences, and no app.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use super::kind::FindingKind;
use crate::config::BadConfig;
use crate::printable;
use crate::report::plain;

/// Blanks before a sentence's further lines.
const HANGING: usize = 4;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// Requests fail, what was configured is not so, or others can read or change what they must not: exit status 78.
    Error,
    /// A fact.
    Note,
    /// It runs, and may go wrong or be slower.
    Warning,
}

impl Severity {
    pub(super) fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Note => "note",
            Severity::Warning => "warning",
        }
    }
}

/// One thing that was found.
#[derive(Debug)]
pub(super) struct Finding {
    kind: FindingKind,
    severity: Severity,
    sentence: String,
    /// What to do about it; empty for a note.
    advice: String,
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    /// In place of the sentence, for a person: with the line and what is underlined in it.
    excerpt: Option<String>,
}

impl Finding {
    pub(super) fn error(kind: FindingKind, sentence: impl Into<String>) -> Finding {
        Finding::new(Severity::Error, kind, sentence.into())
    }

    pub(super) fn warning(kind: FindingKind, sentence: impl Into<String>) -> Finding {
        Finding::new(Severity::Warning, kind, sentence.into())
    }

    pub(super) fn note(kind: FindingKind, sentence: impl Into<String>) -> Finding {
        Finding::new(Severity::Note, kind, sentence.into())
    }

    fn new(severity: Severity, kind: FindingKind, sentence: String) -> Finding {
        Finding {
            kind,
            severity,
            sentence: plain(&sentence),
            advice: String::new(),
            file: None,
            line: None,
            column: None,
            excerpt: None,
        }
    }

    /// A mistake or a doubt at a position of a configuration.
    pub(super) fn in_config(severity: Severity, kind: FindingKind, bad: &BadConfig) -> Finding {
        let position = bad.position();
        Finding {
            file: Some(position.path().to_owned()),
            line: Some(position.line()),
            column: Some(position.column()),
            excerpt: Some(bad.to_string()),
            ..Finding::new(severity, kind, bad.message().to_owned())
        }
    }

    pub(super) fn advise(mut self, advice: impl Into<String>) -> Finding {
        self.advice = advice.into();
        self
    }

    pub(super) fn at(mut self, file: &Path) -> Finding {
        self.file = Some(file.display().to_string());
        self
    }

    pub(super) fn at_line(mut self, file: &Path, line: usize, column: Option<usize>) -> Finding {
        self.line = Some(line);
        self.column = column;
        self.at(file)
    }

    /// Adds lines that are shown as they are, such as those of a traceback.
    pub(super) fn quote(mut self, lines: &str) -> Finding {
        let lines = plain(lines);
        let _ = write!(self.sentence, "\n{lines}");
        if let Some(excerpt) = &mut self.excerpt {
            let _ = write!(excerpt, "\n{lines}");
        }
        self
    }

    pub(super) fn to_json(&self) -> String {
        let number = |number: Option<usize>| number.map_or("null".to_owned(), |n| n.to_string());
        let file = self.file.as_deref();
        format!(
            "{{\"kind\":{},\"severity\":{},\"sentence\":{},\"advice\":{},\"file\":{},\"line\":{},\"column\":{}}}",
            printable::json_string(self.kind.word()),
            printable::json_string(self.severity.word()),
            printable::json_string(&self.sentence),
            printable::json_string(&self.advice),
            file.map_or("null".to_owned(), printable::json_string),
            number(self.line),
            number(self.column)
        )
    }

    /// The sentence with its position, if that is not in it; below it what to do.
    fn to_text(&self) -> String {
        let mut said = match self.severity {
            Severity::Error => String::new(),
            severity => format!("{}: ", severity.word()),
        };
        match (&self.excerpt, &self.file, self.line) {
            (Some(excerpt), ..) => said.push_str(excerpt),
            (None, Some(file), Some(line)) => {
                let column = self
                    .column
                    .map_or(String::new(), |column| format!(":{column}"));
                let _ = write!(said, "{file}:{line}{column}: {}", self.sentence);
            }
            (None, ..) => said.push_str(&self.sentence),
        }
        let mut text = String::new();
        wrap_first(&mut text, 0, &said);
        if !self.advice.is_empty() {
            text.push_str("\n  ");
            wrap_first(&mut text, 2, &self.advice);
        }
        printable::lines(&text)
    }
}

/// All that was found, in order.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn add(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    pub(super) fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.0.extend(findings);
    }

    pub(super) fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    pub(super) fn has(&self, kind: FindingKind) -> bool {
        self.0.iter().any(|finding| finding.kind == kind)
    }

    fn count(&self, severity: Severity) -> usize {
        let all = self.0.iter();
        all.filter(|finding| finding.severity == severity).count()
    }

    /// An object a line.
    pub(super) fn print_json(&self) -> io::Result<()> {
        let lines = self.0.iter().map(|finding| finding.to_json() + "\n");
        print(&lines.collect::<String>())
    }

    /// For a person. `summary`: the app and how it would run, for the line at the end that says that nothing is wrong;
    /// `None`: not all of it was looked at.
    pub(super) fn print_text(&self, app: &str, summary: Option<&str>) -> io::Result<()> {
        let has_errors = self.has_errors();
        let warnings = self.count(Severity::Warning);
        let is_shown = |finding: &&Finding| {
            finding.severity != Severity::Note || has_errors || warnings > 0 || summary.is_none()
        };
        let mut text = String::new();
        for severity in [Severity::Error, Severity::Warning, Severity::Note] {
            let of_it = self.0.iter().filter(|finding| finding.severity == severity);
            for finding in of_it.filter(is_shown) {
                text += &finding.to_text();
                text.push('\n');
            }
        }
        if let Some(summary) = summary.filter(|_| !has_errors) {
            let app = printable::line(app);
            let beside = match warnings {
                0 => String::new(),
                1 => " but a warning".to_owned(),
                count => format!(" but {count} warnings"),
            };
            let summary = printable::line(summary);
            let mut line = String::new();
            let said = format!("{app}: nothing wrong found{beside}; {summary}");
            printable::wrap(&mut line, 0, HANGING, &said);
            text += &if warnings == 0 && is_coloured() {
                format!("\x1b[32m{line}\x1b[0m\n")
            } else {
                line + "\n"
            };
        }
        print(&text)
    }
}

/// Adds a text from that column on. Its first line is a sentence and is wrapped; further ones are quoted.
fn wrap_first(text: &mut String, column: usize, said: &str) {
    let end = said.find('\n').unwrap_or(said.len());
    let (sentence, quoted) = said.split_at(end);
    printable::wrap(text, column, HANGING, sentence);
    text.push_str(quoted);
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// On a terminal that has colours, unless NO_COLOR says otherwise (no-color.org).
fn is_coloured() -> bool {
    let value = |name| std::env::var_os(name).unwrap_or_default();
    io::stdout().is_terminal() && value("NO_COLOR").is_empty() && value("TERM") != "dumb"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_wrapped_and_quotes_are_not() {
        let (long, quoted) = ("word ".repeat(25), "x ".repeat(60));
        let finding = Finding::error(FindingKind::Import, long.trim_end())
            .quote(&quoted)
            .advise(format!("{long}:\n{quoted}"));
        let text = finding.to_text();
        let wide = text.lines().filter(|line| line.chars().count() > 79);
        assert_eq!(wide.collect::<Vec<_>>(), [&quoted, &quoted]);
        let begins = ["word ", "    word ", "x ", "  word ", "    word ", "x "];
        assert_eq!(text.lines().count(), begins.len(), "{text}");
        for (line, begin) in text.lines().zip(begins) {
            assert!(line.starts_with(begin), "{line:?}");
        }
        assert!(finding.to_json().contains(long.trim_end()));
    }

    #[test]
    fn a_finding_as_text_and_as_json() {
        let finding = Finding::warning(FindingKind::Comment, "a \"b\"\x1b (os error 2)")
            .at_line(Path::new("/f"), 3, None)
            .advise("do");
        assert_eq!(finding.to_text(), "warning: /f:3: a \"b\"?\n  do");
        assert_eq!(
            finding.to_json(),
            "{\"kind\":\"comment\",\"severity\":\"warning\",\"sentence\":\"a \\\"b\\\"\\u001b\",\"advice\":\"do\",\
             \"file\":\"/f\",\"line\":3,\"column\":null}"
        );
        let bad = crate::config::parse("/c", b"wsgi = a:b\nworkers = 1\n").unwrap_err();
        let finding = Finding::in_config(Severity::Error, FindingKind::Configuration, &bad);
        assert!(finding.to_text().contains("\nworkers = 1\n^~~~~~~"));
        assert!(
            finding
                .to_json()
                .ends_with("\"file\":\"/c\",\"line\":2,\"column\":1}")
        );
    }
}

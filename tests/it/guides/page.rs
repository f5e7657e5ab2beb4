//! What a guide tells its reader to do, in order: read from its Markdown. It runs nothing.

/// One thing that a reader does.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Type(Typed),
    Write(Written),
}

/// A command, as typed at a prompt.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Typed {
    /// Of the guide, from 1.
    pub(super) line: usize,
    pub(super) by_root: bool,
    pub(super) command: String,
    /// The lines below it; empty if the guide shows none.
    pub(super) shows: Vec<String>,
    pub(super) exit: i32,
}

impl Typed {
    /// The guide shows the status of an error in what a page says, or lets curl write it.
    pub(super) fn may_be_an_error(&self) -> bool {
        let lines = self.shows.iter();
        let mut words = lines.flat_map(|line| line.split(|c: char| !c.is_alphanumeric()));
        let is_error = |word: &str| word.parse().is_ok_and(|code| (400..600).contains(&code));
        words.any(is_error) || self.command.contains("%{http_code}")
    }

    /// What it is to print is nothing that a test could miss.
    fn shows_nothing(&self) -> bool {
        let mut lines = self.shows.iter().map(|line| line.trim());
        lines.clone().any(|line| line == "...") && lines.all(|line| ["", "..."].contains(&line))
    }

    /// The step that it is.
    fn finished(self) -> Result<Step, String> {
        match self.shows_nothing() {
            true => Err(format!("line {}: `...` alone shows nothing", self.line)),
            false => Ok(Step::Type(self)),
        }
    }
}

/// A file, as saved in an editor.
#[derive(Debug, PartialEq)]
pub(super) struct Written {
    pub(super) line: usize,
    pub(super) path: String,
    pub(super) text: String,
    /// As `chmod` takes it. Without it a new file has 644.
    pub(super) mode: Option<String>,
    /// At the end of what is there.
    pub(super) adds: bool,
}

/// A guide that was read.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) steps: Vec<Step>,
    /// Line and text of all that stands between backticks in sentences and tables.
    pub(super) quoted: Vec<(usize, String)>,
    /// Of that, what is in the last column of a table that calls it `polycgi`.
    pub(super) ours: Vec<(usize, String)>,
    /// The exit status of the next commands of one block, if a comment says it.
    exit: Option<i32>,
}

/// The lines of a block up to the line that closes it.
fn block<'a>(
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
    close: &str,
) -> Option<Vec<(usize, &'a str)>> {
    let mut found = Vec::new();
    for (number, line) in lines {
        if line.trim_end() == close {
            return Some(found);
        }
        found.push((number, line));
    }
    None
}

impl Page {
    /// A block that no rule of this module covers is an error, which names its line.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut page = Self::default();
        let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
        // The paragraph before a block.
        let mut paragraph: Vec<&str> = Vec::new();
        let mut is_ours = false;
        while let Some((number, line)) = lines.next() {
            let wrong = |what: &str| Err(format!("line {number}: {what}: {line}"));
            if let Some(kind) = line.strip_prefix("```") {
                let Some(block) = block(&mut lines, "```") else {
                    return wrong("a block without an end");
                };
                match kind {
                    "" => return wrong("a block without a kind"),
                    "console" => page.console(&block)?,
                    _ => page.file(&paragraph.join(" "), &block, number)?,
                }
                paragraph.clear();
            } else if line == "<!-- test" {
                let Some(block) = block(&mut lines, "-->") else {
                    return wrong("a comment without an end");
                };
                page.directions(&block)?;
            } else if let Some(words) = line.strip_prefix("<!-- test: ") {
                let Some(exit) = words
                    .strip_suffix(" -->")
                    .and_then(|words| words.strip_prefix("exit "))
                else {
                    return wrong("an unknown direction");
                };
                page.exit = Some(exit.parse().map_err(|error| format!("{line}: {error}"))?);
            } else if line.starts_with("    ") || line.trim_start().starts_with("```") {
                return wrong("a block that is not between two lines of ```");
            } else {
                is_ours = line.starts_with("| ") && (is_ours || line.ends_with(" | polycgi |"));
                if line.is_empty() {
                    // A blank line between a paragraph and its block.
                    continue;
                }
                if paragraph.last().is_some_and(|last| last.ends_with(':')) {
                    paragraph.clear();
                }
                page.quote(number, line, is_ours);
                paragraph.push(line);
            }
        }
        Ok(page)
    }

    fn quote(&mut self, number: usize, line: &str, is_ours: bool) {
        let quoted = |text: &str| -> Vec<_> {
            let parts = text.split('`').skip(1).step_by(2);
            parts.map(|text| (number, text.to_owned())).collect()
        };
        self.quoted.extend(quoted(line));
        if let Some((_, cell)) = line.trim_end_matches(" |").rsplit_once(" | ")
            && is_ours
        {
            self.ours.extend(quoted(cell));
        }
    }

    /// Commands and what they print.
    fn console(&mut self, block: &[(usize, &str)]) -> Result<(), String> {
        let exit = self.exit.take().unwrap_or_default();
        let mut last: Option<Typed> = None;
        for (number, line) in block {
            let prompt = line.get(..2).filter(|prompt| ["$ ", "# "].contains(prompt));
            if let Some(typed) = last.as_mut().filter(|typed| typed.command.ends_with('\\')) {
                typed.command.push('\n');
                typed.command.push_str(line);
            } else if let Some(prompt) = prompt {
                if let Some(typed) = last.take() {
                    self.steps.push(typed.finished()?);
                }
                last = Some(Typed {
                    line: *number,
                    by_root: prompt == "# ",
                    command: line[2..].to_owned(),
                    ..Typed::default()
                });
            } else if let Some(typed) = last.as_mut() {
                typed.shows.push((*line).to_owned());
            } else {
                return Err(format!("line {number}: no command prints: {line}"));
            }
        }
        let mut last = last.ok_or("a console without a command")?;
        last.exit = exit;
        self.steps.push(last.finished()?);
        Ok(())
    }

    fn file(
        &mut self,
        paragraph: &str,
        block: &[(usize, &str)],
        line: usize,
    ) -> Result<(), String> {
        let sentence = paragraph.strip_suffix(':').and_then(|rest| {
            let (_, path) = rest.rsplit_once('`')?.0.rsplit_once('`')?;
            Some((rest, path.to_owned()))
        });
        let Some((sentence, path)) = sentence else {
            return Err(format!(
                "line {line}: the sentence before a block has to name its file, and end in a colon: {paragraph}"
            ));
        };
        let last = sentence.rsplit(". ").next().unwrap_or_default();
        let mode = last.split_once("mode ").map(|(_, mode)| {
            let digits = mode.chars().take_while(char::is_ascii_digit);
            digits.collect::<String>()
        });
        self.steps.push(Step::Write(Written {
            line,
            path,
            text: block.iter().map(|(_, line)| format!("{line}\n")).collect(),
            mode,
            adds: last.starts_with("Add ") || last.contains(" add "),
        }));
        Ok(())
    }

    /// What no reader sees: commands, and files below `write PATH`, whose lines are indented.
    fn directions(&mut self, block: &[(usize, &str)]) -> Result<(), String> {
        let mut rest = block;
        while let Some((number, line)) = rest.first() {
            let path = line.strip_prefix("write ");
            let ends = |line: &str| match path {
                Some(_) => !line.starts_with("    "),
                None => line.starts_with("write "),
            };
            let end = rest[1..].iter().position(|(_, line)| ends(line));
            let (this, more) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
            rest = more;
            let Some(path) = path else {
                self.console(this)?;
                continue;
            };
            let text = this[1..].iter();
            let text: Vec<_> = text.map(|(number, line)| (*number, &line[4..])).collect();
            self.file(&format!("`{path}`:"), &text, *number)?;
        }
        Ok(())
    }
}

/// Whether a command printed what the guide shows: `...` in a line stands for any text, alone in a line for any lines.
/// Blanks count as one, and empty lines and those at an end as none.
pub(super) fn is_shown(shows: &[String], printed: &str) -> bool {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines = |text: &mut dyn Iterator<Item = &str>| -> Vec<String> {
        text.map(words).filter(|line| !line.is_empty()).collect()
    };
    let shows = lines(&mut shows.iter().map(String::as_str));
    let printed = lines(&mut printed.lines());
    are_like(&shows, &printed)
}

fn are_like(shows: &[String], printed: &[String]) -> bool {
    match shows.split_first() {
        None => printed.is_empty(),
        Some((any, rest)) if any == "..." => {
            (0..=printed.len()).any(|skipped| are_like(rest, &printed[skipped..]))
        }
        Some((line, rest)) => printed
            .split_first()
            .is_some_and(|(first, others)| is_like(line, first) && are_like(rest, others)),
    }
}

fn is_like(shows: &str, printed: &str) -> bool {
    let Some((begin, rest)) = shows.split_once("...") else {
        return shows == printed;
    };
    let Some(printed) = printed.strip_prefix(begin) else {
        return false;
    };
    let ends = printed.char_indices().map(|(at, _)| at);
    let mut ends = ends.chain([printed.len()]);
    ends.any(|at| is_like(rest, &printed[at..]))
}

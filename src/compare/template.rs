//! A text with gaps: what several runs of one way have in common, and where they differ.
//!
//! Where runs differ in as many lines, the lines are compared word by word, and have gaps themselves. A text fits if
//! it has all that the runs have in common, in that order, and anything else only where there is a gap. Runs that
//! are alike but for their order say that the order means nothing.

use super::diff::{self, Hunk};

#[derive(Debug)]
pub(super) struct Template<'a> {
    lines: Pattern<TemplateLine<'a>>,
    first: &'a str,
}

/// `None` is a gap: anything, or nothing.
#[derive(Debug)]
struct Pattern<T>(Vec<Option<T>>);

#[derive(Debug)]
struct TemplateLine<'a> {
    /// As it is in the first run.
    first: &'a str,
    /// `None`: every run has it so.
    open: Option<Pattern<&'a str>>,
}

impl<'a> Template<'a> {
    /// At least one run.
    pub(super) fn of(mut runs: impl Iterator<Item = &'a str>) -> Template<'a> {
        let first = runs.next().unwrap_or_default();
        let lines = first.split_inclusive('\n');
        let line = |first| Some(TemplateLine { first, open: None });
        let mut template = Template {
            lines: Pattern(lines.map(line).collect()),
            first,
        };
        let mut last = first;
        for run in runs {
            // Most runs are as the one before.
            if last != run {
                template.open_for(run);
            }
            last = run;
        }
        template
    }

    /// Whether something in it is open.
    pub(super) fn is_open(&self) -> bool {
        let mut lines = self.lines.0.iter();
        lines.any(|line| line.as_ref().is_none_or(|line| line.open.is_some()))
    }

    /// The text of the first run, with a line of dots for each gap.
    pub(super) fn lines(&self) -> Vec<&'a str> {
        let lines = self.lines.0.iter();
        lines
            .map(|line| line.as_ref().map_or("...\n", |line| line.first))
            .collect()
    }

    /// What of a text does not fit.
    pub(super) fn misfits(&self, text: &str) -> Vec<Hunk> {
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        if self.is_open() && is_reordered(self.first.split_inclusive('\n'), lines.iter().copied()) {
            return Vec::new();
        }
        self.lines
            .misfits(lines.len(), |line, at| line.fits(lines[at]))
    }

    /// Opens what does not fit this run.
    fn open_for(&mut self, run: &'a str) {
        let lines: Vec<&str> = run.split_inclusive('\n').collect();
        let misfits = self.misfits(run);
        for hunk in misfits.into_iter().rev() {
            let old = &mut self.lines.0[hunk.old.clone()];
            if old.len() == hunk.new.len() && old.iter().all(Option::is_some) {
                for (line, text) in old.iter_mut().flatten().zip(&lines[hunk.new]) {
                    line.open_for(text);
                }
            } else {
                self.lines.open(hunk);
            }
        }
        self.lines.join();
    }
}

impl<T> Pattern<T> {
    /// What of a sequence of so many does not fit: what it lacks, and what it has more outside gaps.
    fn misfits(&self, count: usize, fits: impl Fn(&T, usize) -> bool) -> Vec<Hunk> {
        let same = |element: usize, at| {
            let element = self.0[element].as_ref();
            element.is_some_and(|element| fits(element, at))
        };
        let mut hunks = diff::hunks(self.0.len(), count, same);
        hunks.retain(|hunk| {
            let around = hunk.old.start.saturating_sub(1)..(hunk.old.end + 1).min(self.0.len());
            let is_in_gap = self.0[around].iter().any(Option::is_none);
            let lacks = self.0[hunk.old.clone()].iter().any(Option::is_some);
            lacks || !is_in_gap
        });
        hunks
    }

    fn open(&mut self, hunk: Hunk) {
        self.0.splice(hunk.old, [None]);
    }

    /// Makes one gap of those that stand together.
    fn join(&mut self) {
        self.0
            .dedup_by(|element, before| element.is_none() && before.is_none());
    }
}

impl<'a> TemplateLine<'a> {
    fn fits(&self, text: &str) -> bool {
        let Some(open) = &self.open else {
            return self.first == text;
        };
        let found: Vec<&str> = words(text).collect();
        let misfits = open.misfits(found.len(), |word, at| *word == found[at]);
        misfits.is_empty() || is_reordered(words(self.first), found.into_iter())
    }

    fn open_for(&mut self, text: &'a str) {
        let first = self.first;
        let open = self
            .open
            .get_or_insert_with(|| Pattern(words(first).map(Some).collect()));
        let found: Vec<&str> = words(text).collect();
        let misfits = open.misfits(found.len(), |word, at| *word == found[at]);
        for hunk in misfits.into_iter().rev() {
            open.open(hunk);
        }
        open.join();
    }
}

/// Whether both have the same, in any order.
fn is_reordered<'a>(
    one: impl Iterator<Item = &'a str>,
    other: impl Iterator<Item = &'a str>,
) -> bool {
    let mut both = (one.collect::<Vec<_>>(), other.collect::<Vec<_>>());
    if both.0.len() != both.1.len() {
        return false;
    }
    both.0.sort_unstable();
    both.1.sort_unstable();
    both.0 == both.1
}

/// Letters and digits that stand together are a word; any other character is one.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let size = match rest.find(|c: char| !c.is_alphanumeric()) {
            Some(0) => first.len_utf8(),
            Some(size) => size,
            None => rest.len(),
        };
        let (word, behind) = rest.split_at(size);
        rest = behind;
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_open_for(runs: &[&str], text: &str) -> bool {
        Template::of(runs.iter().copied()).misfits(text).is_empty()
    }

    #[test]
    fn what_runs_have_in_common_must_fit() {
        let dates = ["page\nat 12:00:01\n", "page\nat 12:00:02\n"];
        assert!(is_open_for(&dates, "page\nat 12:00:07\n"));
        assert!(!is_open_for(&dates, "page\nat 13:00:07\n"));
        assert!(!is_open_for(&dates, "Page\nat 12:00:07\n"));
        let nonces = ["<a nonce='x+y'>b</a>", "<a nonce='xy=='>b</a>"];
        assert!(is_open_for(&nonces, "<a nonce='1/2/3'>b</a>"));
        assert!(!is_open_for(&nonces, "<a nonce='1/2/3'>c</a>"));
        assert!(!Template::of(["a\n", "a\n"].into_iter()).is_open());
    }

    #[test]
    fn an_order_of_its_own_fits() {
        let lines = ["h\na\nb\nc\nt\n", "h\nc\na\nb\nt\n", "h\nb\nc\na\nt\n"];
        assert!(is_open_for(&lines, "h\nc\nb\na\nt\n"));
        assert!(!is_open_for(&lines, "x\nc\nb\na\nt\n"));
        let set = ["{'a', 'b'}", "{'b', 'a'}"];
        assert!(is_open_for(&set, "{'a', 'b'}"));
        assert!(!is_open_for(&set, "['a', 'b']"));
    }

    #[test]
    fn what_is_there_in_some_runs_only_is_a_gap() {
        let runs = ["a\nb\n", "a\nx\ny\nb\n"];
        assert!(is_open_for(&runs, "a\nz\nb\n"));
        assert!(is_open_for(&runs, "a\nb\n"));
        let value = ["", "x\n"];
        assert!(is_open_for(&value, "y\n"));
    }

    #[test]
    fn words_make_the_line() {
        let line = "a\u{e9}1, <b>\n";
        assert_eq!(words(line).collect::<String>(), line);
        assert_eq!(words(line).count(), 7);
    }
}

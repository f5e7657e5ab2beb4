//! The last reason why the app could not be started, or could not serve: kept for `status`, told to one web server.

use crate::figures::Counted;
use crate::incidents;

/// The last failure that concerns all requests, and what the app said about it.
#[derive(Debug)]
pub(super) struct Failures {
    /// A sentence for `status`; none once the app has served.
    last: Option<String>,
    /// What the app wrote before that: its end.
    last_words: Option<String>,
    /// `last` has changed since the state file was written.
    is_unwritten: bool,
    /// What the host had none of when it last refused a process.
    pub(super) shortage: Counted,
    /// No web server has been told the reason yet.
    pub(super) is_untold: bool,
    /// What the newest generation wrote to standard error at its import: the traceback, if it fails.
    words: Vec<u8>,
    /// The same, once it was told: the page of each request that is refused for it has it too.
    told: Vec<u8>,
    /// What was edited does not serve, and no web server was told that yet: why, and what the app wrote.
    edit: Option<(String, Vec<u8>)>,
    /// `words` stay out of the log until it is known whether they are worth a line.
    pub(super) keeps_words: bool,
}

/// Upper limit for `words`, in bytes.
const MOST: usize = 65_536;
/// The same of what is left for `status` and for the next fronts.
const MOST_LEFT: usize = 8192;

impl Failures {
    /// What the daemon before this one left; it holds until a worker is ready.
    pub(super) fn new(last: Option<String>, last_words: Option<String>) -> Failures {
        Failures {
            last,
            last_words,
            is_unwritten: false,
            shortage: Counted::NoProcess,
            is_untold: false,
            words: Vec::new(),
            told: Vec::new(),
            edit: None,
            keeps_words: false,
        }
    }

    pub(super) fn last(&self) -> Option<&String> {
        self.last.as_ref()
    }

    /// What the app wrote before the last failure, if that was one of its start.
    pub(super) fn last_words(&self) -> Option<&String> {
        self.last_words.as_ref()
    }

    /// Keeps that the app could not be started, and what it wrote.
    pub(super) fn fail_to_start(&mut self, sentence: String) {
        self.fail(sentence);
        let written = self.written();
        self.last_words = (!written.is_empty()).then(|| end_of(&written).to_owned());
    }

    /// Keeps a failure that concerns all requests.
    pub(super) fn fail(&mut self, sentence: String) {
        self.set(Some(sentence));
    }

    /// The host refused a process: told to a web server once for each reason.
    pub(super) fn fail_to_fork(&mut self, what: Option<Counted>, sentence: String) {
        self.shortage = what.unwrap_or(Counted::NoProcess);
        self.is_untold |= self.last.as_ref() != Some(&sentence);
        self.fail(sentence);
    }

    pub(super) fn set(&mut self, last: Option<String>) {
        self.last = last;
        self.last_words = None;
        self.is_unwritten = true;
    }

    /// Whether the state file has to be written; the next call says no.
    pub(super) fn take_unwritten(&mut self) -> bool {
        std::mem::take(&mut self.is_unwritten)
    }

    /// What was edited does not serve, and a web server is to be told.
    pub(super) fn keep_edit(&mut self, sentence: String, words: &[u8]) {
        self.edit = Some((sentence, words.to_vec()));
    }

    /// A web server is still to be told of an edit.
    pub(super) fn has_edit(&self) -> bool {
        self.edit.is_some()
    }

    /// The same, for a web server that is told.
    pub(super) fn take_edit(&mut self) -> Option<(String, Vec<u8>)> {
        self.edit.take()
    }

    /// Newer code serves.
    pub(super) fn forget_edit(&mut self) {
        self.edit = None;
    }

    /// Another start begins.
    pub(super) fn clear_words(&mut self) {
        self.words.clear();
        self.told.clear();
    }

    /// What was written at the import so far.
    pub(super) fn words(&self) -> &[u8] {
        &self.words
    }

    /// The same, for a log.
    pub(super) fn take_words(&mut self) -> Vec<u8> {
        self.told = std::mem::take(&mut self.words);
        self.told.clone()
    }

    /// Why the app could not be started, and what it wrote, for a page.
    pub(super) fn report(&self) -> String {
        incidents::not_started(self.last.as_deref().unwrap_or_default(), &self.written())
    }

    /// What the app wrote at its last start.
    fn written(&self) -> String {
        let words = match self.words.is_empty() {
            true => &self.told,
            false => &self.words,
        };
        String::from_utf8_lossy(words).trim_end().to_owned()
    }

    /// Keeps what a process wrote while it imported the app.
    pub(super) fn keep_words(&mut self, bytes: &[u8]) {
        let room = MOST.saturating_sub(self.words.len());
        self.words
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// The last lines of a text, at most [`MOST_LEFT`] bytes of it.
fn end_of(text: &str) -> &str {
    let Some(from) = text.len().checked_sub(MOST_LEFT) else {
        return text;
    };
    let from = (from..).find(|&at| text.is_char_boundary(at));
    let end = &text[from.unwrap_or(text.len())..];
    end.split_once('\n').map_or(end, |(_, lines)| lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_was_written_is_left() {
        let mut failures = Failures::new(None, None);
        let long = "\u{e9}\n".repeat(MOST_LEFT);
        failures.keep_words(format!("{long}E: x\n").as_bytes());
        failures.fail_to_start("E: x".to_owned());
        let left = failures.last_words().unwrap();
        assert!(left.len() <= MOST_LEFT && left.ends_with("\u{e9}\nE: x"));
        assert!(left.starts_with("\u{e9}\n"));
        failures.fail("another".to_owned());
        assert_eq!(failures.last_words(), None);
    }

    #[test]
    fn a_page_has_the_reason_once() {
        let mut failures = Failures::new(None, None);
        failures.fail("E: x".to_owned());
        let begin = "cannot start the app: E: x";
        for (words, rest) in [
            ("", ""),
            ("E: x\n", ""),
            ("Traceback\n  line\nE: x\n", "\n\nTraceback\n  line"),
            ("a word\n", "\n\na word"),
        ] {
            failures.clear_words();
            failures.keep_words(words.as_bytes());
            assert_eq!(failures.report(), format!("{begin}{rest}"), "{words}");
        }
    }
}

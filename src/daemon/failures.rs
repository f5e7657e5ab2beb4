//! The last reason why the app could not be started, or could not serve: kept for `status`, told to one web server.

/// The last failure that concerns all requests, and what the app said about it.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// A sentence for `status`; none once the app has served.
    last: Option<String>,
    /// `last` has changed since the state file was written.
    is_unwritten: bool,
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

impl Failures {
    /// `last`: what the daemon before this one left; it holds until a worker is ready.
    pub(super) fn new(last: Option<String>) -> Failures {
        Failures {
            last,
            ..Failures::default()
        }
    }

    pub(super) fn last(&self) -> Option<&String> {
        self.last.as_ref()
    }

    /// Keeps a failure that concerns all requests.
    pub(super) fn fail(&mut self, sentence: String) {
        self.set(Some(sentence));
    }

    /// The host refused a process: told to a web server once for each reason.
    pub(super) fn fail_to_fork(&mut self, sentence: String) {
        self.is_untold |= self.last.as_ref() != Some(&sentence);
        self.fail(sentence);
    }

    pub(super) fn set(&mut self, last: Option<String>) {
        self.last = last;
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
        let words = match self.words.is_empty() {
            true => &self.told,
            false => &self.words,
        };
        let (reason, words) = (self.last.as_deref(), String::from_utf8_lossy(words));
        let reason = reason.unwrap_or_default();
        // A traceback's last line is the reason again, as late.py has it.
        let words = words.trim_end();
        let (above, last) = words.rsplit_once('\n').unwrap_or(("", words));
        let is_twice = !reason.is_empty() && last.ends_with(reason);
        match if is_twice { above } else { words } {
            "" => format!("cannot start the app: {reason}"),
            words => format!("cannot start the app: {reason}\n\n{words}"),
        }
    }

    /// Keeps what a process wrote while it imported the app.
    pub(super) fn keep_words(&mut self, bytes: &[u8]) {
        let room = MOST.saturating_sub(self.words.len());
        self.words
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_reason_once() {
        let mut failures = Failures::default();
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

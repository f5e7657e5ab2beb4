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
    pub(super) words: Vec<u8>,
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

    /// Keeps what a process wrote while it imported the app.
    pub(super) fn keep_words(&mut self, bytes: &[u8]) {
        let room = MOST.saturating_sub(self.words.len());
        self.words
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

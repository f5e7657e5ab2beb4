//! What the daemon, and the app, say about a request: it goes to the web server's error log where there is a way to it,
//! else to the daemon's own log.

use log::Level;

use super::Clients;
use super::client::Phase;
use crate::app;
use crate::config::App;
use crate::daemon::ground::Ground;
use crate::daemon::token::Source;
use crate::daemon::watch::Stream;
use crate::daemon::words::NAME;
use crate::page::Failure;
use crate::policy::queue::Number;
use crate::report::{self, printable, visible_up_to};
use crate::sys::clock;
use crate::sys::poll::Interest;

/// The reason why the app can't be started is cut after this many bytes: enough for a path and what is wrong with it.
pub(crate) const REASON: usize = 300;

/// Bytes of what an app says during a request that are kept for a page: the last ones.
const FOR_PAGE: usize = 6000;

/// A line of the adaptor's in a stack that faulthandler has written; one of a traceback has a comma.
fn is_own_frame(line: &str) -> bool {
    let place = line.strip_prefix("  File \"<string>\", line ");
    place.is_some_and(|place| !place.contains(','))
}

fn log_line(line: &[u8]) {
    ::log::warn!("app: {}", printable(line));
}

impl Clients {
    /// Writes to the log of this request's web server; `false` where there is no way to it.
    pub(crate) fn write_errors(
        &mut self,
        number: Number,
        bytes: &[u8],
        ground: &mut Ground,
    ) -> bool {
        let Some(client) = self.by_number.get_mut(&number) else {
            return false;
        };
        let mut to_log = std::mem::take(&mut client.to_log);
        let log = client.errors();
        if let Some(log) = log {
            to_log.put(log, bytes, &mut ground.scratch);
        }
        let has_log = log.is_some();
        let waits = !to_log.is_empty();
        client.to_log = to_log;
        if waits {
            client.watch(&ground.poll, number, Stream::Errors, Interest::Write);
        }
        has_log
    }

    /// There is room in the log of this request's web server.
    pub(crate) fn flush_errors(&mut self, number: Number, ground: &mut Ground) {
        self.write_errors(number, b"", ground);
        let Some(client) = self.by_number.get_mut(&number) else {
            return;
        };
        if client.to_log.is_empty() {
            client.watch(&ground.poll, number, Stream::Errors, None);
            if matches!(client.phase, Phase::Logging { .. }) {
                self.release_front(number, ground);
            }
        }
    }

    /// Writes a sentence of ours about a request to its web server's log; `false` where there is no way to it.
    pub(crate) fn tell_web_server(
        &mut self,
        number: Number,
        sentence: &str,
        ground: &mut Ground,
    ) -> bool {
        let line = self.line_of(number, sentence, ground);
        self.write_errors(number, line.as_bytes(), ground)
    }

    /// A line for a web server's log.
    fn line_of(&self, number: Number, sentence: &str, ground: &Ground) -> String {
        let client = self.by_number.get(&number);
        let request = client.and_then(|client| client.request.as_ref());
        let line = request.map_or_else(Default::default, |request| request.line());
        let sentence = report::of_request(ground.app.name(), &line, sentence);
        format!("polycgi: {NAME}: {sentence}\n")
    }

    /// Tells one web server, once, why the app could not be started.
    pub(crate) fn tell_why(&mut self, number: Number, ground: &mut Ground) {
        let client = self.by_number.get(&number);
        let has_log = client.is_some_and(|client| client.errors().is_some());
        if !ground.failures.is_untold || !has_log {
            return;
        }
        ground.failures.is_untold = false;
        let words = ground.failures.take_words();
        let reason = ground.failures.last().map_or("", String::as_str);
        let mut sentence = format!(
            "cannot start the app: {}",
            visible_up_to(REASON, reason.as_bytes())
        );
        // A traceback says why by itself; a server's last words may have nothing to do with its end.
        if !words.is_empty() && !matches!(ground.config.app, App::Wsgi(_)) {
            sentence += "; it said:";
        }
        let line = self.line_of(number, &sentence, ground);
        let told = [line.as_bytes(), &words].concat();
        self.write_errors(number, &told, ground);
    }

    /// Tells one web server that what was edited does not serve: that of this request, or of any that is here; if none
    /// is, that of the next one.
    pub(crate) fn tell_edit(&mut self, number: Option<Number>, ground: &mut Ground) {
        let has_log = |number: &Number| {
            let client = self.by_number.get(number);
            client.is_some_and(|client| client.errors().is_some())
        };
        let mut numbers = number.into_iter().chain(self.by_number.keys().copied());
        let Some(number) = numbers.find(has_log) else {
            return;
        };
        if let Some((sentence, words)) = ground.failures.take_edit() {
            let line = self.line_of(number, &sentence, ground);
            self.write_errors(number, &[line.as_bytes(), &words].concat(), ground);
        }
    }

    /// What a process of the app wrote goes to its request's web server, or, where there is none, to the daemon's log.
    pub(crate) fn pass_on_errors(
        &mut self,
        source: Source,
        number: Option<Number>,
        bytes: &[u8],
        ground: &mut Ground,
    ) {
        if let Some(number) = number {
            self.keep_for_page(number, bytes, ground);
        }
        if let Some(number) = number
            && self.write_errors(number, bytes, ground)
        {
            // What it had begun to write before belongs to no request.
            self.app_lines.end(source, log_line);
        } else {
            self.app_lines.push(source, bytes, log_line);
        }
    }

    /// Keeps what the app says during a request, if the client may see it on a page of ours.
    fn keep_for_page(&mut self, number: Number, bytes: &[u8], ground: &Ground) {
        let client = self.by_number.get_mut(&number);
        if let Some(client) = client
            && let Some(request) = &client.request
            && app::shows_errors(&ground.config, &request.client_address)
        {
            client.said.extend_from_slice(bytes);
            let excess = client.said.len().saturating_sub(FOR_PAGE);
            client.said.drain(..excess);
        }
    }

    /// Answers with a page whose reason is this sentence, and what the app has said during the request; the web
    /// server's log gets the sentence.
    pub(crate) fn fail(
        &mut self,
        number: Number,
        failure: Failure,
        sentence: &str,
        ground: &mut Ground,
    ) {
        self.tell_web_server(number, sentence, ground);
        let client = self.by_number.get_mut(&number);
        let said = client.map_or_else(Vec::new, |client| std::mem::take(&mut client.said));
        let said = String::from_utf8_lossy(&said);
        let lines = said.lines().filter(|line| !is_own_frame(line));
        let reason = format!("{sentence}\n\n{}", lines.collect::<Vec<_>>().join("\n"));
        self.answer(number, failure, &reason, ground);
    }

    /// Logs what was written at an import.
    pub(crate) fn log_words(&mut self, source: Source, words: &[u8], ground: &mut Ground) {
        self.pass_on_errors(source, None, words, ground);
        self.end_errors(source);
    }

    /// This process writes no more.
    pub(crate) fn end_errors(&mut self, source: Source) {
        self.app_lines.end(source, log_line);
    }

    /// Logs a refusal here: the request's web server can't be told, or the operator is to know as well.
    pub(super) fn note_refused(
        &mut self,
        number: Number,
        level: Level,
        reason: &str,
        detail: &str,
    ) {
        let client = self.by_number.get(&number);
        let guest = client.and_then(|client| client.caller.guest);
        let reason = format!("refused: {reason}");
        match guest {
            Some(guest) => self
                .notices
                .note(level, &reason, detail, guest, clock::now()),
            None => ::log::log!(level, "{reason}{detail}: number={number}"),
        }
    }

    /// A request is refused by the configuration. The web server of a plain client can't be told.
    pub(super) fn note_refusal(&mut self, number: Number, sentence: &str, ground: &mut Ground) {
        if !self.tell_web_server(number, sentence, ground) {
            self.notices.note_refusal(sentence);
        }
    }
}

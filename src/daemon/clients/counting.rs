//! What becomes of each request is counted here, once: what is known first counts. And what a request is, in a few
//! words, for `status` and the log.

use std::time::Duration;

use super::Clients;
use super::taken::{FrontWord, Taken};
use crate::daemon::ground::Ground;
use crate::figures::Counted;
use crate::incidents::{self, Mishap};
use crate::policy::pool::WorkerId;
use crate::policy::queue::Number;
use crate::scgi::{self, Decoded};
use crate::sys::clock;

impl Clients {
    /// Counts what became of the request, unless that was counted before.
    pub(crate) fn count(&mut self, number: Number, what: Counted, ground: &mut Ground) {
        let Some(client) = self.by_number.get_mut(&number) else {
            return;
        };
        client.is_cut |= what == Counted::Cut;
        let Some(request) = client.request.as_mut() else {
            return;
        };
        let account = &mut request.account;
        if !std::mem::replace(&mut account.is_settled, true) {
            let now = clock::now();
            ground.slots.count(what, account.took(now), now);
            if what.status() == Some(503) {
                ground.ledger.note_refusal(what, now);
            }
        }
    }

    /// A page of ours will answer the request, for this reason.
    pub(super) fn note_refused_for(&mut self, number: Number, why: Counted) {
        let client = self.by_number.get_mut(&number);
        if let Some(request) = client.and_then(|client| client.request.as_mut()) {
            request.account.refused_for = Some(why);
        }
    }

    /// Something went wrong with the request: for `status`. The log has been told.
    pub(crate) fn note_mishap(
        &self,
        number: Number,
        kind: Mishap,
        reason: &str,
        ground: &mut Ground,
    ) {
        let client = self.by_number.get(&number);
        let request = client.and_then(|client| client.request.as_ref());
        let line = request.map_or_else(Default::default, |request| request.line());
        ground.ledger.note(kind, line, reason);
    }

    /// The same of one that takes too long, in the words of its page.
    pub(crate) fn note_time_out(&self, number: Number, key: &str, ground: &mut Ground) {
        let reason = format!("{key}: the app did not answer in time");
        self.note_mishap(number, Mishap::TimeOut, &reason, ground);
    }

    /// The end of a line in the daemon's log: the request's method and path, if it has any.
    pub(crate) fn logged_line(&self, number: Number) -> String {
        let client = self.by_number.get(&number);
        let request = client.and_then(|client| client.request.as_ref());
        request.map_or_else(String::new, |request| {
            let (method, path) = request.line();
            format!(": {method} {path}")
        })
    }

    /// A part of the response did not go out.
    pub(crate) fn note_cut(&mut self, number: Number) {
        if let Some(client) = self.by_number.get_mut(&number) {
            client.is_cut = true;
        }
    }

    /// Counts a request that ends as what serves it has said.
    pub(super) fn count_served(&mut self, number: Number, ground: &mut Ground) {
        let Some(client) = self.by_number.get(&number) else {
            return;
        };
        let has_raised = client
            .request
            .as_ref()
            .is_some_and(|r| r.account.has_raised);
        // The worker may have met the end of the connection before we do.
        let is_gone = client.is_cut && (client.is_gone || client.has_hung_up());
        let what = match (has_raised, is_gone) {
            (true, _) => Counted::Exception,
            (false, true) => Counted::Gone,
            (false, false) => Counted::Daemon,
        };
        self.count(number, what, ground);
    }

    /// The client of a waiting request has hung up. A front that was told nothing has taken its request back, and
    /// counts it itself.
    pub(super) fn count_hung_up(&mut self, number: Number, ground: &mut Ground) {
        let client = self.by_number.get(&number);
        let request = client.and_then(|client| client.request.as_ref());
        if request.is_some_and(|request| request.said > FrontWord::Nothing) {
            self.count(number, Counted::Gone, ground);
        }
    }

    /// Since when the worker has its request, and that request's method and path.
    pub(crate) fn running_on(&self, worker: WorkerId) -> Option<(Duration, String, String)> {
        let number = self.number_of(worker)?;
        let request = self.by_number.get(&number)?.request.as_ref()?;
        let (method, path) = request.line();
        Some((request.account.began?, method, path))
    }
}

impl Taken {
    /// Its method and its path, without the query string; empty where its header made no sense.
    pub(super) fn line(&self) -> (String, String) {
        match scgi::decode(&self.header, self.header.len()) {
            Ok(Decoded::Header { header, .. }) => {
                let value = |name: &[u8]| header.value(name).unwrap_or_default();
                incidents::line(
                    value(b"REQUEST_METHOD"),
                    value(b"REQUEST_URI"),
                    value(b"SCRIPT_NAME"),
                    value(b"PATH_INFO"),
                )
            }
            _ => Default::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::taken::Length;
    use super::*;

    #[test]
    fn a_request_is_known_by_its_header() {
        let mut taken = Taken::unserved(None, Length::Bytes(0));
        assert_eq!(taken.line(), Default::default());
        let pairs = [
            ("PATH_INFO", "/Front"),
            ("REQUEST_METHOD", "PUT"),
            ("SCRIPT_NAME", "/wiki"),
        ];
        let pairs = pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        scgi::message(b"", pairs.into_iter(), &mut taken.header);
        assert_eq!(taken.line(), ("PUT".to_owned(), "/wiki/Front".to_owned()));
    }
}

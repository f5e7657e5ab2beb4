//! What becomes of each request is counted here, once: what is known first counts. And what a request is, in a few
//! words, for `status` and the log.

use std::time::Duration;

use super::Clients;
use super::taken::{FrontWord, Taken};
use crate::daemon::ground::Ground;
use crate::figures::Counted;
use crate::incidents::Mishap;
use crate::policy::pool::WorkerId;
use crate::policy::queue::Ticket;
use crate::scgi::{self, Decoded};
use crate::sys::clock;

/// Bytes of a path that are shown.
const LONGEST_PATH: usize = 200;

impl Clients {
    /// Counts what became of the request, unless that was counted before.
    pub(crate) fn count(&mut self, ticket: Ticket, what: Counted, ground: &mut Ground) {
        let client = self.by_ticket.get_mut(&ticket);
        let Some(request) = client.and_then(|client| client.request.as_mut()) else {
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
    pub(super) fn note_refused_for(&mut self, ticket: Ticket, why: Counted) {
        let client = self.by_ticket.get_mut(&ticket);
        if let Some(request) = client.and_then(|client| client.request.as_mut()) {
            request.account.refused_for = Some(why);
        }
    }

    /// Something went wrong with the request: for `status`. The log has been told.
    pub(crate) fn note_mishap(
        &self,
        ticket: Ticket,
        kind: Mishap,
        reason: &str,
        ground: &mut Ground,
    ) {
        let client = self.by_ticket.get(&ticket);
        let request = client.and_then(|client| client.request.as_ref());
        let line = request.map_or_else(Default::default, |request| request.line());
        ground.ledger.note(kind, line, reason);
    }

    /// Counts a request that ends as what serves it has said.
    pub(super) fn count_served(&mut self, ticket: Ticket, ground: &mut Ground) {
        let Some(client) = self.by_ticket.get(&ticket) else {
            return;
        };
        let has_raised = client
            .request
            .as_ref()
            .is_some_and(|r| r.account.has_raised);
        let what = match (has_raised, client.is_gone) {
            (true, _) => Counted::Exception,
            (false, true) => Counted::Gone,
            (false, false) => Counted::Daemon,
        };
        self.count(ticket, what, ground);
    }

    /// The client of a waiting request has hung up. A front that was told nothing has taken its request back, and
    /// counts it itself.
    pub(super) fn count_hung_up(&mut self, ticket: Ticket, ground: &mut Ground) {
        let client = self.by_ticket.get(&ticket);
        let request = client.and_then(|client| client.request.as_ref());
        if request.is_some_and(|request| request.said > FrontWord::Nothing) {
            self.count(ticket, Counted::Gone, ground);
        }
    }

    /// Since when the worker has its request, and that request's method and path.
    pub(crate) fn running_on(&self, worker: WorkerId) -> Option<(Duration, String, String)> {
        let ticket = self.ticket_of(worker)?;
        let request = self.by_ticket.get(&ticket)?.request.as_ref()?;
        let (method, path) = request.line();
        Some((request.account.began?, method, path))
    }
}

impl Taken {
    /// Its method and its path, without the query string; empty where its header made no sense.
    pub(super) fn line(&self) -> (String, String) {
        let Ok(Decoded::Header { header, .. }) = scgi::decode(&self.header, self.header.len())
        else {
            return Default::default();
        };
        let mut line: [&[u8]; 4] = [b""; 4];
        for (name, value) in header.pairs() {
            match name {
                b"REQUEST_METHOD" => line[0] = value,
                b"REQUEST_URI" => line[1] = value,
                b"SCRIPT_NAME" => line[2] = value,
                b"PATH_INFO" => line[3] = value,
                _ => {}
            }
        }
        let [method, uri, script, info] = line;
        (shortened(method), path(uri, script, info))
    }
}

/// What a person knows the request by: the path that the client has asked for.
fn path(uri: &[u8], script: &[u8], info: &[u8]) -> String {
    match uri.split(|&byte| byte == b'?').next() {
        Some(path) if !path.is_empty() => shortened(path),
        _ => shortened(&[script, info].concat()),
    }
}

fn shortened(bytes: &[u8]) -> String {
    crate::report::visible_up_to(LONGEST_PATH, bytes)
}

#[cfg(test)]
mod tests {
    use super::super::taken::Length;
    use super::*;

    #[test]
    fn a_request_is_known_by_its_method_and_path() {
        let line = |pairs: &[(&str, &str)]| {
            let mut taken = Taken::unserved(None, Length::Bytes(0));
            let pairs = pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
            scgi::message(b"", pairs, &mut taken.header);
            taken.line()
        };
        let known = |method: &str, path: &str| (method.to_owned(), path.to_owned());
        let (method, script, info) = (
            ("REQUEST_METHOD", "GET"),
            ("SCRIPT_NAME", "/cgi-bin/wiki"),
            ("PATH_INFO", "/Front"),
        );
        assert_eq!(
            line(&[method, script, info]),
            known("GET", "/cgi-bin/wiki/Front")
        );
        let uri = ("REQUEST_URI", "/w/Front?token=secret");
        assert_eq!(line(&[method, script, info, uri]), known("GET", "/w/Front"));
        assert_eq!(line(&[("REQUEST_URI", "\x1b[2J?x")]), known("", "?[2J"));
        let long = "/".repeat(1000);
        assert_eq!(line(&[("PATH_INFO", &long)]).1.len(), LONGEST_PATH + 3);
        let nothing = Taken::unserved(None, Length::Bytes(0));
        assert_eq!(nothing.line(), known("", ""));
    }
}

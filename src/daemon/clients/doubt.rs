//! Message-bodies that were announced and do not come: how long they are waited for, and that their requests are then
//! served without one. Which these may be is known by their headers ([`Doubt`]).

use std::time::Duration;

use log::Level;

use super::client::{Client, Phase};
use super::taken::Taken;
use crate::cgi::Doubt;
use crate::daemon::Daemon;
use crate::page::Failure;
use crate::policy::queue::Ticket;
use crate::sys::{clock, files};

/// What nginx has in memory follows its header in the same write.
const AT_ONCE: Duration = Duration::from_secs(1);
/// What it has in memory by default (client_body_buffer_size), in bytes. A larger body lies in a file, and a slow disk
/// may part it from the header.
const IN_MEMORY: u64 = 16 << 10;

/// How long the first byte of a message-body may take.
pub(crate) fn patience(request: &Taken, request_timeout: Duration) -> Duration {
    // Its client may be slow; or nginx has it in a file, on a slow disk.
    let quarter = request_timeout / 4;
    match request.doubt {
        None | Some(Doubt::Cgi) => request_timeout,
        Some(Doubt::Counted) if request.length <= IN_MEMORY => quarter.min(AT_ONCE),
        Some(Doubt::Counted | Doubt::Elsewhere | Doubt::Rewritten) => quarter,
    }
}

impl Client {
    /// A message-body was announced to which this client's web server may send nothing, and has sent nothing yet.
    fn lacks_body(&self) -> bool {
        let has_come = match &self.phase {
            Phase::Receiving { body } => body.len(),
            _ => self.request.as_ref().map_or(0, |r| r.ahead.len()),
        };
        let is_doubtful = self.request.as_ref().is_some_and(|r| r.doubt.is_some());
        let waiting = |input| files::waiting(input).unwrap_or(0);
        is_doubtful && has_come == 0 && self.input().map_or(0, waiting) == 0
    }

    /// The same, and it is known to send nothing.
    pub(crate) fn never_has_body(&self) -> bool {
        let doubt = self.request.as_ref().and_then(|r| r.doubt);
        doubt == Some(Doubt::Elsewhere) && self.is_plain() && self.lacks_body()
    }
}

impl Daemon {
    /// A request whose message-body does not come goes on without one; `false`: it is none of those. `has_ended`: the
    /// end of its input was seen, and not only that nothing came.
    pub(crate) fn do_without_body(&mut self, ticket: Ticket, has_ended: bool) -> bool {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return false;
        };
        let lacks_body = client.lacks_body();
        let Some(request) = client.request.as_mut().filter(|_| lacks_body) else {
            return false;
        };
        let (doubt, length) = (request.doubt, request.length);
        // The end of an SCGI client's connection is the client's.
        if has_ended != (doubt == Some(Doubt::Cgi)) {
            return false;
        }
        request.measure(0);
        // It may come all the same. A connection that is closed before it is read is reset, and its response is lost.
        request.may_exceed = true;
        ::log::debug!("no message-body: ticket={ticket} announced={length} doubt={doubt:?}");
        true
    }

    /// Bytes of a message-body have come; whether it was in doubt until then: now it has all its time.
    pub(crate) fn has_begun_to_send(&mut self, ticket: Ticket) -> bool {
        let request = self
            .clients
            .get_mut(&ticket)
            .and_then(|c| c.request.as_mut());
        request.is_some_and(|request| request.doubt.take().is_some())
    }

    /// The time of a message-body is over.
    pub(crate) fn body_is_late(&mut self, ticket: Ticket) {
        if self.do_without_body(ticket, false) {
            self.arrive_with_body(ticket);
            return;
        }
        let now = clock::now();
        let request = self.clients.get(&ticket).and_then(|c| c.request.as_ref());
        if request.is_some_and(|r| r.doubt.is_some_and(|doubt| doubt != Doubt::Cgi)) {
            // Its first bytes came at this moment.
            self.limited
                .insert(ticket, now + self.config.timeouts.request);
            self.receive(ticket);
            return;
        }
        let sentence = "the message-body did not come in time";
        self.note_refused(ticket, Level::Info, sentence, "", now);
        self.tell_web_server(ticket, sentence);
        self.answer(ticket, Failure::RequestTimeout, "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_doubt_is_waited_for_less() {
        const S: fn(u64) -> Duration = Duration::from_secs;
        let cases = [
            (None, 5, 45, S(45)),
            (Some(Doubt::Counted), 5, 45, S(1)),
            (Some(Doubt::Counted), 16_384, 45, S(1)),
            (Some(Doubt::Counted), 16_385, 40, S(10)),
            (Some(Doubt::Counted), 5, 2, S(2) / 4),
            (Some(Doubt::Rewritten), 5, 40, S(10)),
            (Some(Doubt::Cgi), 5, 45, S(45)),
        ];
        for (doubt, length, timeout, expected) in cases {
            let mut request = Taken::unserved(None, length);
            request.doubt = doubt;
            assert_eq!(
                patience(&request, S(timeout)),
                expected,
                "{doubt:?} {length}"
            );
        }
    }
}

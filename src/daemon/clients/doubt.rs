//! Message-bodies that were announced and do not come: how long they are waited for, and that their requests are then
//! served without one. Which these may be is known by their headers ([`Doubt`]).

use std::time::Duration;

use super::client::{Client, Phase};
use super::taken::Taken;
use crate::cgi::Doubt;
use crate::sys::files;

/// What nginx has in memory follows its header in the same write.
const AT_ONCE: Duration = Duration::from_secs(1);
/// What it has in memory by default (client_body_buffer_size), in bytes. A larger body lies in a file, and a slow disk
/// may part it from the header.
const IN_MEMORY: u64 = 16 << 10;

/// How long the first byte of a message-body may take.
pub(super) fn patience(request: &Taken, request_timeout: Duration) -> Duration {
    // The client may be slow, or nginx reads the body from a file on a slow disk.
    let quarter = request_timeout / 4;
    match request.doubt {
        None | Some(Doubt::Cgi) => request_timeout,
        Some(Doubt::Counted) if request.length() <= IN_MEMORY => quarter.min(AT_ONCE),
        Some(Doubt::Counted | Doubt::Elsewhere | Doubt::Rewritten) => quarter,
    }
}

impl Client {
    /// A message-body was announced to which this client's web server may send nothing, and has sent nothing yet.
    pub(super) fn lacks_body(&self) -> bool {
        let has_come = match &self.phase {
            Phase::Receiving { body } => body.len(),
            _ => self.request.as_ref().map_or(0, |r| r.ahead.len()),
        };
        let is_doubtful = self.request.as_ref().is_some_and(|r| r.doubt.is_some());
        let waiting = |input| files::waiting(input).unwrap_or(0);
        is_doubtful && has_come == 0 && self.input().map_or(0, waiting) == 0
    }

    /// The same, and the web server is known to send nothing.
    pub(super) fn never_has_body(&self) -> bool {
        let doubt = self.request.as_ref().and_then(|r| r.doubt);
        doubt == Some(Doubt::Elsewhere) && self.is_plain() && self.lacks_body()
    }
}

#[cfg(test)]
mod tests {
    use super::super::taken::Length;
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
            let mut request = Taken::unserved(None, Length::Bytes(length));
            request.doubt = doubt;
            assert_eq!(
                patience(&request, S(timeout)),
                expected,
                "{doubt:?} {length}"
            );
        }
    }
}

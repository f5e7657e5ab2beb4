//! What the app says on standard error: during a request it belongs to that request's web server, else to the
//! daemon's log. Knows bytes and lines, not what they say.
//!
//! A log that takes nothing now must not hold anybody up, and must not lose anything that a person could read: up to
//! 64 kB of a request wait for it, and what is more is counted.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::client::Phase;
use crate::daemon::Daemon;
use crate::daemon::token::{Source, Token};
use crate::daemon::watch::End;
use crate::policy::queue::Ticket;
use crate::report::printable;
use crate::sys::poll::Interest;
use crate::sys::splice::Scratch;
use crate::sys::{Errno, clock, is};

/// Bytes of a request that wait for its web server's log.
const MOST: usize = 65_536;
/// A line without an end is one when it is as long as this, in bytes.
const LONGEST_LINE: usize = 4096;
/// What is left of a request when it is answered waits for its log so long.
const LAST_TIME: Duration = Duration::from_secs(1);

/// What one request's log has still to take.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    kept: Vec<u8>,
    /// Bytes that found no room, or nobody who takes them.
    lost: u64,
}

impl Errors {
    fn put(&mut self, log: BorrowedFd<'_>, bytes: &[u8], scratch: &mut Scratch) {
        self.flush(log, scratch);
        let written = if self.kept.is_empty() {
            self.write(log, bytes, scratch)
        } else {
            0
        };
        let rest = &bytes[written..];
        let fits = rest.len().min(MOST - self.kept.len());
        self.kept.extend_from_slice(&rest[..fits]);
        self.lost += (rest.len() - fits) as u64;
    }

    fn flush(&mut self, log: BorrowedFd<'_>, scratch: &mut Scratch) {
        let kept = std::mem::take(&mut self.kept);
        let written = self.write(log, &kept, scratch);
        self.kept = kept;
        self.kept.drain(..written);
    }

    /// How many bytes need not be kept: they are written, or nobody will ever take them.
    fn write(&mut self, log: BorrowedFd<'_>, bytes: &[u8], scratch: &mut Scratch) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match scratch.write_now(log, &bytes[written..]) {
                Ok(count) => written += count,
                Err(error) if is(&error, Errno::EAGAIN) => break,
                Err(_) => {
                    self.lost += (bytes.len() - written) as u64;
                    return bytes.len();
                }
            }
        }
        written
    }
}

/// Lines of the app that belong to no request, whole.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// What has no end yet, by the process that said it.
    tails: BTreeMap<u64, Vec<u8>>,
}

impl Lines {
    /// Every line that is whole by now.
    fn push(&mut self, source: Source, bytes: &[u8], mut say: impl FnMut(&[u8])) {
        let key = Token::Stderr(source).into();
        let mut text = self.tails.remove(&key).unwrap_or_default();
        text.extend_from_slice(bytes);
        let mut rest = &text[..];
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest);
            let len = end.unwrap_or(rest.len()).min(LONGEST_LINE);
            if end.is_none() && len < LONGEST_LINE {
                self.tails.insert(key, rest.to_vec());
                break;
            }
            if len > 0 {
                say(&rest[..len]);
            }
            // With its end, unless it was cut before that.
            rest = &rest[len + usize::from(end == Some(len))..];
        }
    }

    /// What this process leaves without an end.
    fn end(&mut self, source: Source, say: impl FnOnce(&[u8])) {
        if let Some(tail) = self.tails.remove(&Token::Stderr(source).into()) {
            say(&tail);
        }
    }
}

fn log_line(line: &[u8]) {
    ::log::warn!("app: {}", printable(line));
}

impl Daemon {
    /// To the log of this request's web server; `false` where there is no way to it.
    pub(crate) fn write_errors(&mut self, ticket: Ticket, bytes: &[u8]) -> bool {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return false;
        };
        let mut to_log = std::mem::take(&mut client.to_log);
        let log = client.errors();
        if let Some(log) = log {
            to_log.put(log, bytes, &mut self.scratch);
        }
        let has_log = log.is_some();
        let waits = !to_log.kept.is_empty();
        client.to_log = to_log;
        if waits {
            client.watch(&self.poll, ticket, End::Errors, Interest::Write);
        }
        has_log
    }

    /// There is room in the log of this request's web server.
    pub(crate) fn flush_errors(&mut self, ticket: Ticket) {
        self.write_errors(ticket, b"");
        let Some(client) = self.clients.get_mut(&ticket) else {
            return;
        };
        if client.to_log.kept.is_empty() {
            client.watch(&self.poll, ticket, End::Errors, None);
            if matches!(client.phase, Phase::Logging { .. }) {
                self.close(ticket);
            }
        }
    }

    /// What the app said goes to this request's web server, or, where there is none, to the daemon's log.
    pub(crate) fn pass_on_errors(&mut self, source: Source, ticket: Option<Ticket>, bytes: &[u8]) {
        if let Some(ticket) = ticket
            && self.write_errors(ticket, bytes)
        {
            // What it had begun to say before belongs to nobody.
            self.app_lines.end(source, log_line);
        } else {
            self.app_lines.push(source, bytes, log_line);
        }
    }

    /// This process says no more.
    pub(crate) fn end_errors(&mut self, source: Source) {
        self.app_lines.end(source, log_line);
    }

    /// A request is answered. `true`: its web server's log has still to take something, and gets a second for it.
    pub(crate) fn waits_for_log(&mut self, ticket: Ticket) -> bool {
        let Some(client) = self.clients.get_mut(&ticket) else {
            return false;
        };
        if client.to_log.kept.is_empty() {
            return false;
        }
        for end in [End::Connection, End::Input, End::Output] {
            client.watch(&self.poll, ticket, end, None);
        }
        let before = client.spooled();
        let request = client.request.as_mut();
        if let Some(passed) = request.and_then(|request| request.passed.take()) {
            // There are web servers that read the log when the response has ended.
            client.phase = Phase::Logging { log: passed.errors };
            self.account(ticket, before);
            self.limited.insert(ticket, clock::now() + LAST_TIME);
        }
        true
    }

    /// Says what a request's log has missed.
    pub(crate) fn count_lost(ticket: Ticket, to_log: &Errors) {
        let lost = to_log.lost + to_log.kept.len() as u64;
        if lost > 0 {
            ::log::warn!(
                "a web server's log did not take everything: ticket={ticket} bytes={lost}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::files;

    #[test]
    fn keeps_the_order_and_counts_what_is_too_much() {
        let mut scratch = Scratch::new().unwrap();
        let (out, into) = files::pipe().unwrap();
        let mut errors = Errors::default();
        errors.put(into.as_fd(), &[b'a'; 65_536], &mut scratch);
        assert!(errors.kept.is_empty());
        errors.put(into.as_fd(), &[b'b'; 60_000], &mut scratch);
        errors.put(into.as_fd(), &[b'c'; 60_000], &mut scratch);
        assert_eq!((errors.kept.len(), errors.lost), (65_536, 54_464));
        let mut out = File::from(out);
        let mut read = vec![0; 65_536];
        out.read_exact(&mut read).unwrap();
        errors.put(into.as_fd(), b"d", &mut scratch);
        let mut rest = vec![0; 65_536];
        out.read_exact(&mut rest).unwrap();
        errors.flush(into.as_fd(), &mut scratch);
        drop(into);
        out.read_to_end(&mut rest).unwrap();
        rest.dedup();
        assert_eq!(rest, b"bcd");
        assert!(errors.kept.is_empty());
    }

    #[test]
    fn nobody_who_takes_it_is_no_reason_to_wait() {
        let mut scratch = Scratch::new().unwrap();
        let (out, into) = files::pipe().unwrap();
        let mut errors = Errors::default();
        errors.put(into.as_fd(), &[b'a'; 70_000], &mut scratch);
        drop(out);
        errors.flush(into.as_fd(), &mut scratch);
        assert_eq!((errors.kept.len(), errors.lost), (0, 70_000 - 65_536));
    }

    #[test]
    fn a_line_is_said_when_it_is_whole() {
        let mut lines = Lines::default();
        let mut said = Vec::new();
        let (one, other) = (Source::Worker(1), Source::Worker(2));
        let mut push = |source, text: &[u8]| {
            lines.push(source, text, |line| said.push(line.to_vec()));
        };
        push(one, b"first ha");
        push(other, b"other\n\nleft");
        push(one, b"lf\nsecond");
        push(one, &[b'x'; 5000]);
        lines.end(other, |line| said.push(line.to_vec()));
        lines.end(other, |_| panic!("twice"));
        let lengths: Vec<usize> = said.iter().map(Vec::len).collect();
        assert_eq!(lengths, [5, 10, 4096, 4]);
        assert_eq!(said[1], b"first half");
        assert_eq!(said[3], b"left");
        let mut rest = Vec::new();
        lines.push(one, b"\n", |line| rest = line.to_vec());
        assert_eq!(rest.len(), 910);
    }
}

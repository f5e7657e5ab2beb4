//! What the app says on standard error: during a request it belongs to that request's web server, else to the
//! daemon's log. Knows bytes and lines, not what they say.
//!
//! A log that takes nothing now must not make the loop wait, and must not lose what a person could read: up to 64 kB of
//! a request wait for it, and what is more is counted.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use crate::daemon::token::{Source, Token};
use crate::policy::queue::Number;
use crate::sys::splice::Scratch;
use crate::sys::{Errno, is};

/// Bytes of a request that wait for its web server's log.
const MOST: usize = 65_536;
/// A line is cut after this many bytes.
const LONGEST_LINE: usize = 4096;

/// What one request's log has still to take.
#[derive(Debug, Default)]
pub(super) struct Errors {
    kept: Vec<u8>,
    /// Bytes that found no room, or no reader.
    lost: u64,
}

impl Errors {
    /// The log has taken everything.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Logs how much a request's log has missed.
    pub(super) fn count_lost(&self, number: Number) {
        let lost = self.lost + self.kept.len() as u64;
        if lost > 0 {
            ::log::warn!(
                "a web server's log did not take everything: number={number} bytes={lost}"
            );
        }
    }

    pub(super) fn put(&mut self, log: BorrowedFd<'_>, bytes: &[u8], scratch: &mut Scratch) {
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

    /// How many bytes need not be kept: they are written, or the log has no reader any more.
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
pub(super) struct Lines {
    /// Lines without an end yet, by the process that wrote them.
    tails: BTreeMap<u64, Vec<u8>>,
}

impl Lines {
    /// Says every line that is whole by now.
    pub(super) fn push(&mut self, source: Source, bytes: &[u8], mut say: impl FnMut(&[u8])) {
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

    /// Says the line that this process leaves without an end.
    pub(super) fn end(&mut self, source: Source, say: impl FnOnce(&[u8])) {
        if let Some(tail) = self.tails.remove(&Token::Stderr(source).into()) {
            say(&tail);
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
    fn a_log_without_a_reader_is_not_waited_for() {
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

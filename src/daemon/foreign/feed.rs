//! What a foreign app is sent of one request: a header, if it is a server, and the message-body. Knows bytes, where they
//! are and where they go, not what they mean.
//!
//! # Theory of operation
//! In this order, each as far as the app takes it: what is in memory, what was spooled of the body, and the rest from
//! the client's own input. When all of it has gone, or the client ends early, a pipe is closed, so that a program that
//! reads to the end finds it. An app that closes its input has read enough: the rest of the body is read and thrown
//! away, since there are web servers that read no response before all of the body is taken.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use crate::daemon::turn::TURN;
use crate::sys::files::{self, Kind};
use crate::sys::passage::Passage;
use crate::sys::poll::{self, Interest};
use crate::sys::splice::{self, Scratch};
use crate::sys::{Errno, is, socket};

/// The most that is copied at once, in bytes.
const BLOCK: usize = 65_536;

/// The request on its way to the app.
#[derive(Debug)]
pub(super) struct Feed {
    /// Ours, and it does not wait; none where there is nothing to send, or a pipe is closed.
    to: Option<OwnedFd>,
    /// How bytes get there from the client's input, once that is known; the inner `None`: they are copied.
    passage: Option<Option<Passage>>,
    /// The app takes no more.
    is_over: bool,
    /// What is next, from `at` on.
    bytes: Vec<u8>,
    at: usize,
    /// The spooled beginning of the body, and which part of it is still to go.
    file: Option<(File, std::ops::Range<u64>)>,
    /// Bytes of the body that are still in the client's input.
    left: u64,
    /// Bytes that have gone out.
    sent: u64,
}

/// A message-body on its way, or what is still to go of one: each part comes before the next.
#[derive(Debug, Default)]
pub(super) struct Rest {
    pub(super) bytes: Vec<u8>,
    pub(super) file: Option<(File, std::ops::Range<u64>)>,
    /// Bytes of the client's own input.
    pub(super) left: u64,
}

impl Rest {
    pub(super) fn is_empty(&self) -> bool {
        let in_file = self
            .file
            .as_ref()
            .map_or(0, |(_, range)| range.end - range.start);
        self.bytes.is_empty() && in_file == 0 && self.left == 0
    }
}

/// What it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fed {
    /// Nothing any more.
    Done,
    /// The app, to take more.
    ForApp,
    /// The client, to send more.
    ForClient,
}

/// What came of one step.
enum FeedStep {
    Moved,
    /// What was in memory: that says nothing of the app, since the system has taken it, and nothing of the client.
    Sent,
    Waits(Fed),
}

impl Feed {
    /// `bytes`, then `file` (the beginning of the body, so many bytes), then `left` bytes of the client's input.
    pub(super) fn new(to: OwnedFd, bytes: Vec<u8>, file: Option<(File, u64)>, left: u64) -> Feed {
        Feed {
            to: Some(to),
            passage: None,
            is_over: false,
            bytes,
            at: 0,
            file: file.map(|(file, len)| (file, 0..len)),
            left,
            sent: 0,
        }
    }

    /// `header`, then the body or what there still is of it.
    pub(super) fn of(to: OwnedFd, mut header: Vec<u8>, rest: Rest) -> Feed {
        header.extend_from_slice(&rest.bytes);
        Feed {
            to: Some(to),
            passage: None,
            is_over: false,
            bytes: header,
            at: 0,
            file: rest.file,
            left: rest.left,
            sent: 0,
        }
    }

    /// Takes back what the app has not read: what was sent, `unread`, and what was not. The first `header` bytes of it
    /// are no part of the body.
    pub(super) fn take_back(&mut self, unread: Vec<u8>, header: usize) -> Rest {
        let mut bytes = unread;
        bytes.extend_from_slice(&self.bytes[self.at..]);
        bytes.drain(..header.min(bytes.len()));
        let file = self.file.take();
        let left = std::mem::take(&mut self.left);
        self.stop();
        Rest { bytes, file, left }
    }

    /// The app has all of it already, or there is nothing to send.
    pub(super) fn nothing() -> Feed {
        Feed {
            to: None,
            passage: None,
            is_over: true,
            bytes: Vec::new(),
            at: 0,
            file: None,
            left: 0,
            sent: 0,
        }
    }

    /// Where the app takes it.
    pub(super) fn to(&self) -> Option<BorrowedFd<'_>> {
        self.to.as_ref().map(AsFd::as_fd)
    }

    /// Bytes of header and body that have gone out.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes of the body that are still in the client's input.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// The app takes no more.
    pub(super) fn stop(&mut self) {
        self.is_over = true;
        self.bytes.clear();
        self.at = 0;
        self.file = None;
        self.close_pipe();
    }

    /// Sends what the app takes; how many blocks have moved.
    pub(super) fn advance(
        &mut self,
        input: Option<BorrowedFd<'_>>,
        scratch: &mut Scratch,
    ) -> (Fed, u64) {
        let mut moved = 0;
        for _ in 0..TURN {
            match self.step(input, scratch) {
                Ok(FeedStep::Moved) => moved += 1,
                Ok(FeedStep::Sent) => {}
                Ok(FeedStep::Waits(fed)) => return (fed, moved),
                // Client or app is gone. The app's output will tell what that means.
                Err(_) => self.stop(),
            }
        }
        // The other clients have their turn: epoll reports at once what is still to do.
        let rest = if self.is_over {
            Fed::ForClient
        } else {
            Fed::ForApp
        };
        (rest, moved)
    }

    fn step(
        &mut self,
        input: Option<BorrowedFd<'_>>,
        scratch: &mut Scratch,
    ) -> io::Result<FeedStep> {
        if self.is_over || self.to.is_none() {
            self.discard(input, scratch)
        } else if self.at < self.bytes.len() {
            self.write_bytes()
        } else if let Some((_, range)) = &self.file {
            if range.is_empty() {
                self.file = None;
                return Ok(FeedStep::Sent);
            }
            self.read_file()
        } else {
            self.read_input(input, scratch)
        }
    }

    /// What is in memory goes to the app.
    fn write_bytes(&mut self) -> io::Result<FeedStep> {
        let Some(to) = &self.to else {
            return Ok(FeedStep::Sent);
        };
        match splice::write(to.as_fd(), &self.bytes[self.at..]) {
            Ok(count) => {
                self.at += count;
                self.sent += count as u64;
                Ok(FeedStep::Sent)
            }
            Err(error) if is(&error, Errno::EAGAIN) => Ok(FeedStep::Waits(Fed::ForApp)),
            Err(error) => Err(error),
        }
    }

    /// The next block that was spooled comes into memory.
    fn read_file(&mut self) -> io::Result<FeedStep> {
        let Some((file, range)) = &mut self.file else {
            return Ok(FeedStep::Sent);
        };
        let most = usize::try_from(range.end - range.start).unwrap_or(BLOCK);
        self.bytes.resize(most.min(BLOCK), 0);
        let count = file.read_at(&mut self.bytes, range.start)?;
        self.bytes.truncate(count);
        self.at = 0;
        // A file that is shorter than it was said to be ends the body.
        range.start = if count == 0 {
            range.end
        } else {
            range.start + count as u64
        };
        Ok(FeedStep::Moved)
    }

    /// What the client has sent goes to the app: straight into its pipe, or by way of memory, since what goes to a server
    /// is counted.
    fn read_input(
        &mut self,
        input: Option<BorrowedFd<'_>>,
        scratch: &mut Scratch,
    ) -> io::Result<FeedStep> {
        let (Some(input), Some(to), true) = (input, &self.to, self.left > 0) else {
            self.close_pipe();
            return Ok(FeedStep::Waits(Fed::Done));
        };
        let to = to.as_fd();
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let find = || Passage::between(input, to).filter(|passage| !passage.is_to_socket());
        let count = if let Some(passage) = self.passage.get_or_insert_with(find) {
            passage.pass(input, to, most.min(1 << 20))
        } else {
            self.bytes.resize(most.min(BLOCK), 0);
            self.at = 0;
            let read = scratch.read_now(input, &mut self.bytes);
            self.bytes.truncate(read.as_ref().map_or(0, |count| *count));
            read
        };
        match count {
            Ok(0) => {
                // The client has ended early, and so does what the app reads.
                self.cut();
                Ok(FeedStep::Waits(Fed::Done))
            }
            Ok(count) => {
                self.left -= (count as u64).min(self.left);
                Ok(FeedStep::Moved)
            }
            Err(error) if is(&error, Errno::EAGAIN) => {
                let has_more = poll::is_ready(input, Interest::Read);
                // What is there was not there a moment ago, or the app has no room.
                let waits = if has_more && !poll::is_ready(to, Interest::Write) {
                    Fed::ForApp
                } else {
                    Fed::ForClient
                };
                Ok(FeedStep::Waits(waits))
            }
            Err(error) => {
                let is_app = matches!(error.kind(), io::ErrorKind::BrokenPipe);
                if !is_app {
                    // The client is gone.
                    self.cut();
                }
                Err(error)
            }
        }
    }

    /// Reads and throws away the rest, so that its sender does not wait.
    fn discard(
        &mut self,
        input: Option<BorrowedFd<'_>>,
        scratch: &mut Scratch,
    ) -> io::Result<FeedStep> {
        let (Some(input), true) = (input, self.left > 0) else {
            return Ok(FeedStep::Waits(Fed::Done));
        };
        // No sender waits behind a file.
        if files::kind(input) == Kind::Other {
            self.left = 0;
            return Ok(FeedStep::Waits(Fed::Done));
        }
        if !poll::is_ready(input, Interest::Read) {
            return Ok(FeedStep::Waits(Fed::ForClient));
        }
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(1 << 20);
        match scratch.discard_now(input, most) {
            Ok(count) if count > 0 => {
                self.left -= (count as u64).min(self.left);
                Ok(FeedStep::Moved)
            }
            Err(error) if is(&error, Errno::EAGAIN) => Ok(FeedStep::Waits(Fed::ForClient)),
            Ok(_) | Err(_) => {
                self.left = 0;
                Ok(FeedStep::Waits(Fed::Done))
            }
        }
    }

    /// The client has ended before its body: the app sees the end.
    fn cut(&mut self) {
        self.left = 0;
        if let Some(to) = &self.to {
            // A pipe can't be half closed; it is closed below.
            let _ = socket::shut_writing(to.as_fd());
        }
        self.close_pipe();
    }

    /// A program that reads its pipe to the end finds it. A connection stays open: there are servers that take one that
    /// is half closed for a client that is gone.
    fn close_pipe(&mut self) {
        let is_pipe = |to: &OwnedFd| files::kind(to.as_fd()) == Kind::Fifo;
        if self.to.as_ref().is_some_and(is_pipe) {
            self.to = None;
            self.is_over = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_lies_in_memory_is_no_progress_and_what_the_client_sends_is() {
        let (ours, _app) = UnixStream::pair().unwrap();
        let (input, mut client) = UnixStream::pair().unwrap();
        input.set_nonblocking(true).unwrap();
        let mut scratch = Scratch::new().unwrap();
        let rest = Rest {
            bytes: b"abc".to_vec(),
            file: None,
            left: 3,
        };
        let mut feed = Feed::of(ours.into(), b"header".to_vec(), rest);
        let (fed, moved) = feed.advance(Some(input.as_fd()), &mut scratch);
        assert_eq!((fed, moved), (Fed::ForClient, 0));
        client.write_all(b"def").unwrap();
        let (fed, moved) = feed.advance(Some(input.as_fd()), &mut scratch);
        assert_eq!((fed, moved), (Fed::Done, 1));
    }
}

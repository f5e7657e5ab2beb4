//! Responses that a client does not take as fast as the worker gives them: the worker writes the rest into a file
//! without a name and is free again; we send the file. Knows files and how far they were sent, not what is in them.
//!
//! # Theory of operation
//! | a worker says | and |
//! | --- | --- |
//! | `spooled N`, with a descriptor | so many bytes of the response are in this file; those before went out directly |
//! | `more N` | now there are so many in it |
//! | `full` | the spool has no more room: it waits for `empty`, which we say when all of the file is sent |
//! | `unread N` | so many bytes of the message-body are still to be read: we do it |
//! | `done` | that was all of it |
//!
//! How much was sent is the position of the file, which worker and loop share: when it is where the worker's bytes end,
//! the worker may cut the file off and write directly again. So we move it only behind what has gone out, and never
//! send beyond what was said: room that is reserved looks like zeros.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use crate::daemon::turn::{Progress, TURN};
use crate::sys::splice::Scratch;
use crate::sys::{Errno, is};

/// A response on its way out of a file.
#[derive(Debug)]
pub(crate) struct Outgoing {
    file: File,
    /// Where the worker's bytes end.
    tail: u64,
    /// The file's size when it was last looked at.
    size: u64,
    /// The worker waits until all is sent.
    pub(super) is_awaited: bool,
}

impl Outgoing {
    pub(super) fn new(file: OwnedFd, tail: Option<u64>) -> Outgoing {
        let mut outgoing = Outgoing {
            file: File::from(file),
            tail: 0,
            size: 0,
            is_awaited: false,
        };
        outgoing.grow(tail);
        outgoing
    }

    /// A file that is ours alone to fill.
    pub(crate) fn empty(file: File) -> Outgoing {
        Outgoing {
            file,
            tail: 0,
            size: 0,
            is_awaited: false,
        }
    }

    /// Appends to the file; returns how many bytes there was room for.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write_at(bytes, self.tail)?;
        self.tail += count as u64;
        self.size = self.size.max(self.tail);
        Ok(count)
    }

    /// There is more in the file: up to `tail`, or all of it.
    pub(super) fn grow(&mut self, tail: Option<u64>) {
        // A file that can't be asked is empty to us, and the response is cut.
        self.size = self.file.metadata().map_or(0, |metadata| metadata.len());
        self.tail = tail.unwrap_or(self.size);
    }

    /// Bytes of the spool that it takes.
    pub(crate) fn spooled(&self) -> u64 {
        self.size
    }

    /// Sends what there is room for.
    ///
    /// As long as something is left of what was said, only we move the position. As soon as nothing is, the
    /// worker may cut the file off and set it back, so it is not looked at again before the worker has said more.
    pub(crate) fn send(&mut self, output: BorrowedFd<'_>, scratch: &mut Scratch) -> Progress {
        let Ok(at) = (&self.file).stream_position() else {
            return Progress::Lost;
        };
        let mut left = self.tail.saturating_sub(at);
        let mut moved = 0;
        for _ in 0..TURN {
            if left == 0 {
                self.tail = 0;
                return Progress::Finished;
            }
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(1 << 20);
            match scratch.send_file(output, &self.file, most) {
                // The worker has cut the file off since. What it writes now it says later.
                Ok(0) => left = 0,
                Ok(count) => {
                    moved += count as u64;
                    left = left.saturating_sub(count as u64);
                }
                Err(error) if is(&error, Errno::EAGAIN) => break,
                Err(_) => return Progress::Lost,
            }
        }
        Progress::Waits(moved)
    }
}

#[cfg(test)]
mod tests;

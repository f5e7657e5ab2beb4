//! How much of one thing a turn of the loop does before the others have their turn, and how far it came.

use std::os::fd::{AsFd, OwnedFd};

use crate::sys::poll::Poll;
use crate::sys::{Errno, is, splice};

/// The most that is moved for one client before the others have their turn, in blocks of at most 1 MiB.
pub(super) const TURN: usize = 16;

/// Capacity of a pipe in bytes, unless it was made larger (pipe(7)).
pub(super) const PIPE: usize = 65_536;

/// How far a page, or the rest of a body, has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Finished,
    Lost,
    /// So many bytes were moved, and there is more to do when the descriptor is ready.
    Waits(u64),
}

/// What a pipe whose reads don't wait holds by now, and not much more; at its end it is closed.
pub(super) fn read_pipe(pipe: &mut Option<OwnedFd>, poll: &Poll) -> Vec<u8> {
    let mut bytes = Vec::new();
    let Some(out) = &*pipe else {
        return bytes;
    };
    // Small, as it is cleared each time: most often there is nothing.
    let mut block = [0; 2048];
    while bytes.len() < PIPE {
        match splice::read(out.as_fd(), &mut block) {
            Ok(count) if count > 0 => bytes.extend_from_slice(&block[..count]),
            Err(error) if is(&error, Errno::EAGAIN) => break,
            _ => {
                poll.remove(out);
                *pipe = None;
                break;
            }
        }
    }
    bytes
}

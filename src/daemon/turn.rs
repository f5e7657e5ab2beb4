//! How much a turn of the loop does for one client or pipe, and how far that came.

use std::os::fd::{AsFd, OwnedFd};

use crate::sys::poll::Poll;
use crate::sys::{Errno, is, splice};

/// Upper limit for what a turn moves for one client, in blocks of at most 1 MiB.
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

/// Reads what a non-blocking pipe holds by now, and not much more; closes it at its end.
pub(super) fn read_pipe(pipe: &mut Option<OwnedFd>, poll: &Poll) -> Vec<u8> {
    let mut bytes = Vec::new();
    let Some(out) = &*pipe else {
        return bytes;
    };
    // Small, because it is zeroed at each call, and most calls find nothing.
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

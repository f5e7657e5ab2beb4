//! What the hot path leaves to the normal front: a connection on which the whole request has been sent, and the bytes
//! that came back so far. The daemon has not answered in time, or wants us to copy, or is gone. The normal front goes
//! on from there: the request must not be sent again.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::handoff::ACK_LEN;
use crate::sys::{process, socket};

/// One connection, packed into a number, since there is no C library yet when it is left; 0 is none.
static LEFT: AtomicU64 = AtomicU64::new(0);
/// This bit of the last byte says that there is a connection.
const SOME: u8 = 0x80;

/// Leaves a connection on which the request has been sent, and the first `count` bytes of `said` have come.
#[inline(always)]
pub fn leave(connection: i32, said: [u8; ACK_LEN], count: usize) {
    let [a, b, c, d] = connection.to_le_bytes();
    let [first, second, third] = said;
    let packed = [a, b, c, d, first, second, third, count as u8 | SOME];
    LEFT.store(u64::from_le_bytes(packed), Ordering::Relaxed);
}

/// What was left.
pub(super) struct Left {
    pub(super) connection: OwnedFd,
    pub(super) said: [u8; ACK_LEN],
    pub(super) count: usize,
}

/// Takes what was left, if anything was. From now on reads of the socket block.
pub(super) fn take() -> Option<Left> {
    let (connection, said, count) = unpacked(LEFT.swap(0, Ordering::Relaxed))?;
    let connection = process::adopt(connection).ok()?;
    // This can't fail: the socket is ours and open.
    let _ = socket::set_blocking(std::os::fd::AsFd::as_fd(&connection));
    Some(Left {
        connection,
        said,
        count,
    })
}

fn unpacked(packed: u64) -> Option<(i32, [u8; ACK_LEN], usize)> {
    let [a, b, c, d, first, second, third, counted] = packed.to_le_bytes();
    let count = usize::from(counted & !SOME).min(ACK_LEN);
    let connection = i32::from_le_bytes([a, b, c, d]);
    (counted & SOME != 0).then_some((connection, [first, second, third], count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_found_once() {
        assert_eq!(unpacked(LEFT.load(Ordering::Relaxed)), None);
        for (connection, said, count) in [
            (0, [0; ACK_LEN], 0),
            (3, *b"QT\0", 2),
            (i32::MAX, *b"RRR", 3),
        ] {
            leave(connection, said, count);
            let left = LEFT.swap(0, Ordering::Relaxed);
            assert_eq!(unpacked(left), Some((connection, said, count)));
            assert_eq!(unpacked(LEFT.load(Ordering::Relaxed)), None);
        }
    }
}

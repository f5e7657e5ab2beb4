//! The request given away: the sealed block and our descriptors to the daemon, and the wait for its word. Returns where
//! the normal front is to go on; [`polycgi::handoff`] has the words, and why they come when they do.

use std::os::fd::RawFd;

use nix::libc::EINTR;
use polycgi::bounded::Bytes;
use polycgi::handoff::{self, ACK_LEN, Ack, PATIENCE};
use polycgi::naming::{self, AppId, Base};

use super::block::Block;
use super::calls;

/// The process ends here, if the daemon takes the request to its end.
#[inline(always)]
pub(super) fn hand_over(block: &mut Block, app: &AppId, uid: u32) {
    let socket = calls::socket();
    // Below that: one of our three is closed, and the normal front puts something in its place.
    if socket > 2 && reach(socket, app, uid) && send(socket, block) {
        // Whoever looks at us in /proc while we wait finds our environment as it was.
        block.unseal();
        return wait(socket);
    }
    // No number that could not be opened is one of ours.
    calls::close(socket);
}

/// Whether the app's daemon is there, and has room for one more.
#[inline(always)]
fn reach(socket: RawFd, app: &AppId, uid: u32) -> bool {
    for base in Base::ALL {
        let path = base.socket(uid, app);
        if calls::connect(socket, &path) {
            // Somebody else's is a squat, and so is a link of theirs to another app's.
            return calls::peer_uid(socket) == Some(uid)
                && calls::is_bound_to(socket, naming::of_app(path.as_slice()));
        }
    }
    false
}

/// Whether all of it went. Of a header that was cut the daemon makes nothing.
#[inline(always)]
fn send(socket: RawFd, block: &Block) -> bool {
    let parts = block.parts();
    let [before, after] = parts.around;
    let opening = handoff::opening(parts.length, before.len() + after.len());
    let mut end = Bytes::<1>::new();
    end.append(handoff::END);
    let parts = [opening.as_slice(), before, after, end.as_slice()];
    let mut size = 0;
    for part in parts {
        size += part.len();
    }
    calls::send(socket, parts) == size as isize
}

/// One receive in the usual case: it ends with the last byte.
#[inline(always)]
fn wait(socket: RawFd) {
    // While we wait, a web server that wants us gone shall not have to wait as well.
    calls::unblock_signals();
    calls::set_blocking(socket);
    let mut said = [0; ACK_LEN];
    let mut count = 0;
    if !calls::set_patience(socket, PATIENCE.as_secs()) {
        // Without it a stuck daemon would keep the request.
        return polycgi::front::leave(socket, said, count);
    }
    while let Some(rest) = said.get_mut(count..) {
        let more = calls::receive(socket, rest);
        if more > 0 {
            count += more as usize;
        }
        match Ack::read(said.get(..count).unwrap_or_default()) {
            Ack::Done => calls::exit(),
            // It answers in time; from here on it may take as long as it likes.
            Ack::Queued | Ack::Taken if more > 0 => {
                calls::set_patience(socket, 0);
            }
            _ if more == -(EINTR as isize) => {}
            // Too late, gone, or in need of us as a relay.
            _ => break,
        }
    }
    polycgi::front::leave(socket, said, count);
}

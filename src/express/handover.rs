//! Gives the request to the daemon: sends the sealed block and our descriptors, and waits for the answer. Returns if
//! the normal front is to go on. [`polycgi::handoff`] has the meaning of the answer's bytes, and their order.

use std::os::fd::RawFd;

use nix::libc::EINTR;
use polycgi::bounded::Bytes;
use polycgi::handoff::{self, ACK_LEN, Ack, PATIENCE};
use polycgi::naming::{self, AppId, Base};

use super::block::Block;
use super::calls;

/// Ends the process if the daemon has taken the request and needs us no more.
#[inline(always)]
pub(super) fn hand_over(block: &mut Block, app: &AppId, uid: u32) {
    let socket = calls::socket();
    // A lower number means that one of 0 to 2 was closed: the normal front opens something in its place.
    if socket > 2 && reach(socket, app, uid) && send(socket, block) {
        // While we wait, /proc shows our environment as it was.
        block.unseal();
        return wait(socket);
    }
    // If socket() has failed, this is no descriptor, and nothing is closed.
    calls::close(socket);
}

/// Connects to the app's daemon. `false`: it is not there, or has no room for one more.
#[inline(always)]
fn reach(socket: RawFd, app: &AppId, uid: u32) -> bool {
    for base in Base::ALL {
        let path = base.socket(uid, app);
        if calls::connect(socket, &path) {
            // A socket of another user is a squat, and so is another user's link to another app's socket.
            return calls::peer_uid(socket) == Some(uid)
                && calls::is_bound_to(socket, naming::of_app(path.as_slice()));
        }
    }
    false
}

/// Sends the request. `false`: not all of it went, and the daemon ignores a header that was cut.
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

/// In the usual case one receive, which ends with the last byte.
#[inline(always)]
fn wait(socket: RawFd) {
    // So that the web server can end us with a signal while we wait.
    calls::unblock_signals();
    calls::set_blocking(socket);
    let mut said = [0; ACK_LEN];
    let mut count = 0;
    if !calls::set_patience(socket, PATIENCE.as_secs()) {
        // Without a time limit a stuck daemon would keep the request.
        return polycgi::front::leave(socket, said, count);
    }
    while let Some(rest) = said.get_mut(count..) {
        let more = calls::receive(socket, rest);
        if more > 0 {
            count += more as usize;
        }
        match Ack::read(said.get(..count).unwrap_or_default()) {
            Ack::Done => calls::exit(),
            // It has answered in time; from here on there is no time limit.
            Ack::Queued | Ack::Taken if more > 0 => {
                calls::set_patience(socket, 0);
            }
            _ if more == -(EINTR as isize) => {}
            // The daemon is too late or gone, or wants us to copy.
            _ => break,
        }
    }
    polycgi::front::leave(socket, said, count);
}

//! Gives the request to a daemon: sends the SCGI header with our own descriptors 0, 1 and 2 beside it, then waits once.
//! The daemon answers with bytes; [`crate::handoff`] has their meaning and order. Knows nothing of how a daemon is
//! found.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::NAME;
use crate::answer::{answer, drain, most_of_body};
use crate::cgi::request::Request;
use crate::handoff::{self, ACK_LEN, Ack};
use crate::page::Failure;
use crate::relay::{self, Broken, Relayed, TimeLimits};
use crate::report::say;
use crate::sys::poll::{self, Interest};
use crate::sys::{Errno, fdpass, is, load, process, socket, splice};

/// What became of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forwarded {
    /// The daemon has not touched it: it can be served another way.
    NotTaken,
    /// It is answered, or another process answers it: we add nothing.
    Served,
    /// The daemon has not touched it, and did not answer in time: another attempt there would wait as long.
    Silent,
}

/// What a daemon has answered, once there is nothing more to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// It wants us to copy.
    Relay,
    /// It wanted us to copy, but we had taken the request back: no process can serve it any more.
    RelayLost,
    /// There is nothing to copy.
    Settled(Forwarded),
}

/// Hands the request over, and waits until the answer is complete or needs us no more.
pub(super) fn forward(connection: &OwnedFd, request: &Request<'_>) -> Forwarded {
    let mut room = ROOM.lock().unwrap_or_else(PoisonError::into_inner);
    let mut larger = Vec::new();
    match send(connection, message(request, &mut room[..], &mut larger)) {
        Ok(()) => act(listen(connection), connection, request),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Forwarded::Silent,
        Err(_) => Forwarded::NotTaken,
    }
}

/// Room for a header up to the usual limit. A part of it that is not used takes no memory.
static ROOM: Mutex<[u8; 64 << 10]> = Mutex::new([0; 64 << 10]);

/// The header, put together in `room`, or in `larger` if the room is too small. In one piece: the kernel takes longer
/// to gather it from 150 places.
fn message<'a>(request: &Request<'_>, room: &'a mut [u8], larger: &'a mut Vec<u8>) -> &'a [u8] {
    let length = request.value("CONTENT_LENGTH").unwrap_or_default();
    // A number of 64 bits: only zeros are cut off.
    let length = &length[length.len().saturating_sub(handoff::LONGEST_LENGTH)..];
    // The opening has these names, and the environment may have them too: they must not come twice.
    let first = |name: &[u8]| {
        matches!(name, b"CONTENT_LENGTH" | b"SCGI") || name == handoff::VARIABLE.as_bytes()
    };
    let pairs = || request.meta().iter().filter(|(name, _)| !first(name));
    let rest = pairs().map(|(name, value)| name.len() + value.len() + 2);
    let rest = rest.sum();
    let opening = handoff::opening(length, rest);
    let opening = opening.as_slice();
    let size = opening.len() + rest + handoff::END.len();
    let message = match room.get_mut(..size) {
        Some(message) => message,
        None => {
            larger.resize(size, 0);
            larger
        }
    };
    let mut left = &mut *message;
    let mut put = |part: &[u8]| {
        let (place, behind) = std::mem::take(&mut left).split_at_mut(part.len());
        place.copy_from_slice(part);
        left = behind;
    };
    put(opening);
    for (name, value) in pairs() {
        for part in [name, &b"\0"[..], value, &b"\0"[..]] {
            put(part);
        }
    }
    put(handoff::END);
    message
}

/// Does what this process still has to do for the request.
pub(super) fn act(reply: Reply, connection: &OwnedFd, request: &Request<'_>) -> Forwarded {
    match reply {
        Reply::Relay => {
            process::prepare();
            relay_over(connection, request)
        }
        Reply::RelayLost => {
            process::prepare();
            answer(Failure::BadGateway, Some(request), None, None);
            Forwarded::Served
        }
        Reply::Settled(outcome) => outcome,
    }
}

/// The descriptors go with the first byte. A header larger than the socket's buffer goes in pieces.
fn send(connection: &OwnedFd, message: &[u8]) -> io::Result<()> {
    let fds = process::standard();
    let socket = connection.as_fd();
    let mut sent = match fdpass::send(socket, message, &fds) {
        // Too many descriptors in flight for our soft limit: tried again with the hard one.
        Err(error) if is(&error, Errno::ETOOMANYREFS) => {
            load::with_most_descriptors(|| fdpass::send(socket, message, &fds))?
        }
        other => other?,
    };
    while sent < message.len() {
        if !poll::wait_one(socket, Interest::Write, handoff::PATIENCE)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match socket::send_now(socket, &message[sent..]) {
            Err(error) if is(&error, Errno::EAGAIN) => {}
            // The daemon has read enough to refuse the rest: its answer is on its way.
            Err(_) => break,
            Ok(count) => sent += count,
        }
    }
    Ok(())
}

/// In the usual case one receive: it ends with the last byte, or by its time-out with the bytes that came until then.
fn listen(connection: &OwnedFd) -> Reply {
    let socket = connection.as_fd();
    if socket::set_receive_timeout(socket, handoff::PATIENCE).is_err() {
        // The request is sent, and may be taken: nothing else may serve it before we know.
        let _ = poll::wait_one(socket, Interest::Read, handoff::PATIENCE);
        return go_on(connection, [0; ACK_LEN], 0);
    }
    let mut said = [0; ACK_LEN];
    let count = receive(connection, &mut said).unwrap_or_default();
    go_on(connection, said, count)
}

/// Goes on after a first receive that brought the first `count` bytes of `said`.
pub(super) fn go_on(connection: &OwnedFd, mut said: [u8; ACK_LEN], mut count: usize) -> Reply {
    let socket = connection.as_fd();
    if Ack::read(&said[..count]) == Ack::Nothing {
        // Is the daemon gone, or only silent?
        match receive_now(connection, &mut said[count..]) {
            Ok(more) if more > 0 => return go_on(connection, said, count + more),
            Err(error) if is(&error, Errno::EAGAIN) => {}
            _ => return Reply::Settled(Forwarded::NotTaken),
        }
        // The daemon is stopped or stuck: take the request back. What it writes after this fails, so it knows; what it
        // wrote before, we read now. Where the host refuses the shutdown, our close does the same, a moment later.
        let _ = socket::shut_reading(socket);
        count += receive_now(connection, &mut said[count..]).unwrap_or(0);
        return match Ack::read(&said[..count]) {
            Ack::Taken | Ack::Done => Reply::Settled(Forwarded::Served),
            // The app may have begun: no other process may serve the request.
            Ack::Relay => Reply::RelayLost,
            _ => Reply::Settled(Forwarded::Silent),
        };
    }
    let mut in_time = false;
    loop {
        match Ack::read(&said[..count]) {
            Ack::Done => return Reply::Settled(Forwarded::Served),
            Ack::Relay => return Reply::Relay,
            _ => {}
        }
        if !in_time {
            // It has answered in time; from here on there is no time limit.
            let _ = socket::set_receive_timeout(socket, Duration::ZERO);
            in_time = true;
        }
        match receive(connection, &mut said[count..]) {
            Ok(more) if more > 0 => count += more,
            // The daemon is gone. If the request was taken, the process that has it answers; if not, it is ours again.
            _ if Ack::read(&said[..count]) == Ack::Taken => {
                return Reply::Settled(Forwarded::Served);
            }
            _ => return Reply::Settled(Forwarded::NotTaken),
        }
    }
}

fn receive(connection: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match socket::receive_all(connection.as_fd(), buffer) {
            Err(error) if is(&error, Errno::EINTR) => {}
            Err(error) if is_refusal(&error) => return splice::read(connection.as_fd(), buffer),
            other => return other,
        }
    }
}

/// The same without waiting: what has come.
fn receive_now(connection: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    let socket = connection.as_fd();
    match socket::receive_now(socket, buffer) {
        Err(error) if is_refusal(&error) && poll::is_ready(socket, Interest::Read) => {
            splice::read(socket, buffer)
        }
        Err(error) if is_refusal(&error) => Err(Errno::EAGAIN.into()),
        other => other,
    }
}

/// The host refuses the call, which tells nothing of the daemon; another call does the same.
fn is_refusal(error: &io::Error) -> bool {
    ![Errno::EAGAIN, Errno::ECONNRESET]
        .iter()
        .any(|&errno| is(error, errno))
}

/// The daemon can't use our descriptors: this process copies.
fn relay_over(connection: &OwnedFd, request: &Request<'_>) -> Forwarded {
    let [input, client, _] = process::standard();
    let body = relay::BodySource {
        input,
        length: most_of_body(request),
        may_exceed: request.may_exceed_its_length(),
    };
    let relayed = relay::relay(connection.as_fd(), body, client, TimeLimits::default());
    match relayed {
        // Not sent again: without descriptors the daemon does not say whether the app has begun.
        Ok(relayed) if relayed.response == 0 && relayed.complete => {
            answer(Failure::BadGateway, Some(request), None, None);
        }
        // The answer did not wait for the body: some web servers lose it if the rest is not read.
        Ok(relayed) if relayed.complete => drain_behind(body, relayed),
        // There is nobody to have a response.
        Ok(_) => {}
        Err(Broken { error, response }) => {
            say(NAME, format_args!("cannot relay to the daemon: {error}"));
            if response == 0 {
                answer(Failure::BadGateway, Some(request), None, None);
            }
        }
    }
    Forwarded::Served
}

/// Reads and discards the rest of a body, and what may come behind it, within limits.
pub(super) fn drain_behind(body: relay::BodySource<'_>, relayed: Relayed) {
    let left = match body.may_exceed {
        true => u64::MAX,
        false => body.length - relayed.body,
    };
    drain(body.input, left);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgi::meta::Peer;
    use crate::scgi;

    #[test]
    fn a_message_is_a_header() {
        let zeros = format!("{}5", "0".repeat(30));
        let large = "x".repeat(100);
        for (length, cookie) in [("", "a=b"), ("5", "a=b"), (&zeros, ""), ("007", &large)] {
            let pairs = [
                ("SCGI", "1"),
                ("HTTP_COOKIE", cookie),
                ("CONTENT_LENGTH", length),
                ("HTTP_PROXY", "x"),
                ("POLYCGI", "2"),
                ("POLYCGI_CONTROL", "stop"),
                ("PATH_INFO", ""),
            ];
            let pairs = pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let request = Request::from_meta(pairs, Peer::Own).unwrap();
            let (mut room, mut larger) = ([0; 150], Vec::new());
            let message = message(&request, &mut room, &mut larger);
            let mut expected = Vec::new();
            let length = &length[length.len().saturating_sub(20)..];
            let rest = [pairs[1], pairs[6]];
            let protocol = (handoff::VARIABLE.as_bytes(), handoff::PROTOCOL.as_bytes());
            let rest = [protocol].into_iter().chain(rest);
            scgi::message(length.as_bytes(), rest, &mut expected);
            assert_eq!(message, expected);
            assert_eq!(larger.is_empty(), cookie != large);
        }
    }
}

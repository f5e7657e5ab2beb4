//! A request to an SCGI server that is not ours, when there is no daemon: this process copies between the web server
//! and that server. Knows nothing of limits on the server's load: those are the daemon's.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::NAME;
use super::handoff::drain_behind;
use crate::app::scgi;
use crate::cgi::request::Request;
use crate::config::{Address, Timeouts};
use crate::page::Failure;
use crate::relay::{self, Broken, Late, Relayed, TimeLimits};
use crate::report::say;
use crate::sys::poll::{self, Interest};
use crate::sys::{Errno, clock, is, socket};

/// How long a server may take to read a block of the header.
const PATIENCE: Duration = Duration::from_secs(10);
/// Retry-After, in seconds, when the server can't be reached.
const RETRY_AFTER: u32 = 2;

/// Sends the request to the server and passes its answer on. An error says what the client is to get, and why.
pub(super) fn relay(
    address: &Address,
    timeouts: Timeouts,
    request: &Request<'_>,
) -> Result<(), (Failure, String)> {
    let began = clock::now();
    let unreached = |reason: String| {
        let retry_after = RETRY_AFTER;
        (Failure::Away { retry_after }, reason)
    };
    let peer = scgi::resolve(address).map_err(|cannot| unreached(cannot.to_string()))?;
    let server = scgi::connect(&peer)
        .map_err(|error| unreached(format!("cannot connect to {address}: {error}")))?;
    let length = request.content_length();
    let header = scgi::header(request.meta().iter().copied(), length);
    let cut = |error: io::Error| {
        let has_ended = is(&error, Errno::EPIPE) || is(&error, Errno::ECONNRESET);
        let sentence = match has_ended {
            true => format!("{address} has ended the connection: {error}"),
            false => format!("cannot send to {address}: {error}"),
        };
        (Failure::BadGateway, sentence)
    };
    send(&server, &header).map_err(cut)?;
    let (stdin, stdout) = (io::stdin(), io::stdout());
    let length = length.unwrap_or(0);
    let (input, client) = (stdin.as_fd(), stdout.as_fd());
    let body = relay::BodySource {
        input,
        length,
        may_exceed: request.may_exceed_its_length(),
    };
    let limits = TimeLimits {
        still: Some(timeouts.request),
        all: timeouts
            .request_limit
            .map(|limit| limit.saturating_sub(clock::now() - began)),
    };
    let relayed = relay::relay(server.as_fd(), body, client, limits);
    finish(relayed, body, address)
}

/// Does what is left to do after the relay, or says what the client is to get, and why.
fn finish(
    relayed: Result<Relayed, Broken>,
    body: relay::BodySource<'_>,
    address: &Address,
) -> Result<(), (Failure, String)> {
    match relayed {
        Ok(Relayed {
            response,
            late: Some(late),
            ..
        }) => {
            let (failure, sentence) = late_words(late, address);
            if response == 0 {
                return Err((failure, sentence));
            }
            // The client has a part of the response: nothing is added.
            say(NAME, sentence);
        }
        Ok(relayed) if relayed.complete && relayed.response == 0 => {
            let sentence = format!("{address} has ended the connection without an answer");
            return Err((Failure::BadGateway, sentence));
        }
        // The answer did not wait for the body: some web servers lose it if the rest is not read.
        Ok(relayed) if relayed.complete => drain_behind(body, relayed),
        // The client is gone.
        Ok(_) => {}
        Err(Broken { error, response }) => {
            let sentence = format!("cannot relay to {address}: {error}");
            if response == 0 {
                return Err((Failure::BadGateway, sentence));
            }
            // The client has a part of the response: nothing is added.
            say(NAME, sentence);
        }
    }
    Ok(())
}

/// What the client gets, and what the operator reads.
fn late_words(late: Late, address: &Address) -> (Failure, String) {
    let no_answer = |key: &str| {
        let sentence = format!("{key}: {address} did not answer in time");
        (Failure::TimedOut, sentence)
    };
    match late {
        Late::All => no_answer("request-limit"),
        Late::Body => {
            let sentence = "the message-body did not come in time";
            (Failure::RequestTimeout, sentence.to_owned())
        }
        Late::Still => no_answer("request-timeout"),
    }
}

fn send(server: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match socket::send_now(server.as_fd(), bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if is(&error, Errno::EAGAIN) => {
                if !poll::wait_one(server.as_fd(), Interest::Write, PATIENCE)? {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

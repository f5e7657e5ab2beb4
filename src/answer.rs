//! How a program that is itself the CGI gives an answer of ours: writes it whole, then reads what the client still
//! sends, since some web servers lose the response otherwise.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::cgi::meta::Peer;
use crate::cgi::request::Request;
use crate::page::{Answer, Failure, Form};
use crate::report::{Exit, say};
use crate::sys::splice::{self, Scratch};
use crate::sys::{clock, environ, poll};

/// The most of a message-body that is read only to be thrown away, in bytes and in time.
pub const DRAIN_BYTES: u64 = 64 << 20;
/// See [`DRAIN_BYTES`].
pub const DRAIN_TIME: Duration = Duration::from_secs(10);

/// The request that this process was started for; one that makes no sense is answered here.
pub fn request(applet: &str) -> Result<Request<'static>, Exit> {
    Request::from_meta(environ::pairs(), Peer::Own).map_err(|bad| {
        say(applet, format_args!("cannot take the request: {bad}"));
        answer(Failure::BadRequest, None, None, None);
        Exit::Ok
    })
}

/// Answers with one of our pages on standard output; `reason` only where the client may see it.
pub fn answer(
    failure: Failure,
    request: Option<&Request<'_>>,
    reason: Option<&str>,
    html: Option<&str>,
) {
    let form = request.map_or(Form::Text, |r| Form::from_accept(r.accept()));
    let head_only = request.is_some_and(Request::is_head);
    let page = Answer {
        failure,
        form,
        head_only,
        refreshes: request.is_some_and(|request| request.method() == b"GET"),
        reason,
        html,
    };
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    if splice::write_all(stdout.as_fd(), &page.to_cgi_response()).is_ok() {
        let length = request.and_then(Request::content_length).unwrap_or(0);
        drain(stdin.as_fd(), length);
    }
}

/// Comes before an answer where the script's name tells the web server that all of the HTTP response is the script's
/// (RFC 3875 5); without it a client would read the answer as HTTP/0.9.
pub fn write_status_line(failure: Failure) {
    let line = format!("HTTP/1.1 {} \r\n", failure.status());
    // If this fails, so does the answer, and the client is gone.
    let _ = splice::write_all(std::io::stdout().as_fd(), line.as_bytes());
}

/// Reads and throws away at most `length` bytes, within limits.
pub fn drain(fd: BorrowedFd<'_>, length: u64) {
    let Ok(mut scratch) = Scratch::new() else {
        return;
    };
    let mut left = length.min(DRAIN_BYTES);
    let deadline = clock::now() + DRAIN_TIME;
    while left > 0 {
        let patience = deadline.saturating_sub(clock::now());
        if !poll::wait_one(fd, poll::Interest::Read, patience).unwrap_or(false) {
            break;
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(1 << 20);
        match scratch.discard_now(fd, most) {
            Ok(0) | Err(_) => break,
            Ok(count) => left -= count as u64,
        }
    }
}

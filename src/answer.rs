//! How a program that is itself the CGI answers with a page of ours: it writes the whole page, then reads the rest of
//! the message-body, since some web servers lose the response otherwise.

use std::borrow::Cow;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::cgi::Extent;
use crate::cgi::meta::Peer;
use crate::cgi::request::{BadRequest, Request};
use crate::cgi::{repeated, unique};
use crate::page::{Answer, Cookies, Failure, OwnPage, Visitor};
use crate::report::{Exit, say, visible};
use crate::sys::splice::{self, Scratch};
use crate::sys::{clock, environ, poll, process};

/// The most of a message-body that is read only to be discarded, in bytes and in time.
pub const DRAIN_BYTES: u64 = 64 << 20;
/// See [`DRAIN_BYTES`].
pub const DRAIN_TIME: Duration = Duration::from_secs(10);

/// The request that this process was started for; a bad one is answered here. For others nothing is allocated, unless
/// they have more meta-variables than usual.
pub fn request(applet: &str) -> Result<Request<'static>, Exit> {
    let pairs = repeated::settled(environ::pairs());
    // A value joined from several lives as long as the environment: until we exit.
    let pairs = pairs.map(|(name, value)| match value {
        Cow::Borrowed(value) => (name, value),
        Cow::Owned(value) => (name, &*value.leak()),
    });
    Request::from_meta(pairs, Peer::Own).map_err(|bad| {
        process::prepare();
        let pairs = || repeated::settled(environ::pairs());
        let name = match bad {
            BadRequest::Duplicate => unique::in_conflict(pairs()).map(visible),
            _ => None,
        };
        let name = name.map_or(String::new(), |name| format!(": {name}"));
        say(applet, format_args!("cannot take the request: {bad}{name}"));
        answer(Failure::BadRequest, None, None, None);
        Exit::Ok
    })
}

/// Answers with one of our pages on standard output; `reason` only where the client may see it.
pub fn answer(
    failure: Failure,
    request: Option<&Request<'_>>,
    reason: Option<&str>,
    own_page: Option<&OwnPage>,
) {
    answer_with(failure, request, reason, own_page, Cookies::Unread);
}

/// The same, with what it has to do with cookies.
pub fn answer_with(
    failure: Failure,
    request: Option<&Request<'_>>,
    reason: Option<&str>,
    own_page: Option<&OwnPage>,
    cookies: Cookies<'_>,
) {
    let page = Answer {
        reason,
        own_page,
        cookies,
        ..plain(failure, visitor(request))
    };
    write(&page.to_cgi_response(), request);
}

/// Writes a response of ours on standard output, then reads what is left of the request.
pub fn write(page: &[u8], request: Option<&Request<'_>>) {
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    if splice::write_all(stdout.as_fd(), page).is_ok() {
        drain(
            stdin.as_fd(),
            request.map_or_else(said_length, most_of_input),
        );
    }
}

/// The outlines of such pages, for a program that this process becomes.
pub fn outlines<const COUNT: usize>(
    failures: [Failure; COUNT],
    request: &Request<'_>,
) -> [Vec<u8>; COUNT] {
    let visitor = Visitor::of(request);
    failures.map(|failure| plain(failure, visitor).outline())
}

fn visitor(request: Option<&Request<'_>>) -> Visitor {
    request.map_or_else(Visitor::unknown, Visitor::of)
}

fn plain(failure: Failure, visitor: Visitor) -> Answer<'static> {
    Answer {
        failure,
        visitor,
        reason: None,
        own_page: None,
        cookies: Cookies::Unread,
    }
}

/// The length of a bad request's message-body, if CONTENT_LENGTH is a number.
fn said_length() -> u64 {
    let digits = environ::value("CONTENT_LENGTH").unwrap_or_default();
    let is_number = digits.iter().all(u8::is_ascii_digit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_number);
    digits.map_or(0, |digits| digits.parse().unwrap_or(0))
}

/// The most bytes that may come on standard input, the message-body and what may follow it. No limit for a body without
/// a length.
pub fn most_of_input(request: &Request<'_>) -> u64 {
    match request.may_exceed_its_length() {
        true => u64::MAX,
        false => most_of_body(request),
    }
}

/// The most bytes that a request's message-body may have: no limit for one without a length.
pub fn most_of_body(request: &Request<'_>) -> u64 {
    match request.extent() {
        Extent::Length(length) => length,
        Extent::None => 0,
        Extent::ToEnd => u64::MAX,
    }
}

/// The HTTP status line, for a script whose name says that it writes the whole HTTP response (`nph-`, RFC 3875 5).
/// Without it a client would read the answer as HTTP/0.9.
pub fn write_status_line(failure: Failure) {
    let line = format!("HTTP/1.1 {} \r\n", failure.status());
    // If this fails, so does the answer, and the client is gone.
    let _ = splice::write_all(std::io::stdout().as_fd(), line.as_bytes());
}

/// Reads and discards at most `length` bytes, within [`DRAIN_BYTES`] and [`DRAIN_TIME`].
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

//! The header of a FastCGI request: read record by record, and what it becomes here. Knows records and pipes; the rest of
//! the connection is moved by the room of FastCGI connections.
//!
//! # Theory of operation
//! A request by FastCGI is served as one whose front has left: input, output and errors are pipes, and their other ends
//! are the connection's. So nothing behind this file knows that there are records. A body that came with the header, as
//! a whole, needs no pipe: it is read ahead.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::taken::Passed;
use crate::daemon::framed::Begun;
use crate::fastcgi::response::{self, NotServed};
use crate::fastcgi::{BadRecord, Incoming, RequestReader};
use crate::sys::{files, socket, splice};

/// The first byte of every record: the version. A netstring begins with a digit.
const VERSION: u8 = 1;

/// The bytes are the beginning of records.
pub(super) fn begin_records(bytes: &[u8]) -> bool {
    bytes.first() == Some(&VERSION)
}

/// A request whose header has come, or is too large.
#[derive(Debug)]
pub(super) struct OpenRequest {
    reader: Box<RequestReader>,
    id: u16,
    keeps: bool,
    /// What came behind it.
    rest: Vec<u8>,
}

/// What came of bytes.
#[derive(Debug)]
pub(super) enum HeaderProgress {
    /// Names and values.
    Header(OpenRequest, Vec<u8>),
    Partial(Box<RequestReader>),
    /// Its header is too large. Its page can be sent.
    TooLarge(OpenRequest),
}

/// Takes what comes before a header is whole; what belongs to no request is answered.
pub(super) fn hear(
    mut reader: Box<RequestReader>,
    mut bytes: &[u8],
    connection: BorrowedFd<'_>,
) -> io::Result<Result<HeaderProgress, BadRecord>> {
    loop {
        let reply = match reader.next(&mut bytes) {
            Ok(Some(Incoming::Header { id, keeps, params })) => {
                let rest = bytes.to_vec();
                let opened = OpenRequest {
                    reader,
                    id,
                    keeps,
                    rest,
                };
                return Ok(Ok(HeaderProgress::Header(opened, params)));
            }
            Ok(Some(Incoming::Reply(reply))) => reply,
            Ok(Some(Incoming::Abort)) => {
                let mut reply = Vec::new();
                response::end(reader.id().unwrap_or_default(), 0, &mut reply);
                reader.finish();
                reply
            }
            Ok(Some(Incoming::Body(_) | Incoming::BodyEnd)) => continue,
            Ok(None) => return Ok(Ok(HeaderProgress::Partial(reader))),
            Err(BadRecord::TooLarge) => {
                let (id, rest) = (reader.id().unwrap_or_default(), bytes.to_vec());
                // What still comes of it is skipped.
                reader.finish();
                let opened = OpenRequest {
                    reader,
                    id,
                    keeps: false,
                    rest,
                };
                return Ok(Ok(HeaderProgress::TooLarge(opened)));
            }
            Err(bad) => return Ok(Err(bad)),
        };
        // A few bytes: a web server that has no room for them reads nothing.
        if socket::send_now(connection, &reply)? < reply.len() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
    }
}

/// A request with its descriptors.
#[derive(Debug)]
pub(super) struct Piped {
    pub(super) passed: Passed,
    pub(super) begun: Begun,
    /// The whole message-body, if it came with the header.
    pub(super) body: Option<Vec<u8>>,
    /// Nothing of the body has come.
    pub(super) is_empty: bool,
}

/// Makes the pipes of a request. `length`: what its header says of the body.
///
/// # Errors
/// The host has no descriptors; the web server was told.
pub(super) fn pipe(
    opened: OpenRequest,
    length: Option<u64>,
    connection: BorrowedFd<'_>,
) -> io::Result<Piped> {
    let OpenRequest {
        mut reader,
        id,
        keeps,
        rest,
    } = opened;
    let mut rest = &rest[..];
    let (mut body, mut replies) = (Vec::new(), Vec::new());
    let (mut is_whole, mut is_aborted, mut is_broken) = (false, false, false);
    while !is_broken {
        match reader.next(&mut rest) {
            Ok(Some(Incoming::Body(bytes))) => body.extend_from_slice(bytes),
            Ok(Some(Incoming::BodyEnd)) => is_whole = true,
            Ok(Some(Incoming::Reply(reply))) => replies.extend_from_slice(&reply),
            Ok(Some(Incoming::Abort)) => is_aborted = true,
            Ok(Some(Incoming::Header { .. })) | Err(_) => is_broken = true,
            Ok(None) => break,
        }
    }
    let is_empty = body.is_empty();
    let has_all = is_whole && length.is_none_or(|length| body.len() as u64 >= length);
    let pipes = make_pipes(has_all).inspect_err(|_| {
        let mut refusal = Vec::new();
        response::refuse(id, NotServed::Overloaded, &mut refusal);
        let _ = socket::send_now(connection, &refusal);
    })?;
    let ahead = has_all.then(|| std::mem::take(&mut body));
    if let Some(input) = &pipes.to_input {
        // As much as it holds: a small body is there for any who looks.
        let written = splice::write(input.as_fd(), &body).unwrap_or(0);
        body.drain(..written);
    }
    let is_over = is_whole && body.is_empty();
    Ok(Piped {
        passed: pipes.passed,
        begun: Begun {
            reader,
            id,
            keeps,
            body,
            is_whole,
            is_aborted,
            is_broken,
            replies,
            input: pipes.to_input.filter(|_| !is_over),
            output: pipes.from_output,
            errors: pipes.from_errors,
        },
        body: ahead,
        is_empty,
    })
}

/// The descriptors of a request, and our ends of them, which do not wait.
struct Pipes {
    passed: Passed,
    to_input: Option<OwnedFd>,
    from_output: OwnedFd,
    from_errors: OwnedFd,
}

/// `has_input`: all that it reads was read.
fn make_pipes(has_input: bool) -> io::Result<Pipes> {
    let (input, to_input) = match has_input {
        true => (files::null()?, None),
        false => files::pipe().map(|(theirs, ours)| (theirs, Some(ours)))?,
    };
    let (from_output, output) = files::pipe()?;
    let (from_errors, errors) = files::pipe()?;
    for ours in [Some(&from_output), Some(&from_errors), to_input.as_ref()] {
        ours.map_or(Ok(()), |ours| socket::set_nonblocking(ours.as_fd()))?;
    }
    Ok(Pipes {
        passed: Passed {
            input,
            output,
            errors,
        },
        to_input,
        from_output,
        from_errors,
    })
}

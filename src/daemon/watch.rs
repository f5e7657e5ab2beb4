//! Which descriptors of a client the loop waits for, and for what. Knows which of them are one and the same.
//!
//! # Theory of operation
//! epoll takes a descriptor once. A plain SCGI client has only its connection, which is input and output as well: what
//! is wanted of the three is waited for together, under the connection's token. The descriptors that a front passed
//! are each their own, even where they lead to one socket (mod_cgid) or one pipe (thttpd), since epoll tells
//! descriptors apart and not only what they lead to. A descriptor that epoll refuses (EPERM: a file, /dev/null) is
//! always ready, so its user is never told to wait, and need not be woken.

use std::io;
use std::os::fd::BorrowedFd;

use super::token::Token;
use crate::policy::queue::Number;
use crate::sys::poll::{Interest, Poll};
use crate::sys::{Errno, is};

/// One of a client's descriptors, by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Connection,
    Errors,
    Input,
    Output,
}

impl Stream {
    pub(super) const ALL: [Stream; 4] = [
        Stream::Connection,
        Stream::Errors,
        Stream::Input,
        Stream::Output,
    ];

    fn token(self, number: Number) -> Token {
        match self {
            Stream::Connection => Token::Connection(number),
            Stream::Errors => Token::Errors(number),
            Stream::Input => Token::Input(number),
            Stream::Output => Token::Output(number),
        }
    }
}

/// A stream's descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Endpoint<'a> {
    pub(super) stream: Stream,
    /// Of a plain client's input and output: its connection.
    pub(super) fd: BorrowedFd<'a>,
    /// Its client is a plain one.
    pub(super) is_plain: bool,
}

/// What is wanted of each stream, and what epoll knows.
#[derive(Debug, Default)]
pub(super) struct Watches {
    wanted: [Option<Interest>; 4],
    known: [Option<Interest>; 4],
}

impl Watches {
    /// From now on the loop waits for something else on this stream, or for nothing.
    pub(super) fn set(
        &mut self,
        poll: &Poll,
        number: Number,
        endpoint: Endpoint<'_>,
        interest: Option<Interest>,
    ) -> io::Result<()> {
        let Endpoint {
            stream,
            fd,
            is_plain,
        } = endpoint;
        self.wanted[stream as usize] = interest;
        let is_shared = is_plain && stream != Stream::Errors;
        let place = match is_shared {
            true => Stream::Connection,
            false => stream,
        };
        let wanted = if is_shared {
            [Stream::Connection, Stream::Input, Stream::Output]
                .into_iter()
                .filter_map(|stream| self.wanted[stream as usize])
                .reduce(join)
        } else {
            interest
        };
        let known = std::mem::replace(&mut self.known[place as usize], wanted);
        let token = place.token(number).into();
        let done = match (known, wanted) {
            (known, wanted) if known == wanted => Ok(()),
            (None, Some(interest)) => poll.add(fd, token, interest),
            (Some(_), Some(interest)) => poll.change(fd, token, interest),
            (_, None) => {
                poll.remove(fd);
                Ok(())
            }
        };
        if done.is_err() {
            self.known[place as usize] = None;
        }
        done.or_else(|error| {
            if is(&error, Errno::EPERM) {
                Ok(())
            } else {
                Err(error)
            }
        })
    }

    /// epoll has this stream's descriptor.
    pub(super) fn knows(&self, stream: Stream) -> bool {
        self.known[stream as usize].is_some()
    }

    /// The descriptor was closed, so epoll has it no longer.
    pub(super) fn forget(&mut self, stream: Stream) {
        self.wanted[stream as usize] = None;
        self.known[stream as usize] = None;
    }
}

/// What a plain client's connection is watched for. epoll always reports its end, so `Read` and `Write` cover that.
fn join(one: Interest, other: Interest) -> Interest {
    match (one, other) {
        (Interest::HangUp | Interest::Gone, other) => other,
        (one, Interest::HangUp | Interest::Gone) => one,
        (one, other) if one == other => one,
        _ => Interest::Both,
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    fn ready(poll: &Poll) -> Vec<(Token, bool, bool)> {
        let mut ready = Vec::new();
        poll.wait(&mut ready, Some(Duration::ZERO)).unwrap();
        let seen = ready.iter();
        seen.map(|r| (Token::from(r.token), r.readable, r.writable))
            .collect()
    }

    #[test]
    fn a_plain_connection_is_input_and_output() {
        let poll = Poll::new().unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        let mut watches = Watches::default();
        let mut set = |stream, interest| {
            let (fd, is_plain) = (near.as_fd(), true);
            let endpoint = Endpoint {
                stream,
                fd,
                is_plain,
            };
            watches.set(&poll, 7, endpoint, interest).unwrap();
            ready(&poll)
        };
        assert_eq!(set(Stream::Connection, Some(Interest::HangUp)), []);
        assert_eq!(set(Stream::Input, Some(Interest::Read)), []);
        let both = set(Stream::Output, Some(Interest::Write));
        assert_eq!(both, [(Token::Connection(7), false, true)]);
        io::Write::write_all(&mut &far, b"x").unwrap();
        assert_eq!(
            set(Stream::Output, None),
            [(Token::Connection(7), true, false)]
        );
        assert_eq!(set(Stream::Input, None), []);
        assert_eq!(set(Stream::Connection, None), []);
    }

    #[test]
    fn one_socket_may_be_passed_twice_and_a_file_is_always_ready() {
        let poll = Poll::new().unwrap();
        let (near, _far) = UnixStream::pair().unwrap();
        let other = near.try_clone().unwrap();
        let mut watches = Watches::default();
        let mut set = |stream, interest, fd: BorrowedFd<'_>| {
            let endpoint = Endpoint {
                stream,
                fd,
                is_plain: false,
            };
            watches.set(&poll, 1, endpoint, interest).unwrap();
            ready(&poll).len()
        };
        assert_eq!(set(Stream::Input, Some(Interest::Read), near.as_fd()), 0);
        assert_eq!(set(Stream::Output, Some(Interest::Write), other.as_fd()), 1);
        let file = tempfile::tempfile().unwrap();
        assert_eq!(set(Stream::Errors, Some(Interest::Write), file.as_fd()), 1);
        assert_eq!(set(Stream::Errors, None, file.as_fd()), 1);
        assert_eq!(set(Stream::Output, None, other.as_fd()), 0);
    }
}

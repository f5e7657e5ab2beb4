//! The two-way pump: a message-body one way, a response the other, both at once. Never reads the whole body first, so
//! an early answer gets through, and neither side can make the other wait for ever.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::sys::poll::{self, Interest};
use crate::sys::splice::Scratch;
use crate::sys::{Errno, clock, is, socket};

const BLOCK: usize = 65_536;

/// How far it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// Bytes of the message-body that were read from the client.
    pub body: u64,
    /// Bytes of the response that the client got.
    pub response: u64,
    /// The server closed the connection after that; if not, the client is gone, or it has taken too long.
    pub complete: bool,
    /// It has taken too long.
    pub late: Option<Late>,
}

/// What has taken too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// All of it.
    All,
    /// The client, which has sent nothing of what is still to come.
    Body,
    /// Nothing has moved.
    Still,
}

/// How long it may take.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeLimits {
    /// Without a block that moves.
    pub still: Option<Duration>,
    /// In all, from now on.
    pub all: Option<Duration>,
}

/// The message-body of a request.
#[derive(Clone, Copy, Debug)]
pub struct BodySource<'a> {
    /// Where it comes from.
    pub input: BorrowedFd<'a>,
    /// In bytes. The largest number: as far as it goes.
    pub length: u64,
    /// What comes behind that is read and thrown away: its sender may read nothing before.
    pub may_exceed: bool,
}

/// One direction: at most one block that was read and not yet written.
struct Direction {
    block: Vec<u8>,
    written: usize,
    ended: bool,
}

impl Direction {
    fn new() -> Direction {
        Direction {
            block: Vec::new(),
            written: 0,
            ended: false,
        }
    }

    fn pending(&self) -> &[u8] {
        &self.block[self.written..]
    }

    fn wrote(&mut self, count: usize) {
        self.written += count;
    }

    fn is_empty(&self) -> bool {
        self.written == self.block.len()
    }
}

/// Pumps the body to the server, and what the server says to `client`, until the server closes.
/// A body that ends before is said to: the server would wait for the rest, and we for the server. Of a body without a
/// length, which has the largest number here, that is the end; unless the client is gone, and cut it.
pub fn relay(
    server: BorrowedFd<'_>,
    body: BodySource<'_>,
    client: BorrowedFd<'_>,
    limits: TimeLimits,
) -> io::Result<Relayed> {
    let began = clock::now();
    let until = limits.all.map(|all| began.saturating_add(all));
    let mut moved_at = began;
    let mut scratch = Scratch::new()?;
    let mut relayed = Relayed::default();
    let (mut up, mut down) = (Direction::new(), Direction::new());
    let BodySource { length, .. } = body;
    let mut may_exceed = body.may_exceed;
    let body = body.input;
    let mut left = length;
    loop {
        if down.ended && down.is_empty() {
            relayed.complete = true;
            return Ok(relayed);
        }
        up.ended = up.ended || left == 0;
        let behind = left == 0 && may_exceed;
        let from_body = up.is_empty() && !up.ended || behind;
        let from_server = down.is_empty() && !down.ended;
        let to_server = !up.is_empty();
        let to_client = !down.is_empty();
        let mut wanted = smallvec::SmallVec::<[_; 4]>::new();
        for (wants, fd, interest) in [
            (from_body, body, Interest::Read),
            (from_server, server, Interest::Read),
            (to_server, server, Interest::Write),
            (to_client, client, Interest::Write),
        ] {
            if wants {
                wanted.push((fd, interest));
            }
        }
        let due = [
            until,
            limits.still.map(|still| moved_at.saturating_add(still)),
        ];
        let due = due.into_iter().flatten().min();
        let patience = due.map(|due| due.saturating_sub(clock::now()));
        let ready = poll::wait_any(&wanted, patience)?;
        let now = clock::now();
        if ready.contains(&true) {
            moved_at = now;
        }
        let is_over = |due: Option<Duration>| due.is_some_and(|due| due <= now);
        if is_over(until) || !ready.contains(&true) && is_over(due) {
            relayed.late = Some(match from_body && !behind {
                _ if is_over(until) => Late::All,
                true => Late::Body,
                false => Late::Still,
            });
            return Ok(relayed);
        }
        let is_ready = |fd: BorrowedFd<'_>, interest| {
            use std::os::fd::AsRawFd;
            wanted.iter().zip(&ready).any(|(&(polled, what), &ready)| {
                ready && what == interest && polled.as_raw_fd() == fd.as_raw_fd()
            })
        };
        if from_server && is_ready(server, Interest::Read) {
            fill(&mut down, server, BLOCK)?;
        }
        if to_client && is_ready(client, Interest::Write) {
            match scratch.write_now(client, down.pending()) {
                Ok(count) => {
                    relayed.response += count as u64;
                    down.wrote(count);
                }
                Err(error) if is(&error, Errno::EAGAIN) => {}
                // The client is gone; the server will see that when we close.
                Err(_) => return Ok(relayed),
            }
        }
        if behind && is_ready(body, Interest::Read) {
            match scratch.discard_now(body, BLOCK) {
                Ok(count) if count > 0 => {}
                Err(error) if is(&error, Errno::EAGAIN) => {}
                Ok(_) | Err(_) => may_exceed = false,
            }
        } else if from_body && is_ready(body, Interest::Read) {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK);
            fill(&mut up, body, most)?;
            left -= up.block.len() as u64;
            relayed.body += up.block.len() as u64;
            if up.ended && left > 0 {
                if poll::is_ready(client, Interest::HangUp) {
                    return Ok(relayed);
                }
                // A server that is gone needs no word.
                let _ = socket::shut_writing(server);
            }
        }
        if to_server && is_ready(server, Interest::Write) {
            match socket::send_now(server, up.pending()) {
                Ok(count) => up.wrote(count),
                Err(error) if is(&error, Errno::EAGAIN) => {}
                Err(_) => {
                    // It wants no more of the body; it may still answer.
                    up = Direction::new();
                    up.ended = true;
                }
            }
        }
    }
}

fn fill(way: &mut Direction, from: BorrowedFd<'_>, most: usize) -> io::Result<()> {
    way.block.resize(most, 0);
    way.written = 0;
    match crate::sys::splice::read(from, &mut way.block) {
        Ok(count) => {
            way.block.truncate(count);
            way.ended = count == 0;
            Ok(())
        }
        Err(error) if is(&error, Errno::ECONNRESET) => {
            way.block.clear();
            way.ended = true;
            Ok(())
        }
        Err(error) => {
            way.block.clear();
            if is(&error, Errno::EAGAIN) {
                Ok(())
            } else {
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::sys::files;

    fn to(input: &impl AsFd, length: u64) -> BodySource<'_> {
        BodySource {
            input: input.as_fd(),
            length,
            may_exceed: false,
        }
    }

    #[test]
    fn what_comes_behind_the_body_holds_nothing_up() {
        const LEN: usize = 3_000_000;
        let (server, mut theirs) = UnixStream::pair().unwrap();
        let (body, mut into_body) = UnixStream::pair().unwrap();
        let (out, client) = files::pipe().unwrap();
        // A web server that reads no response before all of the body is taken.
        let web_server = std::thread::spawn(move || {
            into_body.write_all(&vec![b'x'; LEN]).unwrap();
            drop(into_body);
            let mut all = Vec::new();
            std::fs::File::from(out).read_to_end(&mut all).unwrap();
            all.len()
        });
        let serve = std::thread::spawn(move || {
            theirs.read_exact(&mut [0; 10]).unwrap();
            theirs.write_all(&vec![b'y'; LEN]).unwrap();
        });
        let body = BodySource {
            may_exceed: true,
            ..to(&body, 10)
        };
        let relayed = relay(server.as_fd(), body, client.as_fd(), TimeLimits::default()).unwrap();
        drop(client);
        assert!(relayed.complete && relayed.body == 10, "{relayed:?}");
        serve.join().unwrap();
        assert_eq!(web_server.join().unwrap(), LEN);
    }

    #[test]
    fn an_echo_larger_than_every_buffer_goes_both_ways_at_once() {
        const LEN: usize = 3_000_000;
        let (server, mut theirs) = UnixStream::pair().unwrap();
        let (body, mut into_body) = UnixStream::pair().unwrap();
        let (out, client) = files::pipe().unwrap();
        let echo = std::thread::spawn(move || {
            let mut block = [0; 10_000];
            let mut left = LEN;
            while left > 0 {
                let count = theirs.read(&mut block).unwrap();
                theirs.write_all(&block[..count]).unwrap();
                left -= count;
            }
        });
        let feed = std::thread::spawn(move || into_body.write_all(&vec![b'x'; LEN + 7]).is_ok());
        let read = std::thread::spawn(move || {
            let mut all = Vec::new();
            std::fs::File::from(out).read_to_end(&mut all).unwrap();
            all.len()
        });
        let relayed = relay(
            server.as_fd(),
            to(&body, LEN as u64),
            client.as_fd(),
            TimeLimits::default(),
        )
        .unwrap();
        drop((client, body));
        assert!(relayed.complete);
        assert_eq!(relayed.response, LEN as u64);
        assert_eq!(read.join().unwrap(), LEN);
        echo.join().unwrap();
        feed.join().unwrap();
    }

    #[test]
    fn a_body_that_is_cut_is_not_waited_for() {
        let (server, mut theirs) = UnixStream::pair().unwrap();
        let (body, mut into_body) = UnixStream::pair().unwrap();
        let (mut out, client) = UnixStream::pair().unwrap();
        into_body.write_all(b"half").unwrap();
        drop(into_body);
        let serve = std::thread::spawn(move || {
            let mut read = Vec::new();
            theirs.read_to_end(&mut read).unwrap();
            theirs.write_all(&read).unwrap();
        });
        let relayed = relay(
            server.as_fd(),
            to(&body, 8),
            client.as_fd(),
            TimeLimits::default(),
        )
        .unwrap();
        serve.join().unwrap();
        drop(client);
        let mut read = String::new();
        out.read_to_string(&mut read).unwrap();
        assert!(relayed.complete && read == "half", "{relayed:?} {read}");
    }

    #[test]
    fn a_client_that_is_gone_ends_no_body() {
        let (server, mut theirs) = UnixStream::pair().unwrap();
        let (body, mut into_body) = UnixStream::pair().unwrap();
        let (out, client) = files::pipe().unwrap();
        into_body.write_all(b"half").unwrap();
        drop((out, into_body));
        let relayed = relay(
            server.as_fd(),
            to(&body, u64::MAX),
            client.as_fd(),
            TimeLimits::default(),
        )
        .unwrap();
        assert!(!relayed.complete && relayed.body == 4, "{relayed:?}");
        // Nor does the server see an end before the connection is closed.
        theirs.set_nonblocking(true).unwrap();
        let mut read = [0; 9];
        assert_eq!(theirs.read(&mut read).unwrap(), 4);
        let error = theirs.read(&mut read).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn an_answer_before_the_body_gets_through() {
        let (server, mut theirs) = UnixStream::pair().unwrap();
        let (body, _never) = UnixStream::pair().unwrap();
        let (out, client) = files::pipe().unwrap();
        theirs
            .write_all(b"Status: 413 Content Too Large\r\n\r\n")
            .unwrap();
        drop(theirs);
        let relayed = relay(
            server.as_fd(),
            to(&body, 1 << 40),
            client.as_fd(),
            TimeLimits::default(),
        )
        .unwrap();
        assert!(relayed.complete && relayed.body == 0);
        drop((client, out));
    }
}

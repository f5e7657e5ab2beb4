//! Copies both ways at once: a message-body to a server, its response to a client. Never reads the whole body first, so
//! an early answer gets through, and neither side can make the other wait for ever. Knows bytes; not what they mean.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::sys::poll::{self, Interest};
use crate::sys::splice::Scratch;
use crate::sys::{Errno, clock, is, socket};

const BLOCK: usize = 65_536;

/// How far the relay came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// Bytes of the message-body that were read from the client.
    pub body: u64,
    /// Bytes of the response that the client got.
    pub response: u64,
    /// The server has closed the connection after that; `false`: the client is gone, or it has taken too long.
    pub complete: bool,
    /// What has taken too long, if anything has.
    pub late: Option<Late>,
}

/// The host has refused a call of the relay.
#[derive(Debug)]
pub struct Broken {
    /// Why.
    pub error: io::Error,
    /// Bytes of the response that the client has got.
    pub response: u64,
}

/// What has taken too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// The whole relay.
    All,
    /// The client, which has sent nothing of the rest of the body.
    Body,
    /// The server: no block has moved.
    Still,
}

/// How long a relay may take.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeLimits {
    /// Until the next block moves.
    pub still: Option<Duration>,
    /// In all, from now on.
    pub all: Option<Duration>,
}

/// The message-body of a request.
#[derive(Clone, Copy, Debug)]
pub struct BodySource<'a> {
    /// Where it comes from.
    pub input: BorrowedFd<'a>,
    /// In bytes. The largest number: to its end.
    pub length: u64,
    /// Bytes behind that are read and discarded: their sender may read nothing before.
    pub may_exceed: bool,
}

/// One direction, with at most one block that was read and not yet written.
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

/// Pumps the body to the server, and the server's response to `client`, until the server closes.
///
/// If the body ends early, the server is told by the end of our writing: otherwise it would wait for the rest, and we
/// for the server. Of a body without a length, which has the largest number here, that is the regular end; unless the
/// client is gone, and has cut it.
pub fn relay(
    server: BorrowedFd<'_>,
    body: BodySource<'_>,
    client: BorrowedFd<'_>,
    limits: TimeLimits,
) -> Result<Relayed, Broken> {
    let broken = |response| move |error| Broken { error, response };
    let mut pump = Pump {
        server,
        client,
        body,
        up: Direction::new(),
        down: Direction::new(),
        scratch: Scratch::new().map_err(broken(0))?,
        relayed: Relayed::default(),
    };
    let run = pump.run(limits);
    let relayed = pump.relayed;
    run.map_err(broken(relayed.response)).map(|()| relayed)
}

/// Which moves of a block are to be made.
#[derive(Clone, Copy, Debug)]
struct Moves {
    from_body: bool,
    from_server: bool,
    to_server: bool,
    to_client: bool,
}

impl Moves {
    fn any(self) -> bool {
        self.from_body || self.from_server || self.to_server || self.to_client
    }
}

struct Pump<'a> {
    server: BorrowedFd<'a>,
    client: BorrowedFd<'a>,
    /// Its length is what is left of it.
    body: BodySource<'a>,
    /// From the body to the server.
    up: Direction,
    /// From the server to the client.
    down: Direction,
    scratch: Scratch,
    relayed: Relayed,
}

impl Pump<'_> {
    /// Makes all moves, as far as the limits and the client allow.
    fn run(&mut self, limits: TimeLimits) -> io::Result<()> {
        let began = clock::now();
        let until = limits.all.map(|all| began.saturating_add(all));
        let mut moved_at = began;
        while !self.is_complete() {
            let wanted = self.next_moves();
            let still = limits.still.map(|still| moved_at.saturating_add(still));
            let due = [until, still].into_iter().flatten().min();
            let patience = due.map(|due| due.saturating_sub(clock::now()));
            let ready = self.wait(wanted, patience)?;
            let now = clock::now();
            if ready.any() {
                moved_at = now;
            }
            let is_over = |due: Option<Duration>| due.is_some_and(|due| due <= now);
            if is_over(until) || !ready.any() && is_over(due) {
                self.relayed.late = Some(match wanted.from_body && !self.is_behind_body() {
                    _ if is_over(until) => Late::All,
                    true => Late::Body,
                    false => Late::Still,
                });
                return Ok(());
            }
            if !self.make(ready)? {
                return Ok(());
            }
        }
        self.relayed.complete = true;
        Ok(())
    }

    /// The client has all that the server has sent before it closed.
    fn is_complete(&self) -> bool {
        self.down.ended && self.down.is_empty()
    }

    /// The body has been read, and what comes behind it is discarded.
    fn is_behind_body(&self) -> bool {
        self.body.length == 0 && self.body.may_exceed
    }

    /// The moves that can be made once their descriptors are ready.
    fn next_moves(&mut self) -> Moves {
        self.up.ended = self.up.ended || self.body.length == 0;
        Moves {
            from_body: self.up.is_empty() && !self.up.ended || self.is_behind_body(),
            from_server: self.down.is_empty() && !self.down.ended,
            to_server: !self.up.is_empty(),
            to_client: !self.down.is_empty(),
        }
    }

    /// Waits at most `patience`; which of these moves can be made now.
    fn wait(&self, wanted: Moves, patience: Option<Duration>) -> io::Result<Moves> {
        let moves = [
            (wanted.from_body, self.body.input, Interest::Read),
            (wanted.from_server, self.server, Interest::Read),
            (wanted.to_server, self.server, Interest::Write),
            (wanted.to_client, self.client, Interest::Write),
        ];
        let polled = moves.iter().filter(|&&(is_wanted, ..)| is_wanted);
        let polled: smallvec::SmallVec<[_; 4]> =
            polled.map(|&(_, fd, interest)| (fd, interest)).collect();
        let mut ready = poll::wait_any(&polled, patience)?.into_iter();
        let [from_body, from_server, to_server, to_client] =
            moves.map(|(is_wanted, ..)| is_wanted && ready.next().unwrap_or(false));
        Ok(Moves {
            from_body,
            from_server,
            to_server,
            to_client,
        })
    }

    /// Makes these moves. `false`: the client is gone.
    fn make(&mut self, moves: Moves) -> io::Result<bool> {
        if moves.from_server {
            fill(&mut self.down, self.server, BLOCK)?;
        }
        if moves.to_client {
            match self.scratch.write_now(self.client, self.down.pending()) {
                Ok(count) => {
                    self.relayed.response += count as u64;
                    self.down.wrote(count);
                }
                Err(error) if is(&error, Errno::EAGAIN) => {}
                // The server will see that the client is gone when we close.
                Err(error) if is(&error, Errno::EPIPE) || is(&error, Errno::ECONNRESET) => {
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        if moves.from_body && !self.read_body()? {
            return Ok(false);
        }
        if moves.to_server {
            match socket::send_now(self.server, self.up.pending()) {
                Ok(count) => self.up.wrote(count),
                Err(error) if is(&error, Errno::EAGAIN) => {}
                Err(_) => {
                    // The server reads no more of the body; it may still answer.
                    self.up = Direction::new();
                    self.up.ended = true;
                }
            }
        }
        Ok(true)
    }

    /// Reads a block of the body, or discards one behind it. `false`: the client is gone.
    fn read_body(&mut self) -> io::Result<bool> {
        let input = self.body.input;
        if self.is_behind_body() {
            match self.scratch.discard_now(input, BLOCK) {
                Ok(count) if count > 0 => {}
                Err(error) if is(&error, Errno::EAGAIN) => {}
                Ok(_) | Err(_) => self.body.may_exceed = false,
            }
            return Ok(true);
        }
        let most = usize::try_from(self.body.length).unwrap_or(usize::MAX);
        fill(&mut self.up, input, most.min(BLOCK))?;
        let count = self.up.block.len() as u64;
        self.body.length -= count;
        self.relayed.body += count;
        if self.up.ended && self.body.length > 0 {
            if poll::is_ready(self.client, Interest::HangUp) {
                return Ok(false);
            }
            // If the server is gone, it needs not be told.
            let _ = socket::shut_writing(self.server);
        }
        Ok(true)
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

//! One request's exchange with a foreign app: the request goes to its input, its output comes back, is checked, and is
//! passed on. Knows descriptors and bytes; whose they are, and what an end means, is `drive`'s.
//!
//! # Theory of operation
//! The two directions are independent: [`Feed`] is the one, this file the other. No byte of the response goes out before
//! its head is whole, and none that its web server would refuse, so that until then the client can still have a page of
//! ours. Then it passes on as it came: what it means is for the web server to say.
//!
//! | the response is | and becomes | on |
//! | --- | --- | --- |
//! | headless | direct | its head is whole, and not bad |
//! | headless | - | the head is bad (`Bad`), or the output ends (`Short`) |
//! | direct | blocked | the client takes nothing now |
//! | blocked | direct | it takes something: at least 64 kB in 20 ms |
//! | blocked | spooled | it does not, or another request waits for a worker, or the output has ended |
//! | spooled | direct | all that was spooled is sent |
//! | spooled, blocked | - | no room in the spool: nothing is read from the app until the client has taken something |
//! | direct, spooled | - | the output has ended, and everything is sent or spooled (`Ended`); it broke (`Cut`) |
//! | any | - | the client is gone (`Lost`) |
//!
//! The output ends with the end of the file. A program that has ended while others hold its pipe is told of by
//! [`Exchange::note_app_gone`]: then what the pipe held at that moment is the rest.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::feed::{Fed, Feed};
use crate::cgi::Reader;
use crate::cgi::response::{BadHead, HEAD_LIMIT, Head, Parsed, Scan};
use crate::daemon::clients::Outgoing;
use crate::daemon::turn::{Progress, TURN};
use crate::spool::Room;
use crate::sys::files;
use crate::sys::passage::Passage;
use crate::sys::poll::{self, Interest};
use crate::sys::splice::{self, Scratch};
use crate::sys::{Errno, is, socket};

/// The most that is copied at once, in bytes.
const BLOCK: usize = 65_536;
/// Begins the head of a client redirect that says no Status, where the web server needs one.
const STATUS: &[u8; 19] = b"Status: 302 Found\r\n";
/// A client is slow if it has taken less than this ...
const ENOUGH_TAKEN: u64 = 65_536;
/// ... after this time.
const PATIENCE: Duration = Duration::from_millis(20);

/// Both directions.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) feed: Feed,
    /// Where the response comes from: ours, and it does not wait. Kept open to the end, since epoll knows it.
    from: OwnedFd,
    has_ended: bool,
    /// How bytes get from there to the client, once that is known; the inner `None`: they are copied.
    passage: Option<Option<Passage>>,
    /// What was read and has not been passed on: at first the head.
    kept: Vec<u8>,
    /// What is known of the head until it is whole.
    scan: Option<Scan>,
    needs_status: bool,
    /// The program has ended: so many bytes are still to be read.
    last: Option<u64>,
    broken: Option<io::Error>,
    blocked: Option<Blocked>,
    has_begun: bool,
    has_heard: bool,
    moved: u64,
    /// Bytes that the client has taken.
    taken: u64,
    /// Bytes of the head as the client gets it, and of the message-body, as far as the head says that.
    head: u64,
    body: Option<u64>,
}

/// The client takes nothing now.
#[derive(Clone, Copy, Debug)]
struct Blocked {
    since: Duration,
    taken: u64,
}

/// How far the response has come.
#[derive(Debug)]
pub(super) enum Passing {
    /// Its head is not valid; [`Exchange::beginning`] is what came.
    Bad(BadHead),
    /// It is cut: the app's end broke behind a head.
    Cut(io::Error),
    /// All of it is sent or spooled.
    Ended,
    /// The client is gone.
    Lost,
    /// The output has ended, or broke, before a head was whole.
    Short(Option<io::Error>),
    /// More is to come.
    Waits(Waits),
}

/// What is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waits {
    /// The app, to say more.
    pub(super) for_app: bool,
    /// The client, to take more.
    pub(super) for_client: bool,
    /// Waited for no longer than this.
    pub(super) until: Option<Duration>,
    /// The client has taken something.
    pub(super) has_taken: bool,
}

/// Where a response goes to.
pub(super) struct Way<'a> {
    /// The client's output. Its flags are others' too.
    pub(super) output: BorrowedFd<'a>,
    /// What is spooled for it.
    pub(super) spool: &'a mut Option<Outgoing>,
    pub(super) room: Room<'a>,
    /// Another request waits for a worker: it is not to wait for a slow client.
    pub(super) is_wanted: bool,
}

/// What came of one step.
enum ResponseStep {
    Moved,
    Ended,
    ForApp,
    ForClient,
    Lost,
}

impl Exchange {
    /// `reader`: of the response.
    pub(super) fn new(feed: Feed, from: OwnedFd, reader: Reader) -> Exchange {
        Exchange {
            feed,
            from,
            has_ended: false,
            passage: None,
            kept: Vec::new(),
            scan: Some(Scan::new(reader.is_like_apache())),
            needs_status: reader.needs_status(),
            last: None,
            broken: None,
            blocked: None,
            has_begun: false,
            has_heard: false,
            moved: 0,
            taken: 0,
            head: 0,
            body: None,
        }
    }

    /// The client has taken as much as the head says; `is_head`: of the response to HEAD. Of what was spooled this is not
    /// known.
    pub(super) fn was_all_taken(&self, is_head: bool) -> bool {
        let body = if is_head { Some(0) } else { self.body };
        let whole = body.map(|body| self.head.saturating_add(body));
        self.head > 0 && whole.is_some_and(|whole| self.taken >= whole)
    }

    /// Where the response comes from.
    pub(super) fn from(&self) -> BorrowedFd<'_> {
        self.from.as_fd()
    }

    /// The client may have had something of the response.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// The app has said something.
    pub(super) fn has_heard(&self) -> bool {
        self.has_heard
    }

    /// The server at the other end of the connection has read something: what it has not read is counted with all that
    /// the kernel needs for it, so that is never less than the bytes.
    pub(super) fn was_taken(&self) -> bool {
        let unread = socket::unread_by_peer(self.from());
        unread.is_ok_and(|unread| self.feed.sent() > unread as u64)
    }

    /// Blocks that have moved in either direction.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// What came of a head that is not valid.
    pub(super) fn beginning(&self) -> &[u8] {
        &self.kept
    }

    /// When the client's time to take something is over.
    fn deadline(&self) -> Option<Duration> {
        self.blocked.map(|blocked| blocked.since + PATIENCE)
    }

    /// The program has ended. What it has written is in the pipe; others, which hold it too, may write on.
    pub(super) fn note_app_gone(&mut self) {
        self.feed.stop();
        self.last = Some(files::waiting(self.from()).unwrap_or(0));
    }

    /// Sends the request on, as far as the app takes it.
    pub(super) fn send(&mut self, input: Option<BorrowedFd<'_>>, scratch: &mut Scratch) -> Fed {
        let (fed, moved) = self.feed.advance(input, scratch);
        self.moved += moved;
        fed
    }

    /// Passes on what has come of the response.
    pub(super) fn pass_on(
        &mut self,
        mut way: Way<'_>,
        scratch: &mut Scratch,
        now: Duration,
    ) -> Passing {
        if let Some(scan) = self.scan
            && let Some(passing) = self.read_head(scan)
        {
            return passing;
        }
        self.has_begun = true;
        let before = self.taken;
        if !self.send_spool(&mut way, scratch) {
            return Passing::Lost;
        }
        let mut for_client = false;
        for _ in 0..TURN {
            match self.step(&mut way, scratch, now) {
                ResponseStep::Moved => self.moved += 1,
                ResponseStep::Ended => {
                    return match self.broken.take() {
                        Some(error) => Passing::Cut(error),
                        None => Passing::Ended,
                    };
                }
                ResponseStep::Lost => return Passing::Lost,
                ResponseStep::ForApp => break,
                ResponseStep::ForClient => {
                    for_client = true;
                    break;
                }
            }
        }
        self.moved += u64::from(self.taken > before);
        Passing::Waits(Waits {
            for_app: !for_client,
            for_client: for_client || way.spool.is_some(),
            until: self.deadline().filter(|_| for_client),
            has_taken: self.taken > before,
        })
    }

    /// `None`: the head is whole, and `kept` begins with it.
    fn read_head(&mut self, mut scan: Scan) -> Option<Passing> {
        loop {
            if self.has_ended {
                return Some(Passing::Short(self.broken.take()));
            }
            let had = self.kept.len();
            let most = self.most().min(HEAD_LIMIT.saturating_sub(had));
            self.kept.resize(had + most, 0);
            let read = if most == 0 {
                Ok(0)
            } else {
                splice::read(self.from.as_fd(), &mut self.kept[had..])
            };
            self.kept
                .truncate(had + read.as_ref().map_or(0, |count| *count));
            match read {
                Ok(0) => self.has_ended = true,
                Ok(count) => {
                    self.has_heard = true;
                    self.moved += 1;
                    self.note_read(count as u64);
                    let parsed = scan.advance(&self.kept);
                    self.scan = Some(scan);
                    match parsed {
                        Ok(Parsed::Head(head)) => {
                            let is_bare_redirect = head.is_bare_redirect();
                            self.head = head.size() as u64;
                            self.body = length_of_body(&head);
                            if self.needs_status && is_bare_redirect {
                                self.kept.splice(..0, *STATUS);
                                self.head += STATUS.len() as u64;
                            }
                            self.scan = None;
                            return None;
                        }
                        Ok(Parsed::Partial) => {}
                        Err(bad) => return Some(Passing::Bad(bad)),
                    }
                }
                Err(error) if is(&error, Errno::EAGAIN) => {
                    return Some(Passing::Waits(Waits {
                        for_app: true,
                        ..Waits::default()
                    }));
                }
                Err(error) => {
                    self.has_ended = true;
                    self.broken = Some(error);
                }
            }
        }
    }

    /// Bytes that may be read at once.
    fn most(&self) -> usize {
        let last = self.last.unwrap_or(u64::MAX);
        usize::try_from(last).unwrap_or(usize::MAX).min(1 << 20)
    }

    fn note_read(&mut self, count: u64) {
        if let Some(last) = &mut self.last {
            *last = last.saturating_sub(count);
        }
    }

    /// Sends what is spooled; `false`: the client is gone.
    fn send_spool(&mut self, way: &mut Way<'_>, scratch: &mut Scratch) -> bool {
        let Some(spool) = way.spool else {
            return true;
        };
        let sent = spool.send(way.output, scratch);
        match sent {
            Progress::Finished => {
                // A spool is never empty, so the client has taken something.
                self.taken += 1;
                *way.spool = None;
            }
            Progress::Waits(moved) => self.taken += moved,
            Progress::Lost => {}
        }
        sent != Progress::Lost
    }

    fn step(&mut self, way: &mut Way<'_>, scratch: &mut Scratch, now: Duration) -> ResponseStep {
        if !self.kept.is_empty() {
            return if way.spool.is_some() {
                self.spool(way)
            } else {
                self.write_kept(way, scratch, now)
            };
        }
        if self.has_ended {
            return ResponseStep::Ended;
        }
        let from = self.from.as_fd();
        let most = self.most();
        let find = || Passage::between(from, way.output);
        let passage = self.passage.get_or_insert_with(find);
        let read = if most == 0 {
            Ok(0)
        } else if let Some(passage) = passage
            && way.spool.is_none()
        {
            match passage.pass(from, way.output, most) {
                Err(error) if is(&error, Errno::EPIPE) => return ResponseStep::Lost,
                Err(error) if is(&error, Errno::EAGAIN) => {
                    if poll::is_ready(from, Interest::Read)
                        && !poll::is_ready(way.output, Interest::Write)
                    {
                        return self.note_blocked(way, now);
                    }
                    return ResponseStep::ForApp;
                }
                passed => passed.inspect(|&count| self.note_taken(count as u64)),
            }
        } else {
            self.kept.resize(most.min(BLOCK), 0);
            let read = splice::read(from, &mut self.kept);
            self.kept.truncate(read.as_ref().map_or(0, |count| *count));
            read
        };
        match read {
            Ok(0) => {
                self.has_ended = true;
                ResponseStep::Moved
            }
            Ok(count) => {
                self.note_read(count as u64);
                ResponseStep::Moved
            }
            Err(error) if is(&error, Errno::EAGAIN) => ResponseStep::ForApp,
            Err(error) => {
                self.has_ended = true;
                if is(&error, Errno::ECONNRESET) {
                    // A server that has not read all of the body ends its connection so: its response is complete.
                    return ResponseStep::Moved;
                }
                self.broken = Some(error);
                ResponseStep::Moved
            }
        }
    }

    fn write_kept(
        &mut self,
        way: &mut Way<'_>,
        scratch: &mut Scratch,
        now: Duration,
    ) -> ResponseStep {
        match scratch.write_now(way.output, &self.kept) {
            Ok(count) => {
                self.kept.drain(..count);
                self.note_taken(count as u64);
                ResponseStep::Moved
            }
            Err(error) if is(&error, Errno::EAGAIN) => self.note_blocked(way, now),
            Err(_) => ResponseStep::Lost,
        }
    }

    /// The client has taken so much.
    fn note_taken(&mut self, count: u64) {
        if let Some(blocked) = &mut self.blocked {
            blocked.taken += count;
            if blocked.taken >= ENOUGH_TAKEN {
                self.blocked = None;
            }
        }
        self.taken += count;
    }

    /// The client takes nothing now. If it is slow, the response goes to the spool.
    fn note_blocked(&mut self, way: &mut Way<'_>, now: Duration) -> ResponseStep {
        let blocked = *self.blocked.get_or_insert(Blocked {
            since: now,
            taken: 0,
        });
        let is_slow = blocked.since + PATIENCE <= now || way.is_wanted || self.has_ended;
        if !is_slow {
            return ResponseStep::ForClient;
        }
        self.blocked = None;
        if self.kept.is_empty() {
            // The next block is read, and finds the spool.
            let Some(spool) = new_spool(way) else {
                return ResponseStep::ForClient;
            };
            *way.spool = Some(spool);
            return ResponseStep::Moved;
        }
        self.spool(way)
    }

    /// Puts what was read into the spool.
    fn spool(&mut self, way: &mut Way<'_>) -> ResponseStep {
        if way.spool.is_none() {
            *way.spool = new_spool(way);
        }
        let room = usize::try_from(way.room.left).unwrap_or(usize::MAX);
        let fits = self.kept.len().min(room);
        let Some(spool) = way.spool else {
            return ResponseStep::ForClient;
        };
        match spool.append(&self.kept[..fits]) {
            Ok(count) if count > 0 => {
                self.kept.drain(..count);
                way.room.left -= count as u64;
                ResponseStep::Moved
            }
            // The spool is full, or can't be made: the client is waited for.
            Ok(_) | Err(_) => ResponseStep::ForClient,
        }
    }
}

/// A file for what the client does not take yet, if there is room for any.
fn new_spool(way: &Way<'_>) -> Option<Outgoing> {
    let has_room = way.room.left >= BLOCK as u64;
    let file = has_room.then(|| files::unnamed(way.room.directory).ok())??;
    Some(Outgoing::empty(file))
}

/// How long the message-body is, as the head says.
fn length_of_body(head: &Head<'_>) -> Option<u64> {
    let status = head.field("Status").unwrap_or_default();
    if [&b"204"[..], b"304"]
        .iter()
        .any(|code| status.starts_with(code))
    {
        return Some(0);
    }
    let length = head.field("Content-Length")?;
    str::from_utf8(&length).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;

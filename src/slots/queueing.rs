//! How a front waits for a slot: until a process that has one ends. Only so many wait at the same time, each in a place of
//! its own, which is a locked byte as a slot is. Decides neither who waits nor how long.
//!
//! There are two lines. A front in that of anonymous clients lets those in the other go first: it takes a slot only while
//! none of them waits, or when its own time is over.
//!
//! No call waits for any one of several locks. But the kernel gives up the locks of a process before it shows its end, so
//! a front waits for the ends of all processes that have a slot, and then tries them all. It looks again every [`GLANCE`]
//! while that is not enough: while others go first, who may leave their places without an end, and while some can't be
//! watched. A CGI that closes the file but runs on gives up its slot unseen; then the slot is taken after the next end,
//! or when the front's time is over.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::{FIRST_SLOT, Slots};
use crate::sys::poll::{self, Interest};
use crate::sys::{Errno, clock, is, lock, process};

/// No more wait, and no more processes are watched, however many slots there are.
const MOST_WAITING: u32 = 64;
/// How often a front looks again at what no end of a process tells.
const GLANCE: Duration = Duration::from_millis(20);
/// The places of tickets lie behind those of the lines: 4 for each of 2^20 remainders of a ticket's number.
const FIRST_TICKET: u64 = 1 << 35;
const TICKETS: u64 = 1 << 20;
/// As many requests of one ticket wait or run at once as in the daemon.
const MOST_OF_ONE_TICKET: u64 = 4;

/// What other processes have of the slots and places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldBytes {
    /// CGIs that run.
    pub slots: u32,
    /// A front waits whose client was told to come back, and has.
    pub is_due_waiting: bool,
}

/// Among whom a front waits. The places lie behind the slots, and no two lines touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitingLine {
    /// For clients of which nothing is known.
    Anonymous,
    /// For those that were told to come back, and have.
    Due,
}

impl WaitingLine {
    fn first_place(self) -> u64 {
        match self {
            WaitingLine::Anonymous => 1 << 33,
            WaitingLine::Due => 1 << 34,
        }
    }
}

/// What came of waiting for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// There was one, or there is now: it is taken.
    Taken,
    /// None became free in time.
    TooLong,
    /// As many wait already as may.
    TooMany,
}

/// A place among those that wait; free again when this is dropped. Without that it would last as long as the slot.
#[derive(Debug)]
pub struct WaitingPlace<'a> {
    slots: &'a Slots,
    byte: u64,
}

impl Drop for WaitingPlace<'_> {
    fn drop(&mut self) {
        // A byte that stays locked is a place less, until this process ends.
        let _ = lock::unlock(&self.slots.file, self.byte);
    }
}

/// The processes that have a slot or a place, as far as they can be watched.
#[derive(Default)]
struct Holders {
    ends: Vec<OwnedFd>,
    /// One of them has ended before it could be watched.
    has_changed: bool,
    /// One of them can't be watched: there are too many, or it is of another process namespace.
    is_unwatched: bool,
}

impl Holders {
    /// There was none.
    fn is_empty(&self) -> bool {
        self.ends.is_empty() && !self.has_changed && !self.is_unwatched
    }

    fn append(&mut self, others: Holders) {
        self.ends.extend(others.ends);
        self.has_changed |= others.has_changed;
        self.is_unwatched |= others.is_unwatched;
    }
}

impl Slots {
    /// What others have now, of `most` slots. Where no process has any, it is one system call.
    pub fn held(&self, most: u32) -> io::Result<HeldBytes> {
        let due = WaitingLine::Due.first_place();
        let end = due + u64::from(MOST_WAITING);
        let held = lock::holders(&self.file, FIRST_SLOT, end - FIRST_SLOT)?;
        let is_slot = |&&(byte, _): &&(u64, i32)| byte < FIRST_SLOT + u64::from(most);
        Ok(HeldBytes {
            slots: held.iter().filter(is_slot).count() as u32,
            is_due_waiting: held.iter().any(|&(byte, _)| byte >= due),
        })
    }

    /// Counts this process among those of the ticket, until it ends, exec included. `false`: they are as many as may be.
    /// Two tickets may share their places; one in a million does.
    pub fn enter_ticket(&self, id: u64) -> io::Result<bool> {
        let first = FIRST_TICKET + id % TICKETS * MOST_OF_ONE_TICKET;
        for byte in first..first + MOST_OF_ONE_TICKET {
            if lock::try_lock(&self.file, byte)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes a place to wait in this line; `None`: `most` wait there, or 64.
    pub fn waiting_place(
        &self,
        line: WaitingLine,
        most: u32,
    ) -> io::Result<Option<WaitingPlace<'_>>> {
        for place in 0..most.min(MOST_WAITING) {
            let byte = line.first_place() + u64::from(place);
            if lock::try_lock(&self.file, byte)? {
                return Ok(Some(WaitingPlace { slots: self, byte }));
            }
        }
        Ok(None)
    }

    /// Waits for a slot for at most `patience`, and takes it.
    pub fn await_slot(
        &self,
        most: u32,
        line: WaitingLine,
        patience: Duration,
    ) -> io::Result<Awaited> {
        let Some(_place) = self.waiting_place(line, most)? else {
            return Ok(Awaited::TooMany);
        };
        let deadline = clock::now() + patience;
        loop {
            let mut holders = self.holders(FIRST_SLOT, most)?;
            let mut is_its_turn = true;
            if line == WaitingLine::Anonymous {
                // One that takes a slot, or gives up, is watched until its end as well.
                let first = self.holders(WaitingLine::Due.first_place(), MOST_WAITING)?;
                is_its_turn = first.is_empty();
                holders.append(first);
            }
            let left = deadline.saturating_sub(clock::now());
            // After they are watched: none ends in between without being noticed.
            if (is_its_turn || left.is_zero()) && self.take(most)? {
                return Ok(Awaited::Taken);
            }
            if left.is_zero() || holders.is_empty() {
                return Ok(Awaited::TooLong);
            }
            if !holders.has_changed {
                let ends = holders.ends.iter();
                let ends: Vec<_> = ends.map(|end| (end.as_fd(), Interest::Read)).collect();
                let is_told = is_its_turn && !holders.is_unwatched;
                let patience = if is_told { left } else { left.min(GLANCE) };
                poll::wait_any(&ends, Some(patience))?;
            }
        }
    }

    /// Watches those that have one of these bytes, as many as may be.
    fn holders(&self, first: u64, most: u32) -> io::Result<Holders> {
        let mut holders = Holders::default();
        for (_, pid) in lock::holders(&self.file, first, most.into())? {
            // One of another process namespace is shown without its pid.
            if pid <= 0 || holders.ends.len() == MOST_WAITING as usize {
                holders.is_unwatched = true;
                continue;
            }
            match process::open(pid) {
                Ok(end) => holders.ends.push(end),
                Err(error) if is(&error, Errno::ESRCH) => holders.has_changed = true,
                Err(_) => holders.is_unwatched = true,
            }
        }
        Ok(holders)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Child, Command, Stdio};

    use super::super::tests::{S, slots};
    use super::*;

    const HOLDER: &str = "import fcntl, sys
f = open(sys.argv[1], 'r+')
for byte in sys.argv[2:]:
    fcntl.lockf(f, fcntl.LOCK_EX, 1, int(byte))
print(flush=True)
if sys.stdin.readline():
    fcntl.lockf(f, fcntl.LOCK_UN, 1, int(sys.argv[2]))
    sys.stdin.read()";

    /// Another process that holds these bytes until its standard input ends, and the first of them until a line comes.
    fn holder(dir: &tempfile::TempDir, bytes: &[u64]) -> Child {
        let mut holder = Command::new("/usr/bin/python3")
            .args(["-c", HOLDER])
            .arg(dir.path().join("slots"))
            .args(bytes.iter().map(u64::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let said = holder.stdout.take().unwrap();
        BufReader::new(said).read_line(&mut line).unwrap();
        holder
    }

    /// Returns when this process has opened this other one so many times.
    fn until_watched(pid: u32, times: usize) {
        let line = format!("Pid:\t{pid}\n");
        let is_of_it = |fd: &std::fs::DirEntry| {
            std::fs::read_to_string(fd.path()).is_ok_and(|text| text.contains(&line))
        };
        let deadline = clock::now() + S(60);
        while clock::now() < deadline {
            let fds = std::fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
            if fds.filter(is_of_it).count() >= times {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("no reader watches it");
    }

    #[test]
    fn the_end_of_a_process_gives_its_slot() {
        let (dir, slots) = slots();
        let mut holder = holder(&dir, &[FIRST_SLOT, FIRST_SLOT + 1]);
        let short = slots
            .await_slot(2, WaitingLine::Due, Duration::ZERO)
            .unwrap();
        assert_eq!(short, Awaited::TooLong);
        drop(holder.stdin.take());
        assert_eq!(
            slots.await_slot(2, WaitingLine::Due, S(60)).unwrap(),
            Awaited::Taken
        );
        holder.wait().unwrap();
    }

    #[test]
    fn no_more_wait_than_may() {
        let (dir, slots) = slots();
        let place = WaitingLine::Anonymous.first_place();
        let mut holder = holder(&dir, &[FIRST_SLOT, place]);
        assert_eq!(
            slots.await_slot(1, WaitingLine::Anonymous, S(60)).unwrap(),
            Awaited::TooMany
        );
        let next = slots.waiting_place(WaitingLine::Anonymous, 2).unwrap();
        assert_eq!(next.map(|next| next.byte), Some(place + 1));
        assert_eq!(
            slots.await_slot(0, WaitingLine::Due, S(60)).unwrap(),
            Awaited::TooMany
        );
        drop(holder.stdin.take());
        holder.wait().unwrap();
    }

    #[test]
    fn those_that_have_come_back_go_first() {
        let (dir, slots) = slots();
        let mut due = holder(&dir, &[WaitingLine::Due.first_place()]);
        // The slot is free, but only when its time is over an anonymous one takes it.
        let (line, brief) = (WaitingLine::Anonymous, Duration::from_millis(50));
        let began = clock::now();
        assert_eq!(slots.await_slot(1, line, brief).unwrap(), Awaited::Taken);
        assert!(clock::now() >= began + brief);
        lock::unlock(&slots.file, FIRST_SLOT).unwrap();
        drop(due.stdin.take());
        assert_eq!(slots.await_slot(1, line, S(60)).unwrap(), Awaited::Taken);
        due.wait().unwrap();
    }

    #[test]
    fn one_that_goes_first_may_leave_its_place_and_run_on() {
        let (dir, slots) = slots();
        let due = WaitingLine::Due.first_place();
        let mut first = holder(&dir, &[due, FIRST_SLOT + 1]);
        let own = slots.held(2).unwrap();
        assert_eq!((own.slots, own.is_due_waiting), (1, true));
        let leaves = std::thread::spawn({
            let (pid, mut stdin) = (first.id(), first.stdin.take().unwrap());
            move || {
                // As one that has a slot, and as one that goes first.
                until_watched(pid, 2);
                stdin.write_all(b"\n").unwrap();
                stdin
            }
        });
        let began = clock::now();
        let awaited = slots.await_slot(2, WaitingLine::Anonymous, S(60));
        assert_eq!(awaited.unwrap(), Awaited::Taken);
        assert!(clock::now() < began + S(60), "it saw that it was its turn");
        assert!(first.try_wait().unwrap().is_none(), "the other still runs");
        assert!(!slots.held(2).unwrap().is_due_waiting);
        drop(leaves.join().unwrap());
        first.wait().unwrap();
    }

    #[test]
    fn of_one_ticket_no_more_than_four_are_among_the_first() {
        let (dir, slots) = slots();
        let id = u64::MAX;
        let first = FIRST_TICKET + id % TICKETS * MOST_OF_ONE_TICKET;
        let places: Vec<u64> = (first..first + 3).collect();
        let mut three = holder(&dir, &places);
        assert!(slots.enter_ticket(id).unwrap());
        lock::unlock(&slots.file, first + 3).unwrap();
        let mut fourth = holder(&dir, &[first + 3]);
        assert!(!slots.enter_ticket(id).unwrap());
        assert!(slots.enter_ticket(id - 1).unwrap(), "another ticket");
        drop(three.stdin.take());
        three.wait().unwrap();
        assert!(slots.enter_ticket(id).unwrap());
        drop(fourth.stdin.take());
        fourth.wait().unwrap();
    }

    #[test]
    fn the_end_of_one_of_many_is_seen() {
        let (dir, slots) = slots();
        let many: Vec<u64> = (0..u64::from(MOST_WAITING))
            .map(|nth| FIRST_SLOT + nth)
            .collect();
        let mut others = holder(&dir, &many);
        let mut last = holder(&dir, &[FIRST_SLOT + u64::from(MOST_WAITING)]);
        let most = MOST_WAITING + 1;
        assert!(slots.holders(FIRST_SLOT, most).unwrap().is_unwatched);
        let watched = others.id();
        let ends = std::thread::spawn(move || {
            until_watched(watched, MOST_WAITING as usize);
            drop(last.stdin.take());
            last.wait().unwrap();
        });
        let began = clock::now();
        let awaited = slots.await_slot(most, WaitingLine::Due, S(60)).unwrap();
        assert_eq!(awaited, Awaited::Taken);
        assert!(clock::now() < began + S(60));
        ends.join().unwrap();
        drop(others.stdin.take());
        others.wait().unwrap();
    }
}

//! How a front waits for a slot: until a process that has one ends. Only so many wait at the same time, each in a place of
//! its own, which is a locked byte as a slot is. Decides neither who waits nor how long.
//!
//! There are two lines. A front in that of anonymous clients lets those in the other go first: it takes a slot only while
//! none of them waits, or when its own time is over.
//!
//! No call waits for any one of several locks. But the kernel gives up the locks of a process before it shows its end, so
//! a front waits for the ends of all processes that have a slot, and then tries them all: no end is missed, and nothing is
//! looked at again and again.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::{FIRST_SLOT, Slots};
use crate::sys::poll::{self, Interest};
use crate::sys::{Errno, clock, is, lock, process};

/// No more wait, and no more processes are watched, however many slots there are.
const MOST_WAITING: u32 = 64;

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
}

impl Holders {
    /// There was none.
    fn is_empty(&self) -> bool {
        self.ends.is_empty() && !self.has_changed
    }

    fn append(&mut self, others: Holders) {
        self.ends.extend(others.ends);
        self.has_changed |= others.has_changed;
    }
}

impl Slots {
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
                poll::wait_any(&ends, Some(left))?;
            }
        }
    }

    /// Watches those that have one of these bytes. One of another process namespace can't be seen from here.
    fn holders(&self, first: u64, most: u32) -> io::Result<Holders> {
        let mut holders = Holders::default();
        let pids = lock::holders(&self.file, first, most.into())?;
        let visible = pids.into_iter().filter(|&pid| pid > 0);
        for pid in visible.take(MOST_WAITING as usize) {
            match process::open(pid) {
                Ok(end) => holders.ends.push(end),
                Err(error) if is(&error, Errno::ESRCH) => holders.has_changed = true,
                // The others are watched.
                Err(_) => {}
            }
        }
        Ok(holders)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::super::tests::{S, slots};
    use super::*;

    const HOLDER: &str = "import fcntl, sys
f = open(sys.argv[1], 'r+')
for byte in sys.argv[2:]:
    fcntl.lockf(f, fcntl.LOCK_EX, 1, int(byte))
print(flush=True)
sys.stdin.read()";

    /// Another process that holds these bytes until its standard input ends.
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
        let (line, brief) = (WaitingLine::Anonymous, Duration::from_millis(1));
        let began = clock::now();
        assert_eq!(slots.await_slot(1, line, brief).unwrap(), Awaited::Taken);
        assert!(clock::now() >= began + brief);
        lock::unlock(&slots.file, FIRST_SLOT).unwrap();
        drop(due.stdin.take());
        assert_eq!(slots.await_slot(1, line, S(60)).unwrap(), Awaited::Taken);
        due.wait().unwrap();
    }
}

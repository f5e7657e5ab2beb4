//! How a front waits for a slot: until a process that has one ends. Only so many wait at the same time, each in a place of
//! its own, which is a locked byte as a slot is. Decides neither who waits nor how long.
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

/// The places to wait lie behind the slots.
const FIRST_PLACE: u64 = 1 << 33;
/// No more wait, and no more processes are watched, however many slots there are.
const MOST_WAITING: u32 = 64;

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

/// The processes that have a slot, as far as they can be watched.
struct Holders {
    ends: Vec<OwnedFd>,
    /// One of them has ended before it could be watched.
    has_changed: bool,
}

impl Slots {
    /// Takes a place to wait; `None`: as many wait as there are slots, or 64 do.
    pub fn waiting_place(&self, most: u32) -> io::Result<Option<WaitingPlace<'_>>> {
        for place in 0..most.min(MOST_WAITING) {
            let byte = FIRST_PLACE + u64::from(place);
            if lock::try_lock(&self.file, byte)? {
                return Ok(Some(WaitingPlace { slots: self, byte }));
            }
        }
        Ok(None)
    }

    /// Takes a slot as [`Slots::take`] does, and waits for one for at most `patience`.
    pub fn take_within(&self, most: u32, patience: Duration) -> io::Result<Awaited> {
        if self.take(most)? {
            return Ok(Awaited::Taken);
        }
        let Some(_place) = self.waiting_place(most)? else {
            return Ok(Awaited::TooMany);
        };
        let deadline = clock::now() + patience;
        loop {
            let holders = self.holders(most)?;
            // After they are watched: none ends in between without being noticed.
            if self.take(most)? {
                return Ok(Awaited::Taken);
            }
            let left = deadline.saturating_sub(clock::now());
            if left.is_zero() || holders.ends.is_empty() && !holders.has_changed {
                return Ok(Awaited::TooLong);
            }
            if !holders.has_changed {
                let ends = holders.ends.iter();
                let ends: Vec<_> = ends.map(|end| (end.as_fd(), Interest::Read)).collect();
                poll::wait_any(&ends, Some(left))?;
            }
        }
    }

    /// Watches those that have a slot. One of another process namespace can't be seen from here.
    fn holders(&self, most: u32) -> io::Result<Holders> {
        let mut holders = Holders {
            ends: Vec::new(),
            has_changed: false,
        };
        let pids = lock::holders(&self.file, FIRST_SLOT, most.into())?;
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
        let short = slots.take_within(2, Duration::ZERO).unwrap();
        assert_eq!(short, Awaited::TooLong);
        drop(holder.stdin.take());
        assert_eq!(slots.take_within(2, S(60)).unwrap(), Awaited::Taken);
        holder.wait().unwrap();
    }

    #[test]
    fn no_more_wait_than_may() {
        let (dir, slots) = slots();
        let mut holder = holder(&dir, &[FIRST_SLOT, FIRST_PLACE]);
        assert_eq!(slots.take_within(1, S(60)).unwrap(), Awaited::TooMany);
        let place = slots.waiting_place(2).unwrap();
        assert_eq!(place.map(|place| place.byte), Some(FIRST_PLACE + 1));
        assert_eq!(slots.take_within(0, S(60)).unwrap(), Awaited::TooMany);
        drop(holder.stdin.take());
        holder.wait().unwrap();
    }
}

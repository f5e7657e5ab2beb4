//! The end of every wait: when it is, and how to wait for an event until then. Nothing here sleeps.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The time of an interpreter's start and end, at most, on a machine that does nothing else.
const SPAWN: Duration = Duration::from_millis(40);
/// For how long a measurement is used.
const FRESH: Duration = Duration::from_secs(3);
/// The largest factor: deadlines do not grow beyond it, however busy the machine.
pub(crate) const MOST_STRAIN: u32 = 6;

/// How many times longer everything takes now than on a machine that does nothing else, by the time of a spawn: 1 to 6.
pub(crate) fn strain() -> u32 {
    static KNOWN: Mutex<Option<(Instant, u32)>> = Mutex::new(None);
    // One thread measures; the others wait for its result.
    let mut known = KNOWN.lock().unwrap_or_else(|poison| poison.into_inner());
    match *known {
        Some((at, strain)) if at.elapsed() < FRESH => strain,
        _ => {
            let before = known.map_or(1, |(_, strain)| strain);
            let began = Instant::now();
            let mut spawn = Command::new("/usr/bin/python3");
            spawn.args(["-I", "-S", "-c", "pass"]).stdin(Stdio::null());
            let spawned = spawn.status();
            assert!(
                spawned.is_ok_and(|status| status.success()),
                "no interpreter"
            );
            let cost = began.elapsed().as_micros().div_ceil(SPAWN.as_micros());
            let strain = u32::try_from(cost)
                .unwrap_or(MOST_STRAIN)
                .clamp(1, MOST_STRAIN);
            *known = Some((Instant::now(), strain));
            // One fast spawn on a busy machine is luck: the factor falls by 1 at most.
            strain.max(before - 1)
        }
    }
}

/// The moment after which a wait has failed.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// Long enough for a slow and busy machine, short enough not to hang a run.
    pub(crate) fn soon() -> Self {
        Self::within(Duration::from_secs(30))
    }

    /// For something that takes so long at most on a machine that does nothing else.
    pub(crate) fn within(wait: Duration) -> Self {
        Self::after(wait * strain())
    }

    /// By the clock alone: for what must not happen until then.
    pub(crate) fn after(wait: Duration) -> Self {
        Self(Instant::now() + wait)
    }

    /// For a look without a wait.
    pub(crate) fn now() -> Self {
        Self::after(Duration::ZERO)
    }

    /// What is left; zero when it has passed.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Waits until `fd` can be read, is at its end or is broken; false when the deadline came first.
    pub(crate) fn readable(self, fd: &impl AsFd) -> bool {
        self.either_readable(&[fd.as_fd()])
    }

    /// The same for whichever of several is first.
    pub(crate) fn either_readable(self, fds: &[BorrowedFd<'_>]) -> bool {
        self.either(fds, PollFlags::POLLIN)
    }

    /// Waits until `fd` can be written to or is broken; false when the deadline came first.
    pub(crate) fn writable(self, fd: &impl AsFd) -> bool {
        self.either(&[fd.as_fd()], PollFlags::POLLOUT)
    }

    fn either(self, fds: &[BorrowedFd<'_>], events: PollFlags) -> bool {
        let mut polled: Vec<_> = fds.iter().map(|fd| PollFd::new(*fd, events)).collect();
        loop {
            // Rounded up: a poll of 0 ms in the last millisecond would spin.
            let left = i32::try_from(self.left().as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
            match poll(
                &mut polled,
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX),
            ) {
                Ok(0) if self.left().is_zero() => return false,
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => return true,
                Err(errno) => panic!(
                    "cannot poll {:?}: {errno}",
                    fds.iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>()
                ),
            }
        }
    }

    /// Waits until the process has ended; false when the deadline came first. It need not be a child.
    pub(crate) fn ended(self, pid: i32) -> bool {
        pidfd(pid).is_none_or(|fd| self.readable(&fd))
    }
}

/// A descriptor that is readable once the process has ended; None when it has gone.
pub(crate) fn pidfd(pid: i32) -> Option<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = RawFd::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the kernel has just given us this descriptor, and no other code has it.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

//! Signals: an alarm for the one call that waits for a lock, and a self-pipe for the loop. Works with handlers, and
//! blocks signals only while we become another version of ourselves: programs that we start inherit masks, but not
//! handlers.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, sigaction, sigprocmask,
};

pub use nix::sys::signal::Signal;

/// Unblocks every signal and gives each its default action, as an exec'd program expects to find them.
pub fn reset_all() {
    reset_actions();
    unblock_all();
}

/// Blocks every signal until [`unblock_all`], and gives each its default action, since the handlers do not survive the
/// exec.
pub fn hold_all() {
    // Only an invalid `how` can fail here.
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None);
    reset_actions();
}

fn reset_actions() {
    for signal in Signal::iterator() {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default action runs no code of ours. It can't be set for KILL and STOP, which always have it.
        let _ = unsafe { sigaction(signal, &default) };
    }
}

/// Signals that are held back from [`hold`] on, and delivered when this is dropped.
#[derive(Debug)]
pub struct HeldSignals {
    before: SigSet,
}

/// Holds signals back. A fork between this and the drop leaves them held in both processes: each has to drop its own.
pub fn hold(signals: &[Signal]) -> HeldSignals {
    let mut before = SigSet::empty();
    let held = signals.iter().copied().collect::<SigSet>();
    // Only an invalid `how` can fail here.
    let _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&held), Some(&mut before));
    HeldSignals { before }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

/// Empties the signal mask: event + mod_cgi starts a CGI with TERM blocked, and then waits 3 s to kill it.
pub fn unblock_all() {
    // Only an invalid `how` can fail here.
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// A write to a reader that is gone is an error and not a signal, as in Rust's runtime; and so is a write to a file
/// that may not grow (RLIMIT_FSIZE).
pub fn ignore_failed_writes() {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGPIPE, Signal::SIGXFSZ] {
        // SAFETY: ignoring runs no code of ours.
        let _ = unsafe { sigaction(signal, &ignore) };
    }
}

static RUNG: AtomicBool = AtomicBool::new(false);

/// A timer that interrupts a blocking call; stopped when it is dropped, since timers survive exec.
pub struct Alarm(());

impl Alarm {
    /// Rings after `patience`, and then again and again: if it rings just before the call blocks, the next ring ends
    /// it.
    pub fn set(patience: Duration) -> io::Result<Alarm> {
        extern "C" fn ring(_: libc::c_int) {
            RUNG.store(true, Ordering::Relaxed);
        }
        RUNG.store(false, Ordering::Relaxed);
        // No SA_RESTART: the call is to end.
        let action = SigAction::new(SigHandler::Handler(ring), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler only stores to an atomic.
        unsafe { sigaction(Signal::SIGALRM, &action) }?;
        arm(patience, Duration::from_millis(20))?;
        Ok(Alarm(()))
    }

    /// It has rung at least once.
    pub fn has_rung(&self) -> bool {
        RUNG.load(Ordering::Relaxed)
    }
}

/// Rings once, also after an exec: an alarm outlives it, and by default ends the process. When it is dropped it does
/// not ring.
pub fn ring_after(time: Duration) -> io::Result<Alarm> {
    // A time of less than a microsecond would count as none.
    arm(time.max(Duration::from_millis(1)), Duration::ZERO)?;
    Ok(Alarm(()))
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // A timer that was set can be stopped; if not, the next ring calls a handler that does no harm.
        let _ = arm(Duration::ZERO, Duration::ZERO);
    }
}

fn arm(first: Duration, then: Duration) -> io::Result<()> {
    let timeval = |d: Duration| libc::timeval {
        tv_sec: d.as_secs() as libc::time_t,
        tv_usec: libc::suseconds_t::from(d.subsec_micros()),
    };
    let timer = libc::itimerval {
        it_interval: timeval(then),
        it_value: timeval(first),
    };
    // SAFETY: `timer` is valid for the call, and no old value is asked for.
    let result =
        unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

static PIPE: AtomicI32 = AtomicI32::new(-1);

/// Signals as bytes in a pipe, each its number, for an event loop. Only one in a process.
#[derive(Debug)]
pub struct SignalPipe {
    read: OwnedFd,
    _write: OwnedFd,
    signals: Vec<Signal>,
}

impl SignalPipe {
    /// Handles these signals from now on.
    pub fn new(signals: &[Signal]) -> io::Result<SignalPipe> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        PIPE.store(write.as_raw_fd(), Ordering::Relaxed);
        let pipe = SignalPipe {
            read,
            _write: write,
            signals: signals.to_vec(),
        };
        pipe.handle()?;
        Ok(pipe)
    }

    /// Handles them again, after an exec that came back.
    pub fn handle(&self) -> io::Result<()> {
        extern "C" fn note(signal: libc::c_int) {
            let errno = Errno::last_raw();
            let byte = signal as u8;
            let pipe = PIPE.load(Ordering::Relaxed);
            // SAFETY: write(2) is async-signal-safe, and the byte lives for the call. If the pipe is full, no byte is
            // needed: the loop wakes anyway, and then looks at everything.
            let write = || unsafe { libc::write(pipe, (&raw const byte).cast(), 1) } == 1;
            // If the call failed for another reason than want of room, the signal would be lost.
            let _ = (0..3).any(|_| write() || Errno::last() == Errno::EAGAIN);
            Errno::set_raw(errno);
        }
        let action = SigAction::new(
            SigHandler::Handler(note),
            SaFlags::SA_RESTART,
            SigSet::empty(),
        );
        for &signal in &self.signals {
            // SAFETY: the handler makes one async-signal-safe call and restores errno.
            unsafe { sigaction(signal, &action) }?;
        }
        Ok(())
    }

    /// The signals that came since the last call.
    pub fn take(&self) -> Vec<Signal> {
        let mut bytes = [0; 64];
        let len = nix::unistd::read(&self.read, &mut bytes).unwrap_or(0);
        let known = |&byte: &u8| Signal::try_from(i32::from(byte)).ok();
        bytes[..len].iter().filter_map(known).collect()
    }
}

impl AsFd for SignalPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

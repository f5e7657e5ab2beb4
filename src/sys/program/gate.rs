//! The gate: a child waits there, ready to become its program, until it is let go or dropped; and what a child reports
//! to its parent, before the gate and behind it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, read, write};

use super::{CALLS, NotStarted};

/// How often a refused call of the gate is made again.
const TRIES: u32 = 3;
/// What a child says that waits for its gate.
const AT_GATE: u8 = 0xff;

/// A child that is to become a program, and waits for that. Dropped, it ends, and nothing of the program has run.
#[derive(Debug)]
pub struct Prepared {
    child: Pid,
    report: File,
    gate: Option<OwnedFd>,
}

impl Prepared {
    pub(super) fn new(child: Pid, report: File, gate: OwnedFd) -> Prepared {
        Prepared {
            child,
            report,
            gate: Some(gate),
        }
    }

    /// Lets it become the program; its pid.
    pub fn go(mut self) -> Result<i32, NotStarted> {
        let gate = self.gate.take();
        let opened = gate.as_ref().map(|gate| write(gate, b"x"));
        if let Some(Err(errno)) = opened {
            drop(gate);
            let _ = waitpid(self.child, None);
            return Err(match errno {
                // It was killed while it waited.
                Errno::EPIPE => NotStarted::by("fork")(Errno::ENOMEM),
                errno => NotStarted::by("write")(errno),
            });
        }
        match child_report(&mut self.report) {
            ChildReport::Failed(not) => {
                let _ = waitpid(self.child, None);
                Err(not)
            }
            ChildReport::AtGate | ChildReport::Running => Ok(self.child.as_raw()),
        }
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            drop(gate);
            let _ = waitpid(self.child, None);
        }
    }
}

/// In the child: says that it waits, and waits. `false`: it is to end, as its parent has dropped it, is gone, or could
/// not be told.
pub(super) fn wait(held: &OwnedFd, tell: &OwnedFd) -> bool {
    // What was refused once may be granted the next time. Without that word the parent waits for our end.
    let is_told = (0..TRIES).any(|_| write(tell, &[AT_GATE]).is_ok());
    let word = || read(held, &mut [0]);
    is_told && (0..TRIES).find_map(|_| word().ok()) == Some(1)
}

/// What a child has reported.
pub(super) enum ChildReport {
    AtGate,
    Failed(NotStarted),
    /// It has become the program.
    Running,
}

pub(super) fn child_report(report: &mut File) -> ChildReport {
    let mut call = [0];
    let mut errno = [0; 4];
    match report.read_exact(&mut call) {
        Err(_) => ChildReport::Running,
        Ok(()) if call == [AT_GATE] => ChildReport::AtGate,
        Ok(()) => {
            // The five bytes are one write.
            let _ = report.read_exact(&mut errno);
            ChildReport::Failed(NotStarted {
                call: CALLS.get(usize::from(call[0])).unwrap_or(&"execve"),
                error: io::Error::from_raw_os_error(i32::from_ne_bytes(errno)),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::os::fd::AsFd;
    use std::path::Path;
    use std::time::Duration;

    use nix::sys::signal::{Signal, kill};

    use super::super::super::files;
    use super::super::super::poll::{self, Interest};
    use super::super::super::process::{End, c_string, wait};
    use super::super::Program;
    use super::*;

    /// A child that is to write to the second pipe end, and the end to read that from.
    fn prepared() -> (Prepared, File) {
        let (out, into) = files::pipe().unwrap();
        let null = files::null().unwrap();
        let argv = [c"sh", c"-c", c"echo ran"].map(CStr::to_owned);
        let program = Program {
            path: Path::new("/bin/sh"),
            argv: &argv,
            environ: &[c_string(b"PATH=/usr/bin:/bin")],
            directory: None,
        };
        let fds = [null.as_fd(), into.as_fd(), null.as_fd()];
        let prepared = program.prepare_leader(&fds, None).unwrap();
        (prepared, File::from(out))
    }

    fn text(mut out: File) -> String {
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_child_that_is_let_go_runs() {
        let (prepared, out) = prepared();
        let child = prepared.go().unwrap();
        assert_eq!(text(out), "ran\n");
        assert_eq!(wait(child), Some(End::Exited(0)));
    }

    #[test]
    fn a_child_that_is_dropped_runs_nothing_and_is_gone() {
        let (prepared, out) = prepared();
        let child = prepared.child;
        drop(prepared);
        assert_eq!(text(out), "");
        assert_eq!(kill(child, None), Err(Errno::ESRCH));
    }

    #[test]
    fn a_child_that_was_killed_at_its_gate_is_a_shortage() {
        let (prepared, out) = prepared();
        let child = prepared.child;
        kill(child, Signal::SIGKILL).unwrap();
        // What another test forks may have the gate's other end for a moment, too.
        let gate = prepared.gate.as_ref().unwrap().as_fd();
        let limit = Duration::from_secs(10);
        assert!(poll::wait_one(gate, Interest::HangUp, limit).unwrap());
        assert_eq!(text(out), "");
        let not = prepared.go().unwrap_err();
        assert_eq!(not.error.raw_os_error(), Some(Errno::ENOMEM as i32));
        assert_eq!(kill(child, None), Err(Errno::ESRCH));
    }

    #[test]
    fn a_child_that_can_not_say_that_it_waits_ends() {
        let (held, _gate) = files::pipe().unwrap();
        let (report, tell) = files::pipe().unwrap();
        drop(report);
        assert!(!super::wait(&held, &tell), "and does not read its gate");
    }
}

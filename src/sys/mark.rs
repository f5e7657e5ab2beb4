//! The mark of the processes that a WSGI application has started: the soft value of RLIMIT_LOCKS, which every process
//! inherits. `src/app/begun.py` sets and describes it. Finds the processes that have a mark of this daemon, and ends
//! them.

use std::fs;
use std::mem::MaybeUninit;
use std::ptr;

use nix::libc;
use nix::unistd::{Pid, getsid};

use super::process;
use super::signal::Signal;

const OWNER: u64 = (1 << 24) - 1;
const AT_IMPORT: u64 = 1 << 48;

/// Kills the processes that this owner, a zygote or worker that has ended, has started and left running; `None`: those
/// of all owners. Not those that a request has started in a session of their own. Looks at each process of the host:
/// only for ends that are rare.
pub fn kill_left(owner: Option<i32>) {
    let Ok(entries) = fs::read_dir("/proc") else {
        return; // without /proc no process can be found
    };
    let session = getsid(None);
    for entry in entries.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Some(mark) = mark_of(pid) else {
            continue;
        };
        let by = (mark & OWNER) as i32;
        let is_ours = (mark >> 24 & OWNER) as i32 == process::pid() && by != pid;
        let is_wanted = owner.is_none_or(|owner| owner == by);
        if is_ours
            && is_wanted
            && (mark & AT_IMPORT != 0 || getsid(Some(Pid::from_raw(pid))) == session)
        {
            process::signal(pid, Signal::SIGKILL);
        }
    }
}

/// `None`: it has ended, or is another user's, or has no mark.
fn mark_of(pid: i32) -> Option<u64> {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: prlimit(2) writes one rlimit, and sets none where the new one is null.
    let result = unsafe { libc::prlimit(pid, libc::RLIMIT_LOCKS, ptr::null(), limit.as_mut_ptr()) };
    // SAFETY: it was written where the call has succeeded.
    (result == 0).then(|| unsafe { limit.assume_init() }.rlim_cur)
}

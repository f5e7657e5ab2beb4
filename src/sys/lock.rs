//! Record locks of one byte (fcntl(2), F_SETLK): they survive exec, no child inherits them, and the kernel
//! releases them however their holder ends. And the shared flock(2) that keeps cleaners away.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, Flock, FlockArg, fcntl};
use nix::libc;

use super::signal::Alarm;

/// Locks the byte; `false` if another process has it.
///
/// The lock belongs to the process: closing *any* descriptor of the same file releases it.
pub fn try_lock(file: &File, byte: u64) -> io::Result<bool> {
    match fcntl(
        file.as_fd(),
        FcntlArg::F_SETLK(&range(byte, 1, libc::F_WRLCK)),
    ) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Waits for the byte, at most `patience`; `false` if the time is over. Uses SIGALRM.
pub fn wait_lock(file: &File, byte: u64, patience: Duration) -> io::Result<bool> {
    let alarm = Alarm::set(patience)?;
    loop {
        match fcntl(
            file.as_fd(),
            FcntlArg::F_SETLKW(&range(byte, 1, libc::F_WRLCK)),
        ) {
            Ok(_) => return Ok(true),
            Err(Errno::EINTR) if alarm.has_rung() => return Ok(false),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Releases the byte.
pub fn unlock(file: &File, byte: u64) -> io::Result<()> {
    fcntl(
        file.as_fd(),
        FcntlArg::F_SETLK(&range(byte, 1, libc::F_UNLCK)),
    )?;
    Ok(())
}

/// The bytes of `from..from + len` that processes other than this one hold, each with its holder's pid.
pub fn holders(file: &File, from: u64, len: u64) -> io::Result<Vec<(u64, i32)>> {
    let mut found = Vec::new();
    let mut ranges = vec![(from, from + len)];
    while let Some((at, end)) = ranges.pop() {
        if at >= end {
            continue;
        }
        let mut lock = range(at, end - at, libc::F_WRLCK);
        fcntl(file.as_fd(), FcntlArg::F_GETLK(&mut lock))?;
        if i32::from(lock.l_type) == libc::F_UNLCK {
            continue;
        }
        // Neighbouring bytes of one process are one lock for the kernel; each is a slot for us.
        let start = (lock.l_start as u64).max(at);
        let stop = if lock.l_len == 0 {
            end
        } else {
            (lock.l_start + lock.l_len) as u64
        }
        .min(end);
        found.extend((start..stop).map(|byte| (byte, lock.l_pid)));
        // The kernel returns the oldest lock, not the one with the lowest byte.
        ranges.extend([(at, start), (stop, end)]);
    }
    Ok(found)
}

/// A shared lock on a directory, held until it is dropped: tmpfiles.d(5) cleaners leave a locked one alone.
pub fn share(directory: File) -> io::Result<Locked> {
    let locked = Flock::lock(directory, FlockArg::LockSharedNonblock);
    locked.map(Locked).map_err(|(_, errno)| errno.into())
}

/// The exclusive lock on a directory; `None`: it is shared by another process.
pub fn alone(directory: File) -> io::Result<Option<Locked>> {
    match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
        Ok(locked) => Ok(Some(Locked(locked))),
        Err((_, Errno::EAGAIN)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// See [`share`] and [`alone`].
#[derive(Debug)]
pub struct Locked(#[allow(dead_code)] Flock<File>);

fn range(from: u64, len: u64, kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: from as libc::off_t,
        l_len: len as libc::off_t,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    const HOLDER: &str = "import fcntl, sys
f = open(sys.argv[1], 'r+')
fcntl.lockf(f, fcntl.LOCK_EX, 2, 3)
print(flush=True)
sys.stdin.read()";

    #[test]
    fn another_process_s_lock_is_seen_and_waited_for() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut holder = Command::new("/usr/bin/python3")
            .args(["-c", HOLDER])
            .arg(file.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let file = file.as_file();
        let pid = holder.id() as i32;
        assert_eq!(holders(file, 0, 16).unwrap(), [(3, pid), (4, pid)]);
        assert!(!try_lock(file, 4).unwrap());
        assert!(try_lock(file, 5).unwrap());
        drop(holder.stdin.take());
        // The kernel gives the byte up when the holder ends; that the wait has an end is shown where a front
        // waits, since the alarm of a test may ring in another thread.
        assert!(wait_lock(file, 4, Duration::from_secs(5)).unwrap());
        holder.wait().unwrap();
        assert_eq!(holders(file, 0, 16).unwrap(), []);
    }
}

//! The descriptors that a program is given, and that it inherits no other.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::resource::{Resource, getrlimit};

use super::NotStarted;

/// The lowest number above those of `fds` and of the standard descriptors.
pub(super) fn first_free(fds: &[BorrowedFd<'_>]) -> RawFd {
    fds.len().max(3) as RawFd
}

pub(super) fn duplicate_above(fd: BorrowedFd<'_>, least: RawFd) -> nix::Result<OwnedFd> {
    let raw = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(least))?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Puts `fds` at 0, 1, 2 ...; all others close at the exec.
pub(super) fn arrange(fds: &[BorrowedFd<'_>]) -> Result<(), NotStarted> {
    // First above all places that are to be filled: otherwise one could be overwritten before it is copied.
    let above = first_free(fds);
    let high: Vec<OwnedFd> = fds
        .iter()
        .map(|&fd| duplicate_above(fd, above))
        .collect::<Result<_, _>>()
        .map_err(NotStarted::by("fcntl"))?;
    for (place, fd) in high.iter().enumerate() {
        // SAFETY: plain dup2 of open descriptors onto places that nothing in this child still uses.
        let placed = Errno::result(unsafe { libc::dup2(fd.as_raw_fd(), place as RawFd) });
        placed.map_err(NotStarted::by("dup2"))?;
    }
    mark_from(above);
    for place in fds.len()..above as usize {
        // SAFETY: nothing in this child uses the descriptors of places that were not given.
        unsafe { libc::close(place as RawFd) };
    }
    Ok(())
}

/// Has all descriptors from this one on closed at the exec.
pub fn mark_from(above: RawFd) {
    // SAFETY: marks descriptors and closes none; after the exec nothing knows them.
    let marked = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            above,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    // The flag is of Linux 5.11, and a filter may refuse the call.
    if marked == -1 {
        mark_one_by_one(above);
    }
}

/// The same, by the list in /proc, or, if that is missing, for all numbers up to the limit.
fn mark_one_by_one(above: RawFd) {
    let mark = |fd: RawFd| {
        // SAFETY: it takes any number. One that is not open needs no mark.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    };
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        let names = entries.flatten().map(|entry| entry.file_name());
        let open = names.filter_map(|name| name.to_str()?.parse().ok());
        open.filter(|&fd| fd >= above).for_each(mark);
    } else {
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((MOST_MARKED, MOST_MARKED));
        // A container's limit may be a thousand million, which would take too long.
        (above..soft.min(MOST_MARKED) as RawFd).for_each(mark);
    }
}

/// The most descriptors that are marked one by one.
const MOST_MARKED: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::super::super::files;
    use super::*;

    #[test]
    fn descriptors_are_marked_without_close_range_as_well() {
        let (one, _) = files::pipe().unwrap();
        let kept = |fd: &OwnedFd| fcntl(fd, FcntlArg::F_GETFD).unwrap() == 0;
        fcntl(&one, FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
        mark_one_by_one(one.as_raw_fd() + 1);
        assert!(kept(&one), "it is below");
        mark_one_by_one(one.as_raw_fd());
        assert!(!kept(&one));
    }
}

//! Changes in a folder as events (inotify): for waits whose end shows in the file system only.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::libc;

use super::Deadline;

/// What happens in one folder from now on.
pub(crate) struct Watch(File);

impl Watch {
    pub(crate) fn on(folder: &Path) -> Self {
        let path = CString::new(folder.as_os_str().as_bytes()).expect("a path has no NUL");
        let events = libc::IN_CREATE | libc::IN_DELETE | libc::IN_MODIFY | libc::IN_MOVE;
        // SAFETY: inotify_init1 takes an integer and touches no memory of ours.
        let fd = unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) };
        assert!(
            fd >= 0,
            "cannot make an inotify: {}",
            std::io::Error::last_os_error()
        );
        // SAFETY: the kernel has just given us this descriptor, and no other code has it.
        let file = unsafe { File::from_raw_fd(fd) };
        // SAFETY: `path` ends in NUL and lives until after the call.
        let watch = unsafe { libc::inotify_add_watch(fd, path.as_ptr(), events) };
        assert!(
            watch >= 0,
            "cannot watch {}: {}",
            folder.display(),
            std::io::Error::last_os_error()
        );
        Self(file)
    }

    /// Waits until the condition holds, looking at it now and after each change; false if it never did.
    pub(crate) fn until(
        &mut self,
        deadline: Deadline,
        mut condition: impl FnMut() -> bool,
    ) -> bool {
        self.until_or(deadline, &[], &mut condition)
    }

    /// The same, and gives up when one of the descriptors is readable.
    pub(crate) fn until_or(
        &mut self,
        deadline: Deadline,
        others: &[BorrowedFd<'_>],
        condition: &mut impl FnMut() -> bool,
    ) -> bool {
        loop {
            // It does not matter what has changed: the condition looks itself.
            while self.0.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {}
            if condition() {
                return true;
            }
            if others.iter().any(|fd| Deadline::now().readable(fd)) {
                return false;
            }
            let fds: Vec<_> = others.iter().copied().chain([self.0.as_fd()]).collect();
            if !deadline.either_readable(&fds) {
                return false;
            }
        }
    }
}

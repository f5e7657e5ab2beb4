//! Which app this is, by the file that the web server has run: as the normal front finds it, for a script. Where the
//! file is a symlink its configuration lies elsewhere, and the normal front looks for it.

use nix::libc::AT_SYMLINK_NOFOLLOW;
use polycgi::bounded::Bytes;
use polycgi::naming::{self, AppId};

use super::calls;
use super::stack::{Stack, text};

/// What its place is called.
#[inline(always)]
pub(super) fn id(stack: &Stack) -> Option<AppId> {
    let path = stack.exec_name;
    // SAFETY: the kernel's string; `name` is not looked at while its first byte is away.
    unsafe {
        let (folder, name) = naming::split(text(path));
        if !calls::status(path, AT_SYMLINK_NOFOLLOW)?.is_regular {
            return None;
        }
        let status = if folder.is_empty() {
            let mut here = Bytes::<2>::new();
            here.append(b".\0");
            calls::status(here.as_slice().as_ptr(), 0)?
        } else {
            // In place of the name's first byte, a NUL ends the folder.
            let cut = path.add(folder.len());
            let first = cut.replace(0);
            let status = calls::status(path, 0);
            cut.write(first);
            status?
        };
        Some(naming::app_id(status.device, status.inode, name))
    }
}

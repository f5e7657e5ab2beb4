//! Which app this is, by the file that the web server has run: a script, or a symlink to this program. Finds what the
//! normal front would find; refuses to read the file.

use nix::libc::AT_SYMLINK_NOFOLLOW;
use polycgi::bounded::Bytes;
use polycgi::naming::{self, AppId};

use super::block::Block;
use super::calls::{self, FileKind};
use super::stack::{Stack, text};

/// The path of a configuration file, with its NUL. Longer ones are for the normal front.
type ConfigPath = Bytes<112>;

/// The name of the app's place.
#[inline(always)]
pub(super) fn id(stack: &Stack, block: &Block) -> Option<AppId> {
    // SAFETY: the kernel has put a string there.
    match unsafe { calls::status(stack.exec_name, AT_SYMLINK_NOFOLLOW)?.kind } {
        FileKind::File => id_of_script(stack.exec_name),
        FileKind::Link => id_of_link(stack.exec_name, block),
        FileKind::Other => None,
    }
}

/// A script is its own configuration.
#[inline(always)]
fn id_of_script(path: *mut u8) -> Option<AppId> {
    // SAFETY: the kernel's string, on a stack that we may write. No slice of it is kept while one of its bytes is a
    // NUL.
    unsafe {
        let name = path.add(naming::split(text(path)).0.len());
        let folder = if name == path {
            let mut here = Bytes::<2>::new();
            here.append(b".\0");
            calls::status(here.as_slice().as_ptr(), 0)?
        } else {
            // A NUL in the place of the name's first byte ends the path of the folder.
            let first = name.replace(0);
            let status = calls::status(path, 0);
            name.write(first);
            status?
        };
        Some(naming::app_id(folder.device, folder.inode, text(name)))
    }
}

/// The configuration of a symlink to this program lies elsewhere.
#[inline(always)]
fn id_of_link(path: *const u8, block: &Block) -> Option<AppId> {
    // SAFETY: the kernel's string, which is not written to.
    let (_, link) = naming::split(unsafe { text(path) });
    let mut own = Bytes::<15>::new();
    own.append(b"/proc/self/exe\0");
    // SAFETY: both end in NUL.
    let (target, own) = unsafe {
        let own = calls::status(own.as_slice().as_ptr(), 0)?;
        (calls::status(path, 0)?, own)
    };
    let is_own = target.device == own.device && target.inode == own.inode;
    // A link to a script is for the normal front, and so is a link that is called like one of our own programs.
    if !is_own || naming::is_own_name(link) {
        return None;
    }
    let homes = block.home().map(Some).into_iter().chain([None]);
    for home in homes {
        let mut file = ConfigPath::new();
        for part in naming::config_path(home, naming::stem(link)) {
            file.append(part);
        }
        file.push(0);
        if file.is_full() {
            return None;
        }
        // SAFETY: it ends in NUL.
        let found = unsafe { calls::status(file.as_slice().as_ptr(), 0) };
        if found.is_some_and(|found| matches!(found.kind, FileKind::File)) {
            let (folder, name) = naming::split(file.as_slice());
            let mut path = ConfigPath::new();
            path.append(folder);
            path.push(0);
            // SAFETY: it ends in NUL.
            let folder = unsafe { calls::status(path.as_slice().as_ptr(), 0)? };
            let name = name.split_last()?.1;
            return Some(naming::app_id(folder.device, folder.inode, name));
        }
    }
    None
}

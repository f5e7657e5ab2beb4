//! Which file a path leads to, what it is, and who can change it. Knows what stat(2) tells; opens nothing.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::sys::stat::{SFlag, lstat, stat};

/// What makes a file this file: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Identity {
    pub device: u64,
    pub inode: u64,
}

/// The identity of what the path leads to. Allocates nothing.
pub fn identity(path: &Path) -> io::Result<Identity> {
    let stat = stat(path)?;
    Ok(Identity {
        device: stat.st_dev,
        inode: stat.st_ino,
    })
}

/// The identity of an open file.
pub fn identity_of(file: &fs::File) -> io::Result<Identity> {
    let found = file.metadata()?;
    Ok(Identity {
        device: found.dev(),
        inode: found.ino(),
    })
}

/// What lies at a path, a link not being followed. Allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Entry {
    File,
    Link,
    Other,
}

/// Asks the kernel.
pub fn entry(path: &Path) -> io::Result<Entry> {
    let mode = SFlag::from_bits_truncate(lstat(path)?.st_mode);
    Ok(match mode & SFlag::S_IFMT {
        SFlag::S_IFREG => Entry::File,
        SFlag::S_IFLNK => Entry::Link,
        _ => Entry::Other,
    })
}

/// What a file is at this moment: any edit makes it another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    identity: Identity,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The stamp of what the path leads to; `None` where there is nothing.
pub fn stamp(path: &Path) -> Option<Stamp> {
    fs::metadata(path).ok().map(|m| Stamp {
        identity: Identity {
            device: m.dev(),
            inode: m.ino(),
        },
        size: m.size(),
        modified: (m.mtime(), m.mtime_nsec()),
        changed: (m.ctime(), m.ctime_nsec()),
    })
}

/// Who can change a file or a directory, beside root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// Its owner.
    pub uid: u32,
    /// Every user may write it; of a directory with the sticky bit, only what is one's own.
    pub is_open: bool,
    /// The members of this group may, if it is not root's.
    pub group: Option<u32>,
}

/// Of what is at the path, a link not being followed.
pub fn control(path: &Path) -> io::Result<Control> {
    let found = fs::symlink_metadata(path)?;
    const STICKY: u32 = 0o1000;
    let mode = found.permissions().mode();
    let is_sticky = found.is_dir() && mode & STICKY != 0;
    // A link's own mode means nothing.
    let may_change = |bit| !found.is_symlink() && !is_sticky && mode & bit != 0;
    Ok(Control {
        uid: found.uid(),
        is_open: may_change(0o002),
        group: (may_change(0o020) && found.gid() != 0).then_some(found.gid()),
    })
}

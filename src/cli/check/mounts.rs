//! The file systems of this host, by the kernel's list: no file of them is touched, so one whose server is away can't
//! make us wait. Whether such a server answers is found out by a process that can be left behind.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config;
use crate::sys::files::{MOST_LINKS, parts};
use crate::sys::poll::{Interest, wait_one};
use crate::sys::{files, named, process, program};

/// How long the server of a file system may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A line of proc_pid_mountinfo(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MountPoint {
    pub(super) point: PathBuf,
    /// `ext4`, `nfs4`
    pub(super) kind: String,
}

impl MountPoint {
    pub(super) fn is_remote(&self) -> bool {
        let kinds = [
            "nfs",
            "nfs4",
            "cifs",
            "smb3",
            "smbfs",
            "9p",
            "afs",
            "ceph",
            "coda",
            "fuse.sshfs",
            "glusterfs",
        ];
        kinds.contains(&self.kind.as_str())
    }

    /// A process answers for it, here or elsewhere, and may not do so.
    fn may_be_silent(&self) -> bool {
        let kind = self.kind.as_str();
        self.is_remote()
            || ["autofs", "fuse", "fuseblk"].contains(&kind)
            || kind.starts_with("fuse.")
    }

    pub(super) fn is_memory(&self) -> bool {
        ["tmpfs", "ramfs"].contains(&self.kind.as_str())
    }
}

/// All of them, in the order in which they were mounted.
#[derive(Debug, Default)]
pub(super) struct MountTable(Vec<MountPoint>);

impl MountTable {
    pub(super) fn read() -> MountTable {
        let bytes = named::read(Path::new("/proc/self/mountinfo"), config::LONGEST_FILE);
        MountTable::parse(&String::from_utf8_lossy(&bytes.unwrap_or_default()))
    }

    fn parse(text: &str) -> MountTable {
        let mount = |line: &str| {
            let (before, after) = line.split_once(" - ")?;
            let point = unescaped(before.split(' ').nth(4)?);
            let kind = after.split(' ').next()?.to_owned();
            Some(MountPoint {
                point: point.into(),
                kind,
            })
        };
        MountTable(text.lines().filter_map(mount).collect())
    }

    /// The one that the path is on, by its name alone. Of two at one point the later one covers the other.
    pub(super) fn of(&self, path: &Path) -> Option<&MountPoint> {
        let on = self.0.iter().filter(|mount| path.starts_with(&mount.point));
        on.max_by_key(|mount| mount.point.components().count())
    }

    /// The first file system on the way to the path that does not answer. A symlink is followed only where the file
    /// system that it lies on answers.
    pub(super) fn silent_on(&self, path: &Path) -> Option<&MountPoint> {
        let mut left: VecDeque<OsString> = parts(path);
        let mut current = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = left.pop_front() {
            if part == ".." {
                current.pop();
                continue;
            }
            let next = current.join(&part);
            let mut mounted = self.0.iter().filter(|mount| mount.point == next);
            if let Some(mount) = mounted.next_back().filter(|mount| mount.may_be_silent())
                && !answers(&next)
            {
                return Some(mount);
            }
            match next.read_link() {
                Ok(to) if links < MOST_LINKS => {
                    links += 1;
                    if to.is_absolute() {
                        current = PathBuf::from("/");
                    }
                    for part in parts(&to).into_iter().rev() {
                        left.push_front(part);
                    }
                }
                // What is wrong with it, who goes there will see.
                _ => current = next,
            }
        }
        None
    }
}

/// Whether the file system at this path lets itself be looked at.
fn answers(path: &Path) -> bool {
    ends_within(PATIENCE, || {
        // What is there does not matter.
        let _ = path.metadata();
    })
}

/// Whether another process gets to the end of that in time.
fn ends_within(patience: Duration, look: impl FnOnce()) -> bool {
    let child = files::null().and_then(|null| program::fork_aside(null.as_fd(), look));
    let Ok(child) = child else {
        return true;
    };
    let ended = process::open(child)
        .and_then(|ended| wait_one(ended.as_fd(), Interest::Read, patience))
        .unwrap_or(true);
    process::end(child);
    ended
}

/// A blank is `\040`.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                plain.push(code.into());
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_answer_is_not_waited_for() {
        assert!(ends_within(Duration::from_secs(60), || {}));
        let sleep = || std::thread::sleep(Duration::from_secs(1000));
        assert!(!ends_within(Duration::from_millis(10), sleep));
    }

    #[test]
    fn the_mount_of_a_path() {
        let mounts = MountTable::parse(
            "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
             30 22 0:4 / /srv/my\\040apps rw shared:1 master:2 - nfs4 host:/x rw\n\
             31 22 0:5 / /tmp rw - ext4 x rw\n\
             32 22 0:6 / /tmp rw - tmpfs tmpfs rw\n",
        );
        let kind = |path: &str| mounts.of(Path::new(path)).map(|mount| mount.kind.clone());
        assert_eq!(kind("/srv/my apps/a").as_deref(), Some("nfs4"));
        assert_eq!(kind("/srv/my").as_deref(), Some("ext4"));
        assert_eq!(kind("/tmp/x").as_deref(), Some("tmpfs"));
        assert!(mounts.of(Path::new("/tmp")).unwrap().is_memory());
        assert!(mounts.of(Path::new("/srv/my apps")).unwrap().is_remote());
    }
}

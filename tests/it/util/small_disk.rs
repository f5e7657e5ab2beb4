//! A file system of a few pages in a folder of a test: a disk that is soon really full. Only root can mount one.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::{command, not_tested};

/// A tmpfs on that folder until this is dropped; open files keep it alive.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where this process may not mount: an unprivileged user, or a container without CAP_SYS_ADMIN.
    pub(crate) fn on(folder: &Path, size: &str) -> Option<Self> {
        let (uid, gid) = command::user();
        let options = format!("size={size},mode=700,uid={uid},gid={gid}");
        let tmpfs = Some("tmpfs");
        match mount(
            tmpfs,
            folder,
            tmpfs,
            MsFlags::empty(),
            Some(options.as_str()),
        ) {
            Ok(()) => Some(Self(folder.to_owned())),
            Err(Errno::EPERM | Errno::EACCES) => {
                not_tested("a small disk, which needs to be mounted");
                None
            }
            Err(errno) => panic!("cannot mount on {}: {errno}", folder.display()),
        }
    }

    /// From now on nothing can be written. No process may have a file of it open for writing.
    pub(crate) fn make_read_only(&self) {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        let none: Option<&str> = None;
        mount(none, &self.0, none, flags, none).expect("root can mount it anew");
    }

    /// Writes until nothing more goes in.
    #[track_caller]
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.0.join("fill")).expect("a file can be made");
        let full = loop {
            if let Err(error) = file.write_all(&[b'x'; 512]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull);
    }

    /// There is room again.
    pub(crate) fn clear(&self) {
        std::fs::remove_file(self.0.join("fill")).expect("a file can be removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(errno) = umount2(&self.0, MntFlags::MNT_DETACH) {
            eprintln!("cannot unmount {}: {errno}", self.0.display());
        }
    }
}

//! Files and directories of our own: private, of our uid, and not where another user has put something in their way.
//! Knows owners, modes and file systems; not what is in the files.

use std::ffi::{CString, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::statfs::{FsType, fstatfs};
use nix::unistd::{AccessFlags, access};

/// Why a directory can't be ours.
#[derive(Debug)]
pub enum Unusable {
    /// The system refuses a call.
    Io(io::Error),
    /// It exists and is not what it must be; in words.
    Squatted(&'static str),
}

/// Checks that `path` is a real directory of this uid, mode 0700, on a local file system; makes it (but not its
/// parents) if it is missing.
pub fn own_directory(path: &Path, uid: u32) -> Result<(), Unusable> {
    match privately(|| DirBuilder::new().mode(0o700).create(path)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Unusable::Io(error));
        }
        _ => {}
    }
    is_own_directory(path, uid)
}

/// The same without making it: one that is missing is `NotFound`.
pub fn is_own_directory(path: &Path, uid: u32) -> Result<(), Unusable> {
    let directory = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::ENOTDIR | libc::ELOOP) => Unusable::Squatted("it is not a directory"),
            Some(libc::EACCES) if fs::symlink_metadata(path).is_ok_and(|m| m.uid() != uid) => {
                Unusable::Squatted("it belongs to another user")
            }
            _ => Unusable::Io(error),
        })?;
    let metadata = directory.metadata().map_err(Unusable::Io)?;
    if metadata.uid() != uid {
        return Err(Unusable::Squatted("it belongs to another user"));
    }
    if metadata.permissions().mode() & 0o777 != 0o700 {
        return Err(Unusable::Squatted("its mode is not 0700"));
    }
    if is_remote(&directory) {
        return Err(Unusable::Squatted("it is on a network file system"));
    }
    Ok(())
}

/// Whether it may be such a directory, by what the kernel knows of it: no server of a file system is asked, which could
/// make us wait. Whoever uses it looks again.
pub fn seems_own_directory(path: &Path, uid: u32) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT | libc::AT_STATX_DONT_SYNC;
    let mask = libc::STATX_MODE | libc::STATX_TYPE | libc::STATX_UID;
    let mut found = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: `path` ends in NUL, and statx(2) writes no more than the structure.
    let result = unsafe {
        libc::statx(
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            mask,
            found.as_mut_ptr(),
        )
    };
    // SAFETY: all zeros are a statx.
    let found = unsafe { found.assume_init() };
    let wanted = (libc::S_IFDIR | 0o700) as u16;
    result == 0 && found.stx_uid == uid && found.stx_mode & !0o7000 == wanted
}

/// Locks and sockets of one host mean nothing on another.
fn is_remote(file: &File) -> bool {
    // NFS, SMB, CIFS, SMB2, Coda, AFS, 9P: statfs(2).
    const REMOTE: [FsType; 7] = [
        FsType(0x6969),
        FsType(0x517B),
        FsType(0xFF53_4D42),
        FsType(0xFE53_4D42),
        FsType(0x7375_7245),
        FsType(0x5346_414F),
        FsType(0x0102_1997),
    ];
    fstatfs(file).is_ok_and(|fs| REMOTE.contains(&fs.filesystem_type()))
}

/// Opens or makes a file of ours, for reading and writing, mode 0600, and not through a link.
pub fn open_own(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            privately(|| options.create(true).mode(0o600).open(path))
        }
        opened => opened,
    }
}

/// Replaces the file at `path` with one of ours, mode 0600, that has this text: written beside it and renamed.
pub fn replace_own(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut new = path.to_path_buf().into_os_string();
    new.push(".new");
    // A file that is left of a write that found no room may have any mode.
    let _ = fs::remove_file(&new);
    make_own(Path::new(&new), text)?;
    fs::rename(new, path)
}

/// Makes a file of ours, mode 0600, that has this text; an error if there is one already.
pub fn make_own(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    privately(|| options.open(path))?.write_all(text)
}

/// A regular file of this uid and its content, if that is at most `limit` bytes. A link is not followed; a FIFO or a
/// device is refused, and not waited for.
pub fn read_own(path: &Path, uid: u32, limit: usize) -> io::Result<(File, Vec<u8>)> {
    // One more byte than the limit, which shows that there are more: the size may have changed since the look at it.
    let (file, bytes) = read_own_start(path, uid, limit.saturating_add(1))?;
    if bytes.len() > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok((file, bytes))
}

/// The same of a file that may be longer: at most `limit` bytes of its beginning.
pub fn read_own_start(path: &Path, uid: u32, limit: usize) -> io::Result<(File, Vec<u8>)> {
    let mut options = OpenOptions::new();
    options.read(true);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    let mut file = options.open(path)?;
    let found = file.metadata()?;
    if found.uid() != uid {
        return Err(io::Error::other("it belongs to another user"));
    }
    if !found.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    (&mut file).take(limit as u64).read_to_end(&mut bytes)?;
    Ok((file, bytes))
}

/// Whether this process could make and remove files in the directory; if not, why.
pub fn can_make_in(directory: &Path) -> io::Result<()> {
    Ok(access(directory, AccessFlags::W_OK | AccessFlags::X_OK)?)
}

/// Whether this process could read and write the file; if not, why.
pub fn can_change(file: &Path) -> io::Result<()> {
    Ok(access(file, AccessFlags::R_OK | AccessFlags::W_OK)?)
}

/// A new directory of ours below this one, with a name that can't be guessed.
pub fn private_directory(below: &Path, name: &str) -> io::Result<PathBuf> {
    let template = below.join(format!("{name}.XXXXXX"));
    let mut path = CString::new(template.into_os_string().into_vec())?.into_bytes_with_nul();
    // SAFETY: a NUL-terminated string of ours, in which mkdtemp(3) overwrites the six letters.
    let made = unsafe { libc::mkdtemp(path.as_mut_ptr().cast()) };
    if made.is_null() {
        return Err(io::Error::last_os_error());
    }
    path.pop();
    Ok(PathBuf::from(OsString::from_vec(path)))
}

/// Runs `make` with a umask under which new files are private. Then the umask is what it was: the app has it as well.
pub fn privately<T>(make: impl FnOnce() -> T) -> T {
    // SAFETY: it takes and gives a number. Not nix's, which panics where the host refuses the call.
    let before = unsafe { libc::umask(0o077) };
    let made = make();
    // SAFETY: as above.
    unsafe { libc::umask(before) };
    made
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_read_is_regular_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let uid = super::super::super::process::uid();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "12345").unwrap();
        assert_eq!(read_own(&at("file"), uid, 5).unwrap().1, b"12345");
        assert!(read_own(&at("file"), uid, 4).is_err(), "too large");
        assert!(read_own(&at("file"), uid + 1, 5).is_err(), "another's");
        symlink(at("file"), at("link")).unwrap();
        assert!(read_own(&at("link"), uid, 5).is_err(), "a link");
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        symlink("/dev/zero", at("device")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        File::create(at("sparse"))
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for name in ["fifo", "device", "folder", "sparse", "socket", "nothing"] {
            assert!(read_own(&at(name), uid, 1 << 16).is_err(), "{name}");
        }
    }

    #[test]
    fn a_private_directory_is_ours_and_new() {
        let dir = tempfile::tempdir().unwrap();
        let made = [(); 2].map(|()| private_directory(dir.path(), "x").unwrap());
        assert_ne!(made[0], made[1]);
        for path in made {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o700);
        }
        assert!(private_directory(&dir.path().join("no"), "x").is_err());
    }

    #[test]
    fn only_a_real_private_directory_of_ours_will_do() {
        let dir = tempfile::tempdir().unwrap();
        let uid = super::super::super::process::uid();
        let at = |name: &str| dir.path().join(name);
        assert!(own_directory(&at("new"), uid).is_ok());
        assert!(own_directory(&at("new"), uid).is_ok(), "again");
        assert!(matches!(
            own_directory(&at("new"), uid + 1),
            Err(Unusable::Squatted(_))
        ));
        fs::set_permissions(at("new"), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(
            own_directory(&at("new"), uid),
            Err(Unusable::Squatted(_))
        ));
        symlink(at("new"), at("link")).unwrap();
        assert!(matches!(
            own_directory(&at("link"), uid),
            Err(Unusable::Squatted(_))
        ));
        fs::write(at("file"), "").unwrap();
        assert!(matches!(
            own_directory(&at("file"), uid),
            Err(Unusable::Squatted(_))
        ));
        assert!(matches!(
            own_directory(&at("a/b"), uid),
            Err(Unusable::Io(_))
        ));
    }
}

//! Files and directories: identity, ownership, and what kind of file system they are on.

use std::ffi::{CString, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, FdFlag, OFlag, fallocate, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{FileStat, SFlag, fstat, lstat, stat};
use nix::sys::statfs::fstatfs;
use nix::unistd::{AccessFlags, access};

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

/// Why a directory can't be ours.
#[derive(Debug)]
pub enum Unusable {
    /// The system says no.
    Io(io::Error),
    /// It exists and is not what it must be; in words.
    Squatted(&'static str),
}

/// Makes sure that `path` is a real directory of our own uid, mode 0700, on a local file system; makes it
/// (but not its parents) if it is missing.
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

/// Locks and sockets of one host mean nothing on another.
fn is_remote(file: &File) -> bool {
    const NFS: i64 = 0x6969;
    const SMB: i64 = 0x517B;
    const CIFS: i64 = 0xFF53_4D42;
    const SMB2: i64 = 0xFE53_4D42;
    const CODA: i64 = 0x7375_7245;
    const AFS: i64 = 0x5346_414F;
    const NINE_P: i64 = 0x0102_1997;
    fstatfs(file)
        .is_ok_and(|fs| [NFS, SMB, CIFS, SMB2, CODA, AFS, NINE_P].contains(&fs.filesystem_type().0))
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

/// Puts a file of ours with this text in the place of the one at `path`, mode 0600: written beside and renamed.
pub fn replace_own(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut new = path.to_path_buf().into_os_string();
    new.push(".new");
    // What is left of a write that found no room may have any mode.
    let _ = fs::remove_file(&new);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = privately(|| options.open(&new))?;
    file.write_all(text)?;
    fs::rename(new, path)
}

/// What a regular file of this uid holds, if that is at most `limit` bytes; and the file. It is at the path itself, and
/// not behind a link; a FIFO or a device is refused, and not waited for.
pub fn read_own(path: &Path, uid: u32, limit: usize) -> io::Result<(File, Vec<u8>)> {
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
    // One more than the limit, which tells: the size may have changed since anyone looked.
    let most = (limit as u64).saturating_add(1);
    (&mut file).take(most).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
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

/// A new directory for ourselves below this one, with a name that could not be foreseen.
pub fn private_directory(below: &Path, name: &str) -> io::Result<PathBuf> {
    let template = below.join(format!("{name}.XXXXXX"));
    let mut path = CString::new(template.into_os_string().into_vec())?.into_bytes_with_nul();
    // SAFETY: a NUL-terminated string of ours, in which mkdtemp(3) writes over the six letters.
    let made = unsafe { libc::mkdtemp(path.as_mut_ptr().cast()) };
    if made.is_null() {
        return Err(io::Error::last_os_error());
    }
    path.pop();
    Ok(PathBuf::from(OsString::from_vec(path)))
}

/// Reserves the first `len` bytes on the disk, so that no later write to a map of them can fail.
pub fn reserve(file: &File, len: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, len as libc::off_t) {
        Ok(()) => Ok(()),
        Err(errno @ (Errno::EDQUOT | Errno::EFBIG | Errno::ENOSPC)) => Err(errno.into()),
        // A file system that can't, or a host that refuses the call: what is not there yet is written.
        Err(_) => {
            let size = file.metadata()?.len();
            let missing = usize::try_from(len.saturating_sub(size)).unwrap_or(usize::MAX);
            file.write_all_at(&vec![0; missing], size)
        }
    }
}

/// Where files without a name are made when the kernel refuses one in memory.
const FOLDERS: [&str; 3] = ["/dev/shm", "/tmp", "/var/tmp"];

/// A file in memory, without a name; `inherit`: an exec'd program keeps it. Where memfd_create(2) is refused, the file
/// lies in a folder for temporary files, and has no name there either.
pub fn in_memory(name: &std::ffi::CStr, inherit: bool) -> io::Result<File> {
    let flags = if inherit {
        MFdFlags::empty()
    } else {
        MFdFlags::MFD_CLOEXEC
    };
    match memfd_create(name, flags) {
        Ok(fd) => Ok(File::from(fd)),
        Err(errno) => {
            let file = on_disk().ok_or(errno)?;
            if inherit {
                fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty()))?;
            }
            Ok(file)
        }
    }
}

/// The same, of `len` bytes that can be mapped: no touch of them can fail.
pub fn in_memory_of(name: &std::ffi::CStr, len: u64) -> io::Result<File> {
    let made = memfd_create(name, MFdFlags::MFD_CLOEXEC)
        .map_err(io::Error::from)
        .and_then(|fd| {
            let file = File::from(fd);
            file.set_len(len)?;
            Ok(file)
        });
    made.or_else(|error| {
        let file = on_disk().ok_or(error)?;
        reserve(&file, len)?;
        Ok(file)
    })
}

fn on_disk() -> Option<File> {
    FOLDERS
        .iter()
        .find_map(|folder| unnamed(Path::new(folder)).ok())
}

/// A pipe that holds these bytes, and then ends. An exec'd program keeps it.
pub fn pipe_holding(bytes: &[u8]) -> io::Result<OwnedFd> {
    let (out, into) = pipe()?;
    if let Ok(len) = libc::c_int::try_from(bytes.len()) {
        // A pipe that can't be made larger may be large enough.
        let _ = fcntl(&into, FcntlArg::F_SETPIPE_SZ(len));
    }
    // There is no reader yet that could make room.
    fcntl(&into, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    if nix::unistd::write(&into, bytes)? < bytes.len() {
        return Err(io::ErrorKind::StorageFull.into());
    }
    fcntl(&out, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(out)
}

/// Runs `make` while new files of this process are nobody's but its owner's. The umask is then what it was: it is
/// the app's as well.
pub fn privately<T>(make: impl FnOnce() -> T) -> T {
    // SAFETY: it takes and gives a number. Not nix's, which panics where the host refuses the call.
    let before = unsafe { libc::umask(0o077) };
    let made = make();
    // SAFETY: as above.
    unsafe { libc::umask(before) };
    made
}

/// What a descriptor is, as far as writing to it without waiting is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A pipe.
    Fifo,
    /// A file or a device: always ready.
    Other,
    /// A socket.
    Socket,
}

/// Asks the kernel.
pub fn kind(fd: BorrowedFd<'_>) -> Kind {
    fstat(fd).map_or(Kind::Other, |stat| kind_of(&stat))
}

/// What a descriptor is, and which; in one call.
pub fn described(fd: BorrowedFd<'_>) -> io::Result<(Kind, Identity)> {
    let stat = fstat(fd)?;
    let identity = Identity {
        device: stat.st_dev,
        inode: stat.st_ino,
    };
    Ok((kind_of(&stat), identity))
}

fn kind_of(stat: &FileStat) -> Kind {
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFIFO => Kind::Fifo,
        SFlag::S_IFSOCK => Kind::Socket,
        _ => Kind::Other,
    }
}

/// How many bytes wait in a pipe or a socket.
pub fn waiting(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut count: libc::c_int = 0;
    // SAFETY: the call writes one int, to where it is told.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) })?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// How many bytes come out of a descriptor before its end, where the kernel knows: in a file the rest of it, in a
/// device nothing. `None`: a pipe or a socket.
pub fn rest(fd: BorrowedFd<'_>) -> Option<u64> {
    let stat = fstat(fd).ok()?;
    if kind_of(&stat) != Kind::Other {
        return None;
    }
    let at = nix::unistd::lseek(fd, 0, nix::unistd::Whence::SeekCur).unwrap_or(0);
    Some(u64::try_from(stat.st_size.saturating_sub(at)).unwrap_or(0))
}

/// A new file in this directory without a name: it is gone with its last descriptor.
pub fn unnamed(directory: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    let opened = privately(|| {
        let mut unnamed = options.clone();
        unnamed.custom_flags(libc::O_TMPFILE).open(directory)
    });
    match opened {
        // A file system, or a kernel, that knows no files without a name.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR)) => {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let nth = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = directory.join(format!(".polycgi-{}-{nth}", std::process::id()));
            let file = privately(|| options.create_new(true).open(&path))?;
            fs::remove_file(&path)?;
            Ok(file)
        }
        opened => opened,
    }
}

/// Reserves `len` bytes at `at` on the disk, so that a later write there finds room; the file's size stays.
pub fn reserve_beyond(file: &File, at: u64, len: u64) -> io::Result<()> {
    let (at, len) = (libc::off_t::try_from(at), libc::off_t::try_from(len));
    let (Ok(at), Ok(len)) = (at, len) else {
        return Err(io::ErrorKind::FileTooLarge.into());
    };
    Ok(fallocate(
        file,
        FallocateFlags::FALLOC_FL_KEEP_SIZE,
        at,
        len,
    )?)
}

/// A copy of a descriptor, close-on-exec.
pub fn duplicate(fd: impl AsFd) -> io::Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned()
}

/// Standard input is this from now on, and after an exec.
pub fn become_input(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(nix::unistd::dup2_stdin(fd)?)
}

/// /dev/null, for reading and writing. Where there is none, a pipe that has nobody at its other end: reading finds the
/// end, and writing fails.
pub fn null() -> io::Result<OwnedFd> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null");
    null.map(OwnedFd::from)
        .or_else(|error| pipe().map(|(out, _)| out).map_err(|_| error))
}

/// A pipe: what is written to the second comes out of the first.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_left_of_a_file_is_known() {
        use std::io::Read;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        assert_eq!(rest(file.as_fd()), Some(0));
        std::io::Seek::rewind(&mut file).unwrap();
        assert_eq!(rest(file.as_fd()), Some(10));
        file.read_exact(&mut [0; 3]).unwrap();
        assert_eq!(rest(file.as_fd()), Some(7));
        file.set_len(2).unwrap();
        assert_eq!(rest(file.as_fd()), Some(0));
        assert_eq!(rest(null().unwrap().as_fd()), Some(0));
        let (out, _into) = pipe().unwrap();
        assert_eq!(rest(out.as_fd()), None);
    }

    #[test]
    fn what_is_read_is_regular_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let uid = super::super::process::uid();
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
    fn a_pipe_holds_what_it_was_given_or_is_none() {
        use std::io::Read;
        let bytes = vec![b'x'; 200_000];
        let mut read = Vec::new();
        let mut pipe = File::from(pipe_holding(&bytes).unwrap());
        pipe.read_to_end(&mut read).unwrap();
        assert!(read == bytes);
        // More than an unprivileged user gets, and root's limit is not far above.
        assert!(pipe_holding(&vec![0; 1 << 31]).is_err());
    }

    #[test]
    fn what_no_memory_is_given_for_lies_on_a_disk() {
        let file = on_disk().unwrap();
        reserve(&file, 16_384).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 16_384);
        assert_eq!(file.metadata().unwrap().nlink(), 0, "it has no name");
    }

    #[test]
    fn only_a_real_private_directory_of_ours_will_do() {
        let dir = tempfile::tempdir().unwrap();
        let uid = super::super::process::uid();
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

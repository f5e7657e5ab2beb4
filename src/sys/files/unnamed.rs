//! Files without a name, in memory or on a disk, and room for what is written to a file. Knows where the host refuses
//! one way and what to do instead; not what the files are for.

use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, FdFlag, fallocate, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::own::privately;

/// Reserves the first `len` bytes on the disk, so that no later write to a map of them can fail.
pub fn reserve(file: &File, len: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, len as libc::off_t) {
        Ok(()) => Ok(()),
        Err(errno @ (Errno::EDQUOT | Errno::EFBIG | Errno::ENOSPC)) => Err(errno.into()),
        // A file system that can't, or a host that refuses the call: the missing bytes are written.
        Err(_) => {
            let size = file.metadata()?.len();
            let missing = usize::try_from(len.saturating_sub(size)).unwrap_or(usize::MAX);
            file.write_all_at(&vec![0; missing], size)
        }
    }
}

/// Reserves `len` bytes at `at` on the disk, so that a later write finds room; the file's size stays.
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

/// Where files without a name are made when the kernel refuses one in memory.
const FOLDERS: [&str; 3] = ["/dev/shm", "/tmp", "/var/tmp"];

/// A file in memory, without a name. `inherit`: an exec'd program keeps it. If memfd_create(2) is refused, the file is
/// in a folder for temporary files, and has no name there either.
pub fn in_memory(name: &CStr, inherit: bool) -> io::Result<File> {
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

/// The same, of `len` bytes that can be mapped: no access to them can fail.
pub fn in_memory_of(name: &CStr, len: u64) -> io::Result<File> {
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

/// A new file without a name in this directory: it is deleted with its last descriptor.
pub fn unnamed(directory: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    let opened = privately(|| {
        let mut unnamed = options.clone();
        unnamed.custom_flags(libc::O_TMPFILE).open(directory)
    });
    match opened {
        // The file system, or the kernel, has no files without a name.
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn what_no_memory_is_given_for_lies_on_a_disk() {
        let file = on_disk().unwrap();
        reserve(&file, 16_384).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 16_384);
        assert_eq!(file.metadata().unwrap().nlink(), 0, "it has no name");
    }
}

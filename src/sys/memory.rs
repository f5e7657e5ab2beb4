//! Memory that several processes share.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::files;

/// A shared map of the first bytes of a file.
#[derive(Debug)]
struct Map {
    at: NonNull<u8>,
    len: NonZeroUsize,
}

impl Map {
    /// The file must be at least `len` bytes long and stay so, or a touch is SIGBUS.
    fn new(file: &File, len: NonZeroUsize) -> io::Result<Map> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new map at a place of the kernel's choice touches nobody's memory.
        let at = unsafe { mmap(None, len, protection, MapFlags::MAP_SHARED, file, 0) }?;
        Ok(Map { at: at.cast(), len })
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: `at` and `len` are those of the map, and no reference into it outlives `self`.
        let _ = unsafe { munmap(self.at.cast(), self.len.get()) };
    }
}

/// Numbers in a file, shared by everybody who maps it; each is read and written whole.
#[derive(Debug)]
pub struct Words(Map);

impl Words {
    /// Maps `count` numbers. The file must hold them on its disk ([`files::reserve`]).
    pub fn map(file: &File, count: usize) -> io::Result<Words> {
        let bytes = count.checked_mul(8).and_then(NonZeroUsize::new);
        Ok(Words(Map::new(
            file,
            bytes.ok_or(io::ErrorKind::InvalidInput)?,
        )?))
    }

    /// The number at `index`.
    pub fn at(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.0.len.get() / 8, "outside the map");
        // SAFETY: within the map (just checked) and aligned, since maps begin at a page; other processes touch it
        // with whole aligned accesses only, as this one does.
        unsafe { self.0.at.cast::<AtomicU64>().add(index).as_ref() }
    }
}

/// One byte for each worker, in a page that has a descriptor and no name. A worker sets its own before its first
/// write to a client.
#[derive(Debug)]
pub struct Page {
    map: Map,
    file: File,
}

impl Page {
    /// Bytes in a page; all are 0.
    pub const LEN: usize = 4096;

    /// A new page.
    pub fn new() -> io::Result<Page> {
        let file = files::in_memory(c"polycgi-workers", false)?;
        file.set_len(Page::LEN as u64)?;
        let len = NonZeroUsize::new(Page::LEN).ok_or(io::ErrorKind::InvalidInput)?;
        let map = Map::new(&file, len)?;
        Ok(Page { map, file })
    }

    /// Sets a worker's byte back.
    pub fn clear(&self, index: u16) {
        self.byte(index).store(0, Ordering::SeqCst);
    }

    /// The worker may have written to its client.
    pub fn is_set(&self, index: u16) -> bool {
        self.byte(index).load(Ordering::SeqCst) != 0
    }

    fn byte(&self, index: u16) -> &AtomicU8 {
        assert!(usize::from(index) < Page::LEN, "outside the page");
        // SAFETY: within the map, as just checked; every access to it is of one byte.
        unsafe { self.map.at.cast::<AtomicU8>().add(index.into()).as_ref() }
    }
}

impl AsFd for Page {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_maps_of_a_file_see_one_another() {
        let file = tempfile::tempfile().unwrap();
        files::reserve(&file, 64).unwrap();
        let (one, other) = (Words::map(&file, 8).unwrap(), Words::map(&file, 8).unwrap());
        one.at(7).store(42, Ordering::SeqCst);
        assert_eq!(other.at(7).load(Ordering::SeqCst), 42);
    }

    #[test]
    fn a_byte_is_set_by_whoever_has_the_descriptor() {
        let page = Page::new().unwrap();
        nix::sys::uio::pwrite(&page.file, b"\x01", 5).unwrap();
        assert!(page.is_set(5) && !page.is_set(4));
        page.clear(5);
        assert!(!page.is_set(5));
    }
}

//! Memory that several processes share: numbers in a file, and the board of the daemon and its workers. Knows where
//! which number stands; not what follows from it.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

use super::files;

/// A shared map of the first bytes of a file.
#[derive(Debug)]
struct Map {
    at: NonNull<u8>,
    len: NonZeroUsize,
}

impl Map {
    /// The file must be at least `len` bytes long and stay so, or an access is a SIGBUS.
    fn new(file: &File, len: NonZeroUsize) -> io::Result<Map> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new map at an address of the kernel's choice touches no memory that is in use.
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

/// Numbers in a file, shared by all processes that map it; each is read and written whole.
#[derive(Debug)]
pub struct Numbers(Map);

impl Numbers {
    /// Maps `count` numbers. The file must hold them on its disk ([`files::reserve`]).
    pub fn map(file: &File, count: usize) -> io::Result<Numbers> {
        let bytes = count.checked_mul(8).and_then(NonZeroUsize::new);
        Ok(Numbers(Map::new(
            file,
            bytes.ok_or(io::ErrorKind::InvalidInput)?,
        )?))
    }

    /// The same numbers in memory of our own, for a process that only reads: no other process sees a change of them.
    pub fn copied(bytes: &[u8]) -> io::Result<Numbers> {
        let len = NonZeroUsize::new(bytes.len()).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: as in `Map::new`.
        let at = unsafe { mmap_anonymous(None, len, protection, MapFlags::MAP_PRIVATE) }?;
        let map = Map { at: at.cast(), len };
        // SAFETY: the map is new, as long as `bytes`, and not known elsewhere.
        unsafe {
            map.at
                .copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len())
        };
        Ok(Numbers(map))
    }

    /// How many there are.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.0.len.get() / 8
    }

    /// The number at `index`.
    pub fn at(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.len(), "outside the map");
        // SAFETY: within the map (just checked) and aligned, since maps begin at a page. Other processes only make
        // whole and aligned accesses, as this one does.
        unsafe { self.0.at.cast::<AtomicU64>().add(index).as_ref() }
    }
}

/// What the daemon and its workers tell one another without a message: a file in memory that all of them map. The
/// workers' side is `src/app/board.py`. Numbers are in the host's byte order, and each is read and written whole.
///
/// | from byte | for | type | written by | what |
/// | --- | --- | --- | --- | --- |
/// | 0 | each worker | u8 | the worker | 1 before its first write to the client, 2 once a write has failed; the daemon sets it to 0 |
/// | 4096 | each worker | u32 | the worker | blocks that it has read or written since its start; wraps |
/// | 8192 | each worker | u8 | the daemon | what the worker must know of its request: [`Told`] |
/// | 12288 | all | u64 | the daemon | bytes in the spool |
/// | 12296 | all | u64 | the daemon | the most bytes that the spool may hold |
/// | 12304 | all | u64 | the daemon | requests that wait for a worker |
/// | 12312 | all | u64 | the daemon | until when workers may take requests from the listeners themselves (CLOCK_BOOTTIME, ns) |
/// | 16384 | each worker | [`Desk`] | the worker | the requests that it has taken itself |
/// | 540672 | each worker | 16400 bytes | the worker | the one that it has: three u32, its connection's number there, its listener's, the header's length; from byte 16 on the header |
///
/// A desk has 512 bytes: four u64, from byte 32 on [`Board::BINS`] u32, which wrap.
///
/// | number | what |
/// | --- | --- |
/// | 0 | when its request began (CLOCK_BOOTTIME, ns); 0: it has none of its own |
/// | 1 | when its last one ended |
/// | 2 | how many it has served |
/// | 3 | the time that they took, in µs |
///
/// `each worker`: a place for each of [`Board::WORKERS`], by the worker's index.
#[derive(Debug)]
pub struct Board {
    map: Map,
    file: File,
}

/// What a worker finds at its next block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Told {
    /// Go on.
    Nothing = 0,
    /// The client is gone: the rest of the response is not needed.
    Gone = 1,
    /// The request has taken too long: nothing may be written any more.
    Overdue = 2,
}

/// What a worker has served by itself since it, or another worker in its place, began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desk {
    /// How many requests.
    pub served: u64,
    /// The time that they took.
    pub took: Duration,
    /// When the last one ended.
    pub ended: Duration,
    /// How many took how long, in the bins of `figures`. They wrap.
    pub bins: [u32; Board::BINS],
}

const _: () = assert!(Board::DESK_BINS + 4 * Board::BINS <= Board::DESK);

impl Board {
    /// Bytes in all; each is 0 at first.
    pub const LEN: usize =
        Board::HEADERS + Board::WORKERS as usize * (Board::HEADER_NUMBERS + Board::HEADER);
    /// The most workers that there is room for.
    pub const WORKERS: u16 = 1024;
    /// From which byte on a worker says whether it has written.
    pub const WRITTEN: usize = 0;
    /// From which byte on a worker counts its blocks.
    pub const MOVED: usize = 4096;
    /// From which byte on a worker is told of its request.
    pub const TOLD: usize = 8192;
    /// From which byte on the numbers for all workers stand.
    pub const SPOOL: usize = 12_288;
    /// From which byte on the desks stand.
    pub const DESKS: usize = 16_384;
    /// Bytes of a desk.
    pub const DESK: usize = 512;
    /// Where the bins of a desk begin.
    pub const DESK_BINS: usize = 32;
    /// From which byte on the headers stand.
    pub const HEADERS: usize = Board::DESKS + Board::WORKERS as usize * Board::DESK;
    /// Bytes of the numbers before a header.
    pub const HEADER_NUMBERS: usize = 16;
    /// The largest header.
    pub const HEADER: usize = 16_384;
    /// How many bins a desk has.
    pub const BINS: usize = 96;

    /// A new board.
    pub fn new() -> io::Result<Board> {
        let file = files::in_memory_of(c"polycgi-workers", Board::LEN as u64)?;
        let len = NonZeroUsize::new(Board::LEN).ok_or(io::ErrorKind::InvalidInput)?;
        let map = Map::new(&file, len)?;
        Ok(Board { map, file })
    }

    /// A request begins: resets what was written and told.
    pub fn clear(&self, worker: u16) {
        self.byte(Board::WRITTEN, worker).store(0, Ordering::SeqCst);
        self.byte(Board::TOLD, worker)
            .store(Told::Nothing as u8, Ordering::SeqCst);
    }

    /// The worker may have written to its client.
    pub fn has_written(&self, worker: u16) -> bool {
        self.byte(Board::WRITTEN, worker).load(Ordering::SeqCst) != 0
    }

    /// The worker has written to its client, and the client took all of it.
    pub fn has_written_all(&self, worker: u16) -> bool {
        self.byte(Board::WRITTEN, worker).load(Ordering::SeqCst) == 1
    }

    /// How many blocks the worker has read or written since its start; wraps.
    pub fn moved(&self, worker: u16) -> u32 {
        assert!(worker < Board::WORKERS, "outside the board");
        // SAFETY: within the map, as just checked, and aligned: the map begins at a page. Every access is whole.
        unsafe {
            let moved = self.map.at.add(Board::MOVED).cast::<AtomicU32>();
            moved.add(worker.into()).as_ref().load(Ordering::SeqCst)
        }
    }

    /// Tells a worker something of its request. The worse state stays: an overdue request stays overdue when its client
    /// goes as well.
    pub fn tell(&self, worker: u16, what: Told) {
        self.byte(Board::TOLD, worker)
            .fetch_max(what as u8, Ordering::SeqCst);
    }

    /// Tells all workers how many bytes the spool holds, and how many it may.
    pub fn tell_spool(&self, used: u64, limit: u64) {
        self.number(0).store(used, Ordering::SeqCst);
        self.number(1).store(limit, Ordering::SeqCst);
    }

    /// Tells all workers how many requests wait for one of them.
    pub fn tell_waiting(&self, waiting: u64) {
        self.number(2).store(waiting, Ordering::SeqCst);
    }

    /// Tells all workers until when they may take requests themselves.
    pub fn tell_until(&self, until: Duration) {
        let nanos = u64::try_from(until.as_nanos()).unwrap_or(u64::MAX);
        self.number(3).store(nanos, Ordering::SeqCst);
    }

    /// Since when the worker has a request that it has taken itself.
    pub fn direct_since(&self, worker: u16) -> Option<Duration> {
        let began = self.desk_number(worker, 0).load(Ordering::SeqCst);
        (began > 0).then(|| Duration::from_nanos(began))
    }

    /// The request that a worker has taken itself: its connection's number there, its listener's, and the header. To be
    /// asked only by who has taken the worker's claim: then they stand still.
    pub fn header(&self, worker: u16) -> (i32, u32, Vec<u8>) {
        assert!(worker < Board::WORKERS, "outside the board");
        let each = Board::HEADER_NUMBERS + Board::HEADER;
        let at = Board::HEADERS + usize::from(worker) * each;
        let number = |nth: usize| {
            // SAFETY: as in `moved`; a header's place begins at a multiple of 16.
            unsafe { self.map.at.add(at).cast::<AtomicU32>().add(nth).as_ref() }
                .load(Ordering::SeqCst)
        };
        let len = (number(2) as usize).min(Board::HEADER);
        let bytes = (0..len).map(|nth| {
            // SAFETY: within the map; every access to it is of one byte.
            let byte = unsafe {
                let byte = self.map.at.add(at + Board::HEADER_NUMBERS + nth);
                byte.cast::<AtomicU8>().as_ref()
            };
            byte.load(Ordering::Relaxed)
        });
        (number(0) as i32, number(1), bytes.collect())
    }

    /// The worker has no request: what took one there before may have died.
    pub fn clear_desk(&self, worker: u16) {
        self.desk_number(worker, 0).store(0, Ordering::SeqCst);
    }

    /// What the worker has served by itself so far.
    pub fn desk(&self, worker: u16) -> Desk {
        let number = |nth| self.desk_number(worker, nth).load(Ordering::SeqCst);
        Desk {
            served: number(2),
            took: Duration::from_micros(number(3)),
            ended: Duration::from_nanos(number(1)),
            bins: std::array::from_fn(|bin| self.desk_bin(worker, bin).load(Ordering::SeqCst)),
        }
    }

    fn desk_number(&self, worker: u16, nth: usize) -> &AtomicU64 {
        assert!(worker < Board::WORKERS && nth < 4, "outside the board");
        let at = Board::DESKS + usize::from(worker) * Board::DESK;
        // SAFETY: as in `moved`; a desk begins at a multiple of 8.
        unsafe { self.map.at.add(at).cast::<AtomicU64>().add(nth).as_ref() }
    }

    fn desk_bin(&self, worker: u16, bin: usize) -> &AtomicU32 {
        assert!(
            worker < Board::WORKERS && bin < Board::BINS,
            "outside the board"
        );
        let at = Board::DESKS + usize::from(worker) * Board::DESK + Board::DESK_BINS;
        // SAFETY: likewise.
        unsafe { self.map.at.add(at).cast::<AtomicU32>().add(bin).as_ref() }
    }

    fn number(&self, nth: usize) -> &AtomicU64 {
        assert!(nth < 4, "outside the board");
        // SAFETY: as in `moved`.
        unsafe {
            let numbers = self.map.at.add(Board::SPOOL).cast::<AtomicU64>();
            numbers.add(nth).as_ref()
        }
    }

    fn byte(&self, part: usize, worker: u16) -> &AtomicU8 {
        assert!(worker < Board::WORKERS, "outside the board");
        let at = part + usize::from(worker);
        // SAFETY: within the map, as just checked; every access to it is of one byte.
        unsafe { self.map.at.cast::<AtomicU8>().add(at).as_ref() }
    }
}

impl AsFd for Board {
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
        let (one, other) = (
            Numbers::map(&file, 8).unwrap(),
            Numbers::map(&file, 8).unwrap(),
        );
        one.at(7).store(42, Ordering::SeqCst);
        assert_eq!(other.at(7).load(Ordering::SeqCst), 42);
    }

    #[test]
    fn a_process_that_has_the_descriptor_writes_on_the_board() {
        let board = Board::new().unwrap();
        let write = |bytes: &[u8], at| nix::sys::uio::pwrite(&board.file, bytes, at).unwrap();
        write(b"\x01", 5);
        assert!(board.has_written(5) && !board.has_written(4));
        assert!(board.has_written_all(5) && !board.has_written_all(4));
        write(b"\x02", 5);
        assert!(board.has_written(5) && !board.has_written_all(5));
        board.tell(5, Told::Gone);
        board.clear(5);
        assert!(!board.has_written(5));
        write(&7u32.to_ne_bytes(), 4096 + 4 * 1023);
        assert_eq!((board.moved(1023), board.moved(1022)), (7, 0));
        board.tell(1023, Told::Overdue);
        board.tell(1023, Told::Gone);
        board.tell_spool(3, 9);
        let mut bytes = vec![0; Board::LEN];
        nix::sys::uio::pread(&board.file, &mut bytes, 0).unwrap();
        assert_eq!((bytes[8192 + 1023], bytes[8192 + 5]), (2, 0));
        assert_eq!(bytes[12_288..12_296], 3u64.to_ne_bytes());
        assert_eq!(bytes[12_296..12_304], 9u64.to_ne_bytes());
        board.tell_waiting(5);
        nix::sys::uio::pread(&board.file, &mut bytes, 0).unwrap();
        assert_eq!(bytes[12_304..12_312], 5u64.to_ne_bytes());
    }

    #[test]
    fn a_desk_and_a_header_are_what_their_worker_writes() {
        let board = Board::new().unwrap();
        let write = |bytes: &[u8], at: usize| {
            nix::sys::uio::pwrite(&board.file, bytes, at as i64).unwrap();
        };
        let last = Board::WORKERS - 1;
        let desk = Board::DESKS + usize::from(last) * Board::DESK;
        assert_eq!(board.direct_since(last), None);
        for (nth, number) in [7_000_000_000, 5_000_000_000, 3_u64, 250]
            .into_iter()
            .enumerate()
        {
            write(&number.to_ne_bytes(), desk + 8 * nth);
        }
        write(
            &2_u32.to_ne_bytes(),
            desk + Board::DESK_BINS + 4 * (Board::BINS - 1),
        );
        assert_eq!(board.direct_since(last), Some(Duration::from_secs(7)));
        let found = board.desk(last);
        assert_eq!((found.served, found.took), (3, Duration::from_micros(250)));
        assert_eq!(found.ended, Duration::from_secs(5));
        assert_eq!((found.bins[Board::BINS - 1], found.bins[0]), (2, 0));
        assert_eq!(board.desk(last - 1).served, 0);
        board.clear_desk(last);
        assert_eq!(board.direct_since(last), None);
        let at = Board::LEN - Board::HEADER_NUMBERS - Board::HEADER;
        for (nth, number) in [17_u32, 2, 5].into_iter().enumerate() {
            write(&number.to_ne_bytes(), at + 4 * nth);
        }
        write(b"words of another", at + Board::HEADER_NUMBERS);
        assert_eq!(board.header(last), (17, 2, b"words".to_vec()));
        // A worker that lies about the length gets no more than its own place.
        write(&u32::MAX.to_ne_bytes(), at + 8);
        assert_eq!(board.header(last).2.len(), Board::HEADER);
        board.tell_until(Duration::from_nanos(9));
        let mut bytes = [0; 8];
        nix::sys::uio::pread(&board.file, &mut bytes, 12_312).unwrap();
        assert_eq!(bytes, 9_u64.to_ne_bytes());
    }
}

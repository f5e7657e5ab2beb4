//! Where a message-body is kept until the process that serves the request wants it: up to 64 kB in memory, more in a
//! file without a name. Knows bytes and the room for them; not who sends them, nor until when.
//!
//! # Theory of operation
//! Room is reserved before bytes are written, in pieces that grow with what has come. If the length of a body is known,
//! room is reserved even before the read: bytes without room are not read, and the client waits. If it is not known
//! ([`Ahead::take`]), the app can't be told the length before the body has ended, so a body without room is refused.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::config::Config;
use crate::page::Failure;
use crate::sys::{Errno, files, is};

/// Bytes that are kept in memory.
pub const IN_MEMORY: usize = 65_536;
/// The largest piece in which room is reserved, in bytes.
const PIECE: u64 = 1 << 20;
/// Retry-After, in seconds, for a body that found no room: some of the others are done by then.
const RETRY_AFTER: u32 = 10;

/// The part of a message-body that was read so far, or all of it.
#[derive(Debug, Default)]
pub enum Ahead {
    /// No byte.
    #[default]
    Nothing,
    /// The bytes.
    Memory(Vec<u8>),
    /// A file without a name: its bytes, and what is reserved for it in the spool.
    #[allow(missing_docs)]
    Spool { file: File, len: u64, reserved: u64 },
}

/// Where there is room for bodies.
#[derive(Clone, Copy, Debug)]
pub struct Room<'a> {
    /// `spool-dir`.
    pub directory: &'a Path,
    /// Bytes that `spool-limit` leaves.
    pub left: u64,
}

/// The most that a body without a length may have, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct SpoolLimits {
    /// `body-limit`; none is the largest number.
    pub body: u64,
    /// `spool-limit`, for bodies that don't stay in memory.
    pub spool: u64,
}

/// Why bytes can't be kept.
#[derive(Debug)]
pub enum NoRoom {
    /// The body is larger than `body-limit`.
    Body,
    /// The system refuses it.
    Disk(io::Error),
    /// Other bodies take all of `spool-limit`.
    Others,
    /// The body alone is larger than `spool-limit`.
    Spool,
}

impl SpoolLimits {
    /// What an app's configuration allows.
    pub fn of(config: &Config) -> SpoolLimits {
        SpoolLimits {
            body: config.limits.body.unwrap_or(u64::MAX),
            spool: config.spool.limit,
        }
    }

    /// Whether a body of so many bytes may be kept.
    pub fn check(self, len: u64) -> Result<(), NoRoom> {
        if len > self.body {
            Err(NoRoom::Body)
        } else if len > IN_MEMORY as u64 && len > self.spool {
            Err(NoRoom::Spool)
        } else {
            Ok(())
        }
    }
}

impl NoRoom {
    /// What the client gets.
    pub fn failure(&self) -> Failure {
        match self {
            NoRoom::Body | NoRoom::Spool => Failure::BodyTooLarge,
            NoRoom::Disk(_) | NoRoom::Others => Failure::Overloaded {
                retry_after: RETRY_AFTER,
            },
        }
    }

    /// Whether this is worth a line in the log: that `body-limit` works as configured is not.
    pub fn is_news(&self) -> bool {
        !matches!(self, NoRoom::Body)
    }
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoRoom::Body => f.write_str("the message-body is larger than body-limit"),
            NoRoom::Disk(error) => write!(f, "cannot keep the message-body: {error}"),
            NoRoom::Others => f.write_str("cannot keep the message-body: spool-limit is reached"),
            NoRoom::Spool => f.write_str("the message-body is larger than spool-limit"),
        }
    }
}

impl Ahead {
    /// Bytes of the body that it holds.
    pub fn len(&self) -> u64 {
        match self {
            Ahead::Nothing => 0,
            Ahead::Memory(bytes) => bytes.len() as u64,
            Ahead::Spool { len, .. } => *len,
        }
    }

    /// It holds no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Another process has it: frees what is in memory. Returns how many bytes those were.
    pub fn give_up_memory(&mut self) -> u64 {
        match self {
            Ahead::Memory(bytes) => {
                let len = bytes.len() as u64;
                *self = Ahead::Nothing;
                len
            }
            Ahead::Nothing | Ahead::Spool { .. } => 0,
        }
    }

    /// How many bytes of the spool it takes.
    pub fn spooled(&self) -> u64 {
        match self {
            Ahead::Spool { reserved, .. } => *reserved,
            Ahead::Nothing | Ahead::Memory(_) => 0,
        }
    }

    /// A file that holds it, from the file's beginning on; `None` if there are no bytes.
    pub fn to_file(&self) -> io::Result<Option<File>> {
        match self {
            Ahead::Nothing => Ok(None),
            Ahead::Memory(bytes) => {
                let file = files::in_memory(c"polycgi-body", false)?;
                file.write_all_at(bytes, 0)?;
                Ok(Some(file))
            }
            Ahead::Spool { file, .. } => file.try_clone().map(Some),
        }
    }

    /// Makes room for `more` bytes of a body of `length`.
    pub fn make_room(&mut self, more: u64, length: u64, room: Room<'_>) -> Result<(), NoRoom> {
        self.reserve(more, Some(length), room)
    }

    fn reserve(&mut self, more: u64, length: Option<u64>, room: Room<'_>) -> Result<(), NoRoom> {
        let (len, reserved) = (self.len(), self.spooled());
        let is_in_memory = matches!(self, Ahead::Nothing | Ahead::Memory(_));
        if is_in_memory && len + more <= IN_MEMORY as u64 || len + more <= reserved {
            return Ok(());
        }
        let least = len + more - reserved;
        let rest = length.map_or(PIECE, |length| length - reserved);
        // No more than has come: a client that sends little takes no room from others.
        let piece = PIECE.min(len.max(IN_MEMORY as u64));
        let piece = piece.min(rest).min(room.left).max(least);
        if piece > room.left {
            return Err(NoRoom::Others);
        }
        let reserve = |file: &File, at| match files::reserve_beyond(file, at, piece) {
            // The file system can't reserve: a write will fail instead, which is early enough for a body that is
            // refused anyway.
            Err(error) if length.is_none() && is(&error, Errno::EOPNOTSUPP) => Ok(()),
            other => other,
        };
        match self {
            Ahead::Spool { file, reserved, .. } => {
                reserve(file, *reserved).map_err(NoRoom::Disk)?;
                *reserved += piece;
            }
            Ahead::Nothing | Ahead::Memory(_) => {
                let file = files::unnamed(room.directory).and_then(|file| {
                    reserve(&file, 0)?;
                    if let Ahead::Memory(bytes) = &*self {
                        file.write_all_at(bytes, 0)?;
                    }
                    Ok(file)
                });
                *self = Ahead::Spool {
                    file: file.map_err(NoRoom::Disk)?,
                    len,
                    reserved: piece,
                };
            }
        }
        Ok(())
    }

    /// Keeps bytes for which room was made.
    pub fn push(&mut self, block: &[u8]) -> io::Result<()> {
        match self {
            Ahead::Nothing => *self = Ahead::Memory(block.to_vec()),
            Ahead::Memory(bytes) => bytes.extend_from_slice(block),
            Ahead::Spool { file, len, .. } => {
                file.write_all_at(block, *len)?;
                *len += block.len() as u64;
            }
        }
        Ok(())
    }

    /// Keeps bytes of a body whose length is not known yet.
    pub fn take(
        &mut self,
        block: &[u8],
        limits: SpoolLimits,
        room: Room<'_>,
    ) -> Result<(), NoRoom> {
        let more = block.len() as u64;
        limits.check(self.len() + more)?;
        self.reserve(more, None, room)?;
        self.push(block).map_err(NoRoom::Disk)
    }

    /// The body has ended: gives back the room that was reserved beyond it.
    pub fn end(&mut self) {
        if let Ahead::Spool {
            file,
            len,
            reserved,
        } = self
            && file.set_len(*len).is_ok()
        {
            *reserved = *len;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cgi::StatusCode;

    const AMPLE: SpoolLimits = SpoolLimits {
        body: u64::MAX,
        spool: 1 << 30,
    };

    fn content(ahead: &Ahead) -> Vec<u8> {
        let Some(file) = ahead.to_file().unwrap() else {
            return Vec::new();
        };
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn limits_are_reached_and_not_before() {
        let directory = tempfile::tempdir().unwrap();
        // the body, body-limit, spool-limit, left of it
        let cases = [
            (0, 0, 0, 0, "kept"),
            (1, 0, 0, 0, "Body"),
            (65_536, 65_536, 0, 0, "kept"),
            (65_537, 65_536, 1 << 20, 1 << 20, "Body"),
            (65_537, u64::MAX, 65_536, 65_536, "Spool"),
            (65_537, u64::MAX, 65_537, 65_537, "kept"),
            (65_537, u64::MAX, 65_537, 65_536, "Others"),
            (2_000_000, u64::MAX, 2_000_000, 2_000_000, "kept"),
            (2_000_001, u64::MAX, 2_000_000, 2_000_000, "Spool"),
            (2_000_000, 1_999_999, 2_000_000, 2_000_000, "Body"),
            (2_000_000, u64::MAX, 2_000_000, 1_999_999, "Others"),
        ];
        for (size, body, spool, left, expected) in cases {
            let mut ahead = Ahead::Nothing;
            let limits = SpoolLimits { body, spool };
            let mut kept = Ok(());
            for block in vec![7; size].chunks(60_000) {
                let room = Room {
                    directory: directory.path(),
                    left: left - ahead.spooled(),
                };
                kept = kept.and_then(|()| ahead.take(block, limits, room));
            }
            ahead.end();
            let found = kept
                .as_ref()
                .map_or_else(|no| format!("{no:?}"), |()| "kept".into());
            assert_eq!(found, expected, "{size} {limits:?} {left}");
            assert!(ahead.spooled() <= left);
            if kept.is_ok() {
                assert_eq!(content(&ahead).len(), size);
            }
        }
    }

    #[test]
    fn a_disk_that_says_no_is_told_with_its_reason() {
        let room = Room {
            directory: Path::new("/nonexistent"),
            left: 1 << 30,
        };
        let mut ahead = Ahead::Nothing;
        ahead.take(&[1; 65_536], AMPLE, room).unwrap();
        let no = ahead.take(&[1], AMPLE, room).unwrap_err();
        assert!(matches!(no, NoRoom::Disk(_)), "{no}");
        assert!(no.is_news() && no.to_string().contains("No such file"));
        assert_eq!(no.failure().status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(NoRoom::Spool.failure(), Failure::BodyTooLarge);
    }

    #[test]
    fn room_grows_with_what_has_come() {
        let directory = tempfile::tempdir().unwrap();
        let room = Room {
            directory: directory.path(),
            left: 1 << 30,
        };
        let mut ahead = Ahead::Nothing;
        for _ in 0..100 {
            ahead.make_room(30_000, 1 << 30, room).unwrap();
            ahead.push(&[1; 30_000]).unwrap();
            let (len, reserved) = (ahead.len(), ahead.spooled());
            assert!(reserved <= 2 * len && reserved <= len + PIECE, "{reserved}");
        }
        assert!(ahead.spooled() >= ahead.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_the_blocks_the_bytes_are_the_same(
            sizes in prop::collection::vec(prop_oneof![0..10usize, 0..70_000usize], 0..40),
        ) {
            let directory = tempfile::tempdir().unwrap();
            let room = Room { directory: directory.path(), left: 1 << 30 };
            let total: usize = sizes.iter().sum();
            let all: Vec<u8> = (0..total as u32).map(|n| (n / 3) as u8).collect();
            let mut ahead = Ahead::default();
            let mut at = 0;
            for size in sizes {
                ahead.take(&all[at..at + size], AMPLE, room).unwrap();
                at += size;
            }
            ahead.end();
            prop_assert_eq!(ahead.len(), total as u64);
            let in_file = if total > IN_MEMORY { total as u64 } else { 0 };
            prop_assert_eq!(ahead.spooled(), in_file);
            prop_assert!(content(&ahead) == all);
        }
    }
}

//! How bodies come in, from pipes that the tests fill.

use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::*;
use crate::sys::files;
use std::fs::File;
use std::os::fd::AsFd;

const LATE: Duration = Duration::from_secs(9);

struct Upload {
    scratch: Scratch,
    directory: tempfile::TempDir,
    out: std::os::fd::OwnedFd,
    into: File,
}

impl Upload {
    fn new() -> Upload {
        let (out, into) = files::pipe().unwrap();
        Upload {
            scratch: Scratch::new().unwrap(),
            directory: tempfile::tempdir().unwrap(),
            out,
            into: File::from(into),
        }
    }

    fn read(&mut self, body: &mut Body, left: u64, now: Duration) -> Result<Came, Unread> {
        let directory = self.directory.path();
        let room = Room { directory, left };
        body.read(self.out.as_fd(), &mut self.scratch, room, now)
    }
}

fn content(body: Body) -> Vec<u8> {
    let Some(file) = body.into_ahead().to_file().unwrap() else {
        return Vec::new();
    };
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn a_small_body_stays_in_memory() {
    let mut upload = Upload::new();
    let mut body = Body::new(10, Ahead::Nothing);
    let waits = |moved| Came::Waits { moved };
    assert_eq!(upload.read(&mut body, 0, LATE).unwrap(), waits(false));
    upload.into.write_all(b"12345").unwrap();
    assert_eq!(upload.read(&mut body, 0, LATE).unwrap(), waits(true));
    upload.into.write_all(b"67890 and more").unwrap();
    assert_eq!(upload.read(&mut body, 0, LATE).unwrap(), Came::Enough);
    assert_eq!((body.len(), body.spooled()), (10, 0));
    assert_eq!(content(body), b"1234567890");
    assert_eq!(files::waiting(upload.out.as_fd()).unwrap(), 9);
}

#[test]
fn a_large_slow_one_goes_to_the_spool() {
    let mut upload = Upload::new();
    let all: Vec<u8> = (0..3_000_000u32).map(|n| (n / 5) as u8).collect();
    let mut body = Body::new(all.len() as u64, Ahead::Nothing);
    for (nth, block) in all.chunks(50_000).enumerate() {
        upload.into.write_all(block).unwrap();
        let now = LATE * nth as u32;
        let came = upload.read(&mut body, 1 << 30, now).unwrap();
        let is_last = (nth + 1) * 50_000 == all.len();
        assert_eq!(came == Came::Enough, is_last, "{nth} {came:?}");
    }
    assert!(body.spooled() >= all.len() as u64);
    assert!(content(body) == all);
    assert_eq!(
        std::fs::read_dir(upload.directory.path()).unwrap().count(),
        0
    );
}

#[test]
fn a_fast_one_is_left_to_the_worker() {
    let mut upload = Upload::new();
    let mut body = Body::new(1 << 30, Ahead::Nothing);
    let block = [7; 65_536];
    for nth in 1..=16 {
        upload.into.write_all(&block).unwrap();
        let came = upload.read(&mut body, 1 << 30, LATE).unwrap();
        assert_eq!(came == Came::Enough, nth == 16, "{nth}");
    }
    assert_eq!(content(body).len(), 1 << 20);
}

#[test]
fn a_fast_one_of_a_client_that_stops_at_the_head_is_read_whole() {
    let mut upload = Upload::new();
    let mut body = Body::all(32 * 65_536, Ahead::Nothing);
    for nth in 1..=32 {
        upload.into.write_all(&[7; 65_536]).unwrap();
        let came = upload.read(&mut body, 1 << 30, LATE).unwrap();
        assert_eq!(came == Came::Enough, nth == 32, "{nth}");
    }
    assert_eq!(content(body).len(), 2 << 20);
}

#[test]
fn no_room_is_no_error_and_loses_nothing() {
    for left in [0, 65_536, 100_000] {
        let mut upload = Upload::new();
        let mut body = Body::new(1 << 30, Ahead::Nothing);
        let mut sent = 0;
        while upload.read(&mut body, left, LATE * sent as u32).unwrap() != Came::Enough {
            upload.into.write_all(&[1; 60_000]).unwrap();
            sent += 60_000;
        }
        let there = files::waiting(upload.out.as_fd()).unwrap();
        assert!(body.spooled() <= left);
        assert_eq!(body.len() + there, sent as u64);
        assert_eq!(content(body).len() as u64 + there, sent as u64);
    }
    let mut upload = Upload::new();
    std::fs::remove_dir(upload.directory.path()).unwrap();
    let mut body = Body::new(100_000, Ahead::Nothing);
    upload.into.write_all(&[1; 65_536]).unwrap();
    assert_eq!(upload.read(&mut body, 1 << 30, LATE).unwrap(), Came::Enough);
    assert_eq!(content(body).len(), 65_536);
}

#[test]
fn an_end_that_comes_early_is_told_from_a_pause() {
    let (near, far) = UnixStream::pair().unwrap();
    let mut scratch = Scratch::new().unwrap();
    let room = Room {
        directory: Path::new("/nonexistent"),
        left: 0,
    };
    let mut body = Body::new(9, Ahead::Nothing);
    (&far).write_all(b"half").unwrap();
    let mut read = |body: &mut Body| body.read(near.as_fd(), &mut scratch, room, LATE).unwrap();
    assert_eq!(read(&mut body), Came::Waits { moved: true });
    drop(far);
    assert_eq!(read(&mut body), Came::Short);
    assert_eq!((&near).read(&mut [0]).unwrap(), 0);
}

const AMPLE: SpoolLimits = SpoolLimits {
    body: u64::MAX,
    spool: 1 << 30,
};

#[test]
fn a_body_without_a_length_is_read_to_its_end_however_fast_it_comes() {
    for size in [0, 1, 65_536, 65_537, 3_000_000] {
        let mut upload = Upload::new();
        let all: Vec<u8> = (0..size as u32).map(|n| (n / 7) as u8).collect();
        let mut body = Body::to_end(AMPLE, Ahead::Nothing);
        for block in all.chunks(60_000) {
            upload.into.write_all(block).unwrap();
            let came = upload.read(&mut body, 1 << 30, LATE).unwrap();
            assert_eq!(came, Came::Waits { moved: true });
        }
        let still = upload.read(&mut body, 1 << 30, LATE).unwrap();
        assert_eq!(still, Came::Waits { moved: false }, "{size}");
        // Its only writer goes.
        upload.into = tempfile::tempfile().unwrap();
        let came = upload.read(&mut body, 1 << 30, LATE).unwrap();
        assert_eq!(came, Came::Enough, "{size}");
        let in_file = if size > IN_MEMORY { size as u64 } else { 0 };
        assert_eq!((body.len(), body.spooled()), (size as u64, in_file));
        assert!(content(body) == all);
    }
}

#[test]
fn a_body_without_a_length_that_finds_no_room_is_refused() {
    for (limits, left, expected) in [
        (AMPLE, 100_000, "Others"),
        (SpoolLimits { body: 99, ..AMPLE }, 1 << 30, "Body"),
        (SpoolLimits { spool: 99, ..AMPLE }, 99, "Spool"),
    ] {
        let mut upload = Upload::new();
        let mut body = Body::to_end(limits, Ahead::Nothing);
        let refused = loop {
            upload.into.write_all(&[1; 60_000]).unwrap();
            match upload.read(&mut body, left, LATE) {
                Ok(came) => assert_eq!(came, Came::Waits { moved: true }),
                Err(refused) => break format!("{refused:?}"),
            }
        };
        assert_eq!(refused, format!("NoRoom({expected})"));
        assert!(body.spooled() <= left);
    }
}

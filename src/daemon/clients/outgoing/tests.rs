//! A spool that a worker fills and cuts off while we send it.

use std::io::{Read, Write};

use std::os::fd::AsFd;

use super::*;
use crate::sys::files;

#[test]
fn never_beyond_what_was_said() {
    let mut scratch = Scratch::new().unwrap();
    let (out, into) = files::pipe().unwrap();
    let mut ours = tempfile::tempfile().unwrap();
    ours.write_all(b"said, and reserved\0\0\0\0").unwrap();
    ours.rewind().unwrap();
    let mut outgoing = Outgoing::new(ours.try_clone().unwrap().into(), Some(4));
    assert_eq!(
        outgoing.send(into.as_fd(), &mut scratch),
        Progress::Finished
    );
    assert_eq!(ours.stream_position().unwrap(), 4);
    outgoing.grow(Some(18));
    assert_eq!(
        outgoing.send(into.as_fd(), &mut scratch),
        Progress::Finished
    );
    // The worker cuts it off, and begins again.
    ours.set_len(0).unwrap();
    ours.rewind().unwrap();
    ours.write_all(b"!").unwrap();
    ours.rewind().unwrap();
    outgoing.grow(None);
    assert_eq!((outgoing.tail, outgoing.spooled()), (1, 1));
    assert_eq!(
        outgoing.send(into.as_fd(), &mut scratch),
        Progress::Finished
    );
    drop(into);
    let mut read = String::new();
    File::from(out).read_to_string(&mut read).unwrap();
    assert_eq!(read, "said, and reserved!");
}

#[test]
fn a_worker_cuts_off_what_was_sent_at_any_moment() {
    let mut scratch = Scratch::new().unwrap();
    let (out, into) = files::pipe().unwrap();
    let mut ours = tempfile::tempfile().unwrap();
    let mut outgoing = Outgoing::new(ours.try_clone().unwrap().into(), None);
    for _ in 0..2 {
        ours.write_all(b"twelve bytes").unwrap();
        ours.rewind().unwrap();
        outgoing.grow(None);
        let sent = outgoing.send(into.as_fd(), &mut scratch);
        assert_eq!(sent, Progress::Finished);
        ours.set_len(0).unwrap();
        ours.rewind().unwrap();
        let again = outgoing.send(into.as_fd(), &mut scratch);
        assert_eq!(again, Progress::Finished, "of what is no longer there");
    }
    // Between our look at its size and our sending.
    outgoing.grow(Some(12));
    let sent = outgoing.send(into.as_fd(), &mut scratch);
    assert_eq!(sent, Progress::Finished);
    assert_eq!(files::waiting(out.as_fd()).unwrap(), 24);
}

#[test]
fn a_full_pipe_waits_and_a_gone_reader_is_lost() {
    let mut scratch = Scratch::new().unwrap();
    let (out, into) = files::pipe().unwrap();
    let mut ours = tempfile::tempfile().unwrap();
    ours.write_all(&[1; 200_000]).unwrap();
    ours.rewind().unwrap();
    let mut outgoing = Outgoing::new(ours.try_clone().unwrap().into(), None);
    let first = outgoing.send(into.as_fd(), &mut scratch);
    assert!(
        matches!(first, Progress::Waits(moved) if moved > 0),
        "{first:?}"
    );
    assert_eq!(
        outgoing.send(into.as_fd(), &mut scratch),
        Progress::Waits(0)
    );
    drop(out);
    assert_eq!(outgoing.send(into.as_fd(), &mut scratch), Progress::Lost);
    outgoing.grow(Some(300_000));
    ours.seek(std::io::SeekFrom::End(0)).unwrap();
    let null = files::null().unwrap();
    let sent = outgoing.send(null.as_fd(), &mut scratch);
    assert_eq!(sent, Progress::Finished, "less is there than was said");
}

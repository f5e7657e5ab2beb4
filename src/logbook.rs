//! The file `incidents` in an app's place: what went wrong last. The daemon, its fronts and plain CGIs add to it, each
//! for itself. Knows the file; that nothing can be noted is never an error, since what is noted are errors.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use crate::incidents::{self, Incident};
use crate::place::Place;
use crate::sys::{files, lock};

/// Bytes that are read of the file: more than all incidents take.
const LONGEST: usize = 65_536;
/// The byte that is locked while the file changes.
const WHOLE: u64 = 0;
/// How long one whose client waits for its answer waits for the lock: the holder makes four system calls, but may not
/// have the processor.
pub const PATIENCE: Duration = Duration::from_millis(200);

/// What lies there, the oldest first; nothing if it is not a file of this uid.
pub fn read(place: &Place, uid: u32) -> Vec<Incident> {
    match files::read_own(&place.incidents(), uid, LONGEST) {
        Ok((_, text)) => incidents::from_text(&String::from_utf8_lossy(&text)),
        Err(_) => Vec::new(),
    }
}

/// Adds to what lies there. Waits for other processes that do so, at most `patience`; uses SIGALRM.
pub fn note(place: &Place, new: &[Incident], patience: Duration) {
    // A full disk, or a process that was stopped while it held the lock: the log says the same.
    let _ = add(place, new, |file| lock::wait_lock(file, WHOLE, patience));
}

/// The same without waiting; `false`: another process has the lock now.
pub fn try_note(place: &Place, new: &[Incident]) -> bool {
    let added = add(place, new, |file| lock::try_lock(file, WHOLE));
    added.unwrap_or(true)
}

fn add(
    place: &Place,
    new: &[Incident],
    take_lock: impl FnOnce(&File) -> io::Result<bool>,
) -> io::Result<bool> {
    let file = files::open_own(&place.incidents())?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    if !take_lock(&file)? {
        return Ok(false);
    }
    let mut all = incidents::from_text(&text_of(&file)?);
    for incident in new {
        incidents::add(&mut all, incident.clone());
    }
    let text = incidents::to_text(&all);
    file.write_all_at(text.as_bytes(), 0)?;
    // Closing the file releases the lock.
    file.set_len(text.len() as u64).map(|()| true)
}

fn text_of(mut file: &File) -> io::Result<String> {
    let mut bytes = Vec::new();
    (&mut file).take(LONGEST as u64).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::incidents::Mishap;
    use crate::sys::process;

    fn incident(reason: &str) -> Incident {
        let line = ("GET".to_owned(), "/x".to_owned());
        Incident::new(Mishap::Exception, 1_700_000_000, line, reason)
    }

    fn place() -> (tempfile::TempDir, Place) {
        let dir = tempfile::tempdir().unwrap();
        let place = Place {
            dir: dir.path().to_path_buf(),
        };
        (dir, place)
    }

    #[test]
    fn what_was_noted_is_read_and_the_file_stays_small() {
        let (_dir, place) = place();
        let uid = process::uid();
        assert_eq!(read(&place, uid), []);
        for nth in 0..100 {
            note(
                &place,
                &[
                    incident("same"),
                    incident(&format!("{nth}{}", "x".repeat(900))),
                ],
                PATIENCE,
            );
        }
        let all = read(&place, uid);
        assert_eq!(all.len(), incidents::MOST);
        let same = all.iter().find(|one| one.reason == "same").unwrap();
        assert_eq!(same.count, 100);
        assert!(fs::metadata(place.incidents()).unwrap().len() < 16_384);
        assert_eq!(read(&place, uid + 1), [], "another's");
    }

    #[test]
    fn a_line_that_is_no_incident_is_dropped() {
        let (_dir, place) = place();
        note(&place, &[incident("shorter afterwards")], PATIENCE);
        fs::write(place.incidents(), "junk\n".repeat(1000)).unwrap();
        note(&place, &[incident("x")], PATIENCE);
        assert_eq!(read(&place, process::uid()), [incident("x")]);
        let text = fs::read_to_string(place.incidents()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn what_is_no_file_of_ours_is_left_alone() {
        for prepare in [
            (|path| fs::create_dir(path)) as fn(&std::path::Path) -> io::Result<()>,
            |path| symlink("/etc/passwd", path),
        ] {
            let (_dir, place) = place();
            prepare(&place.incidents()).unwrap();
            note(&place, &[incident("x")], PATIENCE);
            assert_eq!(read(&place, process::uid()), []);
        }
    }
}

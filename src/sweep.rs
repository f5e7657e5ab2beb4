//! Removes the places of apps that are gone. Knows what is in a runtime directory; it runs as the user whose it is, in a
//! process of its own, since an app's file may lie on a file system that does not answer.
//!
//! # Theory of operation
//! A daemon that leaves starts a sweep of its runtime directory, at most one a day. A sweep that finds an app's file
//! gone notes that by a file `gone` in the place; one that finds it gone a day later removes the place; one that finds
//! the file back, or a request that came since, removes the note: this daemon may see less of the host than the fronts.
//!
//! A front may come at any moment, if the file has come back. So a place is removed only with its name's lock taken,
//! and while no daemon has the directory locked, none answers, and no CGI has a slot; and it is renamed before it is
//! emptied. A front that came before the lock keeps its listener, which answers; one that waits for the lock finds, once
//! it has it, that the file of the lock is not at its path any more, and makes the place anew (see
//! [`NameLock::wait`]). A front that has opened the file of slots and not yet taken one runs its CGI beside the limit.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::place::Place;
use crate::policy::route::Reach;
use crate::slots::Slots;
use crate::start::{self, NameLock};
use crate::sys::files::{self, Unusable};
use crate::sys::{clock, lock, process};

/// How long an app's file has to be gone, and the least time between two sweeps.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long no request has come for an app whose folder is not there either: its disk may be unmounted for so long.
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
/// The largest `cgi-max` that there can be.
const MOST_SLOTS: u32 = 1024;
/// The file in a runtime directory whose time is that of the last sweep.
const SWEPT: &str = ".swept";
/// The file in a place whose time is that when its app was first found gone.
const GONE: &str = "gone";
/// The beginning of the name of a place that is being removed.
const REMOVED: &[u8] = b".gone-";

/// Whether a sweep of this runtime directory is due: the last one was a day ago, and there are other places in it than
/// that of the caller.
pub fn is_due(base: &Path) -> bool {
    age(&base.join(SWEPT)).is_none_or(|age| age >= DAY) && entries(base).len() > 1
}

/// Sweeps a runtime directory, if it is one of this process's user.
pub fn sweep(base: &Path) -> Result<(), Unusable> {
    files::is_own_directory(base, process::uid())?;
    // Its time tells other daemons; if it can't be written, they sweep as well.
    let _ = files::replace_own(&base.join(SWEPT), b"");
    for entry in entries(base) {
        if is_being_removed(&entry) {
            // A sweep that was ended has left it.
            let _ = fs::remove_dir_all(&entry);
        } else {
            // What can't be removed now is tried again by the next sweep.
            let _ = examine(base, &entry);
        }
    }
    Ok(())
}

/// What is in a directory, without the file of the last sweep.
fn entries(base: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(base).into_iter().flatten().flatten();
    let paths = found.map(|entry| entry.path());
    paths.filter(|path| !path.ends_with(SWEPT)).collect()
}

fn is_being_removed(entry: &Path) -> bool {
    let name = entry.file_name().unwrap_or_default().as_bytes();
    name.starts_with(REMOVED)
}

/// How old the file is; `None`: there is none, or its time is in the future.
fn age(file: &Path) -> Option<Duration> {
    let changed = fs::symlink_metadata(file).ok()?.modified().ok()?;
    changed.elapsed().ok()
}

fn examine(base: &Path, entry: &Path) -> io::Result<()> {
    let uid = process::uid();
    if let Ok(to) = fs::read_link(entry) {
        // A daemon with a `runtime-dir` of its own was killed, and its place removed.
        let is_dangling =
            fs::symlink_metadata(to).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        return if is_dangling {
            fs::remove_file(entry)
        } else {
            Ok(())
        };
    }
    let place = Place {
        dir: entry.to_path_buf(),
    };
    let is_place = files::is_own_directory(&place.dir, uid).is_ok() && place.slots().exists();
    let left = place.left(uid).filter(|_| is_place);
    let Some(app) = left.map(|left| left.app).filter(|app| !app.is_empty()) else {
        return Ok(());
    };
    let note = place.dir.join(GONE);
    if !is_over(&place, &app) || has_come_since(&place, age(&note)) {
        return match fs::remove_file(note) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    match age(&note) {
        Some(age) if age >= DAY => remove(base, &place, &app),
        Some(_) => Ok(()),
        None => files::replace_own(&note, b""),
    }
}

/// Whether the app's file is gone, or its whole folder is and no request comes for it.
fn is_over(place: &Place, app: &str) -> bool {
    place.is_without(app) || is_forgotten(place, Path::new(app), clock::now())
}

fn is_forgotten(place: &Place, app: &Path, now: Duration) -> bool {
    let folder = app.parent().unwrap_or(app);
    let is_missing =
        fs::metadata(folder).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    // Of what was there before the boot, the time of the boot is known.
    let is_old = |slots: Slots| slots.last_arrival(now).unwrap_or(now) >= MONTH;
    is_missing && Slots::look(&place.slots(), process::uid()).is_ok_and(is_old)
}

/// Whether a request came since the note was made; what can't be read counts as one.
fn has_come_since(place: &Place, noted: Option<Duration>) -> bool {
    let Some(noted) = noted else {
        return false;
    };
    let last =
        Slots::look(&place.slots(), process::uid()).map(|slots| slots.last_arrival(clock::now()));
    last.map_or(true, |last| last.is_some_and(|age| age < noted))
}

/// Removes the place, unless anything uses it.
fn remove(base: &Path, place: &Place, app: &str) -> io::Result<()> {
    // A daemon that serves, or drains, has locked it.
    let Some(_directory) = lock::alone(File::open(&place.dir)?)? else {
        return Ok(());
    };
    let Some(_name) = NameLock::take(place)? else {
        return Ok(());
    };
    let is_absent = |reach: Reach| reach == Reach::Absent;
    let is_unused = is_absent(start::connect(place).0)
        && is_absent(start::connect_silent(place).0)
        && Slots::look(&place.slots(), process::uid())?.running(MOST_SLOTS)? == 0;
    if !is_unused || !is_over(place, app) {
        return Ok(());
    }
    let id = place.dir.file_name().unwrap_or_default();
    let name = [REMOVED, id.as_bytes()].concat();
    let removed = base.join(std::ffi::OsStr::from_bytes(&name));
    // One of this name may be left of a sweep that was ended.
    let _ = fs::remove_dir_all(&removed);
    fs::rename(&place.dir, &removed)?;
    fs::remove_dir_all(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_whose_folder_is_gone_is_forgotten_after_a_month() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place {
            dir: dir.path().to_path_buf(),
        };
        let now = clock::now();
        Slots::open(&place.slots()).unwrap().arrive(now);
        let (here, gone) = (dir.path().join("app"), dir.path().join("folder/app"));
        let later = now + MONTH;
        assert!(is_forgotten(&place, &gone, later));
        assert!(!is_forgotten(&place, &gone, later - Duration::from_secs(1)));
        assert!(!is_forgotten(&place, &here, later), "its folder is there");
        fs::remove_file(place.slots()).unwrap();
        assert!(!is_forgotten(&place, &gone, later), "nothing is known");
    }
}

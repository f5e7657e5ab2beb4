//! Reaching an app's daemon: connect, or start one under the lock. Knows the socket and the lock; what is then said
//! over the connection is somebody else's.

use std::ffi::CString;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::app_file::AppFile;
use crate::config::Config;
use crate::naming;
use crate::place::Place;
use crate::policy::route::Reach;
use crate::slots::Slots;
use crate::sys::files::Identity;
use crate::sys::process;
use crate::sys::program::{NotStarted, Program};
use crate::sys::{Errno, clock, files, is, lock, socket};

/// How long anybody waits for the lock: its holder does a handful of system calls.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// A front waits 2 s for a daemon's first word, and then 5 s for the lock: it has not asked the daemon of a younger
/// socket.
const SETTLED: Duration = Duration::from_secs(8);
/// The byte of the file `lock` that stands for the socket's name.
const NAME: u64 = 0;

/// The option by which a starter tells the daemon where its listening socket is.
pub const SOCKET_OPTION: &str = "--socket-fd";

/// ... and how a daemon tells the version that it becomes of each other one: of `listen` ...
pub const LISTEN_OPTION: &str = "--listen-fd";

/// ... and given by LISTEN_FDS ...
pub const GIVEN_OPTION: &str = "--given-fd";

/// ... and the one by which it is told to stay in the foreground nevertheless.
pub const FOREGROUND_SWITCH: &str = "--foreground";

/// Asks the daemon of the app for a connection, without waiting.
pub fn connect(place: &Place) -> (Reach, Option<OwnedFd>) {
    match try_connect(place) {
        Ok(Some(connection)) => (Reach::Answers, Some(connection)),
        Ok(None) => (Reach::Absent, None),
        Err(error) => (unreached(&error), None),
    }
}

/// The same, with the reason of a failure; `None`: whoever listens there is not the app's daemon.
pub fn try_connect(place: &Place) -> io::Result<Option<OwnedFd>> {
    let connection = socket::unconnected()?;
    let path = place.socket();
    socket::connect_this(connection.as_fd(), &path)?;
    let is_its = peer_of_app(&connection, &path, process::uid()).is_some();
    Ok(is_its.then_some(connection))
}

/// The same of the daemon that has lost its name, since it did not answer a front in time.
pub fn connect_silent(place: &Place) -> (Reach, Option<OwnedFd>) {
    match socket::connect_now(&place.silent_socket()) {
        // It knows the name that it had.
        Ok(connection) => match peer_of_app(&connection, &place.socket(), process::uid()) {
            Some(_) => (Reach::Answers, Some(connection)),
            None => (Reach::Absent, None),
        },
        Err(error) => (unreached(&error), None),
    }
}

/// Connects to a daemon of this uid, where one listens at this path; its pid. Allocates nothing. A socket that has
/// reached nobody may be tried again.
pub fn reach(connection: &OwnedFd, path: &Path, uid: u32) -> (Reach, Option<i32>) {
    if let Err(error) = socket::connect_this(connection.as_fd(), path) {
        return (unreached(&error), None);
    }
    match peer_of_app(connection, path, uid) {
        Some(pid) => (Reach::Answers, Some(pid)),
        // A squat is a lost place, and never more.
        None => (Reach::Absent, None),
    }
}

fn peer_of_app(connection: &OwnedFd, path: &Path, uid: u32) -> Option<i32> {
    let peer = socket::peer(connection.as_fd()).filter(|peer| peer.uid == uid)?;
    is_of_app(connection.as_fd(), path).then_some(peer.pid)
}

/// Whether who listens there is the daemon of the app that was asked for. In a squatted place a link can lead to
/// another app's, which would serve the request as its own; but a socket knows the path that it was bound to.
pub fn is_of_app(connection: BorrowedFd<'_>, path: &Path) -> bool {
    socket::bound_to(connection).is_some_and(|bound| {
        let [bound, path] = [bound.path().unwrap_or(Path::new("")), path]
            .map(|path| naming::of_app(path.as_os_str().as_bytes()));
        bound == path
    })
}

/// What a connect that failed says of the daemon. Where the system had no room it says nothing of it: one that is
/// taken for absent loses its name to another.
pub fn unreached(error: &io::Error) -> Reach {
    const NO_ROOM: [Errno; 6] = [
        Errno::EAGAIN,
        Errno::EINTR,
        Errno::EMFILE,
        Errno::ENFILE,
        Errno::ENOBUFS,
        Errno::ENOMEM,
    ];
    if NO_ROOM.iter().any(|&errno| is(error, errno)) {
        Reach::Full
    } else if is(error, Errno::EACCES) || is(error, Errno::EPERM) {
        Reach::Forbidden
    } else {
        Reach::Absent
    }
}

/// The lock on the name of an app's socket: only its holder binds or unlinks. It guards the name and never a life.
#[derive(Debug)]
pub struct NameLock {
    file: File,
}

impl NameLock {
    /// Waits for the lock, at most 5 s.
    pub fn wait(place: &Place) -> Result<NameLock, StartError> {
        let refused = |error| StartError::System("lock", place.lock(), error);
        let file = files::open_own(&place.lock()).map_err(refused)?;
        let locked = lock::wait_lock(&file, NAME, LOCK_PATIENCE).map_err(refused)?;
        if locked {
            Ok(NameLock { file })
        } else {
            Err(StartError::Locked(place.lock()))
        }
    }

    /// Takes the lock if nobody has it.
    pub fn take(place: &Place) -> io::Result<Option<NameLock>> {
        let file = files::open_own(&place.lock())?;
        let locked = lock::try_lock(&file, NAME)?;
        Ok(locked.then_some(NameLock { file }))
    }

    /// Takes the name from a daemon, by its pid, that has not answered in time: who connects from now on does not wait
    /// for it. `false` where another has it. A daemon that was only slow, or is continued, takes it back: it hears of
    /// this by our connection, which ends without a word, and by the requests that were taken back.
    pub fn set_aside(&self, place: &Place, silent: i32) -> io::Result<bool> {
        let path = place.socket();
        let connection = match socket::connect_now(&path) {
            Ok(connection) => {
                if socket::peer(connection.as_fd()).map(|peer| peer.pid) != Some(silent) {
                    return Ok(false);
                }
                Some(connection)
            }
            // Its backlog is full, of requests that wait for it. That does not say who it is: another daemon may have the
            // name by now, and be full for a moment.
            Err(error) if is(&error, Errno::EAGAIN) && is_settled(&path) => None,
            Err(_) => return Ok(false),
        };
        fs::rename(&path, place.silent_socket())?;
        drop(connection);
        Ok(true)
    }

    /// What [`NameLock::set_aside`] did, undone, for the daemon with this socket; `false` if another has the name.
    pub fn take_back(&self, place: &Place, own: Identity) -> bool {
        let aside = place.silent_socket();
        files::identity(&aside).is_ok_and(|found| found == own)
            && fs::symlink_metadata(place.socket()).is_err()
            && fs::rename(&aside, place.socket()).is_ok()
    }

    /// Takes the name: what is left of a daemon that died makes room for a new socket. One that was set aside has lost
    /// the name for good.
    pub fn listen(&self, place: &Place, backlog: i32) -> Result<OwnedFd, StartError> {
        let _ = fs::remove_file(place.silent_socket());
        let path = place.socket();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StartError::System("remove", path, error));
            }
            _ => {}
        }
        files::privately(|| socket::listen_at(&path, backlog))
            .map_err(|error| StartError::System("listen on", path, error))
    }
}

/// Whether the socket at this path was bound before a front that has waited in vain for its daemon connected.
fn is_settled(path: &Path) -> bool {
    let bound = fs::symlink_metadata(path).and_then(|found| found.modified());
    // Of a time to come nothing is known.
    bound.is_ok_and(|bound| bound.elapsed().map_or(true, |age| age >= SETTLED))
}

impl Drop for NameLock {
    fn drop(&mut self) {
        // Closing the file, which comes next, gives it back as well.
        let _ = lock::unlock(&self.file, NAME);
    }
}

/// Why no daemon could be started.
#[derive(Debug)]
pub enum StartError {
    /// Somebody has held the lock for too long.
    Locked(PathBuf),
    /// The last start failed a moment ago: look at the record again.
    BackingOff,
    /// The host has refused what it takes to make the daemon's process.
    NotSpawned(PathBuf, NotStarted),
    /// The system says no: to what, and why.
    System(&'static str, PathBuf, io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Locked(path) => write!(
                f,
                "cannot lock {}: another process has held it for {} s",
                path.display(),
                LOCK_PATIENCE.as_secs()
            ),
            StartError::BackingOff => {
                f.write_str("cannot start the daemon: its last start failed a moment ago")
            }
            StartError::NotSpawned(app, not) => {
                write!(f, "cannot start the daemon of {}: {not}", app.display())
            }
            StartError::System(verb, object, error) => {
                write!(f, "cannot {verb} {}: {error}", object.display())
            }
        }
    }
}

/// An app's place on this host, opened: everything that a start needs.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Here {
    pub place: Place,
    pub slots: Slots,
}

impl Here {
    /// Makes what is missing. If that can't be, says why: then there is no daemon, and no limit either.
    pub fn open(app: &AppFile, config: &Config) -> Result<Here, String> {
        let place = Place::open(app, config.runtime_dir.as_deref()).map_err(|no| no.to_string())?;
        let slots = Slots::open(&place.slots())
            .map_err(|error| format!("cannot open {}: {error}", place.slots().display()))?;
        Ok(Here { place, slots })
    }
}

/// Connects to the daemon, and starts it if there is none: lock, look again, bind, listen, connect, spawn with the
/// listener, close the listener at once, unlock.
///
/// Any number of callers at the same instant make one daemon: those who come second find its backlog.
pub fn start(
    app: &AppFile,
    here: &Here,
    backlog: i32,
    environ: &[CString],
) -> Result<OwnedFd, StartError> {
    let Here { place, slots } = here;
    let lock = NameLock::wait(place)?;
    match try_connect(place) {
        Ok(Some(connection)) => return Ok(connection),
        Err(error) if unreached(&error) != Reach::Absent => {
            return Err(StartError::System("connect to", place.socket(), error));
        }
        Ok(None) | Err(_) => {}
    }
    // The one who held the lock before us may have failed just now.
    let now = clock::now();
    let failed = slots.attempt(now);
    if failed.is_some_and(|a| crate::policy::backoff::remaining(a.attempts, a.since).is_some()) {
        return Err(StartError::BackingOff);
    }
    let listener = lock.listen(place, backlog)?;
    // Before the daemon is there: one that finds that it can't start the app leaves at once, and this way finds us
    // waiting and can say why.
    let connection = socket::unconnected().and_then(|connection| {
        socket::connect_this(connection.as_fd(), &place.socket())?;
        Ok(connection)
    });
    let connection = connection.map_err(|error| {
        let _ = fs::remove_file(place.socket());
        StartError::System("connect to", place.socket(), error)
    })?;
    slots.note_attempt(now);
    slots.clear_silent();
    spawn_daemon(app, &listener, environ).map_err(|not| {
        slots.note_refused();
        // Under the lock it is ours, and the next front would find nobody behind it.
        let _ = fs::remove_file(place.socket());
        StartError::NotSpawned(app.path.clone(), not)
    })?;
    // A copy of the listener that outlived the daemon would make every later request hang.
    drop(listener);
    drop(lock);
    Ok(connection)
}

/// Takes away the name of a daemon that died before it could do so: fronts that come find nobody behind it. Where the
/// lock is held, its holder sees to that.
pub fn tidy(place: &Place) {
    if let Ok(Some(_lock)) = NameLock::take(place)
        && let (Reach::Absent, None) = connect(place)
    {
        // One that stays is removed by the next start.
        let _ = fs::remove_file(place.socket());
    }
}

/// Nothing of the request or the web server goes with it: no session, signal or meta-variable, and of descriptors only
/// standard error, on which the daemon says why it can't be set up, and which it gives up when it is.
fn spawn_daemon(app: &AppFile, listener: &OwnedFd, environ: &[CString]) -> Result<(), NotStarted> {
    let null = files::null().map_err(|error| NotStarted {
        call: "open /dev/null",
        error,
    })?;
    let null = null.as_fd();
    let [_, _, errors] = process::standard();
    let argv = [
        c"scgi-daemon".to_owned(),
        process::c_string(SOCKET_OPTION.as_bytes()),
        c"3".to_owned(),
        process::c_string(app.path.as_os_str().as_bytes()),
    ];
    Program {
        path: process::own_program(),
        argv: &argv,
        environ,
        directory: Some(Path::new("/")),
    }
    .spawn_detached(&[null, null, errors, listener.as_fd()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_backlog_does_not_show_that_it_is_the_silent_one() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().to_path_buf();
        let place = Place { dir };
        let lock = NameLock::take(&place).unwrap().unwrap();
        let _listener = lock.listen(&place, 0).unwrap();
        let path = place.socket();
        let mut waiting = Vec::new();
        while let Ok(connection) = socket::connect_now(&path) {
            waiting.push(connection);
        }
        assert!(!lock.set_aside(&place, 1).unwrap(), "bound a moment ago");
        assert!(path.exists());
        let mut touch = std::process::Command::new("touch");
        let touched = touch.args(["-h", "-d", "@1000"]).arg(&path).status();
        assert!(touched.unwrap().success());
        assert!(lock.set_aside(&place, 1).unwrap());
        assert!(!path.exists() && place.silent_socket().exists());
        let (reach, _) = connect_silent(&place);
        assert_eq!(reach, Reach::Full);
        waiting.clear();
    }

    #[test]
    fn a_daemon_that_lost_its_name_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().to_path_buf();
        let place = Place { dir };
        assert_eq!(connect_silent(&place).0, Reach::Absent);
        let lock = NameLock::take(&place).unwrap().unwrap();
        let _listener = lock.listen(&place, 4).unwrap();
        assert!(lock.set_aside(&place, process::pid()).unwrap());
        assert_eq!(connect(&place).0, Reach::Absent);
        assert!(matches!(connect_silent(&place), (Reach::Answers, Some(_))));
    }

    #[test]
    fn only_a_refusal_means_that_nobody_is_there() {
        let reach = |errno: Errno| unreached(&errno.into());
        assert_eq!(reach(Errno::ECONNREFUSED), Reach::Absent);
        assert_eq!(reach(Errno::ENOENT), Reach::Absent);
        assert_eq!(reach(Errno::EACCES), Reach::Forbidden);
        assert_eq!(reach(Errno::EAGAIN), Reach::Full);
        assert_eq!(reach(Errno::ENFILE), Reach::Full);
    }
}

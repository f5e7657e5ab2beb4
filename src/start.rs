//! Reaching an app's daemon: connect, or start one under the lock. Knows the socket and the lock; not what is sent over
//! the connection.

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
use crate::slots::{Slots, StartCause};
use crate::sys::files::Identity;
use crate::sys::process;
use crate::sys::program::{NotStarted, Program};
use crate::sys::{Errno, clock, files, is, lock, socket};

/// How long a process waits for the lock: its holder makes only a few system calls.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// A front waits 2 s for a daemon's first byte, and then 5 s for the lock. If a socket is younger than that, the front
/// has not asked the daemon behind it.
const SETTLED: Duration = Duration::from_secs(8);
/// How often a place that is removed is made anew.
const TRIES: u32 = 3;
/// The byte of the file `lock` that stands for the socket's name.
const NAME: u64 = 0;

/// The option that tells the daemon which descriptor is its listening socket.
pub const SOCKET_OPTION: &str = "--socket-fd";

/// The option by which a daemon passes on a listening socket of `listen` to the version that it becomes.
pub const LISTEN_OPTION: &str = "--listen-fd";

/// The same for a socket that was given by LISTEN_FDS.
pub const GIVEN_OPTION: &str = "--given-fd";

/// The option that tells the daemon to stay in the foreground although it has a socket.
pub const FOREGROUND_SWITCH: &str = "--foreground";

/// Connects to the daemon of the app, without waiting.
pub fn connect(place: &Place) -> (Reach, Option<OwnedFd>) {
    match try_connect(place) {
        Ok(Some(connection)) => (Reach::Answers, Some(connection)),
        Ok(None) => (Reach::Absent, None),
        Err(error) => (unreached(&error), None),
    }
}

/// The same, with the reason of a failure. `None`: the process that listens there is not the app's daemon.
pub fn try_connect(place: &Place) -> io::Result<Option<OwnedFd>> {
    let path = place.socket();
    let connection = socket::connect_now(&path)?;
    its_daemon(connection, &path)
}

/// The same, waiting for room in a full backlog for at most `patience`.
pub fn try_connect_within(place: &Place, patience: Duration) -> io::Result<Option<OwnedFd>> {
    let path = place.socket();
    let connection = socket::connect_within(&path, patience)?;
    its_daemon(connection, &path)
}

fn its_daemon(connection: OwnedFd, path: &Path) -> io::Result<Option<OwnedFd>> {
    let is_its = peer_of_app(&connection, path, process::uid()).is_some();
    Ok(is_its.then_some(connection))
}

/// Connects to the daemon that has lost its name because it did not answer a front in time.
pub fn connect_silent(place: &Place) -> (Reach, Option<OwnedFd>) {
    match socket::connect_now(&place.silent_socket()) {
        // Its socket was bound to the name that it had.
        Ok(connection) => match peer_of_app(&connection, &place.socket(), process::uid()) {
            Some(_) => (Reach::Answers, Some(connection)),
            None => (Reach::Absent, None),
        },
        Err(error) => (unreached(&error), None),
    }
}

/// Connects to a daemon of this uid, if one listens at this path; its pid. Allocates nothing. If there is none, the
/// socket may be tried again at another path.
pub fn reach(connection: &OwnedFd, path: &Path, uid: u32) -> (Reach, Option<i32>) {
    if let Err(error) = socket::connect_this(connection.as_fd(), path) {
        return (unreached(&error), None);
    }
    match peer_of_app(connection, path, uid) {
        Some(pid) => (Reach::Answers, Some(pid)),
        // The socket is another user's. No more can happen than that this place can't be used.
        None => (Reach::Absent, None),
    }
}

fn peer_of_app(connection: &OwnedFd, path: &Path, uid: u32) -> Option<i32> {
    let peer = socket::peer(connection.as_fd()).filter(|peer| peer.uid == uid)?;
    is_of_app(connection.as_fd(), path).then_some(peer.pid)
}

/// Whether the listener is the daemon of the app that was asked for. If another user has made the place, a link in it
/// can lead to the socket of another app, which would serve the request as its own; but a socket knows the path that it
/// was bound to.
pub fn is_of_app(connection: BorrowedFd<'_>, path: &Path) -> bool {
    socket::bound_to(connection).is_some_and(|bound| {
        let [bound, path] = [bound.path().unwrap_or(Path::new("")), path]
            .map(|path| naming::of_app(path.as_os_str().as_bytes()));
        bound == path
    })
}

/// What a failed connect says of the daemon. An error for want of descriptors or memory says nothing of it, and counts
/// as `Full`: a daemon that is taken for absent loses its name to another.
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

/// The lock on the name of an app's socket: only its holder binds or unlinks. It guards the name; a daemon does not
/// hold it while it serves.
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

    /// The same for a start: a place that a sweep has removed meanwhile is made anew.
    fn wait_in(place: &Place) -> Result<NameLock, StartError> {
        for _ in 0..TRIES {
            match NameLock::wait(place) {
                Ok(lock) if lock.is_of(place) => return Ok(lock),
                Err(StartError::System(_, _, error)) if error.kind() == io::ErrorKind::NotFound => {
                }
                Ok(_) => {}
                refused => return refused,
            }
            // If it can't be made, the lock says why.
            let _ = files::own_directory(&place.dir, process::uid());
        }
        NameLock::wait(place)
    }

    /// Whether the file that is locked is still the one at the place.
    fn is_of(&self, place: &Place) -> bool {
        let locked = files::identity_of(&self.file).ok();
        locked.is_some() && locked == files::identity(&place.lock()).ok()
    }

    /// Takes the lock if it is free.
    pub fn take(place: &Place) -> io::Result<Option<NameLock>> {
        let file = files::open_own(&place.lock())?;
        let locked = lock::try_lock(&file, NAME)?;
        Ok(locked.then_some(NameLock { file }))
    }

    /// Takes the name from a daemon, given by its pid, that has not answered in time: fronts that connect from now on
    /// do not wait for it. `false`: another daemon has the name. A daemon that was only slow, or is continued, takes
    /// the name back: it learns of this by our connection, which ends without a byte, and by the requests that were
    /// taken back.
    pub fn set_aside(&self, place: &Place, silent: i32) -> io::Result<bool> {
        let path = place.socket();
        let connection = match socket::connect_now(&path) {
            Ok(connection) => {
                if socket::peer(connection.as_fd()).map(|peer| peer.pid) != Some(silent) {
                    return Ok(false);
                }
                Some(connection)
            }
            // The backlog is full of requests that wait. That does not prove that it is the silent daemon: another one
            // may have the name by now, and be full for a moment.
            Err(error) if is(&error, Errno::EAGAIN) && is_settled(&path) => None,
            Err(_) => return Ok(false),
        };
        fs::rename(&path, place.silent_socket())?;
        drop(connection);
        Ok(true)
    }

    /// Undoes [`NameLock::set_aside`] for the daemon with this socket. `false`: another daemon has the name.
    pub fn take_back(&self, place: &Place, own: Identity) -> bool {
        let aside = place.silent_socket();
        files::identity(&aside).is_ok_and(|found| found == own)
            && fs::symlink_metadata(place.socket()).is_err()
            && fs::rename(&aside, place.socket()).is_ok()
    }

    /// Takes the name and listens: removes what is left of a daemon that died. One that was set aside has lost the name
    /// for good.
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

/// Whether the socket at this path is older than the wait of a front that found its daemon silent.
fn is_settled(path: &Path) -> bool {
    let bound = fs::symlink_metadata(path).and_then(|found| found.modified());
    // A time in the future proves nothing: then it counts as old.
    bound.is_ok_and(|bound| bound.elapsed().map_or(true, |age| age >= SETTLED))
}

impl Drop for NameLock {
    fn drop(&mut self) {
        // Closing the file, which comes next, releases it as well.
        let _ = lock::unlock(&self.file, NAME);
    }
}

/// Why no daemon could be started.
#[derive(Debug)]
pub enum StartError {
    /// Another process has held the lock for too long.
    Locked(PathBuf),
    /// The last start failed a moment ago: look at the record again.
    BackingOff,
    /// The host has refused a call that makes the daemon's process.
    NotSpawned(PathBuf, NotStarted),
    /// The system has refused a call: the verb, the object, and why.
    System(&'static str, PathBuf, io::Error),
}

impl StartError {
    /// Why the host has refused it, if it has.
    pub fn refusal(&self) -> Option<&io::Error> {
        match self {
            StartError::NotSpawned(_, NotStarted { error, .. })
            | StartError::System(_, _, error) => Some(error),
            StartError::BackingOff | StartError::Locked(_) => None,
        }
    }
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

/// An app's place on this host, opened: all that a start needs.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Here {
    pub place: Place,
    pub slots: Slots,
}

impl Here {
    /// Makes what is missing. If that fails, says why: then there is no daemon, and no limit of CGIs either.
    pub fn open(app: &AppFile, config: &Config) -> Result<Here, String> {
        let open = || {
            let place = Place::open(app, config.runtime_dir.as_deref());
            place.map_err(|no| no.to_string())
        };
        let place = open()?;
        let here = match Slots::open(&place.slots()) {
            // A sweep has removed it just now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Here::at(open()?)?,
            opened => Here::of(place, opened)?,
        };
        if here.slots.is_new() {
            here.place.introduce(app);
        }
        Ok(here)
    }

    /// The same of a place that is there.
    pub fn at(place: Place) -> Result<Here, String> {
        let opened = Slots::open(&place.slots());
        Here::of(place, opened)
    }

    fn of(place: Place, opened: io::Result<Slots>) -> Result<Here, String> {
        let cannot = |error| format!("cannot open {}: {error}", place.slots().display());
        let slots = opened.map_err(cannot)?;
        Ok(Here { place, slots })
    }
}

/// Connects to the daemon, and starts it if there is none: lock, look again, bind, listen, connect, spawn with the
/// listener, close the listener at once, unlock.
///
/// Any number of callers at the same time start one daemon: all but the first find its backlog.
pub fn start(
    app: &AppFile,
    here: &Here,
    backlog: i32,
    environ: &[CString],
    cause: &StartCause,
) -> Result<OwnedFd, StartError> {
    let Here { place, slots } = here;
    let lock = NameLock::wait_in(place)?;
    match try_connect(place) {
        Ok(Some(connection)) => return Ok(connection),
        Err(error) if unreached(&error) != Reach::Absent => {
            return Err(StartError::System("connect to", place.socket(), error));
        }
        Ok(None) | Err(_) => {}
    }
    // The process that held the lock before us may have failed just now.
    let now = clock::now();
    let failed = slots.attempt(now);
    if failed.is_some_and(|a| crate::policy::backoff::remaining(a.attempts, a.since).is_some()) {
        return Err(StartError::BackingOff);
    }
    let listener = lock.listen(place, backlog)?;
    // Connected before the daemon runs: a daemon that can't start the app leaves at once, and can tell us why if we
    // already wait.
    let connection = socket::unconnected().and_then(|connection| {
        socket::connect_this(connection.as_fd(), &place.socket())?;
        Ok(connection)
    });
    let connection = connection.map_err(|error| {
        let _ = fs::remove_file(place.socket());
        StartError::System("connect to", place.socket(), error)
    })?;
    slots.note_attempt(now);
    slots.note_cause(cause);
    slots.clear_silent();
    spawn_daemon(app, &listener, environ).map_err(|not| {
        slots.note_refused();
        // While we hold the lock it is ours, and no process listens at it.
        let _ = fs::remove_file(place.socket());
        StartError::NotSpawned(app.path.clone(), not)
    })?;
    // A copy of the listener that outlived the daemon would make every later request hang.
    drop(listener);
    drop(lock);
    Ok(connection)
}

/// Removes the name of a daemon that died before it could do so. If another process holds the lock, it does that.
pub fn tidy(place: &Place) {
    if let Ok(Some(_lock)) = NameLock::take(place)
        && let (Reach::Absent, None) = connect(place)
    {
        // If it stays, the next start removes it.
        let _ = fs::remove_file(place.socket());
    }
}

/// The daemon inherits nothing of the request or the web server: no session, signal or meta-variable, and of
/// descriptors only standard error, for the reason if its setup fails; after its setup it gives that up.
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
    fn only_a_refusal_means_that_there_is_no_daemon() {
        let reach = |errno: Errno| unreached(&errno.into());
        assert_eq!(reach(Errno::ECONNREFUSED), Reach::Absent);
        assert_eq!(reach(Errno::ENOENT), Reach::Absent);
        assert_eq!(reach(Errno::EACCES), Reach::Forbidden);
        assert_eq!(reach(Errno::EAGAIN), Reach::Full);
        assert_eq!(reach(Errno::ENFILE), Reach::Full);
    }
}

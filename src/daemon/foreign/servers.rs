//! SCGI servers of the app as processes and sockets: listened for, started, connected to, signalled, buried. Carries
//! out what `supervise` says; what it means for a request is not known here.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::app::{CannotRun, scgi};
use crate::app_file::AppFile;
use crate::config::Config;
use crate::daemon::token::{ServerId, Source, Token};
use crate::daemon::turn::PIPE;
use crate::policy::server::{ServerLife, StartFailure};
use crate::sys::files::{self, Identity};
use crate::sys::poll::{Interest, Poll, is_ready, wait_one};
use crate::sys::process::{self, End};
use crate::sys::signal::Signal;
use crate::sys::{Errno, clock, is, socket, splice};

/// A server that binds its path itself does so within this time, as a rule.
const BIND_TIME: Duration = Duration::from_millis(500);
/// A server that replaces its socket with another does so within this time.
const LOST_TIME: Duration = Duration::from_secs(1);
/// What a server may take to end by itself when the daemon becomes another version.
const LAST_MOMENT: Duration = Duration::from_millis(500);
/// Upper limit for the names that are tried for a socket.
const MOST_NAMES: u32 = 64;

/// One server: its socket, which is ours and stays, and its process, which comes and goes.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) life: ServerLife,
    command: Vec<String>,
    path: PathBuf,
    listener: OwnedFd,
    /// What we have bound at that path: another one there is the server's own.
    bound: Option<Identity>,
    /// The server has put a socket of its own in that place.
    pub(super) binds: bool,
    pub(super) pid: Option<i32>,
    /// When the process was made.
    started: Duration,
    /// Since when no connection to it can be made.
    lost_since: Option<Duration>,
    output: Option<OwnedFd>,
    nofile: Option<(u64, u64)>,
}

/// All servers of the app: the one that serves, one that is to take its place, and those that finish.
#[derive(Debug, Default)]
pub(super) struct Servers {
    newest: ServerId,
    all: BTreeMap<ServerId, Server>,
    /// It gets the requests, unless there is one in `coming`.
    pub(super) serving: Option<ServerId>,
    /// It gets the requests, and becomes `serving` with its first answer.
    pub(super) coming: Option<ServerId>,
}

impl Servers {
    /// Makes a server that is down: a name in `place` and a socket there.
    pub(super) fn add(
        &mut self,
        place: &Path,
        command: &[String],
        start_timeout: Duration,
        backlog: i32,
        nofile: Option<(u64, u64)>,
    ) -> Result<ServerId, CannotRun> {
        let (path, listener) = listen(place, backlog)?;
        self.newest += 1;
        let server = Server {
            life: ServerLife::new(start_timeout),
            command: command.to_vec(),
            bound: files::identity(&path).ok(),
            path,
            listener,
            binds: false,
            pid: None,
            started: Duration::ZERO,
            lost_since: None,
            output: None,
            nofile,
        };
        self.all.insert(self.newest, server);
        Ok(self.newest)
    }

    pub(super) fn get(&self, id: ServerId) -> Option<&Server> {
        self.all.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ServerId) -> Option<&mut Server> {
        self.all.get_mut(&id)
    }

    /// The server that the next request goes to.
    pub(super) fn newest_serving(&self) -> Option<ServerId> {
        self.coming.or(self.serving)
    }

    pub(super) fn ids(&self) -> Vec<ServerId> {
        self.all.keys().copied().collect()
    }

    pub(super) fn with_pid(&self, pid: i32) -> Option<ServerId> {
        let mut all = self.all.iter();
        all.find(|(_, server)| server.pid == Some(pid))
            .map(|(&id, _)| id)
    }

    /// How long ago the process was made that gets the requests.
    pub(super) fn newest_runs_for(&self, now: Duration) -> Duration {
        let newest = self.newest_serving().and_then(|id| self.get(id));
        newest.map_or(Duration::ZERO, |server| now.saturating_sub(server.started))
    }

    /// There is no process left that must be waited for.
    pub(super) fn are_gone(&self) -> bool {
        self.all.values().all(|server| server.pid.is_none())
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let all = self.all.values();
        all.filter_map(|server| server.life.next_deadline()).min()
    }

    pub(super) fn kill_all(&self) {
        for server in self.all.values() {
            server.signal(Signal::SIGKILL);
        }
    }

    /// Ends them now, with a moment to do it by themselves: none of them has a request, and the version that we become
    /// knows none of them. It buries them as orphans.
    pub(super) fn end_all(&self, signals: &impl AsFd) {
        for server in self.all.values() {
            server.signal(Signal::SIGTERM);
        }
        if !self.are_gone() {
            // SIGCHLD ends the wait.
            let _ = wait_one(signals.as_fd(), Interest::Read, LAST_MOMENT);
        }
        self.kill_all();
        for server in self.all.values() {
            let _ = std::fs::remove_file(&server.path);
        }
    }

    /// Removes all servers with their sockets.
    pub(super) fn clear(&mut self, poll: &Poll) {
        for id in self.ids() {
            self.forget(id, poll);
        }
    }

    /// Removes a server that will never be started again.
    pub(super) fn forget(&mut self, id: ServerId, poll: &Poll) {
        if let Some(mut server) = self.all.remove(&id) {
            server.close_output(poll);
            // It lies in our own place, even if the server has bound it.
            let _ = std::fs::remove_file(&server.path);
        }
        self.serving = self.serving.filter(|&serving| serving != id);
        self.coming = self.coming.filter(|&coming| coming != id);
    }
}

impl Server {
    /// Makes the process.
    pub(super) fn start(
        &mut self,
        id: ServerId,
        app: &AppFile,
        config: &Config,
        backlog: i32,
        poll: &Poll,
    ) -> Result<(), CannotRun> {
        let path = self.path.clone();
        let cannot = |error| CannotRun::new("listen on", &path, error);
        if files::identity(&self.path).ok() != self.bound {
            // What the last process has put there is dead.
            let _ = std::fs::remove_file(&self.path);
            self.listener = listen_at(&self.path, backlog).map_err(cannot)?;
            self.bound = files::identity(&self.path).ok();
        }
        self.binds = false;
        // The last process may have changed its flags.
        socket::set_blocking(self.listener.as_fd()).map_err(cannot)?;
        let (output, theirs) = files::pipe().map_err(cannot)?;
        // Before there is a process: what fails then leaves nothing behind.
        let token = Token::Stderr(Source::Server(id)).into();
        poll.add(&output, token, Interest::Read).map_err(cannot)?;
        let pid = scgi::spawn(
            app,
            config,
            &self.command,
            &self.path,
            self.listener.as_fd(),
            theirs.as_fd(),
            self.nofile,
        )?;
        self.pid = Some(pid);
        self.started = clock::now();
        self.lost_since = None;
        self.output = Some(output);
        Ok(())
    }

    /// Begins a connection. `None`: there is no socket, or no listener, so a server that binds its path has not yet.
    pub(super) fn connect(&mut self, now: Duration) -> io::Result<Option<OwnedFd>> {
        match socket::begin_at_path(&self.path) {
            Ok(connection) => {
                self.lost_since = None;
                Ok(Some(connection))
            }
            Err(error) if is(&error, Errno::ENOENT) || is(&error, Errno::ECONNREFUSED) => {
                self.lost_since.get_or_insert(now);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// No connection could be made for too long: a new server may take `start_timeout` to bind, one that has served is
    /// gone.
    pub(super) fn is_lost(&self, start_timeout: Duration, now: Duration) -> bool {
        let patience = if self.life.is_proven() {
            LOST_TIME
        } else {
            start_timeout
        };
        self.lost_since.is_some_and(|since| since + patience <= now)
    }

    /// The command says where the socket is: the process may bind another in its place.
    pub(super) fn may_bind(&self) -> bool {
        !self.binds && scgi::names_socket(&self.command)
    }

    /// It was started so short ago that it may still bind its path. Until then no connection is sent to the socket that
    /// it was given: the server may speak another protocol there.
    pub(super) fn is_about_to_bind(&self, now: Duration) -> bool {
        self.may_bind() && self.life.is_starting() && now < self.started + BIND_TIME
    }

    /// Another socket lies at the path by now.
    pub(super) fn has_bound(&self) -> bool {
        files::identity(&self.path).is_ok_and(|found| Some(found) != self.bound)
    }

    /// A connection was made that no server has accepted.
    pub(super) fn has_backlog(&self) -> bool {
        is_ready(self.listener.as_fd(), Interest::Read)
    }

    /// Accepts the connections that no server has accepted. No process serves at this moment, so none is taken from it.
    pub(super) fn unaccepted(&self) -> Vec<OwnedFd> {
        let mut taken = Vec::new();
        if socket::set_nonblocking(self.listener.as_fd()).is_ok() {
            while let Ok(connection) = socket::accept(self.listener.as_fd()) {
                taken.push(connection);
            }
            // `start` does this for the next process as well.
            let _ = socket::set_blocking(self.listener.as_fd());
        }
        taken
    }

    /// To the process and all that it has started.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid {
            process::signal_group(pid, signal);
        }
    }

    /// What the process has written by now.
    pub(super) fn overhear(&mut self, poll: &Poll) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut block = [0; 16_384];
        while bytes.len() < PIPE
            && let Some(output) = &self.output
            && is_ready(output.as_fd(), Interest::Read)
        {
            match splice::read(output.as_fd(), &mut block) {
                Ok(count) if count > 0 => bytes.extend_from_slice(&block[..count]),
                _ => self.close_output(poll),
            }
        }
        bytes
    }

    /// Buries the dead process: first its group is killed, while its pid can't be another process's yet.
    pub(super) fn bury(&mut self, pid: i32, poll: &Poll) -> Option<End> {
        process::signal_group(pid, Signal::SIGKILL);
        self.pid = None;
        self.close_output(poll);
        process::bury(pid)
    }

    fn close_output(&mut self, poll: &Poll) {
        if let Some(output) = self.output.take() {
            poll.remove(&output);
        }
    }
}

/// Listens at a free name: a daemon that leaves may still have the first.
fn listen(place: &Path, backlog: i32) -> Result<(PathBuf, OwnedFd), CannotRun> {
    let mut last: io::Error = Errno::EADDRINUSE.into();
    let mut path = place.join("app");
    for number in 1..=MOST_NAMES {
        if is_dead(&path) {
            // Left by a daemon that was killed.
            let _ = std::fs::remove_file(&path);
        }
        match listen_at(&path, backlog) {
            Ok(listener) => return Ok((path, listener)),
            Err(error) if is(&error, Errno::EADDRINUSE) => last = error,
            Err(error) => return Err(CannotRun::new("listen on", path, error)),
        }
        path = place.join(format!("app.{number}"));
    }
    Err(CannotRun::new("listen on", path, last))
}

fn listen_at(path: &Path, backlog: i32) -> io::Result<OwnedFd> {
    files::privately(|| socket::listen_at(path, backlog))
}

fn is_dead(path: &Path) -> bool {
    socket::begin_at_path(path).is_err_and(|error| is(&error, Errno::ECONNREFUSED))
}

/// The sentence for a failed start.
pub(super) fn reason(why: StartFailure, end: Option<End>, cannot: Option<&CannotRun>) -> String {
    match (why, end, cannot) {
        (StartFailure::CannotStart, _, Some(cannot)) => cannot.to_string(),
        (StartFailure::TimedOut, _, _) => {
            "start-timeout: the server has not taken one connection".to_owned()
        }
        (_, Some(end), _) => format!("the server ended before its first answer: {end}"),
        _ => "the server could not be started".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_free_if_nothing_listens_there() {
        let dir = tempfile::tempdir().unwrap();
        let (first, listener) = listen(dir.path(), 5).unwrap();
        let (second, _other) = listen(dir.path(), 5).unwrap();
        assert_eq!(first, dir.path().join("app"));
        assert_eq!(second, dir.path().join("app.1"));
        drop(listener);
        let (third, _) = listen(dir.path(), 5).unwrap();
        assert_eq!(third, first);
    }
}

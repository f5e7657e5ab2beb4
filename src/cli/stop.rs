//! `stop`: an app's daemon finishes what it has and ends; the command waits for the end of its process.

use std::ffi::OsStr;
use std::fs;
use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use argh::{ArgsInfo, FromArgs};

use super::ask::{self, PATIENCE};
use super::control::opened;
use super::{Sought, app_for, print_no_daemon};
use crate::acting::{CommandError, Deed};
use crate::app_file::{AppFile, Named};
use crate::control::{Activity, Command, DaemonState, Status};
use crate::report::{Exit, say};
use crate::sys::poll::{Interest, wait_one};
use crate::sys::socket::PeerProcess;
use crate::sys::{Errno, clock, files, is, process, socket};

/// How long `stop --hold` keeps the daemon down.
const HOLD: Duration = Duration::from_secs(24 * 3600);
/// `graceful-timeout` of an app whose configuration can't be read.
const USUAL_GRACE: Duration = Duration::from_secs(30);
/// How long a daemon may take after `graceful-timeout`: its processes are ended, and the last answers are sent.
const MARGIN: Duration = Duration::from_secs(15);
/// A person at a terminal is told after this long what is waited for.
const SILENCE: Duration = Duration::from_secs(3);

/// Stop an app's daemon: it finishes what it has. The command returns when the daemon has ended. The next request may
/// start another.
#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand, name = "stop")]
pub(super) struct StopCommand {
    /// keep it down until 'start', or for a day; meanwhile the app runs as a plain CGI
    #[argh(switch)]
    hold: bool,

    /// return once the daemon has been told: it takes no request any more, and finishes those that it has
    #[argh(switch)]
    no_wait: bool,

    /// for root: the user whom the web server runs the app as
    #[argh(option, arg_name = "name")]
    user: Option<String>,

    /// the app file, or the NAME of NAME.conf
    #[argh(positional)]
    app: String,
}

impl StopCommand {
    pub(super) fn run(self) -> Exit {
        let named = Named::new(OsStr::new(&self.app));
        let user = self.user.as_deref();
        let deed = if self.hold { Deed::Run } else { Deed::Ask };
        let app = match app_for("stop", &named, user, deed) {
            Ok(Sought::App(app)) => app,
            Ok(Sought::Nothing(users)) => {
                print_no_daemon(&named, Some(&users), "");
                return Exit::Ok;
            }
            Err(exit) => return exit,
        };
        if self.hold {
            match opened(&named, &app, user) {
                Ok(opened) => opened.here.slots.hold(Some(clock::now() + HOLD)),
                Err((exit, sentence)) => {
                    say("stop", sentence);
                    return exit;
                }
            }
        }
        match self.stop(&app) {
            Ok(true) => Exit::Ok,
            Ok(false) => {
                print_no_daemon(&named, None, "");
                Exit::Ok
            }
            Err((exit, sentence)) => {
                say("stop", sentence);
                exit
            }
        }
    }

    /// Makes the daemon exit, and waits for that; `false`: there is none. One that exits without an answer counts as
    /// stopped.
    fn stop(&self, app: &AppFile) -> Result<bool, CommandError> {
        let unavailable = |sentence: String| (Exit::Unavailable, sentence);
        let Some(connection) = ask::find(app).map_err(unavailable)? else {
            return Ok(false);
        };
        let peer = socket::peer(connection.as_fd());
        let listener = peer.map_or(0, |peer| peer.pid);
        // Opened before the question: the process that answers it has this pid, and no other can have got it since.
        let leaver = Leaver::open(listener);
        let said = ask::ask(connection, Command::Stop, PATIENCE).map_err(unavailable)?;
        let status = match said {
            Some(status) if status.state == DaemonState::Draining => status,
            Some(status) => {
                let state = status.state.word();
                let sentence = format!("the daemon does not exit: it is {state}");
                return Err(unavailable(sentence));
            }
            None if ask::find(app).map_err(unavailable)?.is_none() => Status::default(),
            None => {
                let sentence = "the daemon has closed the connection without an answer";
                return Err(unavailable(sentence.to_owned()));
            }
        };
        if self.no_wait {
            return Ok(true);
        }
        // While a daemon starts, the listener may still be known as that of its starter.
        let leaver = match status.pid {
            Some(pid) if peer.is_some_and(|peer| is_ours(pid, peer)) => Leaver::open(pid),
            _ => leaver,
        };
        if let Some(leaver) = leaver? {
            leaver.wait(&status, graceful(app))?;
        }
        Ok(true)
    }
}

/// Whether this pid, as the daemon says it, means the same process here: another number than the listener's, of its user,
/// and neither is in another pid namespace, as that of a container.
fn is_ours(pid: i32, peer: PeerProcess) -> bool {
    let namespace = |process: &str| files::identity(format!("/proc/{process}/ns/pid").as_ref());
    let is_here = |pid: i32| {
        let (its, own) = (namespace(&pid.to_string()), namespace("self"));
        matches!((its, own), (Ok(its), Ok(own)) if its == own)
    };
    let owner = fs::metadata(format!("/proc/{pid}")).map(|found| found.uid());
    let has_listener_ended =
        matches!(process::open(peer.pid), Err(error) if is(&error, Errno::ESRCH));
    pid != peer.pid
        && owner.is_ok_and(|uid| uid == peer.uid)
        && is_here(pid)
        && (has_listener_ended || is_here(peer.pid))
}

/// How long the daemon lets its requests run.
fn graceful(app: &AppFile) -> Duration {
    app.load()
        .map_or(USUAL_GRACE, |config| config.timeouts.graceful)
}

/// A daemon's process that is to end.
struct Leaver {
    pid: i32,
    process: OwnedFd,
}

impl Leaver {
    /// `None`: it has ended.
    fn open(pid: i32) -> Result<Option<Leaver>, CommandError> {
        if pid <= 0 {
            let sentence = "the daemon was told to stop, but its end can't be waited for: it is in a pid namespace that \
                            can't be seen from here, as that of a host or of another container; ask there, or use \
                            --no-wait";
            return Err((Exit::OsError, sentence.to_owned()));
        }
        match process::open(pid) {
            Ok(process) => Ok(Some(Leaver { pid, process })),
            Err(error) if is(&error, Errno::ESRCH) => Ok(None),
            Err(error) => {
                let what = "cannot wait for the daemon";
                let sentence = format!("{what}, pid {pid}: pidfd_open: {error}");
                Err((Exit::OsError, sentence))
            }
        }
    }

    /// Waits for its end, at most `graceful` and a margin; `status` is what it had when it began to leave.
    fn wait(&self, status: &Status, graceful: Duration) -> Result<(), CommandError> {
        let deadline = clock::now() + graceful.saturating_add(MARGIN);
        let is_watched = std::io::stderr().is_terminal();
        if is_watched && !self.has_ended(clock::now() + SILENCE)? {
            let left = deadline.saturating_sub(clock::now()).as_secs();
            let what = what_runs(status);
            say(
                "stop",
                format_args!("the daemon waits for {what}, at most {left} s"),
            );
        }
        if self.has_ended(deadline)? {
            return Ok(());
        }
        let (pid, seconds) = (self.pid, (graceful + MARGIN).as_secs());
        let what = what_runs(status);
        let sentence =
            format!("the daemon, pid {pid}, has not ended within {seconds} s: it waits for {what}");
        Err((Exit::Unavailable, sentence))
    }

    /// Waits until the process has ended or it is this late.
    fn has_ended(&self, deadline: Duration) -> Result<bool, CommandError> {
        loop {
            let left = deadline.saturating_sub(clock::now());
            let ended = wait_one(self.process.as_fd(), Interest::Read, left);
            let cannot = |error| format!("cannot wait for the daemon, pid {}: {error}", self.pid);
            // A signal may have interrupted the wait.
            match ended.map_err(|error| (Exit::OsError, cannot(error)))? {
                false if !left.is_zero() => {}
                ended => return Ok(ended),
            }
        }
    }
}

/// Of what ran when the daemon began to leave, what still does.
fn what_runs(status: &Status) -> String {
    let is_alive = |pid: i32| process::open(pid).is_ok();
    let busy = status.workers.iter().filter(|worker| {
        matches!(worker.state, Activity::Busy | Activity::Stuck) && worker.pid.is_none_or(is_alive)
    });
    match busy.count() {
        0 => "its last answers and its processes".to_owned(),
        1 => "1 request".to_owned(),
        count => format!("{count} requests"),
    }
}

//! The user as whom a person's command acts. Root becomes the app's user for good before it touches anything of the
//! app, or it does nothing: from then on only the ordinary permissions hold. It does not know what the command then
//! does.

mod errand;
mod others;
mod users;
mod whose;

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use errand::{Errand, collect};
pub use others::{hidden_owners, refuse_other};
pub use users::{CommandError, is_named, is_of_host, user_name};
use users::{account, become_user, name, table, web_servers};
pub use whose::Deed;
use whose::{Chosen, Subject, candidates, choose};

use crate::app_file::Named;
use crate::report::Exit;
use crate::sys::accounts::Account;
use crate::sys::poll::{Interest, wait_any};
use crate::sys::program::{self, Program};
use crate::sys::signal::{self, Signal, SignalPipe};
use crate::sys::{clock, environ, process};

/// Makes this process the app's user's, if it is root's. `Ok(Some(users))`: there is nothing to act on, since none of
/// these users has a place for the app.
///
/// Root's own process does not return: it starts one of that user's, which does, and exits as that exits.
pub fn begin(
    named: &Named,
    user: Option<&str>,
    deed: Deed,
) -> Result<Option<Vec<String>>, CommandError> {
    if process::uid() != 0 {
        return check_own(user).map(|()| None);
    }
    let chosen = match user {
        Some(word) => Chosen::User(account(word)?),
        None => choose(named, deed)?,
    };
    match chosen {
        Chosen::None(users) => Ok(Some(users)),
        Chosen::User(account) if account.uid == 0 => Ok(None),
        Chosen::User(account) => {
            hand_over(&account)?;
            Ok(None)
        }
    }
}

/// The same for a daemon in the foreground: this process executes itself anew as that user, and keeps its pid, which
/// LISTEN_PID may name. Of root's descriptors it keeps those below `kept`: those of LISTEN_FDS. It returns only if it
/// may stay the user that it is, or with an error.
pub fn begin_daemon(named: &Named, user: Option<&str>, kept: RawFd) -> Result<(), CommandError> {
    if process::uid() != 0 {
        return check_own(user);
    }
    let account = match user {
        Some(word) => account(word)?,
        None => match choose(named, Deed::Run)? {
            Chosen::User(account) => account,
            Chosen::None(users) => {
                let sentence = format!(
                    "it may run as {}; say which: --user NAME",
                    users.join(" or ")
                );
                return Err((Exit::NoPermission, sentence));
            }
        },
    };
    if account.uid == 0 {
        return Ok(());
    }
    let refused = cannot_become(&account);
    let listen = environ::pairs().filter(|(name, _)| name.starts_with(b"LISTEN_"));
    let listen: Vec<_> = listen.collect();
    // Closed on exec, since the process of another user could use what it inherits.
    program::mark_from(kept);
    become_user(account.uid, Some(&account)).map_err(&refused)?;
    let environ = environ::pairs().chain(listen);
    let environ: Vec<CString> = environ
        .map(|(name, value)| process::c_string(&[name, b"=", value].concat()))
        .collect();
    let app = named.to_bytes();
    let program = Program {
        path: process::own_program(),
        argv: &[c"scgi-daemon".to_owned(), process::c_string(&app)],
        environ: &environ,
        directory: None,
    };
    Err(refused(program.exec().into()))
}

fn cannot_become(account: &Account) -> impl Fn(io::Error) -> CommandError {
    let name = account.name.clone();
    move |error| {
        let sentence = format!("cannot become {name}: {error}");
        (Exit::NoPermission, sentence)
    }
}

/// Only root can act as another user.
fn check_own(user: Option<&str>) -> Result<(), CommandError> {
    let Some(word) = user else { return Ok(()) };
    let uid = process::uid();
    if word.parse() == Ok(uid) || account(word)?.uid == uid {
        return Ok(());
    }
    let sentence = format!("cannot act as {word}: only root can act as another user");
    Err((Exit::NoPermission, sentence))
}

/// Whether this user may make the app's `runtime-dir`. It would belong to this user, and no other could use it: so only
/// a user who is certain to be the app's may make it.
pub fn may_make(named: &Named, runtime_dir: &Path, user: Option<&str>) -> Result<(), CommandError> {
    let uid = process::uid();
    // Chosen with --user, or by root.
    if user.is_some() || uid == 0 || HAS_BECOME.load(Ordering::Relaxed) {
        return Ok(());
    }
    if runtime_dir.symlink_metadata().is_ok() {
        return Ok(());
    }
    let table = table()?;
    let candidates = candidates(&Subject::of(named), &table);
    if candidates == [uid] || web_servers(&table).any(|server| server == uid) {
        return Ok(());
    }
    let own = name(uid, &table);
    let dir = runtime_dir.display();
    let sentence = format!(
        "cannot make {dir}: it would be {own}'s, and another user could not run {named} in a daemon; make it as the \
         user whom the web server runs the app as, or say --user {own}"
    );
    Err((Exit::NoPermission, sentence))
}

/// Root's process waits here for a new one, which returns as this user; then it exits as that did.
fn hand_over(account: &Account) -> Result<(), CommandError> {
    let refused = cannot_become(account);
    let watched = [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        // A stop of the terminal, and a stop of the new process.
        Signal::SIGTSTP,
        Signal::SIGCHLD,
        // Its terminal's size has changed.
        Signal::SIGWINCH,
    ];
    let parent = process::pid();
    // A signal that comes before the handlers below are there would end this process, and the new one without its
    // children.
    let held = signal::hold(&watched);
    let Some(child) = program::fork_session().map_err(&refused)? else {
        drop(held);
        become_user(account.uid, Some(account)).map_err(&refused)?;
        program::end_with_parent(parent);
        HAS_BECOME.store(true, Ordering::Relaxed);
        return Ok(());
    };
    let signals = SignalPipe::new(&watched);
    drop(held);
    let ended = process::open(child);
    if let (Ok(signals), Ok(ended)) = (&signals, &ended) {
        attend(child, signals, ended.as_fd());
    }
    process::leave(match process::wait(child) {
        Some(process::End::Exited(status)) => status as u8,
        Some(process::End::Killed(signal)) => 128_u8.saturating_add(signal as u8),
        None => Exit::OsError as u8,
    })
}

/// How long the new process has to stop by itself, as `status --watch` does once the terminal is as it was.
const STOP_TIME: Duration = Duration::from_secs(1);

/// Until the child has ended: passes on the signals of the terminal, which is not the child's, and stops as it stops.
fn attend(child: i32, signals: &SignalPipe, ended: BorrowedFd<'_>) {
    let mut stops_by = None;
    loop {
        for signal in signals.take() {
            match signal {
                Signal::SIGCHLD => {}
                Signal::SIGTSTP => {
                    stops_by = Some(clock::now() + STOP_TIME);
                    process::signal_group(child, signal);
                }
                _ => process::signal_group(child, signal),
            }
        }
        if process::has_stopped(child) {
            stops_by = None;
            process::signal(process::pid(), Signal::SIGSTOP);
            // Here it was continued.
            process::signal_group(child, Signal::SIGCONT);
        }
        let left = stops_by.map(|by: Duration| by.saturating_sub(clock::now()));
        if left.is_some_and(|left| left.is_zero()) {
            // The kernel drops a SIGTSTP without a handler: the child's session has no terminal.
            stops_by = None;
            process::signal_group(child, Signal::SIGSTOP);
        }
        let fds = [signals.as_fd(), ended].map(|fd| (fd, Interest::Read));
        if wait_any(&fds, left).is_ok_and(|ready| ready[1]) {
            return;
        }
    }
}

/// Whether this process was root's and has become the app's user's.
static HAS_BECOME: AtomicBool = AtomicBool::new(false);

/// The user that this process has become, if it was root's.
pub fn acts_as() -> Option<String> {
    let has_become = HAS_BECOME.load(Ordering::Relaxed);
    has_become.then(|| user_name(process::uid()))
}

//! How the daemon comes to be: configuration, name, limits, signals; then the loop has all that it needs.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use super::carrier::Carrier;
use super::clients::Clients;
use super::door::{self, Door, Handed};
use super::failures::Failures;
use super::ground::Ground;
use super::house::Daemon;
use super::ledger::Ledger;
use super::life::leaving::Leaving;
use super::life::reloads::Reload;
use super::life::states::{MemoryWatch, StateFile, Upgrade, Upkeep};
use super::life::status;
use super::limits::{limits, stays};
use super::log::{Destination, Log, Spare};
use super::outcome::PoolFacts;
use super::token::Token;
use super::wires::Wires;
use super::words::{NAME, Words};
use crate::app;
use crate::app_file::AppFile;
use crate::config::Config;
use crate::keyring::Keyring;
use crate::place::Place;
use crate::policy::pool::{Event, Pool};
use crate::report::{self, Exit, say};
use crate::slots::{Slots, StartCause};
use crate::start::{self, NameLock};
use crate::sys::files::Identity;
use crate::sys::lock::Locked;
use crate::sys::memory::Board;
use crate::sys::poll::{Interest, Poll};
use crate::sys::signal::{self, Signal, SignalPipe};
use crate::sys::splice::Scratch;
use crate::sys::{clock, files, load, lock, process, socket};

/// Descriptors of the daemon, a zygote, a worker and a few clients.
const LEAST_DESCRIPTORS: u64 = 40;

type CannotStart = (Exit, String);

impl Daemon {
    /// A failure goes to our starter's standard error; once there is a place, also to the log and to `state`.
    pub(super) fn start(words: &Words) -> Result<Daemon, Exit> {
        let mut own = None;
        Daemon::set_up(words, &mut own).map_err(|(exit, sentence)| {
            say(NAME, sentence);
            // Only now: a front that waits for the socket's end finds everything said by then.
            drop(own);
            exit
        })
    }

    /// `own`: where our listening socket is kept until there is a daemon to have it.
    fn set_up(words: &Words, own: &mut Option<OwnedFd>) -> Result<Daemon, CannotStart> {
        let is_passed = words.socket_fd.is_some();
        let handed = Handed::adopt(&words.listen_fd, &words.given_fd, is_passed);
        let mut reload = Reload::default();
        let (app, config, place) = find_app(words, &mut reload)?;
        let is_background = is_passed && !words.foreground;
        let log = start_log(&app, &config, &place, is_background);
        let begun = begin(words, &place, &config, is_background, own);
        let (slots, means) =
            begun.inspect_err(|(_, sentence)| give_up(sentence, is_background, &app, &place))?;
        for sentence in place.passed_over(&app) {
            ::log::warn!("{sentence}: {} is used", place.dir.display());
        }
        place.link_from_default(&app);
        let directory = hold_directory(&place);
        let listener = own
            .take()
            .ok_or_else(|| refused("listen")(io::ErrorKind::NotFound.into()))?;
        let left = place.left(process::uid()).unwrap_or_default();
        let ground = Ground {
            // Until a worker is ready, `status` shows the last daemon's failure.
            failures: Failures::new(left.last_failure, left.last_words),
            ledger: Ledger::default(),
            app,
            config,
            place,
            slots,
            keyring: Keyring::default(),
            poll: means.poll,
            scratch: means.scratch,
            board: means.board,
            nofile: means.nofile,
            pool: PoolFacts::default(),
            outcomes: VecDeque::new(),
        };
        let mut door = Door::new(listener, &ground.config);
        let opened = door.open(&ground).map_err(refused("epoll_ctl"));
        opened.inspect_err(|(_, sentence)| {
            give_up(sentence, is_background, &ground.app, &ground.place);
        })?;
        let stays = stays(&ground.config, handed.is_given_any());
        let mut daemon = Daemon {
            pool: Pool::new(limits(&ground.config, &ground.slots, stays), clock::now()),
            events: VecDeque::from([Event::Tick]),
            door,
            clients: Clients::new(door::shares_of(&ground.config, ground.most_fds())),
            wires: Wires::new(),
            carrier: means.carrier,
            signals: means.signals,
            log,
            socket: Some(means.name),
            stays,
            is_cleared: false,
            leaving: Leaving::default(),
            reload,
            upgrade: Upgrade::new(&words.app, is_background),
            upkeep: Upkeep::new(),
            memory: MemoryWatch::default(),
            state: StateFile::default(),
            waiting_commands: Vec::new(),
            _directory: directory,
            ground,
        };
        if let Some(took) = daemon.ground.slots.start_took() {
            daemon.pool.expect_start(took);
        }
        daemon.clients.tell_spool(&daemon.ground);
        daemon.door.listen_everywhere(handed, &daemon.ground);
        daemon.warn_of_permissions();
        Ok(daemon)
    }
}

/// The app that was named, its configuration, and its place.
fn find_app(words: &Words, reload: &mut Reload) -> Result<(AppFile, Config, Place), CannotStart> {
    let app = AppFile::named(words.app.as_ref()).map_err(|no| (Exit::NoInput, no.to_string()))?;
    reload.stamp(&app.config);
    let config = app.load().map_err(|bad| (Exit::Config, bad.to_string()))?;
    let place = Place::open(&app, config.runtime_dir.as_deref())
        .map_err(|no| (Exit::CantCreate, no.to_string()))?;
    Ok((app, config, place))
}

/// Locks the directory of the place: cleaners of old files leave a locked directory alone.
fn hold_directory(place: &Place) -> Option<Locked> {
    let directory = std::fs::File::open(&place.dir).and_then(lock::share);
    let directory = directory.inspect_err(|error| {
        let dir = place.dir.display();
        ::log::warn!("cannot lock {dir} (flock), a cleaner of old files may take it: {error}");
    });
    directory.ok()
}

/// What the loop needs of the system.
struct Means {
    nofile: Option<(u64, u64)>,
    signals: SignalPipe,
    poll: Poll,
    board: Board,
    carrier: Carrier,
    scratch: Scratch,
    /// The listener's name.
    name: Identity,
}

impl Means {
    fn gather(
        words: &Words,
        place: &Place,
        config: &Config,
        own: &mut Option<OwnedFd>,
    ) -> Result<Means, CannotStart> {
        let listener = match words.socket_fd {
            Some(fd) => process::adopt(fd).map_err(refused("fcntl"))?,
            None => listen(place, config)?,
        };
        let listener = own.insert(listener);
        if words.socket_fd.is_some() {
            socket::take_over(listener.as_fd(), app::backlog(config)).map_err(refused("listen"))?;
        }
        socket::set_nonblocking(listener.as_fd()).map_err(refused("fcntl"))?;
        process::become_subreaper().map_err(refused("prctl"))?;
        let nofile = load::raise_limits();
        let most = nofile.map_or(u64::MAX, |(_, hard)| hard);
        if most < LEAST_DESCRIPTORS {
            // With fewer no client could be accepted, or its descriptors received.
            let least = format!("a daemon needs {LEAST_DESCRIPTORS}");
            let sentence = format!("cannot start the daemon: RLIMIT_NOFILE is {most}, and {least}");
            return Err((Exit::OsError, sentence));
        }
        let watched = [
            Signal::SIGCHLD,
            Signal::SIGHUP,
            Signal::SIGINT,
            Signal::SIGTERM,
        ];
        let signals = SignalPipe::new(&watched).map_err(refused("pipe2, sigaction"))?;
        // Signals that came while the version before us became this one.
        signal::unblock_all();
        let poll = Poll::new().map_err(refused("epoll_create1"))?;
        poll.add(&signals, Token::Signals.into(), Interest::Read)
            .map_err(refused("epoll_ctl"))?;
        // If the host refuses these, that shows now, while fronts can still serve without us.
        poll.wait(&mut Vec::new(), Some(Duration::ZERO))
            .map_err(refused("epoll_wait"))?;
        process::look_for_dead().map_err(refused("waitid"))?;
        Ok(Means {
            nofile,
            signals,
            poll,
            board: Board::new().map_err(refused("memfd_create, mmap"))?,
            carrier: Carrier::new(config).map_err(refused("memfd_create"))?,
            scratch: Scratch::new().map_err(refused("pipe2"))?,
            name: own_socket(place).map_err(refused("stat"))?,
        })
    }
}

/// The host has refused this system call.
fn refused(call: &'static str) -> impl Fn(io::Error) -> CannotStart {
    move |error| {
        let sentence = report::plain(&format!("cannot start the daemon: {call}: {error}"));
        (Exit::OsError, sentence)
    }
}

/// Gets what the daemon needs of the host. Why that fails is the last thing that our starter's standard error is told.
fn begin(
    words: &Words,
    place: &Place,
    config: &Config,
    is_background: bool,
    own: &mut Option<OwnedFd>,
) -> Result<(Slots, Means), CannotStart> {
    let slots = Slots::open(&place.slots()).map_err(refused("open, fallocate, mmap"))?;
    let means = Means::gather(words, place, config, own)?;
    if words.socket_fd.is_none() {
        slots.note_cause(&StartCause::BY_HAND);
    }
    if is_background {
        process::silence().map_err(refused("dup2"))?;
    }
    Ok((slots, means))
}

/// The start has failed: in the background, the log and `status` are told. The front that waits removes the name.
fn give_up(sentence: &str, is_background: bool, app: &AppFile, place: &Place) {
    if !is_background {
        return;
    }
    ::log::error!("{sentence}");
    status::leave_failure(app, place, sentence);
    // Without this our starter says once more that we have ended.
    let _ = Slots::note_refused_in(&place.slots());
}

/// Which file is our socket. If a front has set a silent daemon's socket aside, only a connection tells whose each is.
fn own_socket(place: &Place) -> io::Result<Identity> {
    let (path, aside) = (place.socket(), place.silent_socket());
    if !aside.exists() {
        return files::identity(&path);
    }
    let is_own = |path: &PathBuf| {
        let connection = socket::connect_now(path).ok();
        let peer = connection.and_then(|connection| socket::peer(connection.as_fd()));
        peer.is_some_and(|peer| peer.pid == process::pid())
    };
    let own = [path, aside].into_iter().find(is_own);
    files::identity(&own.ok_or(io::ErrorKind::NotFound)?)
}

/// In the foreground the log is standard error, unless `log-file` says otherwise.
fn start_log(app: &AppFile, config: &Config, place: &Place, is_background: bool) -> Option<Log> {
    let named = app::log_file(app, config).map(Destination::named);
    let destination = named.or_else(|| is_background.then(|| Destination::in_place(place.log())));
    let spare = match is_background {
        true => Spare::File(place.log()),
        false => Spare::Stderr,
    };
    let log = destination.map(|destination| Log::open(destination, &spare, is_background));
    let target = log
        .clone()
        .map(|log| Box::new(log) as Box<dyn io::Write + Send>);
    report::start_log(app::log_level(config), target);
    log
}

/// In the foreground we take the name ourselves, under the lock.
fn listen(place: &Place, config: &Config) -> Result<OwnedFd, CannotStart> {
    let refused = |error: start::StartError| (Exit::CantCreate, error.to_string());
    let lock = NameLock::wait(place).map_err(refused)?;
    if let (_, Some(connection)) = start::connect(place) {
        let pid = socket::peer(connection.as_fd()).map_or(0, |peer| peer.pid);
        let what = "'polycgi stop APP' ends it";
        return Err((
            Exit::CantCreate,
            format!("a daemon of this app runs already, pid {pid}; {what}"),
        ));
    }
    lock.listen(place, app::backlog(config)).map_err(refused)
}

//! `status`, `start`, `stop`: what a person says to an app's daemon, and what is known when there is none.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use argh::FromArgs;

use super::app_named;
use crate::app;
use crate::app_file::AppFile;
use crate::config::Config;
use crate::control::{self, Command};
use crate::place::Place;
use crate::policy::backoff;
use crate::policy::route::Reach;
use crate::report::{Exit, say};
use crate::scgi;
use crate::slots::Slots;
use crate::start::{self, Here};
use crate::sys::poll::{Interest, wait_one};
use crate::sys::{clock, files, process, socket};

/// How long `stop --hold` keeps the daemon down.
const HOLD: Duration = Duration::from_secs(24 * 3600);
/// The largest `cgi-max` that there can be.
const MOST_SLOTS: u32 = 1024;
/// How long a daemon may take to answer a command.
const PATIENCE: Duration = Duration::from_secs(10);

/// Show how an app's daemon is; without APP, those of all apps of this user that have had one.
#[derive(FromArgs)]
#[argh(subcommand, name = "status")]
pub(super) struct Status {
    /// print JSON: an object for each app, in a line of its own
    #[argh(switch)]
    json: bool,

    /// the app file, or the NAME of NAME.conf
    #[argh(positional)]
    app: Option<String>,
}

/// Start an app's daemon now, and end a hold.
#[derive(FromArgs)]
#[argh(subcommand, name = "start")]
pub(super) struct Start {
    /// the app file, or the NAME of NAME.conf
    #[argh(positional)]
    app: String,
}

/// Stop an app's daemon: it finishes what it has. The next request may start it again.
#[derive(FromArgs)]
#[argh(subcommand, name = "stop")]
pub(super) struct Stop {
    /// keep it down until 'start', or for a day; meanwhile the app runs as a plain CGI
    #[argh(switch)]
    hold: bool,

    /// the app file, or the NAME of NAME.conf
    #[argh(positional)]
    app: String,
}

impl Status {
    pub(super) fn run(self) -> Exit {
        let Some(name) = &self.app else {
            return self.show_all();
        };
        let app = match app_named("status", name) {
            Ok(app) => app,
            Err(exit) => return exit,
        };
        match Target::find(&app).ask(Command::Status) {
            Ok(Some(text)) => self.show(&control::Status::from_lines(&text)),
            Ok(None) => self.show(&status_without_daemon(&app)),
            Err(sentence) => {
                say("status", sentence);
                return Exit::Unavailable;
            }
        }
        Exit::Ok
    }

    fn show(&self, status: &control::Status) {
        if self.json {
            println!("{}", status.to_json());
        } else {
            print!("{}", status.to_text());
        }
    }

    fn show_all(&self) -> Exit {
        let mut exit = Exit::Ok;
        for place in Place::all(process::uid()) {
            let target = Target {
                connection: connect(&place),
            };
            match target.ask(Command::Status) {
                Ok(Some(text)) => self.show(&control::Status::from_lines(&text)),
                Ok(None) if place.state().exists() => self.show(&status_of_place(&place)),
                // It has never had a daemon: nobody noted its name.
                Ok(None) => {}
                Err(sentence) => {
                    say(
                        "status",
                        format_args!("{}: {sentence}", place.dir.display()),
                    );
                    exit = Exit::Unavailable;
                }
            }
        }
        exit
    }
}

impl Start {
    pub(super) fn run(self) -> Exit {
        let app = match app_named("start", &self.app) {
            Ok(app) => app,
            Err(exit) => return exit,
        };
        let (config, here) = match opened(&app) {
            Ok(opened) => opened,
            Err((exit, sentence)) => {
                say("start", sentence);
                return exit;
            }
        };
        here.slots.hold(None);
        // A person who says 'start' does not wait for a pause to end.
        here.slots.clear_attempts();
        let environ = app::environment::for_daemon();
        let backlog = app::backlog(&config);
        let connection = match start::start(&app, &here, backlog, &environ) {
            Ok(connection) => connection,
            Err(error) => {
                say("start", error);
                return Exit::CantCreate;
            }
        };
        let target = Target {
            connection: Some(connection),
        };
        let patience = config.timeouts.start + PATIENCE;
        let said = target.ask_for(Command::Ready, patience).ok().flatten();
        let status = said
            .map(|text| control::Status::from_lines(&text))
            .unwrap_or_default();
        if status.state == control::State::Up {
            return Exit::Ok;
        }
        let failure = status.last_failure.or_else(|| here.place.last_failure());
        let failure = failure.unwrap_or_else(|| "the daemon ended without a word".to_owned());
        say(
            "start",
            format_args!("cannot start {}: {failure}", app.path.display()),
        );
        Exit::Unavailable
    }
}

impl Stop {
    pub(super) fn run(self) -> Exit {
        let app = match app_named("stop", &self.app) {
            Ok(app) => app,
            Err(exit) => return exit,
        };
        if self.hold {
            match opened(&app) {
                Ok((_, here)) => here.slots.hold(Some(clock::now() + HOLD)),
                Err((exit, sentence)) => {
                    say("stop", sentence);
                    return exit;
                }
            }
        }
        match Target::find(&app).ask(Command::Stop) {
            Ok(Some(_)) => Exit::Ok,
            Ok(None) => {
                println!("{}: no daemon runs", app.path.display());
                Exit::Ok
            }
            Err(sentence) => {
                say("stop", sentence);
                Exit::Unavailable
            }
        }
    }
}

/// The app's configuration and place.
fn opened(app: &AppFile) -> Result<(Config, Here), (Exit, String)> {
    let config = app.load().map_err(|bad| (Exit::Config, bad.to_string()))?;
    let here = Here::open(app, &config).map_err(|no| (Exit::CantCreate, no))?;
    Ok((config, here))
}

/// What is known of an app that has no daemon at this moment.
fn status_without_daemon(app: &AppFile) -> control::Status {
    let runtime_dir = app.load().ok().and_then(|config| config.runtime_dir);
    let places = places(app, runtime_dir);
    let place = places.into_iter().find(|place| place.slots().exists());
    let status = place
        .map(|place| status_of_place(&place))
        .unwrap_or_default();
    control::Status {
        app: app.path.display().to_string(),
        ..status
    }
}

/// What is left at the place of a daemon that is down.
fn status_of_place(place: &Place) -> control::Status {
    let text = std::fs::read_to_string(place.state()).unwrap_or_default();
    let left = control::Status::from_lines(&text);
    let mut status = control::Status {
        app: left.app,
        last_failure: left.last_failure,
        ..control::Status::default()
    };
    if let Ok(slots) = Slots::open(&place.slots()) {
        let now = clock::now();
        let failed = slots.attempt(now);
        if slots.is_held(now) {
            status.state = control::State::Held;
        } else if failed.is_some_and(|a| backoff::remaining(a.attempts, a.since).is_some()) {
            status.state = control::State::BackingOff;
        }
        status.cgis = slots.running(MOST_SLOTS).unwrap_or(0).into();
    }
    status
}

/// Where an app's place may be; for root, which may ask about any uid's app, everybody's.
fn places(app: &AppFile, runtime_dir: Option<std::path::PathBuf>) -> Vec<Place> {
    let own = runtime_dir.map(|dir| Place {
        dir: dir.join(&app.id),
    });
    let mut places: Vec<Place> = own
        .into_iter()
        .chain(Place::candidates(app, process::uid()))
        .collect();
    if process::uid() == 0 {
        places.extend(Place::everybodys(app));
    }
    places
}

/// The daemon that answers for an app.
struct Target {
    connection: Option<OwnedFd>,
}

impl Target {
    fn find(app: &AppFile) -> Target {
        let runtime_dir = app.load().ok().and_then(|config| config.runtime_dir);
        let connection = places(app, runtime_dir).iter().find_map(connect);
        Target { connection }
    }

    /// What the daemon says to a command; `None`: there is none.
    fn ask(self, command: Command) -> Result<Option<String>, String> {
        self.ask_for(command, PATIENCE)
    }

    fn ask_for(self, command: Command, patience: Duration) -> Result<Option<String>, String> {
        let Some(connection) = self.connection else {
            return Ok(None);
        };
        let pair = (control::VARIABLE.as_bytes(), command.word().as_bytes());
        let mut message = Vec::new();
        scgi::message(b"0", std::iter::once(pair), &mut message);
        socket::send_now(connection.as_fd(), &message)
            .map_err(|error| format!("cannot ask the daemon: {error}"))?;
        let ready = wait_one(connection.as_fd(), Interest::Read, patience).unwrap_or(false);
        if !ready {
            return Err(format!(
                "the daemon does not answer within {} s",
                patience.as_secs()
            ));
        }
        let mut text = String::new();
        match std::fs::File::from(connection).read_to_string(&mut text) {
            Ok(_) => Ok(Some(text)),
            Err(error) => Err(format!("cannot read the daemon's answer: {error}")),
        }
    }
}

/// Root trusts a daemon whose uid is that of its place; anybody else only their own.
fn connect(place: &Place) -> Option<OwnedFd> {
    if process::uid() != 0 {
        return match start::connect(place) {
            (Reach::Answers, connection) => connection,
            _ => None,
        };
    }
    let owner = files::owner(&place.dir)?;
    let connection = socket::connect_now(&place.socket()).ok()?;
    let peer = socket::peer(connection.as_fd())?;
    (peer.uid == owner).then_some(connection)
}

//! `start`, `stop`, `reload`: what a person makes an app's daemon do.

use std::fmt::Display;
use std::time::Duration;

use argh::FromArgs;

use super::app_named;
use super::ask::{PATIENCE, Target};
use crate::app;
use crate::app_file::AppFile;
use crate::config::Config;
use crate::control::{self, Command};
use crate::place::Place;
use crate::report::{Exit, say};
use crate::start::{self, Here};
use crate::sys::{clock, process};

/// How long `stop --hold` keeps the daemon down.
const HOLD: Duration = Duration::from_secs(24 * 3600);
/// How long a reload is waited for, whatever `start-timeout` says.
const LONGEST_RELOAD: Duration = Duration::from_secs(600);

/// Load an app's configuration and code anew: the daemon serves on until the new code is ready, and if that can't be
/// had, with the old. Without APP, all daemons of this user.
#[derive(FromArgs)]
#[argh(subcommand, name = "reload")]
pub(super) struct Reload {
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

impl Reload {
    pub(super) fn run(self) -> Exit {
        let Some(name) = &self.app else {
            return Reload::run_all();
        };
        let app = match app_named("reload", name) {
            Ok(app) => app,
            Err(exit) => return exit,
        };
        // One that is wrong is refused at once.
        let start = app.load().map_or(PATIENCE, |config| config.timeouts.start);
        let name = app.path.display();
        match Target::find(&app).ask_for(Command::Reload, reload_patience(start)) {
            Ok(Some(text)) => told(&name, &control::Status::from_lines(&text)),
            Ok(None) => {
                println!("{name}: no daemon runs: the next request loads it anew");
                Exit::Ok
            }
            Err(sentence) => {
                say("reload", sentence);
                Exit::Unavailable
            }
        }
    }

    fn run_all() -> Exit {
        let mut exit = Exit::Ok;
        for place in Place::all(process::uid()) {
            match Target::at(&place).ask_for(Command::Reload, LONGEST_RELOAD) {
                Ok(Some(text)) => {
                    let status = control::Status::from_lines(&text);
                    if told(&status.app, &status) != Exit::Ok {
                        exit = Exit::Unavailable;
                    }
                }
                Ok(None) => {}
                Err(sentence) => {
                    let place = place.dir.display();
                    say("reload", format_args!("{place}: {sentence}"));
                    exit = Exit::Unavailable;
                }
            }
        }
        exit
    }
}

/// One import may be under way, and another follow it.
fn reload_patience(start: Duration) -> Duration {
    (2 * start + PATIENCE).min(LONGEST_RELOAD)
}

/// What came of a reload.
fn told(app: &impl Display, status: &control::Status) -> Exit {
    let failure = match (status.state, &status.last_failure) {
        (_, Some(failure)) => failure,
        // It leaves, and the next request loads everything anew.
        (control::State::Draining | control::State::Up, None) => return Exit::Ok,
        (_, None) => "the daemon ended without a word",
    };
    say("reload", format_args!("cannot reload {app}: {failure}"));
    Exit::Unavailable
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
            // It serves, but not all that it was told to: an address of `listen`, say, is somebody else's.
            if let Some(trouble) = status.last_failure {
                say("start", trouble);
            }
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

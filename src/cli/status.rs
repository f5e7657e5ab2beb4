//! `status`: what a daemon says of itself, and what is known when there is none.

use argh::FromArgs;

use super::app_named;
use super::ask::{Target, places};
use crate::app_file::AppFile;
use crate::control::{self, Command};
use crate::place::Place;
use crate::policy::backoff;
use crate::report::{Exit, say};
use crate::slots::Slots;
use crate::sys::{clock, process};

/// The largest `cgi-max` that there can be.
const MOST_SLOTS: u32 = 1024;

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
            match Target::at(&place).ask(Command::Status) {
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
        status.rate = slots.last_minute(now);
    }
    status
}

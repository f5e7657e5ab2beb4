//! `status`: a daemon's own answer, or without a daemon what is known from its place.

use std::ffi::OsStr;

use argh::FromArgs;

use super::apps;
use super::ask::{self, PATIENCE};
use super::{Sought, app_for};
use crate::acting::{self, Deed};
use crate::app_file::{AppFile, Named};
use crate::control::{Command, DaemonState, Status};
use crate::place::Place;
use crate::policy::backoff;
use crate::report::{Exit, say};
use crate::slots::Slots;
use crate::sys::{clock, process};

/// The largest `cgi-max` that there can be.
const MOST_SLOTS: u32 = 1024;

/// Show the state of an app's daemon. Without APP: of all apps of this user that have had one, and for root of all
/// users.
#[derive(FromArgs)]
#[argh(subcommand, name = "status")]
pub(super) struct StatusCommand {
    /// print JSON: an object for each app, in a line of its own
    #[argh(switch)]
    json: bool,

    /// for root: the user whom the web server runs the app as
    #[argh(option, arg_name = "name")]
    user: Option<String>,

    /// the app file, or the NAME of NAME.conf
    #[argh(positional)]
    app: Option<String>,
}

impl StatusCommand {
    pub(super) fn run(self) -> Exit {
        let Some(name) = &self.app else {
            if self.user.is_some() {
                let sentence = "'--user' names the user of one app: say which app";
                say("status", sentence);
                return Exit::Usage;
            }
            return apps::show(self.json, of_place);
        };
        let named = Named::new(OsStr::new(name));
        let app = match app_for("status", &named, self.user.as_deref(), Deed::Ask) {
            Ok(Sought::App(app)) => app,
            Ok(Sought::Nothing(_)) => {
                let app = named.to_string();
                self.show(&Status {
                    app,
                    ..Default::default()
                });
                return Exit::Ok;
            }
            Err(exit) => return exit,
        };
        let said = ask::find(&app).and_then(|connection| match connection {
            Some(connection) => ask::ask(connection, Command::Status, PATIENCE),
            None => Ok(None),
        });
        match said {
            Ok(said) => {
                let status = said.unwrap_or_else(|| status_without_daemon(&app));
                self.show_of(&acting::user_name(process::uid()), status);
                Exit::Ok
            }
            Err(sentence) => {
                say("status", sentence);
                Exit::Unavailable
            }
        }
    }

    fn show_of(&self, user: &str, status: Status) {
        self.show(&Status {
            user: self.json.then(|| user.to_owned()),
            ..status
        });
    }

    fn show(&self, status: &Status) {
        if self.json {
            println!("{}", status.to_json());
        } else {
            print!("{}", status.to_text());
        }
    }
}

/// The status of an app that has no daemon now.
fn status_without_daemon(app: &AppFile) -> Status {
    let places = ask::places(app);
    let place = places.iter().find(|place| place.slots().exists());
    let status = place.map(known_of_place).unwrap_or_default();
    Status {
        app: app.path.display().to_string(),
        ..status
    }
}

/// What is known of an app without a daemon. `None`: its file is gone.
fn of_place(place: &Place) -> Option<Status> {
    let status = known_of_place(place);
    if status.app.is_empty() {
        // A version that left no path has made the place, or there was no room.
        let app = place.dir.display().to_string();
        return Some(Status { app, ..status });
    }
    (!place.is_without(&status.app)).then_some(status)
}

/// The status of a place without a daemon.
fn known_of_place(place: &Place) -> Status {
    let uid = process::uid();
    let left = place.left(uid).unwrap_or_default();
    let mut status = Status {
        app: left.app,
        last_failure: left.last_failure,
        ..Status::default()
    };
    if let Ok(slots) = Slots::look(&place.slots(), uid) {
        let now = clock::now();
        let failed = slots.attempt(now);
        if slots.is_held(now) {
            status.state = DaemonState::Held;
        } else if failed.is_some_and(|a| backoff::remaining(a.attempts, a.since).is_some()) {
            status.state = DaemonState::BackingOff;
        }
        status.cgis = slots.running(MOST_SLOTS).unwrap_or(0).into();
        status.rate = slots.last_minute(now);
    }
    status
}

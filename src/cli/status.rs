//! `status`: a daemon's own answer, or without a daemon what is known from its place.

use std::ffi::OsStr;

use argh::FromArgs;

use super::apps;
use super::ask::{self, PATIENCE, Places};
use super::{Sought, app_for, known};
use crate::acting::{self, Deed};
use crate::app_file::{AppFile, Named};
use crate::control::{Command, Status};
use crate::printable;
use crate::report::{Exit, say};
use crate::sys::process;

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
            return apps::show(self.json, known::of_place);
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
                let status = said.unwrap_or_else(|| {
                    if self.user.is_none() {
                        say_what_is_hidden(&named, &app);
                    }
                    known::of_app(&app)
                });
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

/// Without a daemon, and without a place of this user's, another user may have one, which only that user and root see.
fn say_what_is_hidden(named: &Named, app: &AppFile) {
    let Places { here, elsewhere } = ask::places(app);
    let is_own = process::uid() == 0 || !here.is_empty() || !elsewhere.is_empty();
    let others = if is_own {
        Vec::new()
    } else {
        acting::hidden_owners(named)
    };
    if let [first, ..] = &others[..] {
        let (others, named) = (others.join(" or "), printable::line(&named.to_string()));
        let sentence = format!(
            "whether {others} has run it can't be seen: sudo -u {first} polycgi status {named}"
        );
        say("status", sentence);
    }
}

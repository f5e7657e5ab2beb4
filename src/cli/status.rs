//! `status`: a daemon's own answer, or without a daemon what is known from its place; and in which form it is shown.

use std::ffi::OsStr;
use std::time::Duration;

use argh::{ArgsInfo, FromArgs};

use super::ask::{self, PATIENCE, Places};
use super::watch::{self, Look};
use super::{Sought, app_for, apps};
use crate::acting::{self, Deed};
use crate::app_file::{AppFile, Named};
use crate::control::{Command, Status};
use crate::known;
use crate::printable;
use crate::report::{Exit, print, print_line, say};
use crate::sys::process;
use crate::views;

/// The longest time between two looks of `--watch`, in seconds.
const LONGEST_WATCH: u32 = 3600;
/// A daemon that does not answer by then is asked again in the next look.
const WATCH_PATIENCE: Duration = Duration::from_secs(2);

/// Show the state of an app's daemon. Without APP: of all apps of this user that have a place, and for root of all
/// users.
#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand, name = "status")]
pub(super) struct StatusCommand {
    /// print a page in HTML, with charts of the last hour
    #[argh(switch)]
    html: bool,

    /// print JSON: an object for each app, in a line of its own
    #[argh(switch)]
    json: bool,

    /// print metrics, as Prometheus reads them
    #[argh(switch)]
    prometheus: bool,

    /// for root: the user whom the web server runs the app as
    #[argh(option, arg_name = "name")]
    user: Option<String>,

    /// show it again every second, or every N seconds with --watch=N; q ends that
    #[argh(option, arg_name = "n")]
    watch: Option<u32>,

    /// the app file, or the NAME of NAME.conf
    #[argh(positional)]
    app: Option<String>,
}

/// In which form a status is shown.
#[derive(Clone, Copy)]
enum StatusView {
    Html,
    Json,
    Prometheus,
    Text,
    Watch(Duration),
}

impl StatusCommand {
    pub(super) fn run(self) -> Exit {
        let view = match self.view() {
            Ok(view) => view,
            Err(sentence) => {
                say("status", sentence);
                return Exit::Usage;
            }
        };
        let Some(name) = &self.app else {
            return show_all(view);
        };
        let named = Named::new(OsStr::new(name));
        let app = match app_for("status", &named, self.user.as_deref(), Deed::Ask) {
            Ok(Sought::App(app)) => Some(app),
            Ok(Sought::Nothing(_)) => None,
            Err(exit) => return exit,
        };
        let look = |patience| match &app {
            Some(app) => of_app(app, patience),
            None => Ok(Status {
                app: named.to_string(),
                ..Status::default()
            }),
        };
        if let StatusView::Watch(every) = view {
            return watch::watch(every, || match look(WATCH_PATIENCE) {
                Ok(status) => Look {
                    lines: apps::line(None, &status, false),
                    page: Box::new(move |columns| status.to_text(columns)),
                },
                Err(sentence) => Look {
                    lines: sentence.clone(),
                    page: Box::new(move |_| sentence.clone()),
                },
            });
        }
        match look(PATIENCE) {
            Ok(status) => {
                let without_daemon = app.as_ref().filter(|_| status.pid.is_none());
                if let (Some(app), None) = (without_daemon, &self.user) {
                    say_what_is_hidden(&named, app);
                }
                let is_known = app.is_some();
                let user = is_known.then(|| acting::user_name(process::uid()));
                show(view, user, status);
                Exit::Ok
            }
            Err(sentence) => {
                say("status", sentence);
                Exit::Unavailable
            }
        }
    }

    fn view(&self) -> Result<StatusView, &'static str> {
        let views = [
            self.html.then_some(StatusView::Html),
            self.json.then_some(StatusView::Json),
            self.prometheus.then_some(StatusView::Prometheus),
            self.watch
                .map(|every| StatusView::Watch(Duration::from_secs(every.into()))),
        ];
        let mut views = views.into_iter().flatten();
        let view = views.next().unwrap_or(StatusView::Text);
        if views.next().is_some() {
            return Err("one of --html, --json, --prometheus and --watch at a time");
        }
        if self
            .watch
            .is_some_and(|every| every == 0 || every > LONGEST_WATCH)
        {
            return Err("--watch takes whole seconds, from 1 to 3600");
        }
        match (view, &self.app) {
            (StatusView::Html, None) => Err("--html shows one app: say which app"),
            (_, None) if self.user.is_some() => {
                Err("'--user' names the user of one app: say which app")
            }
            _ => Ok(view),
        }
    }
}

fn of_app(app: &AppFile, patience: Duration) -> Result<Status, String> {
    let said = match ask::find(app)? {
        Some(connection) => ask::ask(connection, Command::Status, patience)?,
        None => None,
    };
    Ok(said.unwrap_or_else(|| {
        let Places { here, elsewhere } = ask::places(app);
        // A web server that has a view of its own is the one that runs the app.
        known::of_app(app, elsewhere.iter().chain(&here))
    }))
}

fn show(view: StatusView, user: Option<String>, status: Status) {
    match view {
        StatusView::Html => print(views::page(&status)),
        StatusView::Json => print_line(Status { user, ..status }.to_json()),
        StatusView::Prometheus => print(views::exposition(&[Status { user, ..status }])),
        StatusView::Text | StatusView::Watch(_) => print(status.to_text(printable::WIDTH)),
    }
}

fn show_all(view: StatusView) -> Exit {
    match view {
        StatusView::Prometheus => {
            let (statuses, exit) = apps::statuses(known::of_place);
            print(views::exposition(&statuses));
            exit
        }
        StatusView::Watch(every) => watch::watch(every, || {
            let lines = apps::lines(known::of_place);
            Look {
                lines: lines.clone(),
                page: Box::new(move |_| lines.clone()),
            }
        }),
        StatusView::Html | StatusView::Json | StatusView::Text => {
            apps::show(matches!(view, StatusView::Json), known::of_place)
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

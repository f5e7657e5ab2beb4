//! `start` and `reload`: commands of a person to an app's daemon.

use std::ffi::OsStr;
use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::time::Duration;

use argh::{ArgsInfo, FromArgs};

use super::ask::{self, Found, PATIENCE, Purpose, ReachedDaemon};
use super::{Sought, app_for, app_to_run, print_no_daemon};
use crate::acting::{self, CommandError, Deed};
use crate::app;
use crate::app_file::{AppFile, Named};
use crate::config::Config;
use crate::control::{Command, DaemonState, Status};
use crate::elsewhere;
use crate::report::{Exit, say};
use crate::slots::StartCause;
use crate::start::{self, Here};
use crate::sys::process;

/// The longest wait for a reload, whatever `start-timeout` is.
const LONGEST_RELOAD: Duration = Duration::from_secs(600);

/// Load an app's configuration and code anew: the daemon serves on until the new code is ready, and if that can't be
/// had, with the old. Without APP, all daemons of this user, and for root those of all users.
#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand, name = "reload")]
pub(super) struct ReloadCommand {
    /// for root: the user whom the web server runs the app as
    #[argh(option, arg_name = "name")]
    user: Option<String>,

    /// the app file, or the NAME of NAME.conf
    #[argh(positional)]
    app: Option<String>,
}

/// Start an app's daemon now, and end a hold.
#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand, name = "start")]
pub(super) struct StartCommand {
    /// for root: the user whom the web server runs the app as
    #[argh(option, arg_name = "name")]
    user: Option<String>,

    /// the app file, or the NAME of NAME.conf
    #[argh(positional)]
    app: String,
}

impl ReloadCommand {
    pub(super) fn run(self) -> Exit {
        let Some(name) = &self.app else {
            return self.run_all();
        };
        let named = Named::new(OsStr::new(name));
        let later = ": the next request loads it anew";
        let app = match app_for("reload", &named, self.user.as_deref(), Deed::Ask) {
            Ok(Sought::App(app)) => app,
            Ok(Sought::Nothing(users)) => {
                print_no_daemon(&named, Some(&users), later);
                return Exit::Ok;
            }
            Err(exit) => return exit,
        };
        // With a configuration that is wrong, the daemon answers at once.
        let start = app.load().map_or(PATIENCE, |config| config.timeouts.start);
        let said = ask::find(&app).and_then(|connection| {
            let ask = |connection| ask::ask(connection, Command::Reload, reload_patience(start));
            connection.map(ask).transpose()
        });
        match said {
            Ok(Some(status)) => report_reload(&app.path.display(), &status.unwrap_or_default()),
            Ok(None) => {
                print_no_daemon(&named, None, later);
                Exit::Ok
            }
            Err(sentence) => {
                say("reload", sentence);
                Exit::Unavailable
            }
        }
    }

    fn run_all(&self) -> Exit {
        if self.user.is_some() {
            say(
                "reload",
                "'--user' names the user of one app: say which app",
            );
            return Exit::Usage;
        }
        let is_root = process::uid() == 0;
        let none = |_: &_| None;
        ask::survey("reload", Purpose::Reload, none, |user, found| match found {
            Found::Gone(status) | Found::Known(status) if is_root => {
                report_reload(&format_args!("{} of {user}", status.app), &status)
            }
            Found::Gone(status) | Found::Known(status) => report_reload(&status.app, &status),
            Found::Trouble(sentence) => {
                say("reload", format_args!("{user}: {sentence}"));
                Exit::Unavailable
            }
        })
    }
}

/// Another import may be under way, and this one follows it.
fn reload_patience(start: Duration) -> Duration {
    (2 * start + PATIENCE).min(LONGEST_RELOAD)
}

/// Reports a reload's outcome.
fn report_reload(app: &impl Display, status: &Status) -> Exit {
    let failure = match (status.state, &status.last_failure) {
        (_, Some(failure)) => failure,
        // Draining: it exits, and the next request loads everything anew.
        (DaemonState::Draining | DaemonState::Up, None) => return Exit::Ok,
        (_, None) => "the daemon ended without an answer",
    };
    say("reload", format_args!("cannot reload {app}: {failure}"));
    Exit::Unavailable
}

impl StartCommand {
    pub(super) fn run(self) -> Exit {
        let named = Named::new(OsStr::new(&self.app));
        let app = match app_to_run("start", &named, self.user.as_deref()) {
            Ok(app) => app,
            Err(exit) => return exit,
        };
        let reached = self.reach(&named, &app);
        let (config, here, connection) = match reached {
            Ok(reached) => reached,
            Err((exit, sentence)) => {
                say("start", sentence);
                return exit;
            }
        };
        let patience = config.timeouts.start + PATIENCE;
        let said = ask::ask(connection, Command::Ready, patience);
        let status = said.ok().flatten().unwrap_or_default();
        if status.state == DaemonState::Up {
            // It serves, but not everywhere: another process may have an address of `listen`, for example.
            if let Some(trouble) = status.last_failure {
                say("start", trouble);
            }
            return Exit::Ok;
        }
        let failure = status.last_failure.or_else(|| here.place.last_failure());
        let failure = failure.unwrap_or_else(|| "the daemon ended without an answer".to_owned());
        say(
            "start",
            format_args!("cannot start {}: {failure}", app.path.display()),
        );
        Exit::Unavailable
    }
}

impl StartCommand {
    /// The app's daemon, started if there is none; no hold or pause is left.
    fn reach(&self, named: &Named, app: &AppFile) -> Result<(Config, Here, OwnedFd), CommandError> {
        let Opened {
            config,
            here,
            connection,
        } = opened(named, app, self.user.as_deref())?;
        here.slots.hold(None);
        // After failed starts there is a pause, which a person's 'start' ends.
        here.slots.clear_attempts();
        if let Some(connection) = connection {
            return Ok((config, here, connection));
        }
        if let Some(web_server) = elsewhere::hides(&here.place) {
            say("start", unseen_daemon(named, web_server));
        }
        let environ = app::environment::for_daemon();
        let started = start::start(
            app,
            &here,
            app::backlog(&config),
            &environ,
            &StartCause::BY_HAND,
        );
        let connection = started.map_err(|error| (Exit::CantCreate, error.to_string()))?;
        Ok((config, here, connection))
    }
}

fn unseen_daemon(named: &Named, web_server: i32) -> String {
    format!(
        "the web server, pid {web_server}, has a /tmp of its own (PrivateTmp): it does not find this daemon, and a \
         hold that it sees goes on; as root: nsenter -t {web_server} -m polycgi start {named}"
    )
}

/// What a command needs to act on an app.
pub(super) struct Opened {
    pub(super) config: Config,
    /// Where fronts look that a web server starts, as far as that is known.
    pub(super) here: Here,
    /// To the app's daemon, if one was found.
    pub(super) connection: Option<OwnedFd>,
}

/// The app's configuration, its place, made if it is missing, and its daemon.
pub(super) fn opened(
    named: &Named,
    app: &AppFile,
    user: Option<&str>,
) -> Result<Opened, CommandError> {
    let config = app.load().map_err(|bad| (Exit::Config, bad.to_string()))?;
    let cannot = |sentence: String| (Exit::CantCreate, sentence);
    // A daemon that can't be reached is told of when it is asked.
    let reached = ask::reach(app).ok().flatten();
    if let Some(ReachedDaemon {
        place,
        connection,
        is_elsewhere: true,
    }) = reached
    {
        return Ok(Opened {
            config,
            here: Here::at(place).map_err(cannot)?,
            connection: Some(connection),
        });
    }
    if let Some(dir) = &config.runtime_dir {
        acting::may_make(named, dir, user)?;
    }
    let here = Here::open(app, &config).map_err(cannot)?;
    // A daemon in a place of before an edit of `runtime-dir` leaves with the next request.
    let reached = reached.filter(|_| config.runtime_dir.is_none());
    Ok(Opened {
        config,
        here,
        connection: reached.map(|reached| reached.connection),
    })
}

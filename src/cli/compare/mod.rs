//! `compare`: one request as a plain CGI and by the daemon, some times in turns, and what differs.

mod copied;
mod kept;
mod parts;
mod runs;

use std::ffi::OsStr;

use argh::{ArgsInfo, FromArgs};

use self::copied::Copied;
use self::kept::KeptProfiles;
use self::parts::parts;
use self::runs::{DaemonSide, Ways};
use super::asked::RequestWords;
use super::{app_to_run, surroundings};
use crate::acting::CommandError;
use crate::app::environment;
use crate::app_file::{AppFile, Named};
use crate::compare::{self, Comparison, Profile, Report, Times};
use crate::config::{App, Config};
use crate::report::{Exit, print, say};

const NAME: &str = "compare";
/// The most requests each way.
const MOST_RUNS: u32 = 1000;

/// Make one request as a plain CGI and by the daemon, and show what differs.
#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand, name = "compare")]
pub(super) struct CompareCommand {
    /// how often each way (default 10); once more as a plain CGI
    #[argh(option, short = 'n', default = "10", arg_name = "runs")]
    runs: u32,

    /// the method (default GET, or POST with -d)
    #[argh(option, short = 'X', arg_name = "method")]
    method: Option<String>,

    /// a header field, 'Name: value'; may be repeated
    #[argh(option, short = 'H', arg_name = "field")]
    header: Vec<String>,

    /// the message-body, or @FILE for what a file holds
    #[argh(option, short = 'd', arg_name = "body")]
    data: Option<String>,

    /// compare the environ of the request and what the processes start with, too: environment, directory, umask,
    /// limits (for 'wsgi')
    #[argh(switch)]
    environ: bool,

    /// show where the time goes each way, by cProfile, and what a request leaves in a worker (for 'wsgi');
    /// --profile=PREFIX also keeps PREFIX.import, PREFIX.cgi and PREFIX.daemon
    #[argh(switch)]
    profile: bool,

    /// the same, and keep the profiles; people write --profile=PREFIX
    #[argh(option, hidden_help)]
    profile_file: Option<String>,

    /// print JSON: an object in one line
    #[argh(switch)]
    json: bool,

    /// for root: the user whom the web server runs the app as
    #[argh(option, arg_name = "name")]
    user: Option<String>,

    /// the app file, or the NAME of NAME.conf
    #[argh(positional)]
    app: String,

    /// path and query, such as /page?name=value
    #[argh(positional, default = "\"/\".to_owned()")]
    path: String,
}

impl CompareCommand {
    pub(super) fn run(self) -> Exit {
        match self.compare() {
            Ok(exit) => exit,
            Err(NotCompared::Said(exit)) => exit,
            Err(NotCompared::By((exit, sentence))) => {
                say(NAME, sentence);
                exit
            }
        }
    }

    fn compare(&self) -> Result<Exit, NotCompared> {
        if !(1..=MOST_RUNS).contains(&self.runs) {
            let sentence = format!("'-n {}' is not from 1 to {MOST_RUNS}", self.runs);
            return Err((Exit::Usage, sentence).into());
        }
        let asked = self.asked();
        // Before this process becomes another user's.
        let body = asked.body()?;
        let kept = self.profile_file.as_deref().map(KeptProfiles::new);
        let kept = kept.transpose()?;
        let named = Named::new(OsStr::new(&self.app));
        let app = app_to_run(NAME, &named, self.user.as_deref()).map_err(NotCompared::Said)?;
        let config = app.load().map_err(|bad| (Exit::Config, bad.to_string()))?;
        let meta = asked.meta_variables(&app, body.len())?;
        let request = format!("{} {}", asked.method(), self.path);
        let (text, exit) = self.look(&app, &config, &request, meta, &body, kept)?;
        // No private copy is there any more: this may end the process.
        print(text);
        Ok(exit)
    }

    /// The report, and the exit status.
    fn look(
        &self,
        app: &AppFile,
        config: &Config,
        request: &str,
        meta: Vec<(String, String)>,
        body: &[u8],
        kept: Option<KeptProfiles>,
    ) -> Result<(String, Exit), CommandError> {
        let watched = self.watched(app, config)?;
        let daemon = DaemonSide::of(app, config)?;
        let ways = Ways {
            app,
            config,
            daemon: &daemon,
            meta,
            body,
            // A web server gives a program its own environment, too; our adaptor takes only what is the host's.
            variables: match config.app {
                App::Wsgi(_) => Vec::new(),
                App::Commands { .. } | App::Connect(_) => environment::of_host().collect(),
            },
        };
        let found = ways.run(self.runs)?;
        let failure = daemon.failure();
        let mut comparison = compare::compare(&found.cgi.answers, &found.daemon.answers);
        let profile = match watched.filter(|_| failure.is_none()) {
            Some(watched) => self.look_inside(&watched, &ways, &mut comparison, kept)?,
            None => None,
        };
        let cgi = Times::of(&found.cgi.runs);
        let parts = match &config.app {
            App::Wsgi(target) => parts(app, config, target, cgi.minimum()),
            App::Commands { .. } | App::Connect(_) => Vec::new(),
        };
        let report = Report {
            app: &self.app,
            request,
            comparison: &comparison,
            cgi,
            daemon: Times {
                cost: found.daemon_cost,
                ..Times::of(&found.daemon.runs)
            },
            parts: &parts,
            profile: profile.as_ref(),
            failure: failure.as_deref(),
            stderr: &found.stderr,
        };
        let exit = match comparison.differs() {
            true => Exit::Differs,
            false => Exit::Ok,
        };
        Ok(match self.json {
            true => (compare::to_json(&report) + "\n", exit),
            false => (compare::to_text(&report), exit),
        })
    }

    /// Adds what only the copy shows that is looked at from inside.
    fn look_inside(
        &self,
        watched: &Copied,
        ways: &Ways<'_>,
        comparison: &mut Comparison,
        kept: Option<KeptProfiles>,
    ) -> Result<Option<Profile>, CommandError> {
        watched.request(&ways.meta, ways.body, self.is_profiled())?;
        if self.environ {
            let [cgi, daemon] = watched.environs()?;
            comparison.add_processes(&cgi, &daemon);
            let cgi = surroundings::of_cgi(ways.app, ways.config)?;
            comparison.add_processes(&cgi, &surroundings::of_worker(ways.daemon.status())?);
        }
        if let Some(kept) = kept {
            kept.fill(watched)?;
        }
        match self.is_profiled() {
            true => watched.profile().map(Some),
            false => Ok(None),
        }
    }

    fn is_profiled(&self) -> bool {
        self.profile || self.profile_file.is_some()
    }

    /// The copy of the app that is looked at from inside, if that is asked for.
    fn watched(&self, app: &AppFile, config: &Config) -> Result<Option<Copied>, CommandError> {
        if !self.environ && !self.is_profiled() {
            return Ok(None);
        }
        if let App::Wsgi(target) = &config.app {
            return Copied::watched(app, config, target).map(Some);
        }
        let option = match (self.environ, &self.profile_file) {
            (true, _) => "--environ",
            (_, Some(_)) => "--profile=PREFIX",
            // What there is to be known of another app is shown in any case.
            _ => return Ok(None),
        };
        Err((Exit::Usage, format!("'{option}' is for an app of 'wsgi'")))
    }

    fn asked(&self) -> RequestWords {
        RequestWords {
            method: self.method.clone(),
            header: self.header.clone(),
            data: self.data.clone(),
            path: self.path.clone(),
        }
    }
}

/// Why nothing was compared.
enum NotCompared {
    By(CommandError),
    /// It was printed.
    Said(Exit),
}

impl From<CommandError> for NotCompared {
    fn from(error: CommandError) -> NotCompared {
        NotCompared::By(error)
    }
}

//! `check`: what can be found wrong about an app before a client meets it, and what to do about it. A file here looks at
//! one subject and adds what it finds; nothing is changed by a look, and nothing waited for without a limit.

mod apache;
mod application;
mod by_apache;
mod by_lighttpd;
mod commands;
mod configuration;
mod file;
mod finding;
mod interpreter;
mod kind;
mod lighttpd;
mod limits;
mod mounts;
mod paths;
mod pattern;
mod places;
mod program;
mod server;
mod subject;
mod suexec;
mod trial;
mod units;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use argh::{ArgsInfo, FromArgs};

use self::file::FileLook;
use self::finding::{Finding, Findings, Severity};
use self::kind::FindingKind;
use self::mounts::MountTable;
use self::subject::{CheckSubject, CheckUser};
use super::act_for;
use crate::acting::{self, Deed};
use crate::app::way;
use crate::app_file::{AppFile, LoadError, Named, NotAnApp};
use crate::config::{App, Config, Mode};
use crate::report::{Exit, say, unprinted};
use crate::sys::accounts;
use crate::sys::files::Walker;
use crate::sys::process;

/// Examine an app: what would keep it from being served, who could change it or read its secrets, what runs it. It
/// imports a WSGI application, and runs no command.
#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand, name = "check")]
pub(super) struct CheckCommand {
    /// the user whom the web server runs the app as
    #[argh(option, long = "as", arg_name = "name")]
    as_user: Option<String>,

    /// the same, as other commands call it
    #[argh(option, arg_name = "name")]
    user: Option<String>,

    /// an object for each finding, one a line
    #[argh(switch)]
    json: bool,

    /// the app file, or the NAME of NAME.conf
    #[argh(positional)]
    app: String,
}

impl CheckCommand {
    pub(super) fn run(self) -> Exit {
        let named = Named::new(OsStr::new(&self.app));
        let mut findings = Findings::default();
        // Whose it is, a look at it tells.
        if let Named::Path(path) = &named
            && !is_there([path.as_path()], &mut findings)
        {
            return self.print(&named, findings, None).unwrap_or(Exit::Config);
        }
        let user = match self.become_user(&named) {
            Ok(user) => user,
            Err(exit) => return exit,
        };
        let summary = match examine(&named, &user, &mut findings) {
            Ok(summary) => summary,
            Err(no) => {
                say("check", no);
                return Exit::NoInput;
            }
        };
        if let Some(exit) = self.print(&named, findings, summary) {
            exit
        } else if user.is_other() {
            say("check", only_modes(&user, &self.app));
            Exit::NoPermission
        } else {
            Exit::Ok
        }
    }

    /// Prints what was found. The exit code, if that is no success.
    fn print(
        &self,
        named: &Named,
        mut findings: Findings,
        summary: Option<String>,
    ) -> Option<Exit> {
        let printed = if self.json {
            findings.extend(summary.map(|summary| Finding::note(FindingKind::Runs, summary)));
            findings.print_json()
        } else {
            findings.print_text(&named.to_string(), summary.as_deref())
        };
        match printed {
            Err(error) => Some(unprinted(&error)),
            Ok(()) => findings.has_errors().then_some(Exit::Config),
        }
    }

    /// The user as whom the app is examined: from now on this process is that user's, if it may.
    fn become_user(&self, named: &Named) -> Result<CheckUser, Exit> {
        let word = match (&self.as_user, &self.user) {
            (Some(one), Some(other)) if one != other => {
                say("check", "--as and --user name different users");
                return Err(Exit::Usage);
            }
            (one, other) => one.as_deref().or(other.as_deref()),
        };
        if let Some(word) = word
            && process::uid() != 0
            && let Ok(Some(account)) = accounts::account(word)
            && account.uid != process::uid()
        {
            return Ok(CheckUser {
                name: account.name.clone(),
                uid: account.uid,
                walker: Walker::Other {
                    uid: account.uid,
                    groups: accounts::all_groups(&account),
                },
            });
        }
        act_for("check", named, word, Deed::Run)?;
        let uid = process::uid();
        Ok(CheckUser {
            name: acting::user_name(uid),
            uid,
            walker: Walker::Own,
        })
    }
}

/// The words by which programs know what a finding is about.
#[cfg(test)]
pub(crate) fn finding_kinds() -> Vec<&'static str> {
    FindingKind::ALL.iter().map(|kind| kind.word()).collect()
}

/// The words for how much it matters.
#[cfg(test)]
pub(crate) fn finding_severities() -> [&'static str; 3] {
    [Severity::Error, Severity::Note, Severity::Warning].map(Severity::word)
}

/// A finding as `--json` prints it.
#[cfg(test)]
pub(crate) fn finding_in_json() -> String {
    Finding::note(FindingKind::Runs, "it runs").to_json()
}

/// For a user who may not become the app's.
fn only_modes(user: &CheckUser, app: &str) -> String {
    let name = &user.name;
    format!(
        "as {name} only owners and modes were looked at; for the rest, such as the import: sudo -u {name} polycgi \
         check {app}"
    )
}

/// Looks at everything; what runs the app, and how, if nothing is wrong. An error: there is no such app.
fn examine(
    named: &Named,
    user: &CheckUser,
    findings: &mut Findings,
) -> Result<Option<String>, NotAnApp> {
    if let Named::Path(path) = named
        && file::look(path, user, findings) == FileLook::Refused
    {
        return Ok(None);
    }
    let app = match AppFile::of(named) {
        Ok(app) => app,
        Err(no) => return add_no_app(named, no, findings).map(|()| None),
    };
    let config = match app.load() {
        Ok(config) => config,
        Err(bad) => {
            findings.add(not_loaded(&bad));
            return Ok(None);
        }
    };
    let subject = CheckSubject::new(&app, &config, user);
    let named = subject.paths();
    if !is_there(named.iter().map(PathBuf::as_path), findings) {
        return Ok(None);
    }
    configuration::look(&subject, findings);
    paths::look(&subject, findings);
    if !user.is_other() {
        places::look(&subject, findings);
    }
    places::look_around(&subject, findings);
    limits::look(&subject, findings);
    program::look(&subject, findings);
    let server = server::look(&subject, findings);
    let server = server.map_or(String::new(), |server| format!("; {server}"));
    let runs = look_at_app(&subject, findings);
    Ok(runs.map(|runs| format!("{runs} as {}{server}", user.name)))
}

/// Whether the file systems on the ways to all these paths answer.
fn is_there<'a>(paths: impl IntoIterator<Item = &'a Path>, findings: &mut Findings) -> bool {
    let mounts = MountTable::read();
    for path in paths {
        // A relative one is the caller's, who works there.
        let Ok(path) = std::path::absolute(path) else {
            continue;
        };
        if let Some(mount) = mounts.silent_on(&path) {
            let (point, kind) = (mount.point.display(), &mount.kind);
            let sentence = format!("the file system at {point} ({kind}) does not answer");
            let finding = Finding::error(FindingKind::FileSystem, sentence).at(&path);
            findings.add(finding.advise("requests would hang as well: see to its server"));
            return false;
        }
    }
    true
}

/// A symlink to us that has no configuration is an app that is not complete. What else is no app is not examined.
fn add_no_app(named: &Named, no: NotAnApp, findings: &mut Findings) -> Result<(), NotAnApp> {
    match (named, &no) {
        (Named::Path(path), NotAnApp::NoConfig(..)) if file::is_ours(path) => {
            let name = path.file_stem().unwrap_or_default().display();
            let advice = format!(
                "write /etc/polycgi/{name}.conf, with at least what runs the app: a line 'wsgi = MODULE:CALLABLE' or \
                 'cgi = COMMAND'; a web server sets no HOME, so it looks nowhere else"
            );
            let finding = Finding::error(FindingKind::NoConfiguration, no.to_string());
            findings.add(finding.at(path).advise(advice));
            Ok(())
        }
        _ => Err(no),
    }
}

fn not_loaded(bad: &LoadError) -> Finding {
    match bad {
        LoadError::Wrong(bad) => {
            Finding::in_config(Severity::Error, FindingKind::Configuration, bad)
        }
        LoadError::Unreadable(path, error) => {
            let why =
                way::reason("read", path, error).map_or(String::new(), |why| format!(": {why}"));
            Finding::error(
                FindingKind::Configuration,
                format!("{}{why}", bad.sentence()),
            )
            .at(path)
        }
        LoadError::Nph(path) => Finding::error(FindingKind::Configuration, bad.sentence()).at(path),
    }
}

/// What runs the app, if it can be run.
fn look_at_app(subject: &CheckSubject<'_>, findings: &mut Findings) -> Option<String> {
    let config = subject.config;
    // Nothing that runs there can be, which has been said.
    if findings.has(FindingKind::Directory) && !matches!(config.app, App::Connect(_)) {
        return None;
    }
    let runs = match &config.app {
        App::Wsgi(target) => application::look(subject, target, findings)?,
        App::Commands { cgi, scgi } => {
            let cgi = cgi.as_deref().map(|command| ("cgi", command, "a CGI"));
            let scgi = scgi.as_deref();
            let scgi = scgi.map(|command| ("scgi", command, "an SCGI server"));
            let found = cgi
                .into_iter()
                .chain(scgi)
                .map(|(key, command, what)| commands::look(subject, key, command, what, findings));
            let found: Vec<String> = found.collect::<Option<_>>()?;
            found.join(" and ")
        }
        App::Connect(address) => {
            commands::look_at_server(subject, address, findings);
            return Some(format!("the server at {address} is asked"));
        }
    };
    Some(format!("{runs} runs it {}", way_of(config)))
}

fn way_of(config: &Config) -> &'static str {
    match (config.mode, config.app.runs_as_cgi()) {
        (Mode::Cgi, _) => "as a plain CGI",
        (Mode::Daemon, _) | (Mode::Auto, false) => "in a daemon",
        (Mode::Auto, true) => "as a plain CGI, or in a daemon while it is busy,",
    }
}

//! Which user an app runs as. It asks the system who can change the app's files, and asks each candidate, by a process
//! of that user, about the candidate's own places.
//!
//! # Whose an app is
//! A user who can change an app's file, a folder above it or a link to it decides what the app is; and a web server
//! runs it as the web server's user, or as the owner of the file (suEXEC). So the candidates are the owners of those
//! files and folders, and the web servers' accounts in /etc/passwd. No other user's place is ever examined. A single
//! candidate is the app's user. Of several, it is the one whose own place for the app has a daemon, or else the only
//! one who has such a place: only that user can have made it, since each candidate is asked by a process of that
//! candidate. If this decides nothing, the person has to say `--user`. Root is the app's user if no other user can be,
//! if a daemon of root's serves the app, and for an app that is configured in root's HOME.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use super::errand::{Errand, collect};
use super::users::{CommandError, known, name, table, web_servers};
use crate::app_file::{AppFile, Named};
use crate::elsewhere;
use crate::place::Place;
use crate::policy::route::Reach;
use crate::report::Exit;
use crate::start;
use crate::sys::accounts::{self, Account};
use crate::sys::{environ, files};

/// How long a candidate's process may take to answer: a file system of the candidate's own can delay it.
const PROOF_PATIENCE: Duration = Duration::from_secs(5);

/// What a command has to do with the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It asks a daemon: without one it has nothing to do.
    Ask,
    /// It runs the app, or makes something for it.
    Run,
    /// It runs the app, and leaves daemons and places alone.
    RunAlone,
}

pub(super) enum Chosen {
    /// None of these users has a place for the app.
    None(Vec<String>),
    User(Account),
}

pub(super) fn choose(named: &Named, deed: Deed) -> Result<Chosen, CommandError> {
    let table = table()?;
    let subject = Subject::of(named);
    let mut candidates = candidates(&subject, &table);
    if subject.is_roots() && is_in_home(named) {
        return known(0, &table).map(Chosen::User);
    }
    let root_serves = subject.is_roots() && evidence(named, 0) == Evidence::Daemon;
    let is_single = candidates.len() == 1 && !subject.is_open && !root_serves;
    if candidates.is_empty() && subject.is_roots() {
        candidates.push(0);
    }
    if is_single || candidates == [0] {
        return known(candidates[0], &table).map(Chosen::User);
    }
    let mut shown = ask_candidates(named, &candidates);
    if root_serves {
        candidates.push(0);
        shown.push(Evidence::Daemon);
    }
    let most = shown.iter().copied().max().unwrap_or(Evidence::Nothing);
    let with_most = candidates.iter().zip(&shown);
    let with_most: Vec<u32> = with_most
        .filter_map(|(&uid, &evidence)| (evidence == most).then_some(uid))
        .collect();
    match with_most[..] {
        [uid] if most > Evidence::Nothing => known(uid, &table).map(Chosen::User),
        _ if most < Evidence::Daemon && deed == Deed::Ask && !candidates.is_empty() => {
            let names = candidates.iter().map(|&uid| name(uid, &table));
            Ok(Chosen::None(names.collect()))
        }
        _ => Err(undecided(named, &candidates, subject.is_open, &table)),
    }
}

/// Whether the configuration is in root's own HOME, where no other user would find it by NAME.
fn is_in_home(named: &Named) -> bool {
    let home = environ::value("HOME").filter(|home| !home.is_empty());
    let home = home.map(|home| Path::new(OsStr::from_bytes(home)));
    let is_below = |home| named.files().iter().any(|file| file.starts_with(home));
    matches!(named, Named::Name(_)) && home.is_some_and(is_below)
}

fn undecided(named: &Named, candidates: &[u32], is_open: bool, table: &[Account]) -> CommandError {
    let names: Vec<String> = candidates.iter().map(|&uid| name(uid, table)).collect();
    let names = match &names[..] {
        [] if !is_open => "any member of a group that can change it".to_owned(),
        [] => "none of the users that web servers have".to_owned(),
        names => names.join(" or "),
    };
    let why = if is_open {
        format!("every user can change it, and nothing shows that it runs as {names}")
    } else {
        format!("it may run as {names}")
    };
    let sentence = format!("cannot act on {named} as root: {why}; say which: --user NAME");
    (Exit::NoPermission, sentence)
}

/// Which users can change an app's files.
#[derive(Debug, Default)]
pub(super) struct Subject {
    /// The owners, without root; each once.
    owners: Vec<u32>,
    /// Every user can change them.
    is_open: bool,
    /// The members of a group can change them.
    is_shared: bool,
}

impl Subject {
    /// By the owners and modes of the files and of the folders above them. None is opened.
    pub(super) fn of(named: &Named) -> Subject {
        let mut subject = Subject::default();
        for file in named.files() {
            // The path as it was named, and the one without symlinks.
            let led = std::fs::canonicalize(&file).ok();
            let ways = file
                .ancestors()
                .chain(led.iter().flat_map(|led| led.ancestors()));
            for control in ways.filter_map(|path| files::control(path).ok()) {
                subject.is_open |= control.is_open;
                subject.is_shared |= control.group.is_some_and(accounts::has_members);
                if control.uid != 0 && !subject.owners.contains(&control.uid) {
                    subject.owners.push(control.uid);
                }
            }
        }
        subject
    }

    /// Whether only root can change them.
    fn is_roots(&self) -> bool {
        self.owners.is_empty() && !self.is_open && !self.is_shared
    }
}

/// The users who may be the app's: owners first, none twice.
pub(super) fn candidates(subject: &Subject, table: &[Account]) -> Vec<u32> {
    let mut candidates = subject.owners.clone();
    for uid in web_servers(table) {
        if !candidates.contains(&uid) {
            candidates.push(uid);
        }
    }
    candidates
}

/// What a candidate's own places show, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Evidence {
    Nothing,
    Place,
    Daemon,
}

/// What this process, which is that user's, finds in the user's own places.
pub(super) fn evidence(named: &Named, uid: u32) -> Evidence {
    let Ok(app) = AppFile::of(named) else {
        return Evidence::Nothing;
    };
    let runtime_dir = app.load().ok().and_then(|config| config.runtime_dir);
    let mut places = Place::proved(&app, uid, runtime_dir.as_deref());
    let serves = |place: &Place| matches!(start::connect(place), (Reach::Answers | Reach::Full, _));
    if places.iter().any(serves) {
        return Evidence::Daemon;
    }
    let elsewhere = elsewhere::places(&app, uid, runtime_dir.as_deref());
    if elsewhere.iter().any(serves) {
        return Evidence::Daemon;
    }
    places.extend(elsewhere);
    if places.is_empty() {
        Evidence::Nothing
    } else {
        Evidence::Place
    }
}

fn ask_candidates(named: &Named, candidates: &[u32]) -> Vec<Evidence> {
    let mut shown = vec![Evidence::Nothing; candidates.len()];
    let ask = |uid| {
        let named = named.clone();
        Errand::start(uid, move || vec![evidence(&named, uid) as u8]).ok()
    };
    let errands = candidates.iter().map(|&uid| ask(uid)).collect();
    collect(errands, 1, PROOF_PATIENCE, |nth, said| {
        shown[nth] = match said {
            [1] => Evidence::Place,
            [2] => Evidence::Daemon,
            _ => Evidence::Nothing,
        };
    });
    shown
}

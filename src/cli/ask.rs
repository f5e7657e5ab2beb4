//! How a command finds an app's daemon, asks it, and reads its answer. It asks only in places that are proved to be
//! this user's, limits an answer in size and in time, and does nothing with it but show it.

use std::fmt::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use crate::acting::{self, Errand};
use crate::app_file::AppFile;
use crate::control::{self, Command, Status};
use crate::elsewhere;
use crate::place::{MOST_PLACES, Place};
use crate::policy::route::Reach;
use crate::printable;
use crate::report::{Exit, say};
use crate::scgi;
use crate::start;
use crate::sys::poll::{Interest, wait_any};
use crate::sys::{Errno, clock, is, load, process, socket};

/// How long a daemon may take to answer a command.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer of a daemon, in bytes: a thousand workers, and the last failure.
const LONGEST_ANSWER: usize = 256 << 10;
/// The most users whose places root examines in a command without APP.
const MOST_USERS: usize = 64;
/// The most bytes that are read for one of them.
const LONGEST_SURVEY: usize = 1 << 20;
/// The most places of one of them that are named for not answering.
const MOST_TROUBLES: usize = 5;

/// The places of the app that exist, whatever the configuration was when its daemon started: those that fronts which
/// this user starts would use, and those in the view of other processes of this user.
pub(super) struct Places {
    pub(super) here: Vec<Place>,
    pub(super) elsewhere: Vec<Place>,
}

/// Looks for them.
pub(super) fn places(app: &AppFile) -> Places {
    Places {
        here: places_here(app),
        elsewhere: places_elsewhere(app),
    }
}

fn places_here(app: &AppFile) -> Vec<Place> {
    Place::proved(app, process::uid(), runtime_dir(app).as_deref())
}

/// This takes longer: it looks at every process of the host.
fn places_elsewhere(app: &AppFile) -> Vec<Place> {
    elsewhere::places(app, process::uid(), runtime_dir(app).as_deref())
}

fn runtime_dir(app: &AppFile) -> Option<PathBuf> {
    app.load().ok()?.runtime_dir
}

/// A daemon that was found.
pub(super) struct ReachedDaemon {
    pub(super) place: Place,
    pub(super) connection: OwnedFd,
    /// Fronts that this user starts would not find it.
    pub(super) is_elsewhere: bool,
}

/// A connection to the app's daemon. `None`: there is no daemon. A daemon that can't be reached is an error.
pub(super) fn find(app: &AppFile) -> Result<Option<OwnedFd>, String> {
    Ok(reach(app)?.map(|reached| reached.connection))
}

/// The same, with the place.
pub(super) fn reach(app: &AppFile) -> Result<Option<ReachedDaemon>, String> {
    match connect_first(places_here(app), false)? {
        Some(reached) => Ok(Some(reached)),
        None => connect_first(places_elsewhere(app), true),
    }
}

fn connect_first(places: Vec<Place>, is_elsewhere: bool) -> Result<Option<ReachedDaemon>, String> {
    for place in places {
        if let Some(connection) = connect(&place)? {
            return Ok(Some(ReachedDaemon {
                place,
                connection,
                is_elsewhere,
            }));
        }
    }
    Ok(None)
}

/// A connection to the daemon of this place. `None`: there is none.
pub(super) fn connect(place: &Place) -> Result<Option<OwnedFd>, String> {
    let reached = match start::connect(place) {
        // Stopped or slow, it may still exist.
        (Reach::Absent, _) => start::connect_silent(place),
        reached => reached,
    };
    let why = match reached {
        (Reach::Full, _) => "too many requests wait there",
        (Reach::Forbidden, _) => "the system forbids it",
        (_, connection) => return Ok(connection),
    };
    let socket = place.socket();
    Err(format!("cannot connect to {}: {why}", socket.display()))
}

/// The daemon's answer to a command. `None`: it has closed the connection without one, because it exits.
pub(super) fn ask(
    connection: OwnedFd,
    command: Command,
    patience: Duration,
) -> Result<Option<Status>, String> {
    let mut answer = Ok(None);
    ask_all(vec![connection], command, patience, |_, said| answer = said);
    answer
}

struct Question {
    nth: usize,
    connection: OwnedFd,
    said: Vec<u8>,
}

/// Asks several daemons at once, and gives each answer to `each` as soon as it is whole. `patience` is for all
/// together.
fn ask_all(
    connections: Vec<OwnedFd>,
    command: Command,
    patience: Duration,
    mut each: impl FnMut(usize, Result<Option<Status>, String>),
) {
    let pair = (control::VARIABLE.as_bytes(), command.word().as_bytes());
    let mut message = Vec::new();
    scgi::message(b"0", std::iter::once(pair), &mut message);
    let deadline = clock::now() + patience;
    let mut waiting = Vec::new();
    for (nth, connection) in connections.into_iter().enumerate() {
        match socket::send_now(connection.as_fd(), &message) {
            Ok(_) => waiting.push(Question {
                nth,
                connection,
                said: Vec::new(),
            }),
            Err(error) if is_gone(&error) => each(nth, Ok(None)),
            Err(error) => each(nth, Err(format!("cannot ask the daemon: {error}"))),
        }
    }
    while !waiting.is_empty() {
        let left = deadline.saturating_sub(clock::now());
        let fds = waiting
            .iter()
            .map(|question| (question.connection.as_fd(), Interest::Read));
        let fds: Vec<_> = fds.collect();
        // If a signal interrupts it, all are read all the same.
        let _ = wait_any(&fds, Some(left));
        waiting.retain_mut(|question| match hear(question) {
            None => true,
            Some(answer) => {
                each(question.nth, answer);
                false
            }
        });
        if left.is_zero() {
            break;
        }
    }
    for question in waiting {
        let seconds = patience.as_secs();
        let sentence = format!("the daemon does not answer within {seconds} s");
        each(question.nth, Err(sentence));
    }
}

/// Reads what has come; the answer, once the daemon has closed the connection.
fn hear(question: &mut Question) -> Option<Result<Option<Status>, String>> {
    let mut block = [0; 4096];
    loop {
        match socket::receive_now(question.connection.as_fd(), &mut block) {
            Ok(0) => break,
            Ok(count) => question.said.extend_from_slice(&block[..count]),
            Err(error) if is(&error, Errno::EAGAIN) || is(&error, Errno::EINTR) => return None,
            Err(error) if is_gone(&error) => break,
            Err(error) => {
                return Some(Err(format!("cannot read the daemon's answer: {error}")));
            }
        }
        if question.said.len() > LONGEST_ANSWER {
            let most = LONGEST_ANSWER >> 10;
            return Some(Err(format!("the daemon's answer is longer than {most} kB")));
        }
    }
    let text = String::from_utf8_lossy(&question.said);
    Some(if text.is_empty() {
        Ok(None)
    } else if Status::is_status(&text) {
        Ok(Some(Status::from_lines(&text)))
    } else {
        Err("the daemon's answer is not a status of polycgi".to_owned())
    })
}

fn is_gone(error: &std::io::Error) -> bool {
    is(error, Errno::ECONNRESET) || is(error, Errno::EPIPE)
}

/// What a command without APP has found in one place.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    /// The status from its daemon, although the app file is gone.
    Gone(Box<Status>),
    /// The status from its daemon, or from what is in its place.
    Known(Box<Status>),
    /// Why its status is not known.
    Trouble(String),
}

/// What a command without APP is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Reload,
    Status,
}

impl Purpose {
    /// How long all daemons together may take to answer.
    fn patience(self) -> Duration {
        match self {
            Purpose::Reload => Duration::from_secs(120),
            Purpose::Status => PATIENCE,
        }
    }
}

/// Asks all daemons of this user, or, for root, of all users; gives each finding to `show` with the user's name.
///
/// A user's daemons may answer anything. So each user's places are asked by a process of that user, all users at once,
/// and the answers are limited. Root's exit code depends only on root's and the web servers' daemons.
pub(super) fn survey(
    command: &str,
    purpose: Purpose,
    left: fn(&Place) -> Option<Status>,
    mut show: impl FnMut(&str, Found) -> Exit,
) -> Exit {
    let own = process::uid();
    let mut exit = Exit::Ok;
    if own != 0 {
        let name = acting::user_name(own);
        look(purpose, left, |found| {
            exit = worse(exit, show(&name, found))
        });
        return exit;
    }
    let mut users = Place::users();
    users.extend(users_elsewhere(purpose.patience() + PATIENCE));
    users.sort_unstable();
    users.dedup();
    // A user with many uids can make places for all of them: users in /etc/passwd come first.
    users.sort_by_key(|&uid| (!acting::is_named(uid), uid));
    let beside = users.len().saturating_sub(MOST_USERS);
    users.truncate(MOST_USERS);
    let errands = users.iter().map(|&uid| {
        let survey = || {
            let mut text = String::new();
            look(purpose, left, |found| write_down(&found, &mut text));
            text.into_bytes()
        };
        Errand::start(uid, survey).ok()
    });
    let patience = purpose.patience() + PATIENCE;
    let errands = errands.collect();
    acting::collect(errands, LONGEST_SURVEY, patience, |nth, said| {
        let uid = users[nth];
        let name = acting::user_name(uid);
        for found in read_back(&String::from_utf8_lossy(said)) {
            let came = show(&name, found);
            if acting::is_of_host(uid) {
                exit = worse(exit, came);
            }
        }
    });
    if beside > 0 {
        let sentence = format!("the places of {beside} more users were not examined");
        say(command, sentence);
    }
    exit
}

/// An errand of root's own, as what it reads may make it wait for ever.
fn users_elsewhere(patience: Duration) -> Vec<u32> {
    let find = || {
        let numbers = elsewhere::users();
        let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
        numbers.join(" ").into_bytes()
    };
    let errands = vec![Errand::start(process::uid(), find).ok()];
    let mut users = Vec::new();
    acting::collect(errands, LONGEST_SURVEY, patience, |_, said| {
        let said = String::from_utf8_lossy(said);
        users = said
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
    });
    users
}

fn worse(one: Exit, other: Exit) -> Exit {
    if one == Exit::Ok { other } else { one }
}

/// Asks all daemons of this process's user.
fn look(purpose: Purpose, left: fn(&Place) -> Option<Status>, mut each: impl FnMut(Found)) {
    let (mut places, beside) = Place::all(process::uid());
    places.extend(elsewhere::all(process::uid()));
    let (mut answering, mut troubles) = (Vec::new(), Vec::new());
    ask_places(
        &places,
        Command::Status,
        PATIENCE,
        |place, said| match said {
            Ok(Some(status)) if purpose == Purpose::Status => {
                let is_gone = place.is_without(&status.app);
                let status = Box::new(status.brief());
                each(if is_gone {
                    Found::Gone(status)
                } else {
                    Found::Known(status)
                });
            }
            Ok(Some(_)) => answering.push(place.clone()),
            Ok(None) => left(place)
                .map(|status| Found::Known(Box::new(status.brief())))
                .into_iter()
                .for_each(&mut each),
            Err(sentence) => troubles.push(trouble(place, &sentence)),
        },
    );
    // A reload may take long: only daemons that have answered 'status' are asked for one.
    let patience = purpose.patience();
    ask_places(
        &answering,
        Command::Reload,
        patience,
        |place, said| match said {
            Ok(status) => status
                .map(|status| Found::Known(Box::new(status)))
                .into_iter()
                .for_each(&mut each),
            Err(sentence) => troubles.push(trouble(place, &sentence)),
        },
    );
    if beside > 0 {
        let all = beside + MOST_PLACES;
        troubles.push(format!("{beside} of {all} places were not asked"));
    }
    let more = troubles.len().saturating_sub(MOST_TROUBLES);
    troubles.truncate(MOST_TROUBLES);
    if more > 0 {
        troubles.push(format!("{more} more places do not answer"));
    }
    troubles.into_iter().map(Found::Trouble).for_each(each);
}

fn trouble(place: &Place, sentence: &str) -> String {
    format!("{}: {sentence}", place.dir.display())
}

fn ask_places(
    places: &[Place],
    command: Command,
    patience: Duration,
    mut each: impl FnMut(&Place, Result<Option<Status>, String>),
) {
    let (mut connections, mut asked) = (Vec::new(), Vec::new());
    // Each connection needs a descriptor.
    load::with_most_descriptors(|| {
        for place in places {
            match connect(place) {
                Ok(Some(connection)) => {
                    connections.push(connection);
                    asked.push(place);
                }
                Ok(None) => each(place, Ok(None)),
                Err(sentence) => each(place, Err(sentence)),
            }
        }
    });
    ask_all(connections, command, patience, |nth, said| {
        each(asked[nth], said)
    });
}

/// Writes a finding for root's process: lines, then an empty line.
fn write_down(found: &Found, text: &mut String) {
    match found {
        Found::Gone(status) => {
            text.push_str(GONE);
            text.push_str(&status.to_lines());
        }
        Found::Known(status) => text.push_str(&status.to_lines()),
        Found::Trouble(sentence) => {
            // Writing to a String can't fail.
            let _ = writeln!(text, "{TROUBLE}{}", printable::line(sentence));
        }
    }
    text.push('\n');
}

/// The beginning of a trouble's line; no status has such a key.
const TROUBLE: &str = "trouble=";
/// The line before the status of an app whose file is gone; likewise.
const GONE: &str = "gone=yes\n";

/// Reads such findings. A last one that is cut off is dropped.
fn read_back(text: &str) -> Vec<Found> {
    let whole = text.rfind("\n\n").map_or("", |end| &text[..=end]);
    let found = whole.split("\n\n").filter(|lines| !lines.is_empty());
    let found = found.map(|lines| {
        if let Some(sentence) = lines.strip_prefix(TROUBLE) {
            Found::Trouble(sentence.trim_end().to_owned())
        } else if let Some(lines) = lines.strip_prefix(GONE) {
            Found::Gone(Box::new(Status::from_lines(lines)))
        } else {
            Found::Known(Box::new(Status::from_lines(lines)))
        }
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_read_back_as_they_were_written() {
        let status = |app: &str| {
            Found::Known(Box::new(Status {
                app: app.to_owned(),
                last_failure: Some("x\n\ntrouble=y".to_owned()),
                ..Status::default()
            }))
        };
        let found = [
            status("/srv/a.cgi"),
            Found::Trouble("no\n\napp=z".to_owned()),
            Found::Gone(Box::default()),
            status(""),
        ];
        let mut text = String::new();
        for found in &found {
            write_down(found, &mut text);
        }
        let back = read_back(&text);
        let Found::Known(first) = &back[0] else {
            panic!("{back:?}");
        };
        assert_eq!(first.app, "/srv/a.cgi");
        assert_eq!(first.last_failure.as_deref(), Some("x  trouble=y"));
        assert_eq!(back[1], Found::Trouble("no??app=z".to_owned()));
        assert_eq!(back[2], Found::Gone(Box::default()));
        assert_eq!(back.len(), 4);
        for cut in 0..text.len() {
            let back = read_back(&text[..cut]);
            assert!(back.len() < 4, "{cut}");
            assert!(back.iter().zip(&found).all(|(back, _)| match back {
                Found::Gone(status) => status.app.is_empty(),
                Found::Known(status) => status.app == "/srv/a.cgi",
                Found::Trouble(sentence) => sentence == "no??app=z",
            }));
        }
    }
}

//! As which user a person's command acts. Root becomes the app's user for good before anything of the app is touched,
//! or leaves it: from there on only the ordinary rules hold. Knows who may be an app's user, and what shows it; what
//! the command then does is its own.
//!
//! # Whose an app is
//! Who can change an app's file, a folder above it or a link to it decides what the app is, and a web server runs it as
//! its own user, or as the owner of the file (suEXEC). So these are the candidates: whoever owns one of those, and the
//! accounts of the web servers in /etc/passwd. No other user's place is ever looked at. A single candidate is the
//! app's user. Of several that one is whose own place of the app has a daemon, or else the only one with such a place:
//! only that user can have made it, which each candidate's question shows, asked as that candidate. Where this proves
//! none, a person has to say `--user`. Root itself is the app's user where no other can be, where a daemon of root's own
//! serves it, and of what is configured in root's HOME.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::app::environment;
use crate::app_file::{AppFile, Named};
use crate::place::Place;
use crate::policy::route::Reach;
use crate::report::Exit;
use crate::start;
use crate::sys::accounts::{self, Account};
use crate::sys::poll::{Interest, wait_any};
use crate::sys::program::{self, Program};
use crate::sys::signal::{Signal, SignalPipe};
use crate::sys::{clock, environ, files, process, socket};

/// The names by which web servers have their accounts.
const WEB_SERVERS: [&str; 11] = [
    "www-data", "apache", "apache2", "http", "httpd", "nginx", "lighttpd", "wwwrun", "www",
    "caddy", "lsadm",
];
/// How long a candidate may take to show what it has; a file system of its own can hold it up.
const PROOF_PATIENCE: Duration = Duration::from_secs(5);
/// A group that owns nothing, for one who only looks, and whose group is not known.
const NO_GROUP: u32 = 65_534;

/// What a command has to do with the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It asks what is there, and where nothing is there has nothing to do.
    Ask,
    /// It runs the app, or makes something for it.
    Run,
}

/// The command can't be carried out, and why.
pub type Refused = (Exit, String);

/// Acts as the app's user from now on, if root has started us. `Err`: not; `Ok(Some(users))`: there is nothing to ask
/// for, since none of these users has a place of the app.
///
/// Root's process goes no further than this: it waits for another, which is that user's, and ends as that does.
pub fn begin(
    named: &Named,
    user: Option<&str>,
    deed: Deed,
) -> Result<Option<Vec<String>>, Refused> {
    if process::uid() != 0 {
        return check_own(user).map(|()| None);
    }
    let chosen = match user {
        Some(word) => Chosen::User(account(word)?),
        None => choose(named, deed)?,
    };
    match chosen {
        Chosen::None(users) => Ok(Some(users)),
        Chosen::User(account) if account.uid == 0 => Ok(None),
        Chosen::User(account) => {
            hand_over(&account)?;
            Ok(None)
        }
    }
}

/// The same for a daemon in the foreground: it becomes itself anew as that user, with this pid, which LISTEN_PID may
/// name. Comes back where it may go on as it is, or not at all.
pub fn begin_daemon(named: &Named, user: Option<&str>) -> Result<(), Refused> {
    if process::uid() != 0 {
        return check_own(user);
    }
    let account = match user {
        Some(word) => account(word)?,
        None => match choose(named, Deed::Run)? {
            Chosen::User(account) => account,
            Chosen::None(_) => return Ok(()),
        },
    };
    if account.uid == 0 {
        return Ok(());
    }
    let refused = cannot_become(&account);
    let listen = environ::pairs().filter(|(name, _)| name.starts_with(b"LISTEN_"));
    let listen: Vec<_> = listen.collect();
    become_user(account.uid, Some(&account)).map_err(&refused)?;
    let environ = environ::pairs().chain(listen);
    let environ: Vec<CString> = environ
        .map(|(name, value)| process::c_string(&[name, b"=", value].concat()))
        .collect();
    let app = named.to_bytes();
    let program = Program {
        path: process::own_program(),
        argv: &[c"scgi-daemon".to_owned(), process::c_string(&app)],
        environ: &environ,
        directory: None,
    };
    Err(refused(program.exec()))
}

fn cannot_become(account: &Account) -> impl Fn(io::Error) -> Refused {
    let name = account.name.clone();
    move |error| {
        let sentence = format!("cannot become {name}: {error}");
        (Exit::NoPermission, sentence)
    }
}

/// Only root can act as another.
fn check_own(user: Option<&str>) -> Result<(), Refused> {
    let Some(word) = user else { return Ok(()) };
    let uid = process::uid();
    if word.parse() == Ok(uid) || account(word)?.uid == uid {
        return Ok(());
    }
    let sentence = format!("cannot act as {word}: only root can act as another user");
    Err((Exit::NoPermission, sentence))
}

enum Chosen {
    /// None of these has a place of the app.
    None(Vec<String>),
    User(Account),
}

fn choose(named: &Named, deed: Deed) -> Result<Chosen, Refused> {
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

/// A configuration in root's own HOME: no other user would find it by its name.
fn is_in_home(named: &Named) -> bool {
    let home = environ::value("HOME").filter(|home| !home.is_empty());
    let home = home.map(|home| Path::new(OsStr::from_bytes(home)));
    let is_below = |home| named.files().iter().any(|file| file.starts_with(home));
    matches!(named, Named::Name(_)) && home.is_some_and(is_below)
}

fn undecided(named: &Named, candidates: &[u32], is_open: bool, table: &[Account]) -> Refused {
    let names: Vec<String> = candidates.iter().map(|&uid| name(uid, table)).collect();
    let names = match &names[..] {
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

/// What of an app decides whose it is.
#[derive(Debug, Default)]
struct Subject {
    /// Who can change it, root apart; each once.
    owners: Vec<u32>,
    /// Every user can.
    is_open: bool,
}

impl Subject {
    /// By what the system says of the files and of the folders above them; none is opened.
    fn of(named: &Named) -> Subject {
        let mut subject = Subject::default();
        for file in named.files() {
            // As it was named, and where links have led.
            let led = std::fs::canonicalize(&file).ok();
            let ways = file
                .ancestors()
                .chain(led.iter().flat_map(|led| led.ancestors()));
            for control in ways.filter_map(|path| files::control(path).ok()) {
                subject.is_open |= control.is_open;
                if control.uid != 0 && !subject.owners.contains(&control.uid) {
                    subject.owners.push(control.uid);
                }
            }
        }
        subject
    }

    /// Nobody but root can change it.
    fn is_roots(&self) -> bool {
        self.owners.is_empty() && !self.is_open
    }
}

/// Owners first; none twice.
fn candidates(subject: &Subject, table: &[Account]) -> Vec<u32> {
    let mut candidates = subject.owners.clone();
    for uid in web_servers(table) {
        if !candidates.contains(&uid) {
            candidates.push(uid);
        }
    }
    candidates
}

fn web_servers(table: &[Account]) -> impl Iterator<Item = u32> {
    let is_one = |account: &&Account| WEB_SERVERS.contains(&&*account.name) && account.uid != 0;
    table.iter().filter(is_one).map(|account| account.uid)
}

/// Whether an ordinary user may make a `runtime-dir` for the app: it then belongs to that user, and no other can use
/// it. So only who is certain to be the app's user.
pub fn may_make(named: &Named, runtime_dir: &Path, user: Option<&str>) -> Result<(), Refused> {
    let uid = process::uid();
    // Root has said so, or has become who it is.
    if user.is_some() || uid == 0 || HAS_BECOME.load(Ordering::Relaxed) {
        return Ok(());
    }
    if runtime_dir.symlink_metadata().is_ok() {
        return Ok(());
    }
    let table = table()?;
    let candidates = candidates(&Subject::of(named), &table);
    if candidates == [uid] || web_servers(&table).any(|server| server == uid) {
        return Ok(());
    }
    let own = name(uid, &table);
    let dir = runtime_dir.display();
    let sentence = format!(
        "cannot make {dir}: it would be {own}'s, and another user could not run {named} in a daemon; make it as the \
         user whom the web server runs the app as, or say --user {own}"
    );
    Err((Exit::NoPermission, sentence))
}

/// How sure a candidate's own place makes it that the candidate is the app's user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Evidence {
    Nothing,
    Place,
    Daemon,
}

/// What this process, which is that user's, finds in its own places.
fn evidence(named: &Named, uid: u32) -> Evidence {
    let Ok(app) = AppFile::of(named) else {
        return Evidence::Nothing;
    };
    let runtime_dir = app.load().ok().and_then(|config| config.runtime_dir);
    let places = Place::proved(&app, uid, runtime_dir.as_deref());
    let serves = |place: &Place| matches!(start::connect(place), (Reach::Answers | Reach::Full, _));
    if places.iter().any(serves) {
        Evidence::Daemon
    } else if places.is_empty() {
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

/// A process that root has sent to look for it, as another user.
#[derive(Debug)]
pub struct Errand {
    child: i32,
    said: File,
}

impl Errand {
    /// Sends one that finds out something with the rights of this user, and says it in bytes. What goes wrong there is
    /// an answer of no bytes.
    pub fn start(uid: u32, look: impl FnOnce() -> Vec<u8>) -> io::Result<Errand> {
        let account = table().ok().and_then(|table| find(uid, &table).cloned());
        let null = files::null()?;
        let (said, say) = files::pipe()?;
        let child = program::fork_with(null.as_fd(), say.as_fd(), || {
            if become_user(uid, account.as_ref()).is_ok() {
                let bytes = look();
                // Root has waited long enough if nobody reads.
                let _ = io::stdout()
                    .write_all(&bytes)
                    .and_then(|()| io::stdout().flush());
            }
        })?;
        socket::set_nonblocking(said.as_fd())?;
        let said = File::from(said);
        Ok(Errand { child, said })
    }

    /// Adds what it has said to `bytes`, at most `limit` in all; whether that is all.
    fn hear(&mut self, bytes: &mut Vec<u8>, limit: usize) -> bool {
        let mut block = [0; 4096];
        loop {
            match self.said.read(&mut block) {
                Ok(0) => return true,
                Ok(count) => bytes.extend_from_slice(&block[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
            if bytes.len() > limit {
                bytes.truncate(limit);
                return true;
            }
        }
    }

    /// It has said what it had to, or has had its time.
    fn end(self) {
        process::signal(self.child, Signal::SIGKILL);
        process::wait(self.child);
    }
}

/// What errands say, at most `limit` bytes each: to `each` as soon as one has ended. When the time is over those that
/// have not count as having said nothing.
pub fn collect(
    errands: Vec<Option<Errand>>,
    limit: usize,
    patience: Duration,
    mut each: impl FnMut(usize, &[u8]),
) {
    let deadline = clock::now() + patience;
    let mut waiting: Vec<(usize, Errand, Vec<u8>)> = errands
        .into_iter()
        .enumerate()
        .filter_map(|(nth, errand)| Some((nth, errand?, Vec::new())))
        .collect();
    while !waiting.is_empty() {
        let left = deadline.saturating_sub(clock::now());
        let fds = waiting
            .iter()
            .map(|(_, errand, _)| (errand.said.as_fd(), Interest::Read));
        let fds: Vec<_> = fds.collect();
        // Interrupted, it looks at all of them.
        let _ = wait_any(&fds, Some(left));
        for at in (0..waiting.len()).rev() {
            let (_, errand, said) = &mut waiting[at];
            if errand.hear(said, limit) {
                let (nth, errand, said) = waiting.remove(at);
                errand.end();
                each(nth, &said);
            }
        }
        if left.is_zero() {
            break;
        }
    }
    for (nth, errand, _) in waiting {
        errand.end();
        each(nth, &[]);
    }
}

/// Root's process ends here: another goes on, as this user.
fn hand_over(account: &Account) -> Result<(), Refused> {
    let refused = cannot_become(account);
    let watched = [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
    ];
    let parent = process::pid();
    let Some(child) = program::fork_session().map_err(&refused)? else {
        become_user(account.uid, Some(account)).map_err(&refused)?;
        program::end_with_parent(parent);
        HAS_BECOME.store(true, Ordering::Relaxed);
        return Ok(());
    };
    let signals = SignalPipe::new(&watched);
    let ended = process::open(child);
    while let (Ok(signals), Ok(ended)) = (&signals, &ended) {
        // It has no terminal: what that says to us is for it.
        for signal in signals.take() {
            process::signal_group(child, signal);
        }
        let fds = [signals.as_fd(), ended.as_fd()].map(|fd| (fd, Interest::Read));
        if wait_any(&fds, None).is_ok_and(|ready| ready[1]) {
            break;
        }
    }
    process::leave(match process::wait(child) {
        Some(process::End::Exited(status)) => status as u8,
        Some(process::End::Killed(signal)) => 128_u8.saturating_add(signal as u8),
        None => Exit::OsError as u8,
    })
}

/// With the environment that a log-in of this user would have as far as it concerns an app, and nothing of root's.
fn become_user(uid: u32, account: Option<&Account>) -> io::Result<()> {
    match account {
        Some(account) => accounts::become_user(account)?,
        None => accounts::become_number(uid, NO_GROUP)?,
    }
    let kept = environ::pairs().filter(|(name, _)| is_kept(name));
    let mut variables: Vec<CString> = kept
        .map(|(name, value)| process::c_string(&[name, b"=", value].concat()))
        .collect();
    let name = account.map_or_else(|| uid.to_string(), |account| account.name.clone());
    let home = account.map_or(Path::new("/"), |account| &account.home);
    let set = [
        ("HOME", home.as_os_str()),
        ("LOGNAME", OsStr::new(&name)),
        ("PATH", OsStr::from_bytes(environment::DEFAULT_PATH)),
        ("USER", OsStr::new(&name)),
    ];
    for (name, value) in set {
        let variable = [name.as_bytes(), b"=", value.as_bytes()].concat();
        variables.push(process::c_string(&variable));
    }
    environ::replace(variables);
    Ok(())
}

fn is_kept(name: &[u8]) -> bool {
    [&b"LANG"[..], b"TERM", b"TZ"].contains(&name) || name.starts_with(b"LC_")
}

/// This process was root's and is now that of an app's user.
static HAS_BECOME: AtomicBool = AtomicBool::new(false);

fn table() -> Result<Vec<Account>, Refused> {
    accounts::all().map_err(|error| (Exit::OsError, format!("cannot read /etc/passwd: {error}")))
}

fn find(uid: u32, table: &[Account]) -> Option<&Account> {
    table.iter().find(|account| account.uid == uid)
}

/// Whose rights this process has taken on, if it was root's.
pub fn acts_as() -> Option<String> {
    let has_become = HAS_BECOME.load(Ordering::Relaxed);
    has_become.then(|| user_name(process::uid()))
}

/// Whether /etc/passwd has the user.
pub fn is_named(uid: u32) -> bool {
    table().is_ok_and(|table| find(uid, &table).is_some())
}

/// Whether the user is root or has the account of a web server.
pub fn is_of_host(uid: u32) -> bool {
    uid == 0 || table().is_ok_and(|table| web_servers(&table).any(|server| server == uid))
}

/// What a user is called, by the number if there is no name.
pub fn user_name(uid: u32) -> String {
    table().map_or_else(|_| uid.to_string(), |table| name(uid, &table))
}

fn name(uid: u32, table: &[Account]) -> String {
    find(uid, table).map_or_else(|| uid.to_string(), |account| account.name.clone())
}

fn known(uid: u32, table: &[Account]) -> Result<Account, Refused> {
    find(uid, table).cloned().ok_or_else(|| {
        let sentence = format!(
            "cannot become user {uid}: /etc/passwd has no such user, and so nothing says its groups; see sudo(8)"
        );
        (Exit::NoPermission, sentence)
    })
}

/// By a name or a number.
fn account(word: &str) -> Result<Account, Refused> {
    let table = table()?;
    if let Some(account) = table.iter().find(|account| account.name == word) {
        return Ok(account.clone());
    }
    match word.parse() {
        Ok(uid) => known(uid, &table),
        Err(_) => {
            let sentence = format!("there is no user {word} in /etc/passwd");
            Err((Exit::NoPermission, sentence))
        }
    }
}

//! How each kind of app is run: what it is given, and how this process becomes the app. Knows interpreters and
//! commands; not load, sockets or locks.

pub mod body;
pub mod cgi;
pub mod doubts;
pub mod environment;
pub mod scgi;
pub mod watched;
pub mod way;
pub mod wsgi;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::answer::{answer, answer_with, write_status_line};
use crate::app_file::{AppFile, LoadError, NotAnApp};
use crate::cgi::request::Request;
use crate::cgi::script::{self, ScriptPath, Unmounted};
use crate::config::{App, Config, Mount, StatusPage};
use crate::figures::Counted;
use crate::incidents;
use crate::page::{Cookies, Failure, OwnPage};
use crate::place::Place;
use crate::report::{self, Exit, plain, say, visible};
use crate::sys::program::NotStarted;
use crate::sys::{Errno, is, is_shortage, load, named};

/// The most bytes of an `overload-page`.
const LONGEST_PAGE: usize = 16 << 20;

/// Retry-After, in seconds, when the host has no process or memory to spare: about what a request takes.
const RETRY_AFTER: u32 = 2;

/// The app can't be run, and why.
#[derive(Debug)]
pub struct CannotRun {
    verb: &'static str,
    object: PathBuf,
    /// The system call that the host has refused, if the error alone does not say which.
    call: Option<&'static str>,
    error: io::Error,
    /// What the errno alone does not say: the folder that can't be entered, the link that leads nowhere.
    why: Option<String>,
}

impl CannotRun {
    /// `verb` and `object` of the sentence 'cannot VERB OBJECT: error'.
    pub fn new(verb: &'static str, object: impl Into<PathBuf>, error: io::Error) -> CannotRun {
        let object = object.into();
        CannotRun {
            why: way::reason(verb, &object, &error),
            verb,
            object,
            call: None,
            error,
        }
    }

    /// The same, with the system call that the host has refused.
    pub fn refused(
        verb: &'static str,
        object: impl Into<PathBuf>,
        call: &'static str,
        error: io::Error,
    ) -> CannotRun {
        CannotRun {
            call: Some(call),
            ..CannotRun::new(verb, object, error)
        }
    }

    /// A program could not be started: because of its directory, or of the program itself, or because the host has
    /// refused another call.
    pub fn not_started(path: &Path, directory: &Path, not: NotStarted) -> CannotRun {
        match not.call {
            "chdir" => CannotRun::new("change to", directory, not.error),
            "execve" => CannotRun::new("run", path, not.error),
            call => CannotRun::refused("run", path, call, not.error),
        }
    }

    /// The host is at fault, and not what the operator has written or installed.
    pub fn is_refusal(&self) -> bool {
        const OF_PATHS: [Errno; 8] = [
            Errno::EACCES,
            Errno::EISDIR,
            Errno::ELOOP,
            Errno::ENAMETOOLONG,
            Errno::ENOENT,
            Errno::ENOEXEC,
            Errno::ENOTDIR,
            Errno::ETXTBSY,
        ];
        let is_of_path = OF_PATHS.iter().any(|&errno| is(&self.error, errno));
        self.call.is_some() || (self.error.raw_os_error().is_some() && !is_of_path)
    }

    /// What the host has none of now, so that the same may succeed later: no fault of the app.
    pub fn shortage(&self) -> Option<Counted> {
        shortage(&self.error)
    }
}

/// What the host has none of now, if it has refused a call for that: a process, a descriptor or memory.
pub fn shortage(error: &io::Error) -> Option<Counted> {
    const REFUSALS: [(Errno, Counted); 6] = [
        (Errno::EAGAIN, Counted::NoProcess),
        (Errno::EMFILE, Counted::NoDescriptor),
        (Errno::ENFILE, Counted::NoDescriptor),
        (Errno::ETOOMANYREFS, Counted::NoDescriptor),
        (Errno::ENOBUFS, Counted::NoMemory),
        (Errno::ENOMEM, Counted::NoMemory),
    ];
    let of_errno = |(errno, _): &&(Errno, Counted)| is(error, *errno);
    REFUSALS.iter().find(of_errno).map(|&(_, what)| what)
}

impl fmt::Display for CannotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: ", self.verb, self.object.display())?;
        if let Some(call) = self.call {
            write!(f, "{call}: ")?;
        }
        self.error.fmt(f)?;
        match &self.why {
            Some(why) => write!(f, ": {why}"),
            None => Ok(()),
        }
    }
}

/// The app's working directory, absolute.
pub fn directory(app: &AppFile, config: &Config) -> PathBuf {
    let folder = app.folder();
    config
        .directory
        .as_ref()
        .map_or_else(|| folder.to_path_buf(), |directory| folder.join(directory))
}

/// `env-file`, absolute.
pub fn env_file(app: &AppFile, config: &Config) -> Option<PathBuf> {
    let path = config.env_file.as_ref()?;
    Some(directory(app, config).join(path))
}

/// `log-file`, absolute.
pub fn log_file(app: &AppFile, config: &Config) -> Option<PathBuf> {
    let path = config.log.file.as_ref()?;
    Some(directory(app, config).join(path))
}

/// The owner's own overload page. If it can't be read, our page is used instead.
pub fn own_page(app: &AppFile, config: &Config) -> Option<OwnPage> {
    let html = read_page(&overload_page(app, config)?).ok()?;
    let name = app.name().to_owned();
    Some(OwnPage { html, name })
}

/// `overload-page`, absolute.
pub fn overload_page(app: &AppFile, config: &Config) -> Option<PathBuf> {
    let path = config.overload.page.as_ref()?;
    Some(directory(app, config).join(path))
}

/// Reads such a page.
pub fn read_page(path: &Path) -> io::Result<String> {
    named::read_text(path, LONGEST_PAGE)
}

/// Whether a client at this address (REMOTE_ADDR) sees the reason of a failure.
pub fn shows_errors(config: &Config, address: &[u8]) -> bool {
    config.show_errors.shown_to(ip(address))
}

fn ip(address: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(address).ok()?.parse().ok()
}

/// Whether the page of `status-path` answers this request. `path`: its path as it was divided here; `None`: as the web
/// server has.
pub fn asks_status(page: &StatusPage, request: &Request<'_>, path: Option<&ScriptPath>) -> bool {
    let path = match path {
        Some(path) => path.path_info(),
        None => request.value("PATH_INFO").unwrap_or_default(),
    };
    let address = request.value("REMOTE_ADDR").unwrap_or_default();
    page.answers(request.method(), path, ip(address))
}

/// Tells the web server's log something of the request.
pub fn tell(applet: &str, app: &AppFile, request: &Request<'_>, sentence: impl fmt::Display) {
    say(
        applet,
        report::of_request(app.name(), &line(request), sentence),
    );
}

/// A request's method and path, for people.
pub fn line(request: &Request<'_>) -> (String, String) {
    let value = |name| request.value(name).unwrap_or_default();
    let [uri, script_name, path_info] = ["REQUEST_URI", "SCRIPT_NAME", "PATH_INFO"].map(value);
    incidents::line(request.method(), uri, script_name, path_info)
}

/// Answers for the app with one of our pages. Only clients that `show-errors` allows see the reason.
pub fn refuse(
    app: &AppFile,
    config: &Config,
    request: &Request<'_>,
    failure: Failure,
    reason: &str,
) {
    refuse_with(app, config, request, failure, Cookies::Unread, reason);
}

/// The same, with what the page has to do with cookies.
pub fn refuse_with(
    app: &AppFile,
    config: &Config,
    request: &Request<'_>,
    failure: Failure,
    cookies: Cookies<'_>,
    reason: &str,
) {
    let address = request.value("REMOTE_ADDR").unwrap_or_default();
    let shown = (!reason.is_empty() && shows_errors(config, address)).then_some(reason);
    let own_page = own_page(app, config);
    answer_with(failure, Some(request), shown, own_page.as_ref(), cookies);
}

/// The same when its configuration can't be loaded; the log is told why. What the client gets.
pub fn refuse_wrong(
    applet: &str,
    app: &AppFile,
    request: &Request<'_>,
    wrong: &LoadError,
) -> Failure {
    let failure = failure_of_file(wrong.is_shortage());
    let sentence = plain(&wrong.sentence());
    tell(applet, app, request, &sentence);
    if matches!(wrong, LoadError::Nph(_)) {
        write_status_line(Failure::Misconfigured);
    }
    let address = request.value("REMOTE_ADDR").unwrap_or_default();
    let is_shown = app.show_errors().shown_to(ip(address));
    let shown = is_shown.then_some(sentence.as_str());
    answer(failure, Some(request), shown, None);
    failure
}

/// What the client gets when a file of the app can't be read.
fn failure_of_file(is_shortage: bool) -> Failure {
    match is_shortage {
        true => Failure::Overloaded {
            retry_after: RETRY_AFTER,
        },
        false => Failure::Misconfigured,
    }
}

/// The request's path divided behind `mount`; `None`: there is no such key, and it stays as the web server has divided
/// it. The error is what the client gets, and what the operator reads.
pub fn mounted(
    mount: Option<&Mount>,
    request: &Request<'_>,
) -> Result<Option<ScriptPath>, (Failure, String)> {
    let Some(mount) = mount else {
        return Ok(None);
    };
    let script_name = mount.script_name();
    script::mounted(request, script_name)
        .map(Some)
        .map_err(|unmounted| match unmounted {
            Unmounted::Nul => (
                Failure::BadRequest,
                "the path contains a NUL byte, which an environment variable can't".to_owned(),
            ),
            Unmounted::Outside(path) => (
                Failure::NotFound,
                format!("{} is not below 'mount', {script_name}", visible(&path)),
            ),
        })
}

/// The length of the daemon's backlog: room for connections that are not accepted yet. The kernel has a limit of its
/// own.
pub fn backlog(config: &Config) -> i32 {
    let wanted = i32::try_from(config.queue.size.saturating_mul(4)).unwrap_or(i32::MAX);
    wanted.clamp(1, load::longest_backlog())
}

/// `log-level`, as the log has it.
pub fn log_level(config: &Config) -> log::LevelFilter {
    config
        .log
        .level
        .as_str()
        .parse()
        .unwrap_or(log::LevelFilter::Info)
}

/// Whether the app can be run, as far as that is known before its first request.
pub fn can_run(app: &AppFile, config: &Config) -> Result<(), CannotRun> {
    match &config.app {
        App::Commands {
            cgi: Some(command), ..
        }
        | App::Commands {
            cgi: None,
            scgi: Some(command),
        } => cgi::check(app, config, command),
        App::Commands { .. } | App::Connect(_) | App::Wsgi(_) => Ok(()),
    }
}

/// Answers when there is no app file, or it can't be read.
pub fn without_file(not_an_app: &NotAnApp, request: &Request<'_>) -> Exit {
    let (failure, exit) = match not_an_app {
        NotAnApp::Unreadable(_, error) => (failure_of_file(is_shortage(error)), Exit::Ok),
        _ => (Failure::NotAnApp, Exit::Usage),
    };
    answer(failure, Some(request), None, None);
    exit
}

/// What the client gets when the app could not be run.
pub fn failure_of(cannot: &CannotRun) -> Failure {
    failure_of_file(cannot.shortage().is_some())
}

/// Where a plain CGI may leave something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leavings<'a> {
    /// For the next start: its code.
    pub place: Option<&'a Place>,
    /// For `status`: how long it took, see `time_note` in src/slots/times.rs.
    pub time: Option<&'a str>,
}

/// Becomes the app as a plain CGI; returns only if that fails.
pub fn become_cgi(
    app: &AppFile,
    config: &Config,
    request: &Request<'_>,
    leavings: Leavings<'_>,
) -> CannotRun {
    match &config.app {
        App::Wsgi(target) => wsgi::become_cgi(app, config, target, request, leavings),
        App::Commands {
            cgi: Some(command), ..
        } => cgi::become_cgi(app, config, command, request),
        App::Commands { cgi: None, .. } | App::Connect(_) => CannotRun::new(
            "run as a CGI",
            &app.path,
            io::Error::other("its configuration has no command for that"),
        ),
    }
}

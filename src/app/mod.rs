//! How each kind of app is run: what it is given, and what becomes of this process when it turns into the app.
//! Knows interpreters and commands; knows nothing of load, sockets or locks.

pub mod cgi;
pub mod environment;
pub mod wsgi;

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::answer::answer;
use crate::app_file::AppFile;
use crate::cgi::request::Request;
use crate::config::{App, Config};
use crate::page::Failure;
use crate::sys::load;

/// The app can't be run, and why.
#[derive(Debug)]
pub struct CannotRun {
    verb: &'static str,
    object: PathBuf,
    error: io::Error,
}

impl CannotRun {
    /// `verb` and `object` of the sentence 'cannot VERB OBJECT: error'.
    pub fn new(verb: &'static str, object: impl Into<PathBuf>, error: io::Error) -> CannotRun {
        CannotRun {
            verb,
            object: object.into(),
            error,
        }
    }
}

impl fmt::Display for CannotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot {} {}: {}",
            self.verb,
            self.object.display(),
            self.error
        )
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

/// The owner's own overload page. One that can't be read is ours instead: a page is due, whatever happens.
pub fn own_page(app: &AppFile, config: &Config) -> Option<String> {
    let path = config.overload.page.as_ref()?;
    std::fs::read_to_string(directory(app, config).join(path)).ok()
}

/// Whether a client at this address (REMOTE_ADDR) sees the reason of a failure.
pub fn shows_errors(config: &Config, address: &[u8]) -> bool {
    let address = std::str::from_utf8(address)
        .ok()
        .and_then(|text| text.parse().ok());
    config.show_errors.shown_to(address)
}

/// Answers for the app with one of our pages; the reason is shown only to those who may see it.
pub fn refuse(
    app: &AppFile,
    config: &Config,
    request: &Request<'_>,
    failure: Failure,
    reason: &str,
) {
    let address = request.value("REMOTE_ADDR").unwrap_or_default();
    let shown = (!reason.is_empty() && shows_errors(config, address)).then_some(reason);
    let own_page = own_page(app, config);
    answer(failure, Some(request), shown, own_page.as_deref());
}

/// Room for those who connect while nobody accepts; the kernel cuts at its own limit.
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

/// Becomes the app as a plain CGI; comes back only to say why not.
pub fn become_cgi(app: &AppFile, config: &Config, request: &Request<'_>) -> CannotRun {
    match &config.app {
        App::Wsgi(target) => wsgi::become_cgi(app, config, target, request),
        App::Commands {
            cgi: Some(command), ..
        } => cgi::become_cgi(app, config, command, request),
        App::Commands { cgi: None, .. } | App::Connect(_) => CannotRun::new(
            "run as a CGI",
            &app.path,
            io::Error::other("its configuration has no way to"),
        ),
    }
}

//! The ways to an app: as a plain CGI, by executing its file as a web server does, by its daemon, by an SCGI server.
//! Each makes one request and gives the response to the caller, which knows what it is for.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::ask;
use crate::acting::{self, CommandError};
use crate::app::{self, Leavings, environment::Variable};
use crate::app_file::{AppFile, Named};
use crate::cgi;
use crate::handoff::{self, Ack};
use crate::place::Place;
use crate::printable;
use crate::relay;
use crate::report::{Exit, say};
use crate::scgi;
use crate::slots::StartCause;
use crate::spelling;
use crate::start::{self, Here};
use crate::sys::process::{self, Usage};
use crate::sys::signal::Signal;
use crate::sys::{Errno, fdpass, files, named, program, socket, splice};

/// How much of a response was taken.
pub(super) struct ReadResponse {
    /// With its head.
    pub(super) bytes: u64,
    /// To its end; if not, the caller wants no more of it.
    pub(super) is_whole: bool,
}

impl ReadResponse {
    pub(super) fn whole(bytes: u64) -> ReadResponse {
        let is_whole = true;
        ReadResponse { bytes, is_whole }
    }
}

/// What a plain CGI has beside the request.
pub(super) struct Beside<'a> {
    /// The subcommand, which is named in errors.
    pub(super) command: &'static str,
    /// Variables of its environment that are no meta-variables.
    pub(super) variables: &'a [Variable],
    /// Its standard error; `None`: ours.
    pub(super) stderr: Option<&'a File>,
    /// Where our adaptor's compiled code is kept.
    pub(super) place: Option<&'a Place>,
}

/// Runs the app as a plain CGI, whatever the load; what it has used.
pub(super) fn by_cgi(
    app: &AppFile,
    meta: &[(String, String)],
    body: &[u8],
    beside: &Beside<'_>,
    take: impl FnOnce(File) -> Result<ReadResponse, CommandError>,
) -> Result<Usage, CommandError> {
    let config = app.load().map_err(|bad| (Exit::Config, bad.to_string()))?;
    if !config.app.runs_as_cgi() {
        let path = app.path.display();
        let sentence = format!("{path} is no CGI: it names an SCGI server");
        return Err((Exit::Usage, sentence));
    }
    let others = beside.variables.iter();
    let others = others.map(|(name, value)| (&name[..], &value[..]));
    let pairs = others.chain(pairs_of(meta));
    let request = cgi::Request::from_meta(pairs, cgi::Peer::Own)
        .map_err(|bad| (Exit::Usage, format!("the request is not valid: {bad}")))?;
    let input = held(body)?;
    let (out, into) = files::pipe().map_err(system("make a pipe"))?;
    let child = program::fork_with(input.as_fd(), into.as_fd(), || {
        if let Some(stderr) = beside.stderr {
            // If the host refuses it, the app has ours.
            let _ = process::become_stderr(stderr.as_fd());
        }
        let leavings = Leavings {
            place: beside.place,
            time: None,
        };
        let not = app::become_cgi(app, &config, &request, leavings);
        say(beside.command, not);
    });
    let child = child.map_err(system("start a process"))?;
    drop(into);
    let taken = take(File::from(out)).and_then(some);
    let used = process::wait_used(child).map(|(_, used)| used);
    taken.map(|()| used.unwrap_or_default())
}

/// Runs the app file as a web server does, so that the kernel names it.
pub(super) fn by_exec(
    app: &AppFile,
    meta: &[(String, String)],
    body: &[u8],
    take: impl FnOnce(File) -> Result<ReadResponse, CommandError>,
) -> Result<(), CommandError> {
    let input = held(body)?;
    let is_named_only = app.path == app.config && !is_script(&app.path);
    let link = is_named_only.then(|| TemporaryLink::new(app)).transpose()?;
    let program = link
        .as_ref()
        .map_or(app.path.as_path(), |link| link.path.as_path());
    let mut command = Command::new(program);
    command.envs(meta.iter().map(|(name, value)| (name, value)));
    command
        .stdin(Stdio::from(OwnedFd::from(input)))
        .stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        (
            Exit::NoInput,
            format!("cannot run {}: {error}", program.display()),
        )
    })?;
    let taken = child
        .stdout
        .take()
        .map_or(Ok(ReadResponse::whole(0)), |out| {
            take(OwnedFd::from(out).into())
        });
    child.wait().map_err(system("wait for the app"))?;
    taken.and_then(some)
}

/// A second process copies both ways: the server may answer before it has read everything.
pub(super) fn by_scgi(
    server: OwnedFd,
    meta: &[(String, String)],
    body: &[u8],
    take: impl FnOnce(File) -> Result<ReadResponse, CommandError>,
) -> Result<(), CommandError> {
    let length = body.len().to_string();
    let mut message = Vec::new();
    scgi::message(length.as_bytes(), pairs_of(meta), &mut message);
    message.extend_from_slice(body);
    let input = held(&message)?;
    let (out, into) = files::pipe().map_err(system("make a pipe"))?;
    let pump = program::fork_with(input.as_fd(), into.as_fd(), || {
        let [input, output, _] = process::standard();
        let body = relay::BodySource {
            input,
            length: message.len() as u64,
            may_exceed: false,
        };
        // An errno is small enough for an exit status.
        process::leave(
            match relay::relay(server.as_fd(), body, output, relay::TimeLimits::default()) {
                Ok(_) => 0,
                Err(broken) => broken.error.raw_os_error().unwrap_or(255) as u8,
            },
        );
    });
    let pump = pump.map_err(system("start a process"))?;
    drop((into, server));
    let taken = take(File::from(out));
    if !taken.as_ref().is_ok_and(|taken| taken.is_whole) {
        // It has a copy of the pipe's reading end, so no EPIPE would end it.
        process::signal(pump, Signal::SIGKILL);
    }
    if let Some(process::End::Exited(errno @ 1..)) = process::wait(pump) {
        let error = io::Error::from_raw_os_error(errno);
        let sentence = format!("cannot talk to the SCGI server: {error}");
        return Err((Exit::IoError, sentence));
    }
    if taken?.bytes == 0 {
        let sentence = "the SCGI server closed the connection without an answer".to_owned();
        return Err((Exit::Unavailable, sentence));
    }
    Ok(())
}

/// Asks the app's daemon as a front does, with descriptors of ours, so that our standard error is the web server's log.
/// `connect`: to a daemon that runs.
pub(super) fn by_daemon(
    connect: impl FnOnce() -> Result<OwnedFd, CommandError>,
    meta: &[(String, String)],
    body: &[u8],
    take: impl FnOnce(File) -> Result<ReadResponse, CommandError>,
) -> Result<(), CommandError> {
    let length = match body.len() {
        0 => String::new(),
        length => length.to_string(),
    };
    let protocol = (handoff::VARIABLE.as_bytes(), handoff::PROTOCOL.as_bytes());
    let pairs = [protocol].into_iter().chain(pairs_of(meta));
    let mut message = Vec::new();
    scgi::message(length.as_bytes(), pairs, &mut message);
    let input = held(body)?;
    let (out, into) = files::pipe().map_err(system("make a pipe"))?;
    // In a process of its own: the daemon closes the response when the process has ended that has connected to it.
    let front = program::fork_with(input.as_fd(), into.as_fd(), || {
        let handed = connect().and_then(|daemon| {
            let source = relay::BodySource {
                input: process::standard()[0],
                length: body.len() as u64,
                may_exceed: false,
            };
            hand_over(&daemon, &message, source)
                .map_err(|error| (Exit::Unavailable, format!("cannot ask the daemon: {error}")))
        });
        if let Err((exit, sentence)) = handed {
            say("request", sentence);
            process::leave(exit as u8);
        }
    });
    let front = front.map_err(system("start a process"))?;
    drop(into);
    let taken = take(File::from(out));
    if !taken.as_ref().is_ok_and(|taken| taken.is_whole) {
        process::signal(front, Signal::SIGKILL);
    }
    process::wait(front);
    if taken?.bytes == 0 {
        let sentence = "the daemon has closed the connection without an answer";
        return Err((Exit::Unavailable, sentence.to_owned()));
    }
    Ok(())
}

/// Sends the message with our standard descriptors, and does what the daemon asks of a front.
fn hand_over(daemon: &OwnedFd, message: &[u8], body: relay::BodySource<'_>) -> io::Result<()> {
    let fds = process::standard();
    let sent = fdpass::send(daemon.as_fd(), message, &fds)?;
    splice::write_all(daemon.as_fd(), &message[sent..])?;
    socket::set_blocking(daemon.as_fd())?;
    let (mut said, mut count) = ([0; handoff::ACK_LEN], 0);
    while count < said.len() {
        let more = splice::read(daemon.as_fd(), &mut said[count..])?;
        count += more;
        match Ack::read(&said[..count]) {
            Ack::Done => return Ok(()),
            Ack::Relay => {
                let [_, output, _] = fds;
                let limits = relay::TimeLimits::default();
                return match relay::relay(daemon.as_fd(), body, output, limits) {
                    Ok(_) => Ok(()),
                    Err(broken) => Err(broken.error),
                };
            }
            // The process that has the request answers it.
            Ack::Taken if more == 0 => return Ok(()),
            _ if more == 0 => return Err(Errno::ECONNRESET.into()),
            _ => {}
        }
    }
    Ok(())
}

fn pairs_of(meta: &[(String, String)]) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
    let pairs = meta.iter();
    pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes()))
}

fn some(ReadResponse { bytes, .. }: ReadResponse) -> Result<(), CommandError> {
    let none = || {
        let sentence = "the response has no complete head".to_owned();
        (Exit::Protocol, sentence)
    };
    (bytes > 0).then_some(()).ok_or_else(none)
}

pub(super) fn system(what: &'static str) -> impl Fn(io::Error) -> CommandError {
    move |error| (Exit::OsError, format!("cannot {what}: {error}"))
}

fn held(body: &[u8]) -> Result<File, CommandError> {
    let mut file = files::in_memory(c"polycgi-body", false).map_err(system("keep the body"))?;
    file.write_all(body)
        .and_then(|()| file.rewind())
        .map_err(system("keep the body"))?;
    Ok(file)
}

fn is_script(path: &Path) -> bool {
    named::start(path).is_ok_and(|start| start == *b"#!")
}

/// A symlink to this program, for an app without a file in cgi-bin: one named by NAME.
struct TemporaryLink {
    folder: PathBuf,
    path: PathBuf,
}

impl TemporaryLink {
    fn new(app: &AppFile) -> Result<TemporaryLink, CommandError> {
        let below = std::env::temp_dir();
        let cannot = |error, path: &Path| {
            let sentence = format!("cannot make {}: {error}", path.display());
            (Exit::CantCreate, sentence)
        };
        let folder = files::private_directory(&below, "polycgi-request");
        let folder =
            folder.map_err(|error| cannot(error, &below.join("polycgi-request.XXXXXX")))?;
        let mut name = OsString::from(app.config.file_stem().unwrap_or_default());
        name.push(".cgi");
        let link = TemporaryLink {
            path: folder.join(name),
            folder,
        };
        let made =
            std::env::current_exe().and_then(|own| std::os::unix::fs::symlink(own, &link.path));
        made.map_err(|error| cannot(error, &link.path))?;
        Ok(link)
    }
}

impl Drop for TemporaryLink {
    fn drop(&mut self) {
        // Both are in a temporary directory, which is cleaned up at some time if this fails.
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_dir(&self.folder);
    }
}

/// The app's daemon, started if there is none.
pub(super) fn daemon(
    named: &Named,
    app: &AppFile,
    user: Option<&str>,
) -> Result<OwnedFd, CommandError> {
    let found = ask::find(app).map_err(|sentence| (Exit::Unavailable, sentence))?;
    if let Some(connection) = found {
        return Ok(connection);
    }
    let config = app.load().map_err(|bad| (Exit::Config, bad.to_string()))?;
    if let Some(dir) = &config.runtime_dir {
        acting::may_make(named, dir, user)?;
    }
    let here = Here::open(app, &config).map_err(|no| (Exit::CantCreate, no))?;
    let environ = app::environment::for_daemon();
    start::start(
        app,
        &here,
        app::backlog(&config),
        &environ,
        &StartCause::BY_HAND,
    )
    .map_err(|error| (Exit::Unavailable, error.to_string()))
}

/// The app's daemon, if it is one that a front which we start would not find.
pub(super) fn daemon_elsewhere(app: &AppFile) -> Option<OwnedFd> {
    let reached = ask::reach(app).ok().flatten();
    let elsewhere = reached.filter(|reached| reached.is_elsewhere)?;
    Some(elsewhere.connection)
}

/// A word that names no way, and can't be an address, may have been meant as another.
pub(super) fn check(way: &str) -> Result<(), CommandError> {
    const WAYS: [&str; 3] = ["auto", "cgi", "scgi"];
    let is_address = way.contains(['/', ':']) || std::fs::symlink_metadata(way).is_ok();
    if is_address || WAYS.contains(&way) {
        return Ok(());
    }
    let guess = spelling::nearest(way, WAYS.into_iter());
    let guess = guess.map_or(String::new(), |way| format!("; did you mean '{way}'?"));
    let way = printable::line(way);
    let sentence = format!("--via: '{way}' is neither auto, cgi, scgi nor an address{guess}");
    Err((Exit::Usage, sentence))
}

pub(super) fn connect(address: &str) -> Result<OwnedFd, CommandError> {
    let connected = match address.rsplit_once(':') {
        Some((host, port)) if !address.contains('/') => match port.parse() {
            Ok(port) => socket::connect_tcp(host, port),
            Err(_) => return Err((Exit::Usage, format!("'{address}' has no port"))),
        },
        _ => socket::connect_now(Path::new(address)),
    };
    connected.map_err(|error| {
        (
            Exit::Unavailable,
            format!("cannot connect to {address}: {error}"),
        )
    })
}

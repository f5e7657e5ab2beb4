//! `request`: makes one request as a web server would, and prints the response.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use argh::FromArgs;

use super::{app_to_run, ask};
use crate::acting::{self, CommandError};
use crate::app;
use crate::app_file::{AppFile, Named};
use crate::cgi;
use crate::cgi::response::{self, Parsed};
use crate::relay;
use crate::report::{Exit, say};
use crate::scgi;
use crate::start::{self, Here};
use crate::sys::signal::Signal;
use crate::sys::{files, named, process, program, socket};

const NAME: &str = "request";

/// Run one request as a web server would, and print the response's body.
#[derive(FromArgs)]
#[argh(subcommand, name = "request")]
pub(super) struct RequestCommand {
    /// the method (default GET, or POST with -d)
    #[argh(option, short = 'X', arg_name = "method")]
    method: Option<String>,

    /// a header field, 'Name: value'; may be repeated
    #[argh(option, short = 'H', arg_name = "field")]
    header: Vec<String>,

    /// the message-body, or @FILE for what a file holds
    #[argh(option, short = 'd', arg_name = "body")]
    data: Option<String>,

    /// the way: auto (what a web server gets), cgi, scgi (the app's daemon), or the address of an SCGI server
    #[argh(option, default = "\"auto\".to_owned()", arg_name = "way")]
    via: String,

    /// print the response's head too
    #[argh(switch, short = 'i')]
    include: bool,

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

impl RequestCommand {
    pub(super) fn run(self) -> Exit {
        // Before anything else: after that the process may be another user's, and could not read the person's file.
        let body = match self.body() {
            Ok(body) => body,
            Err((exit, sentence)) => {
                say(NAME, sentence);
                return exit;
            }
        };
        let named = Named::new(OsStr::new(&self.app));
        let app = match app_to_run(NAME, &named, self.user.as_deref()) {
            Ok(app) => app,
            Err(exit) => return exit,
        };
        match self.serve(&named, &app, &body) {
            Ok(()) => Exit::Ok,
            Err((exit, sentence)) => {
                say(NAME, sentence);
                exit
            }
        }
    }

    fn serve(&self, named: &Named, app: &AppFile, body: &[u8]) -> Result<(), CommandError> {
        let meta = self.meta_variables(app, body.len())?;
        let user = self.user.as_deref();
        match self.via.as_str() {
            "auto" => {
                // If the configuration is wrong, the front says so.
                if let Some(dir) = app.load().ok().and_then(|config| config.runtime_dir) {
                    acting::may_make(named, &dir, user)?;
                }
                self.by_exec(app, &meta, body)
            }
            "cgi" => self.by_cgi(app, &meta, body),
            "scgi" => self.by_scgi(daemon(named, app, user)?, &meta, body),
            address => self.by_scgi(connect(address)?, &meta, body),
        }
    }

    fn body(&self) -> Result<Vec<u8>, CommandError> {
        match self
            .data
            .as_deref()
            .map(|data| (data, data.strip_prefix('@')))
        {
            None => Ok(Vec::new()),
            Some((data, None)) => Ok(data.as_bytes().to_vec()),
            Some((_, Some(file))) => std::fs::read(file)
                .map_err(|error| (Exit::NoInput, format!("cannot read {file}: {error}"))),
        }
    }

    /// The meta-variables that a web server on this host would set (RFC 3875 4.1).
    fn meta_variables(
        &self,
        app: &AppFile,
        length: usize,
    ) -> Result<Vec<(String, String)>, CommandError> {
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        if !path.starts_with('/') {
            return Err((
                Exit::Usage,
                format!("'{path}' is not a path: it begins with '/'"),
            ));
        }
        let name = app.path.file_name().unwrap_or_default().to_string_lossy();
        // Below the mount, since the app has no other paths. If the configuration is wrong, the front says so.
        let mount = app.load().ok().and_then(|config| config.mount);
        let script = mount.map_or_else(
            || format!("/{name}"),
            |mount| mount.script_name().to_owned(),
        );
        let default_method = if self.data.is_some() { "POST" } else { "GET" };
        let method = self.method.as_deref().unwrap_or(default_method);
        let uri = format!("{}{}", encoded(&script), self.path);
        let set = [
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("PATH_INFO", &decoded(path)),
            ("QUERY_STRING", query),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("REQUEST_METHOD", method),
            ("REQUEST_URI", &uri),
            ("SCRIPT_FILENAME", &app.path.to_string_lossy()),
            ("SCRIPT_NAME", &script),
            ("SERVER_NAME", "localhost"),
            ("SERVER_PORT", "80"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            (
                "SERVER_SOFTWARE",
                concat!("polycgi/", env!("CARGO_PKG_VERSION")),
            ),
            ("HTTP_HOST", "localhost"),
        ];
        let mut meta: Vec<(String, String)> = set
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        if self.data.is_some() {
            meta.push(("CONTENT_LENGTH".to_owned(), length.to_string()));
            meta.push((
                "CONTENT_TYPE".to_owned(),
                "application/x-www-form-urlencoded".to_owned(),
            ));
        }
        self.add_fields(&mut meta)?;
        Ok(meta)
    }

    /// Adds the header fields of `-H`, each in place of one that is set already.
    fn add_fields(&self, meta: &mut Vec<(String, String)>) -> Result<(), CommandError> {
        for field in &self.header {
            let (name, value) = field.split_once(':').ok_or_else(|| {
                let sentence = format!("'{field}' is not of the form 'Name: value'");
                (Exit::Usage, sentence)
            })?;
            let name = name.trim().to_ascii_uppercase().replace('-', "_");
            let name = match name.as_str() {
                "CONTENT_TYPE" => name,
                _ => format!("HTTP_{name}"),
            };
            meta.retain(|(known, _)| *known != name);
            meta.push((name, value.trim().to_owned()));
        }
        Ok(())
    }

    /// Prints the response as it comes: it may have no end.
    fn print_response(&self, mut from: impl Read) -> Result<Printed, CommandError> {
        let mut head = Vec::new();
        let size = loop {
            let mut block = [0; 4096];
            let count = from.read(&mut block).map_err(system("read the response"))?;
            head.extend_from_slice(&block[..count]);
            match response::parse(&head) {
                Ok(Parsed::Head(parsed)) => break parsed.size(),
                Ok(Parsed::Partial) if count > 0 => {}
                Ok(Parsed::Partial) if head.is_empty() => return Ok(Printed::whole(0)),
                Ok(Parsed::Partial) => {
                    let sentence = "the response has no complete head".to_owned();
                    return Err((Exit::Protocol, sentence));
                }
                Err(bad) => {
                    let sentence = format!("the response's head is not valid: {bad}");
                    return Err((Exit::Protocol, sentence));
                }
            }
        };
        let shown = &head[if self.include { 0 } else { size }..];
        let mut out = io::stdout();
        // A reader that has closed the pipe (`| head`) is no failure of the request.
        let mut bytes = head.len() as u64;
        let is_whole = false;
        if out.write_all(shown).is_err() {
            return Ok(Printed { bytes, is_whole });
        }
        let mut block = vec![0; 65_536];
        loop {
            let count = from.read(&mut block).map_err(system("read the response"))?;
            if count == 0 {
                return Ok(Printed::whole(bytes));
            }
            if out.write_all(&block[..count]).is_err() {
                return Ok(Printed { bytes, is_whole });
            }
            bytes += count as u64;
        }
    }

    /// Runs the app as a plain CGI, whatever the load.
    fn by_cgi(
        &self,
        app: &AppFile,
        meta: &[(String, String)],
        body: &[u8],
    ) -> Result<(), CommandError> {
        let config = app.load().map_err(|bad| (Exit::Config, bad.to_string()))?;
        if !config.app.runs_as_cgi() {
            let path = app.path.display();
            let sentence = format!("{path} is no CGI: it names an SCGI server; try --via scgi");
            return Err((Exit::Usage, sentence));
        }
        let pairs = meta
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let request = cgi::Request::from_meta(pairs, cgi::Peer::Own)
            .map_err(|bad| (Exit::Usage, format!("the request is not valid: {bad}")))?;
        let input = held(body)?;
        let (out, into) = files::pipe().map_err(system("make a pipe"))?;
        let child = program::fork_with(input.as_fd(), into.as_fd(), || {
            say(NAME, app::become_cgi(app, &config, &request));
        });
        let child = child.map_err(system("start a process"))?;
        drop(into);
        let printed = self.print_response(File::from(out)).and_then(some);
        process::wait(child);
        printed
    }

    /// Runs the app file as a web server does, so that the kernel names it.
    fn by_exec(
        &self,
        app: &AppFile,
        meta: &[(String, String)],
        body: &[u8],
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
        let printed = child
            .stdout
            .take()
            .map_or(Ok(Printed::whole(0)), |out| self.print_response(out));
        child.wait().map_err(system("wait for the app"))?;
        printed.and_then(some)
    }

    /// A second process copies both ways: the server may answer before it has read everything.
    fn by_scgi(
        &self,
        server: OwnedFd,
        meta: &[(String, String)],
        body: &[u8],
    ) -> Result<(), CommandError> {
        let length = body.len().to_string();
        let mut message = Vec::new();
        let pairs = meta
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        scgi::message(length.as_bytes(), pairs, &mut message);
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
        let printed = self.print_response(File::from(out));
        if !printed.as_ref().is_ok_and(|printed| printed.is_whole) {
            // It has a copy of the pipe's reading end, so no EPIPE would end it.
            process::signal(pump, Signal::SIGKILL);
        }
        if let Some(process::End::Exited(errno @ 1..)) = process::wait(pump) {
            let error = io::Error::from_raw_os_error(errno);
            let sentence = format!("cannot talk to the SCGI server: {error}");
            return Err((Exit::IoError, sentence));
        }
        if printed?.bytes == 0 {
            let sentence = "the SCGI server closed the connection without an answer".to_owned();
            return Err((Exit::Unavailable, sentence));
        }
        Ok(())
    }
}

/// How much of a response was printed.
struct Printed {
    bytes: u64,
    /// To its end; if not, our standard output is closed.
    is_whole: bool,
}

impl Printed {
    fn whole(bytes: u64) -> Printed {
        let is_whole = true;
        Printed { bytes, is_whole }
    }
}

fn some(Printed { bytes, .. }: Printed) -> Result<(), CommandError> {
    let none = || {
        let sentence = "the response has no complete head".to_owned();
        (Exit::Protocol, sentence)
    };
    (bytes > 0).then_some(()).ok_or_else(none)
}

fn system(what: &'static str) -> impl Fn(io::Error) -> CommandError {
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
fn daemon(named: &Named, app: &AppFile, user: Option<&str>) -> Result<OwnedFd, CommandError> {
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
    start::start(app, &here, app::backlog(&config), &environ)
        .map_err(|error| (Exit::Unavailable, error.to_string()))
}

fn connect(address: &str) -> Result<OwnedFd, CommandError> {
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

/// PATH_INFO is the decoded path.
fn decoded(path: &str) -> String {
    String::from_utf8_lossy(&cgi::uri::decoded(path.as_bytes())).into_owned()
}

/// The path for a URI: characters that would have a meaning there are escaped (RFC 3986 2.1).
fn encoded(path: &str) -> String {
    let escaped = |byte: u8| match byte {
        b'%' | b'?' | b'#' | ..=b' ' | 127.. => format!("%{byte:02X}"),
        byte => char::from(byte).to_string(),
    };
    path.bytes().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded() {
        assert_eq!(decoded("/a%2Fb%20c"), "/a/b c");
        assert_eq!(decoded("/100%"), "/100%");
        assert_eq!(decoded("/%zz%4"), "/%zz%4");
        assert_eq!(decoded("/%C3%A9"), "/é");
    }

    #[test]
    fn a_mount_is_encoded() {
        for path in ["", "/wiki", "/a b%41", "/é?#"] {
            assert_eq!(decoded(&encoded(path)), path);
        }
        assert_eq!(encoded("/a b%41"), "/a%20b%2541");
    }
}

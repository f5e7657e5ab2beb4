//! `request`: one request, run as a web server would, and the response printed.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use argh::FromArgs;

use super::app_named;
use crate::app;
use crate::app_file::AppFile;
use crate::cgi;
use crate::cgi::response::{self, Parsed};
use crate::place::Place;
use crate::policy::route::Reach;
use crate::relay;
use crate::report::{Exit, say};
use crate::scgi;
use crate::start::{self, Here};
use crate::sys::{files, process, program, socket};

const NAME: &str = "request";

/// Run one request as a web server would, and print the response's body.
#[derive(FromArgs)]
#[argh(subcommand, name = "request")]
pub(super) struct Request {
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

    /// the app file, or the NAME of NAME.conf
    #[argh(positional)]
    app: String,

    /// path and query, such as /page?name=value
    #[argh(positional, default = "\"/\".to_owned()")]
    path: String,
}

type Refused = (Exit, String);

impl Request {
    pub(super) fn run(self) -> Exit {
        let app = match app_named(NAME, &self.app) {
            Ok(app) => app,
            Err(exit) => return exit,
        };
        match self
            .response(&app)
            .and_then(|response| self.print(&response))
        {
            Ok(()) => Exit::Ok,
            Err((exit, sentence)) => {
                say(NAME, sentence);
                exit
            }
        }
    }

    fn response(&self, app: &AppFile) -> Result<Vec<u8>, Refused> {
        let body = self.body()?;
        let meta = self.meta_variables(app, body.len())?;
        match self.via.as_str() {
            "auto" => by_exec(app, &meta, &body),
            "cgi" => by_cgi(app, &meta, &body),
            "scgi" => by_scgi(daemon(app)?, &meta, &body),
            address => by_scgi(connect(address)?, &meta, &body),
        }
    }

    fn body(&self) -> Result<Vec<u8>, Refused> {
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

    /// What a web server on this host would set (RFC 3875 4.1).
    fn meta_variables(
        &self,
        app: &AppFile,
        length: usize,
    ) -> Result<Vec<(String, String)>, Refused> {
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        if !path.starts_with('/') {
            return Err((
                Exit::Usage,
                format!("'{path}' is not a path: it begins with '/'"),
            ));
        }
        let name = app.path.file_name().unwrap_or_default().to_string_lossy();
        // Below the mount, or the app would have no such path. What is wrong with a file is said by who serves it.
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
        for field in &self.header {
            let Some((name, value)) = field.split_once(':') else {
                return Err((
                    Exit::Usage,
                    format!("'{field}' is not of the form 'Name: value'"),
                ));
            };
            let name = name.trim().to_ascii_uppercase().replace('-', "_");
            let name = if name == "CONTENT_TYPE" {
                name
            } else {
                format!("HTTP_{name}")
            };
            meta.retain(|(known, _)| *known != name);
            meta.push((name, value.trim().to_owned()));
        }
        Ok(meta)
    }

    fn print(&self, response: &[u8]) -> Result<(), Refused> {
        let body = match response::parse(response) {
            Ok(Parsed::Head(_)) if self.include => response,
            Ok(Parsed::Head(head)) => &response[head.size()..],
            Ok(Parsed::Partial) => {
                return Err((
                    Exit::Protocol,
                    "the response has no complete head".to_owned(),
                ));
            }
            Err(bad) => {
                return Err((
                    Exit::Protocol,
                    format!("the response's head is not valid: {bad}"),
                ));
            }
        };
        // A reader that has seen enough (`| head`) is no failure of the request.
        let _ = io::stdout().write_all(body);
        Ok(())
    }
}

fn system(what: &'static str) -> impl Fn(io::Error) -> Refused {
    move |error| (Exit::OsError, format!("cannot {what}: {error}"))
}

fn held(body: &[u8]) -> Result<File, Refused> {
    let mut file = files::in_memory(c"polycgi-body", false).map_err(system("keep the body"))?;
    file.write_all(body)
        .and_then(|()| file.rewind())
        .map_err(system("keep the body"))?;
    Ok(file)
}

/// Runs the app as a plain CGI, whatever the load.
fn by_cgi(app: &AppFile, meta: &[(String, String)], body: &[u8]) -> Result<Vec<u8>, Refused> {
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
        .map_err(|bad| (Exit::Usage, format!("no such request can be: {bad}")))?;
    let input = held(body)?;
    let (out, into) = files::pipe().map_err(system("make a pipe"))?;
    let child = program::fork_with(input.as_fd(), into.as_fd(), || {
        say(NAME, app::become_cgi(app, &config, &request));
    });
    let child = child.map_err(system("start a process"))?;
    drop(into);
    let mut response = Vec::new();
    File::from(out)
        .read_to_end(&mut response)
        .map_err(system("read the response"))?;
    process::wait(child);
    Ok(response)
}

/// Runs the app file as a web server does, so that the kernel names it.
fn by_exec(app: &AppFile, meta: &[(String, String)], body: &[u8]) -> Result<Vec<u8>, Refused> {
    let input = held(body)?;
    let is_named_only = app.path == app.config && !is_script(&app.path);
    let link = is_named_only.then(|| Link::to_us(app)).transpose()?;
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
    let mut response = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout
            .read_to_end(&mut response)
            .map_err(system("read the response"))?;
    }
    child.wait().map_err(system("wait for the app"))?;
    Ok(response)
}

fn is_script(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|text| text.starts_with(b"#!"))
}

/// A symlink to this program that stands for an app named by NAME only.
struct Link {
    folder: PathBuf,
    path: PathBuf,
}

impl Link {
    fn to_us(app: &AppFile) -> Result<Link, Refused> {
        let folder = std::env::temp_dir().join(format!("polycgi-request-{}", process::pid()));
        let mut name = OsString::from(app.config.file_stem().unwrap_or_default());
        name.push(".cgi");
        let link = Link {
            path: folder.join(name),
            folder,
        };
        let made = std::fs::create_dir(&link.folder).and_then(|()| {
            let own = std::env::current_exe()?;
            std::os::unix::fs::symlink(own, &link.path)
        });
        match made {
            Ok(()) => Ok(link),
            Err(error) => Err((
                Exit::CantCreate,
                format!("cannot make {}: {error}", link.path.display()),
            )),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Both are ours; what can't be removed is left to the cleaner of that directory.
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_dir(&self.folder);
    }
}

fn by_scgi(server: OwnedFd, meta: &[(String, String)], body: &[u8]) -> Result<Vec<u8>, Refused> {
    let system = |error: io::Error| {
        (
            Exit::IoError,
            format!("cannot talk to the SCGI server: {error}"),
        )
    };
    let length = body.len().to_string();
    let mut message = Vec::new();
    let pairs = meta
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    scgi::message(length.as_bytes(), pairs, &mut message);
    message.extend_from_slice(body);
    let mut input = files::in_memory(c"polycgi-request", false).map_err(system)?;
    input
        .write_all(&message)
        .and_then(|()| input.rewind())
        .map_err(system)?;
    let output = files::in_memory(c"polycgi-response", false).map_err(system)?;
    let relayed = relay::relay(
        server.as_fd(),
        input.as_fd(),
        message.len() as u64,
        output.as_fd(),
        b"",
    )
    .map_err(system)?;
    if relayed.response == 0 {
        return Err((
            Exit::Unavailable,
            "the SCGI server closed the connection without an answer".to_owned(),
        ));
    }
    let mut output = output;
    let mut response = Vec::new();
    output
        .rewind()
        .and_then(|()| output.read_to_end(&mut response))
        .map_err(system)?;
    Ok(response)
}

/// The app's daemon, started if there is none.
fn daemon(app: &AppFile) -> Result<OwnedFd, Refused> {
    for place in Place::candidates(app, process::uid()) {
        if let (Reach::Answers, Some(connection)) = start::connect(&place) {
            return Ok(connection);
        }
    }
    let config = app.load().map_err(|bad| (Exit::Config, bad.to_string()))?;
    let here = Here::open(app, &config).map_err(|no| (Exit::CantCreate, no))?;
    let environ = app::environment::for_daemon();
    start::start(app, &here, app::backlog(&config), &environ)
        .map_err(|error| (Exit::Unavailable, error.to_string()))
}

fn connect(address: &str) -> Result<OwnedFd, Refused> {
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

/// The path as a URI has it: what would be something else there is escaped (RFC 3986 2.1).
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

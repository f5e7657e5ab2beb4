//! Apps that are CGI programs: a command that gets its meta-variables in the environment (RFC 3875 4.1).

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::environment::Variable;
use super::{CannotRun, directory, environment};
use crate::app_file::AppFile;
use crate::cgi::request::Request;
use crate::config::Config;
use crate::handoff;
use crate::scgi::{self, Decoded};
use crate::sys::program::{Prepared, Program};
use crate::sys::{process, signal};

/// GATEWAY_INTERFACE, if the client does not send it.
const INTERFACE: &[u8] = b"CGI/1.1";

/// A command with all that one run of it needs.
struct Invocation {
    path: PathBuf,
    argv: Vec<CString>,
    environ: Vec<CString>,
    directory: PathBuf,
}

impl Invocation {
    /// `variables`: its environment, to which the variables are added that the operator sets.
    fn new(
        app: &AppFile,
        config: &Config,
        command: &[String],
        mut variables: Vec<Variable>,
    ) -> Result<Invocation, CannotRun> {
        environment::add(app, config, &mut variables)?;
        let path = find(app, config, command, environment::search_path(&variables))?;
        let words = command.iter().map(|word| OsStr::new(word).as_bytes());
        Ok(Invocation {
            path,
            argv: words.map(process::c_string).collect(),
            environ: environment::to_c_strings(&variables),
            directory: directory(app, config),
        })
    }

    fn program(&self) -> Program<'_> {
        Program {
            path: &self.path,
            argv: &self.argv,
            environ: &self.environ,
            directory: Some(&self.directory),
        }
    }
}

/// Becomes the command, with all that the web server has set, and over it what the operator sets.
pub(super) fn become_cgi(
    app: &AppFile,
    config: &Config,
    command: &[String],
    request: &Request<'_>,
) -> CannotRun {
    let meta = request.meta().iter();
    let variables = meta.map(|(name, value)| (name.to_vec(), value.to_vec()));
    match Invocation::new(app, config, command, variables.collect()) {
        Ok(run) => {
            // `request-timeout` can't be enforced here: only the program knows whether blocks move.
            let limit = config.timeouts.request_limit;
            let _alarm = limit.map(signal::ring_after);
            let not = run.program().exec();
            CannotRun::not_started(&run.path, &run.directory, not)
        }
        Err(cannot) => cannot,
    }
}

/// A child that is about to become the command. Dropped, it ends, and the command has not run.
#[derive(Debug)]
pub struct PreparedCgi {
    prepared: Prepared,
    path: PathBuf,
    directory: PathBuf,
}

impl PreparedCgi {
    /// Lets it become the command; its pid.
    pub fn go(self) -> Result<i32, CannotRun> {
        let started = self.prepared.go();
        started.map_err(|not| CannotRun::not_started(&self.path, &self.directory, not))
    }
}

/// Prepares the command for the request with this SCGI header, as the leader of a process group. `fds` become its
/// standard input, output and error.
pub fn prepare(
    app: &AppFile,
    config: &Config,
    command: &[String],
    header: &[u8],
    fds: [BorrowedFd<'_>; 3],
    nofile: Option<(u64, u64)>,
) -> Result<PreparedCgi, CannotRun> {
    let run = Invocation::new(app, config, command, variables(header))?;
    match run.program().prepare_leader(&fds, nofile) {
        Ok(prepared) => Ok(PreparedCgi {
            prepared,
            path: run.path,
            directory: run.directory,
        }),
        Err(not) => Err(CannotRun::not_started(&run.path, &run.directory, not)),
    }
}

/// Whether the command could be run now.
pub fn check(app: &AppFile, config: &Config, command: &[String]) -> Result<(), CannotRun> {
    let run = Invocation::new(app, config, command, environment::of_host().collect())?;
    can_execute(&run.path)?;
    match std::fs::metadata(&run.directory) {
        Ok(metadata) if !metadata.is_dir() => {
            let error = io::ErrorKind::NotADirectory.into();
            Err(CannotRun::new("change to", run.directory, error))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(CannotRun::new("change to", run.directory, error)),
    }
}

/// The environment of a request's program. Our front has sent all that the web server has set, and nothing is added.
/// Another client sends only meta-variables; the rest is the host's.
fn variables(header: &[u8]) -> Vec<Variable> {
    let Ok(Decoded::Header { header, .. }) = scgi::decode(header, header.len()) else {
        return Vec::new();
    };
    let is_front = header.value(handoff::VARIABLE.as_bytes()).is_some();
    let mut variables: Vec<Variable> = Vec::new();
    if !is_front {
        variables.extend(environment::of_host());
    }
    for (name, value) in header.pairs() {
        let is_wire = match name {
            b"CONTENT_LENGTH" => value.is_empty(),
            b"SCGI" => true,
            name => name == handoff::VARIABLE.as_bytes(),
        };
        if !is_wire {
            variables.retain(|(known, _)| known != name);
            variables.push((name.to_vec(), value.to_vec()));
        }
    }
    let name = b"GATEWAY_INTERFACE";
    if !variables.iter().any(|(known, _)| known == name) {
        variables.push((name.to_vec(), INTERFACE.to_vec()));
    }
    variables
}

/// Whether the program could be run now. What says nothing of the file is left to the attempt.
pub fn can_execute(path: &Path) -> Result<(), CannotRun> {
    match process::can_execute(path) {
        Ok(()) => Ok(()),
        Err(error) => {
            let cannot = CannotRun::new("run", path, error);
            if cannot.is_refusal() {
                Ok(())
            } else {
                Err(cannot)
            }
        }
    }
}

/// The program of a command: a path, if relative to `directory`, or a name that `search` (a PATH) finds. Whether it can
/// be run is known when it is.
pub fn find(
    app: &AppFile,
    config: &Config,
    command: &[String],
    search: &[u8],
) -> Result<PathBuf, CannotRun> {
    let name = command.first().map_or("", String::as_str);
    let found = process::find(OsStr::new(name), search);
    // Without the `.` of `./name`, since it is shown in messages.
    let found = found.map(|path| directory(app, config).join(path).components().collect());
    let path: PathBuf = found.map_err(|error| CannotRun::new("find", name, error))?;
    if path == app.path {
        let error = io::Error::other("its command is the app file itself");
        return Err(CannotRun::new("run", path, error));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables_of(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut header = Vec::new();
        let pairs = pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        scgi::encode(pairs, &mut header);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let variables = variables(&header).into_iter();
        variables.map(|(n, v)| (text(&n), text(&v))).collect()
    }

    #[test]
    fn a_front_s_block_is_all_there_is() {
        let length = ("CONTENT_LENGTH", "");
        let wire = [length, ("SCGI", "1"), ("POLYCGI", "1")];
        let sent = [("GATEWAY_INTERFACE", "CGI/1.1"), ("PATH", "/x"), ("A", "")];
        let seen = variables_of(&[&wire[..], &sent].concat());
        let expected = sent.map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(seen, expected);
    }

    #[test]
    fn any_other_client_s_is_on_top_of_the_host_s() {
        let seen = variables_of(&[
            ("CONTENT_LENGTH", "0"),
            ("SCGI", "1"),
            ("REQUEST_METHOD", "GET"),
        ]);
        let value = |name: &str| {
            let mut of_name = seen.iter().filter(|(known, _)| known == name);
            let value = of_name.next().map(|(_, value)| value.clone());
            assert!(of_name.next().is_none(), "{name} twice");
            value
        };
        assert_eq!(value("CONTENT_LENGTH").as_deref(), Some("0"));
        assert_eq!(value("GATEWAY_INTERFACE").as_deref(), Some("CGI/1.1"));
        assert_eq!(value("SCGI"), None);
        assert!(value("PATH").is_some());
    }
}

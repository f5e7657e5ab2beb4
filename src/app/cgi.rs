//! Apps that are CGI programs: a command that gets its meta-variables in the environment (RFC 3875 4.1).

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{CannotRun, directory, environment};
use crate::app_file::AppFile;
use crate::cgi::request::Request;
use crate::config::Config;
use crate::sys::process::{self, Program};

/// Becomes the command, with everything that the web server set and what the operator sets over it.
pub(super) fn become_cgi(
    app: &AppFile,
    config: &Config,
    command: &[String],
    request: &Request<'_>,
) -> CannotRun {
    let mut variables: Vec<environment::Variable> = request
        .meta()
        .iter()
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect();
    if let Err(cannot) = environment::add(app, config, &mut variables) {
        return cannot;
    }
    let directory = directory(app, config);
    let path = match find(app, config, command, environment::search_path(&variables)) {
        Ok(path) => path,
        Err(cannot) => return cannot,
    };
    let argv: Vec<CString> = command
        .iter()
        .map(|word| process::c_string(OsStr::new(word).as_bytes()))
        .collect();
    let error = Program {
        path: &path,
        argv: &argv,
        environ: &environment::to_c_strings(&variables),
        directory: Some(&directory),
    }
    .exec();
    CannotRun::new("run", path, error)
}

/// The program of a command: a path, if relative to `directory`, or a name that `search` (a PATH) finds.
pub fn find(
    app: &AppFile,
    config: &Config,
    command: &[String],
    search: &[u8],
) -> Result<PathBuf, CannotRun> {
    let name = command.first().map_or("", String::as_str);
    let found =
        process::find(OsStr::new(name), search).map(|path| directory(app, config).join(path));
    let path = found.map_err(|error| CannotRun::new("find", name, error))?;
    if path == app.path {
        let error = std::io::Error::other("its command is the app file itself");
        return Err(CannotRun::new("run", path, error));
    }
    match process::can_execute(&path) {
        Ok(()) => Ok(path),
        Err(error) => Err(CannotRun::new("run", path, error)),
    }
}

//! What the process of a WSGI application starts with, as a plain CGI of now, and as a daemon's worker: environment,
//! working directory, umask and limits.

use std::os::unix::ffi::OsStrExt;

use crate::acting::CommandError;
use crate::app;
use crate::app::wsgi::Interpreter;
use crate::app_file::AppFile;
use crate::config::Config;
use crate::control::Status;
use crate::report::Exit;

/// A name, and what it has.
pub(super) type Surroundings = Vec<(String, String)>;

/// Of a plain CGI that this process would become.
pub(super) fn of_cgi(app: &AppFile, config: &Config) -> Result<Surroundings, CommandError> {
    let interpreter =
        Interpreter::find(app, config).map_err(|cannot| (Exit::Config, cannot.to_string()))?;
    let variables = interpreter.environ.iter();
    let mut found = variables_of(variables.map(|variable| variable.to_bytes()));
    let directory = app::directory(app, config);
    // As getcwd(2) will show it.
    let directory = directory.canonicalize().unwrap_or(directory);
    found.push((
        "working directory".to_owned(),
        directory.display().to_string(),
    ));
    add_umask_and_limits("self", &mut found);
    Ok(found)
}

/// Of a worker of the app's daemon.
pub(super) fn of_worker(status: Option<Status>) -> Result<Surroundings, CommandError> {
    let none = || {
        let sentence = "the daemon has no worker to look at".to_owned();
        (Exit::Unavailable, sentence)
    };
    let workers = status.map(|status| status.workers).unwrap_or_default();
    let mut pids = workers.iter().filter_map(|worker| worker.pid);
    let pid = pids.next().ok_or_else(none)?.to_string();
    let block = std::fs::read(format!("/proc/{pid}/environ")).map_err(|error| {
        let sentence = format!("cannot read the environment of worker {pid}: {error}");
        (Exit::OsError, sentence)
    })?;
    let variables = block.split(|&byte| byte == 0);
    let mut found = variables_of(variables.filter(|variable| !variable.is_empty()));
    if let Ok(directory) = std::fs::read_link(format!("/proc/{pid}/cwd")) {
        found.push((
            "working directory".to_owned(),
            String::from_utf8_lossy(directory.as_os_str().as_bytes()).into_owned(),
        ));
    }
    add_umask_and_limits(&pid, &mut found);
    Ok(found)
}

fn variables_of<'a>(variables: impl Iterator<Item = &'a [u8]>) -> Surroundings {
    let pair = |variable: &[u8]| {
        let text = String::from_utf8_lossy(variable);
        let (name, value) = text.split_once('=').unwrap_or((&text, ""));
        (name.to_owned(), value.to_owned())
    };
    variables.map(pair).collect()
}

/// As proc_pid_status(5) and proc_pid_limits(5) show them; what the kernel does not show is left out.
fn add_umask_and_limits(pid: &str, found: &mut Surroundings) {
    let read = |name| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let status = read("status");
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    found.extend(umask.map(|umask| ("umask".to_owned(), umask.trim().to_owned())));
    for line in read("limits").lines().skip(1) {
        // A name of several words, then columns that are two spaces or more apart.
        let Some((name, values)) = line.split_once("  ") else {
            continue;
        };
        let name = name.trim_start_matches("Max ");
        // The workers' mark: see app/begun.py.
        if name != "file locks" {
            let values: Vec<&str> = values.split_whitespace().collect();
            found.push((format!("limit of {name}"), values.join(" ")));
        }
    }
}

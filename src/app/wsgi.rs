//! WSGI applications (PEP 3333): the interpreter, our adaptor in it, and what it is given. The adaptor itself is
//! `wsgi.py` and the other files in Python beside it, carried in this binary.

use std::ffi::CString;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{CannotRun, directory, environment};
use crate::answer;
use crate::app_file::AppFile;
use crate::cgi::request::Request;
use crate::config::{Config, Python, Reload, Target};
use crate::page::Failure;
use crate::scgi;
use crate::sys::program::Program;
use crate::sys::{clock, files, process, signal};

/// What both ways have in common.
const ADAPTOR: &str = include_str!("wsgi.py");
/// What a plain GET as a CGI does not need: texts in the adaptor, since compiling costs time; with their places there.
const LATER: [(&str, &str); 2] = [
    ("STREAMS.PY", include_str!("streams.py")),
    ("LATE.PY", include_str!("late.py")),
];
/// What only a pool needs, behind the adaptor and in this order.
const POOL: [&str; 9] = [
    include_str!("loaded.py"),
    include_str!("outgoing.py"),
    include_str!("begun.py"),
    include_str!("channel.py"),
    include_str!("board.py"),
    include_str!("zygote.py"),
    include_str!("served.py"),
    include_str!("worker.py"),
    include_str!("pool.py"),
];
/// What the dead man's switch of a worker leaves a daemon to end it: for a dump, a tidy end, and a kill.
const SWITCH_GRACE: Duration = Duration::from_secs(15);

/// What the kernel leaves an interpreter beyond a request's time, until the adaptor keeps that.
const START_GRACE: Duration = Duration::from_secs(10);

/// What a CGI needs of the adaptor.
fn cgi_part() -> String {
    let mut source = String::with_capacity(1 << 16);
    let mut rest = ADAPTOR;
    for (place, part) in LATER {
        let (before, after) = rest.split_once(place).unwrap_or((rest, ""));
        add_without_comments(before, &mut source);
        add_without_comments(part, &mut source);
        rest = after;
    }
    add_without_comments(rest, &mut source);
    source
}

/// All of the adaptor.
fn pool_part() -> String {
    let mut source = cgi_part();
    for part in POOL {
        add_without_comments(part, &mut source);
    }
    source
}

/// The interpreter would read the comments each time. Lines keep their numbers.
fn add_without_comments(part: &str, source: &mut String) {
    for line in part.split_inclusive('\n') {
        if line.trim_start().starts_with('#') {
            source.push('\n');
        } else {
            source.push_str(line);
        }
    }
}

/// Everything that does not change from one run of an app's interpreter to the next.
#[derive(Debug)]
pub struct Interpreter {
    /// The program.
    pub path: PathBuf,
    /// What it starts with.
    pub environ: Vec<CString>,
}

impl Interpreter {
    /// Finds what `python` names: a program, or the folder of a virtual environment.
    pub fn find(app: &AppFile, config: &Config) -> Result<Interpreter, CannotRun> {
        let variables = environment::of_app(app, config)?;
        let path = match &config.python {
            Python::At(path) => {
                let path = directory(app, config).join(path);
                if path.is_dir() {
                    path.join("bin/python3")
                } else {
                    path
                }
            }
            Python::InPath(name) => {
                process::find(name.as_ref(), environment::search_path(&variables))
                    .map_err(|error| CannotRun::new("find", name, error))?
            }
        };
        let environ = environment::to_c_strings(&variables);
        Ok(Interpreter { path, environ })
    }
}

/// Becomes the interpreter that answers this one request. The meta-variables go beside the environment, in a file
/// without a name: the application's os.environ is the same as in the daemon.
pub(super) fn become_cgi(
    app: &AppFile,
    config: &Config,
    target: &Target,
    request: &Request<'_>,
) -> CannotRun {
    let timed_out = answer::page(Failure::TimedOut, Some(request), None, None);
    let no_body = answer::page(Failure::RequestTimeout, Some(request), None, None);
    let header = match header_file(request, &[&timed_out, &no_body]) {
        Ok(header) => header,
        Err(error) => return CannotRun::new("pass the request to", &app.path, error),
    };
    let interpreter = match Interpreter::find(app, config) {
        Ok(interpreter) => interpreter,
        Err(cannot) => return cannot,
    };
    let fd = header.as_raw_fd().to_string();
    let directory = &directory(app, config);
    let since = config
        .server_timing
        .then(|| clock::now().as_secs_f64().to_string());
    let seconds = |time: Duration| time.as_secs_f64().to_string();
    let limit = config.timeouts.request_limit;
    let argv = argv(
        &interpreter,
        &cgi_part(),
        &["cgi", &name(target)],
        directory,
        &[
            &fd,
            since.as_deref().unwrap_or_default(),
            &seconds(config.timeouts.request),
            &limit.map(seconds).unwrap_or_default(),
            &timed_out.len().to_string(),
        ],
    );
    let time = limit.map_or(config.timeouts.request, |limit| {
        limit.min(config.timeouts.request)
    });
    let _alarm = signal::ring_after(time.saturating_add(START_GRACE));
    let not = Program {
        path: &interpreter.path,
        argv: &argv,
        environ: &interpreter.environ,
        directory: Some(directory),
    }
    .exec();
    CannotRun::not_started(&interpreter.path, directory, not)
}

/// Starts the zygote, the process that imports the application and forks the workers; its pid. `channel` is its end
/// of the conversation with the daemon; `board` what workers and daemon tell one another; `loaded` the file in which
/// all generations note what they have loaded; `stderr` takes what it has to say; `watched` see [`watched`](super::watched).
#[allow(clippy::too_many_arguments)] // descriptors that become those of the program, in order
pub fn spawn_zygote(
    app: &AppFile,
    config: &Config,
    target: &Target,
    watched: &[PathBuf],
    channel: BorrowedFd<'_>,
    board: BorrowedFd<'_>,
    loaded: BorrowedFd<'_>,
    stderr: BorrowedFd<'_>,
    nofile: Option<(u64, u64)>,
) -> Result<i32, CannotRun> {
    let interpreter = Interpreter::find(app, config)?;
    let directory = &directory(app, config);
    let switch = |on| if on { "1" } else { "0" };
    let limits = [
        config.pool.max_rss.unwrap_or(0),
        dead_man_s_switch(config).as_secs(),
    ]
    .map(|number| number.to_string());
    let words = [
        "3",
        "4",
        "5",
        switch(config.pool.preload),
        switch(config.reload == Reload::Auto),
        switch(config.server_timing),
        &limits[0],
        &limits[1],
    ];
    let mut argv = argv(
        &interpreter,
        &pool_part(),
        &["pool", &name(target)],
        directory,
        &words,
    );
    let paths = [config.spool.dir.as_path()].into_iter();
    let paths = paths.chain(watched.iter().map(PathBuf::as_path));
    argv.extend(paths.map(|path| process::c_string(path.as_os_str().as_bytes())));
    let null = files::null().map_err(|error| CannotRun::new("open", "/dev/null", error))?;
    Program {
        path: &interpreter.path,
        argv: &argv,
        environ: &interpreter.environ,
        directory: Some(directory),
    }
    .spawn(
        &[null.as_fd(), stderr, stderr, channel, board, loaded],
        nofile,
    )
    .map_err(|not| CannotRun::not_started(&interpreter.path, directory, not))
}

/// After so long without progress a worker ends itself. A daemon may take twice `request-timeout` to see that nothing
/// moves; and the switch is set anew only when a quarter of it is over, so three quarters of it must be more than that.
fn dead_man_s_switch(config: &Config) -> Duration {
    let most = Duration::from_secs(i32::MAX as u64);
    let thrice = config.timeouts.request.saturating_mul(3);
    thrice.saturating_add(SWITCH_GRACE).min(most)
}

/// What `check` runs: imports the application as a pool does and looks whether it can be called. A traceback is its
/// answer if not.
pub fn import_argv(interpreter: &Interpreter, target: &Target, directory: &Path) -> Vec<CString> {
    argv(
        interpreter,
        &pool_part(),
        &["import", &name(target)],
        directory,
        &[],
    )
}

fn name(target: &Target) -> String {
    format!("{}:{}", target.module, target.callable)
}

fn argv(
    interpreter: &Interpreter,
    source: &str,
    what: &[&str],
    directory: &Path,
    rest: &[&str],
) -> Vec<CString> {
    let text = |word: &&str| word.as_bytes().to_vec();
    let directory = directory.as_os_str().as_bytes().to_vec();
    let words = [
        interpreter.path.as_os_str().as_bytes().to_vec(),
        b"-c".to_vec(),
        source.as_bytes().to_vec(),
    ];
    words
        .into_iter()
        .chain(what.iter().map(text))
        .chain([directory])
        .chain(rest.iter().map(text))
        .map(|word| process::c_string(&word))
        .collect()
}

/// In a file, or where the host allows none to be made or written, in a pipe. `pages`: what comes behind it.
fn header_file(request: &Request<'_>, pages: &[&[u8]]) -> io::Result<OwnedFd> {
    let length = request.value("CONTENT_LENGTH").unwrap_or_default();
    let mut message = Vec::new();
    scgi::encode::message(length, request.meta().iter().copied(), &mut message);
    for page in pages {
        message.extend_from_slice(page);
    }
    let written = files::in_memory(c"polycgi-request", true).and_then(|mut file| {
        file.write_all(&message)?;
        file.rewind()?;
        Ok(OwnedFd::from(file))
    });
    written.or_else(|error| files::pipe_holding(&message).map_err(|_| error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::memory::{Board, Told};

    #[test]
    fn the_adaptor_is_put_together() {
        for (place, part) in LATER {
            assert_eq!(ADAPTOR.matches(place).count(), 1);
            assert!(!part.contains("'''"), "it would end the text that it is in");
        }
        let (cgi, pool) = (cgi_part(), pool_part());
        assert!(cgi.contains("class Body") && !cgi.contains("class Zygote"));
        assert!(pool.contains("class Zygote") && pool.starts_with(&cgi));
        assert!(pool.len() < 128 << 10, "MAX_ARG_STRLEN");
    }

    #[test]
    fn the_adaptor_knows_the_board_s_layout() {
        let size = format!("\nBOARD = {}  #", Board::LEN);
        let parts = [Board::WRITTEN, Board::MOVED, Board::TOLD, Board::SPOOL];
        let parts = parts.map(|at| at.to_string()).join(", ");
        let parts = format!("\nWRITTEN, MOVED, TOLD, SPOOL = {parts}  #");
        let overdue = format!("\nOVERDUE = {}\n", Told::Overdue as u8);
        for line in [size, parts, overdue] {
            assert!(pool_part().contains(&line), "{line}");
        }
    }
}

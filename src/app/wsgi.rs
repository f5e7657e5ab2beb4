//! WSGI applications (PEP 3333): the interpreter, our adaptor in it, and what it is given. The adaptor is `wsgi.py` and
//! the other Python files beside it, which this binary contains. Knows the adaptor's command line, not how it works.

use std::ffi::CString;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{CannotRun, Leavings, directory, environment, shows_errors};
use crate::answer;
use crate::app_file::AppFile;
use crate::cgi::request::Request;
use crate::config::{Config, Python, Reload, Target};
use crate::page::Failure;
use crate::scgi;
use crate::sys::program::Program;
use crate::sys::{clock, files, process, signal};

/// What a CGI's interpreter is given, which gets the adaptor from the place or from its own source.
const BOOT: &str = include_str!("boot.py");
/// The part of it that is needed once.
const KEEP: [(&str, &str); 1] = [("KEEP.PY", include_str!("keep.py"))];
/// The part that a CGI and a pool have in common.
const ADAPTOR: &str = include_str!("wsgi.py");
/// Parts that a plain GET as a CGI does not need, and the words in `wsgi.py` in whose place they stand, as texts: to
/// compile them costs time.
const LATER: [(&str, &str); 2] = [
    ("STREAMS.PY", include_str!("streams.py")),
    ("LATE.PY", include_str!("late.py")),
];
/// The part that only a CGI needs, behind that.
const ONCE: &str = include_str!("once.py");
/// The parts that only a pool needs, in its place and in this order.
const POOL: [&str; 10] = [
    include_str!("loaded.py"),
    include_str!("outgoing.py"),
    include_str!("begun.py"),
    include_str!("channel.py"),
    include_str!("board.py"),
    include_str!("zygote.py"),
    include_str!("served.py"),
    include_str!("glance.py"),
    include_str!("doorway.py"),
    include_str!("worker.py"),
];
/// The last part of a pool.
const RUN_POOL: &str = include_str!("pool.py");
/// The last part for `check`, in place of that.
const TRIAL: &str = include_str!("trial.py");
/// The time that a worker's own alarm leaves the daemon to end the worker: for a stack dump, a tidy end, and a kill.
const SWITCH_GRACE: Duration = Duration::from_secs(15);

/// The time that the alarm of a CGI adds to its time limit, until the adaptor enforces that.
const START_GRACE: Duration = Duration::from_secs(10);

/// The adaptor for a CGI.
fn for_cgi() -> String {
    let mut source = common_part();
    add_without_comments(ONCE, &mut source);
    source
}

/// What gets it from where it is kept.
fn boot() -> String {
    with_texts(BOOT, &KEEP)
}

/// The adaptor for a pool.
fn for_pool() -> String {
    pool_with(RUN_POOL)
}

fn pool_with(last: &str) -> String {
    let mut source = common_part();
    for part in POOL.into_iter().chain([last]) {
        add_without_comments(part, &mut source);
    }
    source
}

fn common_part() -> String {
    with_texts(ADAPTOR, &LATER)
}

/// A part in which others stand as texts, in the place of these words.
fn with_texts(whole: &str, texts: &[(&str, &str)]) -> String {
    let mut source = String::with_capacity(1 << 16);
    let mut rest = whole;
    for (place, part) in texts {
        let (before, after) = rest.split_once(*place).unwrap_or((rest, ""));
        add_without_comments(before, &mut source);
        add_without_comments(part, &mut source);
        rest = after;
    }
    add_without_comments(rest, &mut source);
    source
}

/// Leaves comment lines empty, since the interpreter would read them at each start. Lines keep their numbers.
fn add_without_comments(part: &str, source: &mut String) {
    for line in part.split_inclusive('\n') {
        if line.trim_start().starts_with('#') {
            source.push('\n');
        } else {
            source.push_str(line);
        }
    }
}

/// An app's interpreter: what is the same in all its runs.
#[derive(Debug)]
pub struct Interpreter {
    /// The program.
    pub path: PathBuf,
    /// Its environment.
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

/// Becomes the interpreter that answers this one request. The meta-variables are not in the environment, but in a file
/// without a name: the application's os.environ is the same as in the daemon.
pub(super) fn become_cgi(
    app: &AppFile,
    config: &Config,
    target: &Target,
    request: &Request<'_>,
    leavings: Leavings<'_>,
) -> CannotRun {
    let source = for_cgi();
    let address = request.value("REMOTE_ADDR").unwrap_or_default();
    let pages = outlines(request, shows_errors(config, address));
    // A pipe has no room for the source: then the interpreter is given that, and compiles it.
    let (header, boot) = match header_file(&source, request, &pages) {
        Ok(header) => (header, Some(boot())),
        Err(_) => match header_pipe(request, &pages) {
            Ok(header) => (header, None),
            Err(error) => return CannotRun::new("pass the request to", &app.path, error),
        },
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
    let mut argv = argv(
        &interpreter,
        boot.as_ref().unwrap_or(&source),
        &["cgi", app.name(), &name(target)],
        directory,
        &[
            &fd,
            since.as_deref().unwrap_or_default(),
            &seconds(config.timeouts.request),
            &limit.map(seconds).unwrap_or_default(),
        ],
    );
    let place = leavings.place;
    let place = place.map_or(&b""[..], |place| place.dir.as_os_str().as_bytes());
    let place = process::c_string(place);
    let time = leavings.time.unwrap_or_default();
    argv.extend([place.clone(), process::c_string(time.as_bytes())]);
    if boot.is_some() {
        argv.extend([
            process::c_string(format!("{:016x}", digest(source.as_bytes())).as_bytes()),
            process::c_string(source.len().to_string().as_bytes()),
            place,
        ]);
    }
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

/// What a zygote inherits from the daemon.
#[derive(Clone, Copy, Debug)]
pub struct Inheritance<'a> {
    /// Its end of the channel to the daemon.
    pub channel: BorrowedFd<'a>,
    /// The [`Board`](crate::sys::memory::Board).
    pub board: BorrowedFd<'a>,
    /// The file in which all generations record what they have loaded.
    pub loaded: BorrowedFd<'a>,
    /// Its standard output and error.
    pub stderr: BorrowedFd<'a>,
    /// Its soft and hard limit of descriptors.
    pub nofile: Option<(u64, u64)>,
}

/// Starts the zygote, the process that imports the application and forks the workers; its pid. `watched`: see
/// [`watched`](super::watched).
pub fn spawn_zygote(
    app: &AppFile,
    config: &Config,
    target: &Target,
    watched: &[PathBuf],
    inherits: Inheritance<'_>,
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
        &for_pool(),
        &["pool", app.name(), &name(target)],
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
        &[
            null.as_fd(),
            inherits.stderr,
            inherits.stderr,
            inherits.channel,
            inherits.board,
            inherits.loaded,
        ],
        inherits.nofile,
    )
    .map_err(|not| CannotRun::not_started(&interpreter.path, directory, not))
}

/// After so long without progress a worker ends itself. A daemon may take twice `request-timeout` to see that no block
/// moves; and the alarm is moved on only after a quarter of its time, so three quarters of it must be longer than that.
fn dead_man_s_switch(config: &Config) -> Duration {
    let most = Duration::from_secs(i32::MAX as u64);
    let thrice = config.timeouts.request.saturating_mul(3);
    thrice.saturating_add(SWITCH_GRACE).min(most)
}

/// The descriptor on which the process of [`trial_argv`] says what it finds.
pub const FACTS: i32 = 3;

/// The command line for `check`: imports the application as a pool does, and writes no bytecode. It says what it finds
/// on [`FACTS`], as trial.py has it.
pub fn trial_argv(
    app: &AppFile,
    interpreter: &Interpreter,
    target: &Target,
    directory: &Path,
) -> Vec<CString> {
    let mut argv = argv(
        interpreter,
        &pool_with(TRIAL),
        &["import", app.name(), &name(target)],
        directory,
        &[&FACTS.to_string()],
    );
    argv.insert(1, c"-B".to_owned());
    argv
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

/// The pages that the adaptor may have to answer with, in its order.
const OUTLINES: [Failure; 4] = [
    Failure::TimedOut,
    Failure::RequestTimeout,
    Failure::AppBroken,
    Failure::AppFailed,
];

/// Their outlines, with byte 1 between them, which no page contains. One behind them tells the adaptor that the client
/// may see the reason.
fn outlines(request: &Request<'_>, shows_errors: bool) -> Vec<u8> {
    let outlines = answer::outlines(OUTLINES, request);
    let mut outlines = outlines.join(&b"\x01"[..]);
    outlines.extend(shows_errors.then_some(b'\x01'));
    outlines
}

/// A file with the source, the request's header and these pages; its offset is that of the header.
fn header_file(source: &str, request: &Request<'_>, pages: &[u8]) -> io::Result<OwnedFd> {
    let mut file = files::in_memory(c"polycgi-request", true)?;
    let mut message = source.as_bytes().to_vec();
    add_message(request, pages, &mut message);
    file.write_all(&message)?;
    file.seek(SeekFrom::Start(source.len() as u64))?;
    Ok(file.into())
}

/// A pipe with the request's header and these pages, where the host refuses such a file.
fn header_pipe(request: &Request<'_>, pages: &[u8]) -> io::Result<OwnedFd> {
    let mut message = Vec::new();
    add_message(request, pages, &mut message);
    files::pipe_holding(&message)
}

fn add_message(request: &Request<'_>, pages: &[u8], message: &mut Vec<u8>) {
    let length = request.value("CONTENT_LENGTH").unwrap_or_default();
    scgi::encode::message(length, request.meta().iter().copied(), message);
    message.extend_from_slice(pages);
}

/// FNV-1a of eight bytes at a time: it tells one version of the adaptor from another.
fn digest(source: &[u8]) -> u64 {
    source.chunks(8).fold(0xcbf2_9ce4_8422_2325, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (hash ^ u64::from_le_bytes(word))
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(29)
    })
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
        let (cgi, pool) = (for_cgi(), for_pool());
        assert!(cgi.contains("class Body") && !cgi.contains("class Zygote"));
        assert!(pool.contains("class Zygote") && !pool.contains("run_cgi"));
        assert!(pool.len() < 128 << 10, "MAX_ARG_STRLEN");
    }

    #[test]
    fn a_digest_tells_versions_apart() {
        let source = for_cgi();
        let of = |text: &str| digest(text.as_bytes());
        assert_eq!(of(&source), of(&source.clone()));
        for other in [
            source.replace("'cgi'", "'cgj'"),
            format!("{source}\n"),
            source[1..].to_owned(),
        ] {
            assert_ne!(of(&source), of(&other));
        }
        assert!(boot().len() < 4096, "it stands in the command line");
    }

    #[test]
    fn the_adaptor_knows_the_board_s_layout() {
        let size = format!("\nBOARD = {}  #", Board::LEN);
        let parts = [
            Board::WRITTEN,
            Board::MOVED,
            Board::TOLD,
            Board::SPOOL,
            Board::DESKS,
        ];
        let parts = parts.map(|at| at.to_string()).join(", ");
        let parts = format!("\nWRITTEN, MOVED, TOLD, SPOOL, DESKS = {parts}  #");
        let desk = format!("\nDESK = {}  #", Board::DESK);
        let headers = [Board::HEADERS, Board::HEADER_NUMBERS, Board::HEADER];
        let headers = headers.map(|at| at.to_string()).join(", ");
        let headers = format!("\nHEADERS, HEADER_NUMBERS, HEADER = {headers}  #");
        let bins = format!("\nBINS = {}  #", Board::DESK_BINS);
        let protocol = format!("\nPROTOCOL = '{}'  #", crate::handoff::PROTOCOL);
        let overdue = format!("\nOVERDUE = {}\n", Told::Overdue as u8);
        for line in [size, parts, desk, headers, bins, protocol, overdue] {
            assert!(for_pool().contains(&line), "{line}");
        }
    }
}

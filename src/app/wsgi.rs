//! WSGI applications (PEP 3333): the interpreter, our adaptor in it, and what it is given. The adaptor itself is
//! `wsgi.py`, carried in this binary.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{CannotRun, directory, environment};
use crate::app_file::AppFile;
use crate::cgi::request::Request;
use crate::config::{Config, Python, Target};
use crate::scgi;
use crate::sys::files;
use crate::sys::process::{self, Program};

const ADAPTOR: &str = include_str!("wsgi.py");
/// Behind this line of the adaptor a CGI needs nothing, and compiling costs time.
const POOL_PART: &str = "# -- the pool's part --";

/// What a CGI needs of the adaptor, without its comments: the interpreter would read them for every request. Lines keep
/// their numbers.
fn cgi_part() -> String {
    let end = ADAPTOR.find(POOL_PART).unwrap_or(ADAPTOR.len());
    let mut source = String::with_capacity(end);
    for line in ADAPTOR[..end].lines() {
        if !line.trim_start().starts_with('#') {
            source.push_str(line);
        }
        source.push('\n');
    }
    source
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
    let header = match header_file(request) {
        Ok(header) => header,
        Err(error) => return CannotRun::new("pass the request to", &app.path, error),
    };
    let interpreter = match Interpreter::find(app, config) {
        Ok(interpreter) => interpreter,
        Err(cannot) => return cannot,
    };
    let fd = header.as_raw_fd().to_string();
    let directory = &directory(app, config);
    let argv = argv(
        &interpreter,
        &cgi_part(),
        &["cgi", &name(target)],
        directory,
        &[&fd],
    );
    let error = Program {
        path: &interpreter.path,
        argv: &argv,
        environ: &interpreter.environ,
        directory: Some(directory),
    }
    .exec();
    blame(&interpreter, directory, error)
}

/// Starts the zygote, the process that imports the application and forks the workers; its pid. `channel` is its end
/// of the conversation with the daemon, `page` holds the workers' bytes, `stderr` takes what it has to say.
pub fn spawn_zygote(
    app: &AppFile,
    config: &Config,
    target: &Target,
    channel: BorrowedFd<'_>,
    page: BorrowedFd<'_>,
    stderr: BorrowedFd<'_>,
    nofile: Option<(u64, u64)>,
) -> Result<i32, CannotRun> {
    let interpreter = Interpreter::find(app, config)?;
    let directory = &directory(app, config);
    let preload = if config.pool.preload { "1" } else { "0" };
    let what = ["pool", &name(target)];
    let argv = argv(
        &interpreter,
        ADAPTOR,
        &what,
        directory,
        &["3", "4", preload],
    );
    let null = files::null().map_err(|error| CannotRun::new("open", "/dev/null", error))?;
    Program {
        path: &interpreter.path,
        argv: &argv,
        environ: &interpreter.environ,
        directory: Some(directory),
    }
    .spawn(&[null.as_fd(), stderr, stderr, channel, page], nofile)
    .map_err(|error| blame(&interpreter, directory, error))
}

/// What `check` runs: imports the application and looks whether it can be called. A traceback is its answer if not.
pub fn import_argv(interpreter: &Interpreter, target: &Target, directory: &Path) -> Vec<CString> {
    const SOURCE: &str =
        "import sys; sys.path[:1] = [sys.argv[3]]; module, _, name = sys.argv[2].partition(':')
__import__(module); found = sys.modules[module]
for part in name.split('.'): found = getattr(found, part)
callable(found) or sys.exit('%s is not callable' % sys.argv[2])";
    argv(
        interpreter,
        SOURCE,
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

/// An exec that fails may mean the directory or the program.
fn blame(interpreter: &Interpreter, directory: &Path, error: io::Error) -> CannotRun {
    if directory.is_dir() {
        CannotRun::new("run", &interpreter.path, error)
    } else {
        CannotRun::new("change to", directory, error)
    }
}

fn header_file(request: &Request<'_>) -> io::Result<File> {
    let length = request.value("CONTENT_LENGTH").unwrap_or_default();
    let mut message = Vec::new();
    scgi::encode::message(length, request.meta().iter().copied(), &mut message);
    let mut file = files::in_memory(c"polycgi-request", true)?;
    file.write_all(&message)?;
    file.rewind()?;
    Ok(file)
}

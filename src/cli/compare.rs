//! `compare`: one request as a plain CGI and by the daemon, some times in turns, and what differs.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{Read, Seek};
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use argh::FromArgs;

use super::asked::RequestWords;
use super::ways::{self, Beside, ReadResponse, system};
use super::{app_to_run, python, surroundings};
use crate::acting::CommandError;
use crate::app::environment::{self, Variable};
use crate::app::wsgi::Interpreter;
use crate::app::{self};
use crate::app_file::{AppFile, Named};
use crate::compare::{self, Cost, Observed, Part, Report, Times, Timing};
use crate::config::{App, Config, Target};
use crate::report::{Exit, say};
use crate::sys::process::{self, Usage};
use crate::sys::{clock, files};

const NAME: &str = "compare";
/// The most requests each way.
const MOST_RUNS: u32 = 1000;
/// The longest response that is read, in bytes.
const LONGEST_RESPONSE: u64 = 64 << 20;
/// The most bytes of a CGI's standard error that are shown.
const LONGEST_STDERR: u64 = 64 << 10;
/// How often a part of a plain CGI's time is measured.
const PART_RUNS: usize = 5;

/// Make one request as a plain CGI and by the daemon, and show what differs.
#[derive(FromArgs)]
#[argh(subcommand, name = "compare")]
pub(super) struct CompareCommand {
    /// how often each way (default 10); once more as a plain CGI
    #[argh(option, short = 'n', default = "10", arg_name = "runs")]
    runs: u32,

    /// the method (default GET, or POST with -d)
    #[argh(option, short = 'X', arg_name = "method")]
    method: Option<String>,

    /// a header field, 'Name: value'; may be repeated
    #[argh(option, short = 'H', arg_name = "field")]
    header: Vec<String>,

    /// the message-body, or @FILE for what a file holds
    #[argh(option, short = 'd', arg_name = "body")]
    data: Option<String>,

    /// compare what the processes start with, too: environment, directory, umask, limits (for 'wsgi')
    #[argh(switch)]
    environ: bool,

    /// print JSON: an object in one line
    #[argh(switch)]
    json: bool,

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

impl CompareCommand {
    pub(super) fn run(self) -> Exit {
        match self.compare() {
            Ok(exit) => exit,
            Err(NotCompared::Said(exit)) => exit,
            Err(NotCompared::By((exit, sentence))) => {
                say(NAME, sentence);
                exit
            }
        }
    }

    fn compare(&self) -> Result<Exit, NotCompared> {
        if !(1..=MOST_RUNS).contains(&self.runs) {
            let sentence = format!("'-n {}' is not from 1 to {MOST_RUNS}", self.runs);
            return Err((Exit::Usage, sentence).into());
        }
        let asked = self.asked();
        // Before this process becomes another user's.
        let body = asked.body()?;
        let named = Named::new(OsStr::new(&self.app));
        let app = app_to_run(NAME, &named, self.user.as_deref()).map_err(NotCompared::Said)?;
        let config = app.load().map_err(|bad| (Exit::Config, bad.to_string()))?;
        if self.environ && !matches!(config.app, App::Wsgi(_)) {
            let sentence = "'--environ' is for an app of 'wsgi'".to_owned();
            return Err((Exit::Usage, sentence).into());
        }
        let ways = Ways {
            named: &named,
            app: &app,
            user: self.user.as_deref(),
            meta: asked.meta_variables(&app, body.len())?,
            body: &body,
            // A web server gives a program its own environment, too; our adaptor takes only what is the host's.
            variables: match config.app {
                App::Wsgi(_) => Vec::new(),
                App::Commands { .. } | App::Connect(_) => environment::of_host().collect(),
            },
        };
        let found = ways.run(self.runs)?;
        let mut comparison = compare::compare(&found.cgi.answers, &found.daemon.answers);
        if self.environ {
            let cgi = surroundings::of_cgi(&app, &config)?;
            comparison.add_processes(&cgi, &surroundings::of_worker(&app)?);
        }
        let cgi = Times::of(&found.cgi.runs);
        let parts = match &config.app {
            App::Wsgi(target) => parts(&app, &config, target, cgi.minimum()),
            App::Commands { .. } | App::Connect(_) => Vec::new(),
        };
        let report = Report {
            app: &self.app,
            request: &format!("{} {}", asked.method(), self.path),
            comparison: &comparison,
            cgi,
            daemon: Times::of(&found.daemon.runs),
            parts: &parts,
            stderr: &found.stderr,
        };
        if self.json {
            println!("{}", compare::to_json(&report));
        } else {
            print!("{}", compare::to_text(&report));
        }
        Ok(if comparison.differs() {
            Exit::Differs
        } else {
            Exit::Ok
        })
    }

    fn asked(&self) -> RequestWords {
        RequestWords {
            method: self.method.clone(),
            header: self.header.clone(),
            data: self.data.clone(),
            path: self.path.clone(),
        }
    }
}

/// Why nothing was compared.
enum NotCompared {
    By(CommandError),
    /// It was printed.
    Said(Exit),
}

impl From<CommandError> for NotCompared {
    fn from(error: CommandError) -> NotCompared {
        NotCompared::By(error)
    }
}

/// What the runs of one way gave.
#[derive(Default)]
struct WayRuns {
    answers: Vec<Rc<Observed>>,
    runs: Vec<Timing>,
}

impl WayRuns {
    /// Most answers are as the one before, and kept once.
    fn add(&mut self, answer: Observed) {
        let same = self.answers.last().filter(|last| ***last == answer);
        let answer = same.map_or_else(|| Rc::new(answer), Rc::clone);
        self.answers.push(answer);
    }
}

struct Both {
    cgi: WayRuns,
    daemon: WayRuns,
    /// Of the first plain CGI.
    stderr: String,
}

/// The request, and what both ways need for it.
struct Ways<'a> {
    named: &'a Named,
    app: &'a AppFile,
    user: Option<&'a str>,
    meta: Vec<(String, String)>,
    body: &'a [u8],
    /// Of a plain CGI, beside the meta-variables.
    variables: Vec<Variable>,
}

impl Ways<'_> {
    fn run(&self, runs: u32) -> Result<Both, CommandError> {
        let file = files::in_memory(c"polycgi-stderr", false);
        let mut file = file.map_err(system("keep what the app writes"))?;
        let null = File::from(files::null().map_err(system("open /dev/null"))?);
        let (mut cgi, mut daemon) = (WayRuns::default(), WayRuns::default());
        for nth in 0..runs {
            let stderr = if nth == 0 { &file } else { &null };
            let (answer, run) = self.by_cgi(stderr)?;
            cgi.add(answer);
            cgi.runs.push(run);
            let (answer, run) = self.by_daemon()?;
            daemon.add(answer);
            daemon.runs.push(run);
        }
        // What time has changed in the daemon's last response, this one shows.
        cgi.add(self.by_cgi(&null)?.0);
        let mut stderr = Vec::new();
        let read = file
            .rewind()
            .and_then(|()| file.take(LONGEST_STDERR).read_to_end(&mut stderr));
        read.map_err(system("read what the app has written"))?;
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        Ok(Both {
            cgi,
            daemon,
            stderr,
        })
    }

    fn by_cgi(&self, stderr: &File) -> Result<(Observed, Timing), CommandError> {
        let beside = Beside {
            variables: &self.variables,
            stderr: Some(stderr),
        };
        let cost = |usage: Usage| Cost {
            user: usage.user,
            system: usage.system,
            faults: usage.faults,
        };
        answer(|take| {
            let usage = ways::by_cgi(self.app, &self.meta, self.body, &beside, take)?;
            Ok(Some(cost(usage)))
        })
    }

    fn by_daemon(&self) -> Result<(Observed, Timing), CommandError> {
        answer(|take| {
            let daemon = ways::daemon(self.named, self.app, self.user).map_err(Fatal)?;
            ways::by_scgi(daemon, &self.meta, self.body, take)?;
            Ok(None)
        })
    }
}

/// An error before there was a request.
struct Fatal(CommandError);

enum Failed {
    /// The request was made, and has no response that can be read.
    Answer(String),
    Command(CommandError),
}

impl From<Fatal> for Failed {
    fn from(Fatal(error): Fatal) -> Failed {
        Failed::Command(error)
    }
}

impl From<CommandError> for Failed {
    fn from((exit, sentence): CommandError) -> Failed {
        match exit {
            Exit::IoError | Exit::Protocol | Exit::Unavailable => Failed::Answer(sentence),
            _ => Failed::Command((exit, sentence)),
        }
    }
}

/// Makes a request by `make`, which gives its response to the function that it is given.
fn answer(
    make: impl FnOnce(
        &mut dyn FnMut(File) -> Result<ReadResponse, CommandError>,
    ) -> Result<Option<Cost>, Failed>,
) -> Result<(Observed, Timing), CommandError> {
    let mut response = Vec::new();
    let mut is_longer = false;
    let begun = clock::now();
    let mut ended = None;
    let made = make(&mut |from| {
        let taken = from.take(LONGEST_RESPONSE + 1).read_to_end(&mut response);
        let bytes = taken.map_err(system("read the response"))? as u64;
        // A process may go on behind the response: no client waits for that.
        ended = Some(clock::now());
        is_longer = bytes > LONGEST_RESPONSE;
        let is_whole = !is_longer;
        Ok(ReadResponse { bytes, is_whole })
    });
    let ended = ended.unwrap_or_else(clock::now);
    let wall = ended.saturating_sub(begun);
    if is_longer {
        let most = LONGEST_RESPONSE >> 20;
        let sentence = format!("the response is longer than {most} MB, too long to compare");
        return Err((Exit::IoError, sentence));
    }
    let (answer, cost) = match made {
        Ok(cost) => (Observed::of(&response), cost),
        Err(Failed::Answer(why)) => (Observed::none(&why), None),
        Err(Failed::Command(error)) => return Err(error),
    };
    let bytes = response.len() as u64;
    Ok((answer, Timing { wall, cost, bytes }))
}

/// What the fastest plain CGI's time is made of, by the fastest run of each part; nothing if the module can't be imported by itself.
fn parts(app: &AppFile, config: &Config, target: &Target, whole: Duration) -> Vec<Part> {
    const IMPORT: &str = "import sys; sys.path.insert(0, sys.argv[2]); __import__(sys.argv[1])";
    let Ok(interpreter) = Interpreter::find(app, config) else {
        return Vec::new();
    };
    let directory = app::directory(app, config);
    let time = |words: &[&[u8]]| {
        let words = [&[&b"python3"[..], b"-c"], words].concat();
        let argv: Vec<CString> = words.into_iter().map(process::c_string).collect();
        let mut command = python::command(&interpreter, &argv, &directory);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let begun = clock::now();
        let status = command.stderr(Stdio::null()).status();
        let time = clock::now().saturating_sub(begun);
        status.is_ok_and(|status| status.success()).then_some(time)
    };
    let folder = directory.as_os_str().as_encoded_bytes();
    // In turns, so that a busy moment of the host is in both.
    let times = (0..PART_RUNS).map(|_| {
        let bare = time(&[b"pass"])?;
        let imported = time(&[IMPORT.as_bytes(), target.module.as_bytes(), folder])?;
        Some((bare, imported))
    });
    let times: Option<Vec<(Duration, Duration)>> = times.collect();
    let Some(times) = times else {
        return Vec::new();
    };
    let least = |times: &mut dyn Iterator<Item = Duration>| times.min().unwrap_or_default();
    let bare = least(&mut times.iter().map(|(bare, _)| *bare));
    let imported = least(&mut times.iter().map(|(_, imported)| *imported));
    let part = |name, time| Part { name, time };
    vec![
        part("interpreter", bare),
        part("import of the app", imported.saturating_sub(bare)),
        part("adaptor and request", whole.saturating_sub(imported)),
    ]
}

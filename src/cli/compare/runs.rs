//! The runs of the request in both ways, in turns: responses, times, and what they have used.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::super::ask::{self, PATIENCE};
use super::super::ways::{self, Beside, ReadResponse, system};
use super::NAME;
use super::copied::Copied;
use crate::acting::CommandError;
use crate::app::environment::Variable;
use crate::app_file::AppFile;
use crate::compare::{Cost, Observed, Timing};
use crate::config::Config;
use crate::control::{Command, Status};
use crate::place::Place;
use crate::report::Exit;
use crate::sys::process::{self, Usage};
use crate::sys::{clock, files};

/// The longest response that is read, in bytes.
const LONGEST_RESPONSE: u64 = 64 << 20;
/// The most bytes of a CGI's standard error that are shown.
const LONGEST_STDERR: u64 = 64 << 10;

/// What the runs of one way gave.
#[derive(Default)]
pub(super) struct WayRuns {
    pub(super) answers: Vec<Rc<Observed>>,
    pub(super) runs: Vec<Timing>,
}

impl WayRuns {
    /// Most answers are as the one before, and kept once.
    fn add(&mut self, answer: Observed) {
        let same = self.answers.last().filter(|last| ***last == answer);
        let answer = same.map_or_else(|| Rc::new(answer), Rc::clone);
        self.answers.push(answer);
    }
}

pub(super) struct Both {
    pub(super) cgi: WayRuns,
    pub(super) daemon: WayRuns,
    /// The mean of all its runs but the first; `None`: there was one.
    pub(super) daemon_cost: Option<Cost>,
    /// Of the first plain CGI.
    pub(super) stderr: String,
}

/// The request, and what both ways need for it.
pub(super) struct Ways<'a> {
    pub(super) app: &'a AppFile,
    pub(super) config: &'a Config,
    pub(super) daemon: &'a DaemonSide,
    pub(super) meta: Vec<(String, String)>,
    pub(super) body: &'a [u8],
    /// Of a plain CGI, beside the meta-variables.
    pub(super) variables: Vec<Variable>,
}

/// Which daemon is asked.
pub(super) enum DaemonSide {
    /// The app's own, which runs, in its place.
    Live(Place),
    /// That of a private copy: no daemon of the app runs, and none is started, or held, or in trouble for us.
    Private(Box<Copied>),
}

impl DaemonSide {
    pub(super) fn of(app: &AppFile, config: &Config) -> Result<DaemonSide, CommandError> {
        let reached = ask::reach(app).map_err(|sentence| (Exit::Unavailable, sentence))?;
        match reached {
            Some(reached) => Ok(DaemonSide::Live(reached.place)),
            None => {
                let copied = Copied::plain(app, config)?;
                Ok(DaemonSide::Private(Box::new(copied)))
            }
        }
    }

    /// A connection to it. `None`: it has ended.
    pub(super) fn connect(&self) -> Result<Option<OwnedFd>, CommandError> {
        match self {
            DaemonSide::Live(place) => {
                ask::connect(place).map_err(|sentence| (Exit::Unavailable, sentence))
            }
            DaemonSide::Private(copied) => copied.connect().map(Some),
        }
    }

    pub(super) fn status(&self) -> Option<Status> {
        let connection = match self {
            DaemonSide::Live(place) => ask::connect(place),
            DaemonSide::Private(copied) => ask::find(copied.app()),
        };
        let asked = connection.ok()??;
        ask::ask(asked, Command::Status, PATIENCE).ok()?
    }

    /// Why it could not start the app, and what the app has said.
    pub(super) fn failure(&self) -> Option<String> {
        match self {
            DaemonSide::Live(_) => self.status()?.last_failure,
            DaemonSide::Private(copied) => copied.failure(),
        }
    }

    /// What it, its workers and the server of `scgi` have used until now.
    fn used(&self) -> Usage {
        let status = self.status().unwrap_or_default();
        let workers = status.workers.iter().filter_map(|worker| worker.pid);
        let server = status.server.and_then(|server| server.pid);
        let pids = status.pid.into_iter().chain(server).chain(workers);
        pids.filter_map(process::used_until_now)
            .fold(Usage::default(), Usage::and)
    }
}

impl Ways<'_> {
    pub(super) fn run(&self, runs: u32) -> Result<Both, CommandError> {
        let file = files::in_memory(c"polycgi-stderr", false);
        let mut file = file.map_err(system("keep what the app writes"))?;
        let null = File::from(files::null().map_err(system("open /dev/null"))?);
        let (mut cgi, mut daemon) = (WayRuns::default(), WayRuns::default());
        let mut used = Usage::default();
        for nth in 0..runs {
            let stderr = if nth == 0 { &file } else { &null };
            let (answer, run) = self.by_cgi(stderr)?;
            cgi.add(answer);
            cgi.runs.push(run);
            let (answer, run) = self.by_daemon()?;
            daemon.add(answer);
            daemon.runs.push(run);
            if nth == 0 {
                used = self.daemon.used();
            }
        }
        let used = self.daemon.used().less(used);
        let daemon_cost = (runs > 1).then(|| cost(used.by(runs - 1)));
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
            daemon_cost,
            stderr,
        })
    }

    fn by_cgi(&self, stderr: &File) -> Result<(Observed, Timing), CommandError> {
        // Where our adaptor's compiled code is kept, as for a web server.
        let place = match self.daemon {
            DaemonSide::Live(_) => Place::existing(self.app, self.config),
            DaemonSide::Private(copied) => copied.place(),
        };
        let beside = Beside {
            command: NAME,
            variables: &self.variables,
            stderr: Some(stderr),
            place: place.as_ref(),
        };
        answer(|take| {
            let usage = ways::by_cgi(self.app, &self.meta, self.body, &beside, take)?;
            Ok(Some(cost(usage)))
        })
    }

    fn by_daemon(&self) -> Result<(Observed, Timing), CommandError> {
        answer(|take| {
            let ended = || {
                let sentence = "the daemon has ended meanwhile: compare again".to_owned();
                Fatal((Exit::Unavailable, sentence))
            };
            let daemon = self.daemon.connect().map_err(Fatal)?.ok_or_else(ended)?;
            ways::by_scgi(daemon, &self.meta, self.body, take)?;
            Ok(None)
        })
    }
}

fn cost(usage: Usage) -> Cost {
    Cost {
        user: usage.user,
        system: usage.system,
        faults: usage.faults,
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

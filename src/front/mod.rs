//! cgi-front: what the web server runs for every request. Gathers the facts, asks the policy, and acts: hands the
//! request to the daemon, becomes the app as a plain CGI, or answers 'try again later'. If a step fails, the next way
//! that can still serve the request is tried. Knows no states and no queue: those are the daemon's.

mod asked;
mod handoff;
mod left;
mod plain;
mod refusals;
mod straight;
mod waiting;

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use crate::answer;
use crate::app;
use crate::app_file::AppFile;
use crate::cgi::Extent;
use crate::cgi::request::Request;
use crate::cgi::script::ScriptPath;
use crate::config::{App, Config};
use crate::facts;
use crate::figures::Counted;
use crate::incidents::Mishap;
use crate::known;
use crate::naming::Base;
use crate::policy::route::{self, Reach, Route, StartRecord};
use crate::report::{Exit, plain, say};
use crate::slots::{KnownPauses, Slots, StartCause, Verdict};
use crate::start::{self, Here, NameLock, StartError};
use crate::sys::{Errno, clock, environ, is, process, signal, socket};
use crate::views;
use asked::{AskedDaemons, peer};
use handoff::{Forwarded, Reply};
use refusals::count;

pub use left::leave;

const NAME: &str = "cgi-front";
/// The most daemons that one request is sent to.
const MOST_FORWARDS: u32 = 2;

/// Serves the request that this process was started for.
pub fn main() -> Exit {
    // So that the web server can end us with a signal while we wait for the daemon.
    signal::unblock_all();
    let mut asked = AskedDaemons::default();
    // Before anything else: the request has been sent already, and a daemon that gets it twice may serve it twice.
    let left = left::take().map(|left| {
        asked.count(peer(&left.connection));
        let reply = handoff::go_on(&left.connection, left.said, left.count);
        (reply, left.connection)
    });
    if let Some((Reply::Settled(Forwarded::Served), _)) = left {
        return Exit::Ok;
    }
    let request = match answer::request(NAME) {
        Ok(request) => request,
        Err(exit) => return exit,
    };
    let outcome = match left {
        Some((reply, connection)) => {
            let outcome = handoff::act(reply, &connection, &request);
            asked.note(outcome, peer(&connection));
            outcome
        }
        None => forward_at_once(&request, &mut asked),
    };
    if outcome == Forwarded::Served {
        return Exit::Ok;
    }
    serve_otherwise(request, asked)
}

/// Goes on when no daemon has taken the request at once. Kept out of `main`, whose stack frame it would enlarge.
#[cold]
#[inline(never)]
fn serve_otherwise(request: Request<'static>, asked: AskedDaemons) -> Exit {
    process::prepare();
    let app = match AppFile::running() {
        Ok(app) => app,
        Err(not_an_app) => {
            say(NAME, &not_an_app);
            return app::without_file(&not_an_app, &request);
        }
    };
    let mut front = Front {
        app,
        request,
        asked,
        has_arrived: false,
        is_due_waiting: false,
        is_noted: false,
    };
    front.serve()
}

/// Sends the request to the daemon, if one answers. All that it needs to know of the app is the path of its socket. It
/// allocates nothing, opens nothing but the connection, and writes to no memory of ours but the stack.
fn forward_at_once(request: &Request<'_>, asked: &mut AskedDaemons) -> Forwarded {
    let Some(app) = AppFile::running_id() else {
        return Forwarded::NotTaken;
    };
    let Ok(connection) = socket::unconnected() else {
        return Forwarded::NotTaken;
    };
    let uid = environ::uid();
    for base in Base::ALL {
        let path = base.socket(uid, &app);
        let path = Path::new(OsStr::from_bytes(path.as_slice()));
        if let (_, Some(pid)) = start::reach(&connection, path, uid) {
            asked.count(Some(pid));
            let outcome = handoff::forward(&connection, request);
            if outcome == Forwarded::Served {
                process::leave(Exit::Ok as u8);
            }
            asked.note(outcome, Some(pid));
            break;
        }
    }
    Forwarded::NotTaken
}

struct Front {
    app: AppFile,
    request: Request<'static>,
    asked: AskedDaemons,
    /// This request counts in the rate. The daemon counts those that it takes.
    has_arrived: bool,
    /// Others wait for a slot who go before anonymous clients, as the last facts say.
    is_due_waiting: bool,
    /// The pause before it is noted.
    is_noted: bool,
}

impl Front {
    fn serve(&mut self) -> Exit {
        match self.app.load() {
            Ok(config) => self.decide(&config),
            Err(wrong) => {
                let failure = app::refuse_wrong(NAME, &self.app, &self.request, &wrong);
                self.count_unconfigured(failure, &plain(&wrong.sentence()));
                Exit::Ok
            }
        }
    }

    fn forward(&mut self, connection: OwnedFd, here: &Here) -> Forwarded {
        if std::mem::take(&mut self.has_arrived) {
            here.slots.withdraw();
        }
        let peer = peer(&connection);
        self.asked.count(peer);
        let outcome = handoff::forward(&connection, &self.request);
        self.asked.note(outcome, peer);
        outcome
    }

    /// Takes the name from the daemon that has not answered in time, so that other fronts do not wait for it, and notes
    /// that for them.
    fn set_silent_aside(&self, config: &Config, here: &Here) {
        let Some(pid) = self.asked.silent else {
            return;
        };
        let is_stopped = process::is_stopped(pid);
        let lock = NameLock::wait(&here.place);
        let is_aside = lock.is_ok_and(|lock| lock.set_aside(&here.place, pid).unwrap_or(false));
        if is_aside {
            here.slots.note_silent(is_stopped, clock::now());
            let what = if is_stopped { "is stopped" } else { "is slow" };
            let otherwise = without_daemon(config);
            say(
                NAME,
                format_args!(
                    "the daemon {what} (pid {pid}), and did not answer in time; {otherwise}"
                ),
            );
        }
    }

    /// Counts this request in the rate, once, when no daemon has taken it so far.
    fn arrive(&mut self, here: &Here) {
        if !std::mem::replace(&mut self.has_arrived, true) {
            here.slots.arrive(clock::now());
        }
    }

    /// What is known with the pause before this request, which is noted only when its way is decided.
    fn pauses(&self, slots: &Slots, now: Duration) -> KnownPauses {
        match self.is_noted {
            true => slots.pauses(),
            false => slots.pauses_if_cold(now),
        }
    }

    /// Notes, once, that this request waits for a load of the app: one that is refused waits for none.
    fn note_cold(&mut self, here: &Here) {
        if !std::mem::replace(&mut self.is_noted, true) {
            here.slots.note_cold(clock::now());
        }
    }

    fn decide(&mut self, config: &Config) -> Exit {
        let path = match app::mounted(config.mount.as_ref(), &self.request) {
            Ok(path) => path,
            Err((failure, sentence)) => {
                let here = Here::open(&self.app, config).ok();
                return self.refuse_because(config, here.as_ref(), failure, &sentence);
            }
        };
        let here = match Here::open(&self.app, config) {
            Ok(here) => Some(here),
            Err(reason) => {
                let sentence =
                    format_args!("no daemon can be used, and CGIs are not limited: {reason}");
                say(NAME, sentence);
                None
            }
        };
        let here = here.as_ref();
        if app::asks_status(&config.status, &self.request, path.as_ref()) {
            return self.show_status(config, here);
        }
        if let Some(here) = here {
            self.set_silent_aside(config, here);
        }
        self.go(config, here, path.as_ref())
    }

    /// Goes the way that the facts tell, and looks again if it does not lead on.
    fn go(&mut self, config: &Config, here: Option<&Here>, path: Option<&ScriptPath>) -> Exit {
        let now = clock::now();
        let mut waits = false;
        loop {
            // Before the connect: a starter listens first and notes its attempt then. In the other order, a start that
            // has just begun would look like one that has failed.
            let slots = here.map(|here| &here.slots);
            let start = slots.map_or(StartRecord::Clear, |slots| facts::started(slots, now));
            let mut reach = Reach::Absent;
            if let Some(here) = here
                && self.asked.forwards < MOST_FORWARDS
            {
                match self.try_daemon(config, here, waits) {
                    Tried::Served => return Exit::Ok,
                    Tried::Silent => continue,
                    Tried::Unreached(found) => reach = found,
                }
            }
            if let Some(here) = here {
                self.arrive(here);
            }
            let held = slots.and_then(|slots| slots.held(config.cgi_max).ok());
            self.is_due_waiting = held.is_some_and(|held| held.is_due_waiting);
            let known = slots.map_or_else(KnownPauses::default, |slots| self.pauses(slots, now));
            let facts = facts::gather(config, slots, held, known, start, reach, now);
            let (route, rule) = route::decide(&facts);
            match (route, here) {
                (Route::Broken, here) => return self.broken(config, here),
                (Route::AwaitBacklog { .. }, Some(_)) if !waits => {
                    waits = true;
                    continue;
                }
                (Route::AwaitBacklog { retry_after } | Route::Overload { retry_after }, here) => {
                    return self.overload_or_held(config, here, rule, retry_after);
                }
                // Its body, which has no length, would have to be read before it could wait.
                (Route::AwaitSlot { retry_after }, here)
                    if self.request.extent() == Extent::ToEnd =>
                {
                    return self.overload_or_held(config, here, rule, retry_after);
                }
                (Route::AwaitSlot { retry_after }, here) => {
                    let refusal = (refusals::why_full(rule), retry_after);
                    return self.run_cgi(config, here, path, refusal);
                }
                (Route::StartAndForward, Some(here)) if self.asked.forwards < MOST_FORWARDS => {
                    self.note_cold(here);
                    let cause = facts::cause(rule, &facts, &here.slots, now);
                    match self.start_and_forward(config, here, &cause) {
                        AfterStart::Served => return Exit::Ok,
                        AfterStart::LookAgain => continue,
                        AfterStart::RunCgi => {}
                        AfterStart::Refused => return Exit::Ok,
                    }
                }
                _ => {}
            }
            let refusal = (Counted::NoSlot, route::SLOT_PAUSE);
            return self.run_cgi(config, here, path, refusal);
        }
    }

    /// Answers with the page of `status-path`: by the daemon, or without one by what is known of the app.
    fn show_status(&mut self, config: &Config, here: Option<&Here>) -> Exit {
        if let Some(here) = here
            && self.asked.forwards < MOST_FORWARDS
            && let Tried::Served = self.try_daemon(config, here, false)
        {
            return Exit::Ok;
        }
        let status = known::of_app(&self.app, here.map(|here| &here.place));
        let page = views::response(&status, self.request.is_head());
        answer::write(&page, Some(&self.request));
        Exit::Ok
    }

    /// Sends the request to the daemon, if there is one. `waits`: for room in its backlog.
    fn try_daemon(&mut self, config: &Config, here: &Here, waits: bool) -> Tried {
        let connected = match waits {
            true => self.connect_patiently(config, here),
            false => start::try_connect(&here.place),
        };
        let connection = match connected {
            Ok(Some(connection)) => connection,
            Ok(None) => return Tried::Unreached(Reach::Absent),
            Err(error) => {
                let reach = start::unreached(&error);
                // A full backlog is the sign of a crowd, and no trouble.
                let is_crowd = is(&error, Errno::EAGAIN);
                if reach == Reach::Forbidden || reach == Reach::Full && !is_crowd {
                    let socket = here.place.socket().display().to_string();
                    let otherwise = without_daemon(config);
                    let sentence = format!("cannot connect to {socket}: {error}; {otherwise}");
                    say(NAME, sentence);
                }
                return Tried::Unreached(reach);
            }
        };
        if self.asked.is_silent(&connection) {
            // It has kept its name, and would keep us waiting again.
            return Tried::Unreached(Reach::Full);
        }
        match self.forward(connection, here) {
            Forwarded::NotTaken => Tried::Unreached(Reach::Absent),
            Forwarded::Served => Tried::Served,
            Forwarded::Silent => {
                self.set_silent_aside(config, here);
                Tried::Silent
            }
        }
    }

    fn start_and_forward(
        &mut self,
        config: &Config,
        here: &Here,
        cause: &StartCause,
    ) -> AfterStart {
        let environ = app::environment::for_daemon();
        let backlog = app::backlog(config);
        match start::start(&self.app, here, backlog, &environ, cause) {
            Ok(connection) if self.asked.is_silent(&connection) => AfterStart::RunCgi,
            Ok(connection) => match self.forward(connection, here) {
                Forwarded::NotTaken => {
                    self.note_lost_start(config, here);
                    AfterStart::LookAgain
                }
                Forwarded::Served => AfterStart::Served,
                Forwarded::Silent => {
                    self.set_silent_aside(config, here);
                    AfterStart::LookAgain
                }
            },
            // The record now says what to do instead.
            Err(StartError::BackingOff) => AfterStart::LookAgain,
            Err(error) => {
                say(NAME, &error);
                self.note(&here.place, Mishap::Host, &error.to_string());
                let shortage = error.refusal().and_then(app::shortage);
                if let Some(why) = shortage.filter(|_| !config.app.runs_without_daemon()) {
                    let reason = error.to_string();
                    self.refuse_for_want(config, Some(here), why, &reason, route::SLOT_PAUSE);
                    return AfterStart::Refused;
                }
                AfterStart::RunCgi
            }
        }
    }

    /// The daemon that we have started did not take the request. If it could say why, it has written that to our
    /// standard error; if it has not, we say so.
    fn note_lost_start(&self, config: &Config, here: &Here) {
        let failed = here.slots.attempt(clock::now());
        if failed.is_some_and(|attempt| attempt.verdict == Verdict::Unsaid) {
            let app = self.app.path.display();
            let sentence = "has ended, or does not answer, and has taken no request";
            let otherwise = without_daemon(config);
            let sentence = format!("the daemon of {app} {sentence}");
            say(NAME, format_args!("{sentence}; {otherwise}"));
            self.note(&here.place, Mishap::Host, &sentence);
        }
        start::tidy(&here.place);
    }
}

/// What came of a connect to the daemon.
enum Tried {
    Served,
    /// It did not answer in time, and has lost its name.
    Silent,
    Unreached(Reach),
}

/// What is next after an attempt to start the daemon.
enum AfterStart {
    LookAgain,
    /// The host has no process for a daemon, and the request can't be served without one.
    Refused,
    RunCgi,
    Served,
}

/// What becomes of a request when there is no daemon: the end of a sentence.
fn without_daemon(config: &Config) -> &'static str {
    match &config.app {
        App::Commands { cgi: None, .. } => "without its daemon the app can't be served",
        App::Commands { .. } | App::Wsgi(_) => "the app runs as a plain CGI",
        App::Connect(_) => "the front asks its server itself",
    }
}

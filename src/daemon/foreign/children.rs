//! Apps that are CGI programs: a child for each request, on pipes of ours. Knows how one is started, ended and buried;
//! its response is the exchange's.
//!
//! # Theory of operation
//! The child's output and its standard error are pipes of ours, since a page in its place and slow clients depend on
//! that. Its input is what costs the least and still ends:
//!
//! | the message-body is | its input is |
//! | --- | --- |
//! | none | /dev/null |
//! | all read ahead, in memory or in the spool | a file |
//! | all there, in a pipe or a file that a front passed | that: no sender waits for what is left of it |
//! | anything else | a pipe that the loop fills |
//!
//! A socket is no input: a plain client's would not end with its body, and a web server's (mod_cgid: the response's as
//! well) has to end with the request, even if what the program left behind holds it.
//!
//! The response ends when the child has ended and what it left in its pipe is read, even if other processes hold that
//! pipe. So a job that it left behind goes on and delays no request; but a child that has taken too long is ended with
//! its group.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Foreign;
use super::exchange::Exchange;
use super::feed::{Feed, Rest};
use super::runs::{Child, Run};
use crate::app::{self, CannotRun};
use crate::config::App;
use crate::daemon::clients::{Client, Clients, Start, has_whole_body};
use crate::daemon::ground::Ground;
use crate::daemon::outcome::{Outcome, RETRY_AFTER};
use crate::daemon::token::{RunId, Source, Token};
use crate::figures::Counted;
use crate::incidents::Mishap;
use crate::page::Failure;
use crate::policy::pool::Event;
use crate::policy::queue::Number;
use crate::spool::Ahead;
use crate::sys::files::Kind;
use crate::sys::poll::Interest;
use crate::sys::process::{self, End};
use crate::sys::signal::Signal;
use crate::sys::{clock, files, socket};

/// Where a child's input comes from, and what we have to do for that.
enum Stdin {
    File(File),
    /// The client's own.
    Own,
    Nothing,
    Pipe(OwnedFd, Feed),
}

impl Stdin {
    /// `rest`: the body, if it is not as it came.
    fn new(client: &mut Client, rest: Option<Rest>) -> std::io::Result<Stdin> {
        match rest {
            Some(rest) => Stdin::of_rest(rest),
            None => Stdin::of_client(client),
        }
    }

    /// The part of the body that is in memory goes with it.
    fn of_client(client: &mut Client) -> std::io::Result<Stdin> {
        // A process that the program leaves behind would hold the socket, and the web server would wait for its end.
        let is_socket = |input| files::kind(input) == Kind::Socket;
        let is_there = |length| {
            let input = client.input().filter(|&input| !is_socket(input));
            input.is_some_and(|input| has_whole_body(input, length))
        };
        let Some(request) = &client.request else {
            return Ok(Stdin::Nothing);
        };
        let (length, ahead) = (request.length(), request.ahead.len());
        if length == 0 {
            return Ok(Stdin::Nothing);
        }
        if ahead == 0 && is_there(length) {
            return Ok(Stdin::Own);
        }
        let is_file = ahead == length || matches!(request.ahead, Ahead::Spool { .. });
        let file = is_file
            .then(|| request.ahead.to_file())
            .transpose()?
            .flatten();
        let file = match file {
            Some(file) if ahead == length => return Ok(Stdin::File(file)),
            file => file,
        };
        let (theirs, ours) = pipe()?;
        let Some(request) = &mut client.request else {
            return Ok(Stdin::Nothing);
        };
        let bytes = match &mut request.ahead {
            Ahead::Memory(bytes) => std::mem::take(bytes),
            Ahead::Nothing | Ahead::Spool { .. } => Vec::new(),
        };
        request.shorten(bytes.len() as u64);
        let file = file.map(|file| (file, ahead));
        Ok(Stdin::Pipe(
            theirs,
            Feed::new(ours, bytes, file, length - ahead),
        ))
    }

    /// For a body that a server was to have.
    fn of_rest(rest: Rest) -> std::io::Result<Stdin> {
        if rest.is_empty() {
            return Ok(Stdin::Nothing);
        }
        let (theirs, ours) = pipe()?;
        Ok(Stdin::Pipe(theirs, Feed::of(ours, Vec::new(), rest)))
    }

    /// What the child gets. `input`: the client's own; `null`: /dev/null.
    fn fd<'a>(&'a self, input: BorrowedFd<'a>, null: BorrowedFd<'a>) -> BorrowedFd<'a> {
        match self {
            Stdin::File(file) => file.as_fd(),
            Stdin::Own => input,
            Stdin::Nothing => null,
            Stdin::Pipe(theirs, _) => theirs.as_fd(),
        }
    }

    /// What the loop has to do for it.
    fn into_feed(self) -> Feed {
        match self {
            Stdin::Pipe(_, feed) => feed,
            Stdin::File(_) | Stdin::Own | Stdin::Nothing => Feed::nothing(),
        }
    }
}

/// A pipe to a child: its end, and ours.
fn pipe() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let (theirs, ours) = files::pipe()?;
    socket::set_nonblocking(ours.as_fd())?;
    Ok((theirs, ours))
}

/// A pipe from a child: our end, and its.
fn output_pipe() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = files::pipe()?;
    socket::set_nonblocking(ours.as_fd())?;
    Ok((ours, theirs))
}

impl Foreign {
    /// Starts the command for a request. `rest`: the body, if it is not as it came.
    pub(super) fn run_cgi(
        &mut self,
        number: Number,
        run_id: RunId,
        rest: Option<Rest>,
        clients: &mut Clients,
        ground: &mut Ground,
    ) {
        match self.start_child(number, run_id, rest, clients, ground) {
            Ok(Some(run)) => self.begin(number, run_id, run, clients, ground),
            Ok(None) => {
                ground.tell_pool_next(Event::NotTaken(run_id));
                ground.tell(Outcome::FrontGone(number));
            }
            Err(cannot) => {
                let sentence = crate::report::plain(&cannot.to_string());
                ground.tell_pool_next(Event::NotTaken(run_id));
                if cannot.is_refusal() && clients.can_go(number, &ground.config) {
                    // Its front runs the app itself: one line is enough, for all requests.
                    if self.keep_failure(Mishap::Host, &sentence, ground) {
                        ::log::error!("{sentence}");
                        clients.tell_web_server(number, &sentence, ground);
                    }
                    clients.abort_queued(number, ground);
                    return;
                }
                if let Some(what) = cannot.shortage() {
                    if self.keep_failure(Mishap::Host, &sentence, ground) {
                        ::log::error!("{sentence}");
                        clients.tell_web_server(number, &sentence, ground);
                    }
                    clients.refuse_for_want(number, what, &sentence, RETRY_AFTER, ground);
                } else {
                    ::log::error!("{sentence}");
                    clients.tell_web_server(number, &sentence, ground);
                    ground.failures.fail(sentence.clone());
                    clients.note_mishap(number, Mishap::Configuration, &sentence, ground);
                    clients.answer(number, Failure::Misconfigured, &sentence, ground);
                }
            }
        }
    }

    /// `None`: the front has taken its request back, and nothing has run.
    fn start_child(
        &mut self,
        number: Number,
        run_id: RunId,
        rest: Option<Rest>,
        clients: &mut Clients,
        ground: &mut Ground,
    ) -> Result<Option<Run>, CannotRun> {
        let path = &ground.app.path;
        let cannot = |error| CannotRun::new("start", path, error);
        let gone = || cannot(std::io::ErrorKind::NotFound.into());
        let App::Commands {
            cgi: Some(command), ..
        } = &ground.config.app
        else {
            return Err(gone());
        };
        let client = clients.get_mut(number).ok_or_else(gone)?;
        let stdin = Stdin::new(client, rest).map_err(cannot)?;
        let (output, stdout) = output_pipe().map_err(cannot)?;
        let (errors, stderr) = output_pipe().map_err(cannot)?;
        let null = ground.scratch.null();
        let (Some(request), Some(input)) = (&client.request, client.input()) else {
            return Err(gone());
        };
        let fds = [stdin.fd(input, null), stdout.as_fd(), stderr.as_fd()];
        let reader = request.reader;
        let nofile = ground.nofile;
        let ready = app::cgi::prepare(
            &ground.app,
            &ground.config,
            command,
            &request.header,
            fds,
            nofile,
        )?;
        // What the host refuses up to here it refuses to a front that can still run the app itself.
        if clients.start(number, ground) != Start::Told {
            return Ok(None);
        }
        let pid = ready.go()?;
        ::log::debug!("child: number={number} worker={run_id} pid={pid}");
        let token = Token::Stderr(Source::Worker(run_id)).into();
        if let Err(error) = ground.poll.add(&errors, token, Interest::Read) {
            ::log::warn!("cannot watch a child's standard error: {error}");
        }
        let has_input = matches!(stdin, Stdin::Own);
        let feed = stdin.into_feed();
        let client = clients.get_mut(number);
        if let (Some(Some(request)), false) = (client.map(|c| &mut c.request), has_input) {
            request.give_up_memory();
        }
        let child = Child {
            pid,
            stderr: Some(errors),
        };
        let mut run = Run::new(
            Exchange::new(feed, output, reader),
            Some(child),
            clock::now(),
        );
        run.has_input = has_input;
        Ok(Some(run))
    }

    /// What the child of a run has written to its standard error.
    pub(super) fn overhear(&mut self, run_id: RunId, clients: &mut Clients, ground: &mut Ground) {
        let child = self.runs.get_mut(run_id).and_then(|run| run.child.as_mut());
        let bytes = child.map(|child| child.overhear(&ground.poll));
        if let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) {
            let number = clients.number_of(run_id);
            clients.pass_on_errors(Source::Worker(run_id), number, &bytes, ground);
        }
    }

    /// A child has ended: it is buried, and its response ends with what it left.
    pub(super) fn child_died(
        &mut self,
        run_id: RunId,
        pid: i32,
        clients: &mut Clients,
        ground: &mut Ground,
    ) -> Option<End> {
        self.overhear(run_id, clients, ground);
        clients.end_errors(Source::Worker(run_id));
        let run = self.runs.get_mut(run_id)?;
        if run.is_overdue {
            // Its pid can't be another process's yet.
            process::signal_group(pid, Signal::SIGKILL);
        }
        let end = process::bury(pid);
        run.child = None;
        run.end = end;
        let has_begun = run.exchange.as_ref().is_some_and(Exchange::has_begun);
        match end {
            Some(end @ End::Killed(_)) => {
                ::log::error!("the app's program ended in a request: pid={pid} end={end}");
                if let (Some(number), true) = (clients.number_of(run_id), has_begun) {
                    clients.count(number, Counted::Cut, ground);
                    let reason = format!("the program ended after it had begun to answer: {end}");
                    clients.note_mishap(number, Mishap::Killed, &reason, ground);
                    let sentence =
                        format!("the app's program ended by {end} after it had begun to answer");
                    clients.tell_web_server(number, &sentence, ground);
                }
            }
            Some(end) => ::log::debug!("child gone: worker={run_id} pid={pid} end={end}"),
            None => {}
        }
        if let Some(exchange) = self
            .runs
            .get_mut(run_id)
            .and_then(|run| run.exchange.as_mut())
        {
            exchange.note_app_gone();
            self.send_on(run_id, clients, ground);
            self.pass_on(run_id, clients, ground);
        }
        self.release_run(run_id, clients, ground);
        end
    }

    /// Tells the child of a run, and what it has started, to end.
    pub(super) fn end_child(&self, run_id: RunId) {
        self.signal_child(run_id, Signal::SIGTERM);
    }

    /// Ends child and group at once.
    pub(crate) fn kill_child(&self, run_id: RunId) {
        self.signal_child(run_id, Signal::SIGKILL);
    }

    /// The child leads a process group; as long as its pid is known here it is not buried.
    fn signal_child(&self, run_id: RunId, signal: Signal) {
        if let Some(pid) = self.runs.pid(run_id) {
            process::signal_group(pid, signal);
        }
    }
}

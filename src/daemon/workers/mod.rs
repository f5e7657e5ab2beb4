//! What zygotes and workers say and do, and what is done to them: started, ready, looking, done, stuck, a line on
//! their pipe, death.

pub(crate) mod channel;
pub(crate) mod roster;

use std::os::fd::OwnedFd;

use self::channel::Said;
use self::roster::Who;
use crate::daemon::Daemon;
use crate::daemon::NAME;
use crate::daemon::token::Source;

use crate::app::{self, CannotRun};
use crate::config::App;
use crate::page::Failure;
use crate::policy::pool::{Event, Generation, State, WorkerId};
use crate::policy::queue::Ticket;
use crate::report::{plain, visible, visible_up_to};
use crate::sys::clock;
use crate::sys::process::{self, End};

/// What the next generation says before it serves is kept up to this size, in bytes.
const LAST_WORDS: usize = 65_536;
/// As long as a path and what was wrong with it: why the app can't be started is cut behind so many bytes.
const REASON: usize = 300;

impl Daemon {
    pub(crate) fn start_zygote(&mut self, generation: Generation) {
        if !self.pool.has_code() && self.reload.has_changed(&self.app.config) {
            // Nobody has looked while there was nothing to look at. If it is wrong now, that was said.
            let _ = self.read_configuration();
        }
        let App::Wsgi(target) = &self.config.app else {
            self.start_foreign(generation);
            return;
        };
        self.last_words.clear();
        let (app, config) = (&self.app, &self.config);
        let watched = app::watched(app, config, self.upgrade.binary());
        if let Some(path) = app::env_file(app, config) {
            self.reload.stamp(&path);
        }
        let poll = &self.poll;
        let started = self
            .workers
            .start_zygote(generation, app, config, target, &watched, poll);
        self.note_generation(generation, watched);
        if let Err(cannot) = started {
            self.cannot_begin(generation, &cannot);
        }
    }

    /// A generation ends before it has begun.
    pub(crate) fn cannot_begin(&mut self, generation: Generation, cannot: &CannotRun) {
        if cannot.is_refusal() {
            self.events.push_back(Event::HostRefused(generation));
        }
        self.start_failed(Source::Zygote(generation), &cannot.to_string());
        self.events.push_back(Event::ZygoteGone(generation));
    }

    pub(crate) fn spawn(&mut self, worker: WorkerId, generation: Generation) {
        if self.is_foreign() {
            self.spawn_foreign(worker, generation);
        } else if let Err(error) = self.workers.spawn(worker, generation, &self.poll) {
            let sentence = plain(&format!("cannot ask for a worker: {error}"));
            ::log::warn!("{sentence}");
            self.is_untold |= self.last_failure.as_ref() != Some(&sentence);
            self.fail(sentence);
            self.events.push_back(Event::ForkFailed(worker));
        }
    }

    /// Ends a worker. One that has not said its pid is still in the hands of its zygote, which then forks nothing more:
    /// it hangs, and another is to take its place.
    pub(crate) fn kill(&mut self, worker: WorkerId) {
        if self.runs.has(worker) {
            self.kill_child(worker);
            return;
        }
        if !self.workers.was_never_born(worker) {
            self.workers.kill(worker);
            return;
        }
        let generation = self.workers.generation(worker);
        ::log::error!("the zygote hangs: it has not forked a worker within start-timeout");
        self.workers.kill_zygote(generation);
        self.workers.forget(worker, &self.poll);
        self.events.push_back(Event::ForkFailed(worker));
    }

    pub(crate) fn look(&mut self, generation: Generation) {
        if self.is_foreign() {
            self.look_foreign(generation);
        } else if let Err(error) = self.workers.look(generation) {
            // It is dead or stuck; that is somebody else's to find out.
            ::log::debug!("cannot ask the zygote: {error}");
            self.events.push_back(Event::Looked { changed: false });
        }
    }

    /// A request has taken too long.
    pub(crate) fn interrupt(&mut self, worker: WorkerId) {
        if self.runs.has(worker) {
            self.interrupt_run(worker);
            return;
        }
        let pid = self.workers.pid(worker).unwrap_or(0);
        let key = self.exceeded_key(worker);
        ::log::error!("{key}: the app is stuck in a request: pid={pid}");
        self.workers.interrupt(worker);
    }

    pub(crate) fn exceeded_key(&self, worker: WorkerId) -> &'static str {
        let limit = self.config.timeouts.request_limit;
        let run = self.runs.get(worker).map(|run| run.since);
        let since = run.or_else(|| self.workers.busy_since(worker));
        let is_over = |(since, limit)| clock::now() >= since + limit;
        if since.zip(limit).is_some_and(is_over) {
            "request-limit"
        } else {
            "request-timeout"
        }
    }

    pub(crate) fn hear(&mut self, source: Source) {
        let heard = self.workers.hear(source, &self.poll);
        for (said, file) in heard.said {
            self.on_said(source, said, file);
        }
        if let (Source::Worker(id), true) = (source, heard.ended)
            && self.workers.was_never_born(id)
        {
            // That it could not be forked was said before, if that is why.
            self.hear(Source::Zygote(self.workers.generation(id)));
            if self.workers.was_never_born(id) {
                // The zygote died, or this one in its hands: no fault of the app, which is imported.
                ::log::warn!("a worker has ended before it was ready: worker={id}");
                self.workers.forget(id, &self.poll);
                self.events.push_back(Event::ForkFailed(id));
            }
        }
    }

    fn on_said(&mut self, source: Source, said: Said, file: Option<OwnedFd>) {
        match (source, said) {
            (Source::Worker(_), Said::Born) | (_, Said::Imported | Said::Importing) => {}
            (Source::Zygote(generation), Said::Ready) => {
                self.compare_with_zygote(generation);
                self.events.push_back(Event::ZygoteReady(generation));
            }
            (Source::Zygote(_), Said::Changed(change)) => self.note_change(change),
            (Source::Zygote(generation), Said::Looked) => self.looked(generation),
            (Source::Zygote(_), Said::Unsafe(reason)) => {
                ::log::warn!(
                    "preload is off: the app cannot be forked after its import: {}",
                    visible(reason.as_bytes())
                );
            }
            (Source::Zygote(_), Said::ForkFailed { worker, errno }) => {
                let error = std::io::Error::from_raw_os_error(errno);
                let sentence = plain(&format!("cannot fork a worker: {error}"));
                ::log::warn!("{sentence}");
                self.is_untold |= self.last_failure.as_ref() != Some(&sentence);
                self.fail(sentence);
                self.workers.forget(worker, &self.poll);
                self.events.push_back(Event::ForkFailed(worker));
            }
            (source, Said::Failed(reason)) => self.start_failed(source, &reason),
            (source, Said::Refused(reason)) => self.start_refused(source, &reason),
            (Source::Worker(id), Said::Ready) => {
                if let Some(pid) = self.workers.pid(id) {
                    // The kernel, short of memory, is to take a worker and not the web server.
                    let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), "500");
                    ::log::debug!("worker ready: worker={id} pid={pid}");
                }
                if self.pool.has_code() || self.reload.keeps_words {
                    self.overhear(source);
                    let words = std::mem::take(&mut self.last_words);
                    self.log_words(source, &words);
                }
                self.events.push_back(Event::WorkerReady(id));
            }
            (Source::Worker(worker), Said::Done { last }) => {
                // What it wrote to its pipe until now belongs to this request.
                self.overhear(Source::Worker(worker));
                match self.ticket_of(worker) {
                    Some(ticket) if self.has_run_out(worker) => self.time_out(ticket, worker),
                    _ => self.worker_done(worker),
                }
                self.workers.is_done(worker);
                self.events.push_back(Event::WorkerDone { worker, last });
            }
            (Source::Worker(worker), Said::Full) => self.on_full(worker),
            (Source::Worker(worker), Said::More { tail }) => self.on_more(worker, tail),
            (Source::Worker(worker), Said::Spooled { tail }) => {
                self.on_spooled(worker, file, tail);
            }
            (Source::Worker(worker), Said::Unread(bytes)) => self.on_unread(worker, bytes),
            (source, said) => ::log::warn!("unexpected words of {source:?}: {said:?}"),
        }
    }

    /// Which import this process is of.
    fn generation_of(&self, source: Source) -> Generation {
        match source {
            Source::Server(_) => self.pool.generation(),
            Source::Worker(id) => self.workers.generation(id),
            Source::Zygote(generation) => generation,
        }
    }

    /// The app can't be started: said once here, once to the web server of the oldest request, and kept.
    pub(crate) fn start_failed(&mut self, source: Source, reason: &str) {
        self.overhear(source);
        let generation = self.generation_of(source);
        if self.pool.has_code() {
            self.generation_failed(generation, reason);
            return;
        }
        self.note_failed(generation);
        let sentence = plain(reason);
        if self.is_news(&sentence) {
            ::log::error!(
                "cannot start the app: {}",
                visible_up_to(REASON, reason.as_bytes())
            );
            if self.reload.keeps_words {
                let words = self.last_words.clone();
                self.log_words(source, &words);
            }
        } else {
            ::log::error!("cannot start the app, as before: generation={generation}");
        }
        self.is_untold = true;
        // If nobody waits yet, the first to be refused is told.
        if let Some(ticket) = self.oldest_waiting() {
            self.tell_last_words(ticket);
        }
    }

    /// The same, where the host is the trouble: fronts run the app themselves.
    fn start_refused(&mut self, source: Source, reason: &str) {
        let generation = self.generation_of(source);
        self.events.push_back(Event::HostRefused(generation));
        self.start_failed(source, reason);
    }

    /// Tells one web server, and nobody after it, why the app could not be started.
    pub(crate) fn tell_last_words(&mut self, ticket: Ticket) {
        if !self.is_untold {
            return;
        }
        let client = self.clients.get(&ticket);
        if client.is_some_and(|client| client.errors().is_some()) {
            self.is_untold = false;
            let words = std::mem::take(&mut self.last_words);
            // A traceback says why by itself; a server's last words may have nothing to do with its end.
            let is_ours = matches!(self.config.app, App::Wsgi(_));
            let why = match &self.last_failure {
                Some(reason) if words.is_empty() => visible_up_to(REASON, reason.as_bytes()),
                Some(reason) if !is_ours => {
                    format!("{}; it said:", visible_up_to(REASON, reason.as_bytes()))
                }
                _ => "it said:".to_owned(),
            };
            let app = self.app.path.display();
            let line = format!("polycgi: {NAME}: cannot start {app}: {why}\n");
            let told = [line.as_bytes(), &words].concat();
            self.write_errors(ticket, &told);
        }
    }

    /// Passes on what a process wrote to its pipe: during a request to that request's web server, else to the log.
    /// All that was there when this began, and then the others' turn comes: what the app left running may never stop
    /// writing.
    pub(crate) fn overhear(&mut self, source: Source) {
        let run = match source {
            Source::Server(id) => return self.overhear_server(id),
            Source::Worker(place) => self.runs.get_mut(place),
            Source::Zygote(_) => None,
        };
        let bytes = match run.and_then(|run| run.child.as_mut()) {
            Some(child) => child.overhear(&self.poll),
            None => self.workers.overhear(source, &self.poll),
        };
        if !bytes.is_empty() {
            self.pass_words(source, &bytes);
        }
    }

    fn pass_words(&mut self, source: Source, bytes: &[u8]) {
        if self.is_importing(source) {
            self.keep_last_words(bytes);
            if self.pool.has_code() || self.reload.keeps_words {
                // Whether it is worth a word is known when the import has ended.
                return;
            }
        }
        let ticket = match source {
            Source::Worker(id) => self.ticket_of(id),
            Source::Server(_) | Source::Zygote(_) => None,
        };
        self.pass_on_errors(source, ticket, bytes);
    }

    /// What it says may be why the app can't be imported. With preload off that shows in the workers.
    fn is_importing(&self, source: Source) -> bool {
        let is_starting = |id| {
            let mut workers = self.pool.workers();
            workers.any(|(other, worker)| other == id && worker.state == State::Starting)
        };
        match source {
            Source::Server(_) => false,
            Source::Worker(id) => is_starting(id),
            Source::Zygote(generation) => generation > self.pool.generation(),
        }
    }

    pub(crate) fn keep_last_words(&mut self, bytes: &[u8]) {
        let room = LAST_WORDS.saturating_sub(self.last_words.len());
        let kept = &bytes[..bytes.len().min(room)];
        self.last_words.extend_from_slice(kept);
    }

    /// Everybody who has died since the last look.
    pub(crate) fn bury_the_dead(&mut self) {
        // One that said its pid and died at once: its words come before its death.
        for id in self.workers.nameless() {
            self.hear(Source::Worker(id));
        }
        while let Some(pid) = process::dead_child() {
            if let Some(server) = self.servers.with_pid(pid) {
                if self.server_died(server, pid).is_none() {
                    return;
                }
                continue;
            }
            if let Some(place) = self.runs.place_of(pid) {
                if self.child_died(place, pid).is_none() {
                    return;
                }
                continue;
            }
            let who = self.workers.who(pid);
            match who {
                Who::Orphan => {}
                Who::Worker(id) => self.hear_last(Source::Worker(id)),
                Who::Zygote(generation) => self.hear_last(Source::Zygote(generation)),
            }
            let is_importing = match who {
                Who::Orphan => false,
                Who::Worker(id) => self.workers.is_importing(Source::Worker(id)),
                Who::Zygote(number) => self.workers.is_importing(Source::Zygote(number)),
            };
            let end = self.workers.bury(pid, who, &self.poll);
            match (who, end) {
                (_, None) => return,
                (Who::Orphan, Some(end)) => ::log::debug!("orphan gone: pid={pid} end={end}"),
                (Who::Worker(id), Some(end)) => self.worker_died(id, pid, end, is_importing),
                (Who::Zygote(generation), Some(end)) => {
                    ::log::debug!("zygote gone: pid={pid} end={end}");
                    self.may_have_failed(Source::Zygote(generation), end, is_importing);
                    self.events.push_back(Event::ZygoteGone(generation));
                }
            }
        }
    }

    /// A process of a generation that does not serve has ended: if it has not said why, that is all there is to say.
    /// `is_importing`: the app's own code has run in it. What ends by a signal is ended by the host (out of memory, most
    /// often), or has done what no import does on purpose: as a plain CGI it may come further.
    fn may_have_failed(&mut self, source: Source, end: End, is_importing: bool) {
        let generation = self.generation_of(source);
        let is_next = generation > self.pool.generation() && !self.leaving.has_begun();
        let was_ready = |event: &Event| match *event {
            Event::WorkerReady(id) => self.workers.generation(id) == generation,
            _ => false,
        };
        if is_next && !self.reload.has_failed(generation) && !self.events.iter().any(was_ready) {
            let reason = format!("the interpreter ended before the app was imported: {end}");
            if is_importing && matches!(end, End::Exited(_)) {
                self.start_failed(source, &reason);
            } else {
                self.start_refused(source, &reason);
            }
        }
    }

    /// Its channel and its pipe may hold words from before its end.
    fn hear_last(&mut self, source: Source) {
        self.hear(source);
        self.overhear(source);
        self.end_errors(source);
    }

    /// The worker is dead, its group killed: only now does its byte tell what its client can still have.
    fn worker_died(&mut self, id: WorkerId, pid: i32, end: End, is_importing: bool) {
        if let Some(ticket) = self.ticket_of(id) {
            let has_written = self.workers.has_written(id);
            ::log::error!("worker died in a request: pid={pid} end={end} cut={has_written}");
            if has_written {
                self.finish(ticket);
            } else if self.has_run_out(id) {
                self.time_out(ticket, id);
            } else {
                let sentence = format!("the app's worker ended without an answer: {end}");
                self.tell_web_server(ticket, &sentence);
                self.answer(ticket, Failure::BadGateway, "");
            }
        } else {
            ::log::debug!("worker gone: worker={id} pid={pid} end={end}");
            self.may_have_failed(Source::Worker(id), end, is_importing);
        }
        self.workers.is_done(id);
        self.events.push_back(Event::WorkerGone(id));
    }

    /// The worker's request has taken too long, and the client has had nothing of the response.
    fn has_run_out(&self, worker: WorkerId) -> bool {
        self.workers.is_overdue(worker) && !self.workers.has_written(worker)
    }

    /// The worker was told that its request has taken too long, and has ended it before its first byte.
    fn time_out(&mut self, ticket: Ticket, worker: WorkerId) {
        let key = self.exceeded_key(worker);
        self.tell_web_server(ticket, &format!("{key}: the app did not answer in time"));
        self.answer(ticket, Failure::TimedOut, "");
    }
}

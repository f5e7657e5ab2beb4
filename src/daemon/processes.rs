//! What zygote and workers say and do: ready, done, a line on their pipe, death.

use super::token::Source;
use super::workers::{Said, Who};
use super::{Daemon, NAME};
use crate::page::Failure;
use crate::policy::pool::{Event, WorkerId};
use crate::policy::queue::Ticket;
use crate::report::{plain, printable, visible};
use crate::sys::process::{self, End};

/// What the zygote says before it is ready is kept up to this size, in bytes.
const LAST_WORDS: usize = 65_536;

impl Daemon {
    pub(super) fn start_zygote(&mut self) {
        self.last_words.clear();
        let started = self
            .workers
            .start_zygote(&self.app, &self.config, &self.target, &self.poll);
        if let Err(cannot) = started {
            self.start_failed(Source::Zygote, cannot.to_string());
            self.events.push_back(Event::ZygoteGone);
        }
    }

    pub(super) fn hear(&mut self, source: Source) {
        let heard = self.workers.hear(source, &self.poll);
        for said in heard.said {
            self.on_said(source, said);
        }
        if let (Source::Worker(id), true) = (source, heard.ended)
            && self.workers.was_never_born(id)
        {
            // That it could not be forked was said before, if that is why.
            self.hear(Source::Zygote);
            if self.workers.was_never_born(id) {
                // The zygote died, or this one in its hands: no fault of the app, which is imported.
                self.workers.forget(id, &self.poll);
                self.events.push_back(Event::ForkFailed(id));
            }
        }
    }

    fn on_said(&mut self, source: Source, said: Said) {
        match (source, said) {
            (Source::Worker(_), Said::Born) => {}
            (Source::Zygote, Said::Ready) => self.events.push_back(Event::ZygoteReady),
            (Source::Zygote, Said::Unsafe(reason)) => {
                ::log::warn!(
                    "preload is off: the app cannot be forked after its import: {}",
                    visible(reason.as_bytes())
                );
            }
            (Source::Zygote, Said::ForkFailed { worker, errno }) => {
                let error = std::io::Error::from_raw_os_error(errno);
                let sentence = plain(&format!("cannot fork a worker: {error}"));
                ::log::warn!("{sentence}");
                self.last_failure = Some(sentence);
                self.workers.forget(worker, &self.poll);
                self.events.push_back(Event::ForkFailed(worker));
            }
            (source, Said::Failed(reason)) => self.start_failed(source, reason),
            (Source::Worker(id), Said::Ready) => {
                if let Some(pid) = self.workers.pid(id) {
                    // The kernel, short of memory, is to take a worker and not the web server.
                    let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), "500");
                    ::log::debug!("worker ready: worker={id} pid={pid}");
                }
                self.events.push_back(Event::WorkerReady(id));
            }
            (Source::Worker(worker), Said::Done { last }) => {
                // What it wrote to its pipe until now belongs to this request.
                self.overhear(Source::Worker(worker));
                if let Some(ticket) = self.ticket_of(worker) {
                    ::log::debug!("done: ticket={ticket} worker={worker}");
                    self.finish(ticket);
                }
                self.events.push_back(Event::WorkerDone { worker, last });
            }
            (source, said) => ::log::warn!("unexpected words of {source:?}: {said:?}"),
        }
    }

    /// The app can't be started: said once here, once to the web server of the oldest request, and kept.
    fn start_failed(&mut self, source: Source, reason: String) {
        self.overhear(source);
        ::log::error!("cannot start the app: {}", visible(reason.as_bytes()));
        self.last_failure = Some(plain(&reason));
        self.is_untold = true;
        // If nobody waits yet, the first to be refused is told.
        if let Some(ticket) = self.oldest_waiting() {
            self.tell_last_words(ticket);
        }
    }

    /// Tells one web server, and nobody after it, why the app could not be started.
    pub(super) fn tell_last_words(&mut self, ticket: Ticket) {
        if !self.is_untold {
            return;
        }
        if let Some(errors) = self.clients.get(&ticket).and_then(|client| client.errors()) {
            // A log that takes nothing now has missed it; ours has the reason.
            self.is_untold = false;
            let words = std::mem::take(&mut self.last_words);
            // A traceback says why by itself.
            let why = match &self.last_failure {
                Some(reason) if words.is_empty() => visible(reason.as_bytes()),
                _ => "it said:".to_owned(),
            };
            let app = self.app.path.display();
            let line = format!("polycgi: {NAME}: cannot start {app}: {why}\n");
            let told = [line.as_bytes(), &words].concat();
            self.scratch.write_what_fits(errors, &told);
        }
    }

    /// Passes on what a process wrote to its pipe: during a request to that request's web server, else to the log.
    /// All that was there when this began, and then the others' turn comes: what the app left running may never stop
    /// writing.
    pub(super) fn overhear(&mut self, source: Source) {
        let bytes = self.workers.overhear(source, &self.poll);
        if !bytes.is_empty() {
            self.pass_on(source, &bytes);
        }
    }

    fn pass_on(&mut self, source: Source, bytes: &[u8]) {
        let errors = match source {
            // With preload off the first of them is the one to find out whether the app can be imported.
            Source::Worker(_) if !self.pool.is_proven() && self.last_failure.is_none() => {
                self.keep_last_words(bytes);
                None
            }
            Source::Worker(id) => self
                .ticket_of(id)
                .and_then(|ticket| self.clients.get(&ticket)?.errors()),
            Source::Zygote => {
                self.keep_last_words(bytes);
                None
            }
        };
        let taken = errors.map_or(0, |errors| self.scratch.write_what_fits(errors, bytes));
        for line in bytes[taken..]
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            ::log::warn!("app: {}", printable(line));
        }
    }

    fn keep_last_words(&mut self, bytes: &[u8]) {
        let room = LAST_WORDS.saturating_sub(self.last_words.len());
        let kept = &bytes[..bytes.len().min(room)];
        self.last_words.extend_from_slice(kept);
    }

    /// Everybody who has died since the last look.
    pub(super) fn bury_the_dead(&mut self) {
        // One that said its pid and died at once: its words come before its death.
        for id in self.workers.nameless() {
            self.hear(Source::Worker(id));
        }
        while let Some(pid) = process::dead_child() {
            let who = self.workers.who(pid);
            match who {
                Who::Orphan => {}
                Who::Worker(id) => self.hear_last(Source::Worker(id)),
                Who::Zygote => self.hear_last(Source::Zygote),
            }
            let end = self.workers.bury(pid, who, &self.poll);
            match (who, end) {
                (_, None) => return,
                (Who::Orphan, Some(end)) => ::log::debug!("orphan gone: pid={pid} end={end}"),
                (Who::Worker(id), Some(end)) => self.worker_died(id, pid, end),
                (Who::Zygote, Some(end)) => {
                    ::log::debug!("zygote gone: pid={pid} end={end}");
                    if self.last_failure.is_none()
                        && !self.pool.is_proven()
                        && !self.leaving.has_begun()
                    {
                        self.start_failed(
                            Source::Zygote,
                            format!("the interpreter ended before the app was imported: {end}"),
                        );
                    }
                    self.events.push_back(Event::ZygoteGone);
                }
            }
        }
    }

    /// Its channel and its pipe may hold words from before its end.
    fn hear_last(&mut self, source: Source) {
        self.hear(source);
        self.overhear(source);
    }

    /// The worker is dead, its group killed: only now does its byte tell what its client can still have.
    fn worker_died(&mut self, id: WorkerId, pid: i32, end: End) {
        if let Some(ticket) = self.ticket_of(id) {
            let has_written = self.workers.has_written(id);
            ::log::error!("worker died in a request: pid={pid} end={end} cut={has_written}");
            if has_written {
                self.finish(ticket);
            } else {
                let sentence = format!("the app's worker ended without an answer: {end}");
                self.tell_web_server(ticket, &sentence);
                self.answer(ticket, Failure::BadGateway, "");
            }
        } else {
            ::log::debug!("worker gone: worker={id} pid={pid} end={end}");
        }
        self.events.push_back(Event::WorkerGone(id));
    }
}

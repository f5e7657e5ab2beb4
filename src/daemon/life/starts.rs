//! How a generation begins, and what is said when it can't: here, to one web server, and to fronts that can run the app
//! themselves.

use crate::app::CannotRun;
use crate::app::watched::WatchedFiles;
use crate::daemon::clients::REASON;
use crate::daemon::house::Daemon;
use crate::daemon::token::Source;
use crate::figures::Counted;
use crate::incidents::Mishap;
use crate::policy::pool::{Event, Generation, Reason, Refusal};
use crate::policy::queue::Number;
use crate::report::{plain, visible_up_to};
use crate::sys::clock;
use crate::sys::process::End;

impl Daemon {
    pub(crate) fn start_generation(&mut self, generation: Generation) {
        if !self.pool.has_code() && self.reload.has_changed(&self.ground.app.config) {
            // Without a zygote no look was taken at it. If it is wrong now, that is logged there.
            let _ = self.read_configuration();
        }
        self.ground.failures.clear_words();
        let (app, config) = (&self.ground.app, &self.ground.config);
        let watched = WatchedFiles::new(app, config, self.upgrade.binary());
        if watched.is_cut() {
            ::log::warn!("watch: there are too many files; the others are not watched");
        }
        for path in self.carrier.files_to_stamp(&watched.paths, app, config) {
            self.reload.stamp(&path);
        }
        self.note_generation(generation, watched.clone());
        let (clients, ground) = (&mut self.clients, &mut self.ground);
        let started = self
            .carrier
            .start(generation, &watched.paths, clients, ground);
        if let Err(cannot) = started {
            self.cannot_begin(generation, &cannot);
        }
    }

    /// A generation ends before it has begun.
    fn cannot_begin(&mut self, generation: Generation, cannot: &CannotRun) {
        let kind = match cannot.is_refusal() {
            true => Mishap::Host,
            false => Mishap::Configuration,
        };
        if kind == Mishap::Host {
            self.ground.failures.shortage = cannot.shortage().unwrap_or(Counted::NoProcess);
            self.events.push_back(Event::HostRefused(generation));
        }
        let source = Source::Zygote(generation);
        self.start_failed(source, generation, kind, &cannot.to_string());
        self.events.push_back(Event::ZygoteGone(generation));
    }

    /// A process of a generation that does not serve has ended. If it has not said why, its end is the reason.
    /// `is_importing`: the app's own code has run in it. A signal comes from the host (most often for want of memory),
    /// or from a crash, which no import does on purpose: as a plain CGI the app may come further.
    pub(crate) fn import_ended(
        &mut self,
        source: Source,
        generation: Generation,
        end: End,
        is_importing: bool,
    ) {
        let is_next = generation > self.pool.generation() && !self.leaving.has_begun();
        let was_ready = |event: &Event| match *event {
            Event::WorkerReady(worker) => self.carrier.generation(worker) == generation,
            _ => false,
        };
        if is_next && !self.reload.has_failed(generation) && !self.events.iter().any(was_ready) {
            let reason = format!("the interpreter ended before the app was imported: {end}");
            if !is_importing || !matches!(end, End::Exited(_)) {
                self.events.push_back(Event::HostRefused(generation));
            }
            let kind = match end {
                End::Exited(_) => Mishap::Import,
                End::Killed(_) => Mishap::Killed,
            };
            self.start_failed(source, generation, kind, &reason);
        }
    }

    /// The app can't be started: logged here, told once to the web server of the oldest request, and kept.
    pub(crate) fn start_failed(
        &mut self,
        source: Source,
        generation: Generation,
        kind: Mishap,
        reason: &str,
    ) {
        if self.pool.has_code() {
            self.generation_failed(generation, kind, reason);
            return;
        }
        self.note_failed(generation);
        let sentence = plain(reason);
        if self.keep_failure(kind, &sentence) {
            let shown = visible_up_to(REASON, reason.as_bytes());
            ::log::error!("cannot start the app: {shown}");
            if self.ground.failures.keeps_words {
                let words = self.ground.failures.words().to_vec();
                self.clients.log_words(source, &words, &mut self.ground);
            }
        } else {
            ::log::error!("cannot start the app, as before: generation={generation}");
        }
        self.ground.failures.is_untold = true;
        // If no request waits yet, the first to be refused is told.
        let oldest = self.clients.waiting().next();
        if let Some(number) = oldest {
            self.clients.tell_why(number, &mut self.ground);
        }
    }

    pub(crate) fn leave_because(&mut self, reason: Reason) {
        match reason {
            Reason::Broken => self.ground.slots.note_broken(),
            Reason::HostRefused => self.ground.slots.note_refused(),
            Reason::Idle | Reason::Quiet => {
                let why = if reason == Reason::Idle {
                    "idle"
                } else {
                    "quiet"
                };
                ::log::info!("leave: {why}");
                self.note_memory();
                self.ground.slots.note_left(clock::now());
            }
            Reason::StartTimedOut => self.start_timed_out(),
        }
        self.leave(Some(reason));
    }

    /// What [`Daemon::leave_because`] is for a daemon that stays.
    pub(crate) fn rest_because(&mut self, reason: Reason) {
        match reason {
            Reason::Broken | Reason::HostRefused => {}
            Reason::Idle | Reason::Quiet => {
                ::log::info!("asleep: the next request starts the app again");
                self.ground.slots.note_left(clock::now());
                self.reload.note_asleep();
            }
            Reason::StartTimedOut => self.start_timed_out(),
        }
        self.write_state();
    }

    fn start_timed_out(&mut self) {
        let sentence = "the app was not ready within start-timeout";
        ::log::error!("{sentence}");
        self.ground.failures.fail(sentence.to_owned());
        let none = Default::default();
        self.ground.ledger.note(Mishap::TimeOut, none, sentence);
        self.ground.failures.is_untold = true;
        self.note_failed(self.reload.newest());
    }

    /// The app can be started, as far as that is known of its kind.
    pub(crate) fn is_proven(&self) -> bool {
        self.pool.is_proven() && self.carrier.is_proven(&self.ground)
    }
}

/// Requests that the pool refuses.
impl Daemon {
    pub(crate) fn refuse(&mut self, number: Number, refusal: Refusal) {
        if matches!(refusal, Refusal::HostRefused { .. })
            && self.clients.can_go(number, &self.ground.config)
        {
            self.send_away(number);
        } else {
            self.clients.refuse(number, refusal, &mut self.ground);
        }
    }

    /// The host gives no worker: fronts whose requests wait run the app themselves.
    pub(crate) fn send_waiting_away(&mut self) {
        for number in self.clients.waiting().collect::<Vec<_>>() {
            if self.clients.can_go(number, &self.ground.config) {
                self.send_away(number);
            }
        }
    }

    /// Lets a front go on by itself; its web server is told why, if it is the first.
    fn send_away(&mut self, number: Number) {
        if !self.is_proven() {
            self.ground.slots.note_refused();
        }
        self.clients.tell_why(number, &mut self.ground);
        self.clients.abort_queued(number, &mut self.ground);
    }
}

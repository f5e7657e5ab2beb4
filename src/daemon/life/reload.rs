//! When code or configuration change: what a zygote found is summed up, the configuration is read anew, and what
//! became of each new generation is logged once. Which generation serves, and when another begins, is the pool's.

use super::reloads::{Renewal, fixed_key};
use crate::app::watched::WatchedFiles;
use crate::app::{self, doubts};
use crate::control::CodeChange;
use crate::daemon::clients::REASON;
use crate::daemon::house::Daemon;
use crate::daemon::limits;
use crate::daemon::outcome::Change;
use crate::daemon::token::Source;
use crate::incidents::Mishap;
use crate::policy::pool::{Event, Generation};
use crate::report::{self, plain, visible, visible_up_to};
use crate::sys::{clock, process};

impl Daemon {
    /// A zygote has noted its files. If one of them has changed since we read it, the zygote can't find that: we do.
    pub(crate) fn compare_with_zygote(&mut self, generation: Generation) {
        self.look_at_binary();
        let Some(watched) = self.reload.watched.get(&generation) else {
            return;
        };
        let mut numbered = watched.paths.iter().enumerate();
        let edited = numbered.find(|(_, path)| self.reload.has_changed(path));
        let change = edited.map(|(number, _)| Change::Watched(number));
        // The zygote has noted a folder after we had looked what is in it.
        let appeared = || Some(Change::Module(watched.appeared()?.display().to_string()));
        if let Some(change) = change.or_else(appeared) {
            self.note_change(change);
            self.looked(generation);
        }
    }

    /// A generation begins, and watches these files.
    pub(crate) fn note_generation(&mut self, generation: Generation, watched: WatchedFiles) {
        let (serving, has_code) = (self.pool.generation(), self.pool.has_code());
        let reload = &mut self.reload;
        self.ground.failures.keeps_words = has_code || reload.said.is_some();
        // Any number of others may have failed since the one that serves.
        reload.watched.retain(|&other, _| other == serving);
        reload.watched.insert(generation, watched);
        reload.newest = generation;
        // Without a reason it takes the place of a zygote that ended.
        let reason = reload.reason.take();
        reload.newest_is_edit = reason.is_some();
        reload.newest_reason = reason.unwrap_or_else(|| "the zygote ended".to_owned());
    }

    pub(crate) fn note_change(&mut self, change: Change) {
        // An app that found the channel may say anything, and as often as it likes.
        if self.reload.found.len() < 16 {
            self.reload.found.push(change);
        }
    }

    /// Looks at the files of a generation that has no zygote to do it.
    pub(crate) fn look(&mut self, generation: Generation) {
        for change in self.reload.changed(generation) {
            self.note_change(change);
        }
        self.looked(generation);
    }

    /// The pool needs a generation no longer.
    pub(crate) fn retire_generation(&mut self, generation: Generation) {
        self.note_retired(generation);
        let is_newest = generation == self.reload.newest();
        let (clients, ground) = (&mut self.clients, &mut self.ground);
        self.carrier
            .retire_generation(generation, is_newest, clock::now(), clients, ground);
    }

    /// A zygote has looked at everything.
    pub(crate) fn looked(&mut self, generation: Generation) {
        let found = std::mem::take(&mut self.reload.found);
        let watched = self.reload.watched.get(&generation);
        let asked = Renewal::for_changes(&found, watched);
        let mut reason = asked.reason;
        if asked.configuration && self.read_configuration().is_ok() {
            reason = Some(self.ground.app.config.display().to_string());
        }
        if asked.binary {
            self.look_at_binary();
        }
        let changed = reason.is_some();
        if !changed {
            self.note_up_to_date();
        }
        self.reload.reason = reason.or(self.reload.reason.take());
        self.events.push_back(Event::Looked { changed });
    }

    /// Reloads everything, as an operator wants. `Err`: why the configuration is wrong.
    pub(crate) fn reload(&mut self, wish: &str) -> Result<(), String> {
        if let Some(log) = &self.log {
            log.look();
        }
        self.look_at_binary();
        self.read_configuration()?;
        self.reload.reason = Some(wish.to_owned());
        self.events.push_back(Event::Reload);
        Ok(())
    }

    /// For a request that is refused by a key, and so makes no zygote look: the key may have been corrected.
    pub(crate) fn reload_if_edited(&mut self) {
        let is_watched = self.ground.config.reload != crate::config::Reload::Off;
        if is_watched && self.reload.has_changed(&self.ground.app.config) {
            // A wrong configuration was logged.
            let _ = self.reload("the configuration");
        }
    }

    /// Puts the configuration in force as it is now. If it is wrong, the old one goes on.
    pub(crate) fn read_configuration(&mut self) -> Result<(), String> {
        self.reload.stamp(&self.ground.app.config);
        let loaded = self.ground.app.load().map_err(|wrong| wrong.sentence());
        let checked = loaded.and_then(|config| {
            let can_run = app::can_run(&self.ground.app, &config);
            can_run
                .map(|()| config)
                .map_err(|cannot| cannot.to_string())
        });
        let config = match checked {
            Ok(config) => config,
            Err(wrong) => {
                let sentence = plain(&wrong);
                if self.keep_failure(Mishap::Configuration, &sentence) {
                    ::log::error!("reload failed, the old configuration goes on: {sentence}");
                }
                let told = format!("the edit is wrong, the old configuration goes on: {sentence}");
                self.tell_edit(told, &[]);
                return Err(sentence);
            }
        };
        if let Some(key) = fixed_key(&self.ground.config, &config) {
            // The daemon, or the CGI, of the next request obeys the new configuration.
            ::log::info!("leave: {key} was changed");
            self.ground.failures.set(None);
            self.leave(None);
            return Ok(());
        }
        let is_other_listen = self.ground.config.listen != config.listen;
        self.ground.config = config;
        self.warn_of_permissions();
        if !self.leaving.has_begun() {
            // After a leave the addresses may be another daemon's.
            self.door.obey(&mut self.clients, &mut self.ground);
            if is_other_listen {
                // Those who may connect, and be believed, are others.
                self.clients.outdate(&self.ground);
                self.wires.keep_none();
            }
            self.stays = limits::stays(&self.ground.config, self.door.is_given_any());
        }
        let limits = limits::limits(&self.ground.config, &self.ground.slots, self.stays);
        self.pool.obey(limits);
        self.note_pool();
        self.events.push_back(Event::Tick);
        self.clients.tell_spool(&self.ground);
        report::set_log_level(app::log_level(&self.ground.config));
        Ok(())
    }

    /// Other users can read or change what they should not: said once for each file.
    pub(crate) fn warn_of_permissions(&mut self) {
        for doubt in doubts::of(&self.ground.app, &self.ground.config, process::uid()) {
            if self.reload.doubts.insert(doubt.clone()) {
                ::log::warn!("{doubt}: {}", doubt.advice());
            }
        }
    }

    /// This generation has failed, and that was logged.
    pub(crate) fn note_failed(&mut self, generation: Generation) {
        self.reload.failed = self.reload.failed.max(generation);
    }

    /// Tells one web server's log, once for each edit, that what was edited does not serve.
    fn tell_edit(&mut self, sentence: String, words: &[u8]) {
        self.ground.failures.keep_edit(sentence, words);
        self.clients.tell_edit(None, &mut self.ground);
        // The next front is to come to us: see `Door::offers`.
        let until = clock::now();
        self.events.push_back(Event::CallIn { until });
    }

    /// A generation that was to take another's place has failed. What it wrote goes to the log, and to no client: no
    /// request has failed.
    pub(crate) fn generation_failed(&mut self, generation: Generation, kind: Mishap, reason: &str) {
        let words = self.ground.failures.take_words();
        self.note_failed(generation);
        let sentence = plain(reason);
        let is_news = self.keep_failure(kind, &sentence);
        // An edit that fails as the one before did is told as well; another attempt at the same one is not.
        if self.reload.newest_is_edit && (is_news || self.reload.told != words) {
            self.reload.told.clone_from(&words);
            let shown = visible_up_to(REASON, sentence.as_bytes());
            let told = format!("the edit can't be loaded, the old code goes on serving: {shown}");
            self.tell_edit(told, &words);
        }
        if is_news {
            let shown = visible(sentence.as_bytes());
            ::log::error!("reload failed, the old code goes on serving: {shown}");
            self.log_words(generation, &words);
        }
    }

    fn log_words(&mut self, generation: Generation, words: &[u8]) {
        let source = Source::Zygote(generation);
        self.clients.log_words(source, words, &mut self.ground);
    }

    /// Keeps the reason of a failure. `false`: it is that of the last one, and was logged.
    pub(crate) fn keep_failure(&mut self, kind: Mishap, sentence: &str) -> bool {
        let is_news = self.reload.said.as_deref() != Some(sentence);
        self.reload.said = Some(sentence.to_owned());
        self.ground.failures.fail_to_start(sentence.to_owned());
        let none = Default::default();
        self.ground.ledger.note(kind, none, sentence);
        is_news
    }

    /// The pool retires a generation. If that has not served, and no reason was logged, its start took too long.
    pub(crate) fn note_retired(&mut self, generation: Generation) {
        let is_next = generation > self.pool.generation() && self.pool.has_code();
        if is_next && !self.reload.has_failed(generation) && !self.leaving.has_begun() {
            let reason = "the app was not ready within start-timeout";
            self.generation_failed(generation, Mishap::TimeOut, reason);
        }
    }

    /// Says that another generation serves, if one does.
    pub(crate) fn note_switch(&mut self) {
        let generation = self.pool.generation();
        let before = std::mem::replace(&mut self.reload.serving, generation);
        if before == generation {
            return;
        }
        self.reload.said = None;
        self.ground.failures.forget_edit();
        let doubt = self.carrier.reason_for_doubt();
        self.ground.failures.set(doubt);
        self.note_up_to_date();
        let words = self.ground.failures.take_words();
        if before > 0 {
            let reason = &self.reload.newest_reason;
            ::log::info!("reload: generation={generation} reason={reason}");
            self.reload.changed = Some(CodeChange {
                at: clock::wall().as_secs(),
                what: reason.clone(),
            });
        }
        if self.ground.failures.keeps_words {
            self.log_words(generation, &words);
        }
        let watched = &mut self.reload.watched;
        watched.retain(|&other, _| other >= generation);
        self.write_state();
    }
}

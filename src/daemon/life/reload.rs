//! When code or configuration change: what a zygote found is summed up, the configuration is read anew, and what
//! became of each new generation is said once. Which generation serves, and when another begins, is the pool's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::daemon::Daemon;
use crate::daemon::limits;
use crate::daemon::token::Source;
use crate::daemon::workers::channel::Change;

use crate::app::{self, doubts};
use crate::config::{App, Config, Mode};
use crate::policy::pool::{Event, Generation};
use crate::report::{self, plain, visible};
use crate::sys::files::{self, Stamp};

// Numbers of what a zygote always watches: see `app::watched`.
const CONFIGURATION: usize = 0;
const BINARY: usize = 1;

/// How far the reloads have come.
#[derive(Debug, Default)]
pub(crate) struct Reload {
    /// Found changed since the last look was over.
    found: Vec<Change>,
    /// What each zygote watches beside the modules that it imported.
    watched: BTreeMap<Generation, Vec<PathBuf>>,
    /// Files as they were just before we read them. A zygote notes them later: an edit in between is found by us.
    stamps: BTreeMap<PathBuf, Option<Stamp>>,
    /// Why the next generation will be wanted.
    reason: Option<String>,
    /// Why the newest generation was.
    newest_reason: String,
    newest: Generation,
    /// The newest generation that could not be had.
    failed: Generation,
    /// The one that serves, as far as it was said.
    serving: Generation,
    /// The last reason why one could not be had, if none has come since.
    said: Option<String>,
    /// Permissions of files that were warned of.
    doubts: BTreeSet<doubts::Doubt>,
    /// What the newest one says at its import is kept until it is known whether it is worth a word.
    pub(crate) keeps_words: bool,
}

/// What became of the generations after some other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Failed,
    Open,
    Serving,
}

/// What changes ask for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    binary: bool,
    /// The configuration is to be read anew.
    configuration: bool,
    /// A new generation is wanted, because of this file or module.
    reason: Option<String>,
}

impl Reload {
    /// Notes what a file is that is about to be read.
    pub(crate) fn stamp(&mut self, path: &Path) {
        self.stamps.insert(path.to_path_buf(), files::stamp(path));
    }

    /// What has changed of the files that this generation watches. For one that no zygote looks at.
    pub(crate) fn changed(&mut self, generation: Generation) -> Vec<Change> {
        let watched = self.watched.get(&generation).map_or(&[][..], Vec::as_slice);
        let mut changed = Vec::new();
        for (number, path) in watched.iter().enumerate() {
            let Some(known) = self.stamps.get_mut(path) else {
                continue;
            };
            let found = files::stamp(path);
            if *known != found {
                *known = found;
                changed.push(Change::Watched(number));
            }
        }
        changed
    }

    /// Everything was let go: the next generation is there because somebody came.
    pub(crate) fn note_asleep(&mut self) {
        self.reason = Some("a request after a rest".to_owned());
    }

    /// A file is not what it was when we read it.
    pub(crate) fn has_changed(&self, path: &Path) -> bool {
        let stamp = self.stamps.get(path);
        stamp.is_some_and(|stamp| files::stamp(path) != *stamp)
    }

    /// The newest generation that was begun.
    pub(crate) fn newest(&self) -> Generation {
        self.newest
    }

    /// What became of those after `generation`.
    pub(crate) fn outcome_after(&self, generation: Generation) -> Outcome {
        if self.serving > generation {
            Outcome::Serving
        } else if self.failed > generation {
            Outcome::Failed
        } else {
            Outcome::Open
        }
    }

    /// The generation could not be had, and that was said.
    pub(crate) fn has_failed(&self, generation: Generation) -> bool {
        self.failed >= generation
    }

    /// What was imported last is what serves.
    pub(crate) fn is_settled(&self) -> bool {
        self.serving == self.newest && self.said.is_none()
    }
}

impl Asked {
    fn for_changes(found: &[Change], watched: &[PathBuf]) -> Asked {
        let mut asked = Asked::default();
        for change in found {
            match change {
                Change::Watched(BINARY) => asked.binary = true,
                Change::Watched(CONFIGURATION) => asked.configuration = true,
                Change::Watched(number) => {
                    let path = watched.get(*number);
                    asked.reason = path.map(|path| path.display().to_string()).or(asked.reason);
                }
                Change::Module(name) => asked.reason = Some(name.clone()),
            }
        }
        asked
    }
}

/// What of an app's configuration a daemon is made for.
fn kind(app: &App) -> (u8, bool, bool) {
    match app {
        App::Wsgi(_) => (0, false, false),
        App::Commands { cgi, scgi } => (1, cgi.is_some(), scgi.is_some()),
        App::Connect(_) => (2, false, false),
    }
}

/// The key that differs, of those that a daemon can't change while it lives.
fn fixed_key(old: &Config, new: &Config) -> Option<&'static str> {
    if kind(&new.app) != kind(&old.app) {
        Some("the kind of the app")
    } else if new.mode == Mode::Cgi {
        Some("mode")
    } else if new.runtime_dir != old.runtime_dir {
        Some("runtime-dir")
    } else if new.log.file != old.log.file {
        Some("log-file")
    } else {
        None
    }
}

impl Daemon {
    /// A zygote has noted what its files are: are they what we have read?
    pub(crate) fn compare_with_zygote(&mut self, generation: Generation) {
        self.look_at_binary();
        let watched = self.reload.watched.get(&generation);
        let mut numbered = watched.into_iter().flatten().enumerate();
        let found = numbered.find(|(_, path)| self.reload.has_changed(path));
        if let Some(number) = found.map(|(number, _)| number) {
            self.note_change(Change::Watched(number));
            self.looked(generation);
        }
    }

    /// A zygote was started, and watches these.
    pub(crate) fn note_generation(&mut self, generation: Generation, watched: Vec<PathBuf>) {
        let (serving, has_code) = (self.pool.generation(), self.pool.has_code());
        let reload = &mut self.reload;
        reload.keeps_words = has_code || reload.said.is_some();
        // Any number of others may have failed since the one that serves.
        reload.watched.retain(|&other, _| other == serving);
        reload.watched.insert(generation, watched);
        reload.newest = generation;
        // Nobody asked for it: then it takes the place of a zygote that ended.
        let reason = reload.reason.take();
        reload.newest_reason = reason.unwrap_or_else(|| "the zygote ended".to_owned());
    }

    pub(crate) fn note_change(&mut self, change: Change) {
        // An app that found the channel may say anything, and as often as it likes.
        if self.reload.found.len() < 16 {
            self.reload.found.push(change);
        }
    }

    /// A zygote has looked at everything.
    pub(crate) fn looked(&mut self, generation: Generation) {
        let found = std::mem::take(&mut self.reload.found);
        let watched = self.reload.watched.get(&generation);
        let asked = Asked::for_changes(&found, watched.map_or(&[], Vec::as_slice));
        let mut reason = asked.reason;
        if asked.configuration && self.read_configuration().is_ok() {
            reason = Some(self.app.config.display().to_string());
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

    /// An operator wants everything anew; if the configuration is wrong, why it is not done.
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
        let is_watched = self.config.reload != crate::config::Reload::Off;
        if is_watched && self.reload.has_changed(&self.app.config) {
            // What is wrong then was said.
            let _ = self.reload("the configuration");
        }
    }

    /// Puts the configuration in force as it is now. If it is wrong, the old one goes on.
    pub(crate) fn read_configuration(&mut self) -> Result<(), String> {
        self.reload.stamp(&self.app.config);
        let loaded = self.app.load().map_err(|wrong| wrong.sentence());
        let checked = loaded.and_then(|config| {
            let can_run = app::can_run(&self.app, &config);
            can_run
                .map(|()| config)
                .map_err(|cannot| cannot.to_string())
        });
        let config = match checked {
            Ok(config) => config,
            Err(wrong) => {
                let sentence = plain(&wrong);
                if self.is_news(&sentence) {
                    ::log::error!("reload failed, the old configuration goes on: {sentence}");
                }
                return Err(sentence);
            }
        };
        if let Some(key) = fixed_key(&self.config, &config) {
            // The next request's daemon, or CGI, does it as it is said now.
            ::log::info!("leave: {key} was changed");
            self.last_failure = None;
            self.leave(None);
            return Ok(());
        }
        self.config = config;
        self.warn_of_permissions();
        self.obey_listen();
        self.pool.obey(limits::limits(&self.config, self.stays));
        self.events.push_back(Event::Tick);
        let limit = self.config.spool.limit;
        self.workers.board().tell_spool(self.spooled, limit);
        report::set_log_level(app::log_level(&self.config));
        Ok(())
    }

    /// Other users can read or change what they should not: said once for each file.
    pub(crate) fn warn_of_permissions(&mut self) {
        for doubt in doubts::of(&self.app, &self.config) {
            if self.reload.doubts.insert(doubt.clone()) {
                ::log::warn!("{doubt}: {}", doubt.advice());
            }
        }
    }

    /// That this generation can't be had was said.
    pub(crate) fn note_failed(&mut self, generation: Generation) {
        self.reload.failed = self.reload.failed.max(generation);
    }

    /// A generation that was to take another's place can't be had. What it said goes to the log, and to no client:
    /// nobody's request has failed.
    pub(crate) fn generation_failed(&mut self, generation: Generation, reason: &str) {
        let words = std::mem::take(&mut self.last_words);
        self.note_failed(generation);
        let sentence = plain(reason);
        if self.is_news(&sentence) {
            let shown = visible(sentence.as_bytes());
            ::log::error!("reload failed, the old code goes on serving: {shown}");
            self.log_words(Source::Zygote(generation), &words);
        }
    }

    /// What was said at an import: to the log.
    pub(crate) fn log_words(&mut self, source: Source, words: &[u8]) {
        self.pass_on_errors(source, None, words);
        self.end_errors(source);
    }

    /// Keeps the reason of a failure. `false`: it is the last one's, which was said.
    pub(crate) fn is_news(&mut self, sentence: &str) -> bool {
        let is_news = self.reload.said.as_deref() != Some(sentence);
        self.reload.said = Some(sentence.to_owned());
        self.fail(sentence.to_owned());
        is_news
    }

    /// The pool gives up a generation before it has served: if nobody has said why, its time is over.
    pub(crate) fn note_retired(&mut self, generation: Generation) {
        let is_next = generation > self.pool.generation() && self.pool.has_code();
        if is_next && !self.reload.has_failed(generation) && !self.leaving.has_begun() {
            self.generation_failed(generation, "the app was not ready within start-timeout");
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
        self.last_failure = self.reason_for_doubt();
        self.note_up_to_date();
        let words = std::mem::take(&mut self.last_words);
        if before > 0 {
            let reason = &self.reload.newest_reason;
            ::log::info!("reload: generation={generation} reason={reason}");
        }
        if self.reload.keeps_words {
            self.log_words(Source::Zygote(generation), &words);
        }
        let watched = &mut self.reload.watched;
        watched.retain(|&other, _| other >= generation);
        self.write_state();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Host};

    fn config(text: &str) -> Config {
        let settings = config::parse("app", text.as_bytes()).unwrap();
        let host = Host {
            cores: 1.0,
            nproc: None,
        };
        Config::from_settings(settings, host).unwrap()
    }

    #[test]
    fn changes_ask_for_what_they_concern() {
        let watched = ["/app.cgi", "/bin/polycgi", "/srv/restart.txt"].map(PathBuf::from);
        let asked = |found: &[Change]| Asked::for_changes(found, &watched);
        assert_eq!(asked(&[]), Asked::default());
        let both = asked(&[Change::Watched(0), Change::Watched(1)]);
        assert!(both.configuration && both.binary && both.reason.is_none());
        let touched = asked(&[Change::Watched(2)]);
        assert_eq!(touched.reason.as_deref(), Some("/srv/restart.txt"));
        let edited = asked(&[Change::Module("wiki.page".to_owned()), Change::Watched(9)]);
        assert_eq!(edited.reason.as_deref(), Some("wiki.page"));
        assert_eq!(asked(&[Change::Watched(9)]), Asked::default());
    }

    #[test]
    fn a_daemon_leaves_for_what_it_can_not_change() {
        let old = config("wsgi = a:b\n");
        let fixed = |text: &str| fixed_key(&old, &config(text));
        assert_eq!(
            fixed("wsgi = c:d\nmax-procs = 3\nlog-level = debug\n"),
            None
        );
        assert_eq!(fixed("cgi = ./x\n"), Some("the kind of the app"));
        assert_eq!(fixed("wsgi = a:b\nmode = cgi\n"), Some("mode"));
        assert_eq!(fixed("wsgi = a:b\nmode = daemon\n"), None);
        assert_eq!(fixed("wsgi = a:b\nruntime-dir = /x\n"), Some("runtime-dir"));
        assert_eq!(fixed("wsgi = a:b\nlisten = /x\n"), None);
        assert_eq!(fixed("wsgi = a:b\nlog-file = /x\n"), Some("log-file"));
    }

    #[test]
    fn an_outcome_is_that_of_a_later_generation() {
        let reload = Reload {
            serving: 2,
            failed: 4,
            newest: 5,
            ..Reload::default()
        };
        assert_eq!(reload.outcome_after(1), Outcome::Serving);
        assert_eq!(reload.outcome_after(2), Outcome::Failed);
        assert_eq!(reload.outcome_after(4), Outcome::Open);
        assert!(reload.has_failed(4) && !reload.has_failed(5));
    }
}

//! How far the reloads have come: what was found changed, which generation serves, and which has failed. What is done
//! about it stands in `reload`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::app::doubts;
use crate::app::watched::{BINARY, CONFIGURATION, WatchedFiles};
use crate::config::{App, Config, Mode};
use crate::control::CodeChange;
use crate::daemon::outcome::Change;
use crate::policy::pool::Generation;
use crate::sys::files::{self, Stamp};

/// How far the reloads have come.
#[derive(Debug, Default)]
pub(crate) struct Reload {
    /// Found changed since the last look was over.
    pub(super) found: Vec<Change>,
    /// What each zygote watches beside the modules that it imported.
    pub(super) watched: BTreeMap<Generation, WatchedFiles>,
    /// Files as they were just before we read them. A zygote notes them later: an edit in between is found by us.
    pub(super) stamps: BTreeMap<PathBuf, Option<Stamp>>,
    /// Why the next generation will be wanted.
    pub(super) reason: Option<String>,
    /// Why the newest generation was wanted.
    pub(super) newest_reason: String,
    /// It began since something was edited, and not because the one before ended, or failed a while ago.
    pub(super) newest_is_edit: bool,
    /// What the app wrote at the last import that a web server was told of.
    pub(super) told: Vec<u8>,
    pub(super) newest: Generation,
    /// What made the generation that serves wanted, if it is not the first.
    pub(super) changed: Option<CodeChange>,
    /// The newest generation that has failed.
    pub(super) failed: Generation,
    /// The generation that serves, as last logged.
    pub(super) serving: Generation,
    /// Why a generation has failed last, if none has served since.
    pub(super) said: Option<String>,
    /// Permissions of files that were warned of.
    pub(super) doubts: BTreeSet<doubts::FileDoubt>,
}

/// What became of the generations after some other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Failed,
    Open,
    Serving,
}

/// What has to be renewed after changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Renewal {
    pub(super) binary: bool,
    /// The configuration is to be read anew.
    pub(super) configuration: bool,
    /// A new generation is wanted, because of this file or module.
    pub(super) reason: Option<String>,
}

impl Reload {
    /// Notes what a file is that is about to be read.
    pub(crate) fn stamp(&mut self, path: &Path) {
        self.stamps.insert(path.to_path_buf(), files::stamp(path));
    }

    /// What has changed of the files that this generation watches, if no zygote looks at them.
    pub(crate) fn changed(&mut self, generation: Generation) -> Vec<Change> {
        let watched = self.watched.get(&generation);
        let watched = watched.map_or(&[][..], |watched| &watched.paths);
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

    /// All processes were let go: the next generation is there because a request came.
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

    /// What became of the generations after this one.
    pub(crate) fn outcome_after(&self, generation: Generation) -> Fate {
        if self.serving > generation {
            Fate::Serving
        } else if self.failed > generation {
            Fate::Failed
        } else {
            Fate::Open
        }
    }

    /// The generation has failed, and that was logged.
    pub(crate) fn has_failed(&self, generation: Generation) -> bool {
        self.failed >= generation
    }

    /// What was imported last is what serves.
    pub(crate) fn is_settled(&self) -> bool {
        self.serving == self.newest && self.said.is_none()
    }
}

impl Renewal {
    pub(super) fn for_changes(found: &[Change], watched: Option<&WatchedFiles>) -> Renewal {
        let mut asked = Renewal::default();
        let mut has_folder = false;
        for change in found {
            match change {
                Change::Watched(BINARY) => asked.binary = true,
                Change::Watched(CONFIGURATION) => asked.configuration = true,
                Change::Watched(number) => match watched {
                    Some(watched) if watched.is_folder(*number) => has_folder = true,
                    _ => {
                        let path = watched.and_then(|watched| watched.paths.get(*number));
                        asked.reason = path.map(|path| path.display().to_string()).or(asked.reason);
                    }
                },
                Change::Module(name) => asked.reason = Some(name.clone()),
            }
        }
        // The folders are looked into only if nothing else is a reason, and once.
        if has_folder && asked.reason.is_none() {
            let appeared = watched.and_then(WatchedFiles::appeared);
            asked.reason = appeared.map(|path| path.display().to_string());
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
pub(super) fn fixed_key(old: &Config, new: &Config) -> Option<&'static str> {
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
        let paths = ["/app.cgi", "/bin/polycgi", "/srv/restart.txt"].map(PathBuf::from);
        let watched = WatchedFiles::of_files(paths.to_vec());
        let asked = |found: &[Change]| Renewal::for_changes(found, Some(&watched));
        assert_eq!(asked(&[]), Renewal::default());
        let both = asked(&[Change::Watched(0), Change::Watched(1)]);
        assert!(both.configuration && both.binary && both.reason.is_none());
        let touched = asked(&[Change::Watched(2)]);
        assert_eq!(touched.reason.as_deref(), Some("/srv/restart.txt"));
        let edited = asked(&[Change::Module("wiki.page".to_owned()), Change::Watched(9)]);
        assert_eq!(edited.reason.as_deref(), Some("wiki.page"));
        assert_eq!(asked(&[Change::Watched(9)]), Renewal::default());
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
        assert_eq!(reload.outcome_after(1), Fate::Serving);
        assert_eq!(reload.outcome_after(2), Fate::Failed);
        assert_eq!(reload.outcome_after(4), Fate::Open);
        assert!(reload.has_failed(4) && !reload.has_failed(5));
    }
}

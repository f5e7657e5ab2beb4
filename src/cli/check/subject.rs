//! What is examined: an app, with its configuration, as one user finds it.

use std::path::{Path, PathBuf};

use super::finding::{Finding, Severity};
use super::kind::FindingKind;
use crate::app::{self, way};
use crate::app_file::AppFile;
use crate::config::{Address, App, Config, Python};
use crate::sys::files::{self, Walker};

/// An app whose configuration could be read.
pub(super) struct CheckSubject<'a> {
    pub(super) app: &'a AppFile,
    pub(super) config: &'a Config,
    /// The user whom the app runs as.
    pub(super) user: &'a CheckUser,
    /// The app's working directory.
    pub(super) directory: PathBuf,
}

/// A user, and what the user may do.
#[derive(Debug)]
pub(super) struct CheckUser {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) walker: Walker,
}

impl CheckUser {
    /// Whether it is another user than this process's: then only modes can be looked at.
    pub(super) fn is_other(&self) -> bool {
        self.walker != Walker::Own
    }
}

impl<'a> CheckSubject<'a> {
    pub(super) fn new(
        app: &'a AppFile,
        config: &'a Config,
        user: &'a CheckUser,
    ) -> CheckSubject<'a> {
        CheckSubject {
            directory: app::directory(app, config),
            app,
            config,
            user,
        }
    }

    /// An error at the line of the configuration where `key` is, or that says what to run.
    pub(super) fn blame(&self, kind: FindingKind, key: &str, message: &str) -> Finding {
        self.find(Severity::Error, kind, key, message)
    }

    /// The same, of that severity.
    pub(super) fn find(
        &self,
        severity: Severity,
        kind: FindingKind,
        key: &str,
        message: &str,
    ) -> Finding {
        let bad = self.config.blame(key, &crate::report::plain(message));
        Finding::in_config(severity, kind, &bad)
    }

    /// An error about the app's working directory: at its line of the configuration, or of the folder if none says it.
    pub(super) fn blame_directory(&self, kind: FindingKind, message: &str) -> Finding {
        if self.config.directory.is_some() {
            self.blame(kind, "directory", message)
        } else {
            Finding::error(kind, message).at(&self.directory)
        }
    }

    /// The paths that the configuration names, absolute, but for those in commands.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let (app, config) = (self.app, self.config);
        let python = match &config.python {
            Python::At(path) => Some(self.directory.join(path)),
            Python::InPath(_) => None,
        };
        let files = [
            Some(self.directory.clone()),
            Some(config.spool.dir.clone()),
            app::env_file(app, config),
            app::log_file(app, config),
            app::overload_page(app, config),
            config.runtime_dir.clone(),
            python,
        ];
        let server = match &config.app {
            App::Connect(address) => Some(address),
            _ => None,
        };
        let sockets = config.listen.addresses.iter().chain(server);
        let sockets = sockets.filter_map(|address| match address {
            Address::Path(path) => Some(path.clone()),
            Address::Tcp { .. } => None,
        });
        files.into_iter().flatten().chain(sockets).collect()
    }

    /// Goes to a path as the user; where it leads, or the sentence that says what is in the way.
    pub(super) fn walk(&self, path: &Path) -> Result<PathBuf, String> {
        files::walk(&self.user.walker, path)
            .map_err(|obstacle| way::stopped(&obstacle, &self.user.name))
    }
}

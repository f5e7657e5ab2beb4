//! What is examined: an app, with its configuration, as one user finds it.

use std::path::{Path, PathBuf};

use super::finding::{Finding, Severity};
use super::kind::FindingKind;
use crate::app::{self, way};
use crate::app_file::AppFile;
use crate::config::Config;
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

    /// Goes to a path as the user; where it leads, or the sentence that says what is in the way.
    pub(super) fn walk(&self, path: &Path) -> Result<PathBuf, String> {
        files::walk(&self.user.walker, path)
            .map_err(|obstacle| way::stopped(&obstacle, &self.user.name))
    }
}

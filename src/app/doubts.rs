//! Files of an app that other users of the host can read or change. Knows permissions; not what follows from a doubt.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{directory, env_file};
use crate::app_file::AppFile;
use crate::config::Config;
use crate::sys::named::{self, Access};

const ROOT: u32 = 0;
const STICKY: u32 = 0o1000;

/// What is wrong with the permissions of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileDoubt {
    path: PathBuf,
    why: Flaw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Flaw {
    /// Every user may change it, or what is in it.
    Changed,
    /// Another user may: the owner.
    Owned(u32),
    /// Other users may read these secrets; the mode.
    Read(u32),
}

impl FileDoubt {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match self.why {
            Flaw::Changed => "chmod o-w it: a user who changes it acts as the app's user",
            Flaw::Owned(_) => {
                "chown it to the app's user: its owner decides what the app's environment is"
            }
            Flaw::Read(_) => "chmod 600 it: it is the place for secrets",
        }
    }
}

impl fmt::Display for FileDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.why {
            Flaw::Changed => write!(f, "{path} can be changed by every user of the host"),
            Flaw::Owned(owner) => write!(
                f,
                "the env-file {path} belongs to another user, uid {owner}"
            ),
            Flaw::Read(mode) => write!(
                f,
                "the env-file {path} can be read by other users (mode {:04o})",
                mode & 0o777
            ),
        }
    }
}

/// Looks at the app file, the folders that code and configuration come from, and `env-file`. `uid`: the app's user.
pub fn of(app: &AppFile, config: &Config, uid: u32) -> Vec<FileDoubt> {
    let folder = |path: &Path| path.parent().map(Path::to_path_buf);
    let code = [
        Some(app.config.clone()),
        folder(&app.config),
        Some(app.folder().to_path_buf()),
        Some(directory(app, config)),
    ];
    let changed = code
        .into_iter()
        .flatten()
        .filter(|path| named::access(path).is_some_and(can_be_changed));
    let mut doubts: Vec<FileDoubt> = changed
        .map(|path| FileDoubt {
            path,
            why: Flaw::Changed,
        })
        .collect();
    if let Some(path) = env_file(app, config)
        && let Some(found) = named::access(&path)
        && let Some(why) = of_secrets(found, uid)
    {
        doubts.push(FileDoubt { path, why });
    }
    doubts.sort();
    doubts.dedup();
    doubts
}

/// Not a sticky folder: there users can't replace the files of others.
fn can_be_changed(found: Access) -> bool {
    found.mode & 0o002 != 0 && found.mode & STICKY == 0
}

/// A file of root's may be readable by a group: otherwise the app's user could not read it.
fn of_secrets(found: Access, uid: u32) -> Option<Flaw> {
    let others = if found.owner == ROOT && uid != ROOT {
        0o007
    } else {
        0o077
    };
    if found.owner != uid && found.owner != ROOT {
        Some(Flaw::Owned(found.owner))
    } else if found.mode & 0o022 != 0 {
        Some(Flaw::Changed)
    } else if found.mode & others != 0 {
        Some(Flaw::Read(found.mode))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_for_the_app_s_user() {
        let of = |owner, mode, uid| of_secrets(Access { owner, mode }, uid);
        assert_eq!(of(33, 0o600, 33), None);
        assert_eq!(of(33, 0o400, 33), None);
        assert_eq!(of(33, 0o640, 33), Some(Flaw::Read(0o640)));
        assert_eq!(of(33, 0o644, 33), Some(Flaw::Read(0o644)));
        assert_eq!(of(33, 0o660, 33), Some(Flaw::Changed));
        assert_eq!(of(0, 0o640, 33), None, "by a group");
        assert_eq!(of(0, 0o644, 33), Some(Flaw::Read(0o644)));
        assert_eq!(of(0, 0o640, 0), Some(Flaw::Read(0o640)));
        assert_eq!(of(1000, 0o644, 33), Some(Flaw::Owned(1000)));
    }

    #[test]
    fn what_every_user_can_change() {
        let changed = |mode| can_be_changed(Access { owner: 33, mode });
        assert!(changed(0o777) && changed(0o602));
        assert!(!changed(0o775) && !changed(0o1777) && !changed(0o644));
    }
}

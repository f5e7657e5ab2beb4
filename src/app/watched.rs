//! The files whose edit makes a daemon load an app anew, beside the modules that it imports. Knows which they are, not
//! who looks at them.

use std::path::{Path, PathBuf};

use super::{directory, env_file};
use crate::app_file::AppFile;
use crate::config::{Config, Reload};
use crate::sys::glob::Globbed;

/// The number of the app's configuration file.
pub const CONFIGURATION: usize = 0;
/// The number of our own binary.
pub const BINARY: usize = 1;

/// The files that are watched for an app, by their numbers; from 2 on those that make the app reload.
#[derive(Clone, Debug, Default)]
pub struct WatchedFiles {
    /// Files, and then the folders in which files may appear that `watch` names. An empty path is not watched.
    pub paths: Vec<PathBuf>,
    first_folder: usize,
    globbed: Globbed,
    patterns: Vec<String>,
    directory: PathBuf,
}

impl WatchedFiles {
    /// What is watched for a generation that begins now.
    pub fn new(app: &AppFile, config: &Config, binary: &Path) -> WatchedFiles {
        let binary = binary.to_path_buf();
        if config.reload == Reload::Off {
            return WatchedFiles {
                paths: vec![PathBuf::new(), binary],
                first_folder: 2,
                ..WatchedFiles::default()
            };
        }
        let directory = directory(app, config);
        let globbed = Globbed::find(&directory, &config.watch);
        let mut paths = vec![app.config.clone(), binary];
        paths.extend(env_file(app, config));
        paths.push(directory.join("restart.txt"));
        paths.extend(globbed.files.iter().cloned());
        let first_folder = paths.len();
        paths.extend(globbed.folders.iter().cloned());
        WatchedFiles {
            paths,
            first_folder,
            globbed,
            patterns: config.watch.clone(),
            directory,
        }
    }

    /// These files and no folders.
    #[cfg(test)]
    pub fn of_files(paths: Vec<PathBuf>) -> WatchedFiles {
        WatchedFiles {
            first_folder: paths.len(),
            paths,
            ..WatchedFiles::default()
        }
    }

    /// Whether this is the number of a folder. Of what changes in there, only what `watch` names counts.
    pub fn is_folder(&self, number: usize) -> bool {
        (self.first_folder..self.paths.len()).contains(&number)
    }

    /// A file that `watch` names and that was not there, or is there no longer.
    pub fn appeared(&self) -> Option<PathBuf> {
        if self.globbed.folders.is_empty() {
            return None;
        }
        let now = Globbed::find(&self.directory, &self.patterns);
        let differs = now.files.symmetric_difference(&self.globbed.files).next();
        differs.cloned()
    }

    /// `watch` names more than can be watched.
    pub fn is_cut(&self) -> bool {
        self.globbed.is_cut
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_counts_by_what_is_named_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("a.ini"), "").unwrap();
        let patterns = vec!["*.ini".to_owned()];
        let globbed = Globbed::find(dir.path(), &patterns);
        let watched = WatchedFiles {
            paths: vec![PathBuf::new(), PathBuf::new(), at("a.ini"), at("")],
            first_folder: 3,
            globbed,
            patterns,
            directory: dir.path().to_path_buf(),
        };
        assert_eq!(
            [2, 3, 4].map(|number| watched.is_folder(number)),
            [false, true, false]
        );
        assert_eq!(watched.appeared(), None);
        fs::write(at("b.txt"), "").unwrap();
        assert_eq!(watched.appeared(), None);
        fs::write(at("b.ini"), "").unwrap();
        assert_eq!(watched.appeared(), Some(at("b.ini")));
        fs::remove_file(at("b.ini")).unwrap();
        fs::remove_file(at("a.ini")).unwrap();
        assert_eq!(watched.appeared(), Some(at("a.ini")));
    }
}

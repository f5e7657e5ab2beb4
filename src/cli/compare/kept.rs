//! Where `--profile=PREFIX` keeps the profiles.

use std::fs::File;
use std::path::PathBuf;

use super::copied::Copied;
use crate::acting::CommandError;
use crate::report::Exit;

/// The files of `--profile=PREFIX`, made by the person who has typed the command. They are removed unless they are
/// filled; root's stay, empty, if this process has become another user's.
pub(super) struct KeptProfiles {
    files: Vec<(PathBuf, File)>,
    are_filled: bool,
}

/// The ends of their names.
const ENDS: [&str; 3] = ["import", "cgi", "daemon"];

impl KeptProfiles {
    pub(super) fn new(prefix: &str) -> Result<KeptProfiles, CommandError> {
        let mut kept = KeptProfiles {
            files: Vec::new(),
            are_filled: false,
        };
        for end in ENDS {
            let path = PathBuf::from(format!("{prefix}.{end}"));
            // Never over a file, or through a link that another user may have made.
            let made = File::options().write(true).create_new(true).open(&path);
            let cannot = |error| format!("cannot make {}: {error}", path.display());
            let file = made.map_err(|error| (Exit::CantCreate, cannot(error)))?;
            kept.files.push((path, file));
        }
        Ok(kept)
    }

    pub(super) fn fill(mut self, copied: &Copied) -> Result<(), CommandError> {
        for (end, (path, file)) in ENDS.iter().zip(&self.files) {
            let cannot = |error| format!("cannot write {}: {error}", path.display());
            let saved = copied.save_profile(end, file);
            saved.map_err(|error| (Exit::IoError, cannot(error)))?;
        }
        self.are_filled = true;
        Ok(())
    }
}

impl Drop for KeptProfiles {
    fn drop(&mut self) {
        if !self.are_filled {
            for (path, _) in &self.files {
                // An empty file that stays does no harm.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

//! The way to a file: which folder on it can't be entered, which link leads nowhere, and what a user may do at its end.
//! Knows owners, groups, modes and symlinks; opens nothing.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::sys::statfs::statfs;
use nix::sys::statvfs::FsFlags;
use nix::unistd::{AccessFlags, eaccess};

/// The most symlinks on one way, as the kernel has it.
pub const MOST_LINKS: usize = 40;

/// The user who goes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Walker {
    /// This process: the kernel is asked.
    Own,
    /// Another user, by owners and modes alone: what access control lists grant or refuse is not seen.
    Other {
        /// The user.
        uid: u32,
        /// All groups of that user.
        groups: Vec<u32>,
    },
}

/// What the user wants to do with a file or a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Enter a folder, execute a file.
    Enter,
    /// Read it.
    Read,
    /// Change it, or what is in the folder.
    Write,
}

impl Walker {
    /// Whether the user may do that with what is at `path`.
    pub fn may(&self, want: Want, path: &Path) -> bool {
        match self {
            Walker::Own => {
                let flags = match want {
                    Want::Enter => AccessFlags::X_OK,
                    Want::Read => AccessFlags::R_OK,
                    Want::Write => AccessFlags::W_OK,
                };
                eaccess(path, flags).is_ok()
            }
            Walker::Other { uid, groups } => {
                fs::metadata(path).is_ok_and(|found| is_granted(want, &found, *uid, groups))
            }
        }
    }
}

fn is_granted(want: Want, found: &Metadata, uid: u32, groups: &[u32]) -> bool {
    let bit = match want {
        Want::Enter => 0o1,
        Want::Read => 0o4,
        Want::Write => 0o2,
    };
    if uid == 0 {
        return want != Want::Enter || found.is_dir() || found.mode() & 0o111 != 0;
    }
    // The first class that fits counts alone.
    let shift = if found.uid() == uid {
        6
    } else if groups.contains(&found.gid()) {
        3
    } else {
        0
    };
    found.mode() >> shift & bit != 0
}

/// What stops a user on the way to a file.
#[derive(Debug)]
pub struct Obstacle {
    /// Where.
    pub at: PathBuf,
    /// What.
    pub why: Stop,
    /// The symlink by which the way leads there, and its target.
    pub link: Option<(PathBuf, PathBuf)>,
}

/// Why a way ends.
#[derive(Debug)]
pub enum Stop {
    /// A folder that the user can't enter: its mode and owner.
    Closed {
        /// Permission bits.
        mode: u32,
        /// Its uid.
        owner: u32,
    },
    /// There is nothing.
    Missing,
    /// A file where a folder would have to be.
    NotAFolder,
    /// The system says something else.
    Refused(io::Error),
    /// More symlinks than the kernel follows.
    TooManyLinks,
}

/// Goes to an absolute path as the user would; where it leads, without symlinks.
pub fn walk(walker: &Walker, path: &Path) -> Result<PathBuf, Obstacle> {
    let mut left: VecDeque<OsString> = parts(path);
    let mut current = PathBuf::from("/");
    let mut is_folder = true;
    let mut links = 0;
    // The outermost link that is being followed, and how many parts are behind it.
    let mut link: Option<(PathBuf, PathBuf, usize)> = None;
    while let Some(part) = left.pop_front() {
        link = link.filter(|(_, _, behind)| left.len() >= *behind);
        let stopped = |at: &Path, why| Obstacle {
            at: at.to_path_buf(),
            why,
            link: link.clone().map(|(link, to, _)| (link, to)),
        };
        if !is_folder {
            return Err(stopped(&current, Stop::NotAFolder));
        }
        if !walker.may(Want::Enter, &current) {
            let (mode, owner) =
                fs::metadata(&current).map_or((0, 0), |found| (found.mode() & 0o7777, found.uid()));
            return Err(stopped(&current, Stop::Closed { mode, owner }));
        }
        if part == ".." {
            current.pop();
            continue;
        }
        let next = current.join(&part);
        let found = match fs::symlink_metadata(&next) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(stopped(&next, Stop::Missing));
            }
            Err(error) => return Err(stopped(&next, Stop::Refused(error))),
        };
        if !found.is_symlink() {
            is_folder = found.is_dir();
            current = next;
            continue;
        }
        links += 1;
        let to = match fs::read_link(&next) {
            Ok(to) if links <= MOST_LINKS => to,
            Ok(_) => return Err(stopped(&next, Stop::TooManyLinks)),
            Err(error) => return Err(stopped(&next, Stop::Refused(error))),
        };
        if link.is_none() {
            link = Some((next, current.join(&to), left.len()));
        }
        if to.is_absolute() {
            current = PathBuf::from("/");
        }
        for part in parts(&to).into_iter().rev() {
            left.push_front(part);
        }
    }
    Ok(current)
}

/// The names of a path, and `..`, in order.
pub fn parts(path: &Path) -> VecDeque<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_os_string()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    parts.collect()
}

/// Whether the file is on a file system from which no program is executed.
pub fn is_noexec(path: &Path) -> bool {
    statfs(path).is_ok_and(|fs| fs.flags().contains(FsFlags::ST_NOEXEC))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn stopped(walker: &Walker, path: &Path) -> String {
        match walk(walker, path) {
            Ok(path) => format!("{}", path.display()),
            Err(Obstacle { at, why, link }) => {
                let link = link.map_or(String::new(), |(link, to)| {
                    format!(" by {} to {}", link.display(), to.display())
                });
                format!("{} {why:?}{link}", at.display())
            }
        }
    }

    #[test]
    fn a_way_ends_at_the_first_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(dir.path()).unwrap();
        let at = |name: &str| dir.join(name);
        let shown = |name: &str| at(name).display().to_string();
        fs::create_dir_all(at("a/b/c")).unwrap();
        fs::write(at("a/file"), "").unwrap();
        symlink("a/b", at("link")).unwrap();
        symlink(at("gone"), at("dangling")).unwrap();
        symlink("dangling", at("twice")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let own = Walker::Own;
        for (path, said) in [
            ("a/b/c", shown("a/b/c")),
            ("link/c/../c", shown("a/b/c")),
            ("a/none/x", format!("{} Missing", shown("a/none"))),
            ("a/file/x", format!("{} NotAFolder", shown("a/file"))),
            (
                "dangling",
                format!(
                    "{} Missing by {} to {}",
                    shown("gone"),
                    shown("dangling"),
                    shown("gone")
                ),
            ),
            (
                "twice/x",
                format!(
                    "{} Missing by {} to {}",
                    shown("gone"),
                    shown("twice"),
                    shown("dangling")
                ),
            ),
            ("link/x", format!("{} Missing", shown("a/b/x"))),
        ] {
            let found = stopped(&own, &at(path));
            assert!(found.starts_with(&said), "{path}: {found}");
        }
        assert!(stopped(&own, &at("loop")).contains("TooManyLinks"));
    }

    #[test]
    fn another_user_is_stopped_by_modes() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(dir.path()).unwrap();
        let folder = dir.join("folder");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("file"), "").unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        let found = fs::metadata(&folder).unwrap();
        let other = |uid, groups: &[u32]| Walker::Other {
            uid,
            groups: groups.to_vec(),
        };
        let (uid, gid) = (found.uid(), found.gid());
        for (mode, walker, passes) in [
            (0o700, other(uid, &[]), true),
            (0o700, other(uid + 1, &[gid]), false),
            (0o710, other(uid + 1, &[gid]), true),
            (0o701, other(uid + 1, &[gid]), false),
            (0o701, other(uid + 1, &[]), true),
        ] {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            let said = stopped(&walker, &folder.join("file"));
            assert_eq!(!said.contains("Closed"), passes, "{mode:o}: {said}");
        }
        assert!(other(0, &[]).may(Want::Enter, &folder));
    }
}

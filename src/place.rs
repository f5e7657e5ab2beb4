//! Where an app's socket, locks and state live. Knows directories; whose they are is checked, what is in them is not.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::app_file::AppFile;
use crate::control::Status;
use crate::naming::Base;
use crate::sys::files::{self, Unusable};
use crate::sys::{named, process, socket};

/// The most bytes of `state` that are read.
const LONGEST_STATE: usize = 1 << 20;

/// The directory of one app's socket, locks and state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `<runtime-dir>/<name>-<hash>`.
    pub dir: PathBuf,
}

/// There is no runtime directory that can be used; each that was tried, and why not.
#[derive(Debug)]
pub struct NoPlace(pub Vec<String>);

impl Place {
    /// Where the app's place may be when nothing is known but its name and the uid: in this order. A daemon with a
    /// `runtime-dir` of its own leaves a symlink in one of these.
    pub fn candidates(app: &AppFile, uid: u32) -> [Place; 2] {
        bases(uid).map(|base| Place {
            dir: app.below(&base),
        })
    }

    /// The places that an app may have under any uid: for root.
    pub fn everybodys(app: &AppFile) -> Vec<Place> {
        let places = all_bases().into_iter().map(|base| Place {
            dir: app.below(&base),
        });
        places.filter(|place| place.dir.exists()).collect()
    }

    /// The places of all apps that this uid has had a daemon of, or a limit; for root, everybody's.
    pub fn all(uid: u32) -> Vec<Place> {
        let bases = if uid == 0 {
            all_bases()
        } else {
            bases(uid).to_vec()
        };
        let mut places: Vec<Place> = bases
            .iter()
            .flat_map(|base| entries(base))
            .filter(|dir| dir.join("slots").exists())
            .map(|dir| Place { dir })
            .collect();
        places.sort_by(|one, other| one.dir.cmp(&other.dir));
        places
    }

    /// The app's place, made if it is missing, in `runtime_dir` or else in the first default that can be used.
    pub fn open(app: &AppFile, runtime_dir: Option<&Path>) -> Result<Place, NoPlace> {
        let uid = process::uid();
        let bases = runtime_dir.map_or_else(|| bases(uid).to_vec(), |dir| vec![dir.to_path_buf()]);
        let mut refused = Vec::new();
        for base in bases {
            let dir = app.below(&base);
            match usable(&base, &dir, uid) {
                Ok(()) => return Ok(Place { dir }),
                Err(reason) => refused.push(reason),
            }
        }
        Err(NoPlace(refused))
    }

    /// Leaves a symlink to this place where fronts look that have not read the configuration.
    pub fn link_from_default(&self, app: &AppFile) {
        let uid = process::uid();
        for (base, candidate) in bases(uid).iter().zip(Place::candidates(app, uid)) {
            if candidate == *self {
                return;
            }
            if files::own_directory(base, uid).is_ok() {
                if fs::read_link(&candidate.dir).is_ok_and(|to| to == self.dir) {
                    return;
                }
                // Without the link fronts find us all the same, by reading the configuration.
                let _ = fs::remove_file(&candidate.dir);
                let _ = std::os::unix::fs::symlink(&self.dir, &candidate.dir);
                return;
            }
        }
    }

    /// Takes such symlinks away.
    pub fn unlink_from_default(&self, app: &AppFile) {
        for candidate in Place::candidates(app, process::uid()) {
            if fs::read_link(&candidate.dir).is_ok_and(|to| to == self.dir) {
                // One that stays leads to a socket that is gone: no harm.
                let _ = fs::remove_file(&candidate.dir);
            }
        }
    }

    /// Takes away what was made only to see whether it can be: the kernel keeps what holds anything.
    pub fn remove_if_empty(&self) {
        let _ = fs::remove_dir(&self.dir);
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("sock")
    }

    /// The socket of a daemon that did not answer: see [`crate::start::NameLock::set_aside`].
    pub fn silent_socket(&self) -> PathBuf {
        self.dir.join("sock.silent")
    }

    /// The lock for who starts or leaves.
    pub fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// What fronts know of one another.
    pub fn slots(&self) -> PathBuf {
        self.dir.join("slots")
    }

    /// What a daemon leaves behind for its successor and for `status`.
    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// Why the last daemon failed, if it did.
    pub fn last_failure(&self) -> Option<String> {
        let text = named::read_text(&self.state(), LONGEST_STATE).ok()?;
        Status::from_lines(&text).last_failure
    }

    /// The daemon's log.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }
}

/// See [`Base`].
fn bases(uid: u32) -> [PathBuf; 2] {
    Base::ALL.map(|base| PathBuf::from(OsStr::from_bytes(base.path(uid).as_slice())))
}

/// Everybody's, for root.
fn all_bases() -> Vec<PathBuf> {
    let is_ours = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.as_bytes().starts_with(b"polycgi-"))
    };
    let in_tmp = entries(Path::new("/tmp")).into_iter().filter(is_ours);
    entries(Path::new("/run/polycgi"))
        .into_iter()
        .chain(in_tmp)
        .collect()
}

/// What is in a directory; nothing, where there is none or it can't be read.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(directory).into_iter().flatten().flatten();
    found.map(|entry| entry.path()).collect()
}

fn usable(base: &Path, dir: &Path, uid: u32) -> Result<(), String> {
    if dir.join("sock").as_os_str().len() > socket::LONGEST_PATH {
        return Err(format!(
            "cannot use {}: the path of a socket in it would be longer than {} bytes",
            base.display(),
            socket::LONGEST_PATH
        ));
    }
    for path in [base, dir] {
        files::own_directory(path, uid).map_err(|unusable| match unusable {
            Unusable::Io(error) => format!("cannot make {}: {error}", path.display()),
            Unusable::Squatted(why) => format!("cannot use {}: {why}", path.display()),
        })?;
    }
    Ok(())
}

impl fmt::Display for NoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_place_is_private_and_short() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wiki.cgi");
        fs::write(&path, "#!\n").unwrap();
        let app = AppFile::at(&path).unwrap();
        let run = dir.path().join("run");
        let place = Place::open(&app, Some(&run)).unwrap();
        let mode = fs::metadata(&place.dir).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        fs::set_permissions(&run, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(Place::open(&app, Some(&run)).is_err(), "anybody's");
        let long = dir.path().join("x".repeat(100));
        assert!(
            Place::open(&app, Some(&long))
                .unwrap_err()
                .to_string()
                .contains("longer")
        );
        let [_, in_tmp] = Place::candidates(&app, u32::MAX);
        assert!(in_tmp.socket().as_os_str().len() <= socket::LONGEST_PATH);
    }
}

//! Where an app's socket, locks and state are. Knows directories, and checks whose they are; not what is in the files.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::app_file::AppFile;
use crate::config::Config;
use crate::control::Status;
use crate::naming::Base;
use crate::sys::files::{self, Unusable};
use crate::sys::{process, socket};

/// The most apps of one user that a command without APP asks.
pub const MOST_PLACES: usize = 500;
/// The most bytes of a file `state` that are read.
const LONGEST_STATE: usize = 65_536;

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
    /// Where the app's place may be, in this order, when only its name and the uid are known. A daemon with a
    /// `runtime-dir` of its own leaves a symlink in one of these.
    pub fn candidates(app: &AppFile, uid: u32) -> [Place; 2] {
        bases(uid).map(|base| Place {
            dir: app.below(&base),
        })
    }

    /// The places of the app that exist and are proved to be this uid's: in `runtime_dir`, and where [`candidates`] has
    /// them. For the commands of the CLI: it makes none, and ignores what another user has put there.
    ///
    /// [`candidates`]: Place::candidates
    pub fn proved(app: &AppFile, uid: u32, runtime_dir: Option<&Path>) -> Vec<Place> {
        Place::proved_below(Path::new("/"), app, uid, runtime_dir)
    }

    /// The same as a process with this root sees it.
    pub fn proved_below(
        root: &Path,
        app: &AppFile,
        uid: u32,
        runtime_dir: Option<&Path>,
    ) -> Vec<Place> {
        let usual = bases(uid);
        let bases = runtime_dir
            .into_iter()
            .chain(usual.iter().map(|base| &**base));
        let mut places: Vec<Place> = Vec::new();
        for base in bases {
            let base = below(root, base);
            let place = proved_in(root, &base, &app.below(&base), uid);
            places.extend(place.filter(|place| !places.contains(place)));
        }
        places
    }

    /// The app's place, if there is one that is proved to be ours.
    pub fn existing(app: &AppFile, config: &Config) -> Option<Place> {
        let places = Place::proved(app, process::uid(), config.runtime_dir.as_deref());
        places.into_iter().next()
    }

    /// The places of all apps of this uid in the usual runtime directories, proved likewise, if they have ever had a
    /// daemon or a limit: at most [`MOST_PLACES`], and how many more there are.
    pub fn all(uid: u32) -> (Vec<Place>, usize) {
        Place::all_below(Path::new("/"), uid)
    }

    /// The same as a process with this root sees it.
    pub fn all_below(root: &Path, uid: u32) -> (Vec<Place>, usize) {
        let mut places = Vec::new();
        for base in bases(uid) {
            let base = below(root, &base);
            if files::is_own_directory(&base, uid).is_ok() {
                let found = entries(&base).into_iter();
                places.extend(found.filter_map(|dir| proved_in(root, &base, &dir, uid)));
            }
        }
        places.retain(|place| {
            let name = place.dir.file_name().unwrap_or_default();
            // One that a sweep removes has a dot before its name.
            !name.as_bytes().starts_with(b".") && fs::symlink_metadata(place.slots()).is_ok()
        });
        places.sort_by(|one, other| one.dir.cmp(&other.dir));
        places.dedup();
        let beside = places.len().saturating_sub(MOST_PLACES);
        places.truncate(MOST_PLACES);
        (places, beside)
    }

    /// The users who have a usual runtime directory of their own: for root.
    pub fn users() -> Vec<u32> {
        let run = entries(Path::new("/run/polycgi"));
        let run = run.iter().filter_map(|base| number_behind(base, b""));
        let tmp = entries(Path::new("/tmp"));
        let tmp = tmp
            .iter()
            .filter_map(|base| number_behind(base, b"polycgi-"));
        let mut users: Vec<u32> = run.chain(tmp).collect();
        users.sort_unstable();
        users.dedup();
        users.retain(|&uid| {
            let is_own = |base: &PathBuf| files::seems_own_directory(base, uid);
            bases(uid).iter().any(is_own)
        });
        users
    }

    /// The place that [`Place::open`] would open or make; makes nothing.
    pub fn examine(app: &AppFile, runtime_dir: Option<&Path>) -> Result<Place, NoPlace> {
        let uid = process::uid();
        let bases = runtime_dir.map_or_else(|| bases(uid).to_vec(), |dir| vec![dir.to_path_buf()]);
        let mut refused = Vec::new();
        for base in bases {
            let dir = app.below(&base);
            match could_be_used(&base, &dir, uid) {
                Ok(()) => {
                    could_be_opened(&dir.join("slots"))?;
                    return Ok(Place { dir });
                }
                Err(reason) => refused.push(reason),
            }
        }
        Err(NoPlace(refused))
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

    /// Why the usual places that come before this one can't be used, where the host has their folder: another user may
    /// have squatted them.
    pub fn passed_over(&self, app: &AppFile) -> Vec<String> {
        let uid = process::uid();
        let bases = bases(uid);
        let Some(own) = bases.iter().position(|base| self.dir.starts_with(base)) else {
            return Vec::new();
        };
        let before = bases[..own].iter();
        let before = before.filter(|base| base.parent().is_some_and(Path::exists));
        before
            .filter_map(|base| could_be_used(base, &app.below(base), uid).err())
            .collect()
    }

    /// Makes a symlink to this place where fronts look that have not read the configuration.
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
                // Without the link fronts find us too, by reading the configuration.
                let _ = fs::remove_file(&candidate.dir);
                let _ = std::os::unix::fs::symlink(&self.dir, &candidate.dir);
                return;
            }
        }
    }

    /// Removes such symlinks.
    pub fn unlink_from_default(&self, app: &AppFile) {
        for candidate in Place::candidates(app, process::uid()) {
            if fs::read_link(&candidate.dir).is_ok_and(|to| to == self.dir) {
                // If one stays, it leads to a socket that is gone: no harm.
                let _ = fs::remove_file(&candidate.dir);
            }
        }
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("sock")
    }

    /// The socket of a daemon that did not answer: see [`crate::start::NameLock::set_aside`].
    pub fn silent_socket(&self) -> PathBuf {
        self.dir.join("sock.silent")
    }

    /// The lock that is held while a daemon is started or leaves.
    pub fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// The file that fronts share: see [`crate::slots`].
    pub fn slots(&self) -> PathBuf {
        self.dir.join("slots")
    }

    /// What a daemon leaves behind for its successor and for `status`.
    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// Leaves the app's path for `status` without APP, until a daemon writes more. Nothing depends on it.
    pub fn introduce(&self, app: &AppFile) {
        let status = Status {
            app: app.path.display().to_string(),
            ..Status::default()
        };
        let _ = files::make_own(&self.state(), status.to_lines().as_bytes());
    }

    /// Whether the app file at this path, by which the app of this place was run, is gone.
    pub fn is_without(&self, app: &str) -> bool {
        let id = self.dir.file_name().unwrap_or_default();
        AppFile::is_gone(Path::new(app), id.as_bytes())
    }

    /// Why the last daemon failed, if it did.
    pub fn last_failure(&self) -> Option<String> {
        self.left(process::uid())?.last_failure
    }

    /// What the last daemon left in the file `state`.
    pub fn left(&self, uid: u32) -> Option<Status> {
        let (_, text) = files::read_own(&self.state(), uid, LONGEST_STATE).ok()?;
        Some(Status::from_lines(&String::from_utf8_lossy(&text)))
    }

    /// The keys of the app's tickets: see [`crate::keyring`].
    pub fn keys(&self) -> PathBuf {
        self.dir.join("keys")
    }

    /// What went wrong last: see [`crate::logbook`].
    pub fn incidents(&self) -> PathBuf {
        self.dir.join("incidents")
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

/// The user whose runtime directory this is, as far as another user sees: a usual one names its user, but does not count
/// if it is another's; one that can't be seen at all may be in a private /tmp.
pub fn owner_of(base: &Path) -> Option<u32> {
    let owner = fs::symlink_metadata(base).ok().map(|found| found.uid());
    let parent = base.parent()?;
    let named = if parent == Path::new("/run/polycgi") {
        number_behind(base, b"")
    } else if parent == Path::new("/tmp") {
        number_behind(base, b"polycgi-")
    } else {
        None
    };
    match (named, owner) {
        (Some(named), Some(owner)) => (named == owner).then_some(named),
        (named, owner) => named.or(owner),
    }
}

/// Whether the user has a usual runtime directory.
pub fn has_base(uid: u32) -> bool {
    let is_its = |base: &PathBuf| fs::symlink_metadata(base).is_ok_and(|found| found.uid() == uid);
    bases(uid).iter().any(is_its)
}

/// The number in the name of a runtime directory.
fn number_behind(base: &Path, begin: &[u8]) -> Option<u32> {
    let digits = base.file_name()?.as_bytes().strip_prefix(begin)?;
    // The same number written in another way names another directory.
    let uid: u32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (uid.to_string().as_bytes() == digits).then_some(uid)
}

/// The place at `dir`, below the runtime directory `base`, if both are real, private directories of this uid. If `dir`
/// is the link that a daemon with a `runtime-dir` of its own leaves, its target, which is looked for below `root`, must
/// be private as well.
fn proved_in(root: &Path, base: &Path, dir: &Path, uid: u32) -> Option<Place> {
    let is_own = |path: &Path| files::is_own_directory(path, uid).is_ok();
    if !is_own(base) {
        return None;
    }
    let dir = match fs::read_link(dir) {
        Err(_) => dir.to_path_buf(),
        Ok(to) if to.is_absolute() => {
            let to = below(root, &to);
            let is_ours = to.file_name() == dir.file_name() && to.parent().is_some_and(is_own);
            is_ours.then_some(to)?
        }
        Ok(_) => return None,
    };
    is_own(&dir).then_some(Place { dir })
}

/// An absolute path as a process with this root sees it.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// What is in a directory; nothing if it is missing or can't be read.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(directory).into_iter().flatten().flatten();
    found.map(|entry| entry.path()).collect()
}

fn usable(base: &Path, dir: &Path, uid: u32) -> Result<(), String> {
    check_length(base, dir)?;
    for path in [base, dir] {
        files::own_directory(path, uid).map_err(|unusable| refusal(path, unusable))?;
    }
    Ok(())
}

fn could_be_used(base: &Path, dir: &Path, uid: u32) -> Result<(), String> {
    check_length(base, dir)?;
    for (path, above) in [(base, base.parent()), (dir, Some(base))] {
        match files::is_own_directory(path, uid) {
            Err(Unusable::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                let above = above.unwrap_or(Path::new("/"));
                return files::can_make_in(above)
                    .map_err(|error| refusal(path, Unusable::Io(error)));
            }
            other => other.map_err(|unusable| refusal(path, unusable))?,
        }
    }
    Ok(())
}

/// Without this file there is neither a daemon nor a limit.
fn could_be_opened(slots: &Path) -> Result<(), NoPlace> {
    match files::can_change(slots) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let sentence = format!("cannot open {}: {error}", slots.display());
            Err(NoPlace(vec![sentence]))
        }
        _ => Ok(()),
    }
}

fn check_length(base: &Path, dir: &Path) -> Result<(), String> {
    if dir.join("sock").as_os_str().len() > socket::LONGEST_PATH {
        return Err(format!(
            "cannot use {}: the path of a socket in it would be longer than {} bytes",
            base.display(),
            socket::LONGEST_PATH
        ));
    }
    Ok(())
}

fn refusal(path: &Path, unusable: Unusable) -> String {
    match unusable {
        Unusable::Io(error) => format!("cannot make {}: {error}", path.display()),
        Unusable::Squatted(why) => format!("cannot use {}: {why}", path.display()),
    }
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
    fn a_place_is_proved_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wiki.cgi");
        fs::write(&path, "#!\n").unwrap();
        let app = AppFile::at(&path).unwrap();
        let (run, other) = (dir.path().join("run"), dir.path().join("other"));
        let uid = process::uid();
        let root = Path::new("/");
        let proved = |base: &Path| proved_in(root, base, &app.below(base), uid);
        assert!(Place::examine(&app, Some(&run)).is_ok(), "it can be made");
        assert!(!run.exists(), "and was not");
        assert_eq!(proved(&run), None);
        let place = Place::open(&app, Some(&run)).unwrap();
        assert_eq!(proved(&run), Some(place.clone()));
        assert!(Place::proved(&app, uid, Some(&run)).contains(&place));
        assert!(Place::examine(&app, Some(&run)).is_ok());
        // The link that a daemon leaves.
        files::own_directory(&other, uid).unwrap();
        std::os::unix::fs::symlink(&place.dir, app.below(&other)).unwrap();
        assert_eq!(proved(&other), Some(place.clone()));
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for path in [&run, &place.dir] {
            mode(path, 0o755);
            assert_eq!(proved(&run), None, "{path:?}");
            assert_eq!(proved(&other), None, "{path:?}");
            assert!(Place::examine(&app, Some(&run)).is_err(), "{path:?}");
            mode(path, 0o700);
        }
        mode(&other, 0o755);
        assert_eq!(proved(&other), None);
        // A link to another app's place is no place of this one.
        mode(&other, 0o700);
        fs::remove_file(app.below(&other)).unwrap();
        std::os::unix::fs::symlink(&run, app.below(&other)).unwrap();
        assert_eq!(proved(&other), None);
        assert_eq!(proved_in(root, &run, &place.dir, uid + 1), None);
    }

    #[test]
    fn a_users_runtime_directory_is_named_by_the_number() {
        for (name, uid) in [
            ("polycgi-33", Some(33)),
            ("polycgi-4294967295", Some(u32::MAX)),
            ("polycgi-033", None),
            ("polycgi-+33", None),
            ("polycgi-", None),
            ("polycgi-4294967296", None),
            ("polycgi-33x", None),
            ("33", None),
        ] {
            let base = Path::new("/tmp").join(name);
            assert_eq!(number_behind(&base, b"polycgi-"), uid, "{name}");
        }
    }

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
        assert!(
            Place::open(&app, Some(&run)).is_err(),
            "every user may write to it"
        );
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

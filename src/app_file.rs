//! Which app this is: the file in cgi-bin, and its configuration file. It does not know what a key means: that is
//! `config`'s.

mod errors;

pub use errors::{LoadError, NotAnApp};

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use smallvec::SmallVec;

use crate::config::{self, Config, Host, Settings, ShowErrors};
use crate::naming::{self, AppId};
use crate::sys::files::{self, Entry};
use crate::sys::{environ, load, named, process};

/// Defaults for every app of the host.
const HOST_DEFAULTS: &str = "/etc/polycgi.conf";

/// An app, by its file in cgi-bin.
#[derive(Clone, Debug)]
pub struct AppFile {
    /// The script or the symlink, absolute; or the configuration file, if the app was named by NAME.
    pub path: PathBuf,
    /// The configuration file.
    pub config: PathBuf,
    /// The name of its directory below the runtime directory: `<name>-<hash>`.
    pub id: AppId,
}

/// An app as a person names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// By the NAME of `NAME.conf`.
    Name(OsString),
    /// By the path of a script or a symlink, made absolute.
    Path(PathBuf),
}

impl Named {
    /// A word with a slash is a path, and so is the name of a file in the working directory.
    pub fn new(name: &OsStr) -> Named {
        let path = Path::new(name);
        if name.as_bytes().contains(&b'/') || fs::symlink_metadata(path).is_ok() {
            Named::Path(absolute(path))
        } else {
            Named::Name(name.to_owned())
        }
    }

    /// The word by which [`Named::new`] makes the same again.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Named::Name(name) => name.as_bytes().to_vec(),
            Named::Path(path) => path.as_os_str().as_bytes().to_vec(),
        }
    }

    /// The files that define the app, as far as this user finds them: the file at the path, or the configuration.
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Named::Path(path) => vec![path.clone()],
            Named::Name(name) => {
                let mut tried = config_paths(name);
                tried.retain(|file| file.is_file());
                tried.truncate(1);
                tried
            }
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Named::Name(name) => name.display().fmt(f),
            Named::Path(path) => path.display().fmt(f),
        }
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

impl AppFile {
    /// The app that the web server runs, by the path that the kernel executed (AT_EXECFN).
    pub fn running() -> Result<AppFile, NotAnApp> {
        let path = environ::exec_name().unwrap_or_else(process::own_program);
        AppFile::at(path)
    }

    /// The id of the app that the web server runs, if it is one, with as few system calls as that takes and without
    /// allocating. A plain file is not read: one that is no app file has no place, since no daemon could have made it.
    pub fn running_id() -> Option<AppId> {
        AppFile::id_at(environ::exec_name()?)
    }

    fn id_at(path: &Path) -> Option<AppId> {
        let is_plain_link = match files::entry(path).ok()? {
            Entry::File => false,
            Entry::Link => !begins_as_script(path),
            Entry::Other => return None,
        };
        if !is_plain_link {
            return id_of(path).ok();
        }
        let (_, name) = naming::split(path.as_os_str().as_bytes());
        if naming::is_own_name(name) {
            return None;
        }
        let mut files = config_files(naming::stem(name));
        let file = files.find(|file| as_path(file).is_file())?;
        id_of(as_path(&file)).ok()
    }

    /// The app whose script, symlink or `NAME.conf` is at `path`.
    pub fn at(path: &Path) -> Result<AppFile, NotAnApp> {
        let path = absolute(path);
        match named::start(&path) {
            Ok(start) if start == *b"#!" => AppFile::new(path.clone(), path),
            Ok(_) | Err(_) if is_link(&path) => AppFile::of_link(path),
            Ok(start) if start == *b"\x7fE" => Err(NotAnApp::Binary(path)),
            // As the daemon of an app that was named by NAME is told.
            Ok(_) | Err(_) if is_configuration(&path) => AppFile::new(path.clone(), path),
            Ok(_) => Err(NotAnApp::NotOurs(path)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(NotAnApp::NotOurs(path))
            }
            Err(error) => Err(NotAnApp::Unreadable(path, error)),
        }
    }

    /// The app that a person names.
    pub fn named(name: &OsStr) -> Result<AppFile, NotAnApp> {
        AppFile::of(&Named::new(name))
    }

    /// The same, as this user finds it: a configuration may be in the user's HOME.
    pub fn of(named: &Named) -> Result<AppFile, NotAnApp> {
        let name = match named {
            Named::Path(path) => return AppFile::at(path),
            Named::Name(name) => name,
        };
        let tried = config_paths(name);
        match tried.iter().find(|file| file.is_file()) {
            Some(config) => AppFile::new(config.clone(), config.clone()),
            None => Err(NotAnApp::NoConfig(PathBuf::from(name), tried)),
        }
    }

    /// Whether nothing leads to the app with this id any more, neither the script or symlink at the path by which it was
    /// run nor a configuration of its name. What can't be looked at is not gone; nor is what was in a folder that is not
    /// there now, or is another, since its disk may be unmounted; nor what is missing because its path is not known
    /// exactly.
    pub fn is_gone(path: &Path, id: &[u8]) -> bool {
        if path.to_string_lossy().contains(char::REPLACEMENT_CHARACTER) {
            return false;
        }
        let is_missing = |error: &io::Error| {
            let kind = error.kind();
            kind == io::ErrorKind::NotFound || kind == io::ErrorKind::NotADirectory
        };
        match AppFile::at(path) {
            Ok(app) => app.id.as_slice() != id,
            Err(NotAnApp::Unreadable(_, error)) if is_missing(&error) => {
                // The id is that of the folder and the name: whether there is such a file or not.
                let mut files = config_paths(path.file_stem().unwrap_or_default());
                files.push(path.to_path_buf());
                files.retain(|file| id_of(file).is_ok_and(|found| found.as_slice() == id));
                !files.is_empty() && !files.iter().any(|file| file.is_file())
            }
            Err(_) => false,
        }
    }

    /// An app whose file is missing, by the name of its place.
    pub fn missing(path: &Path, place: &OsStr) -> AppFile {
        let mut id = AppId::new();
        id.append(place.as_bytes());
        let path = path.to_path_buf();
        AppFile {
            config: path.clone(),
            path,
            id,
        }
    }

    fn of_link(path: PathBuf) -> Result<AppFile, NotAnApp> {
        if naming::is_own_name(path.file_name().unwrap_or_default().as_bytes()) {
            return Err(NotAnApp::Binary(path));
        }
        let tried = config_paths(path.file_stem().unwrap_or_default());
        match tried.iter().find(|file| file.is_file()) {
            Some(config) => AppFile::new(path, config.clone()),
            None => Err(NotAnApp::NoConfig(path, tried)),
        }
    }

    fn new(path: PathBuf, config: PathBuf) -> Result<AppFile, NotAnApp> {
        match id_of(&config) {
            Ok(id) => Ok(AppFile { path, config, id }),
            Err(error) => Err(NotAnApp::Unreadable(config, error)),
        }
    }

    /// The directory that holds the script or the symlink: the default of `directory`.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// What the app is called: the name of its configuration file without the extension, as its id has it.
    pub fn name(&self) -> &str {
        let id = str::from_utf8(self.id.as_slice()).unwrap_or_default();
        id.rsplit_once('-').map_or(id, |(name, _)| name)
    }

    /// Its directory below a runtime directory.
    pub fn below(&self, base: &Path) -> PathBuf {
        base.join(OsStr::from_bytes(self.id.as_slice()))
    }

    /// Reads the configuration and the host's defaults.
    pub fn load(&self) -> Result<Config, LoadError> {
        let name = self.path.file_name().unwrap_or_default();
        if name.as_bytes().starts_with(b"nph-") {
            return Err(LoadError::Nph(self.path.clone()));
        }
        let settings = read_settings(&self.config)?;
        let defaults = match read_settings(Path::new(HOST_DEFAULTS)) {
            Err(LoadError::Unreadable(_, error)) if error.kind() == io::ErrorKind::NotFound => {
                config::parse(HOST_DEFAULTS, b"").map_err(LoadError::Wrong)?
            }
            other => other?,
        };
        let host = Host {
            cores: load::usable_cores(),
            nproc: load::process_limit(),
        };
        Config::from_settings(settings.or(defaults), host).map_err(LoadError::Wrong)
    }
}

/// For a configuration that can't be loaded.
impl AppFile {
    /// Which clients may see what is wrong with it, by the line `show-errors` alone.
    pub fn show_errors(&self) -> ShowErrors {
        let files = [&self.config, Path::new(HOST_DEFAULTS)];
        let mut said =
            files
                .iter()
                .filter_map(|path| match named::read(path, config::LONGEST_FILE) {
                    Ok(text) => config::shows_errors(&text),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                    Err(_) => Some(ShowErrors::Off),
                });
        said.next().unwrap_or(ShowErrors::Off)
    }
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_symlink())
}

/// Whether there is a `NAME.conf` at the path, and the NAME leads to it.
fn is_configuration(path: &Path) -> bool {
    let named = config_paths(path.file_stem().unwrap_or_default());
    named
        .iter()
        .find(|file| file.is_file())
        .map(PathBuf::as_path)
        == Some(path)
}

/// Whether the file at the path, or the one to which it links, can be read and is a `#!` script.
fn begins_as_script(path: &Path) -> bool {
    named::start(path).is_ok_and(|start| start == *b"#!")
}

fn id_of(config: &Path) -> io::Result<AppId> {
    let (folder, file) = naming::split(config.as_os_str().as_bytes());
    // suEXEC runs a script by its bare name.
    let folder: &[u8] = if folder.is_empty() { b"." } else { folder };
    let identity = files::identity(as_path(folder))?;
    Ok(naming::app_id(identity.device, identity.inode, file))
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// The paths at which the configuration of a symlink or a NAME may be. Allocates only if HOME is long.
fn config_files(name: &[u8]) -> impl Iterator<Item = SmallVec<[u8; 256]>> {
    let home = environ::value("HOME").filter(|home| !home.is_empty());
    let homes = home.map(Some).into_iter().chain([None]);
    homes.map(move |home| {
        let parts = naming::config_path(home, name);
        parts.into_iter().flatten().copied().collect()
    })
}

fn config_paths(name: &OsStr) -> Vec<PathBuf> {
    let files = config_files(name.as_bytes());
    files.map(|file| as_path(&file).to_path_buf()).collect()
}

fn read_settings(path: &Path) -> Result<Settings, LoadError> {
    let text = named::read(path, config::LONGEST_FILE)
        .map_err(|error| LoadError::Unreadable(path.to_path_buf(), error))?;
    config::parse(&path.to_string_lossy(), &text).map_err(LoadError::Wrong)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_script_is_its_own_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wiki.cgi");
        fs::write(&path, "#!/usr/local/bin/polycgi -\nwsgi = wiki:app\n").unwrap();
        let app = AppFile::at(&path).unwrap();
        assert_eq!((&app.path, &app.config), (&path, &path));
        let place = app.below(Path::new("/run"));
        assert!(
            place.to_string_lossy().starts_with("/run/wiki-"),
            "{place:?}"
        );
        // An editor writes a new file and renames it: the same app.
        fs::write(dir.path().join("new"), "#!\n").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert_eq!(AppFile::at(&path).unwrap().id, app.id);
        // Another folder: another app.
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("wiki.cgi"), "#!\n").unwrap();
        assert_ne!(
            AppFile::at(&other.path().join("wiki.cgi")).unwrap().id,
            app.id
        );
    }

    #[test]
    fn the_place_s_name_is_known_before_the_app_is() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("wiki.cgi"), "#!/usr/local/bin/polycgi -\n").unwrap();
        symlink(at("wiki.cgi"), at("alias.cgi")).unwrap();
        for name in ["wiki.cgi", "alias.cgi"] {
            let app = AppFile::at(&at(name)).unwrap();
            assert_eq!(AppFile::id_at(&at(name)), Some(app.id), "{name}");
        }
        assert_ne!(
            AppFile::id_at(&at("wiki.cgi")),
            AppFile::id_at(&at("alias.cgi"))
        );
        symlink("/proc/self/exe", at("polycgi")).unwrap();
        symlink("/proc/self/exe", at("no-such-app.cgi")).unwrap();
        for name in ["polycgi", "no-such-app.cgi", "missing", "."] {
            assert_eq!(AppFile::id_at(&at(name)), None, "{name}");
        }
    }

    #[test]
    fn an_app_is_gone_when_nothing_leads_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("cgi-bin");
        let path = folder.join("wiki.cgi");
        let put = || {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, "#!\n").unwrap();
        };
        put();
        let app = AppFile::at(&path).unwrap();
        let is_gone = || AppFile::is_gone(&path, app.id.as_slice());
        assert!(!is_gone());
        fs::write(&path, "no app file").unwrap();
        assert!(!is_gone(), "an edit that is not done");
        fs::remove_file(&path).unwrap();
        assert!(is_gone());
        put();
        assert!(!is_gone(), "it is back");
        fs::rename(&folder, dir.path().join("old")).unwrap();
        assert!(!is_gone(), "its disk may be unmounted");
        fs::create_dir(&folder).unwrap();
        assert!(!is_gone(), "an empty mount point");
        // A folder that was replaced, as by a deployment, is another app's.
        put();
        assert!(is_gone());
        fs::remove_file(&path).unwrap();
        let blanked = folder.join("wi ki.cgi");
        let exact = id_of(&folder.join("wi\nki.cgi")).unwrap();
        assert!(
            !AppFile::is_gone(&blanked, exact.as_slice()),
            "control characters"
        );
        let unsure = folder.join("\u{FFFD}.cgi");
        fs::write(&unsure, "#!\n").unwrap();
        assert!(!AppFile::is_gone(&unsure, app.id.as_slice()), "not UTF-8");
        symlink("loop", dir.path().join("loop")).unwrap();
        let unseen = dir.path().join("loop/wiki.cgi");
        assert!(!AppFile::is_gone(&unseen, app.id.as_slice()));
    }

    #[test]
    fn what_is_no_app_file_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("text"), "hello").unwrap();
        fs::write(at("empty"), "").unwrap();
        symlink("/proc/self/exe", at("polycgi")).unwrap();
        symlink("/proc/self/exe", at("no-such-app.cgi")).unwrap();
        assert!(matches!(
            AppFile::at(&at("text")),
            Err(NotAnApp::NotOurs(_))
        ));
        assert!(matches!(
            AppFile::at(&at("empty")),
            Err(NotAnApp::NotOurs(_))
        ));
        assert!(matches!(
            AppFile::at(&at("missing")),
            Err(NotAnApp::Unreadable(..))
        ));
        assert!(matches!(
            AppFile::at(&at("polycgi")),
            Err(NotAnApp::Binary(_))
        ));
        assert!(matches!(
            AppFile::at(&at("no-such-app.cgi")),
            Err(NotAnApp::NoConfig(..))
        ));
        let own = std::env::current_exe().unwrap();
        assert!(matches!(AppFile::at(&own), Err(NotAnApp::Binary(_))));
    }
}

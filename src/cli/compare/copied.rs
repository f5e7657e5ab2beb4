//! A private copy of an app, for `compare`: the same configuration, with a daemon and a folder of its own, which are
//! gone afterwards. The site does not notice, whatever becomes of the copy. For a WSGI app `copied.py` may stand in place
//! of the application, and look at it.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::super::surroundings::Surroundings;
use super::super::ways::{self, Beside, ReadResponse, system};
use super::super::{ask, python};
use crate::acting::CommandError;
use crate::app::wsgi::Interpreter;
use crate::app::{self, environment};
use crate::app_file::AppFile;
use crate::compare::{Growth, Profile};
use crate::config::{Config, Target};
use crate::control::Command;
use crate::place::Place;
use crate::report::Exit;
use crate::slots::StartCause;
use crate::start::{self, Here};
use crate::sys::poll::{Interest, wait_any, wait_one};
use crate::sys::{files, named, process, program, socket};

/// What stands for the application.
const WATCHING: &str = include_str!("copied.py");
/// Its name as a module.
const MODULE: &str = "polycgi_compare";
/// `LAST` in copied.py: so many requests a worker serves until it is known what they leave behind.
const LAST: usize = 18;
/// The largest configuration and the longest file that it writes, in bytes.
const LONGEST: usize = 1 << 20;
/// How long its daemon may take to end.
const PATIENCE: Duration = Duration::from_secs(5);
/// Prints what took most of the time of a profile.
const TOP: &str = include_str!("top.py");
/// Keys that the copy has of its own, or that would reach beyond it.
const OWN_KEYS: [&str; 9] = [
    "directory",
    "idle-timeout",
    "listen",
    "listen-allow",
    "log-file",
    "min-lifetime",
    "mode",
    "quiet-timeout",
    "runtime-dir",
];
/// The same of a copy that is looked at.
const WATCHED_KEYS: [&str; 7] = [
    "env.PYTHONPATH",
    "max-procs",
    "max-requests",
    "min-idle",
    "min-procs",
    "reload",
    "wsgi",
];

/// The copy. When it is dropped, it is gone.
pub(super) struct Copied {
    app: AppFile,
    config: Config,
    folder: KeptFolder,
}

impl Copied {
    /// The app as it is.
    pub(super) fn plain(app: &AppFile, config: &Config) -> Result<Copied, CommandError> {
        let text = |text: &str, folder: &Path| {
            let directory = app::directory(app, config);
            Ok(kept(text, &OWN_KEYS) + &own_lines(folder, &directory)?)
        };
        Copied::new(app, text, &[])
    }

    /// A WSGI app that is looked at.
    pub(super) fn watched(
        app: &AppFile,
        config: &Config,
        target: &Target,
    ) -> Result<Copied, CommandError> {
        let interpreter =
            Interpreter::find(app, config).map_err(|no| (Exit::Config, no.to_string()))?;
        let text = |text: &str, folder: &Path| {
            let directory = app::directory(app, config);
            let text = kept(text, &[&OWN_KEYS[..], &WATCHED_KEYS].concat());
            let search = search_path(folder, &interpreter)?;
            Ok(text + &own_lines(folder, &directory)? + &watched_lines(&search))
        };
        let target = format!("{}:{}", target.module, target.callable);
        let module = format!("{MODULE}.py");
        Copied::new(app, text, &[("target", &target), (&module, WATCHING)])
    }

    /// With the configuration that `text` makes of the app's, and with these files beside it.
    fn new(
        app: &AppFile,
        text: impl Fn(&str, &Path) -> io::Result<String>,
        beside: &[(&str, &str)],
    ) -> Result<Copied, CommandError> {
        let cannot = |error: io::Error| {
            let sentence = format!("cannot make a private copy of the app: {error}");
            (Exit::CantCreate, sentence)
        };
        // Its configuration has a folder for itself: an app may have any name.
        let folder = KeptFolder::new(Path::new("app").join(app.name())).map_err(cannot)?;
        let own = named::read_text(&app.config, LONGEST).map_err(cannot)?;
        let path = folder.app();
        let written = text(&own, &folder.path).and_then(|text| {
            for (name, text) in beside {
                fs::write(folder.path.join(name), text)?;
            }
            fs::create_dir(folder.path.join("app"))?;
            fs::write(&path, text)
        });
        written.map_err(cannot)?;
        let app = AppFile::at(&path).map_err(|no| (Exit::Software, no.to_string()))?;
        let config = app.load().map_err(|bad| (Exit::Config, bad.to_string()))?;
        Ok(Copied {
            app,
            config,
            folder,
        })
    }

    pub(super) fn app(&self) -> &AppFile {
        &self.app
    }

    /// Its place, once it has had a daemon.
    pub(super) fn place(&self) -> Option<Place> {
        Place::existing(&self.app, &self.config)
    }

    /// Why its daemon could not start the app, and what the app has said.
    pub(super) fn failure(&self) -> Option<String> {
        let place = self.place()?;
        let failure = place.last_failure()?;
        let log = named::read_text(&place.log(), LONGEST).unwrap_or_default();
        Some(format!("{failure}\n{log}"))
    }

    /// Makes the request in both ways, as often as is needed to see what a warm worker does.
    pub(super) fn request(
        &self,
        meta: &[(String, String)],
        body: &[u8],
        is_profiled: bool,
    ) -> Result<(), CommandError> {
        let null = File::from(files::null().map_err(system("open /dev/null"))?);
        let beside = Beside {
            variables: &[],
            command: super::NAME,
            stderr: Some(&null),
            place: None,
        };
        // The second one finds the app's modules compiled.
        for _ in 0..2 {
            ways::by_cgi(&self.app, meta, body, &beside, read_to_end)?;
        }
        for _ in 0..if is_profiled { LAST } else { 1 } {
            ways::by_scgi(self.connect()?, meta, body, read_to_end)?;
        }
        Ok(())
    }

    /// A connection to its daemon, started if there is none. No failed start is waited for: the next may say more.
    pub(super) fn connect(&self) -> Result<OwnedFd, CommandError> {
        let here = Here::open(&self.app, &self.config).map_err(|no| (Exit::CantCreate, no))?;
        here.slots.clear_attempts();
        let environ = environment::for_daemon();
        let backlog = app::backlog(&self.config);
        start::start(&self.app, &here, backlog, &environ, &StartCause::BY_HAND)
            .map_err(|error| (Exit::Unavailable, error.to_string()))
    }

    /// The environ of the request in both ways: names, and values as Python shows them. Left out is what the ways must
    /// differ in: a plain CGI runs once, and SCGI has a length of 0 where CGI has none.
    pub(super) fn environs(&self) -> Result<[Surroundings; 2], CommandError> {
        const EXPECTED: [(&str, &str); 3] = [
            ("CONTENT_LENGTH", "'0'"),
            ("wsgi.run_once", "False"),
            ("wsgi.run_once", "True"),
        ];
        let environ = |way: &str| {
            let text = self.text(&format!("{way}.environ"))?;
            let lines = text.lines().filter_map(|line| line.split_once('\t'));
            let lines = lines.filter(|pair| !EXPECTED.contains(pair));
            Ok(lines
                .map(|(name, value)| (format!("of the request: {name}"), value.to_owned()))
                .collect())
        };
        Ok([environ("cgi")?, environ("daemon")?])
    }

    /// What took the time in both ways, and what each request leaves in a worker.
    pub(super) fn profile(&self) -> Result<Profile, CommandError> {
        let growth = self.text("daemon.growth")?;
        Ok(Profile {
            import: self.top("import")?,
            cgi: self.top("cgi")?,
            daemon: self.top("daemon")?,
            growth: growth.lines().filter_map(growth_in).collect(),
        })
    }

    /// Copies a way's profile, in the form of Python's pstats.
    pub(super) fn save_profile(&self, way: &str, mut into: &File) -> io::Result<()> {
        let mut file = File::open(self.folder.path.join(format!("{way}.profile")))?;
        io::copy(&mut file, &mut into).map(drop)
    }

    fn text(&self, name: &str) -> Result<String, CommandError> {
        named::read_text(&self.folder.path.join(name), LONGEST).map_err(|error| {
            let sentence =
                format!("the app could not be looked at: it did not get to the end of the request ({name}: {error})");
            (Exit::Unavailable, sentence)
        })
    }

    fn top(&self, way: &str) -> Result<String, CommandError> {
        let file = self.folder.path.join(format!("{way}.profile"));
        let words: [&[u8]; 4] = [
            b"python3",
            b"-c",
            TOP.as_bytes(),
            file.as_os_str().as_bytes(),
        ];
        let argv: Vec<CString> = words.into_iter().map(process::c_string).collect();
        let interpreter = Interpreter::find(&self.app, &self.config)
            .map_err(|no| (Exit::Config, no.to_string()))?;
        let mut command = python::command(&interpreter, &argv, &self.folder.path);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let output = command.output().map_err(system("read a profile"))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err((
                Exit::Unavailable,
                "Python can't read its profile".to_owned(),
            )),
        }
    }
}

/// A private folder. A process of its own waits until it is dropped, or this process ends, however that comes; then it
/// ends the daemon of the app in the folder, and removes it.
struct KeptFolder {
    path: PathBuf,
    /// The app file, in the folder.
    app: PathBuf,
    keeper: i32,
    /// What is written there ends the folder.
    word: File,
}

impl KeptFolder {
    fn new(app: PathBuf) -> io::Result<KeptFolder> {
        let (end, word) = files::pipe()?;
        let owner = process::open(process::pid())?;
        let path = files::private_directory(&std::env::temp_dir(), "polycgi-compare")?;
        match program::fork_session() {
            Ok(Some(keeper)) => Ok(KeptFolder {
                path,
                app,
                keeper,
                word: File::from(word),
            }),
            Ok(None) => {
                let ends = [end.as_fd(), owner.as_fd()].map(|fd| (fd, Interest::Read));
                // A signal may interrupt it.
                while !matches!(wait_any(&ends, None), Ok(ready) if ready.contains(&true)) {}
                clear(&path, &path.join(app));
                process::leave(0)
            }
            Err(error) => {
                let _ = fs::remove_dir(&path);
                Err(error)
            }
        }
    }

    fn app(&self) -> PathBuf {
        self.path.join(&self.app)
    }
}

impl Drop for KeptFolder {
    fn drop(&mut self) {
        // If the host refuses it, the keeper sees our end.
        if self.word.write_all(b".").is_ok() {
            process::wait(self.keeper);
        }
    }
}

/// Ends the daemon of this app, and removes the folder.
fn clear(folder: &Path, app: &Path) {
    if let Ok(app) = AppFile::at(app)
        && let Ok(Some(connection)) = ask::find(&app)
    {
        let daemon = socket::peer(connection.as_fd()).map_or(0, |peer| peer.pid);
        let process = process::open(daemon);
        // One that does not answer ends by itself, when it finds that its folder is gone.
        let _ = ask::ask(connection, Command::Stop, PATIENCE);
        if let Ok(process) = process {
            let _ = wait_one(process.as_fd(), Interest::Read, PATIENCE);
        }
    }
    // It is in a temporary directory, which is cleaned up at some time if this fails.
    let _ = fs::remove_dir_all(folder);
}

fn read_to_end(mut from: File) -> Result<ReadResponse, CommandError> {
    let bytes = io::copy(&mut from, &mut io::sink());
    bytes
        .map(ReadResponse::whole)
        .map_err(system("read the response"))
}

/// The lines of a configuration without those of these keys, as a script.
fn kept(text: &str, without: &[&str]) -> String {
    let is_kept = |line: &&str| {
        let key = line.split_once('=').map_or("", |(key, _)| key.trim());
        !without.contains(&key) && !line.starts_with("#!")
    };
    let kept: Vec<&str> = text.lines().filter(is_kept).collect();
    format!("#!/usr/bin/polycgi -\n{}\n", kept.join("\n"))
}

/// Lines for the keys in [`OWN_KEYS`].
fn own_lines(folder: &Path, directory: &Path) -> io::Result<String> {
    Ok(format!(
        "directory = {}\nruntime-dir = {}\nmode = daemon\nlisten = none\nidle-timeout = 5m\n",
        quoted(directory)?,
        quoted(&folder.join("run"))?,
    ))
}

/// Lines for the keys in [`WATCHED_KEYS`].
fn watched_lines(search_path: &str) -> String {
    format!(
        "wsgi = {MODULE}:application\nenv.PYTHONPATH = {search_path}\nreload = off\nmax-procs = 1\nmin-procs = 0\n\
         min-idle = 1\nmax-requests = none\n"
    )
}

/// The folder, and then the interpreter's own PYTHONPATH.
fn search_path(folder: &Path, interpreter: &Interpreter) -> io::Result<String> {
    let own = interpreter.environ.iter().find_map(|variable| {
        let variable = variable.to_str().ok()?;
        variable.strip_prefix("PYTHONPATH=")
    });
    let mut path = quoted(folder)?;
    if let Some(own) = own {
        // Before the closing quote.
        path.insert_str(path.len() - 1, &format!(":{}", escaped(own)));
    }
    Ok(path)
}

fn quoted(path: &Path) -> io::Result<String> {
    let text = path.to_str().filter(|text| !text.contains('\n'));
    let text = text.ok_or_else(|| io::Error::other(format!("{} is not text", path.display())))?;
    Ok(format!("\"{}\"", escaped(text)))
}

fn escaped(text: &str) -> String {
    let escape = |c: char| matches!(c, '"' | '\\' | '$' | '`').then_some('\\');
    text.chars()
        .flat_map(|c| escape(c).into_iter().chain([c]))
        .collect()
}

/// A line of `note_growth` in copied.py.
fn growth_in(line: &str) -> Option<Growth> {
    let (objects, rest) = line.split_once(' ')?;
    let (bytes, place) = rest.split_once(' ')?;
    Some(Growth {
        objects: objects.parse().ok()?,
        bytes: bytes.parse().ok()?,
        place: place.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_that_of_the_other_file() {
        assert!(WATCHING.contains(&format!("\nLAST = {LAST}  #")));
    }

    #[test]
    fn the_copy_has_its_own_keys_once() {
        let interpreter = Interpreter {
            path: "/usr/bin/python3".into(),
            environ: vec![c"A=b".into(), c"PYTHONPATH=/a$b:/c".into()],
        };
        let text = "#!/usr/local/bin/polycgi -\n# a comment\nwsgi = wiki:app\nlisten=/run/x\nenv.A = b\n max-procs = 7";
        let (folder, directory) = (Path::new("/tmp/x y"), Path::new("/srv/\"w"));
        let own = own_lines(folder, directory).unwrap();
        let search = search_path(folder, &interpreter).unwrap();
        assert_eq!(search, "\"/tmp/x y:/a\\$b:/c\"");
        let plain = kept(text, &OWN_KEYS) + &own;
        let keys = [&OWN_KEYS[..], &WATCHED_KEYS].concat();
        let watched = kept(text, &keys) + &own + &watched_lines(&search);
        for copy in [&plain, &watched] {
            assert!(copy.contains("\nenv.A = b\n"), "{copy}");
            assert!(copy.contains("directory = \"/srv/\\\"w\"\n"), "{copy}");
            for key in ["max-procs", "listen", "wsgi", "#!"] {
                assert_eq!(copy.matches(key).count(), 1, "{copy}");
            }
            assert!(
                crate::config::parse("copy", copy.as_bytes()).is_ok(),
                "{copy}"
            );
        }
        assert!(plain.contains("wiki:app") && !watched.contains("wiki:app"));
    }

    #[test]
    fn growth_is_read() {
        let growth = growth_in("2 130 /srv/a b.py:7").unwrap();
        assert_eq!(
            (growth.objects, growth.bytes, &*growth.place),
            (2, 130, "/srv/a b.py:7")
        );
        assert!(growth_in("x").is_none());
    }
}

//! A private copy of a WSGI app, for `compare`: the same configuration, with `copied.py` in place of the application,
//! which looks at it; a daemon and a folder of its own, which are gone afterwards. The app itself does not notice.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read};
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
use crate::report::Exit;
use crate::slots::Cause;
use crate::start::{self, Here};
use crate::sys::poll::{Interest, wait_one};
use crate::sys::{files, named, process, socket};

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
const OWN_KEYS: [&str; 16] = [
    "daemon-when-load",
    "directory",
    "env.PYTHONPATH",
    "idle-timeout",
    "listen",
    "listen-allow",
    "log-file",
    "max-procs",
    "max-requests",
    "min-idle",
    "min-lifetime",
    "min-procs",
    "mode",
    "reload",
    "runtime-dir",
    "wsgi",
];

/// The copy.
pub(super) struct Copied {
    folder: PathBuf,
    app: AppFile,
    config: Config,
    interpreter: Interpreter,
}

impl Copied {
    pub(super) fn new(
        app: &AppFile,
        config: &Config,
        target: &Target,
    ) -> Result<Copied, CommandError> {
        let cannot = |error: io::Error| {
            let sentence = format!("cannot make a private copy of the app: {error}");
            (Exit::CantCreate, sentence)
        };
        let interpreter =
            Interpreter::find(app, config).map_err(|no| (Exit::Config, no.to_string()))?;
        let folder = files::private_directory(&std::env::temp_dir(), "polycgi-compare");
        let folder = Folder(folder.map_err(cannot)?);
        let at = |name: &str| folder.0.join(name);
        let text = named::read_text(&app.config, LONGEST).map_err(cannot)?;
        let text = rewritten(&text, &folder.0, &app::directory(app, config), &interpreter);
        let written = text.and_then(|text| {
            let name = format!("{}:{}", target.module, target.callable);
            fs::write(at("target"), name)?;
            fs::write(at(&format!("{MODULE}.py")), WATCHING)?;
            fs::write(at(app.name()), text)
        });
        written.map_err(cannot)?;
        let app = AppFile::at(&at(app.name())).map_err(|no| (Exit::Software, no.to_string()))?;
        let config = app.load().map_err(|bad| (Exit::Config, bad.to_string()))?;
        Ok(Copied {
            folder: folder.kept(),
            app,
            config,
            interpreter,
        })
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
            stderr: Some(&null),
            place: None,
        };
        // The second one finds the app's modules compiled.
        for _ in 0..2 {
            ways::by_cgi(&self.app, meta, body, &beside, read_to_end)?;
        }
        for _ in 0..if is_profiled { LAST } else { 1 } {
            ways::by_scgi(self.daemon()?, meta, body, read_to_end)?;
        }
        Ok(())
    }

    fn daemon(&self) -> Result<OwnedFd, CommandError> {
        let here = Here::open(&self.app, &self.config).map_err(|no| (Exit::CantCreate, no))?;
        let environ = environment::for_daemon();
        start::start(
            &self.app,
            &here,
            app::backlog(&self.config),
            &environ,
            &Cause::BY_HAND,
        )
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
        let mut file = File::open(self.folder.join(format!("{way}.profile")))?;
        io::copy(&mut file, &mut into).map(drop)
    }

    fn text(&self, name: &str) -> Result<String, CommandError> {
        named::read_text(&self.folder.join(name), LONGEST).map_err(|error| {
            let sentence =
                format!("the app could not be looked at: it did not get to the end of the request ({name}: {error})");
            (Exit::Unavailable, sentence)
        })
    }

    fn top(&self, way: &str) -> Result<String, CommandError> {
        let file = self.folder.join(format!("{way}.profile"));
        let words: [&[u8]; 4] = [
            b"python3",
            b"-c",
            TOP.as_bytes(),
            file.as_os_str().as_bytes(),
        ];
        let argv: Vec<CString> = words.into_iter().map(process::c_string).collect();
        let mut command = python::command(&self.interpreter, &argv, &self.folder);
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

    /// Ends the copy's daemon.
    fn stop(&self) {
        let Ok(Some(connection)) = ask::find(&self.app) else {
            return;
        };
        let daemon = socket::peer(connection.as_fd()).map_or(0, |peer| peer.pid);
        let process = process::open(daemon);
        // One that does not answer ends by itself, when it finds that its folder is gone.
        let _ = ask::ask(connection, Command::Stop, PATIENCE);
        if let Ok(process) = process {
            let _ = wait_one(process.as_fd(), Interest::Read, PATIENCE);
        }
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        self.stop();
        drop(Folder(std::mem::take(&mut self.folder)));
    }
}

/// A private folder, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn kept(mut self) -> PathBuf {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            // It is in a temporary directory, which is cleaned up at some time if this fails.
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

fn read_to_end(mut from: File) -> Result<ReadResponse, CommandError> {
    let bytes = io::copy(&mut from.by_ref(), &mut io::sink());
    bytes
        .map(ReadResponse::whole)
        .map_err(system("read the response"))
}

/// The configuration of the copy.
fn rewritten(
    text: &str,
    folder: &Path,
    directory: &Path,
    interpreter: &Interpreter,
) -> io::Result<String> {
    let path = interpreter.environ.iter().find_map(|variable| {
        let variable = variable.to_str().ok()?;
        variable.strip_prefix("PYTHONPATH=")
    });
    let mut search = quoted(folder)?;
    if let Some(path) = path {
        // Before the closing quote.
        search.insert_str(search.len() - 1, &format!(":{}", escaped(path)));
    }
    let is_kept = |line: &&str| {
        let key = line.split_once('=').map_or("", |(key, _)| key.trim());
        !OWN_KEYS.contains(&key) && !line.starts_with("#!")
    };
    let kept: Vec<&str> = text.lines().filter(is_kept).collect();
    Ok(format!(
        "#!/usr/bin/polycgi -\n{}\nwsgi = {MODULE}:application\ndirectory = {}\nenv.PYTHONPATH = {search}\n\
         runtime-dir = {}\nmode = daemon\nreload = off\nmax-procs = 1\nmin-procs = 0\nmin-idle = 1\n\
         max-requests = none\nlisten = none\nidle-timeout = 10s\nmin-lifetime = 0s\n",
        kept.join("\n"),
        quoted(directory)?,
        quoted(&folder.join("run"))?,
    ))
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
        let copy = rewritten(
            text,
            Path::new("/tmp/x y"),
            Path::new("/srv/\"w"),
            &interpreter,
        );
        let copy = copy.unwrap();
        assert!(
            copy.contains("\nenv.A = b\n") && !copy.contains("wiki:app"),
            "{copy}"
        );
        assert!(
            copy.contains("env.PYTHONPATH = \"/tmp/x y:/a\\$b:/c\"\n"),
            "{copy}"
        );
        assert!(copy.contains("directory = \"/srv/\\\"w\"\n"), "{copy}");
        for key in ["max-procs", "listen"] {
            assert_eq!(copy.matches(key).count(), 1, "{copy}");
        }
        assert!(
            crate::config::parse("copy", copy.as_bytes()).is_ok(),
            "{copy}"
        );
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

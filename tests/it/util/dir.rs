//! A test's own directory: the test makes files nowhere else, and at its end nothing is left.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::process::{self, Process};
use super::{Deadline, Gate, command, deadline, installed};

/// `SECOND` is at most this many seconds.
const MOST_SECONDS: u32 = 4;

/// A directory below /tmp that belongs to the tests' user.
///
/// It holds `cgi-bin`, `apps` (the test applications), `run` (the runtime-dir of its apps) and `tmp` (their
/// TMPDIR). Dropping it asks daemons to leave (they outlive their requests by design), and then fails the test if a
/// process, a socket or a temporary file remains.
pub(crate) struct Dir {
    path: PathBuf,
    /// How long processes may take to leave when the directory is dropped.
    pub(crate) patience: Duration,
    /// `SECOND` in its app files: one second, and more on a busy machine. For time-outs that a test lets pass, and that
    /// requests in time must not reach.
    pub(crate) second: Duration,
}

impl Dir {
    pub(crate) fn new() -> Self {
        let made = tempfile::Builder::new()
            .prefix("polycgi-it.")
            .tempdir_in("/tmp")
            .expect("/tmp can be written to");
        let dir = Self {
            path: made.keep(),
            patience: Duration::from_secs(15),
            second: Duration::from_secs(1) * deadline::strain().min(MOST_SECONDS),
        };
        dir.own(&dir.path, 0o755);
        for (name, mode) in [
            ("cgi-bin", 0o755),
            ("apps", 0o755),
            ("run", 0o700),
            ("tmp", 0o700),
        ] {
            dir.folder(name, mode);
        }
        // The sources may lie where the tests' user can't go.
        let apps = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps");
        for entry in fs::read_dir(apps)
            .expect("tests/apps can be read")
            .flatten()
        {
            let name = entry.file_name();
            if Path::new(&name).extension() == Some(OsStr::new("py")) {
                let text =
                    fs::read_to_string(entry.path()).expect("a test application can be read");
                dir.file(&format!("apps/{}", name.display()), &text, 0o644);
            }
        }
        dir
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A folder in it that belongs to the tests' user.
    pub(crate) fn folder(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.join(name);
        fs::create_dir(&path).expect("a folder can be made in the test's own directory");
        self.own(&path, mode);
        path
    }

    /// A file in it that belongs to the tests' user, written beside and renamed: a server may run it meanwhile.
    pub(crate) fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let (path, new) = (self.join(name), self.join(&format!("{name}.new")));
        if mode & 0o111 == 0 {
            fs::write(&new, text).expect("a file can be written in the test's own directory");
        } else {
            // By a process of its own: otherwise a child that another test forks at this moment has the file open for
            // writing too, and the kernel runs no such file (ETXTBSY).
            command::run(Command::new("tee").arg(&new), text.as_bytes()).success();
        }
        self.own(&new, mode);
        fs::rename(&new, &path).expect("a file can be renamed in the test's own directory");
        path
    }

    /// An app file in cgi-bin with these lines of configuration, and those that keep it in this directory. A time may
    /// be `SECOND`, or `2 SECOND` and so on.
    pub(crate) fn app_file(&self, name: &str, config: &str) -> PathBuf {
        let at = self.path.display();
        let config = self.with_seconds(config) + &self.time_limits(config) + &accept(config);
        let text = format!(
            "#!{} -\ndirectory = {at}/apps\nruntime-dir = {at}/run\nenv.TMPDIR = {at}/tmp\n{config}\n",
            installed("polycgi").display()
        );
        self.file(&format!("cgi-bin/{name}"), &text, 0o755)
    }

    /// The time limits that an app has where its configuration does not say them, as long as this machine needs: a limit
    /// that no test is about must not end what a test waits for.
    fn time_limits(&self, config: &str) -> String {
        if self.second <= Duration::from_secs(1) {
            return String::new();
        }
        let limits = [
            ("graceful-timeout", 30),
            ("queue-timeout", 10),
            ("request-timeout", 45),
            ("start-timeout", 45),
        ];
        let unsaid = limits.iter().filter(|(key, _)| !config.contains(key));
        unsaid
            .map(|(key, seconds)| format!("{key} = {}ms\n", (self.second * *seconds).as_millis()))
            .collect()
    }

    fn with_seconds(&self, config: &str) -> String {
        let in_line = |line: &str| {
            let (key, value) = line.strip_suffix("SECOND")?.split_once('=')?;
            let times = match value.trim() {
                "" => 1,
                times => times.parse().expect("a number of seconds"),
            };
            Some(format!("{key}= {}ms\n", (self.second * times).as_millis()))
        };
        let lines = config.lines();
        let lines = lines.map(|line| in_line(line).unwrap_or_else(|| format!("{line}\n")));
        lines.collect()
    }

    /// A plain CGI in cgi-bin that runs `module:callable` by the standard library's own handler.
    pub(crate) fn plain_cgi(
        &self,
        name: &str,
        module: &str,
        callable: &str,
        environment: &[(&str, &str)],
    ) -> PathBuf {
        let at = self.path.display();
        let environment: String = environment
            .iter()
            .map(|(name, value)| format!("os.environ[{name:?}] = {value:?}\n"))
            .collect();
        let text = format!(
            "#!/usr/bin/python3\nimport os, sys\nsys.path[0] = '{at}/apps'\nos.environ['TMPDIR'] = '{at}/tmp'\n\
             {environment}sys.path[1:1] = filter(None, os.environ.get('PYTHONPATH', '').split(':'))\n\
             import plaincgi, {module}\nplaincgi.run({module}.{callable})\n"
        );
        self.file(&format!("cgi-bin/{name}"), &text, 0o755)
    }

    /// A gate for the test application's routes that wait.
    pub(crate) fn gate(&self, name: &str) -> Gate {
        Gate::new(&self.join("apps"), name)
    }

    /// The processes of this test, the test itself apart.
    pub(crate) fn processes(&self) -> Vec<Process> {
        Process::all_of(&self.path)
    }

    /// The daemons of this test, draining ones included.
    pub(crate) fn daemons(&self) -> Vec<Process> {
        // As /proc names it; with no PREFIX there are none.
        let ours = env::var_os("POLYCGI_PREFIX")
            .and_then(|prefix| fs::canonicalize(Path::new(&prefix).join("bin/polycgi")).ok());
        // A test's own copy may have been replaced: then its name ends in ` (deleted)`.
        let own = self.join("bin/polycgi");
        let is_own = |exe: &Path| {
            exe.as_os_str()
                .as_bytes()
                .starts_with(own.as_os_str().as_bytes())
        };
        let is_ours = |process: &Process| {
            process.exe.is_some()
                && (process.exe == ours || process.exe.as_deref().is_some_and(is_own))
        };
        self.processes().into_iter().filter(is_ours).collect()
    }

    fn own(&self, path: &Path, mode: u32) {
        let (uid, gid) = command::user();
        chown(path, Some(uid.as_raw()), Some(gid.as_raw()))
            .expect("what a test makes can be given to its user");
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode can be set");
    }

    /// Ends what runs; and what was left that should not have been.
    fn clear(&self) -> Vec<String> {
        let mut left = Vec::new();
        for daemon in self.daemons() {
            // It may have left by itself in this moment.
            let _ = kill(Pid::from_raw(daemon.pid), Signal::SIGTERM);
        }
        let deadline = Deadline::within(self.patience);
        // A process may start another while /proc is read: only after two empty readings none is left.
        let mut found = self.processes();
        while !found.is_empty() && !deadline.left().is_zero() {
            for process in &found {
                deadline.ended(process.pid);
            }
            found = self.processes();
        }
        found.extend(self.processes());
        for process in &found {
            left.push(format!("process {}: {}", process.pid, process.command_line));
            // It may have ended by now.
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
            Deadline::soon().ended(process.pid);
        }
        // A child of another test, which is not yet the program that it is to be, may have a copy of a socket of this one.
        while !process::sockets_in(&self.path).is_empty() && !deadline.left().is_zero() {
            thread::yield_now();
        }
        left.extend(
            process::sockets_in(&self.path)
                .iter()
                .map(|path| format!("socket {}", path.display())),
        );
        left.extend(
            entries(&self.join("tmp"))
                .iter()
                .map(|path| format!("temporary file {}", path.display())),
        );
        for app in entries(&self.join("run")) {
            let socket = app.join("sock");
            if fs::symlink_metadata(&socket).is_ok() {
                left.push(format!("the name of a socket {}", socket.display()));
            }
        }
        left
    }

    /// Removes the directory, and the links that daemons left to it in the default places.
    fn remove(&self) -> io::Result<()> {
        let places = entries(Path::new("/run/polycgi")).into_iter();
        let more = entries(Path::new("/tmp")).into_iter();
        // `polycgi-UID`; the directories of other tests are none of ours to look into.
        let more = more.filter(|path| {
            let name = path.file_name().map(OsStr::as_encoded_bytes);
            let uid = name.and_then(|name| name.strip_prefix(b"polycgi-"));
            uid.is_some_and(|uid| uid.iter().all(u8::is_ascii_digit))
        });
        for place in places.chain(more) {
            for link in entries(&place) {
                if fs::read_link(&link).is_ok_and(|target| target.starts_with(&self.path)) {
                    fs::remove_file(link)?;
                }
            }
        }
        fs::remove_dir_all(&self.path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let left = self.clear();
        let removed = self.remove();
        if thread::panicking() {
            return;
        }
        assert!(
            left.is_empty(),
            "the test left behind:\n{}",
            left.join("\n")
        );
        removed.unwrap_or_else(|error| panic!("cannot remove {}: {error}", self.path.display()));
    }
}

/// What is in a folder; nothing if it is not there.
fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default()
}

/// POLYCGI_ACCEPT in the environment is `accept` of each WSGI application whose configuration does not say it.
fn accept(config: &str) -> String {
    match std::env::var("POLYCGI_ACCEPT") {
        Ok(way) if config.contains("wsgi =") && !config.contains("accept =") => {
            format!("accept = {way}\n")
        }
        _ => String::new(),
    }
}

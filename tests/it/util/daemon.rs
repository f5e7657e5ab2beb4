//! The daemon of a test's app as the operating system shows it: its processes, and what lies in its place.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::process::{self, Process};
use super::{Deadline, Dir, Output, Watch, as_user, installed, run};

impl Dir {
    /// The only app's place below the runtime directory.
    #[track_caller]
    pub(crate) fn place(&self) -> PathBuf {
        let entries = fs::read_dir(self.join("run")).expect("the runtime directory can be read");
        let mut places = entries.flatten().map(|entry| entry.path());
        let place = places.next().expect("no app has a place yet");
        assert_eq!(
            places.next(),
            None,
            "a second place beside {}",
            place.display()
        );
        place
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.place().join("sock")
    }

    /// All processes that are daemons.
    pub(crate) fn all_daemons(&self) -> Vec<i32> {
        let mut daemons = self.ours(is_daemon);
        // One that has just been forked and is not the interpreter yet looks like its parent.
        let children: Vec<i32> = daemons
            .iter()
            .flat_map(|pid| process::children(*pid))
            .collect();
        daemons.retain(|pid| !children.contains(pid));
        daemons
    }

    /// The only daemon.
    #[track_caller]
    pub(crate) fn daemon(&self) -> i32 {
        let daemons = self.all_daemons();
        assert_eq!(daemons.len(), 1, "daemons: {daemons:?}");
        daemons[0]
    }

    /// The fronts that wait for their request to be done.
    pub(crate) fn fronts(&self) -> Vec<i32> {
        self.ours(|process| !is_daemon(process))
    }

    fn ours(&self, which: impl Fn(&Process) -> bool) -> Vec<i32> {
        let processes = self.daemons().into_iter().filter(which);
        processes.map(|process| process.pid).collect()
    }

    /// What runs here beside the web server: daemons, workers, CGIs, and what they have started.
    pub(crate) fn processes_of_apps(&self) -> Vec<Process> {
        let web_servers = ["apache2", "busybox", "fcgiwrap", "lighttpd", "nginx"];
        let is_ours = |process: &Process| {
            let name = process.exe.as_deref().and_then(Path::file_name);
            name.is_some_and(|name| web_servers.iter().all(|server| name != *server))
        };
        self.processes().into_iter().filter(is_ours).collect()
    }

    /// What the daemon has logged.
    pub(crate) fn daemon_log(&self) -> String {
        fs::read_to_string(self.place().join("log")).unwrap_or_default()
    }

    /// Waits until the daemon has logged that: a response or a command's answer may come first.
    #[track_caller]
    pub(crate) fn until_logged(&self, text: &str) {
        let mut watch = Watch::on(&self.place());
        let logged = watch.until(Deadline::soon(), || self.daemon_log().contains(text));
        assert!(logged, "not logged: {text}; but:\n{}", self.daemon_log());
    }

    /// How many daemons have ever started.
    pub(crate) fn starts(&self) -> usize {
        self.daemon_log().matches("info: start: ").count()
    }

    /// The names of what lies in the app's place.
    pub(crate) fn in_place(&self) -> Vec<String> {
        let entries = fs::read_dir(self.place()).expect("the app's place can be read");
        let names = entries
            .flatten()
            .map(|entry| entry.file_name().display().to_string());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// The app's links in the default places, by which fronts find the place without reading the configuration.
    pub(crate) fn links(&self) -> Vec<PathBuf> {
        let (uid, _) = super::command::user();
        [format!("/run/polycgi/{uid}"), format!("/tmp/polycgi-{uid}")]
            .iter()
            .flat_map(|base| fs::read_dir(base).into_iter().flatten().flatten())
            .map(|entry| entry.path())
            .filter(|path| fs::read_link(path).is_ok_and(|to| to.starts_with(self.path())))
            .collect()
    }

    /// The lines that the application has left in a file beside it.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.join("apps").join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Runs `polycgi` with these words about `cgi-bin/app`, as the tests' user.
    #[track_caller]
    pub(crate) fn polycgi(&self, words: &[&str]) -> Output {
        let app = self.join("cgi-bin/app");
        run(as_user(installed("polycgi")).args(words).arg(app), b"")
    }

    /// What `status --json` shows, as lines `key = value`.
    #[track_caller]
    pub(crate) fn status(&self) -> Vec<String> {
        json(&self.polycgi(&["status", "--json"]).success())
    }

    /// Asks for the status until it has that line.
    #[track_caller]
    pub(crate) fn until_status_has(&self, line: &str) {
        self.until_status(line, |status| status.iter().any(|shown| shown == line));
    }

    /// Asks for the status until it is so.
    #[track_caller]
    pub(crate) fn until_status(&self, what: &str, mut holds: impl FnMut(&[String]) -> bool) {
        let deadline = Deadline::soon();
        loop {
            let status = self.status();
            if holds(&status) {
                return;
            }
            assert!(
                !deadline.left().is_zero(),
                "not {what}: {status:?}\n{}",
                self.daemon_log()
            );
        }
    }

    /// The zygote: the daemon's child that `status` does not list as a worker. A new worker may not be listed yet, and
    /// there may be two generations; so this looks until there is one.
    #[track_caller]
    pub(crate) fn zygote(&self) -> i32 {
        let (daemon, mut zygotes) = (self.daemon(), Vec::new());
        self.until_status("one zygote", |status| {
            zygotes = process::children(daemon);
            zygotes.retain(|pid| workers(status).iter().all(|(worker, _)| worker != pid));
            zygotes.len() == 1
        });
        zygotes[0]
    }
}

/// The workers in what `status` shows: their pids and states.
pub(crate) fn workers(status: &[String]) -> Vec<(i32, String)> {
    let value = |number: usize, key: &str| {
        let start = format!("workers.{number}.{key} = ");
        status.iter().find_map(|line| line.strip_prefix(&start))
    };
    (0..)
        .map_while(|number| {
            // null: a place for a request, and no process.
            let pid = value(number, "pid")?.parse().unwrap_or(0);
            let state = value(number, "state")?.trim_matches('"').to_owned();
            Some((pid, state))
        })
        .collect()
}

/// How many workers are in that state. Those that accept are idle, too.
pub(crate) fn workers_that_are(status: &[String], state: &str) -> usize {
    let workers = workers(status).into_iter();
    let is_so = |shown: &str| shown == state || state == "idle" && shown == "accepting";
    workers.filter(|(_, shown)| is_so(shown)).count()
}

fn is_daemon(process: &Process) -> bool {
    let program = process.command_line.split(' ').next().unwrap_or_default();
    Path::new(program).file_name() == Some(OsStr::new("scgi-daemon"))
}

/// Calls `end_it`, and waits for the end of the daemon and of all that was its child before.
#[track_caller]
pub(crate) fn with_its_children(daemon: i32, end_it: impl FnOnce()) {
    let children = process::children(daemon);
    assert!(!children.is_empty(), "{daemon} has no zygote");
    end_it();
    let deadline = Deadline::soon();
    for pid in [daemon].into_iter().chain(children) {
        assert!(deadline.ended(pid), "{pid} did not end");
    }
}

/// One JSON value as lines `key.key = value`, in order, as Python reads it, so that no parser of ours checks our own
/// writer.
#[track_caller]
pub(crate) fn json(text: &str) -> Vec<String> {
    const READER: &str = "
import json, sys
def show(value, *path):
    if isinstance(value, (dict, list)) and value:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            show(item, *path, str(key))
    else:
        print('.'.join(path), '=', json.dumps(value))
show(json.load(sys.stdin))
";
    let shown = run(
        as_user("/usr/bin/python3").args(["-c", READER]),
        text.as_bytes(),
    );
    shown.success().lines().map(str::to_owned).collect()
}

//! Edit, and the next request runs the new code: what answers after an edit, what a wrong edit does, and that no
//! request fails by one. This file knows the application `edited`; none knows how a change is found.
//!
//! All edits are of the same length, by a rename and in place in turn: neither size nor inode gives them away.

mod broken;
mod by_hand;
mod load;
mod next;
mod plain_cgi;
mod templates;
mod watch;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use super::util::{Deadline, Dir, cgi};

/// The code is looked at when a request comes this long after the last look.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// What the application answers: the version of its module, and the process.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Answer {
    version: u32,
    pid: i32,
}

impl Answer {
    #[track_caller]
    fn parse(text: &str) -> Self {
        let words = text.trim_end().split_once(' ');
        let answer = words.and_then(|(version, pid)| {
            Some(Self {
                version: version.parse().ok()?,
                pid: pid.parse().ok()?,
            })
        });
        answer.unwrap_or_else(|| panic!("not an answer of the application: {text:?}"))
    }
}

/// The text of a module of that version. All have the same length.
fn module(version: u32) -> String {
    format!("\"\"\"What the tests edit.\"\"\"\n\nVERSION = '{version:03}'\n")
}

/// `edited` in its daemon, without a web server; this is its only client.
struct Edited {
    dir: Dir,
    app: PathBuf,
    /// What the web server's log was told.
    told: Mutex<String>,
}

impl Edited {
    #[track_caller]
    fn served(config: &str) -> Self {
        let edited = Self::new(&app_lines(config), |_| {});
        assert_eq!(edited.ask().version, 0);
        edited
    }

    /// An app file of these lines, in a directory that is prepared.
    fn new(lines: &str, prepare: impl FnOnce(&Dir)) -> Self {
        let dir = Dir::new();
        prepare(&dir);
        let app = dir.app_file("app", lines);
        let told = Mutex::default();
        Self { dir, app, told }
    }

    /// Edits the app file: other lines of configuration.
    fn configure(&self, config: &str) {
        self.dir.app_file("app", &app_lines(config));
    }

    #[track_caller]
    fn get(&self, target: &str) -> String {
        let output = cgi::start_front(&self.app, target).end();
        let mut told = self.told.lock().expect("no thread has panicked");
        told.push_str(&output.stderr);
        cgi::reply(&output.stdout).ok().trim_end().to_owned()
    }

    /// What the web server's log was told since this was asked last: this text, once, for some request.
    #[track_caller]
    fn was_told_once(&self, text: &str) {
        // The failure may have come to no request yet.
        self.get("/");
        let told = std::mem::take(&mut *self.told.lock().expect("no thread has panicked"));
        let lines = told.lines().filter(|line| line.contains("polycgi: "));
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines.len(), 1, "{told}");
        let begin = "polycgi: scgi-daemon: app: GET /cgi-bin/app/: the edit ";
        assert!(lines[0].starts_with(begin), "{told}");
        assert!(lines[0].contains(text), "not {text}: {told}");
    }

    #[track_caller]
    fn ask(&self) -> Answer {
        Answer::parse(&self.get("/"))
    }

    /// The answer of `/name` or `/lazy`.
    #[track_caller]
    fn said(&self, target: &str) -> String {
        let text = self.get(target);
        text.split(' ').next().unwrap_or_default().to_owned()
    }

    fn edit(&self, version: u32) {
        edit(&self.dir, "version", version);
    }

    /// Writes any text as a module, a broken one too.
    fn replace(&self, name: &str, text: &str) {
        self.dir.file(&format!("apps/{name}.py"), text, 0o644);
    }

    /// Asks for a while in which the code is looked at several times.
    #[track_caller]
    fn ask_for_several_looks(&self, version: u32) {
        let deadline = Deadline::after(4 * LOOK_INTERVAL);
        while !deadline.left().is_zero() {
            assert_eq!(self.ask().version, version);
        }
    }

    #[track_caller]
    fn generation(&self) -> usize {
        generation(&self.dir)
    }

    #[track_caller]
    fn last_failure(&self) -> String {
        let status = self.dir.status();
        let line = status
            .iter()
            .find_map(|l| l.strip_prefix("last_failure = "));
        line.unwrap_or_else(|| panic!("no last_failure: {status:?}"))
            .to_owned()
    }

    /// Asks until the daemon has logged that so many times: it looks when a request comes, and what it found may be said
    /// after the answer.
    #[track_caller]
    fn ask_until_logged(&self, text: &str, times: usize, version: u32) {
        let deadline = Deadline::soon();
        while self.logged(text) < times {
            assert!(!deadline.left().is_zero(), "{}", self.dir.daemon_log());
            assert_eq!(self.ask().version, version);
        }
    }

    fn logged(&self, text: &str) -> usize {
        self.dir.daemon_log().matches(text).count()
    }
}

impl Drop for Edited {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let told = self.told.lock().expect("no thread has panicked");
            assert!(told.is_empty(), "the web server was told: {told}");
        }
    }
}

fn app_lines(config: &str) -> String {
    // A request waits for an edit at most half of this.
    let patience = match config.contains("queue-timeout") {
        true => "",
        false => "queue-timeout = 10 SECOND\n",
    };
    format!("wsgi = edited:application\nmode = daemon\n{patience}{config}")
}

/// An edit: by a rename, or in place without a moment in which the file is short.
fn edit(dir: &Dir, name: &str, version: u32) {
    let (name, text) = (format!("apps/{name}.py"), module(version));
    if version.is_multiple_of(2) {
        dir.file(&name, &text, 0o644);
        return;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .open(dir.join(&name))
        .expect("a module can be opened");
    file.write_all(text.as_bytes())
        .expect("a module can be written");
}

/// The generation in force.
#[track_caller]
fn generation(dir: &Dir) -> usize {
    let status = dir.status();
    let generation = status.iter().find_map(|l| l.strip_prefix("generation = "));
    let generation = generation.and_then(|number| number.parse().ok());
    generation.unwrap_or_else(|| panic!("no generation: {status:?}"))
}

/// The version that each generation has imported, from 1 on: each is a process of its own, and what it imported last
/// is what it serves.
fn generations(dir: &Dir) -> Vec<u32> {
    let mut pids = Vec::new();
    let mut versions = BTreeMap::new();
    for line in dir.lines("imports") {
        let (pid, version) = line.split_once(' ').expect("a process and its version");
        let version: u32 = version.parse().expect("a version is a number");
        let pid = pid.to_owned();
        if versions.insert(pid.clone(), version).is_none() {
            pids.push(pid);
        }
    }
    pids.iter().map(|pid| versions[pid]).collect()
}

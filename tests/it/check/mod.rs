//! `check`: each fault of an app is made, is shown to be one where a request or the kernel can show it, and is found and
//! named; and a look changes nothing, waits for nothing, and leaves no process.

mod configuration;
mod file;
mod paths;
mod places;
mod python;
mod report;
mod server;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::util::{Dir, Output, as_user, cgi, installed, joined, run};

/// What `check` said.
struct Checked {
    code: Option<i32>,
    /// On both streams.
    text: String,
}

impl Checked {
    fn new(output: Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Self {
            code: output.status.code(),
            text: text + &output.stderr,
        }
    }

    /// `check` on that app, as the tests' user.
    #[track_caller]
    fn of(app: &Path) -> Self {
        Self::with(&[], app)
    }

    #[track_caller]
    fn with(options: &[&str], app: &Path) -> Self {
        let mut command = as_user(installed("polycgi"));
        Self::new(run(command.arg("check").args(options).arg(app), b""))
    }

    /// An error, with each of these in what is said.
    #[track_caller]
    fn finds(&self, said: &[&str]) {
        self.says(78, said);
    }

    /// Nothing but a warning, with each of these in it.
    #[track_caller]
    fn warns(&self, said: &[&str]) {
        self.says(0, said);
        assert!(self.text.contains("warning: "), "{}", self.text);
    }

    #[track_caller]
    fn says(&self, code: i32, said: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.text);
        let text = joined(&self.text);
        for words in said {
            let is_said = text.contains(&joined(words));
            assert!(is_said, "no {words:?} in {}", self.text);
        }
    }

    #[track_caller]
    fn is_well(&self) {
        self.says(0, &["nothing wrong found; "]);
        let mut more = self.text.lines().skip(1);
        assert!(more.all(|line| line.starts_with("    ")), "{}", self.text);
    }
}

/// What a web server gets from the app file for a GET: the status, and what is said on stderr.
#[track_caller]
fn served(app: &Path) -> (u16, String) {
    let output = run(&mut cgi::front(app, "GET", "/hello", &[]), b"");
    let status = cgi::reply(&output.stdout).status();
    (status, output.stderr)
}

/// Why the kernel does not run the file for the tests' user; an error if it does.
#[track_caller]
fn not_run(app: &Path) -> String {
    let exec = "import os, sys\nos.execv(sys.argv[1], sys.argv[1:])";
    let output = run(as_user("/usr/bin/python3").args(["-c", exec]).arg(app), b"");
    let said = output.stderr.lines().last().unwrap_or_default().to_owned();
    assert!(said.contains("Error: [Errno "), "it runs: {said}");
    said
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode can be set");
}

fn text_of(path: &Path) -> String {
    path.display().to_string()
}

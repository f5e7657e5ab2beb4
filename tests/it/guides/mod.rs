//! The guides of packaging/doc, followed to the letter: what they tell their reader to type and to save is typed and
//! saved, in order, on a machine of the test's own, and has to print what they show.
//!
//! # To write a guide
//! A block of lines between two lines of ``` has a kind behind the first:
//!
//! - `console`: lines of `$ command`, typed by the user jane, and of `# command`, typed by root, each where the last one
//!   of that user has left the working directory. A `\` at the end of a line continues it. The lines below a command are
//!   what it prints, on standard output and standard error: `...` stands for any text in a line, and alone in a line for
//!   any lines; blanks count as one. Where there are none, it may print anything, but `...` alone would show nothing. Its
//!   exit status has to be 0, and curl fails if the status of its page is an error's, unless the guide shows that: the
//!   status stands in a line below the command, or the command has `%{http_code}` or `--no-fail-with-body`.
//! - any other kind: a file. The sentence before it ends in a colon, and the last word that it has between backticks is
//!   the path. Relative ones are for the user who has typed last, and lie in that user's working directory; those below ~
//!   or /home/jane are jane's, all others root's. `mode 755` in that sentence sets the mode; with `Add` the lines come
//!   behind those that are there.
//!
//! Comments, which no reader sees, direct the test. `<!-- test: exit 78 -->` before a block: its last command exits so.
//! A comment of several lines that begins with a line `<!-- test` and ends with a line `-->` has lines as a console has,
//! and `write PATH` with the file's text below it, indented by four: what a guide takes for granted, and what a visitor
//! then sees, by curl.
//!
//! A block of another form fails the test. So does what stands between backticks in a sentence or a table: a command that
//! is run nowhere in the guide, a `key = value` that is no line of an app file, and, in a table's last column if that is
//! called `polycgi`, a word that is no key. A guide without a test fails, too.

mod page;
mod planted;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use polycgi::config;

use self::page::{Page, Step, Typed, Written, is_shown};
use super::packages::made;
use super::util::Dir;
use super::util::machine::Machine;

/// Makes a test of each guide.
macro_rules! guides {
    ($($name:ident)*) => {
        const GUIDES: &[&str] = &[$(stringify!($name)),*];
        $(#[test]
        fn $name() {
            follow(stringify!($name));
        })*
    };
}
guides! {
    debian
    debugging
    django
    flask
    git
    hosting
    moving
    perl
    php
}

/// The guides that begin with a package: what `make` calls it, and the folder in which the reader finds it. Otherwise
/// polycgi is in /usr/local.
const PACKAGED: [(&str, &str, &str); 2] = [
    ("debian", "deb", "/root"),
    ("hosting", "tarball", "/home/jane"),
];

/// The first words of what is taken for a command where a sentence quotes it.
const COMMANDS: [&str; 12] = [
    "a2dismod",
    "a2enconf",
    "a2enmod",
    "apt",
    "chmod",
    "curl",
    "ls",
    "polycgi",
    "ps",
    "sudo",
    "systemctl",
    "touch",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/doc")
}

#[test]
fn each_guide_has_a_test() {
    let entries = fs::read_dir(folder()).expect("the guides can be read");
    let names = entries.flatten().map(|entry| entry.path());
    let mut names: Vec<_> = names
        .map(|path| path.file_stem().unwrap_or_default().display().to_string())
        .collect();
    names.sort();
    assert_eq!(names, GUIDES);
}

/// What the guide says in sentences that is run nowhere in it, and what is no line of an app file.
fn doubts(page: &Page) -> Vec<String> {
    let is_run = |words: &str| {
        page.steps
            .iter()
            .any(|step| matches!(step, Step::Type(typed) if typed.command.contains(words)))
    };
    let mut found = Vec::new();
    for (line, words) in &page.quoted {
        let first = words.split(' ').next().unwrap_or_default();
        if words.contains(' ') && COMMANDS.contains(&first) && !is_run(words) {
            found.push(format!(
                "line {line}: `{words}` is run nowhere in this guide"
            ));
        }
        let is_key = |key: &str| {
            key.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        };
        let is_line = words.split_once(" = ").is_some_and(|(key, _)| is_key(key));
        if let Some(Err(error)) = is_line.then(|| config::parse("", words.as_bytes())) {
            found.push(format!("line {line}: `{words}`: {}", error.message()));
        }
    }
    let is_word = |text: &str| !text.is_empty() && !text.contains([' ', '/']);
    for (line, word) in page.ours.iter().filter(|(_, word)| is_word(word)) {
        let unknown = |error: config::BadConfig| error.message().starts_with("unknown key");
        if config::parse("", format!("{word} = x").as_bytes()).is_err_and(unknown) {
            found.push(format!("line {line}: `{word}` is no key"));
        }
    }
    found
}

/// The commands that save the file. The path may begin with `~/`.
fn file_command(file: &Written) -> String {
    let quoted = |path: &str| format!("'{}'", path.replace('\'', r"'\''"));
    let path = match file.path.strip_prefix("~/") {
        Some(rest) => format!("~/{}", quoted(rest)),
        None => quoted(&file.path),
    };
    let sign = if file.adds { ">>" } else { ">" };
    let mut command = format!("cat {sign}{path} <<'THE END'\n{}THE END\n", file.text);
    if let Some(mode) = &file.mode {
        command.push_str(&format!("chmod {mode} {path}\n"));
    }
    command
}

/// The folder with curl's settings for a command that may get an error.
const ANY_STATUS: &str = "/etc/curl-any-status";

/// A reader at a machine: root, or jane.
struct Reader {
    machine: Machine,
    is_root: Cell<bool>,
}

impl Reader {
    fn new() -> Option<Self> {
        let machine = Machine::boot()?;
        machine
            .run("useradd --create-home --shell /bin/bash jane")
            .success();
        // On a terminal it shows no progress either.
        let settings = "silent\nshow-error\n";
        let strict = format!("{settings}fail-with-body\n");
        machine.run(&format!("mkdir {ANY_STATUS}")).success();
        machine.put(&format!("{ANY_STATUS}/.curlrc"), settings, 0o644);
        for home in ["/home/jane", "/root"] {
            machine.put(&format!("{home}/.curlrc"), strict.as_str(), 0o644);
        }
        Some(Self {
            machine,
            is_root: Cell::new(false),
        })
    }

    /// A package of the installed program.
    #[track_caller]
    fn is_given(&self, what: &str, home: &str) {
        let dir = Dir::new();
        let package = made(&dir, what, "made");
        let name = package.file_name().expect("it is a file").display();
        let contents = fs::read(&package).expect("what was made can be read");
        self.machine.put(&format!("{home}/{name}"), contents, 0o644);
    }

    /// Runs it where that user's last command has left the working directory; what it printed, and its exit status.
    fn run(&self, by_root: bool, command: &str) -> (String, Option<i32>) {
        let script = format!(
            "cd \"$(cat ~/.guide 2>/dev/null || echo ~)\"\ntrap 'pwd >~/.guide' EXIT\nexec 2>&1\n\
             set +euo pipefail\n{command}"
        );
        let output = match by_root {
            true => self.machine.run(&script),
            false => self.machine.run_as("jane", &script),
        };
        let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &output.stderr;
        (printed, output.status.code())
    }

    fn does(&self, page: &Page) -> Result<(), String> {
        page.steps.iter().try_for_each(|step| match step {
            Step::Type(typed) => self.enter(typed),
            Step::Write(file) => self.save(file),
        })
    }

    fn save(&self, file: &Written) -> Result<(), String> {
        let path = &file.path;
        let by_root = match path.starts_with('/') {
            true => !path.starts_with("/home/jane/"),
            false => self.is_root.get() && !path.starts_with("~/"),
        };
        match self.run(by_root, &file_command(file)) {
            (_, Some(0)) => Ok(()),
            (printed, _) => Err(format!("line {}: `{path}`: {printed}", file.line)),
        }
    }

    fn enter(&self, typed: &Typed) -> Result<(), String> {
        self.is_root.set(typed.by_root);
        let command = match typed.may_be_an_error() {
            true => format!("export CURL_HOME={ANY_STATUS}\n{}", typed.command),
            false => typed.command.clone(),
        };
        let (printed, exit) = self.run(typed.by_root, &command);
        let what = format!("line {}: {}", typed.line, typed.command);
        if exit != Some(typed.exit) {
            return Err(format!("{what}\nexit status {exit:?}:\n{printed}"));
        }
        match typed.shows.is_empty() || is_shown(&typed.shows, &printed) {
            true => Ok(()),
            false => Err(format!(
                "{what}\nprinted:\n{printed}\nand not:\n{}",
                typed.shows.join("\n")
            )),
        }
    }
}

/// Does what the guide says, from its beginning to its end.
#[track_caller]
fn follow(name: &str) {
    let path = folder().join(name).with_extension("md");
    let text = fs::read_to_string(&path).expect("the guide can be read");
    let page = Page::read(&text).unwrap_or_else(|error| panic!("{name}.md: {error}"));
    let doubts = doubts(&page);
    assert!(doubts.is_empty(), "{name}.md: {}", doubts.join("\n"));
    if let Some(reader) = Reader::new() {
        match PACKAGED.iter().find(|(guide, ..)| *guide == name) {
            Some((_, what, home)) => reader.is_given(what, home),
            None => reader.machine.install_polycgi(),
        }
        reader
            .does(&page)
            .unwrap_or_else(|error| panic!("{name}.md: {error}"));
    }
}

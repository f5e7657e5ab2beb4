//! The examples that are app files: what their comments say they need is put where they say, and they serve, as plain
//! CGIs and by the daemon.

mod git;
mod php;
mod programs;
mod python;
mod trac;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{Configured, installed_text, text_for, with_option};
use crate::util::{Dir, Server, as_user, client, installed, joined, prefix, run};

/// The two ways, as `mode` has them.
const WAYS: [&str; 2] = ["cgi", "daemon"];

/// An example in the test's cgi-bin, and `srv` of the test's directory in place of /srv.
struct Example {
    dir: Dir,
    name: &'static str,
    file: PathBuf,
    text: String,
}

/// Lines that a comment shows, indented, and the comment's last line before them.
struct Shown {
    head: String,
    lines: Vec<String>,
}

impl Example {
    fn of(name: &'static str) -> Self {
        let dir = Dir::new();
        for folder in ["home", "srv"] {
            dir.folder(folder, 0o755);
        }
        let at = dir.path().display();
        let text = installed_text(&format!("apps/{name}.cgi"));
        for folder in folders(&text) {
            dir.folder(&format!("srv/{folder}"), 0o755);
        }
        let polycgi = installed("polycgi").display().to_string();
        let text = text
            .replace("/usr/local/bin/polycgi", &polycgi)
            .replace("/srv/", &format!("{at}/srv/"));
        let text = format!("{text}runtime-dir = {at}/run\nenv.TMPDIR = {at}/tmp\n");
        let file = dir.file(&format!("cgi-bin/{name}.cgi"), &text, 0o755);
        Self {
            dir,
            name,
            file,
            text,
        }
    }

    /// What its comments show.
    fn shown(&self) -> Vec<Shown> {
        let mut all: Vec<Shown> = Vec::new();
        let mut head = "";
        for line in self.text.lines() {
            match (line.strip_prefix("#     "), all.last_mut()) {
                (Some(line), Some(shown)) if head.is_empty() => shown.lines.push(line.to_owned()),
                (Some(line), _) => {
                    let lines = vec![line.to_owned()];
                    all.push(Shown {
                        head: head.to_owned(),
                        lines,
                    });
                    head = "";
                }
                (None, _) => head = line,
            }
        }
        all
    }

    /// Writes the files that its comments show below a line that begins with the file's path.
    #[track_caller]
    fn write_files(&self) {
        let at = self.dir.path().display().to_string();
        let mut count = 0;
        for Shown { head, lines } in self.shown() {
            let Some(path) = head.strip_prefix(&format!("# {at}/")) else {
                continue;
            };
            let end = path.find([',', ';', ':', ' ']).unwrap_or(path.len());
            self.dir
                .file(&path[..end], &(lines.join("\n") + "\n"), 0o644);
            count += 1;
        }
        assert!(count > 0, "no file is shown in {}", self.text);
    }

    /// Runs the commands that its comments show, `changed` for the test, in the app's folder.
    #[track_caller]
    fn run_commands(&self, at: &Path, stdin: &[u8], changed: impl Fn(&str) -> String) {
        let mut count = 0;
        for Shown { head, lines } in self.shown() {
            if !head.starts_with(&format!("# {}/", self.dir.path().display())) {
                for line in lines {
                    let mut shell = client(&self.dir, at, "/bin/sh");
                    run(shell.args(["-ec", &changed(&line)]), stdin).success();
                    count += 1;
                }
            }
        }
        assert!(count > 0, "no command is shown in {}", self.text);
    }

    /// The virtual environment of that name below the installed prefix, as the app's own.
    #[track_caller]
    fn link_venv(&self, name: &str, folder: &str) {
        let link = self.dir.join("srv").join(folder).join("venv");
        symlink(prefix().join(name), link).expect("a link can be made");
    }

    #[track_caller]
    fn polycgi(&self, words: &[&str], more: &[&str]) -> String {
        let mut command = as_user(installed("polycgi"));
        run(command.args(words).arg(&self.file).args(more), b"").success()
    }

    /// `check` finds nothing wrong, and warns of nothing but Apache's private /tmp, which is this host's.
    #[track_caller]
    fn checked(&self) {
        let checked = joined(&self.polycgi(&["check"], &[]));
        assert!(checked.contains(": nothing wrong found"), "{checked}");
        let warnings = checked.matches("warning: ").count();
        assert_eq!(
            warnings,
            checked.matches("(PrivateTmp)").count(),
            "{checked}"
        );
    }

    /// `check` finds nothing wrong, and the path has these words in both ways.
    #[track_caller]
    fn serves(&self, path: &str, words: &str) {
        self.checked();
        for way in ["cgi", "scgi"] {
            let shown = self.polycgi(&["request", "-i", "--via", way], &[path]);
            let head = shown.lines().next().unwrap_or_default();
            assert!(
                !head.starts_with("Status: ") || head.contains(" 200 "),
                "{way}: {shown}"
            );
            assert!(shown.contains(words), "{way}: {shown}");
        }
        self.polycgi(&["stop"], &[]);
    }

    /// From now on it is served in that way only.
    fn serve_by(&self, way: &str) {
        let is_other = |line: &&str| !line.starts_with("mode = ");
        let lines: String = self
            .text
            .lines()
            .filter(is_other)
            .map(|line| format!("{line}\n"))
            .collect();
        let name = format!("cgi-bin/{}.cgi", self.name);
        self.dir
            .file(&name, &format!("{lines}mode = {way}\n"), 0o755);
    }

    /// Apache with its example, in which the option that has these words is in force, and more lines.
    #[track_caller]
    fn behind_apache(&self, option: &str, more: &str) -> Server {
        let text = text_for(Configured::ApacheEvent, &self.dir);
        let options = super::options(&text);
        let lines: Vec<&str> = text.lines().collect();
        let chosen = options
            .iter()
            .find(|range| lines[(*range).clone()].concat().contains(option))
            .expect("the example has such an option");
        let text = with_option(&text, chosen).replace("wiki.cgi", &format!("{}.cgi", self.name));
        self.dir.file("htpasswd", super::attacks::HTPASSWD, 0o644);
        Configured::ApacheEvent.start(&self.dir, &(text + more))
    }
}

/// A command of a virtual environment, by its own interpreter: its `#!` line names the environment that was copied.
fn by_python(command: &str) -> String {
    let path = command
        .split_whitespace()
        .find(|word| word.contains("/venv/bin/"));
    let path = path.expect("a command of a virtual environment");
    let (venv, _) = path.rsplit_once('/').expect("it has a folder");
    command.replace(path, &format!("{venv}/python3 {path}"))
}

/// The folders of /srv that a text names.
fn folders(text: &str) -> Vec<&str> {
    let mut names: Vec<&str> = text
        .split("/srv/")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric()).next())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// curl, with a jar for cookies; what it prints.
#[track_caller]
fn curl(dir: &Dir, words: &[&str]) -> String {
    let jar = dir.join("home/jar");
    let mut curl = client(dir, dir.path(), "/usr/bin/curl");
    curl.args(["--silent", "--show-error", "--cookie-jar"])
        .arg(&jar);
    run(curl.arg("--cookie").arg(&jar).args(words), b"").success()
}

/// Each example says in its second line what it is, and in its third what it needs; it names one folder to be edited.
#[test]
fn each_begins_alike() {
    let folder = prefix().join("share/polycgi/examples/apps");
    let entries = fs::read_dir(&folder).expect("the examples are installed");
    let mut count = 0;
    for entry in entries.flatten() {
        let name = entry.file_name().into_string().expect("a name in ASCII");
        let text = installed_text(&format!("apps/{name}"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "#!/usr/local/bin/polycgi -", "{name}");
        assert!(
            lines[1].starts_with("# ") && lines[1].ends_with(['.', ')']),
            "{name}"
        );
        assert!(
            lines[2].starts_with("# Needs: ") && lines[2].ends_with('.'),
            "{name}"
        );
        assert_eq!(folders(&text).len(), 1, "{name}");
        count += 1;
    }
    assert_eq!(count, 13);
}

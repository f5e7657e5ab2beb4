//! Which interpreter a WSGI application has, and whether it can be run.

use std::fs;
use std::path::{Path, PathBuf};

use super::finding::{Finding, Findings};
use super::kind::FindingKind;
use super::subject::CheckSubject;
use crate::app::wsgi::Interpreter;
use crate::app::{environment, way};
use crate::config::{self, Python};
use crate::sys::named;

const ADVICE: &str = "'python' names an interpreter, or the folder of a virtual environment; if relative, below 'directory'";
const VENV_ADVICE: &str = "make the virtual environment anew, with an interpreter that the user can reach: python3 -m venv --clear FOLDER";

/// How many entries of an environment's `lib` are looked at.
const MOST_ENTRIES: usize = 100;

/// The interpreter, if it can be run.
pub(super) fn look(subject: &CheckSubject<'_>, findings: &mut Findings) -> Option<Interpreter> {
    if let Python::InPath(name) = &subject.config.python {
        let folder = subject.directory.join(name);
        if folder.is_dir() {
            let message = format!(
                "'{name}' is a name that is looked for in PATH, while there is a folder {}",
                folder.display()
            );
            findings.add(
                subject
                    .blame(FindingKind::Python, "python", &message)
                    .advise(format!("write python = ./{name}")),
            );
            return None;
        }
    }
    let interpreter = match Interpreter::find(subject.app, subject.config) {
        Ok(interpreter) => interpreter,
        // Of `env-file` it was said before.
        Err(cannot) => {
            if environment::of_app(subject.app, subject.config).is_ok() {
                let message = cannot.to_string();
                findings.add(
                    subject
                        .blame(FindingKind::Python, "python", &message)
                        .advise(ADVICE),
                );
            }
            return None;
        }
    };
    let path = &interpreter.path;
    let why = match subject.walk(path) {
        Err(why) => Some(why),
        Ok(end) => way::not_executed(&subject.user.walker, &end, &subject.user.name),
    };
    if let Some(why) = why {
        let message = format!("cannot run {}: {why}", path.display());
        let advice = if environment_of(path).is_some() {
            VENV_ADVICE
        } else {
            ADVICE
        };
        findings.add(
            subject
                .blame(FindingKind::Python, "python", &message)
                .advise(advice),
        );
        return None;
    }
    Some(interpreter)
}

/// The folder of the virtual environment that an interpreter is of.
fn environment_of(interpreter: &Path) -> Option<PathBuf> {
    let folder = interpreter.parent()?.parent()?;
    let is_one = folder.join("pyvenv.cfg").symlink_metadata().is_ok();
    is_one.then(|| folder.to_path_buf())
}

/// Whether the virtual environment was made for another Python than the one that runs: then its packages are not seen.
pub(super) fn look_at_version(
    subject: &CheckSubject<'_>,
    interpreter: &Interpreter,
    version: &str,
    findings: &mut Findings,
) {
    let Some(folder) = environment_of(&interpreter.path) else {
        return;
    };
    let mut parts = version.split('.');
    let (Some(major), Some(minor)) = (parts.next(), parts.next()) else {
        return;
    };
    let runs = format!("python{major}.{minor}");
    let entries = fs::read_dir(folder.join("lib")).into_iter().flatten();
    let names = entries
        .flatten()
        .take(MOST_ENTRIES)
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let made: Vec<String> = names.filter(|name| name.starts_with("python")).collect();
    if made.is_empty() || made.contains(&runs) {
        return;
    }
    let message = format!(
        "the virtual environment {} was made for Python {}, but its bin/python3 is Python {version} now: its packages \
         are not found",
        folder.display(),
        made_for(&folder).unwrap_or_else(|| made[0].trim_start_matches("python").to_owned())
    );
    findings.add(
        subject
            .blame(FindingKind::VenvVersion, "python", &message)
            .advise(format!(
                "make it anew, and install its packages again: python3 -m venv --clear {}",
                folder.display()
            )),
    );
}

/// `version = 3.9.2` of pyvenv.cfg.
fn made_for(folder: &Path) -> Option<String> {
    let text = named::read_text(&folder.join("pyvenv.cfg"), config::LONGEST_FILE).ok()?;
    let mut lines = text.lines();
    lines.find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "version").then(|| value.trim().to_owned())
    })
}

/// What runs, for the line that says that nothing is wrong.
pub(super) fn summary(interpreter: &Interpreter, version: &str) -> String {
    let path = &interpreter.path;
    let kind = match environment_of(path) {
        Some(_) => "a virtual environment with Python",
        None => "Python",
    };
    format!("{} ({kind} {version})", path.display())
}

/// The folder of a virtual environment beside the app, for one whose `python` is not set.
pub(super) fn unused_environment(subject: &CheckSubject<'_>) -> Option<String> {
    if subject.config.python != Python::InPath("python3".to_owned()) {
        return None;
    }
    let names = [".venv", "venv", "env"];
    let found = names.into_iter().find(|name| {
        let folder = subject.directory.join(name);
        folder.join("pyvenv.cfg").is_file()
    });
    found.map(|name| format!("{}/{name}", subject.directory.display()))
}

/// A fact for programs.
pub(super) fn note(interpreter: &Interpreter, version: &str) -> Finding {
    Finding::note(FindingKind::Interpreter, summary(interpreter, version)).at(&interpreter.path)
}

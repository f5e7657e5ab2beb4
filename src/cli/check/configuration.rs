//! What the configuration says and may not mean: signs for a shell that is not there, comments that belong to a value,
//! secrets in a file that others can read.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::finding::{Finding, Findings, Severity};
use super::kind::FindingKind;
use super::subject::CheckSubject;
use crate::app;
use crate::config::{self, ConfigDoubt, DoubtKind};
use crate::sys::named;

/// Parts of a variable's name that say that its value is a secret.
const SECRET: [&str; 6] = [
    "PASSW",
    "SECRET",
    "TOKEN",
    "API_KEY",
    "PRIVATE",
    "CREDENTIAL",
];

pub(super) fn look(subject: &CheckSubject<'_>, findings: &mut Findings) {
    let file = &subject.app.config;
    if let Ok(text) = named::read(file, config::LONGEST_FILE) {
        let doubts = config::doubts(&file.to_string_lossy(), &text);
        add(doubts, findings);
        look_for_secrets(file, &text, findings);
    }
    if let Some(file) = app::env_file(subject.app, subject.config)
        && let Ok(text) = named::read(&file, config::LONGEST_FILE)
    {
        add(
            config::env_file_doubts(&file.to_string_lossy(), &text),
            findings,
        );
    }
}

fn add(doubts: Vec<ConfigDoubt>, findings: &mut Findings) {
    for ConfigDoubt { at, kind } in doubts {
        let (severity, slug) = match kind {
            // A value that is as it stands may be meant so.
            DoubtKind::Comment => (Severity::Warning, FindingKind::Comment),
            DoubtKind::Assignment | DoubtKind::Path | DoubtKind::Quotes | DoubtKind::Shell => {
                (Severity::Error, FindingKind::NoShell)
            }
        };
        findings.add(Finding::in_config(severity, slug, &at).advise(kind.advice()));
    }
}

/// The app file is most often one that all users can read.
fn look_for_secrets(file: &Path, text: &[u8], findings: &mut Findings) {
    let Ok(mode) = std::fs::metadata(file).map(|found| found.mode() & 0o7777) else {
        return;
    };
    if mode & 0o004 == 0 {
        return;
    }
    let shown = file.display();
    let message = |key: &str| {
        let why = format!("and every user of the host can read {shown} (mode {mode:04o})");
        is_secret(key).then(|| format!("{key} looks like a secret, {why}"))
    };
    for at in config::blame_variables(&shown.to_string(), text, message) {
        findings.add(
            Finding::in_config(Severity::Warning, FindingKind::Secrets, &at).advise("put it into a file that 'env-file' names: chmod 600, outside what the web server serves"),
        );
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET.iter().any(|part| name.contains(part))
}

//! The paths that the configuration names, as the app's user finds them: the working directory, and what is read or
//! written by the app's own processes.

use std::path::Path;

use super::finding::{Findings, Severity};
use super::kind::FindingKind;
use super::subject::CheckSubject;
use crate::app::{self, environment, way};
use crate::config::App;
use crate::sys::files::Want;

const OPEN_THE_WAY: &str =
    "let the user enter each folder on the way: chmod a+x it, or g+x for a group of the user's";

pub(super) fn look(subject: &CheckSubject<'_>, findings: &mut Findings) {
    look_at_directory(subject, findings);
    look_at_spool(subject, findings);
    look_at_env_file(subject, findings);
}

fn look_at_env_file(subject: &CheckSubject<'_>, findings: &mut Findings) {
    let Some(file) = app::env_file(subject.app, subject.config) else {
        return;
    };
    let why = if subject.user.is_other() {
        let why = readable(subject, &file).err();
        why.map(|why| format!("cannot read {}: {why}", file.display()))
    } else {
        let read = environment::of_app(subject.app, subject.config);
        read.err().map(|cannot| cannot.to_string())
    };
    if let Some(why) = why {
        findings.add(subject.blame(FindingKind::EnvFile, "env-file", &why).advise(
            "it has lines of NAME=value, and the app's user has to be able to read it: chown and chmod 600 it",
        ));
    }
}

fn readable(subject: &CheckSubject<'_>, path: &Path) -> Result<(), String> {
    let end = subject.walk(path)?;
    if subject.user.walker.may(Want::Read, &end) {
        Ok(())
    } else {
        Err(way::refused(&end, &subject.user.name, "read"))
    }
}

fn look_at_directory(subject: &CheckSubject<'_>, findings: &mut Findings) {
    let directory = &subject.directory;
    let mut wrong = |why: &str, advice: &str| {
        let message = format!("cannot change to {}: {why}", directory.display());
        let finding = subject.blame_directory(FindingKind::Directory, &message);
        findings.add(finding.advise(advice));
    };
    let end = match subject.walk(directory) {
        Ok(end) => end,
        Err(why) if why.contains(" can't enter ") => return wrong(&why, OPEN_THE_WAY),
        Err(why) => {
            return wrong(
                &why,
                "'directory' is where the app is run, and where its modules are; if relative, to the app file's folder",
            );
        }
    };
    let user = &subject.user;
    if !end.is_dir() {
        wrong("it is not a directory", "'directory' names a folder");
    } else if !user.walker.may(Want::Enter, &end) {
        wrong(&way::refused(&end, &user.name, "enter"), OPEN_THE_WAY);
    } else if !user.walker.may(Want::Read, &end) && matches!(subject.config.app, App::Wsgi(_)) {
        let why = way::refused(&end, &user.name, "read");
        let message = format!("{why}: Python finds no modules there");
        let finding = subject.blame_directory(FindingKind::Directory, &message);
        findings.add(finding.advise("chmod a+rx it, or g+rx for a group of the user's"));
    }
}

/// Where bodies and responses wait. Nothing of it is made here, and nothing written.
fn look_at_spool(subject: &CheckSubject<'_>, findings: &mut Findings) {
    let dir = &subject.config.spool.dir;
    let user = &subject.user;
    let why = match subject.walk(dir) {
        Err(why) => why,
        Ok(end) if !end.is_dir() => "it is not a directory".to_owned(),
        Ok(end) if !user.walker.may(Want::Write, &end) || !user.walker.may(Want::Enter, &end) => {
            way::refused(&end, &user.name, "make files in")
        }
        Ok(_) => return,
    };
    let message = format!("cannot spool in {}: {why}", dir.display());
    findings.add(
        subject
            .find(Severity::Error, FindingKind::Spool, "spool-dir", &message)
            .advise("requests with a body, and slow clients, need it: name a folder of the user's; see 'spool-dir'"),
    );
}

//! What the app's processes make, and what others could do to it: runtime directory, log, overload page, addresses,
//! permissions, file systems.

use std::path::Path;

use super::super::ask;
use super::finding::{Finding, Findings, Severity};
use super::kind::FindingKind;
use super::mounts::MountTable;
use super::subject::CheckSubject;
use crate::app::{self, way};
use crate::config::{Address, App, Mode};
use crate::elsewhere;
use crate::listen;
use crate::place::Place;
use crate::sys::files::Want;
use crate::sys::named;

/// What is looked at by this process, which is the app's user's.
pub(super) fn look(subject: &CheckSubject<'_>, findings: &mut Findings) {
    look_at_place(subject, findings);
    look_at_page(subject, findings);
    look_at_status_page(subject, findings);
    look_at_log(subject, findings);
    look_at_listen(subject, findings);
}

/// What modes and mounts show, to any user.
pub(super) fn look_around(subject: &CheckSubject<'_>, findings: &mut Findings) {
    let env_file = app::env_file(subject.app, subject.config);
    for doubt in app::doubts::of(subject.app, subject.config, subject.user.uid) {
        let (kind, message, path) = (FindingKind::Permissions, doubt.to_string(), doubt.path());
        let finding = if env_file.as_deref() == Some(path) {
            subject.blame(kind, "env-file", &message)
        } else if path == subject.directory {
            subject.blame_directory(kind, &message)
        } else {
            Finding::error(kind, message).at(path)
        };
        findings.add(finding.advise(doubt.advice()));
    }
    look_at_mounts(subject, findings);
}

fn look_at_place(subject: &CheckSubject<'_>, findings: &mut Findings) {
    // It only examines: a place is made by a request.
    let no = match Place::examine(subject.app, subject.config.runtime_dir.as_deref()) {
        Ok(place) => return look_at_view(subject, &place, findings),
        Err(no) => no,
    };
    let without = match &subject.config.app {
        App::Commands { cgi: None, .. } => "the app can't be served",
        App::Commands { .. } | App::Wsgi(_) => "the app runs as a plain CGI only, without a limit",
        App::Connect(_) => "the server is asked without a limit",
    };
    let user = &subject.user.name;
    let advice = format!(
        "without a runtime directory of {user}'s own, mode 0700, {without}; see 'runtime-dir'"
    );
    findings.add(Finding::error(FindingKind::RuntimeDir, no.to_string()).advise(advice));
}

/// Whether the web server sees the same place, and no other user has taken a better one.
fn look_at_view(subject: &CheckSubject<'_>, place: &Place, findings: &mut Findings) {
    for sentence in place.passed_over(subject.app) {
        let advice = format!(
            "have it removed; until then {} is used",
            place.dir.display()
        );
        findings.add(Finding::warning(FindingKind::RuntimeDir, sentence).advise(advice));
    }
    if let Some(pid) = elsewhere::hides(place) {
        let sentence = format!(
            "the web server, pid {pid}, has a /tmp of its own (PrivateTmp=true): the app's place lies in there, and is \
             found only while the app's daemon runs"
        );
        let advice = "as root, let places be in /run: install -d -m 1777 /run/polycgi; 'make install' sees to it at \
                      each boot";
        findings.add(Finding::warning(FindingKind::PrivateTmp, sentence).advise(advice));
    }
}

fn look_at_page(subject: &CheckSubject<'_>, findings: &mut Findings) {
    let Some(page) = app::overload_page(subject.app, subject.config) else {
        return;
    };
    if let Err(error) = app::read_page(&page) {
        let message = cannot("read", &page, &page, &error);
        findings.add(
            subject
                .blame(FindingKind::OverloadPage, "overload-page", &message)
                .advise("until then the built-in page is shown; see 'overload-page'"),
        );
    }
}

fn look_at_status_page(subject: &CheckSubject<'_>, findings: &mut Findings) {
    let status = &subject.config.status;
    if status.path.is_some() && status.allow.is_empty() {
        findings.add(
            subject
                .blame(
                    FindingKind::StatusPage,
                    "status-path",
                    "no client may see this page",
                )
                .advise("name their networks: status-allow = 127.0.0.1 192.0.2.0/24"),
        );
    } else if status.path.is_none() && !status.allow.is_empty() {
        findings.add(
            subject
                .blame(
                    FindingKind::StatusPage,
                    "status-allow",
                    "there is no page to allow",
                )
                .advise("say where it is: status-path = /polycgi-status"),
        );
    }
}

fn look_at_log(subject: &CheckSubject<'_>, findings: &mut Findings) {
    let Some(path) = app::log_file(subject.app, subject.config) else {
        return;
    };
    let blame = |message: &str| subject.blame(FindingKind::LogFile, "log-file", message);
    if named::standard_stream(&path).is_some() {
        let shown = path.display();
        findings.add(
            blame(&format!(
                "cannot log to {shown}: a daemon in the background has no such stream"
            ))
            .advise(
                "name a file; a daemon in the foreground logs to standard error without 'log-file'",
            ),
        );
    } else if let Err(error) = named::can_append(&path) {
        let folder = path.parent().unwrap_or(Path::new("/"));
        findings.add(
            blame(&cannot("log to", &path, folder, &error))
                .advise("until then the log is in the runtime directory; see 'log-file'"),
        );
    }
}

/// `cannot VERB PATH: error`, and what stands in the way to `way`.
fn cannot(verb: &str, path: &Path, way: &Path, error: &std::io::Error) -> String {
    let why = way::reason("", way, error).map_or(String::new(), |why| format!(": {why}"));
    format!("cannot {verb} {}: {error}{why}", path.display())
}

/// While the app has a daemon, the addresses are the daemon's, and `status` shows those at which it can't listen.
fn look_at_listen(subject: &CheckSubject<'_>, findings: &mut Findings) {
    let how = &subject.config.listen;
    if !how.addresses.is_empty() && subject.config.mode == Mode::Cgi {
        findings.add(
            subject
                .blame(
                    FindingKind::Listen,
                    "listen",
                    "with 'mode = cgi' no process listens at the addresses of 'listen'",
                )
                .advise("only a daemon listens: set 'mode = auto' or 'mode = daemon'"),
        );
    }
    for user in &how.allow.users {
        if let Err(sentence) = listen::uid(user) {
            findings.add(
                subject
                    .blame(FindingKind::Listen, "listen-allow", &sentence)
                    .advise("name a user of this host, or the number of one"),
            );
        }
    }
    if let Err(sentence) = listen::group(how) {
        return findings.add(
            subject
                .blame(FindingKind::Listen, "socket-group", &sentence)
                .advise("name a group of this host, or the number of one"),
        );
    }
    // A daemon that can't be reached has them too.
    if !matches!(ask::find(subject.app), Ok(None)) {
        return;
    }
    for address in &how.addresses {
        if let Err(cannot) = listen::try_out(address, how) {
            let why = not_bound(subject, address).map_or(String::new(), |why| format!(": {why}"));
            findings.add(
                subject
                    .blame(FindingKind::Listen, "listen", &format!("{cannot}{why}"))
                    .advise("see 'listen', 'socket-mode' and 'socket-group'"),
            );
        }
    }
}

/// What is wrong with the folder of a socket's path.
fn not_bound(subject: &CheckSubject<'_>, address: &Address) -> Option<String> {
    let Address::Path(path) = address else {
        return None;
    };
    let folder = match subject.walk(path.parent()?) {
        Ok(folder) => folder,
        Err(why) => return Some(why),
    };
    let user = &subject.user;
    let may_make = user.walker.may(Want::Write, &folder) && user.walker.may(Want::Enter, &folder);
    (!may_make).then(|| way::refused(&folder, &user.name, "make files in"))
}

/// Which file systems the app and its files are on. They are told by the list of mounts: a look at a file of a server
/// that is away would not return.
fn look_at_mounts(subject: &CheckSubject<'_>, findings: &mut Findings) {
    let mounts = MountTable::read();
    let spool = &subject.config.spool.dir;
    if let Some(mount) = mounts.of(spool)
        && (mount.is_remote() || mount.is_memory())
    {
        let what = if mount.is_remote() {
            "on a network file system"
        } else {
            "in memory, so what waits there counts as memory"
        };
        let message = format!("{} is {what} ({})", spool.display(), mount.kind);
        findings.add(
            subject
                .find(
                    Severity::Warning,
                    FindingKind::FileSystem,
                    "spool-dir",
                    &message,
                )
                .advise("let 'spool-dir' be on a disk of this host"),
        );
    }
    let paths = [subject.app.folder(), subject.directory.as_path()];
    let remote = paths.into_iter().find_map(|path| {
        mounts
            .of(path)
            .filter(|mount| mount.is_remote())
            .map(|mount| (path, mount))
    });
    if let Some((path, mount)) = remote {
        let message = format!(
            "{} is on a network file system ({}): an edit may be seen only after its cache's time",
            path.display(),
            mount.kind
        );
        findings.add(
            Finding::warning(FindingKind::FileSystem, message)
                .at(path)
                .advise("nothing, or mount it with a shorter 'acregmax'; 'polycgi reload' loads an edit at once"),
        );
    }
}

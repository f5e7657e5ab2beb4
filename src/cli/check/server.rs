//! What web servers of the host do with the app: which of them runs its file, what it keeps from it, which of its files
//! it would send, and where its processes have a /tmp of their own. It is told as far as their configuration shows it.

use std::path::{Path, PathBuf};

use super::apache::Apache;
use super::finding::{Finding, Findings, Severity};
use super::kind::FindingKind;
use super::lighttpd::Lighttpd;
use super::subject::CheckSubject;
use super::{by_apache, by_lighttpd, suexec, units};
use crate::app;
use crate::config::{Address, App, Mode};

/// How the app file is run, if that is known.
pub(super) fn look(subject: &CheckSubject<'_>, findings: &mut Findings) -> Option<String> {
    let root = Path::new("/");
    let mut apache = Apache::read(root);
    let lighttpd = Lighttpd::read(root);
    let documents = documents(subject, apache.as_ref(), lighttpd.as_ref());
    let is_below = documents
        .iter()
        .any(|(folder, _)| subject.app.path.starts_with(folder));
    let by_apache = apache
        .as_mut()
        .and_then(|apache| by_apache::look(subject, apache, root, is_below, findings));
    let by_lighttpd = lighttpd
        .as_ref()
        .and_then(|lighttpd| by_lighttpd::look(subject, lighttpd, by_apache.is_some(), findings));
    if let Some(apache) = &apache {
        suexec::look(subject, apache, findings);
    }
    look_at_documents(subject, &documents, findings);
    // A server whose configuration does not lead to the app does not run it.
    let is_apache_s = apache.is_none() || by_apache.is_some() || is_below;
    look_at_tmp(subject, root, is_apache_s, findings);
    by_apache.or(by_lighttpd)
}

/// The folder that is served as files and that a path of the app lies in, with where that is said.
fn documents(
    subject: &CheckSubject<'_>,
    apache: Option<&Apache>,
    lighttpd: Option<&Lighttpd>,
) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut paths = vec![subject.app.path.clone(), subject.directory.clone()];
    paths.extend(app::env_file(subject.app, subject.config));
    for path in paths {
        let path = path.canonicalize().unwrap_or(path);
        if let Some(documents) = apache.and_then(|apache| apache.documents(&path)) {
            let folder = documents.words.first().map_or("", String::as_str);
            found.push((
                folder.into(),
                format!("DocumentRoot, {}", documents.position()),
            ));
        }
        let home = path
            .ancestors()
            .find(|above| above.ends_with("public_html"));
        found.extend(home.map(|home| (home.to_path_buf(), "public_html".to_owned())));
    }
    let documents = lighttpd.and_then(Lighttpd::documents);
    found.extend(documents.map(|(folder, position)| {
        (
            folder.to_path_buf(),
            format!("server.document-root, {position}"),
        )
    }));
    found
}

/// Files of the app that a visitor can ask for by their own names.
fn look_at_documents(
    subject: &CheckSubject<'_>,
    documents: &[(PathBuf, String)],
    findings: &mut Findings,
) {
    let below = |path: &Path| {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        documents
            .iter()
            .find(|(folder, _)| path.starts_with(folder))
    };
    if let Some(file) = app::env_file(subject.app, subject.config)
        && let Some((folder, by)) = below(&file)
    {
        let message = format!(
            "{} lies below {}, which a web server sends as files ({by})",
            file.display(),
            folder.display()
        );
        findings.add(
            subject
                .find(
                    Severity::Error,
                    FindingKind::ServedSecrets,
                    "env-file",
                    &message,
                )
                .advise("move it to a folder that no web server serves"),
        );
    }
    let is_code = matches!(subject.config.app, App::Wsgi(_) | App::Commands { .. });
    if is_code && let Some((folder, by)) = below(&subject.directory) {
        let message = format!(
            "the app's files in {} lie below {}, which a web server sends as files ({by}): a visitor can read them",
            subject.directory.display(),
            folder.display()
        );
        findings.add(
            subject
                .find(Severity::Warning, FindingKind::ServedFiles, "directory", &message)
                .advise("move all but the app file to a folder that no web server serves, and name that by 'directory'"),
        );
    }
}

/// Where the web server's /tmp is its own, other processes find neither the daemon's place nor its sockets there.
fn look_at_tmp(
    subject: &CheckSubject<'_>,
    root: &Path,
    is_apache_s: bool,
    findings: &mut Findings,
) {
    let config = subject.config;
    let is_tmp = |path: &Path| path.starts_with("/tmp") || path.starts_with("/var/tmp");
    let has_run = Path::new("/run/polycgi").is_dir();
    // A web server that runs shows it better than its unit.
    let is_said = findings.has(FindingKind::PrivateTmp);
    for private in units::with_private_tmp(root) {
        let server = private.server;
        if !is_apache_s && units::is_apache(server) {
            continue;
        }
        let mut warn = |what: String, advice: &str| {
            let sentence = format!("{server} has a /tmp of its own (PrivateTmp): {what}");
            findings.add(
                Finding::warning(FindingKind::PrivateTmp, sentence)
                    .at_line(&private.file, private.line, None)
                    .advise(advice),
            );
        };
        if !is_said
            && config.mode != Mode::Cgi
            && config.runtime_dir.as_deref().map_or(!has_run, is_tmp)
        {
            warn(
                "the daemon's place lies there, where 'status' and 'reload' may not find it"
                    .to_owned(),
                "as root, let places be in /run: install -d -m 1777 /run/polycgi; 'make install' sees to it at each boot",
            );
        }
        for address in &config.listen.addresses {
            if let Address::Path(path) = address
                && is_tmp(path)
            {
                warn(
                    format!(
                        "other servers do not find {} if it starts the daemon",
                        path.display()
                    ),
                    "let 'listen' name a path below /run",
                );
            }
        }
    }
}

//! What web servers of the host do with the app: which of them runs its file, what it keeps from it, which of its files
//! it would send, and where its processes have a /tmp of their own. It is told as far as their configuration shows it.

use std::path::{Path, PathBuf};

use super::apache::{Apache, Directive};
use super::finding::{Finding, Findings, Severity};
use super::kind::FindingKind;
use super::subject::CheckSubject;
use super::{suexec, units};
use crate::app;
use crate::config::{Address, App, Mode};
use crate::sys::named;

/// The most bytes of lighttpd's configuration that are read.
const MOST_BYTES: usize = 256 << 10;

/// How the app file is run, if that is known.
pub(super) fn look(subject: &CheckSubject<'_>, findings: &mut Findings) -> Option<String> {
    let root = Path::new("/");
    let apache = Apache::read(root);
    let documents = documents(subject, apache.as_ref(), root);
    let is_below = documents
        .iter()
        .any(|(folder, _)| subject.app.path.starts_with(folder));
    let runs = apache
        .as_ref()
        .and_then(|apache| look_at_apache(subject, apache, is_below, findings));
    if let Some(apache) = &apache {
        suexec::look(subject, apache, findings);
    }
    look_at_documents(subject, &documents, findings);
    look_at_tmp(subject, root, findings);
    runs
}

/// What stands in Apache's configuration for the app's folder.
fn look_at_apache(
    subject: &CheckSubject<'_>,
    apache: &Apache,
    is_below: bool,
    findings: &mut Findings,
) -> Option<String> {
    let Some((directive, how)) = directive_for(subject, apache) else {
        findings.extend(why_not(subject, apache, is_below));
        return None;
    };
    let at = |finding: Finding| finding.at_line(&directive.file, directive.line, None);
    findings.add(at(Finding::note(FindingKind::Apache, how.clone())));
    if !["cgi", "cgid"].iter().any(|name| apache.has_module(name)) {
        let sentence = "Apache has neither mod_cgi nor mod_cgid loaded: it runs no program";
        let finding = at(Finding::warning(FindingKind::Apache, sentence));
        findings.add(finding.advise("a2enmod cgid, and restart Apache"));
    }
    findings.add(pass_auth(apache, subject.app.folder()));
    Some(how)
}

/// By which directive Apache runs the app file, and how that is told.
fn directive_for<'a>(
    subject: &CheckSubject<'_>,
    apache: &'a Apache,
) -> Option<(&'a Directive, String)> {
    let (file, folder) = (&subject.app.path, subject.app.folder());
    if let Some((alias, url)) = apache.script_alias(file) {
        let position = alias.position();
        let how = format!("Apache runs it at {url} (ScriptAlias, {position})");
        return Some((alias, how));
    }
    let options = apache.exec_cgi(folder)?;
    apache.handles(folder, file).then(|| {
        let position = options.position();
        let how = format!("Apache may run it (Options ExecCGI, {position})");
        (options, how)
    })
}

/// What is missing for Apache to run it. `is_below`: the app file lies where files are served.
fn why_not(subject: &CheckSubject<'_>, apache: &Apache, is_below: bool) -> Option<Finding> {
    let (file, folder) = (&subject.app.path, subject.app.folder());
    let shown = folder.display();
    if let Some(options) = apache.exec_cgi(folder) {
        let (position, file) = (options.position(), file.display());
        let sentence = format!(
            "'Options ExecCGI' stands for {shown} ({position}), but no handler makes {file} a CGI program"
        );
        let finding = Finding::warning(FindingKind::Handler, sentence);
        let finding = finding.at_line(&options.file, options.line, None);
        return Some(finding.advise(
            "AddHandler cgi-script .cgi, and a name that ends so; or SetHandler cgi-script",
        ));
    }
    is_below.then(|| {
        let sentence = format!(
            "neither ScriptAlias nor 'Options ExecCGI' stands for {shown} in Apache's configuration: it would send the \
             app file as text"
        );
        let finding = Finding::warning(FindingKind::ExecCgi, sentence).at(folder);
        finding.advise(
            "a .htaccess file or another web server may say otherwise; else see 'Apache' in the examples",
        )
    })
}

/// Whether the app sees who a client says it is.
fn pass_auth(apache: &Apache, folder: &Path) -> Finding {
    let auth = match apache.pass_auth(folder) {
        Some(pass) => format!(
            "CGIPassAuth is on ({}): the app sees HTTP_AUTHORIZATION",
            pass.position()
        ),
        None => format!(
            "CGIPassAuth is not on for {}: Apache keeps the Authorization field from the app",
            folder.display()
        ),
    };
    Finding::note(FindingKind::CgiPassAuth, auth)
}

/// The folder that is served as files and that a path of the app lies in, with where that is said.
fn documents(
    subject: &CheckSubject<'_>,
    apache: Option<&Apache>,
    root: &Path,
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
    found.extend(lighttpd_documents(root));
    found
}

/// `server.document-root = "/var/www/html"`
fn lighttpd_documents(root: &Path) -> Option<(PathBuf, String)> {
    let file = root.join("etc/lighttpd/lighttpd.conf");
    let bytes = named::read(&file, MOST_BYTES).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines().enumerate();
    lines.find_map(|(index, line)| {
        let (key, value) = line.split_once('=')?;
        let folder = value.trim().trim_matches('"');
        (key.trim() == "server.document-root" && folder.starts_with('/')).then(|| {
            let position = format!("server.document-root, {}:{}", file.display(), index + 1);
            (folder.into(), position)
        })
    })
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
fn look_at_tmp(subject: &CheckSubject<'_>, root: &Path, findings: &mut Findings) {
    let config = subject.config;
    let is_tmp = |path: &Path| path.starts_with("/tmp") || path.starts_with("/var/tmp");
    let has_run = Path::new("/run/polycgi").is_dir();
    // A web server that runs shows it better than its unit.
    let is_said = findings.has(FindingKind::PrivateTmp);
    for private in units::with_private_tmp(root) {
        let server = private.server;
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

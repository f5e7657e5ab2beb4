//! What lighttpd does with the app file, and whether it asks the app's daemon, as its configuration says it.

use super::finding::{Finding, Findings};
use super::kind::FindingKind;
use super::lighttpd::{Lighttpd, ListEntry, Setting};
use super::subject::CheckSubject;
use crate::config::Address;

/// How lighttpd runs the app, if it does. `is_run`: another web server does.
pub(super) fn look(
    subject: &CheckSubject<'_>,
    lighttpd: &Lighttpd,
    is_run: bool,
    findings: &mut Findings,
) -> Option<String> {
    let by_daemon = look_at_scgi(subject, lighttpd, findings);
    let file = &subject.app.path;
    let Some(url) = lighttpd.url(file) else {
        return by_daemon;
    };
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let assigned = lighttpd.entries("cgi.assign", &url);
    let assigned = assigned.iter().find(|entry| name.ends_with(entry.key));
    let Some(ListEntry { value, by, .. }) = assigned else {
        if !is_run && by_daemon.is_none() && !lighttpd.excludes(&name) {
            findings.add(as_text(subject, &url));
        }
        return by_daemon;
    };
    let at = |finding: Finding| finding.at_line(by.file(), by.line(), None);
    let program = value.text();
    if !program.is_empty() {
        let sentence = format!(
            "lighttpd gives {name} to {program}, and does not run polycgi, which its first line names"
        );
        let finding = at(Finding::warning(FindingKind::Lighttpd, sentence));
        findings.add(finding.advise("let 'cgi.assign' have an empty program for it"));
        return by_daemon;
    }
    if !lighttpd.has_module("mod_cgi") {
        let sentence = "'cgi.assign' stands here, but mod_cgi is not in 'server.modules'";
        let finding = at(Finding::warning(FindingKind::Lighttpd, sentence));
        findings
            .add(finding.advise("lighty-enable-mod cgi, or add \"mod_cgi\"; and restart lighttpd"));
    }
    let position = by.position();
    let how = format!("lighttpd may run it at {url} (cgi.assign, {position})");
    findings.add(at(Finding::note(FindingKind::Lighttpd, how.clone())));
    Some(how)
}

/// Whether lighttpd asks the daemon at an address of `listen`.
fn look_at_scgi(
    subject: &CheckSubject<'_>,
    lighttpd: &Lighttpd,
    findings: &mut Findings,
) -> Option<String> {
    // Without a URL no entry is left out for the section that it stands in.
    let servers = lighttpd.all_entries("scgi.server");
    let found = servers.iter().find_map(|entry| {
        let mut hosts = entry.value.list().iter().map(|(_, host)| host);
        let address = hosts.find_map(|host| {
            let mut addresses = subject.config.listen.addresses.iter();
            addresses.find(|address| is_of(host, address))
        })?;
        Some((entry, address))
    });
    let (ListEntry { key, by, .. }, address) = found?;
    let how = format!(
        "lighttpd asks the daemon at {address} for {key} (scgi.server, {})",
        by.position()
    );
    let note = Finding::note(FindingKind::Lighttpd, how.clone());
    findings.add(note.at_line(by.file(), by.line(), None));
    if !lighttpd.has_module("mod_scgi") {
        let sentence = "'scgi.server' stands here, but mod_scgi is not in 'server.modules'";
        let finding = Finding::warning(FindingKind::Lighttpd, sentence);
        let finding = finding.at_line(by.file(), by.line(), None);
        findings.add(finding.advise("add \"mod_scgi\", and restart lighttpd"));
    }
    Some(how)
}

fn is_of(host: &Setting, address: &Address) -> bool {
    let value = |key: &str| {
        let mut pairs = host.list().iter();
        pairs
            .find(|(name, _)| name == key)
            .map_or("", |(_, value)| value.text())
    };
    match address {
        Address::Path(path) => path.as_os_str() == value("socket"),
        other => other.to_string() == format!("{}:{}", value("host"), value("port")),
    }
}

/// It lies where lighttpd sends files.
fn as_text(subject: &CheckSubject<'_>, url: &str) -> Finding {
    let sentence = format!(
        "no 'cgi.assign' stands for {url} in lighttpd's configuration: it would send the app file as text"
    );
    let finding = Finding::warning(FindingKind::Lighttpd, sentence).at(&subject.app.path);
    finding.advise("see 'lighttpd' in the examples")
}

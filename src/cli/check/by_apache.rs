//! What Apache does with the app file, as its configuration and the `.htaccess` files on the way say it.

use std::path::Path;

use super::apache::{AccessFile, Apache, Directive, Spot};
use super::finding::{Finding, Findings};
use super::kind::FindingKind;
use super::subject::CheckSubject;

/// How Apache runs the app file, if it does. `is_below`: the file lies where files are served.
pub(super) fn look(
    subject: &CheckSubject<'_>,
    apache: &mut Apache,
    root: &Path,
    is_below: bool,
    findings: &mut Findings,
) -> Option<String> {
    let (file, folder) = (&*subject.app.path, subject.app.folder());
    let access_files = apache.read_access_files(root, folder);
    let url = apache.url(file);
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let spot = Spot {
        folder,
        name: &name,
        url: url.as_deref(),
    };
    let runs = runs(subject, apache, &spot);
    let is_served = is_below || url.is_some() || runs.is_some();
    if is_served {
        findings.extend(refused(&access_files));
    }
    let Some((directive, how)) = runs else {
        let unread = access_files.iter().find(|access| !access.is_read);
        findings.extend(why_not(subject, apache, &spot, is_below, unread));
        return None;
    };
    let at = |finding: Finding| finding.at_line(&directive.file, directive.line, None);
    findings.add(at(Finding::note(FindingKind::Apache, how.clone())));
    if !["cgi", "cgid"].iter().any(|name| apache.has_module(name)) {
        let sentence = "Apache has neither mod_cgi nor mod_cgid loaded: it runs no program";
        let finding = at(Finding::warning(FindingKind::Apache, sentence));
        findings.add(finding.advise("a2enmod cgid, and restart Apache"));
    }
    findings.add(pass_auth(apache, &spot));
    Some(how)
}

/// By which directive Apache runs the app file, and how that is told.
fn runs<'a>(
    subject: &CheckSubject<'_>,
    apache: &'a Apache,
    spot: &Spot<'_>,
) -> Option<(&'a Directive, String)> {
    let file = &subject.app.path;
    if let Some((alias, url)) = apache.script_alias(file) {
        let position = alias.position();
        let how = format!("Apache runs it at {url} (ScriptAlias, {position})");
        return Some((alias, how));
    }
    if let Some(alias) = apache.script_alias_match(file) {
        let position = alias.position();
        let how = format!("Apache may run it (ScriptAliasMatch, {position})");
        return Some((alias, how));
    }
    let options = apache.exec_cgi(spot)?;
    apache.handles(spot).then(|| {
        let position = options.position();
        let how = format!("Apache may run it (Options ExecCGI, {position})");
        (options, how)
    })
}

/// What a `.htaccess` says and must not: Apache answers requests for what is in its folder with 500.
fn refused(access_files: &[AccessFile]) -> Vec<Finding> {
    let read = access_files.iter().filter(|access| access.is_read);
    let refused = read.flat_map(|access| {
        let by = position(access);
        access.refused.iter().map(move |directive| {
            let (kind, name) = match &*directive.name {
                "options" => (FindingKind::ExecCgi, "Options"),
                "cgipassauth" => (FindingKind::CgiPassAuth, "CGIPassAuth"),
                _ => (FindingKind::Handler, "a handler"),
            };
            let sentence = format!(
                "AllowOverride does not allow {name} here ({by}): Apache answers each request with 500"
            );
            let finding = Finding::error(kind, sentence);
            let finding = finding.at_line(&directive.file, directive.line, None);
            finding.advise("take the line out, or have 'AllowOverride Options FileInfo AuthConfig' set for the folder")
        })
    });
    refused.collect()
}

fn position(access: &AccessFile) -> String {
    let by = access.by.as_ref();
    by.map_or(
        "AllowOverride None is the default".to_owned(),
        Directive::position,
    )
}

/// What is missing for Apache to run it. `unread`: a `.htaccess` that Apache passes over.
fn why_not(
    subject: &CheckSubject<'_>,
    apache: &Apache,
    spot: &Spot<'_>,
    is_below: bool,
    unread: Option<&AccessFile>,
) -> Option<Finding> {
    let (file, shown) = (subject.app.path.display(), spot.folder.display());
    if let Some(options) = apache.exec_cgi(spot) {
        let position = options.position();
        let sentence = format!(
            "'Options ExecCGI' stands for {shown} ({position}), but no handler makes {file} a CGI program"
        );
        let finding = Finding::warning(FindingKind::Handler, sentence);
        let finding = finding.at_line(&options.file, options.line, None);
        return Some(finding.advise(
            "AddHandler cgi-script .cgi, and a name that ends so; or SetHandler cgi-script",
        ));
    }
    if !is_below {
        return None;
    }
    if let Some(access) = unread {
        let by = position(access);
        let path = access.path.display();
        let sentence = format!("Apache does not read {path}: AllowOverride is None ({by})");
        let finding = Finding::warning(FindingKind::ExecCgi, sentence).at(&access.path);
        return Some(finding.advise(
            "have 'AllowOverride Options FileInfo AuthConfig' set for the folder, or the file's lines in Apache's \
             configuration",
        ));
    }
    let sentence = format!(
        "neither ScriptAlias nor 'Options ExecCGI' stands for {shown} in Apache's configuration: it would send the \
         app file as text"
    );
    let finding = Finding::warning(FindingKind::ExecCgi, sentence).at(spot.folder);
    Some(finding.advise("another web server may say otherwise; else see 'Apache' in the examples"))
}

/// Whether the app sees who a client says it is.
fn pass_auth(apache: &Apache, spot: &Spot<'_>) -> Finding {
    let auth = match apache.pass_auth(spot) {
        Some(pass) => format!(
            "CGIPassAuth is on ({}): the app sees HTTP_AUTHORIZATION",
            pass.position()
        ),
        None => format!(
            "CGIPassAuth is not on for {}: Apache keeps the Authorization field from the app",
            spot.folder.display()
        ),
    };
    Finding::note(FindingKind::CgiPassAuth, auth)
}

//! suEXEC's rules, as Apache's documentation has them: where they apply to an app file, which of them it breaks. suEXEC
//! itself tells a visitor nothing, and its own log little.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::apache::Apache;
use super::finding::{Finding, Findings};
use super::kind::FindingKind;
use super::subject::CheckSubject;
use crate::sys::accounts::{self, Account};

/// AP_UID_MIN and AP_GID_MIN, as Debian builds it.
const LOWEST: u32 = 100;
/// Set-user-ID and set-group-ID.
const SET_ID: u32 = 0o6000;
/// What group and others may not do.
const SHARED: u32 = 0o022;

/// Looks at the rules if suEXEC runs the app file.
pub(super) fn look(subject: &CheckSubject<'_>, apache: &Apache, findings: &mut Findings) {
    if !apache.has_module("suexec") {
        return;
    }
    let Some((user, group, by)) = target(subject, apache) else {
        return;
    };
    let app = &subject.app.path;
    let mut wrong = |path: &Path, sentence: String, advice: &str| {
        let sentence = format!(
            "suEXEC, which {by}, does not run {}: {sentence}",
            app.display()
        );
        findings.add(
            Finding::error(FindingKind::Suexec, sentence)
                .at(path)
                .advise(advice),
        );
    };
    if user.uid < LOWEST || group < LOWEST {
        let Account { name, uid, .. } = &user;
        let sentence = format!("{name}'s uid {uid} or gid {group} is below {LOWEST}");
        wrong(app, sentence, "name another user and group");
    }
    let Ok(found) = fs::symlink_metadata(app) else {
        return;
    };
    if found.is_symlink() {
        return wrong(
            app,
            "it is a symlink".to_owned(),
            "use the other form: a script whose first line names polycgi, see polycgi new",
        );
    }
    for path in [app.as_path(), subject.app.folder()] {
        if let Ok(found) = fs::metadata(path) {
            for (sentence, advice) in faults(path, &found, (user.uid, group)) {
                wrong(path, sentence, advice);
            }
        }
    }
}

/// What suEXEC refuses of the file or its folder, which have to be of that user and group; and what to do about it.
fn faults(path: &Path, found: &Metadata, whose: (u32, u32)) -> Vec<(String, &'static str)> {
    let (shown, mode) = (path.display(), found.mode() & 0o7777);
    let (uid, gid) = (found.uid(), found.gid());
    let mut faults = Vec::new();
    if (uid, gid) != whose {
        let (user, group) = whose;
        let sentence =
            format!("{shown} has uid {uid} and gid {gid}, and has to have {user} and {group}");
        faults.push((sentence, "chown it"));
    }
    if mode & SHARED != 0 {
        let sentence = format!("{shown} can be written by others than its owner (mode {mode:04o})");
        faults.push((sentence, "chmod go-w it"));
    }
    if found.is_file() && mode & SET_ID != 0 {
        let sentence = format!("{shown} is set-user-ID or set-group-ID (mode {mode:04o})");
        faults.push((sentence, "chmod ug-s it"));
    }
    faults
}

/// As whom it runs the app file, and by which directive; `None`: it does not.
fn target(subject: &CheckSubject<'_>, apache: &Apache) -> Option<(Account, u32, String)> {
    let app = &subject.app.path;
    if let Some(dir) = apache.user_dir() {
        let accounts = accounts::all().unwrap_or_default();
        let owner = accounts.into_iter().find(|account| {
            account.home != Path::new("/") && app.starts_with(account.home.join(dir))
        });
        if let Some(owner) = owner {
            let (gid, by) = (owner.gid, format!("runs what is in a {dir} as its owner"));
            return Some((owner, gid, by));
        }
    }
    let served = apache.script_alias(app).map(|(alias, _)| alias);
    let served = served.or_else(|| apache.documents(app))?;
    let (directive, user, group) = apache.suexec(served.host())?;
    let user = accounts::account(user.trim_start_matches('#')).ok()??;
    let group = match group.trim_start_matches('#').parse() {
        Ok(gid) => gid,
        Err(_) => accounts::group(group).ok()??,
    };
    let by = format!(
        "runs it as {} (SuexecUserGroup, {})",
        user.name,
        directive.position()
    );
    Some((user, group, by))
}

//! This program itself: how it was linked.

use super::finding::{Finding, Findings};
use super::kind::FindingKind;
use super::subject::CheckSubject;
use crate::cli::fast_path;
use crate::cli::links::installed_program;
use crate::config::Mode;

/// An app that has no daemon loses nothing.
pub(super) fn look(subject: &CheckSubject<'_>, findings: &mut Findings) {
    let Some(lack) = fast_path::lack() else {
        return;
    };
    if subject.config.mode == Mode::Cgi {
        return;
    }
    let sentence = format!("{} is {lack}", installed_program().display());
    let finding = if fast_path::CAN_BE_HAD {
        Finding::warning(FindingKind::FastPath, sentence)
            .advise("install a package or the tarball, or from the sources by `make install`")
    } else {
        Finding::note(FindingKind::FastPath, sentence)
    };
    findings.add(finding);
}

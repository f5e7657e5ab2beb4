//! The app file itself: the way to it, its mode, and its first line, which only the kernel reads.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::finding::{Finding, Findings};
use super::kind::FindingKind;
use super::subject::CheckUser;
use crate::app::way;
use crate::naming;
use crate::sys::files::{self, Stop, Want};
use crate::sys::{named, process};

/// How much of the file is read for its first line.
const BEGINNING: usize = 4096;
/// The kernel reads no more of a first line, its newline included (BINPRM_BUF_SIZE).
const LONGEST_LINE: usize = 255;

/// What the path was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileLook {
    /// An app file, which was examined, or what others know more of.
    Other,
    /// There is no such file.
    Missing,
    /// What hinders the kernel was said; it is no app.
    Refused,
}

/// Examines what is at the path of an app file.
pub(super) fn look(path: &Path, user: &CheckUser, findings: &mut Findings) -> FileLook {
    let target = match files::walk(&user.walker, path) {
        Ok(target) => target,
        Err(obstacle) if matches!(obstacle.why, Stop::Missing) && obstacle.link.is_none() => {
            return FileLook::Missing;
        }
        Err(obstacle) => {
            let sentence = way::stopped(&obstacle, &user.name);
            findings.add(
                Finding::error(FindingKind::Way, sentence)
                    .at(&obstacle.at)
                    .advise("let the user enter each folder on the way: chmod a+x it, or g+x for a group of the user's"),
            );
            return FileLook::Refused;
        }
    };
    let text = match named::beginning(path, BEGINNING) {
        Ok(text) => text,
        // What is no file is no app file.
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return FileLook::Other,
        Err(error) => {
            let why = way::reason("read", path, &error).unwrap_or_else(|| error.to_string());
            findings.add(
                Finding::error(
                    FindingKind::Unreadable,
                    format!("cannot read {}: {why}", path.display()),
                )
                .at(path)
                .advise("polycgi reads it as the app's user: chmod 755 it; 700 under suEXEC"),
            );
            return FileLook::Refused;
        }
    };
    if text.starts_with(b"#!") {
        look_at_mode(path, &target, user, findings);
        look_at_line(path, user, &text, findings);
        return FileLook::Other;
    }
    match begins_late(&text) {
        Some((sentence, advice, line)) => {
            let finding = Finding::error(FindingKind::FirstLine, sentence);
            findings.add(finding.at_line(path, line, Some(1)).advise(advice));
            FileLook::Refused
        }
        // A symlink to us, or no app file.
        None => FileLook::Other,
    }
}

/// Why the kernel does not see the `#!` of a file that has one.
fn begins_late(text: &[u8]) -> Option<(String, &'static str, usize)> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    if let Some(behind) = text.strip_prefix(MARK)
        && behind.starts_with(b"#!")
    {
        let sentence =
            "a byte order mark (EF BB BF) is before '#!', so the kernel does not see that";
        return Some((
            sentence.to_owned(),
            "save it as UTF-8 without a byte order mark (BOM)",
            1,
        ));
    }
    let text = text.strip_prefix(MARK).unwrap_or(text);
    let blank = text.iter().take_while(|byte| byte.is_ascii_whitespace());
    let blank = blank.count();
    if blank == 0 || !text[blank..].starts_with(b"#!") {
        return None;
    }
    let newlines = text[..blank].iter().filter(|&&byte| byte == b'\n').count();
    Some(if newlines == 0 {
        (
            "a blank is before '#!', so the kernel does not see that".to_owned(),
            "'#!' has to be the file's first two bytes",
            1,
        )
    } else {
        (
            format!(
                "the first line is empty and '#!' is in line {}, where the kernel does not look for it",
                newlines + 1
            ),
            "'#!' has to be the file's first two bytes: remove what is above it",
            1,
        )
    })
}

fn look_at_mode(path: &Path, target: &Path, user: &CheckUser, findings: &mut Findings) {
    if files::is_noexec(target) {
        findings.add(
            Finding::error(
                FindingKind::Noexec,
                format!(
                    "{} is on a file system that is mounted with noexec",
                    path.display()
                ),
            )
            .at(path)
            .advise("no program can be run from there: move it, or mount that with exec"),
        );
    } else if !user.walker.may(Want::Enter, target) {
        let sentence = way::refused(target, &user.name, "execute");
        findings.add(
            Finding::error(FindingKind::Mode, sentence)
                .at(path)
                .advise("chmod 755 it; 700 under suEXEC"),
        );
    }
    if user.is_other() && !user.walker.may(Want::Read, target) {
        let sentence = way::refused(target, &user.name, "read");
        findings.add(
            Finding::error(FindingKind::Unreadable, sentence)
                .at(path)
                .advise("chmod 755 it; 700 under suEXEC"),
        );
    }
}

fn look_at_line(path: &Path, user: &CheckUser, text: &[u8], findings: &mut Findings) {
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    if let Some((sentence, column)) = fault_of_line(path, user, line) {
        let own = process::own_path().map_or("/usr/local/bin/polycgi".into(), |(own, _)| own);
        let finding = Finding::error(FindingKind::FirstLine, sentence);
        findings.add(
            finding
                .at_line(path, 1, Some(column))
                .advise(format!("let its first line be: #!{} -", own.display())),
        );
    } else if line.ends_with(b"\r") {
        let sentence = "the first line ends in CR LF; it runs only since a ' -' keeps that from the program's name";
        let finding = Finding::warning(FindingKind::LineEnds, sentence);
        findings.add(
            finding
                .at_line(path, 1, Some(line.len()))
                .advise("save it with line ends of Unix (LF)"),
        );
    }
}

/// Why the kernel does not run polycgi by this first line, and the column.
fn fault_of_line(path: &Path, user: &CheckUser, line: &[u8]) -> Option<(String, usize)> {
    let shown = path.display();
    let bare = line.strip_suffix(b"\r").unwrap_or(line);
    let words = bare[2..].split(u8::is_ascii_whitespace);
    let mut words = words.filter(|word| !word.is_empty());
    let Some(program) = words.next() else {
        let sentence = format!("nothing follows '#!': {shown} is run by no program");
        return Some((sentence, 3));
    };
    let has_argument = words.next().is_some();
    if line.len() > LONGEST_LINE {
        let length = line.len();
        let sentence =
            format!("the first line has {length} bytes, and the kernel reads {LONGEST_LINE}");
        return Some((sentence, 1));
    }
    let program = Path::new(std::ffi::OsStr::from_bytes(program));
    if let Some(sentence) = fault_of_program(path, user, program) {
        return Some((sentence, 3));
    }
    (bare != line && !has_argument).then(|| {
        let program = program.display();
        let sentence = format!(
            "the first line ends in CR LF, so the kernel looks for a program '{program}\\r'"
        );
        (sentence, line.len())
    })
}

/// Why the program of a first line is none that runs the app.
fn fault_of_program(path: &Path, user: &CheckUser, program: &Path) -> Option<String> {
    let run_by = format!("{} is to be run by {}", path.display(), program.display());
    if program.file_name() == Some("env".as_ref()) {
        let (path, program) = (path.display(), program.display());
        Some(format!(
            "{path} is run by {program}: the kernel then does not name the app file"
        ))
    } else if !program.is_absolute() {
        Some(format!("{run_by}, which is no absolute path"))
    } else if let Some(why) = cannot_run(program, user) {
        Some(format!("{run_by}, {why}"))
    } else if !is_ours(program) {
        Some(format!("{run_by}, which is not polycgi: it is no app file"))
    } else {
        None
    }
}

fn cannot_run(program: &Path, user: &CheckUser) -> Option<String> {
    match files::walk(&user.walker, program) {
        Err(obstacle) if obstacle.link.is_none() && matches!(obstacle.why, Stop::Missing) => {
            Some("which does not exist".to_owned())
        }
        Err(obstacle) => Some(format!("but {}", way::stopped(&obstacle, &user.name))),
        Ok(end) => {
            way::not_executed(&user.walker, &end, &user.name).map(|why| format!("but {why}"))
        }
    }
}

/// Whether the program is this one, or another version of it: by what it is or by its name.
pub(super) fn is_ours(program: &Path) -> bool {
    let is_this = files::identity(program)
        .is_ok_and(|found| files::identity(process::own_program()).ok() == Some(found));
    let name = |path: &Path| path.file_name().unwrap_or_default().as_bytes().to_vec();
    let has_our_name = |path: &Path| {
        let name = name(path);
        naming::is_own_name(&name) || memchr::memmem::find(&name, b"polycgi").is_some()
    };
    is_this || has_our_name(program) || fs::canonicalize(program).is_ok_and(|to| has_our_name(&to))
}

//! Why a file of an app can't be reached or run, in a sentence that names what is in the way. Knows paths, not what the
//! files are for.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::sys::files::{self, Obstacle, Stop, Walker, Want};
use crate::sys::{Errno, accounts, is, named, process};

/// The kernel reads no more of a script's first line (BINPRM_BUF_SIZE).
const FIRST_LINE: usize = 256;

/// What stands in this process's way to do `verb` ('run', 'change to', 'read') with the file at `object`; `None` if
/// that is just what the error says already.
pub fn reason(verb: &str, object: &Path, error: &io::Error) -> Option<String> {
    let is_denied = is(error, Errno::EACCES);
    let is_missing = is(error, Errno::ENOENT) || is(error, Errno::ENOTDIR);
    if !object.is_absolute() || !(is_denied || is_missing || is(error, Errno::ENOEXEC)) {
        return None;
    }
    let user = accounts::name(process::uid());
    match files::walk(&Walker::Own, object) {
        // The error says so itself.
        Err(obstacle) if obstacle.at == object && matches!(obstacle.why, Stop::Missing) => None,
        Err(obstacle) => Some(stopped(&obstacle, &user)),
        Ok(end) if verb == "run" => not_executed(&Walker::Own, &end, &user),
        Ok(end) if is_denied => Some(refused(
            &end,
            &user,
            if verb == "read" { "read" } else { "enter" },
        )),
        Ok(_) => None,
    }
}

/// The obstacle as a sentence. `user`: the name of the user who is stopped.
pub fn stopped(obstacle: &Obstacle, user: &str) -> String {
    let at = obstacle.at.display();
    let led = obstacle
        .link
        .as_ref()
        .map(|(link, to)| format!("the symlink {} leads to {}", link.display(), to.display()));
    let is_target = obstacle
        .link
        .as_ref()
        .is_some_and(|(_, to)| *to == obstacle.at);
    let what = match &obstacle.why {
        Stop::Closed { mode, owner } => {
            format!(
                "{user} can't enter {at} ({})",
                mode_and_owner(*mode, *owner)
            )
        }
        Stop::Missing if is_target => "which does not exist".to_owned(),
        Stop::Missing => format!("{at} does not exist"),
        Stop::NotAFolder => format!("{at} is not a folder"),
        Stop::Refused(error) => format!("cannot look at {at}: {error}"),
        Stop::TooManyLinks => format!("{at} is one of too many symlinks, or leads to itself"),
    };
    match led {
        Some(led) if is_target => format!("{led}, {what}"),
        Some(led) => format!("{led}, and {what}"),
        None => what,
    }
}

/// Why the file at `path`, which can be reached, is not executed; `None`: nothing is wrong with it.
pub fn not_executed(walker: &Walker, path: &Path, user: &str) -> Option<String> {
    let shown = path.display();
    let found = fs::metadata(path).ok()?;
    if !found.is_file() {
        return Some(format!("{shown} is not a file"));
    }
    if !walker.may(Want::Enter, path) && !files::is_noexec(path) {
        return Some(refused(path, user, "execute"));
    }
    if files::is_noexec(path) {
        return Some(format!(
            "{shown} is on a file system that is mounted with noexec"
        ));
    }
    let program = interpreter(path)?;
    if let Err(obstacle) = files::walk(walker, &program) {
        let program = String::from_utf8_lossy(program.as_os_str().as_bytes()).into_owned();
        // A carriage return can't be seen.
        return Some(match program.strip_suffix('\r') {
            Some(program) => format!(
                "line 1 of {shown} ends in CR LF, so the kernel looks for a program '{program}\\r'"
            ),
            None => format!(
                "line 1 of {shown} names the program {program}, and {}",
                stopped(&obstacle, user)
            ),
        });
    }
    None
}

/// The program that the `#!` line of a file names, if it has one.
pub fn interpreter(path: &Path) -> Option<PathBuf> {
    let start = named::beginning(path, FIRST_LINE).ok()?;
    let line = start.split(|&byte| byte == b'\n').next()?;
    let line = line.strip_prefix(b"#!")?;
    let line = line.trim_ascii_start();
    let end = line.iter().position(|byte| matches!(byte, b' ' | b'\t'));
    let program = &line[..end.unwrap_or(line.len())];
    (!program.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(program)))
}

/// That the user may not do that with the file: its mode and owner.
pub fn refused(path: &Path, user: &str, verb: &str) -> String {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(found) => {
            let of = mode_and_owner(found.mode() & 0o7777, found.uid());
            format!("{user} can't {verb} {shown} ({of})")
        }
        Err(_) => format!("{user} can't {verb} {shown}"),
    }
}

/// `mode 0700, owner joe`.
pub fn mode_and_owner(mode: u32, owner: u32) -> String {
    format!("mode {mode:04o}, owner {}", accounts::name(owner))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_reason_says_more_than_the_error() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "").unwrap();
        fs::write(at("dos"), "#!/bin/sh\r\n").unwrap();
        fs::write(at("script"), "#! /no/such/program -x\n").unwrap();
        symlink("/no/such/target", at("link")).unwrap();
        for name in ["dos", "script"] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(at(name), mode).unwrap();
        }
        let missing = io::Error::from_raw_os_error(2);
        let said = |name: &str| reason("run", &at(name), &missing).unwrap_or_default();
        assert_eq!(said("none"), "");
        assert!(said("none/x").ends_with("none does not exist"));
        assert!(said("file/x").ends_with("file is not a folder"));
        assert!(said("link").ends_with("leads to /no/such/target, and /no does not exist"));
        assert!(said("file").contains("can't execute"), "{}", said("file"));
        assert!(said("dos").contains("ends in CR LF"), "{}", said("dos"));
        assert!(said("script").contains("names the program /no/such/program, and /no does"));
        assert_eq!(reason("find", Path::new("python3"), &missing), None);
    }
}

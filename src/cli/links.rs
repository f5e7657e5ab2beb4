//! `links`: makes the form of app file that is a symlink.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use argh::{ArgsInfo, FromArgs};

use super::NAME;
use crate::config;
use crate::report::{Exit, print_line, say};
use crate::sys::files::Control;
use crate::sys::{accounts, files, process};

/// Make symlinks to polycgi in a directory, one for each app: NAME.cgi for NAME.conf.
#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand, name = "links")]
pub(super) struct LinksCommand {
    /// the directory, a cgi-bin
    #[argh(positional)]
    dir: PathBuf,

    /// names of apps; one without an extension gets .cgi
    #[argh(positional)]
    names: Vec<String>,
}

impl LinksCommand {
    pub(super) fn run(self) -> Exit {
        if self.names.is_empty() {
            say("links", "no app is named; usage: polycgi links DIR NAME...");
            return Exit::Usage;
        }
        if let Err(sentence) = check_folder(&self.dir) {
            say("links", sentence);
            return Exit::NoPermission;
        }
        let program = installed_program();
        for name in &self.names {
            if let Err(sentence) = check_app_name(name) {
                say("links", sentence);
                return Exit::Usage;
            }
            let link = self.dir.join(file_name(name));
            let is_known = fs::read_link(&link).is_ok_and(|to| to == program);
            let is_ours = files::control(&link).is_ok_and(|control| is_trusted(control.uid));
            if is_known && is_ours {
                continue;
            }
            if let Err(error) = symlink(&program, &link) {
                say(
                    "links",
                    format_args!("cannot make {}: {error}", link.display()),
                );
                return Exit::CantCreate;
            }
            print_line(format_args!("{} -> {}", link.display(), program.display()));
        }
        Exit::Ok
    }
}

/// Refuses to make links as root if another user can change a folder on the directory's path: that user could lead
/// root to any other directory. Other users may make links wherever the system lets them.
fn check_folder(dir: &Path) -> Result<(), String> {
    if process::uid() != 0 {
        return Ok(());
    }
    // The path as typed and the one without symlinks: no other user may control a part of either. If a part is missing,
    // making the link fails and says so.
    let typed = std::path::absolute(dir);
    for way in [typed, fs::canonicalize(dir)].into_iter().flatten() {
        let mut path = PathBuf::new();
        for part in way.components() {
            path.push(part);
            let is_safe = files::control(&path).map_or(true, |control| {
                is_trusted(control.uid) && !is_shared(control)
            });
            if !is_safe {
                let (dir, path) = (dir.display(), path.display());
                let sentence =
                    format!("another user can change {path}; make the links as that user");
                return Err(format!("cannot make links in {dir} as root: {sentence}"));
            }
        }
    }
    Ok(())
}

fn is_shared(control: Control) -> bool {
    control.is_open || control.group.is_some_and(accounts::has_members)
}

fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == process::uid()
}

/// The name of an app's file in cgi-bin.
pub(super) fn file_name(name: &str) -> String {
    if Path::new(name).extension().is_some() {
        name.to_owned()
    } else {
        format!("{name}.cgi")
    }
}

/// Checks that a file in cgi-bin can have this name; if not, why.
pub(super) fn check_app_name(name: &str) -> Result<(), String> {
    let is_plain = !name.is_empty() && !name.contains(['/', '\n']) && !name.starts_with('.');
    if is_plain && !name.starts_with("nph-") {
        return Ok(());
    }
    let why = "it is empty, has a '/' or a line end, or begins with '.' or 'nph-'";
    Err(format!("'{name}' can't be the name of an app: {why}"))
}

/// The path of this program, for links and `#!` lines.
pub(super) fn installed_program() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/local/bin/polycgi"));
    fs::canonicalize(&own).unwrap_or(own)
}

/// How a person calls this program: by its name where PATH leads to it, otherwise by its own path.
pub(super) fn typed_program() -> String {
    let program = installed_program();
    let search = std::env::var_os("PATH").unwrap_or_default();
    let found = process::find(OsStr::new(NAME), search.as_bytes()).and_then(fs::canonicalize);
    if found.is_ok_and(|found| found == program) {
        return NAME.to_owned();
    }
    let shown = program.display().to_string();
    config::as_word(&shown).unwrap_or(shown)
}

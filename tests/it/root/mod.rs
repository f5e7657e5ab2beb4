//! Root's commands on the apps of other users: they reach the app's own daemon or say why not, with the rights of its
//! user and never root's, whatever other users have made; commands that only look change nothing.

mod bare;
mod listed;
mod looks;
mod others;
mod private;
mod squats;
mod swept;
mod whose;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::util::world::{self, NOBODY, World};
use super::util::{Deadline, Output, SilentDisk, as_user, daemon, installed, joined, process, run};

const WWW_DATA: u32 = 33;
const CONFIG: &str = "wsgi = who:application\nmode = daemon\nmax-procs = 2";

/// The lines of `status --json`.
#[track_caller]
fn status(world: &World, app: &str) -> Vec<String> {
    daemon::json(&world.root(&["status", "--json", app]).success())
}

#[track_caller]
fn assert_code(output: &Output, code: i32, said: &str) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{stdout}{}",
        output.stderr
    );
    let text = format!("{stdout}{}", output.stderr);
    let is_said = joined(&text).contains(&joined(said));
    assert!(is_said, "no {said:?} in {text}");
}

/// The only place of an app in that runtime directory, as the commands name it.
#[track_caller]
fn place_in(world: &World, base: &str) -> String {
    let entries = fs::read_dir(world.at(base)).expect("the runtime directory can be read");
    let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    names[0].to_string_lossy().into_owned()
}

fn owner(path: &Path) -> u32 {
    fs::symlink_metadata(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .uid()
}

fn text_of(path: &Path) -> String {
    path.display().to_string()
}

//! Runs an app's interpreter as the app is run: in its directory, with its environment. It knows no adaptor.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use crate::app::wsgi::Interpreter;

/// The interpreter with these words, of which the first is its own name.
pub(super) fn command(interpreter: &Interpreter, argv: &[CString], directory: &Path) -> Command {
    let mut command = Command::new(&interpreter.path);
    let words = argv.iter().skip(1);
    command.args(words.map(|word| OsStr::from_bytes(word.to_bytes())));
    command.env_clear().current_dir(directory);
    for variable in &interpreter.environ {
        let (name, value) = split(variable.to_bytes());
        command.env(OsStr::from_bytes(name), OsStr::from_bytes(value));
    }
    command
}

fn split(variable: &[u8]) -> (&[u8], &[u8]) {
    let at = memchr::memchr(b'=', variable).unwrap_or(variable.len());
    (&variable[..at], variable.get(at + 1..).unwrap_or_default())
}

//! What the time of a plain CGI is made of, measured by runs of its interpreter alone.

use std::ffi::CString;
use std::process::Stdio;
use std::time::Duration;

use super::super::python;
use crate::app;
use crate::app::wsgi::Interpreter;
use crate::app_file::AppFile;
use crate::compare::Part;
use crate::config::{Config, Target};
use crate::sys::{clock, process};

/// How often each is measured.
const PART_RUNS: usize = 5;

/// What the fastest plain CGI's time is made of, by the fastest run of each part; nothing if the module can't be imported by itself.
pub(super) fn parts(app: &AppFile, config: &Config, target: &Target, whole: Duration) -> Vec<Part> {
    const IMPORT: &str = "import sys; sys.path.insert(0, sys.argv[2]); __import__(sys.argv[1])";
    let Ok(interpreter) = Interpreter::find(app, config) else {
        return Vec::new();
    };
    let directory = app::directory(app, config);
    let time = |words: &[&[u8]]| {
        let words = [&[&b"python3"[..], b"-c"], words].concat();
        let argv: Vec<CString> = words.into_iter().map(process::c_string).collect();
        let mut command = python::command(&interpreter, &argv, &directory);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let begun = clock::now();
        let status = command.stderr(Stdio::null()).status();
        let time = clock::now().saturating_sub(begun);
        status.is_ok_and(|status| status.success()).then_some(time)
    };
    let folder = directory.as_os_str().as_encoded_bytes();
    // In turns, so that a busy moment of the host is in both.
    let times = (0..PART_RUNS).map(|_| {
        let bare = time(&[b"pass"])?;
        let imported = time(&[IMPORT.as_bytes(), target.module.as_bytes(), folder])?;
        Some((bare, imported))
    });
    let times: Option<Vec<(Duration, Duration)>> = times.collect();
    let Some(times) = times else {
        return Vec::new();
    };
    let least = |times: &mut dyn Iterator<Item = Duration>| times.min().unwrap_or_default();
    let bare = least(&mut times.iter().map(|(bare, _)| *bare));
    let imported = least(&mut times.iter().map(|(_, imported)| *imported));
    let part = |name, time| Part { name, time };
    vec![
        part("interpreter", bare),
        part("import of the app", imported.saturating_sub(bare)),
        part("adaptor and request", whole.saturating_sub(imported)),
    ]
}

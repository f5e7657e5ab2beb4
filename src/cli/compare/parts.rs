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

/// What the fastest plain CGI's time is made of, by the fastest run of each part. Nothing if the module can't be
/// imported by itself; without a part that is too small to be told from noise.
pub(super) fn parts(app: &AppFile, config: &Config, target: &Target, whole: Duration) -> Vec<Part> {
    // In the interpreter itself: its own start is no part of it.
    const IMPORT: &str = "import sys, time; sys.path.insert(0, sys.argv[2]); begun = time.perf_counter(); \
                          __import__(sys.argv[1]); print(time.perf_counter() - begun, file=sys.__stdout__)";
    let Ok(interpreter) = Interpreter::find(app, config) else {
        return Vec::new();
    };
    let directory = app::directory(app, config);
    let run = |words: &[&[u8]]| {
        let words = [&[&b"python3"[..], b"-c"], words].concat();
        let argv: Vec<CString> = words.into_iter().map(process::c_string).collect();
        let mut command = python::command(&interpreter, &argv, &directory);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let begun = clock::now();
        let output = command.output().ok()?;
        let time = clock::now().saturating_sub(begun);
        output.status.success().then_some((time, output.stdout))
    };
    let folder = directory.as_os_str().as_encoded_bytes();
    // In turns, so that a busy moment of the host is in both.
    let times = (0..PART_RUNS).map(|_| {
        let (bare, _) = run(&[b"pass"])?;
        let (_, printed) = run(&[IMPORT.as_bytes(), target.module.as_bytes(), folder])?;
        // The module may print as well.
        let printed = String::from_utf8_lossy(&printed);
        let seconds: f64 = printed.lines().last()?.parse().ok()?;
        Some((bare, Duration::try_from_secs_f64(seconds).ok()?))
    });
    let times: Option<Vec<(Duration, Duration)>> = times.collect();
    let Some(times) = times else {
        return Vec::new();
    };
    let least = |times: &mut dyn Iterator<Item = Duration>| times.min().unwrap_or_default();
    let bare = least(&mut times.iter().map(|(bare, _)| *bare));
    let imported = least(&mut times.iter().map(|(_, imported)| *imported));
    let rest = whole.checked_sub(bare + imported);
    let part = |name, time| Part { name, time };
    [
        Some(part("interpreter", bare)),
        Some(part("import of the app", imported)),
        rest.map(|rest| part("adaptor and request", rest)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

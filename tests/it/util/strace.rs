//! What a program asks of the kernel, as strace(1) shows it.

use std::ffi::CString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::execve;

use super::{Dir, Output, PATH, as_user, run};

/// What a program printed, and the names of its system calls, in their order.
pub(crate) struct Traced {
    pub(crate) output: Output,
    pub(crate) calls: Vec<String>,
}

/// Runs a program under strace as the tests' user, with exactly these variables in this order, names that come twice
/// included.
#[track_caller]
pub(crate) fn traced(dir: &Dir, program: &Path, environ: &[String], stdin: &[u8]) -> Traced {
    let log = dir.file("strace", "", 0o666);
    let mut command = as_user("/usr/bin/strace");
    command.args(["-qq", "-o"]).args([&log, program]);
    let output = run(exactly(&mut command, environ), stdin);
    let text = fs::read_to_string(&log).expect("strace has written");
    let name = |line: &str| Some(line.split_once('(')?.0.to_owned());
    let calls: Vec<String> = text.lines().filter_map(name).collect();
    assert_eq!(calls.first().map(String::as_str), Some("execve"), "{text}");
    Traced { output, calls }
}

/// The same command with another environment: a `Command` has each name once.
pub(crate) fn exactly<'a>(command: &'a mut Command, environ: &[String]) -> &'a mut Command {
    let string = |text: &str| CString::new(text).expect("no NUL");
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let argv: Vec<CString> = words.map(|word| string(&word.to_string_lossy())).collect();
    let mut envp: Vec<CString> = environ.iter().map(|text| string(text)).collect();
    if !environ.iter().any(|text| text.starts_with("PATH=")) {
        envp.push(string(&format!("PATH={PATH}")));
    }
    // SAFETY: execve(2) is async-signal-safe, and all it needs is there.
    unsafe {
        command.pre_exec(move || Err(execve(&argv[0], &argv, &envp).unwrap_err().into()));
    }
    command
}

//! How findings are shown: a green line on a terminal, JSON for programs, the exit status.

use std::process::Command;

use super::super::util::PATH;
use super::*;

#[test]
fn the_line_is_green_on_a_terminal_only() {
    let dir = Dir::new();
    let app = dir.app_file("app", "wsgi = testapp:application\nmode = cgi");
    Checked::of(&app).is_well();
    assert!(!Checked::of(&app).text.contains('\x1b'));
    let terminal =
        "import os, pty, sys\nsys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    for (no_color, is_green) in [("", true), ("1", false)] {
        let mut python = as_user("/usr/bin/python3");
        python
            .args(["-c", terminal])
            .arg(installed("polycgi"))
            .arg("check")
            .arg(&app);
        python
            .env("NO_COLOR", no_color)
            .env("TERM", "xterm")
            .env("PATH", PATH);
        let text = run(&mut python, b"").success();
        assert!(joined(&text).contains("nothing wrong found"), "{text}");
        assert_eq!(text.contains("\x1b[32m"), is_green, "{text:?}");
        assert_eq!(text.contains('\x1b'), is_green, "{text:?}");
    }
}

/// All but what is quoted fits into a small terminal.
#[test]
fn sentences_are_wrapped() {
    let dir = Dir::new();
    let config = "wsgi = testapp:application\nmode = cgi\nlog-file = /dev/stderr";
    let app = dir.app_file("app", config);
    let checked = Checked::of(&app);
    checked.finds(&["cannot log to /dev/stderr: a daemon in the background has no such stream"]);
    // A word that is longer has a line of its own.
    let is_wide = |line: &str| line.chars().count() > 79 && line.trim_start().contains(' ');
    assert!(!checked.text.lines().any(is_wide), "{}", checked.text);
    let json = Checked::with(&["--json"], &app);
    assert!(
        json.text.lines().all(|line| line.ends_with('}')),
        "{}",
        json.text
    );
}

#[test]
fn json_has_an_object_for_each_finding() {
    let dir = Dir::new();
    let config = "wsgi = testapp:application\nmode = cgi\nenv.X = 0 # note\nlog-file = /dev/stderr";
    let app = dir.app_file("app", config);
    let output = run(
        as_user(installed("polycgi"))
            .args(["check", "--json"])
            .arg(&app),
        b"",
    );
    assert_eq!(output.status.code(), Some(78), "{}", output.stderr);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let read = "import json, sys\nfor line in sys.stdin:\n    found = json.loads(line)\n    \
                assert list(found) == ['kind', 'severity', 'sentence', 'advice', 'file', 'line', 'column'], found\n    \
                print(found['kind'], found['severity'], found['line'], found['column'])";
    let found = run(
        Command::new("/usr/bin/python3").args(["-c", read]),
        text.as_bytes(),
    )
    .success();
    let line = |begin: &str| {
        let text = fs::read_to_string(&app).expect("it can be read");
        1 + text
            .lines()
            .position(|line| line.starts_with(begin))
            .expect("a line")
    };
    let expected = format!(
        "comment warning {} 11\nlog-file error {} 1\ninterpreter note None None\nruns note None None\n",
        line("env.X"),
        line("log-file")
    );
    assert_eq!(found, expected, "{text}");
}

/// No process is started but the interpreter and what checks: the rest of the time is the import's.
#[test]
fn a_look_costs_one_process() {
    let dir = Dir::new();
    let app = dir.app_file("app", "wsgi = testapp:application\nmode = cgi");
    let trace = dir.join("trace");
    let mut strace = as_user("strace");
    strace.args([
        "-f",
        "-qq",
        "-e",
        "trace=execve,clone,clone3,fork,vfork",
        "-o",
    ]);
    strace
        .arg(&trace)
        .arg(installed("polycgi"))
        .arg("check")
        .arg(&app);
    dir.file("trace", "", 0o644);
    run(&mut strace, b"").success();
    let text = fs::read_to_string(&trace).expect("strace has written it");
    let count = |word: &str| text.lines().filter(|line| line.contains(word)).count();
    assert_eq!(count("execve("), 2, "{text}");
    assert_eq!(count("clone(") + count("fork("), 1, "{text}");
}

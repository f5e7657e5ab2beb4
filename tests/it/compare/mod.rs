//! `polycgi compare`: one app for each kind of bug that shows in one way only, and what changes by itself.

mod other;

use std::path::Path;
use std::process::{Command, Stdio};

use super::util::process::Process;
use super::util::{Deadline, Dir, Output, as_user, cgi, installed, run};

fn command(words: &[&str]) -> Command {
    let mut command = as_user(installed("polycgi"));
    command.arg("compare").args(words);
    command
}

fn compare(words: &[&str]) -> Output {
    run(&mut command(words), b"")
}

fn text(output: &Output) -> String {
    assert_eq!(output.stderr, "");
    String::from_utf8(output.stdout.clone()).expect("the report is UTF-8")
}

fn app(dir: &Dir) -> String {
    let app = dir.app_file(
        "app",
        "wsgi = waysapp:application\nmode = daemon\nmax-procs = 1",
    );
    app.display().to_string()
}

#[test]
fn what_is_right_does_not_differ() {
    let dir = Dir::new();
    let app = app(&dir);
    for (path, varies) in [
        ("/right", None),
        ("/nonce", Some("body")),
        ("/unordered", Some("body")),
    ] {
        let output = compare(&["-n", "4", &app, path]);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(
            text.contains("The ways do not differ: status 200 OK."),
            "{text}"
        );
        let names = varies.map(|name| format!("not compared: {name}"));
        let is_said = names.as_ref().map(|names| text.contains(names));
        assert_ne!(is_said, Some(false), "{text}");
        assert_eq!(
            text.contains("changes from run"),
            varies.is_some(),
            "{text}"
        );
        for row in ["plain CGI ", "daemon "] {
            let row = text.lines().find(|line| line.starts_with(row));
            let row = row.expect("a row of times");
            assert_eq!(row.matches(" ms").count(), 6, "{row}");
        }
        let widest = text.lines().map(str::len).max();
        assert!(widest < Some(80) || text.contains("@@"), "{text}");
        let part = |name: &str| {
            let line = text.lines().find(|line| line.ends_with(name))?;
            line.trim_start().split(' ').next()?.parse::<f64>().ok()
        };
        let (bare, import) = (part(" ms  interpreter"), part(" ms  import of the app"));
        assert!(bare > Some(1.0) && import > Some(0.0), "{text}");
    }
}

#[test]
fn each_bug_is_found() {
    let dir = Dir::new();
    let app = app(&dir);
    for (path, found) in [
        (
            "/relative",
            "status: differs in 2 of 3 runs by the daemon, first in number 2",
        ),
        ("/survives", "@@ -1,3 +1,3 @@\n visit\n-1\n+2\n of yours\n"),
        ("/unclosed", "-1 files open\n+2 files open\n"),
        ("/speaks", "-LC_CTYPE C.UTF-8\n+LC_CTYPE C\n"),
        ("/masks", "+umask 77\n"),
        ("/caches", "-1 kept\n+2 kept\n"),
    ] {
        let output = compare(&["-n", "3", &app, path]);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "{path}: {text}");
        assert!(text.contains(found), "{path}: {text}");
        assert!(!text.contains("changes from run"), "{path}: {text}");
    }
}

#[test]
fn fields_and_status_are_named() {
    let dir = Dir::new();
    let output = compare(&["-n", "3", &app(&dir), "/fields"]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for said in [
        "status: differs in 2 of 3 runs by the daemon, first in number 2\n  plain CGI  200 OK\n  daemon     202 Accepted\n",
        "header field x-visits: differs in 2 of 3 runs by the daemon, first in number 2, and not always in the same way\n  plain CGI  1\n  daemon     2\n",
        "not compared: header field set-cookie.",
    ] {
        assert!(text.contains(said), "no {said} in {text}");
    }
    assert!(!text.contains("\nbody: "), "{text}");
}

#[test]
fn a_variable_that_the_daemon_was_not_started_with() {
    let dir = Dir::new();
    let app = app(&dir);
    let mut start = as_user(installed("polycgi"));
    run(start.args(["start", &app]), b"").success();
    let mut command = command(&["-n", "2", &app, "/speaks"]);
    command.env("LC_ALL", "C");
    let output = run(&mut command, b"");
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("-LC_CTYPE C\n+LC_CTYPE C.UTF-8\n"), "{text}");
}

#[test]
fn environ_shows_what_the_processes_start_with() {
    let dir = Dir::new();
    let app = app(&dir);
    let mut start = as_user(installed("polycgi"));
    run(start.args(["start", &app]), b"").success();
    let output = compare(&["-n", "2", "--environ", &app, "/right"]);
    let same = text(&output);
    assert_eq!(output.status.code(), Some(0), "{same}");
    let mut command = command(&["-n", "2", "--environ", &app, "/right"]);
    command.env("TZ", "Europe/Zurich").env("LANG", "C");
    let output = run(&mut command, b"");
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for said in [
        "environ LANG: differs\n  plain CGI  C\n  daemon     C.UTF-8\n",
        "environ TZ: differs\n  plain CGI  Europe/Zurich\n  daemon     (none)\n",
    ] {
        assert!(text.contains(said), "no {said} in {text}");
    }
    assert_eq!(text.matches("environ ").count(), 2, "{text}");
}

#[test]
fn environ_shows_what_the_application_has_left() {
    let dir = Dir::new();
    let app = app(&dir);
    for (path, said) in [
        ("/masks", "\n  daemon     0077\n"),
        ("/relative", "\n  daemon     /\n"),
    ] {
        let output = compare(&["-n", "2", "--environ", &app, path]);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(said), "no {said} in {text}");
    }
}

/// An app that works as a CGI, and can't be started in a daemon: this is what the command is for.
#[test]
fn an_app_that_only_a_cgi_can_run() {
    let dir = Dir::new();
    let module = "import sys\nif 'zygote' in open('/proc/self/comm').read():\n    raise RuntimeError('not here')\n\
                  def application(environ, start_response):\n    \
                  start_response('200 OK', [('Content-Type', 'text/plain')])\n    return [b'hello\\n']\n";
    dir.file("apps/once.py", module, 0o644);
    let app = dir.app_file("app", "wsgi = once:application\n");
    let named = app.display().to_string();
    let output = compare(&["-n", "2", &named]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [
        "status: differs\n  plain CGI  200 OK\n  daemon     500 Internal Server Error\n",
        "\nThe daemon could not start the app:\n  RuntimeError: not here\n",
        "    raise RuntimeError('not here')\n",
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    // The site has not noticed: no daemon, no failed start, no request.
    let status = dir.status();
    for line in [
        "state = \"down\"",
        "way = \"cgi\"",
        "rate = 0",
        "failures = []",
        "last_failure = null",
    ] {
        assert!(status.iter().any(|l| l == line), "no {line} in {status:?}");
    }
    assert_eq!(cgi::start_front(&app, "/").end().response().ok(), "hello\n");
}

/// A person keeps the daemon down: no command but `start` changes that.
#[test]
fn an_app_whose_daemon_is_held() {
    let dir = Dir::new();
    let app = app(&dir);
    let mut stop = as_user(installed("polycgi"));
    run(stop.args(["stop", "--hold", &app]), b"").success();
    let output = compare(&["-n", "1", &app, "/right"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let status = dir.status();
    let is_held = status.iter().any(|line| line == "state = \"held\"");
    assert!(is_held, "{status:?}");
}

#[test]
fn a_profile_of_each_way() {
    let dir = Dir::new();
    let app = app(&dir);
    let output = compare(&["-n", "2", "--profile", &app, "/works"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let titles = [
        "The import of the app",
        "The request in a plain CGI",
        "The request in a worker that has served it before",
    ];
    let profiles = titles.map(|title| {
        let parts = said.split_once(&format!("\n{title}:\n"));
        let (_, profile) = parts.unwrap_or_else(|| panic!("no {title} in {said}"));
        profile.split("\n\n").next().unwrap_or_default()
    });
    let calls = |profile: &str, end: &str| {
        let line = profile.lines().find(|line| line.ends_with(end))?;
        line.trim_start().split(' ').next()?.parse::<u32>().ok()
    };
    let [import, cgi, daemon] = profiles;
    assert_eq!(calls(import, "waysapp.py:1 <module>"), Some(1), "{import}");
    for profile in [cgi, daemon] {
        assert_eq!(calls(profile, " busy"), Some(300), "{profile}");
        assert!(!profile.contains("<module>"), "{profile}");
    }
    let nothing = "\n\nNo request leaves anything behind in a worker.\n";
    assert!(said.ends_with(nothing), "{said}");
}

/// A cache that is never emptied, and that no response shows.
#[test]
fn what_a_request_leaves_behind() {
    let dir = Dir::new();
    let app = app(&dir);
    let output = compare(&["-n", "2", "--profile", &app, "/hoards"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let (_, growth) = said
        .split_once("\nEach request leaves behind in a worker:\n")
        .unwrap_or_else(|| panic!("nothing grows: {said}"));
    let line = growth.lines().next().unwrap_or_default();
    let source = std::fs::read_to_string(dir.join("apps/waysapp.py")).expect("the application");
    let number = 1 + source
        .lines()
        .position(|line| line.contains("bytearray(1000)"))
        .expect("it");
    assert!(line.ends_with(&format!("/waysapp.py:{number}")), "{growth}");
    let bytes = line
        .split(' ')
        .find_map(|word| word.parse().ok().filter(|&bytes: &u32| bytes > 999));
    assert!(bytes.is_some_and(|bytes| bytes < 1500), "{growth}");
}

#[test]
fn profiles_are_kept_for_other_programs() {
    let dir = Dir::new();
    let app = app(&dir);
    let prefix = dir.folder("profiles", 0o755).join("site");
    let option = format!("--profile={}", prefix.display());
    let output = compare(&["--json", "-n", "1", &option, &app, "/works"]);
    let json = text(&output);
    assert_eq!(output.status.code(), Some(0), "{json}");
    assert!(
        json.contains(r#""profile":{"import":""#) && json.contains(r#""growth":[]}"#),
        "{json}"
    );
    for end in ["cgi", "daemon"] {
        let path = prefix.with_extension(end);
        let mut python = as_user("/usr/bin/python3");
        python.args([
            "-c",
            "import pstats, sys; pstats.Stats(sys.argv[1]).print_stats('busy')",
        ]);
        let read = run(python.arg(&path), b"");
        assert!(
            String::from_utf8_lossy(&read.stdout).contains("(busy)"),
            "{}",
            read.stderr
        );
    }
    // Never over a file that is there.
    let output = compare(&["-n", "1", &option, &app, "/works"]);
    assert_eq!(output.status.code(), Some(73), "{}", output.stderr);
    assert!(
        output.stderr.contains("site.import: File exists"),
        "{}",
        output.stderr
    );
    // Nothing stays of a profile that could not be made.
    let other = format!("--profile={}", prefix.with_file_name("other").display());
    let output = compare(&["-n", "1", &other, "/no/such/app"]);
    assert_eq!(output.status.code(), Some(66), "{}", output.stderr);
    assert_eq!(
        std::fs::read_dir(dir.join("profiles"))
            .expect("a folder")
            .count(),
        3
    );
}

/// The copy that is looked at leaves no process and no file.
#[test]
fn the_private_copy_is_gone() {
    let dir = Dir::new();
    let app = app(&dir);
    let folder = dir.folder("temporary", 0o777);
    let mut command = command(&["-n", "1", "--profile", "--environ", &app, "/right"]);
    command.env("TMPDIR", &folder);
    let output = run(&mut command, b"");
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    assert_no_copy(&folder);
    // Nor if it is killed, or its reader has gone.
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let deadline = Deadline::soon();
    while Process::all_of(&folder.join("polycgi-compare")).is_empty() {
        assert!(!deadline.left().is_zero(), "no copy");
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    while std::fs::read_dir(&folder).expect("a folder").count() > 0 {
        assert!(!deadline.left().is_zero(), "the copy stays");
    }
    // The request that it had begun may go on until its end.
    for process in Process::all_of(&folder.join("polycgi-compare")) {
        assert!(deadline.ended(process.pid), "{process:?}");
    }
    assert_no_copy(&folder);
}

fn assert_no_copy(folder: &Path) {
    assert_eq!(std::fs::read_dir(folder).expect("a folder").count(), 0);
    // The app's own daemon has the folder in its environment, too.
    let left = Process::all_of(&folder.join("polycgi-compare"));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_request_is_as_request_has_it() {
    let dir = Dir::new();
    let app = app(&dir);
    let body = dir.file("apps/body", "from a file", 0o644);
    let at = format!("@{}", body.display());
    let words = [
        "--json",
        "-n1",
        "-X",
        "PUT",
        "-H",
        "X-Word: a",
        "-d",
        &at,
        &app,
        "/echo",
    ];
    let words = words.map(|word| if word == "-n1" { "-n" } else { word });
    let mut words = words.to_vec();
    words.insert(2, "1");
    let output = compare(&words);
    let json = text(&output);
    assert_eq!(output.status.code(), Some(0), "{json}");
    for said in [
        r#""request":"PUT /echo","runs":1,"differs":false,"status":"200 OK","differences":[],"varying":[],"#,
        r#""minimum":null"#,
        r#""cost":{"user":"#,
        r#""parts":{"interpreter":"#,
    ] {
        assert!(json.contains(said), "no {said} in {json}");
    }
    assert_eq!(json.lines().count(), 1);
    let output = compare(&["--json", "-n", "3", &app, "/survives"]);
    let json = text(&output);
    assert_eq!(output.status.code(), Some(1), "{json}");
    let body =
        r#"{"what":"body","runs":2,"first":2,"changes":true,"diff":"@@ -1,3 +1,3 @@\u000a visit"#;
    assert!(json.contains(body), "{json}");
}

#[test]
fn what_is_wrong_is_one_sentence() {
    let dir = Dir::new();
    let app = app(&dir);
    let server = dir
        .app_file("server", "scgi = /bin/false")
        .display()
        .to_string();
    let prefix = dir.folder("profiles", 0o755).join("site");
    let option = format!("--profile={}", prefix.display());
    for (words, status, said) in [
        (&["-n", "0", &app][..], 64, "from 1 to 1000"),
        (&[&app, "no-slash"], 64, "begins with '/'"),
        (&["-H", "x", &app], 64, "'Name: value'"),
        (&["/no/such/app"], 66, "No such file"),
        (&[&server], 64, "no CGI"),
        (&["--environ", &server], 64, "for an app of 'wsgi'"),
        (&[&option, &server], 64, "for an app of 'wsgi'"),
    ] {
        let output = compare(words);
        assert_eq!(
            output.status.code(),
            Some(status),
            "{words:?}: {}",
            output.stderr
        );
        assert!(output.stderr.contains(said), "{}", output.stderr);
        assert!(
            output.stderr.starts_with("polycgi: compare: "),
            "{}",
            output.stderr
        );
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
        assert!(output.stdout.is_empty());
    }
}

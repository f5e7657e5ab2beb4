//! The subcommands as a person types them: `request`, `check`, `links`, `applets`.

use std::fs;
use std::process::Command;

use super::util::{Dir, Output, as_user, installed, joined, run};

fn polycgi(words: &[&str]) -> Output {
    run(&mut command(words), b"")
}

fn command(words: &[&str]) -> Command {
    let mut command = as_user(installed("polycgi"));
    command.args(words);
    command
}

#[test]
fn request_goes_every_way_and_gets_the_same() {
    let dir = Dir::new();
    let app = dir.app_file("app", "wsgi = testapp:application\nmode = daemon");
    let app = app.display().to_string();
    let mut digests = Vec::new();
    for via in ["auto", "cgi", "scgi"] {
        let words = ["request", "--via", via, "-d", "some body", &app, "/digest"];
        let output = polycgi(&words);
        assert_eq!(output.stderr, "", "{via}");
        digests.push(output.success());
    }
    assert!(digests[0].ends_with(" 9\n"), "{digests:?}");
    assert!(
        digests.iter().all(|digest| *digest == digests[0]),
        "{digests:?}"
    );
    let socket = fs::read_dir(dir.join("run"))
        .expect("the runtime directory can be read")
        .flatten()
        .map(|entry| entry.path().join("sock"))
        .find(|path| path.exists());
    let socket = socket
        .expect("the daemon has a socket")
        .display()
        .to_string();
    let words = [
        "request",
        "--via",
        &socket,
        "-d",
        "some body",
        &app,
        "/digest",
    ];
    assert_eq!(polycgi(&words).success(), digests[0]);
}

#[test]
fn request_shows_head_method_and_fields() {
    let dir = Dir::new();
    let app = dir.app_file("app", "wsgi = testapp:application\nmode = cgi");
    let app = app.display().to_string();
    let text = polycgi(&["request", "-i", &app, "/status/404"]).success();
    assert!(text.starts_with("Status: 404 "), "{text}");
    let words = [
        "request",
        "-X",
        "PUT",
        "-H",
        "X-Word: a: b",
        &app,
        "/dump/a%20b?q=1",
    ];
    let environ = polycgi(&words).success();
    for fact in [
        r#"["REQUEST_METHOD", "PUT"]"#,
        r#"["HTTP_X_WORD", "a: b"]"#,
        r#"["QUERY_STRING", "q=1"]"#,
        r#"["SCRIPT_NAME", "/app"]"#,
        r#"["PATH_INFO", "/dump/a b"]"#,
    ] {
        assert!(environ.contains(fact), "no {fact} in {environ}");
    }
    let body = dir.file("apps/body", "from a file", 0o644);
    let at = format!("@{}", body.display());
    assert!(
        polycgi(&["request", "-d", &at, &app, "/digest"])
            .success()
            .ends_with(" 11\n")
    );
    let head = polycgi(&["request", "-X", "HEAD", &app, "/status/200"]).success();
    assert_eq!(head, "");
}

/// By the daemon too, what the app says on standard error is on ours.
#[test]
fn request_shows_what_the_app_says() {
    for (config, noises) in [
        ("wsgi = faultapp:application\n", 6),
        ("cgi = python3 cgiapp.py\n", 2),
    ] {
        let dir = Dir::new();
        let app = dir.app_file("app", &format!("{config}mode = daemon\nmax-procs = 1\n"));
        let app = app.display().to_string();
        for via in ["auto", "cgi", "scgi"] {
            let output = polycgi(&["request", "--via", via, &app, "/noise"]);
            let said = output.stderr.matches("noise of ").count();
            assert_eq!(said, noises, "{config}{via}: {}", output.stderr);
            assert_eq!(output.status.code(), Some(0), "{config}{via}");
        }
        assert!(!dir.daemon_log().contains("noise"), "{}", dir.daemon_log());
    }
}

/// What prints ends quietly when its reader has gone, and with a sentence when the disk is full.
#[test]
fn output_that_can_not_be_written() {
    let dir = Dir::new();
    let app = dir.app_file("app", "wsgi = testapp:application\nmode = cgi");
    let app = app.display().to_string();
    for (words, closed) in [
        (&["applets"][..], 141),
        (&["--help"], 141),
        (&["--version"], 141),
        (&["check", &app], 141),
        (&["compare", "-n", "1", &app, "/status/200"], 141),
        (&["new", "x", "--wsgi", "a:b", "--print"], 141),
        // The request was made, which is what its exit code tells of.
        (&["request", &app, "/status/200"], 0),
        (&["status", &app], 141),
        (&["status", "--json", &app], 141),
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        let mut command = command(words);
        let output = command.stdout(writer).current_dir(dir.join("tmp")).output();
        let output = output.expect("the command can be run");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(closed), "{words:?}: {said}");
        assert_eq!(said, "", "{words:?}");

        let full = fs::File::options().write(true).open("/dev/full");
        command.stdout(full.expect("/dev/full is there"));
        let output = command.output().expect("the command can be run");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(74), "{words:?}: {said}");
        let sentence = "cannot write to standard output: No space left on device\n";
        assert!(said.ends_with(sentence), "{words:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{words:?}: {said}");
    }
}

#[test]
fn request_says_what_is_wrong() {
    let dir = Dir::new();
    let app = dir.app_file("app", "wsgi = testapp:application\nmode = cgi");
    let app = app.display().to_string();
    let nowhere = dir.join("nowhere").display().to_string();
    for (words, status, said) in [
        (&["request", &nowhere][..], 66, "No such file"),
        (&["request", &app, "no-slash"], 64, "begins with '/'"),
        (&["request", "-H", "x", &app], 64, "'Name: value'"),
        (&["request", "-d", "@/nowhere", &app], 66, "/nowhere"),
        (&["request", "--via", &nowhere, &app], 69, "cannot connect"),
        (
            &["request", "--via=127.0.0.1:1", &app],
            69,
            "cannot connect",
        ),
        (
            &["request", "--via", "sgci", &app],
            64,
            "'sgci' is neither auto, cgi, scgi nor an address; did you mean 'scgi'?",
        ),
        (&["request", "--via", "proxy", &app], 64, "nor an address\n"),
    ] {
        let output = polycgi(words);
        assert_eq!(
            output.status.code(),
            Some(status),
            "{words:?}: {}",
            output.stderr
        );
        assert!(output.stderr.contains(said), "{words:?}: {}", output.stderr);
        assert!(
            output.stderr.starts_with("polycgi: request: "),
            "{}",
            output.stderr
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn check_finds_what_is_wrong_and_says_what_to_do() {
    let dir = Dir::new();
    let check = |config: &str| {
        let app = dir.app_file("app", config).display().to_string();
        let output = polycgi(&["check", &app]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), joined(&(text + &output.stderr)))
    };
    let (status, text) = check("wsgi = testapp:application");
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("nothing wrong found"), "{text}");
    for (config, said) in [
        (
            "wsgi = testapp:application\nworkers = 3",
            "did you mean 'max-procs'?",
        ),
        ("wsgi = testapp:application\nworkers = 3", "^~~~~~~"),
        ("wsgi = testapp:nothing", "AttributeError"),
        ("wsgi = nothing:application", "ModuleNotFoundError"),
        ("wsgi = testapp:HERE", "is not callable"),
        (
            "wsgi = testapp:application\npython = /no/such/python",
            "/no/such/python",
        ),
        (
            "wsgi = testapp:application\npython = no-such-python",
            "cannot find no-such-python",
        ),
        ("", "nothing says what to run"),
    ] {
        let (status, text) = check(config);
        assert_eq!(status, Some(78), "{config}: {text}");
        assert!(text.contains(said), "{config}: {text}");
    }
    let app = dir.app_file("app", "wsgi = testapp:application");
    let text = fs::read_to_string(&app).expect("the app file can be read");
    for (first, said) in [
        ("#!/usr/bin/env polycgi", "does not name the app file"),
        ("#!/no/such/polycgi -", "which does not exist"),
    ] {
        let rest = text.split_once('\n').expect("lines").1;
        let app = dir.file("cgi-bin/app", &format!("{first}\n{rest}"), 0o755);
        let output = polycgi(&["check", &app.display().to_string()]);
        let text = joined(&String::from_utf8_lossy(&output.stdout));
        assert!(text.contains(said), "{text}");
        assert_eq!(output.status.code(), Some(78));
    }
    let app = dir.file("cgi-bin/app", &text, 0o644).display().to_string();
    let output = polycgi(&["check", &app]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("chmod 755"), "{text}");
}

#[test]
fn links_are_made_once_and_lead_to_us() {
    let dir = Dir::new();
    let folder = dir.folder("links", 0o755);
    let at = folder.display().to_string();
    for _ in 0..2 {
        polycgi(&["links", &at, "wiki", "hg.fcgi"]).success();
    }
    for name in ["wiki.cgi", "hg.fcgi"] {
        let to = fs::read_link(folder.join(name)).expect("a symlink");
        assert_eq!(to, installed("polycgi"));
    }
    assert_eq!(polycgi(&["links", &at]).status.code(), Some(64));
    assert_eq!(polycgi(&["links", &at, "nph-x"]).status.code(), Some(64));
    fs::write(folder.join("taken.cgi"), "").expect("a file can be written");
    assert_eq!(polycgi(&["links", &at, "taken"]).status.code(), Some(73));
}

#[test]
fn applets_are_listed() {
    let text = polycgi(&["applets"]).success();
    for name in ["app-cgi", "cgi-front", "overload-page", "scgi-daemon"] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{text}");
    }
}

#[test]
fn start_says_whether_the_app_is_ready() {
    let dir = Dir::new();
    let app = dir.app_file("app", "wsgi = testapp:application\nmode = daemon");
    let app = app.display().to_string();
    polycgi(&["start", &app]).success();
    assert!(polycgi(&["status", &app]).success().contains(": up (pid "));
    polycgi(&["stop", &app]).success();
    let broken = dir.app_file("broken", "wsgi = nothing:application\nmode = daemon");
    let broken = broken.display().to_string();
    let output = polycgi(&["start", &broken]);
    assert_eq!(output.status.code(), Some(69), "{}", output.stderr);
    assert!(
        output.stderr.contains("No module named 'nothing'"),
        "{}",
        output.stderr
    );
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert!(
        polycgi(&["status", &broken])
            .success()
            .contains("backing-off")
    );
}

#[test]
fn a_stop_while_it_starts_is_no_failure() {
    let dir = Dir::new();
    let mut gate = dir.gate("gate");
    let slow = "import testapp\ntestapp.pass_gate('gate')\nfrom testapp import application\n";
    dir.file("apps/slow.py", slow, 0o644);
    let app = dir
        .app_file("app", "wsgi = slow:application\nmode = daemon")
        .display()
        .to_string();
    let mut start = command(&["start", &app]);
    let start = start
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("polycgi can be run");
    gate.entered();
    polycgi(&["stop", &app]).success();
    gate.open(1);
    let output = start.wait_with_output().expect("start ends");
    assert_eq!(output.status.code(), Some(69));
    let status = polycgi(&["status", &app]).success();
    assert!(status.contains(": down"), "{status}");
    assert!(!status.contains("failure"), "{status}");
}

#[test]
fn wrong_usage_is_one_sentence() {
    for (words, said) in [
        (&["check"][..], "polycgi: check: "),
        (
            &["relod"],
            "polycgi: Unrecognized argument: relod; did you mean 'reload'?; see 'polycgi --help'",
        ),
        (
            &["kill", "app"],
            "polycgi: Unrecognized argument: kill; did you mean 'stop'?; see ",
        ),
        (
            &["request", "--vai", "cgi", "app"],
            "polycgi: request: Unrecognized argument: --vai; did you mean '--via'?; see ",
        ),
        (
            &["--verson"],
            "polycgi: Unrecognized argument: --verson; did you mean '--version'?; see ",
        ),
        (
            &["status", "--prom"],
            "polycgi: status: Unrecognized argument: --prom; did you mean '--prometheus'?; see ",
        ),
        (
            &["status", "--watch", "2", "app"],
            "polycgi: status: Unrecognized argument: app; write --watch=2; see ",
        ),
        // Nothing that is alike.
        (
            &["status", "app", "more"],
            "polycgi: status: Unrecognized argument: more; see 'polycgi status --help'",
        ),
        (&["status", "--json=x"], "polycgi: status: "),
        (&["stop", "--hard", "app"], "polycgi: stop: "),
    ] {
        let output = polycgi(words);
        assert_eq!(output.status.code(), Some(64), "{words:?}");
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
        assert!(output.stderr.starts_with(said), "{}", output.stderr);
        assert!(output.stderr.contains("--help'"), "{}", output.stderr);
    }
}

/// A command that waits for the end of a start, and is killed, must not make the loop spin.
#[test]
fn a_start_that_is_interrupted_leaves_the_loop_asleep() {
    let dir = Dir::new();
    let mut gate = dir.gate("gate");
    let slow = "import testapp\ntestapp.pass_gate('gate')\nfrom testapp import application\n";
    dir.file("apps/slow.py", slow, 0o644);
    let config = "wsgi = slow:application\nmode = daemon\nlog-level = trace";
    let app = dir.app_file("app", config).display().to_string();
    let mut start = command(&["start", &app])
        .spawn()
        .expect("polycgi can be run");
    gate.entered();
    start.kill().expect("a child can be killed");
    start.wait().expect("a child can be waited for");
    // Each of these takes one or two turns of the loop; a loop that spins makes thousands.
    for _ in 0..5 {
        assert!(polycgi(&["status", &app]).success().contains(": starting"));
    }
    let turns = dir.daemon_log().matches("pool: Tick").count();
    assert!(turns < 200, "{turns} turns of the loop");
    gate.open(1);
}

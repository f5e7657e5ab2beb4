//! The hot path of the front: that it calls no library, what it asks of the kernel, what it leaves to the normal front,
//! and that this finds everything as it was.
mod code;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use super::util::process::{kill_at_once, send, stop};
use super::util::strace::{Traced, exactly, traced};
use super::util::{Deadline, Dir, Running, as_user, cgi, installed, run};
use code::Code;

const CONFIG: &str = "wsgi = testapp:application\nmode = daemon\n";

/// The environment of a GET, and what else is in it, before or behind.
fn request(path: &str, before: &[&str], behind: &[&str]) -> Vec<String> {
    let meta = cgi::meta("GET", path, &[]).into_iter();
    let meta = meta.map(|(name, value)| format!("{name}={value}"));
    let own = |texts: &[&str]| -> Vec<String> { texts.iter().map(|&text| text.into()).collect() };
    own(before)
        .into_iter()
        .chain(meta)
        .chain(own(behind))
        .collect()
}

/// An app whose daemon is up.
fn served(dir: &Dir, config: &str) -> PathBuf {
    let app = dir.app_file("app", config);
    let hello = cgi::front(&app, "GET", "/hello", &[]);
    run(&mut { hello }, b"").response().ok();
    app
}

/// Every C library sets up thread-local storage first (arch_prctl).
fn was_normal(traced: &Traced) -> bool {
    traced.calls.iter().any(|call| call == "arch_prctl")
}

/// No C library has started yet: a call of its functions would jump through a pointer that is not filled in.
#[test]
fn nothing_leads_out_of_it_but_the_way_to_the_c_library() {
    let ways = Code::of(&installed("polycgi")).ways_out();
    assert!(ways.is_empty(), "{ways:#?}");
}

/// The test above, shown to fail: programs like ours, each with one thing in its hot path that must not be there.
#[test]
fn what_must_not_be_there_is_found() {
    let dir = Dir::new();
    let sound = planted(&dir, "sound").ways_out();
    assert!(sound.is_empty(), "{sound:#?}");
    for (plant, found) in [
        // memcpy and memcmp, by the pointer in the GOT.
        ("array_copy", "call *"),
        ("slice_equals", "call *"),
        ("function", "elsewhere"),
        ("pointer", "indirect"),
        ("thread_local", "thread-local"),
    ] {
        let ways = planted(&dir, plant).ways_out();
        assert!(
            ways.iter().any(|way| way.contains(found)),
            "{plant}: {ways:#?}"
        );
    }
}

/// planted.rs with this planted in it, linked as the Makefile links ours.
fn planted(dir: &Dir, plant: &str) -> Code {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/express/planted.rs");
    let program = dir.join(plant);
    run(
        Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
            .args(["--edition=2024", "-Copt-level=3", "-Cpanic=abort"])
            .args(["-Ctarget-feature=+crt-static", "-Crelocation-model=static"])
            .arg("-Clink-arg=-Wl,--entry=express_start")
            .arg(format!("--cfg=plant=\"{plant}\""))
            .arg("-o")
            .args([&program, &source]),
        b"",
    )
    .success();
    Code::of(&program)
}

/// Each system call more delays every request. None of them is of a C library that starts, which is what the hot path
/// is for.
#[test]
fn a_request_that_a_daemon_takes_needs_these_calls() {
    let dir = Dir::new();
    let app = served(&dir, CONFIG);
    for (path, behind, stdin) in [
        ("/hello", &[][..], &b""[..]),
        ("/digest", &["CONTENT_LENGTH=5"], b"hello"),
    ] {
        let Traced { output, mut calls } = traced(&dir, &app, &request(path, &[], behind), stdin);
        assert_eq!(output.response().head.status, 200);
        // Of the two usual places the daemon's is the first or the second.
        calls.dedup_by(|one, other| one == "connect" && other == "connect");
        let expected = [
            "execve",
            // Is the app file a script, and what is its folder?
            "newfstatat",
            "newfstatat",
            "socket",
            "connect",
            // Does the daemon run as our uid?
            "getsockopt",
            // Is the daemon this app's?
            "getpeername",
            "sendmsg",
            // While the daemon works: the front unblocks signals, and waits with a time limit.
            "rt_sigprocmask",
            "fcntl",
            "setsockopt",
            "recvfrom",
            "exit_group",
        ];
        assert_eq!(calls, expected);
    }
}

/// Unusual requests are left to the normal front.
#[test]
fn what_is_peculiar_is_left_to_the_normal_front() {
    let dir = Dir::new();
    let app = served(&dir, &format!("{CONFIG}header-limit = 128k\n"));
    let many: Vec<String> = (0..300)
        .map(|number| format!("HTTP_X_{number}=x"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = format!("HTTP_X_LONG={}", "x".repeat(70_000));
    let cases: &[(&str, &[&str], u16)] = &[
        ("httpoxy", &["HTTP_PROXY=http://example.com/"], 200),
        ("a name twice", &["HTTP_X_TEST=1", "HTTP_X_TEST=1"], 200),
        (
            "two values for a name",
            &["HTTP_X_TEST=1", "HTTP_X_TEST=2"],
            400,
        ),
        ("an empty name", &["=x"], 400),
        ("no value", &["HTTP_X_TEST"], 200),
        ("a sign before the length", &["CONTENT_LENGTH=+0"], 400),
        (
            "a long length",
            &["CONTENT_LENGTH=000000000000000000000"],
            200,
        ),
        ("our own words", &["POLYCGI=1"], 200),
        ("the protocol's own word", &["SCGI=1"], 200),
        ("many variables", &many, 200),
        ("a long variable", &[&long], 200),
    ];
    for (what, variables, status) in cases {
        for environ in [
            request("/dump", variables, &[]),
            request("/dump", &[], variables),
        ] {
            let one = traced(&dir, &app, &environ, b"");
            assert!(was_normal(&one), "{what}: {:?}", one.calls);
            let reply = cgi::reply(&one.output.stdout);
            assert_eq!(reply.head.status, *status, "{what}: {}", one.output.stderr);
            if *status == 200 {
                let text = reply.ok();
                assert!(
                    text.contains("[\"wsgi.run_once\", false]"),
                    "{what}: {text}"
                );
                assert!(!text.contains("HTTP_PROXY"), "{what}: {text}");
            }
        }
    }
}

/// suEXEC names the app file as it lies in the working directory.
#[test]
fn an_app_file_by_a_relative_path_is_the_same_app() {
    let dir = Dir::new();
    let app = served(&dir, CONFIG);
    let (folder, name) = (app.parent().unwrap(), app.file_name().unwrap());
    let folder_name = folder.file_name().unwrap();
    let linked = dir.join("linked");
    symlink(folder, &linked).unwrap();
    for (from, path) in [
        (folder, PathBuf::from(name)),
        (folder, Path::new(".").join(name)),
        (folder, Path::new("..").join(folder_name).join(name)),
        (folder.parent().unwrap(), Path::new(folder_name).join(name)),
        (Path::new("/"), app.clone()),
        (Path::new("/"), folder.join(".").join(name)),
        (
            Path::new("/"),
            [folder, Path::new("/"), name.as_ref()]
                .iter()
                .map(|p| p.display().to_string())
                .collect::<String>()
                .into(),
        ),
        (Path::new("/"), linked.join(name)),
        (&linked, Path::new("..").join(folder_name).join(name)),
    ] {
        // A shell, since strace looks for a name without a slash on PATH, and execve(2) does not.
        let script = format!(
            "#!/usr/bin/python3\nimport os\nos.chdir({from:?})\nos.execve({path:?}, [{path:?}], os.environ)\n"
        );
        let script = dir.file("changing", &script, 0o755);
        let one = traced(&dir, &script, &request("/hello", &[], &[]), b"");
        assert!(
            one.output.response().ok().starts_with("hello from "),
            "{path:?}"
        );
        let after = one.calls.iter().rposition(|call| call == "execve");
        let calls = &one.calls[after.expect("the shell becomes the app")..];
        assert!(
            !calls.iter().any(|call| call == "arch_prctl"),
            "{path:?}: {calls:?}"
        );
    }
}

/// Both fronts compute the same name of the place: the hot path finds the daemon that the normal front has started.
#[test]
fn an_app_file_may_have_any_name() {
    let dir = Dir::new();
    let script = cgi_that_says(&dir, "hello");
    let long = format!("{}.cgi", "n".repeat(200));
    for name in [
        "a.b.c",
        ".hidden",
        "..x",
        "x.",
        "sp ace",
        "\u{e4}.py",
        "-",
        &long,
    ] {
        let app = dir.app_file(
            name,
            &format!("cgi = {}\nmode = daemon\n", script.display()),
        );
        for is_first in [true, false] {
            let one = traced(&dir, &app, &request("/", &[], &[]), b"");
            assert_eq!(was_normal(&one), is_first, "{name}: {:?}", one.calls);
            assert_eq!(one.output.response().ok(), "hello", "{name}");
        }
    }
}

/// In a place that another user has squatted, a link can lead to the daemon of another of our apps. Neither front
/// uses that.
#[test]
fn a_link_to_another_apps_daemon_is_not_followed() {
    let dir = Dir::new();
    let config = |word| {
        format!(
            "cgi = {}\nmode = daemon\n",
            cgi_that_says(&dir, word).display()
        )
    };
    let [one, other] = ["one", "other"].map(|word| dir.app_file(word, &config(word)));
    let says = |app: &Path| {
        run(&mut cgi::front(app, "GET", "/", &[]), b"")
            .response()
            .ok()
    };
    assert_eq!([says(&one), says(&other)], ["one", "other"]);
    let link_of = |word: &str| {
        let named = |link: &&PathBuf| {
            link.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(word))
        };
        dir.links()
            .iter()
            .find(named)
            .cloned()
            .expect("a link from the usual place")
    };
    let (ours, theirs) = (link_of("one-"), link_of("other-"));
    let stop = |app: &Path| run(as_user(installed("polycgi")).arg("stop").arg(app), b"");
    stop(&one).success();
    symlink(fs::read_link(theirs).unwrap(), &ours).unwrap();
    let first = traced(&dir, &one, &request("/", &[], &[]), b"");
    assert!(was_normal(&first), "{:?}", first.calls);
    assert_eq!(first.output.response().ok(), "one");
    assert_eq!([says(&one), says(&other)], ["one", "other"]);
}

/// A plain CGI whose answer is that word.
fn cgi_that_says(dir: &Dir, word: &str) -> PathBuf {
    let script = format!("#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n{word}'\n");
    dir.file(&format!("apps/{word}"), &script, 0o755)
}

/// The other form of an app: a symlink to the program, its configuration elsewhere.
#[test]
fn a_symlink_to_the_program_is_an_app_too() {
    let dir = Dir::new();
    let home = dir.folder("home", 0o755);
    dir.folder("home/.config", 0o755);
    dir.folder("home/.config/polycgi", 0o755);
    let script = dir.app_file("wiki", CONFIG);
    let config = fs::read_to_string(&script).unwrap();
    dir.file("home/.config/polycgi/wiki.conf", &config, 0o644);
    let link = dir.join("cgi-bin/wiki.cgi");
    symlink(installed("polycgi"), &link).unwrap();
    let home = format!("HOME={}", home.display());
    let ask = || traced(&dir, &link, &request("/hello", &[&home], &[]), b"");
    // The first request starts the daemon, the second finds it.
    assert!(was_normal(&ask()));
    let one = ask();
    assert!(!was_normal(&one), "{:?}", one.calls);
    assert!(one.output.response().ok().starts_with("hello from "));
    // A symlink to a script is a script, and its folder and name are another app's: that has no daemon.
    let to_script = dir.join("cgi-bin/other.cgi");
    symlink(&script, &to_script).unwrap();
    assert!(was_normal(&traced(
        &dir,
        &to_script,
        &request("/hello", &[], &[]),
        b""
    )));
}

/// The hot path changes the environment in place, and restores it: the app that the front becomes finds what the web
/// server sent, wherever the hot path gave up.
#[test]
fn what_was_sealed_is_unsealed() {
    let dir = Dir::new();
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nexec /usr/bin/env -0\n";
    let script = dir.file("apps/environ", script, 0o755);
    let app = dir.app_file("app", &format!("cgi = {}\n", script.display()));
    let behind = ["HTTP_X_TEST=a=b==", "HTTP_X_EMPTY=", "HTTP_X_LAST=="];
    let environ = request(
        "/hello",
        &["A=", "CONTENT_TYPE=text/plain; charset=utf-8"],
        &behind,
    );
    let is_intact = |what: &str, daemon: Option<i32>| {
        let mut command = cgi::front(&app, "GET", "/", &[]);
        let front = Running::start(exactly(&mut command, &environ), b"");
        if let Some(stopped) = daemon {
            // The stopped daemon still holds the front's descriptors.
            assert!(Deadline::soon().ended(front.pid()), "{what}");
            send(stopped, Signal::SIGCONT);
        }
        let answer = front.end();
        let is_told = answer.stderr.contains("the daemon is stopped");
        assert_eq!(is_told, daemon.is_some(), "{what}: {}", answer.stderr);
        assert!(is_told || answer.stderr.is_empty(), "{}", answer.stderr);
        let text = cgi::reply(&answer.stdout).ok();
        let got: Vec<&str> = text.split_terminator('\0').collect();
        for variable in &environ {
            assert!(
                got.contains(&variable.as_str()),
                "{what}: {variable}: {got:?}"
            );
        }
    };
    is_intact("no daemon", None);
    // A socket without a daemon.
    dir.polycgi(&["start"]).success();
    assert_eq!(dir.links().len(), 1, "from the usual place");
    kill_at_once(dir.daemon());
    assert!(dir.socket().exists());
    is_intact("a dead daemon", None);
    // A daemon that does not answer: the request is taken back.
    dir.polycgi(&["start"]).success();
    let daemon = dir.daemon();
    stop(daemon);
    is_intact("a stopped daemon", Some(daemon));
}

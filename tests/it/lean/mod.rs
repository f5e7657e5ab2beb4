//! The normal front, which serves where the hot path does not: what it asks of the kernel and of the C library on its
//! way to a daemon, and that it is right by itself. A header field that the hot path refuses makes each request pass
//! it.

#[cfg(target_arch = "x86_64")]
mod traced;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use nix::sys::signal::Signal;

use super::util::process::{send, stop};
use super::util::{Deadline, Dir, Running, Watch, cgi, daemon, digest, installed, run};

const CONFIG: &str = "wsgi = testapp:application\nmode = daemon\n";
/// HTTP_PROXY, which has to be removed, and the hot path can't do that.
const REFUSED: (&str, &str) = ("Proxy", "http://proxy.example/");

#[cfg(target_arch = "x86_64")]
mod way {
    use std::path::Path;
    use std::process::Command;

    use nix::libc;

    use super::traced::{Event, follow};
    use super::*;

    /// What the front does for a GET of `/hello`, from its `main` to its end. Of the calls, connect(2) for a place that
    /// this host does not have is left out.
    fn way_of(program: &Path, home: &str, fields: &[(&str, &str)]) -> Vec<Event> {
        let mut command = cgi::front(program, "GET", "/hello", fields);
        command.env("HOME", home);
        let mut events = follow(&mut command, &installed("polycgi"));
        events.retain(|event| *event != Event::Call(libc::SYS_connect, false));
        events
    }

    fn forward_after(before: &[i64]) -> Vec<Event> {
        let calls = before.iter().chain(&FORWARD);
        let calls = calls.map(|&number| Event::Call(number, true));
        calls.chain([Event::Exit(0)]).collect()
    }

    /// The socket's path is known: all that a forward needs.
    const FORWARD: [i64; 9] = [
        libc::SYS_socket,
        // Without waiting: a full backlog is an answer too.
        libc::SYS_connect,
        // From here on it waits.
        libc::SYS_fcntl,
        // The peer's uid and pid: a socket of another user is a squat.
        libc::SYS_getsockopt,
        // Its app: a link in a squatted place can lead anywhere.
        libc::SYS_getpeername,
        libc::SYS_sendmsg,
        // A daemon that sends nothing in this time is stuck.
        libc::SYS_setsockopt,
        libc::SYS_recvfrom,
        libc::SYS_exit_group,
    ];

    #[test]
    fn a_script_s_request_takes_what_a_forward_needs() {
        let dir = Dir::new();
        let app = dir.app_file("app", CONFIG);
        cgi::start_front(&app, "/hello").end().success();
        let before = [
            // A web server may have blocked the signals by which it ends a CGI.
            libc::SYS_rt_sigprocmask,
            // It is no symlink: the configuration is the script itself, and ...
            libc::SYS_newfstatat,
            // ... its folder gives the name of its place.
            libc::SYS_newfstatat,
        ];
        assert_eq!(way_of(&app, "/", &[REFUSED]), forward_after(&before));
    }

    #[test]
    fn a_symlink_s_request_takes_its_configuration_s_place_besides() {
        let dir = Dir::new();
        let (link, home) = linked(&dir);
        let serve = || {
            run(
                cgi::front(&link, "GET", "/hello", &[]).env("HOME", &home),
                b"",
            )
        };
        serve().success();
        let before = [
            libc::SYS_rt_sigprocmask,
            libc::SYS_newfstatat,
            // The symlink leads to polycgi, not to a script.
            libc::SYS_openat,
            libc::SYS_read,
            libc::SYS_close,
            // The configuration is there, and ...
            libc::SYS_statx,
            // ... its folder.
            libc::SYS_newfstatat,
        ];
        assert_eq!(way_of(&link, &home, &[REFUSED]), forward_after(&before));
    }

    /// The tests above, shown to fail: very many meta-variables do not fit a place of fixed size.
    #[test]
    fn what_allocates_is_found() {
        let dir = Dir::new();
        let app = dir.app_file("app", CONFIG);
        cgi::start_front(&app, "/hello").end().success();
        let many: Vec<String> = (0..100).map(|number| format!("X-{number}")).collect();
        let many = many.iter().map(|name| (name.as_str(), "x"));
        let fields: Vec<_> = many.chain([REFUSED]).collect();
        let events = way_of(&app, "/", &fields);
        let allocates = |event: &Event| matches!(event, Event::Allocates(_));
        assert_eq!(events.iter().filter(|event| allocates(event)).count(), 1);
        assert_eq!(events.last(), Some(&Event::Exit(0)));
    }

    /// CPUID traps to the host on a virtual machine. glibc's own start may use it.
    #[test]
    fn only_the_c_library_asks_what_the_processor_can_do() {
        let mut command = Command::new("objdump");
        command
            .args(["-d", "--no-show-raw-insn"])
            .arg(installed("polycgi"));
        let listing = run(&mut command, b"").success();
        let mut function = "";
        let mut asking = std::collections::BTreeSet::new();
        for line in listing.lines() {
            if let Some((_, name)) = line
                .strip_suffix(">:")
                .and_then(|line| line.split_once('<'))
            {
                function = name;
            } else if line.split_whitespace().nth(1) == Some("cpuid") {
                asking.insert(function);
            }
        }
        assert!(!asking.is_empty(), "glibc's own were not found");
        let is_ours = |name: &&&str| {
            let is_rust = name.starts_with("_R") || name.starts_with("_ZN");
            is_rust || name.contains("::") || matches!(**name, "main" | "express_start")
        };
        let ours: Vec<_> = asking.iter().filter(is_ours).collect();
        assert!(ours.is_empty(), "{ours:?}");
    }
}

/// A symlink to us whose configuration lies below a HOME; both.
fn linked(dir: &Dir) -> (PathBuf, String) {
    let at = dir.path().display();
    for folder in ["home", "home/.config", "home/.config/polycgi"] {
        dir.folder(folder, 0o755);
    }
    let config =
        format!("{CONFIG}directory = {at}/apps\nruntime-dir = {at}/run\nenv.TMPDIR = {at}/tmp\n");
    dir.file("home/.config/polycgi/wiki.conf", &config, 0o644);
    let link = dir.join("cgi-bin/wiki.cgi");
    symlink(installed("polycgi"), &link).expect("a symlink can be made");
    (link, dir.join("home").display().to_string())
}

/// With descriptors passed and without.
#[test]
fn the_same_answers_by_every_handoff() {
    let body: Vec<u8> = (0..1_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    for handoff in ["stay", "exit", "relay"] {
        let dir = Dir::new();
        let app = dir.app_file("app", &format!("{CONFIG}handoff = {handoff}\n"));
        cgi::start_front(&app, "/hello").end().success();
        let mut command = cgi::front(&app, "GET", "/status/404", &[REFUSED]);
        let answer = run(&mut command, b"").response();
        assert_eq!(
            (answer.status(), answer.text()),
            (404, "status 404\n".into()),
            "{handoff}"
        );
        let mut command = cgi::front(&app, "POST", "/digest", &[REFUSED]);
        command.env("CONTENT_LENGTH", body.len().to_string());
        let answer = run(&mut command, &body).response().ok();
        assert_eq!(
            answer,
            format!("{} {}\n", digest(&body), body.len()),
            "{handoff}"
        );
    }
}

/// A header that is longer than the buffer for most headers.
#[test]
fn a_large_header_arrives_whole() {
    let dir = Dir::new();
    let app = dir.app_file("app", &format!("{CONFIG}header-limit = 128k\n"));
    cgi::start_front(&app, "/hello").end().success();
    for size in [10, 60_000, 100_000] {
        let long = "x".repeat(size);
        let fields = [REFUSED, ("X-Long", &long)];
        let dump = run(&mut cgi::front(&app, "GET", "/dump", &fields), b"")
            .response()
            .ok();
        assert!(dump.contains(&format!(r#""{long}""#)), "{size}");
        assert!(!dump.contains("HTTP_PROXY"), "{size}");
        assert!(dump.contains(r#"["wsgi.run_once", false]"#), "{size}");
    }
}

#[test]
fn a_stopped_daemon_loses_the_request() {
    let dir = Dir::new();
    let app = dir.app_file("app", CONFIG);
    cgi::start_front(&app, "/hello").end().success();
    let serving = dir.daemon();
    stop(serving);
    let taken_back = cgi::front(&app, "GET", "/mark?name=taken-back", &[REFUSED]);
    let mut marks = Watch::on(&dir.join("apps"));
    let front = Running::start(&mut { taken_back }, b"");
    let is_marked = || fs::exists(dir.join("apps/marks")).unwrap_or_default();
    assert!(marks.until(Deadline::soon(), is_marked));
    // The daemon closes the descriptors on their way to it when it reads them.
    send(serving, Signal::SIGCONT);
    let answer = front.end();
    assert_eq!(cgi::reply(&answer.stdout).ok(), "taken-back cgi\n");
    assert!(answer.stderr.contains("is stopped"), "{}", answer.stderr);
    daemon::with_its_children(serving, || send(serving, Signal::SIGTERM));
    assert_eq!(dir.lines("marks"), ["taken-back cgi"]);
}

/// No descriptor that the front opens gets the number of a closed one.
#[test]
fn closed_descriptors_stay_closed() {
    let dir = Dir::new();
    let app = dir.app_file("app", CONFIG);
    cgi::start_front(&app, "/hello").end().success();
    for fields in [&[][..], &[REFUSED]] {
        for (closed, name) in [("<&-", "in"), ("2>&-", "err"), ("<&- 2>&-", "both")] {
            let mut command = cgi::front("/bin/sh".as_ref(), "GET", "/mark", fields);
            command.env("QUERY_STRING", format!("name={name}"));
            let script = format!("exec {} {closed}", app.display());
            let answer = run(command.args(["-c", &script]), b"").response().ok();
            assert_eq!(answer, format!("{name} daemon\n"));
        }
        // Without an output too the request is served.
        let mut command = cgi::front("/bin/sh".as_ref(), "GET", "/mark", fields);
        command.env("QUERY_STRING", "name=none");
        let script = format!("exec {} <&- >&- 2>&-", app.display());
        let output = run(command.args(["-c", &script]), b"");
        assert!(output.status.success() && output.stdout.is_empty());
    }
    let serving = dir.daemon();
    daemon::with_its_children(serving, || send(serving, Signal::SIGTERM));
    let expected = ["in", "err", "both", "none"].map(|name| format!("{name} daemon"));
    assert_eq!(dir.lines("marks"), [expected.clone(), expected].concat());
}

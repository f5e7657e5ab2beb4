//! Commands come from `polycgi` only. A request is no command, whatever its variables.

use super::super::util::scgi::{ScgiClient, netstring};
use super::super::util::strangers::{
    HERE, NOBODY, can_be_others, connect_many, send_with_descriptors, tests_uid,
};
use super::super::util::{Deadline, Dir, Mpm, Running, Site, cgi, under_both};
use super::{Open, ask_as};

const WORDS: [&str; 5] = ["stop", "reload", "status", "ready", ""];

under_both!(a_web_server_that_sets_our_words);

/// SetEnv sets the names of our messages: the application sees none of them, and none is obeyed.
fn a_web_server_that_sets_our_words(mpm: Mpm) {
    for word in WORDS {
        let more = format!(
            "SetEnv POLYCGI_CONTROL \"{word}\"\nSetEnv POLYCGI 7\nSetEnv SCGI 7\nSetEnv KEPT 7\n"
        );
        let site = Site::with(mpm, 16, &more);
        site.dir
            .app_file("app", "wsgi = testapp:application\nmode = daemon\n");
        let first = site.get("/dump").ok();
        let serving = site.dir.daemon();
        for dump in [first, site.get("/dump").ok()] {
            assert!(dump.contains(r#"["KEPT", "7"]"#), "{dump}");
            assert!(!dump.contains("POLYCGI"), "{word}: {dump}");
            assert!(!dump.contains(r#"["SCGI""#), "{word}: {dump}");
        }
        assert_eq!(site.dir.daemon(), serving);
        assert_eq!(site.dir.starts(), 1, "{}", site.dir.daemon_log());
    }
}

/// The hot path sends the environment as it lies; with HTTP_PROXY the normal front does.
#[test]
fn a_front_s_environment_is_no_command() {
    for config in ["", "handoff = relay\n", "mount = /\n"] {
        let open = Open::start(config);
        for (word, others) in [
            ("stop", &[][..]),
            ("stop", &[("HTTP_PROXY", "x")]),
            ("stop", &[("POLYCGI", "1")]),
            ("stop", &[("POLYCGI", "2"), ("SCGI", "2")]),
            ("reload", &[("CONTENT_LENGTH", "0")]),
            ("no such word", &[("CONTENT_LENGTH", "")]),
        ] {
            let mut front = cgi::front(&open.app, "GET", "/dump", &[]);
            front.env("POLYCGI_CONTROL", word).envs(others.to_vec());
            front.env("REQUEST_URI", "/dump");
            let dump = Running::start(&mut front, b"").end().response().ok();
            assert!(!dump.contains("POLYCGI"), "{config}{others:?}: {dump}");
        }
        open.is_well();
    }
}

/// The same where the app is a program: the variable is not in its environment, as a plain CGI or under the daemon.
#[test]
fn a_program_does_not_see_it() {
    for mode in ["cgi", "daemon"] {
        let dir = Dir::new();
        let text = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nexec env\n";
        let program = dir.file("apps/env.sh", text, 0o755);
        let config = format!("cgi = {}\nmode = {mode}\n", program.display());
        let app = dir.app_file("app", &config);
        for others in [&[][..], &[("HTTP_PROXY", "x")]] {
            let mut front = cgi::front(&app, "GET", "/", &[]);
            front.env("POLYCGI_CONTROL", "stop").env("KEPT", "7");
            front.envs(others.to_vec());
            let said = Running::start(&mut front, b"").end().response().ok();
            assert!(said.contains("KEPT=7\n"), "{mode}: {said}");
            assert!(!said.contains("POLYCGI"), "{mode}: {said}");
        }
    }
}

fn message(more: &[(&'static str, &'static str)]) -> Vec<u8> {
    let first = [("CONTENT_LENGTH", "0"), ("SCGI", "1")];
    netstring(first.into_iter().chain(more.iter().copied()))
}

#[test]
fn a_guest_commands_nothing() {
    let open = Open::start("listen-allow = 127.0.0.0/8 root nobody\n");
    for word in WORDS {
        let command = message(&[("POLYCGI_CONTROL", word)]);
        let request = message(&[
            ("POLYCGI_CONTROL", word),
            ("REQUEST_METHOD", "GET"),
            ("PATH_INFO", "/dump"),
            ("POLYCGI", "1"),
        ]);
        let tcp = |sent: &[u8]| {
            let mut client = ScgiClient::connect_tcp(HERE, open.address);
            client.send(sent).reply()
        };
        assert_eq!(tcp(&command).status(), 400, "{word}");
        let dump = tcp(&request).ok();
        assert!(!dump.contains("POLYCGI"), "{dump}");
        // Our own user may send commands, to the daemon's own socket only.
        let own = ask_as(&open.sock(), tests_uid(), &command);
        assert_eq!(own.status(), 400, "{word}");
        if can_be_others() {
            for uid in [0, NOBODY] {
                assert_eq!(ask_as(&open.sock(), uid, &command).status(), 400, "{word}");
                let dump = ask_as(&open.sock(), uid, &request).ok();
                assert!(!dump.contains("POLYCGI"), "{dump}");
            }
        }
    }
    open.is_well();
}

/// From our own user at the daemon's own socket: a command with descriptors, or with other variables, is none.
#[test]
fn what_is_not_only_a_command_is_none() {
    let open = Open::start("");
    let place = open.dir.socket();
    let stop = message(&[("POLYCGI_CONTROL", "stop")]);
    let client = connect_many(&place, tests_uid(), 1).remove(0);
    assert!(send_with_descriptors(&client, &stop, 3), "they are passed");
    assert!(Deadline::soon().readable(&client), "it is answered");
    let more = message(&[
        ("POLYCGI_CONTROL", "stop"),
        ("REQUEST_METHOD", "GET"),
        ("PATH_INFO", "/dump"),
    ]);
    let dump = ask_as(&place, tests_uid(), &more).ok();
    assert!(!dump.contains("POLYCGI"), "{dump}");
    open.is_well();
    // The same command alone is one.
    let status = message(&[("POLYCGI_CONTROL", "status")]);
    let mut client = ScgiClient::connect(&place);
    let told = String::from_utf8_lossy(&client.send(&status).rest()).into_owned();
    assert!(told.contains("state=up"), "{told}");
    open.end();
}

//! The forms of an app file: a script, with CRLF, with an applet in its first line; a symlink; run by hand. They are
//! run as a web server runs a CGI, and by Apache where it matters.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::util::patient::PatientWrite;
use super::util::{Dir, Mpm, Output, Piped, Site, as_user, cgi, installed, run};

/// Runs a program with the meta-variables of a small GET.
fn as_cgi(program: &Path, environment: &[(&str, &str)]) -> Output {
    let mut command = as_user(program);
    command.envs([
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("REQUEST_METHOD", "GET"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_NAME", "localhost"),
        ("SERVER_PORT", "80"),
        ("SCRIPT_NAME", "/app"),
        ("PATH_INFO", "/dump"),
        ("QUERY_STRING", ""),
    ]);
    command.envs(environment.iter().copied());
    run(&mut command, b"")
}

/// The way in which a request was served, from the environ in its response.
fn way(response: &str) -> &'static str {
    match (
        response.contains(r#"["wsgi.run_once", true]"#),
        response.contains(r#"["wsgi.run_once", false]"#),
    ) {
        (true, false) => "cgi",
        (false, true) => "daemon",
        _ => panic!("no environ: {response}"),
    }
}

/// The text of an app file of this directory, with another first line.
fn rewrite(dir: &Dir, config: &str, first_line: &str, end: &str) {
    let path = dir.app_file("app", config);
    let text = fs::read_to_string(path).expect("the app file can be read");
    let lines = std::iter::once(first_line.to_owned()).chain(text.lines().skip(1).map(Into::into));
    let text: String = lines.map(|line| line + end).collect();
    dir.file("cgi-bin/app", &text, 0o755);
}

#[test]
fn a_script_saved_with_crlf_runs() {
    let dir = Dir::new();
    let first = format!("#!{} -", installed("polycgi").display());
    rewrite(
        &dir,
        "wsgi = testapp:application\nmode = daemon",
        &first,
        "\r\n",
    );
    let output = as_cgi(&dir.join("cgi-bin/app"), &[]);
    assert_eq!(output.stderr, "");
    assert_eq!(way(&output.success()), "daemon");
}

#[test]
fn a_day_of_debugging_is_one_word() {
    let site = Site::bare(Mpm::Event, 16);
    let config = "wsgi = testapp:application\nmode = daemon";
    let first = format!("#!{} -", installed("app-cgi").display());
    rewrite(&site.dir, config, &first, "\n");
    assert_eq!(way(&site.get("/dump").ok()), "cgi");
    assert!(site.dir.daemons().is_empty());
    let first = format!("#!{} -", installed("cgi-front").display());
    rewrite(&site.dir, config, &first, "\n");
    assert_eq!(way(&site.get("/dump").ok()), "daemon");
}

#[test]
fn a_day_of_maintenance_is_one_word() {
    let site = Site::bare(Mpm::Prefork, 16);
    let first = format!("#!{} -", installed("overload-page").display());
    rewrite(&site.dir, "wsgi = testapp:application", &first, "\n");
    for (accept, media_type) in [
        ("text/html,*/*;q=0.8", "text/html"),
        ("application/json", "application/problem+json"),
        ("*/*", "text/plain"),
    ] {
        let reply = site.send("POST", "/", &[("Accept", accept)], Some(&[b'x'; 100_000]));
        assert_eq!(reply.status(), 503);
        let found = reply.field("Content-Type").expect("a type");
        assert!(found.starts_with(media_type), "{found}");
        assert_eq!(reply.field("Retry-After"), Some("30"));
        assert_eq!(reply.field("Cache-Control"), Some("no-store"));
        assert!(!reply.body.is_empty());
    }
    let head = site.send("HEAD", "/", &[], None);
    assert_eq!((head.status(), head.body.len()), (503, 0));
}

/// A `wiki.conf` below `home`, which is returned.
fn configure_by_name(dir: &Dir) -> String {
    let at = dir.path().display();
    for folder in ["home", "home/.config", "home/.config/polycgi"] {
        dir.folder(folder, 0o755);
    }
    let config = format!(
        "wsgi = testapp:application\nmode = daemon\ndirectory = {at}/apps\nruntime-dir = {at}/run\n\
         env.TMPDIR = {at}/tmp\n"
    );
    dir.file("home/.config/polycgi/wiki.conf", &config, 0o644);
    dir.join("home").display().to_string()
}

#[test]
fn a_symlink_finds_its_configuration_by_its_name() {
    let dir = Dir::new();
    let home = configure_by_name(&dir);
    let link = dir.join("cgi-bin/wiki.cgi");
    symlink(installed("polycgi"), &link).expect("a symlink can be made");
    for _ in 0..2 {
        let output = as_cgi(&link, &[("HOME", &home)]);
        assert_eq!(output.stderr, "");
        assert_eq!(way(&output.success()), "daemon");
    }
    // Without HOME there is /etc/polycgi only, and no such app in it.
    let response = as_cgi(&link, &[]);
    assert!(
        response.stderr.contains("/etc/polycgi/wiki.conf"),
        "{}",
        response.stderr
    );
    let text = String::from_utf8_lossy(&response.stdout).into_owned();
    assert!(text.starts_with("Status: 500 "), "{text}");
}

/// The daemon that `start` spawns is told the path of the configuration, and finds the app by that.
#[test]
fn an_app_is_started_by_its_name() {
    let dir = Dir::new();
    let home = configure_by_name(&dir);
    let polycgi = |words: &[&str]| {
        run(
            as_user(installed("polycgi")).args(words).env("HOME", &home),
            b"",
        )
    };
    polycgi(&["start", "wiki"]).success();
    let path = format!("{home}/.config/polycgi/wiki.conf");
    for app in ["wiki", &path] {
        let shown = polycgi(&["status", app]).success();
        assert!(shown.contains(": up (pid "), "{shown}");
        let shown = polycgi(&["request", app, "/dump"]).success();
        assert_eq!(way(&shown), "daemon");
    }
    let output = polycgi(&["status", &format!("{home}/.config/polycgi")]);
    assert!(!output.status.success(), "a folder is no app");
    polycgi(&["stop", "wiki"]).success();
}

#[test]
fn the_words_of_a_client_are_not_read() {
    let dir = Dir::new();
    let app = dir.app_file("app", "wsgi = testapp:application\nmode = cgi");
    // RFC 3875 4.4: a query without '=' may come as words.
    let mut command = as_user(&app);
    command.args(["--help", "status", "--", "../../other"]);
    command.envs([("GATEWAY_INTERFACE", "CGI/1.1"), ("PATH_INFO", "/dump")]);
    command.envs([
        ("REQUEST_METHOD", "GET"),
        ("SERVER_NAME", "x"),
        ("SERVER_PORT", "80"),
    ]);
    command.envs([("SERVER_PROTOCOL", "HTTP/1.1"), ("SCRIPT_NAME", "/app")]);
    assert_eq!(way(&run(&mut command, b"").success()), "cgi");
}

#[test]
fn by_hand_it_says_what_it_is() {
    let dir = Dir::new();
    let app = dir.app_file("app", "wsgi = testapp:application");
    let text = run(&mut as_user(&app), b"").success();
    assert!(text.contains("is a polycgi app file"), "{text}");
    assert!(
        text.contains(&format!("polycgi request {} /", app.display())),
        "{text}"
    );
    assert!(dir.daemons().is_empty());
}

/// fcgiwrap, for one, makes a 502 of an answer that comes before all of the body was taken.
#[test]
fn the_body_of_a_bad_request_is_read_out() {
    let dir = Dir::new();
    let app = dir.app_file("app", "wsgi = testapp:application\nmode = cgi");
    let mut front = cgi::front(&app, "POST", "/digest", &[]);
    // A variable without a name makes the request a bad one.
    front.env("CONTENT_LENGTH", "1000000").env("=", "x");
    let mut front = Piped::start(&mut front);
    // The write fails if the front does not read.
    front.stdin().give(&[b'x'; 1_000_000]);
    let (response, words, _) = front.end();
    assert_eq!(cgi::reply(&response).status(), 400);
    assert!(words.contains("an empty name"), "{words}");
}

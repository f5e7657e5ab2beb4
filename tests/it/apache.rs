//! What a client of Apache sees: each check with both kinds of Apache, and the app run in each way. It knows
//! nothing of how polycgi does it.

use super::util::served::blocks;
use super::util::{Mpm, Site, Way, digest};

/// Makes a test of each check in each place; those of the second list need polycgi.
macro_rules! everywhere {
    ([$($common:ident)*] [$($ours:ident)*]) => {
        everywhere!(place event_cgi, Event, Cgi, $($common)* $($ours)*);
        everywhere!(place event_daemon, Event, Daemon, $($common)* $($ours)*);
        everywhere!(place event_reference, Event, Reference, $($common)*);
        everywhere!(place prefork_cgi, Prefork, Cgi, $($common)* $($ours)*);
        everywhere!(place prefork_daemon, Prefork, Daemon, $($common)* $($ours)*);
        everywhere!(place prefork_reference, Prefork, Reference, $($common)*);
    };
    (place $place:ident, $mpm:ident, $way:ident, $($check:ident)*) => {
        mod $place {
            use super::{Mpm, Site, Way};
            $(#[test]
            fn $check() {
                super::$check(Site::start(Mpm::$mpm, Way::$way));
            })*
        }
    };
}

everywhere!(
    [
        get_and_head big_response early_first_byte statuses redirects path_info query_is_no_argument
        post_digest
    ]
    [
        proxy_is_dropped unread_body print_is_no_response stderr_is_the_error_log write_and_file_wrapper
        a_broken_app_is_a_500
    ]
);

fn get_and_head(site: Site) {
    site.get_and_head();
}

fn post_digest(site: Site) {
    let body: Vec<u8> = (0..5_000_000_u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let reply = site.send(
        "POST",
        "/digest",
        &[("Content-Type", "application/octet-stream")],
        Some(&body),
    );
    assert_eq!(reply.ok(), format!("{} 5000000\n", digest(&body)));
    let reply = site.send("POST", "/digest", &[], Some(b""));
    assert_eq!(reply.ok(), format!("{} 0\n", digest(b"")));
}

fn big_response(site: Site) {
    const SIZE: usize = 50_000_000;
    let reply = site.get(&format!("/big?size={SIZE}"));
    assert_eq!((reply.status(), reply.body.len()), (200, SIZE));
    assert_eq!(digest(&reply.body), digest(&blocks(SIZE)));
}

/// The first block is here while the application still waits: no time is measured.
fn early_first_byte(site: Site) {
    site.streams("/stream?gate=gate");
}

fn statuses(site: Site) {
    for (status, reason, body) in [
        (200, "OK", "status 200\n"),
        (204, "No Content", ""),
        (304, "Not Modified", ""),
        (404, "Not Found", "status 404\n"),
    ] {
        let reply = site.get(&format!("/status/{status}"));
        assert_eq!(
            (
                reply.status(),
                reply.head.reason.as_str(),
                reply.text().as_str()
            ),
            (status, reason, body)
        );
    }
}

fn redirects(site: Site) {
    let reply = site.get("/redirect");
    assert_eq!(reply.status(), 302);
    assert_eq!(
        reply.field("Location"),
        Some("http://elsewhere.example/there?a=b")
    );
    assert_eq!(reply.text(), "elsewhere\n");
    let reply = site.get("/redirect-path");
    assert_eq!(reply.status(), 303);
    assert_eq!(reply.field("Location"), Some("/cgi-bin/app/hello"));
    // The web server asks the app a second time; the client sees that response only.
    let reply = site.get("/redirect-local");
    assert!(reply.ok().starts_with("hello from "), "{reply:?}");
    assert_eq!(reply.field("Location"), None);
}

fn path_info(site: Site) {
    let dump = site.get("/dump/a%2Fb/%C3%A9%20%FF?x=%2F").ok();
    // PEP 3333: each character is a byte. Apache has decoded the path, and not the query string.
    assert_line(&dump, r#"["PATH_INFO", "/dump/a/b/\u00c3\u00a9 \u00ff"]"#);
    assert_line(&dump, r#"["SCRIPT_NAME", "/cgi-bin/app"]"#);
    assert_line(
        &dump,
        r#"["REQUEST_URI", "/cgi-bin/app/dump/a%2Fb/%C3%A9%20%FF?x=%2F"]"#,
    );
    assert_line(&dump, r#"["QUERY_STRING", "x=%2F"]"#);
}

/// RFC 3875 4.4: the web server makes arguments of a query string that has no `=`.
fn query_is_no_argument(site: Site) {
    for query in [
        "-h",
        "--version",
        "--config+/etc/passwd",
        "request+/etc/passwd",
        "-",
        "status",
    ] {
        let dump = site.get(&format!("/dump?{query}")).ok();
        assert_line(&dump, &format!(r#"["QUERY_STRING", "{query}"]"#));
        assert!(!dump.contains("root:x:0"), "{dump}");
    }
}

/// httpoxy: Apache itself drops the client's field, so this one comes from Apache's configuration.
fn proxy_is_dropped(site: Site) {
    let dump = site
        .send(
            "GET",
            "/dump",
            &[("Proxy", "http://client.example/"), ("X-Test", "kept")],
            None,
        )
        .ok();
    assert_line(&dump, r#"["HTTP_X_TEST", "kept"]"#);
    assert!(!dump.contains("HTTP_PROXY"), "{dump}");
    assert!(!dump.contains("evil.example"), "{dump}");
}

fn unread_body(site: Site) {
    let reply = site.send("POST", "/unread", &[], Some(&vec![b'x'; 1_000_000]));
    assert_eq!((reply.status(), reply.body.len()), (200, 200_000));
    assert_eq!(digest(&reply.body), digest(&blocks(200_000)));
}

fn print_is_no_response(mut site: Site) {
    assert_eq!(site.get("/print").ok(), "not printed\n");
    site.logged("printed by the application");
}

fn stderr_is_the_error_log(mut site: Site) {
    assert_eq!(site.get("/complain").ok(), "complained\n");
    let log = site.log();
    assert_eq!(log.matches("a line to wsgi.errors").count(), 1, "{log}");
    assert_eq!(log.matches("a line to stderr").count(), 1, "{log}");
}

fn write_and_file_wrapper(site: Site) {
    assert_eq!(site.get("/writer").ok(), "written\nreturned\n");
    let source =
        std::fs::read_to_string(site.dir.join("apps/testapp.py")).expect("the app can be read");
    assert_eq!(site.get("/wrapped").ok(), source);
}

fn a_broken_app_is_a_500(mut site: Site) {
    let reply = site.get("/broken");
    assert_eq!(reply.status(), 500);
    assert!(
        !reply.text().contains("on purpose"),
        "the client sees no traceback: {}",
        reply.text()
    );
    // The head was sent, so nothing is added to the response; the next request is right.
    let mut response = site.open("GET", "/broken-late", &[], None);
    assert_eq!(response.head().status, 200);
    let mut body = Vec::new();
    while let Some(piece) = response.piece() {
        body.extend_from_slice(&piece);
    }
    assert_eq!(body, b"first\n");
    assert_eq!(site.get("/status/200").ok(), "status 200\n");
    // Once each: a line that names app and request, and the traceback, which ends in the same words.
    let log = site.log();
    for (path, error) in [
        (
            "broken",
            "RuntimeError: the application is broken on purpose",
        ),
        (
            "broken-late",
            "RuntimeError: the application is broken late on purpose",
        ),
    ] {
        let line = format!("app: GET /cgi-bin/app/{path}: {error}");
        assert_eq!(log.matches(&line).count(), 1, "{log}");
        assert_eq!(log.matches(error).count(), 2, "{log}");
    }
}

#[track_caller]
fn assert_line(text: &str, line: &str) {
    assert!(
        text.lines().any(|found| found == line),
        "no line {line} in\n{text}"
    );
}

/// Without middleware: otherwise the adaptor does not see what its own file_wrapper returned.
#[test]
fn file_wrapper_without_the_validator() {
    for way in [Way::Cgi, Way::Daemon] {
        let site = Site::of(Mpm::Prefork, way, "testapp", "bare");
        let source = std::fs::read_to_string(site.dir.join("apps/testapp.py")).unwrap();
        assert_eq!(site.get("/wrapped").ok(), source);
    }
}

/// The app sees the same environ and the same os.environ in both ways, but for wsgi.run_once.
fn same_environ(mpm: Mpm) {
    let site = Site::bare(mpm, 16);
    let fields = [
        ("Cookie", "a=b; c=d"),
        ("X-Latin", "caf\u{e9}"),
        ("Content-Type", "text/plain"),
    ];
    let dump = |way| {
        site.serve(way, "testapp", "application", &[("GREETING", "good day")]);
        let reply = site.send("POST", "/dump/a%2Fb?x=y", &fields, Some(b"body"));
        let (varying, same): (Vec<_>, Vec<_>) = reply
            .ok()
            .lines()
            .filter(|line| !line.starts_with(r#"["REMOTE_PORT""#))
            .map(str::to_owned)
            .partition(|line| line.starts_with(r#"["wsgi.run_once""#));
        (varying, same)
    };
    let (cgi, daemon) = (dump(Way::Cgi), dump(Way::Daemon));
    assert_eq!(cgi.1, daemon.1);
    assert!(
        cgi.1
            .iter()
            .any(|line| line == r#"["os.environ GREETING", "good day"]"#),
        "{:?}",
        cgi.1
    );
    assert_eq!(cgi.0, [r#"["wsgi.run_once", true]"#]);
    assert_eq!(daemon.0, [r#"["wsgi.run_once", false]"#]);
}

#[test]
fn same_environ_with_event() {
    same_environ(Mpm::Event);
}

#[test]
fn same_environ_with_prefork() {
    same_environ(Mpm::Prefork);
}

//! CGI programs as they have always been: in the shell, in Perl and in C, the same pages from each.

use super::super::util::served::noise;
use super::super::util::{Dir, Mpm, Site, Way, as_user, run};
use super::{everywhere, post_chunked, put, second_piece_waits, served_by, site};

everywhere!(c perl shell);

fn c(mpm: Mpm, way: Way) {
    let site = all_pages(mpm, way, "./plain", "C");
    complaint_is_logged(site, way, "C");
}

fn perl(mpm: Mpm, way: Way) {
    let site = all_pages(mpm, way, "./plain.pl", "Perl");
    complaint_is_logged(site, way, "Perl");
}

fn shell(mpm: Mpm, way: Way) {
    let site = all_pages(mpm, way, "./plain.sh", "the shell");
    second_piece_waits(&site);
    complaint_is_logged(site, way, "the shell");
}

/// The programs, the compiled one included.
fn programs(dir: &Dir) {
    for name in ["plain.c", "plain.pl", "plain.sh"] {
        put(dir, name);
    }
    let mut gcc = as_user("/usr/bin/gcc");
    gcc.args([
        "-O1", "-Wall", "-Wextra", "-Werror", "-o", "plain", "plain.c",
    ]);
    gcc.current_dir(dir.join("apps"));
    run(gcc.env("TMPDIR", dir.join("tmp")), b"").success();
}

#[track_caller]
fn all_pages(mpm: Mpm, way: Way, command: &str, language: &str) -> Site {
    let site = site(mpm, way, |dir| {
        programs(dir);
        format!("cgi = {command}\nenv.GREETING = good day")
    });
    assert_eq!(site.get("/hello").ok(), format!("hello from {language}\n"));
    let head = site.send("HEAD", "/hello", &[], None);
    assert_eq!((head.status(), head.body.len()), (200, 0));
    meta_variables(&site);
    statuses(&site, language);
    bodies(&site);
    if way == Way::Daemon {
        // A plain CGI deadlocks here with mod_cgi, which sends the body first; mod_cgid drops the response.
        let body = noise(1_000_000);
        let reply = site.send("POST", "/unread?200000", &[], Some(&body));
        assert_eq!((reply.status(), reply.body.len()), (200, 200_000));
    }
    site
}

/// What the program writes to stderr is in the error log, and nothing else of all these requests.
#[track_caller]
fn complaint_is_logged(mut site: Site, way: Way, language: &str) {
    assert_eq!(site.get("/complain").ok(), "complained\n");
    served_by(&site, way);
    let (log, complaint) = (site.log(), format!("a complaint in {language}"));
    let lines: Vec<_> = log.lines().collect();
    assert!(lines.len() == 1 && lines[0].contains(&complaint), "{log}");
}

#[track_caller]
fn meta_variables(site: &Site) {
    let fields = [("X-Test", "a  b"), ("Proxy", "http://client.example/")];
    let got = site.send("GET", "/meta/a%20b/%C3%A9?x=%2F&y", &fields, None);
    let mut expected = vec![
        "CONTENT_LENGTH not set",
        "CONTENT_TYPE not set",
        "GATEWAY_INTERFACE CGI/1.1",
        "GREETING good day",
        "HTTP_PROXY not set",
        "HTTP_X_TEST a  b",
        "PATH_INFO /meta/a b/é",
        "QUERY_STRING x=%2F&y",
        "REQUEST_METHOD GET",
        "SCRIPT_NAME /cgi-bin/app",
        "words 0",
    ];
    assert_eq!(got.ok().lines().collect::<Vec<_>>(), expected);

    let fields = [("Content-Type", "text/x-test")];
    let got = site.send("PUT", "/meta", &fields, Some(b"12345"));
    expected[0] = "CONTENT_LENGTH 5";
    expected[1] = "CONTENT_TYPE text/x-test";
    expected[5] = "HTTP_X_TEST not set";
    expected[6] = "PATH_INFO /meta";
    expected[7] = "QUERY_STRING ";
    expected[8] = "REQUEST_METHOD PUT";
    assert_eq!(got.ok().lines().collect::<Vec<_>>(), expected);
}

#[track_caller]
fn bodies(site: &Site) {
    let fields = [("Content-Type", "text/x-test")];
    for body in [b"".to_vec(), b"a=b".to_vec(), noise(3_000_000)] {
        let reply = site.send("POST", "/echo", &fields, Some(&body));
        assert_eq!(reply.status(), 200);
        assert_eq!(reply.field("Content-Type"), Some("text/x-test"));
        assert!(reply.body == body, "{} of {}", reply.body.len(), body.len());
    }
    for body in [b"c=d".to_vec(), noise(1_000_000)] {
        let echoed = post_chunked(site, "/echo", &body);
        assert!(echoed == body, "{} of {}", echoed.len(), body.len());
    }
}

#[track_caller]
fn statuses(site: &Site, language: &str) {
    let reply = site.get("/missing");
    assert_eq!(reply.status(), 404);
    assert_eq!(reply.text(), "there is no such page\n");
    let reply = site.get("/nothing");
    assert_eq!((reply.status(), reply.body.len()), (204, 0));
    let reply = site.get("/away");
    assert_eq!(reply.status(), 302);
    let elsewhere = Some("http://elsewhere.example/there?a=b");
    assert_eq!(reply.field("Location"), elsewhere);
    let reply = site.get("/see-other");
    assert_eq!(reply.status(), 303);
    assert_eq!(reply.field("Location"), Some("/cgi-bin/app/hello"));
    // The web server asks the app a second time; the client sees that response only.
    let reply = site.get("/inside");
    assert_eq!(reply.ok(), format!("hello from {language}\n"));
    assert_eq!(reply.field("Location"), None);
}

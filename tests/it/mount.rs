//! `mount`: where the app lies in the site if the web server gets it wrong, the same in every way to the app.

use super::util::scgi::{ScgiClient, header};
use super::util::{Dir, Mpm, Reply, Site, cgi, installed, under_both};

const WSGI: &str = "wsgi = testapp:application\n";

/// Every way of a request by a front, and the lines of the app file for it.
const WAYS: [(&str, &str); 5] = [
    ("plain CGI", "mode = cgi\n"),
    ("handoff, leaving", "mode = daemon\nhandoff = exit\n"),
    ("handoff, staying", "mode = daemon\nhandoff = stay\n"),
    ("handoff, of its choice", "mode = daemon\n"),
    ("relay", "mode = daemon\nhandoff = relay\n"),
];

under_both!(
    a_rewritten_path
    below_the_script
    an_app_that_is_a_cgi
);

/// Pretty URLs by mod_rewrite: the script's own path is not the one that the client sees.
fn a_rewritten_path(mpm: Mpm) {
    for (way, mode) in WAYS {
        let site = rewriting(mpm);
        site.dir
            .app_file("app", &format!("{WSGI}{mode}mount = /wiki\n"));
        let get = |target| ask(&site, "GET", target, &[]);
        divides(&get("/wiki/dump?x=%2F"), "/wiki", "/dump", way);
        divides(&get("/wiki//./x/../dump"), "/wiki", "/dump", way);
        divides(&get("/%77iki/d%75mp"), "/wiki", "/dump", way);
        // All else of the request is unchanged.
        let dump = get("/wiki/dump?x=%2F").ok();
        assert!(
            dump.contains(r#"["QUERY_STRING", "x=%2F"]"#),
            "{way}: {dump}"
        );
        assert!(
            dump.contains(r#"["REQUEST_URI", "/wiki/dump?x=%2F"]"#),
            "{way}: {dump}"
        );
        let posted = ask_with(&site, "POST", "/wiki/digest", &[], Some(b"body"));
        assert!(posted.ok().ends_with(" 4\n"), "{way}");
    }
}

/// No rewriting: the app lies deeper than its script. A path outside is answered by polycgi, and no app runs.
fn below_the_script(mpm: Mpm) {
    for (way, mode) in WAYS {
        let mut site = Site::configured(
            mpm,
            16,
            &format!("{WSGI}{mode}mount = /cgi-bin/app/a%20b/\n").replace("%20", " "),
        );
        let mounted = "/cgi-bin/app/a b";
        divides(&site.get("/a%20b/dump"), mounted, "/dump", way);
        for target in [
            "",
            "/",
            "/a%20bc/dump",
            "/A%20b/dump",
            "/dump",
            "/a%20b/../dump",
        ] {
            let reply = site.get(target);
            assert_eq!(reply.status(), 404, "{way}: {target}");
            assert!(reply.field("Cache-Control") == Some("no-store"), "{way}");
            assert!(
                !reply.text().contains("a b"),
                "{way}: where it lies is the log's"
            );
        }
        for (accept, kind) in [
            ("text/html", "text/html; charset=utf-8"),
            ("application/json", "application/problem+json"),
            ("*/*", "text/plain; charset=utf-8"),
        ] {
            let reply = site.send("GET", "/x", &[("Accept", accept)], None);
            assert_eq!(
                (reply.status(), reply.field("Content-Type")),
                (404, Some(kind)),
                "{way}"
            );
            let head = site.send("HEAD", "/x", &[("Accept", accept)], None);
            assert_eq!((head.status(), head.body.len()), (404, 0), "{way}");
        }
        // The body is read, so that the client sees the answer.
        let posted = site.send("POST", "/x", &[], Some(&[b'x'; 300_000]));
        assert_eq!(posted.status(), 404, "{way}");
        let outside = "is not below 'mount', /cgi-bin/app/a b";
        if way == "relay" {
            // Without the web server's stderr the daemon logs it, once.
            site.dir.until_logged(outside);
            assert_eq!(site.dir.daemon_log().matches(outside).count(), 1);
        } else {
            site.logged(&format!("/cgi-bin/app/A b/dump {outside}"));
        }
    }
}

/// The CGI program gets the corrected variables in its environment.
fn an_app_that_is_a_cgi(mpm: Mpm) {
    let site = rewriting(mpm);
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\n\
                  echo \"$SCRIPT_NAME|$PATH_INFO|${PATH_TRANSLATED-none}\"\n";
    site.dir.file("apps/show", script, 0o755);
    site.dir
        .app_file("app", "cgi = ./show\nmode = cgi\nmount = /wiki\n");
    let get = |target| ask(&site, "GET", target, &[]).text();
    let root = get("/wiki/");
    let root = root
        .strip_prefix("/wiki|/|")
        .expect("it is below the mount");
    // PATH_TRANSLATED stays if it belongs to the corrected PATH_INFO; otherwise it is removed.
    let translated = format!(
        "/wiki|/a b/c|{}/a b/c\n",
        root.trim_end_matches(['/', '\n'])
    );
    assert_eq!(get("/wiki/a%20b%2Fc"), translated);
    assert_eq!(get("/wiki"), "/wiki||none\n");
    site.dir
        .app_file("app", "cgi = ./show\nmode = cgi\nmount = /\n");
    assert_eq!(get("/wiki/a"), "|/wiki/a|none\n");
}

/// `app-cgi`, and `polycgi request`, whose path is below the mount.
#[test]
fn without_a_daemon_at_all() {
    let dir = Dir::new();
    let app = dir.app_file("app", &format!("{WSGI}mount = /wiki\n"));
    let text = std::fs::read_to_string(&app).unwrap();
    let polycgi = installed("polycgi").display().to_string();
    let app_cgi = installed("app-cgi").display().to_string();
    let other = dir.file(
        "cgi-bin/other",
        &text.replacen(&polycgi, &app_cgi, 1),
        0o755,
    );
    let run = |uri: &'static str| {
        let mut command = cgi::front(&other, "GET", "/elsewhere", &[]);
        super::util::run(command.env("REQUEST_URI", uri), b"")
    };
    divides(&run("/wiki/dump?x").response(), "/wiki", "/dump", "app-cgi");
    divides(
        &run("http://h/wiki/dump").response(),
        "/wiki",
        "/dump",
        "app-cgi",
    );
    for (uri, status, said) in [
        ("/wikix", 404, "/wikix is not below 'mount', /wiki"),
        ("*", 404, "* is not below 'mount', /wiki"),
        ("/wiki/a%00b", 400, "the path contains a NUL byte"),
    ] {
        let output = run(uri);
        assert_eq!(cgi::reply(&output.stdout).status(), status, "{uri}");
        assert!(output.stderr.contains(said), "{uri}: {}", output.stderr);
    }
    for via in ["auto", "cgi"] {
        let words = ["request", "--via", via, app.to_str().unwrap(), "/dump?x=1"];
        let output = super::util::run(super::util::as_user(installed("polycgi")).args(words), b"");
        let dump = output.success();
        assert!(
            dump.contains(r#"["SCRIPT_NAME", "/wiki"]"#),
            "{via}: {dump}"
        );
        assert!(dump.contains(r#"["PATH_INFO", "/dump"]"#), "{via}: {dump}");
    }
    super::util::run(
        super::util::as_user(installed("polycgi")).args(["stop", app.to_str().unwrap()]),
        b"",
    );
}

/// A web server's own SCGI module, which may not know where the app begins.
#[test]
fn at_the_socket() {
    let dir = Dir::new();
    let app = dir.app_file("app", &format!("{WSGI}mode = daemon\nmount = /wiki\n"));
    let front = |uri: &str| {
        let mut command = cgi::front(&app, "GET", "/elsewhere", &[]);
        super::util::run(command.env("REQUEST_URI", uri), b"")
    };
    divides(&front("/wiki/dump").response(), "/wiki", "/dump", "front");
    let ask = |method: &str, uri: &str| {
        // nginx sends these variables only.
        let meta = [
            ("REQUEST_METHOD", method),
            ("REQUEST_URI", uri),
            ("SERVER_NAME", "h"),
        ];
        let more = [
            ("SERVER_PORT", "80"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("QUERY_STRING", ""),
        ];
        let first = [("CONTENT_LENGTH", "0"), ("SCGI", "1")];
        let message = super::util::scgi::netstring(first.into_iter().chain(meta).chain(more));
        ScgiClient::connect(&dir.socket()).send(&message).reply()
    };
    divides(&ask("GET", "/wiki/dump"), "/wiki", "/dump", "SCGI");
    divides(&ask("GET", "/%77iki%2Fdump"), "/wiki", "/dump", "SCGI");
    assert_eq!(ask("GET", "/wikix/dump").status(), 404);
    assert_eq!(ask("GET", "/wiki/../dump").status(), 404);
    assert_eq!(ask("GET", "/wiki/%00").status(), 400);
    assert_eq!(ask("HEAD", "/").body.len(), 0);
    // A client that has not sent its body yet gets its answer.
    let message = header("POST", "/x", &[], 1_000_000);
    assert_eq!(
        ScgiClient::connect(&dir.socket())
            .send(&message)
            .end()
            .reply()
            .status(),
        404
    );
}

/// A refused request reaches no zygote, which would find the edit: the refusal itself looks at the app file.
#[test]
fn a_mount_that_was_wrong_is_corrected() {
    let dir = Dir::new();
    let wrong = format!("{WSGI}mode = daemon\nmount = /wikki\n");
    let app = dir.app_file("app", &wrong);
    let ask = |uri: &str| {
        let mut command = cgi::front(&app, "GET", "/elsewhere", &[]);
        let output = super::util::run(command.env("REQUEST_URI", uri), b"");
        cgi::reply(&output.stdout)
    };
    divides(&ask("/wikki/dump"), "/wikki", "/dump", "as it was");
    let serving = dir.daemon();
    dir.app_file("app", &wrong.replace("wikki", "wiki"));
    assert_eq!(ask("/wiki/dump").status(), 404, "it is found out now");
    divides(&ask("/wiki/dump"), "/wiki", "/dump", "as it is");
    assert_eq!(dir.daemon(), serving);
}

/// Apache, which rewrites `/wiki` and below to the script.
fn rewriting(mpm: Mpm) -> Site {
    Site::with(
        mpm,
        16,
        "LoadModule rewrite_module /usr/lib/apache2/modules/mod_rewrite.so\n\
         RewriteEngine On\nRewriteRule ^/wiki(/.*)?$ /cgi-bin/app$1 [PT]\n",
    )
}

#[track_caller]
fn divides(reply: &Reply, script_name: &str, path_info: &str, way: &str) {
    let dump = reply.ok();
    for (name, value) in [("SCRIPT_NAME", script_name), ("PATH_INFO", path_info)] {
        let line = format!("[\"{name}\", \"{value}\"]");
        assert!(dump.contains(&line), "{way}: not {line} in {dump}");
    }
}

#[track_caller]
fn ask(site: &Site, method: &str, target: &str, fields: &[(&str, &str)]) -> Reply {
    ask_with(site, method, target, fields, None)
}

#[track_caller]
fn ask_with(
    site: &Site,
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
    body: Option<&[u8]>,
) -> Reply {
    super::util::Conversation::new(site.server.address(), method, target, fields, body).reply()
}

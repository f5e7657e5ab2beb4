//! Requests: methods, bodies, paths, queries, header fields, as the application sees them.

use super::on_all;
use crate::util::served::noise;
use crate::util::{Hosted, Mode, WebServer, digest};

on_all!(get_and_head bodies unread_body other_methods paths queries fields fields_that_come_twice underscores);

fn get_and_head(server: WebServer, mode: Mode) {
    Hosted::start(server, mode).get_and_head();
}

/// None, one byte, more than a pipe holds, more than any server keeps in memory.
fn bodies(server: WebServer, mode: Mode) {
    let site = Hosted::start(server, mode);
    for size in [0, 1, 70_000, 5_000_000] {
        let body = noise(size);
        let reply = site.send("POST", "/digest", &[], Some(&body));
        assert_eq!(reply.ok(), format!("{} {size}\n", digest(&body)));
    }
}

/// A response larger than a pipe, while a body that the app does not read is still on its way.
fn unread_body(server: WebServer, mode: Mode) {
    let site = Hosted::start(server, mode);
    let reply = site.send("POST", "/unread", &[], Some(&noise(1_000_000)));
    assert_eq!((reply.status(), reply.body.len()), (200, 200_000));
    assert_eq!(site.get("/status/200").ok(), "status 200\n");
}

/// Any method is the application's.
fn other_methods(server: WebServer, mode: Mode) {
    let site = Hosted::start(server, mode);
    for (method, body) in [
        ("PUT", Some(&b"body"[..])),
        ("DELETE", None),
        ("PATCH", Some(b"body")),
    ] {
        let dump = site.send(method, "/dump", &[], body).ok();
        assert_line(&dump, &format!(r#"["REQUEST_METHOD", "{method}"]"#));
    }
}

fn paths(server: WebServer, mode: Mode) {
    let site = Hosted::start(server, mode);
    for (path, path_info) in [
        ("/dump", "/dump"),
        ("/dump/", "/dump/"),
        ("/dump/a%20b/%C3%A9+", r"/dump/a b/\u00c3\u00a9+"),
        ("/dump/%E2%82%AC;v=1", r"/dump/\u00e2\u0082\u00ac;v=1"),
        ("/dump/a%2Fb", "/dump/a/b"),
        ("/dump/a%252Fb", "/dump/a%2Fb"),
        ("/dump/x/../y", "/dump/y"),
    ] {
        let reply = site.get(path);
        // busybox takes the first for a folder with an index.html, and does not decode %2F.
        if server == WebServer::BusyboxCgi && (path.ends_with('/') || path.contains("%2F")) {
            assert_eq!(reply.status(), 404, "{path}");
            continue;
        }
        let dump = reply.ok();
        assert_line(&dump, &format!(r#"["PATH_INFO", "{path_info}"]"#));
        assert_line(&dump, r#"["SCRIPT_NAME", "/cgi-bin/app"]"#);
        if server != WebServer::BusyboxCgi {
            assert_line(&dump, &format!(r#"["REQUEST_URI", "/cgi-bin/app{path}"]"#));
        }
    }
}

/// RFC 3875 4.4: a web server may make arguments of a query without `=`, and Apache does.
fn queries(server: WebServer, mode: Mode) {
    let site = Hosted::start(server, mode);
    let long = format!("q={}", "x".repeat(3000));
    for query in [
        "",
        "a=b&c=d",
        "x=%2F%20+%C3%A9",
        "a?b=c?",
        "-h",
        "--config+/etc/passwd",
        "-T+100",
        &long,
    ] {
        let dump = site.get(&format!("/dump?{query}")).ok();
        assert_line(&dump, &format!(r#"["QUERY_STRING", "{query}"]"#));
    }
    assert_line(&site.get("/dump").ok(), r#"["QUERY_STRING", ""]"#);
}

/// The client's fields arrive, but for HTTP_PROXY (httpoxy).
fn fields(server: WebServer, mode: Mode) {
    let site = Hosted::start(server, mode);
    let long = "y".repeat(6000);
    let said = [
        ("Cookie", "a=b; c=d"),
        ("Content-Type", "text/x-test"),
        ("Proxy", "http://client.example/"),
        ("X-Empty", ""),
        ("X-Latin", "caf\u{e9}"),
        ("X-Long", &long),
    ];
    let dump = site.send("POST", "/dump", &said, Some(b"body")).ok();
    assert_line(&dump, r#"["HTTP_COOKIE", "a=b; c=d"]"#);
    assert_line(&dump, r#"["CONTENT_TYPE", "text/x-test"]"#);
    assert_line(&dump, r#"["CONTENT_LENGTH", "4"]"#);
    assert_line(&dump, r#"["HTTP_X_LATIN", "caf\u00c3\u00a9"]"#);
    assert_line(&dump, &format!(r#"["HTTP_X_LONG", "{long}"]"#));
    assert_line(&dump, r#"["SERVER_PROTOCOL", "HTTP/1.1"]"#);
    assert_line(&dump, r#"["wsgi.url_scheme", "http"]"#);
    let (name, port) = (site.server.address().ip(), site.server.address().port());
    assert_line(&dump, &format!(r#"["SERVER_NAME", "{name}"]"#));
    assert_line(&dump, &format!(r#"["SERVER_PORT", "{port}"]"#));
    for never in [
        "HTTP_PROXY",
        "client.example",
        "evil.example",
        "HTTP_CONTENT_LENGTH",
    ] {
        assert!(!dump.contains(never), "{never} in {dump}");
    }
}

/// RFC 9110 5.3: a list may come in lines, and all but busybox make one line of it.
fn fields_that_come_twice(server: WebServer, mode: Mode) {
    let site = Hosted::start(server, mode);
    let said = [
        ("Cookie", "a=1"),
        ("Cookie", "b=2"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Forwarded-For", "192.0.2.2"),
    ];
    let dump = site.send("GET", "/dump", &said, None).ok();
    let (cookies, forwarded) = match server {
        WebServer::ApacheCgi | WebServer::ApacheCgid | WebServer::ApacheScgi => {
            ("a=1, b=2", "192.0.2.1, 192.0.2.2")
        }
        WebServer::BusyboxCgi => ("b=2", "192.0.2.2"),
        _ => ("a=1; b=2", "192.0.2.1, 192.0.2.2"),
    };
    assert_line(&dump, &format!(r#"["HTTP_COOKIE", "{cookies}"]"#));
    assert_line(
        &dump,
        &format!(r#"["HTTP_X_FORWARDED_FOR", "{forwarded}"]"#),
    );
}

/// `X_Test` would pass for `X-Test`: Apache and nginx drop it, busybox takes the last one; if both arrive, as from
/// lighttpd, the request is refused.
fn underscores(server: WebServer, mode: Mode) {
    let mut site = Hosted::start(server, mode);
    let reply = site.send(
        "GET",
        "/dump",
        &[("X-Test", "right"), ("X_Test", "wrong")],
        None,
    );
    let expected = match server {
        WebServer::LighttpdCgi
        | WebServer::LighttpdScgi
        | WebServer::LighttpdStreamCgi
        | WebServer::LighttpdStreamScgi => {
            assert_eq!(reply.status(), 400);
            if server.runs_cgis() {
                site.logged("a meta-variable came twice with different values: HTTP_X_TEST");
            }
            return;
        }
        WebServer::BusyboxCgi => "wrong",
        _ => "right",
    };
    assert_line(&reply.ok(), &format!(r#"["HTTP_X_TEST", "{expected}"]"#));
}

#[track_caller]
fn assert_line(text: &str, line: &str) {
    assert!(
        text.lines().any(|found| found == line),
        "no line {line} in\n{text}"
    );
}

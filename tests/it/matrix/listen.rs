//! Web servers that are SCGI or FastCGI clients, at the addresses of `listen`: a path, and TCP, where no client has a uid.

use crate::util::served::{assert_same, blocks, noise};
use crate::util::{Deadline, Dir, Hosted, Mode, WebServer, digest, free_address};

/// Makes a test of each check on each of these web servers, by path and by TCP.
macro_rules! on_both {
    ($($check:ident)*) => {
        on_both!(way apache, ApacheScgi, $($check)*);
        on_both!(way apache_fcgi, ApacheFcgi, $($check)*);
        on_both!(way caddy_fcgi, CaddyFcgi, $($check)*);
        on_both!(way h2o_fcgi, H2oFcgi, $($check)*);
        on_both!(way haproxy_fcgi, HaproxyFcgi, $($check)*);
        on_both!(way lighttpd, LighttpdScgi, $($check)*);
        on_both!(way lighttpd_fcgi, LighttpdFcgi, $($check)*);
        on_both!(way nginx, NginxScgi, $($check)*);
        on_both!(way nginx_fcgi, NginxFcgi, $($check)*);
    };
    (way $way:ident, $server:ident, $($check:ident)*) => {
        mod $way {
            use crate::util::WebServer;
            mod by_path {
                use super::WebServer;
                $(#[test]
                fn $check() {
                    let server = WebServer::$server;
                    super::super::$check(super::super::by_path(server), server);
                })*
            }
            mod by_tcp {
                use super::WebServer;
                $(#[test]
                fn $check() {
                    let server = WebServer::$server;
                    super::super::$check(super::super::by_tcp(server), server);
                })*
            }
        }
    };
}

on_both!(requests_and_responses a_daemon_that_was_stopped);

const CONFIG: &str = "wsgi = testapp:application\nmode = daemon\nmount = /cgi-bin/app\n";

fn by_path(server: WebServer) -> Hosted {
    let dir = Dir::new();
    let socket = dir.join("tmp/listens").display().to_string();
    started(dir, server, &socket)
}

fn by_tcp(server: WebServer) -> Hosted {
    started(Dir::new(), server, &free_address().to_string())
}

fn started(dir: Dir, server: WebServer, address: &str) -> Hosted {
    dir.app_file("app", &format!("{CONFIG}listen = {address}\n"));
    dir.polycgi(&["start"]).success();
    Hosted::before(dir, server, address, "")
}

fn requests_and_responses(mut site: Hosted, server: WebServer) {
    for size in [0, 1, 70_000, 5_000_000] {
        let body = noise(size);
        let reply = site.send("POST", "/digest", &[], Some(&body));
        assert_eq!(reply.ok(), format!("{} {size}\n", digest(&body)));
    }
    let reply = site.send("POST", "/unread", &[], Some(&noise(1_000_000)));
    assert_eq!((reply.status(), reply.body.len()), (200, 200_000));
    let reply = site.get("/big?size=20000000");
    assert_same(&reply.body, &blocks(20_000_000));
    let dump = site.get("/dump/a%20b/%C3%A9?x=%2F").ok();
    for line in [
        r#"["GATEWAY_INTERFACE", "CGI/1.1"]"#,
        r#"["PATH_INFO", "/dump/a b/\u00c3\u00a9"]"#,
        r#"["QUERY_STRING", "x=%2F"]"#,
        r#"["REMOTE_ADDR", "127.0.0.1"]"#,
        r#"["SCRIPT_NAME", "/cgi-bin/app"]"#,
    ] {
        assert!(
            dump.lines().any(|found| found == line),
            "no line {line} in\n{dump}"
        );
    }
    let head = site.send("HEAD", "/status/404", &[], None);
    assert_eq!((head.status(), head.body.len()), (404, 0));
    assert_eq!(site.get("/crash").status(), 502);
    // By FastCGI there is a way to the web server's log. Caddy's is told at another level, and HAProxy throws it away.
    if server.speaks_fastcgi() && !is_mute(server) {
        let log = site.log();
        let why =
            "app: GET /cgi-bin/app/crash: the app's worker ended without an answer: exit status 3";
        assert!(log.contains(why), "{log}");
        assert_eq!(log.trim_end().lines().count(), 1, "{log}");
    }
}

fn is_mute(server: WebServer) -> bool {
    matches!(server, WebServer::CaddyFcgi | WebServer::HaproxyFcgi)
}

/// The web server answers with a page of its own, and finds the next daemon at the same address.
fn a_daemon_that_was_stopped(mut site: Hosted, server: WebServer) {
    assert_eq!(site.get("/status/200").ok(), "status 200\n");
    site.dir.polycgi(&["stop"]).success();
    let status = site.get("/status/200").status();
    assert!(matches!(status, 502 | 503), "{status}");
    site.dir.polycgi(&["start"]).success();
    // lighttpd tries a server that was away once in a second.
    let deadline = Deadline::soon();
    while site.get("/status/200").status() == 503 {
        assert!(!deadline.left().is_zero(), "it does not find the daemon");
    }
    assert_eq!(site.get("/status/200").ok(), "status 200\n");
    // Each web server logs in its own words that it could not connect.
    assert_eq!(site.log().is_empty(), server == WebServer::HaproxyFcgi);
}

/// nginx sends in CONTENT_LENGTH how much it has when it connects, and then more than that.
#[test]
fn nginx_that_does_not_wait_for_the_body() {
    let dir = Dir::new();
    let address = free_address().to_string();
    dir.app_file(
        "app",
        &format!("{CONFIG}listen = {address}\nbody-limit = 4M\n"),
    );
    dir.polycgi(&["start"]).success();
    let more = "scgi_request_buffering off;\n";
    let site = Hosted::before(dir, WebServer::NginxScgi, &address, more);
    for size in [0, 1, 70_000, 3_000_000] {
        let body = noise(size);
        let reply = site.send("POST", "/digest", &[], Some(&body));
        assert_eq!(reply.ok(), format!("{} {size}\n", digest(&body)));
    }
    let reply = site.send("POST", "/digest", &[], Some(&noise(5_000_000)));
    assert_eq!(reply.status(), 413);
}

/// Without `mount`: nginx and mod_proxy_scgi do not send where the app begins, so it is at the root of the site;
/// lighttpd does.
#[test]
fn paths_without_a_mount() {
    const APP: &str = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [repr((environ['SCRIPT_NAME'], environ['PATH_INFO'])).encode()]
";
    for server in [
        WebServer::ApacheScgi,
        WebServer::LighttpdScgi,
        WebServer::NginxScgi,
    ] {
        let dir = Dir::new();
        dir.file("apps/paths.py", APP, 0o644);
        let address = free_address().to_string();
        let config = format!("wsgi = paths:application\nmode = daemon\nlisten = {address}\n");
        dir.app_file("app", &config);
        dir.polycgi(&["start"]).success();
        let site = Hosted::before(dir, server, &address, "");
        let shown = site.get("/a%20b/c?d").ok();
        let expected = if server == WebServer::LighttpdScgi {
            "('/cgi-bin/app', '/a b/c')"
        } else {
            "('', '/cgi-bin/app/a b/c')"
        };
        assert_eq!(shown, expected, "{server:?}");
    }
}

/// The app writes its head, then reads the body. nginx sends no more of it once it has the head.
#[test]
fn an_answer_that_begins_before_the_body_was_read() {
    const WSGI: &str = "
import hashlib
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    yield b'begun '
    yield hashlib.sha256(environ['wsgi.input'].read()).hexdigest().encode()
";
    const CGI: &str = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\nbegun '\n\
        set -- $(sha256sum)\nprintf %s \"$1\"\n";
    let body = noise(8_000_000);
    let expected = format!("begun {}", digest(&body));
    for server in [
        WebServer::ApacheFcgi,
        WebServer::ApacheScgi,
        WebServer::H2oFcgi,
        WebServer::HaproxyFcgi,
        WebServer::LighttpdFcgi,
        WebServer::LighttpdScgi,
        WebServer::NginxFcgi,
        WebServer::NginxScgi,
    ] {
        for app in ["wsgi = begins:application\n", "cgi = ./begins.sh\n"] {
            let dir = Dir::new();
            dir.file("apps/begins.py", WSGI, 0o644);
            dir.file("apps/begins.sh", CGI, 0o755);
            let site = Hosted::in_dir(dir, server, Mode::Daemon, app, "");
            let reply = site.send("POST", "", &[], Some(&body));
            assert_eq!(reply.ok(), expected, "{server:?} {app}");
        }
    }
}

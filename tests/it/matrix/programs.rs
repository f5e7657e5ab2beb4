//! CGI programs that know nothing of polycgi: the routes by the standard library's own handler, and a shell script that
//! writes what no library would.

use super::{app_log, assert_plain_crash, on_all};
use crate::util::served::{assert_same, blocks, noise};
use crate::util::{Dir, Hosted, Mode, WebServer, digest};

on_all!(bodies responses streaming words crash redirects);

fn start(server: WebServer, mode: Mode, more: &str) -> Hosted {
    let dir = Dir::new();
    let program = dir.plain_cgi("program", "testapp", "bare", &[]);
    let config = format!("cgi = {}\n", program.display());
    Hosted::in_dir(dir, server, mode, &config, more)
}

/// The program reads its stdin to the end, so the end has to be right.
fn bodies(server: WebServer, mode: Mode) {
    let site = start(server, mode, "");
    for size in [0, 1, 70_000, 5_000_000] {
        let body = noise(size);
        let reply = site.send("POST", "/digest", &[], Some(&body));
        assert_eq!(reply.ok(), format!("{} {size}\n", digest(&body)));
    }
    // Apache and fcgiwrap read nothing from a plain CGI before it has read the whole body.
    if mode == Mode::Daemon {
        let reply = site.send("POST", "/unread", &[], Some(&noise(1_000_000)));
        assert_eq!((reply.status(), reply.body.len()), (200, 200_000));
    }
}

fn responses(server: WebServer, mode: Mode) {
    const SIZE: usize = 20_000_000;
    let site = start(server, mode, "");
    for (status, body) in [
        (200, "status 200\n"),
        (404, "status 404\n"),
        (204, ""),
        (304, ""),
    ] {
        let reply = site.get(&format!("/status/{status}"));
        assert_eq!((reply.status(), reply.text().as_str()), (status, body));
    }
    let reply = site.get("/cookies");
    let fields = reply.head.fields.iter();
    let cookies = fields.filter(|(name, _)| name.eq_ignore_ascii_case("Set-Cookie"));
    let cookies: Vec<&str> = cookies.map(|(_, value)| value.as_str()).collect();
    assert_eq!(cookies, ["a=1; Path=/", "b=2, 3"]);
    let reply = site.get(&format!("/big?size={SIZE}"));
    assert_same(&reply.body, &blocks(SIZE));
    // This handler writes a body for HEAD too, and busybox passes it on.
    if server != WebServer::BusyboxCgi {
        let head = site.send("HEAD", "/status/200", &[], None);
        assert_eq!((head.status(), head.body.len()), (200, 0));
    }
}

fn streaming(server: WebServer, mode: Mode) {
    let site = start(server, mode, server.streams());
    site.streams("/stream?gate=gate");
}

fn words(server: WebServer, mode: Mode) {
    let mut site = start(server, mode, "");
    assert_eq!(site.get("/complain").ok(), "complained\n");
    let log = app_log(&mut site, server, "a line to stderr");
    assert_eq!(log.matches("a line to stderr").count(), 1, "{log}");
}

/// The program ends before the head.
fn crash(server: WebServer, mode: Mode) {
    let mut site = start(server, mode, "");
    if mode == Mode::Daemon {
        let reply = site.get("/crash");
        assert_eq!(reply.status(), 502);
        assert_eq!(reply.field("Cache-Control"), Some("no-store"));
        assert_eq!(site.get("/status/200").ok(), "status 200\n");
    } else if server != WebServer::BusyboxCgi {
        assert_plain_crash(&site, server);
    }
    site.log();
}

/// A Location alone, to a path: a local redirect (RFC 3875 6.2.2) for web servers that know it, otherwise a redirect
/// of the client's. To busybox it is a field like any other.
fn redirects(server: WebServer, mode: Mode) {
    const PROGRAM: &str = "#!/bin/sh\ncase $PATH_INFO in\n\
        /local) printf 'Location: /cgi-bin/app/there?q=1\\r\\n\\r\\n' ;;\n\
        /client) printf 'Location: http://elsewhere.example/\\r\\n\\r\\n' ;;\n\
        *) printf 'Content-Type: text/plain\\r\\n\\r\\n%s?%s\\n' \"$PATH_INFO\" \"$QUERY_STRING\" ;;\nesac\n";
    let dir = Dir::new();
    let program = dir.file("program", PROGRAM, 0o755);
    let config = format!("cgi = {}\n", program.display());
    let site = Hosted::in_dir(dir, server, mode, &config, "");
    let client = site.get("/client");
    let to = Some("http://elsewhere.example/");
    assert_eq!(client.field("Location"), to);
    // busybox knows no redirects; the daemon, and any other web server, makes this one of it.
    let is_plain = (server, mode) == (WebServer::BusyboxCgi, Mode::Cgi);
    assert_eq!(client.status(), if is_plain { 200 } else { 302 });
    match server {
        WebServer::ApacheCgi | WebServer::ApacheCgid => {
            assert_eq!(site.get("/local").ok(), "/there?q=1\n");
        }
        // Its second request has the client's REQUEST_URI, by which `mount` goes.
        WebServer::ApacheScgi => {}
        WebServer::BusyboxCgi => assert_eq!(site.get("/local").status(), 200),
        _ => {
            let local = site.get("/local");
            assert_eq!(local.status(), 302);
            let to = local.field("Location").expect("a redirect says where to");
            assert!(to.ends_with("/cgi-bin/app/there?q=1"), "{to}");
        }
    }
}

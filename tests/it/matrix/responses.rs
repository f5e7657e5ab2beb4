//! Responses: how they come, how they end, and what is logged beside them.

use super::{app_log, assert_plain_crash, on_all};
use crate::util::served::{assert_same, blocks};
use crate::util::{Hosted, Mode, WebServer, as_user, run};

on_all!(statuses cookies redirects streaming big keep_alive stderr_is_logged gone_client crash crash_late);

fn statuses(server: WebServer, mode: Mode) {
    let site = Hosted::start(server, mode);
    for (status, body) in [
        (200, "status 200\n"),
        (404, "status 404\n"),
        (418, "status 418\n"),
        (503, "status 503\n"),
    ] {
        let reply = site.get(&format!("/status/{status}"));
        assert_eq!((reply.status(), reply.text().as_str()), (status, body));
    }
    for status in [204, 304] {
        let reply = site.get(&format!("/status/{status}"));
        assert_eq!((reply.status(), reply.body.len()), (status, 0));
        // Apache keeps few fields of a 304.
        if status == 204 {
            assert_eq!(reply.field("X-Test"), Some("no body"));
        }
    }
}

fn cookies(server: WebServer, mode: Mode) {
    let site = Hosted::start(server, mode);
    let reply = site.get("/cookies");
    assert_eq!(reply.ok(), "cookies\n");
    let fields = reply.head.fields.iter();
    let cookies = fields.filter(|(name, _)| name.eq_ignore_ascii_case("Set-Cookie"));
    let cookies: Vec<&str> = cookies.map(|(_, value)| value.as_str()).collect();
    assert_eq!(cookies, ["a=1; Path=/", "b=2, 3"]);
}

fn redirects(server: WebServer, mode: Mode) {
    let site = Hosted::start(server, mode);
    let reply = site.get("/redirect");
    let to = Some("http://elsewhere.example/there?a=b");
    assert_eq!((reply.status(), reply.field("Location")), (302, to));
    assert_eq!(reply.text(), "elsewhere\n");
    let reply = site.get("/redirect-path");
    assert_eq!(reply.status(), 303);
    let to = reply.field("Location").expect("a redirect says where to");
    assert!(to.ends_with("/cgi-bin/app/hello"), "{to}");
    // Location with a path, and status 200: Apache takes it for a local redirect (RFC 3875 6.2.2) and asks the app a
    // second time; the others pass it to the client.
    // mod_proxy_scgi's second request has the client's REQUEST_URI, by which `mount` goes.
    if server == WebServer::ApacheScgi {
        return;
    }
    let reply = site.get("/redirect-local");
    let is_apache = matches!(server, WebServer::ApacheCgi | WebServer::ApacheCgid);
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.text().starts_with("hello from "), is_apache);
    let to = (!is_apache).then_some("/cgi-bin/app/hello");
    assert_eq!(reply.field("Location"), to);
}

/// The first block is here while the application still waits: no time is measured.
fn streaming(server: WebServer, mode: Mode) {
    let config = "wsgi = testapp:application\n";
    let site = Hosted::configured(server, mode, config, server.streams());
    site.streams("/stream?gate=gate");
}

fn big(server: WebServer, mode: Mode) {
    const SIZE: usize = 20_000_000;
    let site = Hosted::start(server, mode);
    let reply = site.get(&format!("/big?size={SIZE}"));
    assert_eq!(reply.status(), 200);
    assert_same(&reply.body, &blocks(SIZE));
}

/// Two requests on one connection, by curl; busybox closes.
fn keep_alive(server: WebServer, mode: Mode) {
    let site = Hosted::start(server, mode);
    let url = |target| format!("http://{}/cgi-bin/app{target}", site.server.address());
    let mut curl = as_user("/usr/bin/curl");
    curl.args(["--silent", "--show-error", "--max-time", "30"]);
    curl.args(["--write-out", "%{http_code} %{num_connects}\n"]);
    curl.args([url("/status/200"), url("/status/404"), url("/status/200")]);
    curl.args(["--data-binary", "@-"]);
    let shown = run(&mut curl, b"a body each time").success();
    let connects = u8::from(server == WebServer::BusyboxCgi);
    let expected =
        format!("status 200\n200 1\nstatus 404\n404 {connects}\nstatus 200\n200 {connects}\n");
    assert_eq!(shown, expected);
}

/// A web server that runs a CGI logs its stderr; for an SCGI client the daemon logs it.
fn stderr_is_logged(server: WebServer, mode: Mode) {
    let mut site = Hosted::start(server, mode);
    assert_eq!(site.get("/complain").ok(), "complained\n");
    let log = app_log(&mut site, server, "a line to stderr");
    assert_eq!(log.matches("a line to wsgi.errors").count(), 1, "{log}");
    assert_eq!(log.matches("a line to stderr").count(), 1, "{log}");
}

/// The client leaves in the middle of a response. What runs for it has to end; dropping the directory shows that.
fn gone_client(server: WebServer, mode: Mode) {
    let mut site = Hosted::start(server, mode);
    let mut response = site.open("GET", "/big?size=20000000", &[], None);
    assert_eq!(response.head().status, 200);
    assert!(response.piece().is_some());
    drop(response);
    assert_eq!(site.get("/status/200").ok(), "status 200\n");
    if mode == Mode::Daemon {
        site.dir.until_status_has("queue = 0");
        site.dir.until_status("all idle", |status| {
            let workers = crate::util::daemon::workers(status);
            workers.iter().all(|(_, state)| state == "idle")
        });
    }
    // nginx and fcgiwrap may log that the client has gone.
    site.log();
}

/// The app ends before the head: the daemon answers 502; for a plain CGI the web server has its own answer, if any.
fn crash(server: WebServer, mode: Mode) {
    let mut site = Hosted::start(server, mode);
    if mode == Mode::Cgi {
        if server != WebServer::BusyboxCgi {
            assert_plain_crash(&site, server);
        }
        site.log();
        return;
    }
    let reply = site.get("/crash");
    assert_eq!(reply.status(), 502);
    assert_eq!(reply.field("Cache-Control"), Some("no-store"));
    assert!(!reply.text().contains("exit status"), "{}", reply.text());
    let what = if server.runs_cgis() {
        "the app's worker ended without an answer: exit status 3"
    } else {
        "worker died in a request: "
    };
    let log = app_log(&mut site, server, what);
    assert_eq!(log.matches(what).count(), 1, "{log}");
}

/// The app ends in the middle of its response: nothing is added, and the next request is right.
fn crash_late(server: WebServer, mode: Mode) {
    let mut site = Hosted::start(server, mode);
    let target = format!("http://{}/cgi-bin/app/crash-late", site.server.address());
    let mut curl = as_user("/usr/bin/curl");
    curl.args(["--silent", "--max-time", "30", &target]);
    let cut = run(&mut curl, b"");
    // It depends on the web server whether the client can see that something is missing.
    assert!(matches!(cut.status.code(), Some(0 | 18)), "{}", cut.status);
    assert_eq!(cut.stdout, b"first\n");
    assert_eq!(site.get("/status/200").ok(), "status 200\n");
    site.log();
}

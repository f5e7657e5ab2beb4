//! `status-path` and `status-allow`: the page at the app's own address, and for whom it is there.

use super::util::kinds::{KINDS, Kinds};
use super::util::scgi::{ScgiClient, netstring};
use super::util::{
    Conversation, Dir, Hosted, Mode, Mpm, Reply, Site, WebServer, cgi, free_address,
};

/// Behind the lines of an app.
const PAGE: &str = "status-path = /polycgi-status\n";
const HERE: &str = "status-allow = 192.0.2.0/24 127.0.0.1\n";
const ELSEWHERE: &str = "status-allow = 192.0.2.0/24 ::1\n";
const PATH: &str = "/polycgi-status";

fn site(lines: &str) -> Site {
    let config = format!("wsgi = testapp:application\n{lines}");
    Site::configured(Mpm::Prefork, 16, &config)
}

#[track_caller]
fn is_page(reply: &Reply) -> String {
    let page = reply.ok();
    assert!(
        page.starts_with("<!DOCTYPE html>") && page.contains("<svg "),
        "{page}"
    );
    assert_eq!(reply.field("Cache-Control"), Some("no-store"));
    assert_eq!(
        reply.field("Content-Type"),
        Some("text/html; charset=utf-8")
    );
    page
}

fn is_the_apps(reply: &Reply) -> bool {
    (reply.status(), &*reply.text()) == (404, "no such route\n")
}

/// It is no request of the app's: it is not counted, and does not start a daemon.
#[test]
fn the_page_is_at_the_app_s_own_address() {
    for (mode, state) in [("mode = daemon\n", "up"), ("mode = cgi\n", "down")] {
        let site = site(&format!("{mode}{PAGE}{HERE}"));
        assert_eq!(site.get("/status/200").status(), 200);
        for _ in 0..3 {
            let page = is_page(&site.get(PATH));
            assert!(
                page.contains(&format!("<span class=\"state {state}\">")),
                "{mode}: {page}"
            );
        }
        let head = site.send("HEAD", PATH, &[], None);
        assert_eq!((head.status(), head.body.len()), (200, 0));
        assert_eq!(head.field("Cache-Control"), Some("no-store"));
        // With a query string, too; not below it, and only by GET and HEAD.
        is_page(&site.get(&format!("{PATH}?x")));
        assert!(is_the_apps(&site.get(&format!("{PATH}/"))));
        assert!(is_the_apps(&site.send("POST", PATH, &[], Some(b"x"))));
        let way = if state == "up" { "daemon" } else { "cgi" };
        site.dir.until_status_has(&format!("counts.{way} = 3"));
    }
}

/// Many looks at it, and still no daemon: with `mode = auto` as many requests of the app's would start one.
#[test]
fn the_page_starts_nothing() {
    let lines = "mode = auto\ndaemon-when-rate = 2/m\ndaemon-when-load = 1000\n";
    let site = site(&format!("{lines}{PAGE}{HERE}"));
    for _ in 0..5 {
        assert!(is_page(&site.get(PATH)).contains("state down"));
    }
    assert!(site.dir.daemons().is_empty());
    // The fault occurs: requests of the app's do.
    for _ in 0..5 {
        assert_eq!(site.get("/status/200").status(), 200);
    }
    assert!(is_page(&site.get(PATH)).contains("state up"));
}

/// A client that may not see it gets what it would get without the keys.
#[test]
fn for_other_clients_it_is_not_there() {
    for mode in ["mode = daemon\n", "mode = cgi\n"] {
        for allow in [ELSEWHERE, "status-allow = none\n", ""] {
            let site = site(&format!("{mode}{PAGE}{allow}"));
            assert!(is_the_apps(&site.get(PATH)), "{mode}{allow}");
            let said = [
                ("X-Forwarded-For", "192.0.2.1"),
                ("Remote-Addr", "192.0.2.1"),
            ];
            assert!(
                is_the_apps(&site.send("GET", PATH, &said, None)),
                "{mode}{allow}"
            );
        }
    }
}

#[test]
fn every_kind_of_app_has_it() {
    let page = "def page(environ, read):\n    return b'the app'\n";
    let kinds = Kinds::start(Mpm::Event, page, &[], "");
    let at = kinds.site.dir.path().display().to_string();
    for (name, lines) in KINDS {
        let lines = lines.replace("AT", &at);
        kinds
            .site
            .dir
            .app_file(name, &format!("{lines}{PAGE}{HERE}"));
        let get = |path: &str| {
            let target = format!("/cgi-bin/{name}{path}");
            let address = kinds.site.server.address();
            Conversation::new(address, "GET", &target, &[], None).reply()
        };
        assert_eq!(get("/x").ok(), "the app", "{name}");
        is_page(&get(PATH));
    }
}

/// There is no front: the daemon divides the path by `mount`.
#[test]
fn a_web_server_that_speaks_scgi_has_it() {
    for kind in [WebServer::ApacheScgi, WebServer::NginxScgi] {
        let config = format!("wsgi = testapp:application\n{PAGE}{HERE}");
        let hosted = Hosted::configured(kind, Mode::Daemon, &config, "");
        is_page(&hosted.get(PATH));
        assert_eq!(hosted.get("/status/200").ok(), "status 200\n");
    }
}

/// Over TCP any user of the host can say that it asks for another address. One that `listen-allow` names may say so.
#[test]
fn a_stranger_s_word_for_an_address_is_not_believed() {
    for (allow, is_believed) in [("", false), ("listen-allow = 127.0.0.1\n", true)] {
        let dir = Dir::new();
        let address = free_address();
        let lines = format!(
            "wsgi = testapp:application\n{PAGE}{HERE}listen = {address}\n{allow}show-errors = 127.0.0.1\n"
        );
        dir.app_file("app", &lines);
        dir.polycgi(&["start"]).success();
        let said = [
            ("CONTENT_LENGTH", "0"),
            ("SCGI", "1"),
            ("REMOTE_ADDR", "127.0.0.1"),
        ];
        let meta = cgi::meta("GET", PATH, &[]);
        let meta = meta
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let others = meta.filter(|(name, _)| *name != "REMOTE_ADDR");
        let message = netstring(said.into_iter().chain(others));
        let mut client = ScgiClient::connect_tcp([127, 0, 0, 1].into(), address);
        let reply = client.send(&message).reply();
        if is_believed {
            is_page(&reply);
        } else {
            assert!(is_the_apps(&reply), "{}", reply.text());
        }
        // Nor is it shown what went wrong.
        let meta = cgi::meta("GET", "/broken", &[]);
        let meta = meta
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let others = meta.filter(|(name, _)| *name != "REMOTE_ADDR");
        let message = netstring(said.into_iter().chain(others));
        let mut client = ScgiClient::connect_tcp([127, 0, 0, 1].into(), address);
        let reply = client.send(&message).reply();
        assert_eq!(reply.status(), 500);
        let is_shown = reply.text().contains("Traceback");
        assert_eq!(is_shown, is_believed, "{}", reply.text());
    }
}

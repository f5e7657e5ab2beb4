//! An app that starts slowly: a browser is told so after `start-page-after`, and comes back; other clients wait.

use super::util::{Dir, Hosted, Mpm, Reply, Site, WebServer, cgi, under_both};

const CONFIG: &str = "wsgi = slow:application\nmode = daemon\nstart-page-after = SECOND\n";
/// It is imported when the test opens the gate.
const SLOW: &str = "from testapp import application, pass_gate\npass_gate('gate')\n";
const ACCEPT: [(&str, &str); 1] = [("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")];

under_both!(a_browser_is_told_and_others_wait);

#[track_caller]
fn is_told(reply: &Reply, is_head: bool) {
    assert_eq!(reply.status(), 503, "{}", reply.text());
    assert_eq!(reply.field("Cache-Control"), Some("no-store"));
    let seconds = reply
        .field("Retry-After")
        .and_then(|text| text.parse().ok());
    assert!(
        seconds.is_some_and(|seconds: u32| (2..=5).contains(&seconds)),
        "{seconds:?}"
    );
    let has_ticket = |value: &str| value.starts_with("polycgi-ticket=");
    assert!(reply.field("Set-Cookie").is_some_and(has_ticket));
    let says = reply.text().to_ascii_lowercase().contains("is starting");
    assert_eq!(says, !is_head, "{}", reply.text());
}

fn a_browser_is_told_and_others_wait(mpm: Mpm) {
    let site = Site::configured(mpm, 16, CONFIG);
    site.dir.file("apps/slow.py", SLOW, 0o644);
    let mut gate = site.dir.gate("gate");
    let curl = site.open("GET", "/hello", &[("Accept", "*/*")], None);
    let form = site.open("POST", "/digest", &ACCEPT, Some(b"a form"));
    gate.entered();
    // Clients that came first, and wait as long as it takes.
    site.dir.until_status_has("queue = 2");
    is_told(&site.send("GET", "/hello", &ACCEPT, None), false);
    is_told(&site.send("HEAD", "/hello", &ACCEPT, None), true);
    site.dir.until_status_has("queue = 2");
    let back = site.open("GET", "/hello", &ACCEPT, None);
    site.dir.until_status_has("queue = 3");
    gate.open(1);
    for waited in [curl, back] {
        assert!(waited.reply().ok().starts_with("hello from "));
    }
    form.reply().ok();
    site.dir.until_status_has("counts.starting = 2");
    site.dir.until_status_has("counts.daemon = 3");
    assert_eq!(site.dir.starts(), 1, "the start went on");
}

/// There is no front.
#[test]
fn nginx_s_browser_is_told() {
    let dir = Dir::new();
    dir.file("apps/slow.py", SLOW, 0o644);
    let app = dir.app_file("app", &format!("{CONFIG}mount = /cgi-bin/app\n"));
    let mut gate = dir.gate("gate");
    let first = cgi::start_front(&app, "/hello");
    gate.entered();
    let socket = dir.socket().display().to_string();
    let hosted = Hosted::before(dir, WebServer::NginxScgi, &socket, "");
    is_told(&hosted.send("GET", "/hello", &ACCEPT, None), false);
    gate.open(1);
    first.end().response().ok();
    let back = hosted.send("GET", "/hello", &ACCEPT, None);
    assert!(back.ok().starts_with("hello from "));
}

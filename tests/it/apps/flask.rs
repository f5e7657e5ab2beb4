//! A Flask application: a form, an upload, bodies with and without a length, a stream.

use super::super::util::served::noise;
use super::super::util::{Mpm, Site, Way, digest};
use super::browser::Browser;
use super::{everywhere, reads_bodies, second_piece_waits, served_by, site};

everywhere!(form_and_session bodies pages);

fn start(mpm: Mpm, way: Way) -> Site {
    site(mpm, way, |_| "wsgi = flaskapp:application".to_owned())
}

fn form_and_session(mpm: Mpm, way: Way) {
    let site = start(mpm, way);
    session(&site);
    served_by(&site, way);
}

/// What a person does with the form.
#[track_caller]
pub(super) fn session(site: &Site) {
    let mut alice = Browser::new(site);
    assert_eq!(alice.get("/").ok(), "hello nobody, no picture\n");
    let reply = alice.post("/", &[("name", "Alice")], None);
    assert_eq!(reply.status(), 303);
    assert_eq!(reply.field("Location"), Some("/cgi-bin/app/"));
    assert_eq!(alice.get("/").ok(), "hello Alice, no picture\n");
    let picture = noise(3_000_000);
    let reply = alice.post("/", &[("name", "Alice")], Some(("picture", &picture)));
    assert_eq!(reply.status(), 303);
    let greeting = format!("hello Alice, {} 3000000\n", digest(&picture));
    assert_eq!(alice.get("/").ok(), greeting);
    assert_eq!(
        Browser::new(site).get("/").ok(),
        "hello nobody, no picture\n"
    );
}

fn bodies(mpm: Mpm, way: Way) {
    let site = start(mpm, way);
    bodies_of_all_kinds(&site);
    served_by(&site, way);
}

/// With and without a length. Werkzeug takes a body for empty unless there is one, or the server says that its input
/// ends.
#[track_caller]
pub(super) fn bodies_of_all_kinds(site: &Site) {
    reads_bodies(site);
    let json = [("Content-Type", "application/json")];
    let reply = site.send("PUT", "/json", &json, Some(br#"{"a": [1, "\u00e9"]}"#));
    assert_eq!(reply.ok(), "{\"got\":{\"a\":[1,\"\\u00e9\"]}}\n");
}

fn pages(mpm: Mpm, way: Way) {
    let mut site = start(mpm, way);
    let reply = site.get("/where/caf%C3%A9/au%20lait?a=%2F");
    let words: Vec<String> = reply.ok().rsplitn(3, ' ').map(str::to_owned).collect();
    assert_eq!(words[2], "café/au lait");
    assert_eq!(words[1], "/cgi-bin/app/");
    let source = std::fs::read_to_string(site.dir.join("apps/flaskapp.py")).unwrap();
    let reply = site.get("/source");
    assert_eq!(reply.ok(), source);
    // The second time the browser has it.
    let tag = reply.field("ETag").expect("a file has an ETag").to_owned();
    let again = site.send("GET", "/source", &[("If-None-Match", &tag)], None);
    assert_eq!((again.status(), again.body.len()), (304, 0));
    let part = site.send("GET", "/source", &[("Range", "bytes=3-12")], None);
    assert_eq!(part.status(), 206);
    assert_eq!(part.text(), source[3..13]);
    assert_eq!(site.get("/secret").status(), 401);
    assert_eq!(site.get("/nothing").status(), 404);
    second_piece_waits(&site);
    served_by(&site, way);
    let reply = site.get("/broken");
    assert_eq!(reply.status(), 500);
    assert!(!reply.text().contains("on purpose"), "{}", reply.text());
    let log = site.log();
    let error = "RuntimeError: the application is broken on purpose";
    assert_eq!(log.matches(error).count(), 1, "{log}");
}

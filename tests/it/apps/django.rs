//! A Django project: what its user does with a form, and what comes of it.

use super::super::util::served::noise;
use super::super::util::{Mpm, Site, Way, digest};
use super::browser::Browser;
use super::{everywhere, reads_bodies, second_piece_waits, served_by, site};

everywhere!(form_and_session bodies pages);

fn start(mpm: Mpm, way: Way) -> Site {
    site(mpm, way, |_| "wsgi = djangoapp:application".to_owned())
}

/// The token in the form that is shown.
#[track_caller]
fn token(page: &str) -> String {
    let start = "name=\"csrfmiddlewaretoken\" value=\"";
    let after = page.split_once(start).map(|(_, after)| after);
    let token = after.and_then(|after| after.split('"').next());
    token
        .unwrap_or_else(|| panic!("no token in {page}"))
        .to_owned()
}

fn form_and_session(mpm: Mpm, way: Way) {
    let site = start(mpm, way);
    let mut alice = Browser::new(&site);
    let page = alice.get("/").ok();
    assert!(page.contains("<p>hello nobody, no picture</p>"), "{page}");
    let token_of_page = token(&page);
    let form = [("csrfmiddlewaretoken", &*token_of_page), ("name", "Alice")];
    let reply = alice.post("/", &form, None);
    assert_eq!(reply.status(), 302, "{}", reply.text());
    assert_eq!(reply.field("Location"), Some("/cgi-bin/app/"));
    let page = alice.get("/").ok();
    assert!(page.contains("<p>hello Alice, no picture</p>"), "{page}");

    // Larger than Django keeps in memory: it goes to a file in TMPDIR, which is looked at when the test ends.
    let picture = noise(3_000_000);
    let token_of_page = token(&page);
    let form = [("csrfmiddlewaretoken", &*token_of_page), ("name", "Alice")];
    let reply = alice.post("/", &form, Some(("picture", &picture)));
    assert_eq!(reply.status(), 302, "{}", reply.text());
    let page = alice.get("/").ok();
    let greeting = format!("<p>hello Alice, {} 3000000</p>", digest(&picture));
    assert!(page.contains(&greeting), "{page}");

    // Another client has no session, and without the token the form is refused.
    let mut mallory = Browser::new(&site);
    assert_eq!(
        mallory.post("/", &[("name", "Mallory")], None).status(),
        403
    );
    assert!(mallory.get("/").ok().contains("hello nobody"));
    // What is wrong in the form is said in the form.
    let token_of_page = token(&mallory.get("/").ok());
    let form = [("csrfmiddlewaretoken", &*token_of_page), ("name", "")];
    let page = mallory.post("/", &form, None).ok();
    assert!(page.contains("This field is required."), "{page}");
    served_by(&site, way);
}

/// Django reads as much as CONTENT_LENGTH says.
fn bodies(mpm: Mpm, way: Way) {
    let site = start(mpm, way);
    reads_bodies(&site);
    served_by(&site, way);
}

fn pages(mpm: Mpm, way: Way) {
    let site = start(mpm, way);
    let reply = site.get("/where/caf%C3%A9%20au%20lait?a=%2F");
    let url = site.url("/where/caf%C3%A9%20au%20lait?a=%2F");
    assert_eq!(reply.ok(), format!("café au lait /cgi-bin/app/ {url}\n"));
    let source = std::fs::read_to_string(site.dir.join("apps/djangoapp.py")).unwrap();
    assert_eq!(site.get("/source").ok(), source);
    let head = site.send("HEAD", "/source", &[], None);
    assert_eq!((head.status(), head.body.len()), (200, 0));
    assert_eq!(site.get("/nothing").status(), 404);
    assert_eq!(site.get("/broken").status(), 500);
    second_piece_waits(&site);
    served_by(&site, way);
}

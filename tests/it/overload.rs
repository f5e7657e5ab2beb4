//! More requests than slots: the page, in each of its forms, and that a slot comes back however its CGI ends.

use super::util::process::kill_at_once;
use super::util::{Deadline, Gate, Mpm, Reply, Site, client, daemon, run, under_both};

const CONFIG: &str = "wsgi = testapp:application\nmode = cgi\ncgi-max = 1\n";

under_both!(no_slot_is_a_503 slots_are_counted);

#[track_caller]
fn assert_overload(reply: &Reply) {
    assert_eq!(reply.status(), 503, "{}", reply.text());
    assert_eq!(reply.field("Cache-Control"), Some("no-store"));
    let seconds: u32 = reply
        .field("Retry-After")
        .and_then(|seconds| seconds.parse().ok())
        .expect("Retry-After is a number of seconds");
    assert!((1..=60).contains(&seconds), "{seconds}");
}

fn no_slot_is_a_503(mpm: Mpm) {
    let mut site = Site::configured(mpm, 16, CONFIG);
    let mut gate = site.dir.gate("gate");
    let held = site.open("GET", "/hold?gate=gate", &[], None);
    let script = gate.entered();
    assert!(site.dir.all_daemons().is_empty(), "{script} is a CGI");

    let get = |accept| site.send("GET", "/hello", &[("Accept", accept)], None);
    let html = get("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
    assert_overload(&html);
    assert!(
        html.field("Content-Type")
            .is_some_and(|t| t.starts_with("text/html"))
    );
    assert!(
        html.text()
            .to_ascii_lowercase()
            .starts_with("<!doctype html>"),
        "{}",
        html.text()
    );

    let json = get("application/json");
    assert_overload(&json);
    assert!(
        json.field("Content-Type")
            .is_some_and(|t| t == "application/problem+json")
    );
    let shown = daemon::json(&json.text());
    assert!(shown.contains(&"status = 503".to_owned()), "{shown:?}");

    let text = get("*/*");
    assert_overload(&text);
    assert!(
        text.field("Content-Type")
            .is_some_and(|t| t.starts_with("text/plain"))
    );
    assert_eq!(text.text().lines().count(), 1, "{}", text.text());

    let head = site.send("HEAD", "/hello", &[("Accept", "text/html")], None);
    assert_overload(&head);
    assert!(head.body.is_empty());

    // The body is read before the page is sent: a client that still sends would see no answer.
    let body = vec![b'x'; 1_000_000];
    assert_overload(&site.send("POST", "/digest", &[], Some(&body)));

    kill_at_once(script);
    assert_eq!(held.reply().status(), 500, "the web server's own");
    assert!(site.get("/hello").ok().starts_with("hello from "));
    assert!(
        site.log().to_ascii_lowercase().contains("end of script"),
        "the web server says so"
    );
}

/// Programs that print what a server says, in the language of their user.
#[test]
fn curl_and_git_show_one_line() {
    let site = Site::configured(
        Mpm::Event,
        16,
        "wsgi = testapp:application\nmode = cgi\ncgi-max = 0\n",
    );
    let line = "503 Service Unavailable: This site is very busy. Please try again in 2 seconds.\n";
    let program = |name: &str| client(&site.dir, site.dir.path(), name);
    let mut curl = program("/usr/bin/curl");
    let shown = run(curl.args(["--silent", &site.url("/hello")]), b"").success();
    assert_eq!(shown, line);
    let mut curl = program("/usr/bin/curl");
    curl.args([
        "--silent",
        "--data",
        "a=b",
        "--header",
        "Accept-Language: fr",
    ]);
    let shown = run(curl.arg(site.url("/hello")), b"").success();
    let french = "503 Service Unavailable: Ce site est très sollicité en ce moment. Rien n’a été \
                  enregistré. Veuillez réessayer dans 2 secondes.\n";
    assert_eq!(shown, french);
    let mut git = program("git");
    let shown = run(git.args(["ls-remote", &site.url("/project.git")]), b"");
    assert!(
        shown.stderr.contains(&format!("remote: {line}")),
        "{}",
        shown.stderr
    );
}

/// Slots are byte locks: one that is taken again is a later lock on an earlier byte.
fn slots_are_counted(mpm: Mpm) {
    let config = "wsgi = testapp:application\nmode = cgi\ncgi-max = 3\n";
    let site = Site::configured(mpm, 16, config);
    let mut gates = ["a", "b", "c"].map(|name| site.dir.gate(name));
    let hold = |gate: &mut Gate, name: &str| {
        let held = site.open("GET", &format!("/hold?gate={name}"), &[], None);
        (held, gate.entered())
    };
    let [a, b, c] = &mut gates;
    let (first, script) = hold(a, "a");
    let (second, _) = hold(b, "b");
    let (third, _) = hold(c, "c");
    site.dir.until_status_has("cgis = 3");
    a.open(1);
    first.reply().ok();
    assert!(Deadline::soon().ended(script));
    site.dir.until_status_has("cgis = 2");
    let (fourth, _) = hold(a, "a");
    site.dir.until_status_has("cgis = 3");
    assert_overload(&site.get("/hello"));
    for gate in [a, b, c] {
        gate.open(1);
    }
    for held in [second, third, fourth] {
        held.reply().ok();
    }
}

/// Who may see reasons sees why there is no room; the log has no line for each request.
#[test]
fn the_page_says_what_was_full() {
    let lines = "wsgi = testapp:application\nshow-errors = on\n";
    for (config, reason, is_held) in [
        (
            "mode = cgi\ncgi-max = 1\n",
            "no-slot: 1 of 1 CGIs run",
            true,
        ),
        (
            "mode = daemon\nmax-procs = 1\nqueue-size = 0\n",
            "queue-full: 0 of 0 wait",
            true,
        ),
        (
            "mode = daemon\noverload-when-load = 0\n",
            "host-overloaded: ",
            false,
        ),
    ] {
        let mut site = Site::configured(Mpm::Prefork, 16, &format!("{lines}{config}"));
        let mut gate = site.dir.gate("gate");
        let held = is_held.then(|| {
            let held = site.open("GET", "/hold?gate=gate", &[], None);
            gate.entered();
            held
        });
        let reply = site.get("/hello");
        assert_overload(&reply);
        assert!(reply.text().contains(reason), "{reason}: {}", reply.text());
        if let Some(held) = held {
            gate.open(1);
            held.reply().ok();
        }
        assert_eq!(site.log(), "", "{reason}");
    }
}

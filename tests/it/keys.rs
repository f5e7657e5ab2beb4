//! Keys of the app file, by what a client sees of each: limits, queue, when the daemon starts, environment, pages.

use super::util::{Mpm, Site};

const APP: &str = "wsgi = testapp:application\n";

fn site(config: &str) -> Site {
    Site::configured(Mpm::Event, 16, &format!("{APP}{config}"))
}

/// The way in which the application runs, as it says itself.
fn way(site: &Site) -> String {
    let said = site.get("/mark?name=x").ok();
    said.trim_start_matches("x ").trim_end().to_owned()
}

#[test]
fn body_limit() {
    let mut site = site("mode = daemon\nbody-limit = 10k\n");
    let small = vec![b'x'; 10 << 10];
    assert_eq!(
        site.send("POST", "/digest", &[], Some(&small)).status(),
        200
    );
    let large = vec![b'x'; 5_000_000];
    let reply = site.send("POST", "/digest", &[], Some(&large));
    assert_eq!(reply.status(), 413, "{}", reply.text());
    assert!(
        reply.text().starts_with("413 Content Too Large"),
        "{}",
        reply.text()
    );
    // The body was drained: the next request finds a daemon that is well.
    assert_eq!(site.get("/status/200").ok(), "status 200\n");
    assert_eq!(site.log(), "");
}

#[test]
fn server_timing() {
    for (mode, name) in [("cgi", "cgi"), ("daemon", "daemon")] {
        for is_on in [false, true] {
            let switch = if is_on { "on" } else { "off" };
            let site = site(&format!("mode = {mode}\nserver-timing = {switch}\n"));
            let reply = site.get("/hello");
            let said = reply.field("Server-Timing");
            let time = said.and_then(|said| {
                said.strip_prefix(&format!("polycgi;desc=\"{name}\";dur="))?
                    .parse::<f64>()
                    .ok()
            });
            assert_eq!(said.is_some(), is_on, "{said:?}");
            assert_eq!(
                time.is_some_and(|ms| (0.0..60_000.0).contains(&ms)),
                is_on,
                "{said:?}"
            );
        }
    }
}

#[test]
fn queue_size_and_queue_timeout() {
    let site = site("mode = daemon\nmax-procs = 1\nqueue-size = 1\nqueue-timeout = SECOND\n");
    let mut gate = site.dir.gate("gate");
    let held = site.open("GET", "/hold?gate=gate", &[], None);
    gate.entered();
    let queued = site.open("GET", "/status/200", &[], None);
    site.dir.until_status_has("queue = 1");
    let one_too_many = site.get("/status/200");
    assert_eq!(one_too_many.status(), 503);
    assert_eq!(one_too_many.field("Cache-Control"), Some("no-store"));
    assert!(one_too_many.field("Retry-After").is_some());
    // The worker is held until both have their answers; the queued one gets a page, after `queue-timeout`.
    let waited = queued.reply();
    assert_eq!(waited.status(), 503);
    assert!(waited.field("Retry-After").is_some());
    site.dir.until_status_has("overloads = 2");
    gate.open(1);
    held.reply().ok();
    assert_eq!(site.get("/status/200").ok(), "status 200\n");
}

#[test]
fn daemon_when_rate() {
    let site = site("daemon-when-rate = 2/h\ndaemon-when-load = 999\n");
    assert_eq!(
        [way(&site), way(&site), way(&site)],
        ["cgi", "cgi", "daemon"]
    );
}

/// They need no daemon: with six such pauses one would be known to pay.
#[test]
fn requests_that_are_refused_wait_for_no_load() {
    let site = site("mode = cgi\ncgi-max = 0\n");
    for _ in 0..8 {
        assert_eq!(site.get("/hello").status(), 503);
    }
    let config = format!("{APP}daemon-when-load = 999\n");
    site.dir.app_file("app", &config);
    let status = site.dir.status();
    let expected = "too few requests are known to say whether a daemon pays";
    assert!(
        status.iter().any(|line| line.contains(expected)),
        "{status:?}"
    );
    assert!(
        status.contains(&"rate = 8".to_owned()),
        "of the same app: {status:?}"
    );
}

/// By default: what is known of the first six requests says that a daemon pays. `status` says why, before and after.
#[test]
fn daemon_when_it_pays() {
    let site = site("daemon-when-load = 999\nshow-errors = on\n");
    for nth in 1..=6 {
        assert_eq!(way(&site), "cgi", "request {nth}");
    }
    let reason = |status: &[String]| {
        let line = status.iter().find(|line| line.starts_with("reason = "));
        line.cloned().unwrap_or_default()
    };
    let status = site.dir.status();
    assert!(
        reason(&status).contains("too few requests are known to say whether a daemon pays"),
        "{status:?}"
    );
    assert_eq!(way(&site), "daemon");
    site.dir.until_status("the figures of the rule", |status| {
        let reason = reason(status);
        reason.starts_with("reason = \"requests cost ")
            && reason.contains(" more as CGIs; a daemon pays from ")
            && reason.contains("/h on, and 6 of the last 6 came so fast (daemon-when-rate auto)")
    });
    site.dir.until_status_has("rule = \"daemon-when-rate\"");
    site.dir.until_status_has("leaves_by = \"idle-timeout\"");
    let status = site.dir.status();
    let left = |line: &String| line.strip_prefix("leaves_in = ")?.parse().ok();
    let left: Option<u64> = status.iter().find_map(left);
    assert!(left.is_some_and(|left| left <= 1800), "{status:?}");
}

/// What is known survives the daemon: the next request starts another, although one has just left.
#[test]
fn what_pays_is_known_when_the_daemon_is_gone() {
    let lines = "daemon-when-load = 999\nidle-timeout = 1s\nmin-lifetime = 0s\n";
    let site = site(&format!("{lines}daemon-when-rate = 6/h\n"));
    for _ in 1..=6 {
        assert_eq!(way(&site), "cgi");
    }
    assert_eq!(way(&site), "daemon");
    site.dir.until_status_has("state = \"down\"");
    assert_eq!(way(&site), "cgi", "by a number: one has just left");
    site.dir
        .app_file("app", &format!("{APP}daemon-when-load = 999\n"));
    assert_eq!(way(&site), "daemon", "it pays");
}

#[test]
fn daemon_when_busy() {
    for (limit, expected) in [(1, "daemon"), (2, "cgi")] {
        let site = site(&format!(
            "daemon-when-busy = {limit}\ndaemon-when-load = 999\n"
        ));
        let mut gate = site.dir.gate("gate");
        let held = site.open("GET", "/hold?gate=gate", &[], None);
        gate.entered();
        assert!(site.dir.all_daemons().is_empty(), "the held one is a CGI");
        assert_eq!(way(&site), expected);
        gate.open(1);
        held.reply().ok();
    }
}

#[test]
fn max_requests() {
    let site = site("mode = daemon\nmax-procs = 1\nmin-idle = 0\nmax-requests = 2\n");
    let workers: Vec<String> = (0..4).map(|_| site.get("/hello").ok()).collect();
    assert_eq!(workers[0], workers[1]);
    assert_eq!(workers[2], workers[3]);
    assert_ne!(workers[1], workers[2], "another worker");
}

#[test]
fn environment_of_the_operator() {
    for mode in ["cgi", "daemon"] {
        let site = site(&format!(
            "mode = {mode}\nenv-file = secrets\nenv.ONE = of the app file\n"
        ));
        let text = "# a comment\nONE=of the file\nTWO=of the file\n";
        site.dir.file("apps/secrets", text, 0o600);
        let dump = site.get("/dump").ok();
        for line in [
            r#"["os.environ ONE", "of the app file"]"#,
            r#"["os.environ TWO", "of the file"]"#,
        ] {
            assert!(
                dump.lines().any(|l| l == line),
                "{mode}: no {line} in {dump}"
            );
        }
    }
}

#[test]
fn a_page_of_ones_own() {
    let site = site("mode = cgi\ncgi-max = 0\noverload-page = busy.html\n");
    site.dir.file(
        "apps/busy.html",
        "<p>{name} is back in {retry_after} s {}\n",
        0o644,
    );
    for (method, refresh) in [("GET", Some("2")), ("POST", None)] {
        let reply = site.send(method, "/hello", &[("Accept", "text/html")], None);
        let text = "<p>app is back in 2 s {}\n";
        assert_eq!((reply.status(), reply.text().as_str()), (503, text));
        assert_eq!(reply.field("Refresh"), refresh, "{method}");
    }
    let text = site.get("/hello");
    assert!(
        text.text().starts_with("503 Service Unavailable"),
        "{}",
        text.text()
    );
}

#[test]
fn overload_when_load() {
    // Every load is above 0 while a test runs.
    let site = site("mode = daemon\noverload-when-load = 0\n");
    assert_eq!(site.get("/hello").status(), 503);
    assert!(site.dir.all_daemons().is_empty());
}

#[test]
fn show_errors() {
    for (networks, is_shown) in [
        ("off", false),
        ("on", true),
        ("127.0.0.0/8", true),
        ("192.0.2.0/24", false),
    ] {
        let config = format!("mode = daemon\nshow-errors = {networks}\npython = /no/such/python\n");
        let mut site = site(&config);
        let text = site.get("/hello").text();
        assert!(text.starts_with("500 Internal Server Error"), "{text}");
        assert_eq!(
            text.contains("/no/such/python"),
            is_shown,
            "{networks}: {text}"
        );
        // The log has the reason in any case, without the number of the errno.
        let log = site.log();
        assert!(
            log.contains("/no/such/python: No such file or directory"),
            "{log}"
        );
        assert!(!log.contains("os error"), "{log}");
    }
}

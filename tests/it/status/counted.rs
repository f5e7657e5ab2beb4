//! Each request is counted once, by what became of it, and the rule that decides is told.

use std::fs;
use std::time::{Duration, Instant};

use super::super::util::scgi::{ScgiClient, header, netstring};
use super::super::util::{Deadline, Hosted, Mode, WebServer, cgi, pause, run};
use super::{Asked, status_of};

#[test]
fn every_request_of_a_daemon_is_counted_once() {
    let mut app = Asked::new(
        "wsgi = failing:application\nmode = daemon\nmax-procs = 1\nqueue-size = 1\nbody-limit = 1k\nqueue-timeout = 5m\n",
    );
    let answers = [
        "/hello",
        "/status/404",
        "/value",
        "/value",
        "/broken-late",
        "/segv",
        "/crash",
    ];
    let statuses = answers.map(|target| app.get(target));
    assert_eq!(statuses, [200, 404, 500, 500, 200, 502, 502]);
    assert_eq!(app.get("/crash-late"), 200, "its head was sent");
    let mut posting = cgi::front(&app.app, "POST", "/digest", &[]);
    posting.env("CONTENT_LENGTH", "2000");
    app.sent += 1;
    assert_eq!(status_of(&run(&mut posting, &[b'x'; 2000])), 413);

    let mut gate = app.dir.gate("gate");
    let held = app.start("/hold?gate=gate");
    let worker = gate.entered();
    let queued = app.start("/hello");
    app.dir.until_status_has("queue = 1");
    assert_eq!([(); 3].map(|()| app.get("/hello")), [503; 3]);
    // The only worker is busy, and the answer comes at once.
    let deadline = Deadline::after(Duration::from_secs(10));
    app.has(&[
        "kind = \"wsgi\"",
        "way = \"daemon\"",
        "rule = \"mode-daemon\"",
        "queue = 1",
        "max_queue = 1",
        "max_workers = 1",
        "leaves_in = null",
        &format!("workers.0.pid = {worker}"),
        "workers.0.state = \"busy\"",
        "workers.0.request.method = \"GET\"",
        "workers.0.request.path = \"/cgi-bin/app/hold\"",
    ]);
    assert!(!deadline.left().is_zero());
    let text = app.dir.polycgi(&["status"]).success();
    for words in [
        "1 of 1 workers busy, queue 1 of 1",
        ": GET /cgi-bin/app/hold;",
        "503 queue-full 3",
    ] {
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(line.contains(words), "no {words} in {text}");
    }
    gate.open(1);
    assert_eq!(
        [held.end(), queued.end()].map(|output| status_of(&output)),
        [200; 2]
    );

    let counts = [
        ("daemon", 4),
        ("exception", 3),
        ("bad-gateway", 2),
        ("cut", 1),
        ("queue-full", 3),
        ("body-too-large", 1),
    ];
    app.has_counted(&counts);
    let failures = [
        "exception 2 /cgi-bin/app/value ValueError: no such page",
        "exception 1 /cgi-bin/app/broken-late RuntimeError: the application is broken late on purpose",
        "killed 1 /cgi-bin/app/segv the worker ended: SIGSEGV",
        "exited 1 /cgi-bin/app/crash the worker ended: exit status 3",
    ];
    let mut kept = app.failures();
    // Two ends by the same status are one, with the path of the last.
    let last = "exited 2 /cgi-bin/app/crash-late the worker ended: exit status 3";
    assert_eq!(kept.pop().as_deref(), Some(last));
    assert_eq!(kept, failures[..3]);
    let log = app.dir.daemon_log();
    for (line, times) in [
        (
            "error: the app raised an exception: ValueError: no such page: GET",
            1,
        ),
        (
            "warn: refused with 503: queue-full: what helps: more 'max-procs'",
            1,
        ),
        ("error: worker died in a request: ", 3),
        ("cut=false: GET /cgi-bin/app/segv\n", 1),
    ] {
        assert_eq!(log.matches(line).count(), times, "{line}: {log}");
    }
    app.has(&[
        "recent.busiest = 1",
        "minutes.0.busiest = 1",
        "served.count = 10",
    ]);

    // What was counted outlives the daemon, and another counts on.
    app.dir.polycgi(&["stop"]).success();
    app.has_counted(&counts);
    app.has(&[
        "state = \"down\"",
        "way = \"start\"",
        "rule = \"mode-daemon\"",
        "pid = null",
    ]);
    assert_eq!(app.get("/hello"), 200);
    app.has_counted(&[&[("daemon", 5)], &counts[1..]].concat());
    assert_eq!(app.failures().len(), 4);
}

#[test]
fn plain_cgis_are_counted_and_the_rule_is_told() {
    let mut app = Asked::new("wsgi = failing:application\nmode = cgi\ncgi-max = 1\n");
    app.has(&[
        "state = \"down\"",
        "way = \"cgi\"",
        "rule = \"mode-cgi\"",
        "counted_since = null",
    ]);
    assert_eq!(
        ["/hello", "/value", "/value"].map(|target| app.get(target)),
        [200, 500, 500]
    );
    let mut gate = app.dir.gate("gate");
    let held = app.start("/hold?gate=gate");
    gate.entered();
    app.has(&["cgis = 1", "max_cgis = 1", "way = \"refused\""]);
    assert_eq!(app.get("/hello"), 503);
    gate.open(1);
    assert_eq!(status_of(&held.end()), 200);
    app.has_counted(&[("cgi", 4), ("no-slot", 1)]);
    let value = "exception 2 /cgi-bin/app/value ValueError: no such page";
    assert_eq!(app.failures(), [value]);

    // By load: quiet, then a daemon, and the facts of its start.
    let config = "wsgi = failing:application\ndaemon-when-rate = 2/h\ndaemon-when-load = 999\n";
    app.dir.app_file("app", config);
    let quiet = "0 of 5 CGIs (a daemon from 2), ";
    app.dir.until_status("a rule", |status| {
        let has = |begin: &str| status.iter().any(|line| line.starts_with(begin));
        has("rule = \"daemon-when-rate\"") || has(&format!("reason = \"{quiet}"))
    });
    assert_eq!(app.get("/hello"), 200);
    let reason = "6 requests in the last minute (daemon-when-rate 2/h)";
    app.has(&[
        "state = \"up\"",
        "way = \"daemon\"",
        "rule = \"daemon-when-rate\"",
        &format!("reason = \"{reason}\""),
        "leaves_by = \"idle-timeout\"",
    ]);
}

/// The adaptor notes how long a request took: in the front's file, at its own end.
#[test]
fn plain_cgis_of_wsgi_apps_are_timed() {
    let mut app = Asked::new("wsgi = failing:application\nmode = cgi\n");
    app.has(&["recent.cgi = null"]);
    let mut gate = app.dir.gate("gate");
    let held = app.start("/hold?gate=gate");
    gate.entered();
    app.has(&["recent.cgi = null"]);
    let began = Instant::now();
    pause(Duration::from_millis(300));
    gate.open(1);
    held.end().response().ok();
    let most = began.elapsed() + Duration::from_secs(120);
    let cgi = |status: &[String], name: &str| -> Option<f64> {
        let start = format!("recent.cgi.{name} = ");
        let value = status.iter().find_map(|line| line.strip_prefix(&start))?;
        value.parse().ok()
    };
    let p50 = cgi(&app.dir.status(), "p50").expect("one has ended");
    assert!(p50 > 0.25 && p50 < most.as_secs_f64(), "{p50}");
    // One that fails has ended as well.
    assert_eq!(app.get("/value"), 500);
    let p50 = cgi(&app.dir.status(), "p50").expect("two have ended");
    assert!(p50 < most.as_secs_f64(), "{p50}");
    let text = app.dir.polycgi(&["status"]).success();
    assert!(text.contains("    as CGIs   half in "), "{text}");

    // Another kind of program knows nothing of it; app-cgi is counted, and not timed.
    let mut app = Asked::new("cgi = /usr/bin/python3 -S cgiapp.py\nmode = cgi\n");
    assert_eq!(app.get("/hello"), 200);
    let text = fs::read_to_string(&app.app).expect("an app file can be read");
    let other = text.replace("/polycgi -", "/app-cgi -");
    assert_ne!(text, other);
    app.dir.file("cgi-bin/app", &other, 0o755);
    assert_eq!(app.get("/hello"), 200);
    app.has(&["recent.cgi = null"]);
    app.has_counted(&[("cgi", 2)]);
}

#[test]
fn a_request_counts_once_in_the_rate() {
    for mode in ["cgi", "daemon"] {
        let mut app = Asked::new(&format!("wsgi = failing:application\nmode = {mode}\n"));
        for rate in 1..=3 {
            assert_eq!(app.get("/hello"), 200, "{mode}");
            app.has(&[&format!("rate = {rate}")]);
        }
    }
}

#[test]
fn apps_of_other_kinds_are_counted_as_well() {
    let program = "
import os, signal
if os.environ['PATH_INFO'] == '/segv':
    os.kill(os.getpid(), signal.SIGSEGV)
if os.environ['PATH_INFO'] != '/empty':
    print('Content-Type: text/plain\\r\\n\\r\\nhello')
";
    let mut app = Asked::new("cgi = /usr/bin/python3 -S program.py\nmode = daemon\n");
    app.dir.file("apps/program.py", program, 0o644);
    assert_eq!(
        ["/hello", "/segv", "/empty"].map(|target| app.get(target)),
        [200, 502, 502]
    );
    app.has(&["kind = \"cgi\"", "way = \"daemon\""]);
    app.has_counted(&[("daemon", 1), ("bad-gateway", 2)]);
    assert_eq!(
        app.failures(),
        [
            "killed 1 /cgi-bin/app/segv the app ended without an answer: SIGSEGV",
            "exited 1 /cgi-bin/app/empty the app ended without an answer: exit status 0",
        ]
    );

    let mut app = Asked::new("scgi = /usr/bin/python3 -S scgiserver.py\n");
    assert_eq!(app.get("/hello"), 200);
    app.has(&[
        "kind = \"scgi\"",
        "rule = \"no-cgi\"",
        "server.state = \"up\"",
    ]);
    app.dir.polycgi(&["stop", "--hold"]).success();
    assert_eq!(app.get("/hello"), 503);
    app.has(&["state = \"held\"", "way = \"refused\"", "rule = \"held\""]);
    app.has_counted(&[("daemon", 1), ("held", 1)]);

    let mut app = Asked::new("connect = /nowhere/sock\n");
    assert_eq!(app.get("/hello"), 503);
    app.has(&["kind = \"connect\""]);
    app.has_counted(&[("away", 1)]);
    let away = "server 1 null cannot connect to /nowhere/sock: No such file or directory";
    assert_eq!(app.failures(), [away]);
}

#[test]
fn what_is_no_fault_of_the_app_is_counted_as_well() {
    let config = "wsgi = failing:application\nmode = daemon\nmax-procs = 1\nqueue-timeout = SECOND\n\
                  mount = /cgi-bin/app\nheader-limit = 4k\nrequest-timeout = 3 SECOND\n";
    let mut app = Asked::new(config);
    assert_eq!(app.get("/hello"), 200);
    let socket = app.dir.socket();
    for (bytes, status) in [
        (&b"5:hello,"[..], 400),
        (&b"999999:"[..], 431),
        (&header("GET", "/hello", &[], 0)[..], 200),
    ] {
        app.sent += 1;
        let reply = ScgiClient::connect(&socket).send(bytes).reply();
        assert_eq!(reply.status(), status);
    }
    let outside = [
        ("CONTENT_LENGTH", "0"),
        ("SCGI", "1"),
        ("REQUEST_METHOD", "GET"),
        ("PATH_INFO", "/x"),
    ];
    app.sent += 1;
    assert_eq!(
        ScgiClient::connect(&socket)
            .send(&netstring(outside))
            .reply()
            .status(),
        404
    );
    // A message-body that stops coming.
    app.sent += 1;
    let late = ScgiClient::connect(&socket)
        .send(&header("POST", "/digest", &[], 5))
        .reply();
    assert_eq!(late.status(), 408);
    // One that waits too long for the only worker, and one that is gone before.
    let mut gate = app.dir.gate("gate");
    let held = app.start("/hold?gate=gate");
    gate.entered();
    app.sent += 1;
    let mut gone = ScgiClient::connect(&socket);
    gone.send(&header("GET", "/hello", &[], 0));
    app.dir.until_status_has("queue = 1");
    drop(gone);
    app.dir.until_status_has("counts.client-gone = 1");
    assert_eq!(app.get("/hello"), 503);
    gate.open(1);
    assert_eq!(status_of(&held.end()), 200);
    app.has_counted(&[
        ("daemon", 3),
        ("bad-request", 1),
        ("header-too-large", 1),
        ("not-found", 1),
        ("body-late", 1),
        ("client-gone", 1),
        ("queue-slow", 1),
    ]);
    assert_eq!(app.failures(), [""; 0]);
}

/// nginx goes as soon as it has as many bytes as Content-Length says: it has the whole response, and that is what is
/// counted.
#[test]
fn a_web_server_that_goes_early_has_been_served() {
    const PROGRAM: &str = "#!/bin/sh\n\
        case $REQUEST_METHOD$PATH_INFO in\n\
        HEAD*) printf 'Content-Type: text/plain\\r\\nContent-Length: 4\\r\\n\\r\\n';;\n\
        */none) printf 'Status: 204 No Content\\r\\n\\r\\n';;\n\
        *) printf 'Content-Type: text/plain\\r\\nContent-Length: 4\\r\\n\\r\\nall\\n';;\n\
        esac\n\
        exec /usr/bin/python3 -S -c pass\n";
    for (app, method, target) in [
        ("wsgi = testapp:application", "GET", "/status/200"),
        ("wsgi = testapp:application", "HEAD", "/status/200"),
        ("cgi = /bin/sh all.sh", "GET", "/"),
        ("cgi = /bin/sh all.sh", "HEAD", "/"),
        ("cgi = /bin/sh all.sh", "GET", "/none"),
    ] {
        let config = format!("{app}\nmax-procs = 2\n");
        let site = Hosted::configured(WebServer::NginxScgi, Mode::Daemon, &config, "");
        site.dir.file("apps/all.sh", PROGRAM, 0o755);
        let most = 60;
        for _ in 0..most {
            site.send(method, target, &[], None);
        }
        site.dir
            .until_status_has(&format!("counts.daemon = {most}"));
        let status = site.dir.status();
        let gone = status
            .iter()
            .find(|line| line.starts_with("counts.client-gone = "));
        assert!(
            gone.is_none_or(|gone| gone.ends_with(" 0")),
            "{app}: {method} {target}: {status:?}"
        );
    }
}

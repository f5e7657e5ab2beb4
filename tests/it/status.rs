//! What `status` says of the past and of the present: each request is counted once, by what became of it, and each
//! failure is kept once, with its kind. Without a web server: fronts are started by the tests.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use super::util::scgi::{ScgiClient, header, netstring};
use super::util::{Deadline, Dir, Output, Running, cgi, run};

/// Routes of the test application, and some that go wrong in other ways.
const FAILING: &str = "
import os, signal, testapp
def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/value':
        raise ValueError('no such page')
    if path == '/long':
        raise ValueError('x  yz' + chr(233) * 200)
    if path == '/segv':
        os.kill(os.getpid(), signal.SIGSEGV)
    return testapp.bare(environ, start_response)
";

/// An app, and how many requests it was sent.
struct Asked {
    dir: Dir,
    app: PathBuf,
    sent: u64,
}

impl Asked {
    fn new(config: &str) -> Self {
        let dir = Dir::new();
        dir.file("apps/failing.py", FAILING, 0o644);
        let app = dir.app_file("app", config);
        Self { dir, app, sent: 0 }
    }

    fn start(&mut self, target: &str) -> Running {
        self.sent += 1;
        cgi::start_front(&self.app, target)
    }

    /// The status of the answer; 0 for none.
    fn get(&mut self, target: &str) -> u16 {
        status_of(&self.start(target).end())
    }

    /// What `status --json` shows has each of these lines, and no other request is counted.
    #[track_caller]
    fn has_counted(&self, counts: &[(&str, u64)]) {
        let expected: Vec<String> = counts
            .iter()
            .map(|(word, count)| format!("counts.{word} = {count}"))
            .collect();
        // What ends a request is counted in the turn that answers it, perhaps behind the answer.
        self.dir.until_status("all counted", |status| {
            expected.iter().all(|line| status.contains(line))
        });
        let all: u64 = self
            .dir
            .status()
            .iter()
            .filter_map(|line| counted(line))
            .sum();
        assert_eq!(all, self.sent, "{:#?}", self.dir.status());
        let said: u64 = counts.iter().map(|(_, count)| count).sum();
        assert_eq!(said, self.sent, "the test itself");
    }

    /// The failures that are kept: the kind, the number, the path and the reason of each, the oldest first.
    fn failures(&self) -> Vec<String> {
        let status = self.dir.status();
        let value = |nth: usize, name: &str| {
            let start = format!("failures.{nth}.{name} = ");
            let value = status.iter().find_map(|line| line.strip_prefix(&start))?;
            Some(value.trim_matches('"').to_owned())
        };
        let one = |nth| {
            let words = ["kind", "count", "path", "reason"].map(|name| value(nth, name));
            let words: Option<Vec<String>> = words.into_iter().collect();
            words.map(|words| words.join(" "))
        };
        (0..).map_while(one).collect()
    }

    #[track_caller]
    fn has(&self, lines: &[&str]) {
        let status = self.dir.status();
        for line in lines {
            assert!(
                status.iter().any(|shown| shown == line),
                "no {line}: {status:#?}"
            );
        }
    }
}

fn status_of(output: &Output) -> u16 {
    match output.stdout.is_empty() {
        true => 0,
        false => cgi::reply(&output.stdout).status(),
    }
}

fn counted(line: &str) -> Option<u64> {
    line.strip_prefix("counts.")?
        .split_once(" = ")?
        .1
        .parse()
        .ok()
}

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
        ("warn: refused with 503: queue-full\n", 1),
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
fn a_time_out_is_counted_and_kept() {
    for (mode, counts) in [("daemon", [("timed-out", 1)]), ("cgi", [("cgi", 1)])] {
        let config =
            format!("wsgi = failing:application\nmode = {mode}\nrequest-timeout = SECOND\n");
        let mut app = Asked::new(&config);
        let _gate = app.dir.gate("gate");
        assert_eq!(app.get("/hold?gate=gate&secret=1"), 504, "{mode}");
        app.has_counted(&counts);
        let failures = app.failures();
        let [failure] = &failures[..] else {
            panic!("{mode}: {failures:?}");
        };
        let kept = "time-out 1 /cgi-bin/app/hold request-timeout: the app did not answer in time";
        assert_eq!(failure, kept, "{mode}");
        if mode == "daemon" {
            let log = app.dir.daemon_log();
            let line = log.lines().find(|line| line.contains("the app is stuck"));
            let end = ": GET /cgi-bin/app/hold";
            assert!(line.is_some_and(|line| line.ends_with(end)), "{log}");
        }
    }
}

#[test]
fn a_long_failure_is_cut_alike_by_all() {
    let kept = ["daemon", "cgi"].map(|mode| {
        let mut app = Asked::new(&format!("wsgi = failing:application\nmode = {mode}\n"));
        assert_eq!(app.get("/long"), 500, "{mode}");
        if mode == "cgi" {
            // A line that is none does not keep the next from being counted.
            let path = app.dir.place().join("incidents");
            let text = fs::read_to_string(&path).unwrap();
            let rest = text.splitn(4, '\t').last().unwrap();
            fs::write(&path, format!("x\tx\tx\t{rest}{text}")).unwrap();
        }
        assert_eq!(app.get("/long"), 500, "{mode}");
        app.dir.until_status_has("failures.0.count = 2");
        app.failures()
    });
    assert_eq!(kept[0], kept[1]);
    assert!(kept[0][0].ends_with("\\u00e9..."), "{kept:?}");
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

#[test]
fn an_app_that_can_not_be_imported_is_kept_once() {
    for (mode, counts) in [("daemon", [("app-broken", 2)]), ("cgi", [("cgi", 2)])] {
        let mut app = Asked::new(&format!("wsgi = missing:application\nmode = {mode}\n"));
        assert_eq!([(); 2].map(|()| app.get("/hello")), [500; 2], "{mode}");
        app.has_counted(&counts);
        let status = app.dir.status();
        let of_kind = status.iter().filter(|line| line.contains(".kind = "));
        assert_eq!(
            of_kind.collect::<Vec<_>>(),
            ["failures.0.kind = \"import\""],
            "{mode}"
        );
        // A daemon imports it for no request.
        let of = if mode == "cgi" {
            "2 /cgi-bin/app/hello"
        } else {
            "1 null"
        };
        let kept = format!("import {of} ModuleNotFoundError: No module named 'missing'");
        assert_eq!(app.failures(), [kept], "{mode}");
    }
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
fn an_app_whose_file_was_deleted_can_be_stopped() {
    let mut app = Asked::new("wsgi = failing:application\nmode = daemon\n");
    assert_eq!(app.get("/hello"), 200);
    fs::remove_file(&app.app).unwrap();
    let said = app.dir.polycgi(&["status"]).success();
    assert!(said.contains(": up (pid "), "{said}");
    app.dir.polycgi(&["stop"]).success();
    // Its link in the default place is gone with the daemon, as its runtime-dir is another.
    let said = app.dir.polycgi(&["stop"]);
    assert_eq!(said.status.code(), Some(66), "no such app");
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

#[test]
fn what_made_the_code_be_loaded_is_told() {
    let mut app = Asked::new("wsgi = failing:application\nmode = daemon\n");
    assert_eq!(app.get("/hello"), 200);
    app.has(&["generation = 1", "changed = null", "changed_at = null"]);
    app.dir
        .file("apps/failing.py", &format!("{FAILING}\n# edited\n"), 0o644);
    let mut answers = 0;
    app.dir.until_status("loaded again", |status| {
        answers += 1;
        assert_eq!(status_of(&cgi::start_front(&app.app, "/hello").end()), 200);
        status.iter().any(|line| line == "generation = 2")
    });
    app.sent += answers;
    let file = app.dir.join("apps/failing.py");
    app.has(&[&format!("changed = \"{}\"", file.display())]);
    app.has_counted(&[("daemon", app.sent)]);
}

#[test]
fn a_wrong_file_in_the_place_does_no_harm() {
    let mut app = Asked::new("wsgi = failing:application\nmode = cgi\n");
    assert_eq!(
        ["/hello", "/value"].map(|target| app.get(target)),
        [200, 500]
    );
    let place = app.dir.place();
    let older = fs::read(place.join("slots")).expect("it is there")[..8320].to_vec();
    for name in ["slots", "incidents"] {
        let path = place.join(name);
        let forms: [&dyn Fn(); 7] = [
            &|| fs::write(&path, "").expect("a file"),
            &|| fs::write(&path, vec![0xff; 72_704]).expect("a file"),
            &|| fs::write(&path, b"\x1b[2J\t\n".repeat(5000)).expect("a file"),
            &|| {
                File::create(&path)
                    .and_then(|file| file.set_len(1 << 40))
                    .expect("a file")
            },
            &|| symlink("/etc/passwd", &path).expect("a link"),
            &|| fs::create_dir(&path).expect("a folder"),
            &|| nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO"),
        ];
        for form in forms {
            // Each form replaces the one before.
            let _ = fs::remove_file(&path);
            let _ = fs::remove_dir(&path);
            form();
            let _ = fs::set_permissions(&path, PermissionsExt::from_mode(0o644));
            let text = app.dir.polycgi(&["status"]).success();
            assert!(
                !text.contains('\x1b') && text.len() < 1 << 16,
                "{name}: {text}"
            );
            app.has(&["way = \"cgi\""]);
            assert_eq!(app.get("/hello"), 200, "{name}");
        }
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir(&path);
    }
    // A version that did not count has left its file: it grows.
    fs::write(place.join("slots"), older).expect("a file can be written");
    let (uid, gid) = super::util::command::user();
    std::os::unix::fs::chown(place.join("slots"), Some(uid.as_raw()), Some(gid.as_raw()))
        .expect("a file can be given away");
    app.sent = 0;
    assert_eq!(app.get("/value"), 500);
    app.has_counted(&[("cgi", 1)]);
}

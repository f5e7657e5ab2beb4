//! What is kept of an app: its failures, what made its code be loaded, and what a wrong file in its place does to that.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};

use super::super::util::patient::PatientRead;
use super::super::util::{Deadline, Output, Piped, as_user, cgi, command};
use super::{Asked, FAILING, status_of};

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

/// Plain CGIs, by the adaptor, and fronts, by the program itself, write to one file at the same time: none of their
/// failures is lost, and no line is torn.
#[test]
fn failures_that_are_noted_at_once_are_all_kept() {
    const EACH: usize = 12;
    let config = "wsgi = failing:application\nmode = cgi\ncgi-max = 100\nstart-timeout = 1m\n";
    let mut app = Asked::new(config);
    let missing = app
        .dir
        .app_file("app", &format!("{config}python = /nowhere/python3\n"));
    let by_front = fs::read_to_string(&missing).expect("it was written");
    app.dir.app_file("app", config);
    for _ in 0..EACH {
        let by_adaptor = [(); 2].map(|()| app.start("/value"));
        // Of the same app: the place is that of the file's path.
        app.dir.file("cgi-bin/app", &by_front, 0o755);
        let by_front = [(); 2].map(|()| app.start("/hello"));
        for front in by_adaptor.into_iter().chain(by_front) {
            assert_eq!(status_of(&front.end()), 500);
        }
        app.dir.app_file("app", config);
    }
    let path = app.dir.place().join("incidents");
    let text = fs::read_to_string(&path).expect("failures were noted");
    let counts: Vec<usize> = text
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split('\t').collect();
            assert_eq!(words.len(), 7, "a torn line: {text:?}");
            words[2].parse().expect("a count")
        })
        .collect();
    assert_eq!(counts.iter().sum::<usize>(), 4 * EACH, "{text}");
}

/// A process that holds the lock for long, as one that was stopped, keeps no request from being answered: what can't be
/// noted in time is not.
#[test]
fn a_lock_that_is_held_keeps_no_answer_back() {
    let mut app = Asked::new("wsgi = failing:application\nmode = cgi\n");
    assert_eq!(app.get("/value"), 500);
    let path = app.dir.place().join("incidents");
    let before = fs::read_to_string(&path).expect("a failure was noted");
    let hold = "import fcntl, sys\nfile = open(sys.argv[1], 'r+')\nfcntl.lockf(file, fcntl.LOCK_EX)\n\
                print('held', flush=True)\nsys.stdin.read()\n";
    let mut holder = as_user("/usr/bin/python3");
    let mut holder = Piped::start(holder.args(["-c", hold]).arg(&path));
    assert_eq!(holder.stdout.exactly(5), b"held\n");
    let Output { stdout, stderr, .. } = app.start("/value").end();
    assert_eq!(cgi::reply(&stdout).status(), 500);
    assert!(
        stderr.contains("ValueError: no such page"),
        "the log has it: {stderr}"
    );
    assert_eq!(fs::read_to_string(&path).expect("it is there"), before);
    holder.stdin = None;
    assert!(holder.ended().success());
    assert_eq!(app.get("/value"), 500);
    app.dir.until_status_has("failures.0.count = 2");
    app.has_counted(&[("cgi", 3)]);
}

/// A daemon that leaves while another process writes waits for it: what it has not written yet is not lost.
#[test]
fn a_daemon_that_leaves_waits_for_the_lock() {
    let mut app = Asked::new("wsgi = failing:application\nmode = daemon\n");
    assert_eq!(app.get("/value"), 500);
    app.dir.until_status_has("failures.0.count = 1");
    let path = app.dir.place().join("incidents");
    let pid = app.dir.daemon();
    // It gives the lock up as soon as /proc/locks has the daemon as one that waits.
    let hold = "import fcntl, sys\nfile = open(sys.argv[1], 'r+')\nfcntl.lockf(file, fcntl.LOCK_EX)\n\
                print('held', flush=True)\n\
                while not any(f[1] == '->' and f[5] == sys.argv[2] for f in map(str.split, open('/proc/locks'))): pass\n";
    let mut holder = as_user("/usr/bin/python3");
    holder.args(["-c", hold]).arg(&path).arg(pid.to_string());
    let mut holder = Piped::start(&mut holder);
    assert_eq!(holder.stdout.exactly(5), b"held\n");
    assert_eq!(app.get("/value"), 500);
    app.dir.polycgi(&["stop"]).success();
    assert!(holder.ended().success());
    let text = fs::read_to_string(&path).expect("failures were noted");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(text.split('\t').nth(2), Some("2"), "{text}");
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

/// While starts back off no daemon runs: `status`, and the page of a request, have the reason and the traceback.
#[test]
fn a_traceback_is_kept_while_starts_back_off() {
    const BROKEN: &str = "def read():\n    return open('/nowhere/settings')\nread()\n";
    let config = "wsgi = broken:application\nmode = daemon\nshow-errors = on\n";
    let mut app = Asked::new(config);
    app.dir.file("apps/broken.py", BROKEN, 0o644);
    let reason = "FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/settings'";
    let line = "    return open('/nowhere/settings')";
    // Each attempt is told with its traceback; the next is made after a pause that doubles.
    let deadline = Deadline::soon();
    let page = loop {
        assert!(!deadline.left().is_zero(), "starts do not back off");
        let Output { stdout, stderr, .. } = app.start("/hello").end();
        let page = cgi::reply(&stdout);
        assert_eq!(page.status(), 500);
        // Empty: by the daemon of the attempt before, which has told it and is about to leave.
        if !stderr.is_empty() && !stderr.contains("Traceback") {
            assert!(
                stderr.contains(reason) && stderr.lines().count() == 1,
                "{stderr}"
            );
            break page.text();
        }
    };
    for words in [reason, "Traceback (most recent call last):", line] {
        assert!(page.contains(words), "no {words} in {page}");
    }
    let status = app.dir.status();
    let left = status.iter().find(|line| line.starts_with("last_words = "));
    let left = left.expect("it is always there");
    assert!(
        left.contains("Traceback") && left.contains(line.trim()),
        "{left}"
    );
    let text = app.dir.polycgi(&["status"]).success();
    assert!(
        text.contains(&format!("\n              {line}\n")),
        "{text}"
    );
    app.has(&[&format!("last_failure = \"{reason}\"")]);

    app.dir
        .file("apps/broken.py", "from testapp import application\n", 0o644);
    app.dir.until_status("mended", |_| {
        status_of(&cgi::start_front(&app.app, "/hello").end()) == 200
    });
    app.dir.until_status_has("last_words = null");
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
    let (uid, gid) = command::user();
    std::os::unix::fs::chown(place.join("slots"), Some(uid.as_raw()), Some(gid.as_raw()))
        .expect("a file can be given away");
    app.sent = 0;
    assert_eq!(app.get("/value"), 500);
    app.has_counted(&[("cgi", 1)]);
}

//! The host gives no process, descriptor or memory: to a front, or to the daemon.

use nix::errno::Errno;
use nix::libc;

use super::super::super::util::process::limit_processes;
use super::super::super::util::refused::{Host, Role};
use super::super::super::util::scgi::header;
use super::super::super::util::{Output, as_user, cgi, run};
use super::super::Asked;
use super::{BROWSER, Reason};

/// The host gives a plain CGI no process, descriptor or memory: the front can't become it.
#[test]
fn no_process_for_a_plain_cgi() {
    let mut app = Asked::shown("wsgi = failing:application\nmode = cgi\n");
    for (errno, word, said) in [
        (
            Errno::EAGAIN,
            "no-process",
            "Resource temporarily unavailable",
        ),
        (
            Errno::ENFILE,
            "no-descriptor",
            "Too many open files in system",
        ),
        (Errno::ENOMEM, "no-memory", "Cannot allocate memory"),
    ] {
        let calls = [libc::SYS_execve, libc::SYS_execveat];
        let host = Host::new(&calls, move |call| {
            (call.role() == Role::Front).then_some(errno)
        });
        let mut front = cgi::front(&app.app, "GET", "/value", &BROWSER);
        app.sent += 1;
        let Output { stdout, stderr, .. } = run(host.around(&mut front), b"");
        assert!(stderr.contains(said), "the fault: {stderr}");
        let reason = Reason {
            word,
            seconds: [2, 2],
            said,
        };
        reason.is_told_by(&cgi::reply(&stdout));
    }
    app.has_counted(&[("no-process", 1), ("no-descriptor", 1), ("no-memory", 1)]);
    // Kept by the front itself, with its request.
    let failures = app.failures();
    assert_eq!(failures.len(), 3, "{failures:?}");
    for failure in failures {
        assert!(
            failure.starts_with("host 1 /cgi-bin/app/value cannot run "),
            "{failure}"
        );
    }
}

/// The front may not fork, so no daemon is started, and the app has no other way.
#[test]
fn no_process_for_an_app_that_needs_a_daemon() {
    let mut app = Asked::shown("scgi = python3 scgiserver.py\n");
    let mut front = as_user("/usr/bin/prlimit");
    front.arg("--nproc=1").arg(&app.app);
    front.envs(cgi::meta("GET", "/value", &BROWSER));
    let Output { stdout, stderr, .. } = run(&mut front, b"");
    app.sent += 1;
    let cannot = "Resource temporarily unavailable";
    assert!(stderr.contains(cannot), "the fault: {stderr}");
    let reason = Reason {
        word: "no-process",
        seconds: [2, 2],
        said: "no-process: cannot start the daemon",
    };
    reason.is_told_by(&cgi::reply(&stdout));
    app.has_counted(&[(reason.word, 1)]);
    // How long it backs off is another test's: see `backing_off`.
    app.has(&["failures.0.kind = \"host\""]);
}

/// The front has no descriptor left with which it could read the app file: at the first time, at the second, and so on.
/// The place in which such a request could be counted stands in that file.
#[test]
fn no_descriptor_for_the_app_file() {
    let app = Asked::shown("wsgi = failing:application\nmode = cgi\n");
    let path = app.app.display().to_string();
    let (mut at, mut refused) = (0, 0);
    loop {
        let mut left = at;
        let host = Host::new(&[libc::SYS_openat, libc::SYS_open], move |call| {
            let nth = usize::from(call.number == libc::SYS_openat);
            if call.role() != Role::Front || !call.text(nth).ends_with(b"cgi-bin/app") {
                return None;
            }
            left -= 1;
            (left < 0).then_some(Errno::EMFILE)
        });
        let mut front = cgi::front(&app.app, "GET", "/hello", &[]);
        let Output { stdout, stderr, .. } = run(host.around(&mut front), b"");
        let reply = cgi::reply(&stdout);
        if reply.status() == 200 {
            break;
        }
        let said = format!("cannot read {path}: Too many open files");
        assert!(stderr.contains(&said), "the fault: {stderr}");
        let reason = Reason {
            word: "no-process",
            seconds: [2, 2],
            // Without its configuration it is not known who may see why.
            said: "503 Service Unavailable",
        };
        reason.is_told_by(&reply);
        (at, refused) = (at + 1, refused + 1);
    }
    assert!(refused > 1, "it is read more than once");
}

/// The daemon may not fork: neither for a CGI program, nor, as its zygote, for a worker.
#[test]
fn no_process_for_the_daemon() {
    let wsgi = "wsgi = failing:application\nmin-idle = 0\nworker-idle-timeout = 1s\n";
    for (config, no_idle, said) in [
        (
            "cgi = /usr/bin/python3 -S cgiapp.py\n",
            false,
            "no-process: cannot run ",
        ),
        (wsgi, true, "cannot fork"),
    ] {
        let mut app = Asked::shown(&format!("{config}mode = daemon\n"));
        assert_eq!(app.get("/hello"), 200, "{config}");
        if no_idle {
            app.dir.until_status_has("workers = []");
        }
        let parent = if no_idle {
            app.dir.zygote()
        } else {
            app.dir.daemon()
        };
        let before = limit_processes(parent, "1");
        let reason = Reason {
            word: "no-process",
            seconds: [2, 2],
            said,
        };
        reason.is_told_by(&app.plain(&header("GET", "/hello", &[], 0)).reply());
        limit_processes(parent, &before);
        app.has_counted(&[("daemon", 1), (reason.word, 1)]);
    }
}

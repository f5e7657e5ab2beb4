//! A host that is short of memory: the daemon adds no worker to one that serves, those that are not needed end, and
//! `status` and the log say so. What a front does is in `status/refused.rs`, what the numbers mean in the pool's tests.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use nix::errno::Errno;
use nix::libc;

use super::util::daemon::workers;
use super::util::pressure::Pressure;
use super::util::refused::{Host, Role};
use super::util::{Dir, LONG_QUEUE, Piped, as_user, cgi, installed, joined, run};

/// Idle workers that would stay for an hour, if memory were enough.
const CONFIG: &str = "mode = daemon\nmax-procs = 4\nmin-idle = 2\nworker-idle-timeout = 1h\n";

const HELLO: &str = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\nhello\\n'\n";

fn held(app: &Path) -> Piped {
    Piped::start(&mut cgi::front(app, "GET", "/hold?gate=gate", &[]))
}

#[track_caller]
fn is_answered(front: Piped) {
    let (response, words, _) = front.end();
    assert_eq!(cgi::reply(&response).status(), 200, "{words}");
}

#[test]
fn workers_go_and_none_is_added_until_it_is_over() {
    let dir = Dir::new();
    let config = format!("wsgi = testapp:application\n{CONFIG}{LONG_QUEUE}");
    let app = dir.app_file("app", &config);
    let Some(pressure) = Pressure::of(&dir, 0.0) else {
        return;
    };
    let mut start = as_user(installed("polycgi"));
    run(pressure.over(start.arg("start").arg(&app)), b"").success();
    let mut gate = dir.gate("gate");
    let three = [(); 3].map(|()| held(&app));
    for _ in &three {
        gate.entered();
    }
    dir.until_status("the spare one has started", |status| {
        workers(status).len() == 4
    });

    pressure.set(12.34);
    gate.open(3);
    for front in three {
        is_answered(front);
    }
    dir.until_status("one is left", |status| workers(status).len() == 1);
    dir.until_status_has("memory_pressure = 12.34");
    dir.until_status_has("memory_short = true");
    let shown = dir.polycgi(&["status"]).success();
    let sentence = "memory pressure 12 % (some, 10 s): no worker is added";
    assert!(joined(&shown).contains(sentence), "{shown}");

    let first = held(&app);
    gate.entered();
    let second = held(&app);
    dir.until_status("the second waits", |status| {
        status.iter().any(|line| line == "queue = 1") && workers(status).len() == 1
    });
    assert!(!gate.was_entered());
    pressure.set(0.0);
    gate.entered();
    dir.until_status_has("memory_short = false");
    gate.open(2);
    for front in [first, second] {
        is_answered(front);
    }
    let log = dir.daemon_log();
    for line in [
        "memory is short: memory pressure 12 % (some, 10 s)",
        "memory is no longer short: memory pressure 0 % (some, 10 s)",
    ] {
        assert_eq!(log.matches(line).count(), 1, "{log}");
    }
}

/// Programs that run for a request are processes like workers; one that is alone always runs.
#[test]
fn programs_run_one_after_the_other() {
    let dir = Dir::new();
    let gated = format!(
        "#!/bin/sh\necho $$ >gate.entered\nread -r _ <gate.go\n{}",
        HELLO.trim_start_matches("#!/bin/sh\n")
    );
    dir.file("apps/gated.sh", &gated, 0o755);
    let config = format!("cgi = ./gated.sh\n{CONFIG}{LONG_QUEUE}");
    let app = dir.app_file("app", &config);
    let Some(pressure) = Pressure::of(&dir, 50.0) else {
        return;
    };
    let mut gate = dir.gate("gate");
    let mut front = cgi::front(&app, "GET", "/", &[]);
    let first = Piped::start(pressure.over(&mut front));
    gate.entered();
    let second = held(&app);
    dir.until_status_has("queue = 1");
    assert!(!gate.was_entered());
    gate.open(1);
    is_answered(first);
    gate.entered();
    gate.open(1);
    is_answered(second);
}

/// As without CONFIG_PSI, and with `psi=0`: the pool grows as it always did, and no limit is exceeded.
#[test]
fn a_host_that_does_not_measure() {
    for errno in [Errno::ENOENT, Errno::EOPNOTSUPP] {
        let refused = Arc::new(Mutex::new(BTreeSet::new()));
        let noted = Arc::clone(&refused);
        let host = Host::new(&[libc::SYS_openat], move |call| {
            let path = call.text(1);
            let is_one = path.starts_with(b"/proc/pressure/") || path.ends_with(b".pressure");
            is_one.then(|| {
                noted.lock().expect("no panic here").insert(call.role());
                errno
            })
        });
        let dir = Dir::new();
        let lines = "overload-when-pressure = 0\nwsgi = testapp:application\n";
        let app = dir.app_file("app", &format!("{lines}{CONFIG}"));
        let mut front = cgi::front(&app, "GET", "/hello", &[]);
        run(host.around(&mut front), b"").response().ok();
        let mut gate = dir.gate("gate");
        let three = [(); 3].map(|()| held(&app));
        for _ in &three {
            gate.entered();
        }
        let by = refused.lock().expect("no panic there").clone();
        assert_eq!(by, BTreeSet::from([Role::Daemon, Role::Front]), "the fault");
        dir.until_status_has("memory_pressure = null");
        gate.open(3);
        for front in three {
            is_answered(front);
        }
        assert!(!dir.daemon_log().contains("memory"), "{errno}");
    }
}

//! What an app has started at its import ends with the import's generation, however it hides: all processes of the
//! test are counted, and there are as many as one generation has.

use std::fs;
use std::path::Path;

use nix::unistd::{Pid, getpgid, getsid};

use super::leaving::{install, with_own_polycgi};
use super::util::daemon::workers;
use super::util::process::{self, Process, kill_at_once};
use super::util::{Deadline, Dir, cgi, installed};

/// What the application starts at its import.
const HELPERS: usize = 6;
/// ... and the daemon, its zygote and one worker.
const ALL: usize = HELPERS + 3;

const CONFIG: &str = "wsgi = starts:application\nmode = daemon\nmax-procs = 1\n";

/// The application of the adaptor's own tests.
fn source() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/adaptor/apps/starts.py");
    fs::read_to_string(path).expect("a test application can be read")
}

fn put(dir: &Dir, more: &str) {
    let text = source() + more;
    dir.file("apps/starts.py", &text, 0o644);
}

/// It has served one request.
#[track_caller]
fn started(config: &str) -> Dir {
    let dir = Dir::new();
    start(&dir, config);
    dir
}

#[track_caller]
fn start(dir: &Dir, config: &str) {
    put(dir, "");
    dir.app_file("app", &format!("{CONFIG}{config}"));
    get(dir, "/");
    until_one_generation(dir);
}

#[track_caller]
fn get(dir: &Dir, target: &str) -> String {
    let app = dir.join("cgi-bin/app");
    cgi::start_front(&app, target).end().response().ok()
}

fn names(processes: &[Process]) -> Vec<&str> {
    let names = processes.iter().map(|process| {
        let at = process.command_line.len().min(60);
        process.command_line.get(..at).unwrap_or_default()
    });
    names.collect()
}

#[track_caller]
fn until_one_generation(dir: &Dir) {
    dir.until_status("one generation's processes", |_| {
        dir.processes().len() == ALL
    });
}

/// Waits until every process of the test has ended.
#[track_caller]
fn until_none(dir: &Dir) {
    let deadline = Deadline::soon();
    let mut found = dir.processes();
    while !found.is_empty() && !deadline.left().is_zero() {
        for process in &found {
            deadline.ended(process.pid);
        }
        found = dir.processes();
    }
    assert!(found.is_empty(), "{:?}", names(&found));
}

/// The daemon's child that leads a process group and no session; no helper of the application does that.
#[track_caller]
fn zygote(dir: &Dir) -> i32 {
    let (daemon, status) = (dir.daemon(), dir.status());
    let workers = workers(&status);
    let is_zygote = |pid: &i32| {
        let id = Pid::from_raw(*pid);
        let leads = getpgid(Some(id)) == Ok(id) && getsid(Some(id)) != Ok(id);
        leads && workers.iter().all(|(worker, _)| worker != pid)
    };
    let mut found = process::children(daemon).into_iter().filter(is_zygote);
    found.next().expect("the daemon has a zygote")
}

/// A killed process of multiprocessing leaves its folder; that is no fault of polycgi's.
fn remove_temporary_folders(dir: &Dir) {
    for entry in fs::read_dir(dir.join("tmp")).expect("the folder can be read") {
        let entry = entry.expect("the folder can be read");
        assert!(entry.file_name().display().to_string().starts_with("pymp-"));
        fs::remove_dir_all(entry.path()).expect("a folder can be removed");
    }
}

#[track_caller]
fn edits_and_a_stop(config: &str) {
    let dir = started(config);
    for edit in 1..=4 {
        put(&dir, &format!("# edit {edit}\n"));
        let generation = format!("generation = {}", edit + 1);
        dir.until_status(&generation, |status| {
            get(&dir, "/");
            status.contains(&generation)
        });
        until_one_generation(&dir);
    }
    // Nothing that a failed import has started stays.
    put(&dir, "raise RuntimeError('on purpose')\n");
    // By no request: on a slow host its front may become a plain CGI, whose import would start the same.
    dir.polycgi(&["reload"]);
    dir.until_status("a failure", |status| {
        status.iter().any(|line| line.contains("on purpose"))
    });
    if config.is_empty() {
        until_one_generation(&dir);
    }
    dir.polycgi(&["stop"]).success();
    until_none(&dir);
}

#[test]
fn four_edits_and_a_stop() {
    edits_and_a_stop("");
}

#[test]
fn four_edits_and_a_stop_without_preload() {
    // The old worker serves while the new one is tried.
    edits_and_a_stop("preload = off\n");
}

#[test]
fn a_reload() {
    for preload in ["on", "off"] {
        let dir = started(&format!("preload = {preload}\n"));
        dir.polycgi(&["reload"]).success();
        until_one_generation(&dir);
        dir.polycgi(&["stop"]).success();
        until_none(&dir);
    }
}

#[test]
fn a_killed_daemon() {
    for preload in ["on", "off"] {
        let dir = started(&format!("preload = {preload}\n"));
        kill_at_once(dir.daemon());
        until_none(&dir);
        // The socket's name is left; the next front removes it.
        get(&dir, "/");
        dir.polycgi(&["stop"]).success();
        until_none(&dir);
    }
}

#[test]
fn a_killed_zygote() {
    let dir = started("");
    kill_at_once(zygote(&dir));
    // The new generation is begun with the next request, or at once.
    dir.until_status("generation = 2", |status| {
        get(&dir, "/");
        status.iter().any(|line| line == "generation = 2")
    });
    until_one_generation(&dir);
    dir.polycgi(&["stop"]).success();
    until_none(&dir);
    remove_temporary_folders(&dir);
}

#[test]
fn a_killed_worker_without_preload() {
    let dir = started("preload = off\n");
    let status = dir.status();
    let (worker, _) = workers(&status)[0];
    kill_at_once(worker);
    get(&dir, "/");
    until_one_generation(&dir);
    dir.polycgi(&["stop"]).success();
    until_none(&dir);
    remove_temporary_folders(&dir);
}

#[test]
fn an_idle_daemon() {
    let dir = started("idle-timeout = 1s\nmin-lifetime = 0s\n");
    until_none(&dir);
}

#[test]
fn an_import_that_a_fork_would_break() {
    let dir = started("env.THREAD = 1\n");
    dir.polycgi(&["stop"]).success();
    until_none(&dir);
}

/// multiprocessing itself would wait at exit for such a process, for ever.
#[test]
fn a_process_that_is_waited_for_at_exit() {
    for preload in ["on", "off"] {
        let dir = Dir::new();
        put(&dir, "");
        let config = format!("{CONFIG}preload = {preload}\nenv.JOINED = 1\n");
        dir.app_file("app", &config);
        get(&dir, "/");
        dir.polycgi(&["stop"]).success();
        until_none(&dir);
    }
}

#[test]
fn an_upgrade() {
    let (dir, _) = with_own_polycgi(CONFIG);
    put(&dir, "");
    get(&dir, "/");
    until_one_generation(&dir);
    let before = zygote(&dir);
    install(&dir, &installed("polycgi"));
    dir.until_status("another zygote", |_| {
        get(&dir, "/");
        dir.processes().len() == ALL && zygote(&dir) != before
    });
    dir.polycgi(&["stop"]).success();
    until_none(&dir);
}

/// Until a request of the old code ends, the processes that its import started live.
#[test]
fn a_request_that_goes_on_over_an_edit() {
    let dir = Dir::new();
    put(&dir, "");
    dir.app_file(
        "app",
        "wsgi = starts:application\nmode = daemon\nmax-procs = 2\n",
    );
    get(&dir, "/");
    let mut gate = dir.gate("gate");
    let held = cgi::start_front(&dir.join("cgi-bin/app"), "/held");
    gate.entered();
    put(&dir, "# edited\n");
    dir.until_status("generation = 2", |status| {
        get(&dir, "/");
        status.iter().any(|line| line == "generation = 2")
    });
    gate.open(1);
    assert_eq!(held.end().response().ok(), "held");
    dir.polycgi(&["stop"]).success();
    until_none(&dir);
}

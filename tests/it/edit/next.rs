//! Edits while no request comes: the very next one runs the new code, whatever was edited and however.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use super::{Answer, Edited, LOOK_INTERVAL, app_lines, edit, module};
use crate::util::{Deadline, Dir, as_user, cgi, pause, run};

/// With nothing else running the very next request runs the new code, even if the edit was made just before it.
#[track_caller]
fn the_next_request_runs_the_edit(config: &str) {
    let edited = Edited::served(config);
    for version in 1..=6 {
        pause(LOOK_INTERVAL);
        edited.edit(version);
        assert_eq!(edited.ask().version, version);
    }
}

#[test]
fn the_next_request_runs_the_new_code() {
    the_next_request_runs_the_edit("");
}

#[test]
fn the_next_request_runs_the_new_code_without_preload() {
    the_next_request_runs_the_edit("preload = off\n");
}

/// The same for the requests of a browser's page, which come at the same time: all run the new code.
#[test]
fn a_crowd_after_an_edit_runs_the_new_code() {
    let edited = Edited::served("max-procs = 4\n");
    for version in 1..=3 {
        pause(LOOK_INTERVAL);
        edited.edit(version);
        let fronts: Vec<_> = (0..8).map(|_| cgi::start_front(&edited.app, "/")).collect();
        for front in fronts {
            let answer = Answer::parse(&front.end().response().ok());
            assert_eq!(answer.version, version);
        }
    }
}

#[test]
fn a_module_that_was_imported_late() {
    let edited = Edited::served("");
    assert_eq!(edited.said("/lazy"), "000");
    for version in 1..=3 {
        pause(LOOK_INTERVAL);
        edit(&edited.dir, "lazy", version);
        assert_eq!(edited.said("/lazy"), format!("{version:03}"));
    }
}

/// The modification time, which Python compares, is put back; the old code's `.pyc` is there.
#[test]
fn an_edit_with_its_time_put_back() {
    let edited = Edited::served("");
    let file = edited.dir.join("apps/version.py");
    let modified = || {
        let metadata = fs::metadata(&file).expect("a module is there");
        (metadata.mtime(), metadata.mtime_nsec(), metadata.size())
    };
    let put_back = |to: SystemTime| {
        let file = fs::File::options().write(true).open(&file);
        let file = file.expect("a module can be opened");
        file.set_modified(to).expect("a time can be set");
    };
    let old = SystemTime::now() - Duration::from_secs(3600);
    put_back(old);
    compile(&edited.dir);
    let before = modified();
    for version in [1, 3] {
        pause(LOOK_INTERVAL);
        edited.edit(version);
        put_back(old);
        assert_eq!(modified(), before);
        assert_eq!(edited.ask().version, version);
    }
}

/// Leaves a `.pyc` of the module as it is now.
#[track_caller]
fn compile(dir: &Dir) {
    let mut python = as_user("/usr/bin/python3");
    python.args(["-m", "py_compile"]);
    run(python.arg(dir.join("apps/version.py")), b"").success();
    let compiled = dir.join("apps/__pycache__");
    let compiled = fs::read_dir(compiled).expect("Python makes this folder");
    assert!(compiled.flatten().any(|entry| {
        entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(b"version.")
    }));
}

#[test]
fn an_edit_of_the_app_file() {
    let edited = Edited::served("env.NAME = old\n");
    assert_eq!(edited.said("/name"), "old");
    pause(LOOK_INTERVAL);
    edited.configure("env.NAME = new\n");
    assert_eq!(edited.said("/name"), "new");
}

/// For a key that a daemon can't change while it lives, it leaves; the very request that shows it is served as edited.
#[test]
fn an_edit_that_wants_no_daemon() {
    let dir = Dir::new();
    let config = |mode| format!("wsgi = testapp:application\nmode = {mode}\n");
    let app = dir.app_file("app", &config("daemon"));
    let way = || cgi::start_front(&app, "/mark?name=x").end().response().ok();
    assert_eq!(way(), "x daemon\n");
    let daemon = dir.daemon();
    pause(LOOK_INTERVAL);
    dir.app_file("app", &config("cgi"));
    assert_eq!(way(), "x cgi\n");
    assert!(Deadline::soon().ended(daemon), "it has left");
    dir.app_file("app", &config("daemon"));
    assert_eq!(way(), "x daemon\n");
}

#[test]
fn an_edit_of_the_env_file() {
    let edited = Edited::served("");
    edited.dir.file("apps/secrets", "NAME=old\n", 0o600);
    pause(LOOK_INTERVAL);
    edited.configure("env-file = secrets\n");
    assert_eq!(edited.said("/name"), "old");
    pause(LOOK_INTERVAL);
    edited.dir.file("apps/secrets", "NAME=new\n", 0o600);
    assert_eq!(edited.said("/name"), "new");
}

#[test]
fn max_procs_can_be_edited() {
    let dir = Dir::new();
    let config = |most| format!("wsgi = testapp:application\nmode = daemon\nmax-procs = {most}\n");
    let app = dir.app_file("app", &config(1));
    let mut gate = dir.gate("gate");
    let first = cgi::start_front(&app, "/hold?gate=gate");
    let one = gate.entered();
    let second = cgi::start_front(&app, "/hold?gate=gate");
    dir.until_status_has("queue = 1");
    pause(LOOK_INTERVAL);
    dir.app_file("app", &config(3));
    // The next request makes the daemon read the file; now there is room for all three.
    let third = cgi::start_front(&app, "/hold?gate=gate");
    let others = [gate.entered(), gate.entered()];
    assert!(
        !others.contains(&one) && others[0] != others[1],
        "{one} {others:?}"
    );
    gate.open(3);
    let mut answered = [first, second, third].map(|front| {
        let pid = front.end().response().ok();
        pid.trim_end().parse::<i32>().expect("a process id")
    });
    let mut entered = [one, others[0], others[1]];
    answered.sort_unstable();
    entered.sort_unstable();
    assert_eq!(answered, entered);
}

/// Python finds its modules by a symlink, which changes; no file of either release does.
#[test]
fn a_release_that_is_a_symlink() {
    let dir = Dir::new();
    let current = dir.join("current");
    let new = dir.join("current.new");
    let release = |version: u32| {
        symlink(format!("release{version}"), &new).expect("a symlink can be made");
        fs::rename(&new, &current).expect("a symlink can be renamed");
    };
    for version in [1, 2] {
        dir.folder(&format!("release{version}"), 0o755);
        let name = format!("release{version}/version.py");
        dir.file(&name, &module(version), 0o644);
    }
    fs::remove_file(dir.join("apps/version.py")).expect("a module can be removed");
    let config = format!("env.PYTHONPATH = {}\n", current.display());
    let app = dir.app_file("app", &app_lines(&config));
    let told = Mutex::default();
    let edited = Edited { dir, app, told };
    for version in [1, 2, 1] {
        pause(LOOK_INTERVAL);
        release(version);
        assert_eq!(edited.ask().version, version);
    }
}

/// The first import too is used only if nothing changed meanwhile.
#[test]
fn an_edit_during_the_first_import() {
    const GATED: &str = "
import left
import testapp
testapp.pass_gate('gate')
import right

def application(environ, start_response):
    return testapp.text(start_response, '%s %s' % (left.VERSION, right.VERSION))
";
    let dir = Dir::new();
    dir.file("apps/own.py", GATED, 0o644);
    let app = dir.app_file("app", "wsgi = own:application\nmode = daemon\n");
    let mut gate = dir.gate("gate");
    let front = cgi::start_front(&app, "/");
    let zygote = gate.entered();
    edit(&dir, "left", 1);
    edit(&dir, "right", 1);
    gate.open(1);
    assert_eq!(
        gate.entered(),
        zygote,
        "imported again, in the same process"
    );
    gate.open(1);
    assert_eq!(front.end().response().ok(), "001 001");
}

//! Places of apps that are gone: a daemon that leaves has them removed, a day after they were first found so, and never
//! one that anything uses; a request that comes at that moment is served.

use std::os::unix::fs::{FileExt, chown};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::super::util::patient::PatientRead;
use super::super::util::process::kill_at_once;
use super::super::util::{Piped, Running, Watch, cgi};
use super::*;

const BASE: &str = "/tmp/polycgi-33";
const SCRIPT: &str = "cgi = /bin/true\nmode = cgi";

/// The place of the app whose name begins so.
fn place_of(world: &World, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(world.at(BASE)).expect("the runtime directory can be read");
    let mut paths = entries.flatten().map(|entry| entry.path());
    let begins = |path: &PathBuf| {
        let own = path.file_name().unwrap_or_default().to_string_lossy();
        own.starts_with(&format!("{name}-"))
    };
    paths.find(begins)
}

/// Makes the file two days old.
/// As if no request had come since the note was made: the times of requests in the file `slots` are blanked.
fn forget_requests(place: &Path) {
    let slots = fs::OpenOptions::new().write(true).open(place.join("slots"));
    slots
        .and_then(|slots| slots.write_all_at(&[0; 1024 * 8], 16 * 8))
        .expect("root can write it");
}

fn make_old(path: &Path) {
    run(
        Command::new("touch").args(["-d", "2 days ago"]).arg(path),
        b"",
    )
    .success();
}

fn sweep(world: &World) -> Command {
    let mut sweep = world.command(WWW_DATA, installed("polycgi"));
    sweep.args(["scgi-daemon", "--sweep", BASE, "app"]);
    sweep
}

#[test]
fn a_daemon_that_leaves_sweeps_once_a_day() {
    let Some(world) = World::new() else { return };
    let app = text_of(&world.app("app.cgi", CONFIG));
    let script = text_of(&world.app("script.cgi", SCRIPT));
    world.polycgi(WWW_DATA, &["request", &script]);
    let place = place_of(&world, "script").expect("it has a place");
    let start_and_stop = || {
        world.root(&["start", &app]).success();
        world.root(&["stop", &app]).success();
    };
    let note = place.join("gone");
    let mut watch = Watch::on(&place);
    fs::remove_file(&script).expect("root can remove a file");
    start_and_stop();
    assert!(watch.until(Deadline::soon(), || note.exists()), "no note");
    // A look changes nothing, and lists it no more.
    let before = world.listing();
    let all = world.root(&["status"]).success();
    assert_eq!(all.lines().count(), 1, "{all}");
    world::assert_same(&before, &world.listing(), "status");
    // The next daemon finds that the day is not over.
    make_old(&note);
    start_and_stop();
    assert!(place.exists());
    let mut watch = Watch::on(&world.at(BASE));
    make_old(&world.at(BASE).join(".swept"));
    forget_requests(&place);
    start_and_stop();
    assert!(
        watch.until(Deadline::soon(), || !place.exists()),
        "it stays"
    );
    let rest = || {
        fs::read_dir(world.at(BASE))
            .expect("it can be read")
            .count()
    };
    // The other app's place, and the time of the sweep.
    assert!(watch.until(Deadline::soon(), || rest() == 2), "{}", rest());
    assert!(place_of(&world, "app").is_some());
}

/// Holds a lock until its input ends. Words: how, and a path.
const HOLDER: &str = "import fcntl, os, sys
how, path = sys.argv[1:]
fd = os.open(path, os.O_RDONLY if how == 'place' else os.O_RDWR)
if how == 'place':
    fcntl.flock(fd, fcntl.LOCK_SH)
else:
    fcntl.lockf(fd, fcntl.LOCK_EX, 1, {'name': 0, 'slot': 1 << 32}[how])
print(flush=True)
sys.stdin.read()";

#[test]
fn what_is_used_or_back_is_not_removed() {
    let Some(world) = World::new() else { return };
    let script = text_of(&world.app("script.cgi", SCRIPT));
    world.polycgi(WWW_DATA, &["request", &script]);
    let place = place_of(&world, "script").expect("it has a place");
    let note = place.join("gone");
    let sweep = || run(&mut sweep(&world), b"").success();
    sweep();
    assert!(!note.exists(), "the app is there");
    let away = format!("{script}.away");
    fs::rename(&script, &away).expect("root can rename a file");
    sweep();
    sweep();
    assert!(note.exists() && place.exists(), "gone for less than a day");
    make_old(&note);
    fs::rename(&away, &script).expect("root can rename a file");
    sweep();
    assert!(!note.exists(), "the app is back");
    fs::rename(&script, &away).expect("root can rename a file");
    sweep();
    make_old(&note);
    sweep();
    assert!(!note.exists(), "a request came since");
    forget_requests(&place);
    sweep();
    make_old(&note);
    for (how, file) in [("place", ""), ("name", "lock"), ("slot", "slots")] {
        let path = place.join(file);
        let mut holder = world.command(WWW_DATA, "/usr/bin/python3");
        if how == "name" {
            run(world.command(WWW_DATA, "/usr/bin/touch").arg(&path), b"").success();
        }
        let mut holder = Piped::start(holder.args(["-c", HOLDER, how]).arg(&path));
        let mut said = Vec::new();
        assert!(holder.stdout.more(Deadline::soon(), &mut said), "{how}");
        sweep();
        assert!(place.exists(), "{how}");
        holder.stdin.take();
        holder.ended();
    }
    // Another user's sweep, and one of a folder that is not the user's own, do nothing.
    for (uid, base) in [(NOBODY, BASE), (WWW_DATA, "/tmp"), (0, BASE)] {
        let mut other = world.command(uid, installed("polycgi"));
        let output = run(other.args(["scgi-daemon", "--sweep", base, "app"]), b"");
        assert_eq!(output.status.code(), Some(77), "{uid} {base}");
        assert!(place.exists(), "{uid} {base}");
    }
    sweep();
    assert!(!place.exists(), "nothing uses it any more");
}

/// Fronts come while their place is removed, as when the app file comes back at that moment: the file `state` of the
/// place says that it is gone, which is what a sweep believes.
#[test]
fn a_request_that_comes_while_its_place_is_removed_is_served() {
    let Some(world) = World::new() else { return };
    let hello = world.dir.file(
        "apps/hello",
        "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\nhello\\n'\n",
        0o755,
    );
    let app = world.app(
        "app.cgi",
        &format!("cgi = {}\nmode = daemon", hello.display()),
    );
    let front = || {
        let mut front = world.command(WWW_DATA, &app);
        front.envs(cgi::meta("GET", "/", &[])).stdin(Stdio::null());
        Running::start(&mut front, b"")
    };
    // Another app at the path of this one, as after a deployment.
    let other = text_of(&world.app("other.cgi", SCRIPT));
    let (mut removed, mut round) = (0, 0);
    let deadline = Deadline::after(ROUNDS_TIME);
    while round < ROUNDS || removed == 0 {
        // The fault occurs: some of them were removed before a front had them.
        assert!(
            round < ROUNDS || !deadline.left().is_zero(),
            "no place was removed"
        );
        front().end().response().ok();
        for daemon in world.dir.all_daemons() {
            kill_at_once(daemon);
        }
        let place = place_of(&world, "app").expect("it has a place");
        let before = identity(&place);
        let state = place.join("state");
        fs::write(&state, format!("app={other}\n")).expect("root can write a file");
        chown(&state, Some(WWW_DATA), None).expect("root can give a file away");
        // Of a round whose sweep came too late.
        let _ = fs::remove_file(place.join("gone"));
        run(&mut sweep(&world), b"").success();
        make_old(&place.join("gone"));
        forget_requests(&place);
        let mut fronts = Vec::new();
        let mut sweeping = None;
        for nth in 0..FRONTS {
            if nth == round % 2 {
                sweeping = Some(Running::start(&mut sweep(&world), b""));
            }
            fronts.push(front());
        }
        for front in fronts {
            let output = front.end();
            assert_eq!(output.stderr, "", "round {round}");
            assert_eq!(output.response().ok(), "hello\n", "round {round}");
        }
        sweeping.expect("it was started").end().success();
        assert_eq!(world.dir.all_daemons().len(), 1, "round {round}");
        removed += usize::from(identity(&place) != before);
        round += 1;
    }
    println!("{removed} of {round} places were removed");
}

/// So many rounds, and more until the fault has occurred.
const ROUNDS: usize = 30;
const ROUNDS_TIME: Duration = Duration::from_secs(120);
const FRONTS: usize = 4;

fn identity(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().map(|found| found.ino())
}

//! New code when an operator says so: by restart.txt, by `polycgi reload`, by SIGHUP.

use nix::sys::signal::Signal;

use super::{Edited, LOOK_INTERVAL, generation, generations, module};
use crate::util::process::send;
use crate::util::{Deadline, Dir, cgi, daemon, pause};

#[test]
fn restart_txt() {
    for reload in ["auto", "touch"] {
        let edited = Edited::served(&format!("reload = {reload}\n"));
        pause(LOOK_INTERVAL);
        edited.ask();
        assert_eq!(edited.generation(), 1, "nothing has changed");
        // The file is made, and touched.
        for number in [2, 3] {
            pause(LOOK_INTERVAL);
            edited.dir.file("apps/restart.txt", "", 0o644);
            edited.ask();
            assert_eq!(edited.generation(), number);
            assert_eq!(generations(&edited.dir).len(), number, "imported anew");
        }
    }
}

#[test]
fn touch_looks_at_no_module() {
    let edited = Edited::served("reload = touch\n");
    pause(LOOK_INTERVAL);
    edited.edit(1);
    edited.ask_for_several_looks(0);
    pause(LOOK_INTERVAL);
    edited.dir.file("apps/restart.txt", "", 0o644);
    assert_eq!(edited.ask().version, 1);
    pause(LOOK_INTERVAL);
    edited.configure("reload = touch\nenv.NAME = new\n");
    assert_eq!(edited.said("/name"), "new");
}

#[test]
fn off_looks_at_nothing() {
    let edited = Edited::served("reload = off\n");
    edited.edit(1);
    edited.dir.file("apps/restart.txt", "", 0o644);
    edited.configure("reload = off\nenv.NAME = new\n");
    edited.ask_for_several_looks(0);
    assert_eq!(edited.said("/name"), "none");
    assert_eq!(edited.generation(), 1);
    // `polycgi reload` loads the code, and the configuration too.
    edited.dir.polycgi(&["reload"]).success();
    assert_eq!(edited.ask().version, 1);
    assert_eq!(edited.said("/name"), "new");
}

#[test]
fn reload_by_hand() {
    let edited = Edited::served("");
    let mut before = edited.ask().pid;
    for (number, by) in ["reload", "SIGHUP", "reload", "SIGHUP"].iter().enumerate() {
        let generation = number + 2;
        if *by == "reload" {
            // The command waits until the new generation is in force.
            edited.dir.polycgi(&["reload"]).success();
            assert_eq!(edited.generation(), generation);
        } else {
            send(edited.dir.daemon(), Signal::SIGHUP);
            edited
                .dir
                .until_status_has(&format!("generation = {generation}"));
        }
        let pid = edited.ask().pid;
        assert_ne!(pid, before, "{by}");
        before = pid;
        assert_eq!(
            edited.logged(&format!("reload: generation={generation} ")),
            1
        );
    }
}

#[test]
fn reload_by_hand_that_fails() {
    let edited = Edited::served("reload = off\n");
    edited.replace("version", "VERSION = '001\n");
    let output = edited.dir.polycgi(&["reload"]);
    assert_eq!(output.status.code(), Some(69), "{}", output.stderr);
    assert!(output.stderr.contains("SyntaxError"), "{}", output.stderr);
    edited.was_told_once("can't be loaded, the old code goes on serving: SyntaxError");
    assert_eq!(edited.ask().version, 0);
    edited.configure("reload = off\nmax-porcs = 3\n");
    let output = edited.dir.polycgi(&["reload"]);
    assert_ne!(output.status.code(), Some(0));
    assert!(output.stderr.contains("max-porcs"), "{}", output.stderr);
    edited.was_told_once("is wrong, the old configuration goes on: ");
    assert_eq!(edited.ask().version, 0);
    edited.configure("reload = off\n");
    edited.replace("version", &module(2));
    edited.dir.polycgi(&["reload"]).success();
    assert_eq!(edited.ask().version, 2);
    // Without a daemon it does nothing, and says so.
    daemon::with_its_children(edited.dir.daemon(), || {
        edited.dir.polycgi(&["stop"]).success();
    });
    let output = edited.dir.polycgi(&["reload"]);
    assert_eq!(output.status.code(), Some(0), "{}", output.stderr);
    assert!(
        !output.stdout.is_empty() || !output.stderr.is_empty(),
        "it says nothing"
    );
    assert!(edited.dir.all_daemons().is_empty(), "it starts no daemon");
}

/// A request under way is finished by the code that began it; requests that come meanwhile run the new code.
#[test]
fn reload_does_not_wait_for_requests_under_way() {
    let dir = Dir::new();
    let app = dir.app_file(
        "app",
        "wsgi = testapp:application\nmode = daemon\nmax-procs = 2\n",
    );
    let mut gate = dir.gate("gate");
    let held = cgi::start_front(&app, "/hold?gate=gate");
    let old = gate.entered();
    dir.polycgi(&["reload"]).success();
    let hello = cgi::start_front(&app, "/hello").end().response().ok();
    assert_ne!(hello, format!("hello from {old}\n"));
    assert_eq!(generation(&dir), 2);
    gate.open(1);
    assert_eq!(held.end().response().ok(), format!("{old}\n"));
    assert!(Deadline::soon().ended(old), "it gets no request any more");
}

//! Edits that can't be imported: the old code goes on serving, and the operator reads of it once.

use std::fs;

use super::{Edited, LOOK_INTERVAL, edit, module};
use crate::util::{Deadline, Load, cgi, pause};

#[test]
fn a_broken_edit_leaves_the_old_code_serving() {
    the_old_code_serves("");
}

#[test]
fn a_broken_edit_leaves_the_old_code_serving_without_preload() {
    the_old_code_serves("preload = off\n");
}

#[track_caller]
fn the_old_code_serves(config: &str) {
    let edited = Edited::served(config);
    pause(LOOK_INTERVAL);
    edited.replace("version", "VERSION = '001\n");
    edited.ask_for_several_looks(0);
    edited.ask_until_logged("reload failed", 1, 0);
    edited.dir.until_logged("SyntaxError");
    let log = edited.dir.daemon_log();
    assert_eq!(edited.logged("reload failed"), 1, "{config}{log}");
    assert!(log.contains("app: "), "no traceback: {config}{log}");
    let failure = edited.last_failure();
    assert!(failure.contains("SyntaxError"), "{config}{failure}");
    edited.was_told_once("can't be loaded, the old code goes on serving: SyntaxError");
    // Another reason is logged as well.
    pause(LOOK_INTERVAL);
    edited.replace("version", "VERSION = '%03d' % undefined\n");
    edited.ask_for_several_looks(0);
    edited.ask_until_logged("reload failed", 2, 0);
    edited.was_told_once("can't be loaded, the old code goes on serving: NameError");
    let log = edited.dir.daemon_log();
    assert_eq!(edited.logged("reload failed"), 2, "{config}{log}");
    assert!(edited.last_failure().contains("NameError"));

    // Another edit with the same reason: the person who has made it is told so.
    pause(LOOK_INTERVAL);
    edited.replace("version", "VERSION = '%04d' % undefined\n");
    edited.ask_for_several_looks(0);
    edited.was_told_once("can't be loaded, the old code goes on serving: NameError");

    pause(LOOK_INTERVAL);
    edited.replace("version", &module(2));
    assert_eq!(edited.ask().version, 2, "{config}");
    assert_eq!(edited.last_failure(), "null", "{config}");
    pause(LOOK_INTERVAL);
    edited.edit(3);
    assert_eq!(edited.ask().version, 3, "{config}");
}

/// With `max-procs = 1` the new code needs the only worker's place; its failure is told as a failure, not as overload.
#[test]
fn a_broken_edit_of_one_worker_is_told_as_such() {
    let edited = Edited::served("preload = off\nmax-procs = 1\nqueue-timeout = SECOND\n");
    pause(LOOK_INTERVAL);
    edited.replace("version", "VERSION = '001\n");
    let reply = cgi::start_front(&edited.app, "/").end();
    let reply = cgi::reply(&reply.stdout);
    assert_eq!(reply.status(), 500, "{}", reply.text());
    let failure = edited.last_failure();
    assert!(failure.contains("SyntaxError"), "{failure}");
    edited.replace("version", &module(2));
    let deadline = Deadline::soon();
    loop {
        let reply = cgi::start_front(&edited.app, "/").end();
        let reply = cgi::reply(&reply.stdout);
        if reply.status() == 200 {
            assert!(
                reply.text().starts_with("2 ") || reply.text().starts_with("002 "),
                "{}",
                reply.text()
            );
            break;
        }
        assert_eq!(reply.status(), 500, "{}", reply.text());
        assert!(!deadline.left().is_zero(), "the mended edit is not served");
    }
}

/// Under load no request waits for an edit, and none fails by a broken one.
#[test]
fn a_broken_edit_under_load() {
    let edited = Edited::served("");
    let answers = Load::beside(
        4,
        |_, _| edited.ask().version,
        |load| {
            edited.replace("version", "VERSION = '001\n");
            let deadline = Deadline::soon();
            while edited.logged("reload failed") == 0 {
                load.assert_goes_on();
                assert!(!deadline.left().is_zero(), "the code was not looked at");
                edited.ask();
            }
            edited.replace("version", &module(2));
            while edited.ask().version != 2 {
                load.assert_goes_on();
                assert!(!deadline.left().is_zero(), "the mended edit is not served");
            }
        },
    );
    edited.was_told_once("SyntaxError");
    for answers in answers {
        assert!(answers.is_sorted(), "{answers:?}");
        assert!(answers.iter().all(|version| [0, 2].contains(version)));
    }
    assert_eq!(
        edited.logged("reload failed"),
        1,
        "{}",
        edited.dir.daemon_log()
    );
}

#[test]
fn a_missing_module_is_found_when_it_is_there() {
    let edited = Edited::served("");
    pause(LOOK_INTERVAL);
    edited.replace("version", "from newer import VERSION\n");
    edited.ask_for_several_looks(0);
    edited.ask_until_logged("reload failed", 1, 0);
    edited.dir.until_logged("No module named 'newer'");
    assert_eq!(edited.logged("reload failed"), 1);
    edited.was_told_once("No module named 'newer'");
    pause(LOOK_INTERVAL);
    edited.replace("newer", &module(2));
    assert_eq!(edited.ask().version, 2);
    // The file is watched from now on.
    pause(LOOK_INTERVAL);
    edit(&edited.dir, "newer", 3);
    assert_eq!(edited.ask().version, 3);
}

/// A module that is removed is an edit that can't be imported.
#[test]
fn a_module_that_goes_and_comes() {
    let edited = Edited::served("");
    pause(LOOK_INTERVAL);
    let module_file = edited.dir.join("apps/version.py");
    fs::remove_file(&module_file).expect("a module can be removed");
    assert_eq!(edited.ask().version, 0);
    edited.ask_until_logged("reload failed", 1, 0);
    assert_eq!(edited.logged("reload failed"), 1);
    edited.was_told_once("No module named 'version'");
    pause(LOOK_INTERVAL);
    edited.replace("version", &module(2));
    assert_eq!(edited.ask().version, 2);
}

#[test]
fn a_wrong_app_file_leaves_the_old_one_in_force() {
    let edited = Edited::served("env.NAME = old\n");
    pause(LOOK_INTERVAL);
    edited.configure("env.NAME = wrong\nmax-porcs = 3\n");
    edited.ask_for_several_looks(0);
    assert_eq!(edited.said("/name"), "old");
    assert_eq!(edited.generation(), 1);
    let log = edited.dir.daemon_log();
    let said = log.lines().filter(|line| line.contains("max-porcs"));
    assert_eq!(said.count(), 1, "{log}");
    let failure = edited.last_failure();
    assert!(failure.contains("max-porcs"), "{failure}");
    edited.was_told_once("is wrong, the old configuration goes on: ");
    // Edits of the code are still seen.
    pause(LOOK_INTERVAL);
    edited.edit(1);
    assert_eq!(edited.ask().version, 1);
    assert_eq!(edited.said("/name"), "old");

    pause(LOOK_INTERVAL);
    edited.configure("env.NAME = right\n");
    assert_eq!(edited.said("/name"), "right");
    assert_eq!(edited.last_failure(), "null");
}

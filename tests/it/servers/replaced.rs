//! A new server in the place of one that serves.

use std::fs;

use crate::leaving::{install, with_own_polycgi};
use crate::util::served::pid_in;
use crate::util::{Deadline, Load, installed, process};

use super::{Own, SERVER};

#[test]
fn a_reload_loses_no_request() {
    let own = Own::new("", "max-procs = 4\n");
    let first = own.hello();
    let mut gate = own.dir.gate("gate");
    let held = own.front("/hold?gate=gate");
    assert_eq!(gate.entered(), first);
    let answers = Load::beside(
        3,
        |_, _| own.hello(),
        |load| {
            for round in 1..=5 {
                own.dir.polycgi(&["reload"]).success();
                let deadline = Deadline::soon();
                while own.marks("start") <= round || own.server().1 != "up" {
                    load.assert_goes_on();
                    assert!(!deadline.left().is_zero(), "{}", own.dir.daemon_log());
                }
            }
        },
    )
    .concat();
    assert!(answers.len() > 10);
    // The old server finishes its requests.
    gate.open(1);
    assert_eq!(pid_in(&held.end().response().ok()), first);
    assert!(Deadline::soon().ended(first), "it was told to end");
    let last = own.hello();
    own.dir.until_status("one server", |_| {
        process::children(own.dir.daemon()) == [last]
    });
    assert_eq!(own.dir.starts(), 1);
    let log = own.dir.daemon_log();
    assert!(!log.contains("error:"), "{log}");
}

#[test]
fn where_the_new_one_fails_the_old_one_goes_on() {
    let own = Own::new("fails=broken", "");
    let first = own.hello();
    own.dir.file("apps/broken", "", 0o600);
    own.dir.polycgi(&["reload"]).success();
    let mut told = String::new();
    let mut ask = || {
        let (reply, words) = own.told("/hello");
        told += &words;
        assert_eq!(pid_in(&reply.ok()), first);
    };
    let deadline = Deadline::soon();
    while own.marks("fails") == 0 {
        assert!(!deadline.left().is_zero());
        ask();
    }
    own.dir.until_logged("exit status 3");
    ask();
    // The web server's log is told as well, once.
    let line = "polycgi: scgi-daemon: app: GET /cgi-bin/app/hello: the new server can't be started, \
                the old one goes on: the server ended before its first answer: exit status 3\n\
                it cannot start: the database is away\n";
    assert_eq!(told, line);
    own.dir.until_logged("exit status 3");
    let log = own.dir.daemon_log();
    assert_eq!(log.matches("exit status 3").count(), 1, "{log}");
    fs::remove_file(own.dir.join("apps/broken")).expect("a file can be removed");
    own.dir.polycgi(&["reload"]).success();
    assert_ne!(own.hello(), first);
    assert!(Deadline::soon().ended(first));
}

#[test]
fn touching_a_file_makes_a_new_one() {
    for (config, file) in [
        ("", "apps/restart.txt"),
        ("watch = ../spool/*.ini", "spool/site.ini"),
    ] {
        let own = Own::new("", config);
        let first = own.hello();
        own.dir.file(file, "", 0o600);
        let deadline = Deadline::soon();
        while own.hello() == first {
            assert!(!deadline.left().is_zero(), "{}", own.dir.daemon_log());
        }
        assert!(Deadline::soon().ended(first));
        assert_eq!(own.marks("start"), 2);
    }
}

#[test]
fn another_command_in_the_app_file_is_the_next_server_s() {
    let own = Own::new("", "");
    let first = own.hello();
    own.dir.app_file("app", &format!("{SERVER} idle=1000\n"));
    let deadline = Deadline::soon();
    while own.hello() == first {
        assert!(!deadline.left().is_zero(), "{}", own.dir.daemon_log());
    }
    assert_eq!(own.dir.starts(), 1);
    // A server that can't be run changes nothing.
    let second = own.hello();
    own.dir.app_file("app", "scgi = ./no-such-server\n");
    let reload = own.dir.polycgi(&["reload"]);
    assert!(!reload.status.success());
    assert!(
        reload.stderr.contains("no-such-server"),
        "{}",
        reload.stderr
    );
    let (reply, told) = own.told("/hello");
    assert_eq!(pid_in(&reply.ok()), second);
    assert!(told.contains("no-such-server"), "{told}");
}

#[test]
fn an_upgrade_ends_it_and_loses_no_request() {
    let (dir, app) = with_own_polycgi(&format!("{SERVER}\n"));
    let own = Own { dir, app };
    let first = own.hello();
    let daemon = own.dir.daemon();
    Load::beside(
        2,
        |_, _| own.hello(),
        |load| {
            install(&own.dir, &installed("polycgi"));
            let deadline = Deadline::soon();
            while !own.dir.daemon_log().contains("info: upgrade: ") {
                load.assert_goes_on();
                assert!(!deadline.left().is_zero(), "{}", own.dir.daemon_log());
            }
        },
    );
    assert!(Deadline::soon().ended(first));
    let last = own.hello();
    own.dir.until_status("one server", |_| {
        process::children(own.dir.daemon()) == [last]
    });
    assert_eq!(own.dir.daemon(), daemon);
}

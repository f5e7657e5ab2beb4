//! A server that leaves, crashes, hangs or is killed, and what becomes of the requests.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::util::process::{is_alive, kill_at_once, send, sockets_in};
use crate::util::served::pid_in;
use crate::util::{Chance, Deadline, Load, Running, cgi, daemon, pause};

use super::Own;

#[test]
fn one_that_leaves_comes_back_and_no_request_is_lost() {
    let own = Own::new("idle=0.05", "");
    let chance = Chance::new();
    let answers = Load::beside(
        3,
        |client, number| {
            pause(
                chance
                    .of(client * 1000 + number)
                    .below(Duration::from_millis(120)),
            );
            own.hello()
        },
        |load| {
            let deadline = Deadline::soon();
            while own.marks("start") < 12 {
                load.assert_goes_on();
                assert!(!deadline.left().is_zero(), "{}", own.dir.daemon_log());
            }
        },
    );
    assert!(answers.concat().len() >= 12);
    assert_eq!(own.dir.starts(), 1, "one daemon for all of them");
    own.until_down();
    let log = own.dir.daemon_log();
    assert!(!log.contains("error:") && !log.contains("warn:"), "{log}");
}

#[test]
fn whom_a_dead_server_had_not_accepted_the_next_one_serves() {
    let own = Own::new("", "max-procs = 20\n");
    let first = own.hello();
    send(first, Signal::SIGSTOP);
    let fronts: Vec<Running> = (0..8).map(|_| own.front("/hello")).collect();
    own.dir.until_status("8 under way", |status| {
        daemon::workers_that_are(status, "busy") == 8
    });
    kill_at_once(first);
    let mut pids: Vec<i32> = fronts
        .into_iter()
        .map(|front| pid_in(&front.end().response().ok()))
        .collect();
    pids.dedup();
    assert_eq!(pids.len(), 1, "one server for all of them: {pids:?}");
    assert_ne!(pids[0], first);
    assert_eq!(own.marks("start"), 2);
    assert!(
        own.dir.daemon_log().contains("SIGKILL"),
        "{}",
        own.dir.daemon_log()
    );
}

#[test]
fn killed_under_load_it_costs_only_those_that_it_had() {
    let own = Own::new("", "max-procs = 4\n");
    own.hello();
    let answers = Load::beside(
        4,
        |_, _| {
            let reply = own.told("/hello").0;
            if reply.status() == 200 {
                assert!(reply.text().starts_with("hello from "), "{}", reply.text());
            }
            reply.status()
        },
        |load| {
            for round in 1..=5 {
                let deadline = Deadline::soon();
                let pid = loop {
                    load.assert_goes_on();
                    assert!(!deadline.left().is_zero(), "{}", own.dir.daemon_log());
                    if let (Some(pid), state) = own.server()
                        && state == "up"
                    {
                        break pid;
                    }
                };
                kill_at_once(pid);
                let deadline = Deadline::soon();
                while own.marks("start") <= round {
                    load.assert_goes_on();
                    assert!(!deadline.left().is_zero(), "{}", own.dir.daemon_log());
                }
            }
        },
    )
    .concat();
    let lost = answers.iter().filter(|&&status| status != 200).count();
    assert!(
        answers.iter().all(|status| [200, 502].contains(status)),
        "{answers:?}"
    );
    assert!(lost <= 5 * 4, "{lost} of {}", answers.len());
    own.hello();
}

#[test]
fn what_a_server_does_wrong_is_a_502_and_hurts_no_other_request() {
    let own = Own::new("", "");
    let first = own.hello();
    for target in ["/nothing", "/half", "/nonsense"] {
        let (reply, log) = own.told(target);
        assert_eq!(reply.status(), 502, "{target}: {}", reply.text());
        assert!(!log.is_empty(), "{target}: the web server's log says why");
    }
    assert_eq!(own.hello(), first);
    for target in ["/crash", "/crash?at=head"] {
        let (reply, log) = own.told(target);
        assert_eq!(reply.status(), 502, "{target}: {log}");
        own.hello();
    }
    // After the head no page can be sent.
    let output = own.front("/crash?at=body").end();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.ends_with("\r\n\r\na line, and then no more\n"),
        "{text}"
    );
    assert_ne!(own.hello(), first);
    assert_eq!(own.marks("start"), 4);
}

#[test]
fn a_server_that_exits_after_each_answer_serves_all() {
    let own = Own::new("", "");
    let pids: Vec<i32> = (0..5).map(|_| pid_in(&own.get("/leave").ok())).collect();
    own.until_down();
    assert_eq!(own.marks("start"), 5, "{pids:?}");
}

#[test]
fn a_stuck_server_is_replaced_and_a_slow_request_is_only_ended() {
    let own = Own::new("", "request-timeout = SECOND\n");
    let mut gate = own.dir.gate("gate");
    let first = own.hello();
    let slow = own.front("/slow?gate=gate");
    gate.entered();
    assert_eq!(own.hello(), first);
    let output = slow.end();
    assert_eq!(cgi::reply(&output.stdout).status(), 504);
    assert!(
        output.stderr.contains("request-timeout"),
        "{}",
        output.stderr
    );
    assert_eq!(own.hello(), first, "it has served others meanwhile");

    let hangs = own.front("/hang?gate=gate");
    assert_eq!(gate.entered(), first);
    let output = hangs.end();
    assert_eq!(cgi::reply(&output.stdout).status(), 504);
    let second = own.hello();
    assert_ne!(second, first);
    assert!(!is_alive(first), "what was stuck is gone");
    assert_eq!(own.marks("start"), 2);
}

#[test]
fn stopping_ends_it_when_its_last_request_is_done() {
    let own = Own::new("", "");
    let server = own.hello();
    let (place, daemon) = (own.dir.place(), own.dir.daemon());
    let mut gate = own.dir.gate("gate");
    let held = own.front("/hold?gate=gate");
    gate.entered();
    own.dir.polycgi(&["stop", "--no-wait"]).success();
    assert!(is_alive(server));
    gate.open(1);
    assert_eq!(pid_in(&held.end().response().ok()), server);
    assert!(Deadline::soon().ended(daemon) && Deadline::soon().ended(server));
    let sockets = sockets_in(&place);
    assert!(sockets.is_empty(), "{sockets:?}");
    let mut left = own.dir.in_place();
    left.retain(|name| !["lock", "log", "slots", "state"].contains(&name.as_str()));
    assert_eq!(left, [""; 0]);
}

/// A killed daemon can't end its server: the server's end has to come by itself.
#[test]
fn it_does_not_outlive_a_daemon_that_is_killed() {
    let own = Own::new("", "");
    let first = own.hello();
    kill_at_once(own.dir.daemon());
    assert!(Deadline::soon().ended(first));
    assert_ne!(own.hello(), first);
    let names = own.dir.in_place();
    let sockets = names.iter().filter(|name| name.starts_with("app"));
    assert!(sockets.count() <= 2, "{names:?}");
}

//! The server of a daemon that stays, since the app file has `listen`.

use std::fs;

use crate::util::scgi::{ScgiClient, header};
use crate::util::served::pid_in;
use crate::util::{Deadline, Dir, Reply};

use super::Own;

/// An app with such a server that also listens at an address.
fn listening(words: &str, config: &str) -> Own {
    let dir = Dir::new();
    let path = dir.join("web");
    let config = format!("listen = {}\n{config}", path.display());
    Own::in_dir(dir, words, &config)
}

#[track_caller]
fn ask(own: &Own, target: &str) -> Reply {
    let mut client = ScgiClient::connect(&own.dir.join("web"));
    client.send(&header("GET", target, &[], 0)).reply()
}

#[test]
fn it_goes_when_idle_and_comes_with_the_next_request() {
    let own = listening("", "idle-timeout = 1s\nmin-lifetime = 1s\n");
    let first = own.hello();
    let daemon = own.dir.daemon();
    assert!(Deadline::soon().ended(first));
    own.dir.until_status_has("server = null");
    let second = pid_in(&ask(&own, "/hello").ok());
    assert_ne!(second, first);
    assert_eq!(own.dir.daemon(), daemon);
}

#[test]
fn one_that_can_not_be_started_is_tried_again() {
    let own = listening("fails=broken", "");
    own.dir.file("apps/broken", "", 0o600);
    assert_eq!(own.told("/hello").0.status(), 500);
    let daemon = own.dir.daemon();
    assert_eq!(ask(&own, "/hello").status(), 500);
    fs::remove_file(own.dir.join("apps/broken")).expect("a file can be removed");
    let deadline = Deadline::soon();
    while ask(&own, "/hello").status() != 200 {
        assert!(!deadline.left().is_zero(), "{}", own.dir.daemon_log());
    }
    assert_eq!(own.dir.daemon(), daemon, "it has stayed");
    assert_eq!(own.marks("start"), 1);
}

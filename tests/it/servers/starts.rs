//! A server that can't be started, alone and with a CGI beside it.

use std::fs;
use std::time::{Duration, Instant};

use crate::util::scgi::{ScgiClient, header};
use crate::util::served::{noise, pid_in};
use crate::util::{Deadline, Dir, Mpm, Running, Site, cgi, digest, under_both};

use super::{Own, SERVER, marks};

under_both!(a_failed_start_is_said_once_and_tried_again);

fn a_failed_start_is_said_once_and_tried_again(mpm: Mpm) {
    let mut site = Site::configured(mpm, 16, &format!("{SERVER} fails=broken\n"));
    site.dir.file("apps/broken", "", 0o600);
    let began = Instant::now();
    let reply = site.get("/hello");
    assert_eq!(reply.status(), 500, "{}", reply.text());
    assert!(!reply.text().contains("database"), "{}", reply.text());
    site.logged("exit status 3; it said:");
    site.logged("the database is away");
    assert_eq!(site.get("/hello").status(), 500);
    // A second attempt is right if the machine was so slow that the pause is over.
    assert!(marks(&site.dir, "fails") == 1 || began.elapsed() >= Duration::from_secs(1));
    let state = site.dir.status();
    assert!(
        state.iter().any(|line| line.contains("exit status 3")),
        "{state:?}"
    );
    fs::remove_file(site.dir.join("apps/broken")).expect("a file can be removed");
    let deadline = Deadline::soon();
    while site.get("/hello").status() == 500 {
        assert!(!deadline.left().is_zero(), "{}", site.dir.daemon_log());
    }
    assert_eq!(marks(&site.dir, "start"), 1);
    site.dir.until_status_has("last_failure = null");
    let log = site.log();
    let tries = marks(&site.dir, "fails");
    assert_eq!(log.matches("the database is away").count(), tries, "{log}");
}

#[test]
fn a_server_that_takes_no_connection_has_failed_to_start() {
    let own = Own::new("deaf=deaf", "start-timeout = SECOND\n");
    own.dir.file("apps/deaf", "", 0o600);
    let (reply, log) = own.told("/hello");
    assert!([500, 504].contains(&reply.status()), "{}", reply.text());
    assert!(log.contains("start-timeout"), "{log}");
    fs::remove_file(own.dir.join("apps/deaf")).expect("a file can be removed");
    let deadline = Deadline::soon();
    while own.told("/hello").0.status() != 200 {
        assert!(!deadline.left().is_zero(), "{}", own.dir.daemon_log());
    }
}

/// It answers no request before the test opens the gate.
#[test]
fn a_browser_is_told_that_a_server_starts_slowly() {
    let dir = Dir::new();
    let slow = "from testapp import pass_gate\npass_gate('gate')\nimport runpy\n\
                runpy.run_path('scgiserver.py', run_name='__main__')\n";
    dir.file("apps/slowserver.py", slow, 0o644);
    let app = dir.app_file(
        "app",
        "scgi = python3 slowserver.py\nmax-procs = 3\nstart-page-after = SECOND\n",
    );
    let own = Own { dir, app };
    let mut gate = own.dir.gate("gate");
    let accept = [("Accept", "text/html")];
    let curl = own.front("/hello");
    gate.entered();
    let browse = || Running::start(&mut cgi::front(&own.app, "GET", "/hello", &accept), b"");
    let told = browse().end().response();
    assert_eq!(told.status(), 503, "{}", told.text());
    assert!(told.text().contains("is starting"), "{}", told.text());
    own.dir.until_status_has("counts.starting = 1");
    let back = browse();
    gate.open(1);
    curl.end().response().ok();
    back.end().response().ok();
    own.dir.until_status_has("counts.daemon = 2");
    own.dir.until_status_has("server.state = \"up\"");
}

#[test]
fn one_that_is_held_is_not_called_busy() {
    let own = Own::new("", "");
    own.hello();
    own.dir.polycgi(&["stop", "--hold"]).success();
    own.dir.until_status_has("state = \"held\"");
    let (reply, log) = own.told("/hello");
    assert_eq!(reply.status(), 503, "{log}");
    assert!(
        reply.text().contains("not running just now"),
        "{}",
        reply.text()
    );
    assert_eq!(log.matches("is held by 'stop --hold'").count(), 1, "{log}");
    own.dir.polycgi(&["start"]).success();
    own.hello();
}

/// A CGI beside the server.
fn with_cgi(words: &str, config: &str) -> Own {
    let own = Own::new(words, &format!("cgi = ./plain\n{config}"));
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\nhello by CGI\\n'\n";
    own.dir.file("apps/plain", script, 0o755);
    own
}

#[test]
fn with_a_cgi_beside_it_the_load_decides() {
    let own = with_cgi("", "daemon-when-rate = 3/s\ndaemon-when-load = 1000\n");
    assert_eq!(own.get("/hello").ok(), "hello by CGI\n");
    assert_eq!(own.dir.all_daemons(), [0; 0]);
    let deadline = Deadline::soon();
    while own.get("/hello").ok() == "hello by CGI\n" {
        assert!(!deadline.left().is_zero(), "{}", own.dir.daemon_log());
    }
    own.hello();
}

#[test]
fn with_a_cgi_beside_it_a_broken_server_costs_no_request() {
    let own = with_cgi("fails=broken", "mode = daemon\n");
    own.dir.file("apps/broken", "", 0o600);
    for _ in 0..5 {
        assert_eq!(own.get("/hello").ok(), "hello by CGI\n");
    }
    let daemon = own.dir.daemon();
    // A CGI's answer says nothing of the server.
    own.dir.until_status("its end is known", |status| {
        status.iter().any(|line| line.contains("exit status 3"))
    });
    fs::remove_file(own.dir.join("apps/broken")).expect("a file can be removed");
    let deadline = Deadline::soon();
    while own.get("/hello").ok() == "hello by CGI\n" {
        assert!(!deadline.left().is_zero(), "{}", own.dir.daemon_log());
    }
    own.hello();
    assert_eq!(own.dir.daemon(), daemon, "the daemon has never left");
    let log = own.dir.daemon_log();
    assert_eq!(log.matches("error: ").count(), 1, "said once: {log}");
}

/// The server's program does not exist yet when the daemon starts.
#[test]
fn with_a_cgi_beside_it_a_missing_server_is_tried_again() {
    let dir = Dir::new();
    let app = dir.app_file("app", "cgi = ./plain\nscgi = ./later\nmode = daemon\n");
    let own = Own { dir, app };
    let plain = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\nhello by CGI\\n'\n";
    own.dir.file("apps/plain", plain, 0o755);
    assert_eq!(own.get("/hello").ok(), "hello by CGI\n");
    own.dir.until_status("what is missing is known", |status| {
        status.iter().any(|line| line.contains("No such file"))
    });
    let later = "#!/bin/sh\nexec python3 scgiserver.py\n";
    own.dir.file("apps/later", later, 0o755);
    let deadline = Deadline::soon();
    while own.get("/hello").ok() == "hello by CGI\n" {
        assert!(!deadline.left().is_zero(), "{}", own.dir.daemon_log());
    }
    own.hello();
    own.dir.until_status_has("last_failure = null");
    assert_eq!(own.dir.starts(), 1);
    let log = own.dir.daemon_log();
    assert_eq!(log.matches("error: ").count(), 1, "said once: {log}");
}

/// The CGI gets all of a request that the server was sent and has not read.
#[test]
fn a_request_that_a_server_never_took_runs_as_a_cgi() {
    let own = with_cgi("deaf=deaf", "mode = daemon\nstart-timeout = SECOND\n");
    own.dir.file("apps/deaf", "", 0o600);
    let script = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nsha256sum\n";
    own.dir.file("apps/plain", script, 0o755);
    let body = noise(2_000_000);
    let text = own.post("/", &body).ok();
    assert_eq!(text, format!("{}  -\n", digest(&body)));
    assert_eq!(own.get("/").ok(), format!("{}  -\n", digest(b"")));
    fs::remove_file(own.dir.join("apps/deaf")).expect("a file can be removed");
}

#[test]
fn one_that_dies_of_its_first_request_costs_only_that_one() {
    let own = with_cgi("dies=dies", "mode = daemon\n");
    own.dir.file("apps/dies", "", 0o600);
    let (reply, log) = own.told("/hello");
    assert_eq!(reply.status(), 502, "{log}");
    assert!(log.contains("exit status 4"), "{log}");
    assert_eq!(own.get("/hello").ok(), "hello by CGI\n");
    let alone = Own::new("dies=dies", "");
    alone.dir.file("apps/dies", "", 0o600);
    let (reply, log) = alone.told("/hello");
    assert_eq!(reply.status(), 500, "{log}");
    assert!(log.contains("it dies of its first request"), "{log}");
}

/// A server that has accepted a connection has started, however long the request takes.
#[test]
fn a_first_request_may_take_longer_than_a_start() {
    let own = Own::new("", "start-timeout = SECOND\n");
    own.dir.polycgi(&["start"]).success();
    let mut gate = own.dir.gate("gate");
    // More than a socket's buffer holds.
    let body = noise(900_000);
    let mut holds = ScgiClient::connect(&own.dir.socket());
    holds.send(&[header("POST", "/hold?gate=gate", &[], body.len()), body].concat());
    let server = gate.entered();
    assert!(!Deadline::after(Duration::from_millis(1500)).ended(server));
    gate.open(1);
    assert_eq!(pid_in(&holds.reply().ok()), server);
}

#[test]
fn a_first_client_that_hangs_up_says_nothing_against_a_server() {
    let own = Own::new("", "start-timeout = SECOND\n");
    own.dir.polycgi(&["start"]).success();
    let mut gate = own.dir.gate("gate");
    let gone = own.plain("/hold?gate=gate");
    let server = gate.entered();
    drop(gone);
    assert!(!Deadline::after(Duration::from_millis(1500)).ended(server));
    gate.open(1);
    assert_eq!(own.hello(), server, "{}", own.dir.daemon_log());
}

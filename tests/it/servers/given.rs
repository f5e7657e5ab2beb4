//! What a server is given, and that what goes to it and comes back is whole.

use std::fs;

use crate::util::patient::PatientRead;
use crate::util::process::kill_at_once;
use crate::util::scgi::{ScgiClient, header};
use crate::util::served::{assert_same, blocks, noise, pid_in};
use crate::util::{Deadline, Mpm, Piped, Running, Site, cgi, digest, under_both};

use super::{Own, SERVER};

under_both!(a_server_is_given_its_socket_and_nothing_of_the_web_server);

fn a_server_is_given_its_socket_and_nothing_of_the_web_server(mpm: Mpm) {
    let site = Site::configured(mpm, 16, &format!("{SERVER}\nenv.GREETING = good day\n"));
    let text = site.get("/process").ok();
    let pid = pid_in(&site.get("/hello").ok());
    let lines: Vec<&str> = text.lines().collect();
    for line in [
        "fd 0 listener blocking=True",
        "fd 1 pipe blocking=True",
        "fd 2 pipe blocking=True",
        "fd 3 listener blocking=True",
        "env LISTEN_FDS=1",
        "env GREETING=good day",
        "ignored []",
        "blocked []",
        &format!("env LISTEN_PID={pid}"),
        &format!("pid {pid}"),
        &format!("session {pid}"),
        &format!("group {pid}"),
        &format!("cwd {}", site.dir.join("apps").display()),
    ] {
        assert!(lines.contains(&line), "no {line:?} in:\n{text}");
    }
    let fds = lines.iter().filter(|line| line.starts_with("fd ")).count();
    assert_eq!(fds, 4, "{text}");
    // LC_CTYPE is the interpreter's own.
    let known = [
        "GREETING",
        "LANG",
        "LC_CTYPE",
        "LISTEN_FDS",
        "LISTEN_PID",
        "PATH",
        "TMPDIR",
    ];
    for line in lines.iter().filter_map(|line| line.strip_prefix("env ")) {
        let name = line.split('=').next().unwrap_or_default();
        assert!(known.contains(&name), "{line}");
    }
    let meta = site.get("/x/meta?y=z").ok();
    assert!(meta.starts_with("CONTENT_LENGTH=0\nSCGI=1\n"), "{meta}");
    for line in [
        "PATH_INFO=/x/meta",
        "QUERY_STRING=y=z",
        "REQUEST_METHOD=GET",
    ] {
        assert!(
            meta.lines().any(|shown| shown == line),
            "no {line} in:\n{meta}"
        );
    }
    for name in ["POLYCGI", "HTTP_PROXY", "PATH"] {
        let start = format!("{name}=");
        assert!(!meta.lines().any(|line| line.starts_with(&start)), "{meta}");
    }
}

#[test]
fn bodies_go_both_ways() {
    const SIZE: usize = 20_000_000;
    let own = Own::new("", "");
    let body = noise(SIZE);
    let expected = format!("{} {SIZE}\n", digest(&body));
    assert_eq!(own.post("/digest", &body).ok(), expected);
    assert_same(&own.get(&format!("/big?size={SIZE}")).body, &blocks(SIZE));
    assert_same(
        &own.post("/echo", &body[..5_000_000]).body,
        &body[..5_000_000],
    );
    let early = own.post("/early", &body);
    assert_eq!((early.status(), early.text().as_str()), (413, "too much\n"));
    let mut client = ScgiClient::connect(&own.dir.socket());
    client
        .send(&header("POST", "/digest", &[], SIZE))
        .send(&body);
    assert_eq!(client.reply().ok(), expected);
}

#[test]
fn a_response_streams() {
    let own = Own::new("", "");
    own.hello();
    let mut gate = own.dir.gate("gate");
    let mut front = Piped::start(&mut cgi::front(&own.app, "GET", "/streams?gate=gate", &[]));
    gate.entered();
    front.stdout.response_head();
    assert_eq!(front.stdout.exactly(4), b"one\n");
    gate.open(1);
    let (rest, log, status) = front.end();
    assert_eq!(String::from_utf8_lossy(&rest), "two\n", "{log}");
    assert!(status.success());
}

#[test]
fn what_it_says_goes_to_the_log() {
    let own = Own::new("", "");
    own.get("/says").ok();
    for line in ["a line on output", "a line on errors"] {
        let deadline = Deadline::soon();
        while !own.dir.daemon_log().contains(line) {
            assert!(!deadline.left().is_zero(), "{}", own.dir.daemon_log());
        }
    }
}

/// At once or late: if it binds late, requests are in the backlog of a socket that is not used any more.
#[test]
fn a_server_may_bind_the_path_by_itself() {
    for delay in ["0", "0.3", "0.9"] {
        let words = format!("bind={{socket}} delay={delay}");
        let own = Own::new(&words, "max-procs = 10\n");
        let fronts: Vec<Running> = (0..5).map(|_| own.front("/hello")).collect();
        let mut pids: Vec<i32> = fronts
            .into_iter()
            .map(|front| pid_in(&front.end().response().ok()))
            .collect();
        pids.dedup();
        assert_eq!(pids.len(), 1, "{pids:?}");
        kill_at_once(pids[0]);
        let second = own.hello();
        assert_ne!(second, pids[0]);
        own.dir.polycgi(&["reload"]).success();
        assert_ne!(own.hello(), second);
        assert!(Deadline::soon().ended(second));
    }
}

/// The socket's name was deleted, as by a cleaner of old files.
#[test]
fn a_server_whose_path_is_gone_is_started_again() {
    for words in ["", "bind={socket}"] {
        let own = Own::new(words, "");
        let first = own.hello();
        fs::remove_file(own.dir.place().join("app")).expect("a file can be removed");
        assert_ne!(own.hello(), first, "{words}");
        assert!(Deadline::soon().ended(first));
    }
}

/// A part of the body is in the old socket's backlog too.
#[test]
fn what_is_sent_again_is_whole() {
    let own = Own::new("bind={socket} delay=0.9", "");
    let body = noise(2_000_000);
    let expected = format!("{} 2000000\n", digest(&body));
    assert_eq!(own.post("/digest", &body).ok(), expected);
}

/// The server is told the path, and uses its descriptor.
#[test]
fn a_server_that_is_told_the_path_may_use_what_it_was_given() {
    let own = Own::new("path={socket}", "");
    let first = own.hello();
    assert_eq!(own.hello(), first);
    assert_eq!(own.marks("start"), 1);
}

#[test]
fn a_plain_client_and_a_front_get_the_same() {
    let own = Own::new("", "");
    let server = own.hello();
    assert_eq!(
        own.plain("/hello").reply().ok(),
        format!("hello from {server}\n")
    );
    assert_eq!(own.plain("/nothing").reply().status(), 502);
}

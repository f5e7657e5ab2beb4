//! The daemon's log, which holds 1 MB: other users' wrong requests are logged a few times, then counted; those of our
//! own user are always logged.

use super::super::util::scgi::{ScgiClient, header, netstring};
use super::super::util::strangers::{
    NOBODY, can_be_others, connect_many, connect_many_tcp, send_all, tests_uid,
};
use super::super::util::{Deadline, Reply};
use super::{Open, ask_as};

const EACH: usize = 300;

/// Messages that are logged, and the words of the line.
fn wrong_ones() -> Vec<(Vec<u8>, &'static str)> {
    let pairs = |more: &[(&'static str, &'static str)]| {
        let first = [("CONTENT_LENGTH", "0"), ("SCGI", "1")];
        netstring(first.into_iter().chain(more.iter().copied()))
    };
    let twice = [("HTTP_HOST", "one"), ("HTTP_HOST", "other")];
    vec![
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "begin with its length"),
        (b"3:abcd".to_vec(), "in a comma"),
        (b"3:abc,".to_vec(), "value and NUL"),
        (b"99999999:".to_vec(), "header-limit"),
        (netstring([("SCGI", "1")]), "CONTENT_LENGTH"),
        (netstring([("CONTENT_LENGTH", "0")]), "SCGI=1"),
        (pairs(&[("", "x")]), "empty name"),
        (pairs(&[("HTTP_A=B", "x")]), "'='"),
        (pairs(&twice), "came twice"),
        (pairs(&[("POLYCGI_CONTROL", "stop")]), "a command"),
    ]
}

fn lines_with(log: &str, words: &str) -> usize {
    log.lines().filter(|line| line.contains(words)).count()
}

#[test]
fn what_strangers_send_is_counted() {
    if !can_be_others() {
        return;
    }
    let open = Open::start("");
    for (message, _) in wrong_ones() {
        for _ in 0..EACH {
            let status = ask_as(&open.sock(), NOBODY, &message).status();
            assert!(status == 400 || status == 431, "{status}");
        }
    }
    let log = open.end();
    for (_, words) in wrong_ones() {
        assert_eq!(lines_with(&log, words), 2, "{words}: {log}");
        let first = log.lines().find(|line| line.contains(words));
        let first = first.expect("it is there");
        assert!(first.contains("uid 65534"), "{first}");
        let more = format!("{} more", EACH - 1);
        let said = |line: &&str| line.contains(words) && line.contains(&more);
        assert_eq!(log.lines().filter(said).count(), 1, "{words}: {log}");
    }
    assert!(log.len() < 16_384, "{} bytes", log.len());
}

/// A body that ends early, one that does not come in time, one that is too large, connections that have to go, users
/// and networks that may not connect.
#[test]
fn what_becomes_of_strangers_is_counted() {
    let open = Open::limited(
        Some(256),
        "request-timeout = 1s\nlisten-allow = 127.0.0.0/30 www-data\n",
    );
    let short = header("POST", "/digest", &[], 10);
    for _ in 0..EACH {
        let mut client = ScgiClient::connect_tcp([127, 0, 0, 1].into(), open.address);
        let reply: Reply = client.send(&short).send(b"x").end().reply();
        assert_eq!(reply.status(), 400);
        let mut other = ScgiClient::connect_tcp([127, 0, 0, 9].into(), open.address);
        assert!(other.rest().is_empty());
    }
    let idle = connect_many_tcp(open.address, EACH);
    let slow = connect_many_tcp(open.address, 30);
    send_all(&slow, &short);
    let deadline = Deadline::soon();
    for client in &slow {
        assert!(deadline.readable(client), "it is not told");
    }
    drop((idle, slow));
    let log = open.end();
    for (words, most) in [
        ("ended early", 2),
        ("did not come in time", 2),
        ("for want of room", 2),
        ("may not connect", 2),
    ] {
        let lines = lines_with(&log, words);
        assert!((1..=most).contains(&lines), "{words}: {log}");
    }
    assert!(log.len() < 16_384, "{} bytes", log.len());
}

/// Wrong requests from many addresses.
#[test]
fn many_origins_are_few_lines() {
    let open = Open::start("");
    for last in 1..=200 {
        let mut client = ScgiClient::connect_tcp([127, 0, 7, last].into(), open.address);
        assert_eq!(client.send(b"x").reply().status(), 400);
    }
    let log = open.end();
    assert!(lines_with(&log, "refused") < 20, "{log}");
    assert!(log.contains("127.0.7.1)"), "{log}");
}

#[test]
fn our_own_user_s_are_all_said() {
    let open = Open::start("");
    for path in [open.sock(), open.dir.socket()] {
        for client in connect_many(&path, tests_uid(), 20) {
            send_all(std::slice::from_ref(&client), b"x");
            assert!(Deadline::soon().readable(&client));
        }
    }
    assert_eq!(lines_with(&open.end(), "refused"), 40);
}

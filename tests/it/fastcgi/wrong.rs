//! FastCGI clients that send what is wrong, never end, or go at any moment, and apps that do.

use super::Server;
use crate::util::daemon::workers_that_are;
use crate::util::digest;
use crate::util::process::peak_memory;
use crate::util::records::{ABORT, PARAMS, STDIN, begin, body, header, pairs, record, request};
use crate::util::served::noise;

#[test]
fn wrong_records_close_their_connection_and_no_other() {
    let server = Server::start();
    let mut other = server.connect();
    assert!(other.ask("GET", "/hello", b"").ok().starts_with("hello"));
    let begun = begin(1, true);
    let header = header(1, true, "POST", "/digest", "5");
    let of_version_2 = [2, STDIN, 0, 1, 0, 0, 0, 0];
    for bytes in [
        [&[1, 2, 3][..], &[0; 40]].concat(),
        [&begun[..], &begun].concat(),
        [&begun[..], &of_version_2].concat(),
        [&header[..], &of_version_2].concat(),
        [&header[..], &record(PARAMS, 1, b"again")].concat(),
        record(1, 1, b"short"),
    ] {
        server.connect().send(&bytes).is_closed();
        server.is_well();
    }
    assert!(other.ask("GET", "/hello", b"").ok().starts_with("hello"));
    server.until_idle();
}

#[test]
fn headers_that_can_t_be_served_have_a_page() {
    let server = Server::with("header-limit = 8k\n");
    let mut kept = server.connect();
    let long = "x".repeat(20_000);
    for (pairs, status) in [
        (pairs([("REQUEST_METHOD", "GET"), ("HTTP_X", &long)]), 431),
        (pairs([("REQUEST_METHOD", "GET"), ("A=B", "x")]), 400),
        (pairs([("REQUEST_METHOD", "GET"), ("HTTP_X", "a\0b")]), 400),
        (
            pairs([("REQUEST_METHOD", "POST"), ("CONTENT_LENGTH", "-2")]),
            400,
        ),
        (vec![200, 1, 2], 400),
    ] {
        let bytes = [
            begin(1, status != 431),
            record(PARAMS, 1, &pairs),
            record(PARAMS, 1, b""),
            record(STDIN, 1, b""),
        ]
        .concat();
        let came = kept.send(&bytes).came(1);
        assert_eq!(came.reply().status(), status, "{came:?}");
        if status == 431 {
            kept.is_closed();
            kept = server.connect();
        }
    }
    server.is_well();
}

#[test]
fn a_body_of_another_length_than_was_said() {
    let server = Server::start();
    let mut kept = server.connect();
    let mut said = |length: &str, bytes: &[u8]| {
        let bytes = [header(1, true, "POST", "/digest", length), body(1, bytes)].concat();
        kept.send(&bytes).came(1).reply()
    };
    assert_eq!(said("9", b"short").status(), 400);
    // A subrequest has its first request's length, and no body.
    assert_eq!(said("9", b"").ok(), format!("{} 0\n", digest(b"")));
    let expected = format!("{} 5\n", digest(b"12345"));
    assert_eq!(said("5", b"12345 and more").ok(), expected);
    assert_eq!(
        said("5", &[b"12345", &noise(300_000)[..]].concat()).ok(),
        expected
    );
    server.is_well();
}

/// One asks and asks and reads nothing, one sends what belongs to no request, both as fast as they can.
#[test]
fn clients_that_never_end_cost_the_others_nothing() {
    let server = Server::with("max-procs = 1\n");
    let mut gate = server.dir.gate("runs");
    let mut asks = server.connect();
    asks.send(&request(1, true, "POST", "/gated-digest?gate=runs", b""));
    gate.entered();
    let unknown = record(99, 0, b"").repeat(2000);
    let of_another = record(STDIN, 9, &noise(60_000));
    let ends = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut skipped = server.connect();
            while !ends.load(std::sync::atomic::Ordering::Relaxed) {
                skipped.send(&of_another);
            }
        });
        // It is closed before it has taken much memory, and its worker is told.
        for _ in 0..500 {
            asks.send(&unknown);
        }
        while asks.record().is_some() {}
        gate.open(1);
        for _ in 0..20 {
            server.is_well();
        }
        ends.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(peak_memory(server.pid) < 64 << 20);
}

#[test]
fn an_abort_at_each_moment() {
    let server = Server::with("max-procs = 1\nrequest-timeout = 60s\n");
    let abort = record(ABORT, 1, b"");
    let header = header(1, true, "POST", "/digest", "5");
    let whole = request(1, true, "GET", "/endless?gate=runs", b"");
    for (nth, before) in [&begin(1, true)[..], &header, &header[..40]]
        .iter()
        .enumerate()
    {
        let mut kept = server.connect();
        kept.send(before);
        if nth < 2 {
            let came = kept.send(&abort).came(1);
            assert!(came.end.is_some(), "{came:?}");
            assert!(kept.ask("GET", "/hello", b"").ok().starts_with("hello"));
        }
        drop(kept);
    }
    let mut gate = server.dir.gate("runs");
    for closes in [false, true] {
        let mut kept = server.connect();
        kept.send(&whole);
        gate.entered();
        match closes {
            true => drop(kept),
            false => {
                let came = kept.send(&abort).came(1);
                assert!(
                    came.end.is_none_or(|(_, protocol)| protocol == 0),
                    "{came:?}"
                );
            }
        }
        // The worker is told, and does not go on for the rest of its ten seconds.
        server
            .dir
            .until_status("the worker", |status| workers_that_are(status, "busy") == 0);
        server.is_well();
    }
    let marks = std::fs::read_to_string(server.dir.join("apps/marks")).unwrap_or_default();
    assert_eq!(marks, "runs closed\nruns closed\n");
}

#[test]
fn a_worker_that_dies() {
    let server = Server::with("max-procs = 1\n");
    let mut gate = server.dir.gate("dies");
    gate.open(1);
    let mut kept = server.connect();
    let came = kept.ask("GET", "/end?how=_exit&gate=dies", b"");
    assert_eq!(came.status(), 502);
    // A part of a response is not called whole.
    let late = "/end?how=_exit&gate=dies&late=1";
    gate.open(1);
    let came = kept.send(&request(1, true, "GET", late, b"")).came(1);
    assert!(came.output.ends_with(b"first\n"), "{came:?}");
    assert_eq!(came.end, None);
    server.is_well();
}

#[test]
fn a_half_closed_connection_has_its_answer() {
    let server = Server::start();
    let mut client = server.connect();
    let bytes = request(1, true, "POST", "/digest", b"body");
    let came = client.send(&bytes).half_close().came(1);
    assert_eq!(came.reply().ok(), format!("{} 4\n", digest(b"body")));
    client.is_closed();
    // In the middle of a body it is the client's end.
    let mut client = server.connect();
    client.send(&header(1, true, "POST", "/digest", "5"));
    client.half_close().is_closed();
    server.until_idle();
    server.is_well();
}

//! Things that fail under a daemon that serves. Each fault is shown to have happened. What counts is the answer of
//! each request, and that the next one is right.

mod processes;
mod resources;

use super::util::{Deadline, Gate, Piped, Served};

/// A request that waits at a gate in a worker, and the worker's pid.
#[track_caller]
fn hold(served: &Served, gate: &mut Gate) -> (Piped, i32) {
    let front = served.front("/hold?gate=gate");
    (front, gate.entered())
}

#[track_caller]
fn assert_held(held: (Piped, i32)) {
    let (response, words, status) = held.0.end();
    assert!(status.success() && words.is_empty(), "{status}: {words}");
    let expected = format!("\r\n\r\n{}\n", held.1);
    assert!(response.ends_with(expected.as_bytes()));
}

/// Asks until the daemon has logged it.
#[track_caller]
fn until_logged(served: &Served, text: &str) {
    let deadline = Deadline::soon();
    while !served.dir.daemon_log().contains(text) {
        let log = || served.dir.daemon_log();
        assert!(!deadline.left().is_zero(), "not logged: {text}; {}", log());
        served.plain("/status/200").reply();
    }
}

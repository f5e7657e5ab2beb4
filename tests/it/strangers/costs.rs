//! What a connection costs the daemon: no descriptor but its own, and memory for what has come.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};

use super::super::util::Dir;
use super::super::util::process::descriptors;
use super::super::util::scgi::header;
use super::super::util::strangers::{
    NOBODY, can_be_others, connect_many, connect_many_tcp, private_memory, send_all,
    send_with_descriptors, tests_uid, until_accepted, until_read,
};
use super::Open;

/// Lets all users in where only our own belong. What passes descriptors there is refused by no kernel.
fn open_the_place(dir: &Dir) -> PathBuf {
    let socket = dir.socket();
    for (path, mode) in [
        (dir.join("run"), 0o755),
        (dir.place(), 0o755),
        (socket.clone(), 0o666),
    ] {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode can be set");
    }
    socket
}

/// Descriptors come beside a header that does not end: some with the first bytes, as a front sends them, and three with
/// each byte that follows. How many of these messages went.
#[track_caller]
fn pass_many(path: &Path, uid: u32, first: usize) -> (usize, UnixStream) {
    let client = connect_many(path, uid, 1).remove(0);
    let mut sent = usize::from(send_with_descriptors(&client, b"65000:", first));
    for _ in 0..300 {
        sent += usize::from(send_with_descriptors(&client, b"x", 3));
    }
    until_read(&client);
    (sent, client)
}

#[test]
fn a_strangers_descriptors_are_never_ours() {
    if !can_be_others() {
        return;
    }
    let open = Open::start("");
    let before = descriptors(open.daemon);
    let (_, client) = pass_many(&open.sock(), NOBODY, 3);
    let after = descriptors(open.daemon);
    assert!(after <= before + 1, "{before} and then {after}");
    drop(client);
    let place = open_the_place(&open.dir);
    let before = descriptors(open.daemon);
    let (sent, client) = pass_many(&place, NOBODY, 3);
    assert_eq!(sent, 301, "they were passed");
    let after = descriptors(open.daemon);
    assert!(after <= before + 1, "{before} and then {after}");
    drop(client);
    open.is_well();
}

/// Our own user's are a front's three, at once, or none.
#[test]
fn too_many_descriptors_of_our_own_user() {
    let open = Open::start("");
    for (first, kept) in [(3, 3), (2, 0), (4, 0), (8, 0), (253, 0)] {
        let before = descriptors(open.daemon);
        let (sent, client) = pass_many(&open.dir.socket(), tests_uid(), first);
        assert_eq!(sent, 301, "they were passed");
        let after = descriptors(open.daemon);
        assert!(
            after <= before + 1 + kept,
            "{first}: {before} and then {after}"
        );
        drop(client);
        open.is_well();
    }
}

/// As many strangers as the daemon has room for on this host, up to 4,000.
fn crowd() -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit can be read");
    // It keeps two thirds of its descriptors for others.
    let guests = usize::try_from(hard / 3).unwrap_or(usize::MAX);
    guests.saturating_sub(100).min(4000)
}

/// A connection, and what is known of it, in bytes.
const EACH: u64 = 1536;

/// Memory of the daemon for each of a crowd that has sent these bytes and no more.
#[track_caller]
fn memory_of_each(sent: &[u8], by_tcp: bool) -> u64 {
    let open = Open::start("");
    let count = crowd();
    let (fds, memory) = (descriptors(open.daemon), private_memory(open.daemon));
    let after = if by_tcp {
        let strangers = connect_many_tcp(open.address, count);
        send_all(&strangers, sent);
        until_accepted(open.daemon, fds, count);
        // What came before it is read when it is served.
        open.serves_by_tcp();
        private_memory(open.daemon)
    } else {
        let strangers = connect_many(&open.sock(), NOBODY, count);
        send_all(&strangers, sent);
        until_accepted(open.daemon, fds, count);
        strangers.iter().for_each(until_read);
        private_memory(open.daemon)
    };
    open.is_well();
    after.saturating_sub(memory) / count as u64
}

#[test]
fn a_length_reserves_nothing() {
    if !can_be_others() {
        return;
    }
    for sent in [&b""[..], b"6", b"65000:", b"65000:CONTENT_LENGTH\0"] {
        let each = memory_of_each(sent, false);
        assert!(each < EACH, "{each} bytes for {} sent", sent.len());
    }
}

#[test]
fn a_length_reserves_nothing_by_tcp() {
    let each = memory_of_each(b"65000:", true);
    assert!(each < EACH, "{each} bytes");
}

/// Of the body one byte has come.
#[test]
fn a_body_s_length_reserves_nothing() {
    let mut sent = header("POST", "/digest", &[], 50_000_000);
    sent.push(b'x');
    let each = memory_of_each(&sent, true);
    assert!(each < EACH + 2 * sent.len() as u64, "{each} bytes");
}

//! What a connection costs the daemon: one descriptor, and memory for the bytes that have come.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt};

use super::super::util::process::{descriptors, send, stop};
use super::super::util::scgi::header;
use super::super::util::strangers::{
    NOBODY, can_be_others, connect_many, connect_many_tcp, pass, private_memory, send_all,
    send_with_descriptors, tests_uid, until_accepted, until_read,
};
use super::super::util::{Deadline, Dir, cgi, not_tested};
use super::Open;

/// Lets all users into the daemon's own place, where the kernel does not refuse passed descriptors.
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

/// From our own user too the daemon takes a front's three descriptors, or none.
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

/// close(2) of a TCP socket with SO_LINGER takes as long as its owner has set, and the daemon closes what was passed to
/// it.
#[test]
fn a_descriptor_that_lingers_holds_nothing_up() {
    if !can_be_others() {
        return;
    }
    let open = Open::start("");
    let (lingering, far) = lingers_for(Duration::from_secs(60));
    let client = connect_many(&open.sock(), NOBODY, 1).remove(0);
    stop(open.daemon);
    let sent = pass(&client, b"x", &[lingering.as_raw_fd()]);
    // The peer lives: its end would end the wait.
    let far = Some(far).filter(|_| sent);
    drop(lingering);
    send(open.daemon, Signal::SIGCONT);
    if sent && is_older_than(6, 16) {
        not_tested("this kernel can't refuse a descriptor (Linux 6.16): the daemon waits");
    } else {
        open.is_well();
    }
    drop(far);
}

/// A connection whose close(2) waits for so long, since its peer reads nothing; and the peer.
fn lingers_for(time: Duration) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
    let address = listener.local_addr().expect("it has an address");
    let mut near = TcpStream::connect(address).expect("it can be connected to");
    let (far, _) = listener.accept().expect("it has come");
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: time.as_secs() as libc::c_int,
    };
    setsockopt(&near, sockopt::Linger, &linger).expect("it can be told to linger");
    near.set_nonblocking(true)
        .expect("it can be told not to wait");
    while near.write(&[0; 65_536]).is_ok() {}
    (near, far)
}

fn is_older_than(major: u32, minor: u32) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release
        .split('.')
        .map_while(|word| word.parse::<u32>().ok());
    (numbers.next(), numbers.next()) < (Some(major), Some(minor))
}

/// So few that the daemon has room for all, and that all connect before the first header's time limit.
const CROWD: usize = 1000;

/// A connection, and what is known of it, in bytes.
const EACH: u64 = 1536;

/// Memory of the daemon for each of a crowd that has sent these bytes and no more.
#[track_caller]
fn memory_of_each(sent: &[u8], by_tcp: bool) -> u64 {
    let open = Open::start("");
    let (fds, memory) = (descriptors(open.daemon), private_memory(open.daemon));
    let after = if by_tcp {
        let strangers = connect_many_tcp(open.address, CROWD);
        send_all(&strangers, sent);
        until_accepted(open.daemon, fds, CROWD, &strangers);
        // When this client is served, the bytes of those before it were read.
        open.serves_by_tcp();
        private_memory(open.daemon)
    } else {
        let strangers = connect_many(&open.sock(), NOBODY, CROWD);
        send_all(&strangers, sent);
        until_accepted(open.daemon, fds, CROWD, &strangers);
        strangers.iter().for_each(until_read);
        private_memory(open.daemon)
    };
    open.is_well();
    after.saturating_sub(memory) / CROWD as u64
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

/// Our pages that strangers do not read: 200 MB in all, without the limit.
#[test]
fn pages_that_are_not_read_have_a_limit() {
    const PAGE: usize = 4 << 20;
    const STRANGERS: usize = 50;
    if !can_be_others() {
        return;
    }
    let page = format!("<!DOCTYPE html><p>{}", "x".repeat(PAGE));
    let dir = Dir::new();
    let path = dir.file("page.html", &page, 0o644);
    let config = format!(
        "overload-page = {}\nqueue-size = 1\nqueue-timeout = 60s\n",
        path.display()
    );
    let open = Open::in_dir(dir, None, &config);
    let mut gate = open.dir.gate("gate");
    // One by one: of two at once both might have to wait in the queue, which has room for one.
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(cgi::start_front(&open.app, "/hold?gate=gate"));
        gate.entered();
    }
    held.push(cgi::start_front(&open.app, "/hold?gate=gate"));
    open.dir.until_status_has("queue = 1");
    let before = private_memory(open.daemon);
    let strangers = connect_many(&open.sock(), NOBODY, STRANGERS);
    send_all(
        &strangers,
        &header("GET", "/hello", &[("Accept", "text/html")], 0),
    );
    for stranger in &strangers {
        assert!(Deadline::soon().readable(stranger), "it is not answered");
    }
    let grown = private_memory(open.daemon).saturating_sub(before);
    assert!(grown < 100 << 20, "{grown} bytes");
    let mut start = Vec::new();
    let last = strangers.last().expect("there are some");
    last.take(20)
        .read_to_end(&mut start)
        .expect("it can be read");
    assert_eq!(String::from_utf8_lossy(&start), "Status: 503 Service ");
    drop(strangers);
    gate.open(3);
    for front in held {
        front.end().response().ok();
    }
    open.is_well();
}

/// Bodies of which a little more has come than is kept in memory: their whole length must not count in the spool.
#[test]
fn a_body_s_length_reserves_no_spool() {
    const STRANGERS: usize = 40;
    let open = Open::start("");
    let mut sent = header("POST", "/digest", &[], 50_000_000);
    sent.extend_from_slice(&[b'x'; 70_000]);
    let strangers = connect_many_tcp(open.address, STRANGERS);
    send_all(&strangers, &sent);
    let mut spooled = 0;
    open.dir.until_status("all of them", |status| {
        let line = status
            .iter()
            .find_map(|line| line.strip_prefix("spooled = "));
        spooled = line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
        spooled >= STRANGERS * 70_000
    });
    assert!(spooled <= STRANGERS * 3 * 70_000, "{spooled} bytes");
    drop(strangers);
    open.is_well();
}

/// One byte of each body has come: its whole length must not count in memory.
#[test]
fn a_body_s_length_reserves_nothing() {
    let mut sent = header("POST", "/digest", &[], 50_000_000);
    sent.push(b'x');
    let each = memory_of_each(&sent, true);
    assert!(each < EACH + 2 * sent.len() as u64, "{each} bytes");
}

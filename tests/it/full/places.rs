//! What the daemon itself has a limit of: its queue, the places of programs, descriptors, the spool, the backlog of the
//! app's server, and what it keeps for slow strangers.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::slice;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
};

use super::super::util::daemon::workers_that_are;
use super::super::util::patient::PatientRead;
use super::super::util::scgi::{ScgiClient, header};
use super::super::util::served::noise;
use super::super::util::strangers::{connect_many_tcp, send_all};
use super::super::util::{Deadline, Listening, Served, cgi, free_address, process, run};
use super::{Full, Rest, at_rest, with_descriptors};

const MORE_PROCS: &str = "'max-procs'";

#[test]
fn the_queue() {
    let config = "accept = loop\nmax-procs = 1\nqueue-size = 1\nqueue-timeout = 10m\n";
    let (served, rest) = at_rest(Served::start(config));
    let mut gate = served.dir.gate("gate");
    let held = served.front("/hold?gate=gate");
    gate.entered();
    let queued = served.front("/hello");
    served.dir.until_status_has("queue = 1");
    let full = Full {
        served: &served,
        word: "queue-full",
        helps: MORE_PROCS,
    };
    full.refuses();
    gate.open(1);
    for front in [held, queued] {
        assert!(front.answer().0.starts_with("Status: 200 "));
    }
    rest.returns(&served);
}

/// Requests that have waited in the queue for too long.
#[test]
fn the_time_in_the_queue() {
    let config = "accept = loop\nmax-procs = 1\nqueue-size = 9\nqueue-timeout = SECOND\n";
    let (served, rest) = at_rest(Served::start(config));
    let mut gate = served.dir.gate("gate");
    let held = served.front("/hold?gate=gate");
    gate.entered();
    let full = Full {
        served: &served,
        word: "queue-slow",
        helps: MORE_PROCS,
    };
    full.refuses();
    gate.open(1);
    assert!(held.answer().0.starts_with("Status: 200 "));
    rest.returns(&served);
}

/// Programs of `cgi` that the daemon runs: `max-procs` at once.
#[test]
fn the_places_of_programs() {
    let (served, rest) = at_rest(Served::cgi("max-procs = 1\nqueue-size = 0\n"));
    let mut gate = served.dir.gate("gate");
    let held = served.front("/hold?gate=gate");
    let program = gate.entered();
    served.dir.until_status_has("workers.0.state = \"busy\"");
    let full = Full {
        served: &served,
        word: "queue-full",
        helps: MORE_PROCS,
    };
    full.refuses();
    gate.open(1);
    assert!(held.answer().0.starts_with("Status: 200 "));
    assert!(Deadline::soon().ended(program));
    rest.returns(&served);
}

/// As many clients as the daemon has descriptors for: one more waits for a second, and is refused. Fronts set no such
/// daemon aside.
#[test]
fn descriptors() {
    const MOST: usize = 64;
    let config =
        "accept = loop\nmax-procs = 2\nqueue-size = 200\nqueue-timeout = 10m\nqueue-target = 10m\n";
    let (served, rest) = at_rest(with_descriptors(config, MOST));
    let mut gate = served.dir.gate("gate");
    let full = Full {
        served: &served,
        word: "no-descriptor",
        helps: "RLIMIT_NOFILE",
    };
    let message = header("GET", "/hold?gate=gate", &[], 0);
    let mut held = Vec::new();
    let mut refused = loop {
        let mut client = ScgiClient::connect(&served.dir.socket());
        client.send(&message);
        let mut is_refused = false;
        // `status` is a client, too, and is answered even where no other is let in.
        served
            .dir
            .until_status("it waits, or is refused", |status| {
                is_refused = full.counted(status) > 0;
                is_refused || taken(status) > held.len()
            });
        if is_refused {
            break client;
        }
        held.push(client);
        assert!(held.len() < MOST, "there is no limit");
    };
    assert_eq!(refused.reply().status(), 503);
    gate.entered();
    assert!(process::descriptors(served.daemon) <= MOST);
    full.refuses();
    let (answer, words) = served.front("/hello").answer();
    assert!(answer.starts_with("Status: 503 "), "{answer}");
    assert_eq!(words, "");
    full.are_counted(6);
    assert_eq!(served.dir.all_daemons(), [served.daemon]);
    gate.open(held.len());
    for mut client in held {
        client.reply().ok();
    }
    rest.returns(&served);
}

/// Requests that wait, or that a worker has.
fn taken(status: &[String]) -> usize {
    let queue = status.iter().find_map(|line| line.strip_prefix("queue = "));
    let queue: usize = queue.map_or(0, |count| count.parse().expect("a number"));
    queue + workers_that_are(status, "busy")
}

/// Bodies without a length, for which the spool has no room.
#[test]
fn the_spool() {
    const LIMIT: usize = 200_000;
    let config = format!("accept = loop\nmax-procs = 1\nspool-limit = {LIMIT}\n");
    let (served, rest) = at_rest(Served::start(&config));
    // One body comes slowly, and is kept.
    let mut slow = served.plain_posting("/digest", LIMIT);
    slow.send(&noise(LIMIT - 20_000));
    served.until_spooled("most of the spool", |files| {
        files.iter().sum::<u64>() > (LIMIT / 2) as u64
    });
    let full = Full {
        served: &served,
        word: "no-spool-room",
        helps: "'spool-limit'",
    };
    let body = noise(LIMIT * 3 / 4);
    full.refuses_all("POST", |method, accept| {
        let fields = [("Accept", accept), ("Transfer-Encoding", "chunked")];
        let mut front = cgi::front(&served.app, method, "/digest", &fields);
        cgi::reply(&run(&mut front, &body).stdout)
    });
    slow.send(&noise(20_000));
    assert_eq!(slow.reply().status(), 200);
    rest.returns(&served);
}

/// A server that runs elsewhere and accepts nothing: the kernel holds a few connections for it.
#[test]
fn the_backlog_of_the_app_s_server() {
    let dir = super::Dir::new();
    let path = dir.join("tmp/server");
    let address = UnixAddr::new(&path).expect("a short path");
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let stream = || socket(AddressFamily::Unix, SockType::Stream, flags, None);
    let listener = stream().expect("a socket can be made");
    bind(listener.as_raw_fd(), &address).expect("it can be bound");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).expect("a mode can be set");
    listen(&listener, Backlog::new(1).expect("a small number")).expect("it can listen");
    let config = format!("connect = {}\nmode = daemon\n", path.display());
    let app = dir.app_file("app", &config);
    dir.polycgi(&["start"]).success();
    let daemon = dir.daemon();
    let (served, rest) = at_rest(Served { dir, app, daemon });
    let mut waiting = Vec::new();
    loop {
        let client = UnixStream::from(stream().expect("a socket can be made"));
        match connect(client.as_raw_fd(), &address) {
            Ok(()) => waiting.push(client),
            Err(errno) => {
                assert_eq!(errno, Errno::EAGAIN, "the fault");
                break;
            }
        }
        assert!(waiting.len() < 100, "there is no limit");
    }
    let full = Full {
        served: &served,
        word: "server-full",
        helps: "'max-procs'",
    };
    full.refuses();
    drop((waiting, listener));
    fs::remove_file(path).expect("a socket can be removed");
    let _server = Listening::start(&served.dir, "scgiserver.py");
    rest.returns(&served);
}

/// Strangers whose bodies come slowly, more than there are places for: those that have to go are told so.
#[test]
fn places_of_slow_strangers() {
    const MOST: usize = 256;
    let (served, rest, address) = open_to_strangers(Some(MOST));
    let slow = slow_bodies(address, MOST, 10, b"");
    are_told(&served, "no-descriptor", slow);
    rest.returns(&served);
}

/// Strangers whose bodies come slowly, and are kept in memory: more than 64 MiB of them.
#[test]
fn memory_of_slow_strangers() {
    const EACH: usize = 60_000;
    let (served, rest, address) = open_to_strangers(None);
    let slow = slow_bodies(address, (80 << 20) / EACH, EACH + 1, &noise(EACH));
    are_told(&served, "no-memory", slow);
    rest.returns(&served);
}

/// An app that listens for strangers, each of whose processes may have so many descriptors.
#[track_caller]
fn open_to_strangers(most: Option<usize>) -> (Served, Rest, SocketAddr) {
    let address = free_address();
    let config =
        format!("accept = loop\nmax-procs = 1\nlisten = {address}\nrequest-timeout = 10m\n");
    let served = match most {
        Some(most) => with_descriptors(&config, most),
        None => Served::start(&config),
    };
    let (served, rest) = at_rest(served);
    (served, rest, address)
}

/// So many clients that have sent this much of a body of `length` bytes; one by one, for of those that are silent the
/// oldest have to go.
fn slow_bodies(address: SocketAddr, count: usize, length: usize, sent: &[u8]) -> Vec<UnixStream> {
    let mut message = header("POST", "/digest", &[("Accept", "text/html")], length);
    message.extend_from_slice(sent);
    let connect = |_| {
        let client = connect_many_tcp(address, 1).remove(0);
        send_all(slice::from_ref(&client), &message);
        client
    };
    (0..count).map(connect).collect()
}

/// At least one of them is refused for that reason.
#[track_caller]
fn are_told(served: &Served, word: &str, slow: Vec<UnixStream>) {
    let none = format!("counts.{word} = 0");
    served
        .dir
        .until_status("one is refused", |status| !status.contains(&none));
    let mut refused = slow
        .iter()
        .filter(|client| Deadline::now().readable(client));
    let mut refused = refused.next().expect("a client has its answer");
    let head = refused.response_head();
    assert!(head.starts_with("Status: 503 "), "{head}");
}

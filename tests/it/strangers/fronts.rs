//! Our own fronts, and clients that send whole requests, beside strangers that only hold connections.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::super::util::process::descriptors;
use super::super::util::scgi::{ScgiClient, header};
use super::super::util::strangers::{
    HERE, NOBODY, can_be_others, connect_many, connect_many_tcp, send_all, until_accepted,
};
use super::super::util::{Deadline, cgi, free_address, installed};
use super::{Open, ask_as};
use crate::leaving::{install, with_own_polycgi};

/// What strangers do with their connections.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Habit {
    /// They send nothing.
    Idle,
    /// They send a header, a byte now and then.
    DripHeader,
    /// They send a body so.
    DripBody,
    /// They ask for a large response, and read nothing.
    Unread,
    /// They send what is no request, and do not hang up.
    Wrong,
}

impl Habit {
    /// What they send first, and then now and then.
    fn words(self) -> (Vec<u8>, &'static [u8]) {
        match self {
            Habit::Idle => (Vec::new(), b""),
            Habit::DripHeader => (b"65000:".to_vec(), b"x"),
            Habit::DripBody => (header("POST", "/digest", &[], 1_000_000), b"x"),
            Habit::Unread => (header("GET", "/big?size=600000", &[], 0), b""),
            Habit::Wrong => (b"GET / HTTP/1.1\r\n".to_vec(), b""),
        }
    }
}

/// The daemon's limit of descriptors, and the strangers, which are more.
const FDS: usize = 256;
const STRANGERS: usize = 300;
/// How many strangers are connected at least, whenever a front is started.
const THERE: usize = 30;

/// Strangers of one habit, which connect again when the daemon has closed their connections.
struct Crowd<'a> {
    open: &'a Open,
    habit: Habit,
    by_tcp: bool,
    /// The daemon's descriptors without the strangers.
    before: usize,
    strangers: Vec<UnixStream>,
}

impl Crowd<'_> {
    #[track_caller]
    fn is_there(&mut self) {
        let (first, then) = self.habit.words();
        if descriptors(self.open.daemon) < self.before + THERE {
            self.strangers.clear();
            self.strangers = match self.by_tcp {
                true => connect_many_tcp(self.open.address, STRANGERS),
                false => connect_many(&self.open.sock(), NOBODY, STRANGERS),
            };
            send_all(&self.strangers, &first);
            until_accepted(self.open.daemon, self.before, THERE, &self.strangers);
        }
        send_all(&self.strangers, then);
    }
}

#[track_caller]
fn served_beside(habit: Habit, by_tcp: bool) {
    if !by_tcp && !can_be_others() {
        return;
    }
    let open = Open::limited(Some(FDS), "");
    let mut crowd = Crowd {
        open: &open,
        habit,
        by_tcp,
        before: descriptors(open.daemon),
        strangers: Vec::new(),
    };
    for _ in 0..12 {
        crowd.is_there();
        open.serves_a_front();
    }
    // Many fronts at once find the descriptors that are reserved for them.
    crowd.is_there();
    let start = |_| cgi::start_front(&open.app, "/hello");
    let fronts: Vec<_> = (0..20).map(start).collect();
    for front in fronts {
        let hello = front.end().response().ok();
        assert!(hello.starts_with("hello from "), "{hello}");
    }
    assert!(descriptors(open.daemon) <= FDS);
    // A client that sends a whole request is served too: from the same address, or as another user.
    crowd.is_there();
    if by_tcp {
        open.serves_by_tcp();
    } else {
        ask_as(&open.sock(), 12_345, &header("GET", "/hello", &[], 0)).ok();
    }
    drop(crowd);
    open.is_well();
}

#[test]
fn beside_idle_ones() {
    served_beside(Habit::Idle, false);
}

#[test]
fn beside_idle_ones_by_tcp() {
    served_beside(Habit::Idle, true);
}

#[test]
fn beside_those_who_drip_headers() {
    served_beside(Habit::DripHeader, false);
}

#[test]
fn beside_those_who_drip_bodies() {
    served_beside(Habit::DripBody, false);
}

#[test]
fn beside_those_who_drip_bodies_by_tcp() {
    served_beside(Habit::DripBody, true);
}

#[test]
fn beside_those_who_read_nothing() {
    served_beside(Habit::Unread, false);
}

#[test]
fn beside_those_who_send_no_request() {
    served_beside(Habit::Wrong, false);
}

/// A web server sends all its clients' requests from one address: the share of an address must be enough for that.
#[test]
fn a_web_server_in_heavy_use_is_never_refused() {
    const REQUESTS: usize = 1000;
    let open = Open::start("queue-size = 1000\nqueue-timeout = 60s\nqueue-target = 60s\n");
    let message = header("GET", "/hello", &[], 0);
    let connect = |_| {
        let mut client = ScgiClient::connect_tcp(HERE, open.address);
        client.send(&message);
        client
    };
    let clients: Vec<ScgiClient> = (0..REQUESTS).map(connect).collect();
    for mut client in clients {
        client.reply().ok();
    }
    open.is_well();
}

/// Idle connections, which are made again and again, do not keep a daemon from becoming its new version.
#[test]
fn an_upgrade_beside_idle_ones() {
    let address = free_address();
    let config = format!(
        "wsgi = testapp:application\nmode = daemon\nidle-timeout = 10s\nlisten = {address}\n"
    );
    let (dir, app) = with_own_polycgi(&config);
    cgi::start_front(&app, "/hello").end().response().ok();
    let serving = dir.daemon();
    let mut idle = connect_many_tcp(address, 3);
    install(&dir, &installed("polycgi"));
    let deadline = Deadline::soon();
    while !dir.daemon_log().contains("info: upgrade: ") {
        assert!(!deadline.left().is_zero(), "{}", dir.daemon_log());
        // No wait, but their pace: one of them is always young, and none reaches a header's time limit.
        Deadline::after(Duration::from_millis(500)).readable(&idle[0]);
        idle.remove(0);
        idle.push(connect_many_tcp(address, 1).remove(0));
        // Each request makes the daemon look at its files.
        cgi::start_front(&app, "/hello").end().response().ok();
    }
    drop(idle);
    cgi::start_front(&app, "/hello").end().response().ok();
    assert_eq!(dir.daemon(), serving);
}

/// The connection ends in time, whatever drips in: counted from the connect, or from the last block.
#[track_caller]
fn ends_though_it_drips(first: &[u8], config: &str, status: Option<&str>) {
    let open = Open::start(config);
    let mut stranger = connect_many_tcp(open.address, 1).remove(0);
    send_all(std::slice::from_ref(&stranger), first);
    let deadline = Deadline::soon();
    // No wait, but the stranger's pace.
    while !Deadline::after(Duration::from_millis(200)).readable(&stranger) {
        assert!(!deadline.left().is_zero(), "it is kept");
        send_all(std::slice::from_ref(&stranger), b"x");
    }
    let mut said = Vec::new();
    // Bytes that it still sends may reset the connection.
    let _ = stranger.read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said);
    match status {
        Some(status) => assert!(said.starts_with(status), "{said}"),
        None => assert_eq!(said, ""),
    }
    open.is_well();
}

#[test]
fn a_header_that_drips() {
    ends_though_it_drips(b"65000:", "", None);
}

#[test]
fn a_body_that_drips() {
    let first = header("POST", "/digest", &[], 1_000_000);
    ends_though_it_drips(&first, "request-timeout = 1s\n", Some("Status: 408 "));
}

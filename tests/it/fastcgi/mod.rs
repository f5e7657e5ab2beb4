//! FastCGI clients at an address of `listen`: right ones, and wrong ones (`wrong`). Each has its answer or a clean close,
//! and none hurts another.

mod wrong;

use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::util::daemon::workers_that_are;
use crate::util::process::{descriptors, send};
use crate::util::records::{
    END, GET_VALUES, PARAMS, Records, UNKNOWN_TYPE, begin, body, header, pairs, record, request,
};
use crate::util::scgi::{self, ScgiClient};
use crate::util::served::noise;
use crate::util::{Deadline, Dir, digest};

/// An app, its daemon, and the path that it listens at.
struct Server {
    dir: Dir,
    socket: PathBuf,
    pid: i32,
}

impl Server {
    #[track_caller]
    fn start() -> Self {
        Self::with("")
    }

    #[track_caller]
    fn with(config: &str) -> Self {
        Self::of(&format!("wsgi = faultapp:application\n{config}"))
    }

    #[track_caller]
    fn of(config: &str) -> Self {
        let dir = Dir::new();
        let socket = dir.join("apps/listener");
        let listen = socket.display();
        let config = format!("mode = daemon\nlog-level = debug\nlisten = {listen}\n{config}\n");
        dir.app_file("app", &config);
        dir.polycgi(&["start"]).success();
        let pid = dir.daemon();
        Self { dir, socket, pid }
    }

    #[track_caller]
    fn connect(&self) -> Records {
        Records::connect(&self.socket)
    }

    /// The next request is right, and by the same daemon.
    #[track_caller]
    fn is_well(&self) {
        let hello = self.connect().ask("GET", "/hello", b"").ok();
        assert!(hello.starts_with("hello from "), "{hello}");
        assert_eq!(self.dir.daemon(), self.pid);
    }

    /// No worker has a request.
    #[track_caller]
    fn until_idle(&self) {
        self.dir.until_status("idle workers", |status| {
            workers_that_are(status, "busy") == 0
        });
    }
}

#[test]
fn a_connection_is_kept_where_that_is_asked_for() {
    let server = Server::start();
    let mut kept = server.connect();
    for n in 0..5 {
        let said = noise(n * 1000);
        let reply = kept.ask("POST", "/digest", &said);
        assert_eq!(reply.ok(), format!("{} {}\n", digest(&said), said.len()));
        assert!(kept.ask("GET", "/hello", b"").ok().starts_with("hello"));
    }
    let last = kept.send(&request(9, false, "GET", "/hello", b"")).came(9);
    assert!(last.reply().ok().starts_with("hello"));
    kept.is_closed();
    // SCGI at the same address.
    let mut plain = ScgiClient::connect(&server.socket);
    let hello = plain.send(&scgi::header("GET", "/hello", &[], 0)).reply();
    assert!(hello.ok().starts_with("hello"));
}

#[test]
fn bodies_of_any_size_in_any_pieces() {
    let server = Server::start();
    let mut kept = server.connect();
    for size in [0, 1, 4_000, 65_536, 70_000, 1_500_000] {
        let said = noise(size);
        let expected = format!("{} {size}\n", digest(&said));
        assert_eq!(kept.ask("POST", "/digest", &said).ok(), expected, "{size}");
        // Its length is not said.
        let bytes = [header(1, true, "POST", "/digest", ""), body(1, &said)].concat();
        assert_eq!(kept.send(&bytes).came(1).reply().ok(), expected, "{size}");
    }
    let said = noise(300);
    let bytes = request(1, true, "POST", "/digest", &said);
    for byte in &bytes {
        kept.send(&[*byte]);
    }
    let expected = format!("{} 300\n", digest(&said));
    assert_eq!(kept.came(1).reply().ok(), expected);
}

#[test]
fn a_large_response_and_one_that_is_read_slowly() {
    let server = Server::with("max-procs = 1\n");
    let mut kept = server.connect();
    let whole = kept.ask("GET", "/big?size=3000000", b"");
    assert_eq!(whole.body.len(), 3_000_000);
    // Nothing is read of it, and yet the one worker is free again.
    kept.send(&request(2, true, "GET", "/big?size=3000000", b""));
    server.dir.until_status("the spool", |status| {
        let is_spooled = |line: &String| {
            let bytes = line.strip_prefix("spooled = ").unwrap_or("0");
            bytes != "0"
        };
        status.iter().any(is_spooled) && workers_that_are(status, "busy") == 0
    });
    server.is_well();
    assert_eq!(kept.came(2).reply().body, whole.body);
}

#[test]
fn what_an_app_says_goes_to_the_web_server_s_log() {
    let server = Server::start();
    let came = server
        .connect()
        .send(&request(1, false, "GET", "/noise", b""))
        .came(1);
    assert_eq!(came.reply().ok(), "noisy\n");
    let said = String::from_utf8_lossy(&came.errors).into_owned();
    for word in ["sys.stderr", "wsgi.errors", "os.write", "C", "a child"] {
        assert!(said.contains(&format!("noise of {word}\n")), "{said}");
    }
    let raised = server
        .connect()
        .send(&request(1, false, "GET", "/broken", b""))
        .came(1);
    assert_eq!(raised.reply().status(), 500);
    let said = String::from_utf8_lossy(&raised.errors).into_owned();
    assert!(said.contains("Traceback"), "{said}");
}

#[test]
fn what_belongs_to_no_request_is_answered() {
    let server = Server::start();
    let mut kept = server.connect();
    let asked = pairs([("FCGI_MPXS_CONNS", ""), ("FCGI_MAX_REQS", "")]);
    kept.send(&record(GET_VALUES, 0, &asked));
    let values = kept.record().expect("an answer");
    assert_eq!(values, (10, 0, pairs([("FCGI_MPXS_CONNS", "0")])));
    kept.send(&record(99, 0, b"what"));
    let unknown = kept.record().expect("an answer");
    assert_eq!(unknown, (UNKNOWN_TYPE, 0, vec![99, 0, 0, 0, 0, 0, 0, 0]));
    // An authorizer.
    kept.send(&record(1, 7, &[0, 2, 1, 0, 0, 0, 0, 0]));
    let refused = kept.came(7);
    assert_eq!(refused.end, Some((0, 3)));
    assert!(refused.output.starts_with(b"Status: 500 "), "{refused:?}");
    assert!(kept.ask("GET", "/hello", b"").ok().starts_with("hello"));
}

#[test]
fn a_second_request_at_once_is_refused_and_the_first_is_served() {
    let server = Server::start();
    let mut gate = server.dir.gate("first");
    let mut kept = server.connect();
    kept.send(&request(
        1,
        true,
        "POST",
        "/gated-digest?gate=first",
        b"body",
    ));
    gate.entered();
    kept.send(&request(2, true, "GET", "/hello", b""));
    let refused = kept.record().expect("an answer");
    assert_eq!(refused, (END, 2, vec![0, 0, 0, 0, 1, 0, 0, 0]));
    gate.open(1);
    let expected = format!("{} 4\n", digest(b"body"));
    assert_eq!(kept.came(1).reply().ok(), expected);
    assert!(kept.ask("GET", "/hello", b"").ok().starts_with("hello"));
}

#[test]
fn kept_connections_hold_up_no_stop_and_no_reload() {
    let server = Server::start();
    let mut idle: Vec<Records> = (0..20).map(|_| server.connect()).collect();
    for kept in &mut idle {
        assert!(kept.ask("GET", "/hello", b"").ok().starts_with("hello"));
    }
    server.dir.polycgi(&["reload"]).success();
    for kept in &mut idle {
        assert!(kept.ask("GET", "/hello", b"").ok().starts_with("hello"));
    }
    let mut gate = server.dir.gate("runs");
    idle[0].send(&request(
        1,
        true,
        "POST",
        "/gated-digest?gate=runs",
        b"body",
    ));
    gate.entered();
    send(server.pid, Signal::SIGTERM);
    // Those that wait are closed; the one that is served has its answer first.
    idle[1..].iter_mut().for_each(Records::is_closed);
    gate.open(1);
    let expected = format!("{} 4\n", digest(b"body"));
    assert_eq!(idle[0].came(1).reply().ok(), expected);
    idle[0].is_closed();
    assert!(Deadline::soon().ended(server.pid), "the daemon stays");
}

/// Who may connect, and be believed, is another from then on.
#[test]
fn a_reload_with_other_clients_closes_kept_connections() {
    let server = Server::start();
    let mut gate = server.dir.gate("runs");
    let (mut idle, mut busy) = (server.connect(), server.connect());
    assert!(idle.ask("GET", "/hello", b"").ok().starts_with("hello"));
    busy.send(&request(
        1,
        true,
        "POST",
        "/gated-digest?gate=runs",
        b"body",
    ));
    gate.entered();
    let app = server.dir.join("cgi-bin/app");
    let config = std::fs::read_to_string(&app).expect("an app file can be read");
    std::fs::write(&app, config + "listen-allow = 0\n").expect("and written");
    server.dir.polycgi(&["reload"]).success();
    idle.is_closed();
    gate.open(1);
    let expected = format!("{} 4\n", digest(b"body"));
    assert_eq!(busy.came(1).reply().ok(), expected);
    busy.is_closed();
}

/// nginx by its own fastcgi_params, HAProxy and Caddy by themselves.
#[test]
fn what_only_some_web_servers_send() {
    const APP: &str = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    names = ('SCRIPT_NAME', 'PATH_INFO', 'CONTENT_LENGTH', 'HTTP_VIA', 'HTTP_COOKIE')
    shown = [environ.get(name) for name in names]
    return [repr((*shown, environ['wsgi.input'].read())).encode()]
";
    let dir = Dir::new();
    dir.file("apps/shows.py", APP, 0o644);
    let socket = dir.join("apps/listener");
    let config = format!(
        "wsgi = shows:application\nmode = daemon\nlisten = {}\n",
        socket.display()
    );
    dir.app_file("app", &config);
    dir.polycgi(&["start"]).success();
    let mut kept = Records::connect(&socket);
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [u8], &'a str);
    let cases: [Case<'_>; 6] = [
        (
            &[
                ("SCRIPT_NAME", "/a b"),
                ("DOCUMENT_URI", "/a b"),
                ("CONTENT_LENGTH", ""),
            ],
            b"",
            "('', '/a b', None, None, None, b'')",
        ),
        (
            &[
                ("SERVER_SOFTWARE", "HAProxy 2.6.12"),
                ("SCRIPT_NAME", "/a"),
                ("CONTENT_LENGTH", "2"),
            ],
            b"all of it",
            "('', '/a', '9', None, None, b'all of it')",
        ),
        (
            &[("PATH_INFO", "/"), ("CONTENT_LENGTH", "-1")],
            b"in chunks",
            "('', '/', '9', None, None, b'in chunks')",
        ),
        (
            &[
                ("PATH_INFO", "/"),
                ("CONTENT_LENGTH", "3"),
                ("HTTP_TRANSFER_ENCODING", "chunked"),
            ],
            b"in chunks",
            "('', '/', '9', None, None, b'in chunks')",
        ),
        (
            &[
                ("SERVER_SOFTWARE", "h2o/2.2.5"),
                ("PATH_INFO", "/"),
                ("HTTP_VIA", "a"),
                ("HTTP_COOKIE", "x=1"),
                ("HTTP_VIA", "b"),
                ("HTTP_COOKIE", "y=2"),
            ],
            b"",
            "('', '/', None, 'a, b', 'x=1; y=2', b'')",
        ),
        (
            &[
                ("PATH_INFO", "/"),
                ("CONTENT_LENGTH", "4"),
                ("REDIRECT_STATUS", "403"),
                ("REDIRECT_REQUEST_METHOD", "POST"),
            ],
            b"body",
            "('', '/', None, None, None, b'')",
        ),
    ];
    for (more, said, expected) in cases {
        let common = [
            ("REQUEST_METHOD", "GET"),
            ("SERVER_NAME", "h"),
            ("SERVER_PORT", "80"),
        ];
        let params = pairs(common.into_iter().chain(more.iter().copied()));
        let bytes = [
            begin(1, true),
            record(PARAMS, 1, &params),
            record(PARAMS, 1, b""),
            body(1, said),
        ]
        .concat();
        let reply = kept.send(&bytes).came(1).reply().ok();
        assert_eq!(reply, expected, "{more:?}");
    }
}

#[test]
fn no_descriptor_is_left() {
    let server = Server::with("max-procs = 1\n");
    let mut kept = server.connect();
    let mut asks = |rounds: usize| {
        for n in 0..rounds {
            let said = noise(n * 3000);
            kept.ask("POST", "/digest", &said).ok();
            server.connect().ask("GET", "/hello", b"").ok();
            let mut leaves = server.connect();
            leaves.send(&header(1, true, "POST", "/digest", "5"));
        }
    };
    // What the daemon opens once it is busy is open by then.
    asks(10);
    let before = descriptors(server.pid);
    asks(40);
    let deadline = Deadline::soon();
    while descriptors(server.pid) > before {
        assert!(!deadline.left().is_zero(), "{before} before");
        std::thread::yield_now();
    }
}

#[test]
fn a_cgi_program_behind_fastcgi() {
    let server = Server::of("cgi = /usr/bin/python3 -S cgiapp.py");
    let mut kept = server.connect();
    for size in [0, 10, 200_000] {
        let said = noise(size);
        let reply = kept.ask("POST", "/digest", &said);
        assert_eq!(reply.ok(), format!("{} {size}\n", digest(&said)));
    }
}

//! Plain SCGI clients at the daemon's socket, right ones and wrong ones: each has its answer, and none hurts another.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::unistd::{Uid, geteuid};

use super::util::scgi::{ScgiClient, header, netstring};
use super::util::served::noise;
use super::util::{Dir, Reply, cgi, digest};

const CONFIG: &str = "wsgi = testapp:application\nmode = daemon\n";

/// A daemon, and its socket.
struct Server {
    dir: Dir,
    pid: i32,
}

impl Server {
    #[track_caller]
    fn start() -> Self {
        let dir = Dir::new();
        let app = dir.app_file("app", CONFIG);
        cgi::start_front(&app, "/hello").end().response().ok();
        let pid = dir.daemon();
        Self { dir, pid }
    }

    fn connect(&self) -> ScgiClient {
        ScgiClient::connect(&self.dir.socket())
    }

    /// What it answers to these bytes.
    #[track_caller]
    fn ask(&self, bytes: &[u8]) -> Reply {
        self.connect().send(bytes).reply()
    }

    /// The next request is right, and by the same daemon.
    #[track_caller]
    fn is_well(&self) {
        let hello = self.ask(&header("GET", "/hello", &[], 0)).ok();
        assert!(hello.starts_with("hello from "), "{hello}");
        assert_eq!(self.dir.daemon(), self.pid);
        assert_eq!(self.dir.starts(), 1);
    }
}

/// The body comes with the header: all or a part of it is read with the same system call.
#[test]
fn a_message_body_that_comes_with_its_header() {
    let server = Server::start();
    for size in [1, 3_000, 5_000, 100_000] {
        let body = noise(size);
        let message = [header("POST", "/digest", &[], size), body.clone()].concat();
        let expected = format!("{} {size}\n", digest(&body));
        assert_eq!(server.ask(&message).ok(), expected);
    }
    // Bytes beyond CONTENT_LENGTH are ignored.
    let message = [&header("POST", "/digest", &[], 5)[..], b"12345 and more"].concat();
    let expected = format!("{} 5\n", digest(b"12345"));
    assert_eq!(server.ask(&message).ok(), expected);
    server.is_well();
}

#[test]
fn get_head_and_post() {
    let server = Server::start();
    let get = server.ask(&header("GET", "/status/404", &[], 0));
    assert_eq!((get.status(), get.text().as_str()), (404, "status 404\n"));
    let head = server.ask(&header("HEAD", "/status/404", &[], 0));
    assert_eq!((head.status(), head.body.len()), (404, 0));
    assert_eq!(head.field("Content-Length"), Some("11"));

    let body: Vec<u8> = (0..1_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let expected = format!("{} 1000000\n", digest(&body));
    let message = [header("POST", "/digest", &[], body.len()), body.clone()].concat();
    assert_eq!(server.ask(&message).ok(), expected);
    // A server that half-closes behind the body still wants its answer.
    let mut client = server.connect();
    assert_eq!(client.send(&message).end().reply().ok(), expected);
    server.is_well();
}

/// Each byte of the header by itself, and the body in pieces of an odd size.
#[test]
fn small_pieces() {
    let server = Server::start();
    let body: Vec<u8> = (0..100_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let mut client = server.connect();
    for byte in header("POST", "/digest", &[], body.len()) {
        client.send(&[byte]);
    }
    for piece in body.chunks(777) {
        client.send(piece);
    }
    assert_eq!(client.reply().ok(), format!("{} 100000\n", digest(&body)));
    server.is_well();
}

/// The second half of the body comes late, while other requests are served.
#[test]
fn a_body_that_comes_late() {
    let server = Server::start();
    let mut gate = server.dir.gate("gate");
    let mut slow = server.connect();
    slow.send(&header("POST", "/digest", &[], 8)).send(b"half");
    let mut held = server.connect();
    held.send(&header("GET", "/hold?gate=gate", &[], 0));
    gate.entered();
    server.is_well();
    slow.send(b"full");
    assert_eq!(slow.reply().ok(), format!("{} 8\n", digest(b"halffull")));
    gate.open(1);
    held.reply().ok();
}

#[test]
fn malformed_headers_are_a_400() {
    let server = Server::start();
    let pairs = |pairs: &[(&'static str, &'static str)]| netstring(pairs.iter().copied());
    let wrong: [&[u8]; 11] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"hello",
        b"-5:hello,",
        b"05:hello,",
        b"5:hello,",
        b"0:,",
        b"24:CONTENT_LENGTH\x000\0SCGI\x001\0;",
        &pairs(&[("SCGI", "1"), ("CONTENT_LENGTH", "0")]),
        &pairs(&[("CONTENT_LENGTH", "0"), ("REQUEST_METHOD", "GET")]),
        &pairs(&[("CONTENT_LENGTH", "+5"), ("SCGI", "1")]),
        &pairs(&[("CONTENT_LENGTH", "0"), ("SCGI", "1"), ("", "x")]),
    ];
    for bytes in wrong {
        let reply = server.ask(bytes);
        assert_eq!(reply.status(), 400, "{:?}", String::from_utf8_lossy(bytes));
        assert_eq!(reply.field("Cache-Control"), Some("no-store"));
    }
    server.is_well();
}

#[test]
fn duplicates_are_a_400_unless_they_are_equal() {
    let server = Server::start();
    let twice = |first: &'static str, second: &'static str| {
        let meta = cgi::meta("GET", "/status/200", &[]);
        let meta = meta
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let twice = [
            ("CONTENT_LENGTH", "0"),
            ("SCGI", "1"),
            ("HTTP_HOST", first),
            ("HTTP_HOST", second),
        ];
        netstring(twice.into_iter().chain(meta))
    };
    assert_eq!(server.ask(&twice("a.example", "b.example")).status(), 400);
    assert_eq!(
        server.ask(&twice("a.example", "a.example")).ok(),
        "status 200\n"
    );
    let lengths = netstring([
        ("CONTENT_LENGTH", "0"),
        ("SCGI", "1"),
        ("CONTENT_LENGTH", "5"),
    ]);
    assert_eq!(server.ask(&lengths).status(), 400);
    server.is_well();
}

#[test]
fn a_header_over_the_limit_is_a_431() {
    let server = Server::start();
    let cookie = "c".repeat(70_000);
    let message = header("GET", "/hello", &[("Cookie", &cookie)], 0);
    assert_eq!(server.ask(&message).status(), 431);
    // The length alone is enough for the answer: the daemon does not wait for a gigabyte.
    assert_eq!(server.ask(b"1000000000:").status(), 431);
    assert_eq!(server.ask(b"99999999999999999999999999:").status(), 431);
    let fits = header("GET", "/status/200", &[("Cookie", &cookie[..60_000])], 0);
    assert_eq!(server.ask(&fits).ok(), "status 200\n");
    server.is_well();
}

#[test]
fn a_client_that_hangs_up_hurts_no_other() {
    let server = Server::start();
    let whole = header("GET", "/mark?name=cut", &[], 0);
    for length in [0, 1, 5, whole.len() / 2, whole.len() - 1] {
        server.connect().send(&whole[..length]);
    }
    // A client that leaves in its body, and one that leaves in its response.
    server
        .connect()
        .send(&header("POST", "/digest", &[], 100))
        .send(b"half");
    server
        .connect()
        .send(&header("GET", "/big?size=50000000", &[], 0));
    for _ in 0..4 {
        server.is_well();
    }
    assert_eq!(
        server.dir.lines("marks"),
        [""; 0],
        "half a header is no request"
    );
}

/// REMOTE_USER and unknown names are taken from the daemon's own uid only.
#[test]
fn strangers_are_not_believed() {
    let server = Server::start();
    let meta = cgi::meta("GET", "/dump", &[("Proxy", "http://evil.example/")]);
    let meta = meta
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let said = [
        ("CONTENT_LENGTH", "0"),
        ("SCGI", "1"),
        ("REMOTE_USER", "root"),
        ("X_UNKNOWN", "x"),
    ];
    let message = netstring(said.into_iter().chain(meta));
    let own = server.ask(&message).ok();
    assert!(own.contains(r#"["REMOTE_USER", "root"]"#), "{own}");
    assert!(!own.contains("evil.example"), "{own}");
    if geteuid().is_root() {
        let socket: &Path = &server.dir.socket();
        let other = ScgiClient::connect_as(socket, Uid::from_raw(0))
            .send(&message)
            .reply()
            .ok();
        assert!(
            !other.contains("REMOTE_USER") && !other.contains("X_UNKNOWN"),
            "{other}"
        );
        assert!(!other.contains("evil.example"), "{other}");
        assert!(other.contains(r#"["REMOTE_ADDR", "127.0.0.1"]"#), "{other}");
    }
}

/// What an attacker who reaches the socket might try: none of his names becomes an environment variable, his commands
/// are refused, and his descriptors are not taken.
#[test]
fn strangers_set_nothing_and_command_nothing() {
    if !geteuid().is_root() {
        return;
    }
    let server = Server::start();
    let ask = |uid: u32, more: &[(&'static str, &'static str)]| {
        let meta = cgi::meta("GET", "/dump", &[]);
        let meta = meta
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let first = [("CONTENT_LENGTH", "0"), ("SCGI", "1")];
        let message = netstring(first.into_iter().chain(more.iter().copied()).chain(meta));
        ScgiClient::connect_as(&server.dir.socket(), Uid::from_raw(uid))
            .send(&message)
            .reply()
    };
    const STRANGER: u32 = 65_000;
    for (path, mode) in [
        (server.dir.join("run"), 0o755),
        (server.dir.place(), 0o755),
        (server.dir.socket(), 0o666),
    ] {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    let names = [
        "AUTH_TYPE",
        "BASH_ENV",
        "GCONV_PATH",
        "GIT_SSH_COMMAND",
        "HTTP_PROXY",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "PATH",
        "PERL5OPT",
        "POLYCGI",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "REMOTE_USER",
        "SSL_CLIENT_VERIFY",
        "wsgi.url_scheme",
    ];
    for name in names {
        let dump = ask(STRANGER, &[(name, "evil")]).ok();
        assert!(!dump.contains("evil"), "{name}: {dump}");
        assert!(dump.contains(r#"["REMOTE_ADDR", "127.0.0.1"]"#), "{dump}");
    }
    assert_eq!(ask(STRANGER, &[("POLYCGI_CONTROL", "stop")]).status(), 400);
    assert_eq!(
        ask(STRANGER, &[("POLYCGI_CONTROL", "status")]).status(),
        400
    );
    let log = server.dir.daemon_log();
    assert_eq!(log.matches("listen-allow").count(), 1, "once: {log}");
    assert!(log.contains("AUTH_TYPE is dropped"), "{log}");
    server.is_well();
}

/// Variables that nginx, Apache and lighttpd leave out or add, to a daemon without `mount`.
#[test]
fn what_web_servers_send_is_put_right() {
    let server = Server::start();
    let ask = |sent: &[(&'static str, &'static str)]| {
        let first = [("CONTENT_LENGTH", "0"), ("SCGI", "1")];
        let more = [
            ("REQUEST_METHOD", "GET"),
            ("SERVER_NAME", "h"),
            ("SERVER_PORT", "80"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("QUERY_STRING", ""),
        ];
        let message = netstring(first.into_iter().chain(more).chain(sent.iter().copied()));
        server.ask(&message).ok()
    };
    let nginx = ask(&[
        ("REQUEST_URI", "/d%75mp"),
        ("DOCUMENT_URI", "/dump"),
        ("HTTP_ACCEPT", "a/b"),
        ("HTTP_ACCEPT", "c/d"),
    ]);
    let apache = ask(&[
        ("REQUEST_URI", "http://h/d%75mp"),
        ("SERVER_SOFTWARE", "Apache/2.4.71 (Debian)"),
        ("SCRIPT_FILENAME", "proxy:scgi://127.0.0.1:4000/dump"),
        ("SCRIPT_NAME", "/dump"),
        ("PATH", "/opt/evil"),
    ]);
    for dump in [&nginx, &apache] {
        assert!(dump.contains(r#"["SCRIPT_NAME", ""]"#), "{dump}");
        assert!(dump.contains(r#"["PATH_INFO", "/dump"]"#), "{dump}");
        assert!(
            dump.contains(r#"["GATEWAY_INTERFACE", "CGI/1.1"]"#),
            "{dump}"
        );
        assert!(!dump.contains("/opt/evil"), "{dump}");
    }
    assert!(nginx.contains(r#"["HTTP_ACCEPT", "a/b, c/d"]"#), "{nginx}");
    let lighttpd = ask(&[
        ("SERVER_SOFTWARE", "lighttpd/1.4.69"),
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("SCRIPT_NAME", "/wiki"),
        ("PATH_INFO", "/dump"),
        ("SERVER_ADMIN", "one"),
        ("SERVER_ADMIN", "two"),
    ]);
    assert!(
        lighttpd.contains(r#"["SCRIPT_NAME", "/wiki"]"#),
        "{lighttpd}"
    );
    assert!(
        lighttpd.contains(r#"["SERVER_ADMIN", "two"]"#) && !lighttpd.contains("one"),
        "{lighttpd}"
    );
    server.is_well();
}

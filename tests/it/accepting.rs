//! `accept`: workers that take requests from the listeners themselves, and what becomes of such a request when anything
//! but the usual happens.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::util::process::{children, descriptors, kill_at_once};
use super::util::scgi::{ScgiClient, header, netstring};
use super::util::served::{assert_same, blocks};
use super::util::{Deadline, Dir, Load, Reply, cgi, pause, strain};

/// More than the daemon gives a worker before that may accept (8 in half a second).
const WARM: usize = 12;

/// An app and its daemon, where plain SCGI clients connect to a path of `listen`.
struct Listening {
    dir: Dir,
    app: PathBuf,
    socket: PathBuf,
}

impl Listening {
    #[track_caller]
    fn with(config: &str) -> Self {
        let dir = Dir::new();
        let socket = dir.join("apps/listener");
        let all = "wsgi = faultapp:application\nmode = daemon\nlog-level = debug\n";
        let accept = match config.contains("accept =") {
            true => "",
            false => "accept = workers\n",
        };
        let config = format!("{all}{accept}listen = {}\n{config}", socket.display());
        let app = dir.app_file("app", &config);
        dir.polycgi(&["start"]).success();
        Self { dir, app, socket }
    }

    fn connect(&self) -> ScgiClient {
        ScgiClient::connect(&self.socket)
    }

    #[track_caller]
    fn ask(&self, target: &str) -> Reply {
        let mut client = self.connect();
        client.send(&header("GET", target, &[], 0)).reply()
    }

    /// A client that has asked, after so many others that a worker accepts.
    #[track_caller]
    fn asking(&self, target: &str) -> ScgiClient {
        self.warm();
        let mut client = self.connect();
        client.send(&header("GET", target, &[], 0));
        client
    }

    /// Requests that the daemon has read itself.
    fn read_by_the_daemon(&self) -> usize {
        self.dir
            .daemon_log()
            .matches("debug: asked: number=")
            .count()
    }

    /// Requests one after the other, until the daemon does not see them any more.
    #[track_caller]
    fn warm(&self) {
        self.warm_by(&header("GET", "/hello", &[], 0));
    }

    #[track_caller]
    fn warm_by(&self, message: &[u8]) {
        let deadline = Deadline::soon();
        loop {
            let before = self.read_by_the_daemon();
            for _ in 0..WARM {
                self.connect().send(message).reply().ok();
            }
            if self.read_by_the_daemon() < before + WARM / 2 {
                return;
            }
            assert!(!deadline.left().is_zero(), "no worker accepts");
        }
    }

    /// The lines of the answer, in an order that says nothing.
    fn shows(&self, message: &[u8]) -> Vec<String> {
        let rest = self.connect().send(message).rest();
        let own = self.dir.path().display().to_string();
        let text = String::from_utf8_lossy(&rest).replace(&own, "DIR");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    #[track_caller]
    fn is_counted(&self, line: &str) {
        self.dir.until_status_has(line);
    }
}

#[test]
fn many_requests_do_not_pass_through_the_daemon() {
    let app = Listening::with("max-procs = 2\n");
    let deadline = Deadline::soon();
    let mut asked = 0;
    // How many do is a matter of luck on a busy host, where a worker does not wait again yet when the next client is
    // there; on one that does nothing else it is almost all.
    loop {
        let before = app.read_by_the_daemon();
        for _ in 0..400 {
            assert!(app.ask("/hello").ok().starts_with("hello from "));
        }
        asked += 400;
        let read = app.read_by_the_daemon() - before;
        if read < if strain() == 1 { 100 } else { 300 } {
            break;
        }
        assert!(!deadline.left().is_zero(), "{read} of 400");
    }
    // The last one is counted a moment after its response.
    let number = |line: &String| line.rsplit(' ').next()?.parse::<usize>().ok();
    app.dir.until_status("three counts of the same", |status| {
        let of_workers =
            |line: &&String| line.starts_with("workers.") && line.contains(".requests = ");
        let by_workers: usize = status.iter().filter(of_workers).filter_map(number).sum();
        let counted = ["counts.daemon", "served.count", "requests"].map(|name| {
            let line = status
                .iter()
                .find(|line| line.starts_with(&format!("{name} = ")));
            line.and_then(number)
        });
        counted == [Some(asked); 3] && by_workers == asked
    });
}

#[test]
fn the_loop_alone_where_it_is_told_so() {
    let app = Listening::with("accept = loop\nmax-procs = 2\n");
    for _ in 0..200 {
        app.ask("/hello").ok();
    }
    assert_eq!(app.read_by_the_daemon(), 200);
}

#[test]
fn seldom_requests_pass_through_the_daemon() {
    let app = Listening::with("max-procs = 1\n");
    for _ in 0..12 {
        app.ask("/hello").ok();
        pause(Duration::from_millis(150));
    }
    assert_eq!(app.read_by_the_daemon(), 12);
}

#[test]
fn an_exception_has_its_page_and_its_line() {
    let app = Listening::with("max-procs = 1\n");
    let reply = app.asking("/broken").reply();
    assert_eq!(reply.status(), 500, "{}", reply.text());
    app.dir.until_logged("Traceback (most recent call last):");
    app.is_counted("counts.exception = 1");
    app.ask("/hello").ok();
}

#[test]
fn a_worker_that_dies_is_replaced_and_told_of() {
    let app = Listening::with("max-procs = 1\n");
    let rest = app.asking("/crash").rest();
    // If the daemon had the request by then, there is a page.
    let text = String::from_utf8_lossy(&rest);
    assert!(
        text.is_empty() || text.starts_with("Status: 502 "),
        "{text}"
    );
    app.dir.until_logged("worker died in a request: ");
    app.is_counted("counts.bad-gateway = 1");
    app.ask("/hello").ok();
}

/// Of a front, whose response nobody else would answer.
#[test]
fn a_front_s_worker_that_dies_is_a_502() {
    let app = Listening::with("max-procs = 1\n");
    for _ in 0..3 * WARM {
        cgi::start_front(&app.app, "/hello").end().response().ok();
    }
    let reply = cgi::reply(&cgi::start_front(&app.app, "/crash").end().stdout);
    assert_eq!(reply.status(), 502, "{}", reply.text());
}

#[test]
fn a_stuck_request_is_a_504_with_its_stack() {
    let app = Listening::with("max-procs = 1\nrequest-timeout = SECOND\n");
    let mut gate = app.dir.gate("gate");
    let mut client = app.asking("/hold?gate=gate");
    gate.entered();
    assert_eq!(client.reply().status(), 504);
    app.dir.until_logged("in pass_gate");
    app.is_counted("counts.timed-out = 1");
    app.ask("/hello").ok();
}

#[test]
fn a_response_that_is_not_taken_waits_in_the_spool() {
    const SIZE: usize = 8 << 20;
    let app = Listening::with("max-procs = 1\n");
    let mut slow = app.asking(&format!("/big?size={SIZE}"));
    // Its worker serves others meanwhile.
    app.ask("/hello").ok();
    let reply = slow.reply();
    assert_same(&reply.body, &blocks(SIZE));
}

#[test]
fn a_client_that_goes_is_counted() {
    let app = Listening::with("max-procs = 1\n");
    let mut gate = app.dir.gate("gate");
    let client = app.asking("/hold?gate=gate");
    gate.entered();
    drop(client);
    gate.open(1);
    app.is_counted("counts.client-gone = 1");
    app.ask("/hello").ok();
}

#[test]
fn what_is_no_plain_header_is_the_daemon_s() {
    let app = Listening::with("max-procs = 1\n");
    app.warm();
    let body = b"a body".repeat(100);
    let mut client = app.connect();
    client.send(&header("POST", "/digest", &[], body.len()));
    client.send(&body);
    client.reply().ok();
    app.warm();
    let mut client = app.connect();
    assert_eq!(client.send(b"GET / HTTP/1.1\r\n\r\n").reply().status(), 400);
    app.warm();
    // In pieces, with a pause that is longer than a worker waits.
    let mut client = app.connect();
    let whole = header("GET", "/hello", &[], 0);
    let (one, other) = whole.split_at(30);
    client.send(one);
    pause(Duration::from_millis(50));
    client.send(other).reply().ok();
}

/// A stranger that sends nothing holds no worker up.
#[test]
fn silent_connections_are_the_daemon_s() {
    let app = Listening::with("max-procs = 1\n");
    app.warm();
    let silent: Vec<ScgiClient> = (0..50).map(|_| app.connect()).collect();
    for _ in 0..20 {
        app.ask("/hello").ok();
    }
    drop(silent);
}

/// The same headers, by a worker and by the daemon: what the application sees, or what the client gets.
#[test]
fn a_header_means_the_same_to_both() {
    // Right with the mount and without it.
    let warm = netstring([
        ("CONTENT_LENGTH", "0"),
        ("SCGI", "1"),
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", "/site/hello"),
        ("DOCUMENT_URI", "/site/hello"),
        ("SCRIPT_NAME", "/site"),
        ("PATH_INFO", "/hello"),
        ("SERVER_NAME", "localhost"),
        ("SERVER_PORT", "80"),
    ]);
    for config in ["", "mount = /site\n"] {
        let direct = Listening::with(&format!("max-procs = 1\n{config}"));
        let given = Listening::with(&format!("max-procs = 1\naccept = loop\n{config}"));
        let headers = headers();
        let mut left: Vec<usize> = (0..headers.len()).collect();
        let mut taken = 0;
        // On a slow host a worker may be called back just before, so that the daemon has it twice: once more then.
        let mut deadline = None;
        loop {
            let mut differing = Vec::new();
            left.retain(|&nth| {
                let message = &headers[nth];
                direct.warm_by(&warm);
                let read = direct.read_by_the_daemon();
                let shown = [&direct, &given].map(|app| app.shows(message));
                if shown[0] != shown[1] {
                    differing.push(format!("{nth}: {message:?}: {shown:#?}"));
                }
                let is_of_the_app = shown[0].len() > 10;
                let is_taken = is_of_the_app && direct.read_by_the_daemon() == read;
                taken += usize::from(is_taken);
                is_of_the_app && !is_taken
            });
            assert!(differing.is_empty(), "{}", differing.join("\n"));
            if taken >= 4 {
                break;
            }
            let deadline = deadline.get_or_insert_with(Deadline::soon);
            assert!(!deadline.left().is_zero(), "workers took {taken}");
        }
    }
}

fn headers() -> Vec<Vec<u8>> {
    let base = [
        ("CONTENT_LENGTH", "0"),
        ("SCGI", "1"),
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", "/site/dump?a=b"),
        ("QUERY_STRING", "a=b"),
        ("SERVER_NAME", "localhost"),
        ("SERVER_PORT", "80"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REMOTE_ADDR", "127.0.0.1"),
    ];
    let more: &[&[(&str, &str)]] = &[
        &[],
        &[("DOCUMENT_URI", "/site/dump")],
        &[("DOCUMENT_URI", "/dump")],
        &[("DOCUMENT_URI", "/dump"), ("SCRIPT_NAME", "")],
        &[("DOCUMENT_URI", "/site/dump"), ("SCRIPT_NAME", "/site")],
        &[("SCRIPT_NAME", "/site"), ("PATH_INFO", "/dump")],
        &[("SCRIPT_NAME", ""), ("PATH_INFO", "/dump")],
        &[("PATH_INFO", "/dump")],
        &[("PATH_INFO", "/dump"), ("PATH_TRANSLATED", "/srv/dump")],
        &[("DOCUMENT_URI", "/dump"), ("PATH_TRANSLATED", "/srv/dump")],
        &[("PATH_INFO", "/dump"), ("SCGI", "1")],
        &[("PATH_INFO", "/dump"), ("SCGI", "2")],
        &[("PATH_INFO", "/dump"), ("CONTENT_LENGTH", "0")],
        &[("PATH_INFO", "/dump"), ("CONTENT_LENGTH", "5")],
        &[("PATH_INFO", "/dump"), ("HTTP_CONTENT_LENGTH", "0")],
        &[("PATH_INFO", "/dump"), ("HTTP_CONTENT_LENGTH", "7")],
        &[
            ("PATH_INFO", "/dump"),
            ("HTTP_TRANSFER_ENCODING", "chunked"),
        ],
        &[("PATH_INFO", "/dump"), ("HTTP_PROXY", "evil")],
        &[("PATH_INFO", "/dump"), ("HTTP_", "x")],
        &[("PATH_INFO", "/dump"), ("HTTP_X=Y", "x")],
        &[("PATH_INFO", "/dump"), ("HTTP_X", "x"), ("HTTP_X", "y")],
        &[("PATH_INFO", "/dump"), ("HTTP_X", "x"), ("HTTP_X", "x")],
        &[("PATH_INFO", "/dump"), ("HTTP_ACCEPT", "text/html")],
        &[("PATH_INFO", "/dump"), ("http_x", "x")],
        &[("PATH_INFO", "/dump"), ("REMOTE_USER", "somebody")],
        &[("PATH_INFO", "/dump"), ("AUTH_TYPE", "Basic")],
        &[("PATH_INFO", "/dump"), ("SSL_CLIENT_S_DN", "x")],
        &[("PATH_INFO", "/dump"), ("LD_PRELOAD", "x")],
        &[("PATH_INFO", "/dump"), ("PATH", "/evil")],
        &[("PATH_INFO", "/dump"), ("POLYCGI", "1")],
        &[("PATH_INFO", "/dump"), ("POLYCGI_CONTROL", "stop")],
        &[("PATH_INFO", "/dump"), ("REDIRECT_STATUS", "404")],
        &[("PATH_INFO", "/dump"), ("GATEWAY_INTERFACE", "CGI/1.1")],
        &[("PATH_INFO", "/dump"), ("HTTPS", "on")],
        &[("PATH_INFO", "/dump"), ("REQUEST_SCHEME", "https")],
        &[
            ("PATH_INFO", "/dump/%"),
            ("SERVER_SOFTWARE", "lighttpd/1.4"),
        ],
        &[
            ("SCRIPT_NAME", "/site/dump"),
            ("SERVER_SOFTWARE", "Apache/2.4"),
            ("SCRIPT_FILENAME", "proxy:scgi://localhost/dump"),
        ],
        &[
            ("SCRIPT_NAME", "/site"),
            ("PATH_INFO", "/dump"),
            ("SERVER_SOFTWARE", "Apache/2.4"),
            ("SCRIPT_FILENAME", "proxy:scgi://localhost/dump"),
        ],
        &[("PATH_INFO", "/dump"), ("", "x")],
        &[("PATH_INFO", "/dump/\u{e9}")],
    ];
    let mut all: Vec<Vec<u8>> = Vec::new();
    for more in more {
        let begins_with_own = more.iter().any(|(name, _)| *name == "CONTENT_LENGTH");
        let base = base
            .iter()
            .copied()
            .filter(|(name, _)| !(begins_with_own && *name == "CONTENT_LENGTH" && more.len() > 2));
        all.push(netstring(base.chain(more.iter().copied())));
    }
    let mut plain = netstring(base.into_iter().chain([("PATH_INFO", "/dump")]));
    all.push([&plain[..], b"behind"].concat());
    all.push([b"0", &plain[..]].concat());
    let comma = plain.len() - 1;
    plain[comma] = b';';
    all.push(plain);
    all
}

/// A worker that is in a request has the listeners, too: they end with the daemon all the same.
#[test]
fn a_killed_daemon_s_listeners_are_dead() {
    let app = Listening::with("max-procs = 2\n");
    let mut gate = app.dir.gate("gate");
    let mut held = app.asking("/hold?gate=gate");
    let worker = gate.entered();
    let daemon = app.dir.daemon();
    assert!(children(daemon).contains(&worker));
    kill_at_once(daemon);
    let deadline = Deadline::soon();
    let takes = |path: &Path| UnixStream::connect(path).is_ok();
    while takes(&app.socket) || takes(&app.dir.socket()) {
        assert!(!deadline.left().is_zero(), "somebody still listens");
        std::thread::yield_now();
    }
    gate.open(1);
    // Nobody ends it for its worker, and it is whole.
    assert!(held.reply().ok().contains(&worker.to_string()));
    app.dir.polycgi(&["start"]).success();
    app.ask("/hello").ok();
}

#[test]
fn an_edit_is_seen() {
    let app = Listening::with("max-procs = 2\n");
    app.warm();
    let module = app.dir.join("apps/faultapp.py");
    let text = fs::read_to_string(&module).expect("an app can be read");
    app.dir.file(
        "apps/faultapp.py",
        &text.replace("'noisy\\n'", "'NOISY\\n'"),
        0o644,
    );
    let deadline = Deadline::after(Duration::from_secs(1));
    while !deadline.left().is_zero() {
        app.ask("/hello").ok();
    }
    let mut client = app.connect();
    client.send(&header("GET", "/noise", &[], 0));
    assert_eq!(client.reply().ok(), "NOISY\n");
}

/// Where workers don't take a front's request, the daemon does, however busy they are with other clients.
#[test]
fn a_listener_of_the_daemon_s_alone_is_served_beside_theirs() {
    let app = Listening::with("max-procs = 1\nhandoff = relay\n");
    app.warm();
    let busy = |_, _| app.ask("/hello").ok();
    Load::beside(3, busy, |load| {
        for _ in 0..20 {
            let answer = cgi::start_front(&app.app, "/hello").end().response().ok();
            assert!(answer.starts_with("hello from "));
            load.assert_goes_on();
        }
    });
    app.is_counted("counts.cgi = 0");
    assert!(app.dir.daemon_log().contains("own=true"), "by the daemon");
}

/// What the daemon has for a worker ends with it.
#[test]
fn a_worker_leaves_no_descriptors() {
    let app = Listening::with("max-procs = 1\n");
    app.asking("/crash").rest();
    app.warm();
    let daemon = app.dir.daemon();
    let before = descriptors(daemon);
    for _ in 0..5 {
        app.asking("/crash").rest();
        app.warm();
    }
    let deadline = Deadline::soon();
    // Beside them it may have opened the one by which it asks for the length of a backlog.
    while descriptors(daemon) > before + 1 {
        assert!(
            !deadline.left().is_zero(),
            "{before}, {}",
            descriptors(daemon)
        );
        std::thread::yield_now();
    }
}

/// Nothing is there that a worker could accept from.
#[test]
fn without_a_listener_for_them_workers_accept_nothing() {
    let dir = Dir::new();
    let config = "wsgi = faultapp:application\nmode = daemon\nhandoff = relay\nmax-procs = 1\n";
    let app = dir.app_file("app", config);
    for _ in 0..WARM {
        cgi::start_front(&app, "/hello").end().response().ok();
    }
    dir.until_status_has(&format!("counts.daemon = {WARM}"));
    assert!(!dir.daemon_log().contains("accept"), "{}", dir.daemon_log());
}

//! `connect`, an SCGI server that runs already: asked over its socket or by TCP, by a daemon or, where there can be
//! none, by the front itself.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use nix::sys::signal::Signal;

use super::util::process::send;
use super::util::served::{assert_same, blocks, noise, pid_in};
use super::util::{
    Chunked, Deadline, Dir, Mpm, Output, Reply, Running, Site, Watch, as_user, cgi, daemon, digest,
    joined, under_both,
};

under_both!(
    an_app_behind_a_socket
    a_socket_without_a_server
    a_body_without_a_length
);

/// That server, run by the test.
struct RunningServer {
    child: Child,
}

impl RunningServer {
    /// Starts it; `words` name the address at which it listens.
    #[track_caller]
    fn start(dir: &Dir, words: &[String]) -> Self {
        let child = as_user("/usr/bin/python3")
            .arg(dir.join("apps/scgiserver.py"))
            .args(words)
            .current_dir(dir.join("apps"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start a server: {error}"));
        Self { child }
    }

    #[track_caller]
    fn at_path(dir: &Dir) -> Self {
        let path = dir.join("apps/theirs");
        let server = Self::start(dir, &[format!("bind={}", path.display())]);
        until("it listens", || {
            std::os::unix::net::UnixStream::connect(&path).is_ok()
        });
        server
    }

    #[track_caller]
    fn at(dir: &Dir, address: SocketAddr) -> Self {
        let server = Self::start(dir, &[format!("tcp={address}")]);
        until("it listens", || {
            std::net::TcpStream::connect(address).is_ok()
        });
        server
    }

    fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    fn stop(&mut self) {
        // It may be gone, which is right too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.stop();
    }
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Deadline::soon();
    while !holds() {
        assert!(!deadline.left().is_zero(), "not {what}");
    }
}

/// An address at which no server listens.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("a listener has an address")
}

fn line(dir: &Dir) -> String {
    format!("connect = {}\n", dir.join("apps/theirs").display())
}

#[track_caller]
fn get(app: &Path, target: &str) -> Reply {
    cgi::start_front(app, target).end().response()
}

#[track_caller]
fn post(app: &Path, target: &str, body: &[u8]) -> Reply {
    let mut front = cgi::front(app, "POST", target, &[]);
    front.env("CONTENT_LENGTH", body.len().to_string());
    Running::start(&mut front, body).end().response()
}

fn an_app_behind_a_socket(mpm: Mpm) {
    let site = Site::bare(mpm, 16);
    site.dir.app_file("app", &line(&site.dir));
    let server = RunningServer::at_path(&site.dir);
    assert_eq!(pid_in(&site.get("/hello").ok()), server.pid());
    let daemon = site.dir.daemon();
    let meta = site.get("/x/meta?y=z").ok();
    assert!(meta.starts_with("CONTENT_LENGTH=0\nSCGI=1\n"), "{meta}");
    for name in ["POLYCGI", "HTTP_PROXY", "PATH"] {
        let start = format!("{name}=");
        assert!(!meta.lines().any(|line| line.starts_with(&start)), "{meta}");
    }
    let body = noise(3_000_000);
    let reply = site.send("POST", "/digest", &[], Some(&body));
    assert_eq!(reply.ok(), format!("{} 3000000\n", digest(&body)));
    let early = site.send("POST", "/early", &[], Some(&body[..200_000]));
    assert_eq!((early.status(), early.text().as_str()), (413, "too much\n"));
    assert_eq!(site.dir.daemon(), daemon);
    assert_eq!(site.dir.starts(), 1);
}

/// Over a socket and by TCP, from the daemon and from the front, the server gets the length.
fn a_body_without_a_length(mpm: Mpm) {
    let mut site = Site::bare(mpm, 16);
    let dir = &site.dir;
    let spool = dir.folder("spool", 0o700);
    let _server = RunningServer::at_path(dir);
    let own = "scgi = python3 scgiserver.py\n".to_owned();
    let body = noise(2_000_000);
    for (config, mode) in [(line(dir), 0o700), (own, 0o700), (line(dir), 0o755)] {
        dir.app_file("app", &format!("{config}spool-dir = {}\n", spool.display()));
        // Without a place for the app there is no daemon.
        fs::set_permissions(dir.join("run"), PermissionsExt::from_mode(mode))
            .expect("a mode can be set");
        for size in [0, 10, 100_000, body.len()] {
            let chunked = Chunked::post(site.server.address(), "/cgi-bin/app/digest");
            let reply = chunked.whole(&body[..size]);
            let expected = format!("{} {size}\n", digest(&body[..size]));
            assert_eq!(reply.ok(), expected, "{config}");
        }
        if mode == 0o700 {
            dir.polycgi(&["stop"]).success();
        }
    }
    fs::set_permissions(dir.join("run"), PermissionsExt::from_mode(0o700))
        .expect("a mode can be set");
    site.logged("no daemon");
}

fn a_socket_without_a_server(mpm: Mpm) {
    let mut site = Site::bare(mpm, 16);
    site.dir.app_file("app", &line(&site.dir));
    let reply = site.get("/hello");
    assert_eq!(reply.status(), 503);
    assert!(reply.field("Retry-After").is_some());
    let said = String::from_utf8_lossy(&reply.body).into_owned();
    assert!(said.contains("is not running just now"), "{said}");
    site.logged("No such file or directory");
    // A socket without a listener, as a server that died leaves it.
    let path = site.dir.join("apps/theirs");
    drop(UnixListener::bind(&path).expect("a socket can be made"));
    fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).expect("a mode can be set");
    assert_eq!(site.get("/hello").status(), 503);
    site.logged("Connection refused");
    // The failure is logged once, however many requests see it.
    let written = || {
        let state = fs::metadata(site.dir.place().join("state"));
        state
            .and_then(|state| state.modified())
            .expect("the state was written")
    };
    // It is written in the turn that answers, and may come after the answer.
    let place = site.dir.place();
    let says = || {
        let text = fs::read_to_string(place.join("state"));
        text.is_ok_and(|text| text.contains("Connection refused"))
    };
    let is_there = Watch::on(&place).until(Deadline::soon(), says);
    assert!(is_there, "the state says what failed");
    let before = written();
    assert_eq!(site.get("/hello").status(), 503);
    assert_eq!(written(), before);
    fs::remove_file(&path).expect("a socket can be removed");
    // As soon as the server is there it is asked: the daemon has no back-off for it.
    let _server = RunningServer::at_path(&site.dir);
    site.get("/hello").ok();
    assert_eq!(site.dir.starts(), 1);
}

#[test]
fn by_tcp() {
    const SIZE: usize = 10_000_000;
    let dir = Dir::new();
    let address = free_address();
    let app = dir.app_file("app", &format!("connect = {address}\n"));
    let Output { stdout, stderr, .. } = cgi::start_front(&app, "/hello").end();
    assert_eq!(cgi::reply(&stdout).status(), 503);
    assert!(stderr.contains("Connection refused"), "{stderr}");
    let mut server = RunningServer::at(&dir, address);
    assert_eq!(pid_in(&get(&app, "/hello").ok()), server.pid());
    let body = noise(SIZE);
    assert_eq!(
        post(&app, "/digest", &body).ok(),
        format!("{} {SIZE}\n", digest(&body))
    );
    assert_same(&get(&app, &format!("/big?size={SIZE}")).body, &blocks(SIZE));
    assert_same(
        &post(&app, "/echo", &body[..3_000_000]).body,
        &body[..3_000_000],
    );
    server.stop();
    assert_eq!(
        cgi::reply(&cgi::start_front(&app, "/hello").end().stdout).status(),
        503
    );
    assert_eq!(dir.starts(), 1);
}

#[test]
fn by_a_host_s_name() {
    let dir = Dir::new();
    let address = free_address();
    let app = dir.app_file("app", &format!("connect = localhost:{}\n", address.port()));
    let server = RunningServer::at(&dir, address);
    assert_eq!(pid_in(&get(&app, "/hello").ok()), server.pid());
    let bad = dir.app_file("bad", "connect = nowhere.invalid:9000\n");
    let Output { stdout, stderr, .. } = cgi::start_front(&bad, "/hello").end();
    assert_eq!(cgi::reply(&stdout).status(), 500, "{stderr}");
    assert!(stderr.contains("nowhere.invalid"), "{stderr}");
}

#[test]
fn at_most_max_procs_at_once() {
    let dir = Dir::new();
    let app = dir.app_file("app", &format!("{}max-procs = 2\n", line(&dir)));
    let _server = RunningServer::at_path(&dir);
    let mut gate = dir.gate("gate");
    let fronts: Vec<Running> = (0..5)
        .map(|_| cgi::start_front(&app, "/hold?gate=gate"))
        .collect();
    gate.entered();
    gate.entered();
    dir.until_status("three that wait", |status| {
        daemon::workers_that_are(status, "busy") == 2
            && status.iter().any(|line| line == "queue = 3")
    });
    assert!(!gate.was_entered());
    gate.open(5);
    for front in fronts {
        front.end().response().ok();
    }
}

#[test]
fn a_server_that_hangs_is_left_alone() {
    let dir = Dir::new();
    let app = dir.app_file("app", &format!("{}request-timeout = SECOND\n", line(&dir)));
    let server = RunningServer::at_path(&dir);
    let mut gate = dir.gate("gate");
    let hangs = cgi::start_front(&app, "/hang?gate=gate");
    assert_eq!(gate.entered(), server.pid());
    let Output { stdout, stderr, .. } = hangs.end();
    assert_eq!(cgi::reply(&stdout).status(), 504, "{stderr}");
    assert!(stderr.contains("request-timeout"), "{stderr}");
    send(server.pid(), Signal::SIGCONT);
    assert_eq!(pid_in(&get(&app, "/hello").ok()), server.pid());
}

/// An app whose place can't be made.
fn without_a_place(dir: &Dir, config: &str) -> PathBuf {
    let app = dir.app_file("app", config);
    fs::set_permissions(dir.join("run"), PermissionsExt::from_mode(0o755))
        .expect("a mode can be set");
    app
}

#[test]
fn without_a_daemon_the_front_asks_by_itself() {
    let dir = Dir::new();
    let app = without_a_place(&dir, &line(&dir));
    let told = |target: &str| {
        let Output { stdout, stderr, .. } = cgi::start_front(&app, target).end();
        (cgi::reply(&stdout), stderr)
    };
    let (reply, log) = told("/hello");
    assert_eq!(reply.status(), 503, "{log}");
    assert!(log.contains("No such file or directory"), "{log}");
    let server = RunningServer::at_path(&dir);
    let (reply, log) = told("/hello");
    assert_eq!(pid_in(&reply.ok()), server.pid());
    assert!(log.contains("no daemon"), "{log}");
    assert_eq!(told("/nothing").0.status(), 502);
    assert_same(&told("/big?size=3000000").0.body, &blocks(3_000_000));
    assert_eq!(dir.all_daemons(), [0; 0]);
    fs::set_permissions(dir.join("run"), PermissionsExt::from_mode(0o700))
        .expect("a mode can be set");
}

#[test]
fn without_a_daemon_a_server_of_ones_own_can_not_be_had() {
    let dir = Dir::new();
    let app = without_a_place(&dir, "scgi = python3 scgiserver.py\n");
    let Output { stdout, stderr, .. } = cgi::start_front(&app, "/hello").end();
    assert_eq!(cgi::reply(&stdout).status(), 503, "{stderr}");
    assert!(stderr.contains("no daemon"), "{stderr}");
    fs::set_permissions(dir.join("run"), PermissionsExt::from_mode(0o700))
        .expect("a mode can be set");
}

#[test]
fn check_says_whether_the_address_answers_and_the_command_is_there() {
    let dir = Dir::new();
    dir.app_file("app", &line(&dir));
    let away = dir.polycgi(&["check"]);
    assert!(!away.status.success());
    let said = joined(&String::from_utf8_lossy(&away.stdout));
    assert!(said.contains("No such file or directory"), "{said}");
    let _server = RunningServer::at_path(&dir);
    dir.polycgi(&["check"]).success();
    dir.app_file("app", "scgi = python3 scgiserver.py\n");
    dir.polycgi(&["check"]).success();
    dir.app_file("app", "scgi = ./no-such-server\n");
    let missing = dir.polycgi(&["check"]);
    assert!(!missing.status.success());
    let said = joined(&String::from_utf8_lossy(&missing.stdout));
    assert!(said.contains("no-such-server"), "{said}");
}

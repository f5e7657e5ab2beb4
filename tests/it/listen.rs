//! `listen`: where a daemon can be reached beside its own socket, by whom, and what becomes of that when it goes.

use std::fs;
use std::net::{IpAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::{Uid, geteuid};

use super::util::process::{kill_at_once, send};
use super::util::scgi::{ScgiClient, header, netstring};
use super::util::served::{assert_same, blocks, noise};
use super::util::{
    Deadline, Dir, as_other, cgi, daemon, digest, free_address, installed, joined, run,
};

const CONFIG: &str = "wsgi = testapp:application\nmode = daemon\n";

/// A directory with an app that has these lines, `AT` standing for the directory, and its daemon.
fn started(config: &str) -> Dir {
    let dir = Dir::new();
    configure(&dir, config);
    dir.polycgi(&["start"]).success();
    dir
}

fn configure(dir: &Dir, config: &str) {
    let at = dir.path().display().to_string();
    dir.app_file("app", &format!("{CONFIG}{}", config.replace("AT", &at)));
}

fn dump(client: &mut ScgiClient) -> String {
    let meta = cgi::meta("GET", "/dump", &[]);
    let meta = meta.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    let said = [
        ("CONTENT_LENGTH", "0"),
        ("SCGI", "1"),
        ("REMOTE_USER", "somebody"),
        ("X_UNKNOWN", "x"),
    ];
    let message = netstring(said.into_iter().chain(meta));
    client.send(&message).reply().ok()
}

/// The process that has answered.
#[track_caller]
fn hello(mut client: ScgiClient) -> String {
    let hello = client.send(&header("GET", "/hello", &[], 0)).reply().ok();
    assert!(hello.starts_with("hello from "), "{hello}");
    hello
}

/// The connection is closed without an answer.
#[track_caller]
fn assert_closed(mut client: ScgiClient) {
    client.send(&header("GET", "/hello", &[], 0));
    let rest = client.rest();
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}

fn of(name: &str, address: &str) -> ScgiClient {
    let from: IpAddr = name.parse().expect("an address");
    ScgiClient::connect_tcp(from, address.parse().expect("an address and a port"))
}

fn mode(path: &Path) -> u32 {
    let found = fs::metadata(path).expect("a socket is there");
    found.permissions().mode() & 0o7777
}

#[track_caller]
fn until_served(path: &Path) {
    let deadline = Deadline::soon();
    while UnixStream::connect(path).is_err() {
        assert!(
            !deadline.left().is_zero(),
            "no daemon serves {}",
            path.display()
        );
    }
}

#[test]
fn a_path_is_served_with_the_owners_mode() {
    let dir = started("listen = AT/sock\n");
    let path = dir.join("sock");
    assert_eq!(mode(&path), 0o600);
    hello(ScgiClient::connect(&path));
    // A web server of our own uid is believed, as at the daemon's own socket.
    let own = dump(&mut ScgiClient::connect(&path));
    assert!(own.contains(r#"["REMOTE_USER", "somebody"]"#), "{own}");
    let serving = dir.daemon();
    daemon::with_its_children(serving, || {
        dir.polycgi(&["stop"]).success();
    });
    assert!(!path.exists(), "the daemon has removed its socket");
}

#[test]
fn several_addresses_at_once() {
    let (one, other) = (free_address(), free_address());
    let dir = started(&format!("listen = AT/sock {one} AT/other {other}\n"));
    hello(ScgiClient::connect(&dir.join("sock")));
    hello(ScgiClient::connect(&dir.join("other")));
    for address in [one, other] {
        hello(ScgiClient::connect_tcp([127, 0, 0, 1].into(), address));
    }
    let front = cgi::start_front(&dir.join("cgi-bin/app"), "/hello");
    front.end().response().ok();
    assert_eq!(dir.starts(), 1);
}

#[test]
fn mode_and_group_are_for_others() {
    if !geteuid().is_root() {
        return;
    }
    let dir = Dir::new();
    // Debian's base-passwd has these numbers.
    let (www_data, users, nobody) = (33, 100, 65534);
    configure(
        &dir,
        "listen = AT/sock\nsocket-mode = 0660\nsocket-group = users\n",
    );
    let mut command = as_other("/usr/bin/setpriv", Uid::from_raw(0), 0.into());
    command.args([
        format!("--reuid={www_data}"),
        format!("--regid={www_data}"),
        format!("--groups={www_data},{users}"),
    ]);
    let polycgi = installed("polycgi");
    run(
        command
            .arg(polycgi)
            .arg("start")
            .arg(dir.join("cgi-bin/app")),
        b"",
    )
    .success();
    let path = dir.join("sock");
    assert_eq!(mode(&path), 0o660);
    let found = fs::metadata(&path).expect("a socket is there");
    assert_eq!((found.uid(), found.gid()), (www_data, users));
    // The kernel decides who connects; the test looks at that only.
    let mut connect = as_other("/usr/bin/python3", Uid::from_raw(nobody), nobody.into());
    connect.args([
        "-c",
        "import socket, sys; socket.socket(1).connect(sys.argv[1])",
    ]);
    let refused = run(connect.arg(&path), b"");
    assert!(
        refused.stderr.contains("PermissionError"),
        "{}",
        refused.stderr
    );
    let mut connect = as_other("/usr/bin/python3", Uid::from_raw(nobody), users.into());
    connect.args([
        "-c",
        "import socket, sys; socket.socket(1).connect(sys.argv[1])",
    ]);
    run(connect.arg(&path), b"").success();
}

#[test]
fn an_unknown_group_is_told_and_the_rest_is_served() {
    let dir = started("listen = AT/sock\nsocket-group = no-such-group\n");
    assert!(!dir.join("sock").exists());
    let front = cgi::start_front(&dir.join("cgi-bin/app"), "/hello");
    front.end().response().ok();
    let sentence = "socket-group: /etc/group has no group no-such-group";
    dir.until_status(sentence, |status| {
        let last = status.iter().find(|line| line.starts_with("last_failure"));
        last.is_some_and(|line| line.contains(sentence))
    });
    assert_eq!(dir.daemon_log().matches(sentence).count(), 1);
    // The daemon serves; `start` says what is missing.
    let start = dir.polycgi(&["start"]);
    assert_eq!(start.status.code(), Some(0));
    assert_eq!(
        start.stderr.matches(sentence).count(),
        1,
        "{}",
        start.stderr
    );
    let check = dir.polycgi(&["check"]);
    assert_eq!(check.status.code(), Some(78));
    let said = joined(&String::from_utf8_lossy(&check.stdout));
    assert_eq!(said.matches(sentence).count(), 1, "{said}");
}

/// Users are named by number and by name.
#[test]
fn only_users_who_are_named_come_in() {
    if !geteuid().is_root() {
        return;
    }
    let dir = started("listen = AT/sock\nsocket-mode = 0666\nlisten-allow = nobody 12345\n");
    let path = dir.join("sock");
    let named = [65534, 12345];
    for uid in named {
        let dumped = dump(&mut ScgiClient::connect_as(&path, Uid::from_raw(uid)));
        assert!(
            dumped.contains(r#"["REMOTE_USER", "somebody"]"#),
            "{dumped}"
        );
        assert!(!dumped.contains("X_UNKNOWN"), "{dumped}");
    }
    hello(ScgiClient::connect(&path));
    for _ in 0..3 {
        assert_closed(ScgiClient::connect_as(&path, Uid::from_raw(12346)));
        assert_closed(ScgiClient::connect_as(&path, Uid::from_raw(0)));
    }
    for uid in [12346, 0] {
        dir.until_logged(&format!("closed: uid {uid} may not connect"));
    }
    let log = dir.daemon_log();
    for uid in [12346, 0] {
        let line = format!("closed: uid {uid} may not connect");
        assert_eq!(log.matches(&line).count(), 1, "{log}");
    }
}

#[test]
fn whom_the_mode_lets_in_is_served_and_not_believed() {
    if !geteuid().is_root() {
        return;
    }
    let dir = started("listen = AT/sock\nsocket-mode = 0666\n");
    let mut other = ScgiClient::connect_as(&dir.join("sock"), Uid::from_raw(12345));
    let dumped = dump(&mut other);
    assert!(!dumped.contains("REMOTE_USER"), "{dumped}");
    assert!(!dumped.contains("X_UNKNOWN"), "{dumped}");
}

#[test]
fn tcp_is_for_this_host_and_not_believed() {
    let address = free_address();
    let dir = started(&format!("listen = {address}\n"));
    let dumped = dump(&mut ScgiClient::connect_tcp([127, 0, 0, 9].into(), address));
    assert!(!dumped.contains("REMOTE_USER"), "{dumped}");
    assert!(!dumped.contains("X_UNKNOWN"), "{dumped}");
    assert!(
        dumped.contains(r#"["REMOTE_ADDR", "127.0.0.1"]"#),
        "{dumped}"
    );
    let serving = dir.daemon();
    daemon::with_its_children(serving, || {
        dir.polycgi(&["stop"]).success();
    });
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn only_networks_that_are_named_come_in() {
    let address = free_address();
    let dir = started(&format!(
        "listen = {address}\nlisten-allow = 127.0.3.0/24\n"
    ));
    let dumped = dump(&mut of("127.0.3.7", &address.to_string()));
    assert!(
        dumped.contains(r#"["REMOTE_USER", "somebody"]"#),
        "{dumped}"
    );
    assert!(!dumped.contains("X_UNKNOWN"), "{dumped}");
    for _ in 0..3 {
        assert_closed(of("127.0.4.7", &address.to_string()));
    }
    let line = "closed: 127.0.4.7 may not connect";
    dir.until_logged(line);
    let log = dir.daemon_log();
    assert_eq!(log.matches(line).count(), 1, "{log}");
}

/// Bodies larger than every buffer on the way, in both directions, and one that comes late.
#[test]
fn large_bodies_by_tcp() {
    let address = free_address();
    let dir = started(&format!("listen = {address}\n"));
    let body = noise(3_000_001);
    let here: IpAddr = [127, 0, 0, 1].into();
    let mut client = ScgiClient::connect_tcp(here, address);
    client.send(&header("POST", "/digest", &[], body.len()));
    // Another client is answered while the first one's body is still to come.
    hello(ScgiClient::connect_tcp(here, address));
    let expected = format!("{} {}\n", digest(&body), body.len());
    assert_eq!(client.send(&body).reply().ok(), expected);
    let mut client = ScgiClient::connect_tcp(here, address);
    client.send(&header("GET", "/big?size=3000001", &[], 0));
    assert_same(&client.reply().body, &blocks(3_000_001));
    // A body that is not read does not reset the connection before the answer.
    let mut client = ScgiClient::connect_tcp(here, address);
    client.send(&header("POST", "/unread", &[], body.len()));
    client.send(&body);
    assert_eq!(client.reply().body.len(), 200_000);
    assert_eq!(dir.starts(), 1);
}

/// Commands are refused at the addresses of `listen`, by path and by TCP.
#[test]
fn no_command_comes_by_tcp() {
    let address = free_address();
    let dir = started(&format!("listen = {address}\nlisten-allow = 127.0.0.0/8\n"));
    let word = netstring([
        ("CONTENT_LENGTH", "0"),
        ("SCGI", "1"),
        ("POLYCGI_CONTROL", "stop"),
    ]);
    let mut client = ScgiClient::connect_tcp([127, 0, 0, 1].into(), address);
    assert_eq!(client.send(&word).reply().status(), 400);
    hello(ScgiClient::connect_tcp([127, 0, 0, 1].into(), address));
    assert_eq!(dir.starts(), 1);
}

#[test]
fn what_a_killed_daemon_left_is_taken_over() {
    let address = free_address();
    let dir = started(&format!("listen = AT/sock {address}\n"));
    let path = dir.join("sock");
    let first = dir.daemon();
    kill_at_once(first);
    assert!(path.exists(), "it could not take it away");
    dir.polycgi(&["start"]).success();
    hello(ScgiClient::connect(&path));
    hello(ScgiClient::connect_tcp([127, 0, 0, 1].into(), address));
    assert_ne!(dir.daemon(), first);
}

/// Neither the socket of a server that runs nor a file that is no socket is replaced. An address that becomes free is
/// taken then.
#[test]
fn what_another_process_has_is_not_taken() {
    let dir = Dir::new();
    let live = UnixListener::bind(dir.join("live")).expect("a socket can be bound");
    let (uid, gid) = (fs::metadata(dir.join("run")).map(|m| (m.uid(), m.gid()))).expect("a folder");
    chown(dir.join("live"), Some(uid), Some(gid)).expect("a socket can be given away");
    dir.file("precious", "a text\n", 0o644);
    configure(
        &dir,
        "listen = AT/live AT/precious AT/no/folder\nidle-timeout = 10s\n",
    );
    let check = dir.polycgi(&["check"]);
    assert_eq!(check.status.code(), Some(78));
    let said = joined(&String::from_utf8_lossy(&check.stdout));
    dir.polycgi(&["start"]).success();
    let pid = std::process::id();
    let sentences = [
        format!("live: another process listens there, pid {pid}"),
        "precious: there is a file that is not a socket".to_owned(),
        "no/folder: cannot bind it: No such file".to_owned(),
    ];
    let log = dir.daemon_log();
    for sentence in &sentences {
        assert_eq!(said.matches(sentence).count(), 1, "{said}");
        assert_eq!(log.matches(sentence).count(), 1, "{log}");
    }
    dir.until_status("all three", |status| {
        let last = status.iter().find(|line| line.starts_with("last_failure"));
        last.is_some_and(|line| sentences.iter().all(|said| line.contains(said)))
    });
    let front = cgi::start_front(&dir.join("cgi-bin/app"), "/hello");
    front.end().response().ok();
    drop(live);
    let deadline = Deadline::soon();
    while !dir.daemon_log().contains("listening: address=") {
        assert!(!deadline.left().is_zero(), "{}", dir.daemon_log());
    }
    hello(ScgiClient::connect(&dir.join("live")));
    let precious = fs::read_to_string(dir.join("precious")).expect("it is still a file");
    assert_eq!(precious, "a text\n");
}

#[test]
fn a_path_that_was_lost_is_bound_again() {
    // The daemon looks at the path every second.
    let dir = started("listen = AT/sock\nidle-timeout = 10s\n");
    let path = dir.join("sock");
    fs::remove_file(&path).expect("the socket can be removed");
    until_served(&path);
    hello(ScgiClient::connect(&path));
    assert_eq!(dir.starts(), 1, "{}", dir.daemon_log());
}

#[test]
fn a_reload_takes_other_addresses_and_guests() {
    let (kept, added) = (free_address(), free_address());
    let dir = started(&format!("listen = AT/old AT/kept {kept}\n"));
    let serving = dir.daemon();
    // This client has connected before the change, and is served.
    let mut early = ScgiClient::connect(&dir.join("old"));
    configure(
        &dir,
        &format!(
            "listen = AT/kept {kept} AT/new {added}\nsocket-mode = 0666\nlisten-allow = 127.0.3.1\n"
        ),
    );
    dir.polycgi(&["reload"]).success();
    assert!(!dir.join("old").exists());
    early.send(&header("GET", "/hello", &[], 0)).reply().ok();
    for name in ["kept", "new"] {
        assert_eq!(mode(&dir.join(name)), 0o666, "{name}");
        hello(ScgiClient::connect(&dir.join(name)));
    }
    for address in [kept, added] {
        hello(ScgiClient::connect_tcp([127, 0, 3, 1].into(), address));
        assert_closed(ScgiClient::connect_tcp([127, 0, 0, 1].into(), address));
    }
    assert_eq!(dir.daemon(), serving);
    assert_eq!(dir.starts(), 1);
}

/// By then another daemon may have the path that the leaving one gave up.
#[test]
fn a_reload_while_it_leaves_takes_nothing_back() {
    let dir = started("listen = AT/sock\n");
    let (path, leaving) = (dir.join("sock"), dir.daemon());
    let mut gate = dir.gate("gate");
    let mut held = ScgiClient::connect(&path);
    held.send(&header("GET", "/hold?gate=gate", &[], 0));
    gate.entered();
    dir.polycgi(&["stop", "--no-wait"]).success();
    assert!(!path.exists());
    send(leaving, Signal::SIGHUP);
    let second = || ScgiClient::try_connect(&path);
    dir.polycgi(&["start"]).success();
    hello(second().expect("the next daemon has the path"));
    gate.open(1);
    held.reply().ok();
    assert!(Deadline::soon().ended(leaving));
    hello(second().expect("and the leaving one has not removed it"));
    assert!(
        !dir.daemon_log().contains("cannot listen"),
        "{}",
        dir.daemon_log()
    );
}

#[test]
fn check_names_what_is_wrong_and_leaves_nothing() {
    let dir = Dir::new();
    let address = free_address();
    configure(
        &dir,
        &format!("listen = AT/sock {address}\nlisten-allow = no-such-user\n"),
    );
    let check = dir.polycgi(&["check"]);
    let said = joined(&String::from_utf8_lossy(&check.stdout));
    assert_eq!(check.status.code(), Some(78), "{said}");
    let sentence = "listen-allow: /etc/passwd has no user no-such-user";
    assert!(said.contains(sentence), "{said}");
    assert!(!said.contains("cannot listen"), "{said}");
    assert!(!dir.join("sock").exists());
    configure(&dir, &format!("listen = AT/sock {address}\n"));
    dir.polycgi(&["check"]).success();
    // That the app's own daemon has the addresses is right too.
    dir.polycgi(&["start"]).success();
    dir.polycgi(&["check"]).success();
    hello(ScgiClient::connect(&dir.join("sock")));
    // A host's name is refused: it could lead to another host.
    configure(&dir, "listen = example.org:4000\n");
    let check = dir.polycgi(&["check"]);
    let said = joined(&String::from_utf8_lossy(&check.stdout));
    assert!(said.contains("names a host"), "{said}");
}

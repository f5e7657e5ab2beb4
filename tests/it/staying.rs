//! A daemon that stays, since its clients could not start it again: it sleeps where another would leave, tries a broken
//! app again, and hands its listeners on at an upgrade.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::leaving::{install, with_own_polycgi};
use super::util::process::{self, is_alive, send};
use super::util::scgi::{ScgiClient, header};
use super::util::{Deadline, Dir, Load, as_user, cgi, daemon, free_address, installed, run};

const HOST: [u8; 4] = [127, 0, 0, 1];

/// A request as a web server's SCGI module sends it, by TCP.
fn ask(address: SocketAddr, target: &str) -> super::util::Reply {
    let mut client = ScgiClient::connect_tcp(HOST.into(), address);
    client.send(&header("GET", target, &[], 0)).reply()
}

#[track_caller]
fn hello(address: SocketAddr) -> String {
    let hello = ask(address, "/hello").ok();
    assert!(hello.starts_with("hello from "), "{hello}");
    hello
}

/// An app with these lines that listens there, and its daemon.
fn started(config: &str) -> (Dir, SocketAddr) {
    let (dir, address) = (Dir::new(), free_address());
    configure(&dir, address, config);
    dir.polycgi(&["start"]).success();
    (dir, address)
}

fn configure(dir: &Dir, address: SocketAddr, config: &str) {
    let config = format!("mode = daemon\nlisten = {address}\n{config}");
    dir.app_file("app", &config);
}

/// Waits until the daemon has no other process.
#[track_caller]
fn until_asleep(dir: &Dir, serving: i32) {
    dir.until_status("asleep", |status| daemon::workers(status).is_empty());
    let deadline = Deadline::soon();
    for pid in process::children(serving) {
        assert!(deadline.ended(pid), "{pid} did not end");
    }
}

const SHORT: &str = "wsgi = testapp:application\nidle-timeout = 1s\nmin-lifetime = 0s\n";

#[test]
fn asleep_it_lives_and_serves_the_next_request() {
    let (dir, address) = started(SHORT);
    let serving = dir.daemon();
    let first = hello(address);
    for _ in 0..2 {
        until_asleep(&dir, serving);
        dir.until_status_has("state = \"up\"");
        assert!(is_alive(serving));
        let next = hello(address);
        assert_ne!(next, first, "a worker of its own");
    }
    // The same by its own socket.
    until_asleep(&dir, serving);
    cgi::start_front(&dir.join("cgi-bin/app"), "/hello")
        .end()
        .response()
        .ok();
    assert_eq!(dir.starts(), 1, "{}", dir.daemon_log());
    assert!(dir.daemon_log().contains("info: asleep: "));
    daemon::with_its_children(serving, || {
        dir.polycgi(&["stop"]).success();
    });
}

#[test]
fn asleep_it_stops_at_once() {
    let (dir, _) = started(SHORT);
    let serving = dir.daemon();
    until_asleep(&dir, serving);
    dir.polycgi(&["start"]).success();
    assert_eq!(dir.daemon(), serving);
    dir.polycgi(&["stop"]).success();
    assert!(!is_alive(serving));
}

/// After its sleep it runs the edited app, with the edited configuration.
#[test]
fn edits_while_it_was_asleep() {
    let (dir, address) = started(SHORT);
    let serving = dir.daemon();
    until_asleep(&dir, serving);
    let other = "def application(environ, start_response):\n    \
                 start_response('200 OK', [('Content-Type', 'text/plain')])\n    return [b'other\\n']\n";
    dir.file("apps/other.py", other, 0o644);
    configure(&dir, address, &SHORT.replace("testapp", "other"));
    // The module that the old configuration names may be broken.
    dir.file("apps/testapp.py", "this is no Python\n", 0o644);
    assert_eq!(ask(address, "/").ok(), "other\n");
    until_asleep(&dir, serving);
    dir.file("apps/other.py", &other.replace("other", "another"), 0o644);
    assert_eq!(ask(address, "/").ok(), "another\n");
    assert_eq!(dir.starts(), 1, "{}", dir.daemon_log());
}

/// Requests are refused during the pause; the first one after it tries again, and `polycgi start` does so at once.
#[test]
fn a_broken_app_is_tried_again() {
    const BROKEN: &str = "raise RuntimeError('broken on purpose')\n";
    const WHOLE: &str = "from testapp import application\n";
    let (dir, address) = (Dir::new(), free_address());
    dir.file("apps/fragile.py", BROKEN, 0o644);
    configure(&dir, address, "wsgi = fragile:application\n");
    let began = Instant::now();
    assert!(!dir.polycgi(&["start"]).status.success());
    let serving = dir.daemon();
    dir.until_status_has("state = \"backing-off\"");
    assert_eq!(ask(address, "/hello").status(), 500);
    dir.until_logged("broken on purpose");
    let log = dir.daemon_log();
    let attempts = log.matches("cannot start the app").count();
    // A second attempt is right if the machine was so slow that the pause of 1 s is over.
    assert!(
        attempts == 1 || began.elapsed() >= Duration::from_secs(1),
        "{log}"
    );

    let deadline = Deadline::soon();
    while dir.daemon_log().matches("cannot start the app").count() < 3 {
        assert_eq!(ask(address, "/hello").status(), 500);
        assert!(!deadline.left().is_zero(), "{}", dir.daemon_log());
    }
    let log = dir.daemon_log();
    assert_eq!(log.matches("Traceback").count(), 1, "{log}");
    dir.file("apps/fragile.py", WHOLE, 0o644);
    dir.polycgi(&["start"]).success();
    hello(address);
    dir.until_status_has("last_failure = null");
    assert_eq!(dir.daemon(), serving);
    assert_eq!(dir.starts(), 1, "{}", dir.daemon_log());
}

/// No connection by TCP is refused or reset while the daemon becomes its new version.
#[test]
fn an_upgrade_passes_its_listeners_on() {
    const TIMES: usize = 3;
    let address = free_address();
    let (dir, app) = with_own_polycgi(&format!(
        "wsgi = testapp:application\nmode = daemon\nlisten = {address}\nmax-procs = 4\n"
    ));
    run(as_user(dir.join("bin/polycgi")).arg("start").arg(&app), b"").success();
    let serving = dir.daemon();
    let upgrades = || dir.daemon_log().matches("info: upgrade: ").count();
    let answers = Load::beside(
        4,
        |client, number| {
            let name = format!("{client}.{number}");
            let answer = ask(address, &format!("/mark?name={name}")).ok();
            assert_eq!(answer, format!("{name} daemon\n"));
            answer
        },
        |load| {
            for times in 1..=TIMES {
                install(&dir, &installed("polycgi"));
                let deadline = Deadline::within(Duration::from_secs(60));
                while upgrades() < times || dir.starts() <= times {
                    load.assert_goes_on();
                    assert!(!deadline.left().is_zero(), "{}", dir.daemon_log());
                }
            }
        },
    );
    assert_eq!(dir.daemon(), serving, "another process");
    let answered: usize = answers.iter().map(Vec::len).sum();
    assert_eq!(dir.lines("marks").len(), answered, "each was run once");
    assert!(answered > 0);
    let log = dir.daemon_log();
    assert!(!log.contains("cannot"), "{log}");
}

/// A daemon that sleeps becomes its new version without a request.
#[test]
fn an_upgrade_while_it_is_asleep() {
    let address = free_address();
    let config = format!("mode = daemon\nlisten = {address}\n{SHORT}");
    let (dir, app) = with_own_polycgi(&config);
    run(as_user(dir.join("bin/polycgi")).arg("start").arg(&app), b"").success();
    let serving = dir.daemon();
    until_asleep(&dir, serving);
    install(&dir, &installed("polycgi"));
    let deadline = Deadline::soon();
    while dir.starts() < 2 {
        assert!(!deadline.left().is_zero(), "{}", dir.daemon_log());
    }
    hello(address);
    assert_eq!(dir.daemon(), serving, "another process");
}

/// Plays a service manager: has two listening sockets for an app, and starts its daemon for each line on stdin.
struct Launcher {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
    said_to: PathBuf,
}

const LAUNCHER: &str = "
import os, socket, sys
path, host, port, program, app = sys.argv[1:]
unix = socket.socket(socket.AF_UNIX)
unix.bind(path)
unix.listen(64)
tcp = socket.socket()
tcp.bind((host, int(port)))
tcp.listen(64)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        # The numbers 3 and 4 may be in use by the other socket.
        fds = [os.dup2(s.fileno(), n, False) for n, s in ((10, unix), (11, tcp))]
        os.dup2(10, 3)
        os.dup2(11, 4)
        environ = dict(os.environ, LISTEN_PID=str(os.getpid() + int(line)), LISTEN_FDS='2')
        os.execve(program, [program, app], environ)
    print(child, flush=True)
    os.waitpid(child, 0)
    print('gone', flush=True)
";

impl Launcher {
    #[track_caller]
    fn start(dir: &Dir, address: SocketAddr) -> Self {
        let mut command = as_user("/usr/bin/python3");
        command.args(["-c", LAUNCHER]).arg(dir.join("given"));
        command.args([address.ip().to_string(), address.port().to_string()]);
        command
            .arg(installed("scgi-daemon"))
            .arg(dir.join("cgi-bin/app"));
        let said_to = dir.join("said");
        let said = fs::File::create(&said_to).expect("a file can be made");
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(said);
        let mut child = child.spawn().expect("a launcher can be run");
        let said = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Self {
            child,
            said,
            said_to,
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("it says a line");
        line.trim_end().to_owned()
    }

    /// Starts a daemon; its pid. LISTEN_PID is `off` more than that.
    #[track_caller]
    fn launch(&mut self, off: i32) -> i32 {
        let stdin = self.child.stdin.as_mut().expect("stdin is piped");
        writeln!(stdin, "{off}").expect("it reads");
        let line = self.line();
        let said = || fs::read_to_string(&self.said_to).unwrap_or_default();
        let pid = line.parse();
        pid.unwrap_or_else(|_| panic!("it says no pid but {line:?}: {}", said()))
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        // It ends with its stdin; after a failed test it may still run.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn said(dir: &Dir) -> String {
    fs::read_to_string(dir.join("said")).unwrap_or_default()
}

#[track_caller]
fn until_started(dir: &Dir) {
    let deadline = Deadline::soon();
    while !said(dir).contains("info: start: ") {
        assert!(!deadline.left().is_zero(), "{}", said(dir));
    }
}

/// The sockets stay the service manager's: clients that connect while no daemon runs wait for the next one.
#[test]
fn sockets_that_a_service_manager_gives() {
    let (dir, address) = (Dir::new(), free_address());
    dir.app_file("app", &format!("mode = daemon\n{SHORT}"));
    let mut launcher = Launcher::start(&dir, address);
    let path = dir.join("given");
    let by_path = || {
        let mut client = ScgiClient::connect(&path);
        client.send(&header("GET", "/hello", &[], 0)).reply().ok()
    };
    let first = launcher.launch(0);
    until_started(&dir);
    assert!(by_path().starts_with("hello from "));
    hello(address);
    assert_eq!(dir.daemon(), first);
    // It stays, since clients of these sockets could not start it.
    until_asleep(&dir, first);
    assert!(is_alive(first));
    hello(address);

    send(first, Signal::SIGTERM);
    assert_eq!(launcher.line(), "gone");
    assert!(path.exists(), "it was not ours to take away");
    let mut waiting = ScgiClient::connect(&path);
    waiting.send(&header("GET", "/hello", &[], 0));
    let mut also_waiting = ScgiClient::connect_tcp(HOST.into(), address);
    also_waiting.send(&header("GET", "/hello", &[], 0));
    let second = launcher.launch(0);
    waiting.reply().ok();
    also_waiting.reply().ok();
    send(second, Signal::SIGTERM);
    assert_eq!(launcher.line(), "gone");
    fs::remove_file(&path).expect("the launcher's own socket");
}

/// Workers accept there as well, whom the daemon would let in; and neither they nor what a dead daemon leaves behind end
/// a socket that is not ours.
#[test]
fn sockets_that_a_service_manager_gives_to_workers() {
    let (dir, address) = (Dir::new(), free_address());
    // No network of this host.
    let allow = "accept = workers\nlisten-allow = 192.0.2.0/24";
    dir.app_file(
        "app",
        &format!("mode = daemon\nlog-level = debug\n{allow}\n{SHORT}"),
    );
    let mut launcher = Launcher::start(&dir, address);
    let path = dir.join("given");
    let by_path = || {
        let mut client = ScgiClient::connect(&path);
        client.send(&header("GET", "/hello", &[], 0)).reply().ok()
    };
    let first = launcher.launch(0);
    until_started(&dir);
    let deadline = Deadline::soon();
    let accepting = || {
        daemon::workers(&dir.status())
            .iter()
            .any(|(_, state)| state == "accepting")
    };
    while !accepting() {
        assert!(!deadline.left().is_zero(), "{:?}", dir.status());
        (0..20).for_each(|_| _ = by_path());
    }
    for _ in 0..20 {
        let mut stranger = ScgiClient::connect_tcp(HOST.into(), address);
        let answer = stranger.send(&header("GET", "/hello", &[], 0)).rest();
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
        by_path();
    }
    let zygotes = process::children(first);
    process::kill_at_once(first);
    assert_eq!(launcher.line(), "gone");
    for pid in zygotes {
        assert!(deadline.ended(pid), "{pid}");
    }
    let second = launcher.launch(0);
    by_path();
    send(second, Signal::SIGTERM);
    assert_eq!(launcher.line(), "gone");
    fs::remove_file(&path).expect("the launcher's own socket");
}

/// LISTEN_PID of another process: the descriptors are not used.
#[test]
fn sockets_that_were_meant_for_another_process() {
    let (dir, address) = (Dir::new(), free_address());
    dir.app_file("app", &format!("mode = daemon\n{SHORT}"));
    let mut launcher = Launcher::start(&dir, address);
    let pid = launcher.launch(1);
    until_started(&dir);
    dir.until_status_has("state = \"up\"");
    assert!(!said(&dir).contains("listening"), "{}", said(&dir));
    // The launcher's backlog takes the connections; the daemon does not accept them.
    let _unix = UnixStream::connect(dir.join("given")).expect("the launcher listens");
    let _tcp = TcpStream::connect(address).expect("the launcher listens");
    // The daemon leaves when it is idle.
    assert_eq!(launcher.line(), "gone");
    assert!(!is_alive(pid));
    fs::remove_file(dir.join("given")).expect("the launcher's own socket");
}

//! Each reason for which a request gets a 503: its fault is made and shown to be there, the client is told when to try
//! again and, with `show-errors`, why, and `status` counts the request under that reason. Failures that a front notes
//! itself are kept.

mod host;

use std::fs;
use std::io::Read;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use super::super::util::pressure::Pressure;
use super::super::util::process::{send as signal, stop};

use super::super::util::scgi::{ScgiClient, header};
use super::super::util::served::noise;
use super::super::util::{
    Deadline, Output, Reply, SmallDisk, as_user, cgi, daemon, installed, run,
};
use super::Asked;

const BROWSER: [(&str, &str); 1] = [("Accept", "text/html")];

/// What a client and an operator get for one reason.
struct Reason<'a> {
    word: &'a str,
    /// `Retry-After`, from and to.
    seconds: [u32; 2],
    /// What the page says, and of which `show-errors` decides.
    said: &'a str,
}

impl Reason<'_> {
    #[track_caller]
    fn is_told_by(&self, reply: &Reply) {
        assert_eq!(reply.status(), 503, "{}: {}", self.word, reply.text());
        let [from, to] = self.seconds;
        let seconds = reply
            .field("Retry-After")
            .and_then(|text| text.parse().ok());
        assert!(
            seconds.is_some_and(|seconds| (from..=to).contains(&seconds)),
            "{}: {seconds:?}",
            self.word
        );
        assert_eq!(
            reply.field("Cache-Control"),
            Some("no-store"),
            "{}",
            self.word
        );
        let text = reply.text();
        assert!(text.contains(self.said), "{}: {text}", self.word);
        let kind = reply.field("Content-Type").unwrap_or_default();
        let has_ticket = |cookie: &str| cookie.starts_with("polycgi-ticket=");
        let has_ticket = reply.field("Set-Cookie").is_some_and(has_ticket);
        assert_eq!(has_ticket, kind.starts_with("text/html"), "{}", self.word);
    }
}

impl Asked {
    fn shown(config: &str) -> Self {
        Self::new(&format!("show-errors = on\n{config}"))
    }

    /// The response of a front, whatever it has said.
    #[track_caller]
    fn reply(&mut self, target: &str) -> Reply {
        cgi::reply(&self.start(target).end().stdout)
    }

    /// What a front has answered to a browser, and said.
    #[track_caller]
    fn browse(&mut self, target: &str) -> Output {
        self.sent += 1;
        run(&mut cgi::front(&self.app, "GET", target, &BROWSER), b"")
    }

    /// A plain SCGI client that has sent its header.
    #[track_caller]
    fn plain(&mut self, header: &[u8]) -> ScgiClient {
        self.sent += 1;
        let mut client = ScgiClient::connect(&self.dir.socket());
        client.send(header);
        client
    }
}

#[test]
fn no_slot() {
    let mut app = Asked::shown("wsgi = failing:application\nmode = cgi\ncgi-max = 1\n");
    let mut gate = app.dir.gate("gate");
    let held = app.start("/hold?gate=gate");
    gate.entered();
    app.has(&["cgis = 1", "max_cgis = 1"]);
    let reason = Reason {
        word: "no-slot",
        seconds: [2, 2],
        said: "no-slot: 1 of 1 CGIs run",
    };
    reason.is_told_by(&cgi::reply(&app.browse("/hello").stdout));
    gate.open(1);
    held.end().response().ok();
    app.has_counted(&[("cgi", 1), (reason.word, 1)]);
}

/// The queue is full, and then a request has waited in it for too long.
#[test]
fn a_full_queue_and_a_slow_one() {
    let config = "wsgi = failing:application\nmode = daemon\nmax-procs = 1\nqueue-size = 1\nqueue-timeout = SECOND\n";
    let mut app = Asked::shown(config);
    let mut gate = app.dir.gate("gate");
    let held = app.start("/hold?gate=gate");
    gate.entered();
    let queued = app.start("/hello");
    app.dir.until_status_has("queue = 1");
    let full = Reason {
        word: "queue-full",
        seconds: [1, 60],
        said: "queue-full: 1 of 1 wait",
    };
    full.is_told_by(&app.reply("/hello"));
    let slow = Reason {
        word: "queue-slow",
        seconds: [1, 60],
        said: "queue-slow: the wait is too long",
    };
    slow.is_told_by(&cgi::reply(&queued.end().stdout));
    gate.open(1);
    held.end().response().ok();
    app.has_counted(&[("daemon", 1), (full.word, 1), (slow.word, 1)]);
}

/// The front may not fork, so no daemon is started; and the app may not run as a CGI.
#[test]
fn backing_off() {
    let mut app = Asked::shown("wsgi = failing:application\nmode = daemon\ncgi-max = 0\n");
    let cannot = "Resource temporarily unavailable";
    let no_slot = Reason {
        word: "no-slot",
        seconds: [2, 2],
        said: "no-slot: 0 of 0 CGIs run",
    };
    let backing_off = Reason {
        word: "backing-off",
        // The pause doubles with each attempt.
        seconds: [1, 60],
        said: "backing-off: cannot start the daemon",
    };
    let (mut attempts, mut refused) = (0, 0);
    // On a slow machine the pause of the first attempts may be over before the next request, or before `status`.
    let mut is_shown = false;
    while !is_shown {
        assert!(attempts < 8, "{:?}", app.dir.status());
        let mut front = as_user("/usr/bin/prlimit");
        front.arg("--nproc=1").arg(&app.app);
        front.envs(cgi::meta("GET", "/hello", &BROWSER));
        let Output { stdout, stderr, .. } = run(&mut front, b"");
        app.sent += 1;
        let reply = cgi::reply(&stdout);
        if stderr.is_empty() {
            backing_off.is_told_by(&reply);
            assert!(reply.text().contains(cannot), "{}", reply.text());
            refused += 1;
            let state = "state = \"backing-off\"".to_owned();
            is_shown = app.dir.status().contains(&state);
        } else {
            assert!(stderr.contains(cannot), "the fault: {stderr}");
            no_slot.is_told_by(&reply);
            attempts += 1;
        }
    }
    app.has_counted(&[(no_slot.word, attempts), (backing_off.word, refused)]);
    app.has(&["failures.0.kind = \"host\""]);
    let failures = app.failures();
    assert_eq!(failures.len(), 1, "{failures:?}");
    let begin = format!("host {attempts} /cgi-bin/app/hello cannot start the daemon");
    assert!(
        failures[0].starts_with(&begin) && failures[0].contains(cannot),
        "{failures:?}"
    );
}

/// The daemon is stopped, and as many connections wait for it as can.
#[test]
fn a_full_backlog() {
    let config = "wsgi = failing:application\nmode = daemon\ncgi-max = 0\nqueue-size = 1\n";
    let mut app = Asked::shown(config);
    assert_eq!(app.get("/hello"), 200);
    let serving = app.dir.daemon();
    stop(serving);
    let waiting = fill_backlog(&app);
    let reason = Reason {
        word: "backlog-full",
        seconds: [2, 2],
        said: "backlog-full: too many connections wait for the daemon",
    };
    let Output { stdout, stderr, .. } = app.browse("/hello");
    reason.is_told_by(&cgi::reply(&stdout));
    assert_eq!(stderr, "", "in a crowd it would be a line for each");
    drop(waiting);
    signal(serving, Signal::SIGCONT);
    // It waits until there is room; when it is closed, all before it have been accepted, and there is room for others.
    let connection = UnixStream::connect(app.dir.socket());
    let mut connection = connection.expect("the daemon goes on");
    let ended = connection.shutdown(Shutdown::Write);
    ended.expect("a connection can be shut down");
    let read = connection.read(&mut [0]).expect("it can be read from");
    assert_eq!(read, 0, "it asked for nothing");
    app.has_counted(&[("daemon", 1), (reason.word, 1)]);
    assert_eq!(app.dir.daemon(), serving);
}

/// Connections that say nothing, until the kernel takes no more.
#[track_caller]
fn fill_backlog(app: &Asked) -> Vec<UnixStream> {
    let address = UnixAddr::new(&app.dir.socket()).expect("a socket's path is short");
    let mut waiting = Vec::new();
    loop {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let stream = socket(AddressFamily::Unix, SockType::Stream, flags, None);
        let stream = UnixStream::from(stream.expect("a socket can be made"));
        match connect(stream.as_raw_fd(), &address) {
            Ok(()) => waiting.push(stream),
            Err(errno) => {
                assert_eq!(errno, Errno::EAGAIN, "the fault");
                return waiting;
            }
        }
        assert!(waiting.len() < 10_000, "there is no limit");
    }
}

#[test]
fn an_overloaded_host() {
    let mut app = Asked::shown("wsgi = failing:application\nmode = cgi\noverload-when-load = 0\n");
    let load = fs::read_to_string("/proc/loadavg").expect("it can be read");
    assert!(
        !load.starts_with("0.00 "),
        "the fault: a host that is never idle: {load}"
    );
    let reason = Reason {
        word: "host-overloaded",
        seconds: [15, 15],
        said: "host-overloaded: the host's load is above 'overload-when-load'",
    };
    reason.is_told_by(&app.reply("/hello"));
    app.has_counted(&[(reason.word, 1)]);
}

#[test]
fn a_host_short_of_memory() {
    let config = "wsgi = failing:application\nmode = cgi\noverload-when-pressure = 10\n";
    let mut app = Asked::shown(config);
    let Some(pressure) = Pressure::of(&app.dir, 10.01) else {
        return;
    };
    let reason = Reason {
        word: "memory-pressure",
        seconds: [10, 10],
        said: "memory-pressure: the memory pressure is above 'overload-when-pressure'",
    };
    let mut get = || {
        app.sent += 1;
        let mut front = cgi::front(&app.app, "GET", "/hello", &[]);
        cgi::reply(&run(pressure.over(&mut front), b"").stdout)
    };
    reason.is_told_by(&get());
    pressure.set(10.0);
    get().ok();
    app.has_counted(&[("cgi", 1), (reason.word, 1)]);
    // What a front would do, and why.
    pressure.set(99.0);
    let mut status = as_user(installed("polycgi"));
    let status = pressure.over(status.args(["status", "--json"]).arg(&app.app));
    let shown = daemon::json(&run(status, b"").success());
    for line in [
        "rule = \"overload-when-pressure\"",
        "way = \"refused\"",
        "reason = \"memory pressure 99.00 % is above overload-when-pressure (10)\"",
    ] {
        assert!(shown.iter().any(|shown| shown == line), "{shown:#?}");
    }
}

/// The message-body comes without a length, and the disk of the spool is full.
#[test]
fn no_room_in_the_spool() {
    for mode in ["cgi", "daemon"] {
        let mut app = Asked::shown("");
        let spool = app.dir.folder("spool", 0o700);
        let Some(disk) = SmallDisk::on(&spool, "16k") else {
            return;
        };
        let lines = format!(
            "show-errors = on\nwsgi = failing:application\nmode = {mode}\nspool-dir = {}\n",
            spool.display()
        );
        app.dir.app_file("app", &lines);
        assert_eq!(app.get("/hello"), 200, "{mode}");
        disk.fill();
        let fields = [("Transfer-Encoding", "chunked")];
        let mut front = cgi::front(&app.app, "POST", "/digest", &fields);
        app.sent += 1;
        let Output { stdout, stderr, .. } = run(&mut front, &noise(1 << 20));
        let said = "cannot keep the message-body: No space left on device";
        assert!(stderr.contains(said), "the fault: {mode}: {stderr}");
        let reason = Reason {
            word: "no-spool-room",
            seconds: [10, 10],
            said,
        };
        reason.is_told_by(&cgi::reply(&stdout));
        app.has_counted(&[(mode, 1), (reason.word, 1)]);
        drop(disk);
    }
}

#[test]
fn no_server_and_no_daemon() {
    let mut app = Asked::shown("connect = /nowhere/sock\n");
    let away = Reason {
        word: "away",
        seconds: [2, 2],
        said: "cannot connect to /nowhere/sock: No such file or directory",
    };
    away.is_told_by(&app.reply("/hello"));
    app.has_counted(&[(away.word, 1)]);

    let mut app = Asked::shown("scgi = /usr/bin/python3 -S scgiserver.py\n");
    assert_eq!(app.get("/hello"), 200);
    app.dir.polycgi(&["stop", "--hold"]).success();
    app.has(&["state = \"held\""]);
    let held = Reason {
        word: "held",
        seconds: [2, 2],
        said: "is held by 'stop --hold'; 'start' ends that",
    };
    held.is_told_by(&app.reply("/hello"));
    app.has_counted(&[("daemon", 1), (held.word, 1)]);
}

/// The daemon has read a part of the message-body when it has to end.
#[test]
fn a_daemon_that_leaves() {
    const SIZE: usize = 400_000;
    let config = "wsgi = faultapp:application\nmode = daemon\ngraceful-timeout = SECOND\n";
    let mut app = Asked::shown(config);
    assert_eq!(app.get("/hello"), 200);
    let mut client = app.plain(&header("POST", "/digest", &[], SIZE));
    client.send(&vec![b'x'; SIZE / 2]);
    app.dir.until_status("a part is there", |status| {
        !status.iter().any(|line| line == "spooled = 0")
    });
    let serving = app.dir.daemon();
    daemon::with_its_children(serving, || signal(serving, Signal::SIGTERM));
    let reason = Reason {
        word: "leaving",
        seconds: [1, 1],
        said: "leaving: the daemon ends, and the message-body was not there yet",
    };
    reason.is_told_by(&client.reply());
    assert!(Deadline::soon().ended(serving));
    app.has_counted(&[("daemon", 1), (reason.word, 1)]);
}

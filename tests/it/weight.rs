//! What a request costs the daemon's loop in system calls, if workers don't take it themselves: exactly these, and the reason for each. One thread serves
//! all requests of a site, so no call may be added unnoticed.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use nix::sys::signal::Signal;

use super::util::process::{children, send};
use super::util::program::is_installed;
use super::util::scgi::{ScgiClient, header};
use super::util::{Deadline, Dir, Watch, as_user, cgi, installed};

/// How many requests are looked at: in some of them something else happens too.
const REQUESTS: usize = 12;

/// A daemon in the foreground whose loop's system calls strace writes down.
struct Traced {
    dir: Dir,
    strace: Child,
}

impl Traced {
    #[track_caller]
    fn start(handoff: &str) -> Self {
        is_installed("/usr/bin/strace", "strace");
        let dir = Dir::new();
        dir.folder("traced", 0o755);
        let at = dir.path().display().to_string();
        // Without looks at the code, and with a fixed number of workers.
        let config = format!(
            "wsgi = testapp:application\nmode = daemon\nreload = off\nmin-procs = 1\nmax-procs = 1\n\
             accept = loop\nlisten = {at}/sock\nhandoff = {handoff}\n"
        );
        dir.app_file("app", &config);
        let said = File::create(dir.join("said")).expect("a file can be made");
        let strace = as_user("/usr/bin/strace")
            .args(["-qq", "-o"])
            .arg(dir.join("traced/calls"))
            .arg(installed("scgi-daemon"))
            .arg(dir.join("cgi-bin/app"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .expect("strace can be run");
        let traced = Self { dir, strace };
        let sock = traced.dir.join("sock");
        let is_up = || UnixStream::connect(&sock).is_ok();
        assert!(
            Watch::on(traced.dir.path()).until(Deadline::soon(), is_up),
            "{}",
            fs::read_to_string(traced.dir.join("said")).unwrap_or_default()
        );
        traced.dir.until_status("a worker is idle", |status| {
            super::util::daemon::workers_that_are(status, "idle") == 1
        });
        traced
    }

    fn calls(&self) -> PathBuf {
        self.dir.join("traced/calls")
    }

    /// Ends it; for each accepted connection the names of the calls up to the next one.
    #[track_caller]
    fn end(mut self) -> Vec<Vec<String>> {
        for daemon in children(self.strace.id().cast_signed()) {
            send(daemon, Signal::SIGTERM);
        }
        self.strace.wait().expect("a child can be waited for");
        let text = fs::read_to_string(self.calls()).expect("strace has written");
        let mut requests = vec![Vec::new()];
        for line in text.lines() {
            let Some((name, rest)) = line.split_once('(') else {
                continue;
            };
            if name == "accept4" && !rest.contains("= -1") {
                requests.push(Vec::new());
            }
            if let Some(last) = requests.last_mut() {
                last.push(name.to_owned());
            }
        }
        requests
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // It still runs only if the test has failed.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// Compares the request in which nothing else happened.
#[track_caller]
fn assert_least(requests: &[Vec<String>], expected: &[&str]) {
    let is_served = |calls: &&Vec<String>| calls.iter().any(|name| name == "sendmsg");
    // A client may be slower to send than the loop is to accept, and a front slower to end than its worker is done:
    // each is then waited for.
    let slow_to_send = ["recvmsg", "epoll_ctl", "epoll_wait", "recvmsg"];
    let slow_to_end = ["poll", "epoll_ctl", "epoll_wait", "close"];
    let on_time = |calls: &Vec<String>| {
        let mut calls = calls.clone();
        for (late, wait) in [(slow_to_send, 0..3), (slow_to_end, 1..3)] {
            if let Some(at) = calls.windows(late.len()).position(|four| four == late) {
                calls.drain(at + wait.start..at + wait.end);
            }
        }
        calls
    };
    let served: Vec<_> = requests.iter().filter(is_served).map(on_time).collect();
    assert!(served.len() >= REQUESTS, "{requests:#?}");
    let least = served.iter().min_by_key(|calls| calls.len());
    assert_eq!(
        least.expect("there are some").as_slice(),
        expected,
        "{served:#?}"
    );
}

#[test]
fn of_a_plain_scgi_client() {
    let traced = Traced::start("auto");
    for _ in 0..REQUESTS {
        let mut client = ScgiClient::connect(&traced.dir.join("sock"));
        client.send(&header("GET", "/hello", &[], 0)).reply().ok();
    }
    assert_least(
        &traced.end(),
        &[
            "accept4",
            "getsockopt", // who it is
            "recvmsg",    // its header
            "sendmsg",    // to a worker
            "epoll_wait",
            "recvmsg", // the worker is done
            "read",    // what it has said on its standard error
            "close",
            "epoll_wait",
        ],
    );
}

/// The loop's calls for fronts.
#[track_caller]
fn for_fronts(handoff: &str) -> Vec<Vec<String>> {
    let traced = Traced::start(handoff);
    let app = traced.dir.join("cgi-bin/app");
    for _ in 0..REQUESTS {
        cgi::start_front(&app, "/hello").end().response().ok();
    }
    traced.end()
}

#[test]
fn of_a_front_that_stays() {
    assert_least(
        &for_fronts("stay"),
        &[
            "accept4",
            "getsockopt", // who it is
            "recvmsg",    // its header, and the web server's descriptors
            "newfstatat", // is its output a pipe ...
            "newfstatat", // ... and the web server's log as well?
            "sendto",     // it is taken
            "sendmsg",    // to a worker
            "epoll_wait",
            "recvmsg", // the worker is done
            "read",    // what it has said on its standard error
            "pidfd_open",
            "sendto", // the front may go
            "close",  // it needs us no more
            "epoll_ctl",
            "epoll_wait", // it has ended
            "close",      // input,
            "close",      // output
            "close",      // and log: the response ends
            "close",
            "epoll_wait",
        ],
    );
}

#[test]
fn of_a_front_that_leaves_early() {
    assert_least(
        &for_fronts("exit"),
        &[
            "accept4",
            "getsockopt", // who it is
            "recvmsg",    // its header, and the web server's descriptors
            "newfstatat", // is its output a pipe ...
            "newfstatat", // ... and the web server's log as well?
            "pidfd_open",
            "sendto",  // it may go
            "close",   // it needs us no more
            "sendmsg", // to a worker
            "epoll_wait",
            "recvmsg", // the worker is done
            "read",    // what it has said on its standard error
            "poll",    // it has ended
            "close",   // input,
            "close",   // output
            "close",   // and log: the response ends
            "close",
            "epoll_wait",
        ],
    );
}

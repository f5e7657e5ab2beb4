//! Strangers: clients of other users, where the daemon listens for them. They cost what they have sent, our own fronts
//! are served beside them, and they neither give commands nor fill the log.

mod commands;
mod costs;
mod fronts;
mod log;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use super::util::process::children;
use super::util::scgi::{ScgiClient, header};
use super::util::strangers::HERE;
use super::util::{Dir, Reply, Running, as_user, cgi, daemon, free_address, installed, run};

const CONFIG: &str = "wsgi = testapp:application\nmode = daemon\nmax-procs = 2\nreload = off\n\
                      socket-mode = 0666\n";

/// A daemon that listens at `sock` in its directory, for all users, and by TCP.
struct Open {
    dir: Dir,
    app: PathBuf,
    address: SocketAddr,
    daemon: i32,
}

impl Open {
    #[track_caller]
    fn start(config: &str) -> Self {
        Self::limited(None, config)
    }

    /// Its processes may have so many descriptors each.
    #[track_caller]
    fn limited(nofile: Option<usize>, config: &str) -> Self {
        Self::in_dir(Dir::new(), nofile, config)
    }

    /// The same in a directory that was prepared.
    #[track_caller]
    fn in_dir(dir: Dir, nofile: Option<usize>, config: &str) -> Self {
        let (at, address) = (dir.path().display(), free_address());
        let text = format!("{CONFIG}listen = {at}/sock {address}\n{config}");
        let app = dir.app_file("app", &text);
        let mut start = as_user("/usr/bin/prlimit");
        if let Some(nofile) = nofile {
            start.arg(format!("--nofile={nofile}:{nofile}"));
        }
        start.arg(installed("polycgi")).arg("start").arg(&app);
        run(&mut start, b"").success();
        let daemon = dir.daemon();
        let open = Self {
            dir,
            app,
            address,
            daemon,
        };
        // What it costs to begin with is not the strangers'.
        open.serves_a_front();
        open
    }

    fn sock(&self) -> PathBuf {
        self.dir.join("sock")
    }

    /// The daemon itself answers a front, by one of its workers.
    #[track_caller]
    fn serves_a_front(&self) {
        let mut front = cgi::front(&self.app, "GET", "/hello", &[]);
        front.env("REQUEST_URI", "/hello");
        let front = Running::start(&mut front, b"").end();
        let hello = front.response().ok();
        let worker = hello.strip_prefix("hello from ").map(str::trim_end);
        let worker: i32 = worker.and_then(|pid| pid.parse().ok()).expect("a pid");
        let of_daemon = children(self.daemon);
        let mut of_zygotes = of_daemon.iter().flat_map(|pid| children(*pid));
        assert!(
            of_daemon.contains(&worker) || of_zygotes.any(|pid| pid == worker),
            "no worker of this daemon: {hello}"
        );
    }

    /// A request by TCP, that comes whole.
    #[track_caller]
    fn serves_by_tcp(&self) {
        let mut client = ScgiClient::connect_tcp(HERE, self.address);
        client.send(&header("GET", "/hello", &[], 0)).reply().ok();
    }

    /// It is the one it was, and well.
    #[track_caller]
    fn is_well(&self) {
        self.serves_a_front();
        assert_eq!(self.dir.daemon(), self.daemon);
        assert_eq!(self.dir.starts(), 1, "{}", self.dir.daemon_log());
    }

    /// Ends it; what it has logged from beginning to end.
    #[track_caller]
    fn end(&self) -> String {
        daemon::with_its_children(self.daemon, || {
            self.dir.polycgi(&["stop"]).success();
        });
        self.dir.daemon_log()
    }
}

/// What another user's message is answered at that path.
#[track_caller]
fn ask_as(path: &Path, uid: u32, message: &[u8]) -> Reply {
    ScgiClient::connect_as(path, Uid::from_raw(uid))
        .send(message)
        .reply()
}

//! The app whose routes go wrong, in its daemon and without a web server: its clients are fronts, whose pipes the test
//! holds, and plain SCGI clients.

use std::path::PathBuf;

use super::process::files_of;
use super::scgi::{ScgiClient, header};
use super::{Dir, Piped, Reply, cgi};

/// A daemon that has served, and its app.
pub(crate) struct Served {
    pub(crate) dir: Dir,
    pub(crate) app: PathBuf,
    pub(crate) daemon: i32,
}

impl Served {
    /// With these lines in the app file.
    #[track_caller]
    pub(crate) fn start(config: &str) -> Self {
        Self::in_dir(Dir::new(), config)
    }

    /// The same in a directory that was prepared.
    #[track_caller]
    pub(crate) fn in_dir(dir: Dir, config: &str) -> Self {
        let app = app_file(&dir, config);
        cgi::start_front(&app, "/hello").end().response().ok();
        let daemon = dir.daemon();
        Self { dir, app, daemon }
    }

    /// The app that is a CGI program, under its daemon.
    #[track_caller]
    pub(crate) fn cgi(config: &str) -> Self {
        Self::cgi_in_dir(Dir::new(), config)
    }

    /// The same in a directory that was prepared.
    #[track_caller]
    pub(crate) fn cgi_in_dir(dir: Dir, config: &str) -> Self {
        let app = cgi_app_file(&dir, config);
        cgi::start_front(&app, "/hello").end().response().ok();
        let daemon = dir.daemon();
        Self { dir, app, daemon }
    }

    /// GET by a front, to its end.
    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Reply {
        cgi::start_front(&self.app, target).end().response()
    }

    /// The process that answers to a simple request.
    #[track_caller]
    pub(crate) fn hello(&self) -> i32 {
        pid_in(&self.get("/hello").ok())
    }

    /// A front for GET.
    #[track_caller]
    pub(crate) fn front(&self, target: &str) -> Piped {
        Piped::start(&mut cgi::front(&self.app, "GET", target, &[]))
    }

    /// A front for a POST whose body is still to be sent.
    #[track_caller]
    pub(crate) fn posting(&self, target: &str, length: usize) -> Piped {
        let mut front = cgi::front(&self.app, "POST", target, &[]);
        Piped::start(front.env("CONTENT_LENGTH", length.to_string()))
    }

    /// A plain SCGI client that has asked with GET.
    #[track_caller]
    pub(crate) fn plain(&self, target: &str) -> ScgiClient {
        let mut client = ScgiClient::connect(&self.dir.socket());
        client.send(&header("GET", target, &[], 0));
        client
    }

    /// A plain SCGI client for a POST whose body is still to be sent.
    #[track_caller]
    pub(crate) fn plain_posting(&self, target: &str, length: usize) -> ScgiClient {
        let mut client = ScgiClient::connect(&self.dir.socket());
        client.send(&header("POST", target, &[], length));
        client
    }

    /// The sizes of the files in which the daemon keeps bodies and responses.
    pub(crate) fn spooled(&self) -> Vec<u64> {
        files_of(self.daemon, &self.dir.join("spool"))
    }

    /// Waits until the sizes of those files are so.
    #[track_caller]
    pub(crate) fn until_spooled(&self, what: &str, holds: impl Fn(&[u64]) -> bool) {
        let mut last = Vec::new();
        self.dir.until_status(what, |_| {
            last = self.spooled();
            holds(&last)
        });
    }

    /// Fails unless the same daemon serves and its queue is empty.
    #[track_caller]
    pub(crate) fn is_well(&self) {
        self.hello();
        assert_eq!(self.dir.daemon(), self.daemon);
        assert_eq!(self.dir.starts(), 1, "{}", self.dir.daemon_log());
        self.dir.until_status_has("queue = 0");
    }
}

/// The app file of that app, which keeps its spool in the test's directory.
pub(crate) fn app_file(dir: &Dir, config: &str) -> PathBuf {
    spooling(
        dir,
        &format!("wsgi = faultapp:application\nmode = daemon\n{config}"),
    )
}

/// The same of the CGI program.
pub(crate) fn cgi_app_file(dir: &Dir, config: &str) -> PathBuf {
    let command = "cgi = /usr/bin/python3 -S cgiapp.py";
    spooling(dir, &format!("{command}\nmode = daemon\n{config}"))
}

fn spooling(dir: &Dir, config: &str) -> PathBuf {
    if !dir.join("spool").exists() {
        dir.folder("spool", 0o700);
    }
    let spool = dir.join("spool");
    let own = format!("spool-dir = {}\n{config}", spool.display());
    dir.app_file("app", &own)
}

/// The pid in a line that ends with one.
#[track_caller]
pub(crate) fn pid_in(line: &str) -> i32 {
    let pid = line
        .split_whitespace()
        .last()
        .and_then(|pid| pid.parse().ok());
    pid.unwrap_or_else(|| panic!("no pid at the end of {line:?}"))
}

/// What `/big`, `/burst` and `/counted` give for that size.
pub(crate) fn blocks(size: usize) -> Vec<u8> {
    const BLOCK: usize = 65536;
    let mut bytes = Vec::with_capacity(size + BLOCK);
    for number in 0..size.div_ceil(BLOCK) {
        bytes.extend(format!("{number:015}\n").bytes());
        bytes.resize((number + 1) * BLOCK, b'.');
    }
    bytes.truncate(size);
    bytes
}

/// Fails with the place where they differ, and not with megabytes.
#[track_caller]
pub(crate) fn assert_same(read: &[u8], expected: &[u8]) {
    let pairs = read.iter().zip(expected);
    let place = pairs.take_while(|(one, other)| one == other).count();
    let around = |bytes: &[u8]| {
        let end = bytes.len().min(place + 40);
        String::from_utf8_lossy(&bytes[place.saturating_sub(20)..end]).into_owned()
    };
    assert!(
        read == expected,
        "{} bytes for {}, and they differ at {place}: {:?} for {:?}",
        read.len(),
        expected.len(),
        around(read),
        around(expected)
    );
}

/// So many bytes that do not repeat soon.
pub(crate) fn noise(size: usize) -> Vec<u8> {
    let number = |n: u64| (n.wrapping_mul(6_364_136_223_846_793_005) >> 56) as u8;
    (0..size as u64).map(number).collect()
}

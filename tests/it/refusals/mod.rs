//! What the host refuses: whichever system call fails, and in whichever process, the client gets the app's own answer
//! in the next best way, and a line is logged.

mod apps;
mod hosts;
mod limits;
mod named;
mod setup;
mod sweep;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::util::refused::Host;
use super::util::{Dir, Output, cgi, run};

/// Answers with the way in which it runs.
const APP: &str = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'a plain CGI' if environ['wsgi.run_once'] else b'the daemon']
";
const WSGI: &str = "wsgi = tiny:application\n";

/// The app, with these lines in its file.
fn tiny(dir: &Dir, config: &str) -> PathBuf {
    dir.file("apps/tiny.py", APP, 0o644);
    dir.app_file("app", &format!("{WSGI}{config}"))
}

/// What the apps of these tests answer.
const WAYS: [&str; 3] = ["a plain CGI", "the daemon", "the server"];

/// A request's answer and log.
struct Told {
    output: Output,
    took: Duration,
}

impl Told {
    /// GET by a front, on that host.
    #[track_caller]
    fn by(host: &Host, app: &Path) -> Self {
        Self::of(host.around(&mut cgi::front(app, "GET", "/", &[])))
    }

    /// This front's answer.
    #[track_caller]
    fn of(front: &mut Command) -> Self {
        let began = Instant::now();
        let output = run(front, b"");
        let took = began.elapsed();
        Self { output, took }
    }

    /// The way that the app ran; nothing, if the answer is not the app's own.
    fn way(&self) -> Option<&'static str> {
        let response = String::from_utf8_lossy(&self.output.stdout).into_owned();
        let is_right = self.output.status.success() && response.starts_with("Status: 200 ");
        WAYS.into_iter()
            .find(|way| is_right && response.ends_with(&format!("\r\n\r\n{way}")))
    }

    /// Fails if it was not that way.
    #[track_caller]
    fn went(&self, way: &str) {
        let shown = String::from_utf8_lossy(&self.output.stdout).into_owned();
        let Output { status, stderr, .. } = &self.output;
        assert_eq!(self.way(), Some(way), "{status}: {shown:?}: {stderr:?}");
    }
}

/// As an operator reads it.
fn words(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_owned()
}

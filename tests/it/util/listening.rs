//! An SCGI server that runs beside polycgi, for an app of `connect`: a program whose stdin is the listening socket.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Child;

use super::{Dir, as_user};

/// A server under way. Dropping it kills it: it has nothing to lose.
pub(crate) struct Listening {
    server: Child,
    path: PathBuf,
}

impl Listening {
    /// Runs that program of `apps` in Python; its socket is `tmp/server`.
    #[track_caller]
    pub(crate) fn start(dir: &Dir, program: &str) -> Self {
        let path = dir.join("tmp/server");
        let listener = UnixListener::bind(&path).expect("a socket can be bound");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).expect("a mode can be set");
        let server = as_user("/usr/bin/python3")
            .arg("-S")
            .arg(dir.join("apps").join(program))
            .stdin(OwnedFd::from(listener))
            .spawn()
            .expect("a server can be started");
        Self { server, path }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = fs::remove_file(&self.path);
    }
}

//! fcgiwrap, which runs CGIs for a FastCGI client. It knows no web server.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::command;
use super::program::Program;

const PROGRAM: &str = "/usr/sbin/fcgiwrap";

/// Starts it in that folder. Its fd 0 is the listening socket, as FastCGI has it, so there is no wait.
#[track_caller]
pub(super) fn start(root: &Path, socket: &Path) -> Program {
    let listener =
        UnixListener::bind(socket).expect("a socket can be bound in the test's directory");
    let (uid, gid) = command::user();
    chown(socket, Some(uid.as_raw()), Some(gid.as_raw())).expect("a socket can be given away");
    fs::set_permissions(socket, PermissionsExt::from_mode(0o600)).expect("a mode can be set");
    let mut command = Program::command(PROGRAM, "fcgiwrap");
    // Each process serves one request at a time. A CGI's stderr goes to the web server's log.
    command.args(["-f", "-c", "16"]);
    command.stdin(std::os::fd::OwnedFd::from(listener));
    let mut program = Program::start("fcgiwrap", &mut command, root);
    // Its other processes do not end with the first one.
    program.stops_as_group = true;
    program
}

//! busybox httpd: the smallest web server that runs CGIs, one process for each request. It runs the files of
//! `cgi-bin` by their base name, logs to its stderr only, and answers 404 to a path with %2F.

use std::process::Stdio;

use super::Dir;
use super::program::{Program, free_address};
use super::server::Server;

const PROGRAM: &str = "/bin/busybox";

/// Starts it with these lines of its httpd.conf.
#[track_caller]
pub(super) fn start(dir: &Dir, folder: &str, more: &str) -> Server {
    let address = free_address();
    let root = dir.folder(folder, 0o755);
    let config = dir.file(&format!("{folder}/httpd.conf"), more, 0o644);
    let mut command = Program::command(PROGRAM, "busybox");
    command.args(["httpd", "-f", "-p", &address.to_string(), "-h"]);
    command.arg(dir.path()).arg("-c").arg(&config);
    let mut program = Program::start("busybox httpd", command.stdin(Stdio::null()), &root);
    // Its children answer the requests; a CGI is its grandchild.
    program.stops_as_group = true;
    program.until_it_listens(address);
    Server::new(address, root, vec![program], |_| false)
}

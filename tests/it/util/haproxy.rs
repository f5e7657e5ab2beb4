//! Debian's HAProxy, which speaks FastCGI and runs nothing itself. It logs to no file: what it says at its start is in its
//! standard error.

use std::process::Stdio;

use super::Dir;
use super::program::{Program, free_address};
use super::server::Server;

const PROGRAM: &str = "/usr/sbin/haproxy";

/// Starts it for that path of the FastCGI server at `to`, a path or `host:port`.
#[track_caller]
pub(super) fn start(dir: &Dir, folder: &str, target: &str, to: &str, more: &str) -> Server {
    let address = free_address();
    let root = dir.folder(folder, 0o755);
    let to = match to.starts_with('/') {
        true => format!("unix@{to}"),
        false => to.to_owned(),
    };
    let config = format!(
        "defaults\n    mode http\n    timeout connect 60s\n    timeout client 60s\n    timeout server 60s\n    retries 0\n\
         frontend web\n    bind {address}\n    option forwardfor\n    default_backend app\n\
         backend app\n    use-fcgi-app app\n    server app {to} proto fcgi\n\
         fcgi-app app\n    docroot {at}\n    path-info ^({target})(/.*)?$\n    option keep-conn\n{more}",
        at = dir.path().display(),
    );
    let config = dir.file(&format!("{folder}/haproxy.cfg"), &config, 0o644);
    let mut command = Program::command(PROGRAM, "haproxy");
    command.args(["-db", "-f"]).arg(&config);
    let mut program = Program::start("haproxy", command.stdin(Stdio::null()), &root);
    program.until_it_listens(address);
    Server::new(address, root, vec![program], is_about_itself)
}

fn is_about_itself(line: &str) -> bool {
    line.starts_with("[NOTICE]") || line.starts_with("[WARNING]")
}

//! Debian's Caddy, which has no CGI of its own and no SCGI: its FastCGI transport asks fcgiwrap, or the daemon. For a body
//! in chunks it says that the length is -1.

use std::fs;
use std::process::Stdio;

use super::program::{Program, free_address};
use super::server::Server;
use super::{Dir, Watch, as_user, fcgiwrap, prefix};

/// Starts it for `cgi-bin/app`, with an fcgiwrap beside it.
#[track_caller]
pub(super) fn start_with_fcgiwrap(dir: &Dir, folder: &str) -> Server {
    let root = dir.folder(folder, 0o755);
    let socket = root.join("fcgiwrap.sock");
    let fcgiwrap = fcgiwrap::start(&root, &socket);
    start(dir, folder, &socket.display().to_string(), vec![fcgiwrap])
}

/// The same for the FastCGI server at `to`, a path or `host:port`.
#[track_caller]
pub(super) fn start(dir: &Dir, folder: &str, to: &str, others: Vec<Program>) -> Server {
    let address = free_address();
    let root = dir.join(folder);
    if !root.exists() {
        dir.folder(folder, 0o755);
    }
    let to = match to.starts_with('/') {
        true => format!("unix/{to}"),
        false => to.to_owned(),
    };
    let config = format!(
        "{{\n\tadmin off\n\tauto_https off\n}}\nhttp://{address} {{\n\tbind {ip}\n\
         \treverse_proxy /cgi-bin/* {to} {{\n\t\ttransport fastcgi {{\n\t\t\troot {at}\n\
         \t\t\tsplit /cgi-bin/app\n\t\t}}\n\t}}\n}}\n",
        ip = address.ip(),
        at = dir.path().display(),
    );
    let config = dir.file(&format!("{folder}/Caddyfile"), &config, 0o644);
    let watch = Watch::on(&root);
    let mut command = as_user(prefix().join("debs/caddy/usr/bin/caddy"));
    command
        .args(["run", "--adapter", "caddyfile", "--config"])
        .arg(&config);
    // It keeps its configuration and a key there.
    command.env("HOME", &root);
    let mut program = Program::start("caddy", command.stdin(Stdio::null()), &root);
    let said = root.join("caddy.said");
    program.until_up(watch, || {
        fs::read_to_string(&said).is_ok_and(|said| said.contains("serving initial configuration"))
    });
    let programs = std::iter::once(program).chain(others).collect();
    Server::new(address, root, programs, is_about_itself)
}

/// Its own log is of JSON; a CGI's stderr is in it too.
fn is_about_itself(line: &str) -> bool {
    line.starts_with("{\"level\":\"info\"") || line.starts_with("{\"level\":\"warn\"")
}

//! Debian's lighttpd with nothing of /etc/lighttpd: mod_cgi, or mod_scgi. It knows its configuration, and which of its
//! lines are about requests.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use super::program::{Program, free_address};
use super::server::Server;
use super::{Dir, Output, Watch, run};

const PROGRAM: &str = "/usr/sbin/lighttpd";

/// Lines by which it passes both bodies on while they come. Then it takes no body without a length.
pub(super) const STREAMS: &str =
    "server.stream-request-body = 2\nserver.stream-response-body = 2\n";

/// Starts it with the lines of one of the ways.
#[track_caller]
pub(super) fn start(dir: &Dir, folder: &str, way: &str, more: &str) -> Server {
    let address = free_address();
    let (root, config) = config(dir, folder, address, &(way.to_owned() + more));
    let watch = Watch::on(&root);
    let mut command = Program::command(PROGRAM, "lighttpd");
    command.arg("-D").arg("-f").arg(&config);
    let mut program = Program::start("lighttpd", command.stdin(Stdio::null()), &root);
    program.until_up(watch, || {
        let log = fs::read(root.join("error.log")).unwrap_or_default();
        memchr::memmem::find(&log, b" server started ").is_some()
    });
    Server::new(address, root, vec![program], is_about_itself)
}

/// Lets lighttpd check a configuration with these lines.
#[track_caller]
pub(super) fn check(dir: &Dir, folder: &str, own: &str) -> Output {
    let (_, config) = config(dir, folder, free_address(), own);
    let mut command = Program::command(PROGRAM, "lighttpd");
    run(command.arg("-tt").arg("-f").arg(config), b"")
}

/// Its folder and its configuration, written.
fn config(dir: &Dir, folder: &str, address: SocketAddr, own: &str) -> (PathBuf, PathBuf) {
    let root = dir.folder(folder, 0o755);
    let config = format!(
        "server.bind = \"{ip}\"\nserver.port = {port}\nserver.document-root = \"{at}\"\n\
         server.errorlog = \"{root}/error.log\"\nserver.upload-dirs = ( \"{root}\" )\n{own}",
        ip = address.ip(),
        port = address.port(),
        at = dir.path().display(),
        root = root.display(),
    );
    let config = dir.file(&format!("{folder}/lighttpd.conf"), &config, 0o644);
    (root, config)
}

/// All of `cgi-bin` are CGIs.
pub(super) fn cgi() -> String {
    "server.modules = ( \"mod_cgi\" )\n$HTTP[\"url\"] =~ \"^/cgi-bin/\" { cgi.assign = ( \"\" => \"\" ) }\n"
        .to_owned()
}

/// Lines by which requests for that path go to an SCGI server.
pub(super) fn scgi(target: &str, scgi: &str) -> String {
    gateway("scgi", target, scgi)
}

/// The same to a FastCGI server.
pub(super) fn fastcgi(target: &str, server: &str) -> String {
    gateway("fastcgi", target, server)
}

fn gateway(protocol: &str, target: &str, server: &str) -> String {
    let to = match server.rsplit_once(':') {
        Some((host, port)) if !server.starts_with('/') => {
            format!("\"host\" => \"{host}\", \"port\" => {port}")
        }
        _ => format!("\"socket\" => \"{server}\""),
    };
    // Without these it looks for a file of that name, and sends a server that failed no request for a second.
    let own = "\"check-local\" => \"disable\", \"disable-time\" => 0";
    format!(
        "server.modules = ( \"mod_{protocol}\" )\n{protocol}.server = ( \"{target}\" => (( {to}, {own} )) )\n"
    )
}

fn is_about_itself(line: &str) -> bool {
    [
        " server started ",
        " server stopped by ",
        " graceful shutdown started",
    ]
    .iter()
    .any(|words| line.contains(words))
}

//! Debian's h2o, whose `fastcgi-cgi` runs a CGI for each FastCGI request. It runs files by the end of their name, and
//! answers local redirects by itself.

use std::process::Stdio;

use super::program::{Program, free_address};
use super::server::Server;
use super::{Dir, Watch};

const PROGRAM: &str = "/usr/bin/h2o";

/// Starts it for the files of `cgi-bin` that end with `.cgi`.
#[track_caller]
pub(super) fn start(dir: &Dir, folder: &str) -> Server {
    // fastcgi-cgi sets no GATEWAY_INTERFACE, and gives CGIs its own environment.
    let paths = format!(
        "      /cgi-bin:\n        file.dir: {at}/cgi-bin\n        file.custom-handler:\n\
         \x20         extension: [\".cgi\"]\n\
         \x20         fastcgi.spawn: \"GATEWAY_INTERFACE=CGI/1.1 exec /usr/share/h2o/fastcgi-cgi\"\n",
        at = dir.path().display(),
    );
    start_for(dir, folder, &paths)
}

/// Lines of a path whose requests go to the FastCGI server at `to`, a path or `host:port`.
pub(super) fn fastcgi(target: &str, to: &str) -> String {
    let to = match to.rsplit_once(':') {
        Some((host, port)) if !to.starts_with('/') => {
            format!("host: {host}\n          port: {port}")
        }
        _ => format!("port: {to}\n          type: unix"),
    };
    format!("      {target}:\n        fastcgi.connect:\n          {to}\n")
}

/// Starts it with these paths.
#[track_caller]
pub(super) fn start_for(dir: &Dir, folder: &str, paths: &str) -> Server {
    let address = free_address();
    let root = dir.folder(folder, 0o755);
    let config = format!(
        "listen:\n  host: {ip}\n  port: {port}\nerror-log: {root}/error.log\npid-file: {root}/pid\nnum-threads: 2\n\
         hosts:\n  default:\n    paths:\n{paths}",
        ip = address.ip(),
        port = address.port(),
        root = root.display(),
    );
    let config = dir.file(&format!("{folder}/h2o.conf"), &config, 0o644);
    let watch = Watch::on(&root);
    let mut command = Program::command(PROGRAM, "h2o");
    command.arg("-c").arg(&config).env("TMPDIR", &root);
    let mut program = Program::start("h2o", command.stdin(Stdio::null()), &root);
    program.until_up(watch, || root.join("pid").exists());
    Server::new(address, root, vec![program], is_about_itself)
}

fn is_about_itself(line: &str) -> bool {
    [
        "[INFO] ",
        "h2o server (pid:",
        "received SIGTERM, gracefully ",
    ]
    .iter()
    .any(|words| line.starts_with(words))
}

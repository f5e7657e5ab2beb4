//! Debian's nginx with nothing of /etc/nginx: scgi_pass, or fastcgi_pass to fcgiwrap, which runs CGIs. It knows its
//! configuration, and which of its lines are about requests.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::program::{Program, free_address};
use super::server::Server;
use super::{Dir, Output, Watch, fcgiwrap, run};

const PROGRAM: &str = "/usr/sbin/nginx";

/// The variables that it sends, for SCGI and FastCGI, as in its own scgi_params and fastcgi_params.
const NAMES: [(&str, &str); 12] = [
    ("CONTENT_TYPE", "$content_type"),
    ("DOCUMENT_ROOT", "$document_root"),
    ("DOCUMENT_URI", "$document_uri"),
    ("HTTPS", "$https if_not_empty"),
    ("QUERY_STRING", "$query_string"),
    ("REMOTE_ADDR", "$remote_addr"),
    ("REMOTE_PORT", "$remote_port"),
    ("REQUEST_METHOD", "$request_method"),
    ("REQUEST_SCHEME", "$scheme"),
    ("REQUEST_URI", "$request_uri"),
    ("SERVER_NAME", "$server_name"),
    ("SERVER_PORT", "$server_port"),
];

/// Starts it with this location, and stops the others after it.
#[track_caller]
pub(crate) fn start(dir: &Dir, folder: &str, location: &str, others: Vec<Program>) -> Server {
    start_with(dir, folder, "", location, others)
}

/// The same with lines beside the server's block.
#[track_caller]
fn start_with(
    dir: &Dir,
    folder: &str,
    beside: &str,
    location: &str,
    others: Vec<Program>,
) -> Server {
    let address = free_address();
    let (root, config) = config_with(dir, folder, address, beside, location);
    let watch = Watch::on(&root);
    let mut command = command(&root, &config);
    let mut nginx = Program::start("nginx", command.stdin(Stdio::null()), &root);
    // It listens before it writes its pid.
    nginx.until_up(watch, || root.join("pid").exists());
    let programs = std::iter::once(nginx).chain(others).collect();
    Server::new(address, root, programs, is_about_itself)
}

/// Lets nginx check a configuration with these lines.
#[track_caller]
pub(super) fn check(dir: &Dir, folder: &str, location: &str) -> Output {
    let (root, config) = config(dir, folder, free_address(), location);
    run(command(&root, &config).arg("-t"), b"")
}

fn command(root: &Path, config: &Path) -> Command {
    let mut command = Program::command(PROGRAM, "nginx");
    command.arg("-e").arg(root.join("error.log"));
    command.arg("-p").arg(root).arg("-c").arg(config);
    command
}

/// Its folder and its configuration, written.
fn config(dir: &Dir, folder: &str, address: SocketAddr, location: &str) -> (PathBuf, PathBuf) {
    config_with(dir, folder, address, "", location)
}

fn config_with(
    dir: &Dir,
    folder: &str,
    address: SocketAddr,
    beside: &str,
    location: &str,
) -> (PathBuf, PathBuf) {
    let root = dir.join(folder);
    if !root.exists() {
        dir.folder(folder, 0o755);
    }
    let own_folders: String = ["client_body", "fastcgi", "proxy", "scgi", "uwsgi"]
        .map(|name| format!("{name}_temp_path {}/{name};\n", root.display()))
        .concat();
    let config = format!(
        "daemon off;\nworker_processes 1;\npid {root}/pid;\nerror_log {root}/error.log warn;\n\
         events {{ worker_connections 512; }}\n\
         http {{\naccess_log off;\nclient_max_body_size 0;\n{own_folders}{beside}\
         server {{\nlisten {address};\nserver_name {ip};\nroot {at};\n{location}}}\n}}\n",
        root = root.display(),
        ip = address.ip(),
        at = dir.path().display(),
    );
    let config = dir.file(&format!("{folder}/nginx.conf"), &config, 0o644);
    (root, config)
}

/// With fcgiwrap beside it, for what lies in `cgi-bin`.
#[track_caller]
pub(super) fn start_with_fcgiwrap(dir: &Dir, folder: &str, more: &str) -> Server {
    start_beside_fcgiwrap(dir, folder, |socket| fastcgi("/cgi-bin/", socket, more))
}

/// With a location that leads to the fcgiwrap behind a socket.
#[track_caller]
pub(crate) fn start_beside_fcgiwrap(
    dir: &Dir,
    folder: &str,
    location: impl FnOnce(&Path) -> String,
) -> Server {
    let root = dir.folder(folder, 0o755);
    let socket = root.join("fcgiwrap.sock");
    let fcgiwrap = fcgiwrap::start(&root, &socket);
    start(dir, folder, &location(&socket), vec![fcgiwrap])
}

/// A location of CGIs: requests for that path go to fcgiwrap.
pub(crate) fn fastcgi(target: &str, socket: &Path, more: &str) -> String {
    format!(
        "location {target} {{\nfastcgi_split_path_info ^(/cgi-bin/[^/]+)(/.*)$;\n\
         {}fastcgi_param CONTENT_LENGTH $content_length;\nfastcgi_param GATEWAY_INTERFACE CGI/1.1;\nfastcgi_param SERVER_PROTOCOL $server_protocol;\n\
         fastcgi_param SERVER_SOFTWARE nginx/$nginx_version;\nfastcgi_param SERVER_ADDR $server_addr;\n\
         fastcgi_param SCRIPT_NAME $fastcgi_script_name;\nfastcgi_param PATH_INFO $fastcgi_path_info;\n\
         fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;\n\
         fastcgi_pass unix:{};\n{more}}}\n",
        params("fastcgi_param"),
        socket.display(),
    )
}

/// Starts it for that path of a FastCGI server, by kept connections.
#[track_caller]
pub(super) fn start_for_fastcgi(
    dir: &Dir,
    folder: &str,
    target: &str,
    to: &str,
    more: &str,
) -> Server {
    let to = match to.starts_with('/') {
        true => format!("unix:{to}"),
        false => to.to_owned(),
    };
    let beside = format!("upstream app {{\nserver {to} max_fails=0;\nkeepalive 4;\n}}\n");
    let location = format!(
        "location {target} {{\n{}fastcgi_param CONTENT_LENGTH $content_length;\n\
         fastcgi_param SERVER_PROTOCOL $server_protocol;\n\
         fastcgi_param SERVER_SOFTWARE nginx/$nginx_version;\nfastcgi_keep_conn on;\nfastcgi_pass app;\n{more}}}\n",
        params("fastcgi_param"),
    );
    start_with(dir, folder, &beside, &location, vec![])
}

/// A location by which requests for that path go to an SCGI server.
pub(crate) fn scgi(target: &str, scgi: &str, more: &str) -> String {
    let to = if scgi.starts_with('/') {
        format!("unix:{scgi}")
    } else {
        scgi.to_owned()
    };
    format!(
        "location {target} {{\n{}scgi_param SCGI 1;\nscgi_param SERVER_PROTOCOL $server_protocol;\n\
         scgi_pass {to};\n{more}}}\n",
        params("scgi_param"),
    )
}

fn is_about_itself(line: &str) -> bool {
    // Of a body or a response that is larger than its buffers.
    line.contains("[warn]") && line.contains(" is buffered to a temporary file ")
}

fn params(directive: &str) -> String {
    NAMES
        .map(|(name, value)| format!("{directive} {name} {value};\n"))
        .concat()
}

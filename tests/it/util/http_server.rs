//! `python3 -m http.server --cgi`, which Python has had until 3.14. It passes on four header fields of the client's and
//! no others, takes no body without a length, and answers 200 to everything: the status of a CGI is a header field.

use std::process::Stdio;

use super::Dir;
use super::program::{Program, free_address};
use super::server::Server;

/// Starts it for the files of `cgi-bin`.
#[track_caller]
pub(super) fn start(dir: &Dir, folder: &str) -> Server {
    let address = free_address();
    let root = dir.folder(folder, 0o755);
    let mut command = Program::command("/usr/bin/python3", "python3");
    command.args([
        "-m",
        "http.server",
        "--cgi",
        "--bind",
        &address.ip().to_string(),
    ]);
    command
        .arg("--directory")
        .arg(dir.path())
        .arg(address.port().to_string());
    let mut program = Program::start("http.server", command.stdin(Stdio::null()), &root);
    // Its children are CGIs.
    program.stops_as_group = true;
    program.until_it_listens(address);
    Server::new(address, root, vec![program], is_about_itself)
}

/// A line for each request.
fn is_about_itself(line: &str) -> bool {
    line.starts_with("127.") || line.starts_with("Serving HTTP on ")
}

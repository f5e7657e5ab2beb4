//! The table of applets: which name runs what.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use crate::sys::environ;
use crate::{app_cgi, cli, daemon, front, overload_page};

/// Hands over to the applet that this process was started as.
pub fn main() -> ExitCode {
    if environ::value("GATEWAY_INTERFACE").is_some() {
        return under_web_server();
    }
    let argv: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let name = base_name(argv.first().map_or(OsStr::new(""), OsStr::new));
    let words = argv.get(1..).unwrap_or_default();
    match name {
        b"scgi-daemon" => daemon::main(words),
        b"app-cgi" | b"cgi-front" | b"overload-page" => cli::describe_applet(name, words),
        _ => match words {
            [first, rest @ ..] if first == "scgi-daemon" => daemon::main(rest),
            words => cli::main(words),
        },
    }
}

/// The words after argv\[0\] are never looked at here: RFC 3875 4.4 lets a client put its own there.
fn under_web_server() -> ExitCode {
    let argv0 = std::env::args_os().next().unwrap_or_default();
    match base_name(&argv0) {
        b"app-cgi" => app_cgi::main(),
        b"overload-page" => overload_page::main(),
        _ => front::main(),
    }
}

/// The exact name, never a suffix of it.
fn base_name(argv0: &OsStr) -> &[u8] {
    Path::new(argv0).file_name().unwrap_or_default().as_bytes()
}

//! The table of applets: which program each name runs.

use std::io::Write;

use crate::naming::{self, Applet};
use crate::report::Exit;
use crate::sys::{environ, process};
use crate::{app_cgi, cli, daemon, front, overload_page};

/// Runs the applet by whose name this process was started.
pub fn main() -> Exit {
    if environ::value("GATEWAY_INTERFACE").is_some() {
        return under_web_server();
    }
    by_hand()
}

/// A function of its own: a front's way through `main` stays short.
#[cold]
#[inline(never)]
fn by_hand() -> Exit {
    process::prepare();
    let argv: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let words = argv.get(1..).unwrap_or_default();
    let (_, name) = naming::split(environ::name());
    let exit = match name {
        b"scgi-daemon" => daemon::main(words),
        b"app-cgi" | b"cgi-front" | b"overload-page" => cli::describe_applet(name, words),
        _ => match words {
            [first, rest @ ..] if first == "scgi-daemon" => daemon::main(rest),
            words => cli::main(words),
        },
    };
    // Rust's runtime would write an unfinished line at exit. If standard output is closed, nothing can be done.
    let _ = std::io::stdout().flush();
    exit
}

/// The words after argv\[0\] are never read here: by RFC 3875 4.4 they may be the client's.
fn under_web_server() -> Exit {
    match Applet::under_web_server(environ::name()) {
        Applet::AppCgi => prepared(app_cgi::main),
        Applet::CgiFront => front::main(),
        Applet::OverloadPage => prepared(overload_page::main),
    }
}

#[cold]
#[inline(never)]
fn prepared(main: fn() -> Exit) -> Exit {
    process::prepare();
    main()
}

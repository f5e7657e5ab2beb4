//! The table of applets: which name runs what.

use std::io::Write;

use crate::naming::{self, Applet};
use crate::report::Exit;
use crate::sys::{environ, process};
use crate::{app_cgi, cli, daemon, front, overload_page};

/// Hands over to the applet that this process was started as.
pub fn main() -> Exit {
    if environ::value("GATEWAY_INTERFACE").is_some() {
        return under_web_server();
    }
    by_hand()
}

/// Kept out of `main`, as all that is not for a front.
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
    // Rust's runtime would print at the end what is no whole line. With nobody to read it, there is nobody to tell.
    let _ = std::io::stdout().flush();
    exit
}

/// The words after argv\[0\] are never looked at here: RFC 3875 4.4 lets a client put its own there.
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

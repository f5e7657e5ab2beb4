//! `links` and `new`: the two forms of app file, made.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use argh::FromArgs;

use crate::report::{Exit, say};

/// Make symlinks to polycgi in a directory, one for each app: NAME.cgi for NAME.conf.
#[derive(FromArgs)]
#[argh(subcommand, name = "links")]
pub(super) struct Links {
    /// the directory, a cgi-bin
    #[argh(positional)]
    dir: PathBuf,

    /// names of apps; one without an extension gets .cgi
    #[argh(positional)]
    names: Vec<String>,
}

/// Print an app file to start from.
#[derive(FromArgs)]
#[argh(subcommand, name = "new")]
pub(super) struct New {
    /// the application, as module:callable
    #[argh(option, arg_name = "module:callable")]
    wsgi: String,

    /// the app's name
    #[argh(positional)]
    name: String,
}

impl Links {
    pub(super) fn run(self) -> Exit {
        if self.names.is_empty() {
            say("links", "which apps? usage: polycgi links DIR NAME...");
            return Exit::Usage;
        }
        let program = installed_program();
        for name in &self.names {
            let is_plain = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
            if !is_plain || name.starts_with("nph-") {
                say(
                    "links",
                    format_args!("'{name}' can't be the name of an app"),
                );
                return Exit::Usage;
            }
            let has_extension = Path::new(name).extension().is_some();
            let link = self.dir.join(if has_extension {
                name.clone()
            } else {
                format!("{name}.cgi")
            });
            if fs::read_link(&link).is_ok_and(|to| to == program) {
                continue;
            }
            if let Err(error) = symlink(&program, &link) {
                say(
                    "links",
                    format_args!("cannot make {}: {error}", link.display()),
                );
                return Exit::CantCreate;
            }
            println!("{} -> {}", link.display(), program.display());
        }
        Exit::Ok
    }
}

impl New {
    pub(super) fn run(self) -> Exit {
        let New { wsgi, name } = self;
        let program = installed_program();
        let (module, callable) = wsgi.split_once(':').unwrap_or((&wsgi, ""));
        if module.is_empty() || callable.is_empty() {
            say(
                "new",
                format_args!("'{wsgi}' is not of the form module:callable"),
            );
            return Exit::Usage;
        }
        println!("#!{} -", program.display());
        println!(
            "# {name}: save this as {name}.cgi in cgi-bin, mode 755, and see `polycgi check {name}.cgi`."
        );
        println!("wsgi = {wsgi}");
        println!("# where the app's modules are; outside what the web server serves as files");
        println!(
            "#directory = {}/{name}",
            std::env::var("HOME").unwrap_or_else(|_| "/srv".to_owned())
        );
        println!("# an interpreter, or the folder of a virtual environment");
        println!("#python = python3");
        Exit::Ok
    }
}

/// The path that links and `#!` lines should have: where this program is installed.
fn installed_program() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/local/bin/polycgi"));
    fs::canonicalize(&own).unwrap_or(own)
}

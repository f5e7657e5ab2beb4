//! `links` and `new`: they make the two forms of app file.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use argh::FromArgs;

use crate::config;
use crate::report::{Exit, say};
use crate::sys::files::Control;
use crate::sys::{accounts, files, process};

/// Make symlinks to polycgi in a directory, one for each app: NAME.cgi for NAME.conf.
#[derive(FromArgs)]
#[argh(subcommand, name = "links")]
pub(super) struct LinksCommand {
    /// the directory, a cgi-bin
    #[argh(positional)]
    dir: PathBuf,

    /// names of apps; one without an extension gets .cgi
    #[argh(positional)]
    names: Vec<String>,
}

/// Print an app file to start from: for a WSGI application, a CGI program, an SCGI server or one that runs already.
#[derive(FromArgs)]
#[argh(subcommand, name = "new")]
pub(super) struct NewCommand {
    /// the application, as module:callable
    #[argh(option, arg_name = "module:callable")]
    wsgi: Option<String>,

    /// a command that runs the app as a CGI
    #[argh(option, arg_name = "command")]
    cgi: Option<String>,

    /// a command that runs the app as an SCGI server
    #[argh(option, arg_name = "command")]
    scgi: Option<String>,

    /// the address of an SCGI server that runs already: a path, or host:port
    #[argh(option, arg_name = "address")]
    connect: Option<String>,

    /// the app's name
    #[argh(positional)]
    name: String,
}

impl LinksCommand {
    pub(super) fn run(self) -> Exit {
        if self.names.is_empty() {
            say("links", "no app is named; usage: polycgi links DIR NAME...");
            return Exit::Usage;
        }
        if let Err(sentence) = check_folder(&self.dir) {
            say("links", sentence);
            return Exit::NoPermission;
        }
        let program = installed_program();
        for name in &self.names {
            if let Err(exit) = check_app_name("links", name) {
                return exit;
            }
            let has_extension = Path::new(name).extension().is_some();
            let link = self.dir.join(if has_extension {
                name.clone()
            } else {
                format!("{name}.cgi")
            });
            let is_known = fs::read_link(&link).is_ok_and(|to| to == program);
            let is_ours = files::control(&link).is_ok_and(|control| is_trusted(control.uid));
            if is_known && is_ours {
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

impl NewCommand {
    pub(super) fn run(self) -> Exit {
        let given = [
            ("wsgi", &self.wsgi),
            ("cgi", &self.cgi),
            ("scgi", &self.scgi),
            ("connect", &self.connect),
        ];
        let given = given
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.as_ref()?)));
        let lines: String = given
            .map(|(key, value)| format!("{key} = {value}\n"))
            .collect();
        let is_commands = self.cgi.is_some() || self.scgi.is_some();
        let ways = [self.wsgi.is_some(), is_commands, self.connect.is_some()];
        if ways.into_iter().filter(|&is_one| is_one).count() != 1 {
            let sentence = "an app has one of --wsgi, --cgi and/or --scgi, --connect";
            say("new", sentence);
            return Exit::Usage;
        }
        let name = &self.name;
        // The printed file must be a valid app file.
        if let Err(bad) = config::parse("the command line", lines.as_bytes()) {
            say("new", bad.message());
            return Exit::Usage;
        }
        if let Err(exit) = check_app_name("new", name) {
            return exit;
        }
        let program = installed_program();
        let home = std::env::var("HOME").unwrap_or_else(|_| "/srv".to_owned());
        println!("#!{} -", program.display());
        println!(
            "# {name}: save this as {name}.cgi in cgi-bin, mode 755, and see `polycgi check {name}.cgi`."
        );
        print!("{lines}");
        if self.wsgi.is_some() {
            println!("# where the app's modules are; outside what the web server serves as files");
            println!("#directory = {home}/{name}");
            println!("# an interpreter, or the folder of a virtual environment");
            println!("#python = python3");
        } else if is_commands {
            println!("# where the command is run");
            println!("#directory = {home}/{name}");
        }
        Exit::Ok
    }
}

/// Refuses to make links as root if another user can change a folder on the directory's path: that user could lead
/// root to any other directory. Other users may make links wherever the system lets them.
fn check_folder(dir: &Path) -> Result<(), String> {
    if process::uid() != 0 {
        return Ok(());
    }
    // The path as typed and the one without symlinks: no other user may control a part of either. If a part is missing,
    // making the link fails and says so.
    let typed = std::path::absolute(dir);
    for way in [typed, fs::canonicalize(dir)].into_iter().flatten() {
        let mut path = PathBuf::new();
        for part in way.components() {
            path.push(part);
            let is_safe = files::control(&path).map_or(true, |control| {
                is_trusted(control.uid) && !is_shared(control)
            });
            if !is_safe {
                let (dir, path) = (dir.display(), path.display());
                let sentence =
                    format!("another user can change {path}; make the links as that user");
                return Err(format!("cannot make links in {dir} as root: {sentence}"));
            }
        }
    }
    Ok(())
}

fn is_shared(control: Control) -> bool {
    control.is_open || control.group.is_some_and(accounts::has_members)
}

fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == process::uid()
}

/// A name that a file in cgi-bin can have; if not, an error is printed.
fn check_app_name(command: &str, name: &str) -> Result<(), Exit> {
    let is_plain = !name.is_empty() && !name.contains(['/', '\n']) && !name.starts_with('.');
    if is_plain && !name.starts_with("nph-") {
        return Ok(());
    }
    let why = "it is empty, has a '/' or a line end, or begins with '.' or 'nph-'";
    say(
        command,
        format_args!("'{name}' can't be the name of an app: {why}"),
    );
    Err(Exit::Usage)
}

/// The path of this program, for links and `#!` lines.
fn installed_program() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/local/bin/polycgi"));
    fs::canonicalize(&own).unwrap_or(own)
}

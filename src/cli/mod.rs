//! The subcommands for people: their table, their help, and what an app file prints when it is run by hand.

mod apps;
mod ask;
mod asked;
mod check;
mod compare;
mod control;
mod fast_path;
mod links;
mod new;
mod python;
mod request;
mod status;
mod stop;
mod surroundings;
mod watch;
mod ways;

use std::path::Path;

use argh::{ArgsInfo, FromArgs};
#[cfg(test)]
pub(crate) use check::{finding_in_json, finding_kinds, finding_severities};
#[cfg(test)]
pub(crate) use new::example_names;

use crate::acting::{self, CommandError, Deed};
use crate::app_file::{AppFile, Named, NotAnApp};
use crate::args;
use crate::place::Place;
use crate::printable;
use crate::report::{Exit, print_line, say};
use crate::sys::process;

const NAME: &str = "polycgi";
/// The binary's names in cgi-bin, and what each does.
pub(crate) const APPLETS: [(&str, &str); 4] = [
    ("app-cgi", "the app as a plain CGI, whatever the load"),
    (
        "cgi-front",
        "the app by load: as a plain CGI, or by its daemon (what an app file runs)",
    ),
    ("overload-page", "'try again later', whatever the app"),
    ("scgi-daemon", "the app's daemon"),
];

/// Runs a web app from cgi-bin: as a plain CGI while the site is quiet, in a daemon when it is busy.
#[derive(ArgsInfo, FromArgs)]
struct Polycgi {
    #[argh(subcommand)]
    command: Subcommand,
}

#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand)]
enum Subcommand {
    AppCgi(AppCgi),
    Applets(Applets),
    CgiFront(CgiFront),
    Check(check::CheckCommand),
    Compare(compare::CompareCommand),
    Links(links::LinksCommand),
    New(new::NewCommand),
    OverloadPage(OverloadPage),
    Reload(control::ReloadCommand),
    Request(request::RequestCommand),
    ScgiDaemon(ScgiDaemon),
    Start(control::StartCommand),
    Status(status::StatusCommand),
    Stop(stop::StopCommand),
}

/// List the applets: the names under which a web server runs this program.
#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand, name = "applets")]
struct Applets {}

/// Run the app as a plain CGI, whatever the load; for a web server.
#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand, name = "app-cgi")]
struct AppCgi {}

/// Run the app by load, as a plain CGI or by its daemon; for a web server.
#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand, name = "cgi-front")]
struct CgiFront {}

/// Answer 'try again later'; for a web server.
#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand, name = "overload-page")]
struct OverloadPage {}

/// Serve an app's requests until it is idle; in the foreground.
#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand, name = "scgi-daemon")]
struct ScgiDaemon {}

/// The command line as argh knows it.
#[cfg(test)]
pub(crate) fn command_info() -> argh::CommandInfoWithArgs {
    Polycgi::get_args_info()
}

/// Runs the subcommand that `words` name.
pub fn main(words: &[String]) -> Exit {
    if let [first] = words
        && (first == "--version" || first == "-V")
    {
        print_version();
        return Exit::Ok;
    }
    // `./wiki.cgi` by hand: the kernel runs `polycgi - ./wiki.cgi`, or `polycgi ./wiki.cgi`.
    if let Some(app) = app_file_by_hand(words) {
        return describe_app(&app);
    }
    if let [file, ..] = words
        && file.contains('/')
        && AppFile::at(file.as_ref()).is_ok()
    {
        // `#!/usr/bin/env polycgi` gets here: the kernel then executes what env has found, not the script.
        let own = crate::sys::environ::exec_name().unwrap_or(std::path::Path::new(NAME));
        say(NAME, NotAnApp::Binary(own.to_path_buf()));
        return Exit::Usage;
    }
    let words: Polycgi = match args::parse(&[NAME], words) {
        Ok(words) => words,
        Err(exit) => return exit,
    };
    match words.command {
        Subcommand::AppCgi(_) => for_web_server("app-cgi"),
        Subcommand::Applets(_) => {
            for (name, what) in APPLETS {
                print_line(format_args!("{name:15}{what}"));
            }
            Exit::Ok
        }
        Subcommand::CgiFront(_) => for_web_server("cgi-front"),
        Subcommand::Check(words) => words.run(),
        Subcommand::Compare(words) => words.run(),
        Subcommand::Links(words) => words.run(),
        Subcommand::New(words) => words.run(),
        Subcommand::OverloadPage(_) => for_web_server("overload-page"),
        Subcommand::Reload(words) => words.run(),
        Subcommand::Request(words) => words.run(),
        // Only with --help: the table of applets runs the daemon otherwise.
        Subcommand::ScgiDaemon(_) => Exit::Usage,
        Subcommand::Start(words) => words.run(),
        Subcommand::Status(words) => words.run(),
        Subcommand::Stop(words) => words.run(),
    }
}

fn print_version() {
    print_line(format_args!("polycgi {}", env!("CARGO_PKG_VERSION")));
    if let Some(lack) = fast_path::lack() {
        print_line(lack);
    }
}

/// Prints what an applet is, if a person has started one that a web server should run.
pub fn describe_applet(name: &[u8], words: &[String]) -> Exit {
    let name = String::from_utf8_lossy(name);
    if let Some(app) = app_file_by_hand(words) {
        return describe_app(&app);
    }
    let mut all = vec![name.into_owned()];
    all.extend_from_slice(words);
    main(&all)
}

fn for_web_server(name: &str) -> Exit {
    say(
        name,
        "this is run by a web server, for a request; to try one by hand: polycgi request APP /",
    );
    Exit::Usage
}

/// The app file, where the kernel ran us as its `#!` program: with the optional `-` and the file's path.
fn app_file_by_hand(words: &[String]) -> Option<AppFile> {
    let executed = crate::sys::environ::exec_name()?;
    let path = match words {
        [dash, path, ..] if dash == "-" => path,
        [path, ..] => path,
        [] => return None,
    };
    // The kernel's path and the command line agree, so it is not a subcommand.
    (std::path::Path::new(path) == executed).then(|| AppFile::at(executed).ok())?
}

fn describe_app(app: &AppFile) -> Exit {
    let path = printable::line(&app.path.display().to_string());
    print_line(format_args!(
        "{path} is a polycgi app file: a web server runs it, from cgi-bin."
    ));
    let program = links::typed_program();
    print_line(format_args!(
        "To try it by hand:  {program} request {path} /"
    ));
    print_line(format_args!("To examine it:      {program} check {path}"));
    Exit::Ok
}

/// The app that a person names. From now on this process has the rights of the app's user. Errors are printed.
fn app_for(command: &str, named: &Named, user: Option<&str>, deed: Deed) -> Result<Sought, Exit> {
    if let Some(users) = act_for(command, named, user, deed)? {
        return Ok(Sought::Nothing(users.join(" or ")));
    }
    AppFile::of(named).map(Sought::App).or_else(|no: NotAnApp| {
        if let (Deed::Ask, Named::Path(path)) = (deed, named)
            && let Some(app) = left_at(path)
        {
            return Ok(Sought::App(app));
        }
        say(command, &no);
        Err(Exit::NoInput)
    })
}

/// The app of a place of this user whose file was at this path, and is gone: its daemon may still be there.
fn left_at(path: &Path) -> Option<AppFile> {
    let uid = process::uid();
    let (places, _) = Place::all(uid);
    let place = places.into_iter().find(|place| {
        let left = place.left(uid);
        left.is_some_and(|left| Path::new(&left.app) == path && place.is_without(&left.app))
    })?;
    Some(AppFile::missing(path, place.dir.file_name()?))
}

/// From now on this process has the rights of the app's user, if there is such an app. `Some`: none of these users, of
/// whom one must be the app's, has a place for it. Errors are printed.
fn act_for(
    command: &str,
    named: &Named,
    user: Option<&str>,
    deed: Deed,
) -> Result<Option<Vec<String>>, Exit> {
    // No such file: then the app has no user.
    let files = named.files();
    if files.iter().all(|file| file.symlink_metadata().is_err()) {
        return Ok(None);
    }
    let is_own = user.is_some() || process::uid() == 0 || deed == Deed::RunAlone;
    let refused = match is_own {
        true => Ok(()),
        false => acting::refuse_other(named, command),
    };
    let begun = refused.and_then(|()| acting::begin(named, user, deed));
    begun.map_err(|(exit, sentence): CommandError| {
        say(command, sentence);
        exit
    })
}

/// What a command can act on.
enum Sought {
    App(AppFile),
    /// Nothing: one of these users must be the app's, and none of them has a place for it.
    Nothing(String),
}

/// The same for a command that runs the app or makes something for it.
fn app_to_run(command: &str, named: &Named, user: Option<&str>) -> Result<AppFile, Exit> {
    run_by(command, named, user, Deed::Run)
}

/// The same for one that leaves daemons and places alone.
fn app_to_run_alone(command: &str, named: &Named, user: Option<&str>) -> Result<AppFile, Exit> {
    run_by(command, named, user, Deed::RunAlone)
}

fn run_by(command: &str, named: &Named, user: Option<&str>, deed: Deed) -> Result<AppFile, Exit> {
    match app_for(command, named, user, deed)? {
        Sought::App(app) => Ok(app),
        // `app_for` refuses such a command if the app's user is not known.
        Sought::Nothing(_) => Err(Exit::Software),
    }
}

/// Prints that there is no daemon to be told.
fn print_no_daemon(named: &Named, users: Option<&str>, more: &str) {
    let users = users.map(str::to_owned).or_else(acting::acts_as);
    let users = users.map_or(String::new(), |users| format!(" as {users}"));
    let named = printable::line(&named.to_string());
    print_line(format_args!("{named}: no daemon runs{users}{more}"));
}

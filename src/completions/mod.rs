//! The completions for bash, zsh and fish (packaging/completions), written from the commands and options that argh knows.
//! Here stands what is completed and by what; how each shell is told, the files beside this one know. It is built for
//! the tests only: with POLYCGI_GOLDEN=write they write the files, else they compare them.
#![forbid(unsafe_code)]

mod bash;
mod fish;
mod zsh;

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality};

use crate::{args, cli, daemon};

/// What a value is, as far as a shell can complete it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueKind {
    /// An app file, or the NAME of NAME.conf.
    App,
    /// A program, in PATH or by its path.
    Command,
    /// The name of an app file that the program carries.
    Example,
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A method of HTTP.
    Method,
    /// The NAME of NAME.conf.
    Name,
    /// Only a person knows it.
    Text,
    /// A user of this host.
    User,
    /// One of the ways to an app, or a socket.
    Way,
}

const METHODS: &str = "DELETE GET HEAD OPTIONS PATCH POST PUT";
const WAYS: &str = "auto cgi scgi";

/// By the long name of an option, or the name of what stands without one.
const VALUES: [(&str, ValueKind); 20] = [
    ("--as", ValueKind::User),
    ("--cgi", ValueKind::Command),
    ("--connect", ValueKind::File),
    ("--data", ValueKind::Text),
    ("--example", ValueKind::Example),
    ("--header", ValueKind::Text),
    ("--method", ValueKind::Method),
    ("--profile", ValueKind::File),
    ("--runs", ValueKind::Text),
    ("--scgi", ValueKind::Command),
    ("--user", ValueKind::User),
    ("--via", ValueKind::Way),
    ("--watch", ValueKind::Text),
    ("--wsgi", ValueKind::Text),
    ("app", ValueKind::App),
    ("dir", ValueKind::Folder),
    ("folder", ValueKind::Folder),
    ("name_or_folder", ValueKind::Folder),
    ("names", ValueKind::Name),
    ("path", ValueKind::Text),
];

/// A command, and what may follow it.
#[derive(Debug)]
struct OfferedCommand {
    name: String,
    about: String,
    options: Vec<OfferedOption>,
    places: Vec<OfferedPlace>,
}

/// An option.
#[derive(Debug)]
struct OfferedOption {
    short: Option<char>,
    long: String,
    about: String,
    takes: OptionTakes,
    repeats: bool,
}

/// Whether a value follows an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OptionTakes {
    /// Behind `=` only.
    Maybe(ValueKind),
    Nothing,
    Value(ValueKind),
}

/// A word without an option.
#[derive(Debug)]
struct OfferedPlace {
    name: String,
    kind: ValueKind,
    repeats: bool,
}

/// Those of the program, without the applets that only a web server runs.
fn commands() -> Vec<OfferedCommand> {
    let program = cli::command_info();
    let for_people = program
        .commands
        .iter()
        .filter(|known| !known.command.description.contains("for a web server"));
    let offered = for_people.map(|known| match known.name {
        "scgi-daemon" => daemon_command(),
        name => offered(name, &known.command),
    });
    offered.collect()
}

fn daemon_command() -> OfferedCommand {
    offered("scgi-daemon", &daemon::command_info())
}

fn offered(name: &str, info: &CommandInfoWithArgs) -> OfferedCommand {
    let shown = info.flags.iter().filter(|flag| !flag.hidden);
    let places = info.positionals.iter().map(|place| OfferedPlace {
        name: place.name.to_owned(),
        kind: kind(place.name),
        repeats: place.optionality == Optionality::Repeating,
    });
    OfferedCommand {
        name: name.to_owned(),
        about: beginning(info.description),
        options: shown.map(option).collect(),
        places: places.collect(),
    }
}

fn option(flag: &FlagInfo<'_>) -> OfferedOption {
    let may_have =
        args::OPTIONAL.iter().any(|(name, _)| *name == flag.long) || flag.long == "--profile";
    let takes = match flag.kind {
        _ if may_have => OptionTakes::Maybe(kind(flag.long)),
        FlagInfoKind::Option { .. } => OptionTakes::Value(kind(flag.long)),
        FlagInfoKind::Switch => OptionTakes::Nothing,
    };
    OfferedOption {
        // args::parse knows it beside argh.
        short: if flag.long == "--help" {
            Some('h')
        } else {
            flag.short
        },
        long: flag.long.to_owned(),
        about: first_part(flag.description),
        takes,
        repeats: flag.optionality == Optionality::Repeating,
    }
}

fn kind(name: &str) -> ValueKind {
    let known = VALUES.iter().find(|(known, _)| *known == name);
    let (_, kind) = known.unwrap_or_else(|| panic!("VALUES has to say how {name} is completed"));
    *kind
}

/// The first part of a command's description.
fn beginning(text: &str) -> String {
    up_to(text, &[". ", ": "])
}

/// The first part of an option's description: what follows a colon may be the most of it.
fn first_part(text: &str) -> String {
    up_to(text, &[". ", "; ", " (default "])
}

fn up_to(text: &str, ends: &[&str]) -> String {
    let ends = ends.iter().filter_map(|end| text.find(end));
    let end = ends.min().unwrap_or(text.len());
    text[..end].trim_end_matches('.').to_owned()
}

fn compare(name: &str, text: &str) {
    let path = format!(
        "{}/packaging/completions/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    if std::env::var_os("POLYCGI_GOLDEN").is_some_and(|word| word == "write") {
        std::fs::write(&path, text).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = text
        .lines()
        .zip(checked_in.lines())
        .find(|(new, old)| new != old);
    assert_eq!(
        differs, None,
        "{path}: with POLYCGI_GOLDEN=write it is written anew"
    );
    assert_eq!(
        text.len(),
        checked_in.len(),
        "{path}: with POLYCGI_GOLDEN=write it is written anew"
    );
}

#[test]
fn the_files_are_those_of_the_commands() {
    let commands = commands();
    compare("polycgi.bash", &bash::text(&commands));
    compare("_polycgi", &zsh::text(&commands));
    compare("polycgi.fish", &fish::text(&commands, &daemon_command()));
}

#[test]
fn a_description_is_short() {
    let stop = "Stop an app's daemon: it finishes what it has. The next request may start another.";
    assert_eq!(beginning(stop), "Stop an app's daemon");
    assert_eq!(
        first_part("the method (default GET, or POST with -d)"),
        "the method"
    );
    assert_eq!(
        first_part("for root: the user; or none"),
        "for root: the user"
    );
    let names = commands().into_iter().map(|command| command.name);
    let names: Vec<String> = names.collect();
    assert!(names.contains(&"scgi-daemon".to_owned()) && names.contains(&"status".to_owned()));
    assert!(!names.contains(&"cgi-front".to_owned()), "{names:?}");
}

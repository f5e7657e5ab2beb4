//! polycgi(1) and scgi-daemon(8) against the command line that argh knows: commands, options, what else they take.

use argh::{CommandInfoWithArgs, FlagInfo, Optionality, PositionalInfo};

use super::differences;
use super::page::ManualPage;
use crate::{cli, daemon};

/// Described once for all commands.
const OF_ALL: [&str; 2] = ["--help", "--user"];

pub(super) fn complaints(
    commands: &ManualPage<'_>,
    front: &ManualPage<'_>,
    daemon_page: &ManualPage<'_>,
) -> Vec<String> {
    let [of_front, of_daemon] = [front, daemon_page].map(|page| page.section("NAME").marked("Nm"));
    let mut wrong = differences(
        "applets",
        [of_front, of_daemon].concat(),
        cli::APPLETS.map(|(name, _)| name),
    );
    let program = cli::command_info();
    let is_applet = |name: &str| cli::APPLETS.iter().any(|(applet, _)| *applet == name);
    let known = program
        .commands
        .iter()
        .filter(|command| !is_applet(command.name));
    let known: Vec<_> = known.collect();
    let synopses = synopses(&commands.section("SYNOPSIS"));
    let told = synopses.iter().filter_map(Synopsis::command);
    wrong.extend(differences(
        "commands",
        told,
        known.iter().map(|command| command.name),
    ));
    for known in known {
        let name = known.name;
        let usage = synopses.iter().find(|usage| usage.command() == Some(name));
        let told = usage.map_or(Vec::new(), Synopsis::words);
        wrong.extend(differences(
            &format!("SYNOPSIS of {name}"),
            told,
            usage_of(&known.command),
        ));
        let told = commands.section(name).items();
        let told = told.iter().flat_map(|item| options(&item.head));
        let known = options_of(&known.command);
        wrong.extend(differences(
            &format!("options of {name}"),
            told.filter(|option| is_own(option)),
            known.into_iter().filter(|option| is_own(option)),
        ));
    }
    let told = Synopsis(daemon_page.section("SYNOPSIS")).words();
    wrong.extend(differences(
        "SYNOPSIS of scgi-daemon",
        told,
        usage_of(&daemon::command_info()),
    ));
    wrong
}

fn is_own(option: &str) -> bool {
    !OF_ALL.contains(&option)
}

/// The lines of one command of a SYNOPSIS.
struct Synopsis<'a>(ManualPage<'a>);

/// Each command's part, without that of the program itself.
fn synopses<'a>(section: &ManualPage<'a>) -> Vec<Synopsis<'a>> {
    let parts = section.lines().split(|line| line.starts_with(".Nm"));
    let parts = parts.filter(|part| part.iter().any(|line| line.starts_with(".Cm")));
    parts
        .map(|part| Synopsis(ManualPage::of_lines(part)))
        .collect()
}

impl<'a> Synopsis<'a> {
    fn command(&self) -> Option<&'a str> {
        self.0.behind(".Cm ")
    }

    /// Options, and what stands beside them.
    fn words(&self) -> Vec<String> {
        let mut words = options(&self.0);
        for line in self.0.lines() {
            let place = line
                .strip_prefix(".Ar ")
                .map(|name| name.replace(" ...", "..."));
            let optional = line.strip_prefix(".Op Ar ").map(|name| format!("[{name}]"));
            words.extend(place.or(optional));
        }
        words
    }
}

/// The options that these lines mark, as they are typed.
fn options(lines: &ManualPage<'_>) -> Vec<String> {
    let options = lines.marked("Fl").into_iter();
    options.map(|option| format!("-{option}")).collect()
}

/// A usage as a SYNOPSIS has it: the short form of an option, if there is one.
fn usage_of(command: &CommandInfoWithArgs) -> Vec<String> {
    let flags = command.flags.iter().filter(|flag| is_shown(flag));
    let flags = flags.map(|flag| short(flag).unwrap_or_else(|| flag.long.to_owned()));
    let places = command.positionals.iter().map(place);
    flags.chain(places.flatten()).collect()
}

/// A word without an option, as a SYNOPSIS has it.
fn place(place: &PositionalInfo<'_>) -> Vec<String> {
    let name = place.name;
    if name == "name_or_folder" {
        // Each of them may be left out, which argh can't say.
        return vec!["[name]".to_owned(), "[folder]".to_owned()];
    }
    vec![match place.optionality {
        Optionality::Required => name.to_owned(),
        Optionality::Optional => format!("[{name}]"),
        Optionality::Repeating | Optionality::Greedy => format!("{name}..."),
    }]
}

/// Every form of each option.
fn options_of(command: &CommandInfoWithArgs) -> Vec<String> {
    let flags = command.flags.iter().filter(|flag| is_shown(flag));
    flags
        .flat_map(|flag| short(flag).into_iter().chain([flag.long.to_owned()]))
        .collect()
}

fn is_shown(flag: &FlagInfo<'_>) -> bool {
    !flag.hidden && flag.long != "--help"
}

fn short(flag: &FlagInfo<'_>) -> Option<String> {
    flag.short.map(|short| format!("-{short}"))
}

//! For fish: a line for each command, option and place.

use std::fmt::Write as _;

use super::{METHODS, OfferedCommand, OfferedOption, OptionTakes, ValueKind, WAYS};
use crate::cli;

const BEGINNING: &str = r#"# Completion for fish of polycgi(1) and scgi-daemon(8), written from their commands and options by src/completions.

# The NAMEs of NAME.conf.
function __polycgi_names
    for conf in /etc/polycgi/*.conf $HOME/.config/polycgi/*.conf
        string replace -r '.*/(.*)\.conf$' '$1' -- $conf
    end
end

complete -c polycgi -f
complete -c polycgi -n __fish_use_subcommand -s h -l help -d 'display usage information'
complete -c polycgi -n __fish_use_subcommand -s V -l version -d 'print the version'
"#;

pub(super) fn text(commands: &[OfferedCommand], daemon: &OfferedCommand) -> String {
    let mut text = BEGINNING.to_owned();
    for OfferedCommand { name, about, .. } in commands {
        let about = quoted(about);
        // A String takes all that is written.
        let _ = writeln!(
            text,
            "complete -c polycgi -n __fish_use_subcommand -a {name} -d {about}"
        );
    }
    for command in commands {
        let name = &command.name;
        let begin = format!("complete -c polycgi -n '__fish_seen_subcommand_from {name}'");
        let _ = write!(text, "\n{}", lines(&begin, command));
    }
    let _ = write!(
        text,
        "\ncomplete -c scgi-daemon -f\n{}",
        lines("complete -c scgi-daemon", daemon)
    );
    text
}

fn lines(begin: &str, command: &OfferedCommand) -> String {
    let options = command.options.iter().map(option);
    let mut offers: Vec<String> = options.collect();
    // fish does not count words: what any place may be is offered at each.
    for place in &command.places {
        let offer = offer(place.kind);
        if !offer.is_empty() && !offers.contains(&offer) {
            offers.push(offer);
        }
    }
    let lines = offers.iter().map(|offer| format!("{begin} {offer}\n"));
    lines.collect()
}

fn option(option: &OfferedOption) -> String {
    let short = option
        .short
        .map_or(String::new(), |short| format!("-s {short} "));
    let (long, about) = (&option.long[2..], quoted(&option.about));
    let value = match option.takes {
        OptionTakes::Value(ValueKind::Text) => " -x".to_owned(),
        OptionTakes::Value(kind) => format!(" -r {}", value(kind)),
        OptionTakes::Maybe(_) | OptionTakes::Nothing => String::new(),
    };
    format!("{short}-l {long}{value} -d {about}")
}

fn value(kind: ValueKind) -> String {
    let offer = offer(kind);
    match kind {
        ValueKind::App | ValueKind::Command | ValueKind::File | ValueKind::Way => offer,
        _ => format!("-f {offer}"),
    }
}

/// What a word of this kind may be; empty where nothing is offered.
fn offer(kind: ValueKind) -> String {
    match kind {
        ValueKind::App => "-F -a '(__polycgi_names)'".to_owned(),
        ValueKind::Command => "-F -a '(__fish_complete_command)'".to_owned(),
        ValueKind::Example => format!("-a '{}'", cli::example_names().join(" ")),
        ValueKind::File => "-F".to_owned(),
        ValueKind::Folder => "-a '(__fish_complete_directories)'".to_owned(),
        ValueKind::Method => format!("-a '{METHODS}'"),
        ValueKind::Name => "-a '(__polycgi_names)'".to_owned(),
        ValueKind::Text => String::new(),
        ValueKind::User => "-a '(__fish_complete_users)'".to_owned(),
        ValueKind::Way => format!("-F -a '{WAYS}'"),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

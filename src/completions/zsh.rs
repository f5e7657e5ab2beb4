//! For zsh: a function of compsys, whose _arguments is told each command's options and places.

use std::fmt::Write as _;

use super::{METHODS, OfferedCommand, OfferedOption, OptionTakes, ValueKind, WAYS};
use crate::cli;

const BEGINNING: &str = r#"#compdef polycgi scgi-daemon
# Completion for zsh of polycgi(1) and scgi-daemon(8), written from their commands and options by src/completions.

# The NAMEs of NAME.conf.
_polycgi_names() {
    local -a names
    names=(/etc/polycgi/*.conf(N:t:r) ~/.config/polycgi/*.conf(N:t:r))
    _describe -t names 'app' names
}

_polycgi_apps() {
    _alternative 'files:app file:_files' 'names:app:_polycgi_names'
}

_polycgi_ways() {
    _alternative 'ways:way:(@WAYS@)' 'files:socket:_files'
}

_polycgi() {
    local curcontext=$curcontext state line
    local -a commands
    if [[ $service == scgi-daemon ]]; then
        words=(polycgi "${words[@]}")
        ((CURRENT += 1))
    fi
    commands=(
"#;

const MIDDLE: &str = r#"    )
    _arguments -C \
        '(- *)'{-h,--help}'[display usage information]' \
        '(- *)'{-V,--version}'[print the version]' \
        '1:command:->command' \
        '*::word:->words'
    case $state in
    command) _describe -t commands 'command' commands ;;
    words)
        case $line[1] in
"#;

const END: &str = r#"        esac ;;
    esac
}

_polycgi "$@"
"#;

pub(super) fn text(commands: &[OfferedCommand]) -> String {
    let mut text = BEGINNING.replace("@WAYS@", WAYS);
    for command in commands {
        // A String takes all that is written.
        let _ = writeln!(
            text,
            "        '{}:{}'",
            command.name,
            quoted(&command.about)
        );
    }
    text += MIDDLE;
    for command in commands {
        let options = command.options.iter().map(option);
        let places = command.places.iter().map(|place| {
            let repeats = if place.repeats { "*" } else { "" };
            format!("'{repeats}:{}:{}'", place.name, action(place.kind))
        });
        let specs: Vec<String> = options.chain(places).collect();
        let specs = specs.join(" \\\n                ");
        let name = &command.name;
        let _ = writeln!(
            text,
            "        {name})\n            _arguments -s \\\n                {specs} ;;"
        );
    }
    text + END
}

fn option(option: &OfferedOption) -> String {
    let (equals, value) = match option.takes {
        OptionTakes::Maybe(kind) => ("=-", format!("::value:{}", action(kind))),
        OptionTakes::Nothing => ("", String::new()),
        OptionTakes::Value(kind) => ("=", format!(":{}:{}", &option.long[2..], action(kind))),
    };
    let about = quoted(&option.about);
    let long = &option.long;
    let is_help = long == "--help";
    match option.short {
        Some(short) => {
            let excluded = match (option.repeats, is_help) {
                (true, _) => "*".to_owned(),
                (false, true) => "(- *)".to_owned(),
                (false, false) => format!("(-{short} {long})"),
            };
            let plus = if matches!(option.takes, OptionTakes::Value(_)) {
                "+"
            } else {
                ""
            };
            format!("'{excluded}'{{-{short}{plus},{long}{equals}}}'[{about}]{value}'")
        }
        None => format!("'{long}{equals}[{about}]{value}'"),
    }
}

/// Within quotes, brackets and colons.
fn quoted(text: &str) -> String {
    let text = text.replace('\'', r"'\''");
    text.replace('[', r"\[")
        .replace(']', r"\]")
        .replace(':', r"\:")
}

fn action(kind: ValueKind) -> String {
    match kind {
        ValueKind::App => "_polycgi_apps".to_owned(),
        ValueKind::Command => "_files".to_owned(),
        ValueKind::Example => format!("({})", cli::example_names().join(" ")),
        ValueKind::File => "_files".to_owned(),
        ValueKind::Folder => "_files -/".to_owned(),
        ValueKind::Method => format!("({METHODS})"),
        ValueKind::Name => "_polycgi_names".to_owned(),
        ValueKind::Text => " ".to_owned(),
        ValueKind::User => "_users".to_owned(),
        ValueKind::Way => "_polycgi_ways".to_owned(),
    }
}

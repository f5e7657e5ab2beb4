//! For bash: one function, which finds the command among the words and sets COMPREPLY. It needs bash 4.1 and nothing of
//! the package bash-completion but its loader.

use std::fmt::Write as _;

use super::{METHODS, OfferedCommand, OptionTakes, ValueKind, WAYS};
use crate::cli;

const BEGINNING: &str = r#"# Completion for bash of polycgi(1) and scgi-daemon(8), written from their commands and options by src/completions.

# The NAMEs of NAME.conf.
_polycgi_names() {
    local conf
    for conf in /etc/polycgi/*.conf "${HOME-}"/.config/polycgi/*.conf; do
        conf=${conf##*/}
        [[ $conf == '*.conf' ]] || printf '%s\n' "${conf%.conf}"
    done
}

# What a value may be, by its kind.
_polycgi_value() {
    case $1 in
    app)
        mapfile -t COMPREPLY < <(compgen -W "$(_polycgi_names)" -- "$cur"; compgen -f -- "$cur")
        compopt -o filenames 2>/dev/null ;;
    command)
        mapfile -t COMPREPLY < <(compgen -c -- "$cur"; compgen -f -- "$cur")
        compopt -o filenames 2>/dev/null ;;
    example) mapfile -t COMPREPLY < <(compgen -W '@EXAMPLES@' -- "$cur") ;;
    file)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        compopt -o filenames 2>/dev/null ;;
    folder)
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
        compopt -o filenames 2>/dev/null ;;
    method) mapfile -t COMPREPLY < <(compgen -W '@METHODS@' -- "$cur") ;;
    name) mapfile -t COMPREPLY < <(compgen -W "$(_polycgi_names)" -- "$cur") ;;
    user) mapfile -t COMPREPLY < <(compgen -u -- "$cur") ;;
    way) mapfile -t COMPREPLY < <(compgen -W '@WAYS@' -- "$cur"; compgen -f -- "$cur") ;;
    esac
}

_polycgi() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    # `--user=w` is three words.
    if [[ $cur == '=' ]]; then
        cur=
    elif [[ $prev == '=' ]]; then
        prev=${COMP_WORDS[COMP_CWORD-2]}
    fi
    COMPREPLY=()
    # The command, what it takes, and how many of its places are taken.
    local at=1 command=scgi-daemon options values places
    if [[ ${1##*/} != scgi-daemon ]]; then
        command=${COMP_WORDS[1]}
        at=2
        if ((COMP_CWORD == 1)); then
            mapfile -t COMPREPLY < <(compgen -W '@COMMANDS@' -- "$cur")
            return
        fi
    fi
    case $command in
"#;

const END: &str = r#"    *) return ;;
    esac
    local pair
    for pair in $values; do
        if [[ $prev == "${pair%%:*}" ]]; then
            _polycgi_value "${pair#*:}"
            return
        fi
    done
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
        return
    fi
    local word taken=0
    while ((at < COMP_CWORD)); do
        word=${COMP_WORDS[at]}
        if [[ $word == -* ]]; then
            if [[ ${COMP_WORDS[at+1]} == '=' ]]; then
                ((at += 2))
            elif [[ " $values" == *" $word:"* ]]; then
                ((at += 1))
            fi
        else
            ((taken += 1))
        fi
        ((at += 1))
    done
    places=($places)
    local place=${places[taken]-}
    if [[ ! $place && $places && ${places[-1]} == *+ ]]; then
        place=${places[-1]}
    fi
    _polycgi_value "${place%+}"
}

complete -F _polycgi polycgi scgi-daemon
"#;

pub(super) fn text(commands: &[OfferedCommand]) -> String {
    let names: Vec<&str> = commands.iter().map(|command| &*command.name).collect();
    let names = format!("{} --help --version", names.join(" "));
    let beginning = BEGINNING.replace("@METHODS@", METHODS);
    let beginning = beginning.replace("@EXAMPLES@", &cli::example_names().join(" "));
    let mut text = beginning
        .replace("@WAYS@", WAYS)
        .replace("@COMMANDS@", &names);
    for command in commands {
        let options = command.options.iter().flat_map(|option| {
            let short = option.short.map(|short| format!("-{short}"));
            short.into_iter().chain([option.long.clone()])
        });
        let options: Vec<String> = options.collect();
        let values = command.options.iter().flat_map(|option| {
            let OptionTakes::Value(kind) = option.takes else {
                return Vec::new();
            };
            let short = option.short.map(|short| format!("-{short}"));
            let names = short.into_iter().chain([option.long.clone()]);
            names.map(|name| format!("{name}:{}", word(kind))).collect()
        });
        let values: Vec<String> = values.collect();
        let places = command.places.iter().map(|place| {
            let more = if place.repeats { "+" } else { "" };
            word(place.kind).to_owned() + more
        });
        let places: Vec<String> = places.collect();
        // A String takes all that is written.
        let _ = write!(
            text,
            "    {})\n        options='{}'\n        values='{}'\n        places='{}' ;;\n",
            command.name,
            options.join(" "),
            values.join(" "),
            places.join(" ")
        );
    }
    text + END
}

fn word(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::App => "app",
        ValueKind::Command => "command",
        ValueKind::Example => "example",
        ValueKind::File => "file",
        ValueKind::Folder => "folder",
        ValueKind::Method => "method",
        ValueKind::Name => "name",
        ValueKind::Text => "text",
        ValueKind::User => "user",
        ValueKind::Way => "way",
    }
}

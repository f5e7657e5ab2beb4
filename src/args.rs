//! Command lines: argh's, with what people expect: `-h`, `--name=value`, exit code 64 for a usage error.

use argh::{EarlyExit, FromArgs};

use crate::report::{Exit, print_line, say};
use crate::spelling;

/// What people call subcommands and options of other programs, and ours for the same thing.
const OTHERS: [(&str, &str); 14] = [
    ("--as", "--user"),
    ("--body", "-d"),
    ("--request", "-X"),
    ("create", "new"),
    ("curl", "request"),
    ("get", "request"),
    ("init", "new"),
    ("kill", "stop"),
    ("lint", "check"),
    ("list", "status"),
    ("ps", "status"),
    ("restart", "reload"),
    ("serve", "scgi-daemon"),
    ("test", "check"),
];

/// Reads the words after the command's name. After an `Err` nothing is left to print: the help or the error was.
pub fn parse<T: FromArgs>(command: &[&str], words: &[String]) -> Result<T, Exit> {
    let words = normalized(words);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    T::from_args(command, &words).map_err(|EarlyExit { output, status }| match status {
        Ok(()) => {
            print_line(completed(command, &words, output.trim_end()));
            Exit::Ok
        }
        Err(()) => {
            // argh lists what is missing on lines of its own.
            let wrong: Vec<&str> = output.split_whitespace().collect();
            let sentence = wrong.join(" ");
            let sentence = sentence.trim_end_matches('.');
            let subcommand = subcommand(&words, sentence);
            let guess = guess::<T>(command, &words, subcommand, sentence).unwrap_or_default();
            match subcommand {
                Some(name) => say(
                    name,
                    format_args!("{sentence}{guess}; see 'polycgi {name} --help'"),
                ),
                None => {
                    let name = command.last().copied().unwrap_or("polycgi");
                    say(name, format_args!("{sentence}{guess}; see '{name} --help'"));
                }
            }
            Exit::Usage
        }
    })
}

/// The help with what argh does not know: that a value may be left out, and the option of the program itself.
fn completed(command: &[&str], words: &[&str], help: &str) -> String {
    let mut help = help.to_owned();
    for (name, _) in OPTIONAL {
        help = help.replace(&format!("[{name} <n>]"), &format!("[{name}[=N]]"));
    }
    help = help.replace("[--example <name>]", "[--example [<name>]]");
    if command == ["polycgi"] && words == ["--help"] {
        let shown = "  --version, -V     print the version\n  --help";
        help = help.replacen("  --help", shown, 1);
    }
    help
}

/// What a word that argh does not know may have meant: a subcommand, or an option of the one that was named.
fn guess<T: FromArgs>(
    command: &[&str],
    words: &[&str],
    subcommand: Option<&str>,
    sentence: &str,
) -> Option<String> {
    let typed = sentence.strip_prefix("Unrecognized argument: ")?;
    if let Some(joined) = apart(words) {
        return Some(format!("; write {joined}"));
    }
    if subcommand.is_some() && !typed.starts_with('-') {
        return None;
    }
    let help: Vec<&str> = subcommand.into_iter().chain(["--help"]).collect();
    let mut help = T::from_args(command, &help).err()?.output;
    if subcommand.is_none() {
        help += "\n  --version\n";
    }
    meant(typed, &help).map(|word| format!("; did you mean '{word}'?"))
}

/// `--watch=2` of the words `--watch 2`, between which `normalized` has put the default.
fn apart(words: &[&str]) -> Option<String> {
    words.windows(3).find_map(|three| {
        let is_number = three[2].bytes().all(|byte| byte.is_ascii_digit());
        let is_apart = OPTIONAL.contains(&(three[0], three[1])) && is_number;
        is_apart.then(|| format!("{}={}", three[0], three[2]))
    })
}

fn meant<'a>(typed: &str, help: &'a str) -> Option<&'a str> {
    let known = || named(help).filter(|name| name.starts_with('-') == typed.starts_with('-'));
    let other = OTHERS.iter().find(|(other, _)| *other == typed);
    let other = other.and_then(|(_, ours)| named(help).find(|name| name == ours));
    let other = other.or_else(|| spelling::begun(typed, known()));
    other.or_else(|| spelling::nearest(typed, known()))
}

/// The options or subcommands that this help lists, each at the beginning of a line: `  -X, --method  the method`.
fn named(help: &str) -> impl Iterator<Item = &str> {
    let lines = help.lines().filter_map(|line| line.strip_prefix("  "));
    let lines = lines.filter(|line| !line.starts_with(' '));
    lines.flat_map(|line| {
        let names = line.split("  ").next().unwrap_or_default();
        names.split(", ")
    })
}

/// The subcommand of these words, unless argh's sentence says that it is unknown.
fn subcommand<'a>(words: &[&'a str], sentence: &str) -> Option<&'a str> {
    let is_name = |word: &&&str| word.starts_with(|c: char| c.is_ascii_lowercase());
    let first = words.first().filter(is_name)?;
    (!sentence.ends_with(&format!(": {first}"))).then_some(*first)
}

/// Options that take no value.
const SWITCHES: [&str; 9] = [
    "--environ",
    "--help",
    "--hold",
    "--html",
    "--include",
    "--json",
    "--no-wait",
    "--print",
    "--prometheus",
];

/// Options whose value may be left out, and what it then is.
pub(crate) const OPTIONAL: [(&str, &str); 1] = [("--watch", "1")];

/// The words in argh's form: it knows only `--name value` and `--help`. What follows `--` stays.
fn normalized(words: &[String]) -> Vec<String> {
    let mut out = Vec::with_capacity(words.len());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--" => {
                out.push(word.clone());
                break;
            }
            "-h" => out.push("--help".to_owned()),
            long if long.starts_with("--") => match long.split_once('=') {
                // argh then says that it knows no such option.
                Some((name, _)) if SWITCHES.contains(&name) => out.push(word.clone()),
                // An option of argh either has a value or not.
                Some(("--profile", prefix)) => {
                    out.extend(["--profile-file".to_owned(), prefix.to_owned()]);
                }
                Some((name, value)) => out.extend([name.to_owned(), value.to_owned()]),
                None => {
                    out.push(word.clone());
                    let default = OPTIONAL.iter().find(|(name, _)| *name == long);
                    out.extend(default.map(|(_, value)| (*value).to_owned()));
                    let is_last = words
                        .as_slice()
                        .first()
                        .is_none_or(|next| next.starts_with('-'));
                    if long == "--example" && is_last {
                        out.push(String::new());
                    }
                }
            },
            _ => out.push(word.clone()),
        }
    }
    out.extend(words.cloned());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Vec<String> {
        normalized(
            &words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn what_was_meant() {
        let options = "Usage: x\n\nOptions:\n  -X, --method      the method\n  --via             a way,\n                    --vib\n  --help, help      this\n";
        for (typed, word) in [
            ("--methd", Some("--method")),
            ("--vai", Some("--via")),
            ("--request", Some("-X")),
            ("--vib", Some("--via")),
            ("--met", Some("--method")),
            ("via", None),
            ("--colour", None),
        ] {
            assert_eq!(meant(typed, options), word, "{typed}");
        }
        let commands =
            "Commands:\n  status            what the daemon does\n  stop              end it\n";
        for (typed, word) in [
            ("staus", Some("status")),
            ("sotp", Some("stop")),
            ("kill", Some("stop")),
            ("new", None),
        ] {
            assert_eq!(meant(typed, commands), word, "{typed}");
        }
    }

    #[test]
    fn both_forms_of_an_option() {
        assert_eq!(
            of(&["--via=cgi", "-h", "x=y"]),
            ["--via", "cgi", "--help", "x=y"]
        );
        assert_eq!(of(&["--json=x"]), ["--json=x"]);
        assert_eq!(of(&["--watch", "x"]), ["--watch", "1", "x"]);
        assert_eq!(of(&["--watch=5", "x"]), ["--watch", "5", "x"]);
        assert_eq!(of(&["--", "--via=cgi", "-h"]), ["--", "--via=cgi", "-h"]);
    }
}

//! Command lines: argh's, with what people expect: `-h`, `--name=value`, exit code 64 for a usage error.

use argh::{EarlyExit, FromArgs};

use crate::report::{Exit, say};

/// Reads the words after the command's name. After an `Err` nothing is left to print: the help or the error was.
pub fn parse<T: FromArgs>(command: &[&str], words: &[String]) -> Result<T, Exit> {
    let words = normalized(words);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    T::from_args(command, &words).map_err(|EarlyExit { output, status }| match status {
        Ok(()) => {
            println!("{}", output.trim_end());
            Exit::Ok
        }
        Err(()) => {
            // argh lists what is missing on lines of its own.
            let wrong: Vec<&str> = output.split_whitespace().collect();
            let sentence = wrong.join(" ");
            let sentence = sentence.trim_end_matches('.');
            match subcommand(&words, sentence) {
                Some(name) => say(
                    name,
                    format_args!("{sentence}; see 'polycgi {name} --help'"),
                ),
                None => {
                    let name = command.last().copied().unwrap_or("polycgi");
                    say(name, format_args!("{sentence}; see '{name} --help'"));
                }
            }
            Exit::Usage
        }
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
const OPTIONAL: [(&str, &str); 1] = [("--watch", "1")];

/// The words in argh's form: it knows only `--name value` and `--help`. What follows `--` stays.
fn normalized(words: &[String]) -> Vec<String> {
    let mut out = Vec::with_capacity(words.len());
    let mut words = words.iter();
    for word in words.by_ref() {
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

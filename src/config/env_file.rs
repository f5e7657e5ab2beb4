//! Environment variables as configuration: their names, and the file of `NAME=value` lines that `env-file` names. It
//! never shows a value.

use std::fmt;

use super::bad_config::{BadConfig, quoted};
use super::lines::{self, Secrets};
use super::words;

/// What can be wrong with a variable's name. Sentences follow the name in quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadName {
    Export,
    GatewayInterface,
    NotAName,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadName::Export => "is a shell's command; write NAME=value alone",
            BadName::GatewayInterface => {
                "can't be set: it is what tells a program that a web server runs it"
            }
            BadName::NotAName => {
                "is not a variable's name: letters, digits and '_', and no digit first"
            }
        })
    }
}

/// A name that a shell accepts. Never GATEWAY_INTERFACE: with it, every program of ours that the app starts would take
/// itself for a CGI.
pub(super) fn check_name(name: &str) -> Result<(), BadName> {
    let letters = name
        .bytes()
        .all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    if name.starts_with("export ") {
        Err(BadName::Export)
    } else if name.is_empty() || !letters || name.as_bytes()[0].is_ascii_digit() {
        Err(BadName::NotAName)
    } else if name == "GATEWAY_INTERFACE" {
        Err(BadName::GatewayInterface)
    } else {
        Ok(())
    }
}

/// Reads the file that `env-file` names: `NAME=value` lines in the syntax of the configuration (with `#` lines, CRLF
/// and a byte order mark), values as for `env.NAME`. In the order typed; no name twice.
pub fn env_file(path: &str, text: &[u8]) -> Result<Vec<(String, String)>, BadConfig> {
    let path = path.into();
    let mut variables: Vec<(String, String)> = Vec::new();
    for line in lines::read(&path, text, Secrets::All) {
        let line = line?;
        let name = line.key();
        let wrong = |what: &dyn fmt::Display| {
            BadConfig::new(line.key_position(), format_args!("{} {what}", quoted(name)))
        };
        check_name(name).map_err(|bad| wrong(&bad))?;
        if variables.iter().any(|(known, _)| known == name) {
            return Err(wrong(&"is set already"));
        }
        let value = words::env_value(line.value()).map_err(|bad| {
            BadConfig::new(
                line.value_position(bad.at()..bad.at() + 1),
                format_args!("{name}: {bad}"),
            )
        })?;
        variables.push((name.to_owned(), value));
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        env_file("/srv/secrets", text.as_bytes()).map_err(|bad| bad.to_string())
    }

    #[test]
    fn variables() {
        let text =
            "\u{feff}# secrets\r\nA=1\r\n B = two words # all\nC=\nD='x # y' # no\nE=\"a\\\"b\"\n";
        let expected = [
            ("A", "1"),
            ("B", "two words # all"),
            ("C", ""),
            ("D", "x # y"),
            ("E", "a\"b"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read(text), Ok(expected.to_vec()));
    }

    #[test]
    fn errors_show_no_secret() {
        let cases = [
            ("A=1\nA=tiger", "2:1: 'A' is set already\nA=*****\n^"),
            (
                "export A=tiger",
                "1:1: 'export A' is a shell's command; write NAME=value alone\nexport A=*****\n^~~~~~~~",
            ),
            (
                "GATEWAY_INTERFACE=x",
                "1:1: 'GATEWAY_INTERFACE' can't be set: it is what tells a program that a web server runs it\n\
                 GATEWAY_INTERFACE=*\n^~~~~~~~~~~~~~~~~",
            ),
            (
                "1A=x",
                "1:1: '1A' is not a variable's name: letters, digits and '_', and no digit first\n1A=*\n^~",
            ),
            (
                "A='tiger",
                "1:3: A: this quote is never closed\nA=******\n  ^",
            ),
            (
                "tiger",
                "1:1: no '=' on this line; write 'key = value', and '#' before a comment\n*****\n^~~~~",
            ),
            (
                "A='tiger' lily",
                "1:11: A: text after the closing quote; put the quotes around the whole value\nA=******* ****\n          ^",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), Err(format!("/srv/secrets:{expected}")));
        }
    }
}

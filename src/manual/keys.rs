//! polycgi.conf(5) against the parser: keys, what their values are, defaults, ranges; and its examples.

use super::differences;
use super::page::{ListItem, ManualPage};
use crate::config::{self, Config, EXTREMES, Host, TYPES};

/// Keys without a default, and those whose default is no value that could be typed: the text says it in words.
const WORDED: [&str; 15] = [
    "cgi",
    "cgi-max",
    "connect",
    "directory",
    "env-file",
    "env.NAME",
    "listen-allow",
    "log-file",
    "max-procs",
    "mount",
    "overload-page",
    "runtime-dir",
    "scgi",
    "socket-group",
    "wsgi",
];

/// What the manual calls the values of a type.
const UNITS: [(&str, &str); 6] = [
    ("u32", "number"),
    ("u64", "size"),
    ("usize", "size"),
    ("Duration", "time"),
    ("Rate", "rate"),
    ("Load", "load"),
];

/// Lists whose parser takes `none` itself.
const LISTS_OR_NONE: [&str; 3] = ["listen", "status-allow", "watch"];

const HOST: Host = Host {
    cores: 2.0,
    nproc: None,
};

pub(super) fn complaints(page: &ManualPage<'_>) -> Vec<String> {
    let entries = page.section("KEYS").items();
    let known = TYPES.iter().map(|(key, _)| *key).chain(["env.NAME"]);
    let mut wrong = differences("keys", entries.iter().map(key), known);
    let ranges = entries.iter().filter_map(|entry| {
        let range = entry
            .body
            .lines()
            .iter()
            .find_map(|line| line.strip_prefix("Range: "))?;
        Some(format!("{}: {range}", key(entry)))
    });
    wrong.extend(differences("ranges", ranges, EXTREMES.iter().map(range)));
    for entry in &entries {
        let key = key(entry);
        let Some((_, kind)) = TYPES.iter().find(|(known, _)| *known == key) else {
            continue;
        };
        wrong.extend(wrong_value(entry, key, kind));
        wrong.extend(wrong_default(entry, key));
    }
    wrong.extend(wrong_examples(&page.section("EXAMPLES")));
    wrong
}

fn key<'a>(entry: &ListItem<'a>) -> &'a str {
    entry.head.marked("Ic").first().copied().unwrap_or_default()
}

/// As the manual writes it.
fn range((key, least, most): &(&str, &str, &str)) -> String {
    match most.parse() {
        Ok(u64::MAX) => format!("{key}: from {least}."),
        _ => format!("{key}: {least} to {most}."),
    }
}

/// What stands behind the `=` of an entry, against the parser.
fn wrong_value(entry: &ListItem<'_>, key: &str, kind: &str) -> Vec<String> {
    let within = |outer: &str| {
        let inner = kind.strip_prefix(outer)?.strip_prefix('<')?;
        inner.strip_suffix('>')
    };
    let (or_none, or_auto) = (within("Option"), within("OrAuto"));
    let takes_none = or_none.is_some() || LISTS_OR_NONE.contains(&key);
    let inner = or_none.or(or_auto).unwrap_or(kind);
    let unit = UNITS.iter().find(|(name, _)| *name == inner);
    let mut known: Vec<String> = choices(key);
    known.extend(takes_none.then(|| "none".to_owned()));
    known.extend(or_auto.map(|_| "auto".to_owned()));
    let mut wrong = differences(key, entry.head.marked("Cm"), known);
    if let Some((_, unit)) = unit {
        let unit = if key == "socket-mode" { "mode" } else { unit };
        wrong.extend(differences(key, entry.head.marked("Ar"), [unit]));
    }
    wrong
}

/// The words that the parser names where a value is none of them.
fn choices(key: &str) -> Vec<String> {
    let refused = config::parse("f", format!("{key} = nonsense\n").as_bytes());
    let sentence = refused
        .err()
        .map_or(String::new(), |bad| bad.message().to_owned());
    let words = sentence
        .split_once(" is not one of ")
        .map_or("", |(_, words)| words);
    let is_word = |word: &&str| !word.is_empty() && !word.contains(' ');
    words
        .split(", ")
        .filter(is_word)
        .map(str::to_owned)
        .collect()
}

/// A default that is typed changes nothing.
fn wrong_default(entry: &ListItem<'_>, key: &str) -> Option<String> {
    if WORDED.contains(&key) {
        return None;
    }
    let Some(default) = entry.body.behind("Default:") else {
        return Some(format!("{key}: the manual names no default"));
    };
    let without = meaning("wsgi = a:b\n").expect("it is right");
    match meaning(&format!("wsgi = a:b\n{key} = {default}\n")) {
        Ok(with) if with == without => None,
        Ok(_) => Some(format!("{key}: the default is not {default}")),
        Err(bad) => Some(format!("{key}: the default can't be typed: {bad}")),
    }
}

/// What a configuration means; the error has its position.
fn meaning(text: &str) -> Result<String, String> {
    let settings = config::parse("f", text.as_bytes()).map_err(|bad| bad.to_string())?;
    let config = Config::from_settings(settings, HOST).map_err(|bad| bad.to_string())?;
    Ok(config.meaning())
}

/// Each example is a configuration.
fn wrong_examples(page: &ManualPage<'_>) -> Vec<String> {
    let text = page.lines().join("\n");
    let examples = text.split("\n.Bd -literal -offset indent\n").skip(1);
    let examples = examples.filter_map(|example| Some(example.split_once("\n.Ed")?.0));
    examples
        .filter_map(|example| meaning(example).err())
        .collect()
}

/// Each line of the example has what is read from it behind the last `# `.
#[test]
fn comments_end_a_value_as_the_page_says() {
    let page = ManualPage::of(super::OURS.file).section("Comments and quotes");
    let lines = page.lines().iter().map(|line| line.replace("\\e", "\\"));
    let lines: Vec<String> = lines
        .filter(|line| line.contains(" = ") && !line.starts_with('.'))
        .collect();
    let read = lines.iter().map(|line| {
        let settings = config::parse("f", line.as_bytes()).unwrap();
        let variable = settings.env.first().map(|(_, typed)| typed.value.clone());
        let number = settings.max_procs.map(|typed| typed.value.to_string());
        let path = settings
            .directory
            .map(|typed| typed.value.display().to_string());
        let words = settings.cgi.map(|typed| {
            let [program, rest @ ..] = &typed.value[..] else {
                panic!("a command has a program");
            };
            let rest = rest.iter().map(|word| format!(", \"{word}\""));
            program.clone() + &rest.collect::<String>()
        });
        [variable, number, path, words]
            .into_iter()
            .flatten()
            .collect::<String>()
    });
    let read: Vec<String> = read.collect();
    let said = lines.iter().map(|line| match line.rsplit_once("  # ") {
        Some((_, said)) => said,
        None => line.split_once(" = ").map_or("", |(_, value)| value),
    });
    assert_eq!(read, said.collect::<Vec<&str>>());
    assert_eq!(read.len(), 6);
    let kept = config::parse("f", b"env.LEVEL = 3 # high").unwrap();
    assert_eq!(kept.env[0].1.value, "3 # high");
}

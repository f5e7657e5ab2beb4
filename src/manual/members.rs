//! The members of JSON objects (RFC 8259), as a program that prints them has them, and as a list of the manual. An array
//! counts as what is in it.

use std::collections::BTreeSet;

use super::page::ManualPage;

/// Objects whose members have names that are no part of the schema.
const OPEN: [&str; 3] = ["counts", "minutes.counts", "parts"];

/// The path of each member of a text with any number of objects.
pub(super) fn of_json(text: &str) -> BTreeSet<String> {
    let mut reader = JsonReader {
        rest: text,
        paths: BTreeSet::new(),
    };
    while !reader.rest.trim_start().is_empty() {
        reader.value("");
    }
    reader.paths
}

struct JsonReader<'a> {
    rest: &'a str,
    paths: BTreeSet<String>,
}

impl JsonReader<'_> {
    fn next(&mut self) -> char {
        self.rest = self.rest.trim_start();
        let next = self.rest.chars().next().expect("JSON goes on");
        self.rest = &self.rest[next.len_utf8()..];
        next
    }

    fn value(&mut self, path: &str) {
        match self.next() {
            '{' => self.object(path),
            '[' => self.array(path),
            '"' => drop(self.string()),
            _ => {
                let end = self.rest.find([',', ']', '}', '\n']);
                self.rest = &self.rest[end.unwrap_or(self.rest.len())..];
            }
        }
    }

    fn object(&mut self, path: &str) {
        loop {
            match self.next() {
                '}' => return,
                ',' => {}
                '"' => {
                    let name = self.string();
                    let member = match path {
                        "" => name,
                        path => format!("{path}.{name}"),
                    };
                    assert_eq!(self.next(), ':');
                    self.value(&member);
                    if !OPEN.contains(&path) {
                        self.paths.insert(member);
                    }
                }
                other => panic!("{other} in an object"),
            }
        }
    }

    fn array(&mut self, path: &str) {
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.chars().next() {
                Some(']') => {
                    self.next();
                    return;
                }
                Some(',') => drop(self.next()),
                _ => self.value(path),
            }
        }
    }

    /// Behind its first quote. No name of a member has an escape.
    fn string(&mut self) -> String {
        let mut text = String::new();
        loop {
            let end = self.rest.find(['"', '\\']).expect("a string ends");
            text.push_str(&self.rest[..end]);
            let is_escape = self.rest[end..].starts_with('\\');
            self.rest = &self.rest[end + 1 + usize::from(is_escape)..];
            if !is_escape {
                return text;
            }
        }
    }
}

/// The path of each member that the lists of a section have.
pub(super) fn of_lists(page: &ManualPage<'_>) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    add_lists(page, "", &mut paths);
    paths
}

fn add_lists(page: &ManualPage<'_>, path: &str, paths: &mut BTreeSet<String>) {
    for item in page.items() {
        for name in item.head.marked("Li") {
            let member = match path {
                "" => name.to_owned(),
                path => format!("{path}.{name}"),
            };
            add_lists(&item.body, &member, paths);
            paths.insert(member);
        }
    }
}

#[test]
fn members_have_paths() {
    let json = r#"{"a":1,"b":[{"c":"x\"}{","d":null},{"e":[]}],"counts":{"f":1}} {"g":{"h":true}}"#;
    let paths: Vec<String> = of_json(json).into_iter().collect();
    assert_eq!(paths, ["a", "b", "b.c", "b.d", "b.e", "counts", "g", "g.h"]);
    let lists = ".Bl -tag\n.It Li a , b\n.Bl -tag\n.It Li c\n.El\n.It Li d\n.El\n";
    let paths: Vec<String> = of_lists(&ManualPage::of(lists)).into_iter().collect();
    assert_eq!(paths, ["a", "a.c", "b", "b.c", "d"]);
}

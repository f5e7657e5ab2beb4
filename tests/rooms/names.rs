//! Each name of a type stands once in the crate: a reader who meets it knows which one is meant.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The names that stand more than once, with the files. `files`: paths and texts.
fn twice(files: &[(String, String)]) -> Vec<String> {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (path, text) in files {
        for line in text.lines() {
            if let Some(name) = defined(line) {
                found.entry(name).or_default().push(path);
            }
        }
    }
    let twice = found.into_iter().filter(|(_, paths)| paths.len() > 1);
    twice
        .map(|(name, paths)| format!("{name} in {}", paths.join(" and ")))
        .collect()
}

/// The type that a line defines.
fn defined(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().peekable();
    while words.next_if(|word| word.starts_with("pub")).is_some() {}
    words.next_if(|word| matches!(*word, "struct" | "enum" | "trait"))?;
    let end = |c: char| !c.is_alphanumeric() && c != '_';
    words
        .next()?
        .split(end)
        .next()
        .filter(|name| !name.is_empty())
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("src can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn each_type_has_a_name_of_its_own() {
    let mut paths = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut paths,
    );
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).expect("a source can be read");
        (path.display().to_string(), text)
    };
    let files: Vec<(String, String)> = paths.iter().map(read).collect();
    let wrong = twice(&files);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_second_type_of_a_name_is_found() {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let files = [
        file("a.rs", "pub(super) struct Place<'a> {\nenum Once {"),
        file("b.rs", "    struct Place;\n// struct Once\nimpl Once {}"),
    ];
    assert_eq!(twice(&files), ["Place in a.rs and b.rs"]);
}

//! The contributor's guide (packaging/CONTRIBUTING.md): each file that it names is there, and has what the guide names in
//! it.

use std::fs;
use std::path::Path;

/// What the guide names and the tree does not have. A path begins with the name of a folder of the top level; one with
/// a word in capitals, or with `*`, is a pattern. A `NAME in PATH` has to be a word of that file. `text`: of a file, by
/// its path; empty for a folder.
fn missing(guide: &str, text: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    // Every second part stands between backticks.
    let parts: Vec<&str> = guide.split('`').collect();
    for at in (1..parts.len()).step_by(2) {
        let path = parts[at];
        let folders = ["packaging/", "src/", "tests/"];
        let is_pattern = path.contains('*') || path.contains("NAME") || path.contains("KIND");
        if is_pattern || !folders.iter().any(|folder| path.starts_with(folder)) {
            continue;
        }
        let Some(file) = text(path) else {
            wrong.push(format!("there is no {path}"));
            continue;
        };
        if at > 2 && parts[at - 1].trim() == "in" {
            let name = parts[at - 2];
            let mut words = file.split(|c: char| !c.is_alphanumeric() && c != '_');
            if !words.any(|word| word == name) {
                wrong.push(format!("{path} has no {name}"));
            }
        }
    }
    wrong
}

#[test]
fn the_guide_leads_to_what_is_there() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs::read_to_string(top.join("packaging/CONTRIBUTING.md")).expect("it is there");
    let text = |path: &str| {
        let path = top.join(path);
        if path.is_dir() {
            return Some(String::new());
        }
        fs::read_to_string(path).ok()
    };
    let wrong = missing(&guide, text);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_guide_that_misleads() {
    let text = |path: &str| (path == "src/a.rs").then(|| "fn seen() {}".to_owned());
    let missing = |guide: &str| missing(guide, text);
    assert_eq!(missing("`seen` in `src/a.rs`; `src/cli/NAME.rs`"), [""; 0]);
    assert_eq!(missing("see `src/b.rs`"), ["there is no src/b.rs"]);
    assert_eq!(missing("`see` in `src/a.rs`"), ["src/a.rs has no see"]);
}

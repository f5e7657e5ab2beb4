//! The daemon's walks (src/daemon/walks.md): each function that they name stands in the file that they name.

use super::tokens::{contains, tokens};

/// What the page names and the source does not have. `text`: of a file of the daemon, by its name.
pub(crate) fn astray<'a>(page: &str, text: impl Fn(&str) -> Option<&'a str>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut file = "";
    for (number, line) in page.lines().enumerate() {
        // Every second part stands between backticks.
        for name in line.split('`').skip(1).step_by(2) {
            let line = number + 1;
            let is_function = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            if name.ends_with(".rs") {
                file = name;
                if text(file).is_none() {
                    wrong.push(format!("walks.md:{line}: there is no {file}"));
                }
            } else if is_function
                && name.contains(|c: char| c.is_ascii_lowercase())
                && let Some(source) = text(file)
                && !contains(&tokens(source), &["fn", name])
            {
                wrong.push(format!("walks.md:{line}: {file} has no function {name}"));
            }
        }
    }
    wrong
}

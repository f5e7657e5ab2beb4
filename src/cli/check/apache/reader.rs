//! Reads Apache's configuration file after file, in Apache's order. Knows sections that are conditions, and includes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::sections::{Directive, Section, matches};
use crate::sys::named;

/// The most files, bytes in each and nested includes that are read.
const MOST_FILES: usize = 400;
const MOST_BYTES: usize = 256 << 10;
const DEEPEST: usize = 8;

/// Reads file after file, in Apache's order.
pub(super) struct ApacheReader {
    root: PathBuf,
    server_root: PathBuf,
    defined: BTreeMap<String, String>,
    modules: BTreeSet<String>,
    files: usize,
    sections: usize,
    found: Vec<Directive>,
}

impl ApacheReader {
    pub(super) fn new(root: &Path, main: &Path) -> ApacheReader {
        ApacheReader {
            root: root.to_path_buf(),
            server_root: main.parent().unwrap_or(root).to_path_buf(),
            defined: BTreeMap::new(),
            modules: BTreeSet::new(),
            files: 0,
            sections: 0,
            found: Vec::new(),
        }
    }

    /// All directives, from the main file on.
    pub(super) fn read(mut self, main: &Path) -> Vec<Directive> {
        self.file(main, &mut Vec::new(), 0);
        self.found
    }

    /// Those of a `.htaccess`, in the section that its folder is. `modules`: those that are loaded.
    pub(super) fn read_access_file<'a>(
        mut self,
        path: &Path,
        modules: impl Iterator<Item = &'a str>,
    ) -> Vec<Directive> {
        self.modules = modules.map(str::to_owned).collect();
        let folder = path.parent().unwrap_or(Path::new("/"));
        let section = Section {
            name: "directory".to_owned(),
            words: vec![folder.display().to_string()],
            number: 0,
        };
        self.file(path, &mut vec![section], DEEPEST);
        self.found
    }

    fn file(&mut self, path: &Path, within: &mut Vec<Section>, depth: usize) {
        self.files += 1;
        if self.files > MOST_FILES || depth > DEEPEST {
            return;
        }
        let Ok(bytes) = named::read(path, MOST_BYTES) else {
            return;
        };
        let text = String::from_utf8_lossy(&bytes);
        let outer = within.len();
        // Sections whose condition does not hold: what is in them is left out.
        let mut skipped = 0;
        for (number, line) in lines(&text) {
            if let Some(end) = line.strip_prefix("</") {
                if skipped > 0 {
                    skipped -= 1;
                } else if within.len() > outer && !end.is_empty() {
                    within.pop();
                }
            } else if let Some(section) = line.strip_prefix('<') {
                let mut words = self.words(section.trim_end_matches('>'));
                if words.is_empty() {
                    continue;
                }
                let name = words.remove(0).to_ascii_lowercase();
                if skipped > 0 || !self.holds(&name, &words) {
                    skipped += 1;
                } else {
                    self.sections += 1;
                    within.push(Section {
                        name,
                        words,
                        number: self.sections,
                    });
                }
            } else if skipped == 0 {
                self.directive(&line, path, number, within, depth);
            }
        }
        within.truncate(outer);
    }

    fn directive(
        &mut self,
        line: &str,
        file: &Path,
        number: usize,
        within: &mut Vec<Section>,
        depth: usize,
    ) {
        let mut words = self.words(line);
        if words.is_empty() {
            return;
        }
        let name = words.remove(0).to_ascii_lowercase();
        let first = words.first().cloned().unwrap_or_default();
        match name.as_str() {
            "define" => {
                let value = words.get(1).cloned().unwrap_or_default();
                self.defined.insert(first, value);
            }
            "undefine" => {
                self.defined.remove(&first);
            }
            "include" | "includeoptional" => {
                for path in self.included(&first) {
                    self.file(&path, within, depth + 1);
                }
            }
            "serverroot" => self.server_root = self.root.join(first.trim_start_matches('/')),
            _ => {
                if name == "loadmodule" {
                    self.modules.insert(first);
                }
                self.found.push(Directive {
                    name,
                    words,
                    file: file.to_path_buf(),
                    line: number,
                    sections: within.clone(),
                });
            }
        }
    }

    /// Whether what is in the section counts.
    fn holds(&self, name: &str, words: &[String]) -> bool {
        let word = words.first().map_or("", String::as_str);
        let (is_not, word) = match word.strip_prefix('!') {
            Some(word) => (true, word),
            None => (false, word),
        };
        let holds = match name {
            "ifdefine" => self.defined.contains_key(word),
            "ifmodule" => {
                let short = word.trim_start_matches("mod_").trim_end_matches(".c");
                let short = short.trim_end_matches("_module");
                ["core", "so", "unixd", "version", "log_config"].contains(&short)
                    || self.modules.contains(&format!("{short}_module"))
            }
            _ => return true,
        };
        holds != is_not
    }

    /// The files of an `Include`: patterns stand for names in one folder.
    fn included(&self, pattern: &str) -> Vec<PathBuf> {
        let pattern = match pattern.strip_prefix('/') {
            Some(below) => self.root.join(below),
            None => self.server_root.join(pattern),
        };
        let name = pattern.file_name().unwrap_or_default().to_string_lossy();
        let is_folder = pattern.is_dir();
        if !is_folder && !name.contains(['*', '?']) {
            return vec![pattern];
        }
        let (folder, name) = if is_folder {
            (pattern.as_path(), "*")
        } else {
            (pattern.parent().unwrap_or(&pattern), &*name)
        };
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let found = entries
            .filter(|entry| matches(name, &entry.file_name().to_string_lossy()))
            .map(|entry| entry.path());
        let mut found: Vec<PathBuf> = found.take(MOST_FILES).collect();
        found.sort();
        found
    }

    /// A line's words: quotes keep blanks, and `${NAME}` is what was defined.
    fn words(&self, line: &str) -> Vec<String> {
        let mut text = line.to_owned();
        for (name, value) in &self.defined {
            text = text.replace(&format!("${{{name}}}"), value);
        }
        let mut words = Vec::new();
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let (word, behind) = match first {
                '"' | '\'' => rest[1..].split_once(first).unwrap_or((&rest[1..], "")),
                _ => rest.split_once([' ', '\t']).unwrap_or((rest, "")),
            };
            words.push(word.to_owned());
            rest = behind.trim_start();
        }
        words
    }
}

/// Lines with their numbers, without comments; a backslash at the end joins the next.
fn lines(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut begun: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let (number, mut whole) = begun.take().unwrap_or((index + 1, String::new()));
        match line.trim_end().strip_suffix('\\') {
            Some(part) => {
                whole.push_str(part);
                begun = Some((number, whole));
            }
            None => {
                whole.push_str(line);
                let whole = whole.trim();
                if !whole.is_empty() && !whole.starts_with('#') {
                    found.push((number, whole.to_owned()));
                }
            }
        }
    }
    found
}

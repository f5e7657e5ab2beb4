//! Apache's configuration, as far as it says what becomes of a folder: read by the rules of Debian's layout, and no more
//! of it than a limit. It knows directives and sections; it does not know apps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::sys::named;

/// The most files, bytes in each and nested includes that are read.
const MOST_FILES: usize = 400;
const MOST_BYTES: usize = 256 << 10;
const DEEPEST: usize = 8;

/// Where the main file may be, below the root of the file system.
const MAIN: [&str; 3] = [
    "etc/apache2/apache2.conf",
    "etc/httpd/conf/httpd.conf",
    "etc/apache2/httpd.conf",
];

/// A directive that counts: sections of conditions that do not hold are left out.
#[derive(Clone, Debug)]
pub(super) struct Directive {
    /// In lower case.
    pub(super) name: String,
    pub(super) words: Vec<String>,
    pub(super) file: PathBuf,
    pub(super) line: usize,
    /// The sections that it is in, from the outermost.
    sections: Vec<Section>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Section {
    /// In lower case.
    name: String,
    words: Vec<String>,
    /// Which of all sections of the configuration.
    number: usize,
}

impl Directive {
    /// Where it stands.
    pub(super) fn position(&self) -> String {
        format!("{}:{}", self.file.display(), self.line)
    }

    fn word(&self, nth: usize) -> &str {
        self.words.get(nth).map_or("", String::as_str)
    }

    /// The virtual host that it is of; `None`: it counts for all.
    pub(super) fn host(&self) -> Option<usize> {
        let mut sections = self.sections.iter();
        let host = sections.find(|section| section.name == "virtualhost");
        host.map(|section| section.number)
    }

    /// How many folders deep the section is that it stands in, if that counts for this folder; 0: in none.
    fn depth_for(&self, folder: &Path) -> Option<usize> {
        let mut depth = 0;
        for section in &self.sections {
            match section.name.as_str() {
                "virtualhost" | "ifdefine" | "ifmodule" | "ifversion" | "requireall" => {}
                "directory" => {
                    let [path] = &section.words[..] else {
                        return None;
                    };
                    depth = covers(Path::new(path), folder)?;
                }
                // Of a URL, of a file, or of a condition of the request.
                _ => return None,
            }
        }
        Some(depth)
    }
}

/// How many parts the pattern has, if the folder is at or below it.
fn covers(pattern: &Path, folder: &Path) -> Option<usize> {
    let mut parts = folder.components();
    let mut count = 0;
    for wanted in pattern.components() {
        let part = parts.next()?.as_os_str().to_string_lossy();
        if !matches(&wanted.as_os_str().to_string_lossy(), &part) {
            return None;
        }
        count += 1;
    }
    Some(count)
}

/// `*` and `?` of fnmatch(3).
fn matches(pattern: &str, text: &str) -> bool {
    let (Some(first), rest) = (pattern.chars().next(), text.chars().next()) else {
        return text.is_empty();
    };
    let behind = &pattern[first.len_utf8()..];
    match (first, rest) {
        ('*', _) => {
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.into_iter().any(|at| matches(behind, &text[at..]))
        }
        ('?', Some(c)) => matches(behind, &text[c.len_utf8()..]),
        (first, Some(c)) if first == c => matches(behind, &text[c.len_utf8()..]),
        _ => false,
    }
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Apache {
    directives: Vec<Directive>,
}

impl Apache {
    /// Reads the configuration of the host; `None`: there is none, or it can't be read.
    pub(super) fn read(root: &Path) -> Option<Apache> {
        let main = MAIN.iter().map(|main| root.join(main));
        let main = main.into_iter().find(|main| main.is_file())?;
        let mut reader = ApacheReader::new(root, &main);
        reader.file(&main, &mut Vec::new(), 0);
        (!reader.found.directives.is_empty()).then_some(reader.found)
    }

    fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Directive> {
        self.directives
            .iter()
            .filter(move |found| found.name == name)
    }

    /// Whether a module is loaded, by its name without `_module`.
    pub(super) fn has_module(&self, name: &str) -> bool {
        let full = format!("{name}_module");
        self.of("loadmodule").any(|module| module.word(0) == full)
    }

    /// The `ScriptAlias` by which a file is run, and the URL's path that it has.
    pub(super) fn script_alias(&self, file: &Path) -> Option<(&Directive, String)> {
        self.of("scriptalias").find_map(|alias| {
            let rest = file.strip_prefix(alias.word(1)).ok()?;
            let url = format!("{}/{}", alias.word(0).trim_end_matches('/'), rest.display());
            Some((alias, url.trim_end_matches('/').to_owned()))
        })
    }

    /// The `DocumentRoot` that a path is at or below.
    pub(super) fn documents(&self, path: &Path) -> Option<&Directive> {
        let mut roots = self.of("documentroot");
        roots.find(|root| !root.word(0).is_empty() && path.starts_with(root.word(0)))
    }

    /// What allows CGI programs in a folder: the last `Options` that counts there, if ExecCGI is among them.
    pub(super) fn exec_cgi(&self, folder: &Path) -> Option<&Directive> {
        let mut allowed = None;
        for options in self.ordered("options", folder) {
            let is_relative = |word: &&String| word.starts_with(['+', '-']);
            if !options.words.iter().any(|word| is_relative(&word)) {
                allowed = None;
            }
            for word in &options.words {
                match word.to_ascii_lowercase().as_str() {
                    "execcgi" | "+execcgi" | "all" => allowed = Some(options),
                    "-execcgi" | "none" => allowed = None,
                    _ => {}
                }
            }
        }
        allowed
    }

    /// Whether files of that name are CGI programs in the folder.
    pub(super) fn handles(&self, folder: &Path, file: &Path) -> bool {
        let extension = file.extension().unwrap_or_default().to_string_lossy();
        let is_of_files = |found: &&Directive| found.words.iter().any(|word| word == "cgi-script");
        let added = self.ordered("addhandler", folder);
        let added = added.into_iter().filter(is_of_files).any(|found| {
            let mut extensions = found.words.iter().skip(1);
            extensions.any(|word| word.trim_start_matches('.') == extension)
        });
        // In a section of files it counts for some, and it is not asked which.
        let set = self.of("sethandler").filter(is_of_files);
        added || set.count() > 0
    }

    /// The directive that passes Authorization on in a folder.
    pub(super) fn pass_auth(&self, folder: &Path) -> Option<&Directive> {
        let last = self
            .ordered("cgipassauth", folder)
            .into_iter()
            .next_back()?;
        last.word(0).eq_ignore_ascii_case("on").then_some(last)
    }

    /// User and group of suEXEC for what a directive of that virtual host runs.
    pub(super) fn suexec(&self, host: Option<usize>) -> Option<(&Directive, &str, &str)> {
        let found = self
            .of("suexecusergroup")
            .find(|found| found.host() == host)?;
        Some((found, found.word(0), found.word(1)))
    }

    /// The folder of users' homes that is served, as `public_html`.
    pub(super) fn user_dir(&self) -> Option<&str> {
        let dirs = self.of("userdir").map(|found| found.word(0));
        let mut named = dirs.filter(|word| !matches!(*word, "enabled" | "disabled" | ""));
        named.next()
    }

    /// Those that count for a folder, the deepest section last.
    fn ordered<'a>(&'a self, name: &'a str, folder: &Path) -> Vec<&'a Directive> {
        let counted = self.of(name);
        let mut counted: Vec<(usize, &Directive)> = counted
            .filter_map(|found| Some((found.depth_for(folder)?, found)))
            .collect();
        counted.sort_by_key(|(depth, _)| *depth);
        counted.into_iter().map(|(_, found)| found).collect()
    }
}

/// Reads file after file, in Apache's order.
struct ApacheReader {
    root: PathBuf,
    server_root: PathBuf,
    defined: BTreeMap<String, String>,
    modules: BTreeSet<String>,
    files: usize,
    sections: usize,
    found: Apache,
}

impl ApacheReader {
    fn new(root: &Path, main: &Path) -> ApacheReader {
        ApacheReader {
            root: root.to_path_buf(),
            server_root: main.parent().unwrap_or(root).to_path_buf(),
            defined: BTreeMap::new(),
            modules: BTreeSet::new(),
            files: 0,
            sections: 0,
            found: Apache::default(),
        }
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
                self.found.directives.push(Directive {
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

#[cfg(test)]
mod tests;

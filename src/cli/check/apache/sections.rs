//! A directive of Apache, and the sections that say for what it counts.

use std::path::{Path, PathBuf};

use super::super::pattern;

/// A directive that counts: sections of conditions that do not hold are left out.
#[derive(Clone, Debug)]
pub(crate) struct Directive {
    /// In lower case.
    pub(crate) name: String,
    pub(crate) words: Vec<String>,
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
    /// The sections that it is in, from the outermost.
    pub(super) sections: Vec<Section>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// In lower case.
    pub(super) name: String,
    pub(super) words: Vec<String>,
    /// Which of all sections of the configuration.
    pub(super) number: usize,
}

/// What a directive may count for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot<'a> {
    pub(crate) folder: &'a Path,
    /// The name of the file in it.
    pub(crate) name: &'a str,
    /// The path of its URL, if that is known.
    pub(crate) url: Option<&'a str>,
}

/// Apache merges sections in this order: folders from the root on, then expressions for folders, files, URLs.
const FOLDERS_MATCH: usize = 1000;
const FILES: usize = 2000;
const LOCATIONS: usize = 3000;

impl Directive {
    /// Where it stands.
    pub(crate) fn position(&self) -> String {
        format!("{}:{}", self.file.display(), self.line)
    }

    pub(super) fn word(&self, nth: usize) -> &str {
        self.words.get(nth).map_or("", String::as_str)
    }

    /// The virtual host that it is of; `None`: it counts for all.
    pub(crate) fn host(&self) -> Option<usize> {
        let mut sections = self.sections.iter();
        let host = sections.find(|section| section.name == "virtualhost");
        host.map(|section| section.number)
    }

    /// The later a section is merged the higher its rank, 0 for none. `None`: the directive does not count there, or
    /// only a request would tell.
    pub(super) fn rank_for(&self, spot: &Spot<'_>) -> Option<usize> {
        let mut rank = 0;
        for section in &self.sections {
            rank = rank.max(section.rank_for(spot)?);
        }
        Some(rank)
    }
}

impl Section {
    fn rank_for(&self, spot: &Spot<'_>) -> Option<usize> {
        let (is_match, name) = match self.name.strip_suffix("match") {
            Some(name) => (true, name),
            None => (
                self.words.first().is_some_and(|word| word == "~"),
                &*self.name,
            ),
        };
        let word = || match &self.words[..] {
            [word] => Some(word.as_str()),
            [tilde, word] if tilde == "~" => Some(word.as_str()),
            _ => None,
        };
        let fits = |text: &str| pattern::is_found(word()?, text)?.then_some(());
        match (name, is_match) {
            ("virtualhost" | "ifdefine" | "ifmodule" | "ifversion" | "requireall", _) => Some(0),
            ("directory", false) => covers(Path::new(word()?), spot.folder),
            ("directory", true) => {
                fits(&spot.folder.to_string_lossy())?;
                Some(FOLDERS_MATCH)
            }
            ("files", false) => matches(word()?, spot.name).then_some(FILES),
            ("files", true) => {
                fits(spot.name)?;
                Some(FILES)
            }
            ("location", false) => {
                covers(Path::new(word()?), Path::new(spot.url?))?;
                Some(LOCATIONS)
            }
            ("location", true) => {
                fits(spot.url?)?;
                Some(LOCATIONS)
            }
            // A condition of the request.
            _ => None,
        }
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
pub(super) fn matches(pattern: &str, text: &str) -> bool {
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

//! Files by patterns, as glob(7) has them: `*`, `?` and `[a-z]` in a name, and `**` for any number of folders. Knows
//! names and folders; opens no file.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The most entries of folders that are looked at for the patterns of one app.
const MOST_ENTRIES: usize = 5_000;
/// The most files and folders that are found, and the most bytes of their paths together.
const MOST_FOUND: usize = 1_000;
const MOST_BYTES: usize = 256 << 10;

/// What some patterns name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Globbed {
    /// The files. A path without a pattern in its last name is one of them even if nothing is there.
    pub files: BTreeSet<PathBuf>,
    /// The folders in which more may appear: what is made or removed there changes them.
    pub folders: BTreeSet<PathBuf>,
    /// There is more than is looked at.
    pub is_cut: bool,
    entries: usize,
    bytes: usize,
}

impl Globbed {
    /// What the patterns name now. Relative ones begin at `directory`.
    pub fn find(directory: &Path, patterns: &[String]) -> Globbed {
        let mut globbed = Globbed::default();
        for pattern in patterns {
            let begin = match pattern.starts_with('/') {
                true => Path::new("/"),
                false => directory,
            };
            let names: Vec<&str> = pattern.split('/').filter(|name| !name.is_empty()).collect();
            globbed.walk(begin, &names);
        }
        globbed
    }

    fn walk(&mut self, folder: &Path, names: &[&str]) {
        match names {
            [] => {}
            ["**"] => self.walk(folder, &["**", "*"]),
            ["**", rest @ ..] => {
                self.walk(folder, rest);
                for (path, name) in self.entries(folder) {
                    if !name.starts_with(b".") && is_folder_itself(&path) {
                        self.walk(&path, names);
                    }
                }
            }
            [name, rest @ ..] if is_plain(name) => self.go_on(folder.join(name), rest),
            [pattern, rest @ ..] => {
                for (path, name) in self.entries(folder) {
                    let is_hidden = name.starts_with(b".") && !pattern.starts_with('.');
                    if !is_hidden
                        && matches(pattern.as_bytes(), &name)
                        && (rest.is_empty() || path.is_dir())
                    {
                        self.go_on(path, rest);
                    }
                }
            }
        }
    }

    fn go_on(&mut self, path: PathBuf, rest: &[&str]) {
        if !rest.is_empty() {
            return self.walk(&path, rest);
        }
        if !path.is_dir() && self.has_room_for(&path) {
            self.files.insert(path);
        }
    }

    /// What is in a folder, with the names. The folder counts even if it is missing, since it may be made.
    fn entries(&mut self, folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        if !self.folders.contains(folder) {
            if !self.has_room_for(folder) {
                return Vec::new();
            }
            self.folders.insert(folder.to_path_buf());
        }
        let left = MOST_ENTRIES - self.entries;
        let found = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut found: Vec<_> = found
            .take(left + 1)
            .map(|entry| (entry.path(), entry.file_name().as_bytes().to_vec()))
            .collect();
        self.is_cut |= found.len() > left;
        found.truncate(left);
        self.entries += found.len();
        found.sort();
        found
    }

    fn has_room_for(&mut self, path: &Path) -> bool {
        let bytes = self.bytes + path.as_os_str().len();
        let has_room = self.files.len() + self.folders.len() < MOST_FOUND && bytes <= MOST_BYTES;
        match has_room {
            true => self.bytes = bytes,
            false => self.is_cut = true,
        }
        has_room
    }
}

/// A symlink to a folder is none: it may lead to a folder above.
fn is_folder_itself(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

fn is_plain(name: &str) -> bool {
    !name.contains(['*', '?', '['])
}

/// Whether a name matches a pattern without `/`.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut to) = (0, 0);
    // Where the last `*` stands, and the first byte that it has not taken yet.
    let mut star: Option<(usize, usize)> = None;
    while to < name.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, to));
            at += 1;
        } else if let Some((step, taken)) = one(&pattern[at..], &name[to..]) {
            (at, to) = (at + step, to + taken);
        } else if let Some((begin, taken)) = star {
            star = Some((begin, taken + 1));
            (at, to) = (begin + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// Matches one character: how many bytes of the pattern and of the name it is.
fn one(pattern: &[u8], name: &[u8]) -> Option<(usize, usize)> {
    // The bytes of one character in UTF-8.
    let taken = 1 + name[1..]
        .iter()
        .take_while(|&&byte| byte & 0xc0 == 0x80)
        .count();
    match *pattern.first()? {
        b'?' => Some((1, taken)),
        b'[' => match class(&pattern[1..], name[0]) {
            Some((length, is_in)) => is_in.then_some((1 + length, taken)),
            None => (name[0] == b'[').then_some((1, 1)),
        },
        byte => (byte == name[0]).then_some((1, 1)),
    }
}

/// A class behind its `[`: its bytes with the `]`, and whether a byte is in it. `None`: it is never closed.
fn class(pattern: &[u8], byte: u8) -> Option<(usize, bool)> {
    let is_not = matches!(pattern.first(), Some(b'!' | b'^'));
    let begin = usize::from(is_not);
    // A `]` at the beginning stands for itself.
    let end = begin + 1 + pattern.get(begin + 1..)?.iter().position(|&b| b == b']')?;
    let mut rest = &pattern[begin..end];
    let mut is_in = false;
    while let [first, after @ ..] = rest {
        (is_in, rest) = match after {
            [b'-', last, after @ ..] => (is_in || (*first..=*last).contains(&byte), after),
            _ => (is_in || *first == byte, after),
        };
    }
    Some((end + 1, is_in != is_not))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_matches_as_in_a_shell() {
        for (pattern, name, is) in [
            ("*", "a", true),
            ("*.html", "a.html", true),
            ("*.html", "a.html~", false),
            ("*.html", ".html", true),
            ("a*b*c", "aXbXbYc", true),
            ("a*b*c", "aXbXbY", false),
            ("?.txt", "é.txt", true),
            ("??.txt", "é.txt", false),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[!a-c]x", "dx", true),
            ("[^a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[a", "[a", true),
            ("[*]", "*", true),
            ("[*]", "a", false),
            ("[a-]", "-", true),
            ("", "a", false),
            ("***", "abc", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                is,
                "{pattern} {name}"
            );
        }
    }

    /// A pattern with many stars takes time in proportion to pattern and name, not to the ways in which they may fit.
    #[test]
    fn stars_take_no_time() {
        let pattern = "a*".repeat(200) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(2_000).as_bytes()));
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["t/deep/er", "t/.hidden", "other"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for file in [
            "t/a.html",
            "t/b.txt",
            "t/deep/c.html",
            "t/deep/er/d.html",
            "t/.hidden/e.html",
            "t/.f.html",
        ] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        std::os::unix::fs::symlink("..", dir.path().join("t/deep/up")).unwrap();
        dir
    }

    fn found(dir: &tempfile::TempDir, patterns: &[&str]) -> (Vec<String>, Vec<String>) {
        let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.into()).collect();
        let globbed = Globbed::find(dir.path(), &patterns);
        let names = |paths: &BTreeSet<PathBuf>| {
            let short =
                |path: &PathBuf| path.strip_prefix(dir.path()).unwrap().display().to_string();
            paths.iter().map(short).collect()
        };
        assert!(!globbed.is_cut);
        (names(&globbed.files), names(&globbed.folders))
    }

    #[test]
    fn patterns_find_files_and_the_folders_where_more_may_appear() {
        let dir = tree();
        for (patterns, files, folders) in [
            (&["t/*.html"][..], &["t/a.html"][..], &["t"][..]),
            (
                &["t/**/*.html"],
                &["t/a.html", "t/deep/c.html", "t/deep/er/d.html"],
                &["t", "t/deep", "t/deep/er"],
            ),
            (&["t/*/*.html"], &["t/deep/c.html"], &["t", "t/deep"]),
            (&["t/.*.html"], &["t/.f.html"], &["t"]),
            (&["none.ini", "t/a.html"], &["none.ini", "t/a.html"], &[]),
            (&["none/*.ini"], &[], &["none"]),
            (&["t/deep/up/*.txt"], &["t/deep/up/b.txt"], &["t/deep/up"]),
            (&["t"], &[], &[]),
            (&["other/**"], &[], &["other"]),
        ] {
            let owned = |list: &[&str]| list.iter().map(|&s| s.to_owned()).collect::<Vec<_>>();
            assert_eq!(
                found(&dir, patterns),
                (owned(files), owned(folders)),
                "{patterns:?}"
            );
        }
        let absolute = format!("{}/t/*.txt", dir.path().display());
        assert_eq!(found(&dir, &[&absolute]).0, ["t/b.txt"]);
    }

    #[test]
    fn there_is_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..=MOST_FOUND {
            fs::write(dir.path().join(format!("{number}")), "").unwrap();
        }
        let globbed = Globbed::find(dir.path(), &["*".to_owned()]);
        assert!(globbed.is_cut);
        assert_eq!(globbed.files.len() + globbed.folders.len(), MOST_FOUND);
    }
}

//! `.htaccess`: which of these files Apache reads on the way to a folder, and what it takes from them.

use std::path::{Path, PathBuf};

use super::reader::ApacheReader;
use super::{Apache, Directive, Spot};

/// A `.htaccess` on the way to a folder.
#[derive(Debug)]
pub(crate) struct AccessFile {
    pub(crate) path: PathBuf,
    /// What counts for CGI programs in it, and is not taken: not one of them if Apache does not read the file.
    pub(crate) refused: Vec<Directive>,
    /// Apache reads it.
    pub(crate) is_read: bool,
    /// Where `AllowOverride` stands that says so; `None`: nowhere, which is `None` for Apache too.
    pub(crate) by: Option<Directive>,
}

/// The directives that are looked for, and the class that `AllowOverride` has them in.
const CLASSES: [(&str, &str); 4] = [
    ("addhandler", "fileinfo"),
    ("cgipassauth", "authconfig"),
    ("options", "options"),
    ("sethandler", "fileinfo"),
];

impl Apache {
    /// Takes in what the access files from the root to that folder say, as far as Apache does. Those that matter are
    /// returned.
    pub(crate) fn read_access_files(&mut self, root: &Path, folder: &Path) -> Vec<AccessFile> {
        let names = self.of("accessfilename").last();
        let names = names.map_or(vec![".htaccess".to_owned()], |names| names.words.clone());
        let mut folders: Vec<&Path> = folder.ancestors().collect();
        folders.reverse();
        let mut found = Vec::new();
        for folder in folders {
            for path in names.iter().map(|name| folder.join(name)) {
                let modules = self.of("loadmodule").map(|module| module.word(0));
                let mut directives =
                    ApacheReader::new(root, &path).read_access_file(&path, modules);
                directives.retain(|directive| class(directive).is_some());
                if !directives.is_empty() {
                    found.push(self.take_in(folder, path, directives));
                }
            }
        }
        found
    }

    fn take_in(&mut self, folder: &Path, path: PathBuf, directives: Vec<Directive>) -> AccessFile {
        let spot = Spot {
            folder,
            name: "",
            url: None,
        };
        let by = self.ordered("allowoverride", &spot).pop().cloned();
        let listed = self.ordered("allowoverridelist", &spot).pop().cloned();
        let words = |by: &Option<Directive>| {
            let words = by.as_ref().map_or(&[][..], |by| &by.words);
            let words: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
            words
        };
        let mut allowed = words(&by);
        allowed.extend(words(&listed));
        allowed.retain(|word| word != "none");
        let is_read = !allowed.is_empty();
        let mut refused = Vec::new();
        for directive in directives {
            if is_allowed(&directive, &allowed) {
                self.directives.push(directive);
            } else if !allowed
                .iter()
                .any(|word| word == "nonfatal=all" || word == "nonfatal=override")
            {
                refused.push(directive);
            }
        }
        AccessFile {
            path,
            refused,
            is_read,
            by: by.or(listed),
        }
    }
}

fn class(directive: &Directive) -> Option<&'static str> {
    let mut classes = CLASSES.iter();
    let found = classes.find(|(name, _)| *name == directive.name);
    found.map(|(_, class)| *class)
}

/// `allowed`: the words of `AllowOverride` and `AllowOverrideList`, in lower case.
fn is_allowed(directive: &Directive, allowed: &[String]) -> bool {
    let class = class(directive).unwrap_or_default();
    allowed.iter().any(|word| {
        // `Options=ExecCGI,Indexes`
        let some = word.strip_prefix("options=").filter(|_| class == "options");
        word == "all"
            || word == class
            || *word == directive.name
            || some.is_some_and(|some| {
                directive.words.iter().all(|option| {
                    let option = option.trim_start_matches(['+', '-']).to_ascii_lowercase();
                    some.split(',').any(|one| one == option)
                })
            })
    })
}

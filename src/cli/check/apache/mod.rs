//! Apache's configuration, as far as it says what becomes of a folder: read by the rules of Debian's layout, and no more
//! of it than a limit. It knows directives and sections; it does not know apps.

mod access;
mod reader;
mod sections;

use std::path::Path;

pub(super) use self::access::AccessFile;
use self::reader::ApacheReader;
pub(super) use self::sections::{Directive, Spot};

/// Where the main file may be, below the root of the file system.
const MAIN: [&str; 3] = [
    "etc/apache2/apache2.conf",
    "etc/httpd/conf/httpd.conf",
    "etc/apache2/httpd.conf",
];

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
        let directives = ApacheReader::new(root, &main).read(&main);
        (!directives.is_empty()).then_some(Apache { directives })
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

    /// By `ScriptAliasMatch`, as far as the file alone can say: its target has `$1` and the like for parts of the URL.
    pub(super) fn script_alias_match(&self, file: &Path) -> Option<&Directive> {
        let file = file.to_string_lossy();
        self.of("scriptaliasmatch")
            .find(|alias| could_lead_to(alias.word(1), &file))
    }

    /// The path of a file's URL, if the file has one by its place alone.
    pub(super) fn url(&self, file: &Path) -> Option<String> {
        let by_alias = self.script_alias(file).map(|(_, url)| url);
        let aliased = || {
            self.of("alias").find_map(|alias| {
                let rest = file.strip_prefix(alias.word(1)).ok()?;
                Some(format!(
                    "{}/{}",
                    alias.word(0).trim_end_matches('/'),
                    rest.display()
                ))
            })
        };
        let document = || {
            let rest = file.strip_prefix(self.documents(file)?.word(0)).ok()?;
            Some(format!("/{}", rest.display()))
        };
        by_alias.or_else(aliased).or_else(document)
    }

    /// What allows CGI programs there: the last `Options` that counts, if ExecCGI is among them.
    pub(super) fn exec_cgi(&self, spot: &Spot<'_>) -> Option<&Directive> {
        let mut allowed = None;
        for options in self.ordered("options", spot) {
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

    /// Whether the file is a CGI program, where that is allowed.
    pub(super) fn handles(&self, spot: &Spot<'_>) -> bool {
        let extension = Path::new(spot.name).extension().unwrap_or_default();
        let extension = extension.to_string_lossy();
        let is_cgi = |word: &str| word.eq_ignore_ascii_case("cgi-script");
        if let Some(set) = self.ordered("sethandler", spot).pop() {
            return is_cgi(set.word(0));
        }
        let added = self.ordered("addhandler", spot);
        added
            .into_iter()
            .filter(|found| is_cgi(found.word(0)))
            .any(|found| {
                let mut extensions = found.words.iter().skip(1);
                extensions.any(|word| {
                    word.trim_start_matches('.')
                        .eq_ignore_ascii_case(&extension)
                })
            })
    }

    /// The directive that passes Authorization on.
    pub(super) fn pass_auth(&self, spot: &Spot<'_>) -> Option<&Directive> {
        let last = self.ordered("cgipassauth", spot).pop()?;
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

    /// Those that count there, in the order in which Apache merges their sections.
    fn ordered<'a>(&'a self, name: &'a str, spot: &Spot<'_>) -> Vec<&'a Directive> {
        let counted = self.of(name);
        let mut counted: Vec<(usize, &Directive)> = counted
            .filter_map(|found| Some((found.rank_for(spot)?, found)))
            .collect();
        counted.sort_by_key(|(rank, _)| *rank);
        counted.into_iter().map(|(_, found)| found).collect()
    }
}

/// Whether a file can be the target, in which `$1` and the like stand for any text.
fn could_lead_to(target: &str, file: &str) -> bool {
    let mut pattern = String::new();
    let mut chars = target.chars().peekable();
    while let Some(c) = chars.next() {
        let is_part = c == '$' && chars.peek().is_some_and(char::is_ascii_digit);
        if is_part {
            chars.next();
        }
        pattern.push(if is_part { '*' } else { c });
    }
    !target.is_empty() && sections::matches(&pattern, file)
}

#[cfg(test)]
mod tests;

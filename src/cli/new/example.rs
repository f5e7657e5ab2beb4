//! The examples of packaging/examples/apps, which the program carries: app files for programs that many people run. It
//! knows the form of their first lines and of their paths, and no app.

use std::fmt::Write as _;
use std::path::Path;

use crate::spelling;

/// An app file for an app, as it lies in packaging.
pub(super) struct Example {
    pub(super) name: &'static str,
    text: &'static str,
}

macro_rules! examples {
    ($($name:literal)+) => {
        /// In the order of their names.
        const EXAMPLES: &[Example] = &[$(Example {
            name: $name,
            text: include_str!(concat!("../../../packaging/examples/apps/", $name, ".cgi")),
        }),+];
    };
}
examples! {
    "cgit" "django" "flask" "fossil" "git-http-backend" "gitweb" "hgweb" "moinmoin" "perl" "php" "radicale" "trac" "wiki"
}

/// What they are called, and what each is.
pub(super) fn list() -> String {
    EXAMPLES.iter().fold(String::new(), |mut text, example| {
        let _ = writeln!(text, "{:18}{}", example.name, example.about());
        text
    })
}

/// What they are called.
#[cfg(test)]
pub(crate) fn example_names() -> Vec<&'static str> {
    EXAMPLES.iter().map(|example| example.name).collect()
}

impl Example {
    /// The one of that name; else a sentence with their names.
    pub(super) fn named(name: &str) -> Result<&'static Example, String> {
        let names = || EXAMPLES.iter().map(|example| example.name);
        if let Some(found) = EXAMPLES.iter().find(|example| example.name == name) {
            return Ok(found);
        }
        let longer = || names().find(|known| name.starts_with(known));
        let meant = spelling::begun(name, names())
            .or_else(longer)
            .or_else(|| spelling::nearest(name, names()));
        let guess = meant.map_or(".".to_owned(), |name| format!("; did you mean '{name}'?"));
        let names: Vec<&str> = names().collect();
        Err(format!(
            "no example is called '{name}'{guess} There are {}",
            names.join(", ")
        ))
    }

    /// The text behind a beginning of one of its lines.
    fn line(&self, begin: &str) -> &'static str {
        let mut lines = self.text.lines().skip(1);
        lines
            .find_map(|line| line.strip_prefix(begin))
            .unwrap_or_default()
    }

    /// What it is, in a sentence.
    fn about(&self) -> &'static str {
        self.line("# ")
    }

    /// The path in it that is the app's folder.
    fn folder(&self) -> &'static str {
        let start = self.text.find("/srv/").unwrap_or(self.text.len());
        let rest = &self.text[start..];
        let name = rest.get("/srv/".len()..).unwrap_or_default();
        let end = name
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(name.len());
        &rest[..rest.len() - name.len() + end]
    }

    /// The app file by that program, with the app in `folder`, if one was named. Err: the folder's path can't stand
    /// wherever an example has one.
    pub(super) fn text_for(&self, program: &Path, folder: Option<&Path>) -> Result<String, String> {
        let text = self
            .text
            .replacen("/usr/local/bin/polycgi", &program.display().to_string(), 1);
        let Some(folder) = folder else {
            return Ok(text);
        };
        let path = folder.display().to_string();
        let is_plain = |c: char| c.is_alphanumeric() || "/._-+@".contains(c);
        if folder.to_str().is_none() || !path.chars().all(is_plain) {
            return Err(format!(
                "{path}: no example can name this path: it has other signs than letters, digits and /._-+@"
            ));
        }
        Ok(text.replace(self.folder(), &path))
    }

    /// What it is and needs, and which lines of its text to look at.
    pub(super) fn told(&self, text: &str, folder: Option<&Path>) -> String {
        let own = self.folder();
        let folder = folder.map_or(own.to_owned(), |folder| folder.display().to_string());
        let needs = self.line("# Needs: ").replace(own, &folder);
        let lines = text.lines().enumerate();
        let keys = lines.filter_map(|(at, line)| {
            let (key, value) = line.split_once(" = ").filter(|_| !line.starts_with('#'))?;
            (key == "wsgi" || value.contains(&folder)).then(|| format!("{} ({key})", at + 1))
        });
        let keys: Vec<String> = keys.collect();
        format!(
            "{}\nNeeds: {needs}\nLines to look at: {}.\n",
            self.about(),
            keys.join(", ")
        )
    }

    /// The folder that the reader is told of.
    pub(super) fn shown_folder(&self, folder: Option<&Path>) -> String {
        folder.map_or(self.folder().to_owned(), |folder| {
            folder.display().to_string()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config;

    #[test]
    fn the_program_carries_all_of_them() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/examples/apps");
        let entries = fs::read_dir(folder).unwrap().flatten();
        let mut files: Vec<String> = entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        files.sort();
        let names: Vec<String> = EXAMPLES
            .iter()
            .map(|example| format!("{}.cgi", example.name))
            .collect();
        assert_eq!(names, files);
    }

    #[test]
    fn each_is_an_app_file_wherever_its_folder_is() {
        for example in EXAMPLES {
            assert!(example.about().ends_with(['.', ')']), "{}", example.name);
            assert!(!example.line("# Needs: ").is_empty(), "{}", example.name);
            assert!(example.folder().len() > "/srv/".len(), "{}", example.name);
            for folder in [None, Some(Path::new("/home/jane/x-1"))] {
                let text = example.text_for(Path::new("/opt/polycgi"), folder).unwrap();
                assert!(text.starts_with("#!/opt/polycgi -\n"));
                assert!(folder.is_none() || !text.contains("/srv/"), "{text}");
                config::parse("x", text.as_bytes()).unwrap();
                let told = example.told(&text, folder);
                assert!(
                    told.contains("Lines to look at: ") && told.contains("\nNeeds: "),
                    "{told}"
                );
                assert!(folder.is_none() || !told.contains("/srv/"), "{told}");
            }
            let other = example.text_for(Path::new("/opt/polycgi"), Some(Path::new("/a b")));
            assert!(other.is_err());
        }
    }

    #[test]
    fn a_name_that_is_none() {
        for (typed, meant) in [
            ("radical", Some("radicale")),
            ("moin", Some("moinmoin")),
            ("php-cgi", Some("php")),
            ("djagno", Some("django")),
            ("x", None),
        ] {
            let sentence = Example::named(typed).err().unwrap();
            let guess = meant.map(|name| format!("did you mean '{name}'?"));
            assert_eq!(
                sentence.contains("did you mean"),
                guess.is_some(),
                "{sentence}"
            );
            assert!(
                guess.is_none_or(|guess| sentence.contains(&guess)),
                "{sentence}"
            );
            assert!(sentence.contains("hgweb, moinmoin"), "{sentence}");
        }
    }
}

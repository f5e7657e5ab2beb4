//! `new`: looks at a folder, and writes the app file that fits. It runs nothing of what it finds, and replaces no file.

mod example;
mod fit;
mod folder;
mod source;

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use argh::{ArgsInfo, FromArgs};

use self::example::Example;
#[cfg(test)]
pub(crate) use self::example::example_names;
use self::fit::{Fit, Fits, Made, Misfit};
use self::folder::{Environment, Folder};
use super::links::{check_app_name, file_name, installed_program, typed_program};
use crate::config;
use crate::printable;
use crate::report::{Exit, print, print_beside, say};
use crate::sys::files;

/// The most folders below one without an app that are looked into.
const MOST_FOLDERS: usize = 20;
/// The most apps that were found and not taken, and are named.
const MOST_OTHERS: usize = 5;

/// Write an app file: NAME.cgi in this folder, for the app that is in this folder or in FOLDER. Nothing is run, and no
/// file is replaced.
#[derive(ArgsInfo, FromArgs)]
#[argh(subcommand, name = "new")]
pub(super) struct NewCommand {
    /// the application, as module:callable; without this and the next three, what is found in the folder
    #[argh(option, arg_name = "module:callable")]
    wsgi: Option<String>,

    /// a command that runs the app as a CGI
    #[argh(option, arg_name = "command")]
    cgi: Option<String>,

    /// a command that runs the app as an SCGI server
    #[argh(option, arg_name = "command")]
    scgi: Option<String>,

    /// the address of an SCGI server that runs already: a path, or host:port
    #[argh(option, arg_name = "address")]
    connect: Option<String>,

    /// the app file of a well known app, such as cgit or trac; without a name, list them
    #[argh(option, arg_name = "name")]
    example: Option<String>,

    /// print the app file, and write nothing
    #[argh(switch)]
    print: bool,

    /// the app's name (default: that of its folder), and the app's folder, which has a '/' in it or is '.' or '..'
    #[argh(positional)]
    name_or_folder: Vec<String>,
}

/// How the command ends, and the sentence about it.
type Refused = (Exit, String);

/// What is to be written, and said about it.
struct Plan {
    folder: Folder,
    /// The app's name.
    name: String,
    /// Of the app file.
    text: String,
    made: Option<Made>,
    /// What was found, taken and left: sentences.
    findings: Vec<String>,
}

impl NewCommand {
    pub(super) fn run(self) -> Exit {
        let done = match self.example.as_deref() {
            // Without a name.
            Some("") => {
                print(example::list());
                Ok(())
            }
            Some(name) => self.copy_example(name),
            None => self.plan().and_then(|plan| self.carry_out(&plan)),
        };
        match done {
            Ok(()) => Exit::Ok,
            Err((exit, sentence)) => {
                say("new", sentence);
                exit
            }
        }
    }

    fn carry_out(&self, plan: &Plan) -> Result<(), Refused> {
        if self.print {
            print(&plan.text);
            print_beside(printable::lines(&plan.told_beside()));
            return Ok(());
        }
        plan.write()?;
        print(printable::lines(&plan.told()));
        Ok(())
    }

    fn copy_example(&self, name: &str) -> Result<(), Refused> {
        let usage = |sentence| (Exit::Usage, sentence);
        if self.given()?.is_some() {
            let sentence = "--example writes an app file that names its app; so none of --wsgi, --cgi, --scgi, --connect";
            return Err(usage(sentence.to_owned()));
        }
        let example = Example::named(name).map_err(usage)?;
        let (name, path) = self.name_and_folder()?;
        let name = name.unwrap_or_else(|| example.name.to_owned());
        check_app_name(&name).map_err(usage)?;
        let folder = path.as_deref();
        let text = example
            .text_for(&installed_program(), folder)
            .map_err(usage)?;
        let told = example.told(&text, folder);
        if self.print {
            print(&text);
            print_beside(printable::lines(&told));
            return Ok(());
        }
        let file = file_name(&name);
        make(Path::new(&file), &text, 0o755)?;
        let next = next_steps(&file, &example.shown_folder(folder));
        print(printable::lines(&(told + &next)));
        Ok(())
    }

    fn plan(&self) -> Result<Plan, Refused> {
        let (name, path) = self.name_and_folder()?;
        let path = path.unwrap_or_else(|| absolute(Path::new(".")));
        let name = name.unwrap_or_else(|| name_of(&path));
        check_app_name(&name).map_err(|sentence| (Exit::Usage, sentence))?;
        let given = self.given()?;
        let folder = Folder::look(path.clone()).map_err(|error| {
            let sentence = format!("cannot look into {}: {error}", path.display());
            (Exit::NoInput, sentence)
        })?;
        let mut plan = Plan {
            folder,
            name,
            text: String::new(),
            made: None,
            findings: Vec::new(),
        };
        let (lines, is_wsgi) = match given {
            Some(given) => given,
            None => plan.take_what_fits()?,
        };
        let has_folder = self.connect.is_none();
        plan.compose(&lines, is_wsgi, has_folder)?;
        Ok(plan)
    }

    fn name_and_folder(&self) -> Result<(Option<String>, Option<PathBuf>), Refused> {
        let is_folder = |word: &&String| word.contains('/') || [".", ".."].contains(&word.as_str());
        let (folders, names): (Vec<_>, Vec<_>) = self.name_or_folder.iter().partition(is_folder);
        if folders.len() > 1 || names.len() > 1 {
            let sentence = "one app at a time: usage: polycgi new [NAME] [FOLDER/]";
            return Err((Exit::Usage, sentence.to_owned()));
        }
        let folder = folders
            .first()
            .map(|folder| absolute(Path::new(folder.as_str())));
        let name = names.first().map(|name| (*name).clone());
        Ok((name, folder))
    }

    /// The lines that the options make, and whether they name a WSGI application.
    fn given(&self) -> Result<Option<(String, bool)>, Refused> {
        let options = [
            ("wsgi", &self.wsgi),
            ("cgi", &self.cgi),
            ("scgi", &self.scgi),
            ("connect", &self.connect),
        ];
        let options = options
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.as_ref()?)));
        let lines: String = options
            .map(|(key, value)| format!("{key} = {value}\n"))
            .collect();
        let is_commands = self.cgi.is_some() || self.scgi.is_some();
        let ways = [self.wsgi.is_some(), is_commands, self.connect.is_some()];
        match ways.into_iter().filter(|&is_one| is_one).count() {
            0 => Ok(None),
            1 => match config::parse("the command line", lines.as_bytes()) {
                Ok(_) => Ok(Some((lines, self.wsgi.is_some()))),
                Err(bad) => Err((Exit::Usage, bad.message().to_owned())),
            },
            _ => {
                let sentence = "an app has one of --wsgi, --cgi and/or --scgi, --connect";
                Err((Exit::Usage, sentence.to_owned()))
            }
        }
    }
}

impl Plan {
    /// The line of what fits best, and whether it is a WSGI application.
    fn take_what_fits(&mut self) -> Result<(String, bool), Refused> {
        let Fits { fits, misfits } = Fits::of(&self.folder);
        let mut fits = fits.into_iter();
        let Some(taken) = fits.next() else {
            let sentence = nothing_fits(&self.folder, &self.name, &misfits);
            return Err((Exit::NoInput, sentence));
        };
        self.findings.push(format!("Found {}.", taken.what));
        let others = fits.len().saturating_sub(MOST_OTHERS);
        for Fit { what, line, .. } in fits.take(MOST_OTHERS) {
            let sentence = format!("Found {what} ('{line}') too, and did not take it.");
            self.findings.push(sentence);
        }
        if others > 0 {
            self.findings.push(format!("Found {others} more."));
        }
        self.findings
            .extend(taken.cautions.into_iter().map(|sentence| sentence + "."));
        self.made = taken.made;
        // A comment is one line.
        let what = printable::line(&taken.what);
        let lines = format!("# {what}\n{}\n{}", taken.line, taken.more);
        Ok((lines, taken.is_wsgi))
    }

    fn compose(&mut self, lines: &str, is_wsgi: bool, has_folder: bool) -> Result<(), Refused> {
        let mut text = format!("#!{} -\n{lines}", installed_program().display());
        if has_folder {
            let _ = writeln!(text, "directory = {}", value(&self.folder.path)?);
        }
        if is_wsgi {
            match self.environment() {
                Some(path) => {
                    let _ = writeln!(text, "python = {}", value(&path)?);
                }
                None => text.push_str(
                    "# an interpreter, or the folder of a virtual environment\n#python = python3\n",
                ),
            }
        }
        // What is written is an app file.
        config::parse("the app file", text.as_bytes())
            .map_err(|bad| (Exit::Software, bad.message().to_owned()))?;
        self.text = text;
        Ok(())
    }

    /// The folder's virtual environment, or the one that is active where the command was typed.
    fn environment(&mut self) -> Option<PathBuf> {
        let active = || Environment::at(Path::new(&std::env::var_os("VIRTUAL_ENV")?));
        let found = self.folder.environment().or_else(active);
        let shown = |path: &Path| {
            path.strip_prefix(&self.folder.path)
                .unwrap_or(path)
                .display()
                .to_string()
        };
        let (sentence, path) = match found {
            Some(found) if found.is_whole => {
                let sentence = format!("Found {}, a virtual environment.", shown(&found.path));
                (sentence, Some(found.path))
            }
            Some(found) => {
                let path = shown(&found.path);
                let sentence = format!(
                    "{path} is a virtual environment without a bin/python that runs: not taken."
                );
                (sentence, None)
            }
            None if self.folder.has("requirements.txt") => {
                let sentence = "Found requirements.txt, and no virtual environment: python3 -m venv .venv && \
                                .venv/bin/pip install -r requirements.txt, then 'python = .../.venv'.";
                (sentence.to_owned(), None)
            }
            None => return None,
        };
        self.findings.push(sentence);
        path
    }

    fn file(&self) -> String {
        file_name(&self.name)
    }

    /// Makes the app file, and the module that it needs.
    fn write(&self) -> Result<(), Refused> {
        let file = self.file();
        make(Path::new(&file), &self.text, 0o755)?;
        let Some(made) = &self.made else {
            return Ok(());
        };
        let path = self.folder.path.join(&made.file);
        let is_there = self
            .folder
            .text(&made.file)
            .is_some_and(|text| text == made.text);
        if is_there {
            return Ok(());
        }
        make(&path, &made.text, 0o644).inspect_err(|_| {
            // It would not run without the module. It was made above.
            let _ = fs::remove_file(&file);
        })
    }

    /// What was found and written, and what comes next.
    fn told(&self) -> String {
        let mut text = String::new();
        for sentence in &self.findings {
            let _ = writeln!(text, "{sentence}");
        }
        if let Some(made) = &self.made {
            let path = self.folder.path.join(&made.file);
            let _ = writeln!(
                text,
                "Wrote {}, which makes the application.",
                path.display()
            );
        }
        text + &next_steps(&self.file(), &self.folder.path.display().to_string())
    }

    /// The same beside an app file that is printed.
    fn told_beside(&self) -> String {
        let mut text = self.findings.join("\n");
        if let Some(made) = &self.made {
            let (path, module) = (self.folder.path.join(&made.file), &made.text);
            let _ = write!(text, "\nIt needs {}:\n{module}", path.display());
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text
    }
}

/// What comes after an app file of that name was written, for an app in that folder.
fn next_steps(file: &str, folder: &str) -> String {
    let word = config::as_word(file).unwrap_or_else(|| file.to_owned());
    let program = typed_program();
    let is_in_cgi_bin = working_directory().iter().any(|folder| folder == "cgi-bin");
    let place = if is_in_cgi_bin {
        ""
    } else {
        "Then move it to where the web server runs CGIs: /usr/lib/cgi-bin for Debian's Apache (a2enmod cgid), often\n\
         ~/public_html/cgi-bin on a shared host; nginx asks it by fcgiwrap or 'listen'.\n"
    };
    format!(
        "Wrote {file}. Next:\n  {program} check {word}\n  {program} request {word} /\n{place}The web server's user must \
         be able to enter\n{folder}, and the web server should serve nothing of that as files.\n"
    )
}

/// Why there is no app file, and what to do.
fn nothing_fits(folder: &Folder, name: &str, misfits: &[Misfit]) -> String {
    if let Some(misfit) = misfits.first() {
        return format!("{}: {}", misfit.what, misfit.advice);
    }
    let path = folder.path.display();
    let below = folder.folders().take(MOST_FOLDERS).find_map(|below| {
        let folder = Folder::look(folder.path.join(below)).ok()?;
        let fit = Fits::of(&folder).fits.into_iter().next()?;
        Some(format!(
            "; in {below} there is {}: {} new {name} {below}/",
            fit.what,
            typed_program()
        ))
    });
    format!(
        "found no app in {path}: no manage.py, no wsgi.py or app.py with an application, no *.cgi; say what it is by \
         --wsgi module:callable, --cgi, --scgi or --connect{}",
        below.unwrap_or_default()
    )
}

/// A path as the value of a key.
fn value(path: &Path) -> Result<String, Refused> {
    let text = path.to_str().and_then(config::as_text);
    text.ok_or_else(|| {
        let sentence = format!("{}: no app file can name this path", path.display());
        (Exit::Usage, sentence)
    })
}

/// Makes a file that is not there yet.
fn make(path: &Path, text: &str, mode: u32) -> Result<(), Refused> {
    let shown = path.display();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).map_err(|error| {
        let sentence = match error.kind() {
            io::ErrorKind::AlreadyExists => {
                format!("{shown} is there already, and stays as it is: give another NAME")
            }
            _ => format!("cannot make {shown}: {error}"),
        };
        (Exit::CantCreate, sentence)
    })?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.set_permissions(fs::Permissions::from_mode(mode)));
    written.map_err(|error| {
        // A part of it is worse than none.
        let _ = fs::remove_file(path);
        (Exit::IoError, format!("cannot write {shown}: {error}"))
    })
}

/// The path without `.` and `..`; symlinks in it stay, as in PWD: a release may be behind one.
fn absolute(path: &Path) -> PathBuf {
    let has_parents = path.components().any(|part| part == Component::ParentDir);
    let whole = working_directory().join(path);
    let whole = if has_parents {
        fs::canonicalize(&whole).unwrap_or(whole)
    } else {
        whole
    };
    whole
        .components()
        .filter(|part| *part != Component::CurDir)
        .collect()
}

fn working_directory() -> PathBuf {
    let identity = |path: &Path| {
        files::identity(path)
            .ok()
            .map(|found| (found.device, found.inode))
    };
    let typed = std::env::var_os("PWD").map(PathBuf::from);
    let is_here = |path: &PathBuf| {
        path.is_absolute()
            && identity(path).is_some_and(|found| Some(found) == identity(Path::new(".")))
    };
    typed
        .filter(is_here)
        .or_else(|| std::env::current_dir().ok())
        .unwrap_or_else(|| PathBuf::from("/"))
}

/// An app's name by that of its folder.
fn name_of(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| {
        if c.is_alphanumeric() || "-_".contains(c) {
            c
        } else {
            '-'
        }
    };
    let name: String = name.trim_start_matches('.').chars().map(plain).collect();
    if name.is_empty() {
        "app".to_owned()
    } else {
        name
    }
}

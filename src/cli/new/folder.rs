//! An app's folder, as `new` looks at it: which files it has, and their text. Nothing is run; a FIFO is not opened; a
//! large file or a large folder is read up to a limit.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::source::identifier;
use crate::naming;
use crate::sys::{named, process};

/// The most entries of a folder that are looked at.
const MOST_ENTRIES: usize = 2_000;
/// A larger file is not read.
const LONGEST_SOURCE: usize = 256 << 10;
/// Where people have a virtual environment.
const ENVIRONMENTS: [&str; 4] = [".venv", "venv", "env", "virtualenv"];

pub(super) struct Folder {
    /// Absolute.
    pub(super) path: PathBuf,
    /// Of its entries, sorted.
    names: Vec<String>,
}

/// A virtual environment, and whether its interpreter is there.
pub(super) struct Environment {
    pub(super) path: PathBuf,
    pub(super) is_whole: bool,
}

impl Folder {
    pub(super) fn look(path: PathBuf) -> io::Result<Folder> {
        let entries = fs::read_dir(&path)?.take(MOST_ENTRIES).flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(Folder { path, names })
    }

    pub(super) fn has(&self, relative: &str) -> bool {
        self.path.join(relative).is_file()
    }

    /// The text of a file in it.
    pub(super) fn text(&self, relative: &str) -> Option<String> {
        let bytes = named::read(&self.path.join(relative), LONGEST_SOURCE).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Python modules: names of files without `.py`.
    pub(super) fn modules(&self) -> impl Iterator<Item = &str> {
        let stems = self
            .names
            .iter()
            .filter_map(|name| name.strip_suffix(".py"));
        stems.filter(|stem| identifier(stem) == Some(stem))
    }

    /// Python packages: folders that can be imported.
    pub(super) fn packages(&self) -> impl Iterator<Item = &str> {
        let names = self.names.iter().map(String::as_str);
        let names = names.filter(|name| identifier(name) == Some(name));
        names.filter(|name| self.has(&format!("{name}/__init__.py")))
    }

    pub(super) fn folders(&self) -> impl Iterator<Item = &str> {
        let names = self.names.iter().map(String::as_str);
        names.filter(|name| !name.starts_with('.') && self.path.join(name).is_dir())
    }

    /// Files whose names end so.
    pub(super) fn files(&self, extension: &str) -> impl Iterator<Item = &str> {
        let names = self.names.iter().map(String::as_str);
        names.filter(move |name| name.ends_with(extension) && self.has(name))
    }

    /// Files whose names end so, and that the kernel could run: scripts and programs. No app files of ours.
    pub(super) fn programs(&self, extension: &str) -> impl Iterator<Item = &str> {
        let names = self.names.iter().map(String::as_str);
        names.filter(move |name| name.ends_with(extension) && self.is_program(name))
    }

    pub(super) fn can_execute(&self, name: &str) -> bool {
        process::can_execute(&self.path.join(name)).is_ok()
    }

    fn is_program(&self, name: &str) -> bool {
        let path = self.path.join(name);
        if !path.is_file() {
            return false;
        }
        match named::start(&path) {
            Ok(start) if start == *b"#!" => !self.text(name).is_some_and(|text| is_app_file(&text)),
            Ok(start) if start == *b"\x7fE" => !is_own_program(&path),
            _ => false,
        }
    }

    /// The first virtual environment in it.
    pub(super) fn environment(&self) -> Option<Environment> {
        let mut paths = ENVIRONMENTS.iter().map(|name| self.path.join(name));
        paths.find_map(|path| Environment::at(&path))
    }
}

impl Environment {
    pub(super) fn at(path: &Path) -> Option<Environment> {
        let is_one = path.join("pyvenv.cfg").is_file();
        is_one.then(|| Environment {
            path: path.to_path_buf(),
            is_whole: process::can_execute(&path.join("bin/python")).is_ok(),
        })
    }
}

fn is_app_file(text: &str) -> bool {
    let line = text.lines().next().unwrap_or_default();
    let program = line.trim_start_matches("#!").split_whitespace().next();
    let name = Path::new(program.unwrap_or_default()).file_name();
    name.is_some_and(|name| naming::is_own_name(name.as_encoded_bytes()))
}

fn is_own_program(path: &Path) -> bool {
    let [path, own] = [path, process::own_program()].map(fs::canonicalize);
    path.is_ok_and(|path| own.is_ok_and(|own| own == path))
}

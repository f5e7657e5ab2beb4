//! Why a file is no app, or its configuration can't be loaded: in sentences.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::config::BadConfig;
use crate::sys::is_shortage;

/// Why an app's configuration can't be loaded.
#[derive(Debug)]
pub enum LoadError {
    /// The file's name begins with `nph-`: then the script writes the whole HTTP response (RFC 3875 5), which we can't.
    Nph(PathBuf),
    /// It can't be read.
    Unreadable(PathBuf, io::Error),
    /// It has an error.
    Wrong(BadConfig),
}

impl LoadError {
    /// The host has no descriptor or memory to read it with.
    pub fn is_shortage(&self) -> bool {
        matches!(self, LoadError::Unreadable(_, error) if is_shortage(error))
    }

    /// One line, for a log.
    pub fn sentence(&self) -> String {
        match self {
            LoadError::Nph(path) => format!(
                "{}: the name of an app file can't begin with 'nph-'; rename it",
                path.display()
            ),
            LoadError::Unreadable(path, error) => {
                format!("cannot read {}: {error}", path.display())
            }
            LoadError::Wrong(bad) => bad.sentence(),
        }
    }
}

impl fmt::Display for LoadError {
    /// With the line and what is wrong in it underlined, for a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Wrong(bad) => bad.fmt(f),
            other => f.write_str(&other.sentence()),
        }
    }
}

/// Why a path or a NAME is no app.
#[derive(Debug)]
pub enum NotAnApp {
    /// It is polycgi itself, not an app file.
    Binary(PathBuf),
    /// A symlink or a NAME without a configuration file; the paths that were tried.
    NoConfig(PathBuf, Vec<PathBuf>),
    /// Neither a `#!` script nor a symlink to polycgi.
    NotOurs(PathBuf),
    /// It can't be read.
    Unreadable(PathBuf, io::Error),
}

impl fmt::Display for NotAnApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotAnApp::Binary(path) => write!(
                f,
                "{} is polycgi itself and not an app file: 'polycgi new' writes one. Under '#!/usr/bin/env polycgi' \
                 the kernel does not name the script: its first line must be '#!/usr/local/bin/polycgi -'",
                path.display()
            ),
            NotAnApp::NoConfig(path, tried) => {
                let tried: Vec<String> = tried.iter().map(|p| p.display().to_string()).collect();
                let (path, tried) = (path.display(), tried.join(" nor "));
                write!(f, "{path} has no configuration: there is no file {tried}")
            }
            NotAnApp::NotOurs(path) => {
                write!(
                    f,
                    "{} is neither a '#!' script nor a symlink to polycgi",
                    path.display()
                )
            }
            NotAnApp::Unreadable(path, error) => {
                write!(f, "cannot read {}: {error}", path.display())
            }
        }
    }
}

//! `check`: everything about an app file that can be wrong before a user meets it, and what to do about it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use argh::FromArgs;

use super::app_named;
use crate::app::{self, environment, wsgi::Interpreter};
use crate::app_file::AppFile;
use crate::config::{App, Config, Target};
use crate::place::Place;
use crate::report::{Exit, plain};

/// Examine an app file: its form, its interpreter, and whether the app can be imported.
#[derive(FromArgs)]
#[argh(subcommand, name = "check")]
pub(super) struct Check {
    /// the app file, or the NAME of NAME.conf
    #[argh(positional)]
    app: String,
}

impl Check {
    pub(super) fn run(self) -> Exit {
        let app = match app_named("check", &self.app) {
            Ok(app) => app,
            Err(exit) => return exit,
        };
        let config = match app.load() {
            Ok(config) => config,
            Err(bad) => {
                println!("{bad}");
                return Exit::Config;
            }
        };
        let mut found = Found::default();
        found.look_at_file(&app);
        say_what_waits(&config);
        found.look_at_place(&app, &config);
        found.look_at_page(&app, &config);
        match &config.app {
            App::Wsgi(target) => found.look_at_application(&app, &config, target),
            App::Commands {
                cgi: Some(command), ..
            } => found.look_at_command(&app, &config, command),
            App::Commands { cgi: None, .. } | App::Connect(_) => found.wrong(
                "this version serves 'wsgi' and 'cgi' apps only",
                "give the app a line 'wsgi' or 'cgi'",
            ),
        }
        if found.wrong == 0 {
            println!("{}: nothing wrong found", app.path.display());
            Exit::Ok
        } else {
            Exit::Config
        }
    }
}

/// Keys that this version reads and does not act on yet: no error, but nobody shall rely on them.
const WAITING: [&str; 8] = [
    "connect",
    "listen",
    "listen-allow",
    "mount",
    "scgi",
    "server-timing",
    "socket-group",
    "socket-mode",
];

fn say_what_waits(config: &Config) {
    let waits = |key: &&str| WAITING.contains(key);
    let keys: Vec<&str> = config.typed_keys().filter(waits).collect();
    if !keys.is_empty() {
        println!("not acted on by this version yet: {}", keys.join(", "));
    }
}

/// What was found wrong so far; each finding was printed.
#[derive(Default)]
struct Found {
    wrong: u32,
}

impl Found {
    fn wrong(&mut self, what: impl std::fmt::Display, advice: &str) {
        self.wrong += 1;
        println!("{what}");
        println!("  {advice}");
    }

    fn look_at_file(&mut self, app: &AppFile) {
        if app.path != app.config {
            return;
        }
        let path = app.path.display();
        let mode = std::fs::metadata(&app.path).map_or(0, |m| m.permissions().mode());
        let text = std::fs::read(&app.path).unwrap_or_default();
        let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
        if !line.starts_with(b"#!") {
            return;
        }
        if mode & 0o111 == 0 {
            self.wrong(
                format_args!("{path} can't be executed (mode {:o})", mode & 0o777),
                "chmod 755 it; 700 under suEXEC",
            );
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut words = line[2..]
            .split(|byte| byte.is_ascii_whitespace())
            .filter(|word| !word.is_empty());
        let program = std::path::Path::new(OsStr::from_bytes(words.next().unwrap_or_default()));
        let advice = "let its first line be: #!/usr/local/bin/polycgi -";
        if program.file_name() == Some(OsStr::new("env")) {
            self.wrong(
                format_args!(
                    "{path} is run by {}: the kernel then does not name the app file",
                    program.display()
                ),
                advice,
            );
        } else if !program.is_file() {
            self.wrong(
                format_args!(
                    "{path} is to be run by {}, which is not there",
                    program.display()
                ),
                advice,
            );
        }
    }

    fn look_at_place(&mut self, app: &AppFile, config: &Config) {
        match Place::open(app, config.runtime_dir.as_deref()) {
            Ok(place) => place.remove_if_empty(),
            Err(no) => self.wrong(
                no,
                "without a runtime directory the app runs as a plain CGI only, without a limit; see 'runtime-dir'",
            ),
        }
    }

    fn look_at_page(&mut self, app: &AppFile, config: &Config) {
        let Some(page) = &config.overload.page else {
            return;
        };
        let page = app::directory(app, config).join(page);
        if let Err(error) = std::fs::read_to_string(&page) {
            let what = format!("cannot read {}: {error}", page.display());
            self.wrong(
                plain(&what),
                "until then the built-in page is shown; see 'overload-page'",
            );
        }
    }

    fn look_at_command(&mut self, app: &AppFile, config: &Config, command: &[String]) {
        if let Err(cannot) = app::cgi::find(app, config, command, environment::DEFAULT_PATH) {
            self.wrong(
                plain(&cannot.to_string()),
                "'cgi' is a command that runs the app as a CGI",
            );
        }
    }

    fn look_at_application(&mut self, app: &AppFile, config: &Config, target: &Target) {
        let interpreter = match Interpreter::find(app, config) {
            Ok(interpreter) => interpreter,
            Err(cannot) => {
                return self.wrong(
                    plain(&cannot.to_string()),
                    "see 'env-file', and 'python': an interpreter, or the folder of a virtual environment",
                );
            }
        };
        let directory = app::directory(app, config);
        if !directory.is_dir() {
            return self.wrong(
                format_args!("{} is not a directory", directory.display()),
                "'directory' is where the app's modules are",
            );
        }
        let argv = app::wsgi::import_argv(&interpreter, target, &directory);
        let mut command = Command::new(&interpreter.path);
        command.args(
            argv[1..]
                .iter()
                .map(|word| OsStr::from_bytes(word.to_bytes())),
        );
        command.env_clear().current_dir(&directory);
        for variable in &interpreter.environ {
            let (name, value) = split(variable.to_bytes());
            command.env(OsStr::from_bytes(name), OsStr::from_bytes(value));
        }
        match command.output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr).into_owned();
                let (module, callable) = (&target.module, &target.callable);
                self.wrong(
                    format_args!(
                        "the app {module}:{callable} can't be imported from {}:\n{}",
                        directory.display(),
                        text.trim_end()
                    ),
                    "see 'wsgi', 'directory' and 'python'",
                );
            }
            Err(error) => self.wrong(
                format_args!("cannot run {}: {error}", interpreter.path.display()),
                "'python' names an interpreter, or the folder of a virtual environment",
            ),
        }
    }
}

fn split(variable: &[u8]) -> (&[u8], &[u8]) {
    let at = memchr::memchr(b'=', variable).unwrap_or(variable.len());
    (&variable[..at], variable.get(at + 1..).unwrap_or_default())
}

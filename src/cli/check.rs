//! `check`: what can be found wrong about an app before a client meets it, and what to do about it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use argh::FromArgs;

use super::{app_to_run, ask, python};
use crate::acting;
use crate::app::{self, environment, wsgi::Interpreter};
use crate::app_file::{AppFile, Named};
use crate::config::{self, Address, App, Config, Mode, Target};
use crate::listen;
use crate::place::Place;
use crate::printable;
use crate::report::{Exit, plain};
use crate::sys::{named, process};

/// Examine an app file: its form, its interpreter, and whether the app can be imported.
#[derive(FromArgs)]
#[argh(subcommand, name = "check")]
pub(super) struct CheckCommand {
    /// for root: the user whom the web server runs the app as
    #[argh(option, arg_name = "name")]
    user: Option<String>,

    /// the app file, or the NAME of NAME.conf
    #[argh(positional)]
    app: String,
}

impl CheckCommand {
    pub(super) fn run(self) -> Exit {
        let named = Named::new(OsStr::new(&self.app));
        let app = match app_to_run("check", &named, self.user.as_deref()) {
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
        let mut findings = Findings::default();
        findings.look_at_file(&app);
        findings.look_at_place(&app, &config);
        findings.look_at_page(&app, &config);
        findings.look_at_log(&app, &config);
        findings.look_at_permissions(&app, &config);
        findings.look_at_listen(&app, &config);
        match &config.app {
            App::Wsgi(target) => findings.look_at_application(&app, &config, target),
            App::Commands { cgi, scgi } => {
                let cgi = cgi.as_deref().map(|command| (command, "a CGI"));
                let scgi = scgi.as_deref().map(|command| (command, "an SCGI server"));
                for (command, what) in cgi.into_iter().chain(scgi) {
                    findings.look_at_command(&app, &config, command, what);
                }
            }
            App::Connect(address) => findings.look_at_server(address),
        }
        if findings.wrong == 0 {
            let path = app.path.display().to_string();
            println!("{}: nothing wrong found", printable::line(&path));
            Exit::Ok
        } else {
            Exit::Config
        }
    }
}

/// How many things are wrong; each was printed when it was found.
#[derive(Default)]
struct Findings {
    wrong: u32,
}

impl Findings {
    fn wrong(&mut self, what: impl std::fmt::Display, advice: &str) {
        self.wrong += 1;
        println!("{}", printable::lines(&what.to_string()));
        println!("  {}", printable::lines(advice));
    }

    fn look_at_file(&mut self, app: &AppFile) {
        if app.path != app.config {
            return;
        }
        let path = app.path.display();
        let mode = std::fs::metadata(&app.path).map_or(0, |m| m.permissions().mode());
        let text = named::read(&app.path, config::LONGEST_FILE).unwrap_or_default();
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
                    "{path} is to be run by {}, which does not exist",
                    program.display()
                ),
                advice,
            );
        }
    }

    fn look_at_place(&mut self, app: &AppFile, config: &Config) {
        // It only examines: a place is made by a request.
        let Err(no) = Place::examine(app, config.runtime_dir.as_deref()) else {
            return;
        };
        let without = match &config.app {
            App::Commands { cgi: None, .. } => "the app can't be served",
            App::Commands { .. } | App::Wsgi(_) => {
                "the app runs as a plain CGI only, without a limit"
            }
            App::Connect(_) => "the server is asked without a limit",
        };
        let user = acting::user_name(process::uid());
        let advice = format!(
            "without a runtime directory of {user}'s own, mode 0700, {without}; see 'runtime-dir'"
        );
        self.wrong(plain(&no.to_string()), &advice);
    }

    fn look_at_page(&mut self, app: &AppFile, config: &Config) {
        let Some(page) = app::overload_page(app, config) else {
            return;
        };
        if let Err(error) = app::read_page(&page) {
            let what = format!("cannot read {}: {error}", page.display());
            self.wrong(
                plain(&what),
                "until then the built-in page is shown; see 'overload-page'",
            );
        }
    }

    fn look_at_log(&mut self, app: &AppFile, config: &Config) {
        let Some(path) = app::log_file(app, config) else {
            return;
        };
        let shown = path.display();
        if named::standard_stream(&path).is_some() {
            self.wrong(
                format_args!(
                    "cannot log to {shown}: a daemon in the background has no such stream"
                ),
                "name a file; a daemon in the foreground logs to standard error without 'log-file'",
            );
        } else if let Err(error) = named::can_append(&path) {
            self.wrong(
                plain(&format!("cannot log to {shown}: {error}")),
                "until then the log is in the runtime directory; see 'log-file'",
            );
        }
    }

    fn look_at_permissions(&mut self, app: &AppFile, config: &Config) {
        for doubt in app::doubts::of(app, config) {
            self.wrong(&doubt, doubt.advice());
        }
    }

    /// While the app has a daemon, the addresses are the daemon's, and `status` shows those at which it can't listen.
    fn look_at_listen(&mut self, app: &AppFile, config: &Config) {
        let how = &config.listen;
        if !how.addresses.is_empty() && config.mode == Mode::Cgi {
            self.wrong(
                "with 'mode = cgi' no process listens at the addresses of 'listen'",
                "only a daemon listens: set 'mode = auto' or 'mode = daemon'",
            );
        }
        for user in &how.allow.users {
            if let Err(sentence) = listen::uid(user) {
                self.wrong(sentence, "name a user of this host, or the number of one");
            }
        }
        if let Err(sentence) = listen::group(how) {
            return self.wrong(sentence, "name a group of this host, or the number of one");
        }
        // A daemon that can't be reached has them too.
        if !matches!(ask::find(app), Ok(None)) {
            return;
        }
        for address in &how.addresses {
            if let Err(cannot) = listen::try_out(address, how) {
                self.wrong(
                    plain(&cannot.to_string()),
                    "see 'listen', 'socket-mode' and 'socket-group'",
                );
            }
        }
    }

    /// The command of `cgi` or `scgi`: looked for as when a web server runs us.
    fn look_at_command(&mut self, app: &AppFile, config: &Config, command: &[String], what: &str) {
        let found = app::cgi::find(app, config, command, environment::DEFAULT_PATH);
        if let Err(cannot) = found.and_then(|path| app::cgi::can_execute(&path)) {
            let advice = format!("it is to be a command that runs the app as {what}");
            self.wrong(plain(&cannot.to_string()), &advice);
        }
    }

    /// Connects and sends nothing: a request could change something.
    fn look_at_server(&mut self, address: &Address) {
        let reached = app::scgi::resolve(address)
            .map_err(|cannot| cannot.to_string())
            .and_then(|peer| {
                let cannot = |error| format!("cannot connect to {address}: {error}");
                app::scgi::connect(&peer).map_err(cannot)
            });
        if let Err(sentence) = reached {
            self.wrong(
                plain(&sentence),
                "'connect' is the address of an SCGI server that runs already; until it does, clients get a 503",
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
        let argv = app::wsgi::import_argv(app, &interpreter, target, &directory);
        match python::command(&interpreter, &argv, &directory).output() {
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

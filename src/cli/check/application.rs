//! A WSGI application: whether it can be imported, in time; whether it is one; and what keeps it from being preloaded.

use std::path::Path;
use std::time::Duration;

use super::finding::{Finding, Findings, Severity};
use super::interpreter;
use super::kind::FindingKind;
use super::subject::CheckSubject;
use super::trial::{self, Trial};
use crate::app::CannotRun;
use crate::app::wsgi::{self, Interpreter};
use crate::config::{Mode, Target};
use crate::sys::process::End;
use crate::sys::program::Program;

/// Imports it; what runs it, if that could be found out.
pub(super) fn look(
    subject: &CheckSubject<'_>,
    target: &Target,
    findings: &mut Findings,
) -> Option<String> {
    let interpreter = interpreter::look(subject, findings)?;
    if subject.user.is_other() {
        return None;
    }
    let directory = &subject.directory;
    let argv = wsgi::trial_argv(subject.app, &interpreter, target, directory);
    let program = Program {
        path: &interpreter.path,
        argv: &argv,
        environ: &interpreter.environ,
        directory: Some(directory),
    };
    let trial = match trial::run(&program, subject.config.timeouts.start) {
        Ok(trial) => trial,
        Err(not) => {
            let cannot = CannotRun::not_started(&interpreter.path, directory, not);
            findings.add(subject.blame(FindingKind::Python, "python", &cannot.to_string()));
            return None;
        }
    };
    let version = trial
        .fact("python")
        .and_then(|fact| fact.split(' ').next())
        .map(str::to_owned);
    match &version {
        Some(version) => {
            interpreter::look_at_version(subject, &interpreter, version, findings);
            findings.add(interpreter::note(&interpreter, version));
        }
        None if trial.end.is_some() => {
            findings.add(no_python(subject, &interpreter, &trial));
            return None;
        }
        None => {}
    }
    judge(subject, target, &trial, findings);
    Some(interpreter::summary(&interpreter, &version?))
}

/// It has not even run the adaptor.
fn no_python(subject: &CheckSubject<'_>, interpreter: &Interpreter, trial: &Trial) -> Finding {
    let text = trial.stderr.trim_end();
    let end = trial.end.map_or(String::new(), |end| end.to_string());
    let message = format!(
        "{} does not run the adaptor ({end}): {}",
        interpreter.path.display(),
        text.lines().last().unwrap_or("it says nothing")
    );
    subject
        .blame(FindingKind::Python, "python", &message)
        .advise("'python' has to be Python 3.8 or later")
}

fn judge(subject: &CheckSubject<'_>, target: &Target, trial: &Trial, findings: &mut Findings) {
    let name = format!("{}:{}", target.module, target.callable);
    if trial.end.is_none() {
        return findings.add(endless(subject, &name, trial));
    }
    if trial.fact("imported").is_none() {
        return findings.add(not_imported(subject, target, &name, trial));
    }
    match trial
        .fact("kind")
        .map(|kind| kind.split_once(' ').unwrap_or((kind, "")))
    {
        Some(("asgi", _)) => findings.add(asgi(subject, target, &name)),
        Some(("factory", _)) => findings.add(factory(subject, target, &name)),
        Some(("arguments", count)) => {
            let message = format!(
                "{name} is called with {count} arguments, and a WSGI application with two: environ and start_response"
            );
            findings.add(
                subject
                    .blame(FindingKind::NotWsgi, "wsgi", &message)
                    .advise("'wsgi' names what PEP 3333 calls the application"),
            );
        }
        Some(("object", kind)) => {
            let message = format!("{name} is not callable: it is of type {kind}");
            findings.add(
                subject
                    .blame(FindingKind::NotWsgi, "wsgi", &message)
                    .advise("'wsgi' names what PEP 3333 calls the application"),
            );
        }
        _ => {}
    }
    if let Some(reason) = trial.fact("unsafe")
        && subject.config.pool.preload
        && subject.config.mode != Mode::Cgi
    {
        let message = format!("{reason}, so each worker of the daemon imports the app for itself");
        findings.add(
            subject
                .find(Severity::Warning, FindingKind::Preload, "wsgi", &message)
                .advise(
                    "start threads and open connections at the first request; or 'preload = off' says that it is meant so",
                ),
        );
    }
}

fn asgi(subject: &CheckSubject<'_>, target: &Target, name: &str) -> Finding {
    let Target { module, callable } = target;
    let message = format!("{name} is an ASGI application, and 'wsgi' runs WSGI applications");
    let advice = if callable.ends_with("get_asgi_application") {
        "Django has a WSGI application as well: wsgi = PROJECT.wsgi:application".to_owned()
    } else {
        let top = top(callable);
        format!(
            "install a2wsgi and write a file {}/wsgi.py for 'wsgi = wsgi:application':\n    from a2wsgi import ASGIMiddleware\n    from {module} import {top}\n    application = ASGIMiddleware({callable})",
            subject.directory.display()
        )
    };
    subject
        .blame(FindingKind::Asgi, "wsgi", &message)
        .advise(advice)
}

fn factory(subject: &CheckSubject<'_>, target: &Target, name: &str) -> Finding {
    let Target { module, callable } = target;
    let message = format!(
        "{name} makes an application when it is called without arguments, and is none itself"
    );
    let top = top(callable);
    subject.blame(FindingKind::Factory, "wsgi", &message).advise(format!(
        "write a file {}/wsgi.py for 'wsgi = wsgi:application':\n    from {module} import {top}\n    application = {callable}()",
        subject.directory.display()
    ))
}

/// What is imported for a dotted name.
fn top(callable: &str) -> &str {
    callable.split('.').next().unwrap_or(callable)
}

fn not_imported(subject: &CheckSubject<'_>, target: &Target, name: &str, trial: &Trial) -> Finding {
    let directory = subject.directory.display();
    let mut message = format!("the app {name} can't be imported from {directory}");
    let text = trial.stderr.trim_end();
    if trial.fact("failed").is_none()
        && let Some(end) = trial.end
    {
        let how = match end {
            End::Exited(_) => format!("it ended the process ({end})"),
            End::Killed(_) => format!("the process was killed ({end})"),
        };
        message = format!("{message}: {how}");
    }
    let mut finding = if text.is_empty() {
        subject.blame(FindingKind::Import, "wsgi", &message)
    } else {
        let blamed = subject.blame(FindingKind::Import, "wsgi", &format!("{message}:"));
        blamed.quote(text)
    };
    if let Some((line, path)) = trial.fact("line").and_then(|line| line.split_once(' '))
        && let Ok(line) = line.parse()
    {
        finding = finding.at_line(Path::new(path), line, None);
    }
    finding.advise(advice(subject, target, trial))
}

fn advice(subject: &CheckSubject<'_>, target: &Target, trial: &Trial) -> String {
    let general = "see 'wsgi', 'directory' and 'python'";
    if let Some(names) = trial.fact("has").filter(|names| !names.is_empty()) {
        let names: Vec<String> = names
            .split(' ')
            .map(|name| format!("wsgi = {}:{name}", target.module))
            .collect();
        return format!(
            "{} has what may be meant: {}",
            target.module,
            names.join(", ")
        );
    }
    let Some(missing) = trial.fact("missing") else {
        return general.to_owned();
    };
    let own = target.module.split('.').next().unwrap_or_default();
    if missing == own {
        return format!(
            "'directory' is the folder in which {own}.py or the package {own} is; now it is {}",
            subject.directory.display()
        );
    }
    match interpreter::unused_environment(subject) {
        Some(folder) => {
            format!("there is a virtual environment, which is not used: python = {folder}")
        }
        None => format!("{general}: install {missing} for that interpreter, or name another"),
    }
}

fn endless(subject: &CheckSubject<'_>, name: &str, trial: &Trial) -> Finding {
    let seconds = |time: Duration| (time.as_millis() as f64 / 1000.0).round();
    let what = match trial.fact("bound") {
        Some(address) => format!(
            "the import of {name} starts a server at {address} and does not return: it was ended after {} s",
            seconds(trial.time)
        ),
        None => format!(
            "the import of {name} was not over after {} s, and was ended",
            seconds(trial.time)
        ),
    };
    let advice = if trial.fact("bound").is_some() {
        "put what runs the server below: if __name__ == '__main__':"
    } else {
        "an app has to be imported within 'start-timeout'; what takes long belongs into a request, or into a process of its own"
    };
    let finding = match stack_line(&trial.stderr, &subject.directory) {
        Some((path, line)) => {
            let what = format!("{what}; it was in line {line} of {path}");
            let finding = subject.blame(FindingKind::ImportTime, "wsgi", &what);
            finding.at_line(Path::new(path), line, None)
        }
        None => subject.blame(FindingKind::ImportTime, "wsgi", &what),
    };
    finding.advise(advice)
}

/// The line of the app at which it hangs, of the stack that faulthandler has written: the innermost of the app's own
/// folder, or else the innermost that is a file's.
fn stack_line<'a>(text: &'a str, directory: &Path) -> Option<(&'a str, usize)> {
    let at = text.rfind("(most recent call first):")?;
    let frames: Vec<(&str, usize)> = text[at..]
        .lines()
        .filter_map(|line| {
            let (path, rest) = line
                .trim()
                .strip_prefix("File \"")?
                .split_once("\", line ")?;
            let number = rest.split(' ').next()?.parse().ok()?;
            (path.starts_with('/')).then_some((path, number))
        })
        .collect();
    let is_own =
        |path: &str| Path::new(path).starts_with(directory) && !path.contains("/site-packages/");
    let own = frames.iter().find(|(path, _)| is_own(path));
    own.or(frames.first()).copied()
}

//! The commands of `cgi` and `scgi`, which are looked for and not run, and the server of `connect`.

use std::path::Path;

use super::finding::Findings;
use super::kind::FindingKind;
use super::subject::CheckSubject;
use crate::app::{self, environment, way};
use crate::config::Address;
use crate::report::plain;

/// Looks for a command of the key `key`, which is to run the app as `what`; its program.
pub(super) fn look(
    subject: &CheckSubject<'_>,
    key: &'static str,
    command: &[String],
    what: &str,
    findings: &mut Findings,
) -> Option<String> {
    let advice = format!("it is to be a command that runs the app as {what}");
    let found = app::cgi::find(
        subject.app,
        subject.config,
        command,
        environment::DEFAULT_PATH,
    );
    let path = match found {
        Ok(path) => path,
        Err(cannot) => {
            findings.add(
                subject
                    .blame(FindingKind::Command, key, &plain(&cannot.to_string()))
                    .advise(advice),
            );
            return None;
        }
    };
    let why = match subject.walk(&path) {
        Err(why) => Some(why),
        Ok(end) => way::not_executed(&subject.user.walker, &end, &subject.user.name),
    };
    if let Some(why) = why {
        let message = format!("cannot run {}: {why}", path.display());
        findings.add(
            subject
                .blame(FindingKind::Command, key, &message)
                .advise(advice),
        );
        return None;
    }
    if key == "cgi" {
        look_for_php(subject, command, findings);
    }
    Some(path.display().to_string())
}

/// php-cgi runs the file of SCRIPT_FILENAME, and never what its command line names. For a web server that is the app
/// file, which has no PHP: it prints it.
fn look_for_php(subject: &CheckSubject<'_>, command: &[String], findings: &mut Findings) {
    const VARIABLE: &str = "SCRIPT_FILENAME";
    let sets = |word: &String| {
        word.strip_prefix(VARIABLE)
            .is_some_and(|rest| rest.starts_with('='))
    };
    let is_set = subject.config.env.iter().any(|(name, _)| name == VARIABLE)
        || environment::of_app(subject.app, subject.config)
            .is_ok_and(|all| all.iter().any(|(name, _)| name == VARIABLE.as_bytes()))
        || command.iter().any(sets);
    let Some(php) = command.iter().find(|word| is_php(word)) else {
        return;
    };
    if is_set {
        return;
    }
    let message = format!(
        "{php} runs the file that SCRIPT_FILENAME names, which is the app file: a visitor would be shown its text"
    );
    let script = command.iter().find(|word| word.ends_with(".php"));
    let script = script.map_or("/path/of/index.php".to_owned(), |script| {
        subject.directory.join(script).display().to_string()
    });
    findings.add(subject.blame(FindingKind::PhpCgi, "cgi", &message).advise(format!(
        "env.SCRIPT_FILENAME = {script}, the same for env.PATH_TRANSLATED, and env.REDIRECT_STATUS = 200: 'polycgi new \
         --example php' writes such an app file"
    )));
}

/// `php-cgi`, `php-cgi8.2`, `/usr/bin/php8.2-cgi`.
fn is_php(word: &str) -> bool {
    let name = Path::new(word).file_name().unwrap_or_default();
    let name = name.to_string_lossy();
    let rest: String = name
        .chars()
        .filter(|c| !c.is_ascii_digit() && *c != '.')
        .collect();
    rest == "php-cgi"
}

/// Connects and sends nothing: a request could change something.
pub(super) fn look_at_server(
    subject: &CheckSubject<'_>,
    address: &Address,
    findings: &mut Findings,
) {
    let reached = app::scgi::resolve(address)
        .map_err(|cannot| cannot.to_string())
        .and_then(|peer| {
            let cannot = |error| format!("cannot connect to {address}: {error}");
            app::scgi::connect(&peer).map_err(cannot)
        });
    if let Err(sentence) = reached {
        findings.add(subject.blame(FindingKind::Connect, "connect", &sentence).advise(
            "'connect' is the address of an SCGI server that runs already; until it does, clients get a 503",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn php_by_its_names() {
        for name in ["php-cgi", "/usr/bin/php-cgi8.2", "php8.2-cgi"] {
            assert!(is_php(name), "{name}");
        }
        for name in ["php", "my-php-cgi.sh", "/php-cgi/x"] {
            assert!(!is_php(name), "{name}");
        }
    }
}

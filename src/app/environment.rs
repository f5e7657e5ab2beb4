//! The environment that an app starts with: the host's variables and the operator's. Knows nothing of a request.

use std::ffi::CString;

use super::{CannotRun, env_file};
use crate::app_file::AppFile;
use crate::config::{self, Config};
use crate::sys::{environ, named, process};

/// PATH, if the web server sets none.
pub const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

/// A name and its value.
pub type Variable = (Vec<u8>, Vec<u8>);

/// The variables of the host that an app or a daemon may see; never GATEWAY_INTERFACE or any meta-variable.
pub fn of_host() -> impl Iterator<Item = Variable> {
    let kept = environ::pairs()
        .filter(|(name, _)| is_of_host(name))
        .map(|(name, value)| (name.to_vec(), value.to_vec()));
    let path = environ::value("PATH")
        .is_none()
        .then(|| (b"PATH".to_vec(), DEFAULT_PATH.to_vec()));
    kept.chain(path)
}

/// The environment that a daemon starts with.
pub fn for_daemon() -> Vec<CString> {
    to_c_strings(&of_host().collect::<Vec<_>>())
}

/// The clean environment of an app: the host's, and over it `env-file` and `env.NAME`.
pub fn of_app(app: &AppFile, config: &Config) -> Result<Vec<Variable>, CannotRun> {
    let mut variables: Vec<Variable> = of_host().collect();
    add(app, config, &mut variables)?;
    Ok(variables)
}

/// Sets the operator's variables; they replace those of the same name.
pub fn add(app: &AppFile, config: &Config, variables: &mut Vec<Variable>) -> Result<(), CannotRun> {
    let mut set = |name: &[u8], value: &[u8]| {
        variables.retain(|(known, _)| known != name);
        variables.push((name.to_vec(), value.to_vec()));
    };
    if let Some(path) = &env_file(app, config) {
        let text = named::read(path, config::LONGEST_FILE)
            .map_err(|error| CannotRun::new("read", path, error))?;
        let parsed = config::env_file(&path.to_string_lossy(), &text);
        for (name, value) in parsed
            .map_err(|bad| CannotRun::new("use", path, std::io::Error::other(bad.sentence())))?
        {
            set(name.as_bytes(), value.as_bytes());
        }
    }
    for (name, value) in &config.env {
        set(name.as_bytes(), value.as_bytes());
    }
    Ok(())
}

/// As execve(2) takes them.
pub fn to_c_strings(variables: &[Variable]) -> Vec<CString> {
    variables
        .iter()
        .map(|(name, value)| process::c_string(&[name, &b"="[..], value].concat()))
        .collect()
}

/// The PATH among variables.
pub fn search_path(variables: &[Variable]) -> &[u8] {
    variables
        .iter()
        .find(|(name, _)| name == b"PATH")
        .map_or(DEFAULT_PATH, |(_, value)| value)
}

fn is_of_host(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 6] = [
        b"HOME",
        b"LANG",
        b"LD_LIBRARY_PATH",
        b"PATH",
        b"TMPDIR",
        b"TZ",
    ];
    NAMES.contains(&name) || name.starts_with(b"LC_") || name.starts_with(b"PYTHON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_variables_are_not_the_host_s() {
        for name in ["PATH", "LC_ALL", "PYTHONPATH", "TZ"] {
            assert!(is_of_host(name.as_bytes()), "{name}");
        }
        for name in [
            "GATEWAY_INTERFACE",
            "HTTP_PROXY",
            "PATH_INFO",
            "QUERY_STRING",
            "PATHX",
        ] {
            assert!(!is_of_host(name.as_bytes()), "{name}");
        }
    }
}

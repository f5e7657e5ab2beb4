//! Values that name something: a Python object, a program, a path, a cookie. It does not look whether that exists.

use std::path::PathBuf;

use super::bad_value::{BadValue, Misread};
use super::words;

/// The app's path in the site, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount(String);

impl Mount {
    /// SCRIPT_NAME: begins with `/` and does not end in one; empty for `mount = /`.
    pub fn script_name(&self) -> &str {
        &self.0
    }
}

/// A WSGI application: what to import and what to call. Both are dotted Python names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As in an `import` statement.
    pub module: String,
    /// A name in the module, or an attribute of one.
    pub callable: String,
}

/// A Python interpreter, or the folder of a virtual environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Python {
    /// A path, since there is a `/` in it: of an interpreter or of such a folder. If relative, to `directory`.
    At(PathBuf),
    /// A program's name, to be found in PATH.
    InPath(String),
}

/// A cookie's name: a token of RFC 9110 5.6.2.
pub(super) fn cookie_name(value: &str) -> Result<String, BadValue> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if value.bytes().all(token) {
        Ok(value.to_owned())
    } else {
        Err(BadValue::NotACookieName)
    }
}

/// A group's name or number; never with a character that group(5) can't hold.
pub(super) fn group(value: &str) -> Result<String, BadValue> {
    if value.contains([':', ',', '/', ' ', '\t']) {
        Err(BadValue::NotAGroup)
    } else {
        Ok(value.to_owned())
    }
}

pub(super) fn target(value: &str) -> Result<Target, BadValue> {
    let (module, callable) = value.split_once(':').unwrap_or((value, ""));
    if module.contains('/') || module.ends_with(".py") {
        return Err(BadValue::TargetIsAFile);
    }
    if callable.is_empty() && dotted(module) {
        return Err(BadValue::NoCallable);
    }
    if !dotted(module) || !dotted(callable) {
        return Err(BadValue::NotATarget);
    }
    Ok(Target {
        module: module.to_owned(),
        callable: callable.to_owned(),
    })
}

pub(super) fn mount(value: &str) -> Result<Mount, Misread> {
    let path = words::text(value)?;
    if !path.starts_with('/') {
        return Err(BadValue::NotAMount.into());
    }
    Ok(Mount(path.trim_end_matches('/').to_owned()))
}

/// A path below the app's own address, decoded: PATH_INFO. Not the address itself, which is the app's.
pub(super) fn site_path(value: &str) -> Result<String, Misread> {
    let path = words::text(value)?;
    match path.strip_prefix('/') {
        Some(below) if !below.is_empty() => Ok(path),
        _ => Err(BadValue::NotASitePath.into()),
    }
}

pub(super) fn python(value: &str) -> Result<Python, Misread> {
    let path = path(value)?;
    let word = path
        .to_str()
        .filter(|word| !word.contains('/'))
        .map(str::to_owned);
    Ok(word.map_or(Python::At(path), Python::InPath))
}

pub(super) fn command(value: &str) -> Result<Vec<String>, Misread> {
    let words = words::split(value)?;
    match words.first() {
        Some(program) if program.text.starts_with("~/") => Err(Misread {
            what: BadValue::Tilde,
            at: Some(program.at.clone()),
        }),
        Some(program) if !program.text.is_empty() => {
            Ok(words.into_iter().map(|word| word.text).collect())
        }
        _ => Err(BadValue::NoProgram.into()),
    }
}

pub(super) fn path(value: &str) -> Result<PathBuf, Misread> {
    let path = words::text(value)?;
    match path.as_str() {
        "" => Err(BadValue::Empty.into()),
        "~" => Err(BadValue::Tilde.into()),
        tilde if tilde.starts_with("~/") => Err(BadValue::Tilde.into()),
        _ => Ok(path.into()),
    }
}

/// Patterns of paths, as a shell writes them; or `none`.
pub(super) fn patterns(value: &str) -> Result<Vec<String>, Misread> {
    let words = words::split(value)?;
    let bad = words.iter().find_map(|word| match word.text.as_str() {
        "" => Some((BadValue::Empty, word)),
        text if text.starts_with("~/") => Some((BadValue::Tilde, word)),
        _ => None,
    });
    if let Some((what, word)) = bad {
        let at = Some(word.at.clone());
        return Err(Misread { what, at });
    }
    match &words[..] {
        [] => Err(BadValue::Empty.into()),
        [none] if none.text == "none" => Ok(Vec::new()),
        _ => Ok(words.into_iter().map(|word| word.text).collect()),
    }
}

/// A file. Other servers take `| command` too.
pub(super) fn log_file(value: &str) -> Result<PathBuf, Misread> {
    if value.starts_with('|') {
        return Err(BadValue::LogIsACommand.into());
    }
    path(value)
}

/// An absolute path: processes with different working directories use it.
pub(super) fn absolute_path(value: &str) -> Result<PathBuf, Misread> {
    let path = path(value)?;
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(BadValue::NotAbsolute.into())
    }
}

/// Python identifiers with dots between. Which characters are letters is left to Python.
fn dotted(name: &str) -> bool {
    name.split('.').all(|part| {
        let letter = |c: char| c == '_' || c.is_alphanumeric();
        part.chars().all(letter)
            && part
                .chars()
                .next()
                .is_some_and(|first| !first.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let target = |value| super::target(value).map(|target| (target.module, target.callable));
        let pair = |module: &str, callable: &str| Ok((module.to_owned(), callable.to_owned()));
        assert_eq!(target("wiki:app"), pair("wiki", "app"));
        assert_eq!(
            target("site.wsgi:main.application"),
            pair("site.wsgi", "main.application")
        );
        assert_eq!(target("größe:_app1"), pair("größe", "_app1"));
        for value in ["wiki", "site.main", "wiki:"] {
            assert_eq!(target(value), Err(BadValue::NoCallable), "{value}");
        }
        for value in ["wiki.py:app", "wiki.py", "/srv/wiki.wsgi", "site/main:app"] {
            assert_eq!(target(value), Err(BadValue::TargetIsAFile), "{value}");
        }
        for value in [
            ":app", "a..b:c", "a:b:c", "a:b()", "1a:b", "a b:c", "a:b c", "a-b:c", ".a:b",
        ] {
            assert_eq!(target(value), Err(BadValue::NotATarget), "{value}");
        }
    }

    #[test]
    fn names_and_paths() {
        assert_eq!(cookie_name("sessionid"), Ok("sessionid".to_owned()));
        assert_eq!(cookie_name("a=b"), Err(BadValue::NotACookieName));
        assert_eq!(group("www-data"), Ok("www-data".to_owned()));
        assert_eq!(group("a b"), Err(BadValue::NotAGroup));
        let mount = |value| {
            super::mount(value)
                .map(|mount| mount.0)
                .map_err(|bad| bad.what)
        };
        assert_eq!(mount("/wiki"), Ok("/wiki".to_owned()));
        assert_eq!(mount("/wiki/"), Ok("/wiki".to_owned()));
        assert_eq!(mount("/"), Ok(String::new()));
        assert_eq!(mount("wiki"), Err(BadValue::NotAMount));
        assert_eq!(
            python("python3.12"),
            Ok(Python::InPath("python3.12".to_owned()))
        );
        assert_eq!(
            python("/srv/my venv"),
            Ok(Python::At("/srv/my venv".into()))
        );
        assert_eq!(python("./venv"), Ok(Python::At("./venv".into())));
        assert_eq!(path("~/wiki"), Err(BadValue::Tilde.into()));
        assert_eq!(path("''"), Err(BadValue::Empty.into()));
        assert_eq!(absolute_path("var"), Err(BadValue::NotAbsolute.into()));
        assert_eq!(
            command("'/srv/my app' -x"),
            Ok(vec!["/srv/my app".to_owned(), "-x".to_owned()])
        );
        assert_eq!(command("''"), Err(BadValue::NoProgram.into()));
        assert_eq!(
            command("~/bin/x y"),
            Err(Misread {
                what: BadValue::Tilde,
                at: Some(0..7)
            })
        );
    }
}

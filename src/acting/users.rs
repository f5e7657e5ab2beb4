//! The users of the host: their names and accounts, and how root's process becomes one of them. It knows /etc/passwd
//! and no app.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::app::environment;
use crate::report::Exit;
use crate::sys::accounts::{self, Account};
use crate::sys::{environ, process};

/// The names of web servers' accounts.
const WEB_SERVERS: [&str; 11] = [
    "www-data", "apache", "apache2", "http", "httpd", "nginx", "lighttpd", "wwwrun", "www",
    "caddy", "lsadm",
];

/// A group that owns nothing, for a uid that is not in /etc/passwd, and so has no known group.
const NO_GROUP: u32 = 65_534;

/// Why a command can't be carried out, and its exit code.
pub type CommandError = (Exit, String);

/// Makes this process the user's, with the environment of a log-in as far as apps need it, and without root's.
pub(super) fn become_user(uid: u32, account: Option<&Account>) -> io::Result<()> {
    match account {
        Some(account) => accounts::become_user(account)?,
        None => accounts::become_number(uid, NO_GROUP)?,
    }
    let kept = environ::pairs().filter(|(name, _)| is_kept(name));
    let mut variables: Vec<CString> = kept
        .map(|(name, value)| process::c_string(&[name, b"=", value].concat()))
        .collect();
    let name = account.map_or_else(|| uid.to_string(), |account| account.name.clone());
    let home = account.map_or(Path::new("/"), |account| &account.home);
    let set = [
        ("HOME", home.as_os_str()),
        ("LOGNAME", OsStr::new(&name)),
        ("PATH", OsStr::from_bytes(environment::DEFAULT_PATH)),
        ("USER", OsStr::new(&name)),
    ];
    for (name, value) in set {
        let variable = [name.as_bytes(), b"=", value.as_bytes()].concat();
        variables.push(process::c_string(&variable));
    }
    environ::replace(variables);
    Ok(())
}

fn is_kept(name: &[u8]) -> bool {
    [&b"LANG"[..], b"TERM", b"TZ"].contains(&name) || name.starts_with(b"LC_")
}

pub(super) fn web_servers(table: &[Account]) -> impl Iterator<Item = u32> {
    let is_one = |account: &&Account| WEB_SERVERS.contains(&&*account.name) && account.uid != 0;
    table.iter().filter(is_one).map(|account| account.uid)
}

pub(super) fn table() -> Result<Vec<Account>, CommandError> {
    accounts::all().map_err(|error| (Exit::OsError, format!("cannot read /etc/passwd: {error}")))
}

pub(super) fn find(uid: u32, table: &[Account]) -> Option<&Account> {
    table.iter().find(|account| account.uid == uid)
}

/// Whether /etc/passwd has the user.
pub fn is_named(uid: u32) -> bool {
    table().is_ok_and(|table| find(uid, &table).is_some())
}

/// Whether the user is root or has the account of a web server.
pub fn is_of_host(uid: u32) -> bool {
    uid == 0 || table().is_ok_and(|table| web_servers(&table).any(|server| server == uid))
}

/// The user's name, or the number if there is no name.
pub fn user_name(uid: u32) -> String {
    accounts::name(uid)
}

pub(super) fn name(uid: u32, table: &[Account]) -> String {
    find(uid, table).map_or_else(|| uid.to_string(), |account| account.name.clone())
}

pub(super) fn known(uid: u32, table: &[Account]) -> Result<Account, CommandError> {
    find(uid, table).cloned().ok_or_else(|| {
        let sentence = format!(
            "cannot become user {uid}: /etc/passwd has no such user, so its groups are not known; use sudo(8)"
        );
        (Exit::NoPermission, sentence)
    })
}

/// The account with this name or number.
pub(super) fn account(word: &str) -> Result<Account, CommandError> {
    let table = table()?;
    if let Some(account) = table.iter().find(|account| account.name == word) {
        return Ok(account.clone());
    }
    match word.parse() {
        Ok(uid) => known(uid, &table),
        Err(_) => {
            let sentence = format!("there is no user {word} in /etc/passwd");
            Err((Exit::NoPermission, sentence))
        }
    }
}

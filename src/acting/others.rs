//! Another user's daemon of an app, as far as a user sees it who is not root: by the names of listening sockets, which
//! the kernel shows to every user. It is a hint for a person and no proof: nothing is sent there. A place without a
//! daemon can't be seen, as its directory is for its owner only.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::users::{CommandError, name, table};
use super::whose::{Evidence, Subject, candidates, evidence};
use crate::app_file::{AppFile, Named};
use crate::naming;
use crate::place;
use crate::printable;
use crate::report::Exit;
use crate::sys::process;

/// The flag of a listening socket in /proc/net/unix (__SO_ACCEPTCON).
const LISTENS: u32 = 0x10000;

/// An error that says whose the app is and how to ask, if this user has no daemon of the app, and one of those who may
/// be the app's has.
pub fn refuse_other(named: &Named, command: &str) -> Result<(), CommandError> {
    let own = process::uid();
    let (Ok(app), Ok(table)) = (AppFile::of(named), table()) else {
        return Ok(());
    };
    let socket = [app.id.as_slice(), b"/", naming::SOCKET].concat();
    let listening = listening();
    let mut sockets = listening.iter().filter(|path| {
        let path = path.as_os_str().as_bytes();
        path.starts_with(b"/") && naming::of_app(path) == socket
    });
    let may_be = candidates(&Subject::of(named), &table);
    let other = sockets.find_map(|socket| {
        let base = socket.parent()?.parent()?;
        place::owner_of(base).filter(|uid| *uid != own && may_be.contains(uid))
    });
    let Some(other) = other else { return Ok(()) };
    if evidence(named, own) == Evidence::Daemon {
        return Ok(());
    }
    let (other, own) = (name(other, &table), name(own, &table));
    let named = printable::line(&named.to_string());
    let sentence = format!(
        "{named} is served by a daemon of {other}: ask by 'sudo -u {other} polycgi {command} {named}', or say --user \
         {own} to act on what is yours"
    );
    Err((Exit::NoPermission, sentence))
}

/// The users, other than this process's, who may be the app's and have a runtime directory: whether a place of the app
/// is in it can't be seen.
pub fn hidden_owners(named: &Named) -> Vec<String> {
    let Ok(table) = table() else {
        return Vec::new();
    };
    let mut others = candidates(&Subject::of(named), &table);
    others.retain(|&uid| uid != process::uid() && place::has_base(uid));
    others.into_iter().map(|uid| name(uid, &table)).collect()
}

/// The paths of listening Unix sockets, by /proc/net/unix: `Num RefCount Protocol Flags Type St Inode Path`.
fn listening() -> Vec<std::path::PathBuf> {
    let table = fs::read("/proc/net/unix").unwrap_or_default();
    let lines = table.split(|&byte| byte == b'\n');
    let paths = lines.filter_map(|line| {
        let mut words = line.split(|&byte| byte == b' ');
        let flags = std::str::from_utf8(words.nth(3)?).ok()?;
        let listens = u32::from_str_radix(flags, 16).ok()? & LISTENS != 0;
        let start = memchr::memchr(b'/', line)?;
        listens.then(|| Path::new(std::ffi::OsStr::from_bytes(&line[start..])).to_path_buf())
    });
    paths.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_listening_socket_is_seen_by_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a b");
        assert!(!listening().contains(&path));
        let listener = UnixListener::bind(&path).unwrap();
        assert!(listening().contains(&path));
        drop(listener);
        assert!(!listening().contains(&path));
    }
}

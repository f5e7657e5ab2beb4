//! Listens at the addresses of `listen`. It looks first at what is there, and gives a socket's file its mode and group.
//! It accepts no connection and knows no client.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use crate::config::{Address, Listen, User};
use crate::sys::listen::{self, Name};
use crate::sys::{Errno, accounts, fdpass, files, is, process, socket};

/// Why we can't listen at an address.
#[derive(Debug)]
pub struct CannotListen {
    address: Address,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Group(String),
    /// Another process listens there; its pid, if that is known.
    Live(Option<i32>),
    NotASocket,
    /// What could not be done, and why.
    System(&'static str, io::Error),
}

impl fmt::Display for CannotListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: ", self.address)?;
        match &self.cause {
            Cause::Live(None) => f.write_str("another process listens there"),
            Cause::Live(Some(pid)) => write!(f, "another process listens there, pid {pid}"),
            Cause::Group(sentence) => f.write_str(sentence),
            Cause::NotASocket => f.write_str("there is a file that is not a socket"),
            Cause::System(deed, error) => write!(f, "cannot {deed}: {error}"),
        }
    }
}

/// Binds and listens at one address: one socket, or two for `localhost`.
///
/// A socket's file at which no process listens any longer is replaced. If two processes did this at once, one could
/// remove what the other has just bound, so callers hold the lock on the app's name.
pub fn listen(address: &Address, how: &Listen, backlog: i32) -> Result<Vec<OwnedFd>, CannotListen> {
    let bound = match address {
        Address::Path(path) => at_path(path, how, backlog).map(|socket| vec![socket]),
        Address::Tcp { host, port } => at_sockets(&sockets(host, *port), backlog),
    };
    bound.map_err(|cause| CannotListen {
        address: address.clone(),
        cause,
    })
}

/// Whether [`listen`] would succeed, as far as that can be seen without making or removing anything.
pub fn try_out(address: &Address, how: &Listen) -> Result<(), CannotListen> {
    let tried = match address {
        Address::Path(path) => look_at_path(path, how),
        Address::Tcp { host, port } => at_sockets(&sockets(host, *port), 1).map(drop),
    };
    tried.map_err(|cause| CannotListen {
        address: address.clone(),
        cause,
    })
}

fn look_at_path(path: &Path, how: &Listen) -> Result<(), Cause> {
    let group = group(how).map_err(Cause::Group)?;
    look_for_room(path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    files::can_make_in(folder).map_err(|error| Cause::System("bind it", error))?;
    match group {
        // chown(2): the owner may give a file to a group of the owner's; root to any group.
        Some(group) if process::uid() != 0 && !accounts::is_member(group) => {
            let error = Errno::EPERM.into();
            Err(Cause::System("give it the socket-group", error))
        }
        _ => Ok(()),
    }
}

/// The number of a user that `listen-allow` names, or a sentence that says why there is none.
pub fn uid(user: &User) -> Result<u32, String> {
    let name = match user {
        User::Id(uid) => return Ok(*uid),
        User::Name(name) => name,
    };
    match accounts::user(name) {
        Ok(Some(uid)) => Ok(uid),
        Ok(None) => Err(format!("listen-allow: /etc/passwd has no user {name}")),
        Err(error) => Err(format!("listen-allow: cannot look {name} up: {error}")),
    }
}

/// The number of `socket-group`, if it is set, or a sentence that says why there is none.
pub fn group(how: &Listen) -> Result<Option<u32>, String> {
    let Some(name) = &how.socket_group else {
        return Ok(None);
    };
    if let Ok(number) = name.parse() {
        return Ok(Some(number));
    }
    match accounts::group(name) {
        Ok(Some(number)) => Ok(Some(number)),
        Ok(None) => Err(format!("socket-group: /etc/group has no group {name}")),
        Err(error) => Err(format!("socket-group: cannot look {name} up: {error}")),
    }
}

/// Gives the file of a listening socket its mode and group, as configured now.
pub fn permit(path: &Path, how: &Listen) -> Result<(), CannotListen> {
    set_permissions(path, how).map_err(|cause| CannotListen {
        address: Address::Path(path.to_path_buf()),
        cause,
    })
}

/// Whether this listening socket is bound to the address.
pub fn serves(socket: BorrowedFd<'_>, address: &Address) -> bool {
    match (listen::name(socket), address) {
        (Some(Name::Path(bound)), Address::Path(path)) => bound == *path,
        (Some(Name::Tcp(bound)), Address::Tcp { host, port }) => {
            sockets(host, *port).contains(&bound)
        }
        _ => false,
    }
}

fn sockets(host: &str, port: u16) -> Vec<SocketAddr> {
    let hosts: Vec<IpAddr> = if host == "localhost" {
        vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
    } else {
        // The configuration allows no other host name.
        host.parse().into_iter().collect()
    };
    let hosts = hosts.into_iter();
    hosts.map(|host| SocketAddr::new(host, port)).collect()
}

fn at_sockets(addresses: &[SocketAddr], backlog: i32) -> Result<Vec<OwnedFd>, Cause> {
    let mut bound = Vec::new();
    for &address in addresses {
        match listen::at(address, backlog) {
            Ok(socket) => bound.push(socket),
            // On a host without IPv6 the IPv4 localhost is enough.
            Err(error) if !bound.is_empty() && listen::is_foreign(&error) => {}
            Err(error) if is(&error, Errno::EADDRINUSE) => return Err(Cause::Live(None)),
            Err(error) => return Err(Cause::System("bind it", error)),
        }
    }
    Ok(bound)
}

fn at_path(path: &Path, how: &Listen, backlog: i32) -> Result<OwnedFd, Cause> {
    // First, before anything is made that would have to be removed again.
    group(how).map_err(Cause::Group)?;
    make_room(path)?;
    let socket = files::privately(|| socket::listen_at(path, backlog));
    let socket = socket.map_err(|error| match is(&error, Errno::EADDRINUSE) {
        true => Cause::Live(None),
        false => Cause::System("bind it", error),
    })?;
    // Clients can't send descriptors. An older kernel lets them, and then we receive none.
    let _ = fdpass::refuse(socket.as_fd());
    if let Err(cause) = set_permissions(path, how) {
        // The file is ours: we have just bound it.
        let _ = fs::remove_file(path);
        return Err(cause);
    }
    Ok(socket)
}

/// Removes the socket of a server that has ended, and nothing else.
fn make_room(path: &Path) -> Result<(), Cause> {
    if !look_for_room(path)? {
        return Ok(());
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Cause::System(
            "remove the socket of a server that has ended",
            error,
        )),
        _ => Ok(()),
    }
}

/// Whether a server that has ended has left its socket there.
fn look_for_room(path: &Path) -> Result<bool, Cause> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Cause::System("look at it", error)),
        Ok(found) if !found.file_type().is_socket() => return Err(Cause::NotASocket),
        Ok(_) => {}
    }
    match socket::connect_now(path) {
        Ok(live) => {
            // The kernel gives pid 0 for a process of another pid namespace.
            let peer = socket::peer(live.as_fd()).filter(|peer| peer.pid != 0);
            Err(Cause::Live(peer.map(|peer| peer.pid)))
        }
        Err(error) if is(&error, Errno::ECONNREFUSED) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // A server listens there, and its backlog is full.
        Err(error) if is(&error, Errno::EAGAIN) => Err(Cause::Live(None)),
        Err(error) => Err(Cause::System("connect to the socket that is there", error)),
    }
}

/// The group first: for a moment fewer clients may connect than should, never more.
fn set_permissions(path: &Path, how: &Listen) -> Result<(), Cause> {
    if let Some(group) = group(how).map_err(Cause::Group)? {
        listen::give_to_group(path, group)
            .map_err(|error| Cause::System("give it the socket-group", error))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(how.socket_mode))
        .map_err(|error| Cause::System("set its socket-mode", error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::config::Allow;

    fn how(socket_mode: u32, socket_group: Option<&str>) -> Listen {
        Listen {
            addresses: Vec::new(),
            allow: Allow::default(),
            socket_mode,
            socket_group: socket_group.map(str::to_owned),
        }
    }

    fn refused(address: &Address, how: &Listen) -> String {
        let sentence = listen(address, how, 1).unwrap_err().to_string();
        let begin = format!("cannot listen on {address}: ");
        sentence.strip_prefix(&begin).unwrap().to_owned()
    }

    #[test]
    fn a_path_has_its_mode_and_is_taken_only_from_the_dead() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let address = Address::Path(path.clone());
        let first = listen(&address, &how(0o660, None), 1).unwrap();
        assert_eq!(first.len(), 1);
        assert!(serves(first[0].as_fd(), &address));
        let other = Address::Path(dir.path().join("other"));
        assert!(!serves(first[0].as_fd(), &other));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        let live = refused(&address, &how(0o600, None));
        let pid = std::process::id();
        assert_eq!(live, format!("another process listens there, pid {pid}"));
        drop(first);
        assert!(path.exists(), "what is left of it");
        try_out(&address, &how(0o600, None)).unwrap();
        assert!(path.exists(), "a look takes nothing away");
        let _second = listen(&address, &how(0o600, None), 1).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        permit(&path, &how(0o666, None)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o666);
    }

    #[test]
    fn what_is_no_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        fs::write(&path, "x").unwrap();
        let address = Address::Path(path.clone());
        let why = refused(&address, &how(0o600, None));
        assert_eq!(why, "there is a file that is not a socket");
        assert_eq!(fs::read(&path).unwrap(), b"x");
        let free = Address::Path(dir.path().join("free"));
        try_out(&free, &how(0o600, None)).unwrap();
        assert!(!dir.path().join("free").exists(), "a look makes nothing");
        assert!(try_out(&address, &how(0o600, None)).is_err());
        let nowhere = Address::Path(dir.path().join("no/sock"));
        assert!(try_out(&nowhere, &how(0o600, None)).is_err());
        let why = refused(&nowhere, &how(0o600, None));
        assert!(why.starts_with("cannot bind it: No such file"), "{why}");
    }

    #[test]
    fn a_group_is_found_by_name_or_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let address = Address::Path(path.clone());
        let why = refused(&address, &how(0o660, Some("no-such-group")));
        assert_eq!(why, "socket-group: /etc/group has no group no-such-group");
        assert!(!path.exists());
        let own = fs::metadata(dir.path()).unwrap().gid();
        let _socket = listen(&address, &how(0o660, Some(&own.to_string())), 1).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().gid(), own);
    }

    #[test]
    fn a_port_is_taken_once() {
        let probe = listen::at(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap();
        let Some(Name::Tcp(taken)) = listen::name(probe.as_fd()) else {
            panic!("no name");
        };
        let address = |host: &str| Address::Tcp {
            host: host.to_owned(),
            port: taken.port(),
        };
        let why = refused(&address("127.0.0.1"), &how(0, None));
        assert_eq!(why, "another process listens there");
        assert!(serves(probe.as_fd(), &address("127.0.0.1")));
        assert!(serves(probe.as_fd(), &address("localhost")));
        assert!(!serves(probe.as_fd(), &address("127.0.0.2")));
    }
}

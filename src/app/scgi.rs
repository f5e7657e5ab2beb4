//! Apps that are SCGI servers: how a command is started with its listening socket, and how a server is reached that is
//! not ours. Knows commands and addresses; not when a server is started, nor what it answers.

use std::ffi::{CString, OsStr};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{CannotRun, cgi, directory, environment};
use crate::app_file::AppFile;
use crate::config::{Address, Config};
use crate::handoff;
use crate::scgi;
use crate::sys::poll::{self, Interest};
use crate::sys::process;
use crate::sys::program::Program;
use crate::sys::{clock, files, signal, socket};

/// What stands for the socket's path in a command.
const SOCKET: &str = "{socket}";
/// How long a name server may take, or a server to accept a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// The command may bind the path itself, in place of the socket that it is given.
pub fn names_socket(command: &[String]) -> bool {
    command.iter().any(|word| word.contains(SOCKET))
}

/// Starts the server: its listening socket is 0 and 3; its standard output and error are `output`.
pub fn spawn(
    app: &AppFile,
    config: &Config,
    command: &[String],
    socket: &Path,
    listener: BorrowedFd<'_>,
    output: BorrowedFd<'_>,
    nofile: Option<(u64, u64)>,
) -> Result<i32, CannotRun> {
    let mut variables = environment::of_app(app, config)?;
    // sd_listen_fds(3). LISTEN_PID is set in the process itself.
    variables.push((b"LISTEN_FDS".to_vec(), b"1".to_vec()));
    let path = cgi::find(app, config, command, environment::search_path(&variables))?;
    let argv: Vec<CString> = command
        .iter()
        .map(|word| process::c_string(&with_socket(word, socket)))
        .collect();
    let directory = directory(app, config);
    let program = Program {
        path: &path,
        argv: &argv,
        environ: &environment::to_c_strings(&variables),
        directory: Some(&directory),
    };
    let fds = [listener, output, output, listener];
    let spawned = program.spawn_server(&fds, nofile);
    spawned.map_err(|not| CannotRun::not_started(&path, &directory, not))
}

fn with_socket(word: &str, socket: &Path) -> Vec<u8> {
    let parts: Vec<&[u8]> = word.split(SOCKET).map(str::as_bytes).collect();
    parts.join(socket.as_os_str().as_bytes())
}

/// The header for a server that does not know us: the length is always a number, and the variables that only a front
/// and a daemon use, or that are the web server's own environment, are left out.
pub fn header<'a>(
    meta: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    length: Option<u64>,
) -> Vec<u8> {
    const OURS: [&[u8]; 3] = [handoff::VARIABLE.as_bytes(), b"HTTP_PROXY", b"PATH"];
    let length = length.unwrap_or(0).to_string();
    let rest: Vec<(&[u8], &[u8])> = meta.filter(|(name, _)| !OURS.contains(name)).collect();
    let mut message = Vec::new();
    scgi::message(length.as_bytes(), rest.iter().copied(), &mut message);
    message
}

/// Where an SCGI server listens, without a name that has to be looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAddress {
    /// A Unix socket.
    Path(PathBuf),
    /// To be tried in this order; at least one.
    Tcp(Vec<SocketAddr>),
}

/// Looks the host up if it is a name: by the system's `getent`, since a static program can't load the modules that
/// nsswitch.conf names. May wait for a name server.
pub fn resolve(address: &Address) -> Result<ServerAddress, CannotRun> {
    let (host, port) = match address {
        Address::Path(path) => return Ok(ServerAddress::Path(path.clone())),
        Address::Tcp { host, port } => (host, *port),
    };
    let found = match host.parse() {
        Ok(address) => vec![address],
        Err(_) if host.eq_ignore_ascii_case("localhost") => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        Err(_) => {
            look_up(host).map_err(|error| CannotRun::new("find the address of", host, error))?
        }
    };
    let with_port = |address| SocketAddr::new(address, port);
    Ok(ServerAddress::Tcp(
        found.into_iter().map(with_port).collect(),
    ))
}

/// Connects to the first address that answers; waits for each at most as long as for a name server. The socket does not
/// block.
pub fn connect(peer: &ServerAddress) -> io::Result<OwnedFd> {
    let addresses = match peer {
        ServerAddress::Path(path) => return socket::begin_at_path(path),
        ServerAddress::Tcp(addresses) => addresses,
    };
    let mut last = io::ErrorKind::NotFound.into();
    for &address in addresses {
        let connected = socket::begin_at(address).and_then(|fd| {
            if !poll::wait_one(fd.as_fd(), Interest::Write, PATIENCE)? {
                return Err(io::ErrorKind::TimedOut.into());
            }
            socket::take_error(fd.as_fd())?;
            Ok(fd)
        });
        match connected {
            Ok(fd) => return Ok(fd),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// `getent ahosts NAME`: a line for each address and kind of socket, the address first.
fn look_up(host: &str) -> io::Result<Vec<IpAddr>> {
    let variables: Vec<environment::Variable> = environment::of_host().collect();
    let path = process::find(OsStr::new("getent"), environment::search_path(&variables))?;
    let argv = [
        c"getent".to_owned(),
        c"ahosts".to_owned(),
        process::c_string(host.as_bytes()),
    ];
    let program = Program {
        path: &path,
        argv: &argv,
        environ: &environment::to_c_strings(&variables),
        directory: None,
    };
    let null = files::null()?;
    let (out, into) = files::pipe()?;
    let pid = program.spawn(&[null.as_fd(), into.as_fd(), null.as_fd()], None)?;
    drop(into);
    let text = read_until(out, clock::now() + PATIENCE);
    process::signal(pid, signal::Signal::SIGKILL);
    process::wait(pid);
    let addresses = addresses(&text?);
    if addresses.is_empty() {
        return Err(io::Error::other("no such host is known"));
    }
    Ok(addresses)
}

fn read_until(out: OwnedFd, due: Duration) -> io::Result<String> {
    let mut out = std::fs::File::from(out);
    let mut text = Vec::new();
    let mut block = [0; 4096];
    loop {
        let left = due.saturating_sub(clock::now());
        if !poll::wait_one(out.as_fd(), Interest::Read, left)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match out.read(&mut block)? {
            0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
            count => text.extend_from_slice(&block[..count]),
        }
    }
}

fn addresses(text: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for line in text.lines() {
        let word = line.split_whitespace().next().unwrap_or_default();
        if let Ok(address) = word.parse()
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_goes_where_the_command_says() {
        let path = Path::new("/run/app");
        assert_eq!(
            with_socket("--scgi-socket={socket}", path),
            b"--scgi-socket=/run/app"
        );
        assert_eq!(with_socket("{socket}{socket}", path), b"/run/app/run/app");
        assert_eq!(with_socket("plain", path), b"plain");
        let command = |word: &str| ["serve".to_owned(), word.to_owned()];
        assert!(names_socket(&command("x={socket}")));
        assert!(!names_socket(&command("{Socket}")));
    }

    #[test]
    fn a_foreign_server_is_told_what_concerns_it() {
        let meta: [(&[u8], &[u8]); 6] = [
            (b"REQUEST_METHOD", b"GET"),
            (b"POLYCGI", b"1"),
            (b"CONTENT_LENGTH", b""),
            (b"HTTP_PROXY", b"evil"),
            (b"PATH", b"/bin"),
            (b"PATH_INFO", b"/x"),
        ];
        let header = header(meta.into_iter(), None);
        let expected = b"56:CONTENT_LENGTH\x000\0SCGI\x001\0REQUEST_METHOD\0GET\0PATH_INFO\0/x\0,";
        assert_eq!(
            String::from_utf8_lossy(&header),
            String::from_utf8_lossy(expected)
        );
    }

    #[test]
    fn what_getent_says() {
        let text = "127.0.0.1       STREAM web\n127.0.0.1       DGRAM\n::1 STREAM\nnonsense\n\n";
        let expected: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        assert_eq!(addresses(text), expected);
    }

    #[test]
    fn addresses_and_localhost_need_no_name_server() {
        let tcp = |host: &str| Address::Tcp {
            host: host.to_owned(),
            port: 9000,
        };
        let one = |host: &str| match resolve(&tcp(host)).unwrap() {
            ServerAddress::Tcp(addresses) => addresses[0].to_string(),
            ServerAddress::Path(_) => panic!("a path"),
        };
        assert_eq!(one("192.0.2.7"), "192.0.2.7:9000");
        assert_eq!(one("::1"), "[::1]:9000");
        assert_eq!(one("localhost"), "127.0.0.1:9000");
    }
}

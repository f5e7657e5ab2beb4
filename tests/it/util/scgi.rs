//! A plain SCGI client, as a web server is one: a header, a message-body, a response up to the connection's end. It
//! can send wrong bytes too.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket};
use nix::unistd::{Uid, geteuid};

use super::{Deadline, Reply, cgi, command};

/// A connection to a daemon's socket.
pub(crate) struct ScgiClient(UnixStream);

impl ScgiClient {
    /// Connects as the tests' user, which is the daemon's.
    #[track_caller]
    pub(crate) fn connect(socket: &Path) -> Self {
        let (uid, _) = command::user();
        Self::connect_as(socket, uid)
    }

    /// The same, for a daemon that may be away.
    pub(crate) fn try_connect(socket: &Path) -> io::Result<Self> {
        let (uid, _) = command::user();
        Self::try_connect_as(socket, uid)
    }

    /// Connects as another user, which only root can.
    #[track_caller]
    pub(crate) fn connect_as(socket: &Path, uid: Uid) -> Self {
        Self::try_connect_as(socket, uid)
            .unwrap_or_else(|error| panic!("cannot connect to {}: {error}", socket.display()))
    }

    fn try_connect_as(socket: &Path, uid: Uid) -> io::Result<Self> {
        let path = socket.to_owned();
        // The peer's credentials are those of the thread that connects, at that moment. The system call itself
        // changes this one thread; the C library's function would change all of them.
        let connected = thread::spawn(move || {
            if uid != geteuid() {
                let keep = libc::uid_t::MAX;
                // SAFETY: setresuid takes three integers and touches no memory of ours.
                let result =
                    unsafe { libc::syscall(libc::SYS_setresuid, keep, uid.as_raw(), keep) };
                assert_eq!(result, 0, "cannot become {uid}");
            }
            UnixStream::connect(path)
        });
        Self::over(connected.join().expect("a thread can be waited for")?)
    }

    /// Connects by TCP, from that address of this host.
    #[track_caller]
    pub(crate) fn connect_tcp(from: IpAddr, to: SocketAddr) -> Self {
        let connected = || -> io::Result<Self> {
            let socket = socket(
                AddressFamily::Inet,
                SockType::Stream,
                SockFlag::SOCK_CLOEXEC,
                None,
            )?;
            bind(
                socket.as_raw_fd(),
                &SockaddrStorage::from(SocketAddr::new(from, 0)),
            )?;
            connect(socket.as_raw_fd(), &SockaddrStorage::from(to))?;
            // Read, written and shut down like any other stream.
            Self::over(UnixStream::from(socket))
        };
        connected().unwrap_or_else(|error| panic!("cannot connect to {to}: {error}"))
    }

    fn over(stream: UnixStream) -> io::Result<Self> {
        let patience = Some(Deadline::soon().left());
        stream.set_read_timeout(patience)?;
        stream.set_write_timeout(patience)?;
        Ok(Self(stream))
    }

    /// What the server sends until it closes, as it is; a reset is an end too.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut read = Vec::new();
        // What came before a reset is what the caller judges.
        let _ = self.0.read_to_end(&mut read);
        read
    }

    /// Sends bytes. A server that has refused what came before may be gone: its answer is what counts.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> &mut Self {
        let _ = self.0.write_all(bytes);
        self
    }

    /// The connection itself.
    pub(crate) fn stream(&mut self) -> &mut UnixStream {
        &mut self.0
    }

    /// Sends no more.
    pub(crate) fn end(&mut self) -> &mut Self {
        let _ = self.0.shutdown(Shutdown::Write);
        self
    }

    /// Reads the response to the connection's end.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> Reply {
        let mut response = Vec::new();
        self.0.read_to_end(&mut response).unwrap_or_else(|error| {
            panic!(
                "cannot read the response: {error}; {} bytes so far",
                response.len()
            )
        });
        cgi::reply(&response)
    }
}

/// The header of a request to `/cgi-bin/app`.
pub(crate) fn header(
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
    length: usize,
) -> Vec<u8> {
    let length = length.to_string();
    let meta = cgi::meta(method, target, fields);
    let meta = meta
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let first = [("CONTENT_LENGTH", length.as_str()), ("SCGI", "1")];
    netstring(first.into_iter().chain(meta))
}

/// Any names and values as a header, wrong ones too.
pub(crate) fn netstring<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let content: String = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}\0{value}\0"))
        .collect();
    format!("{}:{content},", content.len()).into_bytes()
}

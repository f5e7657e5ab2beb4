//! Many slow clients of a web server in one thread: each reads or sends a kilobyte in a second, until it is stopped.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, connect, setsockopt, socket, sockopt,
};

use super::patient::PatientWrite;
use super::{Conversation, Reply};

/// Bytes that a client reads or sends in its turn, and turns in a second: each has the turn of other clients.
const BYTES: usize = 1024;
const TURNS: usize = 20;

/// One slow client.
pub(crate) struct Slow {
    stream: TcpStream,
    /// What it has read of the response.
    pub(crate) read: Vec<u8>,
    body: Vec<u8>,
    /// What it has sent of the body.
    pub(crate) sent: usize,
    /// The response has ended.
    pub(crate) has_ended: bool,
}

impl Slow {
    /// Asks with GET, and is slow to read.
    #[track_caller]
    pub(crate) fn reader(address: SocketAddr, target: &str) -> Self {
        Self::connect(address, &format!("GET {target} HTTP/1.1\r\n"), Vec::new())
    }

    /// Sends a body slowly.
    #[track_caller]
    pub(crate) fn sender(address: SocketAddr, target: &str, body: Vec<u8>) -> Self {
        let length = body.len();
        let line = format!("POST {target} HTTP/1.1\r\nContent-Length: {length}\r\n");
        Self::connect(address, &line, body)
    }

    #[track_caller]
    fn connect(address: SocketAddr, line: &str, body: Vec<u8>) -> Self {
        let SocketAddr::V4(v4) = address else {
            panic!("not an IPv4 address: {address}");
        };
        let fd: OwnedFd = socket(
            AddressFamily::Inet,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .expect("a socket can be made");
        // Before the connect, which tells the server the size: otherwise megabytes are in buffers on the way.
        setsockopt(&fd, sockopt::RcvBuf, &4096).expect("a buffer's size can be set");
        connect(fd.as_raw_fd(), &SockaddrIn::from(v4))
            .unwrap_or_else(|errno| panic!("cannot connect to {address}: {errno}"));
        let mut stream = TcpStream::from(fd);
        let head = format!("{line}Host: {address}\r\nConnection: close\r\n\r\n");
        stream
            .write_all(head.as_bytes())
            .expect("a request's head can be sent");
        stream.set_nonblocking(true).expect("a flag can be set");
        Self {
            stream,
            read: Vec::new(),
            body,
            sent: 0,
            has_ended: false,
        }
    }

    fn step(&mut self) {
        let rest = &self.body[self.sent..];
        if !rest.is_empty() {
            self.sent += self.stream.offer(&rest[..rest.len().min(BYTES)]);
            return;
        }
        let mut block = [0; BYTES];
        match self.stream.read(&mut block) {
            Ok(0) => self.has_ended = true,
            Ok(length) => self.read.extend_from_slice(&block[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // The test looks at what came before the error.
            Err(_) => self.has_ended = true,
        }
    }

    /// Does the rest at full speed.
    #[track_caller]
    pub(crate) fn finish(self) -> Reply {
        let mut stream = self.stream;
        stream.give(&self.body[self.sent..]);
        Conversation::of(stream, self.read).reply()
    }
}

/// The thread of many slow clients.
pub(crate) struct Crowd {
    stop: Sender<()>,
    thread: JoinHandle<Vec<Slow>>,
}

impl Crowd {
    pub(crate) fn start(mut clients: Vec<Slow>) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let turn = Duration::from_secs(1) / TURNS as u32;
            for first in (0..TURNS).cycle() {
                for client in clients.iter_mut().skip(first).step_by(TURNS) {
                    client.step();
                }
                // Not a wait for anything: this is the clients' pace.
                if stopped.recv_timeout(turn) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
            // Each client reads once more what has come by now.
            clients.iter_mut().for_each(Slow::step);
            clients
        });
        Self { stop, thread }
    }

    /// The clients as they are now, still connected; each has had a turn since everything before this call.
    pub(crate) fn stop(self) -> Vec<Slow> {
        // If the thread has failed, the next line tells.
        let _ = self.stop.send(());
        self.thread.join().expect("the slow clients' thread ends")
    }
}

//! An HTTP client that sends a message-body in chunks: all at once, or piece by piece.

use std::net::{SocketAddr, TcpStream};

use super::patient::{PatientWrite, do_not_block};
use super::{Conversation, Deadline, Reply};

/// A request whose head was sent.
pub(crate) struct Chunked(TcpStream);

impl Chunked {
    /// POST.
    #[track_caller]
    pub(crate) fn post(address: SocketAddr, target: &str) -> Self {
        let mut stream = TcpStream::connect_timeout(&address, Deadline::soon().left())
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        do_not_block(&stream);
        stream.set_nodelay(true).expect("TCP_NODELAY can be set");
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
        stream.give(head.as_bytes());
        Self(stream)
    }

    /// Sends these bytes in chunks of many sizes.
    #[track_caller]
    pub(crate) fn give(&mut self, bytes: &[u8]) -> &mut Self {
        let mut rest = bytes;
        let mut size = 1;
        let mut wire = Vec::with_capacity(bytes.len() + bytes.len() / 64 + 16);
        while !rest.is_empty() {
            let (chunk, others) = rest.split_at(size.min(rest.len()));
            wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
            rest = others;
            size = (size * 7 + 13) % 200_003 + 1;
        }
        self.0.give(&wire);
        self
    }

    /// Sends the beginning of a chunk, and not all of it.
    #[track_caller]
    pub(crate) fn give_half(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.give(format!("{:x}\r\n", 2 * bytes.len()).as_bytes());
        self.0.give(bytes);
        self
    }

    /// Sends the last chunk, and reads the response.
    #[track_caller]
    pub(crate) fn end(mut self) -> Reply {
        self.0.give(b"0\r\n\r\n");
        Conversation::of(self.0, Vec::new()).reply()
    }

    /// Sends all of the body, and reads the response.
    #[track_caller]
    pub(crate) fn whole(mut self, bytes: &[u8]) -> Reply {
        self.give(bytes);
        self.end()
    }
}

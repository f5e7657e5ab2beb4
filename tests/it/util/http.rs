//! An HTTP/1.1 client, small but exact: one request on one connection, the response as it came. It follows no
//! redirect, knows no cookie and repairs nothing: what a server sends wrongly fails the test.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use memchr::memmem;

use super::Deadline;

/// A response that was read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    /// The body as text; bytes that are not UTF-8 as U+FFFD.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as text; the test fails unless the status is 200.
    #[track_caller]
    pub(crate) fn ok(&self) -> String {
        assert_eq!(self.status(), 200, "{:?}\n{}", self.head, self.text());
        self.text()
    }
}

/// The status line and the header fields, in order.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) fields: Vec<(String, String)>,
}

impl Head {
    /// The field's value; the test fails if it came twice.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self
            .fields
            .iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name));
        let value = values.next();
        assert!(
            values.next().is_none(),
            "{name} came more than once: {self:?}"
        );
        value.map(|(_, value)| value.as_str())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split("\r\n");
        let (version, rest) = lines.next()?.split_once(' ')?;
        let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        if !matches!(version, "HTTP/1.0" | "HTTP/1.1") || status.len() != 3 {
            return None;
        }
        Some(Self {
            status: status.parse().ok()?,
            reason: reason.to_owned(),
            fields: lines.map(field).collect::<Option<_>>()?,
        })
    }

    /// As a script writes it (RFC 3875 6.3.3).
    pub(crate) fn of_script(text: &str) -> Option<Self> {
        let fields: Vec<_> = text.split("\r\n").map(field).collect::<Option<_>>()?;
        let mut head = Self {
            status: 200,
            reason: "OK".to_owned(),
            fields,
        };
        if let Some(status) = head.field("Status").map(str::to_owned) {
            let (status, reason) = status.split_once(' ').unwrap_or((&status, ""));
            head.status = status.parse().ok()?;
            head.reason = reason.to_owned();
        }
        Some(head)
    }
}

fn field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

/// How the response's body ends.
enum Framing {
    /// With this many bytes.
    Length(u64),
    /// With the chunk of length 0; so much of the current chunk is to come.
    Chunked(u64),
    /// With the connection.
    Close,
    /// It has ended.
    End,
}

/// A request under way, for tests that look at the response while it comes.
pub(crate) struct Conversation {
    stream: TcpStream,
    deadline: Deadline,
    read: Vec<u8>,
    head_only: bool,
    framing: Framing,
}

impl Conversation {
    /// Connects and sends the request; Host, Connection and Content-Length are added. A thread sends the
    /// body: a server may answer before it has read it.
    pub(crate) fn new(
        address: SocketAddr,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Self {
        let mut conversation = Self::begin(address, method, target, fields, body);
        conversation.release();
        if let Some(body) = body.filter(|body| !body.is_empty()) {
            let mut stream = conversation
                .stream
                .try_clone()
                .expect("a socket can be cloned");
            let body = body.to_vec();
            // A server that has answered may close before it has read everything: the answer is what counts.
            thread::spawn(move || stream.write_all(&body));
        }
        conversation
    }

    /// Connects and sends the request but for the head's last line, which [`Conversation::release`] sends.
    pub(crate) fn begin(
        address: SocketAddr,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Self {
        let deadline = Deadline::soon();
        let mut stream = TcpStream::connect_timeout(&address, deadline.left())
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        stream.set_nodelay(true).expect("TCP_NODELAY can be set");
        stream
            .set_write_timeout(Some(deadline.left()))
            .expect("a time-out can be set");
        let mut head =
            format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
        if let Some(body) = body {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        for (name, value) in fields {
            head += &format!("{name}: {value}\r\n");
        }
        stream
            .write_all(head.as_bytes())
            .expect("a request's head can be sent");
        let head_only = method == "HEAD";
        Self {
            stream,
            deadline,
            read: Vec::new(),
            head_only,
            framing: Framing::End,
        }
    }

    /// Goes on with a connection whose request was sent; `read` is what was read of the response.
    pub(crate) fn of(stream: TcpStream, read: Vec<u8>) -> Self {
        stream
            .set_nonblocking(false)
            .expect("a flag can be cleared");
        Self {
            stream,
            deadline: Deadline::soon(),
            read,
            head_only: false,
            framing: Framing::End,
        }
    }

    /// Ends the request's head: now the server may begin with it.
    pub(crate) fn release(&mut self) {
        self.stream
            .write_all(b"\r\n")
            .expect("a request's head can be sent");
    }

    /// Reads the head of the response, and learns from it how the body ends.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Head {
        let end = loop {
            if let Some(end) = memmem::find(&self.read, b"\r\n\r\n") {
                break end;
            }
            assert!(
                self.more(),
                "the connection ended in the head: {:?}",
                String::from_utf8_lossy(&self.read)
            );
        };
        let text = String::from_utf8_lossy(&self.read[..end]).into_owned();
        self.read.drain(..end + 4);
        let head =
            Head::parse(&text).unwrap_or_else(|| panic!("this is no HTTP response: {text:?}"));
        self.framing = if self.head_only || matches!(head.status, 204 | 304) {
            // RFC 9112 6.3: these end with the head. Bytes after it are an error, which is found at the end.
            Framing::Length(0)
        } else if let Some(coding) = head.field("Transfer-Encoding") {
            assert_eq!(coding, "chunked");
            Framing::Chunked(0)
        } else if let Some(length) = head.field("Content-Length") {
            Framing::Length(length.parse().expect("Content-Length is a number"))
        } else {
            Framing::Close
        };
        head
    }

    /// The next piece of the body, as soon as there is one; None at its end.
    #[track_caller]
    pub(crate) fn piece(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.framing {
                Framing::Length(0) => {
                    self.framing = Framing::End;
                    while self.more() {}
                    assert!(
                        self.read.is_empty(),
                        "after the body: {:?}",
                        String::from_utf8_lossy(&self.read)
                    );
                }
                Framing::Chunked(0) => {
                    let line = self.line();
                    let size = line.split(';').next().unwrap_or_default();
                    let size = u64::from_str_radix(size, 16)
                        .unwrap_or_else(|_| panic!("not a chunk's size: {line:?}"));
                    self.framing = Framing::Chunked(size);
                    if size == 0 {
                        assert_eq!(self.line(), "", "trailers");
                        self.framing = Framing::Length(0);
                    }
                }
                Framing::End => return None,
                Framing::Chunked(_) | Framing::Close | Framing::Length(_)
                    if self.read.is_empty() =>
                {
                    if !self.more() {
                        assert!(
                            matches!(self.framing, Framing::Close),
                            "the connection ended in the body"
                        );
                        self.framing = Framing::End;
                    }
                }
                Framing::Close => return Some(std::mem::take(&mut self.read)),
                Framing::Chunked(left) | Framing::Length(left) => {
                    let length = usize::try_from(left)
                        .unwrap_or(usize::MAX)
                        .min(self.read.len());
                    let piece: Vec<u8> = self.read.drain(..length).collect();
                    let left = left - length as u64;
                    if matches!(self.framing, Framing::Length(_)) {
                        self.framing = Framing::Length(left);
                    } else {
                        self.framing = Framing::Chunked(left);
                        if left == 0 {
                            assert_eq!(self.line(), "", "a chunk ends with a line's end");
                        }
                    }
                    return Some(piece);
                }
            }
        }
    }

    /// Reads the response to its end.
    #[track_caller]
    pub(crate) fn reply(mut self) -> Reply {
        let head = self.head();
        let mut body = Vec::new();
        while let Some(piece) = self.piece() {
            body.extend_from_slice(&piece);
        }
        Reply { head, body }
    }

    #[track_caller]
    fn line(&mut self) -> String {
        loop {
            if let Some(end) = memmem::find(&self.read, b"\r\n") {
                let line = String::from_utf8_lossy(&self.read[..end]).into_owned();
                self.read.drain(..end + 2);
                return line;
            }
            assert!(self.more(), "the connection ended in a chunked body");
        }
    }

    /// Reads what there is; false at the end of the connection.
    #[track_caller]
    fn more(&mut self) -> bool {
        assert!(
            self.deadline.readable(&self.stream),
            "no answer in time; so far: {} bytes",
            self.read.len()
        );
        let mut block = [0; 65536];
        match self.stream.read(&mut block) {
            Ok(0) => false,
            Ok(length) => {
                self.read.extend_from_slice(&block[..length]);
                true
            }
            // A server that closes with some of our body unread resets the connection, after its answer.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("cannot read the response: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that reads a head and answers with these bytes.
    fn answer(bytes: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            stream.write_all(bytes).unwrap();
        });
        address
    }

    fn get(bytes: &'static [u8]) -> Reply {
        Conversation::new(answer(bytes), "GET", "/", &[], None).reply()
    }

    #[test]
    fn bodies_end_in_three_ways() {
        assert_eq!(
            get(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc").ok(),
            "abc"
        );
        assert_eq!(get(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nabc").ok(), "abc");
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n";
        assert_eq!(get(chunked).ok(), "abc");
    }

    #[test]
    #[should_panic(expected = "the connection ended in the body")]
    fn a_short_body_fails() {
        get(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc");
    }

    #[test]
    #[should_panic(expected = "after the body")]
    fn a_body_where_there_is_none_fails() {
        get(b"HTTP/1.1 204 No Content\r\n\r\nabc");
    }
}

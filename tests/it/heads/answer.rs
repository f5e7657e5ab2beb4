//! What a client has got, byte by byte, without repairs. It knows which parts are the connection's, not the program's.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use memchr::memmem;

use super::corpus::Case;
use crate::util::Deadline;

/// What stands for the app's name in a head, and in an answer.
pub(super) const NAME: &[u8] = b"@APP@";

/// An answer that can be compared: without what a web server adds, or words by its own choice.
#[derive(Clone, PartialEq)]
pub(super) struct Answer {
    /// The status line and the header fields, or all of it where no head of HTTP was found.
    pub(super) head: Vec<Vec<u8>>,
    pub(super) body: Vec<u8>,
}

/// Header fields of the web server's own, or of the connection. The web server also chooses how the body ends.
const OF_THE_SERVER: [&str; 6] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "server",
    "transfer-encoding",
];

impl Answer {
    /// Asks for the case of that number of an app at `/cgi-bin/NAME`.
    pub(super) fn of(
        address: SocketAddr,
        name: &str,
        number: usize,
        case: &Case,
    ) -> Result<Self, String> {
        let split = if case.is_split { "s" } else { "" };
        let Case { method, field, .. } = case;
        let request = format!(
            "{method} /cgi-bin/{name}/{number}{split} HTTP/1.1\r\nHost: heads.example\r\nConnection: close\r\n{field}\r\n"
        );
        let read = ask(address, request.as_bytes())?;
        Ok(Self::parse(&replaced(&read, name.as_bytes(), NAME)))
    }

    fn parse(read: &[u8]) -> Self {
        let end = memmem::find(read, b"\r\n\r\n");
        let (head, body) = end.map_or((read, &b""[..]), |end| (&read[..end], &read[end + 4..]));
        let is_chunked = memmem::find(head, b"\r\nTransfer-Encoding: chunked").is_some();
        let body = is_chunked.then(|| dechunked(body)).flatten();
        let rest = end.map_or(Vec::new(), |end| undated(&read[end + 4..]));
        let mut head: Vec<Vec<u8>> = Vec::new();
        for line in lines(&read[..end.unwrap_or(read.len())]) {
            let colon = memchr::memchr(b':', line).unwrap_or(0);
            let name = line[..colon].to_ascii_lowercase();
            if !OF_THE_SERVER.iter().any(|own| own.as_bytes() == name) {
                head.push(line.to_vec());
            }
        }
        Self {
            head,
            body: body.unwrap_or(rest),
        }
    }

    /// The status, if the status line has one.
    pub(super) fn status(&self) -> Option<u16> {
        let line = self.head.first()?.strip_prefix(b"HTTP/1.1 ")?;
        std::str::from_utf8(line.get(..3)?).ok()?.parse().ok()
    }

    /// The web server has refused the head: an error of its own, and not the status that the program wrote.
    pub(super) fn is_refusal(&self, said: Option<u16>) -> bool {
        let apaches: &[u8] = b"Content-Type: text/html; charset=iso-8859-1";
        let is_apaches = || self.head.iter().any(|field| field == apaches);
        matches!(self.status(), Some(500 | 502)) && (self.status() != said || is_apaches())
    }

    /// It is polycgi's page for a program that has written no head.
    pub(super) fn is_our_502(&self) -> bool {
        let line = b"cache-control: no-store";
        self.status() == Some(502)
            && self
                .head
                .iter()
                .any(|field| field.eq_ignore_ascii_case(line))
    }

    /// The same with another status line.
    pub(super) fn with_status(&self, line: &str) -> Self {
        let mut other = self.clone();
        if let Some(first) = other.head.first_mut() {
            *first = line.into();
        }
        other
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.head.join(&b"\r\n"[..]);
        let body = &self.body[..self.body.len().min(100)];
        let text = &text[..text.len().min(500)];
        write!(f, "{} | {}", text.escape_ascii(), body.escape_ascii())
    }
}

fn ask(address: SocketAddr, request: &[u8]) -> Result<Vec<u8>, String> {
    let deadline = Deadline::soon();
    let mut stream = TcpStream::connect_timeout(&address, deadline.left())
        .map_err(|error| format!("cannot connect to {address}: {error}"))?;
    stream
        .write_all(request)
        .map_err(|error| format!("cannot send: {error}"))?;
    let mut read = Vec::new();
    let mut block = [0; 65536];
    loop {
        if !deadline.readable(&stream) {
            return Err(format!("no end in time; so far {} bytes", read.len()));
        }
        match stream.read(&mut block) {
            Ok(0) => return Ok(read),
            Ok(count) => read.extend_from_slice(&block[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(read),
            Err(error) => return Err(format!("cannot read: {error}")),
        }
    }
}

/// The rest of a response. Behind a status 1xx another head follows, and its date is the second in which it was sent.
fn undated(rest: &[u8]) -> Vec<u8> {
    let date = match rest.starts_with(b"HTTP/1.1 ") {
        true => memmem::find(rest, b"\r\nDate: "),
        false => None,
    };
    let line = date.map(|at| (at, memmem::find(&rest[at + 2..], b"\r\n")));
    match line {
        Some((at, Some(length))) => [&rest[..at], &rest[at + 2 + length..]].concat(),
        _ => rest.to_vec(),
    }
}

fn lines(mut text: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    while let Some(end) = memmem::find(text, b"\r\n") {
        lines.push(&text[..end]);
        text = &text[end + 2..];
    }
    lines.push(text);
    lines
}

fn dechunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = memmem::find(rest, b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        body.extend_from_slice(rest.get(end + 2..end + 2 + size)?);
        rest = rest[end + 2 + size..].strip_prefix(b"\r\n")?;
        if size == 0 {
            return Some(body);
        }
    }
}

/// `text` with each `from` replaced.
pub(super) fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(text.len());
    let mut last = 0;
    for found in memmem::find_iter(text, from) {
        result.extend_from_slice(&text[last..found]);
        result.extend_from_slice(to);
        last = found + from.len();
    }
    result.extend_from_slice(&text[last..]);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compared() {
        let early = b"HTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK\r\nDate: x\r\nA: b\r\n\r\nok";
        assert_eq!(
            Answer::parse(early).body,
            b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nok"
        );
        let one = b"HTTP/1.1 200 OK\r\nDate: x\r\nA: b\r\nContent-Length: 2\r\n\r\nok";
        let two = b"HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n";
        let one = Answer::parse(one);
        assert!(one == Answer::parse(two));
        assert_eq!((one.status(), one.is_our_502()), (Some(200), false));
        for other in [
            &b"HTTP/1.1 200 Ok\r\nA: b\r\n\r\nok"[..],
            b"HTTP/1.1 200 OK\r\nA: c\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nA: b\r\nA: b\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nok\n",
            b"HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n",
            b"HTTP/1.1 200 OK\nA: b\n\nok",
            b"",
        ] {
            assert!(one != Answer::parse(other), "{}", other.escape_ascii());
        }
        let page = b"HTTP/1.1 502 Bad Gateway\r\nCache-Control: no-store\r\n\r\n";
        assert!(Answer::parse(page).is_our_502());
    }
}

//! A response byte by byte: nothing is repaired, and no byte is replaced. It is read to the connection's end.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use memchr::memmem;

use crate::util::Deadline;

/// What a client has got.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: String,
    pub(super) reason: String,
    /// Each character is a byte.
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// Sends a request whose end is its own, and reads. The body is sent beside the reading, as a client may.
pub(super) fn ask(address: SocketAddr, head: Vec<u8>, body: Vec<u8>) -> Result<Answer, String> {
    let deadline = Deadline::soon();
    let is_head = head.starts_with(b"HEAD ");
    let mut stream = TcpStream::connect_timeout(&address, deadline.left())
        .map_err(|error| format!("cannot connect to {address}: {error}"))?;
    let mut sending = stream.try_clone().expect("a socket can be cloned");
    let sender = thread::spawn(move || {
        // A server that has answered may close before it has read everything: the answer is what counts.
        let _ = sending
            .write_all(&head)
            .and_then(|()| sending.write_all(&body));
    });
    let mut response = Vec::new();
    let mut block = [0; 65536];
    loop {
        if !deadline.readable(&stream) {
            return Err(format!("no end in time; so far {} bytes", response.len()));
        }
        match stream.read(&mut block) {
            Ok(0) => break,
            Ok(length) => response.extend_from_slice(&block[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => return Err(format!("cannot read the response: {error}")),
        }
    }
    // Ends the thread that may still send the body.
    let _ = stream.shutdown(std::net::Shutdown::Both);
    sender.join().expect("the sending thread ends");
    parse(&response, is_head)
}

fn parse(response: &[u8], is_head: bool) -> Result<Answer, String> {
    let bad = |what: &str| format!("{what}: {:?}", text(&response[..response.len().min(2000)]));
    let end = memmem::find(response, b"\r\n\r\n").ok_or_else(|| bad("no whole head"))?;
    let head = text(&response[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
    let (status, reason) = status
        .and_then(|line| line.split_once(' '))
        .ok_or_else(|| bad("no status line"))?;
    let fields = lines.map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
    });
    let fields: Vec<_> = fields
        .collect::<Option<_>>()
        .ok_or_else(|| bad("no header field"))?;
    let rest = &response[end + 4..];
    let value = |wanted: &str| {
        fields
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|field| &field.1)
    };
    // RFC 9112 6.3: these end with the head; what comes after it would be an error, and is kept.
    let body = if is_head || matches!(status, "204" | "304") {
        rest.to_vec()
    } else if value("Transfer-Encoding").is_some_and(|coding| coding == "chunked") {
        dechunked(rest).ok_or_else(|| bad("not whole chunks"))?
    } else {
        let length = value("Content-Length").map(|length| length.parse());
        if length.is_some_and(|length| length != Ok(rest.len())) {
            return Err(bad(&format!("{} bytes of body", rest.len())));
        }
        rest.to_vec()
    };
    Ok(Answer {
        status: status.to_owned(),
        reason: reason.to_owned(),
        fields,
        body,
    })
}

/// Each byte as the character of that number.
fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn dechunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = memmem::find(rest, b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        let chunk = rest.get(end + 2..end + 2 + size)?;
        body.extend_from_slice(chunk);
        rest = rest[end + 2 + size..].strip_prefix(b"\r\n")?;
        if size == 0 {
            return rest.is_empty().then_some(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read() {
        let answer = |text: &str| parse(text.as_bytes(), false).map(|answer| answer.body);
        assert_eq!(answer("HTTP/1.1 200 OK\r\n\r\nab"), Ok(b"ab".to_vec()));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let whole = format!("{chunked}2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
        assert_eq!(answer(&whole), Ok(b"abc".to_vec()));
        for cut in [1, 3, 5, 8] {
            assert!(answer(&whole[..whole.len() - cut]).is_err(), "{cut}");
        }
        for wrong in [
            "HTTP/1.1 200 OK\r\n",
            "Status: 200\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
        ] {
            assert!(answer(wrong).is_err(), "{wrong}");
        }
        let head = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", true).unwrap();
        assert_eq!((head.status.as_str(), head.body.len()), ("200", 0));
    }
}

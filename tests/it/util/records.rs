//! A FastCGI client, as a web server is one: requests one after the other over one connection. It can send wrong bytes
//! too. It is written from the specification, and not with the codec that it tests.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::{Reply, cgi, command, scgi};

pub(crate) const BEGIN: u8 = 1;
pub(crate) const ABORT: u8 = 2;
pub(crate) const END: u8 = 3;
pub(crate) const PARAMS: u8 = 4;
pub(crate) const STDIN: u8 = 5;
pub(crate) const STDOUT: u8 = 6;
pub(crate) const STDERR: u8 = 7;
pub(crate) const GET_VALUES: u8 = 9;
pub(crate) const UNKNOWN_TYPE: u8 = 11;

/// A record, with some padding.
pub(crate) fn record(kind: u8, id: u16, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("a record's content has 16 bits");
    let padding = (8 - content.len() % 8) % 8;
    let mut record = vec![1, kind];
    record.extend(id.to_be_bytes());
    record.extend(length.to_be_bytes());
    record.extend([padding as u8, 0]);
    record.extend(content);
    record.resize(record.len() + padding, 0);
    record
}

/// Names and values as in FCGI_PARAMS.
pub(crate) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in pairs {
        for text in [name, value] {
            match text.len() {
                short @ ..=127 => bytes.push(short as u8),
                long => bytes.extend((long as u32 | 1 << 31).to_be_bytes()),
            }
        }
        bytes.extend(name.bytes().chain(value.bytes()));
    }
    bytes
}

/// The beginning of a request to a responder.
pub(crate) fn begin(id: u16, keeps: bool) -> Vec<u8> {
    record(BEGIN, id, &[0, 1, u8::from(keeps), 0, 0, 0, 0, 0])
}

/// The header of a request to `/cgi-bin/app`.
pub(crate) fn header(id: u16, keeps: bool, method: &str, target: &str, length: &str) -> Vec<u8> {
    let meta = cgi::meta(method, target, &[]);
    let meta = meta
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let params = pairs(meta.chain([("CONTENT_LENGTH", length)]));
    let mut bytes = begin(id, keeps);
    for block in params.chunks(60_000) {
        bytes.extend(record(PARAMS, id, block));
    }
    bytes.extend(record(PARAMS, id, b""));
    bytes
}

/// A message-body.
pub(crate) fn body(id: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for block in body.chunks(60_000) {
        bytes.extend(record(STDIN, id, block));
    }
    bytes.extend(record(STDIN, id, b""));
    bytes
}

/// A whole request.
pub(crate) fn request(id: u16, keeps: bool, method: &str, target: &str, said: &[u8]) -> Vec<u8> {
    let length = match method {
        "GET" => String::new(),
        _ => said.len().to_string(),
    };
    [header(id, keeps, method, target, &length), body(id, said)].concat()
}

/// What came for one request.
#[derive(Debug, Default)]
pub(crate) struct Came {
    pub(crate) output: Vec<u8>,
    pub(crate) errors: Vec<u8>,
    /// Exit status and protocolStatus, if its end came.
    pub(crate) end: Option<(u32, u8)>,
    /// Records of the application's that came for another id.
    pub(crate) others: Vec<(u8, u16, Vec<u8>)>,
}

impl Came {
    /// The response, which is whole.
    #[track_caller]
    pub(crate) fn reply(&self) -> Reply {
        assert_eq!(self.end, Some((0, 0)), "{self:?}");
        cgi::reply(&self.output)
    }
}

/// A connection.
pub(crate) struct Records(UnixStream);

impl Records {
    /// Connects as the tests' user.
    #[track_caller]
    pub(crate) fn connect(socket: &Path) -> Self {
        let (uid, _) = command::user();
        let mut client = scgi::ScgiClient::connect_as(socket, uid);
        let stream = client
            .stream()
            .try_clone()
            .expect("a connection can be cloned");
        Self(stream)
    }

    /// Sends bytes. A server that has refused what came before may be gone: its answer is what counts.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> &mut Self {
        let _ = self.0.write_all(bytes);
        self
    }

    /// Sends no more.
    pub(crate) fn half_close(&mut self) -> &mut Self {
        let _ = self.0.shutdown(Shutdown::Write);
        self
    }

    /// The next record; `None` at the connection's end.
    #[track_caller]
    pub(crate) fn record(&mut self) -> Option<(u8, u16, Vec<u8>)> {
        let mut head = [0; 8];
        match self.0.read(&mut head[..1]) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("cannot read a record: {error}"),
        }
        self.0
            .read_exact(&mut head[1..])
            .expect("a record is whole");
        let [version, kind, id1, id0, length1, length0, padding, _] = head;
        if head == [0; 8] {
            // The response is cut, and the connection is closed.
            assert_eq!(self.0.read(&mut head).ok().filter(|&count| count > 0), None);
            return None;
        }
        assert_eq!(version, 1);
        // HAProxy 2.6.12 crashes without.
        assert!(kind != STDERR || padding > 0);
        let length = usize::from(u16::from_be_bytes([length1, length0]));
        let mut content = vec![0; length + usize::from(padding)];
        self.0.read_exact(&mut content).expect("a record is whole");
        content.truncate(length);
        Some((kind, u16::from_be_bytes([id1, id0]), content))
    }

    /// What comes for this request, until its end or the connection's.
    #[track_caller]
    pub(crate) fn came(&mut self, id: u16) -> Came {
        let mut came = Came::default();
        while let Some((kind, other, content)) = self.record() {
            if other != id {
                came.others.push((kind, other, content));
                continue;
            }
            match kind {
                STDOUT => came.output.extend(content),
                STDERR => came.errors.extend(content),
                END => {
                    let [a, b, c, d, protocol, ..] = content[..] else {
                        panic!("{content:?}");
                    };
                    came.end = Some((u32::from_be_bytes([a, b, c, d]), protocol));
                    return came;
                }
                _ => panic!("a record of type {kind}"),
            }
        }
        came
    }

    /// A whole request over the kept connection, and its response.
    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, target: &str, said: &[u8]) -> Reply {
        self.send(&request(1, true, method, target, said))
            .came(1)
            .reply()
    }

    /// The server has closed it.
    #[track_caller]
    pub(crate) fn is_closed(&mut self) {
        assert_eq!(self.record(), None);
    }
}

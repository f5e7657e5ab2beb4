//! A response: as the server's end writes it, and as a web server's end reads it.

use super::bad_record::BadRecord;
use super::record::{NO_REQUEST, RecordKind, Records, put};

/// Bytes of FCGI_END_REQUEST.
const END: u16 = 8;

/// Why a request was not served (`protocolStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotServed {
    /// Another request is being served on the connection.
    CannotMultiplex = 1,
    /// The server has no room.
    Overloaded = 2,
    /// It is not a responder that is asked for.
    UnknownRole = 3,
}

/// Appends the end of a response. `status`: what the program's exit status would be.
pub fn end(id: u16, status: u32, out: &mut Vec<u8>) {
    put_end(id, status, 0, out);
}

/// Appends the end of a request that is not served.
pub fn refuse(id: u16, refusal: NotServed, out: &mut Vec<u8>) {
    put_end(id, 0, refusal as u8, out);
}

fn put_end(id: u16, status: u32, protocol: u8, out: &mut Vec<u8>) {
    let [a, b, c, d] = status.to_be_bytes();
    put(
        RecordKind::EndRequest,
        id,
        &[a, b, c, d, protocol, 0, 0, 0],
        out,
    );
}

/// What the application has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken<'a> {
    /// The response is over.
    End {
        /// As an exit status.
        status: u32,
        /// It was not served, for this reason; 0: it was.
        protocol: u8,
    },
    /// Of its standard error.
    Stderr(&'a [u8]),
    /// Of the response.
    Stdout(&'a [u8]),
}

/// Reads the response to one request.
#[derive(Debug)]
pub struct ResponseReader {
    records: Records,
    id: u16,
    end: Vec<u8>,
    is_over: bool,
}

impl ResponseReader {
    /// To the request of this id.
    pub fn new(id: u16) -> ResponseReader {
        ResponseReader {
            records: Records::default(),
            id,
            end: Vec::new(),
            is_over: false,
        }
    }

    /// Takes what comes next from the beginning of `bytes`, which gets shorter by that. `None`: more bytes are needed.
    ///
    /// # Errors
    /// Nothing more can be read from the connection.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Spoken<'a>>, BadRecord> {
        while let Some(part) = self.records.next(bytes)? {
            let has_any = !part.content.is_empty();
            match part.head.kind {
                // It may tell of values that were not asked for.
                _ if part.head.id == NO_REQUEST => {}
                _ if part.head.id != self.id => return Err(BadRecord::Id),
                _ if self.is_over => return Err(BadRecord::Sequence),
                RecordKind::Stdout if has_any => return Ok(Some(Spoken::Stdout(part.content))),
                RecordKind::Stderr if has_any => return Ok(Some(Spoken::Stderr(part.content))),
                RecordKind::Stdout | RecordKind::Stderr => {}
                RecordKind::EndRequest if part.head.content != END => return Err(BadRecord::Body),
                RecordKind::EndRequest => {
                    self.end.extend_from_slice(part.content);
                    if let (true, Some(&[a, b, c, d, protocol])) =
                        (part.is_last, self.end.first_chunk())
                    {
                        self.is_over = true;
                        let status = u32::from_be_bytes([a, b, c, d]);
                        return Ok(Some(Spoken::End { status, protocol }));
                    }
                }
                _ => return Err(BadRecord::Sequence),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::record::put_stream;
    use super::*;

    /// Output, errors, and the end.
    type Whole = (Vec<u8>, Vec<u8>, Option<(u32, u8)>);

    fn said(bytes: &[u8], piece: usize) -> Result<Whole, BadRecord> {
        let mut reader = ResponseReader::new(3);
        let (mut out, mut errors, mut over) = (Vec::new(), Vec::new(), None);
        for mut piece in bytes.chunks(piece) {
            while let Some(said) = reader.next(&mut piece)? {
                match said {
                    Spoken::Stdout(bytes) => out.extend_from_slice(bytes),
                    Spoken::Stderr(bytes) => errors.extend_from_slice(bytes),
                    Spoken::End { status, protocol } => over = Some((status, protocol)),
                }
            }
        }
        Ok((out, errors, over))
    }

    #[test]
    fn a_response_in_any_pieces() {
        let mut bytes = Vec::new();
        put_stream(RecordKind::Stderr, 3, b"a line\n", false, &mut bytes);
        put_stream(RecordKind::Stdout, 3, &[b'r'; 70_000], true, &mut bytes);
        end(3, 2, &mut bytes);
        for piece in [1, 8, 4096, 1 << 20] {
            let (out, errors, over) = said(&bytes, piece).unwrap();
            assert_eq!(
                (out.len(), &errors[..], over),
                (70_000, &b"a line\n"[..], Some((2, 0)))
            );
        }
        let mut refused = Vec::new();
        refuse(3, NotServed::Overloaded, &mut refused);
        assert_eq!(said(&refused, 3).unwrap().2, Some((0, 2)));
    }

    #[test]
    fn wrong_records() {
        use BadRecord::*;
        let mut over = Vec::new();
        end(3, 0, &mut over);
        let head = |kind: u8, id: u8, length: u8| vec![1, kind, 0, id, 0, length, 0, 0];
        let cases = [
            (head(6, 4, 0), Id),
            (head(3, 3, 9), Body),
            (head(1, 3, 8), Sequence),
            ([&over[..], &head(6, 3, 0)].concat(), Sequence),
            (vec![2; 8], Version),
        ];
        for (bytes, bad) in cases {
            assert_eq!(said(&bytes, 1), Err(bad), "{bytes:?}");
        }
        assert_eq!(said(&head(10, 0, 0), 1), Ok((vec![], vec![], None)));
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..400), piece in 1_usize..50) {
            let _ = said(&bytes, piece);
        }
    }
}

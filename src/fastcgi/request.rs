//! A request as it comes over a connection, at the end of the server; and as a web server's end sends one.

use super::bad_record::BadRecord;
use super::pairs::{self, Pairs};
use super::record::{NO_REQUEST, RecordKind, RecordPart, Records, put};
use super::response::{self, NotServed};

const RESPONDER: u16 = 1;
const KEEP_CONN: u8 = 1;
/// Bytes of FCGI_BEGIN_REQUEST.
const BEGIN: u16 = 8;
/// What one that is asked for in another role says beside that.
const REFUSED: &[u8] = b"Status: 500 Internal Server Error\r\nContent-Type: text/plain\r\n\r\n";

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// The web server wants no answer any more.
    Abort,
    /// More of the message-body.
    Body(&'a [u8]),
    /// The message-body is all there.
    BodyEnd,
    /// A whole header.
    Header {
        /// The request, in what is answered.
        id: u16,
        /// The connection is for another request behind this one.
        keeps: bool,
        /// Names and values: [`Pairs`].
        params: Vec<u8>,
    },
    /// Is to be sent at once; it belongs to no request that we serve.
    Reply(Vec<u8>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ReadingStage {
    /// No request has begun.
    #[default]
    Idle,
    Params,
    Body,
    /// Until [`RequestReader::finish`].
    Whole,
}

/// Reads one request after the other. What belongs to a request that is not being served is ignored, as section 3.3 of
/// the specification has it.
#[derive(Debug)]
pub struct RequestReader {
    records: Records,
    limit: usize,
    stage: ReadingStage,
    id: u16,
    keeps: bool,
    params: Vec<u8>,
    /// Of a short record that is read as a whole.
    short: Vec<u8>,
}

impl RequestReader {
    /// `limit`: of the bytes of all names and values with their lengths.
    pub fn new(limit: usize) -> RequestReader {
        RequestReader {
            records: Records::default(),
            limit,
            stage: ReadingStage::Idle,
            id: NO_REQUEST,
            keeps: false,
            params: Vec::new(),
            short: Vec::new(),
        }
    }

    /// Nothing has come of a next request.
    pub fn is_idle(&self) -> bool {
        self.stage == ReadingStage::Idle && self.records.is_between()
    }

    /// The request that has begun, if any.
    pub fn id(&self) -> Option<u16> {
        (self.stage != ReadingStage::Idle).then_some(self.id)
    }

    /// Bytes that it holds.
    pub fn kept(&self) -> usize {
        self.params.len() + self.short.len()
    }

    /// The request is answered; the next one may begin. What still comes of this one is ignored.
    pub fn finish(&mut self) {
        self.stage = ReadingStage::Idle;
        self.id = NO_REQUEST;
        self.params = Vec::new();
    }

    /// Takes what comes next from the beginning of `bytes`, which gets shorter by that. `None`: more bytes are needed.
    ///
    /// # Errors
    /// Nothing more can be read from the connection.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Incoming<'a>>, BadRecord> {
        while let Some(part) = self.records.next(bytes)? {
            if let Some(heard) = self.hear(part)? {
                return Ok(Some(heard));
            }
        }
        Ok(None)
    }

    fn hear<'a>(&mut self, part: RecordPart<'a>) -> Result<Option<Incoming<'a>>, BadRecord> {
        let (id, is_end) = (part.head.id, part.head.content == 0);
        match part.head.kind {
            RecordKind::BeginRequest => self.begin(part),
            _ if id == NO_REQUEST => Ok(self.manage(part)),
            _ if id != self.id => Ok(None),
            RecordKind::AbortRequest => Ok(part.is_last.then_some(Incoming::Abort)),
            RecordKind::Params if self.stage == ReadingStage::Params && is_end => {
                self.stage = ReadingStage::Body;
                Ok(Some(Incoming::Header {
                    id,
                    keeps: self.keeps,
                    params: std::mem::take(&mut self.params),
                }))
            }
            RecordKind::Params if self.stage == ReadingStage::Params => {
                if self.params.len() + part.content.len() > self.limit {
                    return Err(BadRecord::TooLarge);
                }
                self.params.extend_from_slice(part.content);
                Ok(None)
            }
            RecordKind::Stdin if self.stage == ReadingStage::Body && is_end => {
                self.stage = ReadingStage::Whole;
                Ok(Some(Incoming::BodyEnd))
            }
            RecordKind::Stdin if self.stage == ReadingStage::Body => {
                let has_any = !part.content.is_empty();
                Ok(has_any.then_some(Incoming::Body(part.content)))
            }
            // Of another role.
            RecordKind::Data => Ok(None),
            _ => Err(BadRecord::Sequence),
        }
    }

    fn begin<'a>(&mut self, part: RecordPart<'_>) -> Result<Option<Incoming<'a>>, BadRecord> {
        if part.head.content != BEGIN || part.head.id == NO_REQUEST {
            return Err(BadRecord::Body);
        }
        let id = part.head.id;
        if self.stage != ReadingStage::Idle && id == self.id {
            return Err(BadRecord::Sequence);
        }
        let Some(body) = self.gather(part) else {
            return Ok(None);
        };
        let role = u16::from_be_bytes([body[0], body[1]]);
        let refusal = match self.stage {
            ReadingStage::Idle if role == RESPONDER => {
                self.stage = ReadingStage::Params;
                self.id = id;
                self.keeps = body[2] & KEEP_CONN != 0;
                return Ok(None);
            }
            ReadingStage::Idle => NotServed::UnknownRole,
            _ => NotServed::CannotMultiplex,
        };
        let mut reply = Vec::new();
        if refusal == NotServed::UnknownRole {
            // lighttpd takes an authorizer that says nothing for one that has no objection.
            put(RecordKind::Stdout, id, REFUSED, &mut reply);
            put(RecordKind::Stdout, id, b"", &mut reply);
        }
        response::refuse(id, refusal, &mut reply);
        Ok(Some(Incoming::Reply(reply)))
    }

    /// Answers a record that belongs to no request.
    fn manage<'a>(&mut self, part: RecordPart<'_>) -> Option<Incoming<'a>> {
        let kind = part.head.kind;
        let content = self.gather(part)?;
        let mut reply = Vec::new();
        match kind {
            RecordKind::GetValues => {
                let mut values = Vec::new();
                for (name, _) in Pairs(&content).map_while(Result::ok) {
                    // How many connections there may be is not for the web server to go by.
                    if name == b"FCGI_MPXS_CONNS" && values.is_empty() {
                        pairs::put(name, b"0", &mut values);
                    }
                }
                put(RecordKind::GetValuesResult, NO_REQUEST, &values, &mut reply);
            }
            other => {
                let body = [other.number(), 0, 0, 0, 0, 0, 0, 0];
                put(RecordKind::UnknownType, NO_REQUEST, &body, &mut reply);
            }
        }
        Some(Incoming::Reply(reply))
    }

    /// The whole content of a record, once it is there.
    fn gather(&mut self, part: RecordPart<'_>) -> Option<Vec<u8>> {
        self.short.extend_from_slice(part.content);
        part.is_last.then(|| std::mem::take(&mut self.short))
    }
}

/// Appends the beginning of a request, with its meta-variables.
pub fn begin<'a>(
    id: u16,
    keeps: bool,
    params: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    out: &mut Vec<u8>,
) {
    let [role1, role0] = RESPONDER.to_be_bytes();
    let flags = if keeps { KEEP_CONN } else { 0 };
    put(
        RecordKind::BeginRequest,
        id,
        &[role1, role0, flags, 0, 0, 0, 0, 0],
        out,
    );
    let mut stream = Vec::new();
    params.for_each(|(name, value)| pairs::put(name, value, &mut stream));
    super::record::put_stream(RecordKind::Params, id, &stream, true, out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::record::put_stream;
    use super::*;

    /// What a reader hears of all these bytes, bodies put together.
    fn heard(
        bytes: &[u8],
        piece: usize,
        limit: usize,
    ) -> Result<Vec<Incoming<'static>>, BadRecord> {
        let mut reader = RequestReader::new(limit);
        let (mut all, mut body) = (Vec::new(), Vec::new());
        for mut piece in bytes.chunks(piece) {
            while let Some(heard) = reader.next(&mut piece)? {
                let own = match heard {
                    Incoming::Body(bytes) => {
                        body.extend_from_slice(bytes);
                        continue;
                    }
                    Incoming::BodyEnd => {
                        let whole: &'static [u8] = std::mem::take(&mut body).leak();
                        all.push(Incoming::Body(whole));
                        Incoming::BodyEnd
                    }
                    Incoming::Header { id, keeps, params } => {
                        Incoming::Header { id, keeps, params }
                    }
                    Incoming::Reply(reply) => Incoming::Reply(reply),
                    Incoming::Abort => Incoming::Abort,
                };
                all.push(own);
            }
            assert!(piece.is_empty());
        }
        Ok(all)
    }

    fn request(id: u16, keeps: bool, body: &[u8]) -> Vec<u8> {
        let pairs: [(&[u8], &[u8]); 2] = [(b"REQUEST_METHOD", b"POST"), (b"X", b"")];
        let mut out = Vec::new();
        begin(id, keeps, pairs.into_iter(), &mut out);
        put_stream(RecordKind::Stdin, id, body, true, &mut out);
        out
    }

    #[test]
    fn a_request_in_any_pieces() {
        let bytes = request(7, true, &[b'b'; 70_000]);
        for piece in [1, 7, 8, 9, 4096, 1 << 20] {
            let all = heard(&bytes, piece, 1000).unwrap();
            let [
                Incoming::Header {
                    id: 7,
                    keeps: true,
                    params,
                },
                Incoming::Body(body),
                Incoming::BodyEnd,
            ] = &all[..]
            else {
                panic!("{all:?}");
            };
            let pairs: Result<Vec<_>, _> = Pairs(params).collect();
            assert_eq!(pairs.unwrap()[0], (&b"REQUEST_METHOD"[..], &b"POST"[..]));
            assert_eq!(body.len(), 70_000);
        }
    }

    #[test]
    fn what_is_not_served_is_refused() {
        let mut bytes = request(1, true, b"");
        // A second one, while the first is not answered; its records are ignored.
        bytes.extend(request(2, true, b"x"));
        let all = heard(&bytes, 5, 1000).unwrap();
        let refused = [1, 3, 0, 2, 0, 8, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
        assert_eq!(
            all[3],
            Incoming::Reply(refused.to_vec()),
            "FCGI_CANT_MPX_CONN"
        );
        assert_eq!(all.len(), 4);
        // FCGI_AUTHORIZER.
        let all = heard(&[1, 1, 0, 5, 0, 8, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0], 16, 1000).unwrap();
        let refused = [1, 3, 0, 5, 0, 8, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0];
        let [Incoming::Reply(reply)] = &all[..] else {
            panic!("{all:?}");
        };
        assert!(reply.ends_with(&refused), "FCGI_UNKNOWN_ROLE");
        assert_eq!(reply[8..8 + REFUSED.len()], *REFUSED);
    }

    #[test]
    fn what_belongs_to_no_request_is_answered() {
        let mut ask = Vec::new();
        for name in ["FCGI_MAX_CONNS", "FCGI_MPXS_CONNS", "NONSENSE"] {
            pairs::put(name.as_bytes(), b"", &mut ask);
        }
        let mut bytes = Vec::new();
        put(RecordKind::GetValues, NO_REQUEST, &ask, &mut bytes);
        put(RecordKind::Other(99), NO_REQUEST, b"?", &mut bytes);
        let all = heard(&bytes, 3, 1000).unwrap();
        let [Incoming::Reply(values), Incoming::Reply(unknown)] = &all[..] else {
            panic!("{all:?}");
        };
        let pairs: Result<Vec<_>, _> = Pairs(&values[8..]).collect();
        assert_eq!(pairs.unwrap(), [(&b"FCGI_MPXS_CONNS"[..], &b"0"[..])]);
        assert_eq!(unknown[..9], [1, 11, 0, 0, 0, 8, 0, 0, 99]);
    }

    #[test]
    fn wrong_records() {
        use BadRecord::*;
        let whole = request(1, false, b"body");
        let head = |kind: u8, id: u8, length: u8| vec![1, kind, 0, id, 0, length, 0, 0];
        let begun = &whole[..16];
        let cases = [
            (vec![0; 8], Version),
            (head(1, 1, 7), Body),
            (head(1, 0, 8), Body),
            ([begun, begun].concat(), Sequence),
            ([begun, &head(5, 1, 0)].concat(), Sequence),
            ([&whole[..], &head(5, 1, 0)].concat(), Sequence),
            ([&whole[..], &head(4, 1, 0)].concat(), Sequence),
            ([begun, &head(6, 1, 0)].concat(), Sequence),
        ];
        for (bytes, bad) in cases {
            assert_eq!(heard(&bytes, 1, 1000), Err(bad), "{bytes:?}");
        }
        assert_eq!(heard(&whole, 1, 10), Err(TooLarge));
        // Of a request that is not there.
        assert_eq!(heard(&head(5, 9, 0), 1, 10), Ok(vec![]));
    }

    #[test]
    fn an_abort_and_the_next_request() {
        let mut bytes = request(1, true, b"");
        put(RecordKind::AbortRequest, 1, b"", &mut bytes);
        let mut reader = RequestReader::new(1000);
        let (mut rest, mut all) = (&bytes[..], 0);
        while let Some(heard) = reader.next(&mut rest).unwrap() {
            all += 1;
            if all == 3 {
                assert_eq!(heard, Incoming::Abort);
            }
        }
        assert_eq!(all, 3);
        reader.finish();
        let next = request(1, true, b"");
        let mut rest = &next[..];
        assert!(matches!(
            reader.next(&mut rest),
            Ok(Some(Incoming::Header { id: 1, .. }))
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..400), piece in 1_usize..50) {
            let _ = heard(&bytes, piece, 100);
        }

        #[test]
        fn any_records_end(
            records in prop::collection::vec((0_u8..13, 0_u16..3, prop::collection::vec(any::<u8>(), 0..20)), 0..20),
            piece in 1_usize..50,
        ) {
            let mut bytes = Vec::new();
            records.iter().for_each(|(kind, id, content)| put(RecordKind::of(*kind), *id, content, &mut bytes));
            let _ = heard(&bytes, piece, 100);
        }
    }
}

//! A record's first eight bytes (section 3.3 of the specification), and a reader that follows record after record.

use super::bad_record::BadRecord;

/// Bytes of a record before its content.
pub const HEAD: usize = 8;
/// The most bytes of content.
pub const MOST: usize = u16::MAX as usize;
/// The id of records that belong to no request.
pub const NO_REQUEST: u16 = 0;

const VERSION: u8 = 1;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RecordKind {
    BeginRequest,
    AbortRequest,
    EndRequest,
    Params,
    Stdin,
    Stdout,
    Stderr,
    Data,
    GetValues,
    GetValuesResult,
    UnknownType,
    /// Of a later version of the specification.
    Other(u8),
}

const KINDS: [RecordKind; 11] = [
    RecordKind::BeginRequest,
    RecordKind::AbortRequest,
    RecordKind::EndRequest,
    RecordKind::Params,
    RecordKind::Stdin,
    RecordKind::Stdout,
    RecordKind::Stderr,
    RecordKind::Data,
    RecordKind::GetValues,
    RecordKind::GetValuesResult,
    RecordKind::UnknownType,
];

impl RecordKind {
    /// Of this number.
    pub fn of(number: u8) -> RecordKind {
        let known = usize::from(number).checked_sub(1);
        let known = known.and_then(|at| KINDS.get(at));
        known.copied().unwrap_or(RecordKind::Other(number))
    }

    /// Its number.
    pub fn number(self) -> u8 {
        match self {
            RecordKind::Other(number) => number,
            known => {
                let at = KINDS.iter().position(|&kind| kind == known);
                at.map_or(0, |at| at as u8 + 1)
            }
        }
    }
}

/// The beginning of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHead {
    /// What it is.
    pub kind: RecordKind,
    /// Which request it belongs to.
    pub id: u16,
    /// Bytes of content.
    pub content: u16,
    /// Bytes behind it, without meaning.
    pub padding: u8,
}

impl RecordHead {
    /// # Errors
    /// `Version`.
    pub fn read(bytes: [u8; HEAD]) -> Result<RecordHead, BadRecord> {
        let [version, kind, id1, id0, length1, length0, padding, _] = bytes;
        if version != VERSION {
            return Err(BadRecord::Version);
        }
        Ok(RecordHead {
            kind: RecordKind::of(kind),
            id: u16::from_be_bytes([id1, id0]),
            content: u16::from_be_bytes([length1, length0]),
            padding,
        })
    }

    /// Its bytes.
    pub fn write(self) -> [u8; HEAD] {
        let ([id1, id0], [length1, length0]) = (self.id.to_be_bytes(), self.content.to_be_bytes());
        let kind = self.kind.number();
        [VERSION, kind, id1, id0, length1, length0, self.padding, 0]
    }
}

/// Appends a record. `content`: at most [`MOST`] bytes.
pub fn put(kind: RecordKind, id: u16, content: &[u8], out: &mut Vec<u8>) {
    debug_assert!(content.len() <= MOST);
    let head = RecordHead {
        kind,
        id,
        content: content.len() as u16,
        padding: 0,
    };
    out.extend_from_slice(&head.write());
    out.extend_from_slice(content);
}

/// Appends a stream, as many records as it needs, and its end if `is_last`.
pub fn put_stream(kind: RecordKind, id: u16, bytes: &[u8], is_last: bool, out: &mut Vec<u8>) {
    for content in bytes.chunks(MOST) {
        put(kind, id, content, out);
    }
    if is_last {
        put(kind, id, b"", out);
    }
}

/// Follows the records of a connection, whatever the pieces are in which they come.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    head: [u8; HEAD],
    /// How much of the next head is there.
    has: usize,
    /// The record that is being read, and how much of its content and of its padding is still to come.
    now: Option<RecordHead>,
    content: usize,
    padding: usize,
}

/// A part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordPart<'a> {
    pub(super) head: RecordHead,
    pub(super) content: &'a [u8],
    /// It is the first part, or the last one.
    pub(super) is_first: bool,
    pub(super) is_last: bool,
}

impl Records {
    /// No byte of a next record has come.
    pub(super) fn is_between(&self) -> bool {
        self.now.is_none() && self.has == 0
    }

    /// Takes the next part from the beginning of `bytes`, which gets shorter by that. `None`: more bytes are needed.
    pub(super) fn next<'a>(
        &mut self,
        bytes: &mut &'a [u8],
    ) -> Result<Option<RecordPart<'a>>, BadRecord> {
        let is_first = self.now.is_none();
        let head = match self.now {
            Some(head) => head,
            None => {
                let skipped = self.padding.min(bytes.len());
                self.padding -= skipped;
                let here = take(bytes, skipped + (HEAD - self.has));
                let here = &here[skipped..];
                self.head[self.has..][..here.len()].copy_from_slice(here);
                self.has += here.len();
                if self.has < HEAD {
                    return Ok(None);
                }
                let head = RecordHead::read(self.head)?;
                self.has = 0;
                self.content = usize::from(head.content);
                self.now = Some(head);
                head
            }
        };
        let content = take(bytes, self.content);
        self.content -= content.len();
        let is_last = self.content == 0;
        if is_last {
            self.now = None;
            self.padding = usize::from(head.padding);
        } else if content.is_empty() && !is_first {
            return Ok(None);
        }
        Ok(Some(RecordPart {
            head,
            content,
            is_first,
            is_last,
        }))
    }
}

/// The first bytes, at most so many.
fn take<'a>(bytes: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(most.min(bytes.len()));
    *bytes = rest;
    taken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn kinds_have_the_specification_s_numbers() {
        assert_eq!(RecordKind::BeginRequest.number(), 1);
        assert_eq!(RecordKind::Stdout.number(), 6);
        assert_eq!(RecordKind::UnknownType.number(), 11);
        for number in 0..=255 {
            assert_eq!(RecordKind::of(number).number(), number);
        }
    }

    #[test]
    fn a_head_of_the_specification_s_example() {
        // {FCGI_BEGIN_REQUEST, 1, {FCGI_RESPONDER, 0}}
        let bytes = [1, 1, 0, 1, 0, 8, 0, 0];
        let head = RecordHead {
            kind: RecordKind::BeginRequest,
            id: 1,
            content: 8,
            padding: 0,
        };
        assert_eq!(RecordHead::read(bytes), Ok(head));
        assert_eq!(head.write(), bytes);
        assert_eq!(
            RecordHead::read([2, 1, 0, 1, 0, 8, 0, 0]),
            Err(BadRecord::Version)
        );
    }

    proptest! {
        #[test]
        fn any_pieces_make_the_same_records(
            records in prop::collection::vec(
                (any::<u8>(), any::<u16>(), prop::collection::vec(any::<u8>(), 0..40), 0_u8..9), 0..9),
            pieces in prop::collection::vec(1_usize..20, 1..20),
        ) {
            let mut bytes = Vec::new();
            for (kind, id, content, padding) in &records {
                let (kind, content_len) = (RecordKind::of(*kind), content.len() as u16);
                let head = RecordHead { kind, id: *id, content: content_len, padding: *padding };
                bytes.extend_from_slice(&head.write());
                bytes.extend_from_slice(content);
                bytes.extend(std::iter::repeat_n(7, usize::from(*padding)));
            }
            let (mut reader, mut found) = (Records::default(), Vec::new());
            let (mut at, mut pieces) = (0, pieces.iter().cycle());
            while at < bytes.len() {
                let end = (at + pieces.next().unwrap()).min(bytes.len());
                let mut piece = &bytes[at..end];
                while let Some(part) = reader.next(&mut piece).unwrap() {
                    if part.is_first {
                        found.push((part.head, Vec::new(), false));
                    }
                    let last = found.last_mut().unwrap();
                    prop_assert!(!last.2, "nothing follows the last part");
                    last.1.extend_from_slice(part.content);
                    last.2 = part.is_last;
                }
                prop_assert!(piece.is_empty());
                at = end;
            }
            prop_assert_eq!(found.len(), records.len());
            for ((head, content, is_whole), record) in found.iter().zip(&records) {
                prop_assert!(is_whole);
                prop_assert_eq!((head.kind.number(), head.id, content), (record.0, record.1, &record.2));
            }
        }
    }
}

//! What can be wrong with FastCGI records, and the sentence for each.

use std::fmt;

/// What can be wrong with what came over a connection. After any of these nothing more can be read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRecord {
    /// FCGI_BEGIN_REQUEST or FCGI_END_REQUEST is not of eight bytes.
    Body,
    /// Another request's id than the one that is being read.
    Id,
    /// A pair's lengths lead beyond the end of the stream.
    Pair,
    /// A record that has no meaning at this moment.
    Sequence,
    /// The meta-variables are larger than allowed.
    TooLarge,
    /// The version is not 1.
    Version,
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadRecord::Body => "a FastCGI record does not have the length that its type has",
            BadRecord::Id => "a FastCGI record has the id of another request",
            BadRecord::Pair => "a FastCGI name or value is longer than its stream",
            BadRecord::Sequence => "a FastCGI record came out of its turn",
            BadRecord::TooLarge => "the FastCGI meta-variables are larger than allowed",
            BadRecord::Version => "a FastCGI record is not of version 1",
        })
    }
}

impl std::error::Error for BadRecord {}

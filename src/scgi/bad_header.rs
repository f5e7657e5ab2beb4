//! What can be wrong with an SCGI header's bytes, and the sentence for each.

use std::fmt;

/// What can be wrong with a header. TooLarge is a 431, the others are a 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHeader {
    /// No comma after the content.
    Comma,
    /// CONTENT_LENGTH is not the first name, or its value is neither empty nor digits.
    ContentLength,
    /// A name is empty.
    EmptyName,
    /// The netstring does not begin with its length (digits without a leading zero) and a colon.
    Length,
    /// The last value does not end in NUL, or a name has no value.
    Nul,
    /// SCGI is missing, or is not 1.
    Scgi,
    /// The length is larger than allowed.
    TooLarge,
}

impl fmt::Display for BadHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadHeader::Comma => "the SCGI header does not end in a comma where its length says",
            BadHeader::ContentLength => {
                "the SCGI header does not begin with CONTENT_LENGTH and digits"
            }
            BadHeader::EmptyName => "the SCGI header has an empty name",
            BadHeader::Length => "the SCGI header does not begin with its length",
            BadHeader::Nul => "the SCGI header does not end with a value and NUL",
            BadHeader::Scgi => "the SCGI header has no SCGI=1",
            BadHeader::TooLarge => "the SCGI header is larger than allowed",
        })
    }
}

impl std::error::Error for BadHeader {}

//! What can be wrong with a response's head, and the sentence for each.

use std::fmt;

/// What can be wrong with a response's head. Each is a 502.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHead {
    /// A control character in a value.
    Control,
    /// A line that continues the one before; CGI/1.1 has no such lines (RFC 3875 6.3).
    Folded,
    /// A line that is longer than Apache's buffer.
    LineTooLong,
    /// A field's name is empty or has a character that no name may have.
    Name,
    /// A line without a colon.
    NoColon,
    /// White space between name and colon (RFC 3875 6.3).
    SpaceBeforeColon,
    /// A Status that is not a status code.
    Status,
    /// The head does not end within the limit.
    TooLarge,
}

impl fmt::Display for BadHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadHead::Control => "a header field has a control character in its value",
            BadHead::Folded => "a header field is continued on a second line",
            BadHead::LineTooLong => "a line has more than 8,189 bytes",
            BadHead::Name => "a header field's name is not valid",
            BadHead::NoColon => "a line before the empty line has no colon",
            BadHead::SpaceBeforeColon => "a header field has white space before its colon",
            BadHead::Status => "Status is not a status code",
            BadHead::TooLarge => "the head is larger than allowed, or does not end",
        })
    }
}

impl std::error::Error for BadHead {}

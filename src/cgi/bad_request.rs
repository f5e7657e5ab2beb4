//! What can be wrong with a request's meta-variables, and the sentence for each.

use std::fmt;

/// What can be wrong with a request's meta-variables. Each is a 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRequest {
    /// The message-body is in chunks, and the web server passes them on as they are.
    Coded,
    /// CONTENT_LENGTH is not a number of up to 64 bits in digits.
    ContentLength,
    /// A name came twice, with different values.
    Duplicate,
    /// A name is empty.
    EmptyName,
    /// A name holds `=` or NUL: it can't be put into an environment.
    Name,
    /// A value holds NUL.
    Value,
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadRequest::Coded => {
                "the message-body is in chunks, which the web server does not decode"
            }
            BadRequest::ContentLength => "CONTENT_LENGTH is not a number",
            BadRequest::Duplicate => "a meta-variable came twice with different values",
            BadRequest::EmptyName => "a meta-variable has an empty name",
            BadRequest::Name => "a meta-variable has '=' or NUL in its name",
            BadRequest::Value => "a meta-variable has NUL in its value",
        })
    }
}

impl std::error::Error for BadRequest {}

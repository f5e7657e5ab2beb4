//! The SCGI codec: meta-variables to a header and back. It moves no bytes and knows no socket.
//!
//! A request is one netstring (the header), then the message-body. Two things are ours. An empty CONTENT_LENGTH means
//! that the request had none; "0" is a body of no bytes. And there are the pairs POLYCGI and POLYCGI_CONTROL, which are
//! pairs like any other here.
#![forbid(unsafe_code)]

mod bad_header;
pub mod decode;
pub mod encode;
mod netstring;

pub use bad_header::BadHeader;
pub use decode::{Decoded, Header, decode};
pub use encode::{encode, message, open};

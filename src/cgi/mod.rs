//! CGI/1.1 as RFC 3875 writes it: meta-variables in, a response head out; it moves no bytes.
#![forbid(unsafe_code)]

mod field;
mod head;
pub mod meta;
pub mod request;
pub mod response;
mod status;
mod unique;

pub use meta::Peer;
pub use request::{BadRequest, Request};
pub use response::{BadHead, Head, StatusCode};

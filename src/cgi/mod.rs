//! CGI/1.1 as RFC 3875 defines it: a request's meta-variables and a response's head. It moves no bytes.
#![forbid(unsafe_code)]

mod bad_head;
mod bad_request;
pub mod cookie;
mod doubt;
pub mod edge;
pub mod extent;
mod field;
mod head;
pub mod measured;
pub mod meta;
pub mod reader;
mod redirect;
pub mod repeated;
pub mod request;
pub mod response;
pub mod script;
mod status;
pub mod unique;
pub mod uri;

/// A message-body that was read to its end.
pub mod body {
    pub use super::extent::undone;
    pub use super::measured::Measured;
}

pub use bad_head::BadHead;
pub use bad_request::BadRequest;
pub use doubt::Doubt;
pub use extent::Extent;
pub use meta::Peer;
pub use reader::Reader;
pub use request::Request;
pub use response::{Head, StatusCode};
pub use script::{ScriptPath, Unmounted};

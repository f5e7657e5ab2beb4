//! CGI/1.1 as RFC 3875 writes it: meta-variables in, a response head out; it moves no bytes.
#![forbid(unsafe_code)]

pub mod body;
mod doubt;
pub mod edge;
mod field;
mod head;
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

pub use body::Extent;
pub use doubt::Doubt;
pub use meta::Peer;
pub use reader::Reader;
pub use request::{BadRequest, Request};
pub use response::{BadHead, Head, StatusCode};
pub use script::{ScriptPath, Unmounted};

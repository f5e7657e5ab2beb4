//! The FastCGI codec: records, and what they mean at either end of a connection (FastCGI Specification 1.0, Open Market,
//! 1996). It moves no bytes and knows no socket.
//!
//! Both ends here have one request on a connection at a time: FCGI_MPXS_CONNS is 0, and a second one that begins while the
//! first is not over is refused with FCGI_CANT_MPX_CONN. The one role is the responder.
//!
//! Every length is bounded before anything is kept: a record's content by its 16 bits, the meta-variables of a request by
//! the limit that the reader was given.
#![forbid(unsafe_code)]

mod bad_record;
pub mod pairs;
pub mod record;
pub mod request;
pub mod response;

pub use bad_record::BadRecord;
pub use record::{RecordHead, RecordKind};
pub use request::{Incoming, RequestReader};
pub use response::{ResponseReader, Spoken};

//! What to do, and when: pure decisions over facts, events and a clock that is handed in.
//! Knows nothing of sockets, processes or files.
#![forbid(unsafe_code)]

pub mod backoff;
mod facts;
pub mod pool;
pub mod queue;
pub mod rental;
pub mod route;
pub mod rule;
pub mod server;
pub mod shares;
pub mod start_time;
pub mod tally;
pub mod uses;

//! The system's calls, one at a time: the only room with `unsafe` and `nix`.
//! Knows descriptors, processes and errnos; knows nothing of requests, apps or policy.

pub mod accounts;
pub mod backlog;
pub mod claim;
pub mod clock;
pub mod environ;
pub mod fdpass;
pub mod files;
pub mod glob;
pub mod listen;
pub mod load;
pub mod lock;
pub mod mark;
pub mod memory;
pub mod named;
pub mod passage;
pub mod poll;
pub mod pressure;
pub mod process;
pub mod program;
pub mod random;
pub mod signal;
pub mod socket;
pub mod splice;
pub mod terminal;

pub use nix::errno::Errno;
pub use socket::{is, is_shortage};

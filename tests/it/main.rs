//! The integration tests: real web servers, real clients, the installed binary. This file knows only what there is.
//!
//! `make test` installs into a PREFIX of its own, names it in POLYCGI_PREFIX and runs them.
#![cfg(test)]

mod apache;
mod binary;
mod broken_import;
mod cli;
mod control;
mod crowd;
mod daemon;
mod edit;
mod faults;
mod forms;
mod gone;
mod handoff;
mod harness;
mod hg;
mod keys;
mod killed;
mod leaving;
mod limits;
mod overload;
mod places;
mod races;
mod scgi;
mod slow;
mod stderr;
mod util;

//! The integration tests: real web servers, real clients, the installed binary. This file knows only what there is.
//!
//! `make test` installs into a PREFIX of its own, names it in POLYCGI_PREFIX and runs them.
#![cfg(test)]

mod apache;
mod apps;
mod begun;
mod binary;
mod broken_import;
mod cgi_daemon;
mod cgi_limits;
mod cgi_slow;
mod cgi_time;
mod chunked;
mod cli;
mod connect;
mod control;
mod crowd;
mod daemon;
mod edit;
mod error_pages;
mod examples;
#[cfg(target_arch = "x86_64")]
mod express;
mod extremes;
mod faults;
mod files;
mod forms;
mod gone;
mod green;
mod handoff;
mod harness;
mod heads;
mod hg;
mod inflated;
mod keys;
mod killed;
mod last_words;
mod lean;
mod leaving;
mod limits;
mod listen;
mod matrix;
mod mount;
mod overload;
mod places;
mod races;
mod refusals;
mod roads;
mod root;
mod scgi;
mod servers;
mod silent;
mod slow;
mod staying;
mod stderr;
mod strangers;
mod suexec;
mod util;
mod weight;

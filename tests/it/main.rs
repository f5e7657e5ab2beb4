//! The integration tests: real web servers, real clients, the installed binary. This file knows only what there is.
//!
//! `make test` installs into a PREFIX of its own, names it in POLYCGI_PREFIX and runs them; `make test T=WORD` does so
//! for those whose path (`FILE::NAME`) holds the word.
//!
//! # To write one
//! A file here is about one thing, which its first line says, and is named below; what several tests need goes to
//! [`util`], whose first lines say which type does what. A function is a sentence that holds when the test passes.
//!
//! ```ignore
//! //! What an app file without a final newline does.
//! use super::util::{Mpm, Site, under_both};
//!
//! under_both!(the_last_line_counts);
//!
//! fn the_last_line_counts(mpm: Mpm) {
//!     let site = Site::configured(mpm, 16, "wsgi = testapp:application\nmode = daemon");
//!     assert_eq!(site.get("/status/200").ok(), "status 200\n");
//! }
//! ```
//!
//! With `mode = auto` a busy machine starts the daemon: a test that is about one way says `mode = cgi` or `daemon`.
//!
//! The applications are in tests/apps: routes of `testapp` that are right, of `faultapp` and `cgiapp` that go wrong or
//! wait. Each test must also be shown to fail: break what it is about, and see it.
#![cfg(test)]
// Cargo reads what a test prints.
#![allow(clippy::disallowed_macros)]

mod accepting;
mod apache;
mod apps;
mod begun;
mod binary;
mod broken_import;
mod cgi_daemon;
mod cgi_limits;
mod cgi_slow;
mod cgi_time;
mod check;
mod chunked;
mod cli;
mod compare;
mod completions;
mod connect;
mod control;
mod crowd;
mod daemon;
mod demo;
mod edit;
mod error_pages;
mod examples;
#[cfg(target_arch = "x86_64")]
mod express;
mod extremes;
mod fastcgi;
mod faults;
mod files;
mod forms;
mod full;
mod gone;
mod green;
mod guides;
mod handoff;
mod harness;
mod heads;
mod hg;
mod inflated;
mod installing;
mod kept;
mod keys;
mod killed;
mod last_words;
mod lean;
mod leaving;
mod limits;
mod listen;
mod manual;
mod matrix;
mod mistakes;
mod mount;
mod new;
mod overload;
mod packages;
mod places;
mod ported;
mod pressure;
mod races;
mod ranks;
mod refusals;
mod roads;
mod root;
mod scgi;
mod servers;
mod silent;
mod slow;
mod starting;
mod status;
mod status_page;
mod staying;
mod stderr;
mod strangers;
mod suexec;
mod tickets;
mod titles;
mod util;
mod views;
mod visits;
mod waiting;
mod weight;

//! Whether the responses that an app gives in two ways are the same: what differs between the ways is told apart from
//! what differs between two runs of one way (dates, nonces, the order of a set). It knows heads and bodies; it runs
//! nothing and asks no clock.
//!
//! # Theory of operation
//! The plain CGI is the measure, since it remembers nothing: what changes between its runs changes by itself. Its runs
//! make a [`template`], in which such places are open. What of a daemon's response does not fit the template differs
//! between the ways, also if it changes from run to run: a global that survives does that. The runs are made in turns,
//! and the last is a CGI's, so a change that only time makes in a daemon's response is seen in a CGI's after it.
#![forbid(unsafe_code)]

mod diff;
mod finding;
mod json;
mod observed;
mod profile;
mod template;
mod text;
mod times;

pub use finding::{Comparison, compare};
#[cfg(test)]
pub(crate) use json::report_in_json;
pub use json::to_json;
pub use observed::Observed;
pub use profile::{Growth, Profile};
pub use text::to_text;
pub use times::{Cost, Part, Times, Timing};

/// What was compared, and what it took.
#[derive(Debug)]
pub struct Report<'a> {
    /// The app, as a person names it.
    pub app: &'a str,
    /// Method and path.
    pub request: &'a str,
    /// What differs.
    pub comparison: &'a Comparison,
    /// The plain CGI's runs, without the last.
    pub cgi: Times,
    /// The daemon's.
    pub daemon: Times,
    /// What a plain CGI's time is made of, if that is known.
    pub parts: &'a [Part],
    /// With `--profile`.
    pub profile: Option<&'a Profile>,
    /// Why the daemon could not start the app, and what the app has said; lines.
    pub failure: Option<&'a str>,
    /// What the first plain CGI has written to its standard error.
    pub stderr: &'a str,
}

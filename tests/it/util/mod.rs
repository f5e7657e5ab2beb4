//! What the tests are written with: directories, servers, clients and deadlines. It tests nothing itself.
//!
//! # What starts what
//! | type | starts |
//! | --- | --- |
//! | [`Dir`] | nothing: a directory for the test, with `cgi-bin`, `apps`, `run` and `tmp`; [`Dir::app_file`] puts an
//! app there |
//! | [`Site`] | Apache of either kind, and an app in its `cgi-bin`: what most tests begin with |
//! | [`Hosted`] | the same behind any [`WebServer`], by CGI or by SCGI |
//! | [`Configured`] | a web server with nothing but an operator's own text as its configuration |
//! | [`kinds::Kinds`] | Apache, and one page by every kind of app in every way |
//! | [`Served`] | no web server: a daemon whose clients are fronts and plain SCGI clients of the test's own |
//! | [`cgi::front`] | a command that is run as a web server would run it; [`run`] it, or hold it by [`Running`] or
//! [`Piped`] |
//! | [`Listening`] | an SCGI server beside polycgi, for an app of `connect` |
//! | [`scgi::ScgiClient`] | a plain SCGI client of the daemon |
//! | [`records::Records`] | a FastCGI client of the daemon |
//! | [`Conversation`] | one HTTP request, whose response can be read piece by piece; [`slow::Slow`] and [`Chunked`]
//! send otherwise |
//! | [`Load`] | threads of clients that ask beside what the test does |
//! | [`pressure::Pressure`] | programs that read another memory pressure |
//! | [`refused::Host`] | programs whose system calls the kernel refuses, as a full or a hardened host does |
//! | [`world::World`] | a `/tmp` and a `/run` of the test's own, for what root does; [`suexec::Suexec`] users of its
//! own |
//! | [`machine::Machine`] | a whole Debian machine, booted by systemd, for packages, services and system folders |
//!
//! # What waits
//! Every wait has a [`Deadline`], which is longer on a busy machine, and waits for an event: a descriptor
//! ([`Deadline::readable`]), a process's end ([`Deadline::ended`]), a change in a folder ([`Watch`]). None sleeps. An
//! application says at a [`Gate`] that it has come, and waits there until the test opens it. `until_status_has`,
//! `until_logged` and the like ask again until it is so. Time-outs of polycgi that a test lets pass are written
//! `SECOND` in the app file, which is more than a second on a busy machine.
//!
//! # What is cleaned, and what fails
//! Dropping `Site` or `Hosted` stops the web server: a line in its error log fails the test, unless the test has read
//! the log (`log`, `logged`). Dropping [`Dir`] asks the daemons to leave and removes the directory: a process, a
//! socket or a temporary file that is left fails the test. tests/it/harness.rs shows that. Fields are dropped in
//! their order, so the directory is the last one.
//!
//! # As whom
//! As root, servers, apps and commands run as www-data ([`as_user`]), otherwise as the user who runs the tests; with
//! `PATH`, `LANG` and nothing else in their environment. What needs root, or another user, says [`not_tested`] where it
//! can't have that.

mod apache;
mod busybox;
mod caddy;
pub(crate) mod cgi;
mod chunked;
pub(crate) mod command;
pub(crate) mod daemon;
mod deadline;
mod dir;
mod fcgiwrap;
mod gate;
mod go;
pub(crate) mod golden;
mod h2o;
mod haproxy;
mod hosted;
mod http;
mod http_server;
pub(crate) mod kinds;
mod lighttpd;
mod listening;
mod load;
pub(crate) mod machine;
pub(crate) mod nginx;
pub(crate) mod patient;
pub(crate) mod pids_group;
mod piped;
pub(crate) mod pressure;
pub(crate) mod process;
pub(crate) mod program;
mod python_tests;
pub(crate) mod records;
pub(crate) mod refused;
pub(crate) mod scgi;
pub(crate) mod served;
mod server;
mod silent_disk;
mod site;
pub(crate) mod slow;
mod small_disk;
pub(crate) mod strace;
pub(crate) mod strangers;
pub(crate) mod suexec;
mod watch;
pub(crate) mod world;

use std::env;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::PathBuf;

pub(crate) use apache::Mpm;
pub(crate) use chunked::Chunked;
pub(crate) use command::{Output, Running, as_other, as_user, client, digest, run};
pub(crate) use deadline::{Deadline, MOST_STRAIN, strain};
pub(crate) use dir::Dir;
pub(crate) use gate::Gate;
pub(crate) use hosted::{Hosted, Mode};
pub(crate) use http::{Conversation, Reply};
pub(crate) use listening::Listening;
pub(crate) use load::{Chance, Load, pause};
pub(crate) use piped::Piped;
pub(crate) use program::free_address;
pub(crate) use python_tests::python_tests;
pub(crate) use served::Served;
pub(crate) use server::{Configured, Server, WebServer};
pub(crate) use silent_disk::SilentDisk;
pub(crate) use site::{Site, Way};
pub(crate) use small_disk::SmallDisk;
pub(crate) use watch::Watch;

/// PATH of every program of a test; nothing is taken from the environment of the tests.
pub(crate) const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A queue in which requests stay as long as a test holds the worker, on a busy machine too.
pub(crate) const LONG_QUEUE: &str = "queue-timeout = 5m\nqueue-target = 5m\n";

/// Where polycgi was installed for these tests.
pub(crate) fn prefix() -> PathBuf {
    env::var_os("POLYCGI_PREFIX")
        .map(PathBuf::from)
        .expect("POLYCGI_PREFIX is not set: `make test` installs into a PREFIX and names it; so can you, by hand")
}

/// The text with each break of a line and what blanks are beside it as one blank: where a sentence was wrapped, its
/// words are still found.
pub(crate) fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Says what this machine or this user can't test; to stderr itself, since cargo shows the output of failed tests only.
pub(crate) fn not_tested(what: &str) {
    // Without a stderr it can't be said.
    let _ = writeln!(io::stderr(), "not tested: {what}");
}

/// The installed program of that name.
pub(crate) fn installed(name: impl AsRef<OsStr>) -> PathBuf {
    let path = prefix().join("bin").join(name.as_ref());
    assert!(
        path.exists(),
        "{} is not there: `make install PREFIX={}`",
        path.display(),
        prefix().display()
    );
    path
}

/// Makes a test of each check under each of the two kinds of Apache.
macro_rules! under_both {
    ($($check:ident)*) => {
        mod event {
            $(#[test]
            fn $check() {
                super::$check(crate::util::Mpm::Event);
            })*
        }
        mod prefork {
            $(#[test]
            fn $check() {
                super::$check(crate::util::Mpm::Prefork);
            })*
        }
    };
}
pub(crate) use under_both;

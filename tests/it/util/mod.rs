//! What the tests stand on: directories, servers, clients and deadlines. It knows nothing of what is tested.

mod apache;
mod busybox;
pub(crate) mod cgi;
mod chunked;
mod command;
pub(crate) mod daemon;
mod deadline;
mod dir;
mod fcgiwrap;
mod gate;
mod hosted;
mod http;
mod lighttpd;
mod load;
pub(crate) mod nginx;
pub(crate) mod patient;
mod piped;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod refused;
pub(crate) mod scgi;
pub(crate) mod served;
mod server;
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
pub(crate) use command::{Output, Running, as_other, as_user, digest, run};
pub(crate) use deadline::Deadline;
pub(crate) use dir::Dir;
pub(crate) use gate::Gate;
pub(crate) use hosted::{Hosted, Mode};
pub(crate) use http::{Conversation, Reply};
pub(crate) use load::{Chance, Load, pause};
pub(crate) use piped::Piped;
pub(crate) use program::free_address;
pub(crate) use served::Served;
pub(crate) use server::{Configured, Server, WebServer};
pub(crate) use site::{Site, Way};
pub(crate) use small_disk::SmallDisk;
pub(crate) use watch::Watch;

/// What every program of a test has for PATH: nothing of the person who runs the tests.
pub(crate) const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Where polycgi was installed for these tests.
pub(crate) fn prefix() -> PathBuf {
    env::var_os("POLYCGI_PREFIX")
        .map(PathBuf::from)
        .expect("POLYCGI_PREFIX is not set: `make test` installs into a PREFIX and names it; so can you, by hand")
}

/// Says what this machine or this user can't test, past the harness, which shows the words of failed tests only.
pub(crate) fn not_tested(what: &str) {
    // Without a stderr there is nobody to tell.
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

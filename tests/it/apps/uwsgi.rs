//! uWSGI, which speaks SCGI too: at the other end of `connect`, and as a server of ours that takes its socket or binds
//! it. Its app is the one that our own adaptor serves elsewhere, and the answers are the same.

use std::process::Command;

use super::super::util::program::Program;
use super::super::util::{Mpm, Way, under_both};
use super::{flask, served_by, site, start_server};

const UWSGI: &str = "/usr/bin/uwsgi-core";

under_both!(by_connect ours_by_descriptor ours_by_path);

/// Its options but for the socket.
const WORDS: &str = "--plugin python3 --module flaskapp:application --need-app --die-on-term";

fn by_connect(mpm: Mpm) {
    let mut site = site(mpm, Way::Daemon, |dir| {
        format!("connect = {}/server/scgi", dir.path().display())
    });
    // The server does not run yet.
    let refused = site.get("/");
    assert_eq!(refused.status(), 503);
    assert!(refused.field("Retry-After").is_some());
    site.logged("/server/scgi");
    let mut command: Command = Program::command(UWSGI, "uwsgi-core");
    command.args(["--scgi-socket", "scgi"]);
    command.args(WORDS.split(' '));
    command.arg("--pythonpath").arg(site.dir.join("apps"));
    command.env("TMPDIR", site.dir.join("tmp"));
    let mut server = start_server(&site.dir, "uwsgi", &mut command, "spawned uWSGI worker");
    flask::session(&site);
    flask::bodies_of_all_kinds(&site);
    served_by(&site, Way::Daemon);
    server.stop();
    assert_eq!(site.get("/").status(), 503);
}

/// uWSGI knows LISTEN_FDS, and has to be told that this socket speaks SCGI.
fn ours_by_descriptor(mpm: Mpm) {
    ours(mpm, &format!("{UWSGI} --protocol scgi"));
}

/// It must not see LISTEN_FDS: on such a socket it would speak its own protocol.
fn ours_by_path(mpm: Mpm) {
    ours(
        mpm,
        &format!("env -u LISTEN_FDS {UWSGI} --scgi-socket {{socket}}"),
    );
}

#[track_caller]
fn ours(mpm: Mpm, uwsgi: &str) {
    let site = site(mpm, Way::Daemon, |_| format!("scgi = {uwsgi} {WORDS}"));
    flask::session(&site);
    flask::bodies_of_all_kinds(&site);
    served_by(&site, Way::Daemon);
}

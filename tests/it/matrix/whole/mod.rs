//! The whole matrix: every web server by every kind of app by every real client, and the table of it that the README
//! shows.
//!
//! `make test-matrix` makes each combination, and prints the table. `make test` makes all of curl's, and one for each
//! other client, in the daemon, where no other test has it: the rest takes minutes.

mod clients;
mod table;

use std::env;
use std::path::PathBuf;

use self::clients::{Client, Kind};
use crate::util::{Mode, WebServer};

/// The web servers, and a module of tests for each: a test for each client.
macro_rules! servers {
    ($($name:ident $server:ident,)*) => {
        pub(super) const SERVERS: &[WebServer] = &[$(WebServer::$server),*];
        $(mod $name {
            use super::{Client, WebServer, check};
            #[test]
            fn browser() {
                check(WebServer::$server, Client::Browser);
            }
            #[test]
            fn curl() {
                check(WebServer::$server, Client::Curl);
            }
            #[test]
            fn fossil() {
                check(WebServer::$server, Client::Fossil);
            }
            #[test]
            fn git() {
                check(WebServer::$server, Client::Git);
            }
            #[test]
            fn hg() {
                check(WebServer::$server, Client::Hg);
            }
        })*
    };
}
servers! {
    apache_cgi ApacheCgi,
    apache_cgid ApacheCgid,
    apache_scgi ApacheScgi,
    lighttpd_cgi LighttpdCgi,
    lighttpd_scgi LighttpdScgi,
    lighttpd_stream_cgi LighttpdStreamCgi,
    lighttpd_stream_scgi LighttpdStreamScgi,
    nginx_cgi NginxCgi,
    nginx_scgi NginxScgi,
    h2o_cgi H2oCgi,
    caddy_cgi CaddyCgi,
    go_cgi GoCgi,
    busybox_cgi BusyboxCgi,
    python_cgi PythonCgi,
}

/// What a web server lacks that a client may need. polycgi can't make up for it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lack {
    /// It takes no body in chunks.
    Chunks,
    /// It passes on none but four of the client's fields.
    Fields,
    /// It answers 200 whatever the status is.
    Status,
}

impl Lack {
    fn of(self, server: WebServer) -> bool {
        use WebServer::*;
        match self {
            Self::Chunks => matches!(
                server,
                ApacheScgi
                    | BusyboxCgi
                    | CaddyCgi
                    | GoCgi
                    | LighttpdStreamCgi
                    | LighttpdStreamScgi
                    | PythonCgi
            ),
            Self::Fields | Self::Status => server == PythonCgi,
        }
    }
}

/// The ways to run an app of that kind behind that web server.
fn modes(server: WebServer, kind: Kind) -> &'static [Mode] {
    match kind {
        Kind::Cgi | Kind::Wsgi if server.runs_cgis() => &[Mode::Cgi, Mode::Daemon],
        _ => &[Mode::Daemon],
    }
}

/// Where `make test-matrix` wants the table.
fn wanted() -> Option<PathBuf> {
    env::var_os("POLYCGI_MATRIX").map(PathBuf::from)
}

/// Makes the combinations of that web server and that client.
#[track_caller]
fn check(server: WebServer, client: Client) {
    // `apps` and `hg` have these.
    let is_known = matches!(server, WebServer::ApacheCgi | WebServer::ApacheCgid)
        && matches!(client, Client::Fossil | Client::Git | Client::Hg);
    let is_whole = wanted().is_some() || client == Client::Curl;
    for &kind in client.kinds() {
        for &mode in modes(server, kind) {
            let is_first = mode == Mode::Daemon && kind == client.kinds()[0];
            if is_whole || is_first && !is_known {
                client.check(server, kind, mode);
            }
        }
    }
}

/// The table has a row for each web server, and the README has that table.
#[test]
fn the_table() {
    let table = table::table();
    assert_eq!(
        table.lines().filter(|line| line.starts_with("| ")).count(),
        SERVERS.len() + 2
    );
    if let Some(path) = wanted() {
        std::fs::write(path, &table).expect("the table can be written");
    }
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(readme).expect("the README can be read");
    let shown = table::between_markers(&readme);
    assert_eq!(
        shown,
        Some(table.as_str()),
        "`make test-matrix` prints what is between the README's markers"
    );
}

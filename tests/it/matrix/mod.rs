//! What a client of any web server sees: each check on all of them, the app run as a plain CGI and in its daemon. It
//! knows how the servers differ, and nothing of how polycgi does it.

mod listen;
mod overrides;
mod programs;
mod requests;
mod responses;
mod subrequests;
mod whole;

use crate::util::{Hosted, WebServer};

/// Makes a test of each check on each web server, in each way that it has.
macro_rules! on_all {
    ($($check:ident)*) => {
        on_all!(way apache_cgi, ApacheCgi, Cgi, $($check)*);
        on_all!(way apache_cgi_daemon, ApacheCgi, Daemon, $($check)*);
        on_all!(way apache_cgid, ApacheCgid, Cgi, $($check)*);
        on_all!(way apache_cgid_daemon, ApacheCgid, Daemon, $($check)*);
        on_all!(way apache_scgi, ApacheScgi, Daemon, $($check)*);
        on_all!(way busybox_cgi, BusyboxCgi, Cgi, $($check)*);
        on_all!(way busybox_cgi_daemon, BusyboxCgi, Daemon, $($check)*);
        on_all!(way lighttpd_cgi, LighttpdCgi, Cgi, $($check)*);
        on_all!(way lighttpd_cgi_daemon, LighttpdCgi, Daemon, $($check)*);
        on_all!(way lighttpd_scgi, LighttpdScgi, Daemon, $($check)*);
        on_all!(way lighttpd_stream_cgi, LighttpdStreamCgi, Cgi, $($check)*);
        on_all!(way lighttpd_stream_cgi_daemon, LighttpdStreamCgi, Daemon, $($check)*);
        on_all!(way lighttpd_stream_scgi, LighttpdStreamScgi, Daemon, $($check)*);
        on_all!(way nginx_cgi, NginxCgi, Cgi, $($check)*);
        on_all!(way nginx_cgi_daemon, NginxCgi, Daemon, $($check)*);
        on_all!(way nginx_scgi, NginxScgi, Daemon, $($check)*);
    };
    (way $way:ident, $server:ident, $mode:ident, $($check:ident)*) => {
        mod $way {
            use crate::util::{Mode, WebServer};
            $(#[test]
            fn $check() {
                super::$check(WebServer::$server, Mode::$mode);
            })*
        }
    };
}
use on_all;

/// What a web server itself answers for a plain CGI that ends before it has answered.
#[track_caller]
fn assert_plain_crash(site: &Hosted, server: WebServer) {
    let expected = match server {
        WebServer::NginxCgi => 502,
        _ => 500,
    };
    assert_eq!(site.get("/crash").status(), expected);
}

/// The log in which an app's words are, once this one is among them.
#[track_caller]
fn app_log(site: &mut Hosted, server: WebServer, word: &str) -> String {
    if server.runs_cgis() {
        site.logged(word);
        return site.log();
    }
    site.dir.until_logged(word);
    site.dir.daemon_log()
}

//! What an app does after its response: in a thread, at its exit, with its temporary folder. It happens in each way
//! that the app is run, though Apache and lighttpd send a CGI SIGTERM once they have all of the response.

use super::util::{Deadline, Hosted, Mode, Mpm, Site, Watch, Way, WebServer};

/// Long after Apache has looked for its child (10 or 48 ms), and well before it kills it (3 s).
const SECONDS: &str = "0.5";

#[track_caller]
fn says_its_last_words(site: &Hosted, mode: Mode) {
    let mut watch = Watch::on(&site.dir.join("apps"));
    assert_eq!(site.get(&format!("?{SECONDS}")).ok(), "ok");
    if mode == Mode::Daemon {
        site.dir.polycgi(&["stop"]).success();
    }
    let said = || site.dir.lines("last-words");
    let all = ["thread", "atexit", "folder"];
    watch.until(Deadline::soon(), || said().len() == all.len());
    assert_eq!(said(), all);
}

#[track_caller]
fn behind(server: WebServer, mode: Mode) {
    let site = Hosted::configured(server, mode, "wsgi = lastwords:application\n", "");
    says_its_last_words(&site, mode);
}

#[test]
fn as_a_cgi_of_apache_event() {
    behind(WebServer::ApacheCgid, Mode::Cgi);
}

#[test]
fn as_a_cgi_of_apache_prefork() {
    behind(WebServer::ApacheCgi, Mode::Cgi);
}

#[test]
fn as_a_cgi_of_busybox() {
    behind(WebServer::BusyboxCgi, Mode::Cgi);
}

#[test]
fn as_a_cgi_of_lighttpd() {
    behind(WebServer::LighttpdCgi, Mode::Cgi);
}

#[test]
fn as_a_cgi_of_nginx_and_fcgiwrap() {
    behind(WebServer::NginxCgi, Mode::Cgi);
}

#[test]
fn in_the_daemon() {
    behind(WebServer::ApacheCgid, Mode::Daemon);
}

#[test]
fn by_the_standard_library() {
    let site = Site::of(Mpm::Event, Way::Reference, "lastwords", "application");
    says_its_last_words(&site, Mode::Cgi);
}

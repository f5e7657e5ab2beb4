//! The matrix as a table of Markdown.

use std::fmt::Write;

use super::clients::{Client, Kind};
use super::{Lack, SERVERS, modes};
use crate::util::WebServer;

const BEGIN: &str = "<!-- make test-matrix -->\n";
const END: &str = "<!-- end of make test-matrix -->\n";

const NOTES: &str = "
`both`: as a plain CGI and in the daemon; `daemon`: there only.

1. A body needs a length: one in chunks is refused, or lost. git sends a push in chunks where it is larger than
   `http.postBuffer` (1 MiB).
2. Of the client's header fields only User-Agent, Accept, Referer and Cookie are passed on; hg needs its own.
3. The status is always 200: no redirect is followed.
";

/// What is between the markers, if there are any.
pub(super) fn between_markers(text: &str) -> Option<&str> {
    let (_, after) = text.split_once(BEGIN)?;
    after.split_once(END).map(|(table, _)| table)
}

/// The table and its notes.
pub(super) fn table() -> String {
    let kinds = [Kind::Wsgi, Kind::Cgi, Kind::Scgi, Kind::Connect];
    let clients = [Client::Git, Client::Hg, Client::Fossil, Client::Browser];
    let mut text =
        "| web server | wsgi | cgi | scgi | connect | git | hg | Fossil | a browser |\n| --- |"
            .to_owned();
    text += &" --- |".repeat(kinds.len() + clients.len());
    text.push('\n');
    for &server in SERVERS {
        let mut row = format!("| {}", name(server));
        for (lack, mark) in [
            (Lack::Chunks, " ¹"),
            (Lack::Fields, " ²"),
            (Lack::Status, " ³"),
        ] {
            if lack.of(server) {
                row += mark;
            }
        }
        for kind in kinds {
            row = row + " | " + ways(server, &[kind]);
        }
        for client in clients {
            let why = match client {
                Client::Git if Lack::Chunks.of(server) => Some("small ¹"),
                Client::Hg if Lack::Fields.of(server) => Some("no ²"),
                Client::Browser if Lack::Status.of(server) => Some("no ³"),
                _ => None,
            };
            row = row + " | " + why.unwrap_or_else(|| ways(server, client.kinds()));
        }
        // A String takes any text.
        let _ = writeln!(text, "{row} |");
    }
    text + NOTES
}

fn ways(server: WebServer, kinds: &[Kind]) -> &'static str {
    let has_both = kinds.iter().any(|&kind| modes(server, kind).len() == 2);
    if has_both { "both" } else { "daemon" }
}

fn name(server: WebServer) -> &'static str {
    match server {
        WebServer::ApacheCgi => "Apache, mod_cgi",
        WebServer::ApacheCgid => "Apache, mod_cgid",
        WebServer::ApacheFcgi => "Apache, mod_proxy_fcgi",
        WebServer::ApacheScgi => "Apache, mod_proxy_scgi",
        WebServer::BusyboxCgi => "busybox httpd",
        WebServer::CaddyCgi => "Caddy, fcgiwrap",
        WebServer::CaddyFcgi => "Caddy, transport fastcgi",
        WebServer::GoCgi => "Go, net/http/cgi",
        WebServer::H2oCgi => "h2o, fastcgi-cgi",
        WebServer::H2oFcgi => "h2o, fastcgi.connect",
        WebServer::HaproxyFcgi => "HAProxy, fcgi-app",
        WebServer::LighttpdCgi => "lighttpd, mod_cgi",
        WebServer::LighttpdFcgi => "lighttpd, mod_fastcgi",
        WebServer::LighttpdScgi => "lighttpd, mod_scgi",
        WebServer::LighttpdStreamCgi => "lighttpd, mod_cgi, streaming",
        WebServer::LighttpdStreamScgi => "lighttpd, mod_scgi, streaming",
        WebServer::NginxCgi => "nginx, fcgiwrap",
        WebServer::NginxFcgi => "nginx, fastcgi_pass",
        WebServer::NginxScgi => "nginx, scgi_pass",
        WebServer::PythonCgi => "Python, http.server --cgi",
    }
}

#[test]
fn what_is_between_the_markers() {
    let page = format!("words\n{BEGIN}| a |\n{END}more\n");
    assert_eq!(between_markers(&page), Some("| a |\n"));
    assert_eq!(between_markers("words\n"), None);
    assert_eq!(between_markers(&page.replace(END, "")), None);
}

#[test]
fn a_row_says_what_a_web_server_lacks() {
    let table = table();
    for row in [
        "| Apache, mod_cgi | both | both | daemon | daemon | both | both | both | both |",
        "| nginx, scgi_pass | daemon | daemon | daemon | daemon | daemon | daemon | daemon | daemon |",
        "| busybox httpd ¹ | both | both | daemon | daemon | small ¹ | both | both | both |",
        "| Python, http.server --cgi ¹ ² ³ | both | both | daemon | daemon | small ¹ | no ² | both | no ³ |",
    ] {
        assert!(
            table.lines().any(|line| line == row),
            "no row {row} in\n{table}"
        );
    }
}

//! A variable that a web server's configuration sets twice, mostly after an included file: the last value counts. What
//! a client could have sent twice is refused.

use crate::util::scgi::{ScgiClient, netstring};
use crate::util::{Chunked, Dir, Hosted, WebServer, free_address};

const CONFIG: &str = "wsgi = testapp:application\nmode = daemon\nmount = /cgi-bin/app\n";

/// The app behind that web server, by path or by TCP.
fn started(server: WebServer, by_tcp: bool, more: &str) -> Hosted {
    let dir = Dir::new();
    let address = if by_tcp {
        free_address().to_string()
    } else {
        dir.join("tmp/listens").display().to_string()
    };
    dir.app_file("app", &format!("{CONFIG}listen = {address}\n"));
    dir.polycgi(&["start"]).success();
    Hosted::before(dir, server, &address, more)
}

#[track_caller]
fn assert_line(text: &str, line: &str) {
    let found = text.lines().any(|found| found == line);
    assert!(found, "no line {line} in\n{text}");
}

#[track_caller]
fn assert_told_once(site: &Hosted, name: &str) {
    let sentence = format!("{name} came twice with different values: the last one counts");
    let log = site.dir.daemon_log();
    assert_eq!(log.matches(&sentence).count(), 1, "{sentence} in\n{log}");
}

/// For each name that nginx itself sends. It sends CONTENT_LENGTH first; one of a scgi_param has the client's value.
#[test]
fn nginx_with_a_parameter_behind_the_included_file() {
    let more = "scgi_param SERVER_NAME first.example;\nscgi_param SERVER_NAME own.example;\n\
                scgi_param QUERY_STRING own=1;\nscgi_param CONTENT_TYPE text/own;\n\
                scgi_param CONTENT_LENGTH $content_length;\nscgi_param SERVER_PORT $server_port;\n";
    for by_tcp in [false, true] {
        for unbuffered in ["", "scgi_request_buffering off;\n"] {
            let site = started(WebServer::NginxScgi, by_tcp, &format!("{more}{unbuffered}"));
            for body in [None, Some(&b"body"[..])] {
                let dump = site.send("POST", "/dump?theirs=1", &[], body).ok();
                for line in [
                    r#"["SERVER_NAME", "own.example"]"#,
                    r#"["QUERY_STRING", "own=1"]"#,
                    r#"["CONTENT_TYPE", "text/own"]"#,
                ] {
                    assert_line(&dump, line);
                }
                let length = body.map_or(0, <[u8]>::len);
                assert_line(&dump, &format!(r#"["CONTENT_LENGTH", "{length}"]"#));
            }
            let mut chunked = Chunked::post(site.server.address(), "/cgi-bin/app/digest");
            chunked.give(&[7; 70_000]);
            assert!(chunked.end().ok().ends_with(" 70000\n"));
            for name in ["SERVER_NAME", "QUERY_STRING", "CONTENT_TYPE"] {
                assert_told_once(&site, name);
            }
            // Equal values, and names for which polycgi chooses one.
            for name in ["SERVER_PORT", "CONTENT_LENGTH"] {
                let log = site.dir.daemon_log();
                assert!(!log.contains(name), "{log}");
            }
        }
    }
}

/// By `fastcgi_param`, fcgiwrap and a front.
#[test]
fn nginx_with_a_parameter_twice_for_fcgiwrap() {
    use crate::util::Mode;
    for mode in [Mode::Cgi, Mode::Daemon] {
        let config = "wsgi = testapp:application\n";
        let more = "fastcgi_param SERVER_NAME own.example;\n";
        let site = Hosted::configured(WebServer::NginxCgi, mode, config, more);
        let dump = site.get("/dump").ok();
        assert_line(&dump, r#"["SERVER_NAME", "own.example"]"#);
    }
}

#[test]
fn lighttpd_with_setenv() {
    let more = "server.modules += ( \"mod_setenv\" )\n\
                setenv.add-environment = ( \"SERVER_NAME\" => \"own.example\" )\n";
    for by_tcp in [false, true] {
        let site = started(WebServer::LighttpdScgi, by_tcp, more);
        let dump = site.get("/dump").ok();
        assert_line(&dump, r#"["SERVER_NAME", "own.example"]"#);
        site.get("/dump").ok();
        assert_told_once(&site, "SERVER_NAME");
    }
}

/// mod_proxy_scgi sends each name once.
#[test]
fn apache_with_setenv() {
    let more = "SetEnv REQUEST_SCHEME own\nSetEnv REQUEST_SCHEME other\n";
    for by_tcp in [false, true] {
        let site = started(WebServer::ApacheScgi, by_tcp, more);
        site.get("/dump").ok();
        let log = site.dir.daemon_log();
        assert!(!log.contains("came twice"), "{log}");
    }
}

/// An unknown SCGI client. Header fields and lengths that come twice are refused.
#[test]
fn any_scgi_client() {
    let dir = Dir::new();
    dir.app_file("app", CONFIG);
    dir.polycgi(&["start"]).success();
    let ask = |name: &str, first: &str, last: &str| {
        let pairs = [
            ("CONTENT_LENGTH", "0"),
            ("SCGI", "1"),
            (name, first),
            ("REQUEST_METHOD", "GET"),
            ("REQUEST_URI", "/cgi-bin/app/dump"),
            (name, last),
        ];
        let mut client = ScgiClient::connect(&dir.socket());
        client.send(&netstring(pairs)).reply()
    };
    let dump = ask("SERVER_NAME", "a", "b").ok();
    assert_line(&dump, r#"["SERVER_NAME", "b"]"#);
    for name in [
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
        "HTTP_HOST",
        "HTTP_AUTHORIZATION",
        "HTTP_X_ANY",
    ] {
        assert_eq!(ask(name, "1", "2").status(), 400, "{name}");
    }
}

//! Subrequests of nginx, which have the CONTENT_LENGTH of a message-body that nginx does not send: each is served at
//! once, without a body. The client's own body may come late, and is whole.

use std::fs;
use std::io::Write;
use std::net::TcpStream;

use crate::util::scgi::{ScgiClient, netstring};
use crate::util::{Conversation, Deadline, Dir, Reply, Server, Watch, free_address, nginx};

/// A WSGI app and a CGI program that read all of the body and write down what they saw: the path, the length that nginx
/// sent, and the body.
const WSGI: &str = r#"
import os
HERE = os.path.dirname(os.path.abspath(__file__))
def application(environ, start_response):
    body = environ['wsgi.input'].read()
    seen = '%s %s %s\n' % (environ['DOCUMENT_URI'], environ.get('CONTENT_LENGTH'), body.decode())
    fd = os.open(HERE + '/seen', os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, seen.encode())
    os.close(fd)
    status = '404 Not Found' if 'missing' in environ['DOCUMENT_URI'] else '200 OK'
    start_response(status, [('Content-Type', 'text/plain')])
    return [body]
"#;
const CGI: &str = "#!/bin/sh\nbody=$(cat)\nread here <where\n\
    echo \"$DOCUMENT_URI $CONTENT_LENGTH $body\" >>\"$here/seen\"\n\
    case $DOCUMENT_URI in *missing*) echo 'Status: 404 Not Found';; esac\n\
    printf 'Content-Type: text/plain\\r\\n\\r\\n%s' \"$body\"\n";
const APPS: [&str; 2] = ["wsgi = seen:application\n", "cgi = ./seen.sh\n"];

/// nginx, and an app behind it.
struct Asked {
    server: Server,
    dir: Dir,
}

/// A client whose body is still to be sent.
struct Late(TcpStream);

impl Asked {
    /// `locations` makes nginx's locations from the app's address.
    #[track_caller]
    fn by_scgi(app: &str, config: &str, locations: impl Fn(&str) -> String) -> Asked {
        let dir = with_apps();
        let address = free_address().to_string();
        let config = format!("{app}mode = daemon\nlog-level = debug\nlisten = {address}\n{config}");
        dir.app_file("app", &config);
        dir.polycgi(&["start"]).success();
        let server = nginx::start(&dir, "nginx", &locations(&address), vec![]);
        Asked { server, dir }
    }

    #[track_caller]
    fn post(&self, target: &str, body: &[u8]) -> Reply {
        let address = self.server.address();
        Conversation::new(address, "POST", target, &[], Some(body)).reply()
    }

    /// Sends a request's head, and `first` in the same write.
    #[track_caller]
    fn late(&self, target: &str, length: usize, first: &str) -> Late {
        let address = self.server.address();
        let mut stream = TcpStream::connect(address).expect("nginx listens");
        stream.set_nodelay(true).expect("TCP_NODELAY can be set");
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{first}"
        );
        stream
            .write_all(head.as_bytes())
            .expect("a head can be sent");
        Late(stream)
    }

    /// Waits until the daemon has had that many requests.
    #[track_caller]
    fn until_asked(&self, times: usize) {
        let mut watch = Watch::on(&self.dir.place());
        let asked = || self.dir.daemon_log().matches("asked: ").count();
        let was_asked = watch.until(Deadline::soon(), || asked() >= times);
        assert!(
            was_asked,
            "{} of {times}\n{}",
            asked(),
            self.dir.daemon_log()
        );
    }

    /// Waits until the app has written this down.
    #[track_caller]
    fn until_seen(&self, line: &str) {
        let apps = self.dir.join("apps");
        let seen = || fs::read_to_string(apps.join("seen")).unwrap_or_default();
        let has_seen = || seen().lines().any(|seen| seen == line);
        let found = Watch::on(&apps).until(Deadline::soon(), has_seen);
        let log = self.dir.daemon_log();
        assert!(found, "{line:?} not in {:?}\n{log}", seen());
    }
}

impl Late {
    #[track_caller]
    fn give(&mut self, bytes: &str) -> &mut Self {
        self.0
            .write_all(bytes.as_bytes())
            .expect("a body can be sent");
        self
    }

    #[track_caller]
    fn reply(self) -> Reply {
        Conversation::of(self.0, Vec::new()).reply()
    }
}

fn with_apps() -> Dir {
    let dir = Dir::new();
    dir.file("apps/seen.py", WSGI, 0o644);
    dir.file("apps/seen.sh", CGI, 0o755);
    let here = dir.join("apps").display().to_string();
    dir.file("apps/where", &format!("{here}\n"), 0o644);
    dir
}

/// So long that no time limit ends a wait.
const NEVER: &str = "request-timeout = 1h\n";

#[test]
fn auth_request_is_answered_before_the_body_comes() {
    for app in APPS {
        for more in [
            "scgi_pass_request_body off;\n",
            "",
            "scgi_param CONTENT_LENGTH $content_length;\n",
            "scgi_param HTTP_CONTENT_LENGTH '';\n",
        ] {
            for unbuffered in ["", "scgi_request_buffering off;\n"] {
                let asked = Asked::by_scgi(app, NEVER, |at| {
                    nginx::scgi("= /auth", at, &format!("internal;\n{more}"))
                        + &nginx::scgi(
                            "/guarded",
                            at,
                            &format!("auth_request /auth;\n{unbuffered}"),
                        )
                });
                let whole = asked.post("/guarded/a?b", b"hello");
                assert_eq!(whole.ok(), "hello", "{app} {more} {unbuffered}");
                let mut late = asked.late("/guarded/late", 5, "");
                asked.until_seen("/auth 0 ");
                late.give("later");
                assert_eq!(late.reply().ok(), "later", "{app} {more} {unbuffered}");
                asked.until_seen("/guarded/late 5 later");
            }
        }
    }
}

/// For a body in chunks nginx sends the subrequest without a length.
#[test]
fn auth_request_and_a_body_in_chunks() {
    let asked = Asked::by_scgi(APPS[0], NEVER, |at| {
        nginx::scgi("= /auth", at, "internal;\n")
            + &nginx::scgi("/guarded", at, "auth_request /auth;\n")
    });
    let chunked = crate::util::Chunked::post(asked.server.address(), "/guarded");
    asked.until_seen("/auth 0 ");
    assert_eq!(chunked.whole(b"hello").ok(), "hello");
}

#[test]
fn mirror_with_and_without_the_body() {
    for app in APPS {
        let asked = Asked::by_scgi(app, NEVER, |at| {
            [
                nginx::scgi("= /copy", at, "internal;\n"),
                nginx::scgi("= /none", at, "internal;\nscgi_pass_request_body off;\n"),
                nginx::scgi("/both", at, "mirror /copy;\n"),
                nginx::scgi("/main", at, "mirror /copy;\nmirror_request_body off;\n"),
                nginx::scgi("/unread", at, "mirror /none;\n"),
            ]
            .concat()
        });
        assert_eq!(asked.post("/both", b"hello").ok(), "hello");
        asked.until_seen("/copy 5 hello");
        assert_eq!(asked.post("/main", b"hello").ok(), "hello");
        asked.until_seen("/copy 0 ");
        // nginx sends the length here, so the daemon waits for the body for a second.
        assert_eq!(asked.post("/unread", b"hello").ok(), "hello");
        asked.until_seen("/none 0 ");
    }
}

/// nginx sends the length of the client's own body, and never the body, small or large.
#[test]
fn a_body_that_is_not_passed_on() {
    for app in APPS {
        let asked = Asked::by_scgi(app, "request-timeout = 6s\n", |at| {
            nginx::scgi("/none", at, "scgi_pass_request_body off;\n")
        });
        for size in [1, 5, 70_000] {
            assert_eq!(asked.post("/none", &vec![b'x'; size]).ok(), "");
            asked.until_seen("/none 0 ");
        }
        assert_eq!(asked.post("/none", b"").ok(), "");
    }
}

/// error_page, X-Accel-Redirect, SSI, a body that is too large.
#[test]
fn what_nginx_asks_for_in_its_own_name() {
    for app in APPS {
        for unbuffered in ["", "scgi_request_buffering off;\n"] {
            let asked = Asked::by_scgi(app, NEVER, |at| {
                let page = "error_page 404 413 /page;\n";
                [
                    nginx::scgi("= /page", at, &format!("internal;\n{unbuffered}")),
                    nginx::scgi(
                        "/small",
                        at,
                        &format!("client_max_body_size 3;\n{page}{unbuffered}"),
                    ),
                    nginx::scgi(
                        "/missing",
                        at,
                        &format!("scgi_intercept_errors on;\n{page}{unbuffered}"),
                    ),
                    format!("location /nothing {{\n{page}}}\n"),
                ]
                .concat()
            });
            assert_eq!(asked.post("/small", b"large").status(), 413);
            asked.until_seen("/page 0 ");
            for target in ["/missing", "/nothing"] {
                assert_eq!(asked.post(target, b"hello").status(), 404, "{target}");
            }
            asked.until_seen("/missing 5 hello");
        }
    }
}

/// The client's own request is never taken for a subrequest: its body may come late, whether its path is unchanged,
/// decoded, resolved, or rewritten.
#[test]
fn a_late_body_is_waited_for() {
    for app in APPS {
        let asked = Asked::by_scgi(app, NEVER, |at| {
            let unbuffered = "scgi_request_buffering off;\n";
            [
                nginx::scgi("/own", at, unbuffered),
                nginx::scgi(
                    "/wiki",
                    at,
                    &format!("rewrite ^/wiki/(.*)$ /w/$1 break;\n{unbuffered}"),
                ),
                nginx::scgi("@named", at, unbuffered),
                "location /tried {\ntry_files $uri @named;\n}\n".to_owned(),
            ]
            .concat()
        });
        let targets = [
            "/own/a",
            "/own/b%20c/../%C3%A9//d?e",
            "/wiki/a/b?c",
            "/tried/a",
        ];
        for (number, target) in targets.into_iter().enumerate() {
            for first in ["", "la"] {
                let mut late = asked.late(target, 5, first);
                asked.until_asked(2 * number + 1 + usize::from(!first.is_empty()));
                late.give(&"later"[first.len()..]);
                assert_eq!(late.reply().ok(), "later", "{target} {first:?}");
            }
        }
    }
}

/// A subrequest that looks like the client's own request is not waited for until the time limit.
#[test]
fn a_subrequest_with_the_end_of_the_path() {
    let asked = Asked::by_scgi(APPS[0], "request-timeout = 4s\n", |at| {
        nginx::scgi("= /auth", at, "internal;\n")
            + &nginx::scgi("/api", at, "auth_request /auth;\n")
    });
    assert_eq!(asked.post("/api/auth", b"hello").ok(), "hello");
    asked.until_seen("/auth 0 ");
}

/// A body that was cut is no subrequest's: from an SCGI client with nginx's variables, and from one without.
#[test]
fn a_body_that_is_cut_is_refused() {
    let asked = Asked::by_scgi(APPS[0], NEVER, |at| nginx::scgi("/", at, ""));
    for (uri, document_uri) in [("/a", None), ("/a", Some("/a")), ("/a", Some("/b/a"))] {
        for body in ["", "hel"] {
            let mut pairs = vec![
                ("CONTENT_LENGTH", "5"),
                ("SCGI", "1"),
                ("REQUEST_METHOD", "POST"),
                ("REQUEST_URI", uri),
            ];
            pairs.extend(document_uri.map(|uri| ("DOCUMENT_URI", uri)));
            let mut client = ScgiClient::connect(&asked.dir.socket());
            client.send(&netstring(pairs)).send(body.as_bytes()).end();
            assert_eq!(
                client.reply().status(),
                400,
                "{uri} {document_uri:?} {body}"
            );
        }
    }
}

/// A body that was given up may come after all, while the app runs: the response is whole, without a reset.
#[test]
fn a_body_that_comes_after_all_cuts_nothing() {
    let dir = Dir::new();
    let mut gate = dir.gate("gate");
    let app = "wsgi = testapp:application\nmode = daemon\n";
    dir.app_file("app", &format!("{app}{NEVER}"));
    dir.polycgi(&["start"]).success();
    let mut client = ScgiClient::connect(&dir.socket());
    client.send(&netstring([
        ("CONTENT_LENGTH", "0"),
        ("SCGI", "1"),
        ("HTTP_CONTENT_LENGTH", "5"),
        ("REQUEST_METHOD", "POST"),
        ("PATH_INFO", "/stream"),
        ("QUERY_STRING", "gate=gate"),
        ("REQUEST_URI", "/a"),
        ("DOCUMENT_URI", "/page"),
    ]));
    gate.entered();
    client.send(b"hello");
    gate.open(1);
    let reply = client.reply();
    assert_eq!(reply.body, b"first\nsecond\n");
}

/// nginx tells FastCGI the client's length: fcgiwrap's CGI finds the end at once.
#[test]
fn auth_request_by_fcgiwrap() {
    for app in APPS {
        for mode in [
            "mode = cgi\n",
            "mode = daemon\n",
            "mode = daemon\nhandoff = relay\n",
        ] {
            let dir = with_apps();
            dir.app_file("app", &format!("{app}{mode}{NEVER}"));
            let script = dir.join("cgi-bin/app").display().to_string();
            let server = nginx::start_beside_fcgiwrap(&dir, "nginx", |socket| {
                let off = "internal;\nfastcgi_pass_request_body off;\n";
                let auth = nginx::fastcgi("= /auth", socket, off);
                let guarded = nginx::fastcgi("/guarded", socket, "auth_request /auth;\n");
                (auth + &guarded).replace("$document_root$fastcgi_script_name", &script)
            });
            let asked = Asked { server, dir };
            assert_eq!(
                asked.post("/guarded/a", b"hello").ok(),
                "hello",
                "{app}{mode}"
            );
            asked.until_seen("/auth 0 ");
            let large = vec![b'x'; 300_000];
            assert_eq!(asked.post("/guarded/b", &large).body.len(), large.len());
        }
    }
}

//! Apache's ErrorDocument in an app, after any request with any body: the page is the app's and the status that of the
//! error, in each way and for each kind of app. Redirects that are no errors keep their body.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Child;

use super::util::{Conversation, Mpm, Reply, Site, as_user, free_address, under_both};

under_both!(
    the_page_is_the_app_s_and_the_status_the_error_s
    a_page_for_an_error_behind_a_redirect
    an_error_of_a_server_behind_mod_proxy_scgi
    other_redirects_keep_their_body
    a_page_by_mod_proxy_scgi
);

/// What an app says of a request, and so many bytes behind it. It says no status where it need not.
const PAGES: &str = r#"
import os, socket, sys
def page(environ, read):
    body = read(int(environ.get('CONTENT_LENGTH') or 0)) if environ['REQUEST_METHOD'] == 'POST' else b''
    status = environ.get('REDIRECT_STATUS')
    words = environ['REQUEST_METHOD'], environ.get('CONTENT_LENGTH') or '0', status, len(body)
    return (' '.join(map(str, words)) + '\n').encode() + b'x' * int(environ['QUERY_STRING'] or 0)
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [page(environ, environ['wsgi.input'].read)]
HEAD = b'Content-Type: text/plain\r\n\r\n'
def serve(listener):
    while True:
        connection = listener.accept()[0]
        source = connection.makefile('rb')
        length = b''
        while not length.endswith(b':'):
            length += source.read(1)
        words = source.read(int(length[:-1]) + 1)[:-2].decode('latin-1').split('\0')
        connection.sendall(HEAD + page(dict(zip(words[::2], words[1::2])), source.read))
        source.close()
        connection.close()
if __name__ == '__main__' and 'REQUEST_METHOD' in os.environ:
    sys.stdout.buffer.write(HEAD + page(os.environ, sys.stdin.buffer.read))
elif __name__ == '__main__':
    serve(socket.socket(fileno=0))
"#;

/// A name, and lines of the app file, `AT` standing for the test's directory.
const APPS: [(&str, &str); 7] = [
    ("wsgi-cgi", "wsgi = pages:application\nmode = cgi\n"),
    (
        "wsgi-stay",
        "wsgi = pages:application\nmode = daemon\nhandoff = stay\n",
    ),
    (
        "wsgi-exit",
        "wsgi = pages:application\nmode = daemon\nhandoff = exit\n",
    ),
    (
        "wsgi-relay",
        "wsgi = pages:application\nmode = daemon\nhandoff = relay\n",
    ),
    (
        "cgi-cgi",
        "cgi = /usr/bin/python3 -S pages.py\nmode = cgi\n",
    ),
    (
        "cgi-daemon",
        "cgi = /usr/bin/python3 -S pages.py\nmode = daemon\n",
    ),
    ("connect", "connect = AT/tmp/pages\n"),
];

/// Apache, the apps, and the server that one of them asks.
struct Pages {
    site: Site,
    server: Child,
}

impl Pages {
    /// `more`: lines for Apache, for an app of that name.
    #[track_caller]
    fn start(mpm: Mpm, more: impl Fn(&str) -> String) -> Pages {
        let modules = [
            "auth_basic",
            "authn_core",
            "authn_file",
            "authz_user",
            "proxy",
            "proxy_scgi",
        ];
        let modules = modules
            .into_iter()
            .chain(["actions", "dir", "mime", "rewrite"]);
        let mut lines: String = modules
            .map(|name| {
                format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
            })
            .collect();
        lines += "TypesConfig /dev/null\n";
        for (name, _) in APPS {
            lines += &more(name);
        }
        let site = Site::with(mpm, 16, &lines);
        let at = site.dir.path().display().to_string();
        site.dir.file("apps/pages.py", PAGES, 0o644);
        site.dir
            .file("cgi-bin/fails", "#!/bin/sh\nread three\nexit 3\n", 0o755);
        for (name, lines) in APPS {
            site.dir.app_file(name, &lines.replace("AT", &at));
        }
        let path = site.dir.join("tmp/pages");
        let listener = UnixListener::bind(&path).expect("a socket can be bound");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).expect("a mode can be set");
        let server = as_user("/usr/bin/python3")
            .arg("-S")
            .arg(site.dir.join("apps/pages.py"))
            .stdin(std::os::fd::OwnedFd::from(listener))
            .spawn()
            .expect("a server can be started");
        Pages { site, server }
    }

    #[track_caller]
    fn ask(&self, method: &str, target: &str, body: Option<&[u8]>) -> Reply {
        let address = self.site.server.address();
        Conversation::new(address, method, target, &[], body).reply()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = fs::remove_file(self.site.dir.join("tmp/pages"));
        // Apache tells of each error.
        self.site.log();
    }
}

/// The status, and the page: asked for by GET, without a body, for that error, of that size.
#[track_caller]
fn assert_page(reply: &Reply, status: u16, size: usize, what: &str) {
    assert_eq!(reply.status(), status, "{what}: {}", reply.text());
    let text = reply.text();
    let line = format!("GET 0 {status} 0\n");
    assert!(text.starts_with(&line), "{what}: {:.200}", text);
    assert_eq!(text.len(), line.len() + size, "{what}");
}

/// None, small, and more than a pipe or a socket holds.
fn bodies() -> [Option<Vec<u8>>; 3] {
    [None, Some(b"hello".to_vec()), Some(vec![b'x'; 1_000_000])]
}

/// Where a request gets that status.
fn target(app: &str, size: usize, status: u16) -> String {
    let by = if matches!(status, 413 | 500) {
        "/cgi-bin/fails"
    } else {
        ""
    };
    format!("{by}/e/{app}/{size}/{status}")
}

fn the_page_is_the_app_s_and_the_status_the_error_s(mpm: Mpm) {
    let pages = Pages::start(mpm, |app| {
        let mut lines = String::new();
        for size in [0, 500_000] {
            for (status, cause) in [
                (
                    401,
                    "AuthType Basic\nAuthName x\nAuthUserFile /dev/null\nRequire valid-user\n",
                ),
                (403, "Require all denied\n"),
                (404, ""),
                (413, "LimitRequestBody 3\n"),
                (500, ""),
                (503, ""),
            ] {
                let target = target(app, size, status);
                lines += &format!(
                    "<Location {target}>\n{cause}\
                     ErrorDocument {status} /cgi-bin/{app}/page?{size}\n</Location>\n"
                );
            }
            lines += &format!("ProxyPass /e/{app}/{size}/503 scgi://127.0.0.1:1 retry=0\n");
        }
        lines
    });
    for (app, _) in APPS {
        for size in [0, 500_000] {
            for status in [401, 403, 404, 413, 500, 503] {
                // Whether the body was read before, or not, is what large pages have to do with.
                if size > 0 && !matches!(status, 403 | 404) {
                    continue;
                }
                for body in bodies() {
                    let method = if body.is_none() { "GET" } else { "POST" };
                    if status == 413 && body.is_none() {
                        continue;
                    }
                    let target = target(app, size, status);
                    let reply = pages.ask(method, &target, body.as_deref());
                    assert_page(&reply, status, size, &format!("{method} {target}"));
                }
                let head = pages.ask("HEAD", &target(app, size, status), None);
                if status != 413 {
                    assert_eq!(
                        (head.status(), head.body.len()),
                        (status, 0),
                        "{app} {status}"
                    );
                }
            }
        }
    }
}

/// The page's own path is rewritten in its folder: what was said of the first redirect is there with one REDIRECT_ more.
fn a_page_for_an_error_behind_a_redirect(mpm: Mpm) {
    let pages = Pages::start(mpm, |app| {
        format!(
            "<Location /e/{app}>\nRequire all denied\nErrorDocument 403 /again/{app}\n</Location>\n\
             Action again-{app} /cgi-bin/{app}/page virtual\n\
             <Location /again/{app}>\nRequire all granted\nSetHandler again-{app}\n</Location>\n"
        )
    });
    for (app, _) in APPS {
        for body in bodies() {
            let method = if body.is_none() { "GET" } else { "POST" };
            let reply = pages.ask(method, &format!("/e/{app}"), body.as_deref());
            assert_eq!(reply.status(), 403, "{app}: {}", reply.text());
            assert!(
                reply.text().starts_with("GET 0 403 0\n"),
                "{app}: {}",
                reply.text()
            );
        }
    }
}

/// That server is gone before it has read all of the body, or answered.
fn an_error_of_a_server_behind_mod_proxy_scgi(mpm: Mpm) {
    let address = free_address();
    let listener = TcpListener::bind(address).expect("an address can be bound");
    let pages = Pages::start(mpm, |app| {
        let statuses = [500, 502, 503, 504]
            .map(|status| format!("ErrorDocument {status} /cgi-bin/{app}/page?0\n"));
        format!(
            "ProxyPass /e/{app} scgi://{address} disablereuse=on retry=0\n\
             <Location /e/{app}>\n{}</Location>\n",
            statuses.concat()
        )
    });
    for (app, _) in APPS {
        for body in bodies() {
            let method = if body.is_none() { "GET" } else { "POST" };
            let one = listener.try_clone().expect("a socket can be cloned");
            let serve = std::thread::spawn(move || {
                let (mut connection, _) = one.accept().expect("a client comes");
                let count = connection
                    .read(&mut [0; 2000])
                    .expect("a header can be read");
                assert!(count > 0);
            });
            let reply = pages.ask(method, &format!("/e/{app}"), body.as_deref());
            serve.join().expect("a server serves");
            let status = reply.status();
            assert!((500..505).contains(&status), "{app} {status}");
            assert_page(&reply, status, 0, app);
        }
    }
}

fn other_redirects_keep_their_body(mpm: Mpm) {
    let pages = Pages::start(mpm, |app| {
        format!(
            "Action act-{app} /cgi-bin/{app}/page virtual\n\
             <Location /act/{app}>\nSetHandler act-{app}\n</Location>\n\
             RewriteEngine On\nRewriteRule ^/rewritten/{app}$ /cgi-bin/{app}/page [PT,L]\n"
        )
    });
    for (app, _) in APPS {
        for path in ["act", "rewritten"] {
            for size in [5, 200_000] {
                let reply = pages.ask("POST", &format!("/{path}/{app}"), Some(&vec![b'x'; size]));
                let expected = format!(
                    "POST {size} {} {size}\n",
                    if path == "act" { "200" } else { "None" }
                );
                assert_eq!(reply.ok(), expected, "{path} {app}");
            }
        }
    }
}

/// The page is at a daemon that Apache asks by SCGI, by a path and by TCP.
fn a_page_by_mod_proxy_scgi(mpm: Mpm) {
    let address = free_address();
    let pages = Pages::start(mpm, |app| {
        if app != "wsgi-stay" {
            return String::new();
        }
        format!(
            "ProxyPass /page/tcp scgi://{address} disablereuse=on retry=0\n\
             ProxyPass /page/path unix:../tmp/listens|scgi://localhost disablereuse=on retry=0\n\
             <LocationMatch ^/e/(tcp|path)/403>\nRequire all denied\n</LocationMatch>\n\
             <Location /e/tcp>\nErrorDocument 403 /page/tcp?500000\nErrorDocument 404 /page/tcp?500000\n</Location>\n\
             <Location /e/path>\nErrorDocument 403 /page/path?500000\nErrorDocument 404 /page/path?500000\n</Location>\n"
        )
    });
    let at = pages.site.dir.path().display().to_string();
    let listen = format!("listen = {at}/tmp/listens {address}\nmode = daemon\n");
    pages
        .site
        .dir
        .app_file("app", &format!("wsgi = pages:application\n{listen}"));
    pages.site.dir.polycgi(&["start"]).success();
    for way in ["tcp", "path"] {
        for status in [403, 404] {
            for body in bodies() {
                let method = if body.is_none() { "GET" } else { "POST" };
                let reply = pages.ask(method, &format!("/e/{way}/{status}"), body.as_deref());
                // A stranger's REDIRECT_STATUS is not for the app.
                let said = if way == "tcp" {
                    "None".to_owned()
                } else {
                    status.to_string()
                };
                assert_eq!(reply.status(), status, "{method} {way}");
                let line = format!("GET 0 {said} 0\n");
                assert!(reply.text().starts_with(&line), "{method} {way}");
                assert_eq!(reply.body.len(), line.len() + 500_000, "{method} {way}");
            }
        }
    }
}

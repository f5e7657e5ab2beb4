//! Apache's ErrorDocument in an app, after any request with any body: the page is the app's and the status that of the
//! error, in each way and for each kind of app. Redirects that are no errors keep their body.

use std::io::Read;
use std::net::TcpListener;

use super::util::kinds::{KINDS, Kinds};
use super::util::{Conversation, Mpm, Reply, free_address, under_both};

under_both!(
    the_page_is_the_app_s_and_the_status_the_error_s
    a_page_for_an_error_behind_a_redirect
    an_error_of_a_server_behind_mod_proxy_scgi
    other_redirects_keep_their_body
    a_page_by_mod_proxy_scgi
);

/// What the app was told of the request, and then as many bytes as the query says. It sets no status itself.
const PAGE: &str = r#"
def page(environ, read):
    body = read(int(environ.get('CONTENT_LENGTH') or 0)) if environ['REQUEST_METHOD'] == 'POST' else b''
    status = environ.get('REDIRECT_STATUS')
    words = environ['REQUEST_METHOD'], environ.get('CONTENT_LENGTH') or '0', status, len(body)
    return (' '.join(map(str, words)) + '\n').encode() + b'x' * int(environ['QUERY_STRING'] or 0)
"#;

const MODULES: [&str; 10] = [
    "actions",
    "auth_basic",
    "authn_core",
    "authn_file",
    "authz_user",
    "dir",
    "mime",
    "proxy",
    "proxy_scgi",
    "rewrite",
];

/// `more`: lines for Apache, for an app of that name.
#[track_caller]
fn start(mpm: Mpm, more: impl Fn(&str) -> String) -> Kinds {
    let mut lines = "TypesConfig /dev/null\n".to_owned();
    lines.extend(KINDS.map(|(name, _)| more(name)));
    let mut pages = Kinds::start(mpm, PAGE, &MODULES, &lines);
    // Apache logs each error.
    pages.expected = Some("");
    let fails = "#!/bin/sh\nread three\nexit 3\n";
    pages.site.dir.file("cgi-bin/fails", fails, 0o755);
    pages
}

#[track_caller]
fn ask(pages: &Kinds, method: &str, target: &str, body: Option<&[u8]>) -> Reply {
    let address = pages.site.server.address();
    Conversation::new(address, method, target, &[], body).reply()
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
    let pages = start(mpm, |app| {
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
    for (app, _) in KINDS {
        for size in [0, 500_000] {
            for status in [401, 403, 404, 413, 500, 503] {
                // Large pages: only for errors before and after Apache has read the body.
                if size > 0 && !matches!(status, 403 | 404) {
                    continue;
                }
                for body in bodies() {
                    let method = if body.is_none() { "GET" } else { "POST" };
                    if status == 413 && body.is_none() {
                        continue;
                    }
                    let target = target(app, size, status);
                    let reply = ask(&pages, method, &target, body.as_deref());
                    assert_page(&reply, status, size, &format!("{method} {target}"));
                }
                let head = ask(&pages, "HEAD", &target(app, size, status), None);
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

/// The page's own path is redirected too: variables of the first redirect then have one more REDIRECT_ before them.
fn a_page_for_an_error_behind_a_redirect(mpm: Mpm) {
    let pages = start(mpm, |app| {
        format!(
            "<Location /e/{app}>\nRequire all denied\nErrorDocument 403 /again/{app}\n</Location>\n\
             Action again-{app} /cgi-bin/{app}/page virtual\n\
             <Location /again/{app}>\nRequire all granted\nSetHandler again-{app}\n</Location>\n"
        )
    });
    for (app, _) in KINDS {
        for body in bodies() {
            let method = if body.is_none() { "GET" } else { "POST" };
            let reply = ask(&pages, method, &format!("/e/{app}"), body.as_deref());
            assert_eq!(reply.status(), 403, "{app}: {}", reply.text());
            assert!(
                reply.text().starts_with("GET 0 403 0\n"),
                "{app}: {}",
                reply.text()
            );
        }
    }
}

/// The server closes before it has read all of the body, and does not answer.
fn an_error_of_a_server_behind_mod_proxy_scgi(mpm: Mpm) {
    let address = free_address();
    let listener = TcpListener::bind(address).expect("an address can be bound");
    let pages = start(mpm, |app| {
        let statuses = [500, 502, 503, 504]
            .map(|status| format!("ErrorDocument {status} /cgi-bin/{app}/page?0\n"));
        format!(
            "ProxyPass /e/{app} scgi://{address} disablereuse=on retry=0\n\
             <Location /e/{app}>\n{}</Location>\n",
            statuses.concat()
        )
    });
    for (app, _) in KINDS {
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
            let reply = ask(&pages, method, &format!("/e/{app}"), body.as_deref());
            serve.join().expect("a server serves");
            let status = reply.status();
            assert!((500..505).contains(&status), "{app} {status}");
            assert_page(&reply, status, 0, app);
        }
    }
}

fn other_redirects_keep_their_body(mpm: Mpm) {
    let pages = start(mpm, |app| {
        format!(
            "Action act-{app} /cgi-bin/{app}/page virtual\n\
             <Location /act/{app}>\nSetHandler act-{app}\n</Location>\n\
             RewriteEngine On\nRewriteRule ^/rewritten/{app}$ /cgi-bin/{app}/page [PT,L]\n"
        )
    });
    for (app, _) in KINDS {
        for path in ["act", "rewritten"] {
            for size in [5, 200_000] {
                let reply = ask(
                    &pages,
                    "POST",
                    &format!("/{path}/{app}"),
                    Some(&vec![b'x'; size]),
                );
                let expected = format!(
                    "POST {size} {} {size}\n",
                    if path == "act" { "200" } else { "None" }
                );
                assert_eq!(reply.ok(), expected, "{path} {app}");
            }
        }
    }
}

/// Apache asks the daemon for the page by SCGI, at a path and by TCP.
fn a_page_by_mod_proxy_scgi(mpm: Mpm) {
    let address = free_address();
    let pages = start(mpm, |app| {
        if app != "wsgi-stay" {
            return String::new();
        }
        let proxy = Kinds::proxy("/page", address);
        format!(
            "{proxy}<LocationMatch ^/e/(tcp|path)/403>\nRequire all denied\n</LocationMatch>\n\
             <Location /e/tcp>\nErrorDocument 403 /page/tcp?500000\nErrorDocument 404 /page/tcp?500000\n</Location>\n\
             <Location /e/path>\nErrorDocument 403 /page/path?500000\nErrorDocument 404 /page/path?500000\n</Location>\n"
        )
    });
    pages.listen(address);
    for way in ["tcp", "path"] {
        for status in [403, 404] {
            for body in bodies() {
                let method = if body.is_none() { "GET" } else { "POST" };
                let reply = ask(
                    &pages,
                    method,
                    &format!("/e/{way}/{status}"),
                    body.as_deref(),
                );
                // REDIRECT_STATUS is taken only from the daemon's own user, whom TCP does not show.
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

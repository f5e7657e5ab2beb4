//! What clients try with a web server that has an example for its configuration: paths that lead past the app, names
//! that only the web server may say.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{Configured, installed_text, text_for, with_all_options, with_each, with_each_option};
use crate::util::{Conversation, Dir, Reply, Server};

/// Of alice: the SHA-1 of 'open sesame', as nginx and Apache read it.
pub(super) const HTPASSWD: &str = "alice:{SHA}W8r/fyL/UzygmbNAjq2HbA67qac=\n";
/// alice:open sesame
pub(super) const RIGHT: &str = "Basic YWxpY2U6b3BlbiBzZXNhbWU=";
/// The text of each file that no client may read.
pub(super) const SECRET: &str = "tiger";

/// Header fields by which a client claims another user, another address or another host.
const FORGED: [(&str, &str); 18] = [
    ("Authorization", "Basic YWRtaW46eA=="),
    ("Remote-User", "admin"),
    ("Remote_User", "admin"),
    ("X-Remote-User", "admin"),
    ("X-Forwarded-User", "admin"),
    ("Auth-Type", "Basic"),
    ("Auth_Type", "Basic"),
    ("Proxy", "http://evil.example/"),
    ("X-Forwarded-For", "192.0.2.66"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Real-IP", "192.0.2.66"),
    ("Forwarded", "for=192.0.2.66;host=evil.example;proto=https"),
    ("Https", "on"),
    ("Script-Name", "/evil"),
    ("Script_Filename", "/bin/sh"),
    ("Path-Info", "/evil"),
    ("Gateway-Interface", "CGI/6.6"),
];

with_each!(no_path_leads_past_the_app no_name_is_a_client_s no_cgi_has_a_proxy_of_the_client_s);

/// An app that shows what it sees, and beside it files that no client may read.
pub(super) fn prepare() -> Dir {
    let dir = Dir::new();
    let config = format!("wsgi = names:application\nmode = daemon\nenv.SECRET = {SECRET}\n");
    let app = dir.app_file("wiki.cgi", &config);
    let text = fs::read_to_string(app).expect("it was just written");
    for (name, mode) in [
        ("wiki.cgi~", 0o755),
        ("wiki.cgi.bak", 0o644),
        ("secrets", 0o644),
        ("secrets.txt", 0o644),
    ] {
        dir.file(&format!("cgi-bin/{name}"), &text.replace("#!", "#-"), mode);
    }
    dir.file("htpasswd", HTPASSWD, 0o644);
    dir.folder("wiki", 0o755);
    dir
}

pub(super) fn ask(server: &Server, target: &str, fields: &[(&str, &str)]) -> Reply {
    Conversation::new(server.address(), "GET", target, fields, None).reply()
}

/// The value of a meta-variable that the app saw; empty where there is none.
pub(super) fn seen<'a>(shown: &'a str, name: &str) -> &'a str {
    let mut lines = shown.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_default()
}

/// Each path leads to the app, with SCRIPT_NAME and the rest in PATH_INFO, or to a page of the web server.
fn no_path_leads_past_the_app(server: Configured) {
    const TARGETS: [&str; 40] = [
        "/cgi-bin/wiki.cgi",
        "/cgi-bin/wiki.cgi/",
        "/cgi-bin/wiki.cgi/a",
        "/cgi-bin/wiki.cgi/a%2Fb",
        "/cgi-bin/wiki.cgi%2Fa",
        "/cgi-bin%2Fwiki.cgi",
        "/cgi%2Dbin/wiki%2Ecgi",
        "/%63gi-bin/wiki.cgi",
        "//cgi-bin/wiki.cgi",
        "/cgi-bin//wiki.cgi",
        "/./cgi-bin/./wiki.cgi",
        "/x/../cgi-bin/wiki.cgi",
        "/cgi-bin/%2e%2e/cgi-bin/wiki.cgi",
        "/cgi-bin/..%2fcgi-bin/wiki.cgi",
        "/cgi-bin/wiki.cgi;x=y",
        "/cgi-bin;x/wiki.cgi",
        "/cgi-bin/wiki.cgi%00",
        "/cgi-bin/wiki.cgi%00.txt",
        "/cgi-bin/wiki.cgi%0a",
        "/cgi-bin/wiki.cgi%20",
        "/cgi-bin/wiki.cgi.",
        "/cgi-bin/wiki.cgi/../secrets",
        "/cgi-bin/wiki.cgi/%2e%2e/secrets",
        "/cgi-bin/wiki.cgi/..%2fsecrets",
        "/cgi-bin/wiki.cgi~",
        "/cgi-bin/wiki.cgi.bak",
        "/cgi-bin/secrets",
        "/cgi-bin/secrets.txt",
        "/cgi-bin/./secrets.txt",
        "/cgi-bin%2Fsecrets.txt",
        "//cgi-bin//secrets.txt",
        "/cgi-bin/secrets.txt/",
        "/cgi-bin/secrets.txt;x",
        "/cgi-bin/..;/cgi-bin/secrets.txt",
        "/CGI-BIN/secrets.txt",
        "/cgi-bin",
        "/cgi-bin/",
        "/cgi-bin/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/cgi-bin/..%2f..%2f..%2f..%2fbin/sh",
        "/cgi-bin/%252e%252e/secrets.txt",
    ];
    let dir = prepare();
    let text = text_for(server, &dir);
    for text in [with_all_options(&text), text] {
        let running = server.start(&dir, &text);
        for target in TARGETS {
            let reply = ask(&running, target, &[("Authorization", RIGHT)]);
            let (status, shown) = (reply.status(), reply.text());
            let is_leak = shown.contains(SECRET) || shown.contains("root:") || shown.contains("#!");
            assert!(!is_leak, "{target}: {status} {shown}");
            assert!(
                [200, 301, 400, 403, 404, 500, 502].contains(&status),
                "{target}: {status}"
            );
            // A path without an app is no error of the server's.
            if status == 200 {
                assert_eq!(
                    seen(&shown, "SCRIPT_NAME"),
                    "/cgi-bin/wiki.cgi",
                    "{target}: {shown}"
                );
                let path_info = seen(&shown, "PATH_INFO");
                assert!(
                    path_info.is_empty() || path_info.starts_with('/'),
                    "{target}: {shown}"
                );
                assert!(
                    !path_info.contains("secrets") || target.contains("%2f"),
                    "{target}: {shown}"
                );
            }
            if target == "/cgi-bin/wiki.cgi/a" {
                assert_eq!(seen(&shown, "PATH_INFO"), "/a", "{status} {shown}");
            }
        }
    }
    // The files exist, and the web server could read them.
    let mode = fs::metadata(dir.join("cgi-bin/secrets.txt")).expect("it was written");
    assert_eq!(mode.permissions().mode() & 0o777, 0o644);
}

/// With the example as it is, and with each of its options.
fn no_name_is_a_client_s(server: Configured) {
    let dir = prepare();
    let text = text_for(server, &dir);
    let mut variants = with_each_option(&text);
    variants.push(with_all_options(&text));
    variants.push(text);
    let mut served = 0;
    for text in variants {
        let running = server.start(&dir, &text);
        for target in ["/cgi-bin/wiki.cgi/x", "/wiki/x"] {
            let one_by_one = FORGED.iter().map(std::slice::from_ref);
            for fields in one_by_one.chain([&FORGED[..]]) {
                let reply = ask(&running, target, fields);
                let (status, shown) = (reply.status(), reply.text());
                let known = [200, 400, 401, 404, 502, 503];
                assert!(
                    known.contains(&status),
                    "{target} {fields:?}: {status}\n{text}"
                );
                if status != 200 {
                    continue;
                }
                served += 1;
                for name in [
                    "AUTH_TYPE",
                    "HTTP_PROXY",
                    "REMOTE_USER",
                    "REDIRECT_REMOTE_USER",
                ] {
                    assert_eq!(seen(&shown, name), "", "{fields:?} {text}\n{shown}");
                }
                for (name, value) in [
                    ("GATEWAY_INTERFACE", "CGI/1.1"),
                    ("PATH_INFO", "/x"),
                    ("REMOTE_ADDR", "127.0.0.1"),
                    ("wsgi.url_scheme", "http"),
                ] {
                    assert_eq!(seen(&shown, name), value, "{fields:?} {text}\n{shown}");
                }
                assert!(
                    ["", "off"].contains(&seen(&shown, "HTTPS")),
                    "{fields:?}\n{shown}"
                );
                for name in ["HTTP_HOST", "SCRIPT_FILENAME", "SCRIPT_NAME", "SERVER_NAME"] {
                    let value = seen(&shown, name);
                    assert!(
                        !value.contains("evil") && value != "/bin/sh",
                        "{name} {fields:?}\n{shown}"
                    );
                }
            }
        }
        // The request's own host, and not what is in the field (RFC 9112 3.2.2).
        if server == Configured::Nginx {
            let shown = ask(&running, "http://right.example/cgi-bin/wiki.cgi", &[]).text();
            assert!(
                ["", "right.example"].contains(&seen(&shown, "HTTP_HOST")),
                "{shown}"
            );
        }
    }
    assert!(served > FORGED.len(), "nothing was served");
    // Without any names at all `no_name_is_a_client_s` would hold as well.
    assert!(installed_text("servers/nginx.conf").contains("$remote_user"));
}

/// httpoxy, in a CGI beside the app that knows nothing of it.
fn no_cgi_has_a_proxy_of_the_client_s(server: Configured) {
    let dir = prepare();
    let shows = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nenv\n";
    dir.file("cgi-bin/plain.cgi", shows, 0o755);
    let running = server.start(&dir, &text_for(server, &dir));
    let fields = [("Proxy", "http://evil.example/"), ("X-A", "b")];
    let shown = ask(&running, "/cgi-bin/plain.cgi", &fields).ok();
    assert_eq!(seen(&shown, "HTTP_X_A"), "b", "{shown}");
    assert!(!shown.contains("evil"), "{shown}");
}

/// nginx asks regular expressions first, unless a location forbids it.
#[test]
fn no_location_by_a_suffix_takes_a_cgi_away() {
    let dir = prepare();
    let shows = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nran\\n'\n";
    dir.file("cgi-bin/x.php", shows, 0o755);
    let own = "location ~ \\.php$ {\nreturn 418;\n}\n";
    let text = text_for(Configured::Nginx, &dir);
    let server = Configured::Nginx.start(&dir, &(text.clone() + own));
    assert_eq!(ask(&server, "/elsewhere/x.php", &[]).status(), 418);
    assert_eq!(ask(&server, "/cgi-bin/x.php", &[]).ok(), "ran\n");
    let server = Configured::Nginx.start(&dir, &(with_all_options(&text) + own));
    for target in ["/cgi-bin/x.php", "/wiki/x.php"] {
        assert_eq!(ask(&server, target, &[]).status(), 401, "{target}");
    }
}

/// Without mod_cgi and mod_cgid Apache takes a CGI for a file that it sends.
#[test]
fn without_a_module_for_cgis_no_app_file_is_sent() {
    let dir = prepare();
    let text = text_for(Configured::ApachePrefork, &dir);
    let is_sent = |text: &str, target: &str| {
        let server = Configured::start_apache_without_cgi(&dir, text);
        let reply = ask(&server, target, &[("Authorization", RIGHT)]);
        if reply.status() == 200 {
            assert!(reply.text().contains(SECRET), "{target}: {}", reply.text());
        }
        reply.status() == 200
    };
    let open = text.replace("Require all denied", "Require all granted");
    assert!(is_sent(&open, "/cgi-bin/wiki.cgi"), "{open}");
    let mut variants = with_each_option(&text);
    variants.push(with_all_options(&text));
    variants.push(text);
    for text in variants {
        for target in ["/cgi-bin/wiki.cgi", "/cgi-bin/wiki.cgi/x", "/wiki"] {
            assert!(!is_sent(&text, target), "{target}: {text}");
        }
    }
}

//! Log-ins that the web server checks: with the options of an example that do so, and any others beside them, no address
//! of the app is open to a client without a password.

use super::attacks::{HTPASSWD, RIGHT, ask, prepare, seen};
use super::{
    Configured, options, text_for, with_all_options, with_each, with_each_option, with_option,
};

/// alice:wrong; admin and no password; a scheme that is not asked for.
const WRONG: [&str; 3] = [
    "Basic YWxpY2U6d3Jvbmc=",
    "Basic YWRtaW46",
    "Bearer YWxpY2U=",
];

/// The app's addresses, and other spellings of them.
const TARGETS: [&str; 15] = [
    "/cgi-bin/wiki.cgi",
    "/cgi-bin/wiki.cgi/",
    "/cgi-bin/wiki.cgi/x",
    "/cgi-bin/wiki.cgi/../wiki.cgi/x",
    "/cgi%2Dbin/wiki%2Ecgi/x",
    "//cgi-bin//wiki.cgi/x",
    "/x/../cgi-bin/wiki.cgi/x",
    "/CGI-BIN/wiki.cgi/x",
    "/wiki",
    "/wiki/",
    "/wiki/x",
    "/%77iki/x",
    "//wiki//x",
    "/x/../wiki/x",
    "/wiki/x?y",
];

with_each!(no_address_is_open);

fn checks_log_ins(lines: &str) -> bool {
    lines.contains("AuthType ") || lines.contains("auth_basic ")
}

/// The text with all of its options that check log-ins, and with those that such a one stands in.
fn with_log_ins(text: &str) -> String {
    let mut text = text.to_owned();
    loop {
        let lines: Vec<&str> = text.lines().collect();
        let all = options(&text);
        let mut log_ins = all
            .iter()
            .filter(|option| checks_log_ins(&lines[(*option).clone()].concat()));
        match log_ins.next() {
            Some(option) => text = with_option(&text, option),
            None => return text,
        }
    }
}

fn no_address_is_open(server: Configured) {
    let dir = prepare();
    dir.file("htpasswd", HTPASSWD, 0o644);
    let text = text_for(server, &dir);
    if server == Configured::Lighttpd {
        assert!(!checks_log_ins(&text), "then they are to be tried");
        return;
    }
    let checked = with_log_ins(&text);
    assert!(checks_log_ins(&checked), "{text}");
    let mut variants = with_each_option(&checked);
    variants.push(with_all_options(&text));
    variants.push(checked);
    let mut seen_alice = 0;
    for text in variants {
        let running = server.start(&dir, &text);
        for target in TARGETS {
            let wrong = WRONG.map(|value| vec![("Authorization", value)]);
            for fields in [vec![]].iter().chain(&wrong) {
                let status = ask(&running, target, fields).status();
                let is_closed = [400, 401, 403, 404].contains(&status);
                assert!(is_closed, "{target} {fields:?}: {status}\n{text}");
            }
        }
        let is_at_wiki = [
            "ScriptAlias /wiki ",
            "ProxyPass /wiki ",
            "location ^~ /wiki ",
        ]
        .iter()
        .any(|words| text.lines().any(|line| line.starts_with(words)));
        let served = if is_at_wiki {
            "/wiki/x"
        } else {
            "/cgi-bin/wiki.cgi/x"
        };
        for target in ["/cgi-bin/wiki.cgi/x", served] {
            assert_eq!(ask(&running, target, &[]).status(), 401, "{target}: {text}");
            let reply = ask(&running, target, &[("Authorization", RIGHT)]);
            // No daemon is at the address that the web server has from the example.
            if ![502, 503].contains(&reply.status()) {
                assert_eq!(
                    seen(&reply.ok(), "REMOTE_USER"),
                    "alice",
                    "{target}: {text}"
                );
                seen_alice += 1;
            }
        }
    }
    assert!(seen_alice > 1, "nobody came in: {text}");
}

//! Every sentence of an error, and that each names a position in the text whatever the text is.

use proptest::prelude::*;

use super::super::*;
use super::{HOST, read};

/// What follows the path in an error, for line 1 of a file.
#[test]
fn sentences() {
    let count = |key: &str, value: &str, least: &str, most: &str| {
        (
            format!("{key} = {value}"),
            format!(
                "{}: {key}: '{value}' is not a whole number from {least} to {most}",
                key.len() + 4
            ),
        )
    };
    let mut cases = vec![
        count("max-procs", "0", "1", "1024"),
        count("min-procs", "-1", "0", "1024"),
        count("min-idle", "many", "0", "1024"),
        count("max-requests", "0", "1", "4294967295"),
        count("cgi-max", "1025", "0", "1024"),
        count("daemon-when-busy", "1.5", "0", "1000000"),
        count("queue-size", "1000001", "0", "1000000"),
    ];
    let more = [
        (
            "workers = 4",
            "1: unknown key 'workers'; did you mean 'max-procs'?",
        ),
        ("colour = red", "1: unknown key 'colour'"),
        (
            "log-file = |/usr/bin/logger -t wiki",
            "12: log-file: '|/usr/bin/logger -t wiki' is a command; name a file",
        ),
        ("mode =", "1: 'mode' has no value"),
        ("mode = # auto", "1: 'mode' has no value"),
        (
            "env.1A = x",
            "1: 'env.1A' is not a variable's name: letters, digits and '_', and no digit first",
        ),
        (
            "env.GATEWAY_INTERFACE = x",
            "1: 'env.GATEWAY_INTERFACE' can't be set: it is what tells a program that a web server runs it",
        ),
        ("env.A = 'x", "9: env.A: this quote is never closed"),
        (
            "env.A = 'x' y",
            "13: env.A: text after the closing quote; put the quotes around the whole value",
        ),
        (
            "cgi = a\\",
            "8: cgi: nothing follows the backslash; a value can't go on in the next line",
        ),
        ("cgi = '' a", "7: cgi: ''' a' names no program"),
        (
            "scgi = ~/wiki -x",
            "8: scgi: '~/wiki' begins with '~', which is not expanded; write the path in full",
        ),
        (
            "wsgi = wiki # x",
            "8: wsgi: 'wiki' names no callable; write 'module:callable', often 'module:application' or 'module:app'",
        ),
        (
            "wsgi = wiki.py:app",
            "8: wsgi: 'wiki.py:app' names a file; write the module as 'import' has it, without folder and .py",
        ),
        (
            "wsgi = a:b()",
            "8: wsgi: 'a:b()' is not 'module:callable', as in wiki.main:application",
        ),
        (
            "connect = localhost",
            "11: connect: 'localhost' is neither the absolute path of a socket nor host:port",
        ),
        (
            "connect = unix:/x",
            "11: connect: 'unix:/x' has 'unix:' before the path; write the path alone",
        ),
        (
            "listen = /x :80",
            "13: listen: ':80' names no host; write 127.0.0.1 for this machine alone, 0.0.0.0 for all of IPv4",
        ),
        (
            "listen = a:0",
            "10: listen: 'a:0' has no port from 1 to 65535",
        ),
        (
            "listen-allow = www 1.2.3.4/8",
            "20: listen-allow: '1.2.3.4/8' has bits set after its prefix; write the network's first address",
        ),
        (
            "listen-allow = 1.2.3/8",
            "16: listen-allow: '1.2.3/8' is not a network, as in 192.0.2.0/24 or 2001:db8::/32",
        ),
        (
            "listen-allow = a,b",
            "16: listen-allow: 'a,b' is neither a user nor a network",
        ),
        (
            "idle-timeout = 90",
            "16: idle-timeout: '90' has no unit: ms, s, m or h",
        ),
        (
            "idle-timeout = soon",
            "16: idle-timeout: 'soon' is not a time: a whole number and ms, s, m or h, as in 45s",
        ),
        (
            "idle-timeout = 9000h",
            "16: idle-timeout: '9000h' is more than a year (8760h)",
        ),
        (
            "request-timeout = 0s",
            "19: request-timeout: '0s' is not above 0",
        ),
        (
            "request-limit = 20ms",
            "17: request-limit: '20ms' is below 1s: a host that is busy for a moment could not keep it",
        ),
        (
            "idle-timeout = 99ms",
            "16: idle-timeout: '99ms' is below 100ms: the daemon would exit before the request that it was started for",
        ),
        (
            "header-limit = 1k",
            "16: header-limit: '1k' is below 4k: ordinary requests have more",
        ),
        (
            "header-limit = 129k",
            "16: header-limit: '129k' is above 128k, which is what one message to a worker holds",
        ),
        (
            "body-limit = 0",
            "14: body-limit: '0' is no limit to some servers and nothing to others; write 'none' for no limit",
        ),
        (
            "max-rss = 5 MB",
            "11: max-rss: '5 MB' is not a size: a whole number of bytes, or with k, M or G, as in 64k",
        ),
        (
            "spool-limit = 99999999999G",
            "15: spool-limit: '99999999999G' is too large",
        ),
        (
            "spool-dir = tmp",
            "13: spool-dir: 'tmp' is not an absolute path",
        ),
        (
            "directory = ~",
            "13: directory: '~' begins with '~', which is not expanded; write the path in full",
        ),
        ("directory = ''", "13: directory: no value"),
        (
            "daemon-when-rate = 6",
            "20: daemon-when-rate: '6' is not a rate: a whole number and /s, /m or /h, as in 6/m",
        ),
        (
            "daemon-when-rate = 1200/m",
            "20: daemon-when-rate: '1200/m' is more than 1000; take a smaller unit, as in 20/s for 1200/m",
        ),
        (
            "daemon-when-load = high",
            "20: daemon-when-load: 'high' is not a load per core: a number such as 1 or 0.75, at most 1000",
        ),
        (
            "mode = Auto",
            "8: mode: 'Auto' is not one of auto, cgi, daemon",
        ),
        ("preload = yes", "11: preload: 'yes' is not one of on, off"),
        (
            "status-path = status",
            "15: status-path: 'status' is not a path below the app's address, as in /polycgi-status",
        ),
        (
            "status-path = /",
            "15: status-path: '/' is not a path below the app's address, as in /polycgi-status",
        ),
        (
            "status-allow = here",
            "16: status-allow: 'here' is not a network, as in 192.0.2.0/24 or 2001:db8::/32",
        ),
        (
            "watch = a ~/b",
            "11: watch: '~/b' begins with '~', which is not expanded; write the path in full",
        ),
        (
            "show-errors = yes",
            "15: show-errors: 'yes' is not one of on, off, networks (192.0.2.0/24)",
        ),
        (
            "socket-mode = rw",
            "15: socket-mode: 'rw' is not a mode: octal digits up to 0777, as in 0660",
        ),
        (
            "socket-group = a b",
            "16: socket-group: 'a b' is not the name of a group",
        ),
        (
            "priority-cookie = a=b",
            "19: priority-cookie: 'a=b' is not the name of a cookie",
        ),
        (
            "mount = wiki",
            "9: mount: 'wiki' is not a path of the site: it must begin with '/'",
        ),
        (
            "mode = cgi\nmode = cgi",
            "2:1: 'mode' is set already, on line 1",
        ),
        (
            "env.A = 1\nenv.A = 2",
            "2:1: 'env.A' is set already, on line 1",
        ),
        (
            "cgi = a\nwsgi = b:c",
            "2:1: 'wsgi' beside 'cgi' on line 1; an app has one of 'wsgi', 'cgi' and/or 'scgi', 'connect'",
        ),
        (
            "connect = /a\nmode = cgi",
            "2:1: 'mode = cgi' needs 'wsgi' or 'cgi'; this app can only be forwarded to",
        ),
        (
            "",
            "1: nothing says what to run; add a line 'wsgi = module:callable', or 'cgi', 'scgi', 'connect'",
        ),
        (
            "wsgi = a:b\nmin-procs = 3\nmax-procs = 2",
            "2:1: min-procs: 3 is above max-procs, which is 2 on line 3",
        ),
        (
            "wsgi = a:b\nmin-idle = 3\nmax-procs = 2",
            "2:1: min-idle: 3 is above max-procs, which is 2 on line 3",
        ),
    ];
    cases.extend(more.map(|(text, sentence)| (text.to_owned(), sentence.to_owned())));
    for (text, sentence) in cases {
        let error = parse("f", text.as_bytes())
            .and_then(|settings| Config::from_settings(settings, HOST))
            .unwrap_err();
        let expected = if text.contains('\n') {
            format!("f:{sentence}")
        } else {
            format!("f:1:{sentence}")
        };
        assert_eq!(error.sentence(), expected);
    }
}

#[test]
fn whole_errors() {
    let cases = [
        (
            "#!/usr/local/bin/polycgi -\n\nworkers = 4\n",
            "/srv/cgi-bin/wiki.cgi:3:1: unknown key 'workers'; did you mean 'max-procs'?\nworkers = 4\n^~~~~~~",
        ),
        (
            "wsgi = a:b\r\n\tidle-timeout = 90 # s\r\n",
            "/srv/cgi-bin/wiki.cgi:2:17: idle-timeout: '90' has no unit: ms, s, m or h\n idle-timeout = 90 # s\n                ^~",
        ),
        (
            "env.KEY = 'tiger\n",
            "/srv/cgi-bin/wiki.cgi:1:11: env.KEY: this quote is never closed\nenv.KEY = ******\n          ^",
        ),
        (
            "#!/usr/local/bin/polycgi\nmode = auto\n",
            "/srv/cgi-bin/wiki.cgi:2:12: nothing says what to run; add a line 'wsgi = module:callable', or 'cgi', \
             'scgi', 'connect'\nmode = auto\n           ^",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text).unwrap_err(), expected);
    }
}

/// Whether the position of an error lies within the text that it is about.
fn lies_within(bad: &BadConfig, text: &[u8]) -> bool {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let lines: Vec<_> = text.split(|&byte| byte == b'\n').collect();
    let position = bad.position();
    let line = position
        .line()
        .checked_sub(1)
        .and_then(|index| lines.get(index));
    line.is_some_and(|line| {
        (1..=String::from_utf8_lossy(line).chars().count() + 1).contains(&position.column())
    }) && bad.to_string().lines().count() == 3
        && bad.to_string().starts_with(&bad.sentence())
}

fn looks_into(text: &[u8]) {
    let config = parse("f", text).and_then(|settings| Config::from_settings(settings, HOST));
    let errors = [config.err(), env_file("f", text).err()];
    for bad in errors.into_iter().flatten() {
        assert!(
            lies_within(&bad, text),
            "{bad:?} in {:?}",
            String::from_utf8_lossy(text)
        );
    }
}

#[test]
fn every_prefix() {
    let text = "\u{feff}#!/x\r\nwsgi = größe:b # c\nenv.A = 'ä' # d\ncgi = 'a b' \\\" \"c\\\"\"\nlisten = /a [::1]:80\n";
    for end in 0..=text.len() {
        looks_into(&text.as_bytes()[..end]);
    }
}

proptest! {
    #[test]
    fn random_bytes(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        looks_into(&text);
    }

    #[test]
    fn random_lines(
        lines in proptest::collection::vec((proptest::sample::select(settings::KEYS), "[ \\t]?=[ ]?", "\\PC{0,12}"), 0..4),
        end in proptest::sample::select(&["", "\n", "\r\n", "\r", "\n\n"][..]),
    ) {
        let lines: Vec<String> = lines.into_iter().map(|(key, equals, value)| format!("{key}{equals}{value}")).collect();
        looks_into((lines.join("\n") + end).as_bytes());
    }

    #[test]
    fn random_values(key in proptest::sample::select(settings::KEYS), value in "[0-9a-z'\"\\\\#~/:.\\[\\]%*ä -]{0,16}") {
        looks_into(format!("{key} = {value}").as_bytes());
    }
}

/// Who may see what is wrong with a file is in that file.
#[test]
fn show_errors_counts_in_a_file_that_is_wrong() {
    let said = |text: &str| crate::config::shows_errors(text.as_bytes());
    let on = Some(crate::config::ShowErrors::On);
    assert_eq!(said("wsgi = a:b\nmax-porcs = 3\nshow-errors = on\n"), on);
    assert_eq!(said("\x01\nno equals\nshow-errors = on # now\n"), on);
    for nothing in ["wsgi = a:b\n", "no equals\n", "# show-errors = on\n"] {
        assert_eq!(said(nothing), None, "{nothing}");
    }
    let off = Some(crate::config::ShowErrors::Off);
    for wrong in [
        "show-errors = yes\n",
        "show-errors =\n",
        "show-errors = on\nshow-errors = off\n",
        "show-erors = on\n",
        "show-errors on\n",
        "show-errors on\nshow-errors = on\n",
        "show-errors = 10.0.0.0/8 \u{7}\n",
    ] {
        assert_eq!(said(wrong), off, "{wrong}");
    }
}

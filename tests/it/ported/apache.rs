//! Apache's own suite, httpd-tests: t/modules/cgi.t with the scripts of t/htdocs/modules/cgi, and
//! t/apache/chunkinput.t.

use std::io::Write;
use std::net::TcpStream;

use super::{Case, Shown, Suite};
use crate::util::{Conversation, Mpm, Site, under_both};
use Shown::{By, Otherwise, Outside};

pub(super) const SUITE: Suite = Suite {
    name: "httpd-tests",
    cases: &[
        Case(
            "cgi.t: perl.pl, sh.sh",
            "a page by a program in Perl, and in the shell",
            By(&["apps::plain::perl", "apps::plain::shell"]),
        ),
        Case(
            "cgi.t: HEAD perl.pl",
            "200 and no body",
            By(&["apps::plain::perl"]),
        ),
        Case(
            "cgi.t: bogus-perl.pl, bogus-sh.sh",
            "output without a head is 500",
            Otherwise(
                "the daemon's page is a 502, and the reason is in the error log; a plain CGI has Apache's 500",
                &[
                    "cgi_daemon::heads_that_are_none",
                    "ported::apache::bodies_for_a_program_that_writes_no_head",
                ],
            ),
        ),
        Case(
            "cgi.t: POST to bogus-perl.pl",
            "a body of 10 to 1024 repeated bytes does not hold up the error",
            By(&["ported::apache::bodies_for_a_program_that_writes_no_head"]),
        ),
        Case(
            "cgi.t: nph-test.pl, nph-stderr.pl",
            "NPH scripts",
            Otherwise("RFC 3875 5 is not for a daemon", &["places::no_nph"]),
        ),
        Case(
            "cgi.t: acceptpathinfoon.sh",
            "PATH_INFO arrives",
            By(&["ported::apache::accept_path_info"]),
        ),
        Case(
            "cgi.t: acceptpathinfooff.sh",
            "404 with a path behind the script",
            By(&["ported::apache::accept_path_info"]),
        ),
        Case(
            "cgi.t: acceptpathinfodefault.sh",
            "PATH_INFO arrives",
            By(&["ported::apache::accept_path_info"]),
        ),
        Case(
            "cgi.t: stderr1.pl",
            "words on stderr before the page",
            By(&["ported::apache::words_before_between_and_after"]),
        ),
        Case(
            "cgi.t: stderr2.pl",
            "words between two parts of it",
            By(&["ported::apache::words_before_between_and_after"]),
        ),
        Case(
            "cgi.t: stderr3.pl",
            "words after it, and stderr closed",
            By(&["ported::apache::words_before_between_and_after"]),
        ),
        Case(
            "cgi.t: ScriptLog",
            "bogus scripts are logged up to a size, with a part of the body",
            Otherwise(
                "the first bytes of the response are in the error log, nothing of the body",
                &[
                    "cgi_daemon::heads_that_are_none",
                    "ported::apache::bodies_for_a_program_that_writes_no_head",
                ],
            ),
        ),
        Case(
            "ranged.pl",
            "a script that answers to Range",
            By(&["apps::flask::pages"]),
        ),
        Case(
            "nph-101.pl",
            "101 by an NPH script",
            Otherwise("RFC 3875 5 is not for a daemon", &["places::no_nph"]),
        ),
        Case(
            "nph-foldhdr.pl",
            "a folded field by an NPH script",
            Otherwise(
                "no NPH; in any other head a folded field is refused",
                &["places::no_nph", "src/cgi/head.rs: what_is_refused"],
            ),
        ),
        Case(
            "ocsp.pl",
            "a responder for certificates",
            Outside("no matter of a CGI"),
        ),
        Case(
            "chunkinput.t: the chunk of length 0",
            "with a trailer: the request is served",
            By(&["ported::apache::chunks_and_what_is_none"]),
        ),
        Case(
            "chunkinput.t: a size that is none",
            "is refused, and the app is not run with a part of a body",
            By(&["ported::apache::chunks_and_what_is_none"]),
        ),
        Case(
            "chunkinput.t: a path that is not there",
            "404, whatever the body is",
            Outside("Apache's own"),
        ),
    ],
};

under_both!(accept_path_info bodies_for_a_program_that_writes_no_head chunks_and_what_is_none words_before_between_and_after);

const MODES: [&str; 2] = ["mode = cgi\n", "mode = daemon\n"];

/// A site whose app is this shell script.
#[track_caller]
fn site(mpm: Mpm, script: &str, mode: &str, more: &str) -> Site {
    let site = Site::with(mpm, 16, more);
    site.dir
        .file("apps/script.sh", &format!("#!/bin/sh\n{script}"), 0o755);
    site.dir
        .app_file("app", &format!("cgi = ./script.sh\n{mode}"));
    site
}

fn accept_path_info(mpm: Mpm) {
    let script = "printf 'Content-Type: text/plain\\n\\n%s\\n' \"$PATH_INFO\"\n";
    for mode in MODES {
        for (word, with_path) in [("On", 200), ("Off", 404), ("Default", 200)] {
            let more = format!("<Location /cgi-bin/>\nAcceptPathInfo {word}\n</Location>\n");
            let mut site = site(mpm, script, mode, &more);
            assert_eq!(site.get("").ok(), "\n", "{word}");
            let reply = site.get("/foo");
            assert_eq!(reply.status(), with_path, "{word}");
            if with_path == 200 {
                assert_eq!(reply.ok(), "/foo\n", "{word}");
            }
            let log = site.log();
            let said = log
                .matches("AcceptPathInfo off disallows user's path")
                .count();
            let count = usize::from(with_path == 404);
            assert_eq!((said, log.lines().count()), (count, count), "{word}: {log}");
        }
    }
}

fn bodies_for_a_program_that_writes_no_head(mpm: Mpm) {
    for mode in MODES {
        let mut site = site(mpm, "echo 'this is no head'\n", mode, "");
        let status = if mode == MODES[0] { 500 } else { 502 };
        for size in [0, 10, 99, 250, 255, 256, 257, 258, 1024, 100_000] {
            let reply = site.send("POST", "/", &[], Some(&vec![b'1'; size]));
            assert_eq!(reply.status(), status, "{mode} {size}");
        }
        let log = site.log();
        assert!(log.contains("this is no head"), "{log}");
        assert!(!log.contains("1111111111"), "{log}");
    }
}

fn words_before_between_and_after(mpm: Mpm) {
    let script = "case $PATH_INFO in\n\
        /1) echo 'this is stderr' >&2; printf 'Content-Type: text/plain\\n\\n'; echo 'this is stdout' ;;\n\
        /2) printf 'Content-Type: text/plain\\n\\n'; echo 'this is also stderr' >&2; echo 'this is also stdout' ;;\n\
        /3) printf 'Content-Type: text/plain\\n\\n'; echo 'this is more stdout'; echo 'this is more stderr' >&2; exec 2>&- ;;\n\
        esac\n";
    for mode in MODES {
        let mut site = site(mpm, script, mode, "");
        for (path, word) in [("/1", ""), ("/2", "also "), ("/3", "more ")] {
            assert_eq!(
                site.get(path).ok(),
                format!("this is {word}stdout\n"),
                "{mode}"
            );
            site.logged(&format!("this is {word}stderr"));
        }
        assert_eq!(site.log().lines().count(), 3, "{mode}");
    }
}

fn chunks_and_what_is_none(mpm: Mpm) {
    // What a field of the trailer would be called, and one of the head.
    let script = "printf 'Content-Type: text/plain\\n\\n'\n\
        echo run ${HTTP_X_CHUNK_TRAILER-none} ${HTTP_X_HEAD-none} >>\"$here/run\"\ncat\n";
    for mode in MODES {
        let site = Site::bare(mpm, 16);
        let here = site.dir.join("apps").display().to_string();
        let script = format!("#!/bin/sh\nhere={here}\n{script}");
        site.dir.file("apps/script.sh", &script, 0o755);
        site.dir
            .app_file("app", &format!("cgi = ./script.sh\n{mode}"));
        let post = |body: &str| {
            let mut stream = TcpStream::connect(site.server.address()).expect("Apache listens");
            let head = "POST /cgi-bin/app HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Head: here\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream
                .write_all(format!("{head}{body}").as_bytes())
                .expect("it can be sent");
            Conversation::of(stream, Vec::new()).reply()
        };
        assert_eq!(post("0\r\nX-Chunk-Trailer: 1\r\n\r\n").ok(), "");
        assert_eq!(
            post("3;extension=x\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n").ok(),
            "abc0123456789"
        );
        let runs = ["run none here"; 2];
        assert_eq!(site.dir.lines("run"), runs);
        for (wrong, status) in [
            ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n", 413),
            ("-1\r\nabc\r\n0\r\n\r\n", 400),
            ("3\r\nabc\r\nx\r\n", 400),
        ] {
            assert_eq!(post(wrong).status(), status, "{mode} {wrong:?}");
        }
        assert_eq!(site.dir.lines("run"), runs, "{mode}");
        let mut site = site;
        let log = site.log();
        let said = log.matches("Error reading request entity data").count();
        assert_eq!((said, log.lines().count()), (3, 3), "{mode}: {log}");
    }
}

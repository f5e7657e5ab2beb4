//! gunicorn's request grid, tests/requests/valid and invalid: what a server may take for a request. The web server
//! parses HTTP here; the cases that come through it as meta-variables are ours.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{Case, Shown, Suite};
use crate::util::{Conversation, Dir, Mpm, Site, as_user, cgi, run, under_both};
use Shown::{By, Otherwise, Outside};

const HTTP: Shown = Outside("the web server parses HTTP");

pub(super) const SUITE: Suite = Suite {
    name: "gunicorn's tests/requests",
    cases: &[
        Case(
            "valid/001 to 008, 010, 012 to 014",
            "methods, targets, fields",
            By(&[
                "matrix::requests::other_methods",
                "matrix::requests::paths",
                "matrix::requests::fields",
            ]),
        ),
        Case(
            "valid/002 and others: a query",
            "as it was sent",
            By(&["matrix::requests::queries"]),
        ),
        Case(
            "valid/009, 011, 016: Expect and chunks",
            "bodies in chunks, with trailers and extensions",
            By(&[
                "ported::apache::chunks_and_what_is_none",
                "ported::gunicorn::a_client_that_waits_to_be_told_to_go_on",
                "chunked::a_body_arrives_whole",
            ]),
        ),
        Case(
            "valid/025: chunked beside a length",
            "the chunks count",
            Otherwise(
                "a web server that sends both has undone the chunks, and the length is that of what it sends",
                &["src/cgi/extent.rs: how_far_a_body_goes"],
            ),
        ),
        Case(
            "valid/026 to 030: targets and values",
            "in latin-1 and percent-encoded",
            By(&[
                "matrix::requests::paths",
                "matrix::requests::fields",
                "adaptor: latin-1",
            ]),
        ),
        Case(
            "valid/031, rfc9112_smuggle_te_identity_chunked",
            "only the last coding is undone",
            By(&["src/cgi/extent.rs: only_the_last_coding_is_undone"]),
        ),
        Case(
            "valid/rfc9112_smuggle_gzip_chunked",
            "gzip stays the application's",
            By(&["src/cgi/extent.rs: only_the_last_coding_is_undone"]),
        ),
        Case(
            "valid/rfc9112_chunked_*",
            "leading zeros, capital digits, extensions",
            By(&["ported::apache::chunks_and_what_is_none"]),
        ),
        Case(
            "valid/rfc9112_target_*, 099, 100",
            "absolute and other targets",
            HTTP,
        ),
        Case("valid/pp_*, invalid/pp_01", "the PROXY protocol", HTTP),
        Case(
            "valid/nonascii_*, padding_01",
            "fields with odd bytes",
            By(&["roads::the_same_answer_by_every_road"]),
        ),
        Case("valid/obs_fold_whitespace", "a field of two lines", HTTP),
        Case(
            "invalid/001 to 013",
            "request lines and fields that are none",
            HTTP,
        ),
        Case(
            "invalid/chunked_01 to 14, chunked_whitespace, rfc9112_chunked_*",
            "chunks that are none",
            By(&[
                "ported::apache::chunks_and_what_is_none",
                "chunked::cut_in_a_chunk",
            ]),
        ),
        Case(
            "invalid/021: two lengths",
            "refused",
            By(&[
                "scgi::duplicates_are_a_400_unless_they_are_equal",
                "ported::gunicorn::lengths_that_are_none",
            ]),
        ),
        Case(
            "invalid/022, 023, prefix_03: lengths",
            "-0, +3, '0 1' are no lengths",
            By(&[
                "ported::gunicorn::lengths_that_are_none",
                "src/cgi/request.rs: what_is_refused",
            ]),
        ),
        Case(
            "invalid/024, rfc9112_smuggle_cl_te_chunked: chunked not last, or beside a length",
            "one of the two counts, in every way the same one",
            By(&[
                "src/cgi/extent.rs: how_far_a_body_goes",
                "src/cgi/request.rs: what_contradicts_the_length_is_dropped_from_a_foreign_request",
            ]),
        ),
        Case(
            "invalid/040: names with an underscore",
            "Content_Length is not Content-Length",
            By(&[
                "matrix::requests::underscores",
                "src/cgi/request.rs: what_contradicts_the_length_is_dropped_from_a_foreign_request",
            ]),
        ),
        Case(
            "invalid/041: two values of a field that has one",
            "are refused",
            Otherwise(
                "the web server chooses one; from an SCGI client they are refused",
                &[
                    "src/cgi/repeated.rs: nothing_is_made_up",
                    "scgi::duplicates_are_a_400_unless_they_are_equal",
                ],
            ),
        ),
        Case(
            "invalid/042, invalid_field_value_*, rfc9110_field_value_*",
            "control characters in values",
            HTTP,
        ),
        Case(
            "invalid/nonascii_*, method_*, prefix_*, version_*, obs_fold_01",
            "request lines that are none",
            HTTP,
        ),
        Case(
            "invalid/limit_*",
            "fields and lines over the limit",
            By(&["scgi::a_header_over_the_limit_is_a_431"]),
        ),
        Case(
            "invalid/rfc9110_trailer_*",
            "trailers do not become fields",
            By(&["ported::apache::chunks_and_what_is_none"]),
        ),
        Case(
            "Expect: 100-continue",
            "the client is told to go on",
            By(&["ported::gunicorn::a_client_that_waits_to_be_told_to_go_on"]),
        ),
    ],
};

under_both!(a_client_that_waits_to_be_told_to_go_on);

/// By a front, as a plain CGI and to the daemon: a page with 400, and the app does not run.
#[test]
fn lengths_that_are_none() {
    for mode in ["mode = cgi\n", "mode = daemon\n"] {
        let dir = Dir::new();
        let script = format!(
            "#!/bin/sh\necho run >>{}/apps/run\nprintf 'Content-Type: text/plain\\r\\n\\r\\nrun\\n'\n",
            dir.path().display()
        );
        dir.file("apps/script.sh", &script, 0o755);
        let app = dir.app_file("app", &format!("cgi = ./script.sh\n{mode}"));
        let post = |length: &str| {
            let mut front = as_user(&app);
            front
                .envs(cgi::meta("POST", "/", &[]))
                .env("CONTENT_LENGTH", length);
            run(&mut front, b"xyz")
        };
        assert_eq!(post("3").response().ok(), "run\n");
        for wrong in [
            "-0",
            "+3",
            "0 1",
            "3,3",
            "3, 2",
            "0x3",
            "3.0",
            "1e0",
            " 3",
            "3 ",
            "\u{663}",
            "18446744073709551616",
        ] {
            let output = post(wrong);
            assert_eq!(cgi::reply(&output.stdout).status(), 400, "{mode} {wrong:?}");
            assert!(
                output.stderr.contains("CONTENT_LENGTH"),
                "{mode} {wrong:?}: {}",
                output.stderr
            );
        }
        assert_eq!(dir.lines("run").len(), 1, "{mode}");
    }
}

/// curl and others send a large body only when they were told so. Apache tells them when the body is read.
fn a_client_that_waits_to_be_told_to_go_on(mpm: Mpm) {
    for mode in ["cgi", "daemon"] {
        let config = format!("wsgi = testapp:application\nmode = {mode}");
        let site = Site::configured(mpm, 16, &config);
        let mut stream = TcpStream::connect(site.server.address()).expect("Apache listens");
        let head = "POST /cgi-bin/app/digest HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
            Content-Length: 4\r\nExpect: 100-continue\r\n\r\n";
        stream
            .write_all(head.as_bytes())
            .expect("a head can be sent");
        let mut told = [0; 25];
        assert!(crate::util::Deadline::soon().readable(&stream), "{mode}");
        stream.read_exact(&mut told).expect("it is told");
        assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n", "{mode}");
        stream.write_all(b"body").expect("a body can be sent");
        let reply = Conversation::of(stream, Vec::new()).reply();
        let expected = format!("{} 4\n", crate::util::digest(b"body"));
        assert_eq!(reply.ok(), expected, "{mode}");
    }
}

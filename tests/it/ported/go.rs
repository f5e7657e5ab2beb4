//! Go's net/http/cgi, whose host side is the best table of what a CGI must be given: src/net/http/cgi/host_test.go.
//! There the tests look at a web server; here at what comes of its meta-variables on their way to the app.

use super::ways::{Both, Request};
use super::{Case, Shown, Suite};
use Shown::{By, Otherwise};

pub(super) const SUITE: Suite = Suite {
    name: "Go's host_test.go",
    cases: &[
        Case(
            "TestCGIBasicGet",
            "the meta-variables of a GET",
            By(&["ported::go::the_environment_of_a_request"]),
        ),
        Case(
            "TestCGIEnvIPv6",
            "REMOTE_ADDR is an IPv6 address without brackets",
            By(&["ported::go::the_environment_of_a_request"]),
        ),
        Case(
            "TestCGIBasicGetAbsPath",
            "SCRIPT_FILENAME is an absolute path",
            By(&["ported::go::the_environment_of_a_request"]),
        ),
        Case(
            "TestPathInfo",
            "PATH_INFO is what follows the script",
            By(&[
                "ported::go::the_environment_of_a_request",
                "matrix::requests::paths",
            ]),
        ),
        Case(
            "TestPathInfoDirRoot",
            "a script's path with slashes at its end",
            By(&[
                "ported::go::the_environment_of_a_request",
                "mount::below_the_script",
            ]),
        ),
        Case(
            "TestPathInfoNoRoot",
            "SCRIPT_NAME is empty for the root of the site",
            By(&[
                "ported::go::the_environment_of_a_request",
                "mount::at_the_socket",
            ]),
        ),
        Case(
            "TestDupHeaders",
            "fields of one name are one value: cookies by '; ', others by ', '",
            By(&[
                "matrix::requests::fields_that_come_twice",
                "src/cgi/repeated.rs: names_that_came_twice",
            ]),
        ),
        Case(
            "TestDropProxyHeader",
            "HTTP_PROXY is dropped, the fields beside it are not",
            By(&[
                "ported::go::the_environment_of_a_request",
                "matrix::requests::fields",
            ]),
        ),
        Case(
            "TestCGIBasicPost",
            "a body and its CONTENT_LENGTH",
            By(&[
                "ported::go::the_environment_of_a_request",
                "matrix::requests::bodies",
            ]),
        ),
        Case(
            "TestCGIPostChunked",
            "a body in chunks is refused with 400",
            Otherwise(
                "it is read to its end first, and has its length then",
                &[
                    "chunked::a_body_arrives_whole",
                    "chunked::a_cgi_program_has_it_as_a_file",
                ],
            ),
        ),
        Case(
            "TestRedirect",
            "Location with an absolute URI, and no Status, is 302",
            By(&[
                "matrix::programs::redirects",
                "src/cgi/head.rs: a_redirect_that_says_no_status",
            ]),
        ),
        Case(
            "TestInternalRedirect",
            "Location with a path is served by the web server",
            By(&[
                "matrix::programs::redirects",
                "matrix::responses::redirects",
            ]),
        ),
        Case(
            "TestCopyError",
            "the CGI is ended when its client has gone",
            By(&[
                "gone::a_cgi_hears_of_it_too",
                "cgi_limits::a_gone_client_s_program_hears_of_it_when_it_writes",
                "matrix::responses::gone_client",
            ]),
        ),
        Case(
            "TestDir",
            "the working directory is the configured one, or the script's",
            By(&["ported::go::the_working_directory"]),
        ),
        Case(
            "TestEnvOverride, of a CGI program",
            "the configuration's variables win over the request's",
            By(&["ported::go::the_operator_s_environment_wins"]),
        ),
        Case(
            "TestEnvOverride, of a WSGI application",
            "the configuration's variables win over the request's",
            Otherwise(
                "environ is the request's, and os.environ the configuration's",
                &[
                    "ported::go::the_operator_s_environment_wins",
                    "keys::environment_of_the_operator",
                ],
            ),
        ),
        Case(
            "TestHandlerStderr",
            "what the CGI writes to stderr goes where the operator wants it",
            By(&["matrix::programs::words", "stderr::of_a_request"]),
        ),
        Case(
            "TestRemoveLeadingDuplicates",
            "of two variables of one name the last counts",
            Otherwise(
                "names that came twice with different values are refused: nobody knows which one is meant",
                &[
                    "scgi::duplicates_are_a_400_unless_they_are_equal",
                    "src/cgi/unique.rs: the_name_in_conflict",
                ],
            ),
        ),
    ],
};

#[test]
fn the_environment_of_a_request() {
    let both = Both::start("");
    let get = |script: &str, path: &str, query: &str| {
        Request::new("GET", &format!("{path}?{query}"))
            .with("SCRIPT_NAME", script)
            .with("HTTP_HOST", "example.com:80")
            .with("REQUEST_URI", &format!("{script}{path}?{query}"))
            .with("SCRIPT_FILENAME", "/srv/cgi-bin/test.cgi")
    };
    let basic = get("/test.cgi", "", "foo=bar&a=b")
        .with("REMOTE_HOST", "1.2.3.4")
        .with("REMOTE_ADDR", "1.2.3.4")
        .with("REMOTE_PORT", "1234");
    both.sees(
        &basic,
        &[
            ("HTTP_HOST", Some("example.com:80")),
            ("PATH_INFO", Some("")),
            ("QUERY_STRING", Some("foo=bar&a=b")),
            ("REMOTE_ADDR", Some("1.2.3.4")),
            ("REMOTE_HOST", Some("1.2.3.4")),
            ("REMOTE_PORT", Some("1234")),
            ("REQUEST_METHOD", Some("GET")),
            ("REQUEST_URI", Some("/test.cgi?foo=bar&a=b")),
            ("SCRIPT_FILENAME", Some("/srv/cgi-bin/test.cgi")),
            ("SCRIPT_NAME", Some("/test.cgi")),
            ("SERVER_NAME", Some("test.example")),
            ("SERVER_PORT", Some("80")),
            ("SERVER_SOFTWARE", Some("test")),
            ("body", Some("")),
        ],
    );
    let ipv6 = basic.with("REMOTE_ADDR", "2000::3000");
    both.sees(&ipv6, &[("REMOTE_ADDR", Some("2000::3000"))]);
    for (script, path) in [
        ("/test.cgi", "/extrapath"),
        ("/myscript", "/bar"),
        ("", "/bar"),
    ] {
        let divided = [("SCRIPT_NAME", Some(script)), ("PATH_INFO", Some(path))];
        both.sees(&get(script, path, "a=b"), &divided);
    }
    let fields = get("/myscript", "/bar", "a=b")
        .with("HTTP_X_FOO", "a")
        .with("HTTP_PROXY", "should_be_stripped");
    both.sees(&fields, &[("HTTP_X_FOO", Some("a")), ("HTTP_PROXY", None)]);
    let post = Request::new("POST", "?a=b")
        .with("CONTENT_TYPE", "application/x-www-form-urlencoded")
        .body(b"postfoo=postbar");
    both.sees(
        &post,
        &[
            ("CONTENT_LENGTH", Some("15")),
            ("CONTENT_TYPE", Some("application/x-www-form-urlencoded")),
            ("REQUEST_METHOD", Some("POST")),
            ("body", Some("postfoo=postbar")),
        ],
    );
}

/// `directory`, and without it that of the app file; by an application and by a program.
#[test]
fn the_working_directory() {
    let request = Request::new("GET", "/");
    for (both, expected) in [
        (Both::start(""), "/apps"),
        (Both::without_directory(), "/cgi-bin"),
    ] {
        let all = both.see(&request);
        assert_eq!(all.len(), 6);
        for seen in all {
            let directory = seen.value("cwd").expect("it knows where it is");
            assert!(directory.ends_with(expected), "{}: {directory}", seen.way);
        }
    }
}

/// Whether or not the request has that variable too. A WSGI application has the request's in environ, and the
/// operator's in os.environ.
#[test]
fn the_operator_s_environment_wins() {
    const OPERATOR: &str = "/the/operator/s";
    const REQUEST: &str = "/the/request/s";
    let names = ["SCRIPT_FILENAME", "PATH_TRANSLATED"];
    let lines = names.map(|name| format!("env.{name} = {OPERATOR}\n"));
    let both = Both::start(&lines.concat());
    let without = Request::new("GET", "/");
    let with = names
        .iter()
        .fold(without.clone(), |request, name| request.with(name, REQUEST));
    for (request, its_own) in [(without, None), (with, Some(REQUEST))] {
        for seen in both.see(&request) {
            let is_program = seen.way.starts_with("cgi");
            let expected = if is_program { Some(OPERATOR) } else { its_own };
            for name in names {
                assert_eq!(seen.value(name), expected, "{name} by {}", seen.way);
            }
        }
    }
}

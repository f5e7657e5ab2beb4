//! RFC 3875, section by section: what it demands of a server, or of the script, and so of what is between them.

use super::ways::{Both, Request};
use super::{Case, Shown, Suite};
use Shown::{By, Otherwise, Outside};

const META: &str = "ported::rfc3875::meta_variables_arrive_as_they_were_set";
const HEADS: [&str; 3] = [
    "heads::on_the_command_line",
    "heads::behind_apache_with_mod_cgi",
    "heads::behind_nginx_with_scgi_pass",
];

pub(super) const SUITE: Suite = Suite {
    name: "RFC 3875",
    cases: &[
        Case(
            "3.1 server",
            "the app is chosen by the server, never by the request",
            By(&[
                "forms::the_words_of_a_client_are_not_read",
                "scgi::strangers_set_nothing_and_command_nothing",
            ]),
        ),
        Case(
            "3.2 script path",
            "the part of the path behind the script is PATH_INFO",
            By(&["matrix::requests::paths"]),
        ),
        Case(
            "3.3 script-URI",
            "SCRIPT_NAME and PATH_INFO are the path of the request",
            By(&["matrix::requests::paths", "mount::a_rewritten_path"]),
        ),
        Case(
            "3.4 execution",
            "a process for each request of a plain CGI",
            By(&[
                "cgi_daemon::it_is_a_process_as_a_web_server_starts_one",
                "cgi_limits::so_many_at_once_and_so_many_wait",
            ]),
        ),
        Case("4.1.1 AUTH_TYPE", "as the server has set it", By(&[META])),
        Case(
            "4.1.2 CONTENT_LENGTH",
            "with a body only, and its length",
            By(&[META, "ported::rfc3875::a_length_comes_with_a_body_only"]),
        ),
        Case(
            "4.1.2 a transfer coding",
            "the length is that of the decoded body",
            By(&[
                "chunked::a_cgi_program_has_it_as_a_file",
                "chunked::behind_busybox_they_are_refused",
            ]),
        ),
        Case(
            "4.1.3 CONTENT_TYPE",
            "not set unless the client has set it",
            By(&["ported::rfc3875::a_length_comes_with_a_body_only"]),
        ),
        Case(
            "4.1.4 GATEWAY_INTERFACE",
            "CGI/1.1",
            By(&[
                META,
                "matrix::listen::nginx::by_path::requests_and_responses",
            ]),
        ),
        Case(
            "4.1.5 PATH_INFO",
            "decoded, and empty or beginning with a slash",
            By(&[
                "matrix::requests::paths",
                "ported::rfc3875::paths_are_bytes",
            ]),
        ),
        Case(
            "4.1.6 PATH_TRANSLATED",
            "as the server has set it",
            By(&[META]),
        ),
        Case(
            "4.1.7 QUERY_STRING",
            "set, and not decoded; empty without one",
            By(&[
                "matrix::requests::queries",
                "ported::rfc3875::a_query_string_is_set_if_empty",
            ]),
        ),
        Case(
            "4.1.8 REMOTE_ADDR",
            "of IPv4 and of IPv6",
            By(&[META, "ported::go::the_environment_of_a_request"]),
        ),
        Case("4.1.9 REMOTE_HOST", "as the server has set it", By(&[META])),
        Case(
            "4.1.10 REMOTE_IDENT",
            "as the server has set it",
            By(&[META]),
        ),
        Case(
            "4.1.11 REMOTE_USER",
            "as the server has set it; from another user's SCGI client only if that is trusted",
            By(&[
                META,
                "listen::only_users_who_are_named_come_in",
                "listen::tcp_is_for_this_host_and_not_believed",
            ]),
        ),
        Case(
            "4.1.12 REQUEST_METHOD",
            "any method, in the case of the client",
            By(&[
                "matrix::requests::other_methods",
                "ported::rfc3875::methods_are_any_and_case_counts",
            ]),
        ),
        Case(
            "4.1.13 SCRIPT_NAME",
            "the path that identifies the script, empty for the root",
            By(&[
                "matrix::requests::paths",
                "ported::go::the_environment_of_a_request",
            ]),
        ),
        Case(
            "4.1.14 SERVER_NAME",
            "set",
            By(&[
                META,
                "matrix::requests::fields",
                "adaptor: test_server_without_a_name",
            ]),
        ),
        Case(
            "4.1.15 SERVER_PORT",
            "set, even if it is the scheme's own",
            By(&[META, "matrix::requests::fields"]),
        ),
        Case(
            "4.1.16 SERVER_PROTOCOL",
            "that of the request",
            By(&[META, "matrix::requests::fields"]),
        ),
        Case(
            "4.1.17 SERVER_SOFTWARE",
            "as the server has set it",
            By(&[META]),
        ),
        Case(
            "4.1.18 HTTP_*",
            "the client's fields; Authorization and what the server has used may be left out",
            By(&[
                "matrix::requests::fields",
                "matrix::requests::fields_that_come_twice",
            ]),
        ),
        Case(
            "4.1.18 two fields of one name",
            "one value of the same meaning",
            By(&[
                "matrix::requests::fields_that_come_twice",
                "matrix::requests::underscores",
            ]),
        ),
        Case(
            "4.1 names of other protocols",
            "more variables may be there, and arrive",
            By(&[META, "roads::the_same_answer_by_every_road"]),
        ),
        Case(
            "4.2 no body",
            "an end at once",
            By(&["ported::speedycgi::an_input_that_has_ended_already"]),
        ),
        Case(
            "4.2 length",
            "the script can read as much as CONTENT_LENGTH says",
            By(&["matrix::programs::bodies", "adaptor: stops at the length"]),
        ),
        Case(
            "4.2 an unread body",
            "the script need not read it",
            By(&[
                "matrix::requests::unread_body",
                "cgi_daemon::an_unread_body_and_an_answer",
            ]),
        ),
        Case(
            "4.3.1 GET",
            "served",
            By(&["matrix::requests::get_and_head"]),
        ),
        Case(
            "4.3.2 POST",
            "served with its body",
            By(&["matrix::requests::bodies"]),
        ),
        Case(
            "4.3.3 HEAD",
            "no body in the response",
            By(&[
                "matrix::requests::get_and_head",
                "adaptor: HEAD",
                "adaptor: HEAD by write()",
            ]),
        ),
        Case(
            "4.3.4 protocol-specific methods",
            "passed to the script",
            By(&["matrix::requests::other_methods"]),
        ),
        Case(
            "4.4 command line",
            "a query without '=' may be arguments of the script",
            Otherwise(
                "the words would be a client's, and no one line of our programs reads them",
                &[
                    "apache::query_is_no_argument",
                    "forms::the_words_of_a_client_are_not_read",
                ],
            ),
        ),
        Case(
            "5 NPH",
            "a script of the whole HTTP response",
            Otherwise(
                "the daemon has no HTTP connection: such a name is refused, and such a response is a 502",
                &["places::no_nph", "cgi_daemon::heads_that_are_none"],
            ),
        ),
        Case(
            "6.1 time-out",
            "a script that does not answer in time may be ended",
            By(&["cgi_limits::request_timeout", "limits::request_timeout"]),
        ),
        Case(
            "6.2.1 document response",
            "Content-Type and a body",
            By(&["matrix::programs::responses"]),
        ),
        Case(
            "6.2.2 local redirect",
            "Location with a path: the server asks for it itself",
            By(&[
                "matrix::programs::redirects",
                "matrix::responses::redirects",
            ]),
        ),
        Case(
            "6.2.3 client redirect",
            "Location with an absolute URI: 302",
            By(&[
                "matrix::programs::redirects",
                "src/cgi/head.rs: a_redirect_that_says_no_status",
            ]),
        ),
        Case(
            "6.2.4 client redirect with document",
            "Location, a Status and a body",
            By(&["matrix::responses::redirects"]),
        ),
        Case(
            "6.3 at least one CGI field",
            "a head of none is an error",
            Otherwise(
                "the daemon passes it on, even if it is empty, and the client gets what the web server makes of it",
                &HEADS,
            ),
        ),
        Case(
            "6.3 a CGI field twice",
            "is an error",
            Otherwise(
                "the daemon passes it on, and the client gets what the web server makes of it, as from a plain CGI",
                &HEADS,
            ),
        ),
        Case(
            "6.3 no space before the colon",
            "is an error",
            By(&[
                "src/cgi/head.rs: what_is_refused",
                "heads::on_the_command_line",
            ]),
        ),
        Case(
            "6.3 names in any case",
            "LOCATION is Location",
            By(&[
                "src/cgi/head.rs: fields_in_any_case",
                "src/cgi/head.rs: a_redirect_that_says_no_status",
            ]),
        ),
        Case(
            "6.3 lines end with LF or CR LF",
            "both are taken",
            By(&[
                "src/cgi/field.rs: what_ends_a_head",
                "ported::lighttpd::line_ends_in_one_piece_and_in_two",
            ]),
        ),
        Case(
            "6.3.1 Content-Type",
            "needed with a body",
            Otherwise("passed on without one, as web servers do", &HEADS),
        ),
        Case(
            "6.3.2 Location",
            "an absolute URI or a path",
            By(&[
                "src/cgi/head.rs: a_redirect_that_says_no_status",
                "matrix::programs::redirects",
            ]),
        ),
        Case(
            "6.3.3 Status",
            "three digits, then a reason; 200 without one",
            By(&[
                "src/cgi/head.rs: what_is_refused",
                "src/cgi/status.rs: only_100_to_599",
                "matrix::programs::responses",
            ]),
        ),
        Case(
            "6.3.4 protocol-specific fields",
            "passed on",
            By(&["matrix::programs::responses", "matrix::responses::cookies"]),
        ),
        Case(
            "6.3.5 extension fields",
            "X-CGI-* may be dropped by the server",
            Outside("no web server of the matrix does so"),
        ),
        Case(
            "6.4 response body",
            "to the end of the output",
            By(&[
                "matrix::programs::responses",
                "cgi_daemon::a_program_that_ends_its_output_goes_on",
            ]),
        ),
        Case(
            "7.2 UNIX",
            "variables by the environment, the working directory the script's",
            By(&[
                "ported::go::the_working_directory",
                "cgi_daemon::it_is_a_process_as_a_web_server_starts_one",
            ]),
        ),
        Case(
            "8.1 server and client errors",
            "a script that fails is an error of the server's",
            By(&["cgi_daemon::heads_that_are_none", "matrix::programs::crash"]),
        ),
        Case(
            "9.2 header fields of security",
            "Proxy does not become HTTP_PROXY",
            By(&[
                "matrix::requests::fields",
                "ported::go::the_environment_of_a_request",
            ]),
        ),
        Case(
            "9.4 authentication",
            "the script sees no Authorization unless the server gives it",
            Outside("the web server's choice: CGIPassAuth in Apache"),
        ),
        Case(
            "9.7 data length and buffering",
            "no length is trusted before it is checked",
            By(&[
                "src/cgi/request.rs: what_is_refused",
                "scgi::malformed_headers_are_a_400",
                "ported::gunicorn::lengths_that_are_none",
            ]),
        ),
        Case(
            "9.8 stateless processing",
            "one request may not see another's data",
            By(&[
                "cgi_daemon::the_environment_is_that_of_a_plain_cgi",
                "ported::pep3333::what_an_application_changes_is_its_own",
            ]),
        ),
        Case(
            "9.9 relative paths",
            "dot segments are resolved before the app sees them",
            By(&["matrix::requests::paths", "src/cgi/uri.rs: nothing_climbs"]),
        ),
    ],
};

/// The meta-variables of section 4.1, and one more, with values that no default has.
const VARIABLES: [(&str, &str); 16] = [
    ("AUTH_TYPE", "Digest"),
    ("CONTENT_TYPE", "text/x-test; charset=\"x\""),
    ("GATEWAY_INTERFACE", "CGI/1.1"),
    ("HTTP_ACCEPT_LANGUAGE", "de, en;q=0.5"),
    ("PATH_INFO", "/this/that"),
    ("PATH_TRANSLATED", "/srv/www/this/that"),
    ("QUERY_STRING", "a=%20&b"),
    ("REMOTE_ADDR", "192.0.2.7"),
    ("REMOTE_HOST", "client.example"),
    ("REMOTE_IDENT", "ident"),
    ("REMOTE_USER", "alice"),
    ("SERVER_NAME", "www.test.example"),
    ("SERVER_PORT", "8080"),
    ("SERVER_PROTOCOL", "HTTP/1.0"),
    ("SERVER_SOFTWARE", "test/1.0 (none)"),
    // Of no section: mod_ssl's.
    ("SSL_CIPHER", "TLS_AES_256_GCM_SHA384"),
];

#[test]
fn meta_variables_arrive_as_they_were_set() {
    let both = Both::start("");
    let plain = Request::new("POST", "/").body(b"four");
    let request = VARIABLES
        .iter()
        .fold(plain, |request, (name, value)| request.with(name, value));
    let mut expected: Vec<_> = VARIABLES
        .iter()
        .map(|(name, value)| (*name, Some(*value)))
        .collect();
    expected.extend([
        ("CONTENT_LENGTH", Some("4")),
        ("REQUEST_METHOD", Some("POST")),
        ("SCRIPT_NAME", Some("/cgi-bin/app")),
        ("body", Some("four")),
    ]);
    both.sees(&request, &expected);
}

#[test]
fn a_length_comes_with_a_body_only() {
    let both = Both::start("");
    for seen in both.see(&Request::new("GET", "/")) {
        // An SCGI client has to say 0.
        let length = seen.way.contains("client").then_some("0");
        assert_eq!(seen.value("CONTENT_LENGTH"), length, "{}", seen.way);
        assert_eq!(seen.value("CONTENT_TYPE"), None, "{}", seen.way);
        assert_eq!(seen.value("body"), Some(""), "{}", seen.way);
    }
    let empty = Request::new("POST", "/").body(b"");
    both.sees(&empty, &[("CONTENT_LENGTH", Some("0")), ("body", Some(""))]);
}

/// PATH_INFO is what the server has decoded: any bytes but NUL, which no environment can hold.
#[test]
fn paths_are_bytes() {
    let both = Both::start("");
    // These are latin-1 where the app shows them, and UTF-8 on the way.
    for (path, shown) in [
        ("/a b/%", "/a b/%"),
        ("/caf\u{e9}", "/caf\u{c3}\u{a9}"),
        ("//a///b/", "//a///b/"),
        ("", ""),
    ] {
        both.sees(&Request::new("GET", path), &[("PATH_INFO", Some(shown))]);
    }
}

#[test]
fn a_query_string_is_set_if_empty() {
    let both = Both::start("");
    both.sees(&Request::new("GET", "/"), &[("QUERY_STRING", Some(""))]);
    let raw = Request::new("GET", "/?a=%2F&b=+c;d?e");
    both.sees(&raw, &[("QUERY_STRING", Some("a=%2F&b=+c;d?e"))]);
}

#[test]
fn methods_are_any_and_case_counts() {
    let both = Both::start("");
    for method in ["get", "PROPFIND", "M-SEARCH", "X"] {
        both.sees(
            &Request::new(method, "/"),
            &[("REQUEST_METHOD", Some(method))],
        );
    }
}

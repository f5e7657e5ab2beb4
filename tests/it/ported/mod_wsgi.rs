//! mod_wsgi's tests/wsgi: what an application may do, and what the client gets of it.

use super::{Case, Shown, Suite};
use crate::util::{Dir, Mpm, Site, cgi, under_both};
use Shown::{By, Otherwise, Outside};

pub(super) const SUITE: Suite = Suite {
    name: "mod_wsgi's tests/wsgi",
    cases: &[
        Case(
            "environ",
            "the keys of PEP 3333, of their types",
            By(&["adaptor: test_environ", "apache::same_environ_with_event"]),
        ),
        Case(
            "https",
            "wsgi.url_scheme is https where the server says so",
            By(&["adaptor: test_url_scheme"]),
        ),
        Case(
            "method",
            "each method is the application's",
            By(&["matrix::requests::other_methods"]),
        ),
        Case(
            "slash_collapse",
            "slashes in the path are as the server has left them",
            By(&[
                "src/cgi/script.rs: empty_segments_are_the_web_server_s",
                "ported::rfc3875::paths_are_bytes",
            ]),
        ),
        Case(
            "headers: custom, many",
            "all fields arrive",
            By(&[
                "adaptor: test_fields_that_are_not_for_applications",
                "ported::mod_wsgi::fields_of_many_names",
            ]),
        ),
        Case(
            "headers: repeated",
            "both values arrive",
            By(&["matrix::responses::cookies"]),
        ),
        Case(
            "headers: WWW-Authenticate",
            "arrives with a 401",
            By(&["ported::mod_wsgi::fields_of_many_names"]),
        ),
        Case(
            "headers: invalid Content-Length",
            "500",
            By(&["adaptor: ... no number"]),
        ),
        Case(
            "start_response: write()",
            "before the iterable",
            By(&["adaptor: write()"]),
        ),
        Case(
            "start_response: exc_info after the head",
            "status stays, the error is raised",
            By(&["adaptor: exc_info after"]),
        ),
        Case(
            "start_response: exc_info before the head",
            "status, fields and body are the second ones",
            By(&[
                "adaptor: exc_info before the head is sent",
                "adaptor: test_head_of_one_block",
            ]),
        ),
        Case(
            "start_response: twice before output",
            "the second replaces the first",
            Otherwise(
                "PEP 3333 calls it an error, and so it is",
                &["adaptor: start_response() twice"],
            ),
        ),
        Case(
            "start_response: twice after output",
            "an error",
            By(&["adaptor: twice, the head was sent"]),
        ),
        Case(
            "input: read, sized, in a loop",
            "all of the body in the pieces that were asked for",
            By(&[
                "adaptor: read()",
                "adaptor: read(size)",
                "adaptor: test_digest",
            ]),
        ),
        Case(
            "input: past the end",
            "nothing more",
            By(&["adaptor: read(size)"]),
        ),
        Case(
            "input: readline, sized",
            "lines, or parts of them",
            By(&["adaptor: readline()", "adaptor: readline(size)"]),
        ),
        Case(
            "input: readlines, iteration",
            "all lines",
            By(&["adaptor: readlines()", "adaptor: iteration"]),
        ),
        Case(
            "input: chunked",
            "a body without a length is whole",
            By(&["chunked::a_body_arrives_whole"]),
        ),
        Case(
            "request_body",
            "large and unread bodies",
            By(&[
                "matrix::requests::bodies",
                "matrix::requests::unread_body",
                "keys::body_limit",
            ]),
        ),
        Case(
            "file_wrapper: basic, with a length",
            "the file, or as much as its length says",
            By(&["adaptor: file_wrapper", "adaptor: ... a range"]),
        ),
        Case(
            "file_wrapper: partial",
            "from the file's position",
            By(&["adaptor: file_wrapper"]),
        ),
        Case(
            "file_wrapper: iterable",
            "what is no file",
            By(&[
                "adaptor: ... in memory",
                "adaptor: ... read() and close() alone",
            ]),
        ),
        Case(
            "response: list, tuple, generator",
            "all blocks in their order",
            By(&["adaptor: one block", "adaptor: blocks, some empty"]),
        ),
        Case(
            "response: empty",
            "200 and no body",
            By(&["adaptor: no block"]),
        ),
        Case(
            "response: close()",
            "called, also of a generator that is not finished",
            By(&["adaptor: close()", "adaptor: close() after an error"]),
        ),
        Case(
            "response: raises first",
            "500, the traceback in the log",
            By(&[
                "adaptor: raises",
                "adaptor: raises before a block",
                "adaptor: test_traceback_is_the_application_s",
            ]),
        ),
        Case(
            "response: raises midway",
            "what was sent stays",
            By(&["adaptor: raises after one"]),
        ),
        Case(
            "response: SystemExit",
            "500, and the process serves the next request",
            By(&["adaptor: sys.exit()", "adaptor: sys.exit() after a block"]),
        ),
        Case(
            "response: not bytes",
            "500 before, cut after the first block",
            By(&["adaptor: text", "adaptor: bytes as the iterable"]),
        ),
        Case(
            "response: Content-Length",
            "exact, and no more than that is sent",
            By(&["adaptor: Content-Length", "adaptor: ... too small"]),
        ),
        Case(
            "response: many chunks",
            "stream",
            By(&["matrix::responses::streaming", "matrix::responses::big"]),
        ),
        Case(
            "interrupt_timeout",
            "a request over its time is interrupted, and the client gets a 504",
            By(&[
                "limits::request_timeout",
                "cgi_time::a_stuck_request_ends_alike_in_both_ways",
            ]),
        ),
        Case(
            "logging",
            "wsgi.errors and stderr go to the error log",
            By(&["matrix::responses::stderr_is_logged"]),
        ),
        Case(
            "reload",
            "an edited script is loaded again",
            By(&["edit::next::the_next_request_runs_the_new_code"]),
        ),
        Case(
            "restrict",
            "print() and stdin are not the client's",
            By(&["adaptor: print()", "adaptor: test_process"]),
        ),
        Case(
            "authnz",
            "Apache asks a script for passwords",
            Outside("an interface of mod_wsgi's own"),
        ),
        Case(
            "proxy_headers",
            "X-Forwarded-* of trusted proxies",
            Outside("mod_remoteip's, or the framework's"),
        ),
        Case(
            "metrics",
            "figures by an interface in Python",
            Otherwise(
                "by `polycgi status` and the page of status",
                &[
                    "views::prometheus_reads_the_metrics",
                    "status_page::the_page_is_at_the_app_s_own_address",
                ],
            ),
        ),
        Case(
            "sub_interpreter",
            "several applications in one process",
            Otherwise(
                "each app has processes of its own",
                &["ported::mod_wsgi::each_application_has_its_own_processes"],
            ),
        ),
    ],
};

under_both!(fields_of_many_names);

fn fields_of_many_names(mpm: Mpm) {
    let app = "def application(environ, start_response):\n    \
        fields = [('X-Field-%d' % number, 'value %d' % number) for number in range(100)]\n    \
        fields += [('Content-Type', 'text/plain'), ('WWW-Authenticate', 'Basic realm=\"a, b\"')]\n    \
        start_response('401 Unauthorized', fields)\n    \
        return [b'who are you?\\n']\n";
    for mode in ["cgi", "daemon"] {
        let site = Site::bare(mpm, 16);
        site.dir.file("apps/many.py", app, 0o644);
        let config = format!("wsgi = many:application\nmode = {mode}\n");
        site.dir.app_file("app", &config);
        let reply = site.get("/");
        assert_eq!(
            (reply.status(), reply.text().as_str()),
            (401, "who are you?\n"),
            "{mode}"
        );
        let asked = reply.field("WWW-Authenticate");
        assert_eq!(asked, Some("Basic realm=\"a, b\""), "{mode}");
        for number in 0..100 {
            let value = reply.field(&format!("X-Field-{number}"));
            assert_eq!(value, Some(format!("value {number}").as_str()), "{mode}");
        }
    }
}

#[test]
fn each_application_has_its_own_processes() {
    let dir = Dir::new();
    let config = "wsgi = testapp:application\nmode = daemon\n";
    let ask = |name| {
        let app = dir.app_file(name, config);
        cgi::start_front(&app, "/hello").end().response().ok()
    };
    assert_ne!(ask("one"), ask("other"));
    assert_eq!(dir.all_daemons().len(), 2);
}

//! PEP 3333, what it demands of a server. Each row of the adaptor's table is run as a CGI and in the pool, with pipes
//! and with sockets.

use super::{Case, Shown, Suite};
use crate::util::{Dir, cgi};
use Shown::{By, Otherwise};

pub(super) const SUITE: Suite = Suite {
    name: "PEP 3333",
    cases: &[
        Case(
            "environ is a dict",
            "a dict of Python's own, no subclass",
            By(&["adaptor: test_environ"]),
        ),
        Case(
            "environ: what must be there",
            "REQUEST_METHOD, SCRIPT_NAME, PATH_INFO, SERVER_NAME, SERVER_PORT, SERVER_PROTOCOL",
            By(&[
                "adaptor: test_environ",
                "adaptor: test_environ_lacks",
                "adaptor: test_server_without_a_name",
            ]),
        ),
        Case(
            "environ: SCRIPT_NAME and PATH_INFO",
            "may be empty, and one of them is not",
            By(&["ported::go::the_environment_of_a_request"]),
        ),
        Case(
            "environ: latin-1",
            "bytes of the client as str of latin-1",
            By(&["adaptor: latin-1", "matrix::requests::fields"]),
        ),
        Case(
            "environ: the application may change it",
            "nothing of it is seen by the next request",
            By(&["ported::pep3333::what_an_application_changes_is_its_own"]),
        ),
        Case("wsgi.version", "(1, 0)", By(&["adaptor: test_environ"])),
        Case(
            "wsgi.url_scheme",
            "http or https, by what the server says",
            By(&["adaptor: test_url_scheme"]),
        ),
        Case("wsgi.multithread", "False", By(&["adaptor: test_environ"])),
        Case("wsgi.multiprocess", "True", By(&["adaptor: test_environ"])),
        Case(
            "wsgi.run_once",
            "True as a CGI and False in the daemon",
            By(&["adaptor: test_environ"]),
        ),
        Case(
            "wsgi.input: read()",
            "all of the body",
            By(&["adaptor: read()", "adaptor: no body"]),
        ),
        Case(
            "wsgi.input: read(size)",
            "as many bytes, fewer at the end",
            By(&["adaptor: read(size)"]),
        ),
        Case(
            "wsgi.input: readline()",
            "a line, the last one without LF",
            By(&["adaptor: readline()", "adaptor: readline(size)"]),
        ),
        Case(
            "wsgi.input: readlines()",
            "all lines",
            By(&["adaptor: readlines()"]),
        ),
        Case(
            "wsgi.input: iteration",
            "all lines",
            By(&["adaptor: iteration"]),
        ),
        Case(
            "wsgi.input: the length",
            "nothing is read beyond CONTENT_LENGTH: an end is simulated",
            By(&[
                "adaptor: stops at the length",
                "adaptor: lines stop there too",
            ]),
        ),
        Case(
            "wsgi.errors",
            "text to the operator's log",
            By(&[
                "matrix::responses::stderr_is_logged",
                "stderr::of_a_request",
            ]),
        ),
        Case(
            "start_response: status",
            "a str of three digits, a blank and a reason",
            By(&[
                "adaptor: status without a reason",
                "adaptor: status without a number",
                "adaptor: status of two lines",
                "adaptor: status as bytes",
            ]),
        ),
        Case(
            "start_response: fields",
            "names and values are str of latin-1, without control characters",
            By(&[
                "adaptor: a value of two lines",
                "adaptor: a name of two lines",
                "adaptor: bytes as a value",
                "adaptor: not latin-1",
                "adaptor: a name with a colon",
            ]),
        ),
        Case(
            "start_response: hop-by-hop fields",
            "are forbidden; a server should raise",
            Otherwise(
                "they are dropped and logged: an application that has them works as before",
                &["adaptor: test_fields_that_are_not_for_applications"],
            ),
        ),
        Case(
            "start_response: twice",
            "an error without exc_info",
            By(&[
                "adaptor: start_response() twice",
                "adaptor: twice, the head was sent",
            ]),
        ),
        Case(
            "start_response: never",
            "an error",
            By(&[
                "adaptor: no start_response()",
                "adaptor: no start_response() and no block",
            ]),
        ),
        Case(
            "start_response: late",
            "at the latest before the first block that is not empty",
            By(&["adaptor: start_response() in the iteration"]),
        ),
        Case(
            "exc_info before the head is sent",
            "the new head takes the place of the first",
            By(&["adaptor: exc_info before the head is sent"]),
        ),
        Case(
            "exc_info after",
            "is raised",
            By(&["adaptor: exc_info after"]),
        ),
        Case(
            "head",
            "sent with the first block that is not empty, or at the end",
            By(&["adaptor: blocks, some empty", "adaptor: no block"]),
        ),
        Case(
            "blocks",
            "are sent at once: none waits for the next",
            By(&["matrix::responses::streaming"]),
        ),
        Case(
            "blocks that are not bytes",
            "are an error",
            By(&[
                "adaptor: text",
                "adaptor: bytes as the iterable",
                "adaptor: no result",
            ]),
        ),
        Case(
            "write()",
            "is there, and what it writes comes before the blocks",
            By(&["adaptor: write()"]),
        ),
        Case(
            "close()",
            "is called at the end, after an error, and when the client has gone",
            By(&[
                "adaptor: close()",
                "adaptor: close() after an error",
                "gone::the_application_hears_of_an_abort",
            ]),
        ),
        Case(
            "an error in mid-iteration",
            "is logged, and the connection ends",
            By(&[
                "adaptor: raises after one",
                "adaptor: raises before a block",
            ]),
        ),
        Case(
            "an error before the head",
            "is logged, and the client gets a 500",
            By(&["adaptor: raises", "adaptor: sys.exit()"]),
        ),
        Case(
            "Content-Length: of one block",
            "a server may add it",
            By(&["adaptor: test_head_of_one_block"]),
        ),
        Case(
            "Content-Length: too small",
            "no more is sent than it says",
            By(&["adaptor: ... too small"]),
        ),
        Case(
            "Content-Length: too large",
            "the client can see it: the connection ends early; logged",
            By(&["adaptor: ... too large"]),
        ),
        Case(
            "HEAD",
            "no body, whatever the application returns",
            By(&["adaptor: HEAD of a generator", "adaptor: HEAD by write()"]),
        ),
        Case(
            "wsgi.file_wrapper",
            "files, and what only has read()",
            By(&[
                "adaptor: file_wrapper",
                "adaptor: ... a range",
                "adaptor: ... read() and close() alone",
            ]),
        ),
        Case(
            "wsgi.file_wrapper: close()",
            "is called",
            By(&["adaptor: ... read() and close() alone"]),
        ),
        Case(
            "the validator of the standard library",
            "finds nothing",
            By(&["adaptor: test_validator", "matrix::requests::get_and_head"]),
        ),
        Case(
            "Expect: 100-continue",
            "the client is told to go on when the body is wanted",
            By(&["ported::gunicorn::a_client_that_waits_to_be_told_to_go_on"]),
        ),
        Case(
            "stdout",
            "is not the response: print() can't damage it",
            By(&["adaptor: print()", "adaptor: write to fd 1"]),
        ),
    ],
};

/// One worker serves one request after another.
#[test]
fn what_an_application_changes_is_its_own() {
    let app = "import os\ndef application(environ, start_response):\n    \
        start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
        seen = sorted((name, value) for name, value in environ.items() if isinstance(value, str))\n    \
        environ.update(HTTP_LEFT='here', PATH_INFO='/changed')\n    \
        environ['wsgi.version'] = environ['wsgi.errors'] = None\n    \
        del environ['QUERY_STRING'], environ['wsgi.input']\n    \
        return [repr((os.getpid(), seen)).encode()]\n";
    let dir = Dir::new();
    dir.file("apps/changes.py", app, 0o644);
    let config = "wsgi = changes:application\nmode = daemon\nmax-procs = 1\n";
    let app = dir.app_file("app", config);
    let ask = || cgi::start_front(&app, "/page?a=b").end().response().ok();
    let first = ask();
    assert!(first.contains("('PATH_INFO', '/page')"), "{first}");
    for _ in 0..3 {
        assert_eq!(ask(), first);
    }
}

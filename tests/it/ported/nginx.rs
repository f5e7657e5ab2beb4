//! nginx-tests, the suite of nginx: scgi.t, scgi_body.t, scgi_merge_params.t, scgi_extra_data.t. There the backend is
//! a stand-in of a few lines; here it is the daemon.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{Case, Shown, Suite};
use crate::util::{Conversation, Deadline, Dir, Reply, Server, free_address, nginx};
use Shown::{By, Outside};

pub(super) const SUITE: Suite = Suite {
    name: "nginx-tests",
    cases: &[
        Case(
            "scgi.t: request",
            "a page",
            By(&["matrix::requests::nginx_scgi::get_and_head"]),
        ),
        Case(
            "scgi.t: redirect",
            "Location without Status is 302",
            By(&[
                "ported::nginx::redirects_and_heads",
                "matrix::programs::nginx_scgi::redirects",
            ]),
        ),
        Case(
            "scgi.t: third request",
            "the backend serves one request after another",
            By(&["matrix::responses::nginx_scgi::keep_alive"]),
        ),
        Case(
            "scgi.t: no data in HEAD",
            "no body",
            By(&["ported::nginx::redirects_and_heads"]),
        ),
        Case(
            "scgi.t: many ignored headers",
            "a field that comes 19 times, which a parameter of nginx replaces",
            By(&["ported::nginx::fields_that_come_many_times"]),
        ),
        Case(
            "scgi.t: variables",
            "scgi_pass with a variable",
            By(&["ported::nginx::a_backend_by_a_variable"]),
        ),
        Case(
            "scgi.t: variables to upstream",
            "scgi_pass with a variable that names an upstream",
            By(&["ported::nginx::an_upstream_by_a_variable"]),
        ),
        Case(
            "scgi.t: multiple X-Forwarded-For",
            "joined by ', '",
            By(&["ported::nginx::fields_that_come_many_times"]),
        ),
        Case(
            "scgi.t: multiple Cookie",
            "joined by '; '",
            By(&["ported::nginx::fields_that_come_many_times"]),
        ),
        Case(
            "scgi.t: multiple unknown",
            "joined by ', '",
            By(&["ported::nginx::fields_that_come_many_times"]),
        ),
        Case(
            "scgi_body.t: no body",
            "none arrives",
            By(&["ported::nginx::bodies_of_a_get"]),
        ),
        Case(
            "scgi_body.t: empty body",
            "none arrives",
            By(&["ported::nginx::bodies_of_a_get"]),
        ),
        Case(
            "scgi_body.t: body",
            "it arrives",
            By(&["ported::nginx::bodies_of_a_get"]),
        ),
        Case(
            "scgi_body.t: chunked",
            "it arrives with a length",
            By(&["ported::nginx::bodies_of_a_get"]),
        ),
        Case(
            "scgi_body.t: empty chunked",
            "none arrives",
            By(&["ported::nginx::bodies_of_a_get"]),
        ),
        Case(
            "scgi_merge_params.t: without a cache",
            "If-Modified-Since arrives, and the parameter that is inherited",
            By(&["ported::nginx::parameters_are_inherited"]),
        ),
        Case(
            "scgi_merge_params.t: with a cache",
            "If-Modified-Since does not arrive",
            Outside("what nginx sends where it caches"),
        ),
        Case(
            "scgi_extra_data.t: more than Content-Length",
            "is cut, or not sent at all",
            By(&[
                "ported::nginx::more_than_the_head_allows",
                "adaptor: ... too small",
                "adaptor: ... 0",
            ]),
        ),
        Case(
            "scgi_extra_data.t: a body with HEAD",
            "is not sent",
            By(&[
                "ported::nginx::more_than_the_head_allows",
                "adaptor: HEAD by write()",
            ]),
        ),
        Case(
            "scgi_extra_data.t: less than Content-Length",
            "is seen to be cut",
            By(&["adaptor: ... too large"]),
        ),
        Case(
            "scgi_cache.t",
            "nginx serves a page again",
            Outside("nginx's own cache"),
        ),
        Case(
            "scgi_gzip.t",
            "nginx packs a page",
            Outside("nginx's own filter"),
        ),
    ],
};

/// Shows what came, in fields as the suite's backend does.
const APP: &str = r#"
def application(environ, start_response):
    body = environ['wsgi.input'].read().decode('latin-1')
    seen = [(name, environ.get('HTTP_' + name.upper().replace('-', '_'), ''))
            for name in ('X-Forwarded-For', 'Cookie', 'Foo', 'X-Blah', 'If-Modified-Since')]
    seen += [('Body', body), ('Length', environ.get('CONTENT_LENGTH', 'none'))]
    fields = [('Content-Type', 'text/html')] + [('Seen-' + name, value) for name, value in seen]
    if environ['PATH_INFO'].startswith('/redir'):
        # As a CGI that says no Status.
        fields.append(('Location', 'http://localhost/redirect'))
        start_response('302 Found', fields)
    else:
        start_response('200 OK', fields)
    return [b'SEE-THIS\n']
"#;

struct Backend {
    server: Server,
    _dir: Dir,
}

impl Backend {
    /// nginx with locations made from the daemon's address, which is one of TCP as in the suite.
    #[track_caller]
    fn start(locations: impl Fn(&str) -> String) -> Self {
        let dir = Dir::new();
        dir.file("apps/shows.py", APP, 0o644);
        let address = free_address().to_string();
        let config = format!("wsgi = shows:application\nmode = daemon\nlisten = {address}\n");
        dir.app_file("app", &config);
        dir.polycgi(&["start"]).success();
        let server = nginx::start(&dir, "nginx", &locations(&address), vec![]);
        Self { server, _dir: dir }
    }

    /// Sends these lines and a body as they are.
    #[track_caller]
    fn send(&self, lines: &[&str], body: &str) -> Reply {
        let address = self.server.address();
        let mut stream = TcpStream::connect(address).expect("nginx listens");
        let lines = lines.join("\r\n");
        let request = format!("{lines}\r\nHost: localhost\r\nConnection: close\r\n\r\n{body}");
        stream
            .write_all(request.as_bytes())
            .expect("a request can be sent");
        Conversation::of(stream, Vec::new()).reply()
    }
}

#[test]
fn redirects_and_heads() {
    let backend = Backend::start(|at| nginx::scgi("/", at, ""));
    let redirect = backend.send(&["GET /redir HTTP/1.1"], "");
    assert_eq!(redirect.status(), 302);
    assert_eq!(
        redirect.field("Location"),
        Some("http://localhost/redirect")
    );
    assert_eq!(backend.send(&["GET / HTTP/1.1"], "").ok(), "SEE-THIS\n");
    let address = backend.server.address();
    let head = Conversation::new(address, "HEAD", "/", &[], None).reply();
    assert_eq!((head.status(), head.body.len()), (200, 0));
}

#[test]
fn fields_that_come_many_times() {
    let backend = Backend::start(|at| nginx::scgi("/", at, "scgi_param HTTP_X_BLAH blah;\n"));
    let mut lines = vec!["GET /headers HTTP/1.1"];
    lines.extend(["X-Blah: ignored header"; 19]);
    let reply = backend.send(&lines, "");
    assert_eq!(reply.ok(), "SEE-THIS\n");
    assert_eq!(reply.field("Seen-X-Blah"), Some("blah"));
    let lines: Vec<String> = ["X-Forwarded-For", "Cookie", "Foo"]
        .iter()
        .flat_map(|name| ["foo", "bar", "bazz"].map(|value| format!("{name}: {value}")))
        .collect();
    let mut all = vec!["GET / HTTP/1.1"];
    all.extend(lines.iter().map(String::as_str));
    let reply = backend.send(&all, "");
    assert_eq!(reply.field("Seen-X-Forwarded-For"), Some("foo, bar, bazz"));
    assert_eq!(reply.field("Seen-Cookie"), Some("foo; bar; bazz"));
    assert_eq!(reply.field("Seen-Foo"), Some("foo, bar, bazz"));
}

#[test]
fn a_backend_by_a_variable() {
    let backend = Backend::start(|at| nginx::scgi("/var", at, "").replace(at, "$arg_b"));
    let dir = &backend._dir;
    let app = std::fs::read_to_string(dir.join("cgi-bin/app")).expect("an app file can be read");
    let at = app.lines().find_map(|line| line.strip_prefix("listen = "));
    let target = format!("GET /var?b={} HTTP/1.1", at.expect("it listens"));
    assert_eq!(backend.send(&[&target], "").ok(), "SEE-THIS\n");
}

#[test]
fn an_upstream_by_a_variable() {
    let backend = Backend::start(|at| {
        let location = nginx::scgi("/var", at, "").replace(at, "$arg_b");
        // The lines stand at the end of a server block, and are followed by what closes it.
        format!("{location}}}\nupstream u {{\nserver {at};\n")
    });
    assert_eq!(
        backend.send(&["GET /var?b=u HTTP/1.1"], "").ok(),
        "SEE-THIS\n"
    );
    let unknown = backend.send(&["GET /var?b=v HTTP/1.1"], "");
    assert_ne!(unknown.status(), 200);
}

/// A CGI program, and an SCGI server with the word `serve`, that write the same.
const EXTRA: &str = r#"
import os, socket, sys

def answer(uri):
    status = uri.split('/')[-1]
    length = 'Content-Length: 8\n' if status == '200' else ''
    return ('Status: %s\nContent-Type: text/html\n%s\nSEE-THIS-BUT-NOT-THIS' % (status, length)).encode()

if sys.argv[1:] != ['serve']:
    os.write(1, answer(os.environ['REQUEST_URI']))
    sys.exit()
listener = socket.socket(fileno=0)
while True:
    connection, _ = listener.accept()
    file, length = connection.makefile('rb'), b''
    while not length.endswith(b':'):
        length += file.read(1)
    parts = file.read(int(length[:-1]) + 1).split(b'\0')
    connection.sendall(answer(dict(zip(parts[::2], parts[1::2]))[b'REQUEST_URI'].decode()))
    file.close()
    connection.close()
"#;

#[test]
fn more_than_the_head_allows() {
    for app in [
        "cgi = python3 extra.py\n",
        "scgi = python3 extra.py serve\n",
    ] {
        let dir = Dir::new();
        dir.file("apps/extra.py", EXTRA, 0o644);
        let address = free_address().to_string();
        dir.app_file("app", &format!("{app}mode = daemon\nlisten = {address}\n"));
        dir.polycgi(&["start"]).success();
        let server = nginx::start(&dir, "nginx", &nginx::scgi("/", &address, ""), vec![]);
        for (method, status, body) in [
            ("GET", 200, "SEE-THIS"),
            ("HEAD", 200, ""),
            ("GET", 204, ""),
            ("GET", 304, ""),
        ] {
            let mut stream = TcpStream::connect(server.address()).expect("nginx listens");
            let request =
                format!("{method} /{status} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
            stream
                .write_all(request.as_bytes())
                .expect("a request can be sent");
            let mut response = String::new();
            let limit = Deadline::soon().left();
            stream
                .set_read_timeout(Some(limit))
                .expect("a time can be set");
            stream.read_to_string(&mut response).expect("it ends");
            let (head, sent) = response.split_once("\r\n\r\n").expect("there is a head");
            let begin = format!("HTTP/1.1 {status}");
            assert!(head.starts_with(&begin), "{app}{method}: {response}");
            assert_eq!(sent, body, "{app}{method} {status}: {response}");
        }
    }
}

#[test]
fn bodies_of_a_get() {
    const CHUNKED: &str = "Transfer-Encoding: chunked";
    let backend = Backend::start(|at| nginx::scgi("/", at, ""));
    for (field, body, seen, length) in [
        ("X-No: body", "", "", "0"),
        ("Content-Length: 0", "", "", "0"),
        ("Content-Length: 6", "foobar", "foobar", "6"),
        (CHUNKED, "6\r\nfoobar\r\n0\r\n\r\n", "foobar", "6"),
        (CHUNKED, "0\r\n\r\n", "", "0"),
    ] {
        let reply = backend.send(&["GET / HTTP/1.1", field], body);
        assert_eq!(reply.ok(), "SEE-THIS\n");
        assert_eq!(reply.field("Seen-Body"), Some(seen), "{field} {body:?}");
        assert_eq!(reply.field("Seen-Length"), Some(length), "{field} {body:?}");
    }
}

/// A parameter of the server block counts in a location that has none of its own, and one of the location's replaces it.
#[test]
fn parameters_are_inherited() {
    let backend = Backend::start(|at| {
        let custom = nginx::scgi("/custom/", at, "scgi_param HTTP_X_BLAH custom;\n");
        let params = nginx::scgi("/", at, "").replace("location / {\n", "");
        let (params, _) = params.split_once("scgi_pass").expect("it passes");
        format!(
            "{params}scgi_param HTTP_X_BLAH blah;\nlocation / {{\nscgi_pass {at};\n}}\n{custom}"
        )
    });
    for (path, blah) in [("/", "blah"), ("/custom/", "custom")] {
        let line = format!("GET {path} HTTP/1.1");
        let reply = backend.send(&[&line, "If-Modified-Since: blah", "X-Blah: own"], "");
        assert_eq!(
            reply.field("Seen-If-Modified-Since"),
            Some("blah"),
            "{path}"
        );
        assert_eq!(reply.field("Seen-X-Blah"), Some(blah), "{path}");
    }
}

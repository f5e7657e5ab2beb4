//! lighttpd's tests/mod-scgi.t: what an SCGI server may write, and where the app begins.

use super::{Case, Shown, Suite};
use crate::util::{Configured, Conversation, Dir, Hosted, Mode, WebServer};
use Shown::By;

pub(super) const SUITE: Suite = Suite {
    name: "lighttpd's mod-scgi.t",
    cases: &[
        Case(
            "line-ending \\n\\n",
            "a head of lines that end with LF",
            By(&["ported::lighttpd::line_ends_in_one_piece_and_in_two"]),
        ),
        Case(
            "line-ending \\r\\n\\r\\n",
            "with CR LF",
            By(&["ported::lighttpd::line_ends_in_one_piece_and_in_two"]),
        ),
        Case(
            "line-ending \\n + \\n",
            "in two pieces",
            By(&["ported::lighttpd::line_ends_in_one_piece_and_in_two"]),
        ),
        Case(
            "line-ending \\r\\n + \\r\\n",
            "in two pieces",
            By(&["ported::lighttpd::line_ends_in_one_piece_and_in_two"]),
        ),
        Case(
            "PATH_INFO (wsgi)",
            "all of the path, for an app at the root of its host",
            By(&["ported::lighttpd::an_app_at_the_root"]),
        ),
        Case(
            "SCRIPT_NAME (wsgi)",
            "is empty there",
            By(&["ported::lighttpd::an_app_at_the_root"]),
        ),
        Case(
            "killing scgi and wait for restart",
            "a server that ends after its response has answered",
            By(&[
                "servers::ends::a_server_that_exits_after_each_answer_serves_all",
                "apps::idle::none_is_lost_between_two_of_them",
            ]),
        ),
        Case(
            "regular response after restart",
            "the next request starts it again",
            By(&[
                "servers::ends::one_that_leaves_comes_back_and_no_request_is_lost",
                "killed::a_killed_daemon_is_replaced",
            ]),
        ),
    ],
};

/// An SCGI server and a CGI write the head's end in one piece, or LF by LF with a gate between: the second piece is not
/// there when the first is read.
const PROGRAM: &str = "#!/bin/sh\ncase $QUERY_STRING in *crlf) end='\\r\\n' ;; *) end='\\n' ;; esac\n\
    case $QUERY_STRING in\n\
    slow*) printf \"Status: 200 OK$end\"; echo $$ >gate.entered; read line <gate.go; printf \"$end\" ;;\n\
    *) printf \"Status: 200 OK$end$end\" ;;\nesac\nprintf test123\n";

#[test]
fn line_ends_in_one_piece_and_in_two() {
    for server in [WebServer::LighttpdScgi, WebServer::LighttpdCgi] {
        let dir = Dir::new();
        dir.file("apps/lines.sh", PROGRAM, 0o755);
        let mut gate = dir.gate("gate");
        let site = Hosted::in_dir(dir, server, Mode::Daemon, "cgi = ./lines.sh\n", "");
        for query in ["lf", "crlf", "slow-lf", "slow-crlf"] {
            let request = site.open("GET", &format!("/index.scgi?{query}"), &[], None);
            if query.starts_with("slow") {
                gate.entered();
                gate.open(1);
            }
            let reply = request.reply();
            assert_eq!(reply.ok(), "test123", "{server:?} {query}");
        }
    }
}

/// scgi-daemon(8): lighttpd takes the first part of the path for the script, and `mount = /` corrects that.
#[test]
fn an_app_at_the_root() {
    let app = "def application(environ, start_response):\n    \
        start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
        return [repr((environ['SCRIPT_NAME'], environ['PATH_INFO'])).encode()]\n";
    for (mount, expected) in [
        ("", "('/abc', '/def/ghi')"),
        ("mount = /\n", "('', '/abc/def/ghi')"),
    ] {
        let dir = Dir::new();
        dir.file("apps/root.py", app, 0o644);
        dir.app_file(
            "app",
            &format!("wsgi = root:application\nmode = daemon\n{mount}"),
        );
        dir.polycgi(&["start"]).success();
        let rule = format!(
            "server.modules += (\"mod_scgi\")\n\
             scgi.server = (\"/\" => ((\"socket\" => \"{}\", \"check-local\" => \"disable\")))\n",
            dir.socket().display()
        );
        let server = Configured::Lighttpd.start(&dir, &rule);
        let target = "/abc/def/ghi?path_info";
        let reply = Conversation::new(server.address(), "GET", target, &[], None).reply();
        assert_eq!(reply.ok(), expected, "{mount}");
    }
}

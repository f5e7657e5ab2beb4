//! The table. In its texts POLYCGI is the installed program, AT the test's directory, NAME the mistake's name.

/// Whose page the browser gets.
pub(super) enum Page {
    /// The app's: it is no mistake after all.
    App,
    /// Ours; with a part of the reason, which the log has too.
    Ours(&'static str),
    /// The web server's: we were not run, or have become what has failed. With a part of its own line.
    Theirs(&'static str),
}

impl Page {
    pub(super) fn in_log(&self) -> &'static str {
        match self {
            Page::App => "",
            Page::Ours(said) | Page::Theirs(said) => said,
        }
    }
}

/// The status, and the page.
pub(super) type Seen = (u16, Page);

pub(super) struct Mistake {
    pub(super) name: &'static str,
    /// How the app file begins.
    pub(super) head: &'static str,
    /// Its other lines; `mode` is added unless it is there.
    pub(super) config: &'static str,
    /// The module NAME_app, or the script NAME.sh; empty: there is none.
    pub(super) code: &'static str,
    pub(super) cgi: Option<Seen>,
    pub(super) daemon: Option<Seen>,
    /// A part of what `check` prints. Empty: it does not find it.
    pub(super) check: &'static str,
}

impl Mistake {
    pub(super) fn passes_check(&self) -> bool {
        self.check.is_empty() || self.check.contains("nothing wrong")
    }
}

const HEAD: &str = concat!(
    "#!POLYCGI -\n",
    "directory = AT/apps\nruntime-dir = AT/run\nenv.TMPDIR = AT/tmp\nshow-errors = on\nmax-procs = 1\n"
);
const OK: &str = "wsgi = ok:application\n";
const WSGI: &str = "wsgi = NAME_app:application\n";
const CGI: &str = "cgi = ./NAME.sh\n";

/// A wrong configuration: the same in both ways, since no daemon is started.
const fn config(name: &'static str, config: &'static str, said: &'static str) -> Mistake {
    Mistake {
        name,
        head: HEAD,
        config,
        code: "",
        cgi: Some((500, Page::Ours(said))),
        daemon: None,
        check: said,
    }
}

/// What comes before the first line has run anything.
const fn first_line(
    name: &'static str,
    head: &'static str,
    said: &'static str,
    check: &'static str,
) -> Mistake {
    Mistake {
        head,
        cgi: Some((500, Page::Theirs(said))),
        ..config(name, OK, check)
    }
}

/// An error of the app's, of which both ways say the same.
const fn raises(
    name: &'static str,
    code: &'static str,
    said: &'static str,
    check: &'static str,
) -> Mistake {
    Mistake {
        code,
        cgi: Some((500, Page::Ours(said))),
        daemon: Some((500, Page::Ours(said))),
        check,
        ..config(name, WSGI, "")
    }
}

pub(super) const MISTAKES: &[Mistake] = &[
    // -- the app file's first line
    first_line(
        "wrong_path",
        "#!/no/such/polycgi -\n",
        "No such file or directory",
        "/no/such/polycgi",
    ),
    first_line(
        "no_first_line",
        "",
        "Exec format error",
        "neither a '#!' script nor a symlink",
    ),
    first_line(
        "empty_first_line",
        "\n#!POLYCGI -\n",
        "Exec format error",
        "the first line is empty",
    ),
    first_line(
        "byte_order_mark",
        "\u{feff}#!POLYCGI -\n",
        "Exec format error",
        "a byte order mark",
    ),
    first_line(
        "carriage_return",
        "#!POLYCGI\r\n",
        "No such file or directory",
        "the first line ends in CR LF",
    ),
    Mistake {
        cgi: Some((500, Page::Theirs("Permission denied"))),
        ..config("file_mode", OK, "can't execute")
    },
    Mistake {
        cgi: Some((200, Page::App)),
        head: "#!POLYCGI -\r\n",
        config: "directory = AT/apps\r\nruntime-dir = AT/run\r\nwsgi = ok:application\r\nmode = cgi\r\n",
        ..config("carriage_returns_behind_a_dash", "", "nothing wrong")
    },
    // -- its lines
    config(
        "misspelt_key",
        "wsgi = ok:application\nmax-porcs = 3\n",
        "unknown key 'max-porcs'; did you mean 'max-procs'?",
    ),
    config(
        "a_key_of_others",
        "wsgi = ok:application\nharakiri = 3\n",
        "unknown key 'harakiri'; did you mean 'request-timeout'?",
    ),
    config(
        "a_key_twice",
        "wsgi = ok:application\nmode = cgi\nmode = cgi\n",
        "'mode' is set already, on line",
    ),
    config("no_equals", "wsgi ok:application\n", "no '=' on this line"),
    config("no_value", "wsgi =\n", "'wsgi' has no value"),
    config(
        "two_kinds",
        "wsgi = ok:application\nconnect = /run/x\n",
        "connect",
    ),
    config("no_kind", "", "wsgi"),
    config(
        "bad_number",
        "wsgi = ok:application\nmin-procs = many\n",
        "min-procs: 'many'",
    ),
    config(
        "bad_time",
        "wsgi = ok:application\nidle-timeout = soon\n",
        "idle-timeout: 'soon'",
    ),
    config(
        "bad_word",
        "wsgi = ok:application\nmode = deamon\n",
        "mode: 'deamon'",
    ),
    config("no_callable", "wsgi = ok\n", "wsgi: 'ok'"),
    config(
        "no_program",
        "wsgi = ok:application\npython = /no/such/python\n",
        "/no/such/python",
    ),
    config(
        "no_environment",
        "wsgi = ok:application\npython = no-such-venv/\n",
        "no-such-venv",
    ),
    Mistake {
        head: "#!POLYCGI -\nruntime-dir = AT/run\nshow-errors = on\ndirectory = /no/such/folder\n",
        ..config("no_directory", OK, "/no/such/folder")
    },
    config(
        "no_env_file",
        "wsgi = ok:application\nenv-file = no-such-env\n",
        "no-such-env",
    ),
    // -- a WSGI application
    raises(
        "no_module",
        "",
        "ModuleNotFoundError: No module named 'no_module_app'",
        "No module named 'no_module_app'",
    ),
    raises(
        "missing_import",
        "import no_such_package\n",
        "ModuleNotFoundError: No module named 'no_such_package'",
        "no_such_package",
    ),
    raises(
        "syntax_error",
        "def application(environ, start_response)\n    pass\n",
        "SyntaxError: ",
        "SyntaxError",
    ),
    raises(
        "other_name",
        "def app(environ, start_response):\n    pass\n",
        "AttributeError: module 'other_name_app' has no attribute 'application'",
        "has no attribute 'application'",
    ),
    raises(
        "exit_at_import",
        "import sys\nsys.exit(3)\n",
        "cannot start the app: SystemExit: 3",
        "SystemExit",
    ),
    raises(
        "error_at_import",
        "open('no-such-file')\n",
        "FileNotFoundError: ",
        "no-such-file",
    ),
    raises(
        "factory",
        "def application():\n    return lambda environ, start_response: []\n",
        "TypeError: ",
        "makes an application when it is called",
    ),
    raises(
        "asgi",
        "async def application(scope, receive, send):\n    pass\n",
        "TypeError: ",
        "is an ASGI application",
    ),
    raises(
        "prints",
        "def application(environ, start_response):\n    print('hello')\n",
        "TypeError: 'NoneType' object is not iterable",
        "",
    ),
    raises(
        "text",
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return ['text']\n",
        "TypeError: a block of the response is str, not bytes",
        "",
    ),
    raises(
        "never_starts",
        "def application(environ, start_response):\n    return [b'x']\n",
        "RuntimeError: a block of the response came before start_response()",
        "",
    ),
    raises(
        "two_lines_in_a_field",
        "def application(environ, start_response):\n    start_response('200 OK', [('X', 'a\\nb')])\n    return [b'x']\n",
        "ValueError: a control character in a header field",
        "",
    ),
    raises(
        "number_in_a_field",
        "def application(environ, start_response):\n    start_response('200 OK', [('Content-Length', 3)])\n    return [b'abc']\n",
        "TypeError: ",
        "",
    ),
    raises(
        "exception",
        "def application(environ, start_response):\n    return [{}['<key>']]\n",
        "KeyError: '<key>'",
        "",
    ),
    raises(
        "exit_in_request",
        "import sys\ndef application(environ, start_response):\n    sys.exit('enough')\n",
        "SystemExit: enough",
        "",
    ),
    raises(
        "relative_path",
        "import os\ndef application(environ, start_response):\n    os.chdir('/')\n    return [open('apps/data').read()]\n",
        "FileNotFoundError: ",
        "",
    ),
    raises(
        "recursion",
        "def application(environ, start_response):\n    return application(environ, start_response)\n",
        "RecursionError: ",
        "",
    ),
    Mistake {
        cgi: Some((500, Page::Theirs("End of script output before headers"))),
        daemon: Some((
            502,
            Page::Ours("the app's worker ended without an answer: exit status 7"),
        )),
        ..raises(
            "hard_exit",
            "import os\ndef application(environ, start_response):\n    os._exit(7)\n",
            "",
            "",
        )
    },
    Mistake {
        cgi: Some((500, Page::Theirs("End of script output before headers"))),
        daemon: Some((
            502,
            Page::Ours("the app's worker ended without an answer: SIGSEGV"),
        )),
        ..raises(
            "crash",
            "import os, signal\ndef application(environ, start_response):\n    os.kill(os.getpid(), signal.SIGSEGV)\n",
            "",
            "",
        )
    },
    Mistake {
        config: "wsgi = NAME_app:application\nrequest-timeout = 1s\n",
        cgi: Some((
            504,
            Page::Ours("request-timeout: the app did not answer in time"),
        )),
        daemon: Some((
            504,
            Page::Ours("request-timeout: the app did not answer in time"),
        )),
        ..raises(
            "endless",
            "def application(environ, start_response):\n    while True:\n        pass\n",
            "",
            "",
        )
    },
    Mistake {
        config: "wsgi = NAME_app:application\nrequest-timeout = 1s\n",
        cgi: Some((
            504,
            Page::Ours("request-timeout: the app did not answer in time"),
        )),
        daemon: None,
        ..raises(
            "server_at_import",
            "import ok, wsgiref.simple_server\nserver = wsgiref.simple_server.make_server('127.0.0.1', 0, ok.application)\nserver.serve_forever()\n",
            "",
            "starts a server at",
        )
    },
    // -- a CGI program
    Mistake {
        config: CGI,
        cgi: Some((500, Page::Theirs("End of script output before headers"))),
        daemon: Some((
            502,
            Page::Ours("the app ended without an answer: exit status 0"),
        )),
        ..raises("says_nothing", "#!/bin/sh\n", "", "")
    },
    Mistake {
        config: CGI,
        cgi: Some((500, Page::Theirs("malformed header from script"))),
        daemon: Some((502, Page::Ours("has no valid head"))),
        ..raises(
            "no_blank_line",
            "#!/bin/sh\necho Content-Type: text/plain\necho hello\n",
            "",
            "",
        )
    },
    Mistake {
        config: CGI,
        cgi: Some((500, Page::Ours("not_executable.sh: Permission denied"))),
        daemon: Some((500, Page::Ours("not_executable.sh: Permission denied"))),
        ..raises("not_executable", "#!/bin/sh\n", "", "not_executable.sh")
    },
    Mistake {
        config: CGI,
        cgi: Some((
            500,
            Page::Ours("no_interpreter.sh: No such file or directory"),
        )),
        daemon: Some((
            500,
            Page::Ours("no_interpreter.sh: No such file or directory"),
        )),
        ..raises(
            "no_interpreter",
            "#!/no/such/shell\n",
            "",
            "names the program /no/such/shell",
        )
    },
    config("no_command", "cgi = ./no-such-program\n", "no-such-program"),
    // -- a server
    Mistake {
        config: "scgi = sh -c 'echo no database >&2; exit 3'\n",
        cgi: None,
        daemon: Some((
            500,
            Page::Ours("the server ended before its first answer: exit status 3"),
        )),
        ..raises("server_ends", "", "", "")
    },
    Mistake {
        cgi: None,
        config: "connect = AT/tmp/nothing-listens\n",
        daemon: Some((
            503,
            Page::Ours("/tmp/nothing-listens: No such file or directory"),
        )),
        ..raises("nothing_listens", "", "", "nothing-listens")
    },
];

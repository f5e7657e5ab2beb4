//! One page by every kind of app and in every way, all behind one Apache: for checks that hold for each of them. It
//! knows how an app is run, and not what its page says.

use std::net::SocketAddr;

use super::{Listening, Mpm, Site, apache};

/// The names of the apps in cgi-bin, and the lines of their files; `AT` stands for the test's directory.
pub(crate) const KINDS: [(&str, &str); 7] = [
    ("wsgi-cgi", "wsgi = page:application\nmode = cgi\n"),
    (
        "wsgi-stay",
        "wsgi = page:application\nmode = daemon\nhandoff = stay\n",
    ),
    (
        "wsgi-exit",
        "wsgi = page:application\nmode = daemon\nhandoff = exit\n",
    ),
    (
        "wsgi-relay",
        "wsgi = page:application\nmode = daemon\nhandoff = relay\n",
    ),
    ("cgi-cgi", "cgi = /usr/bin/python3 -S page.py\nmode = cgi\n"),
    (
        "cgi-daemon",
        "cgi = /usr/bin/python3 -S page.py\nmode = daemon\n",
    ),
    ("connect", "connect = AT/tmp/server\n"),
];

/// What makes a WSGI application, a CGI program and an SCGI server of `page(environ, read)`, which follows. What it
/// defines again replaces what is here.
const FRAME: &str = r#"
import os, socket, sys
HEAD = b'Content-Type: text/plain\r\n\r\n'
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [page(environ, environ['wsgi.input'].read)]
def send(connection, response):
    connection.sendall(response)
def serve(listener):
    while True:
        connection = listener.accept()[0]
        source = connection.makefile('rb')
        length = b''
        while not length.endswith(b':'):
            length += source.read(1)
        words = source.read(int(length[:-1]) + 1)[:-2].decode('latin-1').split('\0')
        send(connection, HEAD + page(dict(zip(words[::2], words[1::2])), source.read))
        source.close()
        connection.close()
def run():
    if 'REQUEST_METHOD' in os.environ:
        sys.stdout.buffer.write(HEAD + page(os.environ, sys.stdin.buffer.read))
    else:
        serve(socket.socket(fileno=0))
"#;

/// Apache, the apps of [`KINDS`], and the server that `connect` asks.
pub(crate) struct Kinds {
    // It ends before the test's directory is looked at.
    server: Option<Listening>,
    pub(crate) site: Site,
    /// What each line of the error log has to hold. Without it the log must be empty.
    pub(crate) expected: Option<&'static str>,
}

impl Kinds {
    /// `page` is Python, and defines `page(environ, read)`: the message-body of the response. `modules` and `lines` are
    /// for Apache.
    #[track_caller]
    pub(crate) fn start(mpm: Mpm, page: &str, modules: &[&str], lines: &str) -> Self {
        let site = Site::with(mpm, 16, &(apache::load(modules) + lines));
        let dir = &site.dir;
        let at = dir.path().display().to_string();
        let text = format!("{FRAME}{page}\nif __name__ == '__main__':\n    run()\n");
        dir.file("apps/page.py", &text, 0o644);
        for (name, lines) in KINDS {
            dir.app_file(name, &lines.replace("AT", &at));
        }
        let server = Some(Listening::start(dir, "page.py"));
        Self {
            server,
            site,
            expected: None,
        }
    }

    /// Lines by which mod_proxy_scgi asks [`Kinds::listen`]'s daemon at `PREFIX/tcp` and at `PREFIX/path`.
    pub(crate) fn proxy(prefix: &str, address: SocketAddr) -> String {
        format!(
            "ProxyPass {prefix}/tcp scgi://{address} disablereuse=on retry=0\n\
             ProxyPass {prefix}/path unix:../tmp/listens|scgi://localhost disablereuse=on retry=0\n"
        )
    }

    /// Starts one more daemon of the WSGI application, `app`, which listens there and at a path.
    #[track_caller]
    pub(crate) fn listen(&self, address: SocketAddr) {
        let dir = &self.site.dir;
        let at = dir.path().display();
        let config = format!(
            "wsgi = page:application\nlisten = {at}/tmp/listens {address}\nmode = daemon\n"
        );
        dir.app_file("app", &config);
        dir.polycgi(&["start"]).success();
    }
}

impl Drop for Kinds {
    fn drop(&mut self) {
        self.server = None;
        let Some(expected) = self.expected else {
            return;
        };
        let log = self.site.log();
        if !std::thread::panicking() {
            let mut lines = log.lines();
            assert!(lines.all(|line| line.contains(expected)), "{log}");
        }
    }
}

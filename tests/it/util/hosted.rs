//! An app behind any of the web servers: `/cgi-bin/app` on all of them, by CGI or by SCGI.

use super::{Conversation, Dir, Reply, Server, WebServer, apache, deadline};

/// How polycgi runs the app. Behind a web server that is an SCGI client there is only the daemon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    Cgi,
    Daemon,
}

/// A web server, an app in its cgi-bin, and their directory. At the end the error log must be empty, unless the test
/// has asked for it.
pub(crate) struct Hosted {
    // Dropped in this order: first the web server stops, then the daemon leaves, then the directory is removed.
    pub(crate) server: Server,
    pub(crate) dir: Dir,
    log_was_read: bool,
    /// The app's name in cgi-bin.
    script: &'static str,
    /// The daemon's, where it is known that no request ends otherwise.
    mode: Option<Mode>,
}

impl Hosted {
    /// The test application under wsgiref.validate.
    #[track_caller]
    pub(crate) fn start(kind: WebServer, mode: Mode) -> Self {
        Self::configured(kind, mode, "wsgi = testapp:application\n", "")
    }

    /// Any app file, and more lines of the web server's configuration.
    #[track_caller]
    pub(crate) fn configured(kind: WebServer, mode: Mode, config: &str, more: &str) -> Self {
        Self::in_dir(Dir::new(), kind, mode, config, more)
    }

    /// The same in a directory that was prepared.
    #[track_caller]
    pub(crate) fn in_dir(dir: Dir, kind: WebServer, mode: Mode, config: &str, more: &str) -> Self {
        assert!(
            mode == Mode::Daemon || kind.runs_cgis(),
            "{kind:?} has no CGIs"
        );
        let word = match mode {
            Mode::Cgi => "cgi",
            Mode::Daemon => "daemon",
        };
        let mut config = format!("mode = {word}\n{config}");
        if !kind.runs_cgis() {
            // Such a server does not send where the app begins.
            config += "mount = /cgi-bin/app\n";
        }
        let mut socket = String::new();
        if kind.speaks_fastcgi() {
            socket = dir.join("tmp/listens").display().to_string();
            config += &format!("listen = {socket}\n");
        }
        dir.app_file(kind.script(), &config);
        if !kind.runs_cgis() {
            dir.polycgi(&["start"]).success();
            if socket.is_empty() {
                socket = dir.socket().display().to_string();
            }
        }
        let mut hosted = Self::before(dir, kind, &socket, more);
        hosted.mode = Some(mode);
        hosted
    }

    /// A web server for an app that is there: in cgi-bin, or behind that SCGI address.
    #[track_caller]
    pub(crate) fn before(dir: Dir, kind: WebServer, scgi: &str, more: &str) -> Self {
        let server = kind.start(&dir, scgi, more);
        let mut hosted = Self::of(dir, server);
        hosted.script = kind.script();
        hosted
    }

    /// Of a web server that runs already.
    pub(super) fn of(dir: Dir, server: Server) -> Self {
        Self {
            server,
            dir,
            log_was_read: false,
            script: "app",
            mode: None,
        }
    }

    /// GET of a target below the app.
    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Reply {
        self.send("GET", target, &[], None)
    }

    #[track_caller]
    pub(crate) fn send(
        &self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Reply {
        self.open(method, target, fields, body).reply()
    }

    /// Sends a request, and leaves the response to be looked at while it comes.
    #[track_caller]
    pub(crate) fn open(
        &self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Conversation {
        let target = self.path(target);
        Conversation::new(self.server.address(), method, &target, fields, body)
    }

    /// The path of a target below the app.
    pub(crate) fn path(&self, target: &str) -> String {
        format!("/cgi-bin/{}{target}", self.script)
    }

    /// The app's URL, for clients that are programs.
    pub(crate) fn url(&self, target: &str) -> String {
        format!("http://{}{}", self.server.address(), self.path(target))
    }

    /// A target that says `first`, waits at the gate `gate` and says `second`: the first piece is here while the app
    /// still waits. No time is measured.
    #[track_caller]
    pub(crate) fn streams(&self, target: &str) {
        let mut gate = self.dir.gate("gate");
        let mut response = self.open("GET", target, &[], None);
        assert_eq!(response.head().status, 200);
        assert_eq!(response.piece().as_deref(), Some(&b"first\n"[..]));
        gate.entered();
        gate.open(1);
        assert_eq!(response.piece().as_deref(), Some(&b"second\n"[..]));
        assert_eq!(response.piece(), None);
    }

    /// A GET of the test application, and a HEAD: the same but for the message-body.
    #[track_caller]
    pub(crate) fn get_and_head(&self) {
        let get = self.get("/status/200");
        assert_eq!(get.ok(), "status 200\n");
        assert_eq!(get.field("Content-Type"), Some("text/plain; charset=utf-8"));
        let head = self.send("HEAD", "/status/200", &[], None);
        assert_eq!(head.status(), 200);
        assert_eq!(head.body, b"");
        assert_eq!(head.field("Content-Type"), get.field("Content-Type"));
    }

    /// A page of ours with status 500, for a browser and for a program; none of these words of the reason is in it.
    #[track_caller]
    pub(crate) fn is_a_500_without(&self, reason: &[&str]) {
        for (accept, media_type) in [("text/html", "text/html"), ("*/*", "text/plain")] {
            let reply = self.send("GET", "/hello", &[("Accept", accept)], None);
            assert_eq!(reply.status(), 500, "{}", reply.text());
            let shown = reply.field("Content-Type").unwrap_or_default();
            assert!(shown.starts_with(media_type), "{shown} for {accept}");
            assert_eq!(reply.field("Cache-Control"), Some("no-store"));
            for word in reason {
                assert!(
                    !reply.text().contains(word),
                    "the client sees the reason: {}",
                    reply.text()
                );
            }
        }
    }

    /// Waits until the error log has that text, which the test expects.
    #[track_caller]
    pub(crate) fn logged(&mut self, text: &str) {
        self.log_was_read = true;
        self.server.logged(text);
    }

    /// Stops the web server, and returns its error log.
    pub(crate) fn log(&mut self) -> String {
        self.log_was_read = true;
        self.server.stop();
        self.server.log()
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        self.server.stop();
        let log = self.server.log();
        if std::thread::panicking() {
            eprintln!("the error log:\n{log}");
        } else {
            let is_slow = self.mode != Some(Mode::Daemon) && deadline::strain() > 1;
            let said = |line: &&str| !(is_slow && apache::is_about_a_slow_end(line));
            let log: String = log.split_inclusive('\n').filter(said).collect();
            assert!(
                self.log_was_read || log.is_empty(),
                "in the error log:\n{log}"
            );
        }
    }
}

//! An app served by Apache in one of the ways: what most tests begin with, and what they end with.

use super::{Apache, Conversation, Dir, Mpm, Reply};

/// How the app is run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    /// By polycgi, as a plain CGI.
    Cgi,
    /// By polycgi, in its daemon.
    Daemon,
    /// Without polycgi, by the standard library: what we are held against, and what proves these tests.
    Reference,
}

/// A web server, an app in its cgi-bin, and their directory. At the end the error log must be empty, unless
/// the test has asked for it.
pub(crate) struct Site {
    // In this order: the web server goes first, then the daemon is asked to leave, then the directory goes.
    pub(crate) apache: Apache,
    pub(crate) dir: Dir,
    log_was_read: bool,
}

impl Site {
    /// The test application under wsgiref.validate, as `/cgi-bin/app`.
    #[track_caller]
    pub(crate) fn start(mpm: Mpm, way: Way) -> Self {
        Self::of(mpm, way, "testapp", "application")
    }

    /// Any callable of tests/apps, as `/cgi-bin/app`.
    #[track_caller]
    pub(crate) fn of(mpm: Mpm, way: Way, module: &str, callable: &str) -> Self {
        let site = Self::bare(mpm, 16);
        site.serve(way, module, callable, &[]);
        site
    }

    /// A web server with nothing in its cgi-bin yet, for up to `concurrency` requests at once.
    #[track_caller]
    pub(crate) fn bare(mpm: Mpm, concurrency: u32) -> Self {
        Self::with(mpm, concurrency, "")
    }

    /// The same with more lines of the web server's configuration.
    #[track_caller]
    pub(crate) fn with(mpm: Mpm, concurrency: u32, more: &str) -> Self {
        let dir = Dir::new();
        let apache = Apache::start(&dir, mpm, concurrency, more);
        Self {
            apache,
            dir,
            log_was_read: false,
        }
    }

    /// A web server with an app file `cgi-bin/app` of these lines.
    #[track_caller]
    pub(crate) fn configured(mpm: Mpm, concurrency: u32, config: &str) -> Self {
        let site = Self::bare(mpm, concurrency);
        site.dir.app_file("app", config);
        site
    }

    /// Puts `cgi-bin/app` there, or another one in its place.
    pub(crate) fn serve(
        &self,
        way: Way,
        module: &str,
        callable: &str,
        environment: &[(&str, &str)],
    ) {
        let mode = match way {
            Way::Cgi => "cgi",
            Way::Daemon => "daemon",
            Way::Reference => {
                self.dir.plain_cgi("app", module, callable, environment);
                return;
            }
        };
        let environment: String = environment
            .iter()
            .map(|(name, value)| format!("env.{name} = {value}\n"))
            .collect();
        self.dir.app_file(
            "app",
            &format!("wsgi = {module}:{callable}\nmode = {mode}\n{environment}"),
        );
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
        Conversation::new(
            self.apache.address(),
            method,
            &format!("/cgi-bin/app{target}"),
            fields,
            body,
        )
    }

    /// The app's address for a client that is a program.
    pub(crate) fn url(&self, target: &str) -> String {
        format!("http://{}/cgi-bin/app{target}", self.apache.address())
    }

    /// Waits until the error log has that text, which the test expects.
    #[track_caller]
    pub(crate) fn logged(&mut self, text: &str) {
        self.log_was_read = true;
        self.apache.logged(text);
    }

    /// Stops the web server, and returns its error log.
    pub(crate) fn log(&mut self) -> String {
        self.log_was_read = true;
        self.apache.stop();
        self.apache.log()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.apache.stop();
        let log = self.apache.log();
        if std::thread::panicking() {
            eprintln!("the error log:\n{log}");
        } else {
            assert!(
                self.log_was_read || log.is_empty(),
                "in the error log:\n{log}"
            );
        }
    }
}

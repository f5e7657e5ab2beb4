//! An app served by Apache in one of the ways: what most tests begin with.

use std::ops::{Deref, DerefMut};

use super::{Dir, Hosted, Mpm, apache};

/// How the app is run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    /// By polycgi, as a plain CGI.
    Cgi,
    /// By polycgi, in its daemon.
    Daemon,
    /// Without polycgi, by the standard library: the reference, and the proof that the tests themselves are right.
    Reference,
}

/// Apache, and an app in its cgi-bin.
pub(crate) struct Site(Hosted);

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
        let server = apache::start(&dir, "apache", mpm, concurrency, more);
        Self(Hosted::of(dir, server))
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
}

impl Deref for Site {
    type Target = Hosted;

    fn deref(&self) -> &Hosted {
        &self.0
    }
}

impl DerefMut for Site {
    fn deref_mut(&mut self) -> &mut Hosted {
        &mut self.0
    }
}

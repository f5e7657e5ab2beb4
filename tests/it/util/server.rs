//! The web servers of the matrix, each with one way to an app: by CGI, or as an SCGI or FastCGI client of the app's
//! daemon. A test says 'for each of them', and sees the same request at the same path.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::program::Program;
use super::{
    Deadline, Dir, Mpm, Output, Watch, apache, busybox, caddy, go, h2o, haproxy, http_server,
    lighttpd, nginx,
};

/// A web server, and how it comes to the app.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum WebServer {
    /// Prefork and mod_cgi.
    ApacheCgi,
    /// Event and mod_cgid.
    ApacheCgid,
    /// Event and mod_proxy_fcgi, over kept connections.
    ApacheFcgi,
    /// Event and mod_proxy_scgi.
    ApacheScgi,
    BusyboxCgi,
    /// By way of fcgiwrap.
    CaddyCgi,
    CaddyFcgi,
    /// The CGI host of Go's standard library.
    GoCgi,
    /// By way of its fastcgi-cgi.
    H2oCgi,
    H2oFcgi,
    /// Its `fcgi-app`, over kept connections.
    HaproxyFcgi,
    LighttpdCgi,
    LighttpdFcgi,
    LighttpdScgi,
    /// Passes bodies on while they come, both ways.
    LighttpdStreamCgi,
    LighttpdStreamScgi,
    /// By way of fcgiwrap.
    NginxCgi,
    /// Over kept connections.
    NginxFcgi,
    NginxScgi,
    /// Python's http.server.
    PythonCgi,
}

impl WebServer {
    /// It runs app files; the others are SCGI or FastCGI clients of a daemon.
    pub(crate) fn runs_cgis(self) -> bool {
        use WebServer::{ApacheScgi, LighttpdScgi, LighttpdStreamScgi, NginxScgi};
        let is_of_scgi = [ApacheScgi, LighttpdScgi, LighttpdStreamScgi, NginxScgi].contains(&self);
        !is_of_scgi && !self.speaks_fastcgi()
    }

    /// It is a FastCGI client of a daemon.
    pub(crate) fn speaks_fastcgi(self) -> bool {
        matches!(
            self,
            Self::ApacheFcgi
                | Self::CaddyFcgi
                | Self::H2oFcgi
                | Self::HaproxyFcgi
                | Self::LighttpdFcgi
                | Self::NginxFcgi
        )
    }

    /// The app's name in `cgi-bin`: h2o runs files by the end of their name.
    pub(crate) fn script(self) -> &'static str {
        match self {
            Self::H2oCgi => "app.cgi",
            _ => "app",
        }
    }

    /// Starts it in a folder of its own in the test's directory, and waits until it listens. Where it runs CGIs they
    /// are `cgi-bin`'s, at `/cgi-bin/`; else `/cgi-bin/app` goes to the SCGI server at `scgi`, a path or `host:port`.
    /// `more` are lines of its own configuration: in nginx's location, at the end elsewhere; those of
    /// Caddy, Go, h2o and Python have none.
    #[track_caller]
    pub(crate) fn start(self, dir: &Dir, scgi: &str, more: &str) -> Server {
        let apache = |folder, mpm, own: String| apache::start(dir, folder, mpm, 16, &(own + more));
        match self {
            Self::ApacheCgi => apache("apache-cgi", Mpm::Prefork, String::new()),
            Self::ApacheCgid => apache("apache-cgid", Mpm::Event, String::new()),
            Self::ApacheFcgi => apache("apache-fcgi", Mpm::Event, apache::proxy_fcgi(TARGET, scgi)),
            Self::ApacheScgi => apache("apache-scgi", Mpm::Event, apache::proxy(TARGET, scgi)),
            Self::BusyboxCgi => busybox::start(dir, "busybox-cgi", more),
            Self::CaddyCgi => caddy::start_with_fcgiwrap(dir, "caddy-cgi"),
            Self::CaddyFcgi => caddy::start(dir, "caddy-fcgi", scgi, vec![]),
            Self::GoCgi => go::start(dir, "go-cgi"),
            Self::H2oCgi => h2o::start(dir, "h2o-cgi"),
            Self::H2oFcgi => h2o::start_for(dir, "h2o-fcgi", &h2o::fastcgi(TARGET, scgi)),
            Self::HaproxyFcgi => haproxy::start(dir, "haproxy", TARGET, scgi, more),
            Self::LighttpdCgi => lighttpd::start(dir, "lighttpd-cgi", &lighttpd::cgi(), more),
            Self::LighttpdFcgi => {
                lighttpd::start(dir, "lighttpd-fcgi", &lighttpd::fastcgi(TARGET, scgi), more)
            }
            Self::LighttpdScgi => {
                lighttpd::start(dir, "lighttpd-scgi", &lighttpd::scgi(TARGET, scgi), more)
            }
            Self::LighttpdStreamCgi => {
                let more = lighttpd::STREAMS.to_owned() + more;
                lighttpd::start(dir, "lighttpd-cgi", &lighttpd::cgi(), &more)
            }
            Self::LighttpdStreamScgi => {
                let more = lighttpd::STREAMS.to_owned() + more;
                lighttpd::start(dir, "lighttpd-scgi", &lighttpd::scgi(TARGET, scgi), &more)
            }
            Self::NginxCgi => nginx::start_with_fcgiwrap(dir, "nginx-cgi", more),
            Self::NginxFcgi => nginx::start_for_fastcgi(dir, "nginx-fcgi", TARGET, scgi, more),
            Self::NginxScgi => {
                nginx::start(dir, "nginx-scgi", &nginx::scgi(TARGET, scgi, more), vec![])
            }
            Self::PythonCgi => http_server::start(dir, "http-server"),
        }
    }

    /// Lines by which it passes a response on while it comes.
    pub(crate) fn streams(self) -> &'static str {
        match self {
            Self::LighttpdCgi | Self::LighttpdScgi => "server.stream-response-body = 1\n",
            Self::NginxCgi => "fastcgi_buffering off;\nfastcgi_param NO_BUFFERING 1;\n",
            Self::NginxScgi => "scgi_buffering off;\n",
            _ => "",
        }
    }
}

/// A web server whose configuration says nothing of apps but what is in some text, as an operator has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Configured {
    ApacheEvent,
    ApachePrefork,
    Lighttpd,
    Nginx,
}

impl Configured {
    /// Starts it with that text, which is for nginx in a server block. fcgiwrap is beside that, and the text has its
    /// socket from `/run/fcgiwrap.socket`.
    #[track_caller]
    pub(crate) fn start(self, dir: &Dir, text: &str) -> Server {
        let folder = &self.folder(dir);
        let apache = |mpm| {
            let own = Self::apache_modules() + text;
            apache::start_bare(apache::command(), dir, folder, mpm, 16, &own)
        };
        match self {
            Self::ApacheEvent => apache(Mpm::Event),
            Self::ApachePrefork => apache(Mpm::Prefork),
            Self::Lighttpd => lighttpd::start(dir, folder, "server.modules = ()\n", text),
            Self::Nginx => nginx::start_beside_fcgiwrap(dir, folder, |socket| {
                text.replace("/run/fcgiwrap.socket", &socket.display().to_string())
            }),
        }
    }

    /// Starts Apache with that text and no module that runs CGIs.
    #[track_caller]
    pub(crate) fn start_apache_without_cgi(dir: &Dir, text: &str) -> Server {
        let folder = Self::ApachePrefork.folder(dir);
        apache::start_without_cgi(dir, &folder, &(Self::apache_modules() + text))
    }

    /// Lets it check a configuration with that text; what it prints.
    #[track_caller]
    pub(crate) fn check(self, dir: &Dir, text: &str) -> Output {
        let folder = self.folder(dir);
        match self {
            Self::ApacheEvent | Self::ApachePrefork => {
                let mpm = match self {
                    Self::ApacheEvent => Mpm::Event,
                    _ => Mpm::Prefork,
                };
                apache::check(dir, &folder, mpm, &(Self::apache_modules() + text))
            }
            Self::Lighttpd => {
                let text = format!("server.modules = ()\n{text}");
                lighttpd::check(dir, &folder, &text)
            }
            Self::Nginx => nginx::check(dir, &folder, text),
        }
    }

    /// A name of which there is no folder yet.
    fn folder(self, dir: &Dir) -> String {
        let names = (0..).map(|number| format!("{self:?}-{number}").to_lowercase());
        let mut free = names.filter(|name| !dir.join(name).exists());
        free.next().expect("numbers don't end")
    }

    /// Modules that an operator would enable by a2enmod.
    fn apache_modules() -> String {
        let enabled = [
            "auth_basic",
            "authn_core",
            "authn_file",
            "authz_user",
            "proxy",
            "proxy_scgi",
        ];
        apache::load(&enabled)
    }
}

/// The app's path, the same on all of them.
const TARGET: &str = "/cgi-bin/app";

/// A web server under way.
pub(crate) struct Server {
    address: SocketAddr,
    root: PathBuf,
    /// First the web server, then programs that it needs.
    programs: Vec<Program>,
    is_about_itself: fn(&str) -> bool,
}

impl Server {
    pub(super) fn new(
        address: SocketAddr,
        root: PathBuf,
        programs: Vec<Program>,
        is_about_itself: fn(&str) -> bool,
    ) -> Self {
        Self {
            address,
            root,
            programs,
            is_about_itself,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it, and waits until it has gone and its log is complete.
    pub(crate) fn stop(&mut self) {
        for program in &mut self.programs {
            program.stop();
        }
    }

    /// What it has logged so far about requests, with the stderr of CGIs, and without lines about its start and stop.
    /// All of it is there once it has stopped.
    pub(crate) fn log(&self) -> String {
        self.text()
            .split_inclusive('\n')
            .filter(|line| !(self.is_about_itself)(line))
            .collect()
    }

    /// Waits until the log has that text.
    #[track_caller]
    pub(crate) fn logged(&self, text: &str) {
        let logged = Watch::on(&self.root).until(Deadline::soon(), || self.text().contains(text));
        assert!(
            logged,
            "not in the error log: {text}; but:\n{}",
            self.text()
        );
    }

    /// Its error log and its stderr, which is the only log of some.
    fn text(&self) -> String {
        let entries = fs::read_dir(&self.root).expect("a server's folder can be read");
        let names = entries.flatten().map(|entry| entry.path());
        let is_log = |path: &PathBuf| {
            let end = path.extension().and_then(|end| end.to_str());
            matches!(end, Some("log" | "said"))
        };
        let mut logs: Vec<PathBuf> = names.filter(is_log).collect();
        logs.sort();
        let text: Vec<u8> = logs
            .iter()
            .flat_map(|log| fs::read(log).unwrap_or_default())
            .collect();
        String::from_utf8_lossy(&text).into_owned()
    }
}

//! The roads: the web servers with the same application behind them in every way, and a request's way along one of
//! them. It compares nothing.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::account::{Account, Own};
use super::request::Request;
use crate::util::{Dir, Server, WebServer, as_user, installed, run};

/// A web server and the way from there to the application.
pub(super) struct Road {
    pub(super) server: WebServer,
    pub(super) way: &'static str,
    /// A worker serves the request, not a process of its own.
    pub(super) is_daemon: bool,
    address: SocketAddr,
    app: &'static str,
    own: Own,
    record: PathBuf,
    /// How much of the application's records was read.
    read: AtomicUsize,
}

/// All roads. The first is the reference of the others, and the first of each server that of its other ways.
pub(super) struct Roads {
    pub(super) all: Vec<Road>,
    // In this order: the web servers go first, then the daemons are asked to leave.
    _servers: Vec<Server>,
    _dirs: Vec<Dir>,
}

impl Road {
    /// Sends the request along it.
    pub(super) fn travel(&self, request: &Request, varies: &[&str]) -> Result<Account, String> {
        let answer = request.send(self.address, &format!("/cgi-bin/{}", self.app));
        let record = fs::read_to_string(&self.record).unwrap_or_default();
        let before = self.read.swap(record.len(), Ordering::Relaxed);
        Ok(Account::new(
            request,
            &answer?,
            &record[before..],
            &self.own,
            varies,
        ))
    }

    /// The web server's name, with its module if there are several.
    pub(super) fn name(&self) -> String {
        format!("{:?} {}", self.server, self.way)
    }

    /// The name in the table. mod_cgi and mod_cgid give the same.
    pub(super) fn origin(&self) -> &'static str {
        match self.server {
            WebServer::ApacheCgi | WebServer::ApacheCgid => "apache-cgi",
            WebServer::ApacheFcgi => "apache-fcgi",
            WebServer::ApacheScgi => "apache-scgi",
            WebServer::BusyboxCgi => "busybox-cgi",
            WebServer::LighttpdCgi | WebServer::LighttpdStreamCgi => "lighttpd-cgi",
            WebServer::LighttpdScgi | WebServer::LighttpdStreamScgi => "lighttpd-scgi",
            WebServer::NginxCgi => "nginx-cgi",
            WebServer::NginxScgi => "nginx-scgi",
            WebServer::CaddyCgi => "caddy-cgi",
            WebServer::CaddyFcgi => "caddy-fcgi",
            WebServer::GoCgi => "go-cgi",
            WebServer::H2oCgi => "h2o-cgi",
            WebServer::H2oFcgi => "h2o-fcgi",
            WebServer::HaproxyFcgi => "haproxy-fcgi",
            WebServer::LighttpdFcgi => "lighttpd-fcgi",
            WebServer::NginxFcgi => "nginx-fcgi",
            WebServer::PythonCgi => "python-cgi",
        }
    }

    /// The road that it is compared with.
    pub(super) fn base(&self) -> &'static str {
        match self.origin() {
            "lighttpd-fcgi" | "lighttpd-scgi" => "lighttpd-cgi",
            "nginx-fcgi" | "nginx-scgi" => "nginx-cgi",
            _ => "apache-cgi",
        }
    }

    fn new(
        dir: &Dir,
        server: WebServer,
        address: SocketAddr,
        way: &'static str,
        app: &'static str,
    ) -> Self {
        let own = Own {
            texts: vec![
                (dir.path().display().to_string(), "DIR"),
                (format!("/cgi-bin/{app}"), "/cgi-bin/app"),
            ],
            values: vec![
                (address.ip().to_string(), "ADDRESS"),
                (address.port().to_string(), "PORT"),
            ],
        };
        Self {
            server,
            way,
            is_daemon: !way.ends_with("cgi"),
            address,
            app,
            own,
            record: dir.join(&format!("records/{app}")),
            read: AtomicUsize::new(0),
        }
    }
}

impl Roads {
    #[track_caller]
    pub(super) fn open() -> Self {
        let mut roads = Self {
            all: Vec::new(),
            _servers: Vec::new(),
            _dirs: Vec::new(),
        };
        // `handoff = exit` only where it is safe: not under mod_cgid, and lighttpd's limits would not reach the app.
        // `app-cgi` does the same under all of them.
        let apache_cgi = ["cgi", "app-cgi", "stay", "relay", "exit"];
        roads.fronts(WebServer::ApacheCgi, &apache_cgi);
        roads.fronts(WebServer::ApacheCgid, &["cgi", "app-cgi", "stay", "relay"]);
        roads.fronts(WebServer::LighttpdCgi, &["cgi", "stay", "relay"]);
        roads.fronts(WebServer::NginxCgi, &["cgi", "stay", "relay", "exit"]);
        for kind in [
            WebServer::ApacheFcgi,
            WebServer::ApacheScgi,
            WebServer::LighttpdFcgi,
            WebServer::LighttpdScgi,
            WebServer::NginxFcgi,
            WebServer::NginxScgi,
        ] {
            roads.daemon(kind, "mount", "mount = /cgi-bin/app", "");
            roads.daemon(kind, "paths", "", paths(kind));
        }
        roads
    }

    /// A web server that runs app files, whose names are the ways.
    #[track_caller]
    fn fronts(&mut self, kind: WebServer, ways: &[&'static str]) {
        let dir = Dir::new();
        dir.folder("records", 0o700);
        let server = kind.start(&dir, "", "");
        for way in ways {
            let config = match *way {
                "cgi" => "mode = cgi".to_owned(),
                "app-cgi" => "mode = daemon".to_owned(),
                handoff => format!("mode = daemon\nhandoff = {handoff}"),
            };
            let app = app_file(&dir, way, &config);
            if *way == "app-cgi" {
                let text = fs::read_to_string(app).expect("an app file can be read");
                let text = text.replacen("/polycgi -\n", "/app-cgi -\n", 1);
                dir.file("cgi-bin/app-cgi", &text, 0o755);
            }
            self.all
                .push(Road::new(&dir, kind, server.address(), way, way));
        }
        self._servers.push(server);
        self._dirs.push(dir);
    }

    /// A web server that sends SCGI or FastCGI to the daemon.
    #[track_caller]
    fn daemon(&mut self, kind: WebServer, way: &'static str, config: &str, more: &str) {
        let dir = Dir::new();
        dir.folder("records", 0o700);
        // FastCGI is understood at the addresses of `listen`.
        let listens = kind.speaks_fastcgi().then(|| dir.join("tmp/listens"));
        let listen = match &listens {
            Some(path) => format!("listen = {}\n", path.display()),
            None => String::new(),
        };
        let app = app_file(&dir, "app", &format!("mode = daemon\n{listen}{config}"));
        run(
            as_user(installed("polycgi"))
                .env_remove("LANG")
                .arg("start")
                .arg(app),
            b"",
        )
        .success();
        let socket = listens.unwrap_or_else(|| dir.socket());
        let server = kind.start(&dir, &socket.display().to_string(), more);
        self.all
            .push(Road::new(&dir, kind, server.address(), way, "app"));
        self._servers.push(server);
        self._dirs.push(dir);
    }
}

/// Lines by which an SCGI module sends SCRIPT_NAME and PATH_INFO if it does not anyway: for a daemon without `mount`.
fn paths(server: WebServer) -> &'static str {
    match server {
        // SetEnv would come too late for it.
        WebServer::ApacheFcgi => {
            "LoadModule setenvif_module /usr/lib/apache2/modules/mod_setenvif.so\n\
             SetEnvIf Request_URI . proxy-fcgi-pathinfo=unescape\n"
        }
        WebServer::ApacheScgi => {
            "LoadModule setenvif_module /usr/lib/apache2/modules/mod_setenvif.so\n\
             SetEnvIf Request_URI . proxy-scgi-pathinfo\n"
        }
        WebServer::NginxFcgi => {
            "fastcgi_split_path_info ^(/cgi-bin/app)(/.*)$;\n\
             fastcgi_param SCRIPT_NAME $fastcgi_script_name;\nfastcgi_param PATH_INFO $fastcgi_path_info;\n"
        }
        WebServer::NginxScgi => {
            "fastcgi_split_path_info ^(/cgi-bin/app)(/.*)$;\n\
             scgi_param SCRIPT_NAME $fastcgi_script_name;\nscgi_param PATH_INFO $fastcgi_path_info;\n"
        }
        _ => "",
    }
}

fn app_file(dir: &Dir, way: &str, config: &str) -> PathBuf {
    let record = dir.join(&format!("records/{way}"));
    let record = record.display();
    let config = format!("wsgi = roads:application\n{config}\nenv.RECORD = {record}");
    dir.app_file(way, &config)
}

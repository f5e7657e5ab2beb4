//! The clients of the whole matrix: what each of them does with an app, and what it gets where the web server lacks
//! something.

use std::fs;

use super::Lack;
use crate::apps::{fossil, git};
use crate::hg;
use crate::util::program::Program;
use crate::util::served::noise;
use crate::util::{
    Dir, Hosted, Listening, Mode, Output, WebServer, as_user, client, digest, free_address, run,
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Client {
    /// Chromium: a form that is sent, and the redirect behind it.
    Browser,
    Curl,
    /// A clone, commits, another clone.
    Fossil,
    /// A clone, pushes, small ones and one in chunks.
    Git,
    /// A clone and a push.
    Hg,
}

/// The key of the app file that says what the app is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Cgi,
    Connect,
    Scgi,
    Wsgi,
}

impl Client {
    /// The kinds of app that it is used with: those that its server is.
    pub(super) fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Browser | Self::Curl => &[Kind::Wsgi, Kind::Cgi, Kind::Scgi, Kind::Connect],
            Self::Fossil => &[Kind::Cgi, Kind::Connect],
            Self::Git => &[Kind::Cgi],
            Self::Hg => &[Kind::Wsgi],
        }
    }

    /// Makes one combination.
    #[track_caller]
    pub(super) fn check(self, server: WebServer, kind: Kind, mode: Mode) {
        match self {
            Self::Browser => browse(&Pages::serve(server, kind, mode)),
            Self::Curl => curl_all(&mut Pages::serve(server, kind, mode)),
            Self::Fossil => synchronise(server, kind, mode),
            Self::Git => push_and_clone(server, mode),
            Self::Hg => clone_and_push(server, mode),
        }
    }
}

/// The pages of tests/apps/grid.py by one kind of app.
struct Pages {
    server: WebServer,
    what: String,
    // Dropped in this order: it ends before the directory is looked at.
    _beside: Option<Listening>,
    site: Hosted,
}

impl Pages {
    #[track_caller]
    fn serve(server: WebServer, kind: Kind, mode: Mode) -> Self {
        let dir = Dir::new();
        let program = "/usr/bin/python3 -S grid.py";
        let mut beside = None;
        let config = match kind {
            Kind::Cgi => format!("cgi = {program}\n"),
            Kind::Connect => {
                beside = Some(Listening::start(&dir, "grid.py"));
                format!("connect = {}\n", dir.join("tmp/server").display())
            }
            Kind::Scgi => format!("scgi = {program}\n"),
            Kind::Wsgi => "wsgi = grid:application\n".to_owned(),
        };
        Self {
            server,
            what: format!("{server:?} {kind:?} {mode:?}"),
            _beside: beside,
            site: Hosted::in_dir(dir, server, mode, &config, ""),
        }
    }

    fn lacks(&self, lack: Lack) -> bool {
        lack.of(self.server)
    }

    /// What curl prints of a page, and the status behind it.
    #[track_caller]
    fn curl(&self, words: &[&str], target: &str, body: &[u8]) -> String {
        let mut curl = as_user("/usr/bin/curl");
        curl.args(["--silent", "--show-error", "--max-time", "120"]);
        curl.args(["--write-out", "%{http_code}"]).args(words);
        run(curl.arg(self.site.url(target)), body).success()
    }
}

#[track_caller]
fn curl_all(pages: &mut Pages) {
    let what = &pages.what;
    let field = ["--header", "X-Test: a b"];
    let seen = pages.curl(&field, "/seen/a%20b?x=%2F", b"");
    let value = if pages.lacks(Lack::Fields) {
        "none"
    } else {
        "a b"
    };
    assert_eq!(seen, format!("GET /seen/a b x=%2F {value}\n200"), "{what}");
    let (missing, head) = (
        pages.curl(&[], "/missing", b""),
        pages.curl(&["--head"], "/seen/x", b""),
    );
    let status = if pages.lacks(Lack::Status) { 200 } else { 404 };
    assert_eq!(missing, format!("no such page\n{status}"), "{what}");
    assert!(head.ends_with("\r\n\r\n200"), "{what}: {head}");
    let big = ["--output", "/dev/null", "--write-out", " %{size_download}"];
    assert_eq!(pages.curl(&big, "/big", b""), " 2097152", "{what}");
    bodies(pages);
    let form = ["--location", "--data", "name=Alice+%26+Bob"];
    let shown = pages.curl(&form, "/form", b"");
    let expected = if pages.lacks(Lack::Status) {
        "see there\n200"
    } else {
        "<p id=\"said\">hello Alice &amp; Bob</p>\n200"
    };
    assert!(shown.ends_with(expected), "{what}: {shown}");
    if pages.lacks(Lack::Chunks) {
        pages.site.log();
    }
}

/// With a length, and in chunks.
#[track_caller]
fn bodies(pages: &Pages) {
    let what = &pages.what;
    let body = noise(300_000);
    let expected = format!("{} 300000\n200", digest(&body));
    let with_length = [
        "--data-binary",
        "@-",
        "--header",
        "Content-Type: text/x-test",
    ];
    assert_eq!(
        pages.curl(&with_length, "/digest", &body),
        expected,
        "{what}"
    );
    let mut chunked = with_length.to_vec();
    chunked.extend([
        "--header",
        "Transfer-Encoding: chunked",
        "--header",
        "Expect:",
    ]);
    if !pages.lacks(Lack::Chunks) {
        assert_eq!(pages.curl(&chunked, "/digest", &body), expected, "{what}");
        return;
    }
    if pages.server == WebServer::PythonCgi {
        // It is lost, and nothing says so.
        let none = format!("{} 0\n200", digest(b""));
        assert_eq!(pages.curl(&chunked, "/digest", b"hello"), none, "{what}");
        return;
    }
    let mut curl = as_user("/usr/bin/curl");
    curl.args([
        "--silent",
        "--max-time",
        "120",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
    ]);
    // So large that it is never there when the head is read: lighttpd would find its length. A web server that answers
    // at once may reset the connection.
    let body = noise(8_000_000);
    let Output { stdout, .. } = run(curl.args(chunked).arg(pages.site.url("/digest")), &body);
    let status = String::from_utf8_lossy(&stdout).into_owned();
    let refused: &[&str] = match pages.server {
        WebServer::ApacheScgi | WebServer::LighttpdStreamCgi | WebServer::LighttpdStreamScgi => {
            &["411"]
        }
        // The first by polycgi, whose sentence is in the error log.
        WebServer::BusyboxCgi | WebServer::GoCgi => &["400"],
        // By polycgi too, since the length is none; it is lost if Caddy still sends when fcgiwrap has ended.
        WebServer::CaddyCgi => &["400", "502"],
        _ => &[],
    };
    assert!(refused.contains(&&*status), "{what}: {status}");
}

/// The page that is there once the form has been sent.
#[track_caller]
fn browse(pages: &Pages) {
    let dir = &pages.site.dir;
    let profile = dir.folder("browser", 0o700);
    let mut chromium = client(dir, &profile, "/usr/bin/chromium");
    chromium.env("HOME", &profile).env("TMPDIR", &profile);
    chromium.args([
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
    ]);
    chromium.args([
        "--disable-breakpad",
        "--disable-background-networking",
        "--disable-component-update",
    ]);
    chromium.arg(format!("--user-data-dir={}", profile.display()));
    // The clock of the page stands still while it waits for the network.
    chromium.args(["--virtual-time-budget=10000", "--dump-dom"]);
    let shown = run(chromium.arg(pages.site.url("/form")), b"").success();
    let expected = if pages.lacks(Lack::Status) {
        "see there"
    } else {
        "<p id=\"said\">hello Alice &amp; Bob</p>"
    };
    assert!(shown.contains(expected), "{}: {shown}", pages.what);
}

#[track_caller]
fn synchronise(server: WebServer, kind: Kind, mode: Mode) {
    let dir = Dir::new();
    let repository = fossil::repository(&dir);
    let address = free_address();
    let mut beside: Option<Program> = None;
    let config = if kind == Kind::Cgi {
        fossil::cgi(&dir, &repository)
    } else {
        beside = Some(fossil::server(&dir, &repository, address));
        format!("connect = {address}\n")
    };
    let site = Hosted::in_dir(dir, server, mode, &config, "");
    fossil::session(&site, &repository);
    // Before the directory is looked at.
    drop(beside);
}

#[track_caller]
fn clone_and_push(server: WebServer, mode: Mode) {
    let dir = Dir::new();
    let environment = hg::repository(&dir);
    let lines = environment.map(|(name, value)| format!("env.{name} = {value}\n"));
    let config = format!("wsgi = hgapp:application\n{}", lines.concat());
    let mut site = Hosted::in_dir(dir, server, mode, &config, "");
    if !Lack::Fields.of(server) {
        hg::talk(&site);
        return;
    }
    // Its commands have their arguments in fields of their own.
    let mut clone = hg::hg(&site.dir, &site.dir.join("work"));
    let output = run(clone.args(["clone", &site.url("/first"), "clone"]), b"");
    assert!(!output.status.success(), "{server:?} {mode:?}");
    site.log();
}

#[track_caller]
fn push_and_clone(server: WebServer, mode: Mode) {
    let what = format!("{server:?} {mode:?}");
    let dir = Dir::new();
    let config = git::app(&dir);
    let mut site = Hosted::in_dir(dir, server, mode, &config, "");
    let (dir, url) = (&site.dir, site.url("/project.git"));
    let first = git::first(dir, &url);
    let large = incompressible();
    git::commit(dir, &first, "large", &large);
    // In chunks.
    let mut push = git::git(dir, &first);
    push.args(["-c", "http.postBuffer=65536"]);
    let succeeds = !Lack::Chunks.of(server);
    if !succeeds {
        // A web server that waits for what will never come is given up.
        let limit = ["http.lowSpeedLimit=1", "http.lowSpeedTime=10"];
        push.args(limit.iter().flat_map(|setting| ["-c", setting]));
    }
    let output = run(push.args(["push", "origin", "main"]), b"");
    assert_eq!(
        output.status.success(),
        succeeds,
        "{what}: {}",
        output.stderr
    );
    if !succeeds {
        // With a length.
        let push = [
            "-c",
            "http.postBuffer=20M",
            "push",
            "--quiet",
            "origin",
            "main",
        ];
        git::do_git(dir, &first, &push);
    }
    let work = dir.join("work");
    git::do_git(dir, &work, &["clone", "--quiet", &url, "second"]);
    let cloned = fs::read(work.join("second/large")).expect("the clone has the file");
    assert!(cloned == large, "{what}: {} bytes", cloned.len());
    if !succeeds {
        site.log();
    }
}

/// Larger than what sockets hold, whatever git does with it: a web server has not all of it when it reads the head.
fn incompressible() -> Vec<u8> {
    let mut state = 1_u64;
    let word = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..1_000_000).flat_map(word).collect()
}

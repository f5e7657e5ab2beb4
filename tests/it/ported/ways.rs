//! One app in each way that needs no web server: as a plain CGI, in the daemon behind a front, and in the daemon of a
//! plain SCGI client.

use std::fs;
use std::path::PathBuf;

use crate::util::scgi::{ScgiClient, netstring};
use crate::util::{Dir, Reply, as_user, cgi, run};

/// What each app of [`KINDS`] answers: a line `NAME=VALUE` for each variable that it has, `cwd=` with its working
/// directory, and `body=` with the message-body.
const WSGI: &str = r#"
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    pairs = [(name, value) for name, value in environ.items() if isinstance(value, str)]
    pairs.append(('cwd', os.getcwd()))
    pairs.append(('body', environ['wsgi.input'].read().decode('latin-1')))
    return [''.join('%s=%s\n' % pair for pair in pairs).encode('latin-1')]
"#;
const CGI: &str = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nenv\nprintf 'cwd=%s\\n' \"$(pwd -P)\"\nprintf 'body=%s\\n' \"$(cat)\"\n";

/// An application and a program that show what they see.
const KINDS: [&str; 2] = ["wsgi = seen:application\n", "cgi = ./seen.sh\n"];

/// An app that is a plain CGI, and the same app in a daemon.
struct Ways {
    cgi: PathBuf,
    front: PathBuf,
    daemon: Dir,
    // The plain CGI's. A directory holds one app's place.
    _plain: Dir,
}

/// A request: its meta-variables, and its message-body.
#[derive(Clone)]
pub(super) struct Request {
    meta: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

/// What an app of [`KINDS`] saw in one way.
pub(super) struct Seen {
    pub(super) way: String,
    lines: Vec<String>,
}

impl Request {
    pub(super) fn new(method: &str, target: &str) -> Self {
        Self {
            meta: cgi::meta(method, target, &[]),
            body: None,
        }
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.meta.retain(|(known, _)| known != name);
        self.meta.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn body(mut self, body: &[u8]) -> Self {
        self.body = Some(body.to_owned());
        self
    }
}

impl Ways {
    /// An app of these lines. Each directory is prepared by `put`, and each app file by `edited`.
    #[track_caller]
    fn of(lines: &str, put: impl Fn(&Dir), edited: impl Fn(&str) -> String) -> Self {
        let (plain, daemon) = (Dir::new(), Dir::new());
        let write = |dir: &Dir, mode: &str| {
            put(dir);
            let app = dir.app_file("app", &format!("mode = {mode}\n{lines}"));
            let text = fs::read_to_string(app).expect("it was just written");
            dir.file("cgi-bin/app", &edited(&text), 0o755)
        };
        let (cgi, front) = (write(&plain, "cgi"), write(&daemon, "daemon"));
        daemon.polycgi(&["start"]).success();
        Self {
            cgi,
            front,
            daemon,
            _plain: plain,
        }
    }

    /// The response in each way.
    #[track_caller]
    fn ask(&self, request: &Request) -> [(&'static str, Reply); 3] {
        [
            ("plain CGI", by_front(&self.cgi, request)),
            ("front and daemon", by_front(&self.front, request)),
            ("SCGI client and daemon", self.by_client(request)),
        ]
    }

    #[track_caller]
    fn by_client(&self, request: &Request) -> Reply {
        let body = request.body.as_deref().unwrap_or_default();
        let length = body.len().to_string();
        let meta = request.meta.iter();
        let meta = meta.map(|(name, value)| (name.as_str(), value.as_str()));
        let first = [("CONTENT_LENGTH", length.as_str()), ("SCGI", "1")];
        let mut client = ScgiClient::connect(&self.daemon.socket());
        client.send(&netstring(first.into_iter().chain(meta)));
        client.send(body).reply()
    }
}

#[track_caller]
fn by_front(app: &PathBuf, request: &Request) -> Reply {
    let mut front = as_user(app);
    front.envs(request.meta.iter().map(|(name, value)| (name, value)));
    if let Some(body) = &request.body {
        front.env("CONTENT_LENGTH", body.len().to_string());
    }
    run(&mut front, request.body.as_deref().unwrap_or_default()).response()
}

/// The apps of [`KINDS`] with more lines in their files.
pub(super) struct Both([(&'static str, Ways); 2]);

impl Both {
    #[track_caller]
    pub(super) fn start(more: &str) -> Self {
        Self::of(more, "apps", str::to_owned)
    }

    /// Apps that lie beside their files, in which no `directory` stands.
    #[track_caller]
    pub(super) fn without_directory() -> Self {
        let is_other = |line: &&str| !line.starts_with("directory = ");
        Self::of("", "cgi-bin", |text| {
            let lines: Vec<&str> = text.lines().filter(is_other).collect();
            lines.join("\n") + "\n"
        })
    }

    #[track_caller]
    fn of(more: &str, folder: &str, edited: impl Fn(&str) -> String) -> Self {
        let put = |dir: &Dir| {
            dir.file(&format!("{folder}/seen.py"), WSGI, 0o644);
            dir.file(&format!("{folder}/seen.sh"), CGI, 0o755);
        };
        Self(KINDS.map(|kind| (kind, Ways::of(&format!("{kind}{more}"), put, &edited))))
    }

    /// What each of them saw, in each way.
    #[track_caller]
    pub(super) fn see(&self, request: &Request) -> Vec<Seen> {
        let mut all = Vec::new();
        for (kind, ways) in &self.0 {
            for (way, reply) in ways.ask(request) {
                let text: String = reply.body.iter().map(|&byte| char::from(byte)).collect();
                assert_eq!(reply.status(), 200, "{kind} {way}: {text}");
                all.push(Seen {
                    way: format!("{} {way}", kind.trim_end()),
                    lines: text.lines().map(str::to_owned).collect(),
                });
            }
        }
        all
    }

    /// Each of them sees these values; None is a variable that it has not.
    #[track_caller]
    pub(super) fn sees(&self, request: &Request, expected: &[(&str, Option<&str>)]) {
        for seen in self.see(request) {
            for (name, value) in expected {
                assert_eq!(
                    seen.value(name),
                    *value,
                    "{name} by {}: {:#?}",
                    seen.way,
                    seen.lines
                );
            }
        }
    }
}

impl Seen {
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let mut values = self
            .lines
            .iter()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        values.next()
    }
}

#[test]
#[should_panic(expected = "QUERY_STRING by wsgi = seen:application plain CGI")]
fn a_value_that_is_another_is_found() {
    let request = Request::new("GET", "/?a");
    Both::start("").sees(&request, &[("QUERY_STRING", Some("b"))]);
}

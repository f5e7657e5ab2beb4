//! An SCGI server of the user's own: what it is given, and what becomes of it and of its requests when it leaves,
//! fails, hangs, is killed or is replaced.

mod ends;
mod given;
mod replaced;
mod starts;
mod staying;

use std::path::PathBuf;

use super::util::scgi::{ScgiClient, header};
use super::util::served::pid_in;
use super::util::{Dir, Output, Reply, Running, cgi};

const SERVER: &str = "scgi = python3 scgiserver.py";

/// An app with such a server; its clients are fronts.
struct Own {
    dir: Dir,
    app: PathBuf,
}

impl Own {
    /// With these words for the server, and these lines in the app file.
    #[track_caller]
    fn new(words: &str, config: &str) -> Self {
        Self::in_dir(Dir::new(), words, config)
    }

    /// The same in a directory that was prepared.
    #[track_caller]
    fn in_dir(dir: Dir, words: &str, config: &str) -> Self {
        dir.folder("spool", 0o700);
        let spool = dir.join("spool");
        let app = dir.app_file(
            "app",
            &format!(
                "{SERVER} {words}\nspool-dir = {}\n{config}",
                spool.display()
            ),
        );
        Self { dir, app }
    }

    #[track_caller]
    fn front(&self, target: &str) -> Running {
        cgi::start_front(&self.app, target)
    }

    /// GET, with nothing said in the error log.
    #[track_caller]
    fn get(&self, target: &str) -> Reply {
        self.front(target).end().response()
    }

    /// GET, and what was said in the error log.
    #[track_caller]
    fn told(&self, target: &str) -> (Reply, String) {
        let Output { stdout, stderr, .. } = self.front(target).end();
        (cgi::reply(&stdout), stderr)
    }

    /// POST to its end.
    #[track_caller]
    fn post(&self, target: &str, body: &[u8]) -> Reply {
        let mut front = cgi::front(&self.app, "POST", target, &[]);
        front.env("CONTENT_LENGTH", body.len().to_string());
        Running::start(&mut front, body).end().response()
    }

    /// A plain SCGI client that has asked with GET.
    #[track_caller]
    fn plain(&self, target: &str) -> ScgiClient {
        let mut client = ScgiClient::connect(&self.dir.socket());
        client.send(&header("GET", target, &[], 0));
        client
    }

    /// The server that answers.
    #[track_caller]
    fn hello(&self) -> i32 {
        pid_in(&self.get("/hello").ok())
    }

    /// What the servers have noted, by the first word.
    fn marks(&self, word: &str) -> usize {
        marks(&self.dir, word)
    }

    /// The server by `status`.
    #[track_caller]
    fn server(&self) -> (Option<i32>, String) {
        let status = self.dir.status();
        let value = |key: &str| {
            let start = format!("server.{key} = ");
            status.iter().find_map(|line| line.strip_prefix(&start))
        };
        let pid = value("pid").and_then(|pid| pid.parse().ok());
        let state = value("state").unwrap_or_default().trim_matches('"');
        (pid, state.to_owned())
    }

    #[track_caller]
    fn until_down(&self) {
        self.dir.until_status_has("server.state = \"down\"");
    }
}

fn marks(dir: &Dir, word: &str) -> usize {
    let start = format!("{word} ");
    let lines = dir.lines("marks").into_iter();
    lines.filter(|line| line.starts_with(&start)).count()
}

//! Each place that can be full, filled by the test and shown to be so: every client gets a whole answer in the form
//! that it accepts, no worker is touched, the refusals are counted by the reason's own word wherever figures are shown,
//! the log says once what helps, and as soon as there is room the app is served, with nothing left behind.

mod host;
mod places;

use super::util::process::{children, descriptors, files_of};
use super::util::scgi::{ScgiClient, header};
use super::util::{Dir, Reply, Served, daemon};

const HTML: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// What an app that rests has, and has again.
/// By a configuration with `accept = loop`: a worker that accepts has descriptors of the daemon's.
struct Rest {
    descriptors: usize,
    files: Vec<u64>,
    processes: Vec<i32>,
}

impl Rest {
    fn of(served: &Served) -> Self {
        Self {
            descriptors: descriptors(served.daemon),
            files: files_of(served.daemon, served.dir.path()),
            processes: children(served.daemon),
        }
    }

    /// The app is served, by the same daemon, and nothing is left of what was refused.
    #[track_caller]
    fn returns(&self, served: &Served) {
        served.get("/hello").ok();
        served.dir.until_status("what there was before", |_| {
            let now = Self::of(served);
            now.descriptors == self.descriptors
                && now.files.len() == self.files.len()
                && now.processes == self.processes
        });
        assert_eq!(served.dir.daemon(), served.daemon);
        assert_eq!(served.dir.starts(), 1, "{}", served.dir.daemon_log());
    }
}

/// A place that is full.
struct Full<'a> {
    served: &'a Served,
    /// The word of its reason.
    word: &'static str,
    /// What the log says of it.
    helps: &'static str,
}

impl Full<'_> {
    /// Plain SCGI clients of all kinds are refused.
    #[track_caller]
    fn refuses(&self) {
        let socket = self.served.dir.socket();
        self.refuses_all("GET", |method, accept| {
            let message = header(method, "/hello", &[("Accept", accept)], 0);
            ScgiClient::connect(&socket).send(&message).reply()
        });
    }

    /// So are those of `ask`, which gets a method and an `Accept`. `method`: that of a request with a page.
    #[track_caller]
    fn refuses_all(&self, method: &str, ask: impl Fn(&str, &str) -> Reply) {
        let status = self.served.dir.status();
        let (workers, before) = (workers(&status), self.counted(&status));
        let html = self.told(ask(method, HTML));
        assert!(has_type(&html, "text/html"), "{}", html.text());
        let text = html.text().to_ascii_lowercase();
        let is_whole = text.starts_with("<!doctype html>") && text.trim_end().ends_with("</html>");
        assert!(is_whole, "{text}");
        let json = self.told(ask(method, "application/json"));
        assert!(has_type(&json, "application/"), "{}", json.text());
        let shown = daemon::json(&json.text());
        assert!(shown.contains(&"status = 503".to_owned()), "{shown:?}");
        let text = self.told(ask(method, "*/*"));
        assert!(has_type(&text, "text/plain"), "{}", text.text());
        assert_eq!(text.text().lines().count(), 1, "{}", text.text());
        let mut count = 3;
        if method == "GET" {
            let head = self.told(ask("HEAD", HTML));
            assert!(head.body.is_empty(), "{}", head.text());
            count += 1;
        }
        self.are_counted(before + count);
        assert_eq!(workers, self::workers(&self.served.dir.status()));
    }

    fn counted(&self, status: &[String]) -> u64 {
        let start = format!("counts.{} = ", self.word);
        let count = status.iter().find_map(|line| line.strip_prefix(&start));
        count.map_or(0, |count| count.parse().expect("a number"))
    }

    #[track_caller]
    fn told(&self, reply: Reply) -> Reply {
        assert_eq!(reply.status(), 503, "{}: {}", self.word, reply.text());
        let seconds = reply.field("Retry-After");
        let seconds = seconds.and_then(|text| text.parse().ok());
        assert!(
            seconds.is_some_and(|seconds: u32| (1..=120).contains(&seconds)),
            "{}: {seconds:?}",
            self.word
        );
        assert_eq!(reply.field("Cache-Control"), Some("no-store"));
        reply
    }

    /// So many were refused for this reason, and none for another: in JSON, text and metrics. The log has one line.
    #[track_caller]
    fn are_counted(&self, count: u64) {
        let (dir, word) = (&self.served.dir, self.word);
        let line = format!("counts.{word} = {count}");
        dir.until_status_has(&line);
        let text = dir.polycgi(&["status"]).success();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&format!("503 {word} {count}")), "{text}");
        let metrics = dir.polycgi(&["status", "--prometheus"]).success();
        let refused = metrics.lines().filter(|line| {
            line.starts_with("polycgi_requests_total") && line.contains("code=\"503\"")
        });
        let refused: Vec<&str> = refused.filter(|line| !line.ends_with(" 0")).collect();
        let is_it = |line: &str| {
            line.contains(&format!("outcome=\"{word}\"")) && line.ends_with(&format!(" {count}"))
        };
        assert!(refused.len() == 1 && is_it(refused[0]), "{refused:?}");
        let log = dir.daemon_log();
        let said = format!("refused with 503: {word}: what helps: ");
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(&said)).collect();
        assert!(
            lines.len() == 1 && lines[0].contains(self.helps),
            "{said}{log}"
        );
        let words = log.matches("refused with 503: ").count();
        assert_eq!(words, 1, "{log}");
    }
}

fn has_type(reply: &Reply, start: &str) -> bool {
    let found = reply.field("Content-Type");
    found.is_some_and(|found| found.starts_with(start))
}

/// What `status` says of the workers' processes: their states, and requests so far. A place for a program has none.
fn workers(status: &[String]) -> Vec<(i32, String, String)> {
    let requests = |nth: usize| {
        let start = format!("workers.{nth}.requests = ");
        let mut lines = status.iter();
        lines
            .find_map(|line| line.strip_prefix(&start))
            .map(str::to_owned)
    };
    let workers = daemon::workers(status).into_iter().enumerate();
    let workers =
        workers.map(|(nth, (pid, state))| (pid, state, requests(nth).unwrap_or_default()));
    workers.filter(|(pid, ..)| *pid != 0).collect()
}

/// An app of these lines whose daemon has served, and what that has at rest.
#[track_caller]
fn at_rest(served: Served) -> (Served, Rest) {
    let mut rest = Rest::of(&served);
    // What the first request needed may still be there.
    served.dir.until_status("it rests", |_| {
        let now = Rest::of(&served);
        let is_still = now.descriptors == rest.descriptors && now.processes == rest.processes;
        rest = now;
        is_still
    });
    (served, rest)
}

/// A daemon's processes may have so many descriptors each.
#[track_caller]
fn with_descriptors(config: &str, most: usize) -> Served {
    use super::util::served::app_file;
    use super::util::{as_user, cgi, run};
    let dir = Dir::new();
    let app = app_file(&dir, config);
    let mut limited = as_user("/usr/bin/prlimit");
    limited.arg(format!("--nofile={most}:{most}")).arg(&app);
    limited.envs(cgi::meta("GET", "/hello", &[]));
    run(&mut limited, b"").response().ok();
    let daemon = dir.daemon();
    Served { dir, app, daemon }
}

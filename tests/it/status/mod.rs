//! What `status` says of the past and of the present: each request is counted once, by what became of it, and each
//! failure is kept once, with its kind. Without a web server: fronts are started by the tests.

mod counted;
mod kept;
mod refused;

use std::path::PathBuf;

use super::util::{Dir, Output, Running, cgi};

/// Routes of the test application, and some that go wrong in other ways.
const FAILING: &str = "
import os, signal, testapp
def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/value':
        raise ValueError('no such page')
    if path == '/long':
        raise ValueError('x  yz' + chr(233) * 200)
    if path == '/segv':
        os.kill(os.getpid(), signal.SIGSEGV)
    return testapp.bare(environ, start_response)
";

/// An app, and how many requests it was sent.
struct Asked {
    dir: Dir,
    app: PathBuf,
    sent: u64,
}

impl Asked {
    fn new(config: &str) -> Self {
        let dir = Dir::new();
        dir.file("apps/failing.py", FAILING, 0o644);
        let app = dir.app_file("app", config);
        Self { dir, app, sent: 0 }
    }

    fn start(&mut self, target: &str) -> Running {
        self.sent += 1;
        cgi::start_front(&self.app, target)
    }

    /// The status of the answer; 0 for none.
    fn get(&mut self, target: &str) -> u16 {
        status_of(&self.start(target).end())
    }

    /// What `status --json` shows has each of these lines, and no other request is counted.
    #[track_caller]
    fn has_counted(&self, counts: &[(&str, u64)]) {
        let expected: Vec<String> = counts
            .iter()
            .map(|(word, count)| format!("counts.{word} = {count}"))
            .collect();
        // What ends a request is counted in the turn that answers it, perhaps behind the answer.
        self.dir.until_status("all counted", |status| {
            expected.iter().all(|line| status.contains(line))
        });
        let all: u64 = self
            .dir
            .status()
            .iter()
            .filter_map(|line| counted(line))
            .sum();
        assert_eq!(all, self.sent, "{:#?}", self.dir.status());
        let said: u64 = counts.iter().map(|(_, count)| count).sum();
        assert_eq!(said, self.sent, "the test itself");
    }

    /// The failures that are kept: the kind, the number, the path and the reason of each, the oldest first.
    fn failures(&self) -> Vec<String> {
        let status = self.dir.status();
        let value = |nth: usize, name: &str| {
            let start = format!("failures.{nth}.{name} = ");
            let value = status.iter().find_map(|line| line.strip_prefix(&start))?;
            Some(value.trim_matches('"').to_owned())
        };
        let one = |nth| {
            let words = ["kind", "count", "path", "reason"].map(|name| value(nth, name));
            let words: Option<Vec<String>> = words.into_iter().collect();
            words.map(|words| words.join(" "))
        };
        (0..).map_while(one).collect()
    }

    #[track_caller]
    fn has(&self, lines: &[&str]) {
        let status = self.dir.status();
        for line in lines {
            assert!(
                status.iter().any(|shown| shown == line),
                "no {line}: {status:#?}"
            );
        }
    }
}

fn status_of(output: &Output) -> u16 {
    match output.stdout.is_empty() {
        true => 0,
        false => cgi::reply(&output.stdout).status(),
    }
}

fn counted(line: &str) -> Option<u64> {
    line.strip_prefix("counts.")?
        .split_once(" = ")?
        .1
        .parse()
        .ok()
}

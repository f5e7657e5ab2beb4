//! A status as KEY=VALUE lines: for the socket, the file `state` and root's errand. Unknown lines are skipped, and what
//! is missing is not known, so that different versions understand each other.

use super::status::{
    Ceilings, CodeChange, Leave, MemoryStatus, RequestStatus, Routing, ServerStatus, Status,
    WorkerStatus,
};
use super::words::{ACTIVITIES, CONDITIONS, STATES, condition_word, value_of};
use crate::incidents::{self, Incident};

/// Behind the memory pressure: whether workers may be added.
const ENOUGH: &str = "enough";
const SHORT: &str = "short";

impl Status {
    /// The lines.
    pub fn to_lines(&self) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: &str| {
            text.push_str(key);
            text.push('=');
            let is_kept = |c: char| !c.is_control() || c == '\t' && key == "incident";
            text.extend(value.chars().map(|c| if is_kept(c) { c } else { ' ' }));
            text.push('\n');
        };
        line("app", &self.app);
        line("state", self.state.word());
        for (key, value) in self.words() {
            line(key, &value);
        }
        for worker in &self.workers {
            line("worker", &worker_line(worker));
        }
        if let Some(ServerStatus { pid, state }) = &self.server {
            let state = condition_word(*state);
            line("server", &format!("{} {state}", pid.unwrap_or(0)));
        }
        for (key, number) in [
            ("queue", self.queue),
            ("requests", self.requests),
            ("overloads", self.overloads),
            ("rate", self.rate),
            ("spooled", self.spooled),
            ("generation", self.generation),
            ("cgis", self.cgis),
        ] {
            line(key, &number.to_string());
        }
        for (key, value) in self.figures.lines() {
            line(key, &value);
        }
        for incident in &self.failures {
            line("incident", &incident.to_line());
        }
        if let Some(failure) = &self.last_failure {
            line("last_failure", failure);
        }
        for words in self.last_words.iter().flat_map(|words| words.lines()) {
            line("words", words);
        }
        text
    }

    /// What is there at most once, and perhaps not at all.
    fn words(&self) -> Vec<(&'static str, String)> {
        let mut words = Vec::new();
        let mut word = |key, value: Option<String>| words.extend(value.map(|value| (key, value)));
        word("pid", self.pid.map(|pid| pid.to_string()));
        word("kind", self.kind.clone());
        word("now", (self.now > 0).then(|| self.now.to_string()));
        word("started", self.started.map(|at| at.to_string()));
        let routing = self.routing.as_ref();
        word(
            "routing",
            routing.map(|r| format!("{} {} {}", r.way, r.rule, r.reason)),
        );
        let leave = self.leave.as_ref();
        word(
            "leave",
            leave.map(|leave| format!("{} {}", leave.within, leave.key)),
        );
        let ceilings = self.ceilings.as_ref().map(|ceilings| {
            let Ceilings {
                workers,
                queue,
                cgis,
                spool,
            } = ceilings;
            format!("{workers} {queue} {cgis} {spool}")
        });
        word("limits", ceilings);
        let changed = self.changed.as_ref();
        word(
            "changed",
            changed.map(|changed| format!("{} {}", changed.at, changed.what)),
        );
        let memory = self.memory_of_host.map(|memory| {
            let word = if memory.is_short { SHORT } else { ENOUGH };
            format!("{} {word}", memory.pressure)
        });
        word("memory", memory);
        word("log", self.log.clone());
        words
    }

    /// Reads such lines.
    pub fn from_lines(text: &str) -> Status {
        let mut status = Status::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let number = || value.parse().unwrap_or_default();
            match key {
                "app" => status.app = value.to_owned(),
                "state" => status.state = value_of(&STATES, value).unwrap_or_default(),
                "pid" => status.pid = value.parse().ok(),
                "kind" => status.kind = Some(value.to_owned()),
                "now" => status.now = number(),
                "started" => status.started = value.parse().ok(),
                "routing" => status.routing = routing(value),
                "leave" => status.leave = leave(value),
                "limits" => status.ceilings = ceilings(value),
                "changed" => status.changed = changed(value),
                "memory" => status.memory_of_host = memory(value),
                "log" => status.log = Some(value.to_owned()),
                "worker" => status.workers.extend(worker(value)),
                "server" => status.server = server(value),
                "queue" => status.queue = number(),
                "requests" => status.requests = number(),
                "overloads" => status.overloads = number(),
                "rate" => status.rate = number(),
                "spooled" => status.spooled = number(),
                "generation" => status.generation = number(),
                "cgis" => status.cgis = number(),
                "incident" if status.failures.len() < incidents::MOST => {
                    status.failures.extend(Incident::from_line(value));
                }
                "last_failure" => status.last_failure = Some(value.to_owned()),
                "words" => {
                    let words = status.last_words.get_or_insert_default();
                    if !words.is_empty() {
                        words.push('\n');
                    }
                    words.push_str(value);
                }
                key => _ = status.figures.take_line(key, value),
            }
        }
        status
    }

    /// Whether the text can be a daemon's answer: it begins with the name of an app.
    pub fn is_status(text: &str) -> bool {
        text.starts_with("app=") && text.ends_with('\n')
    }
}

/// `PID STATE REQUESTS GENERATION`, then the memory, and of its request the age, the method and the path.
fn worker_line(worker: &WorkerStatus) -> String {
    let pid = worker.pid.unwrap_or(0);
    let WorkerStatus {
        state,
        requests,
        generation,
        ..
    } = worker;
    let mut line = format!("{pid} {state} {requests} {generation}");
    if worker.memory.is_some() || worker.request.is_some() {
        line.push_str(&format!(" {}", worker.memory.unwrap_or(0)));
    }
    if let Some(RequestStatus { age, method, path }) = &worker.request {
        let method = if method.is_empty() { "-" } else { method };
        line.push_str(&format!(" {age} {method} {path}"));
    }
    line
}

fn worker(value: &str) -> Option<WorkerStatus> {
    let mut words = value.splitn(8, ' ');
    Some(WorkerStatus {
        pid: words.next()?.parse().ok().filter(|&pid| pid > 0),
        state: value_of(&ACTIVITIES, words.next()?)?,
        requests: words.next()?.parse().ok()?,
        // Older versions do not send it, nor what follows.
        generation: words.next().map_or(Ok(0), str::parse).ok()?,
        memory: words
            .next()
            .and_then(|bytes| bytes.parse().ok())
            .filter(|&bytes| bytes > 0),
        request: request(words),
    })
}

fn request<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<RequestStatus> {
    Some(RequestStatus {
        age: words.next()?.parse().ok()?,
        method: words.next()?.trim_start_matches('-').to_owned(),
        path: words.next()?.to_owned(),
    })
}

fn server(value: &str) -> Option<ServerStatus> {
    let (pid, state) = value.split_once(' ')?;
    Some(ServerStatus {
        pid: pid.parse().ok().filter(|&pid| pid > 0),
        state: value_of(&CONDITIONS, state)?,
    })
}

fn routing(value: &str) -> Option<Routing> {
    let mut words = value.splitn(3, ' ').map(str::to_owned);
    Some(Routing {
        way: words.next()?,
        rule: words.next()?,
        reason: words.next()?,
    })
}

fn leave(value: &str) -> Option<Leave> {
    let (within, key) = value.split_once(' ')?;
    Some(Leave {
        within: within.parse().ok()?,
        key: key.to_owned(),
    })
}

fn ceilings(value: &str) -> Option<Ceilings> {
    let mut numbers = value.split(' ').map(|number| number.parse().ok());
    Some(Ceilings {
        workers: numbers.next()??,
        queue: numbers.next()??,
        cgis: numbers.next()??,
        spool: numbers.next()??,
    })
}

fn memory(value: &str) -> Option<MemoryStatus> {
    let (pressure, word) = value.split_once(' ')?;
    Some(MemoryStatus {
        pressure: pressure.parse().ok()?,
        is_short: word == SHORT,
    })
}

fn changed(value: &str) -> Option<CodeChange> {
    let (at, what) = value.split_once(' ')?;
    Some(CodeChange {
        at: at.parse().ok()?,
        what: what.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::samples::busy;
    use super::*;
    use crate::figures::{Counted, MINUTES};
    use crate::incidents::Mishap;
    use crate::policy::server::Condition;

    #[test]
    fn goes_over_the_wire_and_back() {
        assert_eq!(Status::from_lines(&busy().to_lines()), busy());
        let down = ServerStatus {
            pid: None,
            state: Condition::Down,
        };
        let down = Status {
            server: Some(down),
            ..busy()
        };
        assert_eq!(Status::from_lines(&down.to_lines()), down);
        let odd = Status {
            last_failure: Some("two\nlines=x".to_owned()),
            last_words: Some("Traceback:\n  a = b".to_owned()),
            ..busy()
        };
        let back = Status::from_lines(&odd.to_lines());
        assert_eq!(back.last_words, odd.last_words);
        assert_eq!(back.last_failure.as_deref(), Some("two lines=x"));
        for (state, _) in STATES {
            let status = Status { state, ..busy() };
            assert_eq!(Status::from_lines(&status.to_lines()).state, state);
        }
        let nothing = Status::default();
        assert_eq!(Status::from_lines(&nothing.to_lines()), nothing);
    }

    #[test]
    fn reads_whatever_comes() {
        let text = "nonsense\n=\nworker=1\nworker=x y z\nqueue=-1\nnew_key=1\npid=none\nrouting=x\n\
                    leave=\nlimits=1 2\nchanged=x y\nincident=\nincident=1\tx\nstarted=now\n";
        assert_eq!(Status::from_lines(text), Status::default());
        let older = Status::from_lines("worker=43 idle 7\n");
        let first = &older.workers[0];
        assert_eq!(
            (first.requests, first.generation, first.memory),
            (7, 0, None)
        );
        let cut = Status::from_lines("worker=43 busy 7 1 0 250 GET\n");
        assert_eq!(cut.workers[0].request, None);
        let spaced = Status::from_lines("worker=43 busy 7 1 0 250 - /a b c\n");
        let request = spaced.workers[0].request.as_ref().unwrap();
        assert_eq!((&*request.method, &*request.path), ("", "/a b c"));
        let many = Status::from_lines(&"incident=1\t1\t1\tkilled\t\t\tx\n".repeat(1000));
        assert_eq!(many.failures.len(), incidents::MOST);
    }

    #[test]
    fn an_answer_stays_small() {
        let one = busy().workers[0].clone();
        let request = one.request.clone().map(|request| RequestStatus {
            path: "/x".repeat(100),
            ..request
        });
        let detailed = WorkerStatus {
            request,
            ..one.clone()
        };
        let plain = WorkerStatus {
            memory: None,
            request: None,
            ..one
        };
        let line = ("GET".to_owned(), "/x".repeat(100));
        let incident = Incident::new(Mishap::Exception, 1 << 31, line, &"x".repeat(300));
        let mut figures = busy().figures;
        for what in Counted::ALL {
            figures.minutes[0].counts.add(what, 1000);
        }
        figures.minutes = vec![figures.minutes[0].clone(); MINUTES];
        let status = |workers: usize| Status {
            workers: [
                vec![detailed.clone(); 64],
                vec![plain.clone(); workers - 64],
            ]
            .concat(),
            failures: vec![incident.clone(); incidents::MOST],
            figures: figures.clone(),
            queue: 1000,
            ..busy()
        };
        let sizes = [64, 1024].map(|workers| status(workers).to_lines().len());
        // A socket takes 200 kB at once, as Linux has it.
        assert!(sizes[0] < 64 << 10 && sizes[1] < 96 << 10, "{sizes:?}");
    }

    #[test]
    fn only_an_answer_is_taken_for_one() {
        assert!(
            !Status::is_status("") && !Status::is_status("app=x") && Status::is_status("app=x\n")
        );
    }
}

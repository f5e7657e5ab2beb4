//! The protocol of `status`, `stop` and `reload`: the command to a daemon, and its answer. It knows text and no socket.
#![forbid(unsafe_code)]

use std::fmt::{self, Write};

use crate::policy::server::Condition;
use crate::printable::{self, json_string};

/// The meta-variable of a command to the daemon. Only the daemon's own user and root may send one, over the socket in
/// the app's place.
pub const VARIABLE: &str = "POLYCGI_CONTROL";

/// A command to the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Send the status once the app is ready, or its start has failed.
    Ready,
    /// Load configuration and app anew, and send the status once that is done or has failed; then with a
    /// `last_failure`.
    Reload,
    /// Send the status.
    Status,
    /// Finish the requests that are there, then exit.
    Stop,
}

const COMMANDS: [Command; 4] = [
    Command::Ready,
    Command::Reload,
    Command::Status,
    Command::Stop,
];

impl Command {
    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Command::Ready => "ready",
            Command::Reload => "reload",
            Command::Status => "status",
            Command::Stop => "stop",
        }
    }

    /// `None`: an unknown command.
    pub fn from_word(word: &[u8]) -> Option<Command> {
        COMMANDS
            .into_iter()
            .find(|command| command.word().as_bytes() == word)
    }
}

/// The command's word, if the message is a command: then it has no other variables. A message with more is a request,
/// even if it has this variable, such as from a front's environment.
pub fn word<'a>(pairs: &[(&[u8], &'a [u8])]) -> Option<&'a [u8]> {
    match pairs {
        [(b"CONTENT_LENGTH", b"0"), (b"SCGI", b"1"), (name, word)] => {
            (*name == VARIABLE.as_bytes()).then_some(word)
        }
        _ => None,
    }
}

/// The state of an app's daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DaemonState {
    BackingOff,
    #[default]
    Down,
    Draining,
    Held,
    Starting,
    Up,
}

const STATES: [(DaemonState, &str); 6] = [
    (DaemonState::BackingOff, "backing-off"),
    (DaemonState::Down, "down"),
    (DaemonState::Draining, "draining"),
    (DaemonState::Held, "held"),
    (DaemonState::Starting, "starting"),
    (DaemonState::Up, "up"),
];

impl DaemonState {
    /// Its word, as printed and sent.
    pub fn word(self) -> &'static str {
        word_of(&STATES, &self)
    }
}

/// What a worker does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Activity {
    Busy,
    Idle,
    Retiring,
    #[default]
    Starting,
    Stuck,
}

const ACTIVITIES: [(Activity, &str); 5] = [
    (Activity::Busy, "busy"),
    (Activity::Idle, "idle"),
    (Activity::Retiring, "retiring"),
    (Activity::Starting, "starting"),
    (Activity::Stuck, "stuck"),
];

const CONDITIONS: [(Condition, &str); 6] = [
    (Condition::BackingOff, "backing-off"),
    (Condition::Down, "down"),
    (Condition::Ending, "ending"),
    (Condition::Retiring, "retiring"),
    (Condition::Starting, "starting"),
    (Condition::Up, "up"),
];

/// The word of a value, as printed and sent.
fn word_of<T: PartialEq>(words: &[(T, &'static str)], value: &T) -> &'static str {
    let known = words.iter().find(|(known, _)| known == value);
    known.map_or("", |(_, word)| word)
}

/// The value of a word that was sent.
fn value_of<T: Copy>(words: &[(T, &'static str)], word: &str) -> Option<T> {
    let known = words.iter().find(|(_, known)| *known == word);
    known.map(|(value, _)| *value)
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word_of(&ACTIVITIES, self))
    }
}

/// The word of the condition of an app's own server.
fn condition_word(condition: Condition) -> &'static str {
    word_of(&CONDITIONS, &condition)
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct WorkerStatus {
    /// `None`: no process at this moment.
    pub pid: Option<i32>,
    pub state: Activity,
    pub requests: u64,
    /// The import of the app from which it was forked, by its number.
    pub generation: u64,
}

/// The app's own SCGI server, if the daemon runs one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ServerStatus {
    /// `None` while it is down.
    pub pid: Option<i32>,
    pub state: Condition,
}

/// What `status` shows of one app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Status {
    /// The owner of the place in which the daemon was found. Not sent by the daemon.
    pub user: Option<String>,
    pub app: String,
    pub state: DaemonState,
    pub pid: Option<i32>,
    pub workers: Vec<WorkerStatus>,
    /// If the app has `scgi`.
    pub server: Option<ServerStatus>,
    /// Requests that wait for a worker.
    pub queue: u64,
    /// Requests taken since the daemon started.
    pub requests: u64,
    /// Requests answered with 503 since then.
    pub overloads: u64,
    /// Requests in the last minute; 1024 means that many or more.
    pub rate: u64,
    /// Bytes of bodies and responses that wait in files.
    pub spooled: u64,
    /// The number of the app's import that serves, counted from the daemon's start.
    pub generation: u64,
    /// CGIs of the app that run at this moment, without the daemon.
    pub cgis: u64,
    pub last_failure: Option<String>,
}

impl Status {
    /// For the socket and the `state` file: KEY=VALUE lines.
    pub fn to_lines(&self) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: &str| {
            text.push_str(key);
            text.push('=');
            text.extend(value.chars().map(|c| if c.is_control() { ' ' } else { c }));
            text.push('\n');
        };
        line("app", &self.app);
        line("state", self.state.word());
        if let Some(pid) = self.pid {
            line("pid", &pid.to_string());
        }
        for worker in &self.workers {
            line(
                "worker",
                &format!(
                    "{} {} {} {}",
                    worker.pid.unwrap_or(0),
                    worker.state,
                    worker.requests,
                    worker.generation
                ),
            );
        }
        if let Some(ServerStatus { pid, state }) = &self.server {
            let state = condition_word(*state);
            line("server", &format!("{} {state}", pid.unwrap_or(0)));
        }
        line("queue", &self.queue.to_string());
        line("requests", &self.requests.to_string());
        line("overloads", &self.overloads.to_string());
        line("rate", &self.rate.to_string());
        line("spooled", &self.spooled.to_string());
        line("generation", &self.generation.to_string());
        line("cgis", &self.cgis.to_string());
        if let Some(failure) = &self.last_failure {
            line("last_failure", failure);
        }
        text
    }

    /// Reads such lines. Unknown ones are skipped, so that different versions understand each other.
    pub fn from_lines(text: &str) -> Status {
        let mut status = Status::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let number = || value.parse().unwrap_or_default();
            match key {
                "app" => status.app = value.to_owned(),
                "state" => {
                    status.state = value_of(&STATES, value).unwrap_or_default();
                }
                "pid" => status.pid = value.parse().ok(),
                "worker" => status.workers.extend(worker(value)),
                "server" => status.server = server(value),
                "queue" => status.queue = number(),
                "requests" => status.requests = number(),
                "overloads" => status.overloads = number(),
                "rate" => status.rate = number(),
                "spooled" => status.spooled = number(),
                "generation" => status.generation = number(),
                "cgis" => status.cgis = number(),
                "last_failure" => status.last_failure = Some(value.to_owned()),
                _ => {}
            }
        }
        status
    }

    /// Whether the text can be a daemon's answer: it begins with the name of an app.
    pub fn is_status(text: &str) -> bool {
        text.starts_with("app=") && text.ends_with('\n')
    }

    /// For a person at a terminal. Characters that a terminal would obey become `?`.
    pub fn to_text(&self) -> String {
        let user = self.user.as_ref();
        let user = user.map_or(String::new(), |user| format!("{user}: "));
        let mut text = format!("{user}{}: {}", self.app, self.state.word());
        if let Some(pid) = self.pid {
            let _ = write!(text, " (pid {pid})");
        }
        let (requests, overloads, queue) = (self.requests, self.overloads, self.queue);
        if self.pid.is_some() {
            let _ = write!(
                text,
                "\n  requests {requests}, overloads {overloads}, waiting {queue}"
            );
        }
        if self.rate > 0 {
            let _ = write!(text, "\n  requests in the last minute: {}", self.rate);
        }
        if self.generation > 1 {
            let _ = write!(text, "\n  loaded {} times", self.generation);
        }
        if self.spooled > 0 {
            let _ = write!(text, "\n  bytes waiting in files: {}", self.spooled);
        }
        if self.cgis > 0 {
            let _ = write!(text, "\n  plain CGIs running: {}", self.cgis);
        }
        if let Some(ServerStatus { pid, state }) = &self.server {
            let pid = pid.map_or(String::new(), |pid| format!(" {pid}"));
            let _ = write!(text, "\n  server{pid}: {}", condition_word(*state));
        }
        // Without a process it is only room for a request.
        for worker in &self.workers {
            let WorkerStatus {
                pid: Some(pid),
                state,
                requests,
                generation,
            } = worker
            else {
                continue;
            };
            let _ = write!(text, "\n  worker {pid}: {state}, requests {requests}");
            if *generation < self.generation {
                text.push_str(", old code");
            }
        }
        if let Some(failure) = &self.last_failure {
            let _ = write!(text, "\n  last failure: {failure}");
        }
        text.push('\n');
        printable::lines(&text)
    }

    /// One JSON object (RFC 8259), in one line.
    pub fn to_json(&self) -> String {
        let pid = self.pid.map_or("null".to_owned(), |pid| pid.to_string());
        let failure = self
            .last_failure
            .as_deref()
            .map_or("null".to_owned(), json_string);
        let workers: Vec<String> = self
            .workers
            .iter()
            .map(|worker| {
                let WorkerStatus {
                    pid,
                    state,
                    requests,
                    generation,
                } = worker;
                let state = json_string(&state.to_string());
                let pid = pid.map_or("null".to_owned(), |pid| pid.to_string());
                format!(
                    r#"{{"pid":{pid},"state":{state},"requests":{requests},"generation":{generation}}}"#
                )
            })
            .collect();
        let server =
            self.server
                .as_ref()
                .map_or("null".to_owned(), |ServerStatus { pid, state }| {
                    let pid = pid.map_or("null".to_owned(), |pid| pid.to_string());
                    format!(
                        r#"{{"pid":{pid},"state":{}}}"#,
                        json_string(condition_word(*state))
                    )
                });
        let user = self.user.as_deref().map(json_string);
        let user = user.map_or(String::new(), |user| format!(r#""user":{user},"#));
        format!(
            r#"{{{user}"app":{},"state":{},"pid":{pid},"workers":[{}],"server":{server},"queue":{},"requests":{},"overloads":{},"rate":{},"spooled":{},"generation":{},"cgis":{},"last_failure":{failure}}}"#,
            json_string(&self.app),
            json_string(self.state.word()),
            workers.join(","),
            self.queue,
            self.requests,
            self.overloads,
            self.rate,
            self.spooled,
            self.generation,
            self.cgis,
        )
    }
}

fn worker(value: &str) -> Option<WorkerStatus> {
    let mut words = value.split(' ');
    Some(WorkerStatus {
        pid: words.next()?.parse().ok().filter(|&pid| pid > 0),
        state: value_of(&ACTIVITIES, words.next()?)?,
        requests: words.next()?.parse().ok()?,
        // Older versions do not send it.
        generation: words.next().map_or(Ok(0), str::parse).ok()?,
    })
}

fn server(value: &str) -> Option<ServerStatus> {
    let (pid, state) = value.split_once(' ')?;
    Some(ServerStatus {
        pid: pid.parse().ok().filter(|&pid| pid > 0),
        state: value_of(&CONDITIONS, state)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgi::meta::{Peer, admitted};

    fn busy() -> Status {
        Status {
            user: None,
            app: "/srv/cgi-bin/wiki.cgi".to_owned(),
            state: DaemonState::Up,
            pid: Some(42),
            workers: vec![WorkerStatus {
                pid: Some(43),
                state: Activity::Idle,
                requests: 7,
                generation: 2,
            }],
            server: Some(ServerStatus {
                pid: Some(44),
                state: Condition::Up,
            }),
            queue: 1,
            requests: 8,
            overloads: 2,
            rate: 5,
            spooled: 65_536,
            generation: 2,
            cgis: 3,
            last_failure: Some("ImportError: no module \"x\"".to_owned()),
        }
    }

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
            ..busy()
        };
        let back = Status::from_lines(&odd.to_lines());
        assert_eq!(back.last_failure.as_deref(), Some("two lines=x"));
        for (state, _) in STATES {
            let status = Status { state, ..busy() };
            assert_eq!(Status::from_lines(&status.to_lines()).state, state);
        }
    }

    #[test]
    fn reads_whatever_comes() {
        let text = "nonsense\n=\nworker=1\nworker=x y z\nqueue=-1\nnew_key=1\npid=none\n";
        assert_eq!(Status::from_lines(text), Status::default());
        let older = Status::from_lines("worker=43 idle 7\n");
        assert_eq!(
            (older.workers[0].requests, older.workers[0].generation),
            (7, 0)
        );
    }

    #[test]
    fn json_is_json() {
        assert_eq!(
            busy().to_json(),
            r#"{"app":"/srv/cgi-bin/wiki.cgi","state":"up","pid":42,"workers":[{"pid":43,"state":"idle","requests":7,"generation":2}],"server":{"pid":44,"state":"up"},"queue":1,"requests":8,"overloads":2,"rate":5,"spooled":65536,"generation":2,"cgis":3,"last_failure":"ImportError: no module \"x\""}"#
        );
        let down = Status::default().to_json();
        assert!(down.contains(r#""pid":null"#) && down.contains(r#""server":null"#));
    }

    #[test]
    fn what_a_stranger_said_is_only_shown() {
        let status = Status {
            user: Some("nobody".to_owned()),
            app: "\x1b]0;x\x07\u{202e}\u{9b}2J\u{e0041}\n".to_owned(),
            last_failure: Some("a\x1b[31m\"\\".to_owned()),
            ..Status::default()
        };
        let text = "nobody: ?]0;x???2J?\n: down\n  last failure: a?[31m\"\\\n";
        assert_eq!(status.to_text(), text);
        let json = status.to_json();
        let begin =
            r#"{"user":"nobody","app":"\u001b]0;x\u0007\u202e\u009b2J\udb40\udc41\u000a","state""#;
        assert!(json.starts_with(begin), "{json}");
        assert!(
            json.ends_with(r#""last_failure":"a\u001b[31m\"\\"}"#),
            "{json}"
        );
        assert!(
            !Status::is_status("") && !Status::is_status("app=x") && Status::is_status("app=x\n")
        );
    }

    #[test]
    fn commands_by_their_words() {
        for command in COMMANDS {
            assert_eq!(Command::from_word(command.word().as_bytes()), Some(command));
        }
        assert_eq!(Command::from_word(b"statusx"), None);
    }

    #[test]
    fn a_command_is_nothing_but_that() {
        let message = |pairs: &[(&str, &'static str)]| {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
                .collect();
            word(&pairs).map(<[u8]>::to_vec)
        };
        let (length, scgi) = (("CONTENT_LENGTH", "0"), ("SCGI", "1"));
        let stop = (VARIABLE, "stop");
        assert_eq!(
            message(&[length, scgi, stop]).as_deref(),
            Some(&b"stop"[..])
        );
        for pairs in [
            &[length, scgi, stop, ("REQUEST_METHOD", "GET")][..],
            &[length, scgi, ("POLYCGI", "1"), stop],
            &[length, scgi, stop, stop],
            &[length, stop, scgi],
            &[("CONTENT_LENGTH", ""), scgi, stop],
            &[("CONTENT_LENGTH", "4"), scgi, stop],
            &[length, scgi],
            &[],
        ] {
            assert_eq!(message(pairs), None, "{pairs:?}");
        }
        assert!(!admitted(VARIABLE.as_bytes(), Peer::Own));
    }
}

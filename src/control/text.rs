//! A status for a person at a terminal, who may have been woken up for it: what is wrong first, a figure beside its
//! limit, no line longer than a small terminal but those of a traceback.

use std::fmt::Write;

use super::status::{RequestStatus, Status, WorkerStatus};
use super::words::{Activity, condition_word};
use crate::figures::{Counted, Quantiles};
use crate::incidents::Incident;
use crate::printable::{self, size, span, took};

/// Where the text of a line begins, behind its title.
const INDENT: usize = 14;
/// So many workers are shown one by one; of more, the idle ones only with their number.
const MOST_WORKERS: usize = 8;
/// So many failures are shown; JSON has all of them.
const MOST_FAILURES: usize = 8;

impl Status {
    /// The text, in lines of so many columns; only a longer word, or what the app wrote, makes a longer line. Characters
    /// that a terminal would obey become `?`.
    pub fn to_text(&self, columns: usize) -> String {
        let text = String::new();
        let mut page = Rows { columns, text };
        let user = self.user.as_ref();
        let user = user.map_or(String::new(), |user| format!("{user}: "));
        let mut head = format!("{user}{}: {}", self.app, self.state.word());
        if let Some(pid) = self.pid {
            let _ = write!(head, " (pid {pid})");
            if let Some(started) = self.started {
                let _ = write!(head, ", for {}", span(self.now.saturating_sub(started)));
            }
        }
        page.text.push_str(&head);
        page.text.push('\n');
        self.tell_way(&mut page);
        if let Some(failure) = &self.last_failure {
            page.row("trouble", failure);
        }
        // As they are: in a traceback the blanks at the beginning of a line count.
        for line in self.last_words.iter().flat_map(|words| words.lines()) {
            let _ = writeln!(page.text, "{:INDENT$}{line}", "");
        }
        self.tell_load(&mut page);
        self.tell_figures(&mut page);
        self.tell_processes(&mut page);
        self.tell_code(&mut page);
        self.tell_failures(&mut page);
        if let Some(log) = &self.log {
            page.row("log", log);
        }
        printable::lines(&page.text)
    }

    /// Which way requests go now, and why.
    pub fn served_by(&self) -> Option<String> {
        let routing = self.routing.as_ref()?;
        let reason = &routing.reason;
        Some(match &*routing.way {
            "daemon" => format!("the daemon, started because: {reason}"),
            "cgi" => format!("plain CGIs: {reason}"),
            "start" => format!("a daemon, which the next request starts: {reason}"),
            "broken" => format!("nothing but 500: {reason}"),
            _ => format!("nothing but 503: {reason}"),
        })
    }

    fn tell_way(&self, page: &mut Rows) {
        if let Some(sentence) = self.served_by() {
            page.row("served by", &sentence);
        }
        if let Some(leave) = &self.leave {
            let within = span(leave.within);
            page.row(
                "leaves",
                &format!("in {within} if no request comes ({})", leave.key),
            );
        }
    }

    /// What the host's memory is like, if processes wait for it.
    pub fn memory_pressure(&self) -> Option<String> {
        let memory = self.memory_of_host?;
        let percent = (memory.pressure + 50) / 100;
        let sentence = format!("memory pressure {percent} % (some, 10 s)");
        match memory.is_short {
            true => Some(format!("{sentence}: no worker is added")),
            false => (percent > 0).then_some(sentence),
        }
    }

    fn tell_load(&self, page: &mut Rows) {
        let pace = self.figures.pace;
        let mut parts = Vec::new();
        if pace > 0 {
            parts.push(format!("{}.{} requests/s", pace / 1000, pace % 1000 / 100));
        }
        if self.rate > 0 {
            parts.push(format!("{} in the last minute", self.last_minute()));
        }
        let of = |limit: Option<u64>| limit.map_or(String::new(), |limit| format!(" of {limit}"));
        let limits = self.ceilings.as_ref();
        if self.pid.is_some() {
            let workers = of(limits.map(|limits| limits.workers));
            parts.push(format!("{}{workers} workers busy", self.busy()));
            let queue = of(limits.map(|limits| limits.queue));
            parts.push(format!("queue {}{queue}", self.queue));
        }
        if self.cgis > 0 || self.pid.is_none() {
            let cgis = of(limits.map(|limits| limits.cgis));
            parts.push(format!("CGIs {}{cgis}", self.cgis));
        }
        if self.spooled > 0 || self.pid.is_some() {
            let spool = limits.map(|limits| format!(" of {}", size(limits.spool)));
            let spool = spool.unwrap_or_default();
            parts.push(format!("spool {}{spool}", size(self.spooled)));
        }
        if let Some(memory) = self.memory() {
            parts.push(format!("memory {}", size(memory)));
        }
        parts.extend(self.memory_pressure());
        page.row("now", &parts.join(", "));
    }

    fn tell_figures(&self, page: &mut Rows) {
        let figures = &self.figures;
        let recent = &figures.recent;
        if recent.requests > 0 {
            let busiest = recent.busiest;
            let mut sentence = requests(recent.requests);
            if busiest > 0 {
                let _ = write!(sentence, ", {busiest} at once at most");
            }
            page.row("last 5 min", &sentence);
            let mut times = |title, quantiles: Option<Quantiles>| {
                if let Some(Quantiles { p50, p95, p99 }) = quantiles {
                    let [p50, p95, p99] = [p50, p95, p99].map(took);
                    let sentence = format!("half in {p50}, 95% in {p95}, 99% in {p99}");
                    page.row(title, &sentence);
                }
            };
            times("  served", recent.served);
            times("  waited", recent.waited);
            times("  as CGIs", recent.cgi);
        }
        if let Some(since) = figures.since {
            let all = figures.counts.some();
            let all = all.map(|(what, count)| format!("{} {count}", title(what)));
            let all: Vec<String> = all.collect();
            let since = self.clock(since);
            page.row("in all", &format!("{}; since {since}", all.join(", ")));
        }
    }

    fn tell_processes(&self, page: &mut Rows) {
        if let Some(server) = &self.server {
            let pid = server.pid.map_or(String::new(), |pid| format!("{pid} "));
            page.row("server", &format!("{pid}{}", condition_word(server.state)));
        }
        // Without a process it is only room for a request.
        let mut workers: Vec<&WorkerStatus> =
            self.workers.iter().filter(|w| w.pid.is_some()).collect();
        let age = |worker: &&WorkerStatus| worker.request.as_ref().map_or(0, |request| request.age);
        workers.sort_by_key(|worker| std::cmp::Reverse(age(worker)));
        let is_crowd = workers.len() > MOST_WORKERS;
        let mut resting = 0;
        let mut title = "workers";
        for worker in workers {
            if is_crowd && matches!(worker.state, Activity::Accepting | Activity::Idle) {
                resting += 1;
                continue;
            }
            page.row(title, &self.worker(worker));
            title = "";
        }
        if resting > 0 {
            page.row(title, &format!("{resting} idle"));
        }
    }

    fn worker(&self, worker: &WorkerStatus) -> String {
        let (pid, state) = (worker.pid.unwrap_or(0), worker.state);
        let mut line = format!("{pid} {state}");
        if let Some(RequestStatus { age, method, path }) = &worker.request {
            let _ = write!(
                line,
                " for {}: {method} {path};",
                took(age.saturating_mul(1000))
            );
        } else {
            line.push(',');
        }
        let _ = write!(line, " {}", requests(worker.requests));
        if let Some(memory) = worker.memory {
            let _ = write!(line, ", {}", size(memory));
        }
        if worker.generation < self.generation {
            line.push_str(", old code");
        }
        line
    }

    fn tell_code(&self, page: &mut Rows) {
        let generation = self.generation;
        match &self.changed {
            Some(changed) => {
                let (at, what) = (self.clock(changed.at), &changed.what);
                let sentence = format!("generation {generation}, since {at}: {what} changed");
                page.row("code", &sentence);
            }
            None if generation > 1 => page.row("code", &format!("generation {generation}")),
            None => {}
        }
    }

    fn tell_failures(&self, page: &mut Rows) {
        let newest = self.failures.iter().rev().take(MOST_FAILURES);
        let mut title = "failures";
        for incident in newest {
            page.row(title, &self.failure(incident));
            title = "";
        }
        let more = self.failures.len().saturating_sub(MOST_FAILURES);
        if more > 0 {
            page.row("", &format!("{more} more: --json has them"));
        }
    }

    fn failure(&self, incident: &Incident) -> String {
        let mut line = format!("{} {}", self.clock(incident.at), incident.kind.word());
        if incident.count > 1 {
            let first = self.clock(incident.first);
            let _ = write!(line, ", {} times since {first}", incident.count);
        }
        if !incident.path.is_empty() {
            let _ = write!(line, ": {} {}", incident.method, incident.path);
        }
        let _ = write!(line, ": {}", incident.reason);
        line
    }

    fn clock(&self, seconds: u64) -> String {
        printable::clock(seconds, self.now)
    }
}

/// Lines with titles.
struct Rows {
    columns: usize,
    text: String,
}

impl Rows {
    /// A line, or several: the words that find no room go to the next.
    fn row(&mut self, title: &str, sentence: &str) {
        let _ = write!(self.text, "  {title:<12}");
        let (columns, text) = (self.columns, &mut self.text);
        printable::wrap_to(columns, text, INDENT, INDENT, sentence);
        self.text.push('\n');
    }
}

fn title(what: Counted) -> String {
    match (what, what.status()) {
        (Counted::Cgi, _) => "plain CGI".to_owned(),
        (_, Some(status)) => format!("{status} {}", what.word()),
        (_, None) => what.word().to_owned(),
    }
}

fn requests(count: u64) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} request{plural}")
}

#[cfg(test)]
mod tests {
    use super::super::samples::{NOW, busy};
    use super::*;
    use crate::incidents::Mishap;

    #[test]
    fn a_person_reads_what_matters_first() {
        let text = "\
/srv/cgi-bin/wiki.cgi: up (pid 42), for 8 min 20 s
  served by   the daemon, started because: 2 of 5 CGIs
  leaves      in 14 min if no request comes (idle-timeout)
  trouble     ImportError: no module \"x\"
                File \"x.py\"
              ImportError
  now         12.3 requests/s, 5 in the last minute, 1 of 4 workers busy, queue
              1 of 100, CGIs 3 of 5, spool 64 KiB of 1 GiB, memory 45 MiB,
              memory pressure 12 % (some, 10 s): no worker is added
  last 5 min  5 requests, 2 at once at most
    served    half in 12 ms, 95% in 80 ms, 99% in 2.1 s
    as CGIs   half in 250 ms, 95% in 400 ms, 99% in 1.5 s
  in all      plain CGI 3, 503 queue-full 2; since 22:00:00 UTC
  server      45 up
  workers     43 busy for 2.3 s: GET /wiki; 7 requests, 45 MiB
              44 idle, 128 requests, old code
  code        generation 2, since 22:10:00 UTC: wiki.page changed
  failures    22:12:00 UTC killed, 4 times since 22:11:00 UTC: GET /crash:
              killed by SIGSEGV
  log         /run/polycgi/33/wiki-1c9a/log
";
        assert_eq!(busy().to_text(printable::WIDTH), text);
    }

    #[test]
    fn it_stays_small_and_narrow() {
        let one = busy().workers[0].clone();
        let idle = busy().workers[1].clone();
        let failure = |at| {
            let line = ("GET".to_owned(), "/x".repeat(50));
            Incident::new(Mishap::Exception, at, line, &"reason ".repeat(40))
        };
        let status = Status {
            workers: [vec![one; 3], vec![idle; 64]].concat(),
            failures: (0..24).map(|hour| failure(NOW - hour * 3600)).collect(),
            ..busy()
        };
        let text = status.to_text(printable::WIDTH);
        assert!(text.contains("\n              64 idle\n"), "{text}");
        assert!(text.contains("\n              16 more: --json"), "{text}");
        assert!(text.contains("2023-11-13 23:13:20 UTC"), "{text}");
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(INDENT + 100 + 2), "a long word: {widest:?}");
        assert!(text.lines().count() < 80, "{text}");
    }

    #[test]
    fn what_a_stranger_said_is_only_shown() {
        let status = Status {
            user: Some("nobody".to_owned()),
            app: "\x1b]0;x\x07\u{202e}\u{9b}2J\u{e0041}\n".to_owned(),
            last_failure: Some("a\x1b[31m\"\\".to_owned()),
            ..Status::default()
        };
        let text = "nobody: ?]0;x???2J?\n: down\n  trouble     a?[31m\"\\\n  now         CGIs 0\n";
        assert_eq!(status.to_text(printable::WIDTH), text);
    }

    #[test]
    fn a_busy_minute_has_more_requests_than_are_remembered() {
        let text = |rate| {
            let status = Status { rate, ..busy() };
            status.to_text(printable::WIDTH)
        };
        assert!(
            text(1023).contains(" 1023 in the last minute"),
            "{}",
            text(1023)
        );
        assert!(
            text(1024).contains(" 1024 or more in the last minute"),
            "{}",
            text(1024)
        );
    }
}

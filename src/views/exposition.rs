//! The text exposition format of Prometheus, version 0.0.4. The names and labels are in the manual: a change here is a
//! change there.

use std::collections::BTreeSet;
use std::fmt::{Display, Write};
use std::time::Duration;

use crate::control::{Activity, DaemonState, Status};
use crate::figures::{Counted, Histogram};
use crate::incidents::Mishap;
use crate::printable;

/// The upper ends of a histogram's buckets are 1.024 ms and its doubles, up to a minute or so: there our own bins end.
const BUCKETS: u32 = 17;
const FIRST_BUCKET: Duration = Duration::from_micros(1024);

/// All metrics of these apps. Of two with the same user and path, the first counts.
pub fn exposition(statuses: &[Status]) -> String {
    let mut known = BTreeSet::new();
    let apps = statuses.iter();
    let apps = apps.filter(|status| known.insert((&status.user, &status.app)));
    let apps: Vec<(String, &Status)> = apps.map(|status| (labels(status), status)).collect();
    let mut text = Exposition {
        text: String::new(),
        apps,
    };
    text.requests();
    text.times();
    text.limits();
    text.memory();
    text.daemon();
    text.text
}

/// The labels of all metrics of an app.
fn labels(status: &Status) -> String {
    let mut labels = format!("app=\"{}\"", escaped(&status.app));
    if let Some(user) = &status.user {
        let _ = write!(labels, ",user=\"{}\"", escaped(user));
    }
    labels
}

/// A label's value: backslash, quote and line end have to be escaped, and a terminal may be shown it.
fn escaped(value: &str) -> String {
    let shown = printable::line(value);
    shown.replace('\\', "\\\\").replace('"', "\\\"")
}

struct Exposition<'a> {
    text: String,
    /// Each with its labels.
    apps: Vec<(String, &'a Status)>,
}

impl<'a> Exposition<'a> {
    /// A metric: its head, then the samples of each app, as more labels and a value. One without samples is left out.
    fn metric<V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl Fn(&'a Status) -> Vec<(String, V)>,
    ) {
        let mut lines = String::new();
        for (labels, status) in &self.apps {
            for (more, value) in samples(status) {
                let comma = if more.is_empty() { "" } else { "," };
                let _ = writeln!(lines, "{name}{{{labels}{comma}{more}}} {value}");
            }
        }
        self.add(name, kind, help, &lines);
    }

    fn add(&mut self, name: &str, kind: &str, help: &str, lines: &str) {
        if !lines.is_empty() {
            let head = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
            self.text.push_str(&(head + lines));
        }
    }

    /// A metric that each app has once, or not at all.
    fn gauge<V: Display>(&mut self, name: &str, help: &str, value: impl Fn(&Status) -> Option<V>) {
        let one = |status: &Status| value(status).map(|value| (String::new(), value));
        self.metric(name, "gauge", help, |status| Vec::from_iter(one(status)));
    }

    fn requests(&mut self) {
        let help = "Requests, by the way they went and what became of them; code is the status of polycgi's own \
                    answer, or 'app'.";
        self.metric("polycgi_requests_total", "counter", help, |status| {
            let counts = &status.figures.counts;
            let sample = |what: Counted| {
                let code = what.status().map(|code| code.to_string());
                let code = code.unwrap_or_else(|| "app".to_owned());
                let (way, outcome) = (way(what), outcome(what));
                let labels = format!("way=\"{way}\",outcome=\"{outcome}\",code=\"{code}\"");
                (labels, counts.of(what))
            };
            Counted::ALL.map(sample).to_vec()
        });
    }

    fn times(&mut self) {
        self.histogram(
            "polycgi_request_wait_seconds",
            "How long requests of the daemon waited for a worker.",
            |status| &status.figures.waited,
        );
        self.histogram(
            "polycgi_request_service_seconds",
            "How long requests of the daemon were served, once a worker had them.",
            |status| &status.figures.served,
        );
        self.gauge(
            "polycgi_oldest_request_seconds",
            "For how long the oldest request that a worker has is being served.",
            |status| {
                let requests = status.workers.iter();
                let requests = requests.filter_map(|worker| worker.request.as_ref());
                let oldest = requests.map(|request| request.age).max()?;
                Some(seconds(oldest.saturating_mul(1000)))
            },
        );
    }

    fn histogram(&mut self, name: &str, help: &str, of: impl Fn(&Status) -> &Histogram) {
        let mut lines = String::new();
        for (labels, status) in &self.apps {
            let times = of(status);
            for nth in 0..BUCKETS {
                let end = FIRST_BUCKET * (1 << nth);
                let (le, count) = (end.as_secs_f64(), times.below(end));
                let _ = writeln!(lines, "{name}_bucket{{{labels},le=\"{le}\"}} {count}");
            }
            let count = times.count();
            let _ = writeln!(lines, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
            let _ = writeln!(lines, "{name}_sum{{{labels}}} {}", seconds(times.sum));
            let _ = writeln!(lines, "{name}_count{{{labels}}} {count}");
        }
        self.add(name, "histogram", help, &lines);
    }

    /// Figures, each with its limit.
    fn limits(&mut self) {
        let help = "Workers of the daemon, by what they do.";
        self.metric("polycgi_workers", "gauge", help, |status| {
            let sample = |state: Activity| {
                let workers = status.workers.iter();
                let count = workers.filter(|worker| worker.state == state).count();
                (format!("state=\"{state}\""), count)
            };
            use Activity::{Accepting, Busy, Idle, Retiring, Starting, Stuck};
            [Accepting, Busy, Idle, Retiring, Starting, Stuck]
                .map(sample)
                .to_vec()
        });
        self.gauge(
            "polycgi_workers_limit",
            "The most workers (max-procs).",
            |status| Some(status.ceilings.as_ref()?.workers),
        );
        self.gauge(
            "polycgi_worker_memory_bytes",
            "Memory of all workers; what they share counts for each.",
            Status::memory,
        );
        self.gauge(
            "polycgi_queue_requests",
            "Requests that wait for a worker.",
            |status| Some(status.queue),
        );
        self.gauge(
            "polycgi_queue_limit",
            "The most requests that may wait (queue-size).",
            |status| Some(status.ceilings.as_ref()?.queue),
        );
        self.gauge(
            "polycgi_cgis",
            "Plain CGIs of the app that run.",
            |status| Some(status.cgis),
        );
        self.gauge(
            "polycgi_cgis_limit",
            "The most plain CGIs at once (cgi-max).",
            |status| Some(status.ceilings.as_ref()?.cgis),
        );
        self.gauge(
            "polycgi_spool_bytes",
            "Bodies and responses that wait in files.",
            |status| Some(status.spooled),
        );
        self.gauge(
            "polycgi_spool_limit_bytes",
            "The most bytes that may wait there (spool-limit).",
            |status| Some(status.ceilings.as_ref()?.spool),
        );
    }

    fn memory(&mut self) {
        self.gauge(
            "polycgi_memory_pressure_ratio",
            "The share of the last 10 s in which some process waited for memory, as the daemon's host has it.",
            |status| {
                let pressure = status.memory_of_host?.pressure;
                Some(format!("{}.{:04}", pressure / 10_000, pressure % 10_000))
            },
        );
        self.gauge(
            "polycgi_memory_short",
            "1 while memory is short, so that the daemon adds no worker.",
            |status| Some(u8::from(status.memory_of_host?.is_short)),
        );
    }

    fn daemon(&mut self) {
        let help = "1 for the state that the app's daemon is in, 0 for the others.";
        self.metric("polycgi_daemon_state", "gauge", help, |status| {
            use DaemonState::{BackingOff, Down, Draining, Held, Starting, Up};
            let sample = |state: DaemonState| {
                let is_it = u8::from(state == status.state);
                (format!("state=\"{}\"", state.word()), is_it)
            };
            let all = [BackingOff, Down, Draining, Held, Starting, Up];
            all.map(sample).to_vec()
        });
        self.gauge(
            "polycgi_daemon_start_time_seconds",
            "When the daemon was started, since 1970.",
            |status| status.started,
        );
        self.gauge(
            "polycgi_generation",
            "How often the daemon has loaded the app.",
            |status| status.pid.map(|_| status.generation),
        );
        self.gauge(
            "polycgi_code_changed_timestamp_seconds",
            "When the code that serves was loaded after an edit, since 1970.",
            |status| Some(status.changed.as_ref()?.at),
        );
        let help = "When a failure of this kind was last noted, since 1970.";
        let name = "polycgi_last_failure_timestamp_seconds";
        self.metric(name, "gauge", help, last_failures);
    }
}

/// The kinds of failures that are remembered, each with the time of the last one.
fn last_failures(status: &Status) -> Vec<(String, u64)> {
    let mut last: Vec<(Mishap, u64)> = Vec::new();
    for incident in &status.failures {
        match last.iter_mut().find(|(kind, _)| *kind == incident.kind) {
            Some((_, at)) => *at = incident.at.max(*at),
            None => last.push((incident.kind, incident.at)),
        }
    }
    last.sort();
    let sample = |(kind, at): (Mishap, u64)| (format!("kind=\"{}\"", kind.word()), at);
    last.into_iter().map(sample).collect()
}

/// Who had the request: the app as a plain CGI, the app in the daemon, or no app.
fn way(what: Counted) -> &'static str {
    match what {
        Counted::Cgi => "cgi",
        Counted::BadGateway
        | Counted::Cut
        | Counted::Daemon
        | Counted::Exception
        | Counted::Gone
        | Counted::TimedOut => "daemon",
        _ => "none",
    }
}

fn outcome(what: Counted) -> &'static str {
    match what {
        // What a plain CGI answers is between it and the web server.
        Counted::Cgi => "handed-over",
        Counted::Daemon => "answered",
        other => other.word(),
    }
}

/// Microseconds in seconds.
fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{hostile, quiet, rushed};
    use super::*;

    /// tests/it/views.rs lets promtool read the golden file.
    #[test]
    fn the_exposition_is_the_golden_one() {
        crate::views::golden::compare("status.prom", &exposition(&[rushed(), quiet()]));
    }

    #[test]
    fn no_sample_is_there_twice() {
        let text = exposition(&[rushed(), rushed(), hostile()]);
        let names = text.lines().filter_map(|line| line.rsplit_once(' '));
        let names: Vec<&str> = names
            .map(|(name, _)| name)
            .filter(|name| !name.starts_with('#'))
            .collect();
        let once: BTreeSet<&&str> = names.iter().collect();
        assert_eq!(names.len(), once.len());
        assert_eq!(exposition(&[]), "");
    }

    #[test]
    fn the_texts_of_others_stay_in_their_labels() {
        let text = exposition(&[hostile()]);
        assert!(
            text.contains(r#"app="</title><script>alert(1)</script>\"'&\\??[2J?",user="#),
            "{text}"
        );
        assert!(
            text.lines()
                .all(|line| line.starts_with("# ") || line.starts_with("polycgi_"))
        );
    }

    #[test]
    fn buckets_grow_and_end_with_all() {
        let text = exposition(&[rushed()]);
        let buckets = text
            .lines()
            .filter(|line| line.starts_with("polycgi_request_service_seconds_bucket"));
        let counts = buckets.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap());
        let counts: Vec<u64> = counts.collect();
        assert!(counts.is_sorted() && counts.len() == 18, "{counts:?}");
        assert!(text.contains(
            "_service_seconds_count{app=\"/usr/lib/cgi-bin/wiki.cgi\",user=\"www-data\"} 769\n"
        ));
    }
}
